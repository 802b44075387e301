//! Runs of entries and of sealed bodies, packed into one store value each,
//! because many tiny values cost sled a kilobyte of memory apiece.
//!
//! A run's key is (log number, index of its first item). An entry run is a
//! list of length-prefixed entries. A body run holds one state byte an item,
//! and the held bodies together, sealed under one shred key.

use bytes::Bytes;

use crate::ids::LogIndex;
use crate::shred::{ShredError, ShredKeys, SlotId};
use crate::store::{Batch, Store, StoreError, Table};

/// Entries that one run may hold.
pub(crate) const RUN_ENTRIES_MAX: usize = 128;
/// Bodies that one sealed run may hold.
pub(crate) const RUN_BODIES_MAX: usize = 64;
/// Plain bytes after which a sealed run is closed.
const RUN_BYTES_MAX: usize = 16 * 1024;

/// What a node knows of one body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyState {
    /// The body's bytes are here.
    Held(Bytes),
    /// The owner says, signed, that this node is outside the audience.
    NotForMe,
    /// Nobody who was asked had it.
    Absent,
    /// Retracted or expired.
    Erased,
    /// The owner says that it is lost.
    Lost,
}

impl BodyState {
    fn code(&self) -> u8 {
        match self {
            Self::Held(_) => 1,
            Self::NotForMe => 2,
            Self::Absent => 3,
            Self::Erased => 4,
            Self::Lost => 5,
        }
    }
}

/// The key of a run.
pub(crate) fn run_key(log: u32, index: LogIndex) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&log.to_be_bytes());
    key[4..].copy_from_slice(&index.0.to_be_bytes());
    key
}

fn key_index(key: &[u8]) -> Result<u64, StoreError> {
    key.get(4..12)
        .and_then(|b| b.try_into().ok())
        .map(u64::from_be_bytes)
        .ok_or(StoreError::Damaged("run key"))
}

/// Puts `entries`, which start at `start`, as runs into `batch`.
pub(crate) fn put_entries(batch: &mut Batch, log: u32, start: LogIndex, entries: &[Bytes]) {
    let mut at = start.0;
    for run in entries.chunks(RUN_ENTRIES_MAX) {
        let mut value = Vec::with_capacity(run.iter().map(|e| e.len() + 2).sum());
        for entry in run {
            let length = u16::try_from(entry.len()).unwrap_or(u16::MAX);
            value.extend_from_slice(&length.to_be_bytes());
            value.extend_from_slice(entry);
        }
        batch.put(Table::Entries, &run_key(log, LogIndex(at)), value);
        at += run.len() as u64;
    }
}

fn split_entries(value: &Bytes) -> Result<Vec<Bytes>, StoreError> {
    let mut out = vec![];
    let mut at = 0;
    while at < value.len() {
        let length = value
            .get(at..at + 2)
            .map(|b| usize::from(b[0]) << 8 | usize::from(b[1]))
            .ok_or(StoreError::Damaged("entry run"))?;
        if at + 2 + length > value.len() {
            return Err(StoreError::Damaged("entry run"));
        }
        out.push(value.slice(at + 2..at + 2 + length));
        at += 2 + length;
    }
    Ok(out)
}

/// Reads the entries [start, end) of a log; fewer when the log holds fewer.
pub(crate) fn read_entries(
    store: &Store,
    log: u32,
    start: LogIndex,
    end: u64,
) -> Result<Vec<Bytes>, StoreError> {
    let mut out = vec![];
    let first = store.floor(Table::Entries, &run_key(log, start), 4)?;
    let from = match &first {
        Some((key, _)) => run_key(log, LogIndex(key_index(key)?)),
        None => run_key(log, start),
    };
    for item in store.iter_from(Table::Entries, &from, 4) {
        let (key, value) = item?;
        let base = key_index(&key)?;
        if base >= end {
            break;
        }
        for (at, entry) in (base..).zip(split_entries(&value)?) {
            if at >= start.0 && at < end {
                out.push(entry);
            }
        }
    }
    Ok(out)
}

/// The indices in [start, end) of a log whose bodies are withheld from this
/// node. No body is opened for it.
pub(crate) fn withheld(
    store: &Store,
    log: u32,
    start: LogIndex,
    end: u64,
) -> Result<Vec<u64>, StoreError> {
    let from = match store.floor(Table::Bodies, &run_key(log, start), 4)? {
        Some((key, _)) => key_index(&key)?,
        None => start.0,
    };
    let mut out = vec![];
    for item in store.iter_from(Table::Bodies, &run_key(log, LogIndex(from)), 4) {
        let (key, value) = item?;
        let base = key_index(&key)?;
        if base >= end {
            break;
        }
        let codes = value
            .split_first()
            .and_then(|(count, rest)| rest.get(..usize::from(*count)));
        let codes = codes.ok_or(StoreError::Damaged("body run"))?;
        let asked = (base..)
            .zip(codes)
            .filter(|(at, _)| (start.0..end).contains(at));
        out.extend(
            asked
                .filter(|(_, code)| **code == BodyState::NotForMe.code())
                .map(|(at, _)| at),
        );
    }
    Ok(out)
}

/// Takes the entries from `size` on out of a log.
pub(crate) fn cut_entries(
    store: &Store,
    batch: &mut Batch,
    log: u32,
    size: u64,
) -> Result<(), StoreError> {
    let from = match store.floor(Table::Entries, &run_key(log, LogIndex(size)), 4)? {
        Some((key, _)) => key_index(&key)?,
        None => size,
    };
    for item in store.iter_from(Table::Entries, &run_key(log, LogIndex(from)), 4) {
        let (key, value) = item?;
        let base = key_index(&key)?;
        if base >= size {
            batch.delete(Table::Entries, &key);
            continue;
        }
        let mut entries = split_entries(&value)?;
        let keep = usize::try_from(size - base).unwrap_or(usize::MAX);
        if entries.len() > keep {
            entries.truncate(keep);
            put_entries(batch, log, LogIndex(base), &entries);
        }
    }
    Ok(())
}

/// Takes the states from `size` on out of a log's runs; returns the keys to be
/// destroyed once the batch is durable. The shred keys must be synced before it.
pub(crate) fn cut_runs(
    store: &Store,
    shred: &ShredKeys,
    batch: &mut Batch,
    table: Table,
    log: u32,
    size: u64,
) -> Result<Vec<SlotId>, RunError> {
    let mut old = vec![];
    for run in read_runs(store, shred, table, log, LogIndex(size), u64::MAX)? {
        old.extend(run.slot);
        let keep = usize::try_from(size.saturating_sub(run.start)).unwrap_or(usize::MAX);
        match run.states.get(..keep) {
            Some(kept) if keep > 0 => put_run(batch, shred, table, log, run.start, kept)?,
            Some(_) | None => batch.delete(table, &run_key(log, LogIndex(run.start))),
        }
    }
    Ok(old)
}

/// One sealed run, opened.
#[derive(Debug)]
pub(crate) struct BodyRun {
    pub(crate) start: u64,
    pub(crate) slot: Option<SlotId>,
    pub(crate) states: Vec<BodyState>,
}

fn context(table: Table, log: u32, start: u64) -> Vec<u8> {
    let mut aad = vec![table as u8];
    aad.extend_from_slice(&run_key(log, LogIndex(start)));
    aad
}

/// Seals `states`, which start at `start`, as runs into `batch`. The shred keys
/// must be synced before the batch is.
pub(crate) fn put_bodies(
    batch: &mut Batch,
    shred: &ShredKeys,
    table: Table,
    log: u32,
    start: LogIndex,
    states: &[BodyState],
) -> Result<(), ShredError> {
    let mut rest = states;
    let mut at = start.0;
    while !rest.is_empty() {
        let mut bytes = 0;
        let count = rest
            .iter()
            .take(RUN_BODIES_MAX)
            .take_while(|s| {
                let before = bytes;
                if let BodyState::Held(b) = s {
                    bytes += b.len();
                }
                before < RUN_BYTES_MAX
            })
            .count();
        let (run, tail) = rest.split_at(count);
        put_run(batch, shred, table, log, at, run)?;
        at += count as u64;
        rest = tail;
    }
    Ok(())
}

/// Seals exactly one run; used as it is when a run is written again.
pub(crate) fn put_run(
    batch: &mut Batch,
    shred: &ShredKeys,
    table: Table,
    log: u32,
    start: u64,
    run: &[BodyState],
) -> Result<(), ShredError> {
    let mut plain = zeroize::Zeroizing::new(Vec::new());
    for state in run {
        if let BodyState::Held(body) = state {
            let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
            plain.extend_from_slice(&length.to_be_bytes());
            plain.extend_from_slice(body);
        }
    }
    let mut value = Vec::with_capacity(plain.len() + run.len() + 32);
    value.push(u8::try_from(run.len()).unwrap_or(u8::MAX));
    value.extend(run.iter().map(BodyState::code));
    if !plain.is_empty() {
        let slot = fresh_slot(shred)?;
        value.extend_from_slice(&slot.0.to_be_bytes());
        value.extend_from_slice(&shred.seal(slot, &context(table, log, start), &plain)?);
    }
    batch.put(table, &run_key(log, LogIndex(start)), value);
    Ok(())
}

fn fresh_slot(shred: &ShredKeys) -> Result<SlotId, ShredError> {
    let slots = shred.allocate(1)?;
    Ok(*slots.first().expect("one slot was asked for"))
}

/// The shred key under which a run's value is sealed; none when it holds no body.
pub(crate) fn slot_of(value: &[u8]) -> Option<SlotId> {
    let (&count, rest) = value.split_first()?;
    let (_, rest) = rest.split_at_checked(usize::from(count))?;
    SlotId::leading(rest)
}

fn open_run(
    shred: &ShredKeys,
    table: Table,
    log: u32,
    start: u64,
    value: &[u8],
) -> Result<BodyRun, RunError> {
    let damaged = || RunError::Store(StoreError::Damaged("body run"));
    let (&count, rest) = value.split_first().ok_or_else(damaged)?;
    let (codes, rest) = rest
        .split_at_checked(usize::from(count))
        .ok_or_else(damaged)?;
    let mut slot = None;
    let mut plain = Bytes::new();
    if let Some((slot_bytes, sealed)) = rest.split_first_chunk::<8>() {
        let id = SlotId(u64::from_be_bytes(*slot_bytes));
        plain =
            Bytes::copy_from_slice(&shred.open_chunk(id, &context(table, log, start), sealed)?);
        slot = Some(id);
    }
    let mut at = 0;
    let mut states = Vec::with_capacity(codes.len());
    for code in codes {
        states.push(match code {
            1 => {
                let length = plain
                    .get(at..at + 4)
                    .and_then(|b| b.try_into().ok())
                    .map(u32::from_be_bytes)
                    .and_then(|n| usize::try_from(n).ok())
                    .filter(|n| at + 4 + n <= plain.len())
                    .ok_or_else(damaged)?;
                let body = plain.slice(at + 4..at + 4 + length);
                at += 4 + length;
                BodyState::Held(body)
            }
            2 => BodyState::NotForMe,
            3 => BodyState::Absent,
            4 => BodyState::Erased,
            5 => BodyState::Lost,
            _ => return Err(damaged()),
        });
    }
    Ok(BodyRun {
        start,
        slot,
        states,
    })
}

/// Why a run could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Shred(#[from] ShredError),
}

/// Reads the runs that cover [start, end), whole.
pub(crate) fn read_runs(
    store: &Store,
    shred: &ShredKeys,
    table: Table,
    log: u32,
    start: LogIndex,
    end: u64,
) -> Result<Vec<BodyRun>, RunError> {
    let from = match store.floor(table, &run_key(log, start), 4)? {
        Some((key, _)) => key_index(&key)?,
        None => start.0,
    };
    let mut out = vec![];
    for item in store.iter_from(table, &run_key(log, LogIndex(from)), 4) {
        let (key, value) = item?;
        let base = key_index(&key)?;
        if base >= end {
            break;
        }
        let run = match open_run(shred, table, log, base, &value) {
            // The run was written again, under a new key, while it was being read.
            Err(RunError::Shred(ShredError::Erased { .. })) => match store.read(table, &key)? {
                Some(value) => open_run(shred, table, log, base, &value)?,
                None => continue,
            },
            other => other?,
        };
        if base + run.states.len() as u64 > start.0 {
            out.push(run);
        }
    }
    Ok(out)
}
