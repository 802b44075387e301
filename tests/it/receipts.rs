//! Receipts: each member signs, in its own log, what it erased of another's,
//! once; the owner says who owes one, and can tell who has not given it yet.

use std::collections::BTreeSet;
use std::sync::Arc;

use casegate::ids::{LogIndex, LogName};
use casegate::ledger::{BodyState, Erasure, Ledger, Standing};
use casegate::record::{Audience, Body, BodyType, Entry, ReceiptBody, RetractReason};
use casegate::store::{Batch, Table};
use casegate::wire::v1::{BodyAnswer, BodyChunk, ErasedItem, ErasedRow, IndexRange, ReceiptState};
use prost::Message;

use crate::cluster::{Cluster, NOW, id, records, wait_for};
use crate::tamper::{Ledgers, amendment, append, carry, element, origin, retraction};

const HEAD: &str = "case_no,category,kind,value,role,audience,expires_on\n";

/// The receipts that a ledger's own log holds, with their places.
fn receipts(ledger: &Ledger) -> Vec<(u64, ReceiptBody)> {
    let own = ledger.own_log(LogName::Records);
    let bodies = ledger
        .decoded_bodies(own.number, LogIndex(0), own.size().0)
        .expect("readable");
    bodies
        .into_iter()
        .filter_map(|(at, body)| match body {
            Body::Receipt(receipt) => Some((at.0, receipt)),
            _ => None,
        })
        .collect()
}

/// (start, end, erased, 1 + retraction) of every item.
fn items(receipts: &[(u64, ReceiptBody)]) -> Vec<(u64, u64, bool, u64)> {
    let all = receipts.iter().flat_map(|(_, receipt)| &receipt.items);
    all.map(|item| {
        let range = item.range.expect("a range");
        let erased = item.state() == ReceiptState::Erased;
        (range.start, range.end, erased, item.retracted_by)
    })
    .collect()
}

fn report(cluster: &Cluster, member: &str) -> Vec<Erasure> {
    let ledger = &cluster.parts(member).ledger;
    ledger.erasures().expect("a report")
}

/// The members of the first erasure that have confirmed it, and whether they held anything.
fn confirmed(erasure: &Erasure) -> Vec<(String, bool)> {
    let of = |c: &casegate::ledger::Confirmation| {
        let receipt = c.receipt.as_ref()?;
        Some((c.member.to_string(), receipt.held))
    };
    erasure.confirmations.iter().filter_map(of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_member_in_the_audience_signs_for_a_retraction_and_the_owner_can_tell() {
    let mut cluster = Cluster::new(&["hefei", "wuhu", "anqing"]).await;
    cluster.stop("anqing").await;
    let rows = format!(
        "{HEAD}HF-1,loan-fraud,phone,13800138000,suspect,federation,\n\
         HF-2,loan-fraud,phone,13900139000,suspect,members:wuhu,\n"
    );
    cluster.import("hefei", &rows).await;
    cluster.converge().await;
    for case in ["HF-1", "HF-2"] {
        assert_eq!(cluster.retract("hefei", case).await.retracted, 1);
    }
    let all = |cluster: &Cluster, at: usize| {
        let report = report(cluster, "hefei");
        report.get(at).map(confirmed).unwrap_or_default()
    };
    let most = [
        ("court", false),
        ("procuracy", false),
        ("province", true),
        ("regulator", false),
        ("wuhu", true),
    ];
    let most = most.map(|(name, held)| (name.to_owned(), held)).to_vec();
    wait_for("all that run have confirmed", || {
        all(&cluster, 0) == most && all(&cluster, 1) == [("wuhu".to_owned(), true)]
    })
    .await;
    let erasures = report(&cluster, "hefei");
    assert_eq!(erasures.len(), 2, "{erasures:?}");
    let pending: Vec<_> = erasures[0]
        .confirmations
        .iter()
        .filter(|c| c.receipt.is_none())
        .map(|c| (c.member.to_string(), c.late))
        .collect();
    assert_eq!(pending, [("anqing".to_owned(), false)]);
    assert_eq!(erasures[1].confirmations.len(), 1, "only its audience owes");
    assert_eq!(
        (
            erasures[0].reason,
            erasures[0].decided_at,
            erasures[0].is_late()
        ),
        (RetractReason::Mistake, NOW, false)
    );
    assert!(erasures[0].retracted_by.is_some());

    cluster.clock.advance(61);
    assert!(
        report(&cluster, "hefei")[0]
            .confirmations
            .iter()
            .any(|c| c.receipt.is_none() && c.late),
        "who has not confirmed after a minute is late"
    );
    cluster.restart("anqing").await;
    let late = |cluster: &Cluster| {
        let report = report(cluster, "hefei");
        let of = |c: &&casegate::ledger::Confirmation| c.member == id("anqing");
        report[0].confirmations.iter().find(of).cloned()
    };
    wait_for("the late one signs too", || {
        late(&cluster).is_some_and(|c| c.receipt.is_some_and(|r| !r.held) && c.late)
    })
    .await;
    let own = Arc::clone(cluster.parts("hefei").ledger.own_log(LogName::Records));
    let hidden = cluster.states("wuhu", "hefei");
    let entries = cluster
        .parts("hefei")
        .ledger
        .entries(own.number, LogIndex(0), own.size().0)
        .expect("entries");
    for (entry, state) in entries.into_iter().zip(hidden) {
        let entry = Entry::parse(entry).expect("an entry");
        if entry.statement.body_type == BodyType::Erasure {
            assert_eq!(state, BodyState::NotForMe, "it names the audience");
        }
    }
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retention_end_is_erased_and_signed_for_without_anybody_asking() {
    let cluster = Cluster::new(&["hefei", "wuhu"]).await;
    let rows = format!("{HEAD}HF-1,loan-fraud,phone,13800138000,suspect,federation,2026-11-23\n");
    cluster.import("hefei", &rows).await;
    cluster.converge().await;
    cluster.clock.advance(2 * 86_400);
    wait_for("all have confirmed", || {
        report(&cluster, "hefei").iter().any(|e| {
            e.reason == RetractReason::Retention
                && e.retracted_by.is_none()
                && e.confirmations.iter().all(|c| c.receipt.is_some())
                && !e.confirmations.is_empty()
        })
    })
    .await;
    let ledger = &cluster.parts("wuhu").ledger;
    let given = items(&receipts(ledger));
    assert_eq!(given, [(0, 1, true, 0)], "the end that the statement names");
    assert_eq!(receipts(ledger)[0].1.origin, records("hefei").to_string());
    cluster.federation.stop().await;
}

#[test]
fn a_receipt_is_given_once_whenever_the_node_stops() {
    let ledgers = Ledgers::new();
    let (hefei, wuhu) = (ledgers.open("hefei"), ledgers.open("wuhu"));
    for n in 0..4 {
        append(&hefei, vec![element("hefei", n, Audience::Federation)]);
    }
    carry(&ledgers, &hefei, &wuhu, "hefei");
    append(&hefei, vec![retraction(1, 3)]);
    carry(&ledgers, &hefei, &wuhu, "hefei");
    assert!(
        receipts(&wuhu).is_empty(),
        "nothing is signed before it is asked for"
    );
    drop(wuhu);

    let wuhu = ledgers.open("wuhu");
    let history = ledgers.dev.chain.history();
    assert_eq!(wuhu.write_receipts(history).expect("signed"), 1);
    assert_eq!(items(&receipts(&wuhu)), [(1, 3, true, 5)]);
    assert_eq!(wuhu.write_receipts(history).expect("signed"), 0);
    wuhu.reindex().expect("indexed again");
    carry(&ledgers, &hefei, &wuhu, "hefei");
    drop(wuhu);
    let wuhu = ledgers.open("wuhu");
    assert_eq!(wuhu.write_receipts(history).expect("signed"), 0);
    assert_eq!(items(&receipts(&wuhu)), [(1, 3, true, 5)], "once is enough");
}

#[test]
fn what_is_signed_for_twice_counts_from_the_first_and_both_receipts_are_kept() {
    let ledgers = Ledgers::new();
    let (hefei, wuhu) = (ledgers.open("hefei"), ledgers.open("wuhu"));
    append(
        &hefei,
        vec![
            element("hefei", 1, Audience::Federation),
            element("hefei", 2, Audience::Federation),
        ],
    );
    carry(&ledgers, &hefei, &wuhu, "hefei");
    let history = ledgers.dev.chain.history();
    // Two ends, of which the owner signs for as one; wuhu as of two, and after
    // a restore once more.
    append(&hefei, vec![retraction(0, 2)]);
    hefei.write_receipts(history).expect("signed");
    for (start, end) in [(0, 1), (1, 2), (0, 2)] {
        erased_row(&wuhu, start, end);
        ledgers.clock.advance(100);
        drop(wuhu.write_receipts(history));
    }
    assert_eq!(receipts(&wuhu).len(), 3);
    carry(&ledgers, &wuhu, &hefei, "wuhu");
    let erasures = hefei.erasures().expect("a report");
    let said = erasures[0].confirmations.iter();
    let said = said.filter_map(|c| c.receipt.clone()).next();
    let said = said.expect("it is confirmed");
    let places: Vec<u64> = said.all.iter().map(|(_, index)| index.0).collect();
    assert_eq!(places, [0, 1, 2], "all of them");
    assert_eq!((said.index.0, said.at), (1, NOW + 100), "the first words");
}

/// What a node notes that has just erased a body of its first replica.
fn erased_row(ledger: &Ledger, start: u64, end: u64) {
    let row = ErasedRow {
        log: 2,
        items: vec![ErasedItem {
            range: Some(IndexRange { start, end }),
            state: ReceiptState::Erased.into(),
            retracted_by: 3,
            ..Default::default()
        }],
        slots: vec![],
        erased_at: ledger.clock().now(),
    };
    let mut batch = Batch::new();
    let key = [&b"e"[..], &[9; 8]].concat();
    batch.put(Table::Receipts, &key, row.encode_to_vec());
    ledger.store().commit(batch).expect("written");
}

#[test]
fn a_closed_log_keeps_its_receipts_for_later() {
    let ledgers = Ledgers::new();
    let (hefei, wuhu) = (ledgers.open("hefei"), ledgers.open("wuhu"));
    append(&hefei, vec![element("hefei", 1, Audience::Federation)]);
    carry(&ledgers, &hefei, &wuhu, "hefei");
    append(&hefei, vec![retraction(0, 1)]);
    wuhu.set_standing(Standing::Fenced);
    carry(&ledgers, &hefei, &wuhu, "hefei");
    let history = ledgers.dev.chain.history();
    assert_eq!(wuhu.write_receipts(history).expect("it waits"), 0);
    wuhu.set_standing(Standing::Open);
    assert_eq!(wuhu.write_receipts(history).expect("signed"), 1);
}

#[test]
fn who_comes_late_never_held_it_and_says_so_in_one_range() {
    let ledgers = Ledgers::new();
    let (hefei, anqing) = (ledgers.open("hefei"), ledgers.open("anqing"));
    for n in 0..200 {
        append(&hefei, vec![element("hefei", n, Audience::Federation)]);
    }
    append(&hefei, vec![retraction(0, 150)]);
    carry(&ledgers, &hefei, &anqing, "hefei");
    let history = ledgers.dev.chain.history();
    assert_eq!(anqing.write_receipts(history).expect("signed"), 1);
    assert_eq!(items(&receipts(&anqing)), [(0, 150, false, 201)]);
}

#[test]
fn who_was_told_that_a_body_is_not_there_signs_that_it_never_held_it() {
    let ledgers = Ledgers::new();
    let (hefei, anqing) = (ledgers.open("hefei"), ledgers.open("anqing"));
    let elements = (0..3).map(|n| element("hefei", n, Audience::Federation));
    append(&hefei, elements.collect());
    let theirs = hefei.log(&origin("hefei")).expect("the log");
    let log = anqing.replica(&origin("hefei")).expect("a replica");
    let author = ledgers.member("hefei");
    let chunk = hefei.chunk(&theirs, LogIndex(0), 100).expect("readable");
    anqing
        .accept_chunk(&log, &author, chunk.expect("a chunk"))
        .expect("a good chunk");
    let absent = BodyChunk {
        answers: vec![i32::from(BodyAnswer::Absent).to_le_bytes()[0]; 3].into(),
        ..BodyChunk::default()
    };
    anqing
        .accept_bodies(&log, &author, absent)
        .expect("it may be so");
    assert_eq!(anqing.absent(&log, 10).expect("absent"), [(0, 3)]);
    append(&hefei, vec![retraction(0, 2)]);
    carry(&ledgers, &hefei, &anqing, "hefei");
    let history = ledgers.dev.chain.history();
    assert_eq!(anqing.write_receipts(history).expect("signed"), 1);
    assert_eq!(items(&receipts(&anqing)), [(0, 2, false, 4)]);
    assert!(anqing.absent(&log, 10).expect("absent").is_empty());
}

#[test]
fn who_holds_no_replicas_says_so_once_and_takes_it_back_once() {
    let ledgers = Ledgers::new();
    let wuhu = ledgers.open("wuhu");
    let others = [origin("hefei"), origin("anqing")];
    let declare = |replicates| wuhu.declare_replicas(&others, replicates).expect("signed");
    assert_eq!(
        declare(true),
        0,
        "nothing was said that could be taken back"
    );
    assert_eq!((declare(false), declare(false)), (2, 0));
    let log = |receipt: &ReceiptBody| receipt.origin.clone();
    let said = receipts(&wuhu);
    let about: Vec<_> = said.iter().map(|(_, receipt)| log(receipt)).collect();
    assert_eq!(
        about,
        [origin("hefei"), origin("anqing")].map(|o| o.to_string())
    );
    let all = (0, u64::MAX, false, 0);
    assert_eq!(items(&said), [all, all]);
    assert_eq!((declare(true), declare(true)), (2, 0));
    let back = receipts(&wuhu);
    assert_eq!(back.len(), 4);
    let empty = |(_, receipt): &(u64, ReceiptBody)| receipt.items.is_empty();
    assert!(back[2..].iter().all(empty), "they lie about no index");
    wuhu.set_standing(Standing::Fenced);
    assert_eq!(declare(false), 0, "a closed log says nothing");
    wuhu.set_standing(Standing::Open);
    assert_eq!(declare(false), 2, "but later");
}

#[test]
fn ends_that_come_one_after_the_other_share_receipts_and_erasures() {
    let ledgers = Ledgers::new();
    let (hefei, wuhu) = (ledgers.open("hefei"), ledgers.open("wuhu"));
    let end = NOW + 100;
    let entries = (0..1_500).map(|n| {
        let mut entry = element("hefei", n, Audience::Federation);
        if let Body::Element(body) = &mut entry.body {
            body.expires_at = end;
        }
        entry.expires_at = end;
        entry
    });
    hefei
        .append(LogName::Records, entries.collect(), Batch::new())
        .expect("appended");
    carry(&ledgers, &hefei, &wuhu, "hefei");
    ledgers.clock.advance(101);
    let history = ledgers.dev.chain.history();
    for ledger in [&hefei, &wuhu] {
        assert_eq!(ledger.sweep_expired().expect("swept"), 1_500);
        assert_eq!(ledger.sweep_expired().expect("swept"), 0);
        assert_eq!(ledger.write_receipts(history).expect("signed"), 1);
    }
    assert_eq!(items(&receipts(&wuhu)), [(0, 1_500, true, 0)]);
    let erasures = hefei.erasures().expect("a report");
    assert_eq!(erasures.len(), 1);
    assert_eq!(
        (erasures[0].range, erasures[0].decided_at),
        ((0, 1_500), end)
    );
    let owed: Vec<_> = erasures[0]
        .confirmations
        .iter()
        .map(|c| c.member.as_str())
        .collect();
    assert_eq!(owed, ["anqing", "wuhu"]);
    carry(&ledgers, &wuhu, &hefei, "wuhu");
    let erasures = hefei.erasures().expect("a report");
    assert_eq!(confirmed(&erasures[0]), [("wuhu".to_owned(), true)]);
}

#[test]
fn whoever_was_in_an_older_audience_owes_a_receipt_and_can_give_it() {
    let ledgers = Ledgers::new();
    let [hefei, wuhu, anqing] = ["hefei", "wuhu", "anqing"].map(|name| ledgers.open(name));
    let only = |name: &str| Audience::Members(BTreeSet::from([id(name)]));
    append(&hefei, vec![element("hefei", 1, only("wuhu"))]);
    let amends = |ledger: &Ledger, day, name: &str| {
        append(ledger, vec![amendment(ledger, 0, day, only(name))]);
    };
    amends(&hefei, 1, "anqing");
    amends(&hefei, 2, "wuhu");
    drop(hefei);
    let hefei = ledgers.open("hefei");
    hefei.reindex().expect("indexed");
    // anqing comes when the record is for wuhu alone again.
    for _ in 0..2 {
        carry(&ledgers, &hefei, &wuhu, "hefei");
        carry(&ledgers, &hefei, &anqing, "hefei");
    }
    let log = anqing.log(&origin("hefei")).expect("the log");
    let states = anqing.body_states(log.number, LogIndex(0), 1);
    assert_eq!(states.expect("states"), [BodyState::NotForMe]);
    append(&hefei, vec![retraction(0, 1)]);
    let history = ledgers.dev.chain.history();
    assert_eq!(hefei.write_receipts(history).expect("signed"), 1);
    let owed = |ledger: &Ledger| -> Vec<String> {
        let erasures = ledger.erasures().expect("a report");
        let all = erasures.iter().flat_map(|e| &e.confirmations);
        all.map(|c| c.member.to_string()).collect()
    };
    assert_eq!(owed(&hefei), ["anqing", "wuhu"]);
    for ledger in [&wuhu, &anqing] {
        carry(&ledgers, &hefei, ledger, "hefei");
        assert_eq!(ledger.write_receipts(history).expect("signed"), 1);
        carry(&ledgers, ledger, &hefei, ledger.own().as_str());
    }
    let erasures = hefei.erasures().expect("a report");
    let said = [("anqing".to_owned(), false), ("wuhu".to_owned(), true)];
    assert_eq!(confirmed(&erasures[0]), said);
}

#[test]
fn what_proves_ends_cannot_be_ended() {
    let ledgers = Ledgers::new();
    let (hefei, wuhu) = (ledgers.open("hefei"), ledgers.open("wuhu"));
    append(&hefei, vec![element("hefei", 1, Audience::Federation)]);
    append(&hefei, vec![retraction(0, 1)]);
    hefei
        .write_receipts(ledgers.dev.chain.history())
        .expect("signed");
    append(&hefei, vec![retraction(0, 3)]);
    carry(&ledgers, &hefei, &wuhu, "hefei");
    assert_eq!(
        hefei.erasures().expect("a report").len(),
        1,
        "the erasure is still there"
    );
    for ledger in [&hefei, &wuhu] {
        let log = ledger.log(&origin("hefei")).expect("the log");
        let body = ledger.body(log.number, LogIndex(1)).expect("readable");
        assert!(matches!(body, Some(Body::Retract(_))), "{body:?}");
    }
}
