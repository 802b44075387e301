//! Ending bodies: by a retraction of their owner, or at their retention end.
//! The entry stays, so the log still verifies; body, posting, look-up pointers
//! and what was kept at home beside it go, and the shred key with them.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use super::log::{Log, OWN_RECORDS};
use super::segment::{self, BodyRun, BodyState};
use super::{Ledger, LedgerError, Range};
use crate::clock::UnixSeconds;
use crate::ids::{LogIndex, LogName};
use crate::postings::{Pointer, PostingKey, PostingsBatch};
use crate::record::{Body, Entry, RetractBody};
use crate::store::{Batch, Store, StoreError, Table};
use crate::wire::v1;

/// The ended ranges of one log: start → end, apart from each other.
#[derive(Debug, Default)]
pub(super) struct Ended(BTreeMap<u64, u64>);

impl Ended {
    fn load(store: &Store, log: u32) -> Result<Self, StoreError> {
        let mut ended = Self::default();
        for (_, value) in store.scan(Table::Ended, &log.to_be_bytes())? {
            for pair in value.chunks_exact(16) {
                let number = |b: &[u8]| b.try_into().map(u64::from_be_bytes).unwrap_or(0);
                ended.add((number(&pair[..8]), number(&pair[8..])));
            }
        }
        Ok(ended)
    }

    fn add(&mut self, (mut start, mut end): Range) {
        while let Some((&at, &to)) = self.0.range(..=end).next_back()
            && to >= start
        {
            self.0.remove(&at);
            (start, end) = (start.min(at), end.max(to));
        }
        self.0.insert(start, end);
    }

    fn holds(&self, index: u64) -> bool {
        self.0
            .range(..=index)
            .next_back()
            .is_some_and(|(_, end)| index < *end)
    }
}

impl Ledger {
    /// Says whether a retraction that is known here ended the body at `index`.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn is_ended(&self, log: u32, index: LogIndex) -> Result<bool, LedgerError> {
        let mut all = self.0.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ended) = all.get(&log) {
            return Ok(ended.holds(index.0));
        }
        let ended = Ended::load(&self.0.store, log)?;
        let holds = ended.holds(index.0);
        all.insert(log, ended);
        Ok(holds)
    }

    /// Applies a retraction that stands at `at`: remembers what it ends and
    /// erases what is held of it. Doing it twice changes nothing.
    pub(super) fn end_bodies(
        &self,
        log: &Log,
        at: LogIndex,
        retract: &RetractBody,
    ) -> Result<(), LedgerError> {
        let ranges: Vec<Range> = retract
            .targets
            .iter()
            .map(|&(start, end)| (start.0, end.0.min(at.0)))
            .filter(|(start, end)| start < end)
            .collect();
        let mut value = Vec::with_capacity(ranges.len() * 16);
        for (start, end) in &ranges {
            value.extend_from_slice(&start.to_be_bytes());
            value.extend_from_slice(&end.to_be_bytes());
        }
        let mut batch = Batch::new();
        batch.put(Table::Ended, &segment::run_key(log.number, at), value);
        self.0.store.commit(batch)?;
        self.is_ended(log.number, at)?;
        {
            let mut all = self.0.ended.lock().unwrap_or_else(PoisonError::into_inner);
            let ended = all.entry(log.number).or_default();
            ranges.iter().for_each(|range| ended.add(*range));
        }
        for range in ranges {
            self.erase(log, range)?;
        }
        Ok(())
    }

    /// Erases the bodies of a range, block by block.
    fn erase(&self, log: &Log, (start, end): Range) -> Result<u64, LedgerError> {
        let mut erased = 0;
        let mut at = start;
        while at < end.min(log.size().0) {
            let to = end.min(log.size().0).min(at + 1_024);
            erased += self.erase_block(log, at, to)?;
            at = to;
        }
        Ok(erased)
    }

    fn erase_block(&self, log: &Log, start: u64, end: u64) -> Result<u64, LedgerError> {
        // Runs are read, changed and written again: bodies that arrive meanwhile wait.
        let _writing = log.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let held = self.held_bodies(log.number, LogIndex(start), end)?;
        if held.is_empty() {
            return Ok(0);
        }
        let mut postings = PostingsBatch::default();
        for (index, _) in &held {
            if let Some(Body::Element(element)) = self.body(log.number, *index)? {
                let mac = self.token_mac(element.token_key_id, &element.token);
                postings.delete(&key_of(mac, log.number, *index));
                if log.number == OWN_RECORDS {
                    let case = self.case_mac(&element.case_ref);
                    postings.delete(&key_of(case, log.number, *index));
                    self.forget_own(&mut postings, *index)?;
                }
            }
        }
        self.0.postings.apply(postings)?;
        let changes: BTreeMap<u64, BodyState> = held
            .iter()
            .map(|(index, _)| (index.0, BodyState::Erased))
            .collect();
        self.change_states(Table::Bodies, log.number, &changes, Batch::new())?;
        if log.number == OWN_RECORDS {
            self.change_states(Table::Private, log.number, &changes, Batch::new())?;
        }
        Ok(held.len() as u64)
    }

    fn forget_own(&self, postings: &mut PostingsBatch, index: LogIndex) -> Result<(), LedgerError> {
        let Some(held) = self.held(index)? else {
            return Ok(());
        };
        let kind = v1::ElementKind::try_from(held.kind).unwrap_or_default();
        let spaces = [
            (Pointer::Value, self.value_mac(kind, &held.canonical)),
            (Pointer::Row, self.row_mac(&held)),
        ];
        for (space, mac) in spaces {
            let points_here =
                self.0.postings.pointer(space, &mac)? == Some(index.0.to_be_bytes().to_vec());
            if points_here {
                postings.delete_pointer(space, &mac);
            }
        }
        Ok(())
    }

    /// Asks again for a body that was withheld: its amendment reached this node,
    /// so that its audience may have grown.
    pub(super) fn reopen_withheld(&self, log: &Log, index: LogIndex) -> Result<(), LedgerError> {
        let _writing = log.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let states = self.body_states(log.number, index, index.0 + 1)?;
        if states.first() != Some(&BodyState::NotForMe) {
            return Ok(());
        }
        let mut batch = Batch::new();
        batch.put(Table::Absent, &segment::run_key(log.number, index), vec![]);
        let changes = BTreeMap::from([(index.0, BodyState::Absent)]);
        self.change_states(Table::Bodies, log.number, &changes, batch)
    }

    /// Writes runs again with some states changed, each under a fresh shred
    /// key, and destroys the old keys once the new runs are durable.
    pub(super) fn change_states(
        &self,
        table: Table,
        log: u32,
        changes: &BTreeMap<u64, BodyState>,
        mut batch: Batch,
    ) -> Result<(), LedgerError> {
        let (Some(first), Some(last)) = (changes.keys().next(), changes.keys().next_back()) else {
            return Ok(());
        };
        let (store, shred) = (&self.0.store, &self.0.shred);
        let mut old = vec![];
        for run in segment::read_runs(store, shred, table, log, LogIndex(*first), last + 1)? {
            let BodyRun {
                start,
                slot,
                mut states,
            } = run;
            let mut changed = false;
            for (at, state) in (start..).zip(states.iter_mut()) {
                if let Some(new) = changes.get(&at)
                    && state != new
                {
                    *state = new.clone();
                    changed = true;
                }
            }
            if changed {
                old.extend(slot);
                segment::put_run(&mut batch, shred, table, log, start, &states)?;
            }
        }
        shred.sync()?;
        store.commit(batch)?;
        if !old.is_empty() {
            shred.destroy(&old)?;
        }
        Ok(())
    }

    /// The element that the amendment at `at` amends, unless a later one does.
    fn amended_by(&self, log: u32, at: LogIndex) -> Result<Option<LogIndex>, LedgerError> {
        let Some(Body::Amend(amend)) = self.body(log, at)? else {
            return Ok(None);
        };
        let newest = self.amendment(log, amend.target_index)?;
        Ok((newest.as_ref() == Some(&amend)).then_some(amend.target_index))
    }

    /// Erases every body whose retention end has passed, in all logs; returns
    /// how many. Their entries stay.
    ///
    /// # Errors
    /// Any error of the store.
    pub fn sweep_expired(&self) -> Result<u64, LedgerError> {
        let now = self.0.clock.now();
        let mut erased = 0;
        for log in self.logs() {
            if log.origin.log == LogName::Access {
                continue;
            }
            for (index, amends) in self.due(&log, now)? {
                // An amendment carries its element's new end, and must not
                // end before it: the element would be as it was before.
                if amends && let Some(target) = self.amended_by(log.number, LogIndex(index))? {
                    erased += self.erase_block(&log, target.0, target.0 + 1)?;
                }
                erased += self.erase_block(&log, index, index + 1)?;
            }
        }
        Ok(erased)
    }

    /// Entries of a log whose end has come, and whether each is an amendment.
    /// Every entry is looked at once; only those with an end are remembered.
    fn due(&self, log: &Log, now: UnixSeconds) -> Result<Vec<(u64, bool)>, LedgerError> {
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
                    let amends = statement.body_type == v1::BodyType::Amend;
                    expiring.ends.insert((statement.expires_at, index), amends);
                }
            }
            expiring.seen_upto = end;
        }
        let later = expiring.ends.split_off(&(now.saturating_add(1), 0));
        let due = std::mem::replace(&mut expiring.ends, later);
        Ok(due
            .into_iter()
            .map(|((_, index), amends)| (index, amends))
            .collect())
    }
}

/// The entries of one log that end some day, by their end.
#[derive(Debug, Default)]
pub(super) struct Expiring {
    seen_upto: u64,
    ends: BTreeMap<(UnixSeconds, u64), bool>,
}

fn key_of(token_mac: [u8; 16], log: u32, index: LogIndex) -> PostingKey {
    PostingKey {
        token_mac,
        log,
        index,
    }
}

#[cfg(test)]
mod tests {
    use super::Ended;

    #[test]
    fn ended_ranges_merge_and_hold_exactly_what_was_added() {
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
        ];
        for range in ranges {
            ended.add(range);
        }
        for at in 0..70 {
            let within = ranges
                .iter()
                .any(|(start, end)| (*start..*end).contains(&at));
            assert_eq!(ended.holds(at), within, "{at}");
        }
        assert_eq!(ended.0.len(), 4, "{ended:?}");
    }
}
