//! A front before one member's node that answers falsely: another history of
//! the member's log for some callers, old checkpoints, proofs that do not hold.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use casegate::ids::{LogIndex, MemberId, Origin, TreeSize};
use casegate::ledger::{BodyReader, Ledger, Log};
use casegate::replicate::notice_of;
use casegate::roster::Roster;
use casegate::rpc::MESSAGE_BYTES_MAX;
use casegate::rpc::shown::CHECKPOINT_HEADER;
use casegate::tls::Peer;
use casegate::wire::v1::exchange_client::ExchangeClient;
use casegate::wire::v1::{self, exchange_server};
use futures_util::{Stream, TryStreamExt};
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Another history, and the roster by which its bodies are given out.
type Fork = (Ledger, Arc<Roster>);

/// What the front does; changed while it stands.
#[derive(Clone, Default)]
pub(crate) struct Tricks {
    /// Who is shown the other history.
    pub(crate) fooled: Arc<Mutex<BTreeSet<MemberId>>>,
    /// The other history.
    pub(crate) fork: Arc<Mutex<Option<Fork>>>,
    /// What rides on answers to those who are not fooled.
    pub(crate) header: Arc<Mutex<Option<Bytes>>>,
    /// What is listed instead of what the node holds.
    pub(crate) listed: Arc<Mutex<Option<Vec<v1::CheckpointNotice>>>>,
    /// What the node says that it runs and speaks, instead of the truth.
    pub(crate) software: Arc<Mutex<Option<v1::Software>>>,
    /// Whether proofs are changed on the way.
    pub(crate) lies: Arc<AtomicBool>,
    /// What everybody is given in place of the node's own answers.
    pub(crate) instead: Arc<Mutex<Instead>>,
}

/// Makes another answer about bodies of the node's.
pub(crate) type Change = Arc<dyn Fn(&mut v1::BodyChunk) + Send + Sync>;

/// Answers in place of the node's own.
#[derive(Clone, Default)]
pub(crate) struct Instead {
    /// The one chunk of a pull.
    pub(crate) chunk: Option<v1::Chunk>,
    /// What is done to answers about bodies.
    pub(crate) bodies: Option<Change>,
}

pub(crate) struct Front {
    real: ExchangeClient<Channel>,
    tricks: Tricks,
}

impl Front {
    pub(crate) fn new(channel: Channel, tricks: Tricks) -> Self {
        let real = ExchangeClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        Self { real, tricks }
    }

    fn fork<T>(&self, request: &Request<T>) -> Option<(Ledger, Arc<Roster>, MemberId)> {
        let peer = request.extensions().get::<Peer>().expect("a peer");
        let caller = peer.identity.member.clone();
        let fooled = self.tricks.fooled.lock().expect("lock").contains(&caller);
        let fork = self.tricks.fork.lock().expect("lock").clone();
        fork.filter(|_| fooled).map(|(l, r)| (l, r, caller))
    }

    fn instead(&self) -> Instead {
        self.tricks.instead.lock().expect("lock").clone()
    }

    fn with_header<T>(&self, mut answer: Response<T>) -> Response<T> {
        let header = self.tricks.header.lock().expect("lock").clone();
        if let Some(note) = header {
            let value = MetadataValue::from_bytes(&note);
            answer.metadata_mut().insert_bin(CHECKPOINT_HEADER, value);
        }
        answer
    }
}

fn log_of(ledger: &Ledger, origin: &str) -> Result<Arc<Log>, Status> {
    let origin: Origin = origin.parse().map_err(|_| Status::not_found("no log"))?;
    ledger.log(&origin).map_err(|_| Status::not_found("no log"))
}

fn stream<T: Send + 'static>(items: Vec<T>) -> Answers<T> {
    Box::pin(futures_util::stream::iter(items.into_iter().map(Ok)))
}

#[tonic::async_trait]
impl exchange_server::Exchange for Front {
    type WatchStream = Answers<v1::CheckpointNotice>;
    type PullStream = Answers<v1::Chunk>;
    type GetBodiesStream = Answers<v1::BodyChunk>;

    async fn get_roster(
        &self,
        request: Request<v1::GetRosterRequest>,
    ) -> Result<Response<v1::GetRosterResponse>, Status> {
        let answer = self.real.clone().get_roster(request.into_inner()).await?;
        Ok(self.with_header(answer))
    }

    async fn watch(
        &self,
        request: Request<v1::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        if let Some((ledger, ..)) = self.fork(&request) {
            let log = ledger.own_log(casegate::ids::LogName::Records);
            let notice = notice_of(&log.origin, log.head().checkpoint);
            return Ok(Response::new(stream(vec![notice])));
        }
        let answer = self.real.clone().watch(request.into_inner()).await?;
        let software = Arc::clone(&self.tricks.software);
        let notices = answer.into_inner().map_ok(move |mut notice| {
            if let Some(software) = software.lock().expect("lock").clone() {
                notice.software = Some(software);
            }
            notice
        });
        Ok(Response::new(Box::pin(notices)))
    }

    async fn get_checkpoint(
        &self,
        request: Request<v1::GetCheckpointRequest>,
    ) -> Result<Response<v1::CheckpointNotice>, Status> {
        if let Some((ledger, ..)) = self.fork(&request)
            && let Ok(log) = log_of(&ledger, &request.get_ref().origin)
        {
            return Ok(Response::new(notice_of(&log.origin, log.head().checkpoint)));
        }
        self.real.clone().get_checkpoint(request.into_inner()).await
    }

    async fn pull(
        &self,
        request: Request<v1::PullRequest>,
    ) -> Result<Response<Self::PullStream>, Status> {
        if let Some((ledger, ..)) = self.fork(&request)
            && let Ok(log) = log_of(&ledger, &request.get_ref().origin)
        {
            let chunk = ledger.chunk(&log, LogIndex(request.get_ref().start), 1_000);
            let chunk = chunk.expect("a chunk");
            return Ok(Response::new(stream(chunk.into_iter().collect())));
        }
        if let Some(chunk) = self.instead().chunk {
            return Ok(Response::new(stream(vec![chunk])));
        }
        let answer = self.real.clone().pull(request.into_inner()).await?;
        Ok(Response::new(Box::pin(answer.into_inner())))
    }

    async fn get_bodies(
        &self,
        request: Request<v1::GetBodiesRequest>,
    ) -> Result<Response<Self::GetBodiesStream>, Status> {
        if let Some((ledger, roster, caller)) = self.fork(&request)
            && let Ok(log) = log_of(&ledger, &request.get_ref().origin)
        {
            let reader = BodyReader {
                member: roster.member(&caller).expect("a member"),
                roster: &roster,
            };
            let chunks = request.get_ref().ranges.iter().map(|range| {
                let chunk = ledger.serve_bodies(&log, LogIndex(range.start), range.end, reader);
                chunk.expect("bodies")
            });
            return Ok(Response::new(stream(chunks.collect())));
        }
        let answer = self.real.clone().get_bodies(request.into_inner()).await?;
        let change = self.instead().bodies;
        let changed = answer.into_inner().map_ok(move |mut chunk| {
            if let Some(change) = &change {
                change(&mut chunk);
            }
            chunk
        });
        Ok(Response::new(Box::pin(changed)))
    }

    async fn add_checkpoint(
        &self,
        request: Request<v1::AddCheckpointRequest>,
    ) -> Result<Response<v1::AddCheckpointResponse>, Status> {
        self.real.clone().add_checkpoint(request.into_inner()).await
    }

    async fn list_checkpoints(
        &self,
        request: Request<v1::ListCheckpointsRequest>,
    ) -> Result<Response<v1::ListCheckpointsResponse>, Status> {
        let listed = self.tricks.listed.lock().expect("lock").clone();
        if let Some(checkpoints) = listed {
            return Ok(Response::new(v1::ListCheckpointsResponse {
                checkpoints,
                software: None,
            }));
        }
        let mut real = self.real.clone();
        let mut answer = real.list_checkpoints(request.into_inner()).await?;
        if let Some(software) = self.tricks.software.lock().expect("lock").clone() {
            answer.get_mut().software = Some(software);
        }
        Ok(answer)
    }

    async fn get_consistency(
        &self,
        request: Request<v1::GetConsistencyRequest>,
    ) -> Result<Response<v1::GetConsistencyResponse>, Status> {
        if let Some((ledger, ..)) = self.fork(&request)
            && let Ok(log) = log_of(&ledger, &request.get_ref().origin)
        {
            let (old, size) = (request.get_ref().old_size, request.get_ref().size);
            let (old, size) = (TreeSize(old), TreeSize(size));
            if size > log.size() {
                return Err(Status::not_found("fewer entries"));
            }
            let hash = |d: casegate::ids::Digest| Bytes::copy_from_slice(&d.0);
            let proof = ledger.consistency(&log, old, size).expect("a proof");
            return Ok(Response::new(v1::GetConsistencyResponse {
                old_root: hash(ledger.root_at(&log, old).expect("a root")),
                consistency: proof.into_iter().map(hash).collect(),
            }));
        }
        let answer = self
            .real
            .clone()
            .get_consistency(request.into_inner())
            .await;
        let mut answer = answer?;
        if self.tricks.lies.load(SeqCst) {
            answer.get_mut().old_root = vec![7; 32].into();
        }
        Ok(answer)
    }
}
