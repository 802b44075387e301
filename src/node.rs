//! A whole node: opens its parts in the order in which they need each other,
//! listens, follows its peers, publishes its queue, and drains.
//!
//! `bind` first, so that everybody knows the ports; then `Node::start`; then
//! [`Node::stop`], which has a time limit.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::transport::Server;

use crate::access::AccessLog;
use crate::blame::{Blame, Blamed};
use crate::cases::Cases;
use crate::clock::Clock;
use crate::config::Limits;
use crate::custodian::{Custodian, CustodianError};
use crate::element::Rules;
use crate::find::Finder;
use crate::ids::{Digest, FederationId, LogName, MemberId, OfficerName};
use crate::import::Importer;
use crate::ledger::{Ledger, LedgerError, LedgerOptions, LogKeys, Standing};
use crate::officers::{OfficerError, Officers};
use crate::postings::PostingsOptions;
use crate::publish::Publisher;
use crate::replicate::Replicator;
use crate::rosters::{Rosters, RostersError};
use crate::rpc::MESSAGE_BYTES_MAX;
use crate::rpc::admit::Gate;
use crate::rpc::client::PeerClients;
use crate::rpc::custodian::CustodianService;
use crate::rpc::desk::DeskService;
use crate::rpc::exchange::Exchange;
use crate::seal::SealKey;
use crate::store::Store;
use crate::tls::{ListenerKind, Material, TlsError, TlsServer, accept};
use crate::tokens::Tokenizer;
use crate::wire::{FILE_DESCRIPTORS, v1};

/// How long a node may take to drain, in seconds.
const DRAIN_S: u64 = 10;
/// How often peers are asked for a newer roster, in seconds.
const ROSTER_POLL_S: u64 = 30;
/// How often retention ends are looked for, in seconds.
const SWEEP_S: u64 = 30;
/// HTTP/2 window of a stream: large, since chunks are.
const WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// Streams that one connection may have open.
const STREAMS_MAX: u32 = 256;

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The ledger did not open.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The roster is refused.
    #[error(transparent)]
    Rosters(#[from] RostersError),
    /// The list of officers did not open.
    #[error(transparent)]
    Officers(#[from] OfficerError),
    /// The custodian's shares did not open.
    #[error(transparent)]
    Custodian(#[from] CustodianError),
    /// Certificates, keys or listeners are unusable.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The roster does not name this node's member.
    #[error("the roster does not name {0}, whom this node's config names")]
    NotInRoster(MemberId),
    /// The certificate names somebody else than the config.
    #[error("the certificate is {certificate}'s, the config says {config}")]
    OtherMember {
        /// Whom the certificate names.
        certificate: MemberId,
        /// Whom the config names.
        config: MemberId,
    },
    /// A signing key is not the one that the roster names.
    #[error("the roster names no {0} key like the one in this node's key file")]
    KeyNotInRoster(&'static str),
    /// The gRPC reflection service could not be made.
    #[error("reflection: {0}")]
    Reflection(String),
}

impl Blamed for NodeError {
    fn blame(&self) -> Blame {
        Blame::Internal
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Ledger(e) => e.code(),
            Self::Rosters(e) => e.code(),
            Self::Officers(e) => e.code(),
            Self::Custodian(e) => e.code(),
            Self::Tls(e) => e.code(),
            Self::NotInRoster(_) => "node.not_in_roster",
            Self::OtherMember { .. } => "node.other_member",
            Self::KeyNotInRoster(_) => "node.key_not_in_roster",
            Self::Reflection(_) => "node.reflection",
        }
    }
}

/// What makes one node different from another.
#[derive(Debug)]
pub struct NodeOptions {
    /// The directory with `store/`, `shred.keys` and `index/`.
    pub dir: PathBuf,
    /// The federation.
    pub federation: FederationId,
    /// The node's own member.
    pub member: MemberId,
    /// Certificate and key.
    pub material: Material,
    /// Signing keys.
    pub keys: LogKeys,
    /// The 32-byte key that seals what stays at home.
    pub seal: [u8; 32],
    /// SHA-256 of roster 1.
    pub pin: Digest,
    /// Rosters from the config, oldest first.
    pub rosters: Vec<v1::SignedRoster>,
    /// The time.
    pub clock: Clock,
    /// Given every right when the list of officers is empty.
    pub first_admin: Option<OfficerName>,
    /// Rules for canonical values.
    pub rules: Rules,
    /// Offset of local time from UTC, in seconds, for dates in files.
    pub utc_offset_s: i32,
    /// Whether the node keeps replicas of other members' logs.
    pub replicate: bool,
    /// Page cache of the store, in bytes.
    pub cache_bytes: u64,
    /// Sizes of the derived index.
    pub index: PostingsOptions,
    /// The limits of every call.
    pub limits: Limits,
}

/// The sockets that a node listens on; made before it starts.
#[derive(Debug)]
pub struct Listeners {
    /// For other members' nodes.
    pub peer: TcpListener,
    /// For the own officers.
    pub desk: TcpListener,
    /// For health and metrics, on loopback; none in embedded nodes.
    pub admin: Option<TcpListener>,
}

impl Listeners {
    /// Binds all three to free ports of loopback.
    ///
    /// # Errors
    /// What the operating system says.
    pub async fn loopback() -> std::io::Result<Self> {
        Ok(Self {
            peer: TcpListener::bind("127.0.0.1:0").await?,
            desk: TcpListener::bind("127.0.0.1:0").await?,
            admin: Some(TcpListener::bind("127.0.0.1:0").await?),
        })
    }
}

/// The parts of a running node.
#[derive(Debug)]
pub struct Parts {
    /// Logs, bodies, index.
    pub ledger: Ledger,
    /// The case table.
    pub cases: Cases,
    /// The access log.
    pub access: AccessLog,
    /// The officers.
    pub officers: Officers,
    /// The rosters.
    pub rosters: Rosters,
    /// Answers queries.
    pub finder: Finder,
    /// Takes files in.
    pub importer: Importer,
    /// Publishes the queue.
    pub publisher: Arc<Publisher<Arc<PeerClients>>>,
    /// Follows the peers.
    pub replicator: Arc<Replicator<Arc<PeerClients>>>,
    /// Evaluates for others, where the roster says so.
    pub custodian: Arc<Custodian>,
    /// Connections to peers.
    pub peers: Arc<PeerClients>,
    /// The node's certificate.
    pub material: Material,
    /// The time.
    pub clock: Clock,
    /// Whether the node keeps replicas.
    pub replicate: bool,
}

/// A running node.
#[derive(Debug)]
pub struct Node {
    parts: Arc<Parts>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    /// Where peers reach it.
    pub peer_address: SocketAddr,
    /// Where officers reach it.
    pub desk_address: SocketAddr,
}

impl Node {
    /// Opens and starts a node. It serves when this returns.
    ///
    /// # Errors
    /// [`NodeError`]; nothing keeps running then.
    pub async fn start(options: NodeOptions, listeners: Listeners) -> Result<Self, NodeError> {
        let (replicate, limits) = (options.replicate, options.limits.clone());
        let opened = tokio::task::spawn_blocking(move || open(options)).await;
        let parts = Arc::new(opened.unwrap_or(Err(LedgerError::Stopped.into()))?);
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let gate = Arc::new(Gate::new(
            parts.ledger.own().clone(),
            parts.rosters.handle(),
            parts.officers.clone(),
            parts.clock.clone(),
            &limits,
        ));
        let serving = Serving {
            parts: &parts,
            gate: &gate,
            limits: &limits,
            stop: &stopped,
        };
        let peer_address = serve_peers(&serving, listeners.peer, &mut tasks)?;
        let desk_address = serve_desk(&serving, listeners.desk, &mut tasks)?;
        if let Some(admin) = listeners.admin {
            tasks.spawn(crate::admin::serve(
                Arc::clone(&parts),
                admin,
                stopped.clone(),
            ));
        }
        parts.ledger.set_standing(Standing::Fenced);
        tasks.spawn(Arc::clone(&parts.replicator).take_standing(stopped.clone()));
        tasks.spawn(Arc::clone(&parts.publisher).run(stopped.clone()));
        if replicate {
            tasks.spawn(Arc::clone(&parts.replicator).run(stopped.clone()));
        }
        tasks.spawn(follow_roster(Arc::clone(&parts), stopped.clone()));
        tasks.spawn(sweep(parts.ledger.clone(), stopped));
        Ok(Self {
            parts,
            stop,
            tasks,
            peer_address,
            desk_address,
        })
    }

    /// The node's parts.
    #[must_use]
    pub fn parts(&self) -> &Arc<Parts> {
        &self.parts
    }

    /// Stops listening, ends streams, finishes what is being written; what has
    /// not ended after ten seconds is cut.
    pub async fn stop(self) {
        self.stop_within(Duration::from_secs(DRAIN_S)).await;
    }

    /// As [`Node::stop`], with another limit; says whether everything ended in time.
    pub async fn stop_within(mut self, limit: Duration) -> bool {
        self.stop.send_replace(true);
        let drained = async { while self.tasks.join_next().await.is_some() {} };
        let whole = tokio::time::timeout(limit, drained).await.is_ok();
        if !whole {
            tracing::warn!("not everything ended in time; the rest is cut");
        }
        self.tasks.shutdown().await;
        whole
    }
}

/// The generations of the own logs. They stand in the roster, which stands in
/// the store: it is opened for the roster first.
fn generations(options: &NodeOptions) -> Result<(u32, u32), NodeError> {
    let store =
        Store::open(&options.dir.join("store"), options.cache_bytes).map_err(LedgerError::from)?;
    let clock = options.clock.clone();
    let roster = Rosters::open(store, clock, options.pin, &options.rosters)?.newest();
    let member = roster
        .member(&options.member)
        .ok_or_else(|| NodeError::NotInRoster(options.member.clone()))?;
    check_keys(member, &options.keys)?;
    Ok((member.records_generation, member.access_generation))
}

fn open(options: NodeOptions) -> Result<Parts, NodeError> {
    if options.material.identity().member != options.member {
        return Err(NodeError::OtherMember {
            certificate: options.material.identity().member.clone(),
            config: options.member,
        });
    }
    let (records_generation, access_generation) = generations(&options)?;
    let seal = Arc::new(SealKey::new(options.seal));
    let ledger = Ledger::open(
        &options.dir,
        LedgerOptions {
            federation: options.federation,
            own: options.member.clone(),
            keys: options.keys,
            seal,
            clock: options.clock.clone(),
            records_generation,
            access_generation,
            cache_bytes: options.cache_bytes,
            index: options.index,
        },
    )?;
    let store = ledger.store().clone();
    let rosters = Rosters::open(
        store.clone(),
        options.clock.clone(),
        options.pin,
        &options.rosters,
    )?;
    let roster = rosters.handle();
    let clock = options.clock;
    let officers = Officers::open(store.clone(), clock.clone(), options.first_admin.as_ref())?;
    let cases = Cases::new(ledger.clone());
    let access = AccessLog::new(ledger.clone());
    let peers = Arc::new(PeerClients::new(
        options.material.clone(),
        Arc::clone(&roster),
        clock.clone(),
    ));
    let custodian = Custodian::open(store.clone(), clock.clone(), &options.seal, options.member)?;
    let tokenizer = Tokenizer::new(store, clock.clone(), &options.seal, Arc::clone(&peers));
    let publisher = Publisher::new(
        ledger.clone(),
        cases.clone(),
        access.clone(),
        Arc::clone(&roster),
        tokenizer,
    );
    let replicator = Replicator::new(ledger.clone(), Arc::clone(&roster), Arc::clone(&peers));
    let finder = Finder::new(ledger.clone(), cases.clone(), roster, options.rules);
    let importer = Importer::new(
        ledger.clone(),
        cases.clone(),
        options.rules,
        options.utc_offset_s,
    );
    Ok(Parts {
        ledger,
        cases,
        access,
        officers,
        rosters,
        finder,
        importer,
        publisher: Arc::new(publisher),
        replicator: Arc::new(replicator),
        custodian: Arc::new(custodian),
        peers,
        material: options.material,
        clock,
        replicate: options.replicate,
    })
}

fn check_keys(member: &crate::roster::Member, keys: &LogKeys) -> Result<(), NodeError> {
    let records = keys.records.public_key();
    if member.records_key(records.id(), crate::ids::LogIndex(0)) != Some(records) {
        return Err(NodeError::KeyNotInRoster("records"));
    }
    let checkpoint = keys.checkpoint.public_key();
    if !member.checkpoint_keys().any(|key| key == checkpoint) {
        return Err(NodeError::KeyNotInRoster("checkpoint"));
    }
    Ok(())
}

fn server() -> Server {
    Server::builder()
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_concurrent_streams(STREAMS_MAX)
        .http2_keepalive_interval(Some(Duration::from_secs(20)))
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        if stop.changed().await.is_err() {
            return;
        }
    }
}

fn reflection() -> Result<
    tonic_reflection::server::v1::ServerReflectionServer<
        impl tonic_reflection::server::v1::ServerReflection,
    >,
    NodeError,
> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTORS)
        .build_v1()
        .map_err(|e| NodeError::Reflection(e.to_string()))
}

/// What both listeners need.
struct Serving<'a> {
    parts: &'a Arc<Parts>,
    gate: &'a Arc<Gate>,
    limits: &'a Limits,
    stop: &'a watch::Receiver<bool>,
}

fn serve_peers(
    serving: &Serving<'_>,
    socket: TcpListener,
    tasks: &mut JoinSet<()>,
) -> Result<SocketAddr, NodeError> {
    let Serving {
        parts,
        gate,
        limits,
        stop,
    } = *serving;
    let tls = TlsServer::new(
        parts.material.clone(),
        parts.rosters.handle(),
        parts.clock.clone(),
        ListenerKind::Peer,
        accept::log_refused,
    );
    let accepting = tls.listen(socket)?;
    let exchange = Exchange {
        gate: Arc::clone(gate),
        ledger: parts.ledger.clone(),
        roster: parts.rosters.handle(),
        stop: stop.clone(),
    };
    let custodian = CustodianService {
        gate: Arc::clone(gate),
        custodian: Arc::clone(&parts.custodian),
        access: parts.access.clone(),
        roster: parts.rosters.handle(),
    };
    let (_, health) = tonic_health::server::health_reporter();
    let router = server()
        .timeout(Duration::from_secs(limits.timeout_s))
        .add_service(
            v1::exchange_server::ExchangeServer::new(exchange)
                .max_decoding_message_size(limits.message_bytes_max)
                .max_encoding_message_size(MESSAGE_BYTES_MAX),
        )
        .add_service(
            v1::custodian_server::CustodianServer::new(custodian)
                .max_decoding_message_size(limits.message_bytes_max)
                .max_encoding_message_size(MESSAGE_BYTES_MAX),
        )
        .add_service(health)
        .add_service(reflection()?);
    let address = accepting.address;
    let ending = stopped(stop.clone());
    tasks.spawn(async move {
        let served = router
            .serve_with_incoming_shutdown(accepting.incoming, ending)
            .await;
        if let Err(e) = served {
            tracing::error!(error = %e, "the peer listener ended");
        }
    });
    Ok(address)
}

fn serve_desk(
    serving: &Serving<'_>,
    socket: TcpListener,
    tasks: &mut JoinSet<()>,
) -> Result<SocketAddr, NodeError> {
    let Serving {
        parts,
        gate,
        limits,
        stop,
    } = *serving;
    let tls = TlsServer::new(
        parts.material.clone(),
        parts.rosters.handle(),
        parts.clock.clone(),
        ListenerKind::Desk(parts.ledger.own().clone()),
        accept::log_refused,
    );
    let accepting = tls.listen(socket)?;
    let desk = DeskService::new(Arc::clone(gate), Arc::clone(parts));
    let (_, health) = tonic_health::server::health_reporter();
    let router = server()
        .add_service(
            v1::desk_server::DeskServer::new(desk)
                .max_decoding_message_size(limits.message_bytes_max)
                .max_encoding_message_size(MESSAGE_BYTES_MAX),
        )
        .add_service(health)
        .add_service(reflection()?);
    let address = accepting.address;
    let ending = stopped(stop.clone());
    tasks.spawn(async move {
        let served = router
            .serve_with_incoming_shutdown(accepting.incoming, ending)
            .await;
        if let Err(e) = served {
            tracing::error!(error = %e, "the desk listener ended");
        }
    });
    Ok(address)
}

/// Asks peers for newer rosters, one peer a round; the answer must follow the
/// chain that is here.
async fn follow_roster(parts: Arc<Parts>, stop: watch::Receiver<bool>) {
    let mut next = 0_usize;
    loop {
        let pause = if parts.rosters.is_expired() {
            2
        } else {
            ROSTER_POLL_S
        };
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(pause)) => {}
            () = stopped(stop.clone()) => return,
        }
        let roster = parts.rosters.newest();
        let others: Vec<_> = roster
            .members
            .keys()
            .filter(|id| *id != parts.ledger.own())
            .collect();
        let Some(peer) = others.get(next % others.len().max(1)) else {
            continue;
        };
        next = next.wrapping_add(1);
        match parts.peers.rosters(peer, roster.version).await {
            Ok(newer) if newer.is_empty() => {}
            Ok(newer) => {
                let rosters = parts.rosters.clone();
                let taken = tokio::task::spawn_blocking(move || rosters.extend(&newer)).await;
                if let Ok(Err(e)) = taken {
                    tracing::error!(peer.member = %peer, error = %e, "a roster is refused");
                }
            }
            Err(e) => tracing::debug!(error = %e, "no roster from a peer"),
        }
    }
}

/// Erases bodies whose retention end has passed.
async fn sweep(ledger: Ledger, stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(SWEEP_S)) => {}
            () = stopped(stop.clone()) => return,
        }
        let ledger = ledger.clone();
        match tokio::task::spawn_blocking(move || ledger.sweep_expired()).await {
            Ok(Ok(0)) | Err(_) => {}
            Ok(Ok(erased)) => tracing::info!(erased, "bodies reached their retention end"),
            Ok(Err(e)) => tracing::error!(error = %e, "erasing at the retention end failed"),
        }
    }
}

/// The size of the own records log, for those who wait for it.
#[must_use]
pub fn records_size(parts: &Parts) -> u64 {
    parts.ledger.own_log(LogName::Records).size().0
}
