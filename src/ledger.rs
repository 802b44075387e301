//! The ledger: the node's own two logs, and its replicas of other members'
//! records logs, with their bodies, Merkle tiles and checkpoints.
//!
//! One writer a log. An append is planned under the log's lock (index, root,
//! signed checkpoint), handed to the store as one atomic batch, and becomes
//! visible when that batch is durable; concurrent appends share a flush. A
//! write whose outcome is unknown stops the ledger until it is opened again.

mod append;
mod audiences;
mod audited;
mod bodies;
mod counting;
mod ended;
mod erase;
mod erasures;
mod error;
mod expire;
mod fence;
mod gate;
mod generations;
mod index;
mod log;
mod opaque;
mod queue;
mod read;
mod receipts;
mod replica;
mod restore;
mod seen;
mod segment;
mod signers;
mod tiles;
mod unused;
mod verify;
mod views;
mod withheld;
mod witnessed;

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use bytes::Bytes;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::evidence::Evidence;
use crate::ids::{FederationId, LogIndex, LogName, MemberId, Origin, TreeSize};
use crate::keys::SigningKey;
use crate::postings::{Postings, PostingsOptions};
use crate::roster::validity::KeyTimeline;
use crate::seal::SealKey;
use crate::shred::ShredKeys;
use crate::spoken::Spoken;
use crate::store::{Batch, Store, StoreError, Table};

pub use append::NewEntry;
pub use audited::{AuditedBody, Seer};
pub use bodies::{BodiesAccepted, BodyReader};
pub use counting::{RecordStanding, Standings};
pub use erasures::{Confirmation, Confirmed, Erasure, LATE_S};
pub use error::LedgerError;
pub use index::{Hit, IndexedElement};
pub use log::{Head, Log, OWN_ACCESS, OWN_RECORDS, OwnPlace};
pub use opaque::{OpaqueBody, OpaqueCount, Reading};
pub use queue::{Dequeued, Dropped, QueueTicket, Queued};
pub use read::StoredElement;
pub use replica::ChunkAccepted;
pub use segment::BodyState;
pub use signers::RosterHistory;
pub use views::{Note, View};

/// Whether the own records log may be appended to (PROTOCOL.md section 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nobody has said yet how far others saw the own log.
    Fenced,
    /// Others hold more of it than this node; it is being fetched.
    Recovering,
    /// It may be appended to.
    Open,
    /// Others hold another history: it is not appended to any more.
    Conflict,
    /// A newer roster names another generation, which a restart begins.
    Superseded,
}

impl Standing {
    /// What it means, in words.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Fenced => "no other member has said yet how far it saw this log",
            Self::Recovering => "other members hold more of this log; it is being fetched",
            Self::Open => "it is open",
            Self::Superseded => {
                "the roster names a newer generation of it: restart the node to begin that one"
            }
            Self::Conflict => {
                "other members hold another history of it: the roots must begin a new generation"
            }
        }
    }
}

/// The keys with which a node signs.
#[derive(Debug)]
pub struct LogKeys {
    /// Signs statements.
    pub records: SigningKey,
    /// Signs statements from the index on that the roster states for it.
    pub records_next: Option<SigningKey>,
    /// Signs checkpoints.
    pub checkpoint: SigningKey,
    /// Cosigns other members' checkpoints.
    pub witness: SigningKey,
}

/// Who the node is and what it works with.
#[derive(Debug)]
pub struct LedgerOptions {
    /// The federation.
    pub federation: FederationId,
    /// The node's own member.
    pub own: MemberId,
    /// Its signing keys.
    pub keys: LogKeys,
    /// Its seal key.
    pub seal: Arc<SealKey>,
    /// The time.
    pub clock: Clock,
    /// Generation of the own records log, from the roster.
    pub records_generation: u32,
    /// Generation of the own access log, from the roster.
    pub access_generation: u32,
    /// Bytes of page cache of the store.
    pub cache_bytes: u64,
    /// Sizes of the derived index.
    pub index: PostingsOptions,
}

/// A handle to the node's ledger. Clones share it.
#[derive(Clone, Debug)]
pub struct Ledger(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    shred: Arc<ShredKeys>,
    /// Slots that were there when the ledger was opened.
    keys_at_start: u64,
    postings: Postings,
    seal: Arc<SealKey>,
    clock: Clock,
    evidence: Evidence,
    spoken: Spoken,
    own: MemberId,
    keys: LogKeys,
    logs: RwLock<HashMap<Origin, Arc<Log>>>,
    by_number: RwLock<HashMap<u32, Arc<Log>>>,
    records: append::OwnLog,
    access: append::OwnLog,
    published: watch::Sender<Bytes>,
    accessed: watch::Sender<Bytes>,
    witnessed: watch::Sender<Bytes>,
    standing: watch::Sender<Standing>,
    access_fence: fence::Fence,
    indexing: Mutex<index::HitSequence>,
    queue: queue::QueueSequence,
    rosters: OnceLock<RosterHistory>,
    timelines: Mutex<HashMap<Origin, (usize, Arc<KeyTimeline>)>>,
    judged: Mutex<HashMap<u32, counting::Judged>>,
    ended: Mutex<HashMap<u32, ended::Ended>>,
    expiring: Mutex<HashMap<u32, expire::Expiring>>,
    opaque: Mutex<opaque::OpaqueCounts>,
    /// Erasures since the start, counted before their postings go.
    erasures: AtomicU64,
    erased_rows: erase::ErasedSequence,
    /// A number that grows when there is something to be signed for.
    erased: watch::Sender<u64>,
    /// Held while receipts are gathered and signed.
    receipting: Mutex<()>,
    proofs: Mutex<HashMap<u32, erasures::Proofs>>,
}

impl Ledger {
    /// Opens the ledger in `dir` (`store/`, `shred.keys`, `index/`), or makes it.
    /// The derived index is brought up to the logs.
    ///
    /// # Errors
    /// [`LedgerError::Store`], [`LedgerError::Shred`] or [`LedgerError::Postings`].
    pub fn open(dir: &Path, options: LedgerOptions) -> Result<Self, LedgerError> {
        let store = Store::open(&dir.join("store"), options.cache_bytes)?;
        let shred = ShredKeys::open(&dir.join("shred.keys"), options.seal.bytes())?;
        let shred = Arc::new(shred);
        let postings = Postings::open(&dir.join("index"), options.index)?;
        let name = |log, generation| Origin {
            federation: options.federation.clone(),
            member: options.own.clone(),
            log,
            generation,
        };
        let own = |origin: Origin, first| -> Result<Log, StoreError> {
            let number = generations::own_number(&store, &origin, first)?;
            load_log(&store, origin, number)
        };
        let records = name(LogName::Records, options.records_generation);
        let records = own(records, OWN_RECORDS)?;
        let access = name(LogName::Access, options.access_generation);
        let access = own(access, OWN_ACCESS)?;
        let mut logs = HashMap::new();
        for (origin, number) in store.scan(Table::LogNumber, b"")? {
            let (origin, number) = decode_number(&origin, &number)?;
            let log = Arc::new(load_log(&store, origin.clone(), number)?);
            logs.insert(origin, log);
        }
        let (records, access) = (Arc::new(records), Arc::new(access));
        logs.insert(records.origin.clone(), Arc::clone(&records));
        logs.insert(access.origin.clone(), Arc::clone(&access));
        let by_number = logs
            .values()
            .map(|log| (log.number, Arc::clone(log)))
            .collect();
        for log in [&records, &access] {
            append::sign_head(&store, log, &options.keys.checkpoint)?;
        }
        let (published, _) = watch::channel(records.head().checkpoint);
        let (accessed, _) = watch::channel(access.head().checkpoint);
        let (witnessed, _) = watch::channel(records.witnessed_note());
        let ledger = Self(Arc::new(Inner {
            records: append::OwnLog::open(&store, records)?,
            access: append::OwnLog::open(&store, access)?,
            indexing: Mutex::new(index::HitSequence::open(&store)?),
            queue: queue::QueueSequence::open(&store)?,
            rosters: OnceLock::new(),
            timelines: Mutex::new(HashMap::new()),
            judged: Mutex::new(HashMap::new()),
            ended: Mutex::new(HashMap::new()),
            expiring: Mutex::new(HashMap::new()),
            opaque: Mutex::new(HashMap::new()),
            erasures: AtomicU64::new(0),
            erased_rows: erase::ErasedSequence::open(&store)?,
            erased: watch::channel(0).0,
            receipting: Mutex::new(()),
            proofs: Mutex::new(HashMap::new()),
            logs: RwLock::new(logs),
            by_number: RwLock::new(by_number),
            published,
            accessed,
            witnessed,
            standing: watch::channel(Standing::Open).0,
            access_fence: fence::Fence::open(),
            evidence: Evidence::new(store.clone(), options.clock.clone()),
            spoken: Spoken::open(store.clone(), options.clock.clone())?,
            store,
            keys_at_start: shred.len(),
            shred,
            postings,
            seal: options.seal,
            clock: options.clock,
            own: options.own,
            keys: options.keys,
        }));
        ledger.resume_erasing()?;
        ledger.catch_up_index()?;
        ledger.read_opaque_again()?;
        Ok(ledger)
    }

    /// The store, for the small tables of other services.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// The erasable keys.
    #[must_use]
    pub fn shred(&self) -> &Arc<ShredKeys> {
        &self.0.shred
    }

    /// The node's seal key.
    #[must_use]
    pub fn seal(&self) -> &Arc<SealKey> {
        &self.0.seal
    }

    /// The derived index.
    #[must_use]
    pub fn postings(&self) -> &Postings {
        &self.0.postings
    }

    /// The node's own member.
    #[must_use]
    pub fn own(&self) -> &MemberId {
        &self.0.own
    }

    /// Pairs of signed notes that contradict each other.
    #[must_use]
    pub fn evidence(&self) -> &Evidence {
        &self.0.evidence
    }

    /// The time, as the ledger sees it.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// Newest checkpoints of the own records log, as they become durable.
    #[must_use]
    pub fn checkpoints(&self) -> watch::Receiver<Bytes> {
        self.0.published.subscribe()
    }

    /// Newest checkpoints of the own access log, as they become durable.
    #[must_use]
    pub fn access_checkpoints(&self) -> watch::Receiver<Bytes> {
        self.0.accessed.subscribe()
    }

    /// Newest witnessed checkpoints of the own records log, as they become
    /// durable; empty before the first.
    #[must_use]
    pub fn witnessings(&self) -> watch::Receiver<Bytes> {
        self.0.witnessed.subscribe()
    }

    /// The key with which this node cosigns other members' checkpoints.
    #[must_use]
    pub fn witness_key(&self) -> &SigningKey {
        &self.0.keys.witness
    }

    /// The own records or access log.
    #[must_use]
    pub fn own_log(&self, name: LogName) -> &Arc<Log> {
        match name {
            LogName::Records => &self.0.records.log,
            LogName::Access => &self.0.access.log,
        }
    }

    /// The log of that name, own or replicated.
    ///
    /// # Errors
    /// [`LedgerError::NoLog`].
    pub fn log(&self, origin: &Origin) -> Result<Arc<Log>, LedgerError> {
        let logs = self.0.logs.read().unwrap_or_else(PoisonError::into_inner);
        logs.get(origin)
            .cloned()
            .ok_or_else(|| LedgerError::NoLog(origin.clone()))
    }

    /// The log with that number.
    #[must_use]
    pub fn log_by_number(&self, number: u32) -> Option<Arc<Log>> {
        let logs = self
            .0
            .by_number
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        logs.get(&number).cloned()
    }

    /// All logs that are held here, own and replicated, by name.
    #[must_use]
    pub fn logs(&self) -> Vec<Arc<Log>> {
        let logs = self.0.logs.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = logs.values().cloned().collect();
        all.sort_by(|a, b| a.origin.cmp(&b.origin));
        all
    }

    /// The replica of `origin`, made empty when there is none yet.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn replica(&self, origin: &Origin) -> Result<Arc<Log>, LedgerError> {
        if let Ok(log) = self.log(origin) {
            return Ok(log);
        }
        let mut logs = self.0.logs.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(log) = logs.get(origin) {
            return Ok(Arc::clone(log));
        }
        let number = logs.values().map(|l| l.number + 1).max().unwrap_or(0);
        let number = number.max(log::FIRST_REPLICA);
        let mut batch = Batch::new();
        batch.put(
            Table::LogNumber,
            origin.to_string().as_bytes(),
            number.to_be_bytes(),
        );
        self.0.store.commit(batch)?;
        let log = Arc::new(Log::new(origin.clone(), number, Head::new()));
        logs.insert(origin.clone(), Arc::clone(&log));
        let mut by_number = self
            .0
            .by_number
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        by_number.insert(number, Arc::clone(&log));
        Ok(log)
    }

    /// Whether the own records log may be appended to.
    #[must_use]
    pub fn standing(&self) -> Standing {
        *self.0.standing.borrow()
    }

    /// Whether it may, as that changes.
    #[must_use]
    pub fn standings(&self) -> watch::Receiver<Standing> {
        self.0.standing.subscribe()
    }

    /// Opens or closes the own records log for appending. One that the roots have
    /// ended stays closed, and one with two histories until they do.
    pub fn set_standing(&self, standing: Standing) {
        self.0.standing.send_if_modified(|held| {
            let ended = match *held {
                Standing::Superseded => true,
                Standing::Conflict => standing != Standing::Superseded,
                Standing::Fenced | Standing::Recovering | Standing::Open => false,
            };
            if ended {
                return false;
            }
            *held = standing;
            true
        });
    }

    /// Plans the next append from what is stored now, after a recovery.
    pub fn reload_own(&self) {
        self.0.records.reload();
    }

    /// Says whether writes still go through.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        !self.0.store.is_broken()
    }
}

fn load_log(store: &Store, origin: Origin, number: u32) -> Result<Log, StoreError> {
    let head = match store.read(Table::LogHead, &number.to_be_bytes())? {
        Some(bytes) => Head::decode(&bytes)?,
        None => Head::new(),
    };
    let log = Log::new(origin, number, head);
    log.set_witnessed(witnessed::newest(store, &log)?);
    Ok(log)
}

fn decode_number(origin: &[u8], number: &Bytes) -> Result<(Origin, u32), StoreError> {
    let damaged = || StoreError::Damaged("log number");
    let origin = std::str::from_utf8(origin)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(damaged)?;
    let number = <[u8; 4]>::try_from(&number[..]).map_err(|_| damaged())?;
    Ok((origin, u32::from_be_bytes(number)))
}

/// The first number that a log may have that is not a first own log.
const FIRST_NUMBER: u32 = log::FIRST_REPLICA;

/// A half-open range of indices, as (start, end).
pub type Range = (u64, u64);

/// The ranges of sorted indices.
fn ranges_of(indices: impl Iterator<Item = u64>) -> Vec<(LogIndex, LogIndex)> {
    let mut ranges: Vec<(LogIndex, LogIndex)> = vec![];
    for at in indices {
        let next = LogIndex(at.saturating_add(1));
        match ranges.last_mut() {
            Some(last) if last.1.0 == at => last.1 = next,
            _ => ranges.push((LogIndex(at), next)),
        }
    }
    ranges
}

pub(crate) fn size_to_index(size: TreeSize) -> LogIndex {
    LogIndex(size.0)
}
