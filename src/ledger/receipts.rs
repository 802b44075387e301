//! Signing for what was erased: receipts for bodies of other members, and
//! erasures of own records with who owes a receipt for them.
//!
//! The rows of [`Table::Receipts`] say what was erased and is not signed for
//! yet. They go in the batch that appends the signed entries, so that each
//! ended body is signed for once, whenever the node stops.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use prost::Message;

use super::append::NewEntry;
use super::erase::ROWS;
use super::{Ledger, LedgerError, Standing};
use crate::clock::UnixSeconds;
use crate::ids::{LogName, MemberId, Origin, random};
use crate::record::{
    Audience, BODY_BYTES_MAX, Body, ENDED_ITEMS_MAX, ErasureBody, NO_END, ReceiptBody,
};
use crate::roster::{MemberRole, Roster};
use crate::store::{Batch, StoreError, Table};
use crate::wire::v1::{ErasedItem, ErasedRange, ErasedRow, IndexRange, ReceiptItem, ReceiptState};

/// Rows that are signed for in one batch.
const ROWS_MAX: usize = 4_096;

/// Members that one erased range names; more stand in further bodies.
const OWED_MAX: usize = 128;

/// The prefix, in [`Table::Receipts`], of logs that this node said it does not keep.
const DECLARED: &[u8] = b"n";

impl Ledger {
    /// A number that grows when there is something to be signed for.
    #[must_use]
    pub fn erased(&self) -> tokio::sync::watch::Receiver<u64> {
        self.0.erased.subscribe()
    }

    /// Signs and appends receipts and erasures for all that was erased and is
    /// not signed for; returns how many entries that took. `history` is every
    /// roster from version 1 on. While the own log is closed nothing happens.
    ///
    /// # Errors
    /// Any error of an append.
    pub fn write_receipts(&self, history: &[Arc<Roster>]) -> Result<u64, LedgerError> {
        let _receipting = self
            .0
            .receipting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut written = 0;
        while self.standing() == Standing::Open {
            let mut with = Batch::new();
            let mut by_log = BTreeMap::<u32, Vec<(ErasedItem, i64)>>::new();
            let mut rows = 0;
            for item in self.0.store.iter(Table::Receipts, ROWS).take(ROWS_MAX) {
                let (key, value) = item?;
                let row =
                    ErasedRow::decode(value).map_err(|_| StoreError::Damaged("erased row"))?;
                if row.erased_at == 0 {
                    continue;
                }
                rows += 1;
                with.delete(Table::Receipts, &key);
                let items = row.items.into_iter().map(|item| (item, row.erased_at));
                by_log.entry(row.log).or_default().extend(items);
            }
            if rows == 0 {
                break;
            }
            let mut bodies = vec![];
            for (log, mut items) in by_log {
                items.sort_by_key(|(item, _)| item.range.map_or(0, |r| r.start));
                if log == self.own_number() {
                    bodies.extend(erasure_bodies(&items, history, &self.0.own));
                } else if let Some(log) = self.log_by_number(log)
                    && !self.is_own(&log)
                {
                    bodies.extend(receipt_bodies(&log.origin, &items));
                }
            }
            written += bodies.len() as u64;
            self.append_signed(bodies, with)?;
        }
        Ok(written)
    }

    fn append_signed(&self, bodies: Vec<Body>, with: Batch) -> Result<(), LedgerError> {
        if bodies.is_empty() {
            return Ok(self.0.store.commit(with)?);
        }
        let entry = |body| NewEntry {
            body,
            expires_at: 0,
            private: None,
        };
        let entries = bodies.into_iter().map(entry).collect();
        self.append(LogName::Records, entries, with)?;
        Ok(())
    }

    /// Says, signed and once for each log, that this node keeps no replicas of
    /// `origins`: it holds no body of theirs and will not. With `replicates`,
    /// takes back what it said of that kind before.
    ///
    /// # Errors
    /// Any error of an append.
    pub fn declare_replicas(
        &self,
        origins: &[Origin],
        replicates: bool,
    ) -> Result<u64, LedgerError> {
        if self.standing() != Standing::Open {
            return Ok(0);
        }
        let mut with = Batch::new();
        let mut bodies = vec![];
        for origin in origins {
            let key = [DECLARED, origin.to_string().as_bytes()].concat();
            let declared = self.0.store.read(Table::Receipts, &key)?.is_some();
            if declared != replicates {
                continue;
            }
            if replicates {
                with.delete(Table::Receipts, &key);
                bodies.push(receipt(origin, vec![]));
                continue;
            }
            with.put(Table::Receipts, &key, vec![]);
            let item = ReceiptItem {
                range: Some(IndexRange {
                    start: 0,
                    end: NO_END,
                }),
                state: ReceiptState::NeverHeld.into(),
                retracted_by: 0,
                at: self.0.clock.now().max(0),
            };
            bodies.push(receipt(origin, vec![item]));
        }
        let count = bodies.len() as u64;
        if count > 0 {
            self.append_signed(bodies, with)?;
        }
        Ok(count)
    }
}

impl Ledger {
    /// Has everything signed for again that an own receipt says: it stood above
    /// the end of its log.
    pub(super) fn sign_again_for(
        &self,
        receipt: &ReceiptBody,
        batch: &mut Batch,
    ) -> Result<(), LedgerError> {
        let Ok(origin) = receipt.origin.parse::<Origin>() else {
            return Ok(());
        };
        let declared = [DECLARED, receipt.origin.as_bytes()].concat();
        if receipt.items.is_empty() {
            // It took back that no replica is kept, which stands again.
            batch.put(Table::Receipts, &declared, vec![]);
        }
        let number = self.replica(&origin)?.number;
        for item in &receipt.items {
            if item.range.is_some_and(|range| range.end == NO_END) {
                batch.delete(Table::Receipts, &declared);
                continue;
            }
            let again = ErasedItem {
                range: item.range,
                state: item.state,
                retracted_by: item.retracted_by,
                ..Default::default()
            };
            if let Some((key, mut row)) = self.stage_row(batch, number, vec![again], &[]) {
                row.erased_at = item.at.max(1);
                batch.put(Table::Receipts, &key, row.encode_to_vec());
            }
        }
        Ok(())
    }
}

fn receipt(origin: &Origin, items: Vec<ReceiptItem>) -> Body {
    Body::Receipt(ReceiptBody {
        nonce: random::<16>().to_vec().into(),
        origin: origin.to_string(),
        items,
    })
}

/// Receipts for sorted items of one log; neighbours that differ in time only
/// share an item, under the later time.
fn receipt_bodies(origin: &Origin, items: &[(ErasedItem, i64)]) -> Vec<Body> {
    let mut joined = Vec::<ReceiptItem>::new();
    for (item, at) in items {
        let Some(range) = item.range else { continue };
        let upto = joined
            .last()
            .and_then(|last| last.range)
            .map_or(0, |r| r.end);
        let start = range.start.max(upto);
        if start >= range.end {
            continue;
        }
        match joined.last_mut() {
            Some(last)
                if upto == start
                    && last.state == item.state
                    && last.retracted_by == item.retracted_by =>
            {
                last.range = last.range.map(|r| IndexRange {
                    end: range.end,
                    ..r
                });
                last.at = last.at.max(*at);
            }
            _ => joined.push(ReceiptItem {
                range: Some(IndexRange { start, ..range }),
                state: item.state,
                retracted_by: item.retracted_by,
                at: *at,
            }),
        }
    }
    let chunks = joined.chunks(ENDED_ITEMS_MAX);
    chunks.map(|some| receipt(origin, some.to_vec())).collect()
}

/// Erasures of own records; a range that too many members owe for stands in
/// several bodies, each with some of them.
fn erasure_bodies(
    items: &[(ErasedItem, i64)],
    history: &[Arc<Roster>],
    own: &MemberId,
) -> Vec<Body> {
    let mut joined = Vec::<ErasedRange>::new();
    for (item, at) in items {
        let Some(range) = item.range else { continue };
        let new = ErasedRange {
            range: Some(range),
            retracted_by: item.retracted_by,
            reason: item.reason,
            decided_at: item.decided_at,
            erased_at: *at,
            owed: owed(item, *at, history, own),
        };
        match joined.last_mut() {
            Some(last) if follows(last, &new) => {
                last.range = last.range.map(|r| IndexRange {
                    end: range.end,
                    ..r
                });
                last.erased_at = last.erased_at.max(*at);
            }
            _ => joined.push(new),
        }
    }
    let parts = joined.into_iter().flat_map(split_owed);
    let mut bodies: Vec<ErasureBody> = vec![];
    let mut bytes = 0;
    for part in parts {
        let size = part.encoded_len() + 4;
        let upto =
            |body: &ErasureBody| body.items.last().and_then(|i| i.range).map_or(0, |r| r.end);
        match bodies.last_mut() {
            Some(body)
                if body.items.len() < ENDED_ITEMS_MAX
                    && bytes + size < BODY_BYTES_MAX - 64
                    && part.range.is_some_and(|r| r.start >= upto(body)) =>
            {
                body.items.push(part);
                bytes += size;
            }
            _ => {
                bodies.push(ErasureBody {
                    nonce: random::<16>().to_vec().into(),
                    items: vec![part],
                });
                bytes = size;
            }
        }
    }
    bodies.into_iter().map(Body::Erasure).collect()
}

/// Says whether `next` stands right after `last` and differs in place and time only.
fn follows(last: &ErasedRange, next: &ErasedRange) -> bool {
    let touch = match (last.range, next.range) {
        (Some(last), Some(next)) => last.end == next.start,
        _ => false,
    };
    touch
        && last.retracted_by == next.retracted_by
        && last.reason == next.reason
        && last.decided_at == next.decided_at
        && last.owed == next.owed
}

fn split_owed(range: ErasedRange) -> Vec<ErasedRange> {
    if range.owed.len() <= OWED_MAX {
        return vec![range];
    }
    let some = |owed: &[String]| ErasedRange {
        owed: owed.to_vec(),
        ..range.clone()
    };
    range.owed.chunks(OWED_MAX).map(some).collect()
}

/// The members that may have received a record: bureaus and departments in one
/// of its audiences under a roster that was in force between its publication
/// and its erasure. Sorted; the owner is not among them.
fn owed(item: &ErasedItem, erased_at: i64, history: &[Arc<Roster>], own: &MemberId) -> Vec<String> {
    let audiences: Vec<Audience> = item
        .audiences
        .iter()
        .filter_map(|wire| Audience::from_wire(Some(wire.clone())).ok())
        .collect();
    let mut owed = std::collections::BTreeSet::new();
    for roster in in_force(history, item.issued_at, erased_at) {
        for member in roster.members.values() {
            let receives = matches!(member.role, MemberRole::Bureau | MemberRole::Department)
                && member.id != *own;
            if receives && audiences.iter().any(|audience| member.is_in(audience)) {
                owed.insert(member.id.to_string());
            }
        }
    }
    owed.into_iter().collect()
}

/// The rosters that were in force at some time between `from` and `to`.
pub(super) fn in_force(
    history: &[Arc<Roster>],
    from: UnixSeconds,
    to: UnixSeconds,
) -> impl Iterator<Item = &Roster> {
    let counts = move |(at, roster): (usize, &Arc<Roster>)| {
        let successor = history.get(at + 1);
        let over = successor.is_some_and(|next| next.issued_at < from);
        !over && (at == 0 || roster.issued_at <= to)
    };
    let at = history.iter().enumerate();
    at.filter(move |item| counts(*item))
        .map(|(_, roster)| &**roster)
}
