//! Nothing that was erased can be read again: neither from a copy of a node's
//! directory with every key that the node still has, nor by a restored backup,
//! a restart or a new index.

mod scanner;

use std::path::Path;

use casegate::ids::{KeyId, LogIndex, LogName, Token};
use casegate::ledger::{BodyState, Erasure, Ledger};
use casegate::record::{Audience, Body};
use casegate::shred::ShredError;
use casegate::store::{Batch, Table};
use casegate::wire::v1::{
    ElementKind, ElementSpec, ErasedItem, ErasedRow, HeldElement, IndexRange, QueryRequest,
    ReceiptState, RetractReason, RetractRequest, RetractResponse,
};
use prost::Message;

use crate::cluster::{Cluster, id, purpose, wait_for};
use crate::tamper::{Ledgers, append, carry, element, retraction};
use scanner::{Needles, scan};

const HEAD: &str = "case_no,category,kind,value,role,title,expires_on\n";

async fn retract(cluster: &Cluster, member: &str, case_no: &str) -> RetractResponse {
    let request = RetractRequest {
        case_no: case_no.into(),
        element: None,
        reason: RetractReason::Mistake as i32,
        dry_run: false,
    };
    let done = cluster.desk(member).retract(request).await;
    done.expect("retracted")
}

/// What the owner held of its record at `index`, and the record's commitment.
fn held(ledger: &Ledger, index: u64) -> (HeldElement, [u8; 32]) {
    let held = ledger
        .held(LogIndex(index))
        .expect("readable")
        .expect("held");
    let Some(Body::Element(body)) = ledger.body(0, LogIndex(index)).expect("readable") else {
        panic!("no element at {index}");
    };
    (held, body.commitment.0)
}

/// What stands for a record in a node's index: under the node's own key, so
/// that it differs from node to node. The first bytes may be left out there.
fn index_keys(ledger: &Ledger, held: &HeldElement, needles: &mut Needles, name: &str) {
    let kind = ElementKind::try_from(held.kind).expect("a kind");
    let token = Token::from_slice(&held.token).expect("a token");
    let key_id = KeyId::from_slice(&held.token_key_id).expect("a key id");
    let token = ledger.token_mac(key_id, &token);
    needles.add(&format!("{name} token key"), &token[4..]);
    let value = ledger.value_mac(kind, &held.canonical);
    needles.add(&format!("{name} value key"), &value[4..]);
    needles.add(&format!("{name} row key"), &ledger.row_mac(held)[4..]);
}

fn secrets(needles: &mut Needles, name: &str, held: &HeldElement, commitment: &[u8]) {
    needles.add(&format!("{name} raw"), held.raw.as_bytes());
    needles.add(&format!("{name} canonical"), held.canonical.as_bytes());
    needles.add(&format!("{name} salt"), &held.salt);
    needles.add(&format!("{name} N"), &held.n);
    needles.add(&format!("{name} commitment"), commitment);
}

fn all_confirmed(cluster: &Cluster, owner: &str, count: usize) -> bool {
    let erasures = cluster.parts(owner).ledger.erasures().expect("a report");
    let whole = |e: &Erasure| e.confirmations.iter().all(|c| c.receipt.is_some());
    erasures.len() >= count && erasures.iter().all(whole)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_erased_can_be_read_from_any_directory_with_every_key_left() {
    let mut cluster = Cluster::new(&["hefei", "wuhu"]).await;
    let shared = "HF-1,loan-fraud,phone,13800138000,suspect,,\n";
    let rows = format!(
        "{HEAD}{shared}HF-1,loan-fraud,phone,13911112222,suspect,,\n\
         HF-2,loan-fraud,domain,expiring-one.example,instrument,,2026-11-23\n\
         HF-3,loan-fraud,phone,13566667777,suspect,a case that stays,\n\
         HF-4,loan-fraud,person,无名氏某某某,suspect,,\n"
    );
    cluster.import("hefei", &rows).await;
    let theirs = format!("{HEAD}WH-1,loan-fraud,phone,13800138000,suspect,,\n");
    cluster.import("wuhu", &theirs).await;
    cluster.converge().await;

    let typed = ElementSpec {
        kind: "phone".into(),
        value: "13911112222".into(),
        ..Default::default()
    };
    ask(&cluster, "hefei", "HF-1", typed).await;

    let ledger = cluster.parts("hefei").ledger.clone();
    let records: Vec<_> = (0..4).map(|at| held(&ledger, at)).collect();
    let names = ["shared", "lonely", "expiring", "live"];
    let (mut lost, mut own) = (Needles::default(), Needles::default());
    let (mut live, mut live_elsewhere) = (Needles::default(), Needles::default());
    for (name, (held, commitment)) in names.iter().zip(&records) {
        match *name {
            "live" => {
                live.add("live canonical", held.canonical.as_bytes());
                live.add("live title", "a case that stays".as_bytes());
                index_keys(&ledger, held, &mut live, name);
                live_elsewhere.add("live token", &held.token);
                continue;
            }
            // wuhu has the value and the token in a record of its own.
            "shared" => own.add("shared value", b"13800138000"),
            _ => {
                lost.add(&format!("{name} raw"), held.raw.as_bytes());
                lost.add(&format!("{name} token"), &held.token);
                own.add(&format!("{name} token"), &held.token);
                index_keys(&ledger, held, &mut own, name);
            }
        }
        secrets(&mut own, name, held, commitment);
        lost.add(&format!("{name} commitment"), commitment);
    }
    own.add("note", "无名氏某某某".as_bytes());
    let wuhu = cluster.parts("wuhu").ledger.clone();
    let mut foreign = lost;
    for (held, _) in &records[1..3] {
        let kind = ElementKind::try_from(held.kind).expect("a kind");
        let token = Token::from_slice(&held.token).expect("a token");
        let key_id = KeyId::from_slice(&held.token_key_id).expect("a key id");
        foreign.add("a token key", &wuhu.token_mac(key_id, &token)[4..]);
        foreign.add("a value key", &wuhu.value_mac(kind, &held.canonical)[4..]);
    }

    drop_what_waits(&mut cluster, &mut own).await;
    assert_eq!(retract(&cluster, "hefei", "HF-1").await.retracted, 2);
    let noted = retract(&cluster, "hefei", "HF-4").await;
    assert_eq!((noted.retracted, noted.waiting), (0, 1), "the note");
    cluster.clock.advance(2 * 86_400);
    wait_for("everybody has confirmed", || {
        all_confirmed(&cluster, "hefei", 2)
    })
    .await;
    for member in ["hefei", "wuhu", "province"] {
        let ledger = cluster.parts(member).ledger.clone();
        assert!(ledger.has_left_over().expect("readable"), "{member}");
        let forgotten = tokio::task::spawn_blocking(move || ledger.forget_postings());
        forgotten.await.expect("it ends").expect("forgotten");
    }
    drop((ledger, wuhu));
    let dirs = ["hefei", "wuhu", "province"].map(|m| cluster.federation.member_dir(&id(m)));
    for member in [
        "hefei",
        "wuhu",
        "province",
        "court",
        "procuracy",
        "regulator",
    ] {
        cluster.stop(member).await;
    }
    cluster.federation.stop().await;

    let expected = |what: &[&str], found: &std::collections::BTreeSet<String>| {
        for what in what {
            assert!(
                found.iter().any(|f| f.contains(what)),
                "{what} is not among {found:?}"
            );
        }
    };
    let [hefei, wuhu, province] = dirs;
    let found = scan(&hefei, &live);
    expected(
        &[
            "live canonical: under a slot",
            "live title: under the seal key",
            "live token key: plain in store/index",
            "live value key: plain in store/index",
            "live row key: plain in store/index",
        ],
        &found,
    );
    expected(&["live token: under a slot"], &scan(&wuhu, &live_elsewhere));
    assert_eq!(scan(&hefei, &own), Default::default(), "the owner");
    assert_eq!(scan(&wuhu, &foreign), Default::default(), "a peer");
    assert_eq!(
        scan(&province, &foreign),
        Default::default(),
        "a department"
    );
}

async fn ask(cluster: &Cluster, member: &str, case_no: &str, element: ElementSpec) {
    let request = QueryRequest {
        case_no: case_no.into(),
        elements: vec![element],
        add: false,
        purpose: Some(purpose()),
    };
    cluster
        .desk(member)
        .query(request)
        .await
        .expect("an answer");
}

/// Two elements wait for tokens, and were asked for already, when their case is
/// retracted.
async fn drop_what_waits(cluster: &mut Cluster, own: &mut Needles) {
    for custodian in ["court", "procuracy"] {
        cluster.stop(custodian).await;
    }
    let rows = format!(
        "{HEAD}HF-9,loan-fraud,phone,13722223333,suspect,,\n\
         HF-9,loan-fraud,domain,waiting-one.example,suspect,,\n"
    );
    cluster.import("hefei", &rows).await;
    let store = cluster.parts("hefei").ledger.store().clone();
    let pending = || store.iter(Table::PendingBatch, b"").count();
    wait_for("a batch is pending", || pending() > 0).await;
    own.add("waiting phone", b"13722223333");
    own.add("waiting domain", b"waiting-one.example");
    let dropped = retract(cluster, "hefei", "HF-9").await;
    assert_eq!((dropped.retracted, dropped.waiting), (0, 2));
    assert!(cluster.parts("hefei").ledger.is_queue_empty());
    wait_for("nothing is pending", || pending() == 0).await;
    for custodian in ["court", "procuracy"] {
        cluster.restart(custodian).await;
    }
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a directory").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_backup_erases_again_and_says_so() {
    let mut cluster = Cluster::new(&["hefei", "wuhu"]).await;
    let rows = format!("{HEAD}HF-1,loan-fraud,phone,13911112222,suspect,,\n");
    cluster.import("hefei", &rows).await;
    cluster.converge().await;
    let (lonely, commitment) = held(&cluster.parts("hefei").ledger, 0);
    cluster.stop("wuhu").await;
    let dir = cluster.federation.member_dir(&id("wuhu"));
    let backup = dir.with_extension("backup");
    copy_dir(&dir, &backup);
    cluster.restart("wuhu").await;
    retract(&cluster, "hefei", "HF-1").await;
    wait_for("all have confirmed", || all_confirmed(&cluster, "hefei", 1)).await;
    cluster.converge().await;

    cluster.stop("wuhu").await;
    std::fs::remove_dir_all(&dir).expect("removed");
    copy_dir(&backup, &dir);
    cluster.restart("wuhu").await;
    wait_for("it is erased again", || {
        cluster.states("wuhu", "hefei").first() == Some(&BodyState::Erased)
    })
    .await;
    let given = || {
        let ledger = &cluster.parts("wuhu").ledger;
        let own = ledger.own_log(LogName::Records);
        let bodies = ledger.decoded_bodies(0, LogIndex(0), own.size().0);
        let bodies = bodies.expect("readable").into_iter();
        bodies
            .filter(|(_, body)| matches!(body, Body::Receipt(_)))
            .count()
    };
    wait_for("both receipts stand in its log", || given() == 2).await;
    cluster.converge().await;
    let ledger = cluster.parts("wuhu").ledger.clone();
    let forgotten = tokio::task::spawn_blocking(move || ledger.forget_postings());
    forgotten.await.expect("it ends").expect("forgotten");
    cluster.federation.stop().await;
    let mut needles = Needles::default();
    needles.add("token", &lonely.token);
    needles.add("commitment", &commitment);
    assert_eq!(scan(&dir, &needles), Default::default());
    let before = scan(&backup, &needles);
    assert!(
        !before.is_empty(),
        "the backup itself holds it, with its own keys"
    );
}

#[test]
fn an_erasure_that_a_crash_cut_short_is_finished_at_the_next_start() {
    let ledgers = Ledgers::new();
    let (hefei, wuhu) = (ledgers.open("hefei"), ledgers.open("wuhu"));
    append(&hefei, vec![element("hefei", 1, Audience::Federation)]);
    carry(&ledgers, &hefei, &wuhu, "hefei");
    let slot = wuhu.shred().allocate(1).expect("a slot")[0];
    let sealed = wuhu
        .shred()
        .seal(slot, b"", b"what was erased")
        .expect("sealed");
    wuhu.shred().sync().expect("synced");
    let row = ErasedRow {
        log: 2,
        items: vec![ErasedItem {
            range: Some(IndexRange { start: 0, end: 1 }),
            state: ReceiptState::Erased.into(),
            ..Default::default()
        }],
        slots: vec![slot.0],
        erased_at: 0,
    };
    let mut batch = Batch::new();
    let key = [&b"e"[..], &9_u64.to_be_bytes()].concat();
    batch.put(Table::Receipts, &key, row.encode_to_vec());
    wuhu.store().commit(batch).expect("written");
    let history = ledgers.dev.chain.history();
    assert_eq!(
        wuhu.write_receipts(history).expect("nothing"),
        0,
        "nothing is signed while a key is left"
    );
    drop(wuhu);

    let wuhu = ledgers.open("wuhu");
    let opened = wuhu.shred().open_chunk(slot, b"", &sealed);
    assert!(
        matches!(opened, Err(ShredError::Erased { .. })),
        "{opened:?}"
    );
    assert_eq!(wuhu.write_receipts(history).expect("signed"), 1);
    assert_eq!(wuhu.write_receipts(history).expect("signed"), 0);
}

#[test]
fn a_relay_and_a_new_index_bring_nothing_back() {
    let ledgers = Ledgers::new();
    let (hefei, wuhu) = (ledgers.open("hefei"), ledgers.open("wuhu"));
    for n in 0..3 {
        append(&hefei, vec![element("hefei", n, Audience::Federation)]);
    }
    carry(&ledgers, &hefei, &wuhu, "hefei");
    append(&hefei, vec![retraction(0, 2)]);
    carry(&ledgers, &hefei, &wuhu, "hefei");
    wuhu.reindex().expect("indexed");
    let anqing = ledgers.open("anqing");
    carry(&ledgers, &wuhu, &anqing, "hefei");
    for ledger in [&wuhu, &anqing] {
        let log = ledger
            .log(&crate::tamper::origin("hefei"))
            .expect("the log");
        let states = ledger
            .body_states(log.number, LogIndex(0), 3)
            .expect("states");
        assert_eq!(states[..2], [BodyState::Erased, BodyState::Erased]);
        assert!(matches!(states[2], BodyState::Held(_)));
        assert_eq!(crate::tamper::postings(ledger).len(), 1);
    }
}
