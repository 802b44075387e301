//! Which bodies of a log retractions have ended, and by which entry. Durable
//! in the store, one row a retraction; read into memory when first asked for.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use super::log::Log;
use super::segment;
use super::{Ledger, LedgerError, Range};
use crate::ids::LogIndex;
use crate::record::{Entry, RetractReason};
use crate::store::{Batch, Store, StoreError, Table};

/// Why a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    /// 1 + the index of the retraction; 0 for the retention end.
    pub(super) retracted_by: u64,
    /// Why it was retracted; the retention end is a reason too.
    pub(super) reason: RetractReason,
    /// When it was retracted, or its retention end.
    pub(super) decided_at: i64,
}

impl Ending {
    /// The end that the body itself, or its amendment, names.
    pub(super) fn retention(decided_at: i64) -> Self {
        Self {
            retracted_by: 0,
            reason: RetractReason::Retention,
            decided_at,
        }
    }
}

/// Says whether the body of an entry can be ended: what proves ends stays.
pub(super) fn can_end(entry: &Entry) -> bool {
    let statement = &entry.statement;
    statement.body_type.can_end(statement.origin.log)
}

/// The ended ranges of one log: start → (end, 1 + the retraction's index), apart
/// from each other. What is ended twice keeps its first retraction.
#[derive(Debug, Default)]
pub(super) struct Ended(BTreeMap<u64, (u64, u64)>);

impl Ended {
    fn load(store: &Store, log: u32) -> Result<Self, StoreError> {
        let mut ended = Self::default();
        for (key, value) in store.scan(Table::Ended, &log.to_be_bytes())? {
            let number = |b: &[u8]| b.try_into().map(u64::from_be_bytes).unwrap_or(0);
            let by = key.get(4..).map_or(0, number).saturating_add(1);
            for pair in value.chunks_exact(16) {
                ended.add((number(&pair[..8]), number(&pair[8..])), by);
            }
        }
        Ok(ended)
    }

    fn add(&mut self, (start, end): Range, by: u64) {
        let mut at = start;
        while at < end {
            let held = self.0.range(..=at).next_back();
            if let Some((_, &(to, _))) = held
                && to > at
            {
                at = to;
                continue;
            }
            let next = self.0.range(at..end).next().map_or(end, |(next, _)| *next);
            self.insert((at, next), by);
            at = next;
        }
    }

    /// Adds a range that is not held yet, as one with a neighbour of the same retraction.
    fn insert(&mut self, (mut start, end): Range, by: u64) {
        if let Some((&at, &(to, before))) = self.0.range(..start).next_back()
            && (to, before) == (start, by)
        {
            start = at;
        }
        self.0.insert(start, (end, by));
    }

    fn by(&self, index: u64) -> Option<u64> {
        let (_, &(end, by)) = self.0.range(..=index).next_back()?;
        (index < end).then_some(by)
    }
}

impl Ledger {
    /// Says whether a retraction that is known here ended the body at `index`.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn is_ended(&self, log: u32, index: LogIndex) -> Result<bool, LedgerError> {
        Ok(self.ended_by(log, index)?.is_some())
    }

    /// 1 + the index of the retraction that ended the body at `index`.
    pub(super) fn ended_by(&self, log: u32, index: LogIndex) -> Result<Option<u64>, LedgerError> {
        let mut all = self.0.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ended) = all.get(&log) {
            return Ok(ended.by(index.0));
        }
        let ended = Ended::load(&self.0.store, log)?;
        let by = ended.by(index.0);
        all.insert(log, ended);
        Ok(by)
    }

    /// Remembers, durably, what the retraction at `at` ends.
    pub(super) fn remember_ended(
        &self,
        log: u32,
        at: LogIndex,
        ranges: &[Range],
    ) -> Result<(), LedgerError> {
        let mut value = Vec::with_capacity(ranges.len() * 16);
        for (start, end) in ranges {
            value.extend_from_slice(&start.to_be_bytes());
            value.extend_from_slice(&end.to_be_bytes());
        }
        let key = segment::run_key(log, at);
        if self.0.store.read(Table::Ended, &key)?.as_deref() != Some(&value[..]) {
            let mut batch = Batch::new();
            batch.put(Table::Ended, &key, value);
            self.0.store.commit(batch)?;
        }
        self.is_ended(log, at)?;
        let mut all = self.0.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = all.entry(log).or_default();
        for range in ranges {
            ended.add(*range, at.0.saturating_add(1));
        }
        Ok(())
    }

    /// Why the body of `entry` has ended, as far as this node knows.
    pub(super) fn ending(
        &self,
        log: &Log,
        index: LogIndex,
        entry: &Entry,
    ) -> Result<Option<Ending>, LedgerError> {
        if !can_end(entry) {
            return Ok(None);
        }
        if let Some(retracted_by) = self.ended_by(log.number, index)? {
            return Ok(Some(Ending {
                retracted_by,
                ..Ending::retention(0)
            }));
        }
        let end = entry.statement.expires_at;
        let expired = end != 0 && end <= self.0.clock.now();
        Ok(expired.then_some(Ending::retention(end)))
    }
}

#[cfg(test)]
mod tests {
    use super::Ended;

    #[test]
    fn ended_ranges_hold_exactly_what_was_added_under_the_first_retraction() {
        let mut ended = Ended::default();
        let ranges = [
            (10, 20),
            (30, 40),
            (15, 32),
            (50, 51),
            (5, 6),
            (51, 60),
            (0, 1),
            (12, 14),
            (0, 70),
        ];
        for (by, range) in (1..).zip(ranges) {
            ended.add(range, by);
        }
        for at in 0..80 {
            let first = (1..)
                .zip(ranges)
                .find(|(_, (start, end))| (*start..*end).contains(&at));
            assert_eq!(ended.by(at), first.map(|(by, _)| by), "{at}");
        }
    }

    #[test]
    fn neighbours_of_one_retraction_are_one_range() {
        let mut ended = Ended::default();
        (0..100).for_each(|at| ended.add((at, at + 1), 7));
        assert_eq!(ended.0.len(), 1);
    }
}
