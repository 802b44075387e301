//! Changes: import, publish, retract, cases, officers. Each is logged.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use prost::Message;
use tokio::sync::mpsc;
use tonic::{Request, Status, Streaming};

use super::{DeskService, ask, blocking, proof, view};
use crate::access::{AccessLine, OfficerProof, commit_purpose};
use crate::cases::CaseError;
use crate::find::FindError;
use crate::ids::OfficerName;
use crate::import::{ImportNews, ImportRun};
use crate::intake::Format;
use crate::publish::PublishState;
use crate::record::RetractReason;
use crate::rpc::admit::Admitted;
use crate::rpc::status::to_officer;
use crate::store::Batch;
use crate::wire::v1::{
    self, AccessScope, CaseRow, ElementSpec, ImportEvent, ImportReport, OfficerRow, Purpose,
    Refusal, import_event::Event,
};

/// Events that may wait for a slow officer.
const EVENTS_AHEAD: usize = 64;
/// How long `publish` waits for the queue before it answers "queued".
const PUBLISH_WAIT_S: u64 = 20;
/// How often a waiting officer is told how far publishing is.
const PROGRESS: Duration = Duration::from_millis(500);

/// A file that arrives in parts, read by the blocking importer. One that breaks
/// off fails the read: its last row may be cut, and must not pass for a whole one.
struct PartReader {
    parts: mpsc::Receiver<Result<Bytes, BrokenOff>>,
    current: Bytes,
}

/// The officer's stream ended before the file did, for this reason.
#[derive(Debug, thiserror::Error)]
#[error("the file broke off before its end: {0}")]
struct BrokenOff(String);

impl Read for PartReader {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        while self.current.is_empty() {
            match self.parts.blocking_recv() {
                Some(part) => {
                    self.current = part.map_err(|e| {
                        std::io::Error::new(std::io::ErrorKind::ConnectionAborted, e)
                    })?;
                }
                None => return Ok(0),
            }
        }
        let n = out.len().min(self.current.len());
        self.current.copy_to_slice(&mut out[..n]);
        Ok(n)
    }
}

fn format_of(options: &v1::ImportOptions) -> Result<Format, Status> {
    match options.format.as_str() {
        "csv" => Ok(Format::Csv),
        "jsonl" => Ok(Format::JsonLines),
        _ => Err(Status::invalid_argument("the format is csv or jsonl")),
    }
}

type EventSender = mpsc::Sender<Result<ImportEvent, Status>>;

pub(super) async fn import(
    desk: &DeskService,
    admitted: Admitted,
    request: Request<Streaming<v1::ImportPart>>,
) -> Result<mpsc::Receiver<Result<ImportEvent, Status>>, Status> {
    let method = admitted.permit.method();
    let (metadata, extensions, mut parts) = request.into_parts();
    let first = parts.message().await?;
    let options = first
        .and_then(|part| part.options)
        .ok_or_else(|| Status::invalid_argument("the first part names the options"))?;
    let signed = Request::from_parts(metadata, extensions, ());
    let officer = proof::of_bytes(method, &signed, &options.encode_to_vec());
    let mut line = desk.proved(&admitted, AccessScope::Local, officer).await?;
    let format = format_of(&options)?;
    let purpose = match ask::purpose(&admitted, "", options.purpose.as_ref()) {
        Ok(purpose) => purpose,
        Err(e) => return Err(desk.refuse(line, to_officer(&e)).await),
    };
    line.purposes
        .push(commit_purpose(&purpose, &crate::ids::CaseRef([0; 16]), 0).opened);
    desk.log(line).await?;
    let run = ImportRun {
        format,
        preview: options.preview,
        as_note: options.as_note,
        purpose,
    };
    let (events, receiver) = mpsc::channel(EVENTS_AHEAD);
    let desk = desk.clone();
    tokio::spawn(async move {
        let _admitted = admitted;
        let outcome = take_in(&desk, run, options.wait, parts, &events).await;
        if let Err(status) = outcome {
            // An officer who went away learns it from the next import.
            drop(events.send(Err(status)).await);
        }
    });
    Ok(receiver)
}

async fn take_in(
    desk: &DeskService,
    run: ImportRun,
    wait: bool,
    mut parts: Streaming<v1::ImportPart>,
    events: &EventSender,
) -> Result<(), Status> {
    let (file, reader) = mpsc::channel(8);
    let feeding = tokio::spawn(async move {
        loop {
            let part = match parts.message().await {
                Ok(None) => return,
                Ok(Some(part)) => Ok(part.bytes),
                Err(status) => Err(BrokenOff(status.message().to_owned())),
            };
            let ended = part.is_err();
            if file.send(part).await.is_err() || ended {
                return;
            }
        }
    });
    let (importer, telling) = (desk.parts.importer.clone(), events.clone());
    let preview = run.preview;
    let report = blocking(move || {
        let reader = PartReader {
            parts: reader,
            current: Bytes::new(),
        };
        importer
            .run(reader, &run, &mut |news| {
                let event = match news {
                    ImportNews::Refused(refusal) => Event::Refusal(refusal),
                    ImportNews::Rows(rows) => Event::Rows(rows),
                };
                telling
                    .blocking_send(Ok(ImportEvent { event: Some(event) }))
                    .is_ok()
            })
            .map_err(|e| to_officer(&e))
    })
    .await;
    feeding.abort();
    if !preview {
        // What was taken in before a failure is published too.
        desk.parts.publisher.wake();
    }
    let report = report?;
    if wait && !preview {
        follow_publishing(desk, events).await?;
    }
    drop(
        events
            .send(Ok(ImportEvent {
                event: Some(Event::Report(report)),
            }))
            .await,
    );
    Ok(())
}

/// Tells how publishing goes on until the queue is empty or has to wait.
async fn follow_publishing(desk: &DeskService, events: &EventSender) -> Result<(), Status> {
    let mut state = desk.parts.publisher.state();
    loop {
        if desk.parts.ledger.is_queue_empty() {
            return Ok(());
        }
        if matches!(*state.borrow_and_update(), PublishState::Waiting(_)) {
            return Ok(());
        }
        let counts = &desk.parts.publisher.counts;
        let published = counts.records.load(std::sync::atomic::Ordering::Relaxed);
        let event = ImportEvent {
            event: Some(Event::Published(published)),
        };
        if events.send(Ok(event)).await.is_err() {
            return Ok(());
        }
        let changed = tokio::time::timeout(PROGRESS, state.changed()).await;
        if matches!(changed, Ok(Err(_))) {
            return Ok(());
        }
    }
}

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
    desk: &DeskService,
    addition: Addition,
) -> Result<(ImportReport, Vec<Refusal>, bool), Status> {
    let parts = Arc::clone(&desk.parts);
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
    desk.parts.publisher.wake();
    let mut state = desk.parts.publisher.state();
    let published = async {
        while !desk.parts.ledger.is_queue_empty() {
            let waiting = matches!(*state.borrow_and_update(), PublishState::Waiting(_));
            if waiting || state.changed().await.is_err() {
                return;
            }
        }
    };
    drop(tokio::time::timeout(Duration::from_secs(PUBLISH_WAIT_S), published).await);
    Ok((report, refusals, !desk.parts.ledger.is_queue_empty()))
}

pub(super) async fn publish(
    desk: &DeskService,
    admitted: &Admitted,
    request: Request<v1::PublishRequest>,
) -> Result<v1::PublishResponse, Status> {
    let mut line = desk.line(admitted, AccessScope::Local, &request).await?;
    let request = request.into_inner();
    let purpose = match ask::purpose(admitted, &request.case_no, request.purpose.as_ref()) {
        Ok(purpose) => purpose,
        Err(e) => return Err(desk.refuse(line, to_officer(&e)).await),
    };
    line.count = u32::try_from(request.elements.len()).unwrap_or(u32::MAX);
    line.purposes
        .push(commit_purpose(&purpose, &crate::ids::CaseRef([0; 16]), line.count).opened);
    desk.log(line).await?;
    let addition = Addition {
        case_no: request.case_no,
        category: Some(request.category),
        elements: request.elements,
        audience: request.audience,
        purpose,
    };
    let (report, refusals, queued) = add_elements(desk, addition).await?;
    Ok(v1::PublishResponse {
        report: Some(report),
        refusals,
        queued,
    })
}

pub(super) async fn retract(
    desk: &DeskService,
    admitted: &Admitted,
    request: Request<v1::RetractRequest>,
) -> Result<v1::RetractResponse, Status> {
    let mut line = desk.line(admitted, AccessScope::Admin, &request).await?;
    let request = request.into_inner();
    let reason = request.reason();
    if reason == RetractReason::Unspecified {
        return Err(Status::invalid_argument("a retraction needs a reason"));
    }
    let parts = Arc::clone(&desk.parts);
    let targets = blocking(move || {
        let row = parts
            .cases
            .open_or_closed(&request.case_no)
            .map_err(|e| to_officer(&e))?;
        let specs: Vec<_> = request.element.into_iter().collect();
        let found = parts
            .finder
            .elements(&row, &specs)
            .map_err(|e| to_officer(&e))?;
        let mut targets: Vec<_> = found.iter().map(|p| p.index).collect();
        targets.sort_unstable();
        targets.dedup();
        Ok(targets)
    })
    .await;
    let targets = match targets {
        Ok(targets) => targets,
        Err(status) => return Err(desk.refuse(line, status).await),
    };
    line.count = u32::try_from(targets.len()).unwrap_or(u32::MAX);
    desk.log(line).await?;
    let retracted = targets.len() as u64;
    if request.dry_run || targets.is_empty() {
        return Ok(v1::RetractResponse {
            retracted,
            index: 0,
        });
    }
    let parts = Arc::clone(&desk.parts);
    let index = blocking(move || {
        let targets = targets.iter().map(|at| at.0);
        parts
            .ledger
            .retract(targets, reason, Batch::new())
            .map_err(|e| to_officer(&e))
    })
    .await?;
    Ok(v1::RetractResponse {
        retracted,
        index: index.0,
    })
}

pub(super) fn admin_line(desk: &DeskService, admitted: &Admitted) -> AccessLine {
    desk.line_with(admitted, AccessScope::Admin, OfficerProof::default())
}

pub(super) async fn add_case(
    desk: &DeskService,
    admitted: &Admitted,
    request: Request<v1::AddCaseRequest>,
) -> Result<v1::AddCaseResponse, Status> {
    let given = request.into_inner().row.unwrap_or_default();
    desk.log(admin_line(desk, admitted)).await?;
    let parts = Arc::clone(&desk.parts);
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
    let summary = blocking(move || {
        let row = parts.cases.add(row).map_err(|e| to_officer(&e))?;
        view::summary(&parts, &row)
    })
    .await?;
    Ok(v1::AddCaseResponse {
        summary: Some(summary),
    })
}

pub(super) async fn close_case(
    desk: &DeskService,
    admitted: &Admitted,
    request: Request<v1::CloseCaseRequest>,
) -> Result<v1::CloseCaseResponse, Status> {
    desk.log(admin_line(desk, admitted)).await?;
    let parts = Arc::clone(&desk.parts);
    let summary = blocking(move || {
        let row = parts
            .cases
            .close(&request.get_ref().case_no)
            .map_err(|e| to_officer(&e))?;
        view::summary(&parts, &row)
    })
    .await?;
    Ok(v1::CloseCaseResponse {
        summary: Some(summary),
    })
}

fn officer_name(name: &str) -> Result<OfficerName, Status> {
    OfficerName::new(name).map_err(|e| Status::invalid_argument(e.to_string()))
}

pub(super) async fn add_officer(
    desk: &DeskService,
    admitted: &Admitted,
    request: v1::AddOfficerRequest,
) -> Result<OfficerRow, Status> {
    let name = officer_name(&request.name)?;
    desk.log(admin_line(desk, admitted)).await?;
    let officers = desk.parts.officers.clone();
    blocking(move || {
        officers
            .set(&name, &request.rights)
            .map_err(|e| to_officer(&e))
    })
    .await
}

pub(super) async fn suspend_officer(
    desk: &DeskService,
    admitted: &Admitted,
    request: v1::SuspendOfficerRequest,
) -> Result<OfficerRow, Status> {
    let name = officer_name(&request.name)?;
    desk.log(admin_line(desk, admitted)).await?;
    let officers = desk.parts.officers.clone();
    blocking(move || {
        officers
            .suspend(&name, !request.restore)
            .map_err(|e| to_officer(&e))
    })
    .await
}
