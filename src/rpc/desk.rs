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
use super::status::to_officer;
use crate::ledger::LedgerError;
use crate::node::Parts;
use crate::policy::Method;
use crate::tls::Peer;
use crate::wire::v1::{self, AccessScope, desk_server};

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

/// The signed calls: each is opened, done and closed in a task of its own.
macro_rules! calls {
    ($($name:ident($request:ident) -> $response:ident: $scope:ident, $times:expr, $work:path;)*) => {
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
                        let call = desk.open::<v1::$request>(request, AccessScope::$scope);
                        let mut call = call.await?;
                        let result = $work(&mut call).await;
                        call.close(result).await
                    };
                    let limit = self.timeout.saturating_mul($times);
                    call::whole(limit, work).await.map(Response::new)
                }
            )*
        }
    };
}

calls! {
    publish(PublishRequest) -> PublishResponse: Local, WORK_TIMES, keep::publish;
    retract(RetractRequest) -> RetractResponse: Admin, WORK_TIMES, keep::retract;
    list_cases(ListCasesRequest) -> ListCasesResponse: Local, 1, view::list_cases;
    show_case(ShowCaseRequest) -> ShowCaseResponse: Local, 1, view::show_case;
    add_case(AddCaseRequest) -> AddCaseResponse: Admin, 1, keep::add_case;
    close_case(CloseCaseRequest) -> CloseCaseResponse: Admin, 1, keep::close_case;
    query(QueryRequest) -> QueryResponse: Local, WORK_TIMES, ask::query;
    links(LinksRequest) -> LinksResponse: Local, WORK_TIMES, ask::links;
    hits(HitsRequest) -> HitsResponse: Local, WORK_TIMES, ask::hits;
    list_officers(ListOfficersRequest) -> ListOfficersResponse: Admin, 1, keep::list_officers;
    add_officer(AddOfficerRequest) -> AddOfficerResponse: Admin, 1, keep::add_officer;
    suspend_officer(SuspendOfficerRequest) -> SuspendOfficerResponse: Admin, 1, keep::suspend_officer;
    keygen(KeygenRequest) -> KeygenResponse: Admin, WORK_TIMES, keep::keygen;
    show_log(ShowLogRequest) -> ShowLogResponse: Admin, WORK_TIMES, view::show_log;
}

impl DeskService {
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
