//! One call of an officer, from its admission to its line in the access log.
//! Whatever becomes of it, it leaves exactly one line, with its true outcome,
//! before its answer leaves: also when the caller goes away meanwhile, since a
//! call runs in a task of its own.

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tonic::metadata::MetadataMap;
use tonic::{Extensions, Request, Status};

use super::error::DeskError;
use super::{DeskService, blocking, proof};
use crate::access::officer::{OfficerSignatureError, Signed};
use crate::access::{AccessError, AccessLine, AccessLog, Begun, OfficerProof, commit_purpose};
use crate::blame::Blamed;
use crate::cases::case_ref;
use crate::find::FindError;
use crate::ids::CaseRef;
use crate::node::Parts;
use crate::rpc::admit::{Admitted, Asking};
use crate::rpc::status::{code_of, to_officer};
use crate::store::Batch;
use crate::tls::Peer;
use crate::wire::v1::{AccessScope, DeskPurpose, Purpose};

/// Bytes that offence, reason and urgency may have together.
const PURPOSE_BYTES_MAX: usize = 2_048;
/// The outcome of a failure that has no code.
const UNCODED: &str = "desk.failed";

/// An admitted request whose officer signed it.
pub(super) struct Call<R> {
    pub(super) request: R,
    pub(super) line: AccessLine,
    pub(super) admitted: Admitted,
    desk: DeskService,
    begun: Option<Begun>,
    written: bool,
}

/// A change's line, to be made durable together with the change.
pub(super) struct Stamp {
    access: AccessLog,
    line: AccessLine,
}

impl Stamp {
    /// Commits the change with its line.
    pub(super) fn commit(self, batch: Batch) -> Result<(), AccessError> {
        self.access.write_with(self.line, batch).map(drop)
    }
}

impl DeskService {
    /// Admits a request and checks that its officer signed it. What is refused
    /// here is in the access log when this returns.
    pub(super) async fn open<R: Signed>(
        &self,
        request: Request<R>,
        scope: AccessScope,
    ) -> Result<Call<R>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let peer = extensions.get::<Peer>();
        let officer = || proof::of(&self.parts.access, &metadata, peer, &request);
        match self.gate.judge(peer, R::METHOD) {
            Ok(admitted) => {
                let officer = officer();
                self.start(admitted, request, scope, officer).await
            }
            Err(e) => {
                let officer = officer().unwrap_or_default();
                let asking = Asking {
                    officer,
                    ..Asking::default()
                };
                self.gate.deny(&e, peer, R::METHOD, asking);
                self.write_denials().await?;
                Err(to_officer(&e))
            }
        }
    }

    /// As [`DeskService::open`], for options that come in a stream: a caller who
    /// is denied is read no further than `request` may take.
    pub(super) async fn open_stream<R: Signed + Default>(
        &self,
        (metadata, extensions): (MetadataMap, Extensions),
        request: impl Future<Output = Option<R>>,
        scope: AccessScope,
    ) -> Result<Call<R>, Status> {
        let peer = extensions.get::<Peer>();
        let judged = self.gate.judge(peer, R::METHOD);
        let request = request.await;
        let officer = match &request {
            Some(request) => proof::of(&self.parts.access, &metadata, peer, request),
            None => Err(OfficerSignatureError::Missing),
        };
        match (judged, request) {
            (Err(e), _) => {
                let officer = officer.unwrap_or_default();
                let asking = Asking {
                    officer,
                    ..Asking::default()
                };
                self.gate.deny(&e, peer, R::METHOD, asking);
                self.write_denials().await?;
                Err(to_officer(&e))
            }
            (Ok(admitted), Some(request)) => self.start(admitted, request, scope, officer).await,
            (Ok(admitted), None) => {
                let call = self.call(admitted, R::default(), scope, OfficerProof::default());
                call.close(Err(to_officer(&DeskError::NoOptions))).await
            }
        }
    }

    async fn start<R: Signed>(
        &self,
        admitted: Admitted,
        request: R,
        scope: AccessScope,
        officer: Result<OfficerProof, OfficerSignatureError>,
    ) -> Result<Call<R>, Status> {
        match officer {
            Ok(officer) => Ok(self.call(admitted, request, scope, officer)),
            Err(e) => {
                let call = self.call(admitted, request, scope, OfficerProof::default());
                call.close(Err(to_officer(&e))).await
            }
        }
    }

    fn call<R>(
        &self,
        admitted: Admitted,
        request: R,
        scope: AccessScope,
        officer: OfficerProof,
    ) -> Call<R> {
        let method = admitted.permit.method().as_str();
        let caller = admitted.permit.officer();
        let caller = caller.map_or_else(String::new, ToString::to_string);
        Call {
            request,
            line: AccessLine {
                officer,
                ..AccessLine::new(scope, method, caller)
            },
            admitted,
            desk: self.clone(),
            begun: None,
            written: false,
        }
    }

    /// Writes the denials that are due, so that none is answered before.
    pub(super) async fn write_denials(&self) -> Result<(), Status> {
        let access = self.parts.access.clone();
        let write = move || {
            access.opened()?;
            access.write_denials(false)
        };
        blocking(move || write().map_err(|e| to_officer(&e))).await
    }
}

impl<R> Call<R> {
    /// The node's parts.
    pub(super) fn parts(&self) -> &Arc<Parts> {
        &self.desk.parts
    }

    /// How long one step of a call may wait.
    pub(super) fn timeout(&self) -> Duration {
        self.desk.timeout
    }

    /// The whole purpose of a request about `case_no`, which is noted in the
    /// line; refused without an offence and a reason.
    pub(super) async fn purpose(
        &mut self,
        case_no: &str,
        given: Option<&DeskPurpose>,
        count: u32,
    ) -> Result<Purpose, Status> {
        let given = given.cloned().unwrap_or_default();
        let bytes = given.offence.len() + given.reason.len() + given.urgency.len();
        let empty = given.offence.trim().is_empty() || given.reason.trim().is_empty();
        if empty || bytes > PURPOSE_BYTES_MAX {
            return Err(to_officer(&FindError::NoPurpose));
        }
        let number = case_no.to_owned();
        let row = self.read(move |parts| parts.cases.named(&number)).await;
        let row = row.ok().flatten();
        let purpose = Purpose {
            case_no: row
                .as_ref()
                .map_or_else(|| case_no.to_owned(), |row| row.case_no.clone()),
            offence: given.offence,
            officer: self.line.caller.clone(),
            reason: given.reason,
            urgency: given.urgency,
        };
        let case = row.map(|row| case_ref(&row));
        let case = case.unwrap_or(CaseRef([0; 16]));
        let committed = commit_purpose(&purpose, &case, count);
        self.line.purposes.push(committed.opened);
        Ok(purpose)
    }

    /// Runs work over the node's parts off the async threads.
    pub(super) async fn read<A, E>(
        &self,
        work: impl FnOnce(&Parts) -> Result<A, E> + Send + 'static,
    ) -> Result<A, Status>
    where
        A: Send + 'static,
        E: Blamed + Display,
    {
        let parts = Arc::clone(self.parts());
        blocking(move || work(&parts).map_err(|e| to_officer(&e))).await
    }

    /// Runs a change that is one batch of the store, durable together with the
    /// call's line.
    pub(super) async fn change<A, E>(
        &mut self,
        work: impl FnOnce(&Parts, Stamp) -> Result<A, E> + Send + 'static,
    ) -> Result<A, Status>
    where
        A: Send + 'static,
        E: Blamed + Display,
    {
        let stamp = Stamp {
            access: self.parts().access.clone(),
            line: self.line.clone(),
        };
        let changed = self.read(move |parts| work(parts, stamp)).await?;
        self.written = true;
        Ok(changed)
    }

    /// Notes durably that the call is about to change something in more than
    /// one step: its line is written even if the node breaks off meanwhile.
    pub(super) async fn begin(&mut self) -> Result<(), Status> {
        let (access, line) = (self.parts().access.clone(), self.line.clone());
        let begun = blocking(move || access.begin(&line).map_err(|e| to_officer(&e))).await?;
        self.begun = Some(begun);
        Ok(())
    }

    /// Writes the line with the call's outcome, and only then gives the answer out.
    pub(super) async fn close<A>(mut self, result: Result<A, Status>) -> Result<A, Status> {
        if self.written {
            return result;
        }
        if let Err(status) = &result {
            let code = code_of(status);
            self.line.outcome = if code.is_empty() {
                UNCODED.into()
            } else {
                code
            };
        }
        let (access, line, begun) = (self.parts().access.clone(), self.line, self.begun);
        let write = move || match begun {
            Some(begun) => access.end(&begun, line),
            None => access.write(line),
        };
        blocking(move || write().map_err(|e| to_officer(&e))).await?;
        result
    }
}

/// Runs a call to its end, also when its caller goes away or waits no longer.
pub(super) async fn whole<A: Send + 'static>(
    limit: Duration,
    work: impl Future<Output = Result<A, Status>> + Send + 'static,
) -> Result<A, Status> {
    match tokio::time::timeout(limit, tokio::spawn(work)).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(to_officer(&DeskError::BrokenOff)),
        Err(_) => {
            let seconds = limit.as_secs();
            Err(to_officer(&DeskError::TooSlow { seconds }))
        }
    }
}
