//! Feeding the derived index from bodies, and raising hits.
//!
//! A hit is found by whichever of its two bodies is indexed last, under one
//! lock, so that it is found once.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use prost::Message;

use super::log::{Log, OWN_RECORDS, OwnPlace};
use super::segment::BodyState;
use super::{Ledger, LedgerError};
use crate::ids::{CaseRef, KeyId, LogIndex, LogName, MemberId, Token};
use crate::postings::{Pointer, Posting, PostingsBatch};
use crate::record::{AmendBody, Body, BodyType, CaseNoticeBody, ElementBody};
use crate::store::{Batch, Store, StoreError, Table};
use crate::wire::v1;

/// Two cases of different members that hold the same token, one of them ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The number of the own log.
    pub own_log: u32,
    /// The own element record.
    pub own_index: LogIndex,
    /// The number of the other member's log.
    pub log: u32,
    /// The other member's element record.
    pub index: LogIndex,
    /// When both bodies were first here, in Unix seconds.
    pub raised_at: i64,
}

impl Hit {
    /// Where the own record stands.
    #[must_use]
    pub fn own(&self) -> OwnPlace {
        OwnPlace {
            log: self.own_log,
            index: self.own_index,
        }
    }
}

/// The next free key in the table of hits.
#[derive(Debug)]
pub(super) struct HitSequence(u64);

impl HitSequence {
    pub(super) fn open(store: &Store) -> Result<Self, StoreError> {
        let last = store.floor(Table::Hits, &u64::MAX.to_be_bytes(), 0)?;
        let last = last.and_then(|(key, _)| key.try_into().ok().map(u64::from_be_bytes));
        Ok(Self(last.map_or(0, |n| n + 1)))
    }
}

/// How bodies are indexed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Indexing {
    /// Up to where the log counts as indexed then; none for late bodies.
    position: Option<u64>,
    /// How many erasures there were before the bodies were stored or read.
    since: u64,
}

/// One element as the index is fed with it.
#[derive(Debug)]
pub struct IndexedElement {
    /// The token's key in the index.
    pub mac: [u8; 16],
    /// The record.
    pub index: LogIndex,
}

impl Ledger {
    /// The key in the index of a token under a token key.
    #[must_use]
    pub fn token_mac(&self, key_id: KeyId, token: &Token) -> [u8; 16] {
        self.0
            .seal
            .lookup("token", &[key_id.as_bytes(), token.as_bytes()])
    }

    /// The key in the index under which the own elements of a case stand.
    #[must_use]
    pub fn case_mac(&self, case: &CaseRef) -> [u8; 16] {
        self.0.seal.lookup("case-elements", &[case.as_bytes()])
    }

    fn notice_mac(&self, member: &MemberId, case: &CaseRef) -> [u8; 16] {
        self.0
            .seal
            .lookup("notice", &[member.as_str().as_bytes(), case.as_bytes()])
    }

    fn amend_mac(&self, log: u32, target: LogIndex) -> [u8; 16] {
        self.0
            .seal
            .lookup("amend", &[&log.to_be_bytes(), &target.0.to_be_bytes()])
    }

    /// The key under which an own record of this value is found.
    #[must_use]
    pub fn value_mac(&self, kind: v1::ElementKind, canonical: &str) -> [u8; 16] {
        let kind = [u8::try_from(kind as i32).unwrap_or(0)];
        self.0.seal.lookup("value", &[&kind, canonical.as_bytes()])
    }

    /// The key under which an own row (case number, kind, canonical value, role) is found.
    #[must_use]
    pub fn row_mac(&self, held: &v1::HeldElement) -> [u8; 16] {
        let marks = [
            u8::try_from(held.kind).unwrap_or(0),
            u8::try_from(held.role).unwrap_or(0),
        ];
        self.0.seal.lookup(
            "row",
            &[held.case_no.as_bytes(), &marks, held.canonical.as_bytes()],
        )
    }

    /// To be called before the bodies are stored or read that will be indexed.
    pub(super) fn indexing(&self, position: Option<u64>) -> Indexing {
        let since = self.0.erasures.load(Ordering::SeqCst);
        Indexing { position, since }
    }

    /// Indexes bodies of one log and raises the hits that they make.
    pub(super) fn index_bodies(
        &self,
        log: &Log,
        items: Vec<(LogIndex, Body)>,
        Indexing { position, since }: Indexing,
    ) -> Result<(), LedgerError> {
        let number = log.number;
        let mut batch = PostingsBatch::default();
        let (mut elements, mut amended) = (vec![], vec![]);
        let own = self.is_own(log);
        let late = position.is_none();
        if own {
            self.remember_audiences(log, &items)?;
        }
        let items = items.into_iter();
        let items = items.filter(|(_, body)| body.body_type().rules().indexed);
        for (index, body) in self.lasting(log, items.collect())? {
            match body {
                Body::Element(mut element) => {
                    if late && let Some(amend) = self.amendment(number, index)? {
                        element.observed_on = amend.observed_on;
                    }
                    elements.push(self.index_element(&mut batch, number, index, &element));
                    if own {
                        self.index_own(&mut batch, number, index, &element)?;
                    }
                }
                Body::CaseNotice(notice) => {
                    self.index_notice(&mut batch, log, (index, late), &notice)?;
                }
                Body::Amend(amend) => {
                    amended.extend(self.index_amend(&mut batch, log, (index, late), &amend)?);
                }
                // What is left is not indexed; retractions were applied.
                _ => {}
            }
        }
        if let Some(position) = position {
            batch.set_position(number, position);
        }
        let mut sequence = self
            .0
            .indexing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if self.0.erasures.load(Ordering::SeqCst) != since {
            self.drop_erased(log, &mut elements, &mut batch)?;
            self.drop_erased(log, &mut amended, &mut batch)?;
        }
        self.0.postings.apply(batch)?;
        let hits = self.meet(number, log, &elements)?;
        if !hits.is_empty() {
            self.keep_hits(&mut sequence, hits)?;
        }
        Ok(())
    }

    /// Takes out what was erased between its storing and its indexing: its
    /// posting would stay for good.
    fn drop_erased(
        &self,
        log: &Log,
        elements: &mut Vec<IndexedElement>,
        batch: &mut PostingsBatch,
    ) -> Result<(), LedgerError> {
        let mut held = Vec::with_capacity(elements.len());
        for element in elements.drain(..) {
            let states = self.body_states(log.number, element.index, element.index.0 + 1)?;
            if matches!(states.first(), Some(BodyState::Held(_))) {
                held.push(element);
            } else {
                batch.forget(log.number, element.index);
            }
        }
        *elements = held;
        Ok(())
    }

    /// Applies the retractions among `items`, and returns the bodies that no
    /// retraction ends: what ends within one batch must not be indexed after it.
    fn lasting(
        &self,
        log: &Log,
        items: Vec<(LogIndex, Body)>,
    ) -> Result<Vec<(LogIndex, Body)>, LedgerError> {
        let mut retracted = false;
        for (index, body) in &items {
            if let Body::Retract(retract) = body {
                self.end_bodies(log, *index, retract)?;
                retracted = true;
            }
        }
        if !retracted {
            return Ok(items);
        }
        let mut lasting = Vec::with_capacity(items.len());
        for (index, body) in items {
            if !self.is_ended(log.number, index)? {
                lasting.push((index, body));
            }
        }
        Ok(lasting)
    }

    fn index_element(
        &self,
        batch: &mut PostingsBatch,
        number: u32,
        index: LogIndex,
        element: &ElementBody,
    ) -> IndexedElement {
        let mac = self.token_mac(element.token_key_id, &element.token);
        batch.put(mac, &posting_of(number, index, element));
        IndexedElement { mac, index }
    }

    fn index_own(
        &self,
        batch: &mut PostingsBatch,
        number: u32,
        index: LogIndex,
        element: &ElementBody,
    ) -> Result<(), LedgerError> {
        let place = OwnPlace { log: number, index };
        batch.put(
            self.case_mac(&element.case_ref),
            &posting_of(number, index, element),
        );
        if let Some(held) = self.held_at(place)? {
            let at = place.encode();
            let kind = v1::ElementKind::try_from(held.kind).unwrap_or_default();
            batch.put_pointer(Pointer::Value, &self.value_mac(kind, &held.canonical), &at);
            batch.put_pointer(Pointer::Row, &self.row_mac(&held), &at);
        }
        Ok(())
    }

    fn index_notice(
        &self,
        batch: &mut PostingsBatch,
        log: &Log,
        (index, late): (LogIndex, bool),
        notice: &CaseNoticeBody,
    ) -> Result<(), LedgerError> {
        let mut at = log.number.to_be_bytes().to_vec();
        at.extend_from_slice(&index.0.to_be_bytes());
        let mac = self.notice_mac(&log.origin.member, &notice.case_ref);
        if !(late && self.points_past(Pointer::Notice, &mac, &at)?) {
            batch.put_pointer(Pointer::Notice, &mac, &at);
        }
        Ok(())
    }

    /// Says whether a pointer leads to something newer than `at`: what comes late
    /// does not take its place.
    fn points_past(&self, space: Pointer, mac: &[u8; 16], at: &[u8]) -> Result<bool, LedgerError> {
        let held = self.0.postings.pointer(space, mac)?;
        Ok(held.is_some_and(|held| held[..] > *at))
    }

    fn index_amend(
        &self,
        batch: &mut PostingsBatch,
        log: &Log,
        (index, late): (LogIndex, bool),
        amend: &AmendBody,
    ) -> Result<Option<IndexedElement>, LedgerError> {
        let number = log.number;
        if !self.amends(log, index, amend)? {
            return Ok(None);
        }
        let mac = self.amend_mac(number, amend.target_index);
        let at = index.0.to_be_bytes();
        if late && self.points_past(Pointer::Amend, &mac, &at)? {
            return Ok(None);
        }
        batch.put_pointer(Pointer::Amend, &mac, &at);
        if !self.is_own(log) {
            self.reopen_withheld(log, amend.target_index)?;
        }
        let Some(mut target) = self.element(number, amend.target_index)? else {
            return Ok(None);
        };
        target.body.observed_on = amend.observed_on;
        Ok(Some(self.index_element(
            batch,
            number,
            amend.target_index,
            &target.body,
        )))
    }

    /// An amendment speaks of an earlier element of its own log; one that does
    /// not is void.
    pub(super) fn amends(
        &self,
        log: &Log,
        index: LogIndex,
        amend: &AmendBody,
    ) -> Result<bool, LedgerError> {
        if amend.target_index >= index {
            return Ok(false);
        }
        let target = self.entry(log.number, amend.target_index)?;
        Ok(target.is_some_and(|entry| {
            entry.statement.body_type == BodyType::Element && entry.leaf_hash() == amend.target_leaf
        }))
    }

    fn meet(
        &self,
        number: u32,
        log: &Log,
        elements: &[IndexedElement],
    ) -> Result<Vec<Hit>, LedgerError> {
        let raised_at = self.0.clock.now();
        let mut hits = vec![];
        for element in elements {
            if self.is_own(log) {
                for other in self.0.postings.postings(&element.mac)? {
                    if self.is_foreign(other.log) {
                        hits.push(Hit {
                            own_log: number,
                            own_index: element.index,
                            log: other.log,
                            index: other.index,
                            raised_at,
                        });
                    }
                }
            } else {
                for own in self.own_postings(&element.mac)? {
                    hits.push(Hit {
                        own_log: own.log,
                        own_index: own.index,
                        log: number,
                        index: element.index,
                        raised_at,
                    });
                }
            }
        }
        Ok(hits)
    }

    fn is_foreign(&self, log: u32) -> bool {
        self.log_by_number(log)
            .is_some_and(|l| l.origin.member != self.0.own)
    }

    fn keep_hits(&self, sequence: &mut HitSequence, hits: Vec<Hit>) -> Result<(), LedgerError> {
        let mut batch = Batch::new();
        for some in hits.chunks(64) {
            let rows = v1::HitRows {
                hits: some
                    .iter()
                    .map(|h| v1::HitRow {
                        own_index: h.own_index.0,
                        own_log: h.own_log,
                        log: h.log,
                        index: h.index.0,
                        raised_at: h.raised_at,
                    })
                    .collect(),
            };
            batch.put(Table::Hits, &sequence.0.to_be_bytes(), rows.encode_to_vec());
            sequence.0 += 1;
        }
        self.0.store.commit(batch)?;
        Ok(())
    }

    /// All hits, in the order in which they were raised; each pair once. Hits
    /// whose body on either side has ended since are left out, and those of
    /// records that do not count (see [`super::RecordStanding`]).
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn hits(&self) -> Result<Vec<Hit>, LedgerError> {
        let mut seen = std::collections::HashSet::new();
        let mut out = vec![];
        let mut standings = self.record_standings();
        for item in self.0.store.iter(Table::Hits, b"") {
            let rows = v1::HitRows::decode(item?.1).map_err(|_| StoreError::Damaged("hit"))?;
            for row in rows.hits {
                let ended = self.is_ended(row.own_log, LogIndex(row.own_index))?
                    || self.is_ended(row.log, LogIndex(row.index))?;
                let counts = standings.of(row.own_log, LogIndex(row.own_index))?.counts()
                    && standings.of(row.log, LogIndex(row.index))?.counts();
                let pair = (row.own_log, row.own_index, row.log, row.index);
                if !ended && counts && seen.insert(pair) {
                    out.push(Hit {
                        own_log: row.own_log,
                        own_index: LogIndex(row.own_index),
                        log: row.log,
                        index: LogIndex(row.index),
                        raised_at: row.raised_at,
                    });
                }
            }
        }
        Ok(out)
    }

    /// The newest notice of a member's case that is here.
    ///
    /// # Errors
    /// [`LedgerError::Postings`] or [`LedgerError::Store`].
    pub fn notice(
        &self,
        member: &MemberId,
        case: &CaseRef,
    ) -> Result<Option<CaseNoticeBody>, LedgerError> {
        let mac = self.notice_mac(member, case);
        let Some(at) = self.0.postings.pointer(Pointer::Notice, &mac)? else {
            return Ok(None);
        };
        let (Some(log), Some(index)) = (
            at.get(..4)
                .and_then(|b| b.try_into().ok())
                .map(u32::from_be_bytes),
            at.get(4..)
                .and_then(|b| b.try_into().ok())
                .map(u64::from_be_bytes),
        ) else {
            return Ok(None);
        };
        match self.body(log, LogIndex(index))? {
            Some(Body::CaseNotice(notice)) => Ok(Some(notice)),
            _ => Ok(None),
        }
    }

    pub(super) fn amendment(
        &self,
        number: u32,
        target: LogIndex,
    ) -> Result<Option<AmendBody>, LedgerError> {
        let at = self
            .0
            .postings
            .pointer(Pointer::Amend, &self.amend_mac(number, target))?;
        let Some(index) = at.and_then(|b| b.try_into().ok()).map(u64::from_be_bytes) else {
            return Ok(None);
        };
        match self.body(number, LogIndex(index))? {
            Some(Body::Amend(amend)) if amend.target_index == target => Ok(Some(amend)),
            _ => Ok(None),
        }
    }

    /// Brings the index up to what the logs hold; after a crash, the tail.
    pub(super) fn catch_up_index(&self) -> Result<(), LedgerError> {
        if self.0.postings.position(OWN_RECORDS)? == 0 {
            // A lost or new index; notes are in no log, so no replay points at them.
            self.point_notes(&self.notes()?)?;
        }
        for log in self.logs() {
            if log.origin.log == LogName::Access {
                continue;
            }
            self.catch_up_log(&log)?;
        }
        Ok(())
    }

    /// Brings the index up to what one log holds.
    pub(super) fn catch_up_log(&self, log: &Log) -> Result<(), LedgerError> {
        self.settle_late(log)?;
        let upto = log.head().bodies_upto;
        let mut at = self.0.postings.position(log.number)?;
        while at < upto {
            let end = upto.min(at + 2_000);
            let indexing = self.indexing(Some(end));
            let items = self.decoded_bodies(log.number, LogIndex(at), end)?;
            self.index_bodies(log, items, indexing)?;
            at = end;
        }
        Ok(())
    }

    /// Takes a notice's pointer away, if it points at `index`.
    pub(super) fn unpoint_notice(
        &self,
        log: &Log,
        index: LogIndex,
        notice: &CaseNoticeBody,
        batch: &mut PostingsBatch,
    ) -> Result<(), LedgerError> {
        let mac = self.notice_mac(&log.origin.member, &notice.case_ref);
        let mut at = log.number.to_be_bytes().to_vec();
        at.extend_from_slice(&index.0.to_be_bytes());
        if self.0.postings.pointer(Pointer::Notice, &mac)? == Some(at) {
            batch.delete_pointer(Pointer::Notice, &mac);
        }
        Ok(())
    }

    /// Takes an amendment's pointer away, if it points at `index`.
    pub(super) fn unpoint_amend(
        &self,
        log: &Log,
        index: LogIndex,
        amend: &AmendBody,
        batch: &mut PostingsBatch,
    ) -> Result<(), LedgerError> {
        let mac = self.amend_mac(log.number, amend.target_index);
        let at = index.0.to_be_bytes().to_vec();
        if self.0.postings.pointer(Pointer::Amend, &mac)? == Some(at) {
            batch.delete_pointer(Pointer::Amend, &mac);
        }
        Ok(())
    }

    /// Drops the derived index and builds it again from the logs; returns the
    /// number of postings. Hits that were raised stay as they are.
    ///
    /// # Errors
    /// Any error of the store or the index.
    pub fn reindex(&self) -> Result<(), LedgerError> {
        self.0.postings.clear()?;
        self.catch_up_index()?;
        self.forget_postings()
    }
}

fn posting_of(log: u32, index: LogIndex, element: &ElementBody) -> Posting {
    Posting {
        log,
        index,
        kind: u8::try_from(element.kind as i32).unwrap_or(0),
        role: u8::try_from(element.role as i32).unwrap_or(0),
        day: element.observed_on,
        case_ref: element.case_ref,
    }
}
