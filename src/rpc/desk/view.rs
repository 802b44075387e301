//! Looking: status, cases, logs.

use std::collections::HashMap;
use std::sync::Arc;

use tonic::Status;

use super::blocking;
use super::call::Call;
use crate::cases::case_ref;
use crate::ids::{LogIndex, LogName};
use crate::ledger::{Erasure, LedgerError, Log, Reading, Standing};
use crate::node::Parts;
use crate::publish::PublishState;
use crate::record::{Audience, Body, BodyType, Entry};
use crate::rpc::status::to_officer;
use crate::spoken::Said;
use crate::wire::v1::{self, CaseElement, CaseRow, CaseState, CaseSummary, LogLine, LogSummary};

/// Cases that a list carries, when the officer names no limit.
const CASES_DEFAULT: usize = 100;
/// Elements that the view of a case carries.
const ELEMENTS_MAX: usize = 1_000;
/// Lines of a log that an answer carries at most.
const LINES_MAX: u64 = 1_000;

pub(super) async fn status(parts: &Arc<Parts>) -> v1::GetStatusResponse {
    let roster = parts.rosters.newest();
    let states = parts.replicator.states();
    let (publishing, waiting_for) = match &*parts.publisher.state().borrow() {
        PublishState::Idle => ("idle", String::new()),
        PublishState::Working => ("working", String::new()),
        PublishState::Waiting(why) => ("waiting", why.clone()),
    };
    let mut replicas = vec![];
    for id in roster.other_nodes(parts.ledger.own()) {
        let state = states.get(id).cloned().unwrap_or_default();
        let origin = roster.origin(id, LogName::Records);
        let forked = origin.as_ref().map(|origin| parts.ledger.is_forked(origin));
        let log = origin.and_then(|origin| parts.ledger.log(&origin).ok());
        let witnessed = log.as_ref().map_or(0, |log| log.witnessed_size().0);
        let lost = log.as_ref().map(|log| parts.ledger.lost(log));
        let alarm = state.alarms.standing().cloned();
        let past = state.alarms.past().cloned();
        let head = log.map(|log| log.head());
        replicas.push(v1::ReplicaStatus {
            member: id.to_string(),
            watching: state.watching,
            fresh_at: state.fresh_at.unwrap_or_default(),
            entries: head.as_ref().map_or(0, |h| h.size().0),
            bodies_upto: head.map_or(0, |h| h.bodies_upto),
            trouble: state.trouble.unwrap_or_default(),
            alarm_began: alarm.as_ref().map_or(0, |alarm| alarm.began),
            alarm: alarm.map_or_else(String::new, |alarm| alarm.sentence),
            past_alarm_began: past.as_ref().map_or(0, |alarm| alarm.began),
            past_alarm_ended: past.as_ref().and_then(|alarm| alarm.ended).unwrap_or(0),
            past_alarm: past.map_or_else(String::new, |alarm| alarm.sentence),
            newer: 0,
            refused: 0,
            witnessed,
            forked: forked.is_some_and(|forked| forked.unwrap_or(false)),
            key_invalid: 0,
            lost: lost.map_or(0, |lost| lost.unwrap_or(0)),
            spoken: parts.ledger.spoken().of(id).map(spoken_status),
        });
    }
    let counting = Arc::clone(parts);
    let counted = blocking(move || {
        let cases = counting.cases.all().map_err(|e| to_officer(&e))?.len() as u64;
        let hits = counting.ledger.hits().map_err(|e| to_officer(&e))?.len() as u64;
        let void = key_invalid(&counting).map_err(|e| to_officer(&e))?;
        let opaque = counting.ledger.opaque_counts();
        let opaque = opaque.map_err(|e| to_officer(&e))?;
        Ok((cases, hits, void, opaque))
    })
    .await;
    let (cases, hits, void, opaque) = counted.unwrap_or_default();
    for replica in &mut replicas {
        let unread = opaque.iter().find(|(id, _)| id.as_str() == replica.member);
        let unread = unread.map(|(_, count)| count);
        replica.newer = unread.map_or(0, |count| count.newer);
        replica.refused = unread.map_or(0, |count| count.refused);
        replica.key_invalid = void.get(&replica.member).copied().unwrap_or_default();
    }
    let own_void = void.get(parts.ledger.own().as_str()).copied();
    v1::GetStatusResponse {
        federation: roster.federation.to_string(),
        member: parts.ledger.own().to_string(),
        role: parts.material.identity().role.to_string(),
        version: env!("CARGO_PKG_VERSION").into(),
        roster_version: roster.version,
        roster_expires_at: roster.expires_at,
        records_size: parts.ledger.own_log(LogName::Records).size().0,
        access_size: parts.ledger.own_log(LogName::Access).size().0,
        publishing: publishing.into(),
        waiting_for,
        cases,
        hits,
        replicas,
        budgets: budgets(parts).await,
        certificate_expires_at: parts.material.expires_at(),
        disk_bytes: parts.ledger.store().disk_bytes(),
        now: parts.clock.now(),
        records_witnessed: parts.ledger.own_log(LogName::Records).witnessed_size().0,
        access_witnessed: parts.ledger.own_log(LogName::Access).witnessed_size().0,
        conflicts: parts.ledger.evidence().count().unwrap_or(0),
        records_key_invalid: own_void.unwrap_or_default(),
        roster_witnessed: parts.roster_log.witnessed().0,
        witness_quorum: parts.witnessing.quorum(),
        witnesses: witnesses(parts),
        records_lost: parts.ledger.own_lost().unwrap_or(0),
        access_closed: match parts.ledger.access_standing() {
            Standing::Open => String::new(),
            closed => closed.access_sentence().to_owned(),
        },
        features: crate::spoken::own().features,
        behind: behind(parts),
    }
}

fn spoken_status(said: Said) -> v1::SpokenStatus {
    v1::SpokenStatus {
        lacks: said.lacks(),
        unknown: said.unknown(),
        version: said.version,
        said_at: said.said_at,
    }
}

/// The members whose nodes publishing waits for.
pub(super) fn behind(parts: &Parts) -> Vec<String> {
    let members = parts.ledger.members_behind();
    members.iter().map(ToString::to_string).collect()
}

/// How far each witness of the own logs is.
fn witnesses(parts: &Parts) -> Vec<v1::WitnessStatus> {
    let states = parts.witnessing.states();
    states
        .into_iter()
        .map(|(member, state)| v1::WitnessStatus {
            member: member.to_string(),
            records: state.records.0,
            access: state.access.0,
            trouble: state.trouble.into_values().next().unwrap_or_default(),
        })
        .collect()
}

/// How many entries of each member's records log do not count for want of a
/// key that spoke for them.
fn key_invalid(parts: &Parts) -> Result<HashMap<String, u64>, LedgerError> {
    let roster = parts.rosters.newest();
    let mut out = HashMap::new();
    for id in roster.members.keys() {
        let origin = roster.origin(id, LogName::Records);
        if let Some(log) = origin.and_then(|origin| parts.ledger.log(&origin).ok()) {
            out.insert(id.to_string(), parts.ledger.key_invalid(&log)?);
        }
    }
    Ok(out)
}

/// What this member has spent today at each custodian.
async fn budgets(parts: &Parts) -> Vec<v1::BudgetStatus> {
    let roster = parts.rosters.newest();
    let mut out = vec![];
    for custodian in roster.custodians() {
        match parts.peers.budget(custodian).await {
            Ok(answer) => out.extend(answer.lines.into_iter().map(|line| v1::BudgetStatus {
                custodian: custodian.to_string(),
                token_class: match line.token_class() {
                    v1::TokenClass::Enumerable => "enumerable".into(),
                    v1::TokenClass::Open => "open".into(),
                    v1::TokenClass::Unspecified => String::new(),
                },
                day: line.day,
                spent: line.spent,
                allowed: line.allowed,
                trouble: String::new(),
            })),
            Err(e) => out.push(v1::BudgetStatus {
                custodian: custodian.to_string(),
                trouble: e.sentence,
                ..Default::default()
            }),
        }
    }
    out
}

pub(super) fn summary(parts: &Parts, row: &CaseRow) -> Result<CaseSummary, Status> {
    let own = parts
        .ledger
        .own_postings(&parts.ledger.case_mac(&case_ref(row)))
        .map_err(|e| to_officer(&e))?;
    let kinds = row
        .kinds
        .iter()
        .filter_map(|k| crate::element::Kind::from_wire(*k));
    Ok(CaseSummary {
        case_no: row.case_no.clone(),
        case_ref: row.case_ref.clone(),
        category: row.category.clone(),
        title: row.title.clone(),
        contact: row.contact.clone(),
        opened_on: row.opened_on,
        state: match row.state() {
            CaseState::Closed => "closed".into(),
            CaseState::Open | CaseState::Unspecified => "open".into(),
        },
        operation: row.operation,
        regions: row.regions.clone(),
        kinds: kinds.map(|k| k.as_str().to_owned()).collect(),
        ends_at: row.ends_at,
        elements: own.len() as u64,
    })
}

pub(super) async fn list_cases(
    call: &mut Call<v1::ListCasesRequest>,
) -> Result<v1::ListCasesResponse, Status> {
    let (parts, request) = (Arc::clone(call.parts()), call.request);
    let answer = blocking(move || cases(&parts, &request)).await?;
    call.line.count = u32::try_from(answer.cases.len()).unwrap_or(u32::MAX);
    Ok(answer)
}

pub(super) async fn show_case(
    call: &mut Call<v1::ShowCaseRequest>,
) -> Result<v1::ShowCaseResponse, Status> {
    let (parts, case_no) = (Arc::clone(call.parts()), call.request.case_no.clone());
    let answer = blocking(move || case(&parts, &case_no)).await?;
    call.line.count = u32::try_from(answer.elements.len()).unwrap_or(u32::MAX);
    Ok(answer)
}

pub(super) async fn show_log(
    call: &mut Call<v1::ShowLogRequest>,
) -> Result<v1::ShowLogResponse, Status> {
    let (parts, request) = (Arc::clone(call.parts()), call.request);
    let answer = blocking(move || log(&parts, &request)).await?;
    call.line.count = u32::try_from(answer.lines.len()).unwrap_or(u32::MAX);
    Ok(answer)
}

fn cases(parts: &Parts, request: &v1::ListCasesRequest) -> Result<v1::ListCasesResponse, Status> {
    let limit = match request.limit {
        0 => CASES_DEFAULT,
        n => usize::try_from(n).unwrap_or(CASES_DEFAULT),
    };
    let mut rows = parts.cases.all().map_err(|e| to_officer(&e))?;
    rows.retain(|row| row.operation == request.operations);
    rows.sort_by(|a, b| a.case_no.cmp(&b.case_no));
    let total = rows.len() as u64;
    let cases = rows
        .iter()
        .take(limit)
        .map(|row| summary(parts, row))
        .collect::<Result<_, _>>()?;
    Ok(v1::ListCasesResponse { cases, total })
}

fn case(parts: &Parts, case_no: &str) -> Result<v1::ShowCaseResponse, Status> {
    let row = parts
        .cases
        .open_or_closed(case_no)
        .map_err(|e| to_officer(&e))?;
    let ledger = &parts.ledger;
    let own = ledger
        .own_postings(&ledger.case_mac(&case_ref(&row)))
        .map_err(|e| to_officer(&e))?;
    let mut elements = vec![];
    for posting in own.iter().take(ELEMENTS_MAX) {
        let element = ledger
            .element(posting.log, posting.index)
            .map_err(|e| to_officer(&e))?;
        let held = ledger
            .held_at(crate::find::place_of(posting))
            .map_err(|e| to_officer(&e))?;
        let (Some(element), Some(held)) = (element, held) else {
            continue;
        };
        let mac = ledger.token_mac(element.body.token_key_id, &element.body.token);
        let others = ledger
            .postings()
            .postings(&mac)
            .map_err(|e| to_officer(&e))?;
        let others = ledger
            .record_standings()
            .counting(others)
            .map_err(|e| to_officer(&e))?;
        let role = i32::from(posting.role);
        elements.push(CaseElement {
            kind: crate::find::kind_name(posting.kind).into(),
            value: held.raw,
            role: crate::element::Role::from_wire(role)
                .map_or("", |r| r.as_str())
                .into(),
            index: posting.index.0,
            audience: audience_text(&element.body.audience),
            shared_with: others
                .iter()
                .filter(|p| !ledger.is_own_number(p.log))
                .count() as u64,
        });
    }
    Ok(v1::ShowCaseResponse {
        summary: Some(summary(parts, &row)?),
        elements,
    })
}

fn audience_text(audience: &Audience) -> String {
    match audience {
        Audience::Federation => "federation".into(),
        Audience::Regions(names) => {
            format!(
                "region:{}",
                names.iter().cloned().collect::<Vec<_>>().join(";")
            )
        }
        Audience::Members(names) => {
            let names: Vec<_> = names.iter().map(ToString::to_string).collect();
            format!("members:{}", names.join(";"))
        }
        Audience::Nobody => "nobody".into(),
    }
}

fn log(parts: &Parts, request: &v1::ShowLogRequest) -> Result<v1::ShowLogResponse, Status> {
    if request.erasures {
        let newest = usize::try_from(request.newest).unwrap_or(usize::MAX);
        let erasures = parts.ledger.erasures().map_err(|e| to_officer(&e))?;
        return Ok(v1::ShowLogResponse {
            erasures: erasures
                .iter()
                .skip(erasures.len().saturating_sub(newest))
                .map(Erasure::to_wire)
                .collect(),
            ..Default::default()
        });
    }
    let name = if request.access {
        LogName::Access
    } else {
        LogName::Records
    };
    let own = parts.ledger.own_log(name);
    let size = own.size().0;
    let first = size.saturating_sub(u64::from(request.newest).min(LINES_MAX));
    let mut lines = vec![];
    let entries = parts
        .ledger
        .entries(own.number, LogIndex(first), size)
        .map_err(|e| to_officer(&e))?;
    for (at, bytes) in (first..).zip(entries) {
        let Ok(entry) = Entry::parse(bytes) else {
            continue;
        };
        let body = parts.ledger.reading(own.number, LogIndex(at));
        lines.push(LogLine {
            index: at,
            r#type: match entry.statement.body_type {
                BodyType::Newer(_) => format!("newer-{}", entry.statement.body_type.number()),
                known => known.rules().word.to_owned(),
            },
            leaf: entry.leaf_hash().0.to_vec().into(),
            issued_at: entry.statement.issued_at,
            text: match body {
                Ok(Reading::Read(body)) => body_text(&body),
                Ok(Reading::Opaque(opaque)) if opaque.refused => opaque.sentence,
                Ok(Reading::Opaque(_)) => "of a later version".into(),
                Ok(Reading::Gone) => "erased".into(),
                Err(_) => "cannot be read".into(),
            },
            dsse_json: entry.dsse_json(),
        });
    }
    let roster = parts.rosters.newest();
    let logs = parts.ledger.logs();
    let logs = logs.iter().filter_map(|log| {
        let owner = roster.member(&log.origin.member)?;
        Some(log_summary(parts, log, owner, request.verify))
    });
    Ok(v1::ShowLogResponse {
        lines,
        logs: logs.collect(),
        erasures: vec![],
    })
}

fn log_summary(
    parts: &Parts,
    log: &Log,
    owner: &crate::roster::Member,
    verify: bool,
) -> LogSummary {
    let head = log.head();
    let mut summary = LogSummary {
        origin: log.origin.to_string(),
        size: head.size().0,
        root: head.root().0.to_vec().into(),
        checkpoint: head.checkpoint.clone(),
        ..Default::default()
    };
    if verify {
        match parts.ledger.verify_log(log, owner) {
            Ok(_) => summary.verified = true,
            Err(e) => summary.trouble = e.to_string(),
        }
    }
    summary
}

/// One line about a body, without tokens or values.
fn body_text(body: &Body) -> String {
    match body {
        Body::Element(e) => format!("{} {}", e.kind.as_str_name(), e.case_ref),
        Body::CaseNotice(n) => format!("{} {}", n.category, n.case_ref),
        Body::Amend(a) => format!("amends {}", a.target_index),
        Body::Retract(r) => {
            let ranges = r
                .targets
                .iter()
                .map(|(start, end)| format!("[{start}, {end})"));
            format!("ends {}", ranges.collect::<Vec<_>>().join(" "))
        }
        Body::Receipt(r) => format!("receipt for {} ranges of {}", r.items.len(), r.origin),
        Body::Erasure(e) => format!("erased {} ranges", e.items.len()),
        Body::Access(a) => {
            let line = format!(
                "{} {} {} {} {}",
                a.method, a.caller, a.outcome, a.count, a.log
            );
            line.trim_end().to_owned()
        }
    }
}
