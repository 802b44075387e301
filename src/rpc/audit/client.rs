//! The audit port of one node as files. Blocks: it is used on a thread of its
//! own while a runtime drives the connection, until it is told to stop.

use std::future::Future;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use http::StatusCode;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tonic::Status;
use tonic::transport::Channel;
use tower::ServiceExt;

use crate::audit::export::{ExportError, SourceError};
use crate::audit::files::Files;
use crate::audit::layout::{BundlePath, Folder, PortPath, read_index};
use crate::blame::{Blame, Blamed};
use crate::clock::Clock;
use crate::ids::{FederationId, MemberId};
use crate::rpc::desk_client::{DeskCallError, call_error, channel};
use crate::rpc::status::CODE_HEADER;
use crate::tls::{Material, RosterHandle};

/// Files that are asked for in a second: half of what a node grants a member.
const FILES_PER_S: NonZeroU32 = NonZeroU32::new(250).expect("250 is not 0");
/// How often a file is asked for that meets a limit of the node's.
const ATTEMPTS_MAX: u32 = 6;
/// How long is waited before the second time; then twice as long each time.
const PAUSE_MS: u64 = 200;
/// Files that one folder may have.
const LIST_MAX: usize = 1_000_000;
/// The most bytes of an index, and of the words of a refusal.
const INDEX_BYTES_MAX: usize = 1 << 20;
const WORDS_BYTES_MAX: usize = 4 << 10;

/// Whom a caller is and how it judges whom it calls.
#[derive(Clone, Debug)]
pub struct Dial {
    /// The caller's certificate and key.
    pub material: Material,
    /// The newest roster that the caller knows.
    pub roster: RosterHandle,
    /// The time.
    pub clock: Clock,
}

impl Dial {
    /// The roster's own words for where a member's audit port is.
    #[must_use]
    pub fn audit_endpoint(&self, member: &MemberId) -> Option<String> {
        let roster = Arc::clone(&self.roster.load());
        let endpoint = roster.member(member)?.audit_endpoint.clone();
        (!endpoint.is_empty()).then_some(endpoint)
    }
}

/// The files of a member's logs, as its node shows them to the caller.
#[derive(Debug)]
pub struct PortFiles {
    runtime: Handle,
    /// Says whether to give up; nobody does without a sender.
    stop: watch::Receiver<bool>,
    channel: Channel,
    endpoint: String,
    /// `/FEDERATION/MEMBER/`.
    root: String,
    pace: DefaultDirectRateLimiter,
}

impl PortFiles {
    /// The files of the node of `member` at `endpoint` (`host:port`), which is
    /// connected to at the first one, until `stop` says true.
    ///
    /// # Errors
    /// [`DeskCallError::Address`].
    pub fn new(
        runtime: Handle,
        dial: &Dial,
        (federation, member): (&FederationId, &MemberId),
        endpoint: &str,
        stop: watch::Receiver<bool>,
    ) -> Result<Self, DeskCallError> {
        let (material, roster) = (dial.material.clone(), Arc::clone(&dial.roster));
        let connected = {
            let _entered = runtime.enter();
            let clock = dial.clock.clone();
            channel(material, roster, clock, member.clone(), endpoint)?
        };
        Ok(Self {
            runtime,
            stop,
            channel: connected,
            endpoint: endpoint.to_owned(),
            root: format!("/{federation}/{member}/"),
            pace: RateLimiter::direct(Quota::per_second(FILES_PER_S)),
        })
    }

    /// Waits for an answer, or for the word to give up.
    fn wait<T>(
        &self,
        answer: impl Future<Output = Result<T, ExportError>>,
    ) -> Result<T, ExportError> {
        let mut stop = self.stop.clone();
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                Ok(_) = stop.wait_for(|stop| *stop) => Err(ExportError::Stopped),
                answer = answer => answer,
            }
        })
    }

    /// Fetches a file; one that meets a limit is asked for again.
    async fn fetch(&self, path: &PortPath, max: usize) -> Result<Option<Bytes>, ExportError> {
        let mut pause = Duration::from_millis(PAUSE_MS);
        for attempt in 1.. {
            self.pace.until_ready().await;
            match self.ask(path, max).await {
                Err(ExportError::Source(error))
                    if error.blame == Blame::Busy && attempt < ATTEMPTS_MAX =>
                {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                answer => return answer,
            }
        }
        Err(ExportError::Stopped)
    }

    async fn ask(&self, path: &PortPath, max: usize) -> Result<Option<Bytes>, ExportError> {
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
            let status = Status::from_error(error);
            source_error(&call_error(&self.endpoint, &status))
        };
        let request = http::Request::get(format!("{}{path}", self.root));
        let request =
            request
                .body(tonic::body::Body::empty())
                .map_err(|_| ExportError::Malformed {
                    what: "a path that is none",
                })?;
        let answer = self.channel.clone().oneshot(request).await;
        let (head, body) = answer.map_err(|e| failed(e.into()))?.into_parts();
        let body = axum::body::Body::new(body);
        let said = |name: &str| {
            let value = head.headers.get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        match head.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            status => {
                let words = axum::body::to_bytes(body, WORDS_BYTES_MAX).await;
                let words = words.unwrap_or_default();
                return Err(ExportError::Source(SourceError {
                    code: said(CODE_HEADER),
                    blame: blame_of(status),
                    sentence: String::from_utf8_lossy(&words).trim().to_owned(),
                }));
            }
        }
        let longer = |said: &str| said.parse::<usize>().is_ok_and(|length| length > max);
        if longer(&said("content-length")) {
            return Err(too_long());
        }
        read(body, max)
            .await
            .map(Some)
            .map_err(|error| match error {
                Some(error) => failed(error),
                None => too_long(),
            })
    }
}

fn too_long() -> ExportError {
    ExportError::Malformed {
        what: "a file is too long",
    }
}

/// Reads a body of at most `max` bytes; without an error it is a longer one.
async fn read(
    body: axum::body::Body,
    max: usize,
) -> Result<Bytes, Option<Box<dyn std::error::Error + Send + Sync>>> {
    use futures_util::StreamExt;
    let mut pieces = body.into_data_stream();
    let mut out = vec![];
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| Some(error.into_inner()))?;
        if out.len() + piece.len() > max {
            return Err(None);
        }
        out.extend_from_slice(&piece);
    }
    Ok(out.into())
}

/// Who has to act, by what HTTP says.
fn blame_of(status: StatusCode) -> Blame {
    match status {
        StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => Blame::Denied,
        StatusCode::TOO_MANY_REQUESTS => Blame::Busy,
        StatusCode::BAD_REQUEST | StatusCode::METHOD_NOT_ALLOWED => Blame::Misbehaved,
        StatusCode::SERVICE_UNAVAILABLE => Blame::Unavailable,
        _ => Blame::Internal,
    }
}

/// What a failed call is to whoever reads files.
fn source_error(error: &DeskCallError) -> ExportError {
    ExportError::Source(SourceError {
        code: error.shown_code().to_owned(),
        blame: error.blame(),
        sentence: error.to_string(),
    })
}

impl Files for PortFiles {
    fn get(&self, path: &BundlePath) -> Result<Option<Bytes>, ExportError> {
        self.wait(self.fetch(&PortPath::File(path.clone()), path.bytes_max()))
    }

    fn get_all(&self, paths: &[BundlePath]) -> Result<Vec<Option<Bytes>>, ExportError> {
        let files = paths.iter().map(|path| async {
            let file = PortPath::File(path.clone());
            self.fetch(&file, path.bytes_max()).await
        });
        self.wait(async { join_all(files).await.into_iter().collect() })
    }

    fn list(&self, folder: Folder) -> Result<Vec<BundlePath>, ExportError> {
        let malformed = |what| ExportError::Malformed { what };
        let mut files: Vec<BundlePath> = vec![];
        let mut from = None;
        loop {
            let page = PortPath::Index { folder, from };
            let text = self.wait(self.fetch(&page, INDEX_BYTES_MAX))?;
            let text = text.ok_or_else(|| malformed("an index is missing"))?;
            let text = std::str::from_utf8(&text);
            let text = text.map_err(|_| malformed("an index that is no text"))?;
            let (names, next) = read_index(folder, text)?;
            files.extend(names);
            let ascends = files.is_sorted_by(|a, b| a < b);
            if !ascends || files.len() > LIST_MAX || next.as_ref() <= files.last() && next.is_some()
            {
                return Err(malformed("an index that is out of order"));
            }
            if next.is_none() {
                return Ok(files);
            }
            from = next;
        }
    }
}
