//! The audit listener: plain files, health and reflection over one port, HTTP/2
//! or HTTP/1.1 as the caller's TLS asks for, behind the same gate.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use futures_util::StreamExt;
use hyper::body::Incoming as IncomingBody;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::service::Routes;
use tower::ServiceExt;

use super::NodeError;
use super::serving::{KEEP_ALIVE_S, STREAMS_MAX, Serving, WINDOW_BYTES, stopped};
use crate::rpc::audit::AuditPort;
use crate::rpc::refusals::{is_grpc, no_service, worded};
use crate::tls::{Conn, Incoming, ListenerKind, TlsServer, accept};

/// How long a caller of HTTP/1.1 may take for the head of a request, and be
/// idle between two, in seconds.
const HEAD_S: u64 = 30;

impl Serving<'_> {
    /// Serves auditors, and the own officers who may export.
    pub(super) fn audit(&mut self, socket: TcpListener) -> Result<SocketAddr, NodeError> {
        let parts = self.parts;
        let port = AuditPort::new(
            Arc::clone(self.gate),
            parts.ledger.clone(),
            parts.access.clone(),
            parts.rosters.handle(),
        );
        let routes = Routes::new(self.health()).add_service(self.reflection()?);
        let router = worded(routes).fallback(move |request: Request| {
            let port = port.clone();
            async move {
                if is_grpc(&request) {
                    no_service()
                } else {
                    port.serve(request).await
                }
            }
        });
        let tls = TlsServer::new(
            parts.material.clone(),
            parts.rosters.handle(),
            parts.clock.clone(),
            ListenerKind::Audit(parts.ledger.own().clone()),
            accept::log_refused,
        );
        let accepting = tls.listen(socket)?;
        let address = accepting.address;
        self.tasks
            .spawn(serve(accepting.incoming, router, self.stop.clone()));
        Ok(address)
    }
}

async fn serve(mut incoming: Incoming, router: Router, stop: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = incoming.next() => match accepted {
                Some(Ok(conn)) => {
                    connections.spawn(serve_one(conn, router.clone(), stop.clone()));
                }
                Some(Err(error)) => tracing::debug!(%error, "no connection of an auditor"),
                None => break,
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            () = stopped(stop.clone()) => break,
        }
    }
    drop(incoming);
    while connections.join_next().await.is_some() {}
}

async fn serve_one(conn: Conn, router: Router, stop: watch::Receiver<bool>) {
    let peer = conn.peer().clone();
    let any = auto::Builder::new(TokioExecutor::new());
    let mut builder = if conn.is_http2() {
        any.http2_only()
    } else {
        any.http1_only()
    };
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(HEAD_S));
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(Some(Duration::from_secs(KEEP_ALIVE_S)));
    let service = service_fn(move |request: http::Request<IncomingBody>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer.clone());
        router.clone().oneshot(request)
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(conn), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the audit port broke off");
    }
}
