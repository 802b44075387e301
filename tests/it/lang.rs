//! The catalogue is complete: both languages, the same placeholders, no key
//! that the source asks for and the catalogue lacks.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use casegate::audit::matching::{Difference, Unsettled};
use casegate::element::{Kind, Refusal, Role, Warning};
use casegate::lang::{Lang, catalogue, every_phrase, placeholders};
use casegate::policy::{Method, Right};
use casegate::roster::MemberRole;
use casegate::wire::v1;

/// Families whose keys are put together at run time, from codes and names.
const BY_CODE: [&str; 24] = [
    "audit.difference.",
    "audit.finding.",
    "audit.receipt.",
    "audit.scope.",
    "audit.unsettled.",
    "audit.verdict.",
    "audit.why.",
    "audit.word.",
    "warning.",
    "refusal.",
    "error.",
    "doctor.",
    "label.audience.",
    "label.body.",
    "label.class.",
    "label.kind.",
    "label.level.",
    "label.method.",
    "label.outcome.",
    "label.reason.",
    "label.right.",
    "label.role.",
    "label.word.",
    "said.",
];

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("the source tree is readable") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// Families of which whole keys stand in the source as literals.
const LITERAL: [&str; 12] = [
    "audit.column.",
    "audit.match.",
    "audit.policy.",
    "audit.title.",
    "demo.",
    "label.column.",
    "label.title.",
    "message.",
    "page.",
    "pki.",
    "roster.column.",
    "roster.show.",
];

/// The keys that stand literally in the source, and where.
fn keys_in_use() -> BTreeMap<String, String> {
    let mut files = Vec::new();
    sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli"),
        &mut files,
    );
    let mut keys = BTreeMap::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("source is text");
        let production = text.split("#[cfg(test)]").next().unwrap_or_default();
        for literal in production.split('"').skip(1).step_by(2) {
            let plain = literal
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b"._".contains(&b));
            let of = LITERAL.iter().any(|family| literal.starts_with(family));
            if plain && of && !SCHEMAS.contains(&literal) {
                keys.insert(literal.to_owned(), file.display().to_string());
            }
        }
    }
    keys
}

/// Names of commands and of a federation, which look like keys.
const SCHEMAS: [&str; 8] = [
    "demo.example",
    "pki.ca",
    "pki.dev",
    "pki.keys",
    "pki.keys.next",
    "pki.request",
    "pki.show",
    "pki.sign",
];

#[test]
fn every_phrase_has_both_languages_and_the_same_placeholders() {
    let mut wrong = Vec::new();
    for (key, phrase) in catalogue() {
        let (Some(zh), Some(en)) = (&phrase.zh, &phrase.en) else {
            wrong.push(format!("{key}: a language is missing"));
            continue;
        };
        let sorted = |text| placeholders(text).into_iter().collect::<BTreeSet<&str>>();
        if sorted(zh) != sorted(en) {
            wrong.push(format!(
                "{key}: {:?} in zh, {:?} in en",
                placeholders(zh),
                placeholders(en)
            ));
        }
        if zh.trim().is_empty() || en.trim().is_empty() {
            wrong.push(format!("{key}: empty"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_key_stands_in_two_places() {
    let mut seen = BTreeSet::new();
    let twice: Vec<_> = every_phrase()
        .into_iter()
        .map(|(key, _)| key)
        .filter(|key| !seen.insert(key.clone()))
        .collect();
    assert!(twice.is_empty(), "{twice:#?}");
}

#[test]
fn every_key_that_the_source_asks_for_is_there() {
    let missing: Vec<_> = keys_in_use()
        .into_iter()
        .filter(|(key, _)| !catalogue().contains_key(key))
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn keys_that_nobody_uses_do_not_stay() {
    let mut files = Vec::new();
    sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut files,
    );
    let texts = files
        .iter()
        .map(|file| fs::read_to_string(file).expect("source is text"));
    let source = texts.collect::<String>();
    let idle: Vec<&String> = catalogue()
        .keys()
        .filter(|key| !BY_CODE.iter().any(|family| key.starts_with(family)))
        .filter(|key| !source.contains(&format!("\"{key}\"")))
        .collect();
    assert!(idle.is_empty(), "{idle:?}");
}

#[test]
fn every_kind_role_refusal_and_warning_has_words() {
    for lang in [Lang::Zh, Lang::En] {
        let wordless: Vec<String> = [
            Kind::ALL
                .iter()
                .map(|kind| ("label.kind", kind.as_str()))
                .collect::<Vec<_>>(),
            Role::ALL
                .iter()
                .map(|role| ("label.role", role.as_str()))
                .collect(),
            Refusal::ALL
                .iter()
                .map(|refusal| ("refusal", refusal.code()))
                .collect(),
            Warning::ALL
                .iter()
                .map(|warning| ("warning", warning.code()))
                .collect(),
        ]
        .concat()
        .into_iter()
        .filter(|(family, code)| !lang.knows(family, code))
        .map(|(family, code)| format!("{family}.{code}"))
        .collect();
        assert!(wordless.is_empty(), "{wordless:?}");
    }
}

/// The numbers of an enum of the wire, by their names without the enum's own.
fn wire_words(prefix: &str, name: impl Fn(i32) -> Option<&'static str>) -> Vec<String> {
    let names = (0..64).filter_map(name);
    let words: Vec<String> = names
        .map(|name| name.strip_prefix(prefix).expect(name).to_ascii_lowercase())
        .collect();
    assert!(words.len() > 2, "{prefix}");
    words
}

#[test]
fn every_word_of_a_closed_set_that_reaches_a_table_has_words_of_its_own() {
    let texts = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
    let body = |n| v1::BodyType::try_from(n).ok().map(|b| b.as_str_name());
    let reason = |n| v1::RetractReason::try_from(n).ok().map(|r| r.as_str_name());
    let sets: Vec<(&str, Vec<String>)> = vec![
        (
            "label.method",
            Method::ALL
                .iter()
                .map(|m| m.as_str().to_owned())
                .chain(texts(&["custodian.evaluate"]))
                .collect(),
        ),
        (
            "label.right",
            Right::ALL.iter().map(|r| r.as_str().to_owned()).collect(),
        ),
        ("label.body", wire_words("BODY_TYPE_", body)),
        ("label.reason", wire_words("RETRACT_REASON_", reason)),
        ("label.class", texts(&["enumerable", "open"])),
        ("label.level", texts(&["ok", "warning", "wrong"])),
        (
            "label.audience",
            texts(&["federation", "region", "members", "nobody"]),
        ),
        (
            "label.word",
            [
                MemberRole::Bureau,
                MemberRole::Department,
                MemberRole::Auditor,
            ]
            .iter()
            .map(|role| role.as_str().to_owned())
            .chain(texts(&["idle", "working", "waiting", "open", "closed"]))
            .chain(texts(&["active", "suspended", "witnessed", "provisional"]))
            .chain(texts(&["ok", "unknown", "yes", "no", "done"]))
            .collect(),
        ),
        (
            "audit.difference",
            Difference::ALL
                .iter()
                .map(|d| d.as_str().to_owned())
                .collect(),
        ),
        (
            "audit.unsettled",
            Unsettled::ALL
                .iter()
                .map(|u| u.as_str().to_owned())
                .collect(),
        ),
        (
            "audit.receipt",
            texts(&["erased", "never_held", "partly", "pending"]),
        ),
    ];
    for lang in [Lang::Zh, Lang::En] {
        for (family, words) in &sets {
            for word in words {
                assert!(lang.knows(family, word), "{family}.{word} in {lang}");
            }
        }
    }
}

#[test]
fn what_nodes_say_in_english_is_told_in_chinese() {
    use casegate::ids::MemberId;
    use casegate::ledger::{LedgerError, Standing};
    use casegate::tokens::{Silent, TokensError};

    let origin = "anhui.example/wuhu/records/1".parse().expect("an origin");
    let silent = vec![Silent {
        member: MemberId::new("court").expect("a name"),
        code: "unreachable".into(),
    }];
    let said = [
        LedgerError::Forked(origin).to_string(),
        LedgerError::Stopped.to_string(),
        TokensError::TooFew {
            got: 1,
            want: 2,
            silent,
        }
        .to_string(),
        TokensError::Stopped.to_string(),
        Standing::Fenced.access_sentence().to_owned(),
        Standing::Superseded.access_sentence().to_owned(),
        Standing::Conflict.access_sentence().to_owned(),
        "wuhu: its node does not answer (no answer within 5 s)".to_owned(),
        "linked to 4 cases by 3 shared elements".to_owned(),
        "this is not allowed".to_owned(),
    ];
    for sentence in said {
        let told = Lang::Zh.retold(&sentence);
        assert!(told != sentence, "{sentence}");
        assert!(!told.contains(" the ") && !told.contains(" of "), "{told}");
        assert_eq!(Lang::En.retold(&sentence), sentence);
    }
}

/// The codes that errors give, read from the source: what stands between quotes in
/// a `fn code`, which names nothing else.
fn codes() -> BTreeMap<String, String> {
    let mut files = Vec::new();
    sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut files,
    );
    let mut codes = BTreeMap::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("source is text");
        let production = text.split("#[cfg(test)]").next().unwrap_or_default();
        for function in production.split("fn code(").skip(1) {
            let body = function.split("\n    }\n").next().unwrap_or_default();
            for literal in body.split('"').skip(1).step_by(2) {
                let coded = literal.contains('.')
                    && (literal.chars()).all(|c| {
                        c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_')
                    });
                if coded {
                    codes.insert(literal.to_owned(), file.display().to_string());
                }
            }
        }
    }
    codes
}

#[test]
fn every_code_has_a_sentence_in_both_languages() {
    let codes = codes();
    assert!(codes.len() > 250, "{}", codes.len());
    let wordless: Vec<_> = codes
        .iter()
        .filter(|(code, _)| {
            let families = ["error", "refusal", "warning"];
            !families.iter().any(|family| {
                let phrase = catalogue().get(&format!("{family}.{code}"));
                phrase.is_some_and(|p| p.zh.is_some() && p.en.is_some())
            })
        })
        .collect();
    assert!(wordless.is_empty(), "{wordless:#?}");
}

#[test]
fn no_sentence_stands_for_a_code_that_nobody_gives() {
    let mut files = Vec::new();
    sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut files,
    );
    let texts = files
        .iter()
        .map(|file| fs::read_to_string(file).expect("source is text"));
    let source = texts.collect::<String>();
    let idle: Vec<_> = catalogue()
        .keys()
        .filter_map(|key| key.strip_prefix("error."))
        .filter(|code| *code != "generic" && !source.contains(&format!("\"{code}\"")))
        .collect();
    assert!(idle.is_empty(), "{idle:#?}");
}

#[test]
fn chinese_is_chinese_and_english_is_ascii() {
    for (key, phrase) in catalogue() {
        let en = phrase.en.as_deref().unwrap_or_default();
        assert!(en.is_ascii(), "{key}: {en}");
        let zh = phrase.zh.as_deref().unwrap_or_default();
        let names = ["IBAN", "QQ", "Telegram", "IMEI", "IMSI"];
        let bare = key == "label.sum.one";
        assert!(!zh.is_ascii() || bare || names.contains(&zh), "{key}: {zh}");
    }
}

#[test]
fn a_text_is_filled_in_either_language() {
    let values = [("case", "A-1")];
    let en = Lang::En.coded("error", "case.unknown", &values);
    let zh = Lang::Zh.coded("error", "case.unknown", &values);
    assert!(
        en.starts_with("case A-1 is not in this node's case table"),
        "{en}"
    );
    assert!(zh.contains("A-1") && zh.contains("案件表"), "{zh}");
    assert!(
        Lang::Zh
            .coded("error", "nothing.known", &[])
            .contains("nothing.known")
    );
}
