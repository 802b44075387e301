//! Who may have received an own element: its own audience, and every one that
//! an amendment ever gave it. The newest amendment alone does not tell, and the
//! older ones may have ended.

use std::collections::BTreeMap;

use prost::Message;

use super::log::Log;
use super::segment::{BodyState, run_key};
use super::{Ledger, LedgerError};
use crate::ids::LogIndex;
use crate::record::Body;
use crate::store::{Batch, StoreError, Table};
use crate::wire::v1::{self, AudienceRow};

impl Ledger {
    /// Remembers, durably, the audiences of the amendments among own bodies
    /// that are about to be indexed. Doing it twice changes nothing.
    pub(super) fn remember_audiences(
        &self,
        log: &Log,
        items: &[(LogIndex, Body)],
    ) -> Result<(), LedgerError> {
        let mut rows = BTreeMap::<LogIndex, AudienceRow>::new();
        for (index, body) in items {
            let Body::Amend(amend) = body else { continue };
            if !self.amends(log, *index, amend)? {
                continue;
            }
            let target = amend.target_index;
            let states = self.body_states(log.number, target, target.0.saturating_add(1))?;
            if !matches!(states.first(), Some(BodyState::Held(_))) {
                continue;
            }
            let row = match rows.entry(target) {
                std::collections::btree_map::Entry::Occupied(row) => row.into_mut(),
                std::collections::btree_map::Entry::Vacant(none) => {
                    none.insert(self.audience_row(log, target)?)
                }
            };
            let audience = amend.audience.to_wire();
            if !row.audiences.contains(&audience) {
                row.audiences.push(audience);
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::new();
        for (target, row) in rows {
            let key = run_key(log.number, target);
            batch.put(Table::Audiences, &key, row.encode_to_vec());
        }
        Ok(self.0.store.commit(batch)?)
    }

    fn audience_row(&self, log: &Log, target: LogIndex) -> Result<AudienceRow, LedgerError> {
        let key = run_key(log.number, target);
        let Some(row) = self.0.store.read(Table::Audiences, &key)? else {
            return Ok(AudienceRow::default());
        };
        Ok(AudienceRow::decode(row).map_err(|_| StoreError::Damaged("audiences"))?)
    }

    /// Everybody who may have received an own body. `batch` forgets what is
    /// remembered of it: the body is being erased.
    pub(super) fn audiences(
        &self,
        log: &Log,
        index: LogIndex,
        body: &Body,
        batch: &mut Batch,
    ) -> Result<Vec<v1::Audience>, LedgerError> {
        let mut all: Vec<_> = body.audience().map(|a| a.to_wire()).into_iter().collect();
        if matches!(body, Body::Element(_)) {
            all.extend(self.audience_row(log, index)?.audiences);
            batch.delete(Table::Audiences, &run_key(log.number, index));
        }
        Ok(all)
    }
}
