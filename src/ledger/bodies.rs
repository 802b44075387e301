//! Bodies between members: what the audience may have of ours, and what we
//! accept of theirs. A body is accepted only when its hash is the one that an
//! already proven entry names.

use std::sync::PoisonError;

use bytes::Bytes;

use super::erase::{item_of, push_item};
use super::log::Log;
use super::opaque::Reading;
use super::segment::{self, BodyState};
use super::withheld::Withholding;
use super::{Ledger, LedgerError, Range};
use crate::ids::LogIndex;
use crate::record::{Body, BodyType, Entry, Readers, RecordError};
use crate::roster::{Member, MemberRole, Roster};
use crate::store::{Batch, StoreError, Table};
use crate::wire::v1::{self, BodyAnswer, ErasedItem, ReceiptState};

/// An answer about bodies that was checked.
#[derive(Debug, Default)]
struct Checked {
    states: Vec<BodyState>,
    decoded: Vec<(LogIndex, Body)>,
    /// What is newer than this version, or breaks a rule.
    opaque: Vec<(LogIndex, RecordError)>,
    /// What ended before it came here.
    never_held: Vec<ErasedItem>,
    /// The first body that is not the one that was signed.
    wrong: Option<LedgerError>,
}

/// Bodies that one answer may cover.
pub(crate) const BODY_ANSWERS_MAX: u64 = 2_048;

/// Who asks for bodies, and under which roster.
#[derive(Clone, Copy, Debug)]
pub struct BodyReader<'a> {
    /// The member that asks.
    pub member: &'a Member,
    /// The newest roster here.
    pub roster: &'a Roster,
}

/// What an answer about bodies added.
#[derive(Debug, Default)]
pub struct BodiesAccepted {
    /// Bodies that are now held; those that can be read are indexed.
    pub held: u64,
    /// Of those, bodies of a later version: they are not read.
    pub newer: u64,
    /// Of those, bodies that break a rule; their author is to blame.
    pub refused: u64,
    /// Bodies that the owner withholds from this node.
    pub not_for_me: u64,
    /// Bodies that the source does not have.
    pub absent: u64,
    /// Bodies that have ended.
    pub erased: u64,
    /// All bodies below this index have been answered for.
    pub upto: u64,
    /// The first body that is not the one that was signed: nothing of it is
    /// kept, and the source is to blame.
    pub wrong: Option<LedgerError>,
}

impl Ledger {
    /// Answers for the bodies [start, end) of a log, as far as `reader` may
    /// have them. Of own bodies outside the audience it says so, signed; of
    /// others' bodies, that they are absent.
    ///
    /// # Errors
    /// [`LedgerError::Store`] or [`LedgerError::Shred`].
    pub fn serve_bodies(
        &self,
        log: &Log,
        start: LogIndex,
        end: u64,
        reader: BodyReader<'_>,
    ) -> Result<v1::BodyChunk, LedgerError> {
        let end = end
            .min(log.size().0)
            .min(start.0.saturating_add(BODY_ANSWERS_MAX));
        let states = self.body_states(log.number, start, end)?;
        let entries = self.entries(log.number, start, end)?;
        let mut chunk = v1::BodyChunk {
            start: start.0,
            ..Default::default()
        };
        let (mut answers, mut withheld) = (vec![], Vec::<Range>::new());
        for ((at, state), entry) in (start.0..).zip(states).zip(entries) {
            let answer = match state {
                BodyState::Held(bytes) => {
                    let answer = self.may_have(log, LogIndex(at), entry, &bytes, reader)?;
                    if answer == BodyAnswer::Held {
                        chunk.bodies.push(bytes);
                    }
                    answer
                }
                BodyState::Erased => BodyAnswer::Erased,
                BodyState::Lost if self.is_own(log) => BodyAnswer::Lost,
                BodyState::NotForMe | BodyState::Absent | BodyState::Lost => BodyAnswer::Absent,
            };
            if answer == BodyAnswer::NotForYou {
                match withheld.last_mut() {
                    Some(last) if last.1 == at => last.1 = at + 1,
                    _ => withheld.push((at, at + 1)),
                }
            }
            answers.push(u8::try_from(answer as i32).unwrap_or(0));
        }
        chunk.answers = answers.into();
        if !withheld.is_empty() {
            chunk.withheld = Some(self.sign_withheld(log, &withheld, reader));
        }
        Ok(chunk)
    }

    pub(super) fn may_have(
        &self,
        log: &Log,
        index: LogIndex,
        entry: Bytes,
        bytes: &Bytes,
        reader: BodyReader<'_>,
    ) -> Result<BodyAnswer, LedgerError> {
        let outside = if self.is_own(log) {
            BodyAnswer::NotForYou
        } else {
            BodyAnswer::Absent
        };
        let Ok(entry) = Entry::parse(entry) else {
            return Ok(BodyAnswer::Absent);
        };
        if self.ending(log, index, &entry)?.is_some() {
            return Ok(BodyAnswer::Erased);
        }
        if reader.member.id == log.origin.member {
            return Ok(BodyAnswer::Held);
        }
        // Nobody can say whom a body is for that cannot be read here.
        let Reading::Read(body) = self.read_held(log.number, index, &entry, bytes)? else {
            return Ok(BodyAnswer::Absent);
        };
        let allowed = match body.body_type().rules().readers {
            Readers::Audience => {
                let member = reader.member;
                body.audience().is_some_and(|all| member.is_in(all))
                    || self
                        .amendment(log.number, index)?
                        .is_some_and(|amend| member.is_in(&amend.audience))
            }
            Readers::Everybody => true,
            Readers::Auditors => reader.member.role == MemberRole::Auditor,
            Readers::Nobody | Readers::Unknown => false,
        };
        Ok(if allowed { BodyAnswer::Held } else { outside })
    }

    /// Checks an answer about bodies of `log` and keeps what it carries. Each
    /// body is judged alone: one of a later version, or that breaks a rule, is
    /// kept unread; one that is not what was signed counts as absent. Blocks;
    /// the answer must start at or below the first unanswered body.
    ///
    /// # Errors
    /// [`LedgerError::Malformed`] when the answer as such makes no sense;
    /// nothing of it is kept then.
    pub fn accept_bodies(
        &self,
        log: &Log,
        author: &Member,
        chunk: v1::BodyChunk,
    ) -> Result<BodiesAccepted, LedgerError> {
        let writing = log.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.unforked(log, author)?;
        let mut head = log.head();
        let end = chunk.start.saturating_add(chunk.answers.len() as u64);
        let late = chunk.start < head.bodies_upto;
        let indexing = self.indexing((!late).then_some(end));
        let malformed = |what| LedgerError::Malformed {
            origin: log.origin.clone(),
            what,
        };
        if chunk.answers.len() as u64 > BODY_ANSWERS_MAX || end > head.size().0 {
            return Err(malformed("it answers for more bodies than were asked for"));
        }
        if late && !self.all_absent(log, chunk.start, end, head.bodies_upto)? {
            return Err(malformed("it answers for bodies that are not missing here"));
        }
        let withheld = self.check_withheld(log, author, &chunk)?;
        let Checked {
            states,
            decoded: fresh,
            opaque,
            never_held,
            wrong,
        } = self.checked_states(log, &chunk, &withheld)?;
        let mut accepted = BodiesAccepted {
            wrong,
            ..BodiesAccepted::default()
        };
        let mut batch = Batch::new();
        let answers = chunk.answers.iter();
        for ((at, state), answer) in (chunk.start..).zip(&states).zip(answers) {
            let mark = segment::run_key(log.number, LogIndex(at));
            if i32::from(*answer) == BodyAnswer::Lost as i32 && *state == BodyState::Absent {
                batch.put(Table::Lost, &mark, vec![]);
            }
            match state {
                BodyState::Held(_) => accepted.held += 1,
                BodyState::NotForMe => accepted.not_for_me += 1,
                BodyState::Absent => {
                    accepted.absent += 1;
                    batch.put(Table::Absent, &mark, vec![]);
                    continue;
                }
                BodyState::Erased | BodyState::Lost => accepted.erased += 1,
            }
            // A late body is missing until it is indexed; see `settle_late`.
            if late && !matches!(state, BodyState::Held(_)) {
                batch.delete(Table::Absent, &mark);
            }
            if late {
                batch.delete(Table::Lost, &mark);
            }
        }
        for (index, found) in &opaque {
            let newer = found.is_newer();
            accepted.newer += u64::from(newer);
            accepted.refused += u64::from(!newer);
            self.stage_opaque(&mut batch, (log.number, *index), found, None);
            batch.delete(Table::Absent, &segment::run_key(log.number, *index));
        }
        if late {
            let changes = (chunk.start..).zip(states).collect();
            self.change_states(log.number, &changes, batch, never_held)?;
        } else if chunk.start == head.bodies_upto {
            let start = LogIndex(chunk.start);
            let (shred, number) = (&self.0.shred, log.number);
            segment::put_bodies(&mut batch, shred, Table::Bodies, number, start, &states)?;
            head.bodies_upto = end;
            batch.put(Table::LogHead, &number.to_be_bytes(), head.encode());
            self.commit_erasing(batch, number, never_held, &[])?;
            log.advance(head.clone());
        } else {
            return Err(malformed("it leaves out bodies before it"));
        }
        drop(writing);
        if !opaque.is_empty() {
            self.recount_opaque(log.number);
        }
        let found: Vec<LogIndex> = fresh.iter().map(|(index, _)| *index).collect();
        self.index_bodies(log, fresh, indexing)?;
        if late {
            self.forget_absent(log.number, found.into_iter())?;
        }
        accepted.upto = head.bodies_upto.max(end);
        Ok(accepted)
    }

    fn forget_absent(
        &self,
        log: u32,
        indices: impl Iterator<Item = LogIndex>,
    ) -> Result<(), LedgerError> {
        let mut batch = Batch::new();
        indices.for_each(|at| batch.delete(Table::Absent, &segment::run_key(log, at)));
        Ok(self.0.store.commit(batch)?)
    }

    /// Indexes late bodies that were stored, but not indexed, when the node
    /// stopped: they still count as absent.
    pub(super) fn settle_late(&self, log: &Log) -> Result<(), LedgerError> {
        for (start, end) in self.absent(log, usize::MAX)? {
            let mut at = start;
            while at < end {
                let to = end.min(at + BODY_ANSWERS_MAX);
                let indexing = self.indexing(None);
                let late = self.decoded_bodies(log.number, LogIndex(at), to)?;
                if !late.is_empty() {
                    let found: Vec<LogIndex> = late.iter().map(|(index, _)| *index).collect();
                    self.index_bodies(log, late, indexing)?;
                    self.forget_absent(log.number, found.into_iter())?;
                }
                at = to;
            }
        }
        Ok(())
    }

    /// Says whether [start, end) was asked for before and lies open still.
    fn all_absent(
        &self,
        log: &Log,
        start: u64,
        end: u64,
        answered_upto: u64,
    ) -> Result<bool, LedgerError> {
        if end > answered_upto {
            return Ok(false);
        }
        let states = self.body_states(log.number, LogIndex(start), end)?;
        Ok(states.iter().all(|state| *state == BodyState::Absent))
    }

    fn checked_states(
        &self,
        log: &Log,
        chunk: &v1::BodyChunk,
        withheld: &Withholding,
    ) -> Result<Checked, LedgerError> {
        let malformed = |what| LedgerError::Malformed {
            origin: log.origin.clone(),
            what,
        };
        let mut checked = Checked::default();
        let end = chunk.start + chunk.answers.len() as u64;
        let entries = self.entries(log.number, LogIndex(chunk.start), end)?;
        let mut bodies = chunk.bodies.iter();
        for ((at, answer), entry) in (chunk.start..).zip(chunk.answers.iter()).zip(entries) {
            let index = LogIndex(at);
            let refuse = |source| LedgerError::Record {
                origin: log.origin.clone(),
                index,
                source,
            };
            let entry = Entry::parse(entry).map_err(|_| StoreError::Damaged("entry"))?;
            let answer = BodyAnswer::try_from(i32::from(*answer))
                .map_err(|_| malformed("it has an unknown answer"))?;
            let body = match answer {
                BodyAnswer::Held => {
                    let bytes = bodies
                        .next()
                        .ok_or_else(|| malformed("a body is missing"))?;
                    match entry.open_body(bytes) {
                        Err(source @ RecordError::OtherBody { .. }) => {
                            checked.wrong.get_or_insert_with(|| refuse(source));
                            None
                        }
                        opened => Some((opened, bytes)),
                    }
                }
                BodyAnswer::NotForYou => {
                    let state = withheld
                        .state_of(at)
                        .ok_or_else(|| malformed("a body is withheld without a signature"))?;
                    checked.states.push(state);
                    continue;
                }
                BodyAnswer::Absent | BodyAnswer::Erased | BodyAnswer::Lost => None,
                BodyAnswer::Unspecified => return Err(malformed("it has an empty answer")),
            };
            // An end counts when its retraction or date is known here; until
            // then the body is asked for again.
            let state = match (self.ending(log, index, &entry)?, body) {
                (Some(ending), _) => {
                    if !self.is_own(log) {
                        let item = item_of(index, ReceiptState::NeverHeld, ending);
                        push_item(&mut checked.never_held, item);
                    }
                    BodyState::Erased
                }
                (None, Some((Ok(body), bytes))) => {
                    checked.decoded.push((index, body));
                    BodyState::Held(bytes.clone())
                }
                (None, Some((Err(found), bytes))) => {
                    // What no log may hold is not kept, nor asked for again.
                    let state = match found {
                        RecordError::TooBig { .. } => BodyState::Absent,
                        _ => BodyState::Held(bytes.clone()),
                    };
                    checked.opaque.push((index, found));
                    state
                }
                (None, None) => BodyState::Absent,
            };
            checked.states.push(state);
        }
        if bodies.next().is_some() {
            return Err(malformed("it carries more bodies than it says"));
        }
        Ok(checked)
    }

    /// Bodies of a log that nobody asked so far had, as ranges, at most `max`.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn absent(&self, log: &Log, max: usize) -> Result<Vec<Range>, LedgerError> {
        self.absent_from(log, LogIndex(0), max)
    }

    /// The same, of the bodies from index `from` on.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn absent_from(
        &self,
        log: &Log,
        from: LogIndex,
        max: usize,
    ) -> Result<Vec<Range>, LedgerError> {
        let start = segment::run_key(log.number, from);
        let keys = self.0.store.iter_from(Table::Absent, &start, 4);
        let mut out = Vec::<Range>::new();
        for item in keys.take(max) {
            let (key, _) = item?;
            let at = key
                .get(4..)
                .and_then(|b| b.try_into().ok())
                .map_or(0, u64::from_be_bytes);
            match out.last_mut() {
                Some(last) if last.1 == at => last.1 = at + 1,
                _ => out.push((at, at + 1)),
            }
        }
        Ok(out)
    }

    /// Absent bodies whose turn it is to be asked for, at most `max`: those after
    /// what the call before gave, after the last ones the first again. So bodies
    /// that nobody has hold up no others.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn next_absent(&self, log: &Log, max: usize) -> Result<Vec<Range>, LedgerError> {
        let from = log.absent_turn();
        let mut ranges = self.absent_from(log, from, max)?;
        if ranges.is_empty() && from > LogIndex(0) {
            ranges = self.absent(log, max)?;
        }
        log.set_absent_turn(LogIndex(ranges.last().map_or(0, |last| last.1)));
        Ok(ranges)
    }

    /// Indices in [start, end) of a log whose entries are retractions: their
    /// bodies are fetched before any other.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn retractions(
        &self,
        log: &Log,
        start: LogIndex,
        end: u64,
    ) -> Result<Vec<LogIndex>, LedgerError> {
        self.of_type(log, start, end, BodyType::Retract)
    }

    /// Indices in [start, end) of a log whose entries name bodies of a type.
    pub(super) fn of_type(
        &self,
        log: &Log,
        start: LogIndex,
        end: u64,
        wanted: BodyType,
    ) -> Result<Vec<LogIndex>, LedgerError> {
        let entries = self.entries(log.number, start, end)?;
        let is_wanted =
            |bytes: Bytes| Entry::parse(bytes).is_ok_and(|e| e.statement.body_type == wanted);
        Ok((start.0..)
            .zip(entries)
            .filter(|(_, bytes)| is_wanted(bytes.clone()))
            .map(|(at, _)| LogIndex(at))
            .collect())
    }

    /// Applies the bodies of retractions ahead of their turn, so that what they
    /// end is not fetched. The bodies come again, and are kept, in their order,
    /// those that cannot be read too.
    ///
    /// # Errors
    /// [`LedgerError::Malformed`] when the answer as such makes no sense;
    /// [`LedgerError::Record`] when a body is not the one that was signed, once
    /// the others are applied.
    pub fn apply_early(&self, log: &Log, chunk: &v1::BodyChunk) -> Result<(), LedgerError> {
        let end = chunk.start.saturating_add(chunk.answers.len() as u64);
        if chunk.answers.len() as u64 > BODY_ANSWERS_MAX || end > log.size().0 {
            return Err(LedgerError::Malformed {
                origin: log.origin.clone(),
                what: "it answers for more bodies than were asked for",
            });
        }
        let checked = self.checked_states(log, chunk, &Withholding::of_all())?;
        for (at, body) in checked.decoded {
            if let Body::Retract(retract) = body {
                self.end_bodies(log, at, &retract)?;
            }
        }
        checked.wrong.map_or(Ok(()), Err)
    }
}
