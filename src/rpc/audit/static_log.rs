//! The static log over HTTPS (C2SP tlog-tiles): `/FEDERATION/MEMBER/LOG/GEN/`
//! and below it `checkpoint`, `checkpoints/SIZE` and `tile/...`, from the same
//! gate and the same store as the RPCs. Refusals are sentences in plain text.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method as Verb, StatusCode};
use tonic::{Code, Status};

use super::{AuditService, blocking};
use crate::audit::layout::{LogFile, TilePath};
use crate::audit::local::{bundle_bytes, newest_checkpoint, size_of};
use crate::ids::{LogName, Origin};
use crate::ledger::Log;
use crate::peers::status::{CODE_HEADER, code_of};
use crate::policy::Method;
use crate::tls::Peer;

/// For what never changes: full tiles.
const FOR_EVER: &str = "private, max-age=31536000, immutable";
/// For what does: the newest checkpoint, and partial tiles.
const FRESH: &str = "no-cache";

/// A file that is served.
struct Served {
    bytes: Bytes,
    kind: &'static str,
    cache: &'static str,
}

/// Answers one request for a file of a log.
pub async fn serve(service: AuditService, request: Request) -> Response {
    if request.method() != Verb::GET && request.method() != Verb::HEAD {
        let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD");
        answer
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return answer;
    }
    let peer = request.extensions().get::<Peer>().cloned();
    let shown = request.method() == Verb::GET;
    match file(&service, peer.as_ref(), request.uri().path(), shown).await {
        Ok(Served { bytes, kind, cache }) => {
            let headers = [(CONTENT_TYPE, kind), (CACHE_CONTROL, cache)];
            // The server leaves the body of an answer to HEAD away.
            (headers, Body::from(bytes)).into_response()
        }
        Err(status) => refusal(&status),
    }
}

/// The file at a path; `shown` says whether its bytes go out.
async fn file(
    service: &AuditService,
    peer: Option<&Peer>,
    path: &str,
    shown: bool,
) -> Result<Served, Status> {
    // Who may not come in learns nothing about which paths there are.
    let admitted = service.admit(peer, Method::ReadStaticLog)?;
    let no_file = || Status::not_found("there is no such file in any log of this node");
    let (origin, file) = split(path).ok_or_else(no_file)?;
    let log = service.own_log(&origin)?;
    match file {
        LogFile::Checkpoint => checkpoint(service, log).await,
        LogFile::Witnessed(size) => {
            let ledger = service.0.ledger.clone();
            let notes = blocking(move || ledger.witnessed_notes(&log, size)).await?;
            let of_size = |note: &Bytes| size_of(note) == Some(size);
            let bytes = notes
                .into_iter()
                .next()
                .filter(of_size)
                .ok_or_else(no_file)?;
            Ok(text(bytes, FOR_EVER))
        }
        LogFile::Tile(path) => {
            if !path.is_in(log.head().checkpoint_size) {
                return Err(no_file());
            }
            if path.level.is_none() && log.origin.log == LogName::Access {
                let entries = if shown { u64::from(path.width) } else { 0 };
                let (permit, origin) = (&admitted.permit, Some(&log.origin));
                service.log_export(permit, origin, Ok(entries)).await?;
            }
            tile(service, log, path).await?.ok_or_else(no_file)
        }
        LogFile::Bodies(_) | LogFile::Dsse(_) | LogFile::Consistency { .. } => Err(no_file()),
    }
}

async fn checkpoint(service: &AuditService, log: Arc<Log>) -> Result<Served, Status> {
    let ledger = service.0.ledger.clone();
    let state = blocking(move || newest_checkpoint(&ledger, &log)).await?;
    Ok(text(state.checkpoint, FRESH))
}

async fn tile(
    service: &AuditService,
    log: Arc<Log>,
    path: TilePath,
) -> Result<Option<Served>, Status> {
    let ledger = service.0.ledger.clone();
    let bytes = blocking(move || match path.level {
        Some(level) => ledger.tile_bytes(&log, level, path.index.0, path.width),
        None => bundle_bytes(&ledger, &log, path).map(Some),
    })
    .await?;
    let cache = if path.is_full() { FOR_EVER } else { FRESH };
    Ok(bytes.map(|bytes| Served {
        bytes,
        kind: "application/octet-stream",
        cache,
    }))
}

fn text(bytes: Bytes, cache: &'static str) -> Served {
    Served {
        bytes,
        kind: "text/plain; charset=utf-8",
        cache,
    }
}

/// Splits a path into a log's name and the file in it.
fn split(path: &str) -> Option<(Origin, LogFile)> {
    let path = path.strip_prefix('/')?;
    let (at, _) = path.match_indices('/').nth(3)?;
    let (origin, file) = path.split_at(at);
    Some((origin.parse().ok()?, file.strip_prefix('/')?.parse().ok()?))
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
    use super::split;

    #[test]
    fn a_path_is_a_log_and_a_file_in_it() {
        let (origin, file) = split("/a.example/hefei/records/1/tile/0/000").expect("a path");
        assert_eq!(origin.to_string(), "a.example/hefei/records/1");
        assert_eq!(file.to_string(), "tile/0/000");
        for bad in [
            "/",
            "/a.example/hefei/records/1",
            "/a.example/hefei/records/1/",
            "/a.example/hefei/records/01/checkpoint",
            "//a.example/hefei/records/1/checkpoint",
            "/a.example/hefei/records/1//checkpoint",
            "/a.example/hefei/records/1/checkpoint/",
            "/a.example/hefei/other/1/checkpoint",
            "a.example/hefei/records/1/checkpoint",
            "/a.example/hefei/records/1/tile/0/..%2f000",
        ] {
            assert!(split(bad).is_none(), "{bad}");
        }
    }
}
