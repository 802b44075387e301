//! `casegate audit` as a process: exit codes, JSON, the page, the policy.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use super::fixture::{SIZE, sum, world, write};
use crate::processes::shapes::shaped;

fn casegate(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_casegate"))
        .args(words)
        .output()
        .expect("it runs")
}

fn told(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

/// A directory with the roster file and the policy that pins it.
fn policy(dir: &Path) -> (String, String) {
    let at = |name: &str| dir.join(name).display().to_string();
    let (roster, policy) = (at("roster.bin"), at("policy.toml"));
    std::fs::write(&roster, world().chain.to_bytes()).expect("written");
    std::fs::write(&policy, world().policy().to_toml()).expect("written");
    (roster, policy)
}

#[test]
fn a_policy_is_written_once_and_from_the_pinned_roster_only() {
    let dir = tempfile::tempdir().expect("a directory");
    let (roster, reference) = policy(dir.path());
    let out = dir.path().join("mine.toml").display().to_string();
    let pin = world().chain.pin().to_string();
    let words = |pin: &str| {
        let words = [
            "--json", "audit", "policy", "--roster", &roster, "--pin", pin, "--out", &out,
        ];
        casegate(&words)
    };
    let other = words(&"00".repeat(32));
    assert_eq!(other.status.code(), Some(64), "{other:?}");
    assert!(!Path::new(&out).exists());
    let made = words(&pin);
    assert_eq!(made.status.code(), Some(0), "{made:?}");
    shaped("audit-policy", &told(&made));
    let read = |path: &str| std::fs::read_to_string(path).expect("a file");
    assert_eq!(read(&out), read(&reference));
    let again = words(&pin);
    assert_eq!(again.status.code(), Some(2), "{again:?}");
    assert_eq!(told(&again)["code"], "file.unwritable");
}

#[test]
fn a_bundle_gets_an_exit_code_a_table_json_a_page_and_a_line_a_record() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_, policy) = policy(dir.path());
    let bundle = write(&world().files);
    let bundle = bundle.path().display().to_string();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let (page, lines) = (at("report.html"), at("records.jsonl"));
    let good = casegate(&[
        "--json",
        "audit",
        "verify",
        &bundle,
        "--policy",
        &policy,
        "--jobs",
        "2",
        "--html",
        &page,
        "--records",
        &lines,
    ]);
    assert_eq!(good.status.code(), Some(0), "{good:?}");
    let value = told(&good);
    assert_eq!(value["schema"], "casegate.audit.verify/1");
    shaped("audit-verify", &value);
    let page = std::fs::read_to_string(page).expect("a page");
    assert!(page.starts_with("<!doctype html>") && !page.contains("<script"));
    assert!(page.contains("anhui.example/hefei/records/1"), "{page}");
    let lines = std::fs::read_to_string(lines).expect("lines");
    assert_eq!(lines.lines().count() as u64, SIZE + 4);
    let last: Value = serde_json::from_str(lines.lines().last().expect("a line")).expect("JSON");
    assert_eq!(last["log"], "anhui.example/hefei/access/1");
    for (lang, word) in [("en", "nothing is wrong"), ("zh", "未发现问题")] {
        let shown = casegate(&[
            "--lang", lang, "audit", "verify", &bundle, "--policy", &policy,
        ]);
        let text = String::from_utf8_lossy(&shown.stdout).into_owned();
        assert!(text.contains(word) && shown.status.success(), "{text}");
    }
}

#[test]
fn a_fault_exits_with_1_and_what_cannot_be_looked_at_above() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_, policy) = policy(dir.path());
    let mut files = world().files.clone();
    let entries = files
        .get_mut("access/1/tile/entries/000.p/4")
        .expect("a bundle");
    entries[40] ^= 1;
    sum(&mut files);
    let bundle = write(&files);
    let at = bundle.path().display().to_string();
    let bad = casegate(&["--json", "audit", "verify", &at, "--policy", &policy]);
    assert_eq!(bad.status.code(), Some(1), "{bad:?}");
    let value = told(&bad);
    shaped("audit-verify-bad", &value);
    assert_eq!(
        (&value["ok"], &value["found"][0]["code"]),
        (&false.into(), &"entry.forged".into())
    );
    let nothing = dir.path().display().to_string();
    let none = casegate(&["--json", "audit", "verify", &nothing, "--policy", &policy]);
    assert_eq!(none.status.code(), Some(2), "{none:?}");
    assert_eq!(told(&none)["code"], "bundle.no_format");
    let no_policy = casegate(&["audit", "verify", &at, "--policy", &nothing]);
    assert_eq!(no_policy.status.code(), Some(2), "{no_policy:?}");
    let matched = casegate(&["--json", "audit", "match", &at, "--policy", &policy]);
    assert_eq!(matched.status.code(), Some(1), "{matched:?}");
    shaped("audit-match", &told(&matched));
}

#[test]
fn a_bundle_of_a_newer_format_has_an_exit_code_and_a_sentence_of_its_own() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_, policy) = policy(dir.path());
    let mut files = world().files.clone();
    let newer = r#"{"format":2,"software":"casegate 2.0.0","member":"hefei"}"#;
    files.insert("bundle.json".into(), newer.as_bytes().to_vec());
    let bundle = write(&files);
    let bundle = bundle.path().display().to_string();
    let said = |output: Output| {
        assert_eq!(output.status.code(), Some(5), "{output:?}");
        String::from_utf8(output.stderr).expect("text")
    };
    for (lang, words) in [
        ("en", "casegate 2.0.0 or a newer one"),
        ("zh", "请用 casegate 2.0.0"),
    ] {
        let args = [
            "--lang", lang, "audit", "verify", &bundle, "--policy", &policy,
        ];
        let told = said(casegate(&args));
        assert!(told.contains(words), "{lang}: {told}");
    }
    let args = [
        "--json", "audit", "match", &bundle, &bundle, "--policy", &policy,
    ];
    let matched = casegate(&args);
    assert_eq!(told(&matched)["code"], "bundle.newer");
    said(matched);
}
