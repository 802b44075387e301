//! Synthetic values that canonicalize like real ones and cannot be anyone's:
//!
//! - phones begin with 154, a prefix that no Chinese operator has been given;
//! - bank cards begin with 9999: ISO/IEC 7812 leaves 9 to national bodies, by
//!   country number, and no country is 999;
//! - resident IDs have the prefecture 3499, which GB/T 2260 does not know, and
//!   the order number 000, which is never given out;
//! - IMEIs begin with 001, the reporting body of test devices;
//! - QQ numbers have eleven digits and begin with 99, beyond those given out;
//! - plates are of 皖Z, a letter that Anhui does not use;
//! - names begin with 样本 ("sample"), which is not a family name;
//! - sites and mail are under the reserved `.example`, `.test` and `.invalid`
//!   (RFC 2606), IP addresses in documentation ranges (RFC 5737, RFC 3849);
//! - wallets are hashes that came from no key.

use super::checks;
use super::random::Random;

/// One value: its kind, canonical form, and ways to write it.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub(super) kind: &'static str,
    pub(super) canonical: String,
    /// All equal; at least one.
    pub(super) spellings: Vec<String>,
    pub(super) qualifier: String,
}

impl Value {
    fn new<const N: usize>(kind: &'static str, canonical: String, spellings: [String; N]) -> Self {
        Self {
            kind,
            canonical,
            spellings: spellings.into(),
            qualifier: String::new(),
        }
    }

    fn plain(kind: &'static str, canonical: String) -> Self {
        Self::new(kind, canonical.clone(), [canonical])
    }

    /// The `n`-th way to write it, counted round.
    pub(super) fn spelled(&self, n: usize) -> &str {
        &self.spellings[n % self.spellings.len()]
    }
}

/// Draws a value of a kind that stories name; other names draw a domain.
pub(super) fn draw(kind: &str, random: &mut Random) -> Value {
    match kind {
        "phone" => phone(random),
        "bank-card" => bank_card(random),
        "wechat" => wechat(random),
        "qq" => qq(random),
        "wallet" => match random.below(4) {
            0 => evm(random),
            1 => tron(random),
            2 => segwit(random),
            _ => legacy(random),
        },
        "url" => url(random),
        "email" => email(random),
        "person" => person(random),
        "resident-id" => resident_id(random),
        "imei" => imei(random),
        "plate" => plate(random),
        "ip" => ip(random),
        "app" => app(random),
        _ => domain(random),
    }
}

pub(super) fn phone(random: &mut Random) -> Value {
    let number = format!("154{}", random.digits(8));
    let (a, b, c) = (&number[..3], &number[3..7], &number[7..]);
    let spellings = [
        number.clone(),
        format!("+86 {a}-{b}-{c}"),
        wide(&number),
        format!("0086{number}"),
        format!("(+86) {a} {b} {c}"),
    ];
    Value::new("phone", format!("+86{number}"), spellings)
}

pub(super) fn bank_card(random: &mut Random) -> Value {
    let body = format!("9999{}", random.digits(14));
    let number = format!("{body}{}", checks::luhn(&body));
    let spellings = [
        number.clone(),
        grouped(&number, " "),
        wide(&number),
        grouped(&number, "-"),
    ];
    Value::new("bank-card", number, spellings)
}

pub(super) fn wechat(random: &mut Random) -> Value {
    let name = format!("sample_{}", random.letters(8));
    let spellings = [name.clone(), format!(" {name} "), wide(&name)];
    Value::new("wechat", name, spellings)
}

pub(super) fn qq(random: &mut Random) -> Value {
    let number = format!("99{}", random.digits(9));
    let spellings = [number.clone(), wide(&number)];
    Value::new("qq", number, spellings)
}

pub(super) fn evm(random: &mut Random) -> Value {
    let address = random.bytes();
    let lower = format!("0x{}", hex::encode(address));
    let spellings = [
        checks::eip55(&address),
        lower.clone(),
        format!("0x{}", hex::encode_upper(address)),
    ];
    Value::new("wallet", lower, spellings)
}

pub(super) fn tron(random: &mut Random) -> Value {
    let hash = random.bytes();
    let address = checks::base58check(0x41, &hash);
    Value::new(
        "wallet",
        address.clone(),
        [address, checks::versioned_hex(0x41, &hash)],
    )
}

fn segwit(random: &mut Random) -> Value {
    let address = checks::segwit(&random.bytes());
    let upper = address.to_uppercase();
    Value::new("wallet", address.clone(), [address, upper])
}

fn legacy(random: &mut Random) -> Value {
    Value::plain("wallet", checks::base58check(0, &random.bytes()))
}

pub(super) fn domain(random: &mut Random) -> Value {
    let name = format!(
        "{}.{}",
        host(random),
        random.pick(&["example", "test", "invalid"])
    );
    let spellings = [name.clone(), name.to_uppercase(), format!("{name}.")];
    Value::new("domain", name, spellings)
}

/// A domain in Chinese, which one bureau writes so and another in punycode.
pub(super) fn chinese_domain(random: &mut Random) -> Value {
    let name = format!("刷单返利{}.example", random.digits(4));
    let ascii = idna::domain_to_ascii(&name).expect("the name is a valid IDN");
    Value::new("domain", ascii.clone(), [name, ascii])
}

pub(super) fn url(random: &mut Random) -> Value {
    let (host, path) = (host(random), random.letters(6));
    let canonical = format!("https://{host}.example/invest/{path}");
    let shouted = format!(
        "HTTPS://{}.EXAMPLE:443/invest/{path}#top",
        host.to_uppercase()
    );
    Value::new("url", canonical.clone(), [canonical, shouted])
}

fn email(random: &mut Random) -> Value {
    let (local, host) = (random.letters(7), host(random));
    let canonical = format!("{local}@{host}.example");
    Value::new(
        "email",
        canonical.clone(),
        [
            canonical,
            format!("{local}@{}.EXAMPLE", host.to_uppercase()),
        ],
    )
}

const GIVEN: [char; 16] = [
    '甲', '乙', '丙', '丁', '春', '夏', '秋', '冬', '东', '南', '西', '北', '金', '木', '水', '火',
];
/// A day from 1950 to 2004.
fn birth(random: &mut Random) -> String {
    format!(
        "{}-{:02}-{:02}",
        1950 + random.below(55),
        1 + random.below(12),
        1 + random.below(28)
    )
}

fn person(random: &mut Random) -> Value {
    let name = format!(
        "样本{}{}{}",
        random.pick(&GIVEN),
        random.pick(&GIVEN),
        random.pick(&GIVEN)
    );
    let birth = birth(random);
    let canonical = format!("{name}|{birth}");
    Value {
        qualifier: birth,
        ..Value::new("person", canonical, [name])
    }
}

/// A person whose name one bureau writes in traditional characters.
pub(super) fn person_of_two_scripts(birth: &str) -> Value {
    let canonical = format!("样本华|{birth}");
    let spellings = [
        "样本华".to_owned(),
        "樣本華".to_owned(),
        "样本 华".to_owned(),
    ];
    Value {
        qualifier: birth.to_owned(),
        ..Value::new("person", canonical, spellings)
    }
}

/// A bare name: it is kept at home, and ties nothing to anything.
pub(super) fn bare_name() -> Value {
    Value::plain("person", "样本无名".to_owned())
}

pub(super) fn resident_id(random: &mut Random) -> Value {
    let first17 = format!(
        "3499{:02}{}000",
        1 + random.below(60),
        birth(random).replace('-', "")
    );
    let number = format!("{first17}{}", checks::resident(&first17));
    let spellings = [number.clone(), number.to_lowercase(), wide(&number)];
    Value::new("resident-id", number, spellings)
}

/// A resident ID that ends in X, which bureaus write in either case.
pub(super) fn resident_id_with_x(random: &mut Random) -> Value {
    loop {
        let value = resident_id(random);
        if value.canonical.ends_with('X') {
            return value;
        }
    }
}

pub(super) fn imei(random: &mut Random) -> Value {
    let body = format!("001{}", random.digits(11));
    let number = format!("{body}{}", checks::luhn(&body));
    let dashed = format!(
        "{}-{}-{}-{}",
        &number[..2],
        &number[2..8],
        &number[8..14],
        &number[14..]
    );
    let spaced = dashed.replace('-', " ");
    Value::new("imei", number.clone(), [number, dashed, spaced])
}

fn plate(random: &mut Random) -> Value {
    let number = format!("皖Z{}", random.digits(5));
    let dotted = number.replacen('Z', "Z·", 1);
    Value::new(
        "plate",
        number.clone(),
        [number.clone(), dotted, number.to_lowercase()],
    )
}

fn ip(random: &mut Random) -> Value {
    let (a, b) = (1 + random.below(0xfffe), 1 + random.below(0xfffe));
    let short = format!("2001:db8:{a:x}::{b:x}");
    let long = format!("2001:0DB8:{a:04X}:0:0:0:0:{b:04X}");
    Value::new("ip", short.clone(), [short, long])
}

fn app(random: &mut Random) -> Value {
    let name = format!("com.example.{}.{}", random.letters(5), random.letters(6));
    Value {
        qualifier: "android".to_owned(),
        ..Value::plain("app", name)
    }
}

/// The hub: a payment service's site, which stands in cases of every kind.
pub(super) fn payment_site() -> Value {
    let name = "pay.example".to_owned();
    Value::new(
        "domain",
        name.clone(),
        [name, "PAY.example".to_owned(), "Pay.Example.".to_owned()],
    )
}

/// Two sites that differ by `www.` only, which are two values.
pub(super) fn near_domains(random: &mut Random) -> [Value; 2] {
    let name = format!("{}.example", host(random));
    let other = format!("www.{name}");
    [Value::plain("domain", name), Value::plain("domain", other)]
}

/// A phone and a QQ number of the same digits, which are two values.
pub(super) fn same_digits(random: &mut Random) -> [Value; 2] {
    let number = format!("154{}", random.digits(8));
    [
        Value::new("phone", format!("+86{number}"), [number.clone()]),
        Value::plain("qq", number),
    ]
}

fn host(random: &mut Random) -> String {
    const FIRST: [&str; 8] = [
        "gold", "lucky", "fast", "star", "huaxin", "yinlian", "kuaidai", "vip",
    ];
    const LAST: [&str; 8] = [
        "pay", "trade", "loan", "mall", "fund", "game", "kefu", "tou",
    ];
    format!(
        "{}-{}{}",
        random.pick(&FIRST),
        random.pick(&LAST),
        random.digits(5)
    )
}

fn grouped(digits: &str, separator: &str) -> String {
    let groups: Vec<String> = digits
        .as_bytes()
        .chunks(4)
        .map(|g| String::from_utf8_lossy(g).into_owned())
        .collect();
    groups.join(separator)
}

/// ASCII in its full-width forms, as Chinese input methods write it.
fn wide(ascii: &str) -> String {
    ascii
        .chars()
        .map(|c| {
            if c.is_ascii_graphic() {
                char::from_u32(u32::from(c) + 0xfee0).unwrap_or(c)
            } else {
                c
            }
        })
        .collect()
}
