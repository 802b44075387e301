//! One call of an officer, from its admission to its line in the access log.
//! Whatever becomes of it, it leaves exactly one line, with its true outcome,
//! before its answer leaves: also when the caller goes away meanwhile, since a
//! call runs in a task of its own.

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tonic::{Extensions, Request, Status};

use super::error::DeskError;
use super::{DeskService, blocking};
use crate::access::officer::{self, OfficerSignatureError, Opened, Signed};
use crate::access::{AccessError, AccessLine, AccessLog, Begun, OfficerProof, commit_purpose};
use crate::blame::Blamed;
use crate::cases::{CaseError, case_ref};
use crate::find::FindError;
use crate::ids::CaseRef;
use crate::parts::Parts;
use crate::peers::status::{code_of, to_officer};
use crate::rpc::admit::{AdmitError, Admitted, Asking};
use crate::store::Batch;
use crate::tls::Peer;
use crate::wire::v1::{DeskPurpose, Purpose, SignedCall};

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
    /// Admits a call and checks that its officer signed it. What is refused here
    /// is in the access log when this returns.
    pub(super) async fn open<R: Signed>(
        &self,
        request: Request<SignedCall>,
    ) -> Result<Call<R>, Status> {
        let (_, extensions, signed) = request.into_parts();
        self.open_stream(&extensions, std::future::ready(Some(signed)))
            .await
    }

    /// As [`DeskService::open`], for a signed call that comes in a stream: a
    /// caller who is denied is read no further than `signed` may take.
    pub(super) async fn open_stream<R: Signed>(
        &self,
        extensions: &Extensions,
        signed: impl Future<Output = Option<SignedCall>>,
    ) -> Result<Call<R>, Status> {
        let peer = extensions.get::<Peer>();
        let judged = self.gate.judge(peer, R::METHOD);
        let opened = self.opened(peer, signed.await);
        match (judged, opened) {
            (Ok(admitted), Ok(opened)) => {
                let Opened { request, proof, .. } = opened;
                Ok(self.call(admitted, request, proof))
            }
            (Ok(admitted), Err(e)) => {
                // Whoever knocks with bad signatures all day leaves a line a
                // minute, as whom the gate turns away does.
                let (request, none) = (R::default(), OfficerProof::default());
                let mut line = self.call(admitted, request, none).line;
                e.code().clone_into(&mut line.outcome);
                self.parts.access.deny(line, false);
                self.write_denials().await?;
                Err(to_officer(&e))
            }
            (Err(e), opened) => {
                // Other denials come before the certificate is looked at again.
                let officer = match (&e, opened) {
                    (AdmitError::Denied(_), Ok(opened)) => opened.proof,
                    _ => OfficerProof::default(),
                };
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

    /// What the officer signed, if it counts now and was not taken before.
    fn opened<R: Signed>(
        &self,
        peer: Option<&Peer>,
        signed: Option<SignedCall>,
    ) -> Result<Opened<R>, OfficerSignatureError> {
        let (Some(peer), Some(signed)) = (peer, signed) else {
            return Err(OfficerSignatureError::Missing);
        };
        let mut opened = officer::open(peer.certificate(), &signed)?;
        opened.proof.taken_at = self.parts.access.take(&opened.said)?;
        let chain = peer.intermediates().map(Bytes::copy_from_slice);
        opened.proof.chain = chain.collect();
        Ok(opened)
    }

    fn call<R: Signed>(&self, admitted: Admitted, request: R, officer: OfficerProof) -> Call<R> {
        let method = admitted.permit.method().as_str();
        let caller = admitted.permit.officer();
        let caller = caller.map_or_else(String::new, ToString::to_string);
        Call {
            request,
            line: AccessLine {
                officer,
                ..AccessLine::new(R::SCOPE, method, caller)
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
        let purpose = Purpose {
            case_no: case_no.to_owned(),
            offence: given.offence,
            officer: self.line.caller.clone(),
            reason: given.reason,
            urgency: given.urgency,
        };
        let number = case_no.to_owned();
        let case = move |parts: &Parts| -> Result<_, CaseError> {
            let row = parts.cases.find(&number)?;
            Ok(row.map(|row| case_ref(&row)).transpose()?)
        };
        // A case that is not there yet has no ref.
        let case = self.read(case).await?.unwrap_or(CaseRef([0; 16]));
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
