//! The operator's commands as programs read them: which fields their JSON has,
//! and of which type, is held to golden files. Values differ from run to run.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::{Processes, casegate, told};

/// A type in place of each value; of a list the types of its members, each once.
fn shape(value: &Value) -> Value {
    match value {
        Value::Null => json!("null"),
        Value::Bool(_) => json!("bool"),
        Value::Number(n) if n.is_f64() => json!("fraction"),
        Value::Number(_) => json!("number"),
        Value::String(_) => json!("text"),
        Value::Array(all) => {
            let mut kinds: Vec<Value> = Vec::new();
            for kind in all.iter().map(shape) {
                if !kinds.contains(&kind) {
                    kinds.push(kind);
                }
            }
            Value::Array(kinds)
        }
        Value::Object(all) => all.iter().map(|(k, v)| (k.clone(), shape(v))).collect(),
    }
}

/// Compares the shape with `golden/NAME.json`; the schema is held to its text.
pub(crate) fn shaped(name: &str, value: &Value) {
    let mut now = shape(value);
    now["schema"] = value["schema"].clone();
    let now = serde_json::to_string_pretty(&now).expect("it is JSON") + "\n";
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/it/processes/golden")
        .join(format!("{name}.json"));
    let known = std::fs::read_to_string(&file).unwrap_or_default();
    if known != now {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("golden");
        std::fs::create_dir_all(&kept).expect("a directory");
        std::fs::write(kept.join(format!("{name}.json")), &now).expect("written");
    }
    assert!(known == now, "{} is not this:\n{now}", file.display());
}

/// Runs a command that needs no config, and returns what it says.
fn plain(words: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_casegate"))
        .args(["--json", "--lang", "en"])
        .args(words)
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{words:?}: {output:?}");
    told(&output)
}

#[test]
fn setting_up_a_member_says_the_same_fields_as_ever() {
    let dir = tempfile::tempdir().expect("a directory");
    let at = |name: &str| dir.path().join(name).display().to_string();
    let who = ["--federation", "anhui.example", "--member", "hefei"];
    let with = |words: &[&str], rest: &[&str]| plain(&[words, &who, rest].concat());
    let home = at("home");
    let init = ["--role", "bureau", "--dir", &home];
    shaped("init", &with(&["init"], &init));
    let ca = at("ca");
    shaped("pki-ca", &with(&["pki", "ca"], &["--out", &ca]));
    shaped("pki-keys", &plain(&["pki", "keys", "--out", &at("keys")]));
    let next = ["pki", "keys", "--next", "--out"];
    shaped(
        "pki-keys-next",
        &plain(&[&next[..], &[&at("keys")]].concat()),
    );
    let officers = at("officers");
    let request = ["--officer", "li.wei", "--out", &officers];
    let requested = with(&["pki", "request"], &request);
    shaped("pki-request", &requested);
    let csr = requested["csr"].as_str().expect("a path");
    let name = requested["name"].as_str().expect("a name");
    let cert = at("li.wei.pem");
    let sign = ["pki", "sign", "--ca", &ca, "--csr", csr, "--name", name];
    shaped("pki-sign", &plain(&[&sign[..], &["--out", &cert]].concat()));
    shaped("pki-show", &plain(&["pki", "show", &cert]));
    let dev = ["pki", "dev", "--members", "hefei,anhui:department"];
    let federation = at("federation");
    let made = plain(&[&dev[..], &["--dir", &federation]].concat());
    shaped("pki-dev", &made);
    let pin = made["pin"].as_str().expect("a pin");
    let file = format!("{federation}/hefei/roster.bin");
    let chain = ["--file", &file, "--pin", pin];
    shaped(
        "roster-verify",
        &plain(&[&["roster", "verify"], &chain[..]].concat()),
    );
    shaped(
        "roster-show",
        &plain(&[&["roster", "show"], &chain[..]].concat()),
    );
}

#[test]
fn making_a_roster_says_the_same_fields_as_ever() {
    let dir = tempfile::tempdir().expect("a directory");
    let at = |name: &str| dir.path().join(name).display().to_string();
    let who = ["--federation", "anhui.example", "--member", "hefei"];
    plain(&[&["pki", "ca"], &who[..], &["--out", &at("ca")]].concat());
    let keys = plain(&["pki", "keys", "--out", &at("keys")]);
    let key = |name: &str| keys[name].as_str().expect("a public key").to_owned();
    let (records, checkpoint, witness) = (key("records"), key("checkpoint"), key("witness"));
    let description = format!(
        "federation = \"anhui.example\"\nroots = [\"{records}\"]\nroot_threshold = 1\n\
         days = 300\n[[member]]\nid = \"hefei\"\nrole = \"bureau\"\nname = \"Hefei\"\n\
         ca = \"ca/ca.pem\"\nendpoint = \"127.0.0.1:7440\"\nrecords = \"{records}\"\n\
         checkpoint = \"{checkpoint}\"\nwitness = \"{witness}\"\n"
    );
    let (from, out) = (at("roster.toml"), at("roster-1"));
    std::fs::write(&from, description).expect("it is written");
    shaped(
        "roster-new",
        &plain(&["roster", "new", "--from", &from, "--out", &out]),
    );
    let seed = format!("{}/records.seed", at("keys"));
    shaped(
        "roster-sign",
        &plain(&["roster", "sign", "--roster", &out, "--key", &seed]),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn running_a_node_says_the_same_fields_as_ever() {
    let mut nodes = Processes::ready().await;
    shaped("serve", &nodes.nodes["hefei"].ready);
    let ask = |words: &[&str]| {
        let output = casegate(&nodes.officer_config("hefei"), words).output();
        told(&output.expect("it runs"))
    };
    shaped("custodian-ceremony", &ask(&["custodian", "ceremony"]));
    shaped("custodian-budget", &ask(&["custodian", "budget"]));
    shaped("custodian-keygen", &nodes.generated["open"]);
    let mut found = told(&nodes.node("hefei", &["doctor"]));
    // Which words a finding has depends on what is found on this machine.
    for finding in found["findings"].as_array_mut().expect("a list") {
        assert!(finding["words"].is_object(), "{finding}");
        finding["words"] = json!({});
    }
    shaped("doctor", &found);
    assert_eq!(nodes.take("hefei").stop().await, Some(0));
    for command in ["info", "verify", "reindex"] {
        let said = told(&nodes.node("hefei", &["store", command]));
        shaped(&format!("store-{command}"), &said);
    }
}
