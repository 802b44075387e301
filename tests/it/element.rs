//! Canonical values: one test a row of PROTOCOL.md's table of equalities, what
//! is not equal, what is refused, and that a second pass changes nothing.

#![allow(clippy::print_stdout, reason = "a test says that it was skipped")]

mod names;
mod numbers;
mod wallets;

use std::path::PathBuf;

use casegate::element::{
    Canonical, Kind, Refusal, Role, Rules, TokenClass, Warning, canonicalize, token_input,
};
use proptest::prelude::*;

fn read(kind: Kind, raw: &str, qualifier: Option<&str>) -> Result<Canonical, Refusal> {
    canonicalize(kind, raw, qualifier, &Rules::default())
}

fn value(kind: Kind, raw: &str) -> String {
    read(kind, raw, None)
        .expect("an identifier of its kind")
        .value
}

fn with(kind: Kind, raw: &str, qualifier: &str) -> String {
    read(kind, raw, Some(qualifier))
        .expect("an identifier of its kind")
        .value
}

/// All of `same` have the value `want`, and reading that again changes nothing.
fn all_are(kind: Kind, want: &str, same: &[&str]) {
    for raw in same.iter().chain([&want]) {
        assert_eq!(value(kind, raw), want, "{kind} {raw:?}");
    }
}

fn distinct(kind: Kind, raws: &[&str]) {
    let mut values: Vec<String> = raws.iter().map(|raw| value(kind, raw)).collect();
    values.sort();
    values.dedup();
    assert_eq!(values.len(), raws.len(), "{kind} {raws:?} -> {values:?}");
}

fn refused(kind: Kind, why: Refusal, raws: &[&str]) {
    for raw in raws {
        assert_eq!(read(kind, raw, None).err(), Some(why), "{kind} {raw:?}");
    }
}

#[test]
fn text_that_looks_the_same_is_the_same() {
    all_are(
        Kind::Qq,
        "123456",
        &[
            " 123456 ",
            "\u{feff}123456",
            "１２３４５６",
            "123\u{200b}456",
            "\u{3000}123456",
        ],
    );
    refused(Kind::Qq, Refusal::Empty, &["", "  ", "\u{200b}"]);
    refused(Kind::Qq, Refusal::Masked, &["123**6"]);
    refused(Kind::Wechat, Refusal::Control, &["abc\ndef"]);
    refused(Kind::Wechat, Refusal::TooLong, &[&"a".repeat(3000)]);
    // One character that stands for a whole sentence.
    refused(Kind::Wechat, Refusal::TooLong, &[&"\u{fdfa}".repeat(100)]);
}

#[test]
fn names_of_kinds_and_roles_read_back_in_both_languages_and_on_the_wire() {
    for kind in Kind::ALL {
        assert_eq!(Kind::parse(kind.as_str()), Some(*kind));
        assert_eq!(Kind::from_wire(kind.to_wire() as i32), Some(*kind));
        for name in kind.aliases() {
            assert_eq!(Kind::parse(name), Some(*kind), "{name}");
        }
    }
    for role in Role::ALL {
        assert_eq!(Role::parse(role.as_str()), Some(*role));
        assert_eq!(Role::from_wire(role.to_wire() as i32), Some(*role));
    }
    assert_eq!(
        (Kind::parse("手机号"), Role::parse("嫌疑人")),
        (Some(Kind::Phone), Some(Role::Suspect))
    );
    assert_eq!(
        (
            Kind::parse("Phone"),
            Kind::from_wire(0),
            Kind::from_wire(99),
            Role::from_wire(-1)
        ),
        (None, None, None, None)
    );
    let enumerable = Kind::ALL
        .iter()
        .filter(|k| k.class() == TokenClass::Enumerable)
        .count();
    assert_eq!((Kind::ALL.len(), enumerable), (23, 9));
    assert_eq!(token_input(Kind::BankCard, "41"), b"bank-card\x0041");
}

#[test]
fn no_refusal_repeats_the_value_and_every_code_is_one_of_a_kind() {
    let mut codes: Vec<&str> = Refusal::ALL
        .iter()
        .map(|r| r.code())
        .chain(Warning::ALL.iter().map(|w| w.code()))
        .collect();
    let count = codes.len();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), count);
    let shown = format!("{:?}", read(Kind::Qq, "7654321", None).expect("a number"));
    assert!(!shown.contains("7654321"), "{shown}");
}

fn stable(kind: Kind, raw: &str, qualifier: Option<&str>) -> Result<(), TestCaseError> {
    if let Ok(once) = read(kind, raw, qualifier) {
        for again in [None, qualifier] {
            let twice = read(kind, &once.value, again);
            // What was taken only because of its chain is nothing without it.
            if again.is_none() && once.warnings.contains(&Warning::WalletUnchecked) {
                continue;
            }
            prop_assert_eq!(
                twice.map(|c| c.value).ok(),
                Some(once.value.clone()),
                "{} {:?} {:?}",
                kind,
                raw,
                again
            );
        }
    }
    Ok(())
}

fn kinds() -> impl Strategy<Value = Kind> {
    (0..Kind::ALL.len()).prop_map(|i| Kind::ALL[i])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn canonicalizing_any_text_twice_changes_nothing(kind in kinds(), raw in "\\PC{1,40}") {
        stable(kind, &raw, None)?;
    }

    #[test]
    fn canonicalizing_likely_text_twice_changes_nothing(
        kind in kinds(),
        raw in "(@|https?://|www\\.|t\\.me/|cn:|\\+?86|1[3-9]|95|皖|張|mailto:|0x|[a-zA-Z]{1,4}:)?[0-9A-Za-zａ-ｚ張偉·. :@#|_\\-]{1,20}(\\.com|@x\\.cn|转1|X)?",
        qualifier in proptest::option::of("(fb|weibo|eth|bch|ltc|CN|US|1990-01-02|摩托车|安卓|[a-z]{2,5})"),
    ) {
        stable(kind, &raw, qualifier.as_deref())?;
    }

    #[test]
    fn canonicalizing_digits_twice_changes_nothing(kind in kinds(), raw in "\\+?[0-9]{3,20}") {
        stable(kind, &raw, None)?;
    }
}

/// The folder of optional test data, where it is there.
fn data(sub: &str) -> Option<PathBuf> {
    let beside = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data")).join(sub);
    let above = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data")).join(sub);
    [beside, above].into_iter().find(|p| p.is_dir())
}

#[test]
fn every_value_of_the_linking_data_is_its_own_canonical_form() {
    let Some(folder) = data("linking") else {
        println!("skipped: no linking data here");
        return;
    };
    let mut rows = 0;
    let mut wrong = Vec::new();
    let files = std::fs::read_dir(folder).expect("a readable folder");
    for file in files
        .map(|f| f.expect("an entry").path())
        .filter(|p| p.extension().is_some_and(|e| e == "csv"))
    {
        let mut reader = csv::Reader::from_path(&file).expect("a CSV file");
        for row in reader.records() {
            let row = row.expect("a row");
            rows += 1;
            let kind = Kind::parse(&row[2]).expect("a kind");
            let got = read(kind, &row[3], None).map(|c| c.value);
            if got.as_deref() != Ok(&row[3]) {
                wrong.push(format!("{kind} {} -> {got:?}", &row[3]));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {rows}: {:#?}",
        wrong.len(),
        &wrong[..wrong.len().min(20)]
    );
    assert!(rows > 100_000, "{rows} rows");
}
