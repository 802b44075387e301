//! The state of one log, own or replicated: its number in the store, how far
//! it is proven, and its newest checkpoint.

use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;

use super::seen::SeenBodies;
use crate::ids::{Digest, LogIndex, Origin, TreeSize};
use crate::merkle::Frontier;
use crate::store::StoreError;

/// The number of a node's first own records log in the store and the token
/// index. A later generation of it has another: see `Ledger::own_number`.
pub const OWN_RECORDS: u32 = 0;
/// The number of a node's first own access log.
pub const OWN_ACCESS: u32 = 1;
/// The first number that a replicated log may have.
pub(crate) const FIRST_REPLICA: u32 = 2;

/// Where an own record stands: own logs of earlier generations stay readable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OwnPlace {
    /// The number of the own log.
    pub log: u32,
    /// The index in it.
    pub index: LogIndex,
}

impl OwnPlace {
    /// The bytes of a pointer: the index, after the log's number unless that is
    /// the one of a node's first own log.
    #[must_use]
    pub fn encode(self) -> Vec<u8> {
        let mut out = vec![];
        if self.log != OWN_RECORDS {
            out.extend_from_slice(&self.log.to_be_bytes());
        }
        out.extend_from_slice(&self.index.0.to_be_bytes());
        out
    }

    /// Reads a pointer.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (log, index) = match bytes.split_last_chunk::<8>()? {
            ([], index) => (OWN_RECORDS, index),
            (log, index) => (u32::from_be_bytes(log.try_into().ok()?), index),
        };
        Some(Self {
            log,
            index: LogIndex(u64::from_be_bytes(*index)),
        })
    }
}

/// How far a log is durable and proven.
#[derive(Clone, Debug)]
pub struct Head {
    /// The Merkle state over all entries that are stored.
    pub frontier: Frontier,
    /// The newest checkpoint whose entries are all stored; empty before the first.
    pub checkpoint: Bytes,
    /// The size in that checkpoint.
    pub checkpoint_size: TreeSize,
    /// All bodies below this index have been answered for.
    pub bodies_upto: u64,
}

impl Head {
    pub(crate) fn new() -> Self {
        Self {
            frontier: Frontier::new(),
            checkpoint: Bytes::new(),
            checkpoint_size: TreeSize(0),
            bodies_upto: 0,
        }
    }

    /// Entries that are stored and proven.
    #[must_use]
    pub fn size(&self) -> TreeSize {
        self.frontier.size()
    }

    /// The root over them.
    #[must_use]
    pub fn root(&self) -> Digest {
        self.frontier.root()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let frontier = self.frontier.encode();
        let mut out = Vec::with_capacity(frontier.len() + self.checkpoint.len() + 20);
        out.extend_from_slice(&self.bodies_upto.to_be_bytes());
        out.extend_from_slice(&self.checkpoint_size.0.to_be_bytes());
        out.extend_from_slice(&u32::try_from(frontier.len()).unwrap_or(0).to_be_bytes());
        out.extend_from_slice(&frontier);
        out.extend_from_slice(&self.checkpoint);
        out
    }

    pub(crate) fn decode(bytes: &Bytes) -> Result<Self, StoreError> {
        let damaged = StoreError::Damaged("log head");
        let number = |at: usize| {
            bytes
                .get(at..at + 8)
                .and_then(|b| b.try_into().ok())
                .map(u64::from_be_bytes)
        };
        let length = bytes
            .get(16..20)
            .and_then(|b| b.try_into().ok())
            .map(u32::from_be_bytes)
            .and_then(|n| usize::try_from(n).ok());
        let (Some(bodies_upto), Some(size), Some(length)) = (number(0), number(8), length) else {
            return Err(damaged);
        };
        let frontier = bytes
            .get(20..20 + length)
            .and_then(|b| Frontier::decode(b).ok())
            .ok_or(damaged)?;
        Ok(Self {
            frontier,
            checkpoint: bytes.slice(20 + length..),
            checkpoint_size: TreeSize(size),
            bodies_upto,
        })
    }
}

/// The newest witnessed checkpoint of a log.
#[derive(Clone, Debug)]
pub(super) struct Newest {
    pub(super) size: TreeSize,
    pub(super) note: Bytes,
}

/// One log: who it belongs to and where it stands.
#[derive(Debug)]
pub struct Log {
    /// The log's name.
    pub origin: Origin,
    /// Its number in the store.
    pub number: u32,
    head: RwLock<Head>,
    /// Whether retractions may have come since that are not known here.
    stale: AtomicBool,
    /// The index from which absent bodies are asked for next.
    absent_turn: AtomicU64,
    witnessed: RwLock<Option<Newest>>,
    /// How many witnessed checkpoints are kept, once counted; held while one more is.
    pub(super) keeping: std::sync::Mutex<Option<usize>>,
    /// Held while entries or bodies are added, so that there is one writer.
    pub(crate) writing: std::sync::Mutex<()>,
    /// The body hashes that its entries name; filled by the first chunk.
    pub(super) seen: std::sync::Mutex<Option<SeenBodies>>,
}

impl Log {
    pub(crate) fn new(origin: Origin, number: u32, head: Head) -> Self {
        Self {
            origin,
            number,
            head: RwLock::new(head),
            stale: AtomicBool::new(false),
            absent_turn: AtomicU64::new(0),
            witnessed: RwLock::default(),
            keeping: std::sync::Mutex::default(),
            writing: std::sync::Mutex::default(),
            seen: std::sync::Mutex::default(),
        }
    }

    /// A copy of the log's durable head.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }

    /// Entries that are stored and proven.
    #[must_use]
    pub fn size(&self) -> TreeSize {
        self.head
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .size()
    }

    /// Entries that a witnessed checkpoint holds.
    #[must_use]
    pub fn witnessed_size(&self) -> TreeSize {
        self.read_witnessed(|newest| newest.size)
    }

    /// The newest witnessed checkpoint, with its cosignatures; empty before the first.
    #[must_use]
    pub fn witnessed_note(&self) -> Bytes {
        self.read_witnessed(|newest| newest.note.clone())
    }

    fn read_witnessed<T: Default>(&self, read: impl FnOnce(&Newest) -> T) -> T {
        let newest = self
            .witnessed
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        newest.as_ref().map(read).unwrap_or_default()
    }

    pub(super) fn set_witnessed(&self, newest: Option<Newest>) {
        *self
            .witnessed
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = newest;
    }

    /// Says whether retractions may have come that are not known here yet.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.stale.load(Ordering::SeqCst)
    }

    /// Says that somebody who has the log was asked what has ended.
    pub fn set_stale(&self, stale: bool) {
        self.stale.store(stale, Ordering::SeqCst);
    }

    pub(super) fn absent_turn(&self) -> LogIndex {
        LogIndex(self.absent_turn.load(Ordering::Relaxed))
    }

    pub(super) fn set_absent_turn(&self, next: LogIndex) {
        self.absent_turn.store(next.0, Ordering::Relaxed);
    }

    pub(crate) fn advance(&self, head: Head) {
        *self
            .head
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = head;
    }
}
