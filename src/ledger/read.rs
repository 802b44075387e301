//! Reading logs: entries, bodies, proofs, and what peers may have.

use bytes::Bytes;
use prost::Message;

use super::log::{Log, OwnPlace};
use super::opaque::Reading;
use super::segment::{self, BodyState};
use super::tiles::TileReader;
use super::{Ledger, LedgerError};
use crate::ids::{Digest, LogIndex, TreeSize};
use crate::merkle::{self, TileNodes};
use crate::record::{Body, ElementBody, Entry};
use crate::store::{StoreError, Table};
use crate::wire::v1;

/// An element record as it stands now, with its newest amendment applied.
#[derive(Clone, Debug)]
pub struct StoredElement {
    /// Where it stands.
    pub index: LogIndex,
    /// The signed body, amended.
    pub body: ElementBody,
}

impl Ledger {
    /// The entries [start, end) of a log; fewer when it holds fewer.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn entries(&self, log: u32, start: LogIndex, end: u64) -> Result<Vec<Bytes>, LedgerError> {
        Ok(segment::read_entries(&self.0.store, log, start, end)?)
    }

    /// The entry at one index.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn entry(&self, log: u32, index: LogIndex) -> Result<Option<Entry>, LedgerError> {
        let found = self.entries(log, index, index.0 + 1)?.into_iter().next();
        found
            .map(|bytes| Entry::parse(bytes).map_err(|_| StoreError::Damaged("entry").into()))
            .transpose()
    }

    /// What is known of the bodies [start, end), one state an index.
    ///
    /// # Errors
    /// [`LedgerError::Store`] or [`LedgerError::Shred`].
    pub fn body_states(
        &self,
        log: u32,
        start: LogIndex,
        end: u64,
    ) -> Result<Vec<BodyState>, LedgerError> {
        self.states_in(Table::Bodies, log, start, end)
    }

    pub(super) fn states_in(
        &self,
        table: Table,
        log: u32,
        start: LogIndex,
        end: u64,
    ) -> Result<Vec<BodyState>, LedgerError> {
        let count = usize::try_from(end.saturating_sub(start.0)).unwrap_or(usize::MAX);
        let mut out = vec![BodyState::Absent; count];
        let runs = segment::read_runs(&self.0.store, &self.0.shred, table, log, start, end)?;
        for run in runs {
            for (at, state) in (run.start..).zip(run.states) {
                let slot = at
                    .checked_sub(start.0)
                    .and_then(|n| usize::try_from(n).ok());
                if let Some(place) = slot.and_then(|n| out.get_mut(n)) {
                    *place = state;
                }
            }
        }
        Ok(out)
    }

    /// The bodies that are held of [start, end), decoded, but those that are not
    /// read (see [`Ledger::opaque`]).
    ///
    /// # Errors
    /// [`LedgerError::Store`] or [`LedgerError::Shred`].
    pub fn decoded_bodies(
        &self,
        log: u32,
        start: LogIndex,
        end: u64,
    ) -> Result<Vec<(LogIndex, Body)>, LedgerError> {
        let states = self.body_states(log, start, end)?;
        let entries = self.entries(log, start, end)?;
        let mut out = vec![];
        for ((at, state), entry) in (start.0..).zip(states).zip(entries) {
            let BodyState::Held(bytes) = state else {
                continue;
            };
            let entry = Entry::parse(entry).map_err(|_| StoreError::Damaged("entry"))?;
            if let Reading::Read(body) = self.read_held(log, LogIndex(at), &entry, &bytes)? {
                out.push((LogIndex(at), body));
            }
        }
        Ok(out)
    }

    /// The body at one index, when it is held and read; see [`Ledger::reading`].
    ///
    /// # Errors
    /// [`LedgerError::Store`] or [`LedgerError::Shred`].
    pub fn body(&self, log: u32, index: LogIndex) -> Result<Option<Body>, LedgerError> {
        Ok(match self.reading(log, index)? {
            Reading::Read(body) => Some(body),
            Reading::Opaque(_) | Reading::Gone => None,
        })
    }

    /// The element record at one index as it stands now, when it is held.
    ///
    /// # Errors
    /// [`LedgerError::Store`] or [`LedgerError::Shred`].
    pub fn element(&self, log: u32, index: LogIndex) -> Result<Option<StoredElement>, LedgerError> {
        let Some(Body::Element(mut body)) = self.body(log, index)? else {
            return Ok(None);
        };
        if let Some(amend) = self.amendment(log, index)? {
            body.observed_on = amend.observed_on;
            body.audience = amend.audience;
            body.handling = amend.handling;
            body.expires_at = amend.expires_at;
        }
        Ok(Some(StoredElement { index, body }))
    }

    /// What is kept at home beside an own element record.
    ///
    /// # Errors
    /// [`LedgerError::Store`] or [`LedgerError::Shred`].
    pub fn held(&self, index: LogIndex) -> Result<Option<v1::HeldElement>, LedgerError> {
        let log = self.own_number();
        self.held_at(OwnPlace { log, index })
    }

    /// As [`Ledger::held`], in an own log of whatever generation.
    ///
    /// # Errors
    /// [`LedgerError::Store`] or [`LedgerError::Shred`].
    pub fn held_at(&self, place: OwnPlace) -> Result<Option<v1::HeldElement>, LedgerError> {
        let OwnPlace { log, index } = place;
        let states = self.states_in(Table::Private, log, index, index.0.saturating_add(1))?;
        match states.into_iter().next() {
            Some(BodyState::Held(bytes)) => {
                let held = v1::HeldElement::decode(bytes);
                Ok(Some(held.map_err(|_| StoreError::Damaged("held element"))?))
            }
            _ => Ok(None),
        }
    }

    /// The proof that a log's first `from` entries are the start of its first `to`.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn consistency(
        &self,
        log: &Log,
        from: TreeSize,
        to: TreeSize,
    ) -> Result<Vec<Digest>, LedgerError> {
        let reader = TileReader::new(&self.0.store, log.number);
        let nodes = TileNodes(|level, tile| reader.tile(level, tile).map_err(LedgerError::from));
        merkle::consistency_proof(&nodes, from, to)
    }

    /// The proof that an entry stands at `index` of a log's first `size` entries.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn inclusion(
        &self,
        log: &Log,
        index: LogIndex,
        size: TreeSize,
    ) -> Result<Vec<Digest>, LedgerError> {
        let reader = TileReader::new(&self.0.store, log.number);
        let nodes = TileNodes(|level, tile| reader.tile(level, tile).map_err(LedgerError::from));
        merkle::inclusion_proof(&nodes, index, size)
    }

    /// The next chunk of a log from `start`: at most `entries_max` entries, up
    /// to its newest checkpoint, with the proof from the chunk's end to it.
    /// `None` when the checkpoint holds nothing from `start` on.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn chunk(
        &self,
        log: &Log,
        start: LogIndex,
        entries_max: u64,
    ) -> Result<Option<v1::Chunk>, LedgerError> {
        let head = log.head();
        let size = head.checkpoint_size;
        if start.0 >= size.0 {
            return Ok(None);
        }
        let end = size.0.min(start.0.saturating_add(entries_max));
        let entries = self.entries(log.number, start, end)?;
        if entries.len() as u64 != end - start.0 {
            return Err(StoreError::Damaged("entry run").into());
        }
        let consistency = if end == size.0 {
            vec![]
        } else {
            self.consistency(log, TreeSize(end), size)?
        };
        Ok(Some(v1::Chunk {
            start: start.0,
            entries,
            checkpoint: head.checkpoint,
            consistency: consistency
                .into_iter()
                .map(|d| d.0.to_vec().into())
                .collect(),
        }))
    }
}
