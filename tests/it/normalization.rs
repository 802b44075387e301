//! Agreement with other projects' tables of good and bad identifiers, where
//! that optional data is there. Each disagreement belongs to a named class or
//! fails the test; so does agreement below what is recorded here.

#![allow(
    clippy::print_stdout,
    reason = "the test prints the table of agreement"
)]

use std::path::PathBuf;

use casegate::element::{Kind, Rules, canonicalize};
use serde_json::Value;

/// One row of a table: a text of a kind, and whether it is said to be good.
struct Row {
    text: String,
    good: bool,
    /// What the row says about itself, for the classes.
    note: String,
}

/// Why casegate disagrees with a row on purpose.
struct Class {
    name: &'static str,
    /// How many rows it explains; one more is a fault.
    rows: usize,
    explains: fn(&Row) -> bool,
}

struct Table {
    name: &'static str,
    kind: Kind,
    rows: Vec<Row>,
    /// Rows that must agree at least.
    agreeing_min: usize,
    classes: &'static [Class],
}

fn folder() -> Option<PathBuf> {
    [
        "/../shared/data/normalization",
        "/../../shared/data/normalization",
    ]
    .iter()
    .map(|sub| PathBuf::from(format!("{}{sub}", env!("CARGO_MANIFEST_DIR"))))
    .find(|p| p.is_dir())
}

fn rows_of(file: &str) -> Vec<Value> {
    let path = folder().expect("looked for before").join(file);
    match serde_json::from_slice(&std::fs::read(path).expect("a readable file")).expect("JSON") {
        Value::Array(rows) => rows,
        other => vec![other],
    }
}

fn text(row: &Value, field: &str) -> String {
    row[field].as_str().unwrap_or_default().to_owned()
}

fn accepted(kind: Kind, text: &str) -> bool {
    canonicalize(kind, text, None, &Rules::default()).is_ok()
}

fn validators(
    name: &'static str,
    kind: Kind,
    agreeing_min: usize,
    classes: &'static [Class],
) -> Table {
    let rows = rows_of("validators/cases.json")
        .into_iter()
        .filter(|r| r["validator"] == name)
        .map(|r| {
            let value = r["value"].as_array().map_or(&r["value"], |parts| &parts[0]);
            Row {
                text: value.as_str().unwrap_or_default().to_owned(),
                good: r["expect"] == "valid",
                note: format!("{} {}", r["params"], r["value"]),
            }
        })
        .collect();
    Table {
        name,
        kind,
        rows,
        agreeing_min,
        classes,
    }
}

/// Presidio finds identifiers in sentences: what it found is good, and where
/// it found none each word of the sentence's last part is bad.
fn presidio(
    name: &'static str,
    file: &str,
    field: &str,
    places: &str,
    kind: Kind,
    agreeing_min: usize,
    classes: &'static [Class],
) -> Table {
    let mut rows = Vec::new();
    for r in rows_of(file) {
        let sentence = text(&r, field);
        let found = r[places].as_array().cloned().unwrap_or_default();
        for place in &found {
            let at = |i: usize| {
                place[i]
                    .as_u64()
                    .and_then(|n| usize::try_from(n).ok())
                    .expect("a position")
            };
            let part: String = sentence.chars().skip(at(0)).take(at(1) - at(0)).collect();
            rows.push(Row {
                text: part,
                good: true,
                note: sentence.clone(),
            });
        }
        if found.is_empty() {
            let told = r["expected_len"].as_u64().expect("a count");
            let part = sentence
                .rsplit_once(": ")
                .map_or(sentence.as_str(), |(_, last)| last);
            rows.push(Row {
                text: part.to_owned(),
                good: told > 0,
                note: sentence.clone(),
            });
        }
    }
    Table {
        name,
        kind,
        rows,
        agreeing_min,
        classes,
    }
}

fn multicoin(agreeing_min: usize, classes: &'static [Class]) -> Table {
    let rows = rows_of("wallets/multicoin_validator.json")
        .iter()
        .map(|r| Row {
            text: text(r, "input"),
            good: r["expect"] == "valid",
            note: format!("{} {}", r["currency"], r["opt"]).to_lowercase(),
        })
        .collect();
    Table {
        name: "multicoin",
        kind: Kind::Wallet,
        rows,
        agreeing_min,
        classes,
    }
}

fn erc55(agreeing_min: usize) -> Table {
    let rows = rows_of("wallets/erc55.json")
        .iter()
        .map(|r| Row {
            text: text(r, "input"),
            good: r["eip55_valid"] == true,
            note: String::new(),
        })
        .collect();
    Table {
        name: "erc55",
        kind: Kind::Wallet,
        rows,
        agreeing_min,
        classes: &[],
    }
}

fn bips(agreeing_min: usize, classes: &'static [Class]) -> Table {
    let rows = rows_of("wallets/bip173_350.json")
        .iter()
        .filter(|r| !text(r, "section").starts_with('<'))
        .map(|r| {
            let section = text(r, "section");
            Row {
                text: text(r, "input"),
                good: !section.contains("invalid") && !section.contains("not valid"),
                note: format!("{section} {}", r["note"]),
            }
        })
        .collect();
    Table {
        name: "bip173_350",
        kind: Kind::Wallet,
        rows,
        agreeing_min,
        classes,
    }
}

fn bitcoinjs(agreeing_min: usize, classes: &'static [Class]) -> Table {
    let all = rows_of("wallets/bitcoinjs_address.json").remove(0);
    let mut rows = Vec::new();
    let mut push = |list: &Value, fields: &[&str], good: bool| {
        for r in list.as_array().into_iter().flatten() {
            for field in fields.iter().filter(|f| r[**f].is_string()) {
                rows.push(Row {
                    text: text(r, field),
                    good,
                    note: format!("{} {}", r["network"], r["exception"]),
                });
            }
        }
    };
    push(&all["standard"], &["base58check", "bech32"], true);
    push(&all["bech32"], &["address"], true);
    for list in all["invalid"].as_object().expect("an object").values() {
        push(list, &["address"], false);
    }
    Table {
        name: "bitcoinjs",
        kind: Kind::Wallet,
        rows,
        agreeing_min,
        classes,
    }
}

const NETWORK: fn(&Row) -> bool = |r| r.good && r.text.contains('/');
const PRIVATE: fn(&Row) -> bool = |r| !r.good && r.note.contains("private");
const UPPER_0X: fn(&Row) -> bool = |r| !r.good && r.text.starts_with("0X");

const MULTICOIN: &[Class] = &[
    Class {
        name: "EOS names are taken only where the chain is named",
        rows: 4,
        explains: |r| r.good && r.note.contains("eos"),
    },
    Class {
        name: "0X is read as 0x",
        rows: 2,
        explains: UPPER_0X,
    },
    Class {
        name: "a good address, of another chain than the row names",
        rows: 44,
        // Every one of them has a checksum or the fixed width of its family.
        explains: |r| !r.good && !r.note.starts_with("null"),
    },
];
const BIPS: &[Class] = &[
    Class {
        name: "bech32 strings that hold no 20 bytes are no addresses",
        rows: 8,
        explains: |r| r.good && !r.note.contains("segwit"),
    },
    Class {
        name: "BIP 173 addresses that BIP 350 withdrew",
        rows: 3,
        explains: |r| r.good && r.note.contains("segwit"),
    },
    Class {
        name: "any prefix passes with a right checksum, for other chains",
        rows: 2,
        explains: |r| !r.good && r.text.starts_with("tc1"),
    },
];
const BITCOINJS: &[Class] = &[
    Class {
        name: "any version and prefix passes with a right checksum, for other chains",
        rows: 4,
        explains: |r| !r.good && !r.text.starts_with("bc1p"),
    },
    Class {
        name: "whether a taproot key is on the curve is not checked",
        rows: 1,
        explains: |r| !r.good && r.text.starts_with("bc1p"),
    },
];
const IPS: &[Class] = &[
    Class {
        name: "a network is no address",
        rows: 9,
        explains: NETWORK,
    },
    Class {
        name: "private or global is a warning",
        rows: 8,
        explains: PRIVATE,
    },
];
const DOMAINS: &[Class] = &[
    Class {
        name: "underscores are accepted, as in real data",
        rows: 3,
        explains: |r| !r.good && r.text.contains('_') && !r.note.contains("tld"),
    },
    Class {
        name: "a site by bare IPv4 address is accepted, with a warning",
        rows: 1,
        explains: |r| !r.good && r.text.parse::<std::net::Ipv4Addr>().is_ok(),
    },
    Class {
        name: "top levels are not listed: the list changes",
        rows: 7,
        explains: |r| !r.good && r.note.contains("consider_tld"),
    },
];
const EMAILS: &[Class] = &[Class {
    name: "quoted control characters are refused",
    rows: 1,
    explains: |r| r.good && r.text.contains('\t'),
}];
const URLS: &[Class] = &[Class {
    name: "private or global is not a matter of shape",
    rows: 4,
    explains: PRIVATE,
}];
const BSC: &[Class] = &[Class {
    name: "0X is read as 0x",
    rows: 1,
    explains: UPPER_0X,
}];
const P_IBANS: &[Class] = &[Class {
    name: "case and grouping are folded",
    rows: 2,
    explains: |r| {
        !r.good && (r.text.contains(|c: char| c.is_ascii_lowercase()) || r.text.starts_with("G T"))
    },
}];
const P_IPS: &[Class] = &[
    Class {
        name: "places counted with an f-string's quotes",
        rows: 2,
        explains: |r| r.good && r.text.starts_with("f'"),
    },
    Class {
        name: "a network is no address",
        rows: 15,
        explains: NETWORK,
    },
];
const P_CARDS: &[Class] = &[Class {
    name: "issuers are not listed: length and Luhn decide",
    rows: 1,
    explains: |r| !r.good && r.text.starts_with('1'),
}];
const P_CRYPTO: &[Class] = &[Class {
    name: "64 hexadecimal digits are an account of other chains",
    rows: 1,
    explains: |r| !r.good && r.text.len() == 64,
}];

fn tables() -> Vec<Table> {
    vec![
        multicoin(818, MULTICOIN),
        erc55(9),
        bips(60, BIPS),
        bitcoinjs(48, BITCOINJS),
        validators("ip_address", Kind::Ip, 48, IPS),
        validators("domain", Kind::Domain, 44, DOMAINS),
        validators("email", Kind::Email, 28, EMAILS),
        validators("card", Kind::BankCard, 4, &[]),
        validators("iban", Kind::Iban, 4, &[]),
        validators("mac_address", Kind::Mac, 8, &[]),
        validators("eth_address", Kind::Wallet, 17, &[]),
        validators("bsc_address", Kind::Wallet, 24, BSC),
        validators("trx_address", Kind::Wallet, 27, &[]),
        validators("btc_address", Kind::Wallet, 8, &[]),
        validators("url", Kind::Url, 3, URLS),
        presidio(
            "presidio iban",
            "presidio/iban.json",
            "iban",
            "expected_res",
            Kind::Iban,
            329,
            P_IBANS,
        ),
        presidio(
            "presidio ip",
            "presidio/ip.json",
            "text",
            "expected_positions",
            Kind::Ip,
            103,
            P_IPS,
        ),
        presidio(
            "presidio mac",
            "presidio/mac.json",
            "text",
            "expected_positions",
            Kind::Mac,
            21,
            &[],
        ),
        presidio(
            "presidio credit_card",
            "presidio/credit_card.json",
            "text",
            "expected_res",
            Kind::BankCard,
            20,
            P_CARDS,
        ),
        presidio(
            "presidio crypto",
            "presidio/crypto.json",
            "text",
            "expected_positions",
            Kind::Wallet,
            10,
            P_CRYPTO,
        ),
    ]
}

#[test]
fn other_projects_tables_agree_but_for_named_classes() {
    if folder().is_none() {
        println!("skipped: no normalization data here");
        return;
    }
    let mut faults = Vec::new();
    println!(
        "{:22} {:>5} {:>7} {:>9}  disagreements explained",
        "table", "rows", "agree", "share"
    );
    for table in tables() {
        let wrong: Vec<&Row> = table
            .rows
            .iter()
            .filter(|r| accepted(table.kind, &r.text) != r.good)
            .collect();
        let agreeing = table.rows.len() - wrong.len();
        let mut explained = String::new();
        let mut open: Vec<&&Row> = wrong.iter().collect();
        for class in table.classes {
            let before = open.len();
            open.retain(|r| !(class.explains)(r));
            explained += &format!("{}: {}; ", class.name, before - open.len());
            if before - open.len() != class.rows {
                faults.push(format!(
                    "{}: class {:?} explains {}",
                    table.name,
                    class.name,
                    before - open.len()
                ));
            }
        }
        let share = 100.0 * agreeing as f64 / table.rows.len().max(1) as f64;
        println!(
            "{:22} {:>5} {agreeing:>7} {share:>8.1}%  {explained}",
            table.name,
            table.rows.len()
        );
        for r in open {
            faults.push(format!(
                "{}: {:?} is said to be {}: {}",
                table.name,
                r.text,
                if r.good { "good" } else { "bad" },
                r.note
            ));
        }
        if agreeing < table.agreeing_min || table.rows.is_empty() {
            faults.push(format!(
                "{}: {agreeing} agree, {} did",
                table.name, table.agreeing_min
            ));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
