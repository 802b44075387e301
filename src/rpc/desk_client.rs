//! The officer's side of the Desk service: one connection to the node of the
//! officer's own member, and the officer's signature under every request but
//! that for the status ([`signature`]). Errors say whether the node refused, and
//! with which code, or was out of reach.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status, Streaming};

use crate::access::officer::{OfficerSignatureError, Signed};
use crate::blame::{Blame, Blamed};
use crate::clock::Clock;
use crate::ids::MemberId;
use crate::peers::MESSAGE_BYTES_MAX;
use crate::peers::status::{blame_of, code_of};
use crate::tls::{Material, RosterHandle, TlsRefusal, connector, refusal_in};
use crate::wire::{each_desk_call, v1};

pub mod signature;

/// How long connecting may take, in seconds.
const CONNECT_S: u64 = 10;
/// How long a call may take that only reads the node's own tables, in seconds.
const CALL_S: u64 = 30;
/// How long a call may take that publishes or searches all replicas, in seconds.
const WORK_S: u64 = 300;
/// How often an idle connection is probed, in seconds.
const KEEP_ALIVE_S: u64 = 15;

/// Why the node gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum DeskCallError {
    /// The address is not `host:port`.
    #[error("{endpoint:?} is not an address such as 127.0.0.1:7441")]
    Address {
        /// The address as it was given.
        endpoint: String,
    },
    /// One of the ends refused the other's certificate, or no TLS was spoken.
    #[error(transparent)]
    Tls(TlsRefusal),
    /// The node is not there.
    #[error("the node at {endpoint} does not answer ({detail})")]
    Unreachable {
        /// Where it was expected.
        endpoint: String,
        /// What the network said.
        detail: String,
    },
    /// The node answered with a refusal or a failure.
    #[error("{sentence}")]
    Answered {
        /// The stable code; empty when the node gave none.
        code: String,
        /// What the node says.
        sentence: String,
        /// Who has to act.
        blame: Blame,
    },
    /// The officer's key does not sign.
    #[error(transparent)]
    Sign(#[from] OfficerSignatureError),
}

impl Blamed for DeskCallError {
    fn blame(&self) -> Blame {
        match self {
            Self::Address { .. } => Blame::Misbehaved,
            Self::Tls(refusal) => refusal.blame(),
            Self::Unreachable { .. } => Blame::Unavailable,
            Self::Answered { blame, .. } => *blame,
            Self::Sign(error) => error.blame(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Address { .. } => "node.address",
            Self::Tls(refusal) => refusal.code(),
            Self::Unreachable { .. } => "node.unreachable",
            Self::Answered { .. } => "node.answered",
            Self::Sign(error) => error.code(),
        }
    }
}

impl DeskCallError {
    /// The code that people and scripts see: the node's own where it gave one.
    #[must_use]
    pub fn shown_code(&self) -> &str {
        match self {
            Self::Answered { code, .. } if !code.is_empty() => code,
            Self::Address { .. }
            | Self::Tls(_)
            | Self::Unreachable { .. }
            | Self::Answered { .. }
            | Self::Sign(_) => self.code(),
        }
    }
}

/// A client of the Desk service of one node.
#[derive(Clone, Debug)]
pub struct DeskClient {
    inner: v1::desk_client::DeskClient<Channel>,
    material: Material,
    clock: Clock,
    endpoint: String,
}

/// A piece of a file that is imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilePart {
    /// The next bytes.
    Bytes(Bytes),
    /// There are no more: without this the node takes the file for cut.
    End,
}

/// The signed calls.
macro_rules! calls {
    ($(#[$doc:meta] $name:ident($request:ident) -> $response:ident;)*) => {
        impl DeskClient {
            $(
                #[$doc]
                ///
                /// # Errors
                /// [`DeskCallError`].
                pub async fn $name(
                    &self,
                    request: v1::$request,
                ) -> Result<v1::$response, DeskCallError> {
                    let call = timed(self.signed(&request)?, seconds::<v1::$request>());
                    let answer = self.inner.clone().$name(call).await;
                    answer.map(Response::into_inner).map_err(|s| self.failed(&s))
                }
            )*
        }
    };
}

each_desk_call! { calls }

impl DeskClient {
    /// Makes a client of the node of `member` at `endpoint` (`host:port`),
    /// which connects at the first call. Needs a running tokio.
    ///
    /// # Errors
    /// [`DeskCallError::Address`].
    pub fn new(
        material: Material,
        roster: RosterHandle,
        clock: Clock,
        member: MemberId,
        endpoint: &str,
    ) -> Result<Self, DeskCallError> {
        let signing = clock.clone();
        let channel = channel(material.clone(), roster, clock, member, endpoint)?;
        Ok(Self::over(channel, material, signing, endpoint))
    }

    /// What the node is doing, and how old its replicas are; nobody signs for it.
    ///
    /// # Errors
    /// [`DeskCallError`].
    pub async fn get_status(
        &self,
        request: v1::GetStatusRequest,
    ) -> Result<v1::GetStatusResponse, DeskCallError> {
        let answer = self.inner.clone().get_status(timed(request, CALL_S)).await;
        answer
            .map(Response::into_inner)
            .map_err(|s| self.failed(&s))
    }

    fn over(channel: Channel, material: Material, clock: Clock, endpoint: &str) -> Self {
        let inner = v1::desk_client::DeskClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        Self {
            inner,
            material,
            clock,
            endpoint: endpoint.to_owned(),
        }
    }

    fn signed<R: Signed>(&self, request: &R) -> Result<v1::SignedCall, DeskCallError> {
        Ok(signature::sign(&self.material, self.clock.now(), request)?)
    }

    /// Starts an import: `options` first, then what comes through `parts`. The
    /// file is whole when [`FilePart::End`] comes; dropping the answer cancels it.
    ///
    /// # Errors
    /// [`DeskCallError`].
    pub async fn import(
        &self,
        options: v1::ImportOptions,
        parts: mpsc::Receiver<FilePart>,
    ) -> Result<ImportEvents, DeskCallError> {
        use tokio_stream::StreamExt;
        let first = v1::ImportPart {
            call: Some(self.signed(&options)?),
            ..Default::default()
        };
        let mut sent = 0_u64;
        let rest = ReceiverStream::new(parts).map(move |part| match part {
            FilePart::Bytes(bytes) => {
                sent = sent.saturating_add(bytes.len() as u64);
                v1::ImportPart {
                    bytes,
                    ..Default::default()
                }
            }
            FilePart::End => v1::ImportPart {
                end: Some(v1::ImportEnd { bytes: sent }),
                ..Default::default()
            },
        });
        let call = Request::new(tokio_stream::once(first).chain(rest));
        let answer = self.inner.clone().import(call).await;
        let events = answer
            .map(Response::into_inner)
            .map_err(|s| self.failed(&s))?;
        Ok(ImportEvents {
            events,
            client: self.clone(),
        })
    }

    /// Turns a status into an error, with the TLS refusal behind it in words.
    fn failed(&self, status: &Status) -> DeskCallError {
        call_error(&self.endpoint, status)
    }
}

/// What the failure of a call to the node at `endpoint` means.
pub(super) fn call_error(endpoint: &str, status: &Status) -> DeskCallError {
    if let Some(refusal) = refusal_in(status) {
        return DeskCallError::Tls(refusal);
    }
    let code = code_of(status);
    if code.is_empty() && status.code() == Code::Unavailable {
        return DeskCallError::Unreachable {
            endpoint: endpoint.to_owned(),
            detail: innermost(status),
        };
    }
    DeskCallError::Answered {
        code,
        sentence: status.message().to_owned(),
        blame: blame_of(status.code()),
    }
}

/// A connection to the node of `member`, made at the first call.
pub(super) fn channel(
    material: Material,
    roster: RosterHandle,
    clock: Clock,
    member: MemberId,
    endpoint: &str,
) -> Result<Channel, DeskCallError> {
    let endpoint = Endpoint::from(address(endpoint)?)
        .connect_timeout(Duration::from_secs(CONNECT_S))
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(KEEP_ALIVE_S))
        .keep_alive_while_idle(true);
    let connector = connector(material, roster, clock, member);
    Ok(endpoint.connect_with_connector_lazy(connector))
}

/// What the node says while it imports.
#[derive(Debug)]
pub struct ImportEvents {
    events: Streaming<v1::ImportEvent>,
    client: DeskClient,
}

impl ImportEvents {
    /// The next event; `None` after the last. Safe to cancel.
    ///
    /// # Errors
    /// [`DeskCallError`].
    pub async fn next(&mut self) -> Result<Option<v1::import_event::Event>, DeskCallError> {
        loop {
            match self
                .events
                .message()
                .await
                .map_err(|s| self.client.failed(&s))?
            {
                None => return Ok(None),
                Some(v1::ImportEvent { event: Some(event) }) => return Ok(Some(event)),
                // An event of a later version: not for this client.
                Some(v1::ImportEvent { event: None }) => {}
            }
        }
    }
}

/// Checks that a text is `host:port` and nothing else.
fn address(endpoint: &str) -> Result<http::Uri, DeskCallError> {
    let uri = format!("http://{endpoint}").parse::<http::Uri>().ok();
    let plain = !endpoint.contains(['/', '@', '?', '#']);
    uri.filter(|uri| plain && uri.port_u16().is_some() && uri.host().is_some_and(|h| !h.is_empty()))
        .ok_or_else(|| DeskCallError::Address {
            endpoint: endpoint.to_owned(),
        })
}

/// How long a call may take.
fn seconds<R: Signed>() -> u64 {
    match R::LIMIT {
        v1::Limit::Work => WORK_S,
        v1::Limit::Look | v1::Limit::Unspecified => CALL_S,
    }
}

fn timed<T>(message: T, seconds: u64) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(Duration::from_secs(seconds));
    request
}

/// The last cause of a status, which is what the network said.
fn innermost(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut source = std::error::Error::source(status);
    while let Some(inner) = source {
        text = inner.to_string();
        source = inner.source();
    }
    text
}

#[cfg(test)]
pub(crate) mod tests;
