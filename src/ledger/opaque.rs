//! Bodies that are held but not read: those of a later version, and those whose
//! author signed what breaks a rule. Their bytes are proven, sealed and erased
//! like others; nobody is given them, nothing is indexed of them. One row for
//! each says what was found, and by which version, so that a version that reads
//! more looks at them again.

use std::collections::{BTreeMap, HashMap};
use std::sync::PoisonError;

use prost::Message;

use super::bodies::BODY_ANSWERS_MAX;
use super::log::Log;
use super::segment::{BodyState, run_key};
use super::{Ledger, LedgerError};
use crate::blame::Blamed;
use crate::clock::UnixSeconds;
use crate::ids::{LogIndex, LogName, MemberId};
use crate::record::{Body, Entry, RecordError, reading_version};
use crate::store::{Batch, StoreError, Table};
use crate::wire::v1::OpaqueRow;

/// A body that is held, or was, and is not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpaqueBody {
    /// Where it stands.
    pub index: LogIndex,
    /// Whether its author signed what breaks a rule; it is newer otherwise.
    pub refused: bool,
    /// The stable code of what was found.
    pub code: String,
    /// What was found, in words.
    pub sentence: String,
    /// Which version looked at it last.
    pub version: String,
    /// Since when it is so, in Unix seconds.
    pub since: UnixSeconds,
}

/// What a body is when its index is known.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    /// It is not held.
    Gone,
    /// It is held and read.
    Read(Body),
    /// It is held and not read.
    Opaque(OpaqueBody),
}

/// How many bodies of a log are not read, and the first that was refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpaqueCount {
    /// Bodies of a later version.
    pub newer: u64,
    /// Bodies that break a rule.
    pub refused: u64,
    /// The first of those.
    pub first: Option<OpaqueBody>,
}

/// The counts, by log, until a row of the log changes.
pub(super) type OpaqueCounts = HashMap<u32, OpaqueCount>;

impl OpaqueBody {
    fn decode(key: &[u8], value: &[u8]) -> Result<Self, StoreError> {
        let damaged = || StoreError::Damaged("opaque body");
        let row = OpaqueRow::decode(value).map_err(|_| damaged())?;
        let index = key.get(4..).and_then(|b| b.try_into().ok());
        Ok(Self {
            index: LogIndex(u64::from_be_bytes(index.ok_or_else(damaged)?)),
            refused: row.refused,
            code: row.code,
            sentence: row.sentence,
            version: row.version,
            since: row.since,
        })
    }
}

impl Ledger {
    /// Puts into `batch` the row of a body that cannot be read. The counts of the
    /// log are to be forgotten once the batch is durable.
    pub(super) fn stage_opaque(
        &self,
        batch: &mut Batch,
        (log, index): (u32, LogIndex),
        found: &RecordError,
        since: Option<UnixSeconds>,
    ) {
        let row = OpaqueRow {
            refused: !found.is_newer(),
            code: found.code().to_owned(),
            sentence: found.to_string(),
            version: reading_version().to_owned(),
            since: since.unwrap_or_else(|| self.0.clock.now()),
        };
        batch.put(Table::Opaque, &run_key(log, index), row.encode_to_vec());
    }

    /// Forgets what was counted of a log: a row of it changed.
    pub(super) fn recount_opaque(&self, log: u32) {
        let mut counts = self.0.opaque.lock().unwrap_or_else(PoisonError::into_inner);
        counts.remove(&log);
    }

    /// What is known of a body that is not read; `None` when it is, or not held.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn opaque(&self, log: u32, index: LogIndex) -> Result<Option<OpaqueBody>, LedgerError> {
        let key = run_key(log, index);
        let row = self.0.store.read(Table::Opaque, &key)?;
        Ok(row.map(|row| OpaqueBody::decode(&key, &row)).transpose()?)
    }

    /// Bodies of a log that are not read, in order; at most `max`.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn opaque_bodies(&self, log: &Log, max: usize) -> Result<Vec<OpaqueBody>, LedgerError> {
        let rows = self.0.store.iter(Table::Opaque, &log.number.to_be_bytes());
        rows.take(max)
            .map(|row| {
                let (key, value) = row?;
                Ok(OpaqueBody::decode(&key, &value)?)
            })
            .collect()
    }

    /// How many bodies of a log are not read. Counted once after each change.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn opaque_count(&self, log: &Log) -> Result<OpaqueCount, LedgerError> {
        let mut counts = self.0.opaque.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get(&log.number) {
            return Ok(count.clone());
        }
        let mut count = OpaqueCount::default();
        for row in self.0.store.iter(Table::Opaque, &log.number.to_be_bytes()) {
            let (key, value) = row?;
            let body = OpaqueBody::decode(&key, &value)?;
            if body.refused {
                count.refused += 1;
                count.first.get_or_insert(body);
            } else {
                count.newer += 1;
            }
        }
        counts.insert(log.number, count.clone());
        Ok(count)
    }

    /// How many bodies of each member's records logs, the own ones too, are not
    /// read.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn opaque_counts(&self) -> Result<BTreeMap<MemberId, OpaqueCount>, LedgerError> {
        let mut all = BTreeMap::<MemberId, OpaqueCount>::new();
        for log in self.logs() {
            let OpaqueCount {
                newer,
                refused,
                first,
            } = self.opaque_count(&log)?;
            let sum = all.entry(log.origin.member.clone()).or_default();
            sum.newer += newer;
            sum.refused += refused;
            sum.first = sum.first.take().or(first);
        }
        Ok(all)
    }

    /// The body at one index: read, not read, or not held.
    ///
    /// # Errors
    /// [`LedgerError::Store`] or [`LedgerError::Shred`].
    pub fn reading(&self, log: u32, index: LogIndex) -> Result<Reading, LedgerError> {
        let states = self.body_states(log, index, index.0.saturating_add(1))?;
        let Some(BodyState::Held(bytes)) = states.into_iter().next() else {
            return Ok(Reading::Gone);
        };
        let Some(entry) = self.entry(log, index)? else {
            return Ok(Reading::Gone);
        };
        self.read_held(log, index, &entry, &bytes)
    }

    /// Reads the bytes of a held body. What cannot be read, and was not found so
    /// when it came, is damaged, unless it is newer than this version.
    pub(super) fn read_held(
        &self,
        log: u32,
        index: LogIndex,
        entry: &Entry,
        bytes: &[u8],
    ) -> Result<Reading, LedgerError> {
        let error = match entry.open_body(bytes) {
            Ok(body) => return Ok(Reading::Read(body)),
            Err(error) => error,
        };
        match self.opaque(log, index)? {
            Some(opaque) => Ok(Reading::Opaque(opaque)),
            None if error.is_newer() => Ok(Reading::Opaque(OpaqueBody {
                index,
                refused: false,
                code: error.code().to_owned(),
                sentence: error.to_string(),
                version: String::new(),
                since: entry.statement.issued_at,
            })),
            None => Err(StoreError::Damaged("body").into()),
        }
    }

    /// Looks again at what another version could not read, and indexes what this
    /// one can; hits are raised as for late bodies. A row goes only when its body
    /// is indexed, so that a crash in between leaves nothing out.
    pub(super) fn read_opaque_again(&self) -> Result<(), LedgerError> {
        let version = reading_version();
        for log in self.logs() {
            if log.origin.log == LogName::Access {
                continue;
            }
            let rows = self.opaque_bodies(&log, usize::MAX)?;
            let old: Vec<_> = rows.into_iter().filter(|r| r.version != version).collect();
            let size = usize::try_from(BODY_ANSWERS_MAX).unwrap_or(usize::MAX);
            for some in old.chunks(size) {
                self.look_again(&log, some)?;
            }
        }
        Ok(())
    }

    fn look_again(&self, log: &Log, rows: &[OpaqueBody]) -> Result<(), LedgerError> {
        let number = log.number;
        let indexing = self.indexing(None);
        let (mut found, mut batch) = (vec![], Batch::new());
        for row in rows {
            let states = self.body_states(number, row.index, row.index.0.saturating_add(1))?;
            let mark = run_key(number, row.index);
            match (states.into_iter().next(), self.entry(number, row.index)?) {
                (Some(BodyState::Held(bytes)), Some(entry)) => match entry.open_body(&bytes) {
                    Ok(body) => {
                        found.push((row.index, body));
                        batch.delete(Table::Opaque, &mark);
                    }
                    Err(error) => {
                        let place = (number, row.index);
                        self.stage_opaque(&mut batch, place, &error, Some(row.since));
                    }
                },
                // It was too big to keep; it is asked for once more.
                (Some(BodyState::Absent), _) => {
                    batch.put(Table::Absent, &mark, vec![]);
                    batch.delete(Table::Opaque, &mark);
                }
                _ => batch.delete(Table::Opaque, &mark),
            }
        }
        if !found.is_empty() {
            let bodies = found.len();
            tracing::info!(log.origin = %log.origin, bodies, "bodies of a later version can be read now");
            self.index_bodies(log, found, indexing)?;
        }
        self.0.store.commit(batch)?;
        self.recount_opaque(number);
        Ok(())
    }
}
