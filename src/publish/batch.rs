//! One batch of queued elements on its way to entries: which rows are new,
//! which tokens are known, which cases need a notice.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use prost::Message;

use super::PublishError;
use crate::cases::{Cases, case_ref};
use crate::clock;
use crate::element::{CANONICAL_RULES, Kind, Role, TokenClass, token_input};
use crate::ids::{CaseRef, KeyId, LogIndex, Token, random};
use crate::ledger::{Ledger, LedgerError, NewEntry, OwnPlace, QueueTicket, Queued};
use crate::oprf::Evaluation;
use crate::postings::Pointer;
use crate::record::{self, AmendBody, Audience, Body, CaseNoticeBody, ElementBody};
use crate::roster::Roster;
use crate::store::{Batch, StoreError};
use crate::wire::v1::{self, CaseRow, HeldElement, Purpose};

/// A value that custodians have to evaluate, and for which case.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) key: ValueKey,
    pub(super) input: Vec<u8>,
    pub(super) case_ref: CaseRef,
    pub(super) purpose: Purpose,
}

type ValueKey = (Kind, String);

/// What of a queued element is signed, decoded; its queue is never dropped in
/// silence, so what does not decode is an error.
struct Facts {
    kind: Kind,
    role: Role,
    case: CaseRef,
    audience: Audience,
}

impl Facts {
    fn of(held: &HeldElement) -> Result<Self, LedgerError> {
        let damaged = || StoreError::Damaged("queued element");
        Ok(Self {
            kind: Kind::from_wire(held.kind).ok_or_else(damaged)?,
            role: Role::from_wire(held.role).ok_or_else(damaged)?,
            case: CaseRef::from_slice(&held.case_ref).map_err(|_| damaged())?,
            audience: audience(held.audience.as_ref(), "queued element")?,
        })
    }

    fn value_key(&self, held: &HeldElement) -> ValueKey {
        (self.kind, held.canonical.clone())
    }
}

fn audience(wire: Option<&v1::Audience>, of: &'static str) -> Result<Audience, StoreError> {
    Audience::from_wire(wire.cloned()).map_err(|_| StoreError::Damaged(of))
}

#[derive(Clone, Debug)]
struct Known {
    token: Token,
    key_id: KeyId,
    n: Bytes,
}

/// A batch between queue and log.
#[derive(Debug)]
pub(super) struct Plan {
    ticket: QueueTicket,
    new: Vec<HeldElement>,
    notes: Vec<HeldElement>,
    amendments: Vec<(LogIndex, HeldElement)>,
    wanted: Vec<(TokenClass, Wanted)>,
    asked: HashSet<ValueKey>,
    tokens: HashMap<ValueKey, Known>,
    key_ids: HashMap<TokenClass, KeyId>,
    taken: usize,
    known: u64,
    unchanged: u64,
}

/// A batch that is ready to be appended.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) ticket: QueueTicket,
    pub(super) entries: Vec<NewEntry>,
    pub(super) notes: Vec<HeldElement>,
    pub(super) records: u64,
    pub(super) notices: u64,
    pub(super) amendments: u64,
    pub(super) known: u64,
    pub(super) unchanged: u64,
}

impl Plan {
    pub(super) fn new(
        queued: Queued,
        ledger: &Ledger,
        roster: &Roster,
    ) -> Result<Self, PublishError> {
        let mut plan = Self {
            ticket: queued.ticket,
            taken: queued.elements.len().max(1),
            new: vec![],
            notes: vec![],
            amendments: vec![],
            wanted: vec![],
            asked: HashSet::new(),
            tokens: HashMap::new(),
            key_ids: HashMap::new(),
            known: 0,
            unchanged: 0,
        };
        for class in [TokenClass::Enumerable, TokenClass::Open] {
            if let Some(key) = roster.token_key(class) {
                plan.key_ids.insert(class, key.id);
            }
        }
        let mut rows = HashMap::new();
        for held in queued.elements {
            plan.sort(held, ledger, &mut rows)?;
        }
        Ok(plan)
    }

    fn sort(
        &mut self,
        held: HeldElement,
        ledger: &Ledger,
        rows: &mut HashMap<[u8; 16], Place>,
    ) -> Result<(), PublishError> {
        let row = ledger.row_mac(&held);
        if held.note {
            // A refused row that is kept as it came has no identity.
            let kept = !held.canonical.is_empty()
                && (rows.insert(row, Place::Note).is_some()
                    || ledger
                        .postings()
                        .pointer(Pointer::Row, &row)
                        .map_err(LedgerError::from)?
                        .is_some());
            if kept {
                self.unchanged += 1;
            } else {
                self.notes.push(held);
            }
            return Ok(());
        }
        let facts = Facts::of(&held)?;
        let earlier = match rows.get(&row) {
            Some(Place::New(at)) => self.new.get_mut(*at),
            Some(Place::Amended(at)) => self.amendments.get_mut(*at).map(|(_, held)| held),
            Some(Place::Note) | None => None,
        };
        if let Some(earlier) = earlier {
            correct(earlier, held);
            self.unchanged += 1;
            return Ok(());
        }
        let before = ledger.postings().pointer(Pointer::Row, &row);
        if let Some(at) = place_of(before.map_err(LedgerError::from)?) {
            match ledger.element(at.log, at.index)? {
                Some(element) if same_attributes(&element.body, &held) => self.unchanged += 1,
                Some(_) if at.log == ledger.own_number() => {
                    rows.insert(row, Place::Amended(self.amendments.len()));
                    self.amendments.push((at.index, held));
                }
                // Nothing in a log of an earlier generation can be amended.
                Some(_) | None => {
                    rows.insert(row, Place::New(self.new.len()));
                    self.want(held, &facts, ledger)?;
                }
            }
            return Ok(());
        }
        rows.insert(row, Place::New(self.new.len()));
        self.want(held, &facts, ledger)
    }

    fn want(
        &mut self,
        held: HeldElement,
        facts: &Facts,
        ledger: &Ledger,
    ) -> Result<(), PublishError> {
        let key = facts.value_key(&held);
        let class = facts.kind.class();
        if !self.tokens.contains_key(&key) {
            if let Some(known) = self.known_token(&held, class, ledger)? {
                self.tokens.insert(key, known);
                self.known += 1;
            } else if self.asked.insert(key.clone()) {
                let wanted = Wanted {
                    input: token_input(facts.kind, &held.canonical),
                    key,
                    case_ref: facts.case,
                    purpose: held.purpose.clone().unwrap_or_default(),
                };
                self.wanted.push((class, wanted));
            }
        }
        self.new.push(held);
        Ok(())
    }

    fn known_token(
        &self,
        held: &HeldElement,
        class: TokenClass,
        ledger: &Ledger,
    ) -> Result<Option<Known>, PublishError> {
        let current = self.key_ids.get(&class);
        // An element that was published before, in a log that ended.
        if let (Ok(token), Ok(key_id)) = (
            Token::from_slice(&held.token),
            KeyId::from_slice(&held.token_key_id),
        ) && current == Some(&key_id)
        {
            let n = held.n.clone();
            return Ok(Some(Known { token, key_id, n }));
        }
        let mac = ledger.value_mac(held.kind(), &held.canonical);
        let before = ledger.postings().pointer(Pointer::Value, &mac);
        let Some(at) = place_of(before.map_err(LedgerError::from)?) else {
            return Ok(None);
        };
        let Some(other) = ledger.held_at(at)? else {
            return Ok(None);
        };
        let (Ok(token), Ok(key_id)) = (
            Token::from_slice(&other.token),
            KeyId::from_slice(&other.token_key_id),
        ) else {
            return Ok(None);
        };
        let same = other.kind == held.kind
            && other.canonical == held.canonical
            && current == Some(&key_id);
        Ok(same.then_some(Known {
            token,
            key_id,
            n: other.n,
        }))
    }

    /// What custodians will be asked for.
    pub(super) fn inputs(&self) -> HashSet<Vec<u8>> {
        let inputs = self.wanted.iter().map(|(_, wanted)| wanted.input.clone());
        inputs.collect()
    }

    pub(super) fn taken(&self) -> usize {
        self.taken
    }

    pub(super) fn take_wanted(&mut self, class: TokenClass) -> Vec<Wanted> {
        let (mine, rest) = std::mem::take(&mut self.wanted)
            .into_iter()
            .partition(|(of, _)| *of == class);
        self.wanted = rest;
        let mine: Vec<(TokenClass, Wanted)> = mine;
        mine.into_iter().map(|(_, wanted)| wanted).collect()
    }

    pub(super) fn learn(
        &mut self,
        class: TokenClass,
        wanted: &[Wanted],
        evaluated: Vec<Evaluation>,
    ) {
        let Some(key_id) = self.key_ids.get(&class).copied() else {
            return;
        };
        for (wanted, evaluation) in wanted.iter().zip(evaluated) {
            let known = Known {
                token: evaluation.token(),
                key_id,
                n: Bytes::copy_from_slice(evaluation.n()),
            };
            self.tokens.insert(wanted.key.clone(), known);
        }
    }

    /// Turns the batch into entries; case rows that change go into `with`.
    pub(super) fn entries(
        self,
        ledger: &Ledger,
        cases: &Cases,
        with: &mut Batch,
    ) -> Result<Ready, PublishError> {
        let mut ready = Ready {
            ticket: self.ticket,
            entries: vec![],
            notes: self.notes,
            records: 0,
            notices: 0,
            amendments: 0,
            known: self.known,
            unchanged: self.unchanged,
        };
        let mut notices = Notices {
            rows: HashMap::new(),
            changed: vec![],
        };
        for mut held in self.new {
            let facts = Facts::of(&held)?;
            let Some(known) = self.tokens.get(&facts.value_key(&held)) else {
                // A row without a token is never dropped: it was acknowledged.
                let missing = StoreError::Damaged("queued row without a token");
                return Err(LedgerError::from(missing).into());
            };
            notices.cover(ledger, cases, &held)?;
            let entry = element_entry(ledger, &mut held, facts, known);
            ready.entries.push(entry);
            ready.records += 1;
        }
        for (target, held) in self.amendments {
            if let Some(entry) = amend_entry(ledger, target, &held)? {
                notices.cover(ledger, cases, &held)?;
                ready.entries.push(entry);
                ready.amendments += 1;
            }
        }
        for case_no in notices.changed {
            if let Some(row) = notices.rows.get_mut(&case_no) {
                row.noticed = true;
                cases.stage(row, with)?;
                ready.entries.push(notice_entry(row)?);
                ready.notices += 1;
            }
        }
        Ok(ready)
    }
}

/// Where a row of a batch stands that came before.
enum Place {
    New(usize),
    Amended(usize),
    Note,
}

/// The same row again, queued before the first was published: what it says last counts.
fn correct(earlier: &mut HeldElement, later: HeldElement) {
    earlier.observed_on = later.observed_on;
    earlier.audience = later.audience;
    earlier.handling = later.handling;
    earlier.expires_at = later.expires_at;
}

/// The cases of a batch whose notice is missing or too narrow.
struct Notices {
    rows: HashMap<String, CaseRow>,
    changed: Vec<String>,
}

impl Notices {
    fn cover(
        &mut self,
        ledger: &Ledger,
        cases: &Cases,
        held: &HeldElement,
    ) -> Result<(), PublishError> {
        if !self.rows.contains_key(&held.case_no) {
            let mut row = cases.open_or_closed(&held.case_no)?;
            // Its notice may have stood in a log above the log's end.
            let case = case_ref(&row).map_err(LedgerError::from)?;
            row.noticed &= ledger.notice(ledger.own(), &case)?.is_some();
            self.rows.insert(held.case_no.clone(), row);
        }
        let Some(row) = self.rows.get_mut(&held.case_no) else {
            return Ok(());
        };
        let wanted = Facts::of(held)?.audience;
        let wider = if row.noticed {
            let before = audience(row.audience.as_ref(), "case row");
            before.map_err(LedgerError::from)?.union(&wanted)
        } else {
            wanted
        };
        let wire = Some(wider.to_wire());
        if !row.noticed || row.audience != wire {
            row.audience = wire;
            row.noticed = true;
            if !self.changed.contains(&held.case_no) {
                self.changed.push(held.case_no.clone());
            }
        }
        Ok(())
    }
}

fn place_of(pointer: Option<Vec<u8>>) -> Option<OwnPlace> {
    pointer.and_then(|bytes| OwnPlace::decode(&bytes))
}

/// Says whether a record has the attributes that a row asks for.
#[must_use]
pub fn same_attributes(body: &ElementBody, held: &HeldElement) -> bool {
    body.observed_on == held.observed_on
        && body.handling == held.handling
        && body.expires_at == held.expires_at
        && Audience::from_wire(held.audience.clone()).is_ok_and(|a| a == body.audience)
}

fn element_entry(ledger: &Ledger, held: &mut HeldElement, facts: Facts, known: &Known) -> NewEntry {
    let log = ledger.own_log(crate::ids::LogName::Records);
    let salt = random::<32>();
    let commitment = record::commitment(
        &salt,
        &log.origin.federation,
        &log.origin.member,
        &facts.case,
        facts.kind.as_str(),
        known.key_id,
        &known.token,
        &held.canonical,
    );
    held.salt = Bytes::copy_from_slice(&salt);
    held.n = known.n.clone();
    held.token = Bytes::copy_from_slice(known.token.as_bytes());
    held.token_key_id = Bytes::copy_from_slice(known.key_id.as_bytes());
    let body = ElementBody {
        nonce: random(),
        federation: log.origin.federation.clone(),
        member: log.origin.member.clone(),
        case_ref: facts.case,
        kind: facts.kind.to_wire(),
        token: known.token,
        token_key_id: known.key_id,
        commitment,
        role: facts.role.to_wire(),
        observed_on: held.observed_on,
        audience: facts.audience,
        handling: held.handling.clone(),
        expires_at: held.expires_at,
        canonical_rules: CANONICAL_RULES,
    };
    NewEntry {
        body: Body::Element(body),
        expires_at: held.expires_at,
        private: Some(held.encode_to_vec()),
    }
}

fn amend_entry(
    ledger: &Ledger,
    target: LogIndex,
    held: &HeldElement,
) -> Result<Option<NewEntry>, PublishError> {
    let Some(entry) = ledger.entry(ledger.own_number(), target)? else {
        return Ok(None);
    };
    let body = AmendBody {
        nonce: random(),
        target_index: target,
        target_leaf: entry.leaf_hash(),
        observed_on: held.observed_on,
        audience: Facts::of(held)?.audience,
        handling: held.handling.clone(),
        expires_at: held.expires_at,
    };
    Ok(Some(NewEntry {
        expires_at: body.expires_at,
        body: Body::Amend(body),
        private: None,
    }))
}

fn notice_entry(row: &CaseRow) -> Result<NewEntry, LedgerError> {
    let body = CaseNoticeBody {
        nonce: random(),
        case_ref: case_ref(row)?,
        category: on_one_line(&row.category, record::CATEGORY_BYTES_MAX),
        month: month_of(row.opened_on),
        desk: on_one_line(&row.contact, record::DESK_BYTES_MAX),
        expires_at: row.expires_at,
        audience: audience(row.audience.as_ref(), "case row")?,
    };
    Ok(NewEntry {
        expires_at: row.expires_at,
        body: Body::CaseNotice(body),
        private: None,
    })
}

/// Year and month of a day since 1970, as 202611; 0 for no day.
fn month_of(day: i32) -> u32 {
    if day == 0 {
        return 0;
    }
    let date = clock::date_of(day).filter(|date| (1900..=9999).contains(&date.year()));
    date.map_or(0, |date| {
        u32::try_from(date.year()).unwrap_or(0) * 100 + u32::from(u8::from(date.month()))
    })
}

/// A text as readers of a notice take it: without control characters, and cut
/// to `bytes_max`.
fn on_one_line(text: &str, bytes_max: usize) -> String {
    let mut out = String::new();
    for c in text.chars().map(|c| if c.is_control() { ' ' } else { c }) {
        if out.len() + c.len_utf8() > bytes_max {
            break;
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held() -> HeldElement {
        HeldElement {
            kind: Kind::Phone.to_wire() as i32,
            role: Role::Suspect.to_wire() as i32,
            case_ref: vec![1; 16].into(),
            audience: Some(Audience::Federation.to_wire()),
            ..Default::default()
        }
    }

    #[test]
    fn what_does_not_decode_is_damaged_and_never_signed() {
        let broken: [fn(&mut HeldElement); 6] = [
            |held| held.kind = 0,
            |held| held.kind = 9_999,
            |held| held.role = 0,
            |held| held.case_ref = vec![1; 15].into(),
            |held| held.audience = None,
            |held| held.audience = Some(v1::Audience::default()),
        ];
        for (at, break_it) in broken.into_iter().enumerate() {
            let mut held = held();
            break_it(&mut held);
            let refused = Facts::of(&held).map(|_| ());
            let damaged = |e: &LedgerError| matches!(e, LedgerError::Store(StoreError::Damaged(_)));
            assert!(refused.as_ref().is_err_and(damaged), "{at}: {refused:?}");
        }
        assert!(Facts::of(&held()).is_ok());
        for row in [
            CaseRow::default(),
            CaseRow {
                case_ref: vec![1; 16].into(),
                ..Default::default()
            },
        ] {
            assert!(notice_entry(&row).is_err(), "{row:?}");
        }
    }

    #[test]
    fn a_notice_of_any_case_row_is_one_that_readers_take() {
        for opened_on in [0, 1, 20_000, -800_000, i32::MAX, i32::MIN] {
            let row = CaseRow {
                case_no: "1".into(),
                case_ref: vec![1; 16].into(),
                category: "骗".repeat(300),
                contact: "王警官\n0551".repeat(100),
                opened_on,
                audience: Some(Audience::Federation.to_wire()),
                ..Default::default()
            };
            let body = notice_entry(&row).expect("a row that decodes").body;
            assert_eq!(body.check(), Ok(()), "{opened_on}");
        }
    }
}
