//! Strict Ed25519 and DSSE against vectors of others, and against `openssl`.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use casegate::keys::{PublicKey, SigningKey};
use casegate::record::{Entry, pae};
use serde_json::Value;

use crate::record::{key, statement};

/// Finds optional test data `shared/vectors/NAME` beside the project.
#[allow(clippy::print_stderr, reason = "a skipped test says so")]
pub(crate) fn vectors(name: &str) -> Option<PathBuf> {
    let found = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .skip(1)
        .map(|dir| dir.join("shared/vectors").join(name))
        .find(|path| path.exists());
    if found.is_none() {
        eprintln!("skipped: the optional test data {name} is not here");
    }
    found
}

/// Reads a JSON file of the optional test data.
pub(crate) fn json(path: &std::path::Path) -> Value {
    let bytes = std::fs::read(path).expect("a file of test data");
    serde_json::from_slice(&bytes).expect("JSON")
}

/// The text of a JSON field.
pub(crate) fn field<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().expect(name)
}

fn accepts(key: &str, message: &[u8], signature: &str) -> bool {
    let key = hex::decode(key).expect("hex");
    let signature = hex::decode(signature).expect("hex");
    PublicKey::from_slice(&key).is_ok_and(|key| key.verify(message, &signature).is_ok())
}

#[test]
fn signatures_on_which_tools_disagree_are_refused() {
    let Some(path) = vectors("cctv-ed25519/ed25519vectors.json") else {
        return;
    };
    let cases = json(&path);
    let cases = cases.as_array().expect("an array");
    assert_eq!(cases.len(), 914);
    let mut accepted = 0;
    for case in cases {
        // Every flag names a property on which some verifier refuses: low order,
        // a second encoding, or a low-order component, which with a key of the
        // prime-order group always leaves a residue.
        let unflagged = case["flags"].as_array().is_none_or(Vec::is_empty);
        let got = accepts(
            field(case, "key"),
            field(case, "msg").as_bytes(),
            field(case, "sig"),
        );
        assert_eq!(got, unflagged, "{case}");
        accepted += usize::from(got);
    }
    assert_eq!(
        accepted,
        cases.iter().filter(|c| c["flags"].is_null()).count()
    );
}

#[test]
fn wycheproof_verdicts_are_ours() {
    let Some(path) = vectors("wycheproof/ed25519_test.json") else {
        return;
    };
    let mut checked = 0;
    for group in json(&path)["testGroups"].as_array().expect("groups") {
        for case in group["tests"].as_array().expect("tests") {
            let message = hex::decode(field(case, "msg")).expect("hex");
            let got = accepts(
                field(&group["publicKey"], "pk"),
                &message,
                field(case, "sig"),
            );
            assert_eq!(got, field(case, "result") == "valid", "{case}");
            checked += 1;
        }
    }
    assert_eq!(checked, 151);
}

#[test]
fn signing_gives_the_known_answers_of_rfc_8032() {
    let Some(path) = vectors("rfc8032/ed25519-sign.input") else {
        return;
    };
    let text = std::fs::read_to_string(path).expect("a file of test data");
    assert_eq!(text.lines().count(), 1024);
    for line in text.lines() {
        let mut fields = line
            .split(':')
            .map(|field| hex::decode(field).expect("hex"));
        let mut next = || fields.next().expect("four fields");
        let (secret, public, message, signed) = (next(), next(), next(), next());
        let seed = secret[..32].try_into().expect("a seed");
        let key = SigningKey::from_seed(seed).expect("a key");
        assert_eq!(key.public_key().as_bytes()[..], public);
        assert_eq!(key.sign(&message)[..], signed[..64]);
        assert!(key.public_key().verify(&message, &signed[..64]).is_ok());
        assert!(key.public_key().verify(&message, &signed[..63]).is_err());
    }
}

#[test]
fn dsse_bytes_and_signatures_of_the_reference_are_ours() {
    let Some(path) = vectors("dsse/cross_lang_signing.json") else {
        return;
    };
    let file = json(&path);
    let seed = hex::decode(field(&file, "test_seed_hex")).expect("hex");
    let key = SigningKey::from_seed(seed[..].try_into().expect("32 bytes")).expect("a key");
    let decode = |text: &str| STANDARD.decode(text).expect("base64");
    for fixture in file["fixtures"].as_array().expect("fixtures") {
        let payload = decode(field(fixture, "canonical_b64"));
        let signed = pae(field(fixture, "payload_type"), &payload);
        assert_eq!(
            signed,
            decode(field(fixture, "pae_b64")),
            "{}",
            fixture["name"]
        );
        let signature = decode(field(&fixture["envelope"]["signatures"][0], "sig"));
        assert_eq!(key.sign(&signed)[..], signature[..]);
        assert!(key.public_key().verify(&signed, &signature).is_ok());
        assert!(key.public_key().verify(&payload, &signature).is_err());
    }
}

/// How many different trusted keys signed a DSSE envelope, as a roster counts its
/// roots: each key once, whatever labels the signatures carry.
fn distinct_signers(case: &Value) -> usize {
    let envelope = &case["envelope"];
    let text = |value: &Value| STANDARD.decode(value.as_str().unwrap_or_default());
    let Ok(payload) = text(&envelope["payload"]) else {
        return 0;
    };
    let signed = pae(field(envelope, "payloadType"), &payload);
    let signatures = envelope["signatures"].as_array().expect("signatures");
    let keys = case["trusted_keys"].as_array().expect("keys");
    let signs = |key: &&Value| {
        signatures.iter().any(|one| {
            text(&one["sig"]).is_ok_and(|signature| {
                accepts(field(key, "public_hex"), &signed, &hex::encode(signature))
            })
        })
    };
    keys.iter().filter(signs).count()
}

#[test]
fn thresholds_count_keys_and_not_signatures() {
    let Some(path) = vectors("dsse/threshold_cases.json") else {
        return;
    };
    // Rules about key lists and thresholds themselves: a roster refuses them when
    // it is read (`roster.field`), before anything is counted.
    let lists = [
        "same-key-two-labels",
        "same-label-two-keys",
        "zero-threshold",
        "empty-payload-type",
    ];
    let file = json(&path);
    let cases = file["cases"].as_array().expect("cases");
    assert_eq!(cases.len(), 17);
    for case in cases {
        let id = field(case, "id");
        if lists.contains(&id) {
            continue;
        }
        let wanted = case["threshold"].as_u64().expect("a threshold");
        let met = distinct_signers(case) as u64 >= wanted;
        assert_eq!(
            met,
            field(&case["expected"], "decision") == "verified",
            "{id}"
        );
    }
}

#[test]
fn the_pre_authentication_encoding_is_that_of_the_specification() {
    assert_eq!(
        pae("http://example.com/HelloWorld", b"hello world"),
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    );
    assert_eq!(pae("", b""), b"DSSEv1 0  0 ");
    // Lengths count bytes, not characters.
    assert_eq!(pae("\u{00e9}", b"\n"), "DSSEv1 2 \u{00e9} 1 \n".as_bytes());
}

/// From the JSON export alone: payload and signature out of it, the signed bytes
/// rebuilt, the public key in its DER form (RFC 8410).
const SCRIPT: &str = r#"
set -e
field() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p" entry.json; }
field payload | base64 -d > payload
field sig | base64 -d > sig
type=$(field payloadType)
printf 'DSSEv1 %d %s %d ' "${#type}" "$type" "$(wc -c < payload)" > signed
cat payload >> signed
printf '\060\052\060\005\006\003\053\145\160\003\041\000' > public.der
cat public.raw >> public.der
openssl pkeyutl -verify -pubin -inkey public.der -keyform DER -rawin -in signed -sigfile sig
"#;

fn openssl_accepts(entry: &Entry, public: &PublicKey) -> bool {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("entry.json"), entry.dsse_json()).expect("a file");
    std::fs::write(dir.path().join("public.raw"), public.as_bytes()).expect("a file");
    Command::new("sh")
        .args(["-c", SCRIPT])
        .current_dir(dir.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("a shell")
        .success()
}

#[test]
#[allow(clippy::print_stderr, reason = "a skipped test says so")]
fn printf_and_openssl_check_an_exported_entry() {
    if Command::new("openssl").arg("version").output().is_err() {
        eprintln!("skipped: there is no openssl command here");
        return;
    }
    let (key, other) = (key(1), key(2));
    let entry = Entry::sign(&statement(&key), &key);
    assert!(!openssl_accepts(&entry, other.public_key()));
    assert!(openssl_accepts(&entry, key.public_key()));
}
