//! A node's listeners: mutual TLS for one kind of caller each, and the services
//! that stand behind it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::body::Body;
use tonic::service::interceptor::InterceptedService;
use tonic::service::{LayerExt, Routes};
use tonic::transport::Server;
use tonic::transport::server::Router;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_reflection::server::v1::{ServerReflection, ServerReflectionServer};
use tower::util::MapResponseLayer;

use super::{NodeError, Parts};
use crate::config::Limits;
use crate::policy::Method;
use crate::rpc::MESSAGE_BYTES_MAX;
use crate::rpc::admit::{Behind, Gate};
use crate::rpc::custodian::CustodianService;
use crate::rpc::desk::DeskService;
use crate::rpc::exchange::Exchange;
use crate::rpc::refusals::worded;
use crate::rpc::shown::stamp;
use crate::tls::{ListenerKind, TlsServer, accept};
use crate::wire::{FILE_DESCRIPTORS, v1};

/// HTTP/2 window of a stream: large, since chunks are.
pub(super) const WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// Streams that one connection may have open.
pub(super) const STREAMS_MAX: u32 = 256;
/// How often an idle connection is probed, in seconds.
pub(super) const KEEP_ALIVE_S: u64 = 20;

/// What every listener needs, and the tasks that its serving joins.
pub(super) struct Serving<'a> {
    pub(super) parts: &'a Arc<Parts>,
    pub(super) gate: &'a Arc<Gate>,
    pub(super) limits: &'a Limits,
    pub(super) stop: &'a watch::Receiver<bool>,
    pub(super) tasks: &'a mut JoinSet<()>,
}

impl Serving<'_> {
    /// Serves `router` to callers of one kind until the node stops; returns
    /// where.
    pub(super) fn listen(
        &mut self,
        kind: ListenerKind,
        socket: TcpListener,
        router: Router,
    ) -> Result<SocketAddr, NodeError> {
        let name = kind.name();
        let tls = TlsServer::new(
            self.parts.material.clone(),
            self.parts.rosters.handle(),
            self.parts.clock.clone(),
            kind,
            accept::log_refused,
        );
        let accepting = tls.listen(socket)?;
        let ending = stopped(self.stop.clone());
        self.tasks.spawn(async move {
            let served = router
                .serve_with_incoming_shutdown(accepting.incoming, ending)
                .await;
            if let Err(e) = served {
                tracing::error!(error = %e, "the {name} listener ended");
            }
        });
        Ok(accepting.address)
    }

    /// gRPC's own health service, for whom the policy lets in.
    pub(super) fn health(&self) -> InterceptedService<HealthServer<impl Health + use<>>, Behind> {
        let (_, health) = tonic_health::server::health_reporter();
        InterceptedService::new(health, self.behind(Method::Health))
    }

    /// gRPC's own reflection service, for whom the policy lets in.
    pub(super) fn reflection(
        &self,
    ) -> Result<
        InterceptedService<ServerReflectionServer<impl ServerReflection + use<>>, Behind>,
        NodeError,
    > {
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTORS)
            .build_v1()
            .map_err(|e| NodeError::Reflection(e.to_string()))?;
        let behind = self.behind(Method::Reflection);
        Ok(InterceptedService::new(reflection, behind))
    }

    fn behind(&self, method: Method) -> Behind {
        let gate = Arc::clone(self.gate);
        Behind { gate, method }
    }

    /// Serves other members' nodes.
    pub(super) fn peers(&mut self, socket: TcpListener) -> Result<SocketAddr, NodeError> {
        let parts = self.parts;
        let exchange = Exchange {
            gate: Arc::clone(self.gate),
            ledger: parts.ledger.clone(),
            roster_log: Arc::clone(&parts.roster_log),
            witness: Arc::clone(&parts.witness),
            roster: parts.rosters.handle(),
            stop: self.stop.clone(),
        };
        let custodian = CustodianService {
            gate: Arc::clone(self.gate),
            custodian: Arc::clone(&parts.custodian),
            access: parts.access.clone(),
            roster: parts.rosters.handle(),
        };
        let ledger = parts.ledger.clone();
        let stamped = MapResponseLayer::new(move |answer: Response<Body>| stamp(&ledger, answer));
        let exchange = v1::exchange_server::ExchangeServer::new(exchange)
            .max_decoding_message_size(self.limits.message_bytes_max)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let custodian = v1::custodian_server::CustodianServer::new(custodian)
            .max_decoding_message_size(self.limits.message_bytes_max)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let routes = Routes::new(stamped.clone().named_layer(exchange))
            .add_service(stamped.named_layer(custodian))
            .add_service(self.health())
            .add_service(self.reflection()?);
        let router = server()
            .timeout(Duration::from_secs(self.limits.timeout_s))
            .add_routes(worded(routes).into());
        self.listen(ListenerKind::Peer, socket, router)
    }

    /// Serves the own officers.
    pub(super) fn desk(&mut self, socket: TcpListener) -> Result<SocketAddr, NodeError> {
        let timeout = Duration::from_secs(self.limits.timeout_s);
        let desk = DeskService::new(Arc::clone(self.gate), Arc::clone(self.parts), timeout);
        let desk = v1::desk_server::DeskServer::new(desk)
            .max_decoding_message_size(self.limits.message_bytes_max)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let routes = Routes::new(desk)
            .add_service(self.health())
            .add_service(self.reflection()?);
        let router = server().add_routes(worded(routes).into());
        let own = self.parts.ledger.own().clone();
        self.listen(ListenerKind::Desk(own), socket, router)
    }
}

/// Ends when the node is told to stop.
pub(super) async fn stopped(mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        if stop.changed().await.is_err() {
            return;
        }
    }
}

fn server() -> Server {
    Server::builder()
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_concurrent_streams(STREAMS_MAX)
        .http2_keepalive_interval(Some(Duration::from_secs(KEEP_ALIVE_S)))
}
