//! Ending bodies: by a retraction of their owner, or at their retention end.
//! The entry stays, so the log still verifies; body, posting, look-up pointers
//! and what was kept at home beside it go, and the shred key with them.
//!
//! What is to be destroyed, and what is to be signed for it, is written in one
//! batch with the new runs; so a crash at any point leaves either the old runs,
//! or a row from which [`Ledger::resume_erasing`] goes on.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use prost::Message;

use super::ended::{Ending, can_end};
use super::log::{Log, OwnPlace};
use super::opaque::Reading;
use super::segment::{self, BodyRun, BodyState};
use super::{Ledger, LedgerError, Range};
use crate::ids::LogIndex;
use crate::postings::{Pointer, PostingKey, PostingsBatch};
use crate::record::{Audience, Body, Entry, RetractBody};
use crate::shred::SlotId;
use crate::store::{Batch, Store, StoreError, Table};
use crate::wire::v1::{self, ErasedItem, ErasedRow, ReceiptState};

/// Bodies that are erased under one batch at most.
pub(super) const BLOCK_BODIES: u64 = 1_024;

/// The next free key among the rows of what was erased.
#[derive(Debug)]
pub(super) struct ErasedSequence(AtomicU64);

impl ErasedSequence {
    pub(super) fn open(store: &Store) -> Result<Self, StoreError> {
        let last = store.floor(Table::Receipts, &row_key(u64::MAX), 1)?;
        let last = last
            .and_then(|(key, _)| key.get(1..).and_then(|b| b.try_into().ok()))
            .map(u64::from_be_bytes);
        Ok(Self(AtomicU64::new(last.map_or(0, |n| n + 1))))
    }
}

/// The prefix of rows of erasures in [`Table::Receipts`].
pub(super) const ROWS: &[u8] = b"e";

/// The key, in [`Table::Receipts`], that says that the index was not merged
/// since postings were deleted.
const LEFT_OVER: &[u8] = b"p";

fn row_key(number: u64) -> [u8; 9] {
    let mut key = [ROWS[0]; 9];
    key[1..].copy_from_slice(&number.to_be_bytes());
    key
}

/// What one batch erases: new states, and what will be signed for it.
#[derive(Debug, Default)]
struct Erasing {
    changes: BTreeMap<u64, BodyState>,
    items: Vec<ErasedItem>,
    postings: PostingsBatch,
    batch: Batch,
    held: u64,
}

impl Ledger {
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
        self.remember_ended(log.number, at, &ranges)?;
        let entry = self.entry(log.number, at)?;
        let ending = Ending {
            retracted_by: at.0.saturating_add(1),
            reason: retract.reason,
            decided_at: entry.map_or(0, |e| e.statement.issued_at),
        };
        for (start, end) in ranges {
            let mut at = start;
            while at < end {
                let to = end.min(at + BLOCK_BODIES);
                self.erase(log, &(at..to).map(|index| (index, ending)).collect())?;
                at = to;
            }
        }
        Ok(())
    }

    /// Erases the marked bodies, which span few blocks; returns how many were
    /// held. What ended already stays as it is.
    pub(super) fn erase(
        &self,
        log: &Log,
        marks: &BTreeMap<u64, Ending>,
    ) -> Result<u64, LedgerError> {
        let (Some((&first, _)), Some((&last, _))) =
            (marks.first_key_value(), marks.last_key_value())
        else {
            return Ok(0);
        };
        // Runs are read, changed and written again: bodies that arrive meanwhile wait.
        let _writing = log.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let end = (last + 1).min(log.head().bodies_upto);
        if first >= end {
            return Ok(0);
        }
        let states = self.body_states(log.number, LogIndex(first), end)?;
        let entries = self.entries(log.number, LogIndex(first), end)?;
        let mut erasing = Erasing::default();
        for ((at, state), entry) in (first..).zip(states).zip(entries) {
            if let Some(ending) = marks.get(&at) {
                let entry = Entry::parse(entry).map_err(|_| StoreError::Damaged("entry"))?;
                self.end_one(log, LogIndex(at), (state, &entry, *ending), &mut erasing)?;
            }
        }
        if erasing.changes.is_empty() {
            return Ok(0);
        }
        let Erasing {
            changes,
            items,
            postings,
            mut batch,
            held,
        } = erasing;
        // Nothing that is being indexed may come between: see `index_bodies`.
        let _indexing = self
            .0
            .indexing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.0.erasures.fetch_add(1, Ordering::SeqCst);
        self.mark_postings(&postings, &mut batch);
        self.0.postings.apply_synced(postings)?;
        let mut old = self.stage_states(Table::Bodies, log.number, &changes, &mut batch)?;
        if self.is_own(log) {
            old.extend(self.stage_states(Table::Private, log.number, &changes, &mut batch)?);
        }
        self.commit_erasing(batch, log.number, items, &old)?;
        self.recount_opaque(log.number);
        Ok(held)
    }

    /// Notes in `batch` that the index has deleted postings in its files still.
    pub(super) fn mark_postings(&self, postings: &PostingsBatch, batch: &mut Batch) {
        if !postings.is_empty() {
            batch.put(Table::Receipts, LEFT_OVER, vec![]);
        }
    }

    /// Says whether deleted postings stand in the index's files still.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn has_left_over(&self) -> Result<bool, LedgerError> {
        Ok(self.0.store.read(Table::Receipts, LEFT_OVER)?.is_some())
    }

    /// Takes deleted postings out of the index's files and journal. It merges
    /// the whole index: some seconds for millions of records.
    ///
    /// # Errors
    /// [`LedgerError::Postings`] or [`LedgerError::Store`]; call it again.
    pub fn forget_postings(&self) -> Result<(), LedgerError> {
        let mut batch = Batch::new();
        batch.delete(Table::Receipts, LEFT_OVER);
        let marked = self.has_left_over()?;
        self.0.postings.compact()?;
        if marked {
            self.0.store.commit(batch)?;
        }
        Ok(())
    }

    /// Decides what becomes of one ended body.
    fn end_one(
        &self,
        log: &Log,
        index: LogIndex,
        (state, entry, ending): (BodyState, &Entry, Ending),
        erasing: &mut Erasing,
    ) -> Result<(), LedgerError> {
        if !can_end(entry) {
            return Ok(());
        }
        let own = self.is_own(log);
        match state {
            BodyState::Held(bytes) => {
                let body = match self.read_held(log.number, index, entry, &bytes)? {
                    Reading::Read(body) => Some(body),
                    Reading::Opaque(_) | Reading::Gone => None,
                };
                let mut item = item_of(index, ReceiptState::Erased, ending);
                if own {
                    item.issued_at = entry.statement.issued_at;
                    item.audiences = match &body {
                        Some(body) => self.audiences(log, index, body, &mut erasing.batch)?,
                        // Nobody can say who had it: everybody owes a word.
                        None => vec![Audience::Federation.to_wire()],
                    };
                }
                push_item(&mut erasing.items, item);
                if let Some(body) = body {
                    self.unindex(log, index, &body, &mut erasing.postings)?;
                }
                erasing.held += 1;
            }
            BodyState::Absent | BodyState::Lost => {
                let mark = segment::run_key(log.number, index);
                erasing.batch.delete(Table::Absent, &mark);
                erasing.batch.delete(Table::Lost, &mark);
                if !own {
                    let item = item_of(index, ReceiptState::NeverHeld, ending);
                    push_item(&mut erasing.items, item);
                }
            }
            // By the owner's word it is for others. But it could have had the body
            // while an amendment was the newest, and a roster since it was issued
            // may have named this member among them.
            BodyState::NotForMe
                if self.amendment(log.number, index)?.is_some()
                    || (!own && self.may_owe(entry.statement.issued_at)) =>
            {
                let item = item_of(index, ReceiptState::NeverHeld, ending);
                push_item(&mut erasing.items, item);
            }
            BodyState::NotForMe | BodyState::Erased => return Ok(()),
        }
        let mark = segment::run_key(log.number, index);
        erasing.batch.delete(Table::Opaque, &mark);
        erasing.changes.insert(index.0, BodyState::Erased);
        Ok(())
    }

    pub(super) fn unindex(
        &self,
        log: &Log,
        index: LogIndex,
        body: &Body,
        postings: &mut PostingsBatch,
    ) -> Result<(), LedgerError> {
        if let Body::Element(element) = body {
            let key_of = |token_mac| PostingKey {
                token_mac,
                log: log.number,
                index,
            };
            let mac = self.token_mac(element.token_key_id, &element.token);
            postings.delete(&key_of(mac));
            if self.is_own(log) {
                postings.delete(&key_of(self.case_mac(&element.case_ref)));
                let log = log.number;
                self.forget_own(postings, OwnPlace { log, index })?;
            }
        }
        Ok(())
    }

    fn forget_own(&self, postings: &mut PostingsBatch, place: OwnPlace) -> Result<(), LedgerError> {
        let Some(held) = self.held_at(place)? else {
            return Ok(());
        };
        let kind = v1::ElementKind::try_from(held.kind).unwrap_or_default();
        let spaces = [
            (Pointer::Value, self.value_mac(kind, &held.canonical)),
            (Pointer::Row, self.row_mac(&held)),
        ];
        for (space, mac) in spaces {
            let points_here = self.0.postings.pointer(space, &mac)? == Some(place.encode());
            if points_here {
                postings.delete_pointer(space, &mac);
            }
        }
        Ok(())
    }

    /// Writes body runs again with some states changed, and destroys the old
    /// keys once the new runs are durable. `items` will be signed for.
    pub(super) fn change_states(
        &self,
        log: u32,
        changes: &BTreeMap<u64, BodyState>,
        mut batch: Batch,
        items: Vec<ErasedItem>,
    ) -> Result<(), LedgerError> {
        let old = self.stage_states(Table::Bodies, log, changes, &mut batch)?;
        self.commit_erasing(batch, log, items, &old)
    }

    /// Puts runs with some states changed into `batch`, each under a fresh shred
    /// key; returns the old keys.
    fn stage_states(
        &self,
        table: Table,
        log: u32,
        changes: &BTreeMap<u64, BodyState>,
        batch: &mut Batch,
    ) -> Result<Vec<SlotId>, LedgerError> {
        let mut old = vec![];
        let (Some(first), Some(last)) = (changes.keys().next(), changes.keys().next_back()) else {
            return Ok(old);
        };
        let (store, shred) = (&self.0.store, &self.0.shred);
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
                segment::put_run(batch, shred, table, log, start, &states)?;
            }
        }
        Ok(old)
    }

    /// Commits `batch`, then destroys the keys `old`, then says when, so that
    /// `items` can be signed for. A crash between is taken up at the next start.
    pub(super) fn commit_erasing(
        &self,
        mut batch: Batch,
        log: u32,
        items: Vec<ErasedItem>,
        old: &[SlotId],
    ) -> Result<(), LedgerError> {
        self.0.shred.sync()?;
        let Some((key, row)) = self.stage_row(&mut batch, log, items, old) else {
            return Ok(self.0.store.commit(batch)?);
        };
        self.0.store.commit(batch)?;
        self.finish_erasing(&key, row)
    }

    /// Puts into `batch` the row by which the keys `old` are destroyed, also
    /// after a crash; `None` when there is nothing to destroy or to sign for.
    pub(super) fn stage_row(
        &self,
        batch: &mut Batch,
        log: u32,
        items: Vec<ErasedItem>,
        old: &[SlotId],
    ) -> Option<(Vec<u8>, ErasedRow)> {
        if items.is_empty() && old.is_empty() {
            return None;
        }
        let row = ErasedRow {
            log,
            items,
            slots: old.iter().map(|slot| slot.0).collect(),
            erased_at: 0,
        };
        let key = row_key(self.0.erased_rows.0.fetch_add(1, Ordering::SeqCst)).to_vec();
        batch.put(Table::Receipts, &key, row.encode_to_vec());
        Some((key, row))
    }

    /// Destroys the keys of a row that is durable, and lets it be signed for.
    pub(super) fn finish_erasing(&self, key: &[u8], mut row: ErasedRow) -> Result<(), LedgerError> {
        let slots: Vec<SlotId> = row.slots.drain(..).map(SlotId).collect();
        if !slots.is_empty() {
            self.0.shred.destroy(&slots)?;
        }
        let mut batch = Batch::new();
        if row.items.is_empty() {
            batch.delete(Table::Receipts, key);
        } else {
            row.erased_at = self.0.clock.now().max(1);
            batch.put(Table::Receipts, key, row.encode_to_vec());
        }
        self.0.store.commit(batch)?;
        if !row.items.is_empty() {
            self.0.erased.send_modify(|n| *n += 1);
        }
        Ok(())
    }

    /// Goes on with erasures that were under way when the node stopped.
    pub(super) fn resume_erasing(&self) -> Result<(), LedgerError> {
        for (key, value) in self.0.store.scan(Table::Receipts, ROWS)? {
            let row = ErasedRow::decode(value).map_err(|_| StoreError::Damaged("erased row"))?;
            if row.erased_at == 0 {
                self.finish_erasing(&key, row)?;
            }
        }
        Ok(())
    }
}

/// What is to be signed for one ended body.
pub(super) fn item_of(index: LogIndex, state: ReceiptState, ending: Ending) -> ErasedItem {
    ErasedItem {
        range: Some(v1::IndexRange {
            start: index.0,
            end: index.0.saturating_add(1),
        }),
        state: state.into(),
        retracted_by: ending.retracted_by,
        reason: ending.reason.into(),
        decided_at: ending.decided_at,
        ..Default::default()
    }
}

/// Adds an item, as one with its neighbour when only their ranges differ.
pub(super) fn push_item(items: &mut Vec<ErasedItem>, item: ErasedItem) {
    if let (Some(last), Some(new)) = (items.last_mut(), item.range)
        && let Some(before) = last.range
        && before.end == new.start
    {
        let joined = v1::IndexRange {
            start: before.start,
            end: new.end,
        };
        let same = ErasedItem {
            range: Some(joined),
            ..last.clone()
        } == (ErasedItem {
            range: Some(joined),
            ..item.clone()
        });
        if same {
            last.range = Some(joined);
            return;
        }
    }
    items.push(item);
}
