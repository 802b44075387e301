//! Bodies that this version cannot read: of a later version, or against a rule.
//! Each is judged alone; what is merely newer is nobody's fault.

mod ends;
mod federation;
pub(crate) mod writer;

use std::sync::Arc;

use casegate::blame::{Blame, Blamed};
use casegate::ids::{LogIndex, LogName};
use casegate::ledger::{BodyState, Ledger, LedgerError, Log, NewEntry, Reading};
use casegate::postings::{PostingKey, PostingsBatch};
use casegate::record::{Audience, Body};
use casegate::store::{Batch, Table};
use casegate::wire::v1::{OpaqueRow, RetractReason};
use prost::Message;

use crate::tamper::{Ledgers, append, element, notice, origin, postings, retraction};
use writer::{Future, element_bytes, with_more};

/// wuhu, that follows hefei, who writes as a later version does.
pub(crate) struct Follower {
    pub(crate) ledgers: Ledgers,
    pub(crate) reader: Ledger,
    pub(crate) log: Arc<Log>,
    pub(crate) hefei: Future,
}

impl Follower {
    pub(crate) fn new() -> Self {
        let ledgers = Ledgers::new();
        let reader = ledgers.open("wuhu");
        let log = reader.replica(&origin("hefei")).expect("a replica");
        let hefei = Future::new(origin("hefei"), ledgers.keys("hefei"));
        Self {
            ledgers,
            reader,
            log,
            hefei,
        }
    }

    /// Takes the entries that are new, and their bodies in one answer.
    pub(crate) fn follow(&self) -> casegate::ledger::BodiesAccepted {
        self.pull();
        let (start, end) = (self.log.head().bodies_upto, self.log.size().0);
        let author = self.ledgers.member("hefei");
        let answer = self.hefei.answer(start, end);
        let accepted = self.reader.accept_bodies(&self.log, &author, answer);
        accepted.expect("an answer")
    }

    pub(crate) fn pull(&self) {
        let author = self.ledgers.member("hefei");
        let chunk = self.hefei.chunk(self.log.size().0);
        let taken = self.reader.accept_chunk(&self.log, &author, chunk);
        taken.expect("entries are taken, whatever their bodies are");
    }

    pub(crate) fn reading(&self, index: u64) -> Reading {
        let reading = self.reader.reading(self.log.number, LogIndex(index));
        reading.expect("readable")
    }
}

/// Bodies of hefei that are good today, with the numbers from `n` on.
fn good(hefei: &mut Future, n: std::ops::Range<u32>) {
    for n in n {
        hefei.put(1, element_bytes("hefei", n, |_| {}), 0);
    }
}

#[test]
fn one_broken_body_holds_up_none_of_its_batch() {
    let mut t = Follower::new();
    good(&mut t.hefei, 0..10);
    let bad = t.hefei.put(
        1,
        element_bytes("hefei", 99, |b| b.handling = "\u{7}".into()),
        0,
    );
    good(&mut t.hefei, 10..50);
    let accepted = t.follow();
    assert_eq!(
        (accepted.held, accepted.refused, accepted.newer),
        (51, 1, 0)
    );
    assert!(accepted.wrong.is_none(), "the source is not to blame");
    assert_eq!(postings(&t.reader).len(), 50);
    assert_eq!(t.log.head().bodies_upto, 51);
    assert!(t.reader.absent(&t.log, 10).expect("absent").is_empty());
    let count = t.reader.opaque_count(&t.log).expect("counted");
    assert_eq!((count.refused, count.newer), (1, 0));
    let first = count.first.expect("the one");
    assert_eq!(first.index, bad);
    assert_eq!(first.code, "record.field");
    assert!(first.sentence.contains("handling"), "{}", first.sentence);
    // Followed as ever after it.
    good(&mut t.hefei, 50..51);
    assert_eq!(t.follow().held, 1);
    assert_eq!(postings(&t.reader).len(), 51);
}

#[test]
fn whatever_is_newer_is_held_and_neither_indexed_nor_blamed() {
    let mut t = Follower::new();
    good(&mut t.hefei, 0..1);
    let other = Body::decode(
        casegate::record::BodyType::CaseNotice,
        &notice(1).body.encode(),
    );
    let case = other.expect("a notice").encode();
    let retract = retraction(0, 1).body.encode();
    let later_reason = {
        let mut wire = casegate::wire::v1::RetractBody::decode(retract.clone()).expect("protobuf");
        wire.reason = 9;
        wire.encode_to_vec()
    };
    let all: Vec<(&str, i32, Vec<u8>)> = vec![
        ("body type 40", 40, b"a letter from the future".to_vec()),
        ("an empty body of type 41", 41, vec![]),
        (
            "element kind 99",
            1,
            element_bytes("hefei", 1, |b| b.kind = 99),
        ),
        ("role 9", 1, element_bytes("hefei", 2, |b| b.role = 9)),
        (
            "scope 7",
            1,
            element_bytes("hefei", 3, |b| {
                let audience = b.audience.as_mut().expect("one");
                audience.scope = 7;
                audience.names = vec!["whatever they are".into()];
            }),
        ),
        (
            "a new field",
            1,
            with_more(&element_bytes("hefei", 4, |_| {})),
        ),
        ("a new field of a notice", 2, with_more(&case)),
        ("a retraction with another field", 4, with_more(&retract)),
        ("a retraction for another reason", 4, later_reason),
    ];
    let count = all.len() as u64;
    for (_, number, bytes) in all.clone() {
        t.hefei.put(number, bytes, 0);
    }
    let accepted = t.follow();
    assert_eq!((accepted.held, accepted.newer), (count + 1, count));
    assert_eq!(accepted.refused, 0);
    assert_eq!(postings(&t.reader).len(), 1, "only what is read is indexed");
    for (at, (what, _, bytes)) in (1..).zip(all) {
        let Reading::Opaque(opaque) = t.reading(at) else {
            panic!("{what}: {:?}", t.reading(at));
        };
        assert!(!opaque.refused, "{what}: {opaque:?}");
        let states = t.reader.body_states(t.log.number, LogIndex(at), at + 1);
        let held = BodyState::Held(bytes.into());
        assert_eq!(states.expect("states"), [held], "{what}");
        // Whom it is for cannot be read, so that nobody is given it but its owner.
        for (name, answer) in [("anqing", 3), ("hefei", 1)] {
            let member = t.ledgers.member(name);
            let reader = t.ledgers.reader(&member);
            let served = t.reader.serve_bodies(&t.log, LogIndex(at), at + 1, reader);
            let served = served.expect("an answer");
            assert_eq!(&served.answers[..], [answer], "{what} to {name}");
        }
    }
    assert!(matches!(t.reading(0), Reading::Read(_)), "not retracted");
    let count = t.reader.opaque_count(&t.log).expect("counted");
    assert_eq!((count.newer, count.refused), (9, 0));
    assert_eq!(count.first, None);
}

#[test]
fn what_claims_to_be_newer_and_is_broken_is_refused() {
    let mut t = Follower::new();
    let bad: Vec<(&str, i32, Vec<u8>, i64)> = vec![
        (
            "newer and a wrong end",
            1,
            element_bytes("hefei", 1, |b| b.kind = 99),
            7,
        ),
        (
            "newer and another owner",
            1,
            element_bytes("wuhu", 1, |b| b.kind = 99),
            0,
        ),
        (
            "newer and a short nonce",
            1,
            element_bytes("hefei", 1, |b| {
                (b.kind, b.nonce) = (99, vec![1; 8].into());
            }),
            0,
        ),
        (
            "a new field in front",
            1,
            {
                let mut bytes = with_more(&[]);
                bytes.extend_from_slice(&element_bytes("hefei", 2, |_| {}));
                bytes
            },
            0,
        ),
        ("no protobuf", 1, b"garbage".to_vec(), 0),
    ];
    for (_, number, bytes, end) in bad.clone() {
        t.hefei.put(number, bytes, end);
    }
    let accepted = t.follow();
    assert_eq!(accepted.refused, bad.len() as u64);
    assert_eq!(accepted.newer, 0);
    for (at, (what, ..)) in (0..).zip(bad) {
        let Reading::Opaque(opaque) = t.reading(at) else {
            panic!("{what}: {:?}", t.reading(at));
        };
        assert!(opaque.refused, "{what}: {opaque:?}");
    }
}

#[test]
fn a_body_over_the_limit_of_its_log_is_not_kept_nor_asked_for_again() {
    let mut t = Follower::new();
    t.hefei.put(40, vec![7; 16 * 1024 + 1], 0);
    t.hefei.put(40, vec![7; 16 * 1024], 0);
    let accepted = t.follow();
    assert_eq!((accepted.refused, accepted.newer, accepted.held), (1, 1, 1));
    assert!(t.reader.absent(&t.log, 10).expect("absent").is_empty());
    assert_eq!(t.log.head().bodies_upto, 2);
    assert!(matches!(t.reading(0), Reading::Gone));
    let count = t.reader.opaque_count(&t.log).expect("counted");
    assert_eq!(count.first.expect("the one").code, "record.too_big");
}

#[test]
fn a_later_statement_holds_the_log_back_and_blames_nobody() {
    let mut t = Follower::new();
    good(&mut t.hefei, 0..3);
    t.follow();
    t.hefei.put_statement_of(2, 40, b"whatever".to_vec());
    let author = t.ledgers.member("hefei");
    let before = t.log.size();
    let chunk = t.hefei.chunk(before.0);
    let error = t.reader.accept_chunk(&t.log, &author, chunk);
    let error = error.expect_err("it is not taken");
    assert_eq!(error.blame(), Blame::Incompatible, "{error}");
    assert_eq!(error.code(), "ledger.newer_entry");
    assert_eq!(t.log.size(), before);
}

/// What an older version left: rows of bodies that it could not read, which are
/// not indexed.
#[test]
fn what_an_older_version_could_not_read_is_read_and_indexed_at_the_next_start() {
    let mut t = Follower::new();
    append(&t.reader, vec![element("wuhu", 0, Audience::Federation)]);
    good(&mut t.hefei, 0..2);
    t.hefei.put(40, b"unknown still".to_vec(), 0);
    t.follow();
    let hits = t.reader.hits().expect("hits");
    assert_eq!(hits.len(), 1, "both have element 0");
    let whole = postings(&t.reader);
    let number = t.log.number;
    let (mut lost, mut rows) = (PostingsBatch::default(), Batch::new());
    for (key, _) in t.reader.store().scan(Table::Hits, b"").expect("hits") {
        rows.delete(Table::Hits, &key);
    }
    for at in 0..3 {
        let mut key = number.to_be_bytes().to_vec();
        key.extend_from_slice(&u64::to_be_bytes(at));
        let row = OpaqueRow {
            code: "record.unknown".into(),
            version: "0.0.1+00000000".into(),
            since: 5,
            ..OpaqueRow::default()
        };
        rows.put(Table::Opaque, &key, row.encode_to_vec());
        if let Reading::Read(Body::Element(body)) = t.reading(at) {
            lost.delete(&PostingKey {
                token_mac: t.reader.token_mac(body.token_key_id, &body.token),
                log: number,
                index: LogIndex(at),
            });
        }
    }
    t.reader.postings().apply(lost).expect("taken out");
    t.reader.store().commit(rows).expect("left");
    assert_eq!(t.reader.hits().expect("hits").len(), 0);
    let Follower {
        ledgers,
        reader,
        log,
        ..
    } = t;
    drop((reader, log));
    let reader = ledgers.open("wuhu");
    assert_eq!(postings(&reader), whole);
    assert_eq!(
        reader.hits().expect("hits").len(),
        1,
        "raised as of late bodies"
    );
    let log = reader.log(&origin("hefei")).expect("the replica");
    let left = reader.opaque_bodies(&log, 10).expect("rows");
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!((left[0].index.0, left[0].since), (2, 5));
    assert_ne!(left[0].version, "0.0.1+00000000", "looked at again");
}

#[test]
fn an_amendment_of_a_notice_has_no_effect() {
    let ledgers = Ledgers::new();
    let (owner, reader) = (ledgers.open("hefei"), ledgers.open("wuhu"));
    append(&owner, vec![notice(1)]);
    let end = crate::cluster::NOW + 100;
    let mut amend = crate::tamper::amendment(&owner, 0, 1, Audience::Nobody);
    let Body::Amend(body) = &mut amend.body else {
        panic!("an amendment")
    };
    body.expires_at = end;
    amend.expires_at = end;
    append(&owner, vec![amend]);
    crate::tamper::carry(&ledgers, &owner, &reader, "hefei");
    ledgers.clock.advance(101);
    for ledger in [&owner, &reader] {
        assert_eq!(ledger.sweep_expired().expect("swept"), 1, "itself only");
        let log = ledger.log(&origin("hefei")).expect("the log");
        let body = ledger.body(log.number, LogIndex(0)).expect("readable");
        assert!(matches!(body, Some(Body::CaseNotice(_))));
    }
}

#[test]
fn a_body_that_others_would_refuse_is_never_signed() {
    let ledgers = Ledgers::new();
    let owner = ledgers.open("hefei");
    append(&owner, vec![element("hefei", 1, Audience::Federation)]);
    let log = owner.own_log(LogName::Records);
    let before = log.size();
    let broken = |change: fn(&mut NewEntry)| {
        let mut entry = element("hefei", 2, Audience::Federation);
        change(&mut entry);
        entry
    };
    let of = |entry: &mut NewEntry, change: fn(&mut casegate::record::ElementBody)| {
        let Body::Element(body) = &mut entry.body else {
            panic!("an element")
        };
        change(body);
    };
    let no_reason = {
        let mut entry = retraction(0, 1);
        let Body::Retract(body) = &mut entry.body else {
            panic!("a retraction")
        };
        body.reason = RetractReason::Unspecified;
        entry
    };
    let cases: Vec<(&str, NewEntry)> = vec![
        (
            "kind 0",
            broken(|e| {
                let Body::Element(body) = &mut e.body else {
                    panic!("an element")
                };
                body.kind = casegate::record::ElementKind::Unspecified;
            }),
        ),
        (
            "another end than its statement",
            broken(|e| e.expires_at = 7),
        ),
        ("another owner", {
            let mut entry = element("hefei", 2, Audience::Federation);
            of(&mut entry, |b| b.member = crate::cluster::id("wuhu"));
            entry
        }),
        ("nobody by name", {
            let mut entry = element("hefei", 2, Audience::Federation);
            of(&mut entry, |b| b.audience = Audience::Members([].into()));
            entry
        }),
        ("no reason", no_reason),
    ];
    for (what, entry) in cases {
        let good = element("hefei", 3, Audience::Federation);
        let error = owner.append(LogName::Records, vec![good, entry], Batch::new());
        let error = error.expect_err(what);
        assert!(
            matches!(error, LedgerError::OwnBody { .. }),
            "{what}: {error}"
        );
        assert_eq!(error.blame(), Blame::Internal, "{what}");
        assert_eq!(log.size(), before, "{what}: nothing is appended");
    }
    let entry = element("hefei", 4, Audience::Federation);
    let error = owner.append(LogName::Access, vec![entry], Batch::new());
    assert!(
        matches!(error, Err(LedgerError::OwnBody { .. })),
        "the other log"
    );
    append(&owner, vec![element("hefei", 5, Audience::Federation)]);
    assert_eq!(log.size().0, before.0 + 1, "the log goes on");
}
