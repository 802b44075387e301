//! Dials a member's node, for tonic's `connect_with_connector_lazy` on an
//! `http://` address, and makes sure that it is that member's node.
//!
//! In TLS 1.3 a client thinks the handshake done before the server has judged
//! its certificate. A node's HTTP/2 server speaks first, so the connector waits
//! for its first byte: a refusal is then the connector's own error, in types.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::pki_types::ServerName;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::refusal::TlsRefusal;
use super::verify::{Judge, Verdict, Want};
use super::{ALPN, HANDSHAKE_S, Material, RosterHandle, provider};
use crate::blame::{Blame, Blamed};
use crate::clock::Clock;
use crate::ids::MemberId;

/// Why there is no connection to a node.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// One of the ends refused the other.
    #[error("{0}")]
    Refused(#[source] TlsRefusal),
    /// The address has no host.
    #[error("the address has no host and port")]
    Address,
    /// The network, or the other end's machine.
    #[error("no connection: {0}")]
    Io(io::Error),
    /// A fault of this end's TLS set-up.
    #[error("TLS set-up: {0}")]
    Setup(rustls::Error),
}

impl Blamed for ConnectError {
    fn blame(&self) -> Blame {
        match self {
            Self::Refused(refusal) => refusal.blame(),
            Self::Io(_) => Blame::Unavailable,
            Self::Address | Self::Setup(_) => Blame::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.code(),
            Self::Address => "tls.address",
            Self::Io(_) => "tls.unreachable",
            Self::Setup(_) => "tls.setup",
        }
    }
}

/// Dials one member's node; a `tower::Service<Uri>`.
#[derive(Clone, Debug)]
pub struct Connector {
    material: Material,
    roster: RosterHandle,
    clock: Clock,
    expected: MemberId,
}

/// Makes a connector that speaks to the node of `expected` and to nobody else.
///
/// Nodes and officers dial alike; an officer expects the own member's node.
#[must_use]
pub fn connector(
    material: Material,
    roster: RosterHandle,
    clock: Clock,
    expected: MemberId,
) -> Connector {
    Connector {
        material,
        roster,
        clock,
        expected,
    }
}

impl Connector {
    /// Connects to `host:port`, with the handshake's time limit.
    ///
    /// # Errors
    /// [`ConnectError`]; [`ConnectError::Refused`] says which end refused and why.
    pub async fn connect(&self, host: &str, port: u16) -> Result<PeerStream, ConnectError> {
        let limit = Duration::from_secs(HANDSHAKE_S);
        tokio::time::timeout(limit, self.dial(host, port))
            .await
            .unwrap_or(Err(ConnectError::Refused(TlsRefusal::TimedOut {
                seconds: HANDSHAKE_S,
            })))
    }

    async fn dial(&self, host: &str, port: u16) -> Result<PeerStream, ConnectError> {
        let verdict = Arc::new(Verdict::default());
        let config = self.config(&verdict).map_err(ConnectError::Setup)?;
        let socket = TcpStream::connect((host, port))
            .await
            .map_err(ConnectError::Io)?;
        socket.set_nodelay(true).map_err(ConnectError::Io)?;
        let name = ServerName::try_from(host.to_owned()).map_err(|_| ConnectError::Address)?;
        let refused = |error: io::Error| {
            let here = verdict.refusal.get().cloned().map(TlsRefusal::Here);
            match here.or_else(|| TlsRefusal::of_io(&error)) {
                Some(refusal) => ConnectError::Refused(refusal),
                None => ConnectError::Io(error),
            }
        };
        let mut stream = TlsConnector::from(Arc::new(config))
            .connect(name, socket)
            .await
            .map_err(refused)?;
        let first = stream.read_u8().await.map_err(refused)?;
        Ok(PeerStream {
            stream,
            first: Some(first),
        })
    }

    fn config(&self, verdict: &Arc<Verdict>) -> Result<ClientConfig, rustls::Error> {
        let provider = provider();
        let judge = Judge {
            roster: Arc::clone(&self.roster),
            clock: self.clock.clone(),
            want: Want::NodeOf(self.expected.clone()),
            verdict: Arc::clone(verdict),
            schemes: provider.signature_verification_algorithms,
        };
        let own = Own(Arc::clone(self.material.certified()));
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(judge))
            .with_client_cert_resolver(Arc::new(own));
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = Resumption::disabled();
        config.enable_sni = false;
        Ok(config)
    }
}

impl tower::Service<Uri> for Connector {
    type Response = TokioIo<PeerStream>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dialler = self.clone();
        Box::pin(async move {
            let (Some(host), Some(port)) = (uri.host(), uri.port_u16()) else {
                return Err(ConnectError::Address);
            };
            let host = host.trim_start_matches('[').trim_end_matches(']');
            dialler.connect(host, port).await.map(TokioIo::new)
        })
    }
}

/// A connection whose other end was judged, and which has judged this one.
#[derive(Debug)]
pub struct PeerStream {
    stream: TlsStream<TcpStream>,
    first: Option<u8>,
}

impl AsyncRead for PeerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buf.remaining() > 0
            && let Some(first) = self.first.take()
        {
            buf.put_slice(&[first]);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

super::writes_through!(PeerStream);

/// Offers the one own certificate, whatever the server hints at.
#[derive(Debug)]
struct Own(Arc<CertifiedKey>);

impl ResolvesClientCert for Own {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}
