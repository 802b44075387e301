//! The accept loop of a listener: one task a handshake, with a time limit and
//! a limit on how many run at once. Accepted streams go through a bounded
//! channel into `serve_with_incoming`, each with the [`Peer`] that it is.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;
use webpki::KeyUsage;

use super::refusal::{Refusal, TlsRefusal};
use super::verify::{Judge, Verdict, Want, judge};
use super::{ALPN, ALPN_HTTP1, HANDSHAKE_S, Material, RosterHandle, TlsError, provider};
use crate::clock::{Clock, UnixSeconds};
use crate::ids::MemberId;
use crate::policy::{Identity, Subject};
use crate::roster::Roster;

/// How many handshakes may run at once on one listener.
pub const HANDSHAKES_MAX: usize = 256;
/// How many accepted connections may wait for the server.
pub const ACCEPTED_MAX: usize = 64;
/// How long the loop rests when the operating system has no sockets left.
const REST: Duration = Duration::from_millis(100);

/// Who may connect to a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenerKind {
    /// Nodes of members.
    Peer,
    /// Officers of this member.
    Desk(MemberId),
    /// Nodes and officers of auditors, and officers of this member.
    Audit(MemberId),
}

impl ListenerKind {
    /// A word for logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Desk(_) => "desk",
            Self::Audit(_) => "audit",
        }
    }

    fn want(&self) -> Want {
        match self {
            Self::Peer => Want::AnyNode,
            Self::Desk(own) => Want::OfficerOf(own.clone()),
            Self::Audit(own) => Want::Auditing(own.clone()),
        }
    }

    /// The application protocols, the preferred first.
    fn protocols(&self) -> Vec<Vec<u8>> {
        match self {
            Self::Peer | Self::Desk(_) => vec![ALPN.to_vec()],
            Self::Audit(_) => vec![ALPN.to_vec(), ALPN_HTTP1.to_vec()],
        }
    }
}

/// A handshake that was refused, as this end saw it.
#[derive(Clone, Debug)]
pub struct RefusedHandshake {
    /// Where the connection came from.
    pub from: SocketAddr,
    /// Why; `None` for a connection that broke off.
    pub why: Option<TlsRefusal>,
}

/// Writes a refused handshake to the log, once, at the level it deserves.
pub fn log_refused(refused: &RefusedHandshake) {
    use crate::blame::Blamed;
    match &refused.why {
        Some(why) => {
            tracing::warn!(peer.address = %refused.from, code = why.code(), "handshake: {why}");
        }
        None => tracing::debug!(peer.address = %refused.from, "handshake broke off"),
    }
}

/// Who is at the other end of an accepted connection; stands in each request's extensions.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Whom its certificate names, as checked in the handshake.
    pub identity: Identity,
    /// Where it connects from.
    pub address: SocketAddr,
    chain: Arc<Vec<CertificateDer<'static>>>,
    want: Want,
}

impl Peer {
    /// Judges the peer again, by the roster and the time of now: an open
    /// connection outlives neither its certificate nor its member.
    ///
    /// # Errors
    /// [`Refusal`] naming the rule that it breaks now.
    pub fn recheck(&self, roster: &Roster, now: UnixSeconds) -> Result<(), Refusal> {
        let (leaf, rest) = self.chain.split_first().ok_or(Refusal::NoName)?;
        judge(leaf, rest, KeyUsage::client_auth(), roster, now, &self.want).map(|_| ())
    }

    /// The caller's own certificate, DER.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        self.chain.first().map_or(&[], |leaf| leaf.as_ref())
    }

    /// The certificates between the caller's own and its CA, DER.
    pub fn intermediates(&self) -> impl Iterator<Item = &[u8]> {
        self.chain.iter().skip(1).map(AsRef::as_ref)
    }

    /// Says whether a node calls.
    #[must_use]
    pub fn is_node(&self) -> bool {
        self.identity.subject == Subject::Node
    }
}

/// What a listener needs to judge its callers; shared by its handshakes.
pub struct TlsServer {
    material: ArcSwap<Material>,
    roster: RosterHandle,
    clock: Clock,
    kind: ListenerKind,
    on_refused: Box<dyn Fn(&RefusedHandshake) + Send + Sync>,
}

impl std::fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TlsServer({:?})", self.kind)
    }
}

impl TlsServer {
    /// Puts a listener's parts together; `on_refused` hears of every refusal.
    #[must_use]
    pub fn new(
        material: Material,
        roster: RosterHandle,
        clock: Clock,
        kind: ListenerKind,
        on_refused: impl Fn(&RefusedHandshake) + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            material: ArcSwap::from_pointee(material),
            roster,
            clock,
            kind,
            on_refused: Box::new(on_refused),
        })
    }

    /// Uses a renewed certificate for the handshakes to come.
    pub fn replace_material(&self, material: Material) {
        self.material.store(Arc::new(material));
    }

    /// Accepts connections until the returned [`Incoming`] is dropped.
    ///
    /// # Errors
    /// [`TlsError::Listen`] when the socket has no address.
    pub fn listen(self: &Arc<Self>, socket: TcpListener) -> Result<Accepting, TlsError> {
        let address = socket.local_addr().map_err(TlsError::Listen)?;
        let (sender, receiver) = mpsc::channel(ACCEPTED_MAX);
        let task = tokio::spawn(accept_loop(Arc::clone(self), socket, sender));
        Ok(Accepting {
            address,
            incoming: Incoming { receiver },
            task,
        })
    }

    /// A config of its own for each handshake, so that its verdict is its own;
    /// it costs microseconds, a handshake hundreds.
    fn config(&self, verdict: &Arc<Verdict>) -> Result<ServerConfig, rustls::Error> {
        let provider = provider();
        let judge = Judge {
            roster: Arc::clone(&self.roster),
            clock: self.clock.clone(),
            want: self.kind.want(),
            verdict: Arc::clone(verdict),
            schemes: provider.signature_verification_algorithms,
        };
        let own = Own(Arc::clone(self.material.load().certified()));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(Arc::new(judge))
            .with_cert_resolver(Arc::new(own));
        config.alpn_protocols = self.kind.protocols();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }

    async fn handshake(
        &self,
        socket: TcpStream,
        from: SocketAddr,
    ) -> Result<Conn, RefusedHandshake> {
        let verdict = Arc::new(Verdict::default());
        let refused = |why| RefusedHandshake { from, why };
        let config = self.config(&verdict).map_err(|_| refused(None))?;
        socket.set_nodelay(true).map_err(|_| refused(None))?;
        let accepting = TlsAcceptor::from(Arc::new(config)).accept(socket);
        let limit = Duration::from_secs(HANDSHAKE_S);
        let stream = match tokio::time::timeout(limit, accepting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                let here = verdict.refusal.get().cloned().map(TlsRefusal::Here);
                return Err(refused(here.or_else(|| TlsRefusal::of_io(&error))));
            }
            Err(_) => {
                return Err(refused(Some(TlsRefusal::TimedOut {
                    seconds: HANDSHAKE_S,
                })));
            }
        };
        let chain = stream.get_ref().1.peer_certificates().map(<[_]>::to_vec);
        let (Some(identity), Some(chain)) = (verdict.identity.get().cloned(), chain) else {
            return Err(refused(Some(TlsRefusal::NoCertificate)));
        };
        let want = self.kind.want();
        let peer = Peer {
            identity,
            address: from,
            chain: Arc::new(chain),
            want,
        };
        Ok(Conn { stream, peer })
    }
}

async fn accept_loop(
    server: Arc<TlsServer>,
    socket: TcpListener,
    sender: mpsc::Sender<io::Result<Conn>>,
) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    loop {
        let Ok(permit) = Arc::clone(&handshakes).acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            () = sender.closed() => return,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "no connection can be accepted");
                tokio::time::sleep(REST).await;
                continue;
            }
        };
        let (server, sender) = (Arc::clone(&server), sender.clone());
        tokio::spawn(async move {
            let outcome = server.handshake(stream, from).await;
            drop(permit);
            match outcome {
                // The server may have gone away meanwhile; then so does the connection.
                Ok(conn) => drop(sender.send(Ok(conn)).await),
                Err(refused) => (server.on_refused)(&refused),
            }
        });
    }
}

/// A running accept loop.
#[derive(Debug)]
pub struct Accepting {
    /// Where it listens; the port is the real one where port 0 was asked for.
    pub address: SocketAddr,
    /// The accepted connections.
    pub incoming: Incoming,
    /// Ends when `incoming` is dropped.
    pub task: JoinHandle<()>,
}

/// Accepted connections, for `serve_with_incoming`.
#[derive(Debug)]
pub struct Incoming {
    receiver: mpsc::Receiver<io::Result<Conn>>,
}

impl futures_util::Stream for Incoming {
    type Item = io::Result<Conn>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.receiver.poll_recv(cx)
    }
}

/// An accepted connection.
#[derive(Debug)]
pub struct Conn {
    stream: TlsStream<TcpStream>,
    peer: Peer,
}

impl Conn {
    /// Who is at the other end.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Says whether both ends agreed on HTTP/2.
    #[must_use]
    pub fn is_http2(&self) -> bool {
        self.stream.get_ref().1.alpn_protocol() == Some(ALPN)
    }
}

impl Connected for Conn {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Conn {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        Poll::Ready(Ok(()))
    }
}

super::writes_through!(Conn);

/// Answers every handshake with the one own certificate.
#[derive(Debug)]
struct Own(Arc<CertifiedKey>);

impl ResolvesServerCert for Own {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}
