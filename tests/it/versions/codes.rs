//! PROTOCOL.md section 14: the table of what a peer can be told has every code
//! of the errors that travel, and the status that the code gives it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::Path;

use casegate::blame::{Blame, Blamed};
use casegate::rpc::status::to_peer;

/// Errors of which a peer can be told each.
const WHOLE: [&str; 8] = [
    "src/custodian/error.rs",
    "src/oprf/dkg/error.rs",
    "src/policy.rs",
    "src/rosterlog.rs",
    "src/rpc/admit.rs",
    "src/rpc/audit/error.rs",
    "src/rpc/exchange/error.rs",
    "src/witness.rs",
];
/// Errors of which a peer can be told some.
const PARTS: [&str; 4] = [
    "src/checkpoint.rs",
    "src/ledger/error.rs",
    "src/oprf.rs",
    "src/store.rs",
];
/// Codes that no error has: what the gRPC library refuses (`versions::raw`).
const OTHER: [&str; 4] = [
    "version.unknown",
    "rpc.malformed",
    "rpc.too_large",
    "rpc.compressed",
];

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(path).expect("it is text")
}

/// An error that is nothing but its blame.
struct Only(Blame);

impl fmt::Display for Only {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("only")
    }
}

impl Blamed for Only {
    fn blame(&self) -> Blame {
        self.0
    }

    fn code(&self) -> &'static str {
        "only.this"
    }
}

/// The status of each blame, by the blame's name.
fn statuses() -> BTreeMap<String, String> {
    let all = [
        Blame::Misbehaved,
        Blame::Incompatible,
        Blame::Denied,
        Blame::NotFound,
        Blame::Stale,
        Blame::Busy,
        Blame::Unavailable,
        Blame::Internal,
    ];
    let status = |blame| format!("{:?}", to_peer(&Only(blame)).code());
    all.map(|blame| (format!("{blame:?}"), status(blame)))
        .into()
}

/// The arms of the one `match` of a function, as (variants, what follows `=>`).
fn arms(body: &str) -> Vec<(Vec<String>, String)> {
    let parts: Vec<&str> = body.split("=>").collect();
    let word = |text: &str| -> String {
        text.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    parts
        .windows(2)
        .map(|pair| {
            let variants = pair[0].split("Self::").skip(1).map(word);
            let result = pair[1].trim_start_matches(|c: char| c.is_whitespace() || c == '{');
            (variants.collect(), result.to_owned())
        })
        .collect()
}

/// The codes that the errors of a file give themselves, with their blames.
fn codes_of(path: &str) -> BTreeMap<String, String> {
    let text = read(path);
    let mut out = BTreeMap::new();
    for implementation in text.split("impl Blamed for ").skip(1) {
        let whole = implementation.split("\n}\n").next().unwrap_or_default();
        let (blame, code) = whole.split_once("fn code").expect("both functions");
        let blames: BTreeMap<String, String> = arms(blame)
            .into_iter()
            .filter_map(|(variants, result)| {
                let blame = result.strip_prefix("Blame::")?;
                let blame = blame
                    .split(|c: char| !c.is_alphanumeric())
                    .next()?
                    .to_owned();
                Some(variants.into_iter().map(move |v| (v, blame.clone())))
            })
            .flatten()
            .collect();
        let one = blame.split("Blame::").nth(1);
        let one = one.and_then(|b| b.split(|c: char| !c.is_alphanumeric()).next());
        for (variants, result) in arms(code) {
            let Some(code) = result.strip_prefix('"').and_then(|c| c.split('"').next()) else {
                continue;
            };
            for variant in variants {
                let blame = match blames.get(&variant) {
                    Some(blame) => blame.clone(),
                    None => one.expect("one blame for all").to_owned(),
                };
                out.insert(code.to_owned(), blame);
            }
        }
    }
    assert!(!out.is_empty(), "no codes in {path}");
    out
}

/// The rows of the table, as code and status in the spelling of `Code`'s `Debug`.
fn table() -> BTreeMap<String, String> {
    let text = read("PROTOCOL.md");
    let (_, after) = text
        .split_once("| code | status | when |")
        .expect("the table");
    let rows = after
        .lines()
        .skip(1)
        .take_while(|line| line.is_empty() || line.starts_with('|'));
    let rows: Vec<&str> = rows.filter(|line| line.starts_with("| `")).collect();
    let camel = |status: &str| -> String {
        let words = status.split('_').map(|word| {
            let (first, rest) = word.split_at(1);
            format!("{first}{}", rest.to_lowercase())
        });
        words.collect()
    };
    let mut out = BTreeMap::new();
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        for code in cells[1].split(", ") {
            let twice = out.insert(code.trim_matches('`').to_owned(), camel(cells[2]));
            assert!(twice.is_none(), "{code} stands twice");
        }
    }
    out
}

#[test]
fn the_table_of_codes_is_what_the_errors_say() {
    let (statuses, table) = (statuses(), table());
    let mut known = BTreeMap::new();
    for path in WHOLE.into_iter().chain(PARTS) {
        for (code, blame) in codes_of(path) {
            known.insert(code, statuses[&blame].clone());
        }
    }
    let wrong: Vec<_> = table
        .iter()
        .filter(|(code, status)| {
            !OTHER.contains(&code.as_str()) && known.get(*code) != Some(*status)
        })
        .collect();
    assert!(wrong.is_empty(), "as the errors say: {wrong:?}");
    let told: BTreeSet<String> = WHOLE
        .iter()
        .flat_map(|path| codes_of(path).into_keys())
        .collect();
    let missing: Vec<_> = told
        .iter()
        .filter(|code| !table.contains_key(*code))
        .collect();
    assert!(missing.is_empty(), "not in the table: {missing:?}");
    assert!(OTHER.iter().all(|code| table.contains_key(*code)));
}

#[test]
fn every_refusal_of_a_service_has_a_code() {
    // A status without a code is one that nobody put into words.
    for path in [
        "src/rpc/exchange.rs",
        "src/rpc/custodian.rs",
        "src/rpc/audit.rs",
        "src/rpc/admit.rs",
        "src/rpc/desk.rs",
    ] {
        let text = read(path);
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        for bare in [
            "Status::new(",
            "Status::internal(",
            "Status::invalid_argument(",
        ] {
            assert!(!text.contains(bare), "{path}: {bare}");
        }
        for bare in [
            "Status::not_found(",
            "Status::unavailable(",
            "Status::permission_denied(",
        ] {
            assert!(!text.contains(bare), "{path}: {bare}");
        }
    }
}
