//! A node that starts again, perhaps from an old copy of its directory: what it
//! must not give out before it has caught up, and which own bodies are lost.

use std::collections::BTreeMap;

use super::log::Log;
use super::segment::{self, BodyState};
use super::{Ledger, LedgerError, Range, Standing};
use crate::ids::{LogIndex, LogName};
use crate::roster::Roster;
use crate::store::{Batch, Table};

impl Ledger {
    /// Holds the bodies of every replica back until a pull of its log, and those
    /// of an own log that has ended until it is whole, so that nothing is given
    /// out that was retracted while this node was away.
    pub fn hold_bodies(&self, roster: &Roster) {
        for log in self.logs() {
            let frozen = roster
                .member(&log.origin.member)
                .and_then(|owner| owner.frozen_at(&log.origin));
            let upto = log.head().bodies_upto;
            let incomplete = frozen.map(|frozen| upto < frozen.size);
            // The own log that goes on has its standing.
            let open = !self.is_own(&log);
            let records = log.origin.log == LogName::Records;
            log.set_stale(records && incomplete.unwrap_or(open));
        }
    }

    /// Whether bodies of a log may be given out: those of the own log once its
    /// standing is settled, those of a replica once it was pulled.
    ///
    /// # Errors
    /// [`LedgerError::HeldBack`].
    pub fn may_serve_bodies(&self, log: &Log) -> Result<(), LedgerError> {
        let unsettled = matches!(self.standing(), Standing::Fenced | Standing::Recovering);
        if log.is_stale() || self.is_own(log) && unsettled {
            return Err(LedgerError::HeldBack(log.origin.clone()));
        }
        Ok(())
    }

    /// Writes down that nobody has these bodies of an own log any more.
    ///
    /// # Errors
    /// [`LedgerError::Store`] or [`LedgerError::Shred`].
    pub fn mark_lost(&self, log: &Log, ranges: &[Range]) -> Result<(), LedgerError> {
        let mut batch = Batch::new();
        let mut changes = BTreeMap::new();
        for at in ranges.iter().flat_map(|(start, end)| *start..*end) {
            let mark = segment::run_key(log.number, LogIndex(at));
            batch.delete(Table::Absent, &mark);
            batch.put(Table::Lost, &mark, vec![]);
            changes.insert(at, BodyState::Lost);
        }
        self.change_states(log.number, &changes, batch, vec![])
    }

    /// How many own bodies of a log nobody has any more.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn lost(&self, log: &Log) -> Result<u64, LedgerError> {
        let marks = self.0.store.iter(Table::Lost, &log.number.to_be_bytes());
        let count: Result<u64, _> = marks.map(|mark| mark.map(|_| 1)).sum();
        Ok(count?)
    }
}
