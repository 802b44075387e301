//! A whole node: opens its parts, listens, follows its peers, publishes its
//! queue, and drains.
//!
//! `bind` first, so that everybody knows the ports; then `Node::start`; then
//! [`Node::stop`], which has a time limit.

mod auditing;
mod error;
mod opening;
mod serving;
mod upkeep;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use error::NodeError;

use crate::clock::Clock;
use crate::config::Limits;
use crate::element::Rules;
use crate::ids::{Digest, FederationId, MemberId, OfficerName};
use crate::ledger::{LedgerError, LogKeys, Standing};
use crate::parts::Parts;
use crate::postings::PostingsOptions;
use crate::rpc::admit::Gate;
use crate::tls::Material;
use crate::wire::v1;

/// How long a node may take to drain, in seconds.
const DRAIN_S: u64 = 10;

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
    /// For auditors, and own officers who export.
    pub audit: TcpListener,
    /// For health and metrics, on loopback; none in embedded nodes.
    pub admin: Option<TcpListener>,
}

impl Listeners {
    /// Binds all four to free ports of loopback.
    ///
    /// # Errors
    /// What the operating system says.
    pub async fn loopback() -> std::io::Result<Self> {
        Ok(Self {
            peer: TcpListener::bind("127.0.0.1:0").await?,
            desk: TcpListener::bind("127.0.0.1:0").await?,
            audit: TcpListener::bind("127.0.0.1:0").await?,
            admin: Some(TcpListener::bind("127.0.0.1:0").await?),
        })
    }
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
    /// Where auditors reach it.
    pub audit_address: SocketAddr,
}

impl Node {
    /// Opens and starts a node. It serves when this returns.
    ///
    /// # Errors
    /// [`NodeError`]; nothing keeps running then.
    pub async fn start(options: NodeOptions, listeners: Listeners) -> Result<Self, NodeError> {
        let (replicate, limits) = (options.replicate, options.limits.clone());
        let opened = tokio::task::spawn_blocking(move || opening::open(options)).await;
        let parts = Arc::new(opened.unwrap_or(Err(LedgerError::Stopped.into()))?);
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let gate = Arc::new(Gate::new(
            parts.ledger.own().clone(),
            parts.rosters.handle(),
            parts.officers.clone(),
            parts.access.clone(),
            parts.clock.clone(),
            &limits,
        ));
        let mut serving = serving::Serving {
            parts: &parts,
            gate: &gate,
            limits: &limits,
            stop: &stopped,
            tasks: &mut tasks,
        };
        let peer_address = serving.peers(listeners.peer)?;
        let desk_address = serving.desk(listeners.desk)?;
        let audit_address = serving.audit(listeners.audit)?;
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
        tasks.spawn(Arc::clone(&parts.replicator).keep_views(stopped.clone()));
        if replicate {
            tasks.spawn(Arc::clone(&parts.replicator).run(stopped.clone()));
        }
        tasks.spawn(Arc::clone(&parts.roster_log).run(stopped.clone()));
        tasks.spawn(Arc::clone(&parts.witnessing).run(stopped.clone()));
        tasks.spawn(upkeep::open_access(Arc::clone(&parts), stopped.clone()));
        tasks.spawn(upkeep::follow_roster(Arc::clone(&parts), stopped.clone()));
        tasks.spawn(upkeep::sweep(parts.ledger.clone(), stopped.clone()));
        tasks.spawn(upkeep::destroy_unused_keys(
            parts.ledger.clone(),
            stopped.clone(),
        ));
        tasks.spawn(upkeep::forget_postings(
            parts.ledger.clone(),
            stopped.clone(),
        ));
        tasks.spawn(upkeep::sign_receipts(Arc::clone(&parts), stopped.clone()));
        tasks.spawn(upkeep::write_denials(parts.access.clone(), stopped));
        Ok(Self {
            parts,
            stop,
            tasks,
            peer_address,
            desk_address,
            audit_address,
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
