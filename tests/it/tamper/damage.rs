//! Entries that a store has lost, answers that come ahead of their turn, ends that
//! are reached and not yet carried out, and amendments of something else.

use casegate::audit::layout::{TileIndex, TilePath};
use casegate::audit::local::bundle_bytes;
use casegate::ids::{Digest, LogIndex, TreeSize};
use casegate::ledger::{Ledger, LedgerError, Log, Seer};
use casegate::record::{Audience, Body};
use casegate::store::{Batch, StoreError, Table};
use casegate::wire::v1::{BodyAnswer, BodyChunk};

use super::*;

fn elements(numbers: std::ops::Range<u32>) -> Vec<NewEntry> {
    let all = numbers.map(|n| element("hefei", n, Audience::Federation));
    all.collect()
}

#[test]
fn entries_that_the_store_has_lost_are_named_and_nobody_is_given_the_rest() {
    let ledgers = Ledgers::new();
    let owner = ledgers.open("hefei");
    append(&owner, elements(0..5));
    let log = owner.log(&origin("hefei")).expect("the log");
    let hefei = ledgers.member("hefei");
    owner.verify_log(&log, &hefei).expect("it is whole");
    let rows = owner.store().scan(Table::Entries, &[0; 4]).expect("runs");
    let mut batch = Batch::new();
    batch.delete(Table::Entries, &rows[0].0);
    owner.store().commit(batch).expect("lost");
    let looked = owner.verify_log(&log, &hefei);
    let missing = "entries are missing in the store";
    assert!(
        matches!(&looked, Err(LedgerError::Malformed { what, .. }) if *what == missing),
        "{looked:?}"
    );
    let damaged = |error: &LedgerError| matches!(error, LedgerError::Store(StoreError::Damaged(what)) if *what == "entry run");
    let chunk = owner.chunk(&log, LogIndex(0), 100);
    let error = chunk.expect_err("a peer gets no part of it");
    assert!(damaged(&error), "{error}");
    let path = TilePath {
        level: None,
        index: TileIndex(0),
        width: 5,
    };
    let error = bundle_bytes(&owner, &log, path).expect_err("nor an auditor");
    assert!(damaged(&error), "{error}");
}

#[test]
fn answers_ahead_of_their_turn_are_about_entries_that_are_there() {
    let ledgers = Ledgers::new();
    let (owner, reader) = (ledgers.open("hefei"), ledgers.open("wuhu"));
    append(&owner, elements(0..5));
    carry(&ledgers, &owner, &reader, "hefei");
    let log = reader.log(&origin("hefei")).expect("the replica");
    let before = holdings(&reader, &log);
    let absent = i32::from(BodyAnswer::Absent).to_le_bytes()[0];
    for (start, count) in [(5, 1), (4, 2), (0, 6), (u64::MAX, 2), (0, 2_049)] {
        let chunk = BodyChunk {
            start,
            answers: vec![absent; count].into(),
            ..BodyChunk::default()
        };
        let error = reader.apply_early(&log, &chunk).expect_err("it is refused");
        let refused = matches!(error, LedgerError::Malformed { .. });
        assert!(refused, "{start} {count}: {error}");
    }
    assert_eq!(holdings(&reader, &log), before);
}

/// What an export is told of the first two bodies.
fn told(ledger: &Ledger, log: &Log, seer: Seer<'_>) -> Vec<(BodyAnswer, bool)> {
    let bodies = ledger.audited_bodies(log, LogIndex(0), TreeSize(2), seer);
    let bodies = bodies.expect("answers").into_iter();
    bodies
        .map(|body| (body.answer, body.bytes.is_empty()))
        .collect()
}

#[test]
fn a_body_past_its_end_is_in_no_export_before_it_is_swept() {
    let ledgers = Ledgers::new();
    let owner = ledgers.open("hefei");
    let mut short = element("hefei", 1, Audience::Federation);
    let Body::Element(body) = &mut short.body else {
        panic!("an element")
    };
    body.expires_at = NOW + 100;
    short.expires_at = NOW + 100;
    append(&owner, vec![short]);
    append(&owner, elements(2..3));
    let log = owner.log(&origin("hefei")).expect("the log");
    let anqing = ledgers.member("anqing");
    let held = (BodyAnswer::Held, false);
    let seers = || [Seer::Own, Seer::Auditor(ledgers.reader(&anqing))];
    for seer in seers() {
        assert_eq!(told(&owner, &log, seer), [held, held]);
    }
    ledgers.clock.advance(100);
    for seer in seers() {
        assert_eq!(told(&owner, &log, seer), [(BodyAnswer::Erased, true), held]);
    }
    assert_eq!(owner.sweep_expired().expect("swept"), 1);
}

#[test]
fn an_amendment_of_an_entry_that_is_another_changes_nothing() {
    let ledgers = Ledgers::new();
    let (owner, reader) = (ledgers.open("hefei"), ledgers.open("wuhu"));
    append(&owner, elements(0..2));
    let other = |leaf: Digest, at: u64| {
        let mut wrong = amendment(&owner, 0, 20_222, Audience::Federation);
        let Body::Amend(body) = &mut wrong.body else {
            panic!("an amendment")
        };
        (body.target_leaf, body.target_index) = (leaf, LogIndex(at));
        wrong
    };
    let second = owner.entry(0, LogIndex(1)).expect("readable");
    let second = second.expect("an entry").leaf_hash();
    append(&owner, vec![other(second, 0), other(Digest([9; 32]), 1)]);
    carry(&ledgers, &owner, &reader, "hefei");
    let days = |ledger: &Ledger| {
        let log = ledger.log(&origin("hefei")).expect("the log");
        [0, 1].map(|at| {
            let element = ledger.element(log.number, LogIndex(at));
            element.expect("readable").expect("held").body.observed_on
        })
    };
    let before = days(&owner);
    assert!(!before.contains(&20_222));
    assert_eq!(days(&reader), before);
    let all = postings(&reader);
    assert!(all.iter().flat_map(|g| &g.1).all(|p| p.day != 20_222));
    let good = amendment(&owner, 0, 20_222, Audience::Federation);
    append(&owner, vec![good]);
    carry(&ledgers, &owner, &reader, "hefei");
    assert_eq!(days(&reader), [20_222, before[1]]);
}

#[test]
fn a_replica_that_is_thrown_away_leaves_nothing_of_its_history_in_the_next() {
    let ledgers = Ledgers::new();
    let (owner, reader) = (ledgers.open("hefei"), ledgers.open("wuhu"));
    append(&owner, elements(0..2));
    append(&owner, vec![notice(1)]);
    append(
        &owner,
        vec![amendment(&owner, 0, 20_222, Audience::Federation)],
    );
    carry(&ledgers, &owner, &reader, "hefei");
    let log = reader.log(&origin("hefei")).expect("the replica");
    let day = || {
        let element = reader.element(log.number, LogIndex(0));
        element.expect("readable").map(|held| held.body.observed_on)
    };
    let before = holdings(&reader, &log);
    assert_eq!((day(), postings(&reader).len()), (Some(20_222), 2));
    reader.discard(&log).expect("thrown away");
    let left = holdings(&reader, &log);
    assert_eq!((left.size, left.bodies_upto), (TreeSize(0), 0));
    assert!(left.entries.is_empty() && left.states.is_empty() && left.postings.is_empty());
    assert_eq!(day(), None);
    // Another history, in which nothing amends the first element.
    let dir = ledgers.path("another");
    let other = ledgers.open_in("hefei", &dir).expect("a ledger");
    append(&other, elements(10..14));
    carry(&ledgers, &other, &reader, "hefei");
    assert!(day().is_some_and(|day| day != 20_222));
    assert_eq!(postings(&reader).len(), 4);
    reader.discard(&log).expect("thrown away");
    carry(&ledgers, &owner, &reader, "hefei");
    assert_eq!(holdings(&reader, &log), before);
}
