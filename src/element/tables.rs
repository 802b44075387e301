//! The tables of the rule set as one value, for people and for other
//! implementations: what `casegate kinds` shows, and what stands in
//! `proto/values/tables.json`. The code reads the same constants.

use serde::Serialize;

use super::kind::{Kind, Role};
use super::reasons::{Refusal, Warning};
use super::text::{self, Ranges};
use super::{CANONICAL_RULES, Rules, VALUE_BYTES_MAX, account, device, identity, phone, wallet};

/// All tables of the rule set.
#[derive(Clone, Debug, Serialize)]
pub struct Tables {
    /// The version of the rule set.
    pub canonical_rules: u32,
    /// The longest value, in bytes, before and after folding.
    pub value_bytes_max: usize,
    /// The kinds, in the order of their numbers.
    pub kinds: Vec<KindRow>,
    /// The roles, in the order of their numbers.
    pub roles: Vec<RoleRow>,
    refusals: Vec<&'static str>,
    warnings: Vec<&'static str>,
    characters: Characters,
    phone: Phone,
    resident_id_provinces: &'static [u8],
    /// Names of one country each; the first is kept.
    countries: &'static [&'static [&'static str]],
    /// Names of one platform each; the first is kept.
    platforms: &'static [&'static [&'static str]],
    telegram_prefixes: &'static [&'static str],
    wallet: Wallet,
    /// From what the tables were made that are too large to be typed.
    sources: Sources,
    simplified: Simplified,
}

/// One kind.
#[derive(Clone, Debug, Serialize)]
pub struct KindRow {
    /// Its name, in the token's input too.
    pub name: &'static str,
    /// Other names that import takes.
    pub aliases: &'static [&'static str],
    /// Its number in signed bodies.
    pub number: i32,
    /// The class of the token key that covers it.
    pub token_class: &'static str,
    /// What a qualifier says of it; empty where it says nothing.
    pub qualifier: &'static str,
    /// Whether characters that hide others refuse a value.
    masks_refused: bool,
    /// Whether compatibility forms are folded (NFKC).
    compatibility_folded: bool,
}

/// One role.
#[derive(Clone, Debug, Serialize)]
pub struct RoleRow {
    /// Its name.
    pub name: &'static str,
    /// Other names that import takes.
    pub aliases: &'static [&'static str],
    /// Its number in signed bodies.
    pub number: i32,
}

#[derive(Clone, Debug, Serialize)]
struct Characters {
    invisible: Vec<[String; 2]>,
    dashes: Vec<[String; 2]>,
    han: Vec<[String; 2]>,
    masks: &'static [char],
    middle_dots: &'static [char],
    plate_dots: &'static [char],
    plate_han: &'static str,
}

#[derive(Clone, Debug, Serialize)]
struct Phone {
    region: String,
    extension_marks: &'static [&'static str],
    service_numbers: &'static [phone::ServiceNumbers],
}

#[derive(Clone, Debug, Serialize)]
struct Wallet {
    evm: &'static [&'static str],
    bitcoin_cash: &'static [&'static str],
    litecoin: &'static [&'static str],
    tron: &'static [&'static str],
    other_checked: &'static [&'static str],
    segwit_prefixes: &'static [&'static str],
    cashaddr_prefixes: &'static [&'static str],
}

#[derive(Clone, Debug, Serialize)]
struct Sources {
    /// The version of Unicode whose NFKC is used.
    unicode: String,
    /// The number plans: which lengths are possible in which country.
    phone_numbers: &'static str,
    /// The rules of host names.
    host_names: &'static str,
    /// The formats of IBANs by country.
    iban: &'static str,
    /// The table below.
    simplified: &'static str,
}

/// Traditional characters and, at the same places, the simplified ones.
#[derive(Clone, Debug, Serialize)]
struct Simplified {
    from: String,
    to: String,
}

/// Returns the tables of the rule set.
#[must_use]
pub fn tables() -> Tables {
    Tables {
        canonical_rules: CANONICAL_RULES,
        value_bytes_max: VALUE_BYTES_MAX,
        kinds: Kind::ALL.iter().map(|kind| kind_row(*kind)).collect(),
        roles: Role::ALL.iter().map(|role| role_row(*role)).collect(),
        refusals: Refusal::ALL.iter().map(|refusal| refusal.code()).collect(),
        warnings: Warning::ALL.iter().map(|warning| warning.code()).collect(),
        characters: Characters {
            invisible: code_points(text::INVISIBLE),
            dashes: code_points(text::DASHES),
            han: code_points(identity::HAN),
            masks: text::MASKS,
            middle_dots: identity::MIDDLE_DOTS,
            plate_dots: device::PLATE_DOTS,
            plate_han: device::PLATE_HAN,
        },
        phone: Phone {
            region: Rules::default().phone_region.to_string(),
            extension_marks: phone::EXTENSION_MARKS,
            service_numbers: phone::SERVICE_NUMBERS,
        },
        resident_id_provinces: identity::PROVINCES,
        countries: identity::COUNTRIES,
        platforms: account::PLATFORMS,
        telegram_prefixes: account::TELEGRAM_PREFIXES,
        wallet: Wallet {
            evm: wallet::EVM_CHAINS,
            bitcoin_cash: wallet::BITCOIN_CASH,
            litecoin: wallet::LITECOIN,
            tron: wallet::TRON,
            other_checked: wallet::CHECKED_CHAINS,
            segwit_prefixes: wallet::bech::SEGWIT,
            cashaddr_prefixes: wallet::bech::CASH_PREFIXES,
        },
        sources: sources(),
        simplified: simplified(),
    }
}

/// Ranges as code points, since much of them shows nothing.
fn code_points(ranges: Ranges) -> Vec<[String; 2]> {
    let point = |c: char| format!("U+{:04X}", u32::from(c));
    let pair = |(first, last): &(char, char)| [point(*first), point(*last)];
    ranges.iter().map(pair).collect()
}

fn kind_row(kind: Kind) -> KindRow {
    KindRow {
        name: kind.as_str(),
        aliases: kind.aliases(),
        number: kind.to_wire() as i32,
        token_class: kind.class().as_str(),
        qualifier: qualifier(kind),
        masks_refused: !text::MASKS_ALLOWED.contains(&kind),
        compatibility_folded: kind != Kind::Url,
    }
}

fn role_row(role: Role) -> RoleRow {
    RoleRow {
        name: role.as_str(),
        aliases: role.aliases(),
        number: role.to_wire() as i32,
    }
}

/// What a qualifier says of a value of this kind.
fn qualifier(kind: Kind) -> &'static str {
    match kind {
        Kind::Passport => "country",
        Kind::Person => "birth-date",
        Kind::Social | Kind::App => "platform",
        Kind::Wallet => "chain",
        Kind::Plate => "class",
        Kind::Phone
        | Kind::BankCard
        | Kind::BankAccount
        | Kind::Iban
        | Kind::ResidentId
        | Kind::OrgId
        | Kind::Wechat
        | Kind::Qq
        | Kind::Alipay
        | Kind::Telegram
        | Kind::Email
        | Kind::Url
        | Kind::Domain
        | Kind::Ip
        | Kind::Imei
        | Kind::Imsi
        | Kind::Mac => "",
    }
}

fn sources() -> Sources {
    let (major, minor, patch) = unicode_normalization::UNICODE_VERSION;
    Sources {
        unicode: format!("{major}.{minor}.{patch}"),
        phone_numbers: "libphonenumber, possible lengths (crate rlibphonenumber 2.2)",
        host_names: "UTS 46, non-transitional, as the WHATWG URL standard asks (crate idna 1)",
        iban: "the SWIFT IBAN registry (crate iban_validate 5)",
        simplified: "OpenCC's characters, one by one (crate character_converter 2)",
    }
}

/// Every character that has another simplified one, up to the end of the Han planes.
fn simplified() -> Simplified {
    let changed = ('\u{80}'..='\u{323af}').filter(|c| text::simplified_char(*c) != *c);
    let from: String = changed.collect();
    let to = from.chars().map(text::simplified_char).collect();
    Simplified { from, to }
}
