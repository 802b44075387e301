//! The durable queue of elements that wait for tokens, and the notes that
//! never get one. Both are sealed under erasable keys, like records.

use std::sync::Mutex;
use std::sync::PoisonError;

use bytes::Bytes;
use prost::Message;

use super::segment::{self, BodyState};
use super::{Ledger, LedgerError};
use crate::ids::LogIndex;
use crate::postings::{Pointer, PostingsBatch};
use crate::shred::SlotId;
use crate::store::{Batch, Store, StoreError, Table};
use crate::wire::v1;

/// Elements that one queued run holds at most.
const QUEUED_RUN_MAX: usize = segment::RUN_BODIES_MAX;

/// Where the row of a note points: at no entry.
const NOTED: LogIndex = LogIndex(u64::MAX - 1);

/// The next free places in the queue and among the notes.
#[derive(Debug)]
pub(super) struct QueueSequence(Mutex<(u64, u64)>);

impl QueueSequence {
    pub(super) fn open(store: &Store) -> Result<Self, StoreError> {
        let next = |table| -> Result<u64, StoreError> {
            let last = store.floor(table, &segment::run_key(0, LogIndex(u64::MAX)), 4)?;
            let last = last
                .and_then(|(key, _)| key.get(4..12).and_then(|b| b.try_into().ok()))
                .map(u64::from_be_bytes);
            Ok(last.map_or(0, |n| n + segment::RUN_BODIES_MAX as u64))
        };
        Ok(Self(Mutex::new((next(Table::Queue)?, next(Table::Notes)?))))
    }
}

/// Queued elements that were read together, in order.
#[derive(Debug)]
pub struct Queued {
    /// The elements.
    pub elements: Vec<v1::HeldElement>,
    /// What removes them once they are published.
    pub ticket: QueueTicket,
}

/// The places of queued elements, and the keys under which they are sealed.
#[derive(Debug, Default)]
pub struct QueueTicket {
    runs: Vec<u64>,
    slots: Vec<SlotId>,
}

impl QueueTicket {
    /// Says whether nothing was queued.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }
}

impl Ledger {
    /// Puts elements at the end of the queue; durable when it returns.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn enqueue(&self, elements: &[v1::HeldElement], with: Batch) -> Result<(), LedgerError> {
        self.put_sealed(Table::Queue, elements, with)
    }

    /// Keeps elements sealed at home without a record, such as bare names.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn keep_notes(&self, elements: &[v1::HeldElement], with: Batch) -> Result<(), LedgerError> {
        self.put_sealed(Table::Notes, elements, with)?;
        self.point_notes(elements)
    }

    /// Lets the rows of notes be found, so that the same row is kept once.
    /// Refused rows that are kept as they came have no canonical value, and so
    /// no identity.
    pub(super) fn point_notes(&self, notes: &[v1::HeldElement]) -> Result<(), LedgerError> {
        let mut batch = PostingsBatch::default();
        for note in notes.iter().filter(|note| !note.canonical.is_empty()) {
            batch.put_pointer(Pointer::Row, &self.row_mac(note), &NOTED.0.to_be_bytes());
        }
        Ok(self.0.postings.apply(batch)?)
    }

    fn put_sealed(
        &self,
        table: Table,
        elements: &[v1::HeldElement],
        mut with: Batch,
    ) -> Result<(), LedgerError> {
        let mut next = self
            .0
            .queue
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let place = if table == Table::Queue {
            &mut next.0
        } else {
            &mut next.1
        };
        for run in elements.chunks(QUEUED_RUN_MAX) {
            let states: Vec<_> = run
                .iter()
                .map(|e| BodyState::Held(Bytes::from(e.encode_to_vec())))
                .collect();
            segment::put_run(&mut with, &self.0.shred, table, 0, *place, &states)?;
            *place += segment::RUN_BODIES_MAX as u64;
        }
        self.0.shred.sync()?;
        let ticket = self.0.store.submit(with)?;
        drop(next);
        Ok(ticket.wait()?)
    }

    /// Reads the oldest queued elements, at most about `max`.
    ///
    /// # Errors
    /// [`LedgerError::Store`] or [`LedgerError::Shred`].
    pub fn queued(&self, max: usize) -> Result<Queued, LedgerError> {
        let mut queued = Queued {
            elements: vec![],
            ticket: QueueTicket::default(),
        };
        let first = self
            .0
            .store
            .iter_from(Table::Queue, &segment::run_key(0, LogIndex(0)), 4);
        for item in first {
            let (key, _) = item?;
            let at = key
                .get(4..12)
                .and_then(|b| b.try_into().ok())
                .map_or(0, u64::from_be_bytes);
            for run in self.sealed_run(Table::Queue, at)? {
                queued.ticket.runs.push(at);
                queued.ticket.slots.extend(run.slot);
                for state in run.states {
                    if let BodyState::Held(bytes) = state {
                        let held = v1::HeldElement::decode(bytes);
                        let held = held.map_err(|_| StoreError::Damaged("queued element"))?;
                        queued.elements.push(held);
                    }
                }
            }
            if queued.elements.len() >= max {
                break;
            }
        }
        Ok(queued)
    }

    fn sealed_run(&self, table: Table, at: u64) -> Result<Vec<segment::BodyRun>, LedgerError> {
        let (store, shred) = (&self.0.store, &self.0.shred);
        let runs = segment::read_runs(store, shred, table, 0, LogIndex(at), at + 1)?;
        Ok(runs.into_iter().filter(|run| run.start == at).collect())
    }

    /// The number of queued runs; each holds up to 64 elements.
    #[must_use]
    pub fn is_queue_empty(&self) -> bool {
        self.0.store.iter(Table::Queue, b"").next().is_none()
    }

    /// Adds to `batch` what takes `ticket`'s elements off the queue.
    pub fn dequeue(&self, ticket: &QueueTicket, batch: &mut Batch) {
        for at in &ticket.runs {
            batch.delete(Table::Queue, &segment::run_key(0, LogIndex(*at)));
        }
    }

    /// Destroys the keys of elements that were taken off the queue.
    ///
    /// # Errors
    /// [`LedgerError::Shred`].
    pub fn shred_queued(&self, ticket: &QueueTicket) -> Result<(), LedgerError> {
        if ticket.slots.is_empty() {
            return Ok(());
        }
        Ok(self.0.shred.destroy(&ticket.slots)?)
    }

    /// Every note that is kept at home.
    ///
    /// # Errors
    /// [`LedgerError::Store`] or [`LedgerError::Shred`].
    pub fn notes(&self) -> Result<Vec<v1::HeldElement>, LedgerError> {
        let mut out = vec![];
        for item in self.0.store.iter(Table::Notes, b"") {
            let (key, _) = item?;
            let at = key
                .get(4..12)
                .and_then(|b| b.try_into().ok())
                .map_or(0, u64::from_be_bytes);
            for run in self.sealed_run(Table::Notes, at)? {
                for state in run.states {
                    if let BodyState::Held(bytes) = state {
                        let held = v1::HeldElement::decode(bytes);
                        out.push(held.map_err(|_| StoreError::Damaged("note"))?);
                    }
                }
            }
        }
        Ok(out)
    }
}
