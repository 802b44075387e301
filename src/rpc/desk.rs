//! The Desk service: what officers of the own member ask. Every call but the
//! status is signed by its officer and leaves one line in the access log, with
//! its outcome, before its answer leaves (`call`); what is refused does too.

mod ask;
mod call;
mod error;
mod import;
mod keep;
mod view;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::admit::Gate;
use crate::access::officer::Signed;
use crate::ledger::LedgerError;
use crate::parts::Parts;
use crate::peers::status::to_officer;
use crate::policy::Method;
use crate::tls::Peer;
use crate::wire::each_desk_call;
use crate::wire::v1::{self, Limit, desk_server};

/// How many times longer than others a call may take that publishes, or reads
/// whole logs or all replicas.
const WORK_TIMES: u32 = 10;

/// Answers the own officers.
#[derive(Clone, Debug)]
pub struct DeskService {
    gate: Arc<Gate>,
    parts: Arc<Parts>,
    timeout: Duration,
}

impl DeskService {
    /// Makes the service of a node. A call that only looks into the node's own
    /// tables may take `timeout`, as may each wait of a stream; one that
    /// publishes or searches ten times as long.
    #[must_use]
    pub fn new(gate: Arc<Gate>, parts: Arc<Parts>, timeout: Duration) -> Self {
        Self {
            gate,
            parts,
            timeout,
        }
    }
}

/// Runs blocking work off the async threads.
async fn blocking<R: Send + 'static>(
    work: impl FnOnce() -> Result<R, Status> + Send + 'static,
) -> Result<R, Status> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(_) => Err(to_officer(&LedgerError::Stopped)),
    }
}

type Events = Pin<Box<dyn Stream<Item = Result<v1::ImportEvent, Status>> + Send>>;

/// What each signed call does, by the name of its method.
mod work {
    pub(super) use super::{ask::*, keep::*, view::*};
}

/// The signed calls: each is opened, done and closed in a task of its own.
macro_rules! calls {
    ($(#[doc = $doc:literal] $name:ident($request:ident) -> $response:ident;)*) => {
        #[tonic::async_trait]
        impl desk_server::Desk for DeskService {
            type ImportStream = Events;

            async fn get_status(
                &self,
                request: Request<v1::GetStatusRequest>,
            ) -> Result<Response<v1::GetStatusResponse>, Status> {
                self.status(request).await
            }

            async fn import(
                &self,
                request: Request<Streaming<v1::ImportPart>>,
            ) -> Result<Response<Events>, Status> {
                let desk = self.clone();
                let starting = async move { import::start(&desk, request).await };
                let events = call::whole(self.timeout, starting).await?;
                Ok(Response::new(Box::pin(ReceiverStream::new(events))))
            }

            $(
                async fn $name(
                    &self,
                    request: Request<v1::SignedCall>,
                ) -> Result<Response<v1::$response>, Status> {
                    let desk = self.clone();
                    let work = async move {
                        let mut call = desk.open::<v1::$request>(request).await?;
                        let result = work::$name(&mut call).await;
                        call.close(result).await
                    };
                    call::whole(self.limit::<v1::$request>(), work).await.map(Response::new)
                }
            )*
        }
    };
}

each_desk_call! { calls }

impl DeskService {
    /// How long a call may take.
    fn limit<R: Signed>(&self) -> Duration {
        match R::LIMIT {
            Limit::Work => self.timeout.saturating_mul(WORK_TIMES),
            Limit::Look | Limit::Unspecified => self.timeout,
        }
    }

    /// The status asks about no case: it is neither signed nor logged.
    async fn status(
        &self,
        request: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::GetStatusResponse>, Status> {
        let peer = request.extensions().get::<Peer>();
        match self.gate.judge(peer, Method::GetStatus) {
            Ok(_admitted) => {
                let status = tokio::time::timeout(self.timeout, view::status(&self.parts)).await;
                let seconds = self.timeout.as_secs();
                let status = status.map_err(|_| to_officer(&error::DeskError::TooSlow { seconds }));
                Ok(Response::new(status?))
            }
            Err(e) => {
                let asking = super::admit::Asking::default();
                self.gate.deny(&e, peer, Method::GetStatus, asking);
                self.write_denials().await?;
                Err(to_officer(&e))
            }
        }
    }
}
