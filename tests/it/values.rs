//! The files in proto/values, by which a stranger makes the same canonical
//! values: they say what the code does.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use casegate::element::{Kind, Refusal, Rules, TokenClass, Warning, canonicalize, tables};
use serde_json::{Map, Value, json};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("proto/values")
        .join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(file(name)).expect("a file of the project")
}

/// Where what the code says now is left, to be compared and taken over.
fn left_at(name: &str, text: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, text).expect("the test's own directory");
    path
}

#[test]
fn the_tables_are_those_of_the_code() {
    let said: Value = serde_json::from_str(&read("tables.json")).expect("JSON");
    let mut made = json!({ "schema": "casegate.kinds/1" });
    let tables = serde_json::to_value(tables()).expect("tables");
    let fields = made.as_object_mut().expect("an object");
    fields.extend(tables.as_object().cloned().unwrap_or_default());
    if said != made {
        let text = serde_json::to_string_pretty(&made).expect("JSON") + "\n";
        let path = left_at("tables.json", &text);
        panic!("proto/values/tables.json is not what the code does: {path:?} is");
    }
}

#[test]
fn the_protocol_names_the_token_class_of_each_kind() {
    let protocol = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("PROTOCOL.md"))
        .expect("a file of the project");
    for class in [TokenClass::Enumerable, TokenClass::Open] {
        let of_class = Kind::ALL.iter().filter(|kind| kind.class() == class);
        let names: Vec<&str> = of_class.map(|kind| kind.as_str()).collect();
        let row = format!("| {} | {} |", class.as_str(), names.join(", "));
        assert!(protocol.contains(&row), "PROTOCOL.md lacks {row}");
    }
}

/// What the code makes of a vector's input.
fn judged(vector: &Map<String, Value>) -> Map<String, Value> {
    let text = |key| vector.get(key).and_then(Value::as_str);
    let kind = Kind::parse(text("kind").expect("a kind")).expect("a known kind");
    let value = text("value").expect("a value");
    let mut out = vector.clone();
    out.retain(|key, _| ["row", "kind", "value", "qualifier"].contains(&key.as_str()));
    match canonicalize(kind, value, text("qualifier"), &Rules::default()) {
        Ok(canonical) => {
            out.insert("canonical".into(), json!(canonical.value));
            if !canonical.linkable {
                out.insert("linkable".into(), json!(false));
            }
            let codes: Vec<_> = canonical.warnings.iter().map(|w| w.code()).collect();
            if !codes.is_empty() {
                out.insert("warnings".into(), json!(codes));
            }
        }
        Err(refusal) => {
            out.insert("refused".into(), json!(refusal.code()));
        }
    }
    out
}

fn vectors() -> Vec<Map<String, Value>> {
    let lines = read("vectors.jsonl");
    let parse = |line: &str| serde_json::from_str(line).expect("a line is a JSON object");
    lines.lines().map(parse).collect()
}

#[test]
fn the_vectors_are_what_the_code_makes_of_them() {
    let said = vectors();
    let made: Vec<_> = said.iter().map(judged).collect();
    if said != made {
        let lines = made.iter().map(|v| json!(v).to_string() + "\n");
        let path = left_at("vectors.jsonl", &lines.collect::<String>());
        let first = said.iter().zip(&made).find(|(said, made)| said != made);
        panic!("the code makes of the vectors what is in {path:?}; first {first:?}");
    }
}

/// Codes that no text can be refused with under the default rules, or only by
/// what a line of JSON cannot show.
const NOT_BY_A_VALUE: [&str; 1] = ["phone.region"];

#[test]
fn every_kind_refusal_and_warning_has_a_vector() {
    let mut seen = BTreeSet::new();
    let mut rows = BTreeMap::<String, BTreeSet<String>>::new();
    for vector in vectors() {
        let text = |key: &str| vector.get(key).and_then(Value::as_str).unwrap_or_default();
        seen.insert(text("refused").to_owned());
        seen.insert(text("kind").to_owned());
        let warnings = vector.get("warnings").and_then(Value::as_array);
        seen.extend(
            warnings
                .into_iter()
                .flatten()
                .filter_map(|w| w.as_str().map(str::to_owned)),
        );
        rows.entry(text("row").to_owned())
            .or_default()
            .insert(text("canonical").to_owned());
    }
    let wanted = (Kind::ALL.iter().map(|kind| kind.as_str()))
        .chain(Refusal::ALL.iter().map(|refusal| refusal.code()))
        .chain(Warning::ALL.iter().map(|warning| warning.code()))
        .filter(|code| !NOT_BY_A_VALUE.contains(code));
    let missing: Vec<_> = wanted.filter(|code| !seen.contains(*code)).collect();
    assert!(missing.is_empty(), "no vector shows {missing:?}");
}
