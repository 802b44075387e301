//! The client side of the Audit service of one node.

use tonic::transport::Channel;
use tonic::{Response, Status};

use crate::clock::Clock;
use crate::ids::MemberId;
use crate::peers::MESSAGE_BYTES_MAX;
use crate::rpc::desk_client::{DeskCallError, call_error, channel};
use crate::tls::{Material, RosterHandle};
use crate::wire::v1;
use crate::wire::v1::audit_client::AuditClient as Inner;

/// A client of the Audit service of one node. Clones share the connection.
#[derive(Clone, Debug)]
pub struct AuditClient {
    inner: Inner<Channel>,
    endpoint: String,
}

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

impl AuditClient {
    /// Makes a client of the node of `member` at `endpoint` (`host:port`),
    /// which connects at the first call. Needs a running tokio.
    ///
    /// # Errors
    /// [`DeskCallError::Address`].
    pub fn new(dial: &Dial, member: MemberId, endpoint: &str) -> Result<Self, DeskCallError> {
        let (material, roster) = (dial.material.clone(), std::sync::Arc::clone(&dial.roster));
        let channel = channel(material, roster, dial.clock.clone(), member, endpoint)?;
        Ok(Self {
            inner: Inner::new(channel)
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX),
            endpoint: endpoint.to_owned(),
        })
    }

    /// The calls, as they are generated.
    #[must_use]
    pub fn calls(&self) -> Inner<Channel> {
        self.inner.clone()
    }

    /// What a call's failure means.
    #[must_use]
    pub fn failed(&self, status: &Status) -> DeskCallError {
        call_error(&self.endpoint, status)
    }

    /// The own logs of the node's member, with their newest checkpoints.
    ///
    /// # Errors
    /// [`DeskCallError`].
    pub async fn list_logs(&self) -> Result<Vec<v1::AuditLog>, DeskCallError> {
        let answer = self.calls().list_logs(v1::ListLogsRequest {}).await;
        let answer = answer.map_err(|s| self.failed(&s))?;
        Ok(answer.into_inner().logs)
    }

    /// What was erased of a records log, in the order in which it was signed.
    ///
    /// # Errors
    /// [`DeskCallError`].
    pub async fn erasures(&self, origin: &str) -> Result<Vec<v1::Erasure>, DeskCallError> {
        let origin = origin.to_owned();
        let request = v1::GetErasuresRequest { origin };
        let answer = self.calls().get_erasures(request).await;
        self.all(answer).await
    }

    /// Pairs of signed notes that contradict each other.
    ///
    /// # Errors
    /// [`DeskCallError`].
    pub async fn evidence(&self) -> Result<Vec<v1::EvidencePair>, DeskCallError> {
        let answer = self.calls().get_evidence(v1::GetEvidenceRequest {}).await;
        self.all(answer).await
    }

    async fn all<T>(
        &self,
        answer: Result<Response<tonic::Streaming<T>>, Status>,
    ) -> Result<Vec<T>, DeskCallError> {
        let mut stream = answer.map_err(|s| self.failed(&s))?.into_inner();
        let mut out = vec![];
        while let Some(item) = stream.message().await.map_err(|s| self.failed(&s))? {
            out.push(item);
        }
        Ok(out)
    }
}
