//! Keys that seal nothing. A crash between the making of a key and the commit
//! of what it seals leaves one behind, and with it perhaps pages of the store
//! that hold what it sealed and were never part of it.

use std::collections::HashSet;

use super::segment;
use super::{Ledger, LedgerError};
use crate::shred::SlotId;
use crate::store::{Batch, Table};

/// Keys that one batch destroys.
const SLOTS_MAX: usize = 4_096;

/// The tables whose values are runs.
const RUNS: [Table; 4] = [Table::Bodies, Table::Private, Table::Queue, Table::Notes];

impl Ledger {
    /// Destroys the keys that were there when the ledger was opened and that
    /// seal nothing which is stored; returns how many. Reads every sealed run
    /// once, while others read and write; `None` when `go_on` said no.
    ///
    /// # Errors
    /// [`LedgerError::Store`] or [`LedgerError::Shred`]; call it again.
    pub fn destroy_unused_keys(
        &self,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Option<u64>, LedgerError> {
        let store = &self.0.store;
        // A key of before the start is given up some day, and never taken up:
        // one that is found nowhere is in no batch that is on its way either.
        let mut unused: HashSet<SlotId> = self.0.shred.live(self.0.keys_at_start)?;
        for table in RUNS {
            for item in store.iter(table, b"") {
                if !go_on() {
                    return Ok(None);
                }
                if let Some(slot) = segment::slot_of(&item?.1) {
                    unused.remove(&slot);
                }
            }
        }
        for item in store.iter(Table::PendingBatch, b"") {
            if let Some(slot) = SlotId::leading(&item?.1) {
                unused.remove(&slot);
            }
        }
        let mut unused: Vec<SlotId> = unused.into_iter().collect();
        unused.sort_unstable();
        for some in unused.chunks(SLOTS_MAX) {
            // This commit makes durable, too, what was read: a run that was seen
            // under its new key may else come back under the old one.
            let mut batch = Batch::new();
            let row = self.stage_row(&mut batch, self.own_number(), vec![], some);
            store.commit(batch)?;
            if let Some((key, row)) = row {
                self.finish_erasing(&key, row)?;
            }
        }
        Ok(Some(unused.len() as u64))
    }
}
