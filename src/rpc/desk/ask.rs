//! Questions: query, links, hits.

use std::collections::HashMap;

use tonic::Status;

use super::call::Call;
use super::keep::{self, Addition};
use crate::find::{FindError, Finder, Noticed};
use crate::ids::MemberId;
use crate::links::{CaseGroup, CaseKey, Filter, Options, Report};
use crate::parts::Parts;
use crate::peers::status::to_officer;
use crate::policy::{Denied, Right};
use crate::wire::v1::{self, KindCount, ReplicaAge};

/// Rows of each list of an answer about links, when the officer names none.
const TOP_DEFAULT: usize = 50;
/// Cases that one group lists.
const GROUP_CASES_SHOWN: usize = 20;
/// Hits that an answer carries, when the officer names no limit.
const HITS_DEFAULT: usize = 100;

fn counted(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

pub(super) async fn query(call: &mut Call<v1::QueryRequest>) -> Result<v1::QueryResponse, Status> {
    let request = call.request.clone();
    let purpose = call
        .purpose(&request.case_no, request.purpose.as_ref(), 0)
        .await?;
    if request.add {
        may_publish(call).map_err(|e| to_officer(&e))?;
        call.begin().await?;
        let addition = Addition {
            case_no: request.case_no.clone(),
            category: None,
            elements: request.elements.clone(),
            audience: String::new(),
            purpose,
        };
        keep::add_elements(call.parts(), addition, call.timeout()).await?;
    }
    let found = call
        .read(move |parts| parts.finder.query(&request.case_no, &request.elements))
        .await?;
    call.line.count = counted(found.matches.len() as u64);
    Ok(v1::QueryResponse {
        query_id: call.line.query_id.as_bytes().to_vec().into(),
        matches: found.matches,
        elements_asked: found.asked,
        left_out: found.left_out,
        replicas: ages(call.parts()),
    })
}

/// Adding an element to a case publishes it: that needs its own right.
fn may_publish<R>(call: &Call<R>) -> Result<(), Denied> {
    let permit = &call.admitted.permit;
    let Some(officer) = permit.officer() else {
        return Ok(());
    };
    let rights = call.parts().officers.rights(officer).unwrap_or_default();
    if rights.contains(&Right::Publish) {
        return Ok(());
    }
    Err(Denied::MissingRight {
        method: permit.method(),
        right: Right::Publish,
        officer: officer.clone(),
    })
}

/// How old each replica is, and which members are silent.
pub(super) fn ages(parts: &Parts) -> Vec<ReplicaAge> {
    let now = parts.clock.now();
    let states = parts.replicator.states();
    let roster = parts.rosters.newest();
    let others = roster.other_nodes(parts.ledger.own());
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

pub(super) async fn links(call: &mut Call<v1::LinksRequest>) -> Result<v1::LinksResponse, Status> {
    let request = call.request.clone();
    call.purpose(&request.operation, request.purpose.as_ref(), 0)
        .await?;
    let answer = call.read(move |parts| linked(parts, &request)).await?;
    call.line.count = counted(answer.total_pairs);
    Ok(v1::LinksResponse {
        query_id: call.line.query_id.as_bytes().to_vec().into(),
        replicas: ages(call.parts()),
        ..answer
    })
}

fn linked(parts: &Parts, request: &v1::LinksRequest) -> Result<v1::LinksResponse, FindError> {
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
    let (report, provisional) =
        parts
            .finder
            .links(&request.operation, &filter, Options::default())?;
    let top = match request.top {
        0 => TOP_DEFAULT,
        n => usize::try_from(n).unwrap_or(TOP_DEFAULT),
    };
    let response = render(&parts.finder, &report, top, request.by == "token")?;
    Ok(v1::LinksResponse {
        provisional,
        ..response
    })
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
    seen: &mut HashMap<CaseKey, Noticed>,
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

pub(super) async fn hits(call: &mut Call<v1::HitsRequest>) -> Result<v1::HitsResponse, Status> {
    let request = call.request.clone();
    call.purpose(&request.case_no, request.purpose.as_ref(), 0)
        .await?;
    let limit = match request.limit {
        0 => HITS_DEFAULT,
        n => usize::try_from(n).unwrap_or(HITS_DEFAULT),
    };
    let answer = call
        .read(move |parts| listed(parts, &request.case_no, limit))
        .await?;
    call.line.count = counted(answer.total);
    Ok(answer)
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
