//! What an officer signs is the bytes as they were sent: a client that shares no
//! code with casegate, or that is newer than the node, is understood, and what
//! does not fit together is refused with a code of its own.

use casegate::access::officer::{self, SKEW_S_MAX, verify_officer};
use casegate::federation::OFFICER;
use casegate::peers::status::code_of;
use casegate::record::typed_commitment;
use casegate::rpc::desk_client::signature::sign;
use casegate::wire::v1::{self, SignedCall};
use prost::Message;
use rcgen::SigningKey as _;

use super::{lines, of, raw_desk};
use crate::cluster::{Cluster, NOW, id, purpose};

const SALT: [u8; 32] = [8; 32];
const CSV: &str = "case_no,category,kind,value,role\nC-1,x,domain,loan.example,suspect\n";

/// Protobuf by hand: a number of up to 63 bits.
fn varint(mut n: u64) -> Vec<u8> {
    let mut out = vec![];
    while n > 0x7f {
        out.push(0x80 | (n & 0x7f) as u8);
        n >>= 7;
    }
    out.push(u8::try_from(n).expect("less than 128"));
    out
}

/// Protobuf by hand: a field of bytes or a text.
fn field(number: u64, bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    let head = [varint(number << 3 | 2), varint(bytes.len() as u64)].concat();
    [head, bytes.to_vec()].concat()
}

/// Protobuf by hand: a field that is a number.
fn number(number: u64, n: u64) -> Vec<u8> {
    [varint(number << 3), varint(n)].concat()
}

fn hidden(value: &str) -> String {
    typed_commitment(&SALT, value).to_string()
}

/// The key of hefei's officer, used past casegate.
struct Hand(rcgen::KeyPair);

impl Hand {
    fn of(cluster: &Cluster) -> Self {
        let made = cluster.federation.made(&id("hefei")).expect("a member");
        let mut officers = made.officers.iter();
        let officer = officers.find(|one| one.identity.to_string().ends_with(OFFICER));
        let pem = &officer.expect("the officer").key_pem;
        Self(rcgen::KeyPair::from_pem(pem).expect("a key"))
    }

    /// A call of `method` with the encoded `request`, its fields in an order and
    /// with fields of its own.
    fn call(&self, method: &str, nonce: u8, request: &[u8], values: &[&str]) -> SignedCall {
        let scheme = match self.0.algorithm() {
            one if *one == rcgen::PKCS_ED25519 => 0x0807,
            _ => 0x0403,
        };
        let signed = [
            field(5, request),
            field(99, "of a version to come"),
            number(4, scheme),
            number(3, NOW.unsigned_abs()),
            field(2, [nonce; 16]),
            field(1, method),
        ]
        .concat();
        self.signed(signed, values)
    }

    fn signed(&self, signed: Vec<u8>, values: &[&str]) -> SignedCall {
        let signature = self
            .0
            .sign(&officer::signed_bytes(&signed))
            .expect("signed");
        let values = values.iter().map(|value| field(4, value));
        let whole = [
            values.collect::<Vec<_>>().concat(),
            field(77, "also of a version to come"),
            field(3, SALT),
            field(2, signature),
            field(1, signed),
        ];
        SignedCall::decode(&whole.concat()[..]).expect("a message")
    }
}

/// A query of C-1 for the element `value` (or its commitment), by hand.
fn query(value: &str) -> Vec<u8> {
    let purpose = [field(2, "reason"), field(1, "fraud")].concat();
    let element = [
        field(50, hidden("a value in a field to come")),
        field(2, value),
        field(1, "domain"),
    ];
    [
        field(60, "a field to come"),
        field(4, purpose),
        field(2, element.concat()),
        field(1, "C-1"),
    ]
    .concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_another_hand_and_a_later_version_is_understood_and_its_line_verifies() {
    let cluster = Cluster::new(&["hefei"]).await;
    cluster.import("hefei", CSV).await;
    let hand = Hand::of(&cluster);
    let values = ["a value in a field to come", "loan.example"];
    let call = hand.call("Desk.Query", 1, &query(&hidden("loan.example")), &values);
    let signed = call.signed.clone();
    let mut desk = raw_desk(&cluster, "hefei");
    let answer = desk.query(call.clone()).await.expect("it is answered");
    assert_eq!(answer.into_inner().elements_asked, 1);
    let line = of(&cluster, "hefei", "Desk.Query").await.pop();
    let line = line.expect("a line");
    assert_eq!(line.outcome, "ok");
    assert_eq!(line.officer_request, officer::signed_bytes(&signed));
    let (cert, kept) = (&line.officer_certificate, &line.officer_request);
    let said = verify_officer(cert, kept, &line.officer_signature).expect("it verifies");
    assert_eq!(
        said.request,
        query(&hidden("loan.example")),
        "as it was sent"
    );
    let again = desk.query(call).await.expect_err("once");
    assert_eq!(code_of(&again), "officer.replayed");
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_what_was_signed_is_refused_and_no_line_holds_a_value() {
    let cluster = Cluster::new(&["hefei"]).await;
    cluster.import("hefei", CSV).await;
    let hand = Hand::of(&cluster);
    let good = query(&hidden("loan.example"));
    let call =
        |nonce, request: &[u8], values: &[&str]| hand.call("Desk.Query", nonce, request, values);
    let cut = |call: SignedCall| SignedCall {
        signed: call.signed.slice(..call.signed.len() - 1),
        ..call
    };
    let other = |call: SignedCall| SignedCall {
        signed: [&call.signed[..], &field(99, "x")].concat().into(),
        ..call
    };
    let broken = hand.call("Desk.Query", 11, &[0x0a, 9], &[]);
    let refused = [
        (
            "not of its commitment",
            "values",
            call(2, &good, &["bank.example"]),
        ),
        ("missing", "values", call(3, &good, &[])),
        (
            "extra",
            "values",
            call(4, &good, &["loan.example", "bank.example"]),
        ),
        (
            "twice",
            "values",
            call(5, &good, &["loan.example", "loan.example"]),
        ),
        (
            "in plain",
            "plain_value",
            call(6, &query("loan.example"), &[]),
        ),
        (
            "in plain too",
            "plain_value",
            call(7, &query("loan.example"), &["loan.example"]),
        ),
        ("cut", "unsigned", cut(call(8, &good, &["loan.example"]))),
        (
            "other bytes",
            "bad_signature",
            other(call(9, &good, &["loan.example"])),
        ),
        (
            "another method",
            "bad_signature",
            hand.call("Desk.Hits", 10, &good, &["loan.example"]),
        ),
        ("no request", "unreadable", broken),
        ("nothing", "unsigned", SignedCall::default()),
    ];
    let mut desk = raw_desk(&cluster, "hefei");
    for (what, code, call) in refused {
        let status = desk.query(call).await.expect_err(what);
        assert_eq!(code_of(&status), format!("officer.{code}"), "{what}");
    }
    // None of them used up the nonce of a request that is right.
    for nonce in 2..=9 {
        let answer = desk.query(call(nonce, &good, &["loan.example"])).await;
        answer.expect("it is answered");
    }
    for line in lines(&cluster, "hefei").await {
        let holds = |text: &[u8]| line.encode_to_vec().windows(text.len()).any(|w| w == text);
        assert!(
            !holds(b"loan.example") && !holds(b"bank.example"),
            "{line:?}"
        );
    }
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_is_signed_as_every_call_is() {
    let cluster = Cluster::new(&["hefei"]).await;
    let own = cluster
        .federation
        .officer(&id("hefei"))
        .expect("an officer");
    let options = v1::ImportOptions {
        format: "csv".into(),
        purpose: Some(purpose()),
        ..Default::default()
    };
    let import = async |call: Option<SignedCall>| {
        let first = v1::ImportPart {
            call,
            ..Default::default()
        };
        let bytes = v1::ImportPart {
            bytes: CSV.as_bytes().into(),
            ..Default::default()
        };
        let end = v1::ImportPart {
            end: Some(v1::ImportEnd {
                bytes: CSV.len() as u64,
            }),
            ..Default::default()
        };
        let parts = tokio_stream::iter([first, bytes, end]);
        let mut events = raw_desk(&cluster, "hefei")
            .import(parts)
            .await?
            .into_inner();
        while events.message().await?.is_some() {}
        Ok::<_, tonic::Status>(())
    };
    let good = sign(&own, NOW, &options).expect("signed");
    let late = sign(&own, NOW - SKEW_S_MAX - 1, &options).expect("signed");
    let forged = SignedCall {
        signature: late.signature.clone(),
        ..good.clone()
    };
    let query = sign(&own, NOW, &v1::QueryRequest::default()).expect("signed");
    for (code, call) in [
        ("unsigned", None),
        ("untimely", Some(late)),
        ("bad_signature", Some(forged)),
        ("bad_signature", Some(query)),
    ] {
        let status = import(call).await.expect_err(code);
        assert_eq!(code_of(&status), format!("officer.{code}"));
    }
    assert!(cluster.parts("hefei").ledger.is_queue_empty());
    import(Some(good.clone())).await.expect("it is taken");
    let status = import(Some(good)).await.expect_err("once");
    assert_eq!(code_of(&status), "officer.replayed");
    cluster.federation.stop().await;
}

// A flood of wrongly signed calls was once a line each, with a count of 0.
#[tokio::test(flavor = "multi_thread")]
async fn wrongly_signed_calls_are_one_line_and_one_more_with_their_count() {
    let cluster = Cluster::new(&["hefei"]).await;
    let mut desk = raw_desk(&cluster, "hefei");
    for _ in 0..20 {
        let refused = desk.query(SignedCall::default()).await;
        assert_eq!(code_of(&refused.expect_err("refused")), "officer.unsigned");
    }
    let counts = async || {
        let lines = of(&cluster, "hefei", "Desk.Query").await;
        let told = lines.iter().map(|line| (line.caller.clone(), line.count));
        told.collect::<Vec<_>>()
    };
    assert_eq!(counts().await, [(OFFICER.to_owned(), 1)]);
    cluster.clock.advance(61);
    let access = cluster.parts("hefei").access.clone();
    let written = tokio::task::spawn_blocking(move || access.write_denials(false)).await;
    written.expect("written").expect("written");
    let told = [(OFFICER.to_owned(), 1), (OFFICER.to_owned(), 19)];
    assert_eq!(counts().await, told);
    cluster.federation.stop().await;
}
