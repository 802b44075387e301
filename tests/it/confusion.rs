//! Nothing that is signed for one purpose passes for something else, even where one
//! key would sign all of it: every signed thing is offered in the place of each other.

mod nodes;

use bytes::Bytes;
use casegate::access::officer::{self, verify_officer};
use casegate::checkpoint::{
    Checkpoint, SignedNote, cosignature_key_id, cosigned_bytes, note_key_id, open_cosignature,
    signature_line,
};
use casegate::ids::{Digest, LogIndex, Origin, TreeSize};
use casegate::keys::SigningKey;
use casegate::pki::dev::dev_member;
use casegate::record::{
    AccessBody, AmendBody, Audience, Body, BodyType, CaseNoticeBody, Entry, PAYLOAD_TYPE,
    RetractBody, RetractReason, Statement, pae, withheld_bytes,
};
use casegate::roster::log::RosterCheckpoint;
use casegate::roster::{self, Draft, MemberRole, RosterChain};
use casegate::tls::Material;
use casegate::wire::v1::{self, OfficerRequest};
use prost::Message;

use crate::cluster::{NOW, id};
use crate::record::{element, key, origin};
use crate::tamper::federation;

const RECORDS: &str = "anhui.example/hefei/records/1";
const ACCESS: &str = "anhui.example/hefei/access/1";
const ROSTER: &str = "anhui.example/roster";
const WITNESS: &str = "anhui.example/hefei/witness";

/// A kind of thing that is signed.
struct Signed {
    name: &'static str,
    /// What tells these bytes from all others: two kinds of one context differ in
    /// what the payload itself says.
    context: &'static str,
    /// A payload that its verifier takes.
    payload: Vec<u8>,
    /// The bytes that are signed for a payload.
    bytes: fn(&[u8]) -> Vec<u8>,
    /// Whether its verifier takes a payload with a signature.
    takes: fn(&[u8], &[u8]) -> bool,
}

/// The one key of this test.
fn own() -> SigningKey {
    key(1)
}

fn verbatim(payload: &[u8]) -> Vec<u8> {
    payload.to_vec()
}

fn statement_of(log: &str, body_type: BodyType) -> Vec<u8> {
    Statement {
        origin: origin(log),
        body_type,
        body_sha256: Digest([9; 32]),
        issued_at: NOW,
        expires_at: 0,
        key_id: own().id(),
    }
    .encode()
    .to_vec()
}

fn takes_statement(log: &str, payload: &[u8], signature: &[u8]) -> bool {
    let entry = v1::Entry {
        statement: Bytes::copy_from_slice(payload),
        signatures: vec![v1::Signature {
            key_id: Bytes::copy_from_slice(own().id().as_bytes()),
            signature: Bytes::copy_from_slice(signature),
        }],
    };
    Entry::parse(entry.encode_to_vec().into()).is_ok_and(|entry| {
        entry.check_place(&origin(log)).is_ok() && entry.verify(own().public_key()).is_ok()
    })
}

fn note(text: &str, name: &str, key_id: [u8; 4], signature: &[u8]) -> Vec<u8> {
    format!("{text}\n{}", signature_line(name, key_id, signature)).into_bytes()
}

fn takes_checkpoint(log: &str, payload: &[u8], signature: &[u8]) -> bool {
    let own = own();
    let text = String::from_utf8_lossy(payload);
    let made = note(&text, log, note_key_id(log, own.public_key()), signature);
    Checkpoint::open(&made, &origin(log), &[own.public_key()]).is_ok()
}

fn takes_roster_checkpoint(payload: &[u8], signature: &[u8]) -> bool {
    let own = own();
    let text = String::from_utf8_lossy(payload);
    let key_id = note_key_id(ROSTER, own.public_key());
    let made = note(&text, ROSTER, key_id, signature);
    let keys = std::iter::once(own.public_key());
    RosterCheckpoint::open(&made, &federation(), keys).is_ok()
}

fn takes_cosignature(payload: &[u8], signature: &[u8]) -> bool {
    let own = own();
    let text = String::from_utf8_lossy(payload);
    let time = u64::try_from(NOW).expect("after 1970").to_be_bytes();
    let key_id = cosignature_key_id(WITNESS, own.public_key());
    let made = note(&text, WITNESS, key_id, &[&time, signature].concat());
    let found = SignedNote::parse(&made)
        .and_then(|note| open_cosignature(&note, WITNESS, own.public_key()));
    found.is_ok_and(|found| found.is_some())
}

fn takes_roster(payload: &[u8], signature: &[u8]) -> bool {
    let signed = v1::SignedRoster {
        roster: Bytes::copy_from_slice(payload),
        signatures: vec![v1::RosterSignature {
            key_id: Bytes::copy_from_slice(own().id().as_bytes()),
            signature: Bytes::copy_from_slice(signature),
        }],
    };
    RosterChain::start(Digest::of(payload), &signed.encode_to_vec(), |_| true).is_ok()
}

/// A certificate of the one key, as an officer would have it.
fn certificate() -> Vec<u8> {
    let mut pkcs8 = hex::decode("302e020100300506032b657004220420").expect("hex");
    pkcs8.extend_from_slice(own().seed().as_slice());
    let der = rustls::pki_types::PrivatePkcs8KeyDer::from(pkcs8);
    let key = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&der, &rcgen::PKCS_ED25519);
    let (key, mut params) = (key.expect("a key"), rcgen::CertificateParams::default());
    let name = "spiffe://anhui.example/bureau/hefei/officer/li.wei";
    params.subject_alt_names = vec![rcgen::SanType::URI(name.try_into().expect("ASCII"))];
    let made = params.self_signed(&key).expect("a certificate");
    let material = Material::from_pem(&made.pem(), &key.serialize_pem());
    material.expect("they fit").certificate().to_vec()
}

fn takes_request(payload: &[u8], signature: &[u8]) -> bool {
    let signed = pae(officer::PAYLOAD_TYPE, payload);
    verify_officer(&certificate(), &signed, signature).is_ok()
}

fn withheld() -> Vec<u8> {
    withheld_bytes(&origin(RECORDS), &id("wuhu"), 1, &[(3, 5)])
}

fn checkpoint_of(log: &str) -> Vec<u8> {
    let checkpoint = Checkpoint {
        origin: origin(log),
        size: TreeSize(2),
        root: Digest([7; 32]),
    };
    checkpoint.body().into_bytes()
}

fn roster_bytes() -> Vec<u8> {
    let roots = [own().public_key().clone()];
    let made = dev_member(&federation(), &id("hefei"), MemberRole::Bureau, NOW, &[]);
    let member = made.expect("a member").draft("hefei.example:7440");
    let draft = Draft::first(&federation(), &roots, 1, NOW, 1_000).member(member);
    draft.wire.encode_to_vec()
}

fn request() -> Vec<u8> {
    OfficerRequest {
        method: "Desk.Query".into(),
        nonce: vec![7; officer::NONCE_BYTES].into(),
        signed_at: NOW,
        scheme: 0x0807,
        request: vec![1, 2, 3].into(),
    }
    .encode_to_vec()
}

/// Everything that PROTOCOL.md says is signed.
fn all() -> Vec<Signed> {
    let cosigned: fn(&[u8]) -> Vec<u8> = |text| {
        let time = u64::try_from(NOW).expect("after 1970");
        cosigned_bytes(&String::from_utf8_lossy(text), time)
    };
    let roster_checkpoint = RosterCheckpoint {
        federation: federation(),
        size: TreeSize(2),
        root: Digest([7; 32]),
    };
    let kind = |name, context, payload, bytes, takes| Signed {
        name,
        context,
        payload,
        bytes,
        takes,
    };
    vec![
        kind(
            "a statement of the records log",
            "statement",
            statement_of(RECORDS, BodyType::Element),
            |p| pae(PAYLOAD_TYPE, p),
            |p, s| takes_statement(RECORDS, p, s),
        ),
        kind(
            "a statement of the access log",
            "statement",
            statement_of(ACCESS, BodyType::Access),
            |p| pae(PAYLOAD_TYPE, p),
            |p, s| takes_statement(ACCESS, p, s),
        ),
        kind(
            "a roster",
            "roster",
            roster_bytes(),
            roster::signed_bytes,
            takes_roster,
        ),
        kind(
            "an officer's request",
            "desk",
            request(),
            |p| pae(officer::PAYLOAD_TYPE, p),
            takes_request,
        ),
        kind("a withholding", "withheld", withheld(), verbatim, |p, s| {
            p == withheld() && own().public_key().verify(&withheld(), s).is_ok()
        }),
        kind(
            "a checkpoint of the records log",
            "note",
            checkpoint_of(RECORDS),
            verbatim,
            |p, s| takes_checkpoint(RECORDS, p, s),
        ),
        kind(
            "a checkpoint of the access log",
            "note",
            checkpoint_of(ACCESS),
            verbatim,
            |p, s| takes_checkpoint(ACCESS, p, s),
        ),
        kind(
            "a checkpoint of the roster log",
            "note",
            roster_checkpoint.body().into_bytes(),
            verbatim,
            takes_roster_checkpoint,
        ),
        kind(
            "a cosignature",
            "cosignature",
            checkpoint_of(RECORDS),
            cosigned,
            takes_cosignature,
        ),
    ]
}

#[test]
fn a_signature_counts_for_the_kind_of_thing_that_it_was_made_for_and_no_other() {
    let (all, key) = (all(), own());
    for meant in &all {
        let made = key.sign(&(meant.bytes)(&meant.payload));
        assert!(
            (meant.takes)(&meant.payload, &made),
            "{} itself",
            meant.name
        );
        for other in all.iter().filter(|other| other.name != meant.name) {
            let what = format!("{} in the place of {}", meant.name, other.name);
            assert!(
                !(other.takes)(&other.payload, &made),
                "{what}: its signature"
            );
            assert!(!(other.takes)(&meant.payload, &made), "{what}: all of it");
            let whole = (meant.bytes)(&meant.payload);
            assert!(
                !(other.takes)(&whole, &made),
                "{what}: the bytes that were signed"
            );
            // Whoever signs the one does not sign the other, whatever it is made of.
            if meant.context != other.context {
                let fooled = key.sign(&(meant.bytes)(&other.payload));
                let same = (meant.bytes)(&other.payload) == (other.bytes)(&other.payload);
                let taken = (other.takes)(&other.payload, &fooled);
                assert!(
                    !taken || same_by_design(meant, other),
                    "{what}: its payload"
                );
                assert_eq!(same, same_by_design(meant, other), "{what}");
            }
        }
    }
}

/// Notes and withholdings are signed as they stand: what keeps them apart from
/// others is how they begin, see below. A signer of notes signs nothing else.
fn same_by_design(meant: &Signed, other: &Signed) -> bool {
    let verbatim = |kind: &Signed| ["note", "withheld"].contains(&kind.context);
    verbatim(meant) && verbatim(other)
}

#[test]
fn no_bytes_that_are_signed_begin_as_those_of_another_kind_do() {
    let beginning = |kind: &Signed| -> Vec<u8> {
        match kind.context {
            // An origin: a federation's name has no blank, slash or NUL.
            "note" => kind
                .payload
                .split_inclusive(|b| *b == b'\n')
                .next()
                .expect("a line")
                .to_vec(),
            "withheld" => [&[0, 0, 0, 20][..], b"casegate/withheld/v1"].concat(),
            "cosignature" => b"cosignature/v1\ntime ".to_vec(),
            "statement" => format!("DSSEv1 46 {PAYLOAD_TYPE} ").into_bytes(),
            "roster" => format!("DSSEv1 43 {} ", roster::PAYLOAD_TYPE).into_bytes(),
            _ => format!("DSSEv1 41 {} ", officer::PAYLOAD_TYPE).into_bytes(),
        }
    };
    let all = all();
    for kind in &all {
        let begins = beginning(kind);
        let signed = (kind.bytes)(&kind.payload);
        assert!(signed.starts_with(&begins), "{}", kind.name);
        for other in all.iter().filter(|other| other.context != kind.context) {
            let theirs = beginning(other);
            assert!(
                !theirs.starts_with(&begins),
                "{} and {}",
                kind.name,
                other.name
            );
        }
    }
    // No log can be named so that its checkpoint begins as something else does.
    for name in [
        "cosignature/v1",
        "cosignature/v1/records/1",
        "DSSEv1 46 x/hefei/records/1",
    ] {
        let named: Result<Origin, _> = name.parse();
        assert!(
            named.is_err() || !format!("{name}\n").starts_with("cosignature/v1\n"),
            "{name}"
        );
    }
    // TLS signs 64 blanks before its context (RFC 8446 section 4.4.3).
    let tls = [
        &[b' '; 64][..],
        b"TLS 1.3, client CertificateVerify\0",
        &[5; 32],
    ]
    .concat();
    let made = own().sign(&tls);
    for kind in &all {
        assert!(!(kind.takes)(&kind.payload, &made), "{}", kind.name);
        assert!(!(kind.takes)(&tls, &made), "{}", kind.name);
    }
}

fn bodies() -> Vec<Body> {
    let nonce = [3; 16];
    let audience = Audience::Federation;
    let range = v1::IndexRange { start: 1, end: 2 };
    let item = v1::ReceiptItem {
        range: Some(range),
        state: 1,
        retracted_by: 3,
        at: NOW,
    };
    let erased = v1::ErasedRange {
        range: Some(range),
        retracted_by: 3,
        reason: 1,
        decided_at: NOW,
        erased_at: NOW,
        owed: vec!["wuhu".into()],
    };
    vec![
        Body::Element(element()),
        Body::CaseNotice(CaseNoticeBody {
            nonce,
            case_ref: element().case_ref,
            category: "fraud".into(),
            month: 202_611,
            desk: "desk".into(),
            expires_at: 0,
            audience: audience.clone(),
        }),
        Body::Amend(AmendBody {
            nonce,
            target_index: LogIndex(1),
            target_leaf: Digest([5; 32]),
            observed_on: 3,
            audience,
            handling: String::new(),
            expires_at: 0,
        }),
        Body::Retract(RetractBody {
            nonce,
            targets: vec![(LogIndex(1), LogIndex(2))],
            reason: RetractReason::Mistake,
        }),
        Body::Receipt(v1::ReceiptBody {
            nonce: nonce.to_vec().into(),
            origin: RECORDS.into(),
            items: vec![item],
        }),
        Body::Erasure(v1::ErasureBody {
            nonce: nonce.to_vec().into(),
            items: vec![erased],
        }),
        Body::Access(AccessBody {
            nonce: nonce.to_vec().into(),
            scope: 1,
            method: "Desk.Query".into(),
            caller: "li.wei".into(),
            outcome: "ok".into(),
            ..AccessBody::default()
        }),
    ]
}

/// The statement says the type, under the signature; and no body of one type reads
/// as one of another.
#[test]
fn a_body_is_none_of_another_type() {
    let key = own();
    for body in bodies() {
        let bytes = body.encode();
        for other in bodies() {
            let (is, called) = (body.body_type(), other.body_type());
            let log = if called == BodyType::Access {
                ACCESS
            } else {
                RECORDS
            };
            let statement = Statement {
                origin: origin(log),
                body_type: called,
                body_sha256: Digest::of(&bytes),
                issued_at: NOW,
                expires_at: other.expires_at(),
                key_id: key.id(),
            };
            let opened = Entry::sign(&statement, &key).open_body(&bytes);
            assert_eq!(
                opened.is_ok(),
                is == called,
                "{is:?} called {called:?}: {opened:?}"
            );
        }
    }
    // An access line in a records log, or the reverse, is no statement at all.
    for (log, body_type) in [(RECORDS, BodyType::Access), (ACCESS, BodyType::Receipt)] {
        let payload = statement_of(log, body_type);
        assert!(Statement::decode(&payload).is_err(), "{log} {body_type:?}");
        let made = key.sign(&pae(PAYLOAD_TYPE, &payload));
        assert!(!takes_statement(log, &payload, &made));
    }
}
