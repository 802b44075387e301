//! Nothing that was erased can be read again: neither from a copy of a node's
//! directory with every key that the node still has, nor by a restored backup,
//! a restart or a new index.

mod owner;
mod scanner;

use casegate::audit::export::{BundleOut, Selection, export};
use casegate::audit::local::LedgerFiles;
use casegate::ids::{KeyId, LogIndex, LogName, Token};
use casegate::ledger::{BodyState, Erasure, Ledger, Seer};
use casegate::record::{Audience, Body};
use casegate::shred::ShredError;
use casegate::store::{Batch, Table};
use casegate::wire::v1::{
    ElementKind, ElementSpec, ErasedItem, ErasedRow, HeldElement, ImportOptions, IndexRange,
    QueryRequest, ReceiptState,
};
use prost::Message;

use crate::backup::Backup;
use crate::cluster::{Cluster, id, import_options, purpose, wait_for};
use crate::tamper::{Ledgers, append, carry, element, retraction};
use scanner::{Needles, scan};

const HEAD: &str = "case_no,category,kind,value,role,title,expires_on\n";

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

/// The part of a key of the index that is in its files whole: its first bytes
/// may be left out there, where a neighbour begins alike, and its last one may
/// be packed together with the zeros that follow.
fn inner(mac: &[u8; 16]) -> &[u8] {
    &mac[4..14]
}

/// What stands for a record in a node's index: under the node's own key, so
/// that it differs from node to node.
fn index_keys(ledger: &Ledger, held: &HeldElement, needles: &mut Needles, name: &str) {
    let kind = ElementKind::try_from(held.kind).expect("a kind");
    let token = Token::from_slice(&held.token).expect("a token");
    let key_id = KeyId::from_slice(&held.token_key_id).expect("a key id");
    let token = ledger.token_mac(key_id, &token);
    needles.add(&format!("{name} token key"), inner(&token));
    let value = ledger.value_mac(kind, &held.canonical);
    needles.add(&format!("{name} value key"), inner(&value));
    needles.add(&format!("{name} row key"), inner(&ledger.row_mac(held)));
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
         HF-4,loan-fraud,person,无名氏某某某,suspect,,\n\
         HF-2,loan-fraud,person,某甲某乙某丙,suspect,,2026-11-23\n"
    );
    cluster.import("hefei", &rows).await;
    keep_refused(&cluster).await;
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
    own.add("note that ends", "某甲某乙某丙".as_bytes());
    own.add("refused row", b"no-phone-139-1111");
    for note in ledger.notes().expect("notes") {
        if !note.canonical.is_empty() {
            own.add("note row key", inner(&ledger.row_mac(&note)));
        }
    }
    let mut foreign = lost;
    for member in ["wuhu", "province"] {
        let ledger = &cluster.parts(member).ledger;
        for (held, _) in &records[1..3] {
            let kind = ElementKind::try_from(held.kind).expect("a kind");
            let token = Token::from_slice(&held.token).expect("a token");
            let key_id = KeyId::from_slice(&held.token_key_id).expect("a key id");
            let (token, value) = (
                ledger.token_mac(key_id, &token),
                ledger.value_mac(kind, &held.canonical),
            );
            foreign.add("a token key", inner(&token));
            foreign.add("a value key", inner(&value));
        }
    }

    drop_what_waits(&mut cluster, &mut own).await;
    assert_eq!(cluster.retract("hefei", "HF-1").await.retracted, 2);
    let noted = cluster.retract("hefei", "HF-4").await;
    assert_eq!((noted.retracted, noted.waiting), (0, 2), "the notes");
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
    drop(ledger);
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

/// A row that is refused, and kept as it came.
async fn keep_refused(cluster: &Cluster) {
    let options = ImportOptions {
        as_note: true,
        ..import_options()
    };
    let row = format!("{HEAD}HF-4,loan-fraud,phone,no-phone-139-1111,suspect,,\n");
    let kept = cluster.import_with("hefei", &row, options).await;
    let (report, refusals) = kept.expect("an import");
    assert_eq!((report.notes, refusals.len()), (1, 1));
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
    let dropped = cluster.retract("hefei", "HF-9").await;
    assert_eq!((dropped.retracted, dropped.waiting), (0, 2));
    assert!(cluster.parts("hefei").ledger.is_queue_empty());
    wait_for("nothing is pending", || pending() == 0).await;
    for custodian in ["court", "procuracy"] {
        cluster.restart(custodian).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_backup_erases_again_and_says_so() {
    let mut cluster = Cluster::new(&["hefei", "wuhu"]).await;
    let rows = format!("{HEAD}HF-1,loan-fraud,phone,13911112222,suspect,,\n");
    cluster.import("hefei", &rows).await;
    cluster.converge().await;
    let (lonely, commitment) = held(&cluster.parts("hefei").ledger, 0);
    let backup = Backup::of(&mut cluster, "wuhu").await;
    cluster.retract("hefei", "HF-1").await;
    wait_for("all have confirmed", || all_confirmed(&cluster, "hefei", 1)).await;
    cluster.converge().await;

    backup.restore(&mut cluster).await;
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
    two_receipts_are_exported(&cluster);
    let ledger = cluster.parts("wuhu").ledger.clone();
    let forgotten = tokio::task::spawn_blocking(move || ledger.forget_postings());
    forgotten.await.expect("it ends").expect("forgotten");
    cluster.federation.stop().await;
    let mut needles = Needles::default();
    needles.add("token", &lonely.token);
    needles.add("commitment", &commitment);
    assert_eq!(scan(&backup.dir, &needles), Default::default());
    let before = scan(&backup.copy, &needles);
    assert!(
        !before.is_empty(),
        "the backup itself holds it, with its own keys"
    );
}

/// The owner's bundle has both, and tells when the first was given.
fn two_receipts_are_exported(cluster: &Cluster) {
    let ledger = &cluster.parts("hefei").ledger;
    let erasures = ledger.erasures().expect("a report");
    let mut said = erasures[0].confirmations.iter();
    let wuhu = said.find(|c| c.member == id("wuhu")).expect("it owes one");
    let first = wuhu.receipt.as_ref().expect("confirmed");
    assert_eq!(first.all.len(), 2);
    assert_eq!(first.all[0], (first.origin.clone(), first.index));
    let out = tempfile::tempdir().expect("a directory");
    let bundle = out.path().join("bundle");
    let what = Selection {
        federation: first.origin.federation.clone(),
        member: id("hefei"),
        from: None,
        to: None,
        now: ledger.clock().now(),
    };
    let files = LedgerFiles::new(ledger, Seer::Own);
    let made = export(&files, &what, BundleOut::of(&bundle), &mut |_| true);
    made.expect("a bundle");
    for (_, index) in &first.all {
        let name = format!("receipts/wuhu-1-{}.entry", index.0);
        assert!(bundle.join(&name).exists(), "{name}");
    }
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
fn keys_that_a_crash_left_behind_are_destroyed_and_no_others() {
    let ledgers = Ledgers::new();
    let hefei = ledgers.open("hefei");
    let held = HeldElement {
        raw: "kept".into(),
        ..Default::default()
    };
    let mut entry = element("hefei", 1, Audience::Federation);
    entry.private = Some(held.encode_to_vec());
    append(&hefei, vec![entry]);
    let some = [held.clone()];
    hefei.enqueue(&some, Batch::new()).expect("queued");
    hefei.keep_notes(&some, Batch::new()).expect("kept");
    let seal = |ledger: &Ledger| {
        let slot = ledger.shred().allocate(1).expect("a slot")[0];
        let sealed = ledger.shred().seal(slot, b"", b"sealed").expect("sealed");
        ledger.shred().sync().expect("synced");
        (slot, sealed)
    };
    // One that a batch is sealed under that waits for its tokens, and one
    // whose chunk was not committed when the node was killed.
    let (pending, waiting) = seal(&hefei);
    let mut batch = Batch::new();
    let value = [&pending.0.to_be_bytes()[..], &waiting].concat();
    batch.put(Table::PendingBatch, b"key", value);
    hefei.store().commit(batch).expect("written");
    let (lost, never_written) = seal(&hefei);
    drop(hefei);

    let hefei = ledgers.open("hefei");
    let (under_way, sealed) = seal(&hefei);
    let stopped = hefei.destroy_unused_keys(&|| false).expect("readable");
    assert_eq!(stopped, None);
    let destroyed = hefei.destroy_unused_keys(&|| true).expect("destroyed");
    assert_eq!(destroyed, Some(1));
    let open = |slot, sealed: &[u8]| hefei.shred().open_chunk(slot, b"", sealed);
    let opened = open(lost, &never_written);
    assert!(matches!(opened, Err(ShredError::Erased { .. })));
    for (slot, sealed) in [(pending, &waiting), (under_way, &sealed)] {
        assert!(open(slot, sealed).is_ok(), "{slot}");
    }
    assert!(hefei.body(0, LogIndex(0)).expect("readable").is_some());
    assert_eq!(
        hefei.held(LogIndex(0)).expect("readable"),
        Some(held.clone())
    );
    assert_eq!(hefei.queued(9).expect("readable").elements, some);
    assert_eq!(hefei.notes().expect("readable"), some);
    let again = hefei.destroy_unused_keys(&|| true).expect("nothing");
    assert_eq!(again, Some(0));
}

#[test]
fn what_waits_and_notes_end_at_their_retention_end() {
    let ledgers = Ledgers::new();
    let hefei = ledgers.open("hefei");
    let held = |raw: &str, expires_at| HeldElement {
        raw: raw.into(),
        expires_at,
        ..Default::default()
    };
    let end = ledgers.clock.now() + 100;
    let some = [
        held("ends", end),
        held("stays", 0),
        held("ends later", end + 1),
    ];
    hefei.enqueue(&some, Batch::new()).expect("queued");
    hefei.keep_notes(&some, Batch::new()).expect("kept");
    let left = |ledger: &Ledger| {
        let queued = ledger.queued(9).expect("readable").elements;
        let notes = ledger.notes().expect("readable");
        (queued.len(), notes.len())
    };
    assert_eq!(hefei.sweep_expired().expect("swept"), 0);
    ledgers.clock.advance(100);
    assert_eq!(hefei.sweep_expired().expect("swept"), 2);
    assert_eq!(left(&hefei), (2, 2));
    drop(hefei);
    // What ends is found again after a restart, and what came since.
    let hefei = ledgers.open("hefei");
    hefei.enqueue(&some[2..], Batch::new()).expect("queued");
    ledgers.clock.advance(1);
    assert_eq!(hefei.sweep_expired().expect("swept"), 3);
    assert_eq!(left(&hefei), (1, 1));
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
