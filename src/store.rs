//! The embedded store of truth: one sled database a node, named nowhere else.
//!
//! Contract. A [`Batch`] is atomic. [`Store::commit`] returns once its batch is
//! flushed *and* synced (sled's own flush does not fsync, so the database file
//! is synced by hand); concurrent commits share one flush, in the order in
//! which they were handed over. Reads see a batch once it is applied, perhaps
//! shortly before it is durable. When a write's outcome is unknown the store
//! refuses all later writes with [`StoreError::OutcomeUnknown`]; reopening it
//! finds the truth. Keys that only grow keep sled's memory flat, so large
//! tables use them (log number, index); random keys are for small tables.

mod format;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use bytes::Bytes;

use crate::blame::{Blame, Blamed};

/// The layout of the directory; another version is refused in words.
pub use format::FORMAT_VERSION;

/// Batches that may wait for the writer at once.
const QUEUED_BATCHES_MAX: usize = 1024;

/// Batches that share one flush at most.
const GROUPED_BATCHES_MAX: usize = 256;

/// How often, and after which pause, a locked directory is tried.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: std::time::Duration = std::time::Duration::from_millis(50);

/// A namespace of keys: one leading byte in the store's single tree, so that
/// one batch can change several tables at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Table {
    /// Format version and node-wide facts.
    Meta = 1,
    /// Origin → log number.
    LogNumber = 2,
    /// Log number → head.
    LogHead = 3,
    /// (log number, first index) → a run of entries.
    Entries = 4,
    /// (log number, first index) → a sealed run of bodies and body states.
    Bodies = 5,
    /// (log number, first index) → a sealed run of what stays at home.
    Private = 6,
    /// (log number, tile level, tile) → up to 256 hashes.
    Tiles = 7,
    /// Retractions and expiries that were applied to a log.
    Ended = 8,
    /// Local cases.
    Cases = 10,
    /// Sealed elements without a token that are kept at home only.
    Notes = 9,
    /// Elements that wait for tokens, in order of arrival.
    Queue = 11,
    /// Hits, in the order in which they were raised.
    Hits = 13,
    /// Officers and their rights.
    Officers = 14,
    /// Signed rosters by version.
    Rosters = 15,
    /// A custodian's key shares.
    Share = 20,
    /// A custodian's spent budgets.
    Budget = 21,
    /// A custodian's replies, for byte-identical retries.
    Reply = 22,
    /// A custodian's never-decreasing clock.
    CustodianClock = 23,
    /// (log number, size) → a checkpoint with enough cosignatures.
    Witnessed = 16,
    /// Origin → the newest checkpoint that this node cosigned as a witness.
    Cosigned = 17,
    /// (log number, index) → what is due or has come of receipts.
    Receipts = 18,
    /// Token batches that were sent and not yet answered.
    PendingBatch = 25,
    /// (log number, index) of bodies that nobody asked so far had.
    Absent = 27,
    /// Wrong answers of custodians, with their proofs.
    Evidence = 26,
    /// Version → the note of the roster log that enough members cosigned.
    RosterNotes = 32,
    /// Pairs of signed notes that contradict each other.
    Conflicts = 28,
    /// Origin → a checkpoint that was seen of it.
    Seen = 29,
    /// (log number, index) of bodies that are lost, of own logs and, by their
    /// owner's word, of others.
    Lost = 34,
    /// (log number, index) → who may have received an own element by amendments.
    Audiences = 40,
    /// Member → what its node said last that it runs and speaks.
    Spoken = 41,
    /// (log number, index) of bodies that are not read: newer, or against a rule.
    Opaque = 42,
    /// Calls under way whose line is not in the access log yet, sealed.
    Begun = 30,
}

/// Why the store could not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory could not be opened.
    #[error("the store at {dir} cannot be opened: {reason}")]
    Open {
        /// The store's directory.
        dir: PathBuf,
        /// What the operating system or sled said.
        reason: String,
    },
    /// The directory was written by another version of casegate.
    #[error("the store has format {found}, this casegate reads format {want}: {}", format::advice(*found, *want))]
    Format {
        /// The version in the directory.
        found: u32,
        /// The version that this build reads.
        want: u32,
    },
    /// A read failed.
    #[error("a read failed: {0}")]
    Read(String),
    /// What was read is not what was once written.
    #[error("the store holds a damaged {0}")]
    Damaged(&'static str),
    /// A write may or may not have been kept; nothing more is written.
    #[error("a write's outcome is unknown ({0}); restart the node to find out")]
    OutcomeUnknown(Arc<str>),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

impl Blamed for StoreError {
    fn blame(&self) -> Blame {
        match self {
            Self::Format { .. } => Blame::Incompatible,
            Self::Open { .. }
            | Self::Read(_)
            | Self::Damaged(_)
            | Self::OutcomeUnknown(_)
            | Self::Closed => Blame::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Open { .. } => "store.open",
            Self::Format { found, want } if found > want => "store.newer",
            Self::Format { .. } => "store.older",
            Self::Read(_) => "store.read",
            Self::Damaged(_) => "store.damaged",
            Self::OutcomeUnknown(_) => "store.outcome_unknown",
            Self::Closed => "store.closed",
        }
    }
}

/// Changes that become visible and durable together.
#[derive(Debug, Default)]
pub struct Batch(sled::Batch);

impl Batch {
    /// Makes an empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `key` in `table`.
    pub fn put(&mut self, table: Table, key: &[u8], value: impl Into<Vec<u8>>) {
        self.0.insert(full_key(table, key), value.into());
    }

    /// Removes `key` from `table`.
    pub fn delete(&mut self, table: Table, key: &[u8]) {
        self.0.remove(full_key(table, key));
    }
}

fn full_key(table: Table, key: &[u8]) -> Vec<u8> {
    let mut full = Vec::with_capacity(key.len() + 1);
    full.push(table as u8);
    full.extend_from_slice(key);
    full
}

/// A batch on its way to the disk; dropped without waiting, it still goes there.
#[derive(Debug)]
pub struct Ticket(tokio::sync::oneshot::Receiver<Result<(), StoreError>>);

impl Ticket {
    /// Waits, blocking the thread, until the batch is durable.
    ///
    /// # Errors
    /// [`StoreError::OutcomeUnknown`] or [`StoreError::Closed`].
    pub fn wait(self) -> Result<(), StoreError> {
        self.0.blocking_recv().unwrap_or(Err(StoreError::Closed))
    }

    /// Waits until the batch is durable.
    ///
    /// # Errors
    /// [`StoreError::OutcomeUnknown`] or [`StoreError::Closed`].
    pub async fn done(self) -> Result<(), StoreError> {
        self.0.await.unwrap_or(Err(StoreError::Closed))
    }
}

struct Write {
    batch: sled::Batch,
    done: Waiter,
}

/// Who waits for a write: a task, or a blocked thread.
enum Waiter {
    Task(tokio::sync::oneshot::Sender<Result<(), StoreError>>),
    Thread(SyncSender<Result<(), StoreError>>),
}

impl Waiter {
    /// Tells the outcome; a waiter that gave up is no concern of the writer's.
    fn tell(self, outcome: Result<(), StoreError>) {
        match self {
            Self::Task(task) => drop(task.send(outcome)),
            Self::Thread(thread) => drop(thread.send(outcome)),
        }
    }
}

/// A handle to an open store. Clones share it; the last one closes it.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    db: sled::Db,
    dir: PathBuf,
    writes: Option<SyncSender<Write>>,
    writer: Option<JoinHandle<()>>,
    broken: Arc<AtomicBool>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("dir", &self.0.dir)
            .finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.writes = None;
        if let Some(writer) = self.writer.take() {
            // The last handle may be dropped by the writer's own waiter; a
            // panic there was reported by its waiters already.
            drop(writer.join());
        }
    }
}

impl Store {
    /// Opens the store in `dir`, or makes it, with `cache_bytes` of page cache.
    ///
    /// # Errors
    /// [`StoreError::Open`] when the directory is in use or unreadable,
    /// [`StoreError::Format`] when another version wrote it.
    pub fn open(dir: &Path, cache_bytes: u64) -> Result<Self, StoreError> {
        let open_error = |reason: String| StoreError::Open {
            dir: dir.to_path_buf(),
            reason,
        };
        std::fs::create_dir_all(dir).map_err(|e| open_error(e.to_string()))?;
        let db = open_sled(dir, cache_bytes).map_err(|e| open_error(e.to_string()))?;
        let synced = File::open(dir.join("db")).map_err(|e| open_error(e.to_string()))?;
        check_format(&db)?;
        let (writes, queue) = sync_channel(QUEUED_BATCHES_MAX);
        let broken = Arc::new(AtomicBool::new(false));
        let writer = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn({
                let (db, broken) = (db.clone(), Arc::clone(&broken));
                move || write_loop(&db, &synced, &queue, &broken)
            })
            .map_err(|e| open_error(e.to_string()))?;
        let store = Self(Arc::new(Inner {
            db,
            dir: dir.to_path_buf(),
            writes: Some(writes),
            writer: Some(writer),
            broken,
        }));
        store.write_format()?;
        Ok(store)
    }

    fn write_format(&self) -> Result<(), StoreError> {
        if self.read(Table::Meta, b"format")?.is_none() {
            let mut batch = Batch::new();
            batch.put(Table::Meta, b"format", FORMAT_VERSION.to_be_bytes());
            self.commit(batch)?;
        }
        Ok(())
    }

    /// The store's directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.0.dir
    }

    /// Says whether a write's outcome is unknown, so that nothing more is written.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.0.broken.load(Ordering::SeqCst)
    }

    /// Hands `batch` to the writer and returns at once; batches become durable
    /// in the order of their submission.
    ///
    /// # Errors
    /// [`StoreError::OutcomeUnknown`] after an earlier failed write.
    pub fn submit(&self, batch: Batch) -> Result<Ticket, StoreError> {
        let (done, ticket) = tokio::sync::oneshot::channel();
        self.hand_over(batch, Waiter::Task(done))?;
        Ok(Ticket(ticket))
    }

    fn hand_over(&self, batch: Batch, done: Waiter) -> Result<(), StoreError> {
        let Some(writes) = &self.0.writes else {
            return Err(StoreError::Closed);
        };
        writes
            .send(Write {
                batch: batch.0,
                done,
            })
            .map_err(|_| StoreError::Closed)
    }

    /// Writes `batch` and returns when it is flushed and synced. Blocks: async
    /// callers use [`Store::submit`] and [`Ticket::done`].
    ///
    /// # Errors
    /// [`StoreError::OutcomeUnknown`] when the write may or may not be kept.
    pub fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let (done, outcome) = sync_channel(1);
        self.hand_over(batch, Waiter::Thread(done))?;
        outcome.recv().unwrap_or(Err(StoreError::Closed))
    }

    /// Reads one value.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn read(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let found = self.0.db.get(full_key(table, key)).map_err(read_error)?;
        Ok(found.map(|v| Bytes::copy_from_slice(&v)))
    }

    /// Reads the entry with the greatest key that is not above `key` and shares
    /// its first `prefix_len` bytes.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn floor(
        &self,
        table: Table,
        key: &[u8],
        prefix_len: usize,
    ) -> Result<Option<(Vec<u8>, Bytes)>, StoreError> {
        let full = full_key(table, key);
        let low = full_key(table, key.get(..prefix_len).unwrap_or(key));
        match self.0.db.range(low..=full).next_back() {
            None => Ok(None),
            Some(Err(e)) => Err(read_error(e)),
            Some(Ok((k, v))) => Ok(Some((tail(&k), Bytes::copy_from_slice(&v)))),
        }
    }

    /// Reads, in key order, every entry of `table` whose key starts with `prefix`.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn scan(&self, table: Table, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Bytes)>, StoreError> {
        self.iter(table, prefix).collect()
    }

    /// Iterates, in key order, over the entries of `table` whose key starts with `prefix`.
    pub fn iter(
        &self,
        table: Table,
        prefix: &[u8],
    ) -> impl Iterator<Item = Result<(Vec<u8>, Bytes), StoreError>> + use<> {
        self.0.db.scan_prefix(full_key(table, prefix)).map(pair)
    }

    /// Iterates, in key order, over the entries of `table` from `start` on, as
    /// long as their keys share the first `prefix_len` bytes of `start`.
    pub fn iter_from(
        &self,
        table: Table,
        start: &[u8],
        prefix_len: usize,
    ) -> impl Iterator<Item = Result<(Vec<u8>, Bytes), StoreError>> + use<> {
        let prefix = full_key(table, start.get(..prefix_len).unwrap_or(start));
        let from = full_key(table, start);
        self.0
            .db
            .range(from..)
            .take_while(move |item| match item {
                Ok((key, _)) => key.starts_with(&prefix),
                Err(_) => true,
            })
            .map(pair)
    }

    /// The bytes that the store takes on the disk.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        self.0.db.size_on_disk().unwrap_or(0)
    }
}

fn pair(item: sled::Result<(sled::IVec, sled::IVec)>) -> Result<(Vec<u8>, Bytes), StoreError> {
    let (key, value) = item.map_err(read_error)?;
    Ok((tail(&key), Bytes::copy_from_slice(&value)))
}

/// Opens sled. Right after a store was closed, sled's own threads may hold its
/// lock for a moment longer: the lock is tried again for a short while.
fn open_sled(dir: &Path, cache_bytes: u64) -> sled::Result<sled::Db> {
    let mut tries = 0;
    loop {
        let opened = sled::Config::new()
            .path(dir)
            .cache_capacity(cache_bytes)
            .flush_every_ms(None)
            .print_profile_on_drop(false)
            .open();
        let locked = matches!(&opened, Err(sled::Error::Io(e)) if e.to_string().contains("lock"));
        tries += 1;
        if !locked || tries == LOCK_TRIES {
            return opened;
        }
        std::thread::sleep(LOCK_PAUSE);
    }
}

fn tail(key: &[u8]) -> Vec<u8> {
    key.get(1..).unwrap_or(&[]).to_vec()
}

#[allow(clippy::needless_pass_by_value, reason = "used with map_err")]
fn read_error(e: sled::Error) -> StoreError {
    StoreError::Read(e.to_string())
}

fn check_format(db: &sled::Db) -> Result<(), StoreError> {
    let found = db.get(full_key(Table::Meta, b"format"));
    format::check(found.map_err(read_error)?.as_deref())
}

fn write_loop(db: &sled::Db, synced: &File, queue: &Receiver<Write>, broken: &AtomicBool) {
    while let Ok(first) = queue.recv() {
        let mut waiting = vec![];
        let mut result = if broken.load(Ordering::SeqCst) {
            Err("an earlier write failed".to_owned())
        } else {
            Ok(())
        };
        let more = std::iter::once(first).chain(queue.try_iter().take(GROUPED_BATCHES_MAX - 1));
        for write in more {
            result = result.and_then(|()| db.apply_batch(write.batch).map_err(|e| e.to_string()));
            waiting.push(write.done);
        }
        let result = result
            .and_then(|()| db.flush().map(drop).map_err(|e| e.to_string()))
            .and_then(|()| synced.sync_data().map_err(|e| e.to_string()))
            .map_err(|reason| {
                broken.store(true, Ordering::SeqCst);
                StoreError::OutcomeUnknown(reason.into())
            });
        for done in waiting {
            done.tell(result.clone());
        }
    }
}

#[cfg(test)]
mod tests {
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
        assert!(matches!(
            Store::open(dir.path(), 1 << 20),
            Err(StoreError::Open { .. })
        ));
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
}
