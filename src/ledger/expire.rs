//! Retention ends: which bodies have reached theirs, and what becomes of them.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use super::append::NewEntry;
use super::ended::Ending;
use super::erase::BLOCK_BODIES;
use super::log::Log;
use super::{Ledger, LedgerError, Standing};
use crate::clock::UnixSeconds;
use crate::ids::{LogIndex, LogName, random};
use crate::record::{Body, BodyType, Entry, RetractBody, RetractReason};
use crate::store::Batch;

/// Ends that one sweep of a log takes up at most; the next one goes on.
const DUE_MAX: usize = 65_536;

/// Ranges that one retraction names at most: its body stays below its limit.
const TARGETS_MAX: usize = 512;

/// The entries of one log that end some day, by their end.
#[derive(Debug, Default)]
pub(super) struct Expiring {
    seen_upto: u64,
    ends: BTreeMap<(UnixSeconds, u64), bool>,
}

/// An entry whose end has come.
#[derive(Clone, Copy, Debug)]
struct Due {
    index: u64,
    end: UnixSeconds,
    amends: bool,
}

impl Ledger {
    /// Erases every body whose retention end has passed, in all logs, and drops
    /// what waits, and notes, whose end has; returns how many. Entries stay.
    ///
    /// # Errors
    /// Any error of the store.
    pub fn sweep_expired(&self) -> Result<u64, LedgerError> {
        let now = self.0.clock.now();
        let mut erased = self.drop_ended(now)?;
        for log in self.logs() {
            if log.origin.log == LogName::Access {
                continue;
            }
            loop {
                let due = self.due(&log, now)?;
                if due.is_empty() {
                    break;
                }
                erased += self.expire(&log, &due)?;
            }
        }
        Ok(erased)
    }

    /// Ends what is due, block by block: neighbours share a batch.
    fn expire(&self, log: &Log, due: &[Due]) -> Result<u64, LedgerError> {
        let mut erased = self.expire_amended(log, due)?;
        let marks: BTreeMap<u64, Ending> = due
            .iter()
            .map(|due| (due.index, Ending::retention(due.end)))
            .collect();
        let mut block = BTreeMap::new();
        for (index, ending) in marks {
            let first = block.first_key_value().map_or(index, |(first, _)| *first);
            if index >= first + BLOCK_BODIES {
                erased += self.erase(log, &std::mem::take(&mut block))?;
            }
            block.insert(index, ending);
        }
        Ok(erased + self.erase(log, &block)?)
    }

    /// Ends the elements to which amendments gave an end that has come. It goes
    /// before the end of the amendment: the element would be as it was before.
    /// The owner retracts them too, because others may have never seen the
    /// amendment.
    fn expire_amended(&self, log: &Log, due: &[Due]) -> Result<u64, LedgerError> {
        let mut targets = BTreeMap::new();
        for due in due.iter().filter(|due| due.amends) {
            if let Some(target) = self.amended_by(log.number, LogIndex(due.index))? {
                targets.insert(target.0, Ending::retention(due.end));
            }
        }
        if targets.is_empty() {
            return Ok(0);
        }
        if log.number == self.own_number() && self.standing() == Standing::Open {
            let count = targets.len() as u64;
            self.retract(
                targets.keys().copied(),
                RetractReason::Retention,
                Batch::new(),
            )?;
            return Ok(count);
        }
        let mut erased = 0;
        for (index, ending) in targets {
            erased += self.erase(log, &BTreeMap::from([(index, ending)]))?;
        }
        Ok(erased)
    }

    /// Appends the retraction of own records, whose indices are sorted, and
    /// erases them; returns where it stands, the first entry if it takes several.
    ///
    /// # Errors
    /// [`LedgerError::Closed`], [`LedgerError::Store`], and what erasing meets.
    pub fn retract(
        &self,
        targets: impl Iterator<Item = u64>,
        reason: RetractReason,
        with: Batch,
    ) -> Result<LogIndex, LedgerError> {
        let entry = |some: &[(LogIndex, LogIndex)]| NewEntry {
            body: Body::Retract(RetractBody {
                nonce: random(),
                targets: some.to_vec(),
                reason,
            }),
            expires_at: 0,
            private: None,
        };
        let ranges = super::ranges_of(targets);
        let entries = ranges.chunks(TARGETS_MAX).map(entry).collect();
        self.append(LogName::Records, entries, with)
    }

    /// The element that the amendment at `at` amends, unless a later one does,
    /// or it is not held.
    fn amended_by(&self, log: u32, at: LogIndex) -> Result<Option<LogIndex>, LedgerError> {
        let Some(Body::Amend(amend)) = self.body(log, at)? else {
            return Ok(None);
        };
        let newest = self.amendment(log, amend.target_index)?;
        let held = self.body(log, amend.target_index)?.is_some();
        Ok((held && newest.as_ref() == Some(&amend)).then_some(amend.target_index))
    }

    /// Entries of a log whose end has come, the earliest first. Every entry is
    /// looked at once; only those with an end are remembered.
    fn due(&self, log: &Log, now: UnixSeconds) -> Result<Vec<Due>, LedgerError> {
        let mut all = self
            .0
            .expiring
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let expiring = all.entry(log.number).or_default();
        let upto = log.head().bodies_upto;
        while expiring.seen_upto < upto {
            let (at, end) = (expiring.seen_upto, upto.min(expiring.seen_upto + 1_024));
            for (index, entry) in (at..).zip(self.entries(log.number, LogIndex(at), end)?) {
                let Ok(Entry { statement, .. }) = Entry::parse(entry) else {
                    continue;
                };
                if statement.expires_at != 0 {
                    let amends = statement.body_type == BodyType::Amend;
                    expiring.ends.insert((statement.expires_at, index), amends);
                }
            }
            expiring.seen_upto = end;
        }
        let mut due = vec![];
        while due.len() < DUE_MAX
            && let Some(first) = expiring.ends.first_entry()
            && first.key().0 <= now
        {
            let ((end, index), amends) = first.remove_entry();
            due.push(Due { index, end, amends });
        }
        Ok(due)
    }
}
