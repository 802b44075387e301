//! One batch of queued elements on its way to entries: which rows are new,
//! which tokens are known, which cases need a notice.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use prost::Message;

use super::{PublishError, class_of};
use crate::cases::{Cases, case_ref};
use crate::element::{CANONICAL_RULES, Kind, TokenClass, token_input};
use crate::ids::{KeyId, LogIndex, Token, random};
use crate::ledger::{Ledger, NewEntry, OwnPlace, QueueTicket, Queued};
use crate::oprf::Evaluation;
use crate::postings::Pointer;
use crate::record::{self, AmendBody, Audience, Body, CaseNoticeBody, ElementBody, ElementRole};
use crate::roster::Roster;
use crate::store::{Batch, StoreError};
use crate::wire::v1::{CaseRow, ElementKind, HeldElement, Purpose};

/// A value that custodians have to evaluate, and for which case.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) key: ValueKey,
    pub(super) input: Vec<u8>,
    pub(super) case_ref: Bytes,
    pub(super) purpose: Purpose,
}

type ValueKey = (i32, String);

/// What readers take of a notice's texts, in bytes.
const CATEGORY_BYTES_MAX: usize = 256;
const DESK_BYTES_MAX: usize = 512;

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
        _cases: &Cases,
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
                        .map_err(crate::ledger::LedgerError::from)?
                        .is_some());
            if kept {
                self.unchanged += 1;
            } else {
                self.notes.push(held);
            }
            return Ok(());
        }
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
        if let Some(at) = place_of(before.map_err(crate::ledger::LedgerError::from)?) {
            match ledger.element(at.log, at.index)? {
                Some(element) if same_attributes(&element.body, &held) => self.unchanged += 1,
                Some(_) if at.log == ledger.own_number() => {
                    rows.insert(row, Place::Amended(self.amendments.len()));
                    self.amendments.push((at.index, held));
                }
                // Nothing in a log of an earlier generation can be amended.
                Some(_) | None => {
                    rows.insert(row, Place::New(self.new.len()));
                    self.want(held, ledger)?;
                }
            }
            return Ok(());
        }
        rows.insert(row, Place::New(self.new.len()));
        self.want(held, ledger)
    }

    fn want(&mut self, held: HeldElement, ledger: &Ledger) -> Result<(), PublishError> {
        let key = (held.kind, held.canonical.clone());
        let class = class_of(held.kind());
        if !self.tokens.contains_key(&key) {
            if let Some(known) = self.known_token(&held, class, ledger)? {
                self.tokens.insert(key, known);
                self.known += 1;
            } else {
                let kind = Kind::from_wire(held.kind);
                if let (Some(kind), true) = (kind, self.asked.insert(key.clone())) {
                    let wanted = Wanted {
                        input: token_input(kind, &held.canonical),
                        key,
                        case_ref: held.case_ref.clone(),
                        purpose: held.purpose.clone().unwrap_or_default(),
                    };
                    self.wanted.push((class, wanted));
                }
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
        let Some(at) = place_of(before.map_err(crate::ledger::LedgerError::from)?) else {
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
            let Some(known) = self.tokens.get(&(held.kind, held.canonical.clone())) else {
                // A row without a token is never dropped: it was acknowledged.
                let missing = StoreError::Damaged("queued row without a token");
                return Err(crate::ledger::LedgerError::from(missing).into());
            };
            notices.cover(ledger, cases, &held)?;
            ready.entries.push(element_entry(ledger, &mut held, known));
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
                ready.entries.push(notice_entry(row));
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
            row.noticed &= ledger.notice(ledger.own(), &case_ref(&row))?.is_some();
            self.rows.insert(held.case_no.clone(), row);
        }
        let Some(row) = self.rows.get_mut(&held.case_no) else {
            return Ok(());
        };
        let before = Audience::from_wire(row.audience.clone()).ok();
        let wanted = Audience::from_wire(held.audience.clone()).unwrap_or(Audience::Nobody);
        let wider = match before {
            Some(before) if row.noticed => before.union(&wanted),
            _ => wanted,
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

fn element_entry(ledger: &Ledger, held: &mut HeldElement, known: &Known) -> NewEntry {
    let log = ledger.own_log(crate::ids::LogName::Records);
    let salt = random::<32>();
    let case =
        crate::ids::CaseRef::from_slice(&held.case_ref).unwrap_or(crate::ids::CaseRef([0; 16]));
    let kind_name = Kind::from_wire(held.kind).map_or("", Kind::as_str);
    let commitment = record::commitment(
        &salt,
        &log.origin.federation,
        &log.origin.member,
        &case,
        kind_name,
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
        case_ref: case,
        kind: ElementKind::try_from(held.kind).unwrap_or_default(),
        token: known.token,
        token_key_id: known.key_id,
        commitment,
        role: ElementRole::try_from(held.role).unwrap_or_default(),
        observed_on: held.observed_on,
        audience: Audience::from_wire(held.audience.clone()).unwrap_or(Audience::Nobody),
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
        audience: Audience::from_wire(held.audience.clone()).unwrap_or(Audience::Nobody),
        handling: held.handling.clone(),
        expires_at: held.expires_at,
    };
    Ok(Some(NewEntry {
        expires_at: body.expires_at,
        body: Body::Amend(body),
        private: None,
    }))
}

fn notice_entry(row: &CaseRow) -> NewEntry {
    let body = CaseNoticeBody {
        nonce: random(),
        case_ref: case_ref(row),
        category: on_one_line(&row.category, CATEGORY_BYTES_MAX),
        month: month_of(row.opened_on),
        desk: on_one_line(&row.contact, DESK_BYTES_MAX),
        expires_at: row.expires_at,
        audience: Audience::from_wire(row.audience.clone()).unwrap_or(Audience::Nobody),
    };
    NewEntry {
        expires_at: row.expires_at,
        body: Body::CaseNotice(body),
        private: None,
    }
}

/// Year and month of a day since 1970, as 202611; 0 for no day.
fn month_of(day: i32) -> u32 {
    if day == 0 {
        return 0;
    }
    let date = day
        .checked_add(2_440_588)
        .and_then(|day| time::Date::from_julian_day(day).ok())
        .filter(|date| (1900..=9999).contains(&date.year()));
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
            let body = notice_entry(&row).body;
            assert_eq!(body.check(), Ok(()), "{opened_on}");
        }
    }
}
