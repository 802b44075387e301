//! Bodies that their owner withholds from this node, and those that this node
//! withholds from others: the signature that says so, and when a withheld body
//! is asked for again. An amendment may widen its audience; a newer roster may
//! put this member into another region or role.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use super::bodies::BodyReader;
use super::log::Log;
use super::receipts::in_force;
use super::segment::{self, BodyState};
use super::signers::key_of;
use super::{Ledger, LedgerError, Range};
use crate::clock::UnixSeconds;
use crate::ids::{KeyId, LogIndex, LogName, MemberId};
use crate::record;
use crate::roster::{Member, MemberRole, Roster};
use crate::store::{Batch, StoreError, Table};
use crate::wire::v1;

/// The key, in [`Table::Meta`], of the version of the roster up to which withheld
/// bodies were opened again.
const REOPENED: &[u8] = b"reopened";
/// Bodies that are opened again under one batch at most.
const BLOCK: u64 = 8_192;

/// What an owner signed that it withholds.
#[derive(Debug, Default)]
pub(super) struct Withholding {
    ranges: Vec<Range>,
    /// The owner went by a roster before the last one that moved this member, or
    /// by one that is not here yet.
    unsettled: bool,
}

impl Withholding {
    /// One that stands for everything, where withheld bodies are passed over.
    pub(super) fn of_all() -> Self {
        Self {
            ranges: vec![(0, u64::MAX)],
            unsettled: false,
        }
    }

    /// What to make of a body at `at` that is said to be withheld: an owner that
    /// went by another roster is asked again. `None` when nobody signed it.
    pub(super) fn state_of(&self, at: u64) -> Option<BodyState> {
        let signed = self.ranges.iter().any(|r| (r.0..r.1).contains(&at));
        signed.then_some(if self.unsettled {
            BodyState::Absent
        } else {
            BodyState::NotForMe
        })
    }
}

/// Says whether `ranges` are filled, sorted, apart, and those indices that the
/// chunk answers for as withheld, no more and no fewer.
fn covers(ranges: &[Range], chunk: &v1::BodyChunk) -> bool {
    let answers = (chunk.start..).zip(&chunk.answers);
    let mut withheld = answers
        .filter(|(_, answer)| i32::from(**answer) == v1::BodyAnswer::NotForYou as i32)
        .map(|(at, _)| at);
    let (mut upto, most) = (0, chunk.answers.len() as u64);
    for &(start, end) in ranges {
        if start >= end || start < upto || end - start > most {
            return false;
        }
        upto = end;
        if !(start..end).all(|at| withheld.next() == Some(at)) {
            return false;
        }
    }
    withheld.next().is_none()
}

/// What of a member decides, beside its name, which audiences it is in.
fn place_of<'a>(roster: &'a Roster, member: &MemberId) -> Option<(&'a str, MemberRole)> {
    let member = roster.member(member)?;
    Some((&member.region, member.role))
}

impl Ledger {
    fn versions(&self) -> Arc<Vec<Arc<Roster>>> {
        self.0
            .rosters
            .get()
            .map_or_else(Arc::default, |history| history.load_full())
    }

    /// The newest version of the roster that put this member into another region
    /// or role; 0 when none did.
    fn moved_at(&self) -> u64 {
        let versions = self.versions();
        let (mut moved, mut last) = (0, None);
        for roster in versions.iter() {
            let Some(place) = place_of(roster, &self.0.own) else {
                continue;
            };
            if last.is_some_and(|last| last != place) {
                moved = roster.version;
            }
            last = Some(place);
        }
        moved
    }

    /// Says whether a record that was issued at `issued_at`, and is withheld from
    /// this member, may have had it in its audience under some roster since.
    pub(super) fn may_owe(&self, issued_at: UnixSeconds) -> bool {
        let (versions, now) = (self.versions(), self.0.clock.now());
        let mut places: Vec<_> = in_force(&versions, issued_at, now)
            .filter_map(|roster| place_of(roster, &self.0.own))
            .collect();
        places.dedup();
        places.len() > 1
    }

    /// Asks again for all that owners withheld, when a newer roster than those
    /// they went by moved this member; returns how many bodies that are. Blocks.
    ///
    /// # Errors
    /// [`LedgerError::Store`] or [`LedgerError::Shred`]; call it again.
    pub fn reopen_after_move(&self) -> Result<u64, LedgerError> {
        let (store, moved) = (&self.0.store, self.moved_at());
        let damaged = || StoreError::Damaged("roster version");
        let done = match store.read(Table::Meta, REOPENED)? {
            Some(value) => u64::from_be_bytes((&value[..]).try_into().map_err(|_| damaged())?),
            None => 0,
        };
        if moved <= done {
            return Ok(0);
        }
        let mut opened = 0;
        for log in self.logs() {
            if log.origin.log == LogName::Records && !self.is_own(&log) {
                opened += self.reopen_log(&log)?;
            }
        }
        let mut batch = Batch::new();
        batch.put(Table::Meta, REOPENED, moved.to_be_bytes());
        store.commit(batch)?;
        Ok(opened)
    }

    fn reopen_log(&self, log: &Log) -> Result<u64, LedgerError> {
        let (mut at, mut opened) = (0, 0);
        while at < log.head().bodies_upto {
            let _writing = log.writing.lock().unwrap_or_else(PoisonError::into_inner);
            let end = log.head().bodies_upto.min(at + BLOCK);
            let withheld = segment::withheld(&self.0.store, log.number, LogIndex(at), end)?;
            opened += withheld.len() as u64;
            self.open_again(log, withheld)?;
            at = end;
        }
        Ok(opened)
    }

    /// Asks again for a body that was withheld: its amendment reached this node,
    /// so that its audience may have grown.
    pub(super) fn reopen_withheld(&self, log: &Log, index: LogIndex) -> Result<(), LedgerError> {
        let _writing = log.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let end = index.0.saturating_add(1);
        let withheld = segment::withheld(&self.0.store, log.number, index, end)?;
        self.open_again(log, withheld)
    }

    fn open_again(&self, log: &Log, indices: Vec<u64>) -> Result<(), LedgerError> {
        if indices.is_empty() {
            return Ok(());
        }
        let (mut batch, mut changes) = (Batch::new(), BTreeMap::new());
        for at in indices {
            let mark = segment::run_key(log.number, LogIndex(at));
            batch.put(Table::Absent, &mark, vec![]);
            changes.insert(at, BodyState::Absent);
        }
        self.change_states(log.number, &changes, batch, vec![])
    }

    /// Signs that the bodies in `ranges` are withheld from `reader`.
    pub(super) fn sign_withheld(
        &self,
        log: &Log,
        ranges: &[Range],
        reader: BodyReader<'_>,
    ) -> v1::Withheld {
        let version = reader.roster.version;
        let bytes = record::withheld_bytes(&log.origin, &reader.member.id, version, ranges);
        let key = self.speaking_key();
        v1::Withheld {
            roster_version: version,
            ranges: ranges
                .iter()
                .map(|&(start, end)| v1::IndexRange { start, end })
                .collect(),
            signature: Some(v1::Signature {
                key_id: key.id().as_bytes().to_vec().into(),
                signature: key.sign(&bytes).to_vec().into(),
            }),
        }
    }

    /// Checks the signature under which an owner withholds bodies.
    pub(super) fn check_withheld(
        &self,
        log: &Log,
        author: &Member,
        chunk: &v1::BodyChunk,
    ) -> Result<Withholding, LedgerError> {
        let malformed = |what| LedgerError::Malformed {
            origin: log.origin.clone(),
            what,
        };
        let Some(withheld) = &chunk.withheld else {
            return Ok(Withholding::default());
        };
        let ranges: Vec<Range> = withheld.ranges.iter().map(|r| (r.start, r.end)).collect();
        if !covers(&ranges, chunk) {
            return Err(malformed(
                "a withholding is not of the bodies that are answered as withheld",
            ));
        }
        let own: &MemberId = &self.0.own;
        let bytes = record::withheld_bytes(&log.origin, own, withheld.roster_version, &ranges);
        let key_id = withheld
            .signature
            .as_ref()
            .and_then(|s| KeyId::from_slice(&s.key_id).ok())
            .ok_or_else(|| malformed("a withholding is not signed"))?;
        let timeline = self.timeline_of(log, author);
        let at = LogIndex(log.size().0);
        let key = key_of(timeline.speaker(key_id), log, at, key_id)?;
        let signature = withheld.signature.as_ref().map(|s| s.signature.clone());
        key.verify(&bytes, &signature.unwrap_or_default())
            .map_err(|_| malformed("a withholding's signature is wrong"))?;
        let newest = self.versions().last().map(|roster| roster.version);
        let version = withheld.roster_version;
        Ok(Withholding {
            unsettled: version < self.moved_at() || newest.is_some_and(|newest| newest < version),
            ranges,
        })
    }
}
