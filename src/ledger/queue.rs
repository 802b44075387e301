//! The durable queue of elements that wait for tokens, and the notes that
//! never get one. Both are sealed under erasable keys, like records.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use prost::Message;

use super::log::OWN_RECORDS;
use super::segment::{self, BodyState};
use super::{Ledger, LedgerError};
use crate::clock::UnixSeconds;
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
pub(super) struct QueueSequence {
    next: Mutex<(u64, u64)>,
    /// Held while elements are taken off the queue, or dropped.
    taking: Mutex<()>,
    /// No retention end of what waits, or of a note, is before this time.
    first_end: AtomicI64,
}

impl QueueSequence {
    pub(super) fn open(store: &Store) -> Result<Self, StoreError> {
        let next = |table| -> Result<u64, StoreError> {
            let last = store.floor(table, &segment::run_key(0, LogIndex(u64::MAX)), 4)?;
            let last = last
                .and_then(|(key, _)| key.get(4..12).and_then(|b| b.try_into().ok()))
                .map(u64::from_be_bytes);
            Ok(last.map_or(0, |n| n + segment::RUN_BODIES_MAX as u64))
        };
        Ok(Self {
            next: Mutex::new((next(Table::Queue)?, next(Table::Notes)?)),
            taking: Mutex::new(()),
            // What stands here from before is looked at once.
            first_end: AtomicI64::new(i64::MIN),
        })
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
    runs: Vec<(u64, Option<SlotId>)>,
}

/// What is left to do once elements are off the queue: their keys.
#[derive(Debug)]
#[must_use]
pub struct Dequeued(Option<(Vec<u8>, v1::ErasedRow)>);

/// What was taken out of the queue and the notes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Elements that waited for tokens.
    pub queued: u64,
    /// Elements that were kept without one.
    pub notes: u64,
}

fn place_of(key: &[u8]) -> u64 {
    let place = key.get(4..12).and_then(|b| b.try_into().ok());
    place.map_or(0, u64::from_be_bytes)
}

impl Dropped {
    /// All of them.
    #[must_use]
    pub fn count(self) -> u64 {
        self.queued + self.notes
    }
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
            .next
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
        ticket.wait()?;
        // After it: a look that began before would not have seen them.
        self.watch_ends(elements.iter());
        Ok(())
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
            let at = place_of(&key);
            for run in self.sealed_run(Table::Queue, at)? {
                queued.ticket.runs.push((at, run.slot));
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

    /// Says whether nothing waits, and what left the queue is durable in the log:
    /// a batch can be read shortly before it is synced.
    #[must_use]
    pub fn is_queue_empty(&self) -> bool {
        self.0.store.iter(Table::Queue, b"").next().is_none() && self.0.records.is_settled()
    }

    /// Lets nobody else take elements off the queue until the guard is dropped.
    pub fn taking(&self) -> MutexGuard<'_, ()> {
        let taking = self.0.queue.taking.lock();
        taking.unwrap_or_else(PoisonError::into_inner)
    }

    /// Says whether the elements of `ticket` are all queued still, as they were read.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn is_queued(&self, ticket: &QueueTicket) -> Result<bool, LedgerError> {
        for (at, slot) in &ticket.runs {
            let key = segment::run_key(0, LogIndex(*at));
            let found = self.0.store.read(Table::Queue, &key)?;
            let same = found.is_some_and(|value| segment::slot_of(&value) == *slot);
            if !same {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Adds to `batch` what takes `ticket`'s elements off the queue.
    pub fn dequeue(&self, ticket: &QueueTicket, batch: &mut Batch) -> Dequeued {
        for (at, _) in &ticket.runs {
            batch.delete(Table::Queue, &segment::run_key(0, LogIndex(*at)));
        }
        let slots: Vec<SlotId> = ticket.runs.iter().filter_map(|(_, slot)| *slot).collect();
        Dequeued(self.stage_row(batch, OWN_RECORDS, vec![], &slots))
    }

    /// Destroys the keys of elements that were taken off the queue.
    ///
    /// # Errors
    /// [`LedgerError::Shred`] or [`LedgerError::Store`].
    pub fn shred_queued(&self, dequeued: Dequeued) -> Result<(), LedgerError> {
        match dequeued.0 {
            Some((key, row)) => self.finish_erasing(&key, row),
            None => Ok(()),
        }
    }

    /// Drops queued elements and notes that `dropped` picks, with their keys;
    /// with `dry_run`, only counts them.
    ///
    /// # Errors
    /// [`LedgerError::Store`] or [`LedgerError::Shred`].
    pub fn drop_waiting(
        &self,
        dropped: &dyn Fn(&v1::HeldElement) -> bool,
        dry_run: bool,
    ) -> Result<Dropped, LedgerError> {
        let _taking = self.taking();
        Ok(Dropped {
            queued: self.drop_sealed(Table::Queue, dropped, dry_run)?,
            notes: self.drop_sealed(Table::Notes, dropped, dry_run)?,
        })
    }

    fn watch_ends<'a>(&self, elements: impl Iterator<Item = &'a v1::HeldElement>) {
        let ends = elements.map(|held| held.expires_at).filter(|end| *end != 0);
        if let Some(end) = ends.min() {
            self.0.queue.first_end.fetch_min(end, Ordering::SeqCst);
        }
    }

    /// Drops what waits, and notes, whose retention end has come; returns how many.
    pub(super) fn drop_ended(&self, now: UnixSeconds) -> Result<u64, LedgerError> {
        let first_end = &self.0.queue.first_end;
        if first_end.load(Ordering::SeqCst) > now {
            return Ok(0);
        }
        first_end.store(i64::MAX, Ordering::SeqCst);
        let ended = |held: &v1::HeldElement| {
            let ends = held.expires_at != 0 && held.expires_at <= now;
            if !ends {
                self.watch_ends(std::iter::once(held));
            }
            ends
        };
        let dropped = self.drop_waiting(&ended, false);
        if dropped.is_err() {
            first_end.store(i64::MIN, Ordering::SeqCst);
        }
        Ok(dropped?.count())
    }

    fn drop_sealed(
        &self,
        table: Table,
        dropped: &dyn Fn(&v1::HeldElement) -> bool,
        dry_run: bool,
    ) -> Result<u64, LedgerError> {
        let mut count = 0;
        for item in self.0.store.iter(table, b"") {
            let (key, _) = item?;
            let at = place_of(&key);
            for mut run in self.sealed_run(table, at)? {
                let mut pointers = PostingsBatch::default();
                let mut left = 0;
                let before = count;
                for state in &mut run.states {
                    let BodyState::Held(bytes) = state else {
                        continue;
                    };
                    let held = v1::HeldElement::decode(bytes.clone())
                        .map_err(|_| StoreError::Damaged("queued element"))?;
                    if dropped(&held) {
                        if table == Table::Notes && !held.canonical.is_empty() {
                            pointers.delete_pointer(Pointer::Row, &self.row_mac(&held));
                        }
                        *state = BodyState::Erased;
                        count += 1;
                    } else {
                        left += 1;
                    }
                }
                if count > before && !dry_run {
                    self.rewrite_run(table, &run, left, pointers)?;
                }
            }
        }
        Ok(count)
    }

    fn rewrite_run(
        &self,
        table: Table,
        run: &segment::BodyRun,
        left: usize,
        pointers: PostingsBatch,
    ) -> Result<(), LedgerError> {
        let mut batch = Batch::new();
        if left == 0 {
            batch.delete(table, &segment::run_key(0, LogIndex(run.start)));
        } else {
            segment::put_run(&mut batch, &self.0.shred, table, 0, run.start, &run.states)?;
        }
        self.mark_postings(&pointers, &mut batch);
        self.0.postings.apply_synced(pointers)?;
        let old: Vec<SlotId> = run.slot.into_iter().collect();
        self.commit_erasing(batch, OWN_RECORDS, vec![], &old)
    }

    /// Every note that is kept at home.
    ///
    /// # Errors
    /// [`LedgerError::Store`] or [`LedgerError::Shred`].
    pub fn notes(&self) -> Result<Vec<v1::HeldElement>, LedgerError> {
        let mut out = vec![];
        for item in self.0.store.iter(Table::Notes, b"") {
            let (key, _) = item?;
            let at = place_of(&key);
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
