//! The store by itself: batches, ranges, locks, and writes whose outcome is unknown.

use super::*;

fn open(dir: &Path) -> Store {
    Store::open(dir, 1 << 20).expect("the store opens")
}

#[test]
fn what_was_committed_is_there_after_reopening() {
    let dir = tempfile::tempdir().expect("a directory");
    {
        let store = open(dir.path());
        let mut batch = Batch::new();
        batch.put(Table::Cases, b"a", *b"1");
        batch.put(Table::Hits, b"a", *b"2");
        store.commit(batch).expect("durable");
    }
    let store = open(dir.path());
    assert_eq!(store.read(Table::Cases, b"a").unwrap().unwrap(), &b"1"[..]);
    assert_eq!(store.read(Table::Hits, b"a").unwrap().unwrap(), &b"2"[..]);
    assert!(store.read(Table::Queue, b"a").unwrap().is_none());
}

#[test]
fn a_directory_of_another_format_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    {
        let store = open(dir.path());
        let mut batch = Batch::new();
        batch.put(Table::Meta, b"format", 99u32.to_be_bytes());
        store.commit(batch).expect("durable");
    }
    let refused = Store::open(dir.path(), 1 << 20).expect_err("another format");
    assert!(
        matches!(refused, StoreError::Format { found: 99, .. }),
        "{refused}"
    );
}

#[test]
fn a_directory_in_use_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let _open = open(dir.path());
    let refused = Store::open(dir.path(), 1 << 20).expect_err("it is in use");
    assert!(matches!(refused, StoreError::InUse { .. }), "{refused}");
}

#[test]
fn a_directory_that_cannot_be_opened_is_not_one_in_use() {
    let dir = tempfile::tempdir().expect("a directory");
    let locked = dir.path().join("lock");
    std::fs::create_dir_all(locked.join(SLED_FILE)).expect("a directory");
    let refused = Store::open(&locked, 1 << 20).expect_err("no file of sled's");
    assert!(matches!(refused, StoreError::Open { .. }), "{refused}");
}

#[test]
fn floor_and_iter_from_stay_within_the_prefix() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    let mut batch = Batch::new();
    for key in [b"a1", b"a5", b"b3"] {
        batch.put(Table::Entries, key, key.to_vec());
    }
    batch.put(Table::Bodies, b"a9", *b"x");
    store.commit(batch).expect("durable");
    let floor = |k: &[u8]| store.floor(Table::Entries, k, 1).unwrap().map(|(k, _)| k);
    assert_eq!(floor(b"a4"), Some(b"a1".to_vec()));
    assert_eq!(floor(b"a5"), Some(b"a5".to_vec()));
    assert_eq!(floor(b"a0"), None);
    assert_eq!(floor(b"b0"), None, "a floor of another prefix is none");
    let from: Vec<_> = store
        .iter_from(Table::Entries, b"a2", 1)
        .map(|r| r.unwrap().0)
        .collect();
    assert_eq!(from, vec![b"a5".to_vec()]);
}

#[test]
fn after_a_write_whose_outcome_is_unknown_nothing_is_written_any_more() {
    let dir = tempfile::tempdir().expect("a directory");
    let db = sled::open(dir.path()).expect("it opens");
    // A file that the system does not sync.
    let unsynced = File::open("/dev/null").expect("it is there");
    let broken = AtomicBool::new(false);
    let write = |key: &[u8]| {
        let (sender, queue) = sync_channel(1);
        let mut batch = sled::Batch::default();
        batch.insert(key, b"1");
        let (done, told) = sync_channel(1);
        let done = Waiter::Thread(done);
        sender.send(Write { batch, done }).expect("there is room");
        drop(sender);
        write_loop(&db, &unsynced, &queue, &broken);
        told.recv().expect("told").expect_err("not durable")
    };
    for key in [b"a", b"b"] {
        let refused = write(key);
        assert!(matches!(refused, StoreError::OutcomeUnknown(_)));
        assert!(broken.load(Ordering::SeqCst));
    }
    let second = db.get(b"b").expect("it reads");
    assert_eq!(second, None, "the second was not begun");
}
