//! The derived token index: token → postings, the pointers that publishing looks up, and how far
//! each log is indexed. The only file that names `fjall`.
//!
//! All of it can be rebuilt from the store, so a batch is journalled to the system but not synced:
//! batches are atomic and carry their positions, and a crash costs a replay of the tail. Keys hold
//! MACs under the node's index key, never a token or a value.
//!
//! One keyspace, by its first byte: 0 format, 1 posting (MAC, log, index), 2 pointer by value,
//! 3 pointer by row, 4 position by log. Numbers are big-endian, so that keys sort in log order.

mod mac;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use fjall::{Database, Guard, Keyspace, KeyspaceCreateOptions, Readable};

pub use self::mac::IndexKey;
use crate::blame::{Blame, Blamed};
use crate::ids::{CaseRef, LogIndex, random};

const FORMAT: u32 = 1;
const FORMAT_KEY: &[u8] = &[0];
const POSTING: u8 = 1;
const POINTER_BY_VALUE: u8 = 2;
const POINTER_BY_ROW: u8 = 3;
const POSITION: u8 = 4;
const POINTER_BY_NOTICE: u8 = 5;
const POINTER_BY_AMEND: u8 = 6;
const POINTER_BY_CASE: u8 = 7;
const POSTING_KEY_LEN: usize = 1 + 16 + 4 + 8;
const POSTING_VALUE_LEN: usize = 1 + 1 + 4 + 16;

/// What fills a journal up: blocks of noise, which no compression shortens, and
/// how much of it is held in memory.
const FILLER_BLOCK_BYTES: usize = 1 << 20;
const FILLER_BLOCKS: u32 = 66;
const FILLER_MEMTABLE_BYTES: u64 = 4 << 20;

/// Flushes after which the old journal is gone, unless somebody writes very much.
const JOURNAL_TRIES: usize = 16;

/// A truncated HMAC-SHA256 under the node's index key.
pub type Mac = [u8; 16];

/// Why the index could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum PostingsError {
    /// The engine failed.
    #[error("the token index: {0}")]
    Engine(#[from] fjall::Error),
    /// An index of another format is in the way, and cannot be taken away.
    #[error("the token index has another format, and cannot be taken away: {0}")]
    Away(std::io::Error),
    /// A key or value that this module did not write.
    #[error("the token index holds a damaged {what}: run `casegate store reindex`")]
    Damaged {
        /// What was being read.
        what: &'static str,
    },
}

impl Blamed for PostingsError {
    fn blame(&self) -> Blame {
        match self {
            Self::Engine(_) | Self::Away(_) | Self::Damaged { .. } => Blame::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Engine(_) => "postings.engine",
            Self::Away(_) => "postings.away",
            Self::Damaged { .. } => "postings.damaged",
        }
    }
}

/// Where one posting stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PostingKey {
    /// The MAC of its token.
    pub token_mac: Mac,
    /// The local number of its log.
    pub log: u32,
    /// Its record's index in that log.
    pub index: LogIndex,
}

/// One record that holds a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Posting {
    /// The local number of its log.
    pub log: u32,
    /// Its record's index in that log.
    pub index: LogIndex,
    /// The element's kind, by its wire number.
    pub kind: u8,
    /// The element's role, by its wire number.
    pub role: u8,
    /// The day it was observed, counted from 1970-01-01.
    pub day: i32,
    /// The case it belongs to.
    pub case_ref: CaseRef,
}

/// The derived look-ups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pointer {
    /// By [`IndexKey::value`].
    Value,
    /// By [`IndexKey::row`].
    Row,
    /// By member and case ref: the newest case notice.
    Notice,
    /// By log and index: the newest amendment of a record.
    Amend,
    /// By own case ref: the key of the case's row.
    Case,
}

/// Changes that take effect together. Later changes to a key win over earlier ones.
#[derive(Debug, Default)]
pub struct PostingsBatch {
    changes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl PostingsBatch {
    /// Adds or replaces the posting of one record under one token.
    pub fn put(&mut self, token_mac: Mac, posting: &Posting) {
        let key = PostingKey {
            token_mac,
            log: posting.log,
            index: posting.index,
        };
        self.changes.push((key.encode(), Some(posting.encode())));
    }

    /// Takes a posting away; one that is not there is no error.
    pub fn delete(&mut self, key: &PostingKey) {
        self.changes.push((key.encode(), None));
    }

    /// Takes out of this batch whatever it would post for one record.
    pub fn forget(&mut self, log: u32, index: LogIndex) {
        let mut end = log.to_be_bytes().to_vec();
        end.extend_from_slice(&index.0.to_be_bytes());
        self.changes.retain(|(key, change)| {
            let posting = key.first() == Some(&POSTING) && key.len() == POSTING_KEY_LEN;
            !(posting && change.is_some() && key.ends_with(&end))
        });
    }

    /// Points a MAC at `to`, such as an index of the own log.
    pub fn put_pointer(&mut self, space: Pointer, mac: &Mac, to: &[u8]) {
        self.changes
            .push((pointer_key(space, mac), Some(to.to_vec())));
    }

    /// Takes a pointer away; one that is not there is no error.
    pub fn delete_pointer(&mut self, space: Pointer, mac: &Mac) {
        self.changes.push((pointer_key(space, mac), None));
    }

    /// Says that the first `entries` entries of a log are indexed once this batch is.
    pub fn set_position(&mut self, log: u32, entries: u64) {
        self.changes
            .push((position_key(log), Some(entries.to_be_bytes().to_vec())));
    }

    /// The number of changes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether nothing would change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// What one open index may use; many nodes of a demo share one process.
#[derive(Clone, Copy, Debug)]
pub struct PostingsOptions {
    /// Block cache.
    pub cache_bytes: u64,
    /// How much is gathered in memory before it is written as a sorted table.
    pub memtable_bytes: u64,
    /// Threads that write and merge tables, at least 1.
    pub threads: usize,
    /// Files kept open, at least 10.
    pub open_files_max: usize,
}

impl Default for PostingsOptions {
    /// Small: 30 indexes of 220,000 postings each took 390 MB together, against 880 MB with 8 MiB
    /// of each, and filled at 210,000 postings/s against 240,000.
    fn default() -> Self {
        Self {
            cache_bytes: 4 << 20,
            memtable_bytes: 2 << 20,
            threads: 1,
            open_files_max: 64,
        }
    }
}

/// One node's open index. Clones share it; calls block on the disk.
#[derive(Clone)]
pub struct Postings {
    inner: Arc<Inner>,
}

struct Inner {
    database: Database,
    index: Keyspace,
    /// Held while the files are rid of what was deleted.
    compacting: Mutex<()>,
}

impl fmt::Debug for Postings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postings").finish_non_exhaustive()
    }
}

impl Postings {
    /// Opens the index in `dir`, or makes an empty one: also in place of one of another format,
    /// newer or older, since all of it is made again from the store.
    ///
    /// # Errors
    /// [`PostingsError::Engine`], as when another process has it open.
    pub fn open(dir: &Path, options: PostingsOptions) -> Result<Self, PostingsError> {
        let found = Self::open_any(dir, options)?;
        let format = match found.value(FORMAT_KEY)? {
            None => FORMAT,
            Some(bytes) => u32::from_be_bytes(fixed::<4>(&bytes, "format")?),
        };
        let postings = if format == FORMAT {
            found
        } else {
            tracing::warn!(
                found = format,
                used = FORMAT,
                "the token index has another format: it is made again from the store"
            );
            drop(found);
            std::fs::remove_dir_all(dir).map_err(PostingsError::Away)?;
            Self::open_any(dir, options)?
        };
        postings.write_format()?;
        Ok(postings)
    }

    fn open_any(dir: &Path, options: PostingsOptions) -> Result<Self, PostingsError> {
        let database = Database::builder(dir)
            .cache_size(options.cache_bytes)
            .worker_threads(options.threads.max(1))
            .max_cached_files(Some(options.open_files_max.max(10)))
            .max_journaling_size(64 << 20)
            .open()?;
        let index = database.keyspace("index", || {
            KeyspaceCreateOptions::default().max_memtable_size(options.memtable_bytes)
        })?;
        Ok(Self {
            inner: Arc::new(Inner {
                database,
                index,
                compacting: Mutex::new(()),
            }),
        })
    }

    /// Applies a batch whole or not at all.
    ///
    /// # Errors
    /// [`PostingsError::Engine`]; after a failed write the index refuses all others until opened
    /// again.
    pub fn apply(&self, batch: PostingsBatch) -> Result<(), PostingsError> {
        self.write(batch, fjall::PersistMode::Buffer)
    }

    /// As [`Self::apply`], and synced: for deletions that no replay would find again.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub fn apply_synced(&self, batch: PostingsBatch) -> Result<(), PostingsError> {
        if batch.is_empty() {
            return Ok(());
        }
        self.write(batch, fjall::PersistMode::SyncData)
    }

    fn write(&self, batch: PostingsBatch, mode: fjall::PersistMode) -> Result<(), PostingsError> {
        let mut write = self.inner.database.batch().durability(Some(mode));
        for (key, change) in batch.changes {
            match change {
                Some(value) => write.insert(&self.inner.index, key, value),
                None => write.remove(&self.inner.index, key),
            }
        }
        Ok(write.commit()?)
    }

    /// All postings of a token, in order of log and index.
    ///
    /// # Errors
    /// [`PostingsError::Engine`] or [`PostingsError::Damaged`].
    pub fn postings(&self, token_mac: &Mac) -> Result<Vec<Posting>, PostingsError> {
        self.postings_up_to(token_mac, usize::MAX)
    }

    /// The first `max` postings of a token: a hub can have very many.
    ///
    /// # Errors
    /// [`PostingsError::Engine`] or [`PostingsError::Damaged`].
    pub fn postings_up_to(
        &self,
        token_mac: &Mac,
        max: usize,
    ) -> Result<Vec<Posting>, PostingsError> {
        let found = self.walk(token_prefix(token_mac));
        found
            .take(max)
            .map(|guard| Ok(posting_of(guard)?.1))
            .collect()
    }

    /// The token's postings in one log.
    ///
    /// # Errors
    /// [`PostingsError::Engine`] or [`PostingsError::Damaged`].
    pub fn postings_of(&self, token_mac: &Mac, log: u32) -> Result<Vec<Posting>, PostingsError> {
        let mut prefix = token_prefix(token_mac).to_vec();
        prefix.extend_from_slice(&log.to_be_bytes());
        self.walk(prefix)
            .map(|guard| Ok(posting_of(guard)?.1))
            .collect()
    }

    /// Walks all postings in token order, one group a token, as of the moment of the call.
    #[must_use]
    pub fn scan(&self) -> Scan {
        Scan {
            walk: self.walk([POSTING]),
            ahead: None,
        }
    }

    /// What a MAC points at.
    ///
    /// # Errors
    /// [`PostingsError::Engine`].
    pub fn pointer(&self, space: Pointer, mac: &Mac) -> Result<Option<Vec<u8>>, PostingsError> {
        self.value(&pointer_key(space, mac))
    }

    /// How many pointers a space holds. Walks all of them.
    ///
    /// # Errors
    /// [`PostingsError::Engine`].
    pub fn count_pointers(&self, space: Pointer) -> Result<u64, PostingsError> {
        let mut count = 0;
        for guard in self.walk([pointer_tag(space)]) {
            guard.key()?;
            count += 1;
        }
        Ok(count)
    }

    /// How many entries of a log are indexed; 0 for a log never seen.
    ///
    /// # Errors
    /// [`PostingsError::Engine`] or [`PostingsError::Damaged`].
    pub fn position(&self, log: u32) -> Result<u64, PostingsError> {
        match self.value(&position_key(log))? {
            None => Ok(0),
            Some(bytes) => Ok(u64::from_be_bytes(fixed(&bytes, "position")?)),
        }
    }

    /// Empties the index, positions too, for a rebuild.
    ///
    /// # Errors
    /// [`PostingsError::Engine`]; the index may then be half empty: call it again.
    pub fn clear(&self) -> Result<(), PostingsError> {
        self.inner.index.clear()?;
        self.write_format()
    }

    /// Takes deleted postings out of the files: writes what is in memory, replaces
    /// the journal and merges all tables. Blocks; others read and write meanwhile.
    ///
    /// # Errors
    /// [`PostingsError::Engine`]; call it again.
    pub fn compact(&self) -> Result<(), PostingsError> {
        let one = self.inner.compacting.lock();
        let _one = one.unwrap_or_else(std::sync::PoisonError::into_inner);
        self.inner.index.rotate_memtable_and_wait()?;
        self.replace_journal()?;
        Ok(self.inner.index.major_compact()?)
    }

    /// The engine begins a new journal only at a flush that finds the old one
    /// past 64 MB, and removes the old one once all of it is in tables: so it is
    /// filled up with noise.
    fn replace_journal(&self) -> Result<(), PostingsError> {
        let database = &self.inner.database;
        let filler = database.keyspace("filler", || {
            KeyspaceCreateOptions::default().max_memtable_size(FILLER_MEMTABLE_BYTES)
        })?;
        let noise: Vec<u8> = (0..FILLER_BLOCK_BYTES / 32)
            .flat_map(|_| random::<32>())
            .collect();
        for block in 0..FILLER_BLOCKS {
            filler.insert(block.to_be_bytes(), noise.as_slice())?;
        }
        filler.rotate_memtable_and_wait()?;
        for _ in 0..JOURNAL_TRIES {
            self.write_format()?;
            self.inner.index.rotate_memtable_and_wait()?;
            if database.journal_count() <= 1 {
                break;
            }
        }
        Ok(database.delete_keyspace(filler)?)
    }

    /// Bytes of the sorted files and the journal, which counts 64 MiB from the start, sparse.
    ///
    /// # Errors
    /// [`PostingsError::Engine`].
    pub fn disk_bytes(&self) -> Result<u64, PostingsError> {
        Ok(self.inner.database.disk_space()?)
    }

    /// Walks through a snapshot: the keyspace's own walk would see a batch that is being applied.
    fn walk(&self, prefix: impl AsRef<[u8]>) -> fjall::Iter {
        self.inner
            .database
            .snapshot()
            .prefix(&self.inner.index, prefix)
    }

    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, PostingsError> {
        Ok(self
            .inner
            .database
            .snapshot()
            .get(&self.inner.index, key)?
            .map(|value| value.to_vec()))
    }

    fn write_format(&self) -> Result<(), PostingsError> {
        Ok(self.inner.index.insert(FORMAT_KEY, FORMAT.to_be_bytes())?)
    }
}

/// All postings in token order; each item is one token's MAC and its postings.
pub struct Scan {
    walk: fjall::Iter,
    ahead: Option<(Mac, Posting)>,
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan").finish_non_exhaustive()
    }
}

impl Iterator for Scan {
    type Item = Result<(Mac, Vec<Posting>), PostingsError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.group().transpose()
    }
}

impl Scan {
    fn group(&mut self) -> Result<Option<(Mac, Vec<Posting>)>, PostingsError> {
        let Some((mac, first)) = self
            .ahead
            .take()
            .map_or_else(|| self.step(), |it| Ok(Some(it)))?
        else {
            return Ok(None);
        };
        let mut group = vec![first];
        while let Some((next, posting)) = self.step()? {
            if next != mac {
                self.ahead = Some((next, posting));
                break;
            }
            group.push(posting);
        }
        Ok(Some((mac, group)))
    }

    fn step(&mut self) -> Result<Option<(Mac, Posting)>, PostingsError> {
        self.walk.next().map(posting_of).transpose()
    }
}

impl PostingKey {
    fn encode(&self) -> Vec<u8> {
        let mut key = Vec::with_capacity(POSTING_KEY_LEN);
        key.extend_from_slice(&token_prefix(&self.token_mac));
        key.extend_from_slice(&self.log.to_be_bytes());
        key.extend_from_slice(&self.index.0.to_be_bytes());
        key
    }
}

impl Posting {
    fn encode(&self) -> Vec<u8> {
        let mut value = Vec::with_capacity(POSTING_VALUE_LEN);
        value.extend_from_slice(&[self.kind, self.role]);
        value.extend_from_slice(&self.day.to_be_bytes());
        value.extend_from_slice(self.case_ref.as_bytes());
        value
    }
}

fn posting_of(guard: Guard) -> Result<(Mac, Posting), PostingsError> {
    let (key, value) = guard.into_inner()?;
    decode(&key, &value).ok_or(PostingsError::Damaged { what: "posting" })
}

fn decode(key: &[u8], value: &[u8]) -> Option<(Mac, Posting)> {
    let (mac, key) = key.strip_prefix(&[POSTING])?.split_first_chunk::<16>()?;
    let (log, key) = key.split_first_chunk::<4>()?;
    let ([kind, role], value) = value.split_first_chunk::<2>()?;
    let (day, value) = value.split_first_chunk::<4>()?;
    let posting = Posting {
        log: u32::from_be_bytes(*log),
        index: LogIndex(u64::from_be_bytes(key.try_into().ok()?)),
        kind: *kind,
        role: *role,
        day: i32::from_be_bytes(*day),
        case_ref: CaseRef(value.try_into().ok()?),
    };
    Some((*mac, posting))
}

fn token_prefix(token_mac: &Mac) -> [u8; 17] {
    let mut prefix = [POSTING; 17];
    prefix[1..].copy_from_slice(token_mac);
    prefix
}

fn pointer_key(space: Pointer, mac: &Mac) -> Vec<u8> {
    [&[pointer_tag(space)], &mac[..]].concat()
}

fn pointer_tag(space: Pointer) -> u8 {
    match space {
        Pointer::Value => POINTER_BY_VALUE,
        Pointer::Row => POINTER_BY_ROW,
        Pointer::Notice => POINTER_BY_NOTICE,
        Pointer::Amend => POINTER_BY_AMEND,
        Pointer::Case => POINTER_BY_CASE,
    }
}

fn position_key(log: u32) -> Vec<u8> {
    [&[POSITION], &log.to_be_bytes()[..]].concat()
}

fn fixed<const N: usize>(bytes: &[u8], what: &'static str) -> Result<[u8; N], PostingsError> {
    bytes
        .try_into()
        .map_err(|_| PostingsError::Damaged { what })
}

#[cfg(test)]
mod tests;
