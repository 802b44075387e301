//! The client side: one connection a member, kept and shared, over mutual TLS
//! that expects exactly that member's node.

mod witness;

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};

use super::MESSAGE_BYTES_MAX;
use super::shown::{Noting, ShownSink};
use super::status::{blame_of, code_of};
use crate::blame::Blame;
use crate::clock::{Clock, UnixSeconds};
use crate::ids::{LogIndex, MemberId, Origin, TreeSize};
use crate::replicate::{PeerError, PeerTransport, chunk_channel};
use crate::rosterlog::RosterLogTransport;
use crate::tls::{Material, RosterHandle, connector, refusal_in};
use crate::tokens::{CustodianTransport, TransportError};
use crate::wire::v1;
use crate::wire::v1::custodian_client::CustodianClient;
use crate::wire::v1::exchange_client::ExchangeClient;

/// How long connecting may take.
const CONNECT_S: u64 = 10;
/// How long one unary call may take.
const CALL_S: u64 = 30;
/// How long asking for a budget may take: it is only shown.
const BUDGET_S: u64 = 3;
/// How often an idle connection is probed.
const KEEP_ALIVE_S: u64 = 15;
/// HTTP/2 window of a stream: large, since chunks are.
const WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// Connections to the nodes of the roster's members.
#[derive(Debug)]
pub struct PeerClients {
    material: Material,
    roster: RosterHandle,
    clock: Clock,
    channels: Mutex<HashMap<(MemberId, String), Channel>>,
    shown: Option<Arc<ShownSink>>,
}

/// A connection to one member's node.
pub type PeerChannel = Noting<Channel>;

impl PeerClients {
    /// Makes the client side of a node; connects when first asked.
    #[must_use]
    pub fn new(material: Material, roster: RosterHandle, clock: Clock) -> Self {
        Self {
            material,
            roster,
            clock,
            channels: Mutex::default(),
            shown: None,
        }
    }

    /// Hands on the checkpoints that come with answers.
    #[must_use]
    pub fn noting(mut self, shown: ShownSink) -> Self {
        self.shown = Some(Arc::new(shown));
        self
    }

    fn channel(&self, member: &MemberId) -> Result<PeerChannel, PeerError> {
        let channel = self.connection(member)?;
        Ok(Noting::new(channel, member.clone(), self.shown.clone()))
    }

    fn connection(&self, member: &MemberId) -> Result<Channel, PeerError> {
        let unknown = |sentence: String| PeerError {
            member: member.clone(),
            sentence,
            blame: Blame::Unavailable,
            code: "peer.no_endpoint".into(),
        };
        let roster = self.roster.load();
        let endpoint = roster
            .member(member)
            .map(|m| m.peer_endpoint.clone())
            .ok_or_else(|| unknown("it is not in the roster".into()))?;
        let key = (member.clone(), endpoint);
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(&key) {
            return Ok(channel.clone());
        }
        let channel = Endpoint::from_shared(format!("http://{}", key.1))
            .map_err(|e| unknown(e.to_string()))?
            .connect_timeout(Duration::from_secs(CONNECT_S))
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(KEEP_ALIVE_S))
            .keep_alive_while_idle(true)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .connect_with_connector_lazy(connector(
                self.material.clone(),
                Arc::clone(&self.roster),
                self.clock.clone(),
                member.clone(),
            ));
        channels.insert(key, channel.clone());
        Ok(channel)
    }

    fn exchange(&self, member: &MemberId) -> Result<ExchangeClient<PeerChannel>, PeerError> {
        Ok(ExchangeClient::new(self.channel(member)?)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX))
    }

    /// A client of a member's Custodian service.
    ///
    /// # Errors
    /// [`PeerError`] when the roster has no endpoint for it.
    pub fn custodian(&self, member: &MemberId) -> Result<CustodianClient<PeerChannel>, PeerError> {
        Ok(CustodianClient::new(self.channel(member)?)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX))
    }

    /// What this node's member has spent today at a custodian.
    ///
    /// # Errors
    /// [`PeerError`].
    pub async fn budget(&self, member: &MemberId) -> Result<v1::GetBudgetResponse, PeerError> {
        let mut request = tonic::Request::new(v1::GetBudgetRequest {});
        request.set_timeout(Duration::from_secs(BUDGET_S));
        let answer = self.custodian(member)?.get_budget(request).await;
        Ok(answer.map_err(|s| peer_error(member, &s))?.into_inner())
    }

    /// Asks a member's node whether it has rosters after version `after`, and
    /// what time it is there: the `date` of its answer, where it gives one.
    ///
    /// # Errors
    /// [`PeerError`], also when there is no answer within `seconds`.
    pub async fn clock_of(
        &self,
        member: &MemberId,
        after: u64,
        seconds: u64,
    ) -> Result<Option<UnixSeconds>, PeerError> {
        let request = tonic::Request::new(v1::GetRosterRequest { after });
        let mut exchange = self.exchange(member)?;
        let limit = Duration::from_secs(seconds);
        let answer = tokio::time::timeout(limit, exchange.get_roster(request)).await;
        let late = || Status::unavailable(format!("no answer within {seconds} s"));
        let answer = answer.unwrap_or_else(|_| Err(late()));
        let answer = answer.map_err(|s| peer_error(member, &s))?;
        Ok(answer
            .metadata()
            .get("date")
            .and_then(|v| v.to_str().ok())
            .and_then(http_date))
    }

    /// What a member's node runs and speaks, if it says so.
    ///
    /// # Errors
    /// [`PeerError`].
    pub async fn software_of(
        self: &Arc<Self>,
        member: &MemberId,
    ) -> Result<Option<v1::Software>, PeerError> {
        Ok(self.checkpoints(member).await?.software)
    }

    /// The rosters after version `after` that a member has, with its note of the
    /// roster log.
    ///
    /// # Errors
    /// [`PeerError`].
    pub async fn rosters(
        &self,
        member: &MemberId,
        after: u64,
    ) -> Result<v1::GetRosterResponse, PeerError> {
        let mut request = tonic::Request::new(v1::GetRosterRequest { after });
        request.set_timeout(Duration::from_secs(CALL_S));
        let answer = self.exchange(member)?.get_roster(request).await;
        Ok(answer.map_err(|s| peer_error(member, &s))?.into_inner())
    }
}

impl RosterLogTransport for Arc<PeerClients> {
    async fn offer_rosters(
        &self,
        member: &MemberId,
        request: v1::AddCheckpointRequest,
    ) -> Result<v1::AddCheckpointResponse, PeerError> {
        let mut request = tonic::Request::new(request);
        request.set_timeout(Duration::from_secs(CALL_S));
        let answer = self.exchange(member)?.add_checkpoint(request).await;
        Ok(answer.map_err(|s| peer_error(member, &s))?.into_inner())
    }
}

/// Reads a date of HTTP, such as `Sun, 22 Nov 2026 10:00:00 GMT`.
fn http_date(text: &str) -> Option<UnixSeconds> {
    let form = time::macros::format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let read = time::PrimitiveDateTime::parse(text, form).ok()?;
    Some(read.assume_utc().unix_timestamp())
}

/// Makes an error of a status, with the TLS refusal behind it in words.
#[must_use]
pub fn peer_error(member: &MemberId, status: &Status) -> PeerError {
    let refusal = refusal_in(status);
    let sentence = match &refusal {
        Some(refusal) => refusal.to_string(),
        None if status.code() == Code::Unavailable => {
            let mut text = status.message().to_owned();
            let mut source = std::error::Error::source(status);
            while let Some(inner) = source {
                text = inner.to_string();
                source = inner.source();
            }
            format!("its node does not answer ({text})")
        }
        None => status.message().to_owned(),
    };
    PeerError {
        member: member.clone(),
        sentence,
        blame: if refusal.is_some() {
            Blame::Denied
        } else {
            blame_of(status.code())
        },
        code: code_of(status),
    }
}

/// Hands a stream's messages on through a bounded channel.
fn forward<T: Send + 'static>(
    member: &MemberId,
    mut stream: Streaming<T>,
    limit: Option<Duration>,
) -> mpsc::Receiver<Result<T, PeerError>> {
    let (sender, receiver) = chunk_channel();
    let member = member.clone();
    tokio::spawn(async move {
        loop {
            let message = tokio::select! {
                message = next_message(&mut stream, limit) => message,
                () = sender.closed() => return,
            };
            let item = match message {
                Ok(Some(message)) => Ok(message),
                Ok(None) => return,
                Err(status) => Err(peer_error(&member, &status)),
            };
            let ended = item.is_err();
            if sender.send(item).await.is_err() || ended {
                return;
            }
        }
    });
    receiver
}

/// The next message of a stream; a sender that says nothing for `limit` is as
/// good as gone, and must not hold a turn.
async fn next_message<T>(
    stream: &mut Streaming<T>,
    limit: Option<Duration>,
) -> Result<Option<T>, Status> {
    match limit {
        None => stream.message().await,
        Some(limit) => tokio::time::timeout(limit, stream.message())
            .await
            .unwrap_or_else(|_| Err(Status::unavailable("no message came in time"))),
    }
}

/// Waits for the head of a streamed answer, within the time of a call.
async fn started<T>(
    answer: impl Future<Output = Result<tonic::Response<Streaming<T>>, Status>>,
) -> Result<Streaming<T>, Status> {
    let limit = Duration::from_secs(CALL_S);
    match tokio::time::timeout(limit, answer).await {
        Ok(answer) => Ok(answer?.into_inner()),
        Err(_) => Err(Status::unavailable("no answer came in time")),
    }
}

impl PeerTransport for Arc<PeerClients> {
    async fn watch(
        &self,
        member: &MemberId,
    ) -> Result<mpsc::Receiver<Result<v1::CheckpointNotice, PeerError>>, PeerError> {
        let mut client = self.exchange(member)?;
        let stream = started(client.watch(v1::WatchRequest {})).await;
        Ok(forward(
            member,
            stream.map_err(|s| peer_error(member, &s))?,
            None,
        ))
    }

    async fn pull(
        &self,
        member: &MemberId,
        origin: &Origin,
        start: LogIndex,
    ) -> Result<mpsc::Receiver<Result<v1::Chunk, PeerError>>, PeerError> {
        let request = v1::PullRequest {
            origin: origin.to_string(),
            start: start.0,
        };
        let mut client = self.exchange(member)?;
        let stream = started(client.pull(request)).await;
        let stream = stream.map_err(|s| peer_error(member, &s))?;
        Ok(forward(member, stream, Some(Duration::from_secs(CALL_S))))
    }

    async fn checkpoint(
        &self,
        member: &MemberId,
        origin: &Origin,
    ) -> Result<v1::CheckpointNotice, PeerError> {
        let mut request = tonic::Request::new(v1::GetCheckpointRequest {
            origin: origin.to_string(),
        });
        request.set_timeout(Duration::from_secs(CALL_S));
        let answer = self.exchange(member)?.get_checkpoint(request).await;
        Ok(answer.map_err(|s| peer_error(member, &s))?.into_inner())
    }

    async fn checkpoints(
        &self,
        member: &MemberId,
    ) -> Result<v1::ListCheckpointsResponse, PeerError> {
        let mut request = tonic::Request::new(v1::ListCheckpointsRequest {});
        request.set_timeout(Duration::from_secs(CALL_S));
        let answer = self.exchange(member)?.list_checkpoints(request).await;
        Ok(answer.map_err(|s| peer_error(member, &s))?.into_inner())
    }

    async fn consistency(
        &self,
        member: &MemberId,
        origin: &Origin,
        old: TreeSize,
        size: TreeSize,
    ) -> Result<v1::GetConsistencyResponse, PeerError> {
        let mut request = tonic::Request::new(v1::GetConsistencyRequest {
            origin: origin.to_string(),
            old_size: old.0,
            size: size.0,
        });
        request.set_timeout(Duration::from_secs(CALL_S));
        let answer = self.exchange(member)?.get_consistency(request).await;
        Ok(answer.map_err(|s| peer_error(member, &s))?.into_inner())
    }

    async fn bodies(
        &self,
        member: &MemberId,
        origin: &Origin,
        ranges: Vec<(u64, u64)>,
    ) -> Result<mpsc::Receiver<Result<v1::BodyChunk, PeerError>>, PeerError> {
        let request = v1::GetBodiesRequest {
            origin: origin.to_string(),
            ranges: ranges
                .into_iter()
                .map(|(start, end)| v1::IndexRange { start, end })
                .collect(),
        };
        let mut client = self.exchange(member)?;
        let stream = started(client.get_bodies(request)).await;
        let stream = stream.map_err(|s| peer_error(member, &s))?;
        Ok(forward(member, stream, Some(Duration::from_secs(CALL_S))))
    }
}

impl CustodianTransport for PeerClients {
    async fn evaluate(
        &self,
        member: &MemberId,
        request: v1::EvaluateRequest,
    ) -> Result<v1::EvaluateResponse, TransportError> {
        let client = self.custodian(member);
        let mut client = client.map_err(|e| TransportError::Unreachable {
            reason: e.to_string(),
        })?;
        let mut request = tonic::Request::new(request);
        request.set_timeout(Duration::from_secs(CALL_S));
        match client.evaluate(request).await {
            Ok(answer) => Ok(answer.into_inner()),
            Err(status) => {
                let error = peer_error(member, &status);
                if error.code.is_empty() {
                    Err(TransportError::Unreachable {
                        reason: error.sentence,
                    })
                } else {
                    Err(TransportError::Refused {
                        code: error.code,
                        blame: error.blame,
                    })
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_of_http_is_read_and_anything_else_is_not() {
        assert_eq!(
            http_date("Sun, 22 Nov 2026 00:00:10 GMT"),
            Some(1_795_305_610)
        );
        for bad in [
            "",
            "Sun, 22 Nov 2026 00:00:10",
            "Sun, 32 Nov 2026 00:00:10 GMT",
            "1795305610",
        ] {
            assert_eq!(http_date(bad), None, "{bad}");
        }
    }
}
