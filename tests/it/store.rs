//! What a ledger keeps: opened again, indexed again, after a lost index, and
//! under many writers at once.

use std::collections::BTreeSet;

use casegate::access::{AccessLine, AccessLog};
use casegate::cases::{Cases, case_ref};
use casegate::ids::{LogIndex, LogName, TreeSize};
use casegate::ledger::{BodyState, Ledger, LedgerError, NewEntry, OWN_RECORDS};
use casegate::merkle::{self, Frontier};
use casegate::postings::Pointer;
use casegate::record::{Audience, Body, Entry};
use casegate::store::{Batch, Store, StoreError, Table};
use casegate::wire::v1::{AccessScope, CaseRow, HeldElement};

use crate::tamper::{
    Ledgers, amendment, append, carry, element, notice, origin, postings, retraction,
};

/// hefei with records of every type, wuhu with a few that meet them.
struct Filled {
    ledgers: Ledgers,
    hefei: Ledger,
    wuhu: Ledger,
}

fn all(owner: &str, n: u32) -> NewEntry {
    element(owner, n, Audience::Federation)
}

impl Filled {
    fn new() -> Self {
        let ledgers = Ledgers::new();
        let (hefei, wuhu) = (ledgers.open("hefei"), ledgers.open("wuhu"));
        append(&hefei, (0..150).map(|n| all("hefei", n)).collect());
        append(&hefei, (0..3).map(notice).collect());
        append(
            &hefei,
            vec![amendment(&hefei, 5, 20_100, Audience::Federation)],
        );
        append(&hefei, vec![all("hefei", 300)]);
        append(&hefei, vec![retraction(10, 20)]);
        append(&wuhu, (0..40).map(|n| all("wuhu", n)).collect());
        carry(&ledgers, &hefei, &wuhu, "hefei");
        carry(&ledgers, &wuhu, &hefei, "wuhu");
        append(&wuhu, vec![retraction(30, 32)]);
        carry(&ledgers, &wuhu, &hefei, "wuhu");
        Self {
            ledgers,
            hefei,
            wuhu,
        }
    }
}

/// All that a ledger answers with, in one comparable value.
#[derive(Debug, PartialEq)]
struct Contents {
    logs: Vec<(String, u64, String, u64)>,
    entries: Vec<Vec<bytes::Bytes>>,
    states: Vec<Vec<BodyState>>,
    held: Vec<Option<HeldElement>>,
    postings: Vec<([u8; 16], Vec<casegate::postings::Posting>)>,
    rows: u64,
    values: u64,
    notices: u64,
    amendments: u64,
    positions: Vec<u64>,
    hits: BTreeSet<(u64, u32, u64)>,
}

fn contents(ledger: &Ledger) -> Contents {
    let logs = ledger.logs();
    let (start, all) = (LogIndex(0), u64::MAX);
    let count = |space| ledger.postings().count_pointers(space).expect("counted");
    Contents {
        logs: logs
            .iter()
            .map(|l| {
                let head = l.head();
                (
                    l.origin.to_string(),
                    head.size().0,
                    head.root().to_string(),
                    head.bodies_upto,
                )
            })
            .collect(),
        entries: logs
            .iter()
            .map(|l| ledger.entries(l.number, start, all).expect("read"))
            .collect(),
        states: logs
            .iter()
            .map(|l| {
                ledger
                    .body_states(l.number, start, l.size().0)
                    .expect("read")
            })
            .collect(),
        held: (0..ledger.own_log(LogName::Records).size().0)
            .map(|at| ledger.held(LogIndex(at)).expect("readable"))
            .collect(),
        postings: postings(ledger),
        rows: count(Pointer::Row),
        values: count(Pointer::Value),
        notices: count(Pointer::Notice),
        amendments: count(Pointer::Amend),
        positions: logs
            .iter()
            .map(|l| ledger.postings().position(l.number).expect("a position"))
            .collect(),
        hits: ledger
            .hits()
            .expect("hits")
            .into_iter()
            .map(|h| (h.own_index.0, h.log, h.index.0))
            .collect(),
    }
}

#[test]
fn a_ledger_that_is_opened_again_has_everything() {
    let Filled {
        ledgers,
        hefei,
        wuhu,
    } = Filled::new();
    for (name, ledger) in [("hefei", hefei), ("wuhu", wuhu)] {
        let before = contents(&ledger);
        assert!(
            before.hits.len() >= 28,
            "{name} has hits: {}",
            before.hits.len()
        );
        drop(ledger);
        let ledger = ledgers.open(name);
        assert_eq!(contents(&ledger), before, "{name}");
        append(&ledger, vec![all(name, 500)]);
        let own = ledger.own_log(LogName::Records);
        ledger
            .verify_log(own, &ledgers.member(name))
            .expect("the log goes on");
    }
}

#[test]
fn a_reindex_gives_the_same_index_and_brings_nothing_back() {
    let Filled {
        ledgers,
        hefei,
        wuhu,
    } = Filled::new();
    for (name, ledger) in [("hefei", hefei), ("wuhu", wuhu)] {
        let before = contents(&ledger);
        ledger.reindex().expect("indexed again");
        assert_eq!(contents(&ledger), before, "{name}");
        drop(ledger);
        assert_eq!(
            contents(&ledgers.open(name)),
            before,
            "{name}, opened again"
        );
    }
}

#[test]
fn a_lost_index_is_rebuilt_at_the_next_start() {
    let Filled {
        ledgers,
        hefei,
        wuhu,
    } = Filled::new();
    for (name, ledger) in [("hefei", hefei), ("wuhu", wuhu)] {
        let before = contents(&ledger);
        drop(ledger);
        std::fs::remove_dir_all(ledgers.path(name).join("index")).expect("removed");
        assert_eq!(contents(&ledgers.open(name)), before, "{name}");
    }
}

#[test]
fn an_index_that_is_behind_its_log_catches_up_without_reviving_what_ended() {
    let Filled {
        ledgers,
        hefei,
        wuhu: _wuhu,
    } = Filled::new();
    drop(hefei);
    // As after a crash between the two stores: the index of before the log's tail.
    let index = ledgers.path("hefei").join("index");
    let kept = ledgers.path("kept");
    std::fs::rename(&index, &kept).expect("kept");
    let hefei = ledgers.open("hefei");
    drop(hefei);
    std::fs::remove_dir_all(&index).expect("removed");
    std::fs::rename(&kept, &index).expect("as it was");
    let hefei = ledgers.open("hefei");
    let before = contents(&hefei);
    append(&hefei, vec![all("hefei", 600), all("hefei", 601)]);
    let after = contents(&hefei);
    assert_eq!(
        after.postings.len(),
        before.postings.len() + 4,
        "two tokens, two cases"
    );
    let first = before
        .logs
        .iter()
        .find(|l| l.0 == origin("hefei").to_string());
    let at = first.expect("the log").1;
    append(&hefei, vec![retraction(at, at + 2)]);
    assert_eq!(postings(&hefei), before.postings);
    let mut undone = casegate::postings::PostingsBatch::default();
    undone.set_position(OWN_RECORDS, 0);
    hefei.postings().apply(undone).expect("set back");
    drop(hefei);
    let hefei = ledgers.open("hefei");
    assert_eq!(postings(&hefei), before.postings, "replayed from the start");
}

#[test]
fn what_is_retracted_in_the_replayed_tail_stays_out_of_the_index() {
    let ledgers = Ledgers::new();
    let hefei = ledgers.open("hefei");
    append(&hefei, vec![all("hefei", 1), all("hefei", 2)]);
    let kept = ledgers.path("kept");
    drop(hefei);
    // A crash right after the retraction became durable, before anything of it
    // was applied: element and retraction are replayed together.
    copy(&ledgers.path("hefei"), &kept);
    let hefei = ledgers.open_in("hefei", &kept).expect("opened");
    let before = hefei
        .body_states(OWN_RECORDS, LogIndex(0), 2)
        .expect("states");
    append(&hefei, vec![retraction(0, 1), all("hefei", 3)]);
    drop(hefei);
    let store = Store::open(&kept.join("store"), 1 << 20).expect("a store");
    let ended = store.scan(Table::Ended, b"").expect("scanned");
    let mut batch = Batch::new();
    ended
        .iter()
        .for_each(|(key, _)| batch.delete(Table::Ended, key));
    store.commit(batch).expect("written");
    drop(store);
    std::fs::remove_dir_all(kept.join("index")).expect("removed");
    assert!(matches!(before[0], BodyState::Held(_)));
    let hefei = ledgers.open_in("hefei", &kept).expect("opened");
    let states = hefei
        .body_states(OWN_RECORDS, LogIndex(0), 2)
        .expect("states");
    assert_eq!(states[0], BodyState::Erased);
    assert!(
        hefei.is_ended(OWN_RECORDS, LogIndex(0)).expect("known"),
        "the end is known again"
    );
    let postings = postings(&hefei);
    assert!(
        postings
            .iter()
            .all(|(_, of)| of.iter().all(|p| p.index != LogIndex(0)))
    );
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for item in std::fs::read_dir(from).expect("a directory") {
        let item = item.expect("an item");
        let target = to.join(item.file_name());
        if item.file_type().expect("a type").is_dir() {
            copy(&item.path(), &target);
        } else {
            std::fs::copy(item.path(), target).expect("copied");
        }
    }
}

#[test]
fn an_element_and_its_retraction_in_one_append_leave_no_posting() {
    let ledgers = Ledgers::new();
    let (hefei, wuhu) = (ledgers.open("hefei"), ledgers.open("wuhu"));
    append(&wuhu, vec![all("wuhu", 1)]);
    append(
        &hefei,
        vec![all("hefei", 1), all("hefei", 2), retraction(0, 1)],
    );
    carry(&ledgers, &hefei, &wuhu, "hefei");
    let mac = hefei.token_mac(
        casegate::ids::KeyId([1; 8]),
        &casegate::ids::Token({
            let mut token = [0; 16];
            token[1] = 1;
            token
        }),
    );
    assert!(
        hefei.postings().postings(&mac).expect("read").is_empty(),
        "at the owner"
    );
    let theirs = wuhu.postings().postings(&mac).expect("read");
    assert!(
        theirs.iter().all(|p| p.log == OWN_RECORDS),
        "at the peer: {theirs:?}"
    );
    assert!(wuhu.hits().expect("hits").is_empty());
}

#[test]
fn erased_bodies_and_what_lay_beside_them_stay_erased() {
    let Filled {
        ledgers,
        hefei,
        wuhu,
    } = Filled::new();
    let check = |ledger: &Ledger, number: u32, when: &str| {
        let states = ledger
            .body_states(number, LogIndex(10), 20)
            .expect("states");
        assert!(
            states.iter().all(|s| *s == BodyState::Erased),
            "{when}: {states:?}"
        );
        for at in 10..20 {
            assert!(
                ledger
                    .body(number, LogIndex(at))
                    .expect("readable")
                    .is_none(),
                "{when}"
            );
            assert!(
                ledger
                    .element(number, LogIndex(at))
                    .expect("readable")
                    .is_none(),
                "{when}"
            );
        }
        assert!(ledger.postings().scan().all(|group| {
            let (_, postings) = group.expect("a group");
            postings
                .iter()
                .all(|p| p.log != number || !(10..20).contains(&p.index.0))
        }));
    };
    let replica = wuhu.log(&origin("hefei")).expect("the replica").number;
    check(&hefei, OWN_RECORDS, "at home");
    check(&wuhu, replica, "at the peer");
    assert!((10..20).all(|at| hefei.held(LogIndex(at)).expect("readable").is_none()));
    assert!(
        hefei.held(LogIndex(9)).expect("readable").is_some(),
        "its neighbour stays"
    );
    hefei.reindex().expect("indexed again");
    wuhu.reindex().expect("indexed again");
    check(&hefei, OWN_RECORDS, "after a reindex");
    check(&wuhu, replica, "after a reindex at the peer");
    drop((hefei, wuhu));
    let (hefei, wuhu) = (ledgers.open("hefei"), ledgers.open("wuhu"));
    check(&hefei, OWN_RECORDS, "opened again");
    check(&wuhu, replica, "opened again at the peer");
    assert!((10..20).all(|at| hefei.held(LogIndex(at)).expect("readable").is_none()));
    let author = ledgers.member("hefei");
    hefei
        .verify_log(hefei.own_log(LogName::Records), &author)
        .expect("the entries stay, so the log still verifies");
}

#[test]
fn a_hundred_writers_at_once_lose_nothing_and_leave_no_gap() {
    let ledgers = Ledgers::new();
    let hefei = ledgers.open("hefei");
    let access = AccessLog::open(hefei.clone()).expect("opened");
    let indices: BTreeSet<u64> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..100)
            .map(|n| {
                let access = access.clone();
                scope.spawn(move || {
                    let line = AccessLine::new(AccessScope::Local, "desk.query", format!("o{n}"));
                    access.write(line).expect("written").0
                })
            })
            .collect();
        writers
            .into_iter()
            .map(|w| w.join().expect("a writer"))
            .collect()
    });
    assert_eq!(indices, (0..100).collect());
    drop((access, hefei));
    let hefei = ledgers.open("hefei");
    let lines = AccessLog::open(hefei.clone())
        .expect("opened")
        .newest(1_000)
        .expect("read");
    let callers: BTreeSet<_> = lines.iter().map(|(_, body)| body.caller.clone()).collect();
    assert_eq!((lines.len(), callers.len()), (100, 100));
    let checkpoint = hefei
        .verify_log(hefei.own_log(LogName::Access), &ledgers.member("hefei"))
        .expect("the log verifies");
    assert_eq!(checkpoint.size, TreeSize(100));
}

#[test]
fn records_that_are_appended_at_once_are_all_indexed() {
    let ledgers = Ledgers::new();
    let hefei = ledgers.open("hefei");
    std::thread::scope(|scope| {
        for n in 0..40 {
            let hefei = hefei.clone();
            scope.spawn(move || append(&hefei, vec![all("hefei", n), all("hefei", n + 100)]));
        }
    });
    let before = contents(&hefei);
    assert_eq!(before.postings.len(), 160, "a token and a case each");
    assert_eq!(
        hefei.postings().position(OWN_RECORDS).expect("a position"),
        80
    );
    drop(hefei);
    assert_eq!(contents(&ledgers.open("hefei")), before);
}

#[test]
fn small_appends_make_the_same_tree_as_one_and_proofs_of_it_hold() {
    let ledgers = Ledgers::new();
    let hefei = ledgers.open("hefei");
    let log = std::sync::Arc::clone(hefei.own_log(LogName::Records));
    let mut n = 0;
    for size in [1, 2, 1, 5, 100, 140, 1, 7, 256, 1, 300] {
        append(
            &hefei,
            (0..size)
                .map(|_| {
                    n += 1;
                    all("hefei", n)
                })
                .collect(),
        );
    }
    let entries = hefei.entries(0, LogIndex(0), u64::MAX).expect("entries");
    let leaves: Vec<_> = entries.iter().map(|e| merkle::leaf_hash(e)).collect();
    let total = leaves.len() as u64;
    assert_eq!(total, 814);
    let root_at = |size: u64| {
        let mut naive = Frontier::new();
        naive.extend(
            leaves
                .iter()
                .copied()
                .take(usize::try_from(size).expect("small")),
        );
        naive.root()
    };
    assert_eq!(log.head().root(), root_at(total));
    let size = TreeSize(total);
    for at in [0, 1, 2, 255, 256, 257, 511, 512, 813] {
        let proof = hefei.inclusion(&log, LogIndex(at), size).expect("a proof");
        let leaf = &leaves[usize::try_from(at).expect("small")];
        merkle::verify_inclusion(leaf, LogIndex(at), size, &proof, &log.head().root())
            .unwrap_or_else(|e| panic!("inclusion of {at}: {e}"));
        let other = &leaves[usize::try_from((at + 1) % total).expect("small")];
        merkle::verify_inclusion(other, LogIndex(at), size, &proof, &log.head().root())
            .expect_err("another leaf");
    }
    for from in [1, 3, 249, 256, 257, 512, 813, 814] {
        let proof = hefei
            .consistency(&log, TreeSize(from), size)
            .expect("a proof");
        let (old, new) = (root_at(from), log.head().root());
        merkle::verify_consistency(TreeSize(from), &old, size, &new, &proof)
            .unwrap_or_else(|e| panic!("consistency from {from}: {e}"));
    }
    for entry in entries {
        let entry = Entry::parse(entry).expect("an entry");
        entry
            .verify(ledgers.keys("hefei").records.public_key())
            .expect("signed");
    }
}

#[test]
fn cases_are_found_by_their_ref_after_the_index_was_lost() {
    let ledgers = Ledgers::new();
    let hefei = ledgers.open("hefei");
    let row = CaseRow {
        case_no: "HF-1".into(),
        category: "fraud".into(),
        ..Default::default()
    };
    let row = Cases::new(hefei.clone()).add(row).expect("added");
    drop(hefei);
    std::fs::remove_dir_all(ledgers.path("hefei").join("index")).expect("removed");
    let cases = Cases::new(ledgers.open("hefei"));
    let found = cases
        .by_ref(&case_ref(&row).unwrap())
        .expect("readable")
        .expect("found");
    assert_eq!(found, row);
    assert!(
        cases
            .by_ref(&casegate::ids::CaseRef([9; 16]))
            .expect("readable")
            .is_none()
    );
}

#[test]
fn another_format_version_is_refused_in_words() {
    let ledgers = Ledgers::new();
    drop(ledgers.open("hefei"));
    let dir = ledgers.path("hefei").join("store");
    let store = Store::open(&dir, 1 << 20).expect("a store");
    let mut batch = Batch::new();
    batch.put(Table::Meta, b"format", 99_u32.to_be_bytes());
    store.commit(batch).expect("written");
    drop(store);
    let refused = ledgers.open_in("hefei", &ledgers.path("hefei"));
    let error = refused.expect_err("refused");
    assert!(
        matches!(
            error,
            LedgerError::Store(StoreError::Format { found: 99, .. })
        ),
        "{error}"
    );
    assert!(error.to_string().contains("99"), "{error}");
}

/// Found in review: a signed amendment of the last index there can be made its
/// readers' index overflow, and with it every later start of their nodes.
#[test]
fn an_amendment_of_a_later_entry_is_void_and_stops_no_reader() {
    let ledgers = Ledgers::new();
    let (hefei, wuhu) = (ledgers.open("hefei"), ledgers.open("wuhu"));
    append(&hefei, vec![all("hefei", 1)]);
    let mut crafted = amendment(&hefei, 0, 20_100, Audience::Federation);
    if let Body::Amend(amend) = &mut crafted.body {
        amend.target_index = LogIndex(u64::MAX);
    }
    append(&hefei, vec![crafted, all("hefei", 2)]);
    carry(&ledgers, &hefei, &wuhu, "hefei");
    let elements =
        |ledger: &Ledger| -> usize { postings(ledger).iter().map(|(_, held)| held.len()).sum() };
    assert_eq!(elements(&wuhu), 2, "what follows it is indexed");
    wuhu.reindex().expect("it can be indexed again");
    assert_eq!(elements(&wuhu), 2);
}
