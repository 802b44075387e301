//! Changes: publish, retract, cases, officers, keys.

use std::sync::Arc;
use std::time::Duration;

use tonic::Status;

use super::blocking;
use super::call::Call;
use super::error::DeskError;
use super::view;
use crate::access::Asked;
use crate::cases::CaseError;
use crate::find::FindError;
use crate::ids::{LogIndex, OfficerName};
use crate::import::{ImportNews, ImportRun};
use crate::intake::Format;
use crate::ledger::LedgerError;
use crate::node::Parts;
use crate::publish::PublishState;
use crate::record::RetractReason;
use crate::rpc::keygen as ceremony;
use crate::rpc::status::to_officer;
use crate::store::Batch;
use crate::wire::v1::{self, CaseRow, ElementSpec, HeldElement, ImportReport, Purpose, Refusal};

/// How long `publish` waits for the queue before it answers "queued", where a
/// call may take that long.
const PUBLISH_WAIT: Duration = Duration::from_secs(20);
/// How often it looks again meanwhile.
const LOOK: Duration = Duration::from_millis(20);

/// Elements that an officer adds to one case.
pub(super) struct Addition {
    pub(super) case_no: String,
    /// Set when a new case may be made.
    pub(super) category: Option<String>,
    pub(super) elements: Vec<ElementSpec>,
    pub(super) audience: String,
    pub(super) purpose: Purpose,
}

/// Adds and publishes elements of one case, as a file of those rows would;
/// says whether they are still queued.
pub(super) async fn add_elements(
    parts: &Arc<Parts>,
    addition: Addition,
    wait: Duration,
) -> Result<(ImportReport, Vec<Refusal>, bool), Status> {
    let node = parts;
    let parts = Arc::clone(parts);
    let (report, refusals) = blocking(move || {
        let found = parts
            .cases
            .find(&addition.case_no)
            .map_err(|e| to_officer(&e))?;
        let category = match (found, addition.category) {
            (Some(row), _) => row.category,
            (None, Some(category)) if !category.trim().is_empty() => category,
            (None, _) => {
                let unknown: FindError = CaseError::Unknown(addition.case_no).into();
                return Err(to_officer(&unknown));
            }
        };
        let mut file = String::new();
        for element in &addition.elements {
            let row = serde_json::json!({
                "case_no": addition.case_no, "category": category, "kind": element.kind,
                "value": element.value, "qualifier": element.qualifier,
                "role": if element.role.is_empty() { "suspect" } else { &element.role },
                "audience": addition.audience,
            });
            file.push_str(&row.to_string());
            file.push('\n');
        }
        let run = ImportRun {
            format: Format::JsonLines,
            preview: false,
            as_note: false,
            purpose: addition.purpose,
        };
        let mut refusals = vec![];
        let report = parts.importer.run(file.as_bytes(), &run, &mut |news| {
            if let ImportNews::Refused(refusal) = news {
                refusals.push(refusal);
            }
            true
        });
        Ok((report.map_err(|e| to_officer(&e))?, refusals))
    })
    .await?;
    node.publisher.wake();
    let mut state = node.publisher.state();
    let published = async {
        while !node.ledger.is_queue_empty() {
            let waiting = matches!(*state.borrow_and_update(), PublishState::Waiting(_));
            if waiting {
                return;
            }
            // Other entries may be on their way to the log, and say nothing here.
            if let Ok(Err(_)) = tokio::time::timeout(LOOK, state.changed()).await {
                return;
            }
        }
    };
    drop(tokio::time::timeout(wait.min(PUBLISH_WAIT), published).await);
    Ok((report, refusals, !node.ledger.is_queue_empty()))
}

pub(super) async fn publish(
    call: &mut Call<v1::PublishRequest>,
) -> Result<v1::PublishResponse, Status> {
    let request = call.request.clone();
    let count = u32::try_from(request.elements.len()).unwrap_or(u32::MAX);
    let purpose = call
        .purpose(&request.case_no, request.purpose.as_ref(), count)
        .await?;
    call.line.count = count;
    call.begin().await?;
    let addition = Addition {
        case_no: request.case_no,
        category: Some(request.category),
        elements: request.elements,
        audience: request.audience,
        purpose,
    };
    let added = add_elements(call.parts(), addition, call.timeout()).await?;
    let (mut report, refusals, queued) = added;
    report.behind = view::behind(call.parts());
    Ok(v1::PublishResponse {
        report: Some(report),
        refusals,
        queued,
    })
}

pub(super) async fn retract(
    call: &mut Call<v1::RetractRequest>,
) -> Result<v1::RetractResponse, Status> {
    let request = call.request.clone();
    let (reason, dry_run) = (request.reason(), request.dry_run);
    if reason == RetractReason::Unspecified {
        return Err(to_officer(&DeskError::NoReason));
    }
    let Ending {
        targets,
        waiting,
        picks,
    } = call.read(move |parts| ending(parts, request)).await?;
    let retracted = targets.len() as u64;
    call.line.count = u32::try_from(retracted.saturating_add(waiting)).unwrap_or(u32::MAX);
    if dry_run || (targets.is_empty() && waiting == 0) {
        return Ok(v1::RetractResponse {
            retracted,
            index: 0,
            waiting,
        });
    }
    call.begin().await?;
    let end = move |parts: &Parts| -> Result<(u64, LogIndex), LedgerError> {
        let dropped = parts.ledger.drop_waiting(&picks, false);
        // What was asked for its token already is dropped by the publisher.
        parts.publisher.wake();
        let waiting = dropped?.count();
        if targets.is_empty() {
            return Ok((waiting, LogIndex(0)));
        }
        let targets = targets.iter().map(|at| at.0);
        let index = parts.ledger.retract(targets, reason, Batch::new())?;
        Ok((waiting, index))
    };
    let (waiting, index) = call.read(end).await?;
    Ok(v1::RetractResponse {
        retracted,
        index: index.0,
        waiting,
    })
}

/// What a retraction ends: records, sorted and each once, and elements that have none.
struct Ending {
    targets: Vec<LogIndex>,
    waiting: u64,
    picks: Box<dyn Fn(&HeldElement) -> bool + Send>,
}

fn ending(parts: &Parts, request: v1::RetractRequest) -> Result<Ending, FindError> {
    let row = parts.cases.open_or_closed(&request.case_no)?;
    let specs: Vec<_> = request.element.into_iter().collect();
    let picks = parts.finder.waiting(&row, &specs)?;
    let waiting = parts.ledger.drop_waiting(&picks, true)?.count();
    let found = match parts.finder.elements(&row, &specs) {
        Err(FindError::NotInCase { .. }) if waiting > 0 => vec![],
        found => found?,
    };
    if found.iter().any(|p| p.log != parts.ledger.own_number()) {
        return Err(FindError::Ended);
    }
    let mut targets: Vec<_> = found.iter().map(|p| p.index).collect();
    targets.sort_unstable();
    targets.dedup();
    Ok(Ending {
        targets,
        waiting,
        picks: Box::new(picks),
    })
}

pub(super) async fn add_case(
    call: &mut Call<v1::AddCaseRequest>,
) -> Result<v1::AddCaseResponse, Status> {
    let given = call.request.row.clone().unwrap_or_default();
    let row = CaseRow {
        case_no: given.case_no,
        category: given.category,
        title: given.title,
        contact: given.contact,
        opened_on: given.opened_on,
        operation: given.operation,
        regions: given.regions,
        kinds: given.kinds,
        ends_at: given.ends_at,
        ..Default::default()
    };
    let row = call
        .change(move |parts, stamp| parts.cases.add_with(row, |batch| stamp.commit(batch)))
        .await?;
    let summary = Some(summary(call, row).await?);
    Ok(v1::AddCaseResponse { summary })
}

pub(super) async fn close_case(
    call: &mut Call<v1::CloseCaseRequest>,
) -> Result<v1::CloseCaseResponse, Status> {
    let case_no = call.request.case_no.clone();
    let row = call
        .change(move |parts, stamp| {
            parts
                .cases
                .close_with(&case_no, |batch| stamp.commit(batch))
        })
        .await?;
    let summary = Some(summary(call, row).await?);
    Ok(v1::CloseCaseResponse { summary })
}

async fn summary<R>(call: &Call<R>, row: CaseRow) -> Result<v1::CaseSummary, Status> {
    let parts = Arc::clone(call.parts());
    blocking(move || view::summary(&parts, &row)).await
}

pub(super) async fn list_officers(
    call: &mut Call<v1::ListOfficersRequest>,
) -> Result<v1::ListOfficersResponse, Status> {
    let list = |parts: &Parts| Ok::<_, LedgerError>(parts.officers.list());
    let officers = call.read(list).await?;
    call.line.count = u32::try_from(officers.len()).unwrap_or(u32::MAX);
    Ok(v1::ListOfficersResponse { officers })
}

fn officer_name(name: &str) -> Result<OfficerName, Status> {
    OfficerName::new(name).map_err(|e| to_officer(&DeskError::from(e)))
}

pub(super) async fn add_officer(
    call: &mut Call<v1::AddOfficerRequest>,
) -> Result<v1::AddOfficerResponse, Status> {
    let name = officer_name(&call.request.name)?;
    let rights = call.request.rights.clone();
    let row = call
        .change(move |parts, stamp| {
            parts
                .officers
                .set_with(&name, &rights, |batch| stamp.commit(batch))
        })
        .await?;
    Ok(v1::AddOfficerResponse { officer: Some(row) })
}

pub(super) async fn suspend_officer(
    call: &mut Call<v1::SuspendOfficerRequest>,
) -> Result<v1::SuspendOfficerResponse, Status> {
    let name = officer_name(&call.request.name)?;
    let suspended = !call.request.restore;
    let row = call
        .change(move |parts, stamp| {
            parts
                .officers
                .suspend_with(&name, suspended, |batch| stamp.commit(batch))
        })
        .await?;
    Ok(v1::SuspendOfficerResponse { officer: Some(row) })
}

pub(super) async fn keygen(
    call: &mut Call<v1::KeygenRequest>,
) -> Result<v1::KeygenResponse, Status> {
    let plan = call.request.plan.clone().unwrap_or_default();
    call.begin().await?;
    let (parts, asked) = (Arc::clone(call.parts()), Asked::default());
    let own = parts.ledger.own();
    let key = ceremony::run(&parts.custodian, &parts.peers, own, &plan, &asked).await;
    call.line.asked = asked.members();
    let key = key.map_err(|e| to_officer(&e))?;
    Ok(v1::KeygenResponse { key: Some(key) })
}
