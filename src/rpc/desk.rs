//! The Desk service: what officers of the own member ask. Every question that
//! names a purpose is in the access log before its answer leaves; what is
//! refused is logged too.

mod ask;
mod keep;
mod proof;
mod view;

use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use prost::Message;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::admit::{Admitted, Gate};
use super::keygen;
use super::status::{code_of, to_officer};
use crate::access::{AccessLine, OfficerProof};
use crate::blame::Blamed;
use crate::ledger::LedgerError;
use crate::node::Parts;
use crate::policy::Method;
use crate::wire::v1::{self, AccessScope, desk_server};

/// Answers the own officers.
#[derive(Clone, Debug)]
pub struct DeskService {
    gate: Arc<Gate>,
    parts: Arc<Parts>,
}

impl DeskService {
    /// Makes the service of a node.
    #[must_use]
    pub fn new(gate: Arc<Gate>, parts: Arc<Parts>) -> Self {
        Self { gate, parts }
    }

    /// Admits a call; a denial is logged, durably, before it is answered.
    async fn admit<T>(&self, request: &Request<T>, method: Method) -> Result<Admitted, Status> {
        match self.gate.admit(request, method) {
            Ok(admitted) => Ok(admitted),
            Err(e) => {
                let peer = request.extensions().get::<crate::tls::Peer>();
                let caller = peer.map_or_else(String::new, |p| p.identity.to_string());
                let mut line = AccessLine::new(AccessScope::Local, method.as_str(), caller);
                line.outcome = e.code().to_owned();
                self.log(line).await?;
                Err(to_officer(&e))
            }
        }
    }

    async fn log(&self, line: AccessLine) -> Result<(), Status> {
        let access = self.parts.access.clone();
        blocking(move || access.write(line).map_err(|e| to_officer(&e))).await?;
        Ok(())
    }

    /// A line for what `admitted` asks, with the officer's own signature over
    /// the request, which is required; its lack is logged too.
    async fn line<M: Message>(
        &self,
        admitted: &Admitted,
        scope: AccessScope,
        request: &Request<M>,
    ) -> Result<AccessLine, Status> {
        let officer = proof::of(admitted.permit.method(), request);
        self.proved(admitted, scope, officer).await
    }

    async fn proved(
        &self,
        admitted: &Admitted,
        scope: AccessScope,
        officer: Result<OfficerProof, Status>,
    ) -> Result<AccessLine, Status> {
        match officer {
            Ok(officer) => Ok(self.line_with(admitted, scope, officer)),
            Err(status) => {
                let line = self.line_with(admitted, scope, OfficerProof::default());
                Err(self.refuse(line, status).await)
            }
        }
    }

    /// Logs a refusal under its code, and returns it.
    async fn refuse(&self, mut line: AccessLine, status: Status) -> Status {
        line.outcome = code_of(&status);
        match self.log(line).await {
            Ok(()) => status,
            Err(unlogged) => unlogged,
        }
    }

    fn line_with(
        &self,
        admitted: &Admitted,
        scope: AccessScope,
        officer: OfficerProof,
    ) -> AccessLine {
        let method = admitted.permit.method().as_str();
        let caller = admitted
            .permit
            .officer()
            .map_or_else(String::new, ToString::to_string);
        AccessLine {
            officer,
            ..AccessLine::new(scope, method, caller)
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

#[tonic::async_trait]
impl desk_server::Desk for DeskService {
    type ImportStream = Events;

    async fn get_status(
        &self,
        request: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::GetStatusResponse>, Status> {
        let _admitted = self.admit(&request, Method::GetStatus).await?;
        Ok(Response::new(view::status(&self.parts).await))
    }

    async fn import(
        &self,
        request: Request<Streaming<v1::ImportPart>>,
    ) -> Result<Response<Events>, Status> {
        let admitted = self.admit(&request, Method::Import).await?;
        let events = keep::import(self, admitted, request).await?;
        Ok(Response::new(Box::pin(ReceiverStream::new(events))))
    }

    async fn publish(
        &self,
        request: Request<v1::PublishRequest>,
    ) -> Result<Response<v1::PublishResponse>, Status> {
        let admitted = self.admit(&request, Method::Publish).await?;
        Ok(Response::new(
            keep::publish(self, &admitted, request).await?,
        ))
    }

    async fn retract(
        &self,
        request: Request<v1::RetractRequest>,
    ) -> Result<Response<v1::RetractResponse>, Status> {
        let admitted = self.admit(&request, Method::Retract).await?;
        Ok(Response::new(
            keep::retract(self, &admitted, request).await?,
        ))
    }

    async fn list_cases(
        &self,
        request: Request<v1::ListCasesRequest>,
    ) -> Result<Response<v1::ListCasesResponse>, Status> {
        let admitted = self.admit(&request, Method::ListCases).await?;
        let line = self.line_with(&admitted, AccessScope::Local, OfficerProof::default());
        self.log(line).await?;
        let (parts, request) = (Arc::clone(&self.parts), request.into_inner());
        Ok(Response::new(
            blocking(move || view::cases(&parts, &request)).await?,
        ))
    }

    async fn show_case(
        &self,
        request: Request<v1::ShowCaseRequest>,
    ) -> Result<Response<v1::ShowCaseResponse>, Status> {
        let admitted = self.admit(&request, Method::ShowCase).await?;
        let line = self.line_with(&admitted, AccessScope::Local, OfficerProof::default());
        self.log(line).await?;
        let (parts, request) = (Arc::clone(&self.parts), request.into_inner());
        Ok(Response::new(
            blocking(move || view::case(&parts, &request.case_no)).await?,
        ))
    }

    async fn add_case(
        &self,
        request: Request<v1::AddCaseRequest>,
    ) -> Result<Response<v1::AddCaseResponse>, Status> {
        let admitted = self.admit(&request, Method::AddCase).await?;
        Ok(Response::new(
            keep::add_case(self, &admitted, request).await?,
        ))
    }

    async fn close_case(
        &self,
        request: Request<v1::CloseCaseRequest>,
    ) -> Result<Response<v1::CloseCaseResponse>, Status> {
        let admitted = self.admit(&request, Method::CloseCase).await?;
        Ok(Response::new(
            keep::close_case(self, &admitted, request).await?,
        ))
    }

    async fn query(
        &self,
        request: Request<v1::QueryRequest>,
    ) -> Result<Response<v1::QueryResponse>, Status> {
        let admitted = self.admit(&request, Method::Query).await?;
        Ok(Response::new(ask::query(self, &admitted, request).await?))
    }

    async fn links(
        &self,
        request: Request<v1::LinksRequest>,
    ) -> Result<Response<v1::LinksResponse>, Status> {
        let admitted = self.admit(&request, Method::Links).await?;
        Ok(Response::new(ask::links(self, &admitted, request).await?))
    }

    async fn hits(
        &self,
        request: Request<v1::HitsRequest>,
    ) -> Result<Response<v1::HitsResponse>, Status> {
        let admitted = self.admit(&request, Method::Hits).await?;
        Ok(Response::new(ask::hits(self, &admitted, request).await?))
    }

    async fn list_officers(
        &self,
        request: Request<v1::ListOfficersRequest>,
    ) -> Result<Response<v1::ListOfficersResponse>, Status> {
        let _admitted = self.admit(&request, Method::ListOfficers).await?;
        let officers = self.parts.officers.list();
        Ok(Response::new(v1::ListOfficersResponse { officers }))
    }

    async fn add_officer(
        &self,
        request: Request<v1::AddOfficerRequest>,
    ) -> Result<Response<v1::AddOfficerResponse>, Status> {
        let admitted = self.admit(&request, Method::AddOfficer).await?;
        let officer = keep::add_officer(self, &admitted, request.into_inner()).await?;
        Ok(Response::new(v1::AddOfficerResponse {
            officer: Some(officer),
        }))
    }

    async fn suspend_officer(
        &self,
        request: Request<v1::SuspendOfficerRequest>,
    ) -> Result<Response<v1::SuspendOfficerResponse>, Status> {
        let admitted = self.admit(&request, Method::SuspendOfficer).await?;
        let officer = keep::suspend_officer(self, &admitted, request.into_inner()).await?;
        Ok(Response::new(v1::SuspendOfficerResponse {
            officer: Some(officer),
        }))
    }

    async fn keygen(
        &self,
        request: Request<v1::KeygenRequest>,
    ) -> Result<Response<v1::KeygenResponse>, Status> {
        let admitted = self.admit(&request, Method::Keygen).await?;
        let plan = request.into_inner().plan.unwrap_or_default();
        self.log(keep::admin_line(self, &admitted)).await?;
        let parts = &self.parts;
        let key = keygen::run(&parts.custodian, &parts.peers, parts.ledger.own(), &plan).await;
        let key = key.map_err(|e| to_officer(&e))?;
        Ok(Response::new(v1::KeygenResponse { key: Some(key) }))
    }

    async fn show_log(
        &self,
        request: Request<v1::ShowLogRequest>,
    ) -> Result<Response<v1::ShowLogResponse>, Status> {
        let admitted = self.admit(&request, Method::ShowLog).await?;
        let line = self.line_with(&admitted, AccessScope::Admin, OfficerProof::default());
        self.log(line).await?;
        let (parts, request) = (Arc::clone(&self.parts), request.into_inner());
        Ok(Response::new(
            blocking(move || view::log(&parts, &request)).await?,
        ))
    }
}
