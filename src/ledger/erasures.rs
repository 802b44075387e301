//! The report on what was erased of the own records log: which records, why,
//! when, and which members have confirmed it. It is made of signed entries
//! alone: the own erasures, and the receipts in the replicas of other logs.

use std::collections::HashMap;
use std::sync::PoisonError;

use super::log::Log;
use super::{Ledger, LedgerError, Range};
use crate::clock::UnixSeconds;
use crate::ids::{LogIndex, LogName, MemberId, Origin};
use crate::record::{Answer, Body, BodyType, Entry, Receipts, RetractReason};
use crate::store::StoreError;
use crate::wire::v1::{self, ConfirmationState, ErasedRange};

/// Seconds from the decision within which everybody erases and signs.
pub const LATE_S: i64 = 60;

/// Entries that are looked at in one go.
const BLOCK_ENTRIES: u64 = 4_096;

/// A range of own records that was erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// Which records.
    pub range: Range,
    /// The entry that retracted them; none when their retention end did.
    pub retracted_by: Option<LogIndex>,
    /// Why.
    pub reason: RetractReason,
    /// When it was retracted, or its retention end.
    pub decided_at: UnixSeconds,
    /// When this node had destroyed its keys.
    pub erased_at: UnixSeconds,
    /// Where this node's own erasure stands.
    pub entry: LogIndex,
    /// Whoever owes a receipt, by name.
    pub confirmations: Vec<Confirmation>,
}

impl Erasure {
    /// The message that tells it to officers and auditors.
    #[must_use]
    pub fn to_wire(&self) -> v1::Erasure {
        v1::Erasure {
            range: Some(v1::IndexRange {
                start: self.range.0,
                end: self.range.1,
            }),
            retracted_by: self.retracted_by.map(|at| at.0),
            reason: self.reason.into(),
            decided_at: self.decided_at,
            confirmations: self
                .confirmations
                .iter()
                .map(Confirmation::to_wire)
                .collect(),
            erased_at: self.erased_at,
            entry: self.entry.0,
            late: self.is_late(),
        }
    }

    /// Says whether this node took longer than it may.
    #[must_use]
    pub fn is_late(&self) -> bool {
        self.erased_at.saturating_sub(self.decided_at) > LATE_S
    }
}

/// What a member that owes a receipt has said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmation {
    /// The member.
    pub member: MemberId,
    /// Its receipt; none while it is pending.
    pub receipt: Option<Confirmed>,
    /// It took longer than it may, or does still.
    pub late: bool,
}

impl Confirmation {
    fn to_wire(&self) -> v1::Confirmation {
        let member = self.member.to_string();
        let Some(receipt) = &self.receipt else {
            return v1::Confirmation {
                member,
                state: ConfirmationState::Pending.into(),
                late: self.late,
                ..Default::default()
            };
        };
        let state = if receipt.held {
            ConfirmationState::Erased
        } else {
            ConfirmationState::NeverHeld
        };
        v1::Confirmation {
            member,
            state: state.into(),
            receipt_origin: receipt.origin.to_string(),
            receipt_index: receipt.index.0,
            at: receipt.at,
            late: self.late,
            receipts: receipt.places(),
        }
    }
}

/// That a whole erasure is covered by receipts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmed {
    /// The log in which the receipt stands that counts.
    pub origin: Origin,
    /// Where it stands; the last entry, if it takes several.
    pub index: LogIndex,
    /// Whether the member held any of the bodies.
    pub held: bool,
    /// When the member had erased them.
    pub at: UnixSeconds,
    /// Every receipt that says something about the erasure.
    pub all: Vec<(Origin, LogIndex)>,
}

impl Confirmed {
    fn of(member: &MemberId, own: &Origin, answer: Answer) -> Option<Self> {
        let (generation, index) = answer.place.filter(|_| answer.whole)?;
        let origin = |generation| Origin {
            member: member.clone(),
            generation,
            ..own.clone()
        };
        let places = answer.places.into_iter();
        Some(Self {
            origin: origin(generation),
            index,
            held: answer.held,
            at: answer.at,
            all: places.map(|(g, index)| (origin(g), index)).collect(),
        })
    }

    /// Every receipt, as it travels.
    #[must_use]
    pub fn places(&self) -> Vec<v1::ReceiptPlace> {
        let place = |(origin, index): &(Origin, LogIndex)| v1::ReceiptPlace {
            origin: origin.to_string(),
            index: index.0,
        };
        self.all.iter().map(place).collect()
    }
}

/// Where the receipts, or the own erasures, of one log stand.
#[derive(Debug, Default)]
pub(super) struct Proofs {
    seen_upto: u64,
    indices: Vec<LogIndex>,
}

impl Ledger {
    /// What was erased of the own records log, in the order in which it was
    /// signed. It reads every receipt that is here.
    ///
    /// # Errors
    /// [`LedgerError::Store`] or [`LedgerError::Shred`].
    pub fn erasures(&self) -> Result<Vec<Erasure>, LedgerError> {
        let own = self.own_log(LogName::Records);
        let signed = self.signed_about(&own.origin)?;
        let now = self.0.clock.now();
        let mut out = Vec::<Erasure>::new();
        for index in self.proofs_in(own, BodyType::Erasure)? {
            let Some(Body::Erasure(body)) = self.body(own.number, index)? else {
                continue;
            };
            for item in body.items {
                let Some(next) = erasure(&item, (&own.origin, index), &signed, now) else {
                    continue;
                };
                // One range that stands in several bodies, for want of room.
                match out.last_mut() {
                    Some(last)
                        if (last.range, last.decided_at, last.erased_at)
                            == (next.range, next.decided_at, next.erased_at) =>
                    {
                        last.confirmations.extend(next.confirmations);
                    }
                    _ => out.push(next),
                }
            }
        }
        Ok(out)
    }

    /// Where entries of a type stand in a log; every entry is looked at once.
    fn proofs_in(&self, log: &Log, wanted: BodyType) -> Result<Vec<LogIndex>, LedgerError> {
        let mut all = self.0.proofs.lock().unwrap_or_else(PoisonError::into_inner);
        let proofs = all.entry(log.number).or_default();
        let upto = log.head().bodies_upto;
        while proofs.seen_upto < upto {
            let end = upto.min(proofs.seen_upto + BLOCK_ENTRIES);
            let found = self.of_type(log, LogIndex(proofs.seen_upto), end, wanted)?;
            proofs.indices.extend(found);
            proofs.seen_upto = end;
        }
        Ok(proofs.indices.clone())
    }

    fn signed_about(&self, own: &Origin) -> Result<HashMap<MemberId, Receipts>, LedgerError> {
        let mut all = HashMap::<MemberId, Receipts>::new();
        let mut logs = self.logs();
        logs.sort_by_key(|log| log.origin.generation);
        for log in logs {
            if log.origin.log == LogName::Access || log.origin.member == self.0.own {
                continue;
            }
            for index in self.proofs_in(&log, BodyType::Receipt)? {
                if let Some(Body::Receipt(receipt)) = self.body(log.number, index)?
                    && receipt.origin == own.to_string()
                {
                    let end = index.0.saturating_add(1);
                    let entries = self.entries(log.number, index, end)?;
                    let entry = entries.into_iter().next().map(Entry::parse);
                    let Some(Ok(entry)) = entry else {
                        return Err(StoreError::Damaged("entry").into());
                    };
                    let signed = all.entry(log.origin.member.clone()).or_default();
                    let place = (log.origin.generation, index);
                    signed.add(place, entry.statement.issued_at, &receipt.items);
                }
            }
        }
        Ok(all)
    }
}

fn erasure(
    item: &ErasedRange,
    (own, entry): (&Origin, LogIndex),
    signed: &HashMap<MemberId, Receipts>,
    now: UnixSeconds,
) -> Option<Erasure> {
    let range = item.range.map(|r| (r.start, r.end))?;
    let confirmation = |name: &String| {
        let member = MemberId::new(name).ok()?;
        let answer = signed
            .get(&member)
            .map(|s| s.answer(range, item.decided_at));
        let receipt = answer.and_then(|answer| Confirmed::of(&member, own, answer));
        let at = receipt.as_ref().map_or(now, |receipt| receipt.at);
        let late = at.saturating_sub(item.decided_at) > LATE_S;
        Some(Confirmation {
            member,
            receipt,
            late,
        })
    };
    Some(Erasure {
        range,
        retracted_by: item.retracted_by.checked_sub(1).map(LogIndex),
        reason: item.reason(),
        decided_at: item.decided_at,
        erased_at: item.erased_at,
        entry,
        confirmations: item.owed.iter().filter_map(confirmation).collect(),
    })
}
