//! Tests of the token index: atomic batches, order, and what a reopening or a rebuild leaves.

use tempfile::TempDir;

use super::*;
use crate::ids::Token;

fn index() -> (TempDir, Postings) {
    let dir = tempfile::tempdir().unwrap();
    let postings = reopened(&dir);
    (dir, postings)
}

fn reopened(dir: &TempDir) -> Postings {
    Postings::open(&dir.path().join("index"), PostingsOptions::default()).unwrap()
}

fn posting(log: u32, index: u64) -> Posting {
    Posting {
        log,
        index: LogIndex(index),
        kind: 3,
        role: 1,
        day: -7,
        case_ref: CaseRef([9; 16]),
    }
}

fn key(token_mac: Mac, of: &Posting) -> PostingKey {
    PostingKey {
        token_mac,
        log: of.log,
        index: of.index,
    }
}

fn filled(postings: &Postings) {
    let mut batch = PostingsBatch::default();
    for (mac, log, at) in [
        ([2; 16], 300, 1),
        ([1; 16], 2, 70_000),
        ([2; 16], 0, 5),
        ([1; 16], 2, 9),
    ] {
        batch.put(mac, &posting(log, at));
    }
    batch.put_pointer(Pointer::Value, &[1; 16], b"to");
    batch.set_position(2, 70_001);
    postings.apply(batch).unwrap();
}

#[test]
fn a_damaged_posting_is_an_error_and_not_a_missing_one() {
    let (_dir, postings) = index();
    filled(&postings);
    postings
        .inner
        .index
        .insert(key([2; 16], &posting(0, 5)).encode(), [3, 1, 0])
        .unwrap();
    assert!(matches!(
        postings.postings(&[2; 16]),
        Err(PostingsError::Damaged { .. })
    ));
    assert!(postings.scan().any(|group| group.is_err()));
}

#[test]
fn a_batch_that_is_not_applied_changes_nothing() {
    let (_dir, postings) = index();
    let mut batch = PostingsBatch::default();
    batch.put([1; 16], &posting(0, 0));
    batch.set_position(0, 1);
    drop(batch);
    assert!(postings.postings(&[1; 16]).unwrap().is_empty());
    assert_eq!(postings.position(0).unwrap(), 0);
    postings.apply(PostingsBatch::default()).unwrap();
}

#[test]
fn a_reader_sees_a_batch_whole_or_not_at_all() {
    let (_dir, postings) = index();
    std::thread::scope(|scope| {
        let writer = postings.clone();
        scope.spawn(move || {
            for round in 0..400_u64 {
                let mut batch = PostingsBatch::default();
                for log in 0..5 {
                    batch.put([4; 16], &posting(log, round));
                }
                writer.apply(batch).unwrap();
            }
        });
        loop {
            let seen = postings.postings(&[4; 16]).unwrap().len();
            assert_eq!(seen % 5, 0);
            if seen == 2_000 {
                break;
            }
        }
    });
}

#[test]
fn postings_come_in_log_order_and_keep_every_field() {
    let (_dir, postings) = index();
    filled(&postings);
    assert_eq!(
        postings.postings(&[1; 16]).unwrap(),
        [posting(2, 9), posting(2, 70_000)]
    );
    assert_eq!(
        postings.postings_up_to(&[1; 16], 1).unwrap(),
        [posting(2, 9)]
    );
    assert!(postings.postings(&[3; 16]).unwrap().is_empty());
}

#[test]
fn only_a_posting_of_the_own_log_counts_as_own() {
    let (_dir, postings) = index();
    filled(&postings);
    assert!(!postings.postings_of(&[2; 16], 0).unwrap().is_empty());
    assert!(postings.postings_of(&[1; 16], 0).unwrap().is_empty());
    assert_eq!(postings.postings_of(&[2; 16], 0).unwrap(), [posting(0, 5)]);
    assert!(postings.postings_of(&[1; 16], 0).unwrap().is_empty());
}

#[test]
fn a_scan_groups_by_token_in_order_and_meets_nothing_else() {
    let (_dir, postings) = index();
    filled(&postings);
    let groups: Vec<_> = postings.scan().map(Result::unwrap).collect();
    assert_eq!(
        groups,
        [
            ([1; 16], vec![posting(2, 9), posting(2, 70_000)]),
            ([2; 16], vec![posting(0, 5), posting(300, 1)]),
        ]
    );
}

#[test]
fn a_deleted_posting_is_gone_also_from_the_sorted_files() {
    let (dir, postings) = index();
    filled(&postings);
    postings.compact().unwrap();
    let mut batch = PostingsBatch::default();
    batch.delete(&key([2; 16], &posting(0, 5)));
    batch.delete(&key([8; 16], &posting(0, 5)));
    batch.delete_pointer(Pointer::Value, &[1; 16]);
    postings.apply(batch).unwrap();
    postings.compact().unwrap();
    assert!(postings.postings_of(&[2; 16], 0).unwrap().is_empty());
    assert_eq!(postings.postings(&[2; 16]).unwrap(), [posting(300, 1)]);
    assert_eq!(postings.pointer(Pointer::Value, &[1; 16]).unwrap(), None);
    drop(postings);
    assert_eq!(reopened(&dir).scan().count(), 2);
}

/// Says whether a MAC stands anywhere in the files of an index, but for its
/// first bytes, which sorted files leave out where neighbours share them.
fn stands_in_files(dir: &Path, mac: &Mac) -> bool {
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for item in std::fs::read_dir(dir).unwrap() {
            let path = item.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                let bytes = std::fs::read(path).unwrap();
                if bytes.windows(12).any(|window| *window == mac[4..]) {
                    return true;
                }
            }
        }
    }
    false
}

#[test]
fn a_deleted_posting_is_in_no_table_and_no_journal_after_a_merge() {
    let (dir, postings) = index();
    let (gone, stays) = (random::<16>(), random::<16>());
    let mut batch = PostingsBatch::default();
    batch.put(gone, &posting(0, 5));
    batch.put(stays, &posting(0, 6));
    postings.apply(batch).unwrap();
    let mut batch = PostingsBatch::default();
    batch.delete(&key(gone, &posting(0, 5)));
    postings.apply_synced(batch).unwrap();
    assert!(stands_in_files(dir.path(), &gone), "the journal has it");
    postings.compact().unwrap();
    assert_eq!(postings.postings(&stays).unwrap(), [posting(0, 6)]);
    drop(postings);
    assert!(stands_in_files(dir.path(), &stays));
    assert!(!stands_in_files(dir.path(), &gone));
    assert_eq!(reopened(&dir).scan().count(), 1);
}

#[test]
fn pointers_of_two_spaces_do_not_meet() {
    let (_dir, postings) = index();
    filled(&postings);
    assert_eq!(
        postings
            .pointer(Pointer::Value, &[1; 16])
            .unwrap()
            .as_deref(),
        Some(&b"to"[..])
    );
    assert_eq!(postings.pointer(Pointer::Row, &[1; 16]).unwrap(), None);
}

#[test]
fn a_reopened_index_holds_what_was_applied() {
    let (dir, postings) = index();
    filled(&postings);
    drop(postings);
    let postings = reopened(&dir);
    assert_eq!(postings.scan().count(), 2);
    assert_eq!(postings.position(2).unwrap(), 70_001);
    assert_eq!(postings.position(3).unwrap(), 0);
}

#[test]
fn a_cleared_index_is_empty_and_can_be_filled_again() {
    let (dir, postings) = index();
    filled(&postings);
    postings.compact().unwrap();
    postings.clear().unwrap();
    assert_eq!(postings.scan().count(), 0);
    assert_eq!(postings.position(2).unwrap(), 0);
    drop(postings);
    let postings = reopened(&dir);
    assert_eq!(postings.scan().count(), 0);
    filled(&postings);
    drop(postings);
    assert_eq!(reopened(&dir).scan().count(), 2);
}

#[test]
fn macs_differ_by_key_use_and_field_borders() {
    let one = IndexKey::new(&[1; 32]);
    let macs = [
        one.token(&[1; 4], &Token([0; 16])),
        one.token(&[2; 4], &Token([0; 16])),
        IndexKey::new(&[2; 32]).token(&[1; 4], &Token([0; 16])),
        one.value(1, "138"),
        one.value(2, "138"),
        one.row(&[&[1], b"138"]),
        one.row(&[b"ab", b"c"]),
        one.row(&[b"a", b"bc"]),
    ];
    for (at, mac) in macs.iter().enumerate() {
        assert!(!macs[at + 1..].contains(mac), "{at}");
    }
    assert_eq!(format!("{one:?}"), "IndexKey(..)");
}

#[test]
fn an_index_of_another_format_is_made_anew() {
    for found in [0_u32, 2, u32::MAX] {
        let dir = tempfile::tempdir().expect("a directory");
        let open = || Postings::open(dir.path(), PostingsOptions::default()).expect("it opens");
        let postings = open();
        let mut batch = PostingsBatch::default();
        batch.set_position(7, 9);
        postings.apply(batch).expect("written");
        let other = found.to_be_bytes();
        postings
            .inner
            .index
            .insert(FORMAT_KEY, other)
            .expect("written");
        drop(postings);
        assert_eq!(
            open().position(7).expect("read"),
            0,
            "{found}: nothing is left"
        );
        let postings = open();
        let mut batch = PostingsBatch::default();
        batch.set_position(7, 9);
        postings.apply(batch).expect("written");
        drop(postings);
        assert_eq!(
            open().position(7).expect("read"),
            9,
            "{found}: and it is kept then"
        );
    }
}
