//! Finding: what other members' cases share with a case here, and which cases
//! of a region belong together. Answers come from the replicas, so they are
//! partial in the open: every answer names the age of each replica.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use crate::blame::{Blame, Blamed};
use crate::cases::{CaseError, Cases, case_ref};
use crate::clock::Stopwatch;
use crate::element::{Kind, Refusal, Role, Rules, canonicalize};
use crate::ids::{CaseRef, MemberId};
use crate::ledger::{Hit, Ledger, LedgerError, OwnPlace, RecordStanding, Standings};
use crate::links::{Analysis, CaseKey, Facts, Filter, Options, Report, TokenGroup};
use crate::postings::Posting;
use crate::roster::Roster;
use crate::wire::v1::{self, CaseRow, ElementSpec, HeldElement, QueryMatch};

/// Matches that one answer carries.
pub const MATCHES_MAX: usize = 5_000;
/// How old the count of all cases may be, in seconds.
const TOTAL_FRESH_S: f64 = 10.0;

/// Why a query was refused.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// The case does not allow it.
    #[error(transparent)]
    Case(#[from] CaseError),
    /// The element is not one of that case's.
    #[error("{kind} is not an element of case {case_no:?}")]
    NotInCase {
        /// The case.
        case_no: String,
        /// The element's kind.
        kind: String,
    },
    /// The element is not a value of its kind.
    #[error("{0}")]
    Element(Refusal),
    /// No such kind.
    #[error("{0:?} is not a kind of element")]
    Kind(String),
    /// The purpose lacks an offence or a reason.
    #[error("a query needs an offence and a reason, of at most 2,048 bytes together")]
    NoPurpose,
    /// An element stands in a generation of the own log that the roots ended.
    #[error(
        "an element stands in an earlier generation of the log, where nothing can be retracted"
    )]
    Ended,
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl From<crate::postings::PostingsError> for FindError {
    fn from(e: crate::postings::PostingsError) -> Self {
        Self::Ledger(e.into())
    }
}

impl Blamed for FindError {
    fn blame(&self) -> Blame {
        match self {
            Self::Case(e) => e.blame(),
            Self::NotInCase { .. } | Self::NoPurpose | Self::Ended => Blame::Denied,
            Self::Element(_) | Self::Kind(_) => Blame::Misbehaved,
            Self::Ledger(e) => e.blame(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Case(e) => e.code(),
            Self::NotInCase { .. } => "query.not_in_case",
            Self::Element(_) => "query.bad_element",
            Self::Kind(_) => "query.unknown_kind",
            Self::NoPurpose => "query.no_purpose",
            Self::Ended => "query.ended",
            Self::Ledger(e) => e.code(),
        }
    }
}

/// Answers queries from the replicas. Clones share it.
#[derive(Clone, Debug)]
pub struct Finder {
    ledger: Ledger,
    cases: Cases,
    roster: Arc<ArcSwap<Roster>>,
    rules: Rules,
    total: Arc<Mutex<Option<(Stopwatch, u64)>>>,
}

/// The answer to a query for one case.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Elements of the case that were asked for.
    pub asked: u64,
    /// Matches, the rarest first.
    pub matches: Vec<QueryMatch>,
    /// Matches over [`MATCHES_MAX`].
    pub left_out: u64,
}

impl Finder {
    /// Makes a finder over a node's replicas and case table.
    #[must_use]
    pub fn new(ledger: Ledger, cases: Cases, roster: Arc<ArcSwap<Roster>>, rules: Rules) -> Self {
        Self {
            ledger,
            cases,
            roster,
            rules,
            total: Arc::default(),
        }
    }

    /// The rules under which values are made canonical here.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The own records of `case`'s elements that `specs` name; of all when
    /// `specs` is empty.
    ///
    /// # Errors
    /// [`FindError::NotInCase`] for an element that is not in the case.
    pub fn elements(
        &self,
        row: &CaseRow,
        specs: &[ElementSpec],
    ) -> Result<Vec<Posting>, FindError> {
        let own = self
            .ledger
            .own_postings(&self.ledger.case_mac(&case_of(row)?))?;
        if specs.is_empty() {
            return Ok(own);
        }
        let mut out = vec![];
        for spec in specs {
            let (kind, canonical) = self.canonical(spec)?;
            let mut found = false;
            for role in Role::ALL {
                let held = HeldElement {
                    kind: kind.to_wire() as i32,
                    role: role.to_wire() as i32,
                    canonical: canonical.clone(),
                    case_no: row.case_no.clone(),
                    ..Default::default()
                };
                if let Some(posting) = self.own_row(&own, &held)? {
                    out.push(posting);
                    found = true;
                }
            }
            if !found {
                return Err(FindError::NotInCase {
                    case_no: row.case_no.clone(),
                    kind: kind.as_str().to_owned(),
                });
            }
        }
        Ok(out)
    }

    fn own_row(&self, own: &[Posting], held: &HeldElement) -> Result<Option<Posting>, FindError> {
        let mac = self.ledger.row_mac(held);
        let pointer = self
            .ledger
            .postings()
            .pointer(crate::postings::Pointer::Row, &mac)?;
        let place = pointer.and_then(|bytes| OwnPlace::decode(&bytes));
        Ok(own.iter().find(|p| Some(place_of(p)) == place).cloned())
    }

    /// Makes the value of an element canonical.
    ///
    /// # Errors
    /// [`FindError::Kind`] or [`FindError::Element`].
    pub fn canonical(&self, spec: &ElementSpec) -> Result<(Kind, String), FindError> {
        let kind = Kind::parse(&spec.kind).ok_or_else(|| FindError::Kind(spec.kind.clone()))?;
        let qualifier = (!spec.qualifier.is_empty()).then_some(spec.qualifier.as_str());
        let canonical =
            canonicalize(kind, &spec.value, qualifier, &self.rules).map_err(FindError::Element)?;
        Ok((kind, canonical.value))
    }

    /// Picks held elements of a case that have no record yet; with `specs`, those only.
    ///
    /// # Errors
    /// [`FindError::Kind`] or [`FindError::Element`].
    pub fn waiting(
        &self,
        row: &CaseRow,
        specs: &[ElementSpec],
    ) -> Result<impl Fn(&HeldElement) -> bool + use<>, FindError> {
        let mut named = vec![];
        for spec in specs {
            let (kind, canonical) = self.canonical(spec)?;
            named.push((kind.to_wire() as i32, canonical, spec.value.clone()));
        }
        let case_no = row.case_no.clone();
        Ok(move |held: &HeldElement| {
            let is_named = |(kind, canonical, raw): &(i32, String, String)| {
                held.kind == *kind && (held.canonical == *canonical || held.raw == *raw)
            };
            held.case_no == case_no && (named.is_empty() || named.iter().any(is_named))
        })
    }

    /// Which cases of other members share elements with an open case here.
    ///
    /// # Errors
    /// [`FindError`]; nothing was looked up then.
    pub fn query(&self, case_no: &str, specs: &[ElementSpec]) -> Result<Found, FindError> {
        let row = self.cases.open_case(case_no)?;
        let own = self.elements(&row, specs)?;
        let mut found = Found {
            asked: own.len() as u64,
            ..Default::default()
        };
        let mut seen = Seen {
            notices: HashMap::new(),
            standings: self.ledger.record_standings(),
        };
        let total = self.total_cases()?;
        for posting in seen.standings.counting(own)? {
            self.match_one(&posting, total, &mut seen, &mut found)?;
        }
        found.matches.sort_by(|a, b| {
            b.rarity
                .total_cmp(&a.rarity)
                .then_with(|| a.member.cmp(&b.member))
                .then_with(|| a.case_ref.cmp(&b.case_ref))
                .then_with(|| a.value.cmp(&b.value))
        });
        if found.matches.len() > MATCHES_MAX {
            found.left_out = (found.matches.len() - MATCHES_MAX) as u64;
            found.matches.truncate(MATCHES_MAX);
        }
        Ok(found)
    }

    fn match_one(
        &self,
        own: &Posting,
        total: u64,
        seen: &mut Seen<'_>,
        found: &mut Found,
    ) -> Result<(), FindError> {
        let Some(element) = self.ledger.element(own.log, own.index)? else {
            return Ok(());
        };
        let mac = self
            .ledger
            .token_mac(element.body.token_key_id, &element.body.token);
        let all = self.ledger.postings().postings(&mac)?;
        let all = seen.standings.counting(all)?;
        let with_token = distinct_cases(&all);
        let mut value = None;
        for other in all {
            let Some(key) = self.foreign_case(&other) else {
                continue;
            };
            let value = match &value {
                Some(value) => value,
                None => value.insert(
                    self.ledger
                        .held_at(place_of(own))?
                        .map_or_else(String::new, |h| h.raw),
                ),
            };
            let Noticed { case, month } = self.noticed(&key, &mut seen.notices)?;
            let leaf = self
                .ledger
                .entry(other.log, other.index)?
                .map(|e| e.leaf_hash());
            found.matches.push(QueryMatch {
                kind: kind_name(other.kind).into(),
                value: value.clone(),
                member: key.member.to_string(),
                case_ref: key.case.as_bytes().to_vec().into(),
                category: case.category,
                role: Role::from_wire(i32::from(other.role))
                    .map_or("", Role::as_str)
                    .into(),
                month,
                contact: case.contact,
                cases_with_token: u32::try_from(with_token).unwrap_or(u32::MAX),
                rarity: rarity(total, with_token),
                status: seen.standings.of(other.log, other.index)?.as_str().into(),
                leaf: leaf.map(|d| d.0.to_vec().into()).unwrap_or_default(),
            });
        }
        Ok(())
    }

    fn foreign_case(&self, posting: &Posting) -> Option<CaseKey> {
        let log = self.ledger.log_by_number(posting.log)?;
        (log.origin.member != *self.ledger.own()).then(|| CaseKey {
            member: log.origin.member.clone(),
            case: posting.case_ref,
        })
    }

    /// What the newest notice says of a case of another member.
    ///
    /// # Errors
    /// [`FindError::Ledger`].
    pub fn describe(
        &self,
        key: &CaseKey,
        seen: &mut HashMap<CaseKey, Noticed>,
    ) -> Result<v1::LinkedCase, FindError> {
        Ok(self.noticed(key, seen)?.case)
    }

    fn noticed(
        &self,
        key: &CaseKey,
        seen: &mut HashMap<CaseKey, Noticed>,
    ) -> Result<Noticed, FindError> {
        if let Some(noticed) = seen.get(key) {
            return Ok(noticed.clone());
        }
        let notice = self.ledger.notice(&key.member, &key.case)?;
        let month = notice.as_ref().map_or(0, |n| n.month);
        let case = v1::LinkedCase {
            member: key.member.to_string(),
            case_ref: key.case.as_bytes().to_vec().into(),
            category: notice
                .as_ref()
                .map_or_else(String::new, |n| n.category.clone()),
            contact: notice.map_or_else(String::new, |n| n.desk),
        };
        let noticed = Noticed { case, month };
        seen.insert(key.clone(), noticed.clone());
        Ok(noticed)
    }

    /// Cases of all members whose notices are here; rarity is relative to it.
    /// Counting walks all of them, so the count may be some seconds old.
    ///
    /// # Errors
    /// [`FindError::Ledger`].
    pub fn total_cases(&self) -> Result<u64, FindError> {
        let mut total = self.total.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((counted, total)) = &*total
            && counted.seconds() < TOTAL_FRESH_S
        {
            return Ok(*total);
        }
        let count = self
            .ledger
            .postings()
            .count_pointers(crate::postings::Pointer::Notice)?;
        *total = Some((Stopwatch::start(), count));
        Ok(count)
    }

    /// The hits of the own cases, or of one of them, oldest first.
    ///
    /// # Errors
    /// [`FindError`].
    pub fn hits(&self, case_no: Option<&str>) -> Result<Vec<(Hit, CaseRef)>, FindError> {
        let wanted = match case_no {
            Some(case_no) => Some(case_of(&self.cases.open_case(case_no)?)?),
            None => None,
        };
        let mut out = vec![];
        for hit in self.ledger.hits()? {
            let Some(own) = self.ledger.element(hit.own_log, hit.own_index)? else {
                continue;
            };
            let case = own.body.case_ref;
            if wanted.is_none_or(|w| w == case) {
                out.push((hit, case));
            }
        }
        Ok(out)
    }

    /// One hit in words, for the officer whose case it concerns.
    ///
    /// # Errors
    /// [`FindError`].
    pub fn hit_line(
        &self,
        hit: &Hit,
        case: &CaseRef,
        seen: &mut HashMap<CaseKey, Noticed>,
    ) -> Result<Option<v1::HitLine>, FindError> {
        let Some(theirs) = self.ledger.element(hit.log, hit.index)? else {
            return Ok(None);
        };
        let mac = self
            .ledger
            .token_mac(theirs.body.token_key_id, &theirs.body.token);
        let all = self.ledger.postings().postings(&mac)?;
        let mut standings = self.ledger.record_standings();
        let with_token = distinct_cases(&standings.counting(all)?);
        let standing = standings.of(hit.log, hit.index)?;
        let key = CaseKey {
            member: theirs.body.member.clone(),
            case: theirs.body.case_ref,
        };
        let described = self.describe(&key, seen)?;
        let row = self.cases.by_ref(case)?;
        let held = self.ledger.held_at(hit.own())?;
        Ok(Some(v1::HitLine {
            case_no: row.map_or_else(String::new, |r| r.case_no),
            kind: kind_name(u8::try_from(theirs.body.kind as i32).unwrap_or(0)).into(),
            value: held.map_or_else(String::new, |h| h.raw),
            member: described.member,
            case_ref: described.case_ref,
            category: described.category,
            contact: described.contact,
            raised_at: hit.raised_at,
            cases_with_token: u32::try_from(with_token).unwrap_or(u32::MAX),
            status: standing.as_str().into(),
        }))
    }

    /// Which cases belong together, within an operation and a narrower filter;
    /// and how many of the records looked at are provisional.
    ///
    /// # Errors
    /// [`FindError::Case`] when the operation does not allow it.
    pub fn links(
        &self,
        operation: &str,
        filter: &Filter,
        options: Options,
    ) -> Result<(Report, u64), FindError> {
        let row = self.cases.open_operation(operation)?;
        let roster = self.roster.load_full();
        let regions: HashMap<MemberId, String> = roster
            .members
            .values()
            .map(|m| (m.id.clone(), m.region.clone()))
            .collect();
        let bounds = bounds_of(&row);
        let by_category = !filter.categories.is_empty();
        let mut notices = HashMap::new();
        let mut cases: HashSet<(u32, CaseRef)> = HashSet::new();
        let mut provisional = 0;
        let mut analysis = Analysis::new(options);
        let mut standings = self.ledger.record_standings();
        for group in self.ledger.postings().scan() {
            let (_, postings) = group?;
            let mut kept = vec![];
            for posting in &postings {
                let Some(key) = self.foreign_case(posting) else {
                    continue;
                };
                let standing = standings.of(posting.log, posting.index)?;
                if !standing.counts() {
                    continue;
                }
                let category = if by_category {
                    Some(self.describe(&key, &mut notices)?.category)
                } else {
                    None
                };
                let facts = Facts {
                    kind: kind_name(posting.kind),
                    member: &key.member,
                    region: regions.get(&key.member).map(String::as_str),
                    category: category.as_deref(),
                    day: (posting.day != 0).then_some(posting.day),
                };
                let day = facts.day;
                if bounds.keeps(&facts) && filter.keeps(&facts) {
                    cases.insert((posting.log, posting.case_ref));
                    provisional += u64::from(standing == RecordStanding::Provisional);
                    kept.push(crate::links::Posting {
                        case: key,
                        day,
                        role: posting.role,
                    });
                }
            }
            if let Some(first) = postings.first()
                && !kept.is_empty()
            {
                analysis.push(&TokenGroup {
                    kind: kind_name(first.kind),
                    postings: kept,
                });
            }
        }
        Ok((analysis.finish(cases.len() as u64), provisional))
    }
}

/// What the newest notice says of a case, as far as it was looked up.
#[derive(Clone, Debug)]
pub struct Noticed {
    case: v1::LinkedCase,
    /// Year and month in which it was opened; 0 for none.
    month: u32,
}

/// What one answer has looked up already.
struct Seen<'a> {
    notices: HashMap<CaseKey, Noticed>,
    standings: Standings<'a>,
}

/// Where the own record of a posting stands.
#[must_use]
pub fn place_of(own: &Posting) -> OwnPlace {
    OwnPlace {
        log: own.log,
        index: own.index,
    }
}

fn bounds_of(operation: &CaseRow) -> Filter {
    Filter {
        regions: operation.regions.iter().cloned().collect(),
        kinds: operation
            .kinds
            .iter()
            .filter_map(|k| Kind::from_wire(*k))
            .map(|k| k.as_str().to_owned())
            .collect::<BTreeSet<_>>(),
        ..Default::default()
    }
}

/// The name of a kind by its number on the wire.
#[must_use]
pub fn kind_name(kind: u8) -> &'static str {
    Kind::from_wire(i32::from(kind)).map_or("", Kind::as_str)
}

fn case_of(row: &CaseRow) -> Result<CaseRef, LedgerError> {
    Ok(case_ref(row)?)
}

fn distinct_cases(postings: &[Posting]) -> usize {
    postings
        .iter()
        .map(|p| (p.log, p.case_ref))
        .collect::<HashSet<_>>()
        .len()
}

/// How much a shared token says: ln(all cases / cases with it), at least 0.
#[must_use]
#[allow(
    clippy::cast_precision_loss,
    reason = "counts of cases are far below 2^52"
)]
pub fn rarity(total_cases: u64, with_token: usize) -> f64 {
    (total_cases.max(1) as f64 / with_token.max(1) as f64)
        .ln()
        .max(0.0)
}
