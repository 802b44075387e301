//! The audit port: the files of the own logs over HTTPS, in the layout of a
//! bundle, for auditors and for the own member's officers who may export
//! (PROTOCOL.md section 17). Straight from the store; each file of bodies or of
//! the access log's entries is itself a line in the access log, before the
//! answer leaves. Refusals are sentences in plain text.

pub mod client;

use std::fmt::Display;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method as Verb, StatusCode};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::admit::{Admitted, Asking, Gate};
use super::status::{CODE_HEADER, code_of, to_peer};
use crate::access::{AccessLine, AccessLog};
use crate::audit::export::ExportError;
use crate::audit::files::Files;
use crate::audit::layout::{
    BundlePath, EvidencePart, Folder, LogFile, PortPath, ReceiptPart, write_index,
};
use crate::audit::local::LedgerFiles;
use crate::blame::{Blame, Blamed};
use crate::ids::{FederationId, LogName, MemberId, Origin};
use crate::ledger::{BodyReader, Ledger, LedgerError, Seer};
use crate::policy::{Identity, Method, Subject};
use crate::roster::{MemberRole, Roster};
use crate::tls::{Peer, RosterHandle};
use crate::wire::v1::AccessScope;

/// Pieces of a file that wait for the reader.
const WAITING_MAX: usize = 4;
/// For what never changes: full tiles, rosters, witnessed checkpoints.
const FOR_EVER: &str = "private, max-age=31536000, immutable";
/// For what does: newest checkpoints, partial tiles, indices.
const FRESH: &str = "no-cache";
/// For what may be erased.
const NEVER: &str = "no-store";

/// There is no such file.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("there is no such file in any log of this node")]
struct NoFile;

impl Blamed for NoFile {
    fn blame(&self) -> Blame {
        Blame::NotFound
    }

    fn code(&self) -> &'static str {
        "audit.no_file"
    }
}

fn no_file() -> Status {
    let mut status = to_peer(&NoFile);
    let metadata = std::mem::take(status.metadata_mut());
    Status::with_metadata(status.code(), NoFile.to_string(), metadata)
}

/// Answers auditors, and the own officers.
#[derive(Clone, Debug)]
pub struct AuditPort(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    gate: Arc<Gate>,
    ledger: Ledger,
    access: AccessLog,
    roster: RosterHandle,
}

/// What a path names: whose, and which file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Asked {
    federation: FederationId,
    member: MemberId,
    path: PortPath,
}

impl Asked {
    fn parse(path: &str) -> Option<Self> {
        let path = path.strip_prefix('/')?;
        let (federation, path) = path.split_once('/')?;
        let (member, path) = path.split_once('/')?;
        Some(Self {
            federation: FederationId::new(federation).ok()?,
            member: MemberId::new(member).ok()?,
            path: path.parse().ok()?,
        })
    }

    /// The call that reading it is, by the policy's table.
    fn method(&self) -> Method {
        let file = match &self.path {
            PortPath::Index { .. } => return Method::ReadIndex,
            PortPath::File(file) => file,
        };
        match file {
            BundlePath::Roster(_) | BundlePath::RosterCheckpoint => Method::ReadRoster,
            BundlePath::Log { file, .. } => match file {
                LogFile::Checkpoint | LogFile::Witnessed(_) => Method::ReadCheckpoint,
                LogFile::Tile(tile) if tile.level.is_none() => Method::ReadEntries,
                LogFile::Tile(_) => Method::ReadTile,
                LogFile::Bodies(_) => Method::ReadBodies,
                LogFile::Dsse(_) | LogFile::Consistency { .. } => Method::ReadFile,
            },
            BundlePath::Receipt { .. } => Method::ReadReceipt,
            BundlePath::Evidence { .. } => Method::ReadEvidence,
            BundlePath::Erasures(_) => Method::ReadErasures,
            BundlePath::Description | BundlePath::Sums | BundlePath::Proof { .. } => {
                Method::ReadFile
            }
        }
    }

    /// The log whose bodies, or access lines, reading the file exports; such a
    /// reading is written down, whatever becomes of it.
    fn exports(&self) -> Option<Origin> {
        let PortPath::File(file) = &self.path else {
            return None;
        };
        let (member, log, generation) = match file {
            BundlePath::Log {
                log,
                generation,
                file,
            } => {
                let entries = matches!(file, LogFile::Tile(tile) if tile.level.is_none());
                let lines = entries && *log == LogName::Access;
                let is_export = lines || matches!(file, LogFile::Bodies(_));
                is_export.then_some((&self.member, *log, *generation))?
            }
            BundlePath::Receipt {
                member,
                generation,
                part: ReceiptPart::Body,
                ..
            } => (member, LogName::Records, *generation),
            _ => return None,
        };
        Some(Origin {
            federation: self.federation.clone(),
            member: member.clone(),
            log,
            generation,
        })
    }

    /// What kind of text or bytes it is, and for how long it may be kept.
    fn headers(&self) -> [(http::HeaderName, &'static str); 2] {
        const TEXT: &str = "text/plain; charset=utf-8";
        const BYTES: &str = "application/octet-stream";
        const JSON: &str = "application/jsonl";
        let (kind, cache) = match &self.path {
            PortPath::Index { .. } => (TEXT, FRESH),
            PortPath::File(file) => match file {
                BundlePath::Roster(_) => (BYTES, FOR_EVER),
                BundlePath::Log { file, .. } => match file {
                    LogFile::Witnessed(_) => (TEXT, FOR_EVER),
                    LogFile::Tile(tile) if tile.is_full() => (BYTES, FOR_EVER),
                    LogFile::Tile(_) => (BYTES, FRESH),
                    LogFile::Bodies(_) => (BYTES, NEVER),
                    _ => (TEXT, FRESH),
                },
                BundlePath::Receipt { part, .. } => match part {
                    ReceiptPart::Proof => (TEXT, FRESH),
                    ReceiptPart::Entry | ReceiptPart::Body => (BYTES, FRESH),
                },
                BundlePath::Evidence { part, .. } if *part == EvidencePart::About => (JSON, FRESH),
                BundlePath::Erasures(_) => (JSON, FRESH),
                _ => (TEXT, FRESH),
            },
        };
        [(CONTENT_TYPE, kind), (CACHE_CONTROL, cache)]
    }
}

impl AuditPort {
    /// Answers from `ledger`, to whom `gate` lets in.
    #[must_use]
    pub fn new(gate: Arc<Gate>, ledger: Ledger, access: AccessLog, roster: RosterHandle) -> Self {
        Self(Arc::new(Inner {
            gate,
            ledger,
            access,
            roster,
        }))
    }

    /// Answers one request for a file.
    pub async fn serve(self, request: Request) -> Response {
        if request.method() != Verb::GET && request.method() != Verb::HEAD {
            let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD");
            let verbs = HeaderValue::from_static("GET, HEAD");
            answer.headers_mut().insert(ALLOW, verbs);
            return answer;
        }
        let peer = request.extensions().get::<Peer>().cloned();
        let shown = request.method() == Verb::GET;
        match self.file(peer.as_ref(), request.uri().path(), shown).await {
            Ok(answer) => answer,
            Err(status) => refusal(&status),
        }
    }

    /// The file at a path; `shown` says whether its bytes go out.
    async fn file(&self, peer: Option<&Peer>, path: &str, shown: bool) -> Result<Response, Status> {
        let asked = Asked::parse(path);
        let method = asked.as_ref().map_or(Method::ReadFile, Asked::method);
        // Who may not come in learns nothing about which paths there are.
        let admitted = self.admit(peer, method)?;
        let asked = asked.ok_or_else(no_file)?;
        let Some(origin) = asked.exports() else {
            let whole = self.own(&asked)?;
            return self.answer(admitted, &asked, whole).await;
        };
        let found = self.exported(&admitted, &asked).await;
        let mut line = AccessLine::new(
            AccessScope::Export,
            method.as_str(),
            caller(admitted.permit.identity(), self.0.ledger.own()),
        );
        line.log = origin.to_string();
        match &found {
            Ok(entries) if shown => line.count = u32::try_from(*entries).unwrap_or(u32::MAX),
            Ok(_) => {}
            Err(refused) => line.outcome = code_of(refused),
        }
        let access = self.0.access.clone();
        blocking(move || access.write(line).map(|_| ())).await?;
        found?;
        if !shown {
            return Ok((asked.headers(), Body::empty()).into_response());
        }
        let path = self.own(&asked)?;
        self.answer(admitted, &asked, path).await
    }

    /// Admits a call; a refusal is counted for the access log.
    fn admit(&self, peer: Option<&Peer>, method: Method) -> Result<Admitted, Status> {
        let gate = &self.0.gate;
        gate.judge(peer, method)
            .inspect_err(|e| gate.deny(e, peer, method, Asking::default()))
            .map_err(|e| to_peer(&e))
    }

    /// What is asked for, if it is of the own member.
    fn own(&self, asked: &Asked) -> Result<PortPath, Status> {
        let own = &self.0.ledger.own_log(LogName::Records).origin;
        let is_own = own.federation == asked.federation && own.member == asked.member;
        is_own.then(|| asked.path.clone()).ok_or_else(no_file)
    }

    /// How many entries what is asked for has.
    async fn exported(&self, admitted: &Admitted, asked: &Asked) -> Result<u64, Status> {
        let PortPath::File(path) = self.own(asked)? else {
            return Err(no_file());
        };
        let identity = admitted.permit.identity().clone();
        let looked = self.with_files(identity, move |files| match &path {
            BundlePath::Receipt { .. } => Ok(files.get(&path)?.map(|_| 1)),
            _ => Ok(files.entries_in(&path)),
        });
        looked.await?.ok_or_else(no_file)
    }

    /// Reads off the async threads, with the caller's eyes.
    async fn with_files<R: Send + 'static>(
        &self,
        identity: Identity,
        read: impl FnOnce(&LedgerFiles<'_>) -> Result<R, ExportError> + Send + 'static,
    ) -> Result<R, Status> {
        let (ledger, roster) = (self.0.ledger.clone(), self.0.roster.load_full());
        let done = tokio::task::spawn_blocking(move || {
            let seer = seer(&roster, &identity, ledger.own()).ok_or_else(no_file)?;
            read(&LedgerFiles::new(&ledger, seer)).map_err(|e| to_peer(&e))
        });
        done.await
            .unwrap_or_else(|_| Err(to_peer(&LedgerError::Stopped)))
    }

    /// Answers with a file, or with a page of an index. Once the first piece is
    /// there the answer begins; one that then breaks off ends the connection.
    async fn answer(
        &self,
        admitted: Admitted,
        asked: &Asked,
        path: PortPath,
    ) -> Result<Response, Status> {
        let identity = admitted.permit.identity().clone();
        let file = match path {
            PortPath::Index { folder, from } => {
                let page = self.with_files(identity, move |files| index(files, folder, from));
                let page = page.await?;
                return Ok((asked.headers(), Body::from(page)).into_response());
            }
            PortPath::File(file) => file,
        };
        let (begun, begins) = oneshot::channel();
        let (sender, receiver) = mpsc::channel::<Result<Bytes, Status>>(WAITING_MAX);
        let port = self.clone();
        tokio::spawn(async move {
            let pieces = sender.clone();
            let read = port.with_files(identity, move |files| {
                let mut begun = Some(begun);
                files.pieces(&file, &mut |piece| {
                    // A reader who is gone needs nothing more.
                    let waits = begun.take().is_none_or(|begun| begun.send(()).is_ok());
                    waits && pieces.blocking_send(Ok(piece)).is_ok()
                })
            });
            match read.await {
                Ok(true) => {}
                Ok(false) => drop(sender.send(Err(no_file())).await),
                Err(status) => drop(sender.send(Err(status)).await),
            }
            drop(admitted);
        });
        let mut receiver = receiver;
        if begins.await.is_err() {
            // Nothing came: the file is not there, or could not be read.
            return Err(match receiver.recv().await {
                Some(Err(status)) => status,
                _ => to_peer(&LedgerError::Stopped),
            });
        }
        let body = Body::from_stream(ReceiverStream::new(receiver));
        Ok((asked.headers(), body).into_response())
    }
}

/// A page of the index of a folder.
fn index(
    files: &LedgerFiles<'_>,
    folder: Folder,
    from: Option<BundlePath>,
) -> Result<String, ExportError> {
    let all = files.list(folder)?;
    let at = from.map_or(0, |from| all.partition_point(|path| *path < from));
    Ok(write_index(folder, all.get(at..).unwrap_or_default()))
}

/// Who calls, as it stands in the access log: an own officer's name, an
/// auditor's member, or `member/officer`.
fn caller(identity: &Identity, own: &MemberId) -> String {
    match &identity.subject {
        Subject::Officer(officer) if identity.member == *own => officer.to_string(),
        Subject::Officer(officer) => format!("{}/{officer}", identity.member),
        Subject::Node => identity.member.to_string(),
    }
}

/// With whose eyes the caller sees bodies.
fn seer<'a>(roster: &'a Roster, identity: &Identity, own: &MemberId) -> Option<Seer<'a>> {
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

fn plain(status: StatusCode, sentence: &str) -> Response {
    let kind = [(CONTENT_TYPE, "text/plain; charset=utf-8")];
    (status, kind, format!("{sentence}\n")).into_response()
}

/// The refusal of a call, as HTTP says it: status, sentence, and the code.
fn refusal(status: &Status) -> Response {
    let said = match status.code() {
        Code::PermissionDenied | Code::Unauthenticated => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::InvalidArgument => StatusCode::BAD_REQUEST,
        Code::FailedPrecondition | Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let mut answer = plain(said, status.message());
    if let Ok(code) = HeaderValue::try_from(code_of(status)) {
        answer.headers_mut().insert(CODE_HEADER, code);
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::Asked;

    #[test]
    fn a_path_is_a_member_and_a_file_of_its_logs() {
        let asked = Asked::parse("/a.example/hefei/records/1/tile/0/000").expect("a path");
        assert_eq!(asked.member.as_str(), "hefei");
        assert_eq!(asked.path.to_string(), "records/1/tile/0/000");
        for bad in [
            "/",
            "/a.example/hefei",
            "/a.example/hefei/",
            "/a.example/hefei/records/1",
            "/a.example/hefei/records/1/",
            "/a.example/hefei/records/01/checkpoint",
            "//a.example/hefei/records/1/checkpoint",
            "/a.example/hefei/records/1//checkpoint",
            "/a.example/hefei/records/1/checkpoint/",
            "/a.example/hefei/other/1/checkpoint",
            "a.example/hefei/records/1/checkpoint",
            "/a.example/hefei/records/1/tile/0/..%2f000",
            "/a.example/hefei/roster/index/receipts",
        ] {
            assert!(Asked::parse(bad).is_none(), "{bad}");
        }
    }
}
