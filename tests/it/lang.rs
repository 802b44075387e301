//! The catalogue is complete: both languages, the same placeholders, no key
//! that the source asks for and the catalogue lacks.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use casegate::element::{Kind, Refusal, Role, Warning};
use casegate::lang::{Lang, catalogue, every_phrase, placeholders};

/// Families whose keys are put together at run time, from codes and names.
const BY_CODE: [&str; 16] = [
    "audit.difference.",
    "audit.finding.",
    "audit.reason.",
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
    "label.kind.",
    "label.role.",
    "label.word.",
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

/// The calls that take a key first.
const CALLS: [&str; 4] = [".text(", ".title(", ".column(", ".number("];

/// The keys that stand literally in the source, and where.
fn keys_in_use() -> BTreeMap<String, String> {
    let mut files = Vec::new();
    sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut files,
    );
    let mut keys = BTreeMap::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("source is text");
        let production = text.split("#[cfg(test)]").next().unwrap_or_default();
        for part in CALLS.iter().flat_map(|call| production.split(call).skip(1)) {
            let literal = part
                .trim_start()
                .strip_prefix('"')
                .and_then(|p| p.split_once('"'));
            if let Some((key, _)) = literal.filter(|(key, _)| key.contains('.')) {
                keys.insert(key.to_owned(), file.display().to_string());
            }
        }
    }
    keys
}

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
        assert!(!zh.is_ascii() || names.contains(&zh), "{key}: {zh}");
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
