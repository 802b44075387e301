//! The Audit service: the node's own logs, for auditors and for the own
//! member's officers who may export. Straight from the store; what is read of
//! bodies and of the access log is itself a line in the access log, one a
//! stream or file, before the answer leaves.

pub mod client;
mod error;
pub mod source;
pub mod static_log;

use std::fmt::Display;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::admit::{Admitted, Asking, Gate};
use crate::access::{AccessLine, AccessLog};
use crate::audit::layout::tiles_of_run;
use crate::audit::local::{
    BODIES_AT_ONCE, bundle_bytes, erasures_of, newest_checkpoint, own_logs, roster_note,
    rosters_after,
};
use crate::blame::Blamed;
use crate::evidence::Evidence;
use crate::ids::{Digest, LogIndex, LogName, Origin, TreeSize};
use crate::ledger::{AuditedBody, BodyReader, Ledger, LedgerError, Log, Seer};
use crate::merkle::TILE_WIDTH;
use crate::peers::status::{code_of, to_officer, to_peer};
use crate::policy::{Identity, Method, Permit, Subject};
use crate::roster::{MemberRole, Roster};
use crate::store::StoreError;
use crate::tls::{Peer, RosterHandle};
use crate::wire::v1::{self, AccessScope, BodyAnswer, audit_server};
use error::AuditError;

/// Rosters that one answer carries.
const ROSTERS_MAX: usize = 64;
/// Bytes of bodies that one message carries, where one body has no more.
const CHUNK_BYTES: usize = 2 * 1024 * 1024;
/// Messages of a stream that wait for the reader.
const WAITING_MAX: usize = 4;

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Answers auditors, and the own officers.
#[derive(Clone, Debug)]
pub struct AuditService(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    gate: Arc<Gate>,
    ledger: Ledger,
    access: AccessLog,
    evidence: Evidence,
    roster: RosterHandle,
}

impl AuditService {
    /// Answers from `ledger`, to whom `gate` lets in.
    #[must_use]
    pub fn new(gate: Arc<Gate>, ledger: Ledger, access: AccessLog, roster: RosterHandle) -> Self {
        let evidence = Evidence::new(ledger.store().clone(), ledger.clock().clone());
        Self(Arc::new(Inner {
            gate,
            ledger,
            access,
            evidence,
            roster,
        }))
    }

    /// Admits a call; a refusal is counted for the access log.
    fn admit(&self, peer: Option<&Peer>, method: Method) -> Result<Admitted, Status> {
        let gate = &self.0.gate;
        gate.judge(peer, method)
            .inspect_err(|e| gate.deny(e, peer, method, Asking::default()))
            .map_err(|e| to_peer(&e))
    }

    fn admit_call<T>(&self, request: &Request<T>, method: Method) -> Result<Admitted, Status> {
        self.admit(request.extensions().get::<Peer>(), method)
    }

    /// Writes a line of the access log; without it there is no answer.
    async fn write(&self, line: AccessLine) -> Result<(), Status> {
        let access = self.0.access.clone();
        blocking(move || access.write(line).map(|_| ())).await
    }

    /// Writes down an export of the log `origin`: of how many entries, or why not.
    async fn log_export(
        &self,
        permit: &Permit,
        origin: Option<&Origin>,
        entries: Result<u64, &Status>,
    ) -> Result<(), Status> {
        let caller = caller(permit.identity(), self.0.ledger.own());
        let mut line = AccessLine::new(AccessScope::Export, permit.method().as_str(), caller);
        line.log = origin.map(ToString::to_string).unwrap_or_default();
        match entries {
            Ok(count) => line.count = u32::try_from(count).unwrap_or(u32::MAX),
            Err(refused) => line.outcome = code_of(refused),
        }
        self.write(line).await
    }

    /// An own log, or the replica of a records log, by its name.
    fn log(&self, origin: &str) -> Result<Arc<Log>, Status> {
        let named = named(origin).ok_or_else(|| to_officer(&AuditError::Origin))?;
        self.0.ledger.log(&named).map_err(|e| to_peer(&e))
    }

    fn own_log(&self, origin: &Origin) -> Result<Arc<Log>, Status> {
        if origin.member != *self.0.ledger.own() {
            return Err(to_peer(&LedgerError::NoLog(origin.clone())));
        }
        self.0.ledger.log(origin).map_err(|e| to_peer(&e))
    }

    /// The range of bodies that is asked for, as far as a checkpoint holds it.
    fn bodies(
        &self,
        origin: &str,
        ranges: &[v1::IndexRange],
    ) -> Result<(Arc<Log>, u64, u64), Status> {
        let log = self.log(origin)?;
        let [range] = ranges else {
            return Err(to_officer(&AuditError::Ranges));
        };
        let end = range.end.min(log.head().checkpoint_size.0);
        Ok((log, range.start, end))
    }

    /// The size that is asked for: the newest checkpoint's, or an earlier one.
    fn size(log: &Log, size: u64) -> Result<TreeSize, Status> {
        let newest = log.head().checkpoint_size;
        if size > newest.0 {
            return Err(to_officer(&AuditError::Size { newest }));
        }
        Ok(TreeSize(size))
    }
}

fn named(origin: &str) -> Option<Origin> {
    origin.parse().ok()
}

/// Who calls, as it stands in the access log: an own officer's name, an
/// auditor's member, or `member/officer`.
fn caller(identity: &Identity, own: &crate::ids::MemberId) -> String {
    match &identity.subject {
        Subject::Officer(officer) if identity.member == *own => officer.to_string(),
        Subject::Officer(officer) => format!("{}/{officer}", identity.member),
        Subject::Node => identity.member.to_string(),
    }
}

/// With whose eyes the caller sees bodies.
fn seer<'a>(
    roster: &'a Roster,
    identity: &Identity,
    own: &crate::ids::MemberId,
) -> Option<Seer<'a>> {
    if identity.member == *own {
        return Some(Seer::Own);
    }
    let member = roster.member(&identity.member)?;
    (member.role == MemberRole::Auditor).then_some(Seer::Auditor(BodyReader { member, roster }))
}

/// Runs blocking work off the async threads.
async fn blocking<R: Send + 'static, E: Blamed + Display + Send + 'static>(
    work: impl FnOnce() -> Result<R, E> + Send + 'static,
) -> Result<R, Status> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|e| to_peer(&e)),
        Err(_) => Err(to_peer(&LedgerError::Stopped)),
    }
}

/// Streams what `work` hands over, on a thread that may block. `admitted`
/// lives as long as the stream.
fn stream<T: Send + 'static>(
    admitted: Admitted,
    work: impl FnOnce(&mut dyn FnMut(T) -> bool, &Admitted) -> Result<(), LedgerError> + Send + 'static,
) -> Response<Answers<T>> {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    tokio::task::spawn_blocking(move || {
        let mut send = |item| sender.blocking_send(Ok(item)).is_ok();
        if let Err(e) = work(&mut send, &admitted) {
            // The reader may be gone; then nobody needs to know.
            drop(sender.blocking_send(Err(to_peer(&e))));
        }
    });
    Response::new(Box::pin(ReceiverStream::new(receiver)))
}

fn proof(hashes: Vec<Digest>) -> Response<v1::Proof> {
    let hashes = hashes.into_iter().map(|h| h.0.to_vec().into()).collect();
    Response::new(v1::Proof { hashes })
}

/// Bodies on their way into messages of a bounded size.
struct BodyChunks<'a> {
    chunk: v1::BodyChunk,
    answers: Vec<u8>,
    bytes: usize,
    send: &'a mut dyn FnMut(v1::BodyChunk) -> bool,
}

impl BodyChunks<'_> {
    /// Adds one; false when the reader is gone.
    fn put(&mut self, body: AuditedBody) -> bool {
        let full = self.bytes + body.bytes.len() > CHUNK_BYTES;
        if full && !self.answers.is_empty() && !self.flush() {
            return false;
        }
        self.bytes += body.bytes.len() + 1;
        self.answers
            .push(u8::try_from(body.answer as i32).unwrap_or(0));
        if body.answer == BodyAnswer::Held {
            self.chunk.bodies.push(body.bytes);
        }
        true
    }

    fn flush(&mut self) -> bool {
        let next = self.chunk.start + self.answers.len() as u64;
        let mut chunk = std::mem::take(&mut self.chunk);
        chunk.answers = std::mem::take(&mut self.answers).into();
        self.chunk.start = next;
        self.bytes = 0;
        (self.send)(chunk)
    }
}

#[tonic::async_trait]
impl audit_server::Audit for AuditService {
    type GetCheckpointsStream = Answers<v1::AuditCheckpoint>;
    type GetTilesStream = Answers<v1::Tile>;
    type GetEntryBundlesStream = Answers<v1::Tile>;
    type GetBodiesStream = Answers<v1::BodyChunk>;
    type GetErasuresStream = Answers<v1::Erasure>;
    type GetEvidenceStream = Answers<v1::EvidencePair>;

    async fn list_logs(
        &self,
        request: Request<v1::ListLogsRequest>,
    ) -> Result<Response<v1::ListLogsResponse>, Status> {
        let _admitted = self.admit_call(&request, Method::ListLogs)?;
        let ledger = self.0.ledger.clone();
        let logs = blocking(move || {
            let mut logs = vec![];
            for log in own_logs(&ledger) {
                let state = newest_checkpoint(&ledger, &log)?;
                logs.push(v1::AuditLog {
                    origin: state.origin.to_string(),
                    checkpoint: state.checkpoint,
                    size: state.size.0,
                    witnessed: ledger.witnessed_size(&log).0,
                });
            }
            Ok::<_, LedgerError>(logs)
        })
        .await?;
        Ok(Response::new(v1::ListLogsResponse { logs }))
    }

    async fn get_rosters(
        &self,
        request: Request<v1::GetRosterRequest>,
    ) -> Result<Response<v1::GetRosterResponse>, Status> {
        let _admitted = self.admit_call(&request, Method::GetRosters)?;
        let (ledger, after) = (self.0.ledger.clone(), request.get_ref().after);
        let answer = blocking(move || {
            Ok::<_, StoreError>(v1::GetRosterResponse {
                rosters: rosters_after(&ledger, after, ROSTERS_MAX)?,
                checkpoint: roster_note(&ledger)?.unwrap_or_default(),
            })
        });
        Ok(Response::new(answer.await?))
    }

    async fn get_checkpoints(
        &self,
        request: Request<v1::GetCheckpointsRequest>,
    ) -> Result<Response<Self::GetCheckpointsStream>, Status> {
        let admitted = self.admit_call(&request, Method::GetCheckpoints)?;
        let v1::GetCheckpointsRequest { origin, from_size } = request.into_inner();
        let (log, ledger) = (self.log(&origin)?, self.0.ledger.clone());
        Ok(stream(admitted, move |send, _| {
            let newest = newest_checkpoint(&ledger, &log)?.checkpoint;
            let mut last = Bytes::new();
            for note in ledger.witnessed_notes(&log, TreeSize(from_size))? {
                last = note;
                let (note, witnessed) = (last.clone(), true);
                if !send(v1::AuditCheckpoint { note, witnessed }) {
                    return Ok(());
                }
            }
            if last != newest {
                send(v1::AuditCheckpoint {
                    note: newest,
                    witnessed: false,
                });
            }
            Ok(())
        }))
    }

    async fn get_tiles(
        &self,
        request: Request<v1::GetTilesRequest>,
    ) -> Result<Response<Self::GetTilesStream>, Status> {
        let admitted = self.admit_call(&request, Method::GetTiles)?;
        let asked = request.into_inner();
        let (log, ledger) = (self.log(&asked.origin)?, self.0.ledger.clone());
        let size = Self::size(&log, asked.size)?;
        let level = u8::try_from(asked.level).map_err(|_| to_officer(&AuditError::Level))?;
        Ok(stream(admitted, move |send, _| {
            for path in tiles_of_run(Some(level), asked.first, asked.count, size) {
                let held = ledger.tile_bytes(&log, level, path.index.0, path.width)?;
                let data = held.ok_or(StoreError::Damaged("tile"))?;
                let tile = v1::Tile {
                    index: path.index.0,
                    width: u32::from(path.width),
                    data,
                };
                if !send(tile) {
                    return Ok(());
                }
            }
            Ok(())
        }))
    }

    async fn get_entry_bundles(
        &self,
        request: Request<v1::GetEntryBundlesRequest>,
    ) -> Result<Response<Self::GetEntryBundlesStream>, Status> {
        let admitted = self.admit_call(&request, Method::GetEntryBundles)?;
        let asked = request.into_inner();
        let ledger = self.0.ledger.clone();
        let wanted = self
            .log(&asked.origin)
            .and_then(|log| Self::size(&log, asked.size).map(|size| (log, size)));
        let origin = named(&asked.origin);
        // Entries of a records log are no secret among members.
        if origin.as_ref().is_none_or(|o| o.log == LogName::Access) {
            let end = asked.first.saturating_add(asked.count);
            let entries = wanted
                .as_ref()
                .map(|(_, size)| spanned(asked.first, end, *size));
            self.log_export(&admitted.permit, origin.as_ref(), entries)
                .await?;
        }
        let (log, size) = wanted?;
        Ok(stream(admitted, move |send, _| {
            for path in tiles_of_run(None, asked.first, asked.count, size) {
                let tile = v1::Tile {
                    index: path.index.0,
                    width: u32::from(path.width),
                    data: bundle_bytes(&ledger, &log, path)?,
                };
                if !send(tile) {
                    return Ok(());
                }
            }
            Ok(())
        }))
    }

    async fn get_inclusion_proof(
        &self,
        request: Request<v1::InclusionProofRequest>,
    ) -> Result<Response<v1::Proof>, Status> {
        let _admitted = self.admit_call(&request, Method::GetInclusionProof)?;
        let asked = request.into_inner();
        let (log, ledger) = (self.log(&asked.origin)?, self.0.ledger.clone());
        let size = Self::size(&log, asked.size)?;
        if asked.index >= size.0 {
            return Err(to_officer(&AuditError::Beyond { size }));
        }
        let index = LogIndex(asked.index);
        blocking(move || ledger.inclusion(&log, index, size))
            .await
            .map(proof)
    }

    async fn get_consistency_proof(
        &self,
        request: Request<v1::ConsistencyProofRequest>,
    ) -> Result<Response<v1::Proof>, Status> {
        let _admitted = self.admit_call(&request, Method::GetConsistencyProof)?;
        let asked = request.into_inner();
        let (log, ledger) = (self.log(&asked.origin)?, self.0.ledger.clone());
        let size = Self::size(&log, asked.size)?;
        if asked.old_size > size.0 {
            return Err(to_officer(&AuditError::Beyond { size }));
        }
        let old = TreeSize(asked.old_size);
        blocking(move || ledger.consistency(&log, old, size))
            .await
            .map(proof)
    }

    async fn get_bodies(
        &self,
        request: Request<v1::GetBodiesRequest>,
    ) -> Result<Response<Self::GetBodiesStream>, Status> {
        let admitted = self.admit_call(&request, Method::AuditBodies)?;
        let v1::GetBodiesRequest { origin, ranges } = request.into_inner();
        let wanted = self.bodies(&origin, &ranges);
        let entries = wanted
            .as_ref()
            .map(|(_, start, end)| end.saturating_sub(*start));
        let origin = named(&origin);
        self.log_export(&admitted.permit, origin.as_ref(), entries)
            .await?;
        let (log, start, end) = wanted?;
        let ledger = self.0.ledger.clone();
        let roster = self.0.roster.load_full();
        Ok(stream(admitted, move |send, admitted| {
            let identity = admitted.permit.identity();
            let Some(seer) = seer(&roster, identity, ledger.own()) else {
                return Ok(());
            };
            let mut chunks = BodyChunks {
                chunk: v1::BodyChunk {
                    start,
                    ..Default::default()
                },
                answers: vec![],
                bytes: 0,
                send,
            };
            let mut at = start;
            while at < end {
                let to = end.min(at + BODIES_AT_ONCE);
                let bodies = ledger.audited_bodies(&log, LogIndex(at), TreeSize(to), seer)?;
                if bodies.is_empty() || !bodies.into_iter().all(|body| chunks.put(body)) {
                    return Ok(());
                }
                at = to;
            }
            chunks.flush();
            Ok(())
        }))
    }

    async fn get_erasures(
        &self,
        request: Request<v1::GetErasuresRequest>,
    ) -> Result<Response<Self::GetErasuresStream>, Status> {
        let admitted = self.admit_call(&request, Method::GetErasures)?;
        let log = self.log(&request.get_ref().origin)?;
        let ledger = self.0.ledger.clone();
        Ok(stream(admitted, move |send, _| {
            for erasure in erasures_of(&ledger, &log.origin)? {
                if !send(erasure) {
                    return Ok(());
                }
            }
            Ok(())
        }))
    }

    async fn get_evidence(
        &self,
        request: Request<v1::GetEvidenceRequest>,
    ) -> Result<Response<Self::GetEvidenceStream>, Status> {
        let admitted = self.admit_call(&request, Method::GetEvidence)?;
        let evidence = self.0.evidence.clone();
        Ok(stream(admitted, move |send, _| {
            for pair in evidence.all()? {
                if !send(pair) {
                    return Ok(());
                }
            }
            Ok(())
        }))
    }
}

/// Entries in the bundles [first, end) of a log of `size`.
fn spanned(first: u64, end: u64, size: TreeSize) -> u64 {
    let at = |bundle: u64| bundle.saturating_mul(TILE_WIDTH).min(size.0);
    at(end) - at(first)
}
