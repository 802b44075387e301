//! A man in the middle for `demo --tamper`: it stands at the address that the
//! roster gives for one bureau, with that bureau's own TLS certificate, passes
//! everything on to the real node, and flips one byte of one entry on the way.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::{Stream, StreamExt};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::peers::MESSAGE_BYTES_MAX;
use crate::wire::v1::exchange_client::ExchangeClient;
use crate::wire::v1::{self, exchange_server};

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Passes the Exchange service of one node on, and changes what it carries.
#[derive(Clone, Debug)]
pub(super) struct Middle {
    real: ExchangeClient<Channel>,
    changed: Arc<AtomicBool>,
}

impl Middle {
    /// Stands before the node behind `channel`; says through `changed` that a
    /// byte was flipped.
    pub(super) fn new(channel: Channel, changed: Arc<AtomicBool>) -> Self {
        let real = ExchangeClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        Self { real, changed }
    }
}

/// Flips the lowest bit of the middle byte of the chunk's first entry.
fn flip(mut chunk: v1::Chunk) -> v1::Chunk {
    if let Some(entry) = chunk.entries.first_mut() {
        let mut bytes = entry.to_vec();
        let middle = bytes.len() / 2;
        if let Some(byte) = bytes.get_mut(middle) {
            *byte ^= 1;
        }
        *entry = bytes.into();
    }
    chunk
}

#[tonic::async_trait]
impl exchange_server::Exchange for Middle {
    type WatchStream = Answers<v1::CheckpointNotice>;
    type PullStream = Answers<v1::Chunk>;
    type GetBodiesStream = Answers<v1::BodyChunk>;

    async fn get_roster(
        &self,
        request: Request<v1::GetRosterRequest>,
    ) -> Result<Response<v1::GetRosterResponse>, Status> {
        self.real.clone().get_roster(request.into_inner()).await
    }

    async fn watch(
        &self,
        request: Request<v1::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let stream = self
            .real
            .clone()
            .watch(request.into_inner())
            .await?
            .into_inner();
        Ok(Response::new(Box::pin(stream)))
    }

    async fn get_checkpoint(
        &self,
        request: Request<v1::GetCheckpointRequest>,
    ) -> Result<Response<v1::CheckpointNotice>, Status> {
        self.real.clone().get_checkpoint(request.into_inner()).await
    }

    async fn pull(
        &self,
        request: Request<v1::PullRequest>,
    ) -> Result<Response<Self::PullStream>, Status> {
        let stream = self
            .real
            .clone()
            .pull(request.into_inner())
            .await?
            .into_inner();
        let changed = Arc::clone(&self.changed);
        let stream = stream.map(move |chunk| {
            changed.store(true, Ordering::SeqCst);
            chunk.map(flip)
        });
        Ok(Response::new(Box::pin(stream)))
    }

    async fn get_bodies(
        &self,
        request: Request<v1::GetBodiesRequest>,
    ) -> Result<Response<Self::GetBodiesStream>, Status> {
        let stream = self
            .real
            .clone()
            .get_bodies(request.into_inner())
            .await?
            .into_inner();
        Ok(Response::new(Box::pin(stream)))
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
        self.real
            .clone()
            .list_checkpoints(request.into_inner())
            .await
    }

    async fn get_consistency(
        &self,
        request: Request<v1::GetConsistencyRequest>,
    ) -> Result<Response<v1::GetConsistencyResponse>, Status> {
        self.real
            .clone()
            .get_consistency(request.into_inner())
            .await
    }
}
