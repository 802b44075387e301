//! What a record counts for: witnessed, provisional, or signed with a key that
//! did not speak for it. Owns a cache of the last, a list of stretches for each
//! log, which a new version of the roster makes anew.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::{Arc, PoisonError};

use super::log::Log;
use super::{Ledger, LedgerError};
use crate::ids::{KeyId, LogIndex};
use crate::postings::Posting;
use crate::record;
use crate::roster::validity::{KeyTimeline, Validity, Why};
use crate::store::StoreError;

/// Entries that are looked at in one go.
const LOOKED_AT: u64 = 4_096;

/// What a record counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordStanding {
    /// A witnessed checkpoint holds it, and its key spoke for it then.
    Witnessed,
    /// No witnessed checkpoint holds it yet.
    Provisional,
    /// Its key did not speak for it: it is not matched, hit or answered.
    KeyInvalid(Why),
}

impl RecordStanding {
    /// The word that officers and tools see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Witnessed => "witnessed",
            Self::Provisional => "provisional",
            Self::KeyInvalid(_) => "key-invalid",
        }
    }

    /// Says whether the record may be matched and shown.
    #[must_use]
    pub fn counts(self) -> bool {
        !matches!(self, Self::KeyInvalid(_))
    }
}

impl fmt::Display for RecordStanding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A stretch of entries that do not count, as (start, end, why).
type Void = (u64, u64, Why);

/// Which entries of a log do not count, as far as it is witnessed.
#[derive(Debug, Default)]
pub(super) struct Judged {
    versions: usize,
    upto: u64,
    void: Arc<Vec<Void>>,
}

impl Judged {
    fn mark(&mut self, at: u64, why: Why) {
        let void = Arc::make_mut(&mut self.void);
        match void.last_mut() {
            Some(last) if last.1 == at && last.2 == why => last.1 = at + 1,
            _ => void.push((at, at + 1, why)),
        }
    }
}

/// What the records of every log count for, as it is when a log is first asked
/// about; made for one answer.
#[derive(Debug)]
pub struct Standings<'a> {
    ledger: &'a Ledger,
    logs: HashMap<u32, Option<Known>>,
}

/// One log's part of it.
#[derive(Debug)]
struct Known {
    timeline: Arc<KeyTimeline>,
    witnessed: u64,
    void: Arc<Vec<Void>>,
}

impl Standings<'_> {
    /// Says what the record at `index` of the log with that number counts for.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn of(&mut self, log: u32, index: LogIndex) -> Result<RecordStanding, LedgerError> {
        let ledger = self.ledger;
        let known = match self.logs.entry(log) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(ledger.known(log)?),
        };
        let Some(known) = known else {
            return Ok(RecordStanding::Provisional);
        };
        if index.0 < known.witnessed {
            let after = known.void.partition_point(|v| v.1 <= index.0);
            let void = known.void.get(after).filter(|v| v.0 <= index.0);
            return Ok(void.map_or(RecordStanding::Witnessed, |v| {
                RecordStanding::KeyInvalid(v.2)
            }));
        }
        if !known.timeline.revokes_at(index) {
            return Ok(RecordStanding::Provisional);
        }
        let entry = ledger.entry(log, index)?;
        let verdict = entry.map(|e| known.timeline.judge(e.statement.key_id, index, None));
        Ok(match verdict {
            Some(Validity::KeyInvalid(why)) => RecordStanding::KeyInvalid(why),
            _ => RecordStanding::Provisional,
        })
    }

    /// Of postings, those whose records may be matched and shown.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn counting(&mut self, postings: Vec<Posting>) -> Result<Vec<Posting>, LedgerError> {
        let mut kept = Vec::with_capacity(postings.len());
        for posting in postings {
            if self.of(posting.log, posting.index)?.counts() {
                kept.push(posting);
            }
        }
        Ok(kept)
    }
}

impl Ledger {
    /// What records count for, for one answer that looks at many.
    #[must_use]
    pub fn record_standings(&self) -> Standings<'_> {
        Standings {
            ledger: self,
            logs: HashMap::new(),
        }
    }

    /// Says what the record at `index` of a log counts for.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn record_standing(
        &self,
        log: &Log,
        index: LogIndex,
    ) -> Result<RecordStanding, LedgerError> {
        self.record_standings().of(log.number, index)
    }

    fn known(&self, number: u32) -> Result<Option<Known>, LedgerError> {
        let Some(log) = self.log_by_number(number) else {
            return Ok(None);
        };
        let Some(timeline) = self.timeline(&log.origin) else {
            return Ok(None);
        };
        let (witnessed, void) = self.judge_witnessed(&log, &timeline)?;
        Ok(Some(Known {
            timeline,
            witnessed,
            void,
        }))
    }

    /// How many entries of a log do not count for want of a key that spoke for
    /// them.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn key_invalid(&self, log: &Log) -> Result<u64, LedgerError> {
        let Some(timeline) = self.timeline(&log.origin) else {
            return Ok(0);
        };
        let (upto, void) = self.judge_witnessed(log, &timeline)?;
        let mut count: u64 = void.iter().map(|v| v.1 - v.0).sum();
        let size = log.size().0;
        if size > upto && timeline.revokes_at(LogIndex(size - 1)) {
            self.each_key(log, upto, size, |at, key| {
                let verdict = timeline.judge(key, LogIndex(at), None);
                count += u64::from(matches!(verdict, Validity::KeyInvalid(_)));
            })?;
        }
        Ok(count)
    }

    /// Judges what is witnessed of a log and not judged yet; returns up to
    /// which index all of it is, and what of it does not count.
    fn judge_witnessed(
        &self,
        log: &Log,
        timeline: &KeyTimeline,
    ) -> Result<(u64, Arc<Vec<Void>>), LedgerError> {
        let mut all = self.0.judged.lock().unwrap_or_else(PoisonError::into_inner);
        let judged = all.entry(log.number).or_default();
        if judged.versions != timeline.versions() {
            *judged = Judged {
                versions: timeline.versions(),
                ..Judged::default()
            };
        }
        while let Some((size, time)) = self.first_witnessed(log, LogIndex(judged.upto))? {
            let (start, end) = (judged.upto, size.0);
            if !timeline.all_valid(start, end, time) {
                self.each_key(log, start, end, |at, key| {
                    if let Validity::KeyInvalid(why) = timeline.judge(key, LogIndex(at), Some(time))
                    {
                        judged.mark(at, why);
                    }
                })?;
            }
            judged.upto = end;
        }
        Ok((judged.upto, Arc::clone(&judged.void)))
    }

    fn each_key(
        &self,
        log: &Log,
        start: u64,
        end: u64,
        mut look: impl FnMut(u64, KeyId),
    ) -> Result<(), LedgerError> {
        let mut at = start;
        while at < end {
            let to = end.min(at + LOOKED_AT);
            for (index, bytes) in (at..).zip(self.entries(log.number, LogIndex(at), to)?) {
                let entry =
                    record::Entry::parse(bytes).map_err(|_| StoreError::Damaged("entry"))?;
                look(index, entry.statement.key_id);
            }
            at = to;
        }
        Ok(())
    }
}
