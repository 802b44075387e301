//! Questions: query, links, hits.

use std::collections::HashMap;
use std::sync::Arc;

use tonic::{Request, Status};

use super::DeskService;
use super::keep::{self, Addition};
use crate::access::{AccessLine, commit_purpose};
use crate::blame::Blamed;
use crate::cases::case_ref;
use crate::find::{FindError, Finder};
use crate::ids::MemberId;
use crate::links::{CaseGroup, CaseKey, Filter, Options, Report};
use crate::node::Parts;
use crate::policy::{Denied, Right};
use crate::rpc::admit::Admitted;
use crate::rpc::status::to_officer;
use crate::wire::v1::{self, AccessScope, DeskPurpose, KindCount, LinkedCase, Purpose, ReplicaAge};

/// Bytes that offence, reason and urgency may have together.
const PURPOSE_BYTES_MAX: usize = 2_048;
/// Rows of each list of an answer about links, when the officer names none.
const TOP_DEFAULT: usize = 50;
/// Cases that one group lists.
const GROUP_CASES_SHOWN: usize = 20;
/// Hits that an answer carries, when the officer names no limit.
const HITS_DEFAULT: usize = 100;

/// The whole purpose of a request about `case_no`; refused without an offence
/// and a reason.
pub(super) fn purpose(
    admitted: &Admitted,
    case_no: &str,
    given: Option<&DeskPurpose>,
) -> Result<Purpose, FindError> {
    let given = given.cloned().unwrap_or_default();
    let bytes = given.offence.len() + given.reason.len() + given.urgency.len();
    let empty = given.offence.trim().is_empty() || given.reason.trim().is_empty();
    if empty || bytes > PURPOSE_BYTES_MAX {
        return Err(FindError::NoPurpose);
    }
    Ok(Purpose {
        case_no: case_no.to_owned(),
        offence: given.offence,
        officer: admitted
            .permit
            .officer()
            .map_or_else(String::new, ToString::to_string),
        reason: given.reason,
        urgency: given.urgency,
    })
}

/// Logs a question with its outcome, and only then gives the answer out.
async fn answer<R: Send + 'static>(
    desk: &DeskService,
    mut line: AccessLine,
    purpose: Result<Purpose, FindError>,
    case_no: String,
    count: impl FnOnce(&R) -> u64,
    ask: impl FnOnce(&Parts) -> Result<R, FindError> + Send + 'static,
) -> Result<R, Status> {
    let parts = Arc::clone(&desk.parts);
    let case = parts
        .cases
        .find(&case_no)
        .ok()
        .flatten()
        .map(|row| case_ref(&row));
    let asked = match &purpose {
        Ok(purpose) => {
            let case = case.unwrap_or(crate::ids::CaseRef([0; 16]));
            line.purposes.push(commit_purpose(purpose, &case, 0).opened);
            tokio::task::spawn_blocking(move || ask(&parts))
                .await
                .unwrap_or(Err(crate::ledger::LedgerError::Stopped.into()))
        }
        Err(_) => Err(FindError::NoPurpose),
    };
    match &asked {
        Ok(answer) => line.count = u32::try_from(count(answer)).unwrap_or(u32::MAX),
        Err(e) => line.outcome = e.code().to_owned(),
    }
    desk.log(line).await?;
    asked.map_err(|e| to_officer(&e))
}

pub(super) async fn query(
    desk: &DeskService,
    admitted: &Admitted,
    request: Request<v1::QueryRequest>,
) -> Result<v1::QueryResponse, Status> {
    let line = desk.line(admitted, AccessScope::Local, &request).await?;
    let query_id = line.query_id;
    let request = request.into_inner();
    let purpose = purpose(admitted, &request.case_no, request.purpose.as_ref());
    if let (true, Ok(purpose)) = (request.add, &purpose) {
        if let Err(denied) = may_publish(desk, admitted) {
            return Err(desk.refuse(line, to_officer(&denied)).await);
        }
        let mut adding = line.clone();
        let nowhere = crate::ids::CaseRef([0; 16]);
        adding
            .purposes
            .push(commit_purpose(purpose, &nowhere, 0).opened);
        desk.log(adding).await?;
        let addition = Addition {
            case_no: request.case_no.clone(),
            category: None,
            elements: request.elements.clone(),
            audience: String::new(),
            purpose: purpose.clone(),
        };
        if let Err(status) = keep::add_elements(desk, addition).await {
            return Err(desk.refuse(line, status).await);
        }
    }
    let (case_no, elements) = (request.case_no.clone(), request.elements);
    let found = answer(
        desk,
        line,
        purpose,
        request.case_no,
        |found: &crate::find::Found| found.matches.len() as u64,
        move |parts| parts.finder.query(&case_no, &elements),
    )
    .await?;
    Ok(v1::QueryResponse {
        query_id: query_id.as_bytes().to_vec().into(),
        matches: found.matches,
        elements_asked: found.asked,
        left_out: found.left_out,
        replicas: ages(&desk.parts),
    })
}

/// Adding an element to a case publishes it: that needs its own right.
fn may_publish(desk: &DeskService, admitted: &Admitted) -> Result<(), Denied> {
    let Some(officer) = admitted.permit.officer() else {
        return Ok(());
    };
    let rights = desk.parts.officers.rights(officer).unwrap_or_default();
    if rights.contains(&Right::Publish) {
        return Ok(());
    }
    Err(Denied::MissingRight {
        method: admitted.permit.method(),
        right: Right::Publish,
        officer: officer.clone(),
    })
}

/// How old each replica is, and which members are silent.
pub(super) fn ages(parts: &Parts) -> Vec<ReplicaAge> {
    let now = parts.clock.now();
    let states = parts.replicator.states();
    let roster = parts.rosters.newest();
    let others = roster.members.keys().filter(|id| *id != parts.ledger.own());
    others
        .map(|id| {
            let state = states.get(id);
            ReplicaAge {
                member: id.to_string(),
                age_s: state
                    .and_then(|s| s.fresh_at)
                    .map_or(-1, |at| (now - at).max(0)),
                trouble: state.and_then(|s| s.trouble.clone()).unwrap_or_default(),
            }
        })
        .collect()
}

pub(super) async fn links(
    desk: &DeskService,
    admitted: &Admitted,
    request: Request<v1::LinksRequest>,
) -> Result<v1::LinksResponse, Status> {
    let line = desk.line(admitted, AccessScope::Local, &request).await?;
    let query_id = line.query_id;
    let request = request.into_inner();
    let purpose = purpose(admitted, &request.operation, request.purpose.as_ref());
    let operation = request.operation.clone();
    let answer = answer(
        desk,
        line,
        purpose,
        operation.clone(),
        |response: &v1::LinksResponse| response.total_pairs,
        move |parts| linked(parts, &operation, &request),
    )
    .await?;
    Ok(v1::LinksResponse {
        query_id: query_id.as_bytes().to_vec().into(),
        replicas: ages(&desk.parts),
        ..answer
    })
}

fn linked(
    parts: &Parts,
    operation: &str,
    request: &v1::LinksRequest,
) -> Result<v1::LinksResponse, FindError> {
    let filter = Filter {
        kinds: request.kinds.iter().cloned().collect(),
        members: request
            .members
            .iter()
            .filter_map(|m| MemberId::new(m).ok())
            .collect(),
        regions: request.regions.iter().cloned().collect(),
        categories: request.categories.iter().cloned().collect(),
        from_day: (request.from_day != 0).then_some(request.from_day),
        to_day: (request.to_day != 0).then_some(request.to_day),
    };
    let report = parts.finder.links(operation, &filter, Options::default())?;
    let top = match request.top {
        0 => TOP_DEFAULT,
        n => usize::try_from(n).unwrap_or(TOP_DEFAULT),
    };
    render(&parts.finder, &report, top, request.by == "token")
}

fn render(
    finder: &Finder,
    report: &Report,
    top: usize,
    by_token: bool,
) -> Result<v1::LinksResponse, FindError> {
    let mut seen = HashMap::new();
    let mut response = v1::LinksResponse {
        shared_tokens: report.totals.shared_tokens,
        hubs: u64::from(report.hubs),
        total_pairs: report.totals.pairs,
        total_groups: report.totals.groups,
        cases: report.totals.linked_cases,
        ..Default::default()
    };
    if by_token {
        response.tokens = report.tokens.iter().take(top).map(token).collect();
        return Ok(response);
    }
    for pair in report.pairs.iter().take(top) {
        response.pairs.push(v1::LinkedPair {
            a: Some(finder.describe(&pair.a, &mut seen)?),
            b: Some(finder.describe(&pair.b, &mut seen)?),
            shared: pair.shared,
            kinds: kinds(&pair.kinds),
            score: pair.score,
            first_day: pair.first_day.unwrap_or_default(),
            last_day: pair.last_day.unwrap_or_default(),
        });
    }
    for found in report.groups.iter().take(top) {
        response.groups.push(group(finder, found, &mut seen)?);
    }
    Ok(response)
}

fn kinds(counts: &[(&'static str, u32)]) -> Vec<KindCount> {
    counts
        .iter()
        .map(|(kind, count)| KindCount {
            kind: (*kind).to_owned(),
            count: u64::from(*count),
        })
        .collect()
}

fn group(
    finder: &Finder,
    found: &CaseGroup,
    seen: &mut HashMap<CaseKey, LinkedCase>,
) -> Result<v1::LinkedGroup, FindError> {
    let shown = found.cases.iter().take(GROUP_CASES_SHOWN);
    Ok(v1::LinkedGroup {
        cases: shown
            .map(|case| finder.describe(case, seen))
            .collect::<Result<_, _>>()?,
        members: found.members.iter().map(ToString::to_string).collect(),
        lead: Some(finder.describe(&found.lead.case, seen)?),
        lead_reason: format!(
            "linked to {} cases by {} shared elements",
            found.lead.linked_cases, found.lead.shared
        ),
        shared: found.shared,
        kinds: kinds(&found.kinds),
        score: found.score,
        capped: found.capped,
        case_count: u32::try_from(found.cases.len()).unwrap_or(u32::MAX),
    })
}

fn token(link: &crate::links::TokenLink) -> v1::LinkedToken {
    v1::LinkedToken {
        ordinal: link.ordinal,
        kind: link.kind.to_owned(),
        members: link.members.iter().map(ToString::to_string).collect(),
        cases: link.case_count,
        rarity: link.rarity,
        hub: link.hub,
    }
}

pub(super) async fn hits(
    desk: &DeskService,
    admitted: &Admitted,
    request: Request<v1::HitsRequest>,
) -> Result<v1::HitsResponse, Status> {
    let line = desk.line(admitted, AccessScope::Local, &request).await?;
    let request = request.into_inner();
    let purpose = purpose(admitted, &request.case_no, request.purpose.as_ref());
    let case_no = request.case_no.clone();
    let limit = match request.limit {
        0 => HITS_DEFAULT,
        n => usize::try_from(n).unwrap_or(HITS_DEFAULT),
    };
    answer(
        desk,
        line,
        purpose,
        case_no.clone(),
        |response: &v1::HitsResponse| response.total,
        move |parts| listed(parts, &case_no, limit),
    )
    .await
}

fn listed(parts: &Parts, case_no: &str, limit: usize) -> Result<v1::HitsResponse, FindError> {
    let wanted = (!case_no.is_empty()).then_some(case_no);
    let all = parts.finder.hits(wanted)?;
    let mut response = v1::HitsResponse {
        hits: vec![],
        total: all.len() as u64,
    };
    let mut seen = HashMap::new();
    for (hit, case) in all.iter().rev().take(limit) {
        response
            .hits
            .extend(parts.finder.hit_line(hit, case, &mut seen)?);
    }
    Ok(response)
}
