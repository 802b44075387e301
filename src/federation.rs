//! A whole federation in one process, for the demo and for tests: every node
//! with its own certificates, store and listeners on loopback, real mutual TLS
//! between them, and token keys from a real key generation over RPC.

pub mod shelf;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tonic::transport::{Channel, Endpoint, Server};

use crate::clock::{Clock, DAY_S};
use crate::config::Limits;
use crate::element::{Rules, TokenClass};
use crate::ids::{FederationId, MemberId, random};
use crate::keys::{PublicKey, SigningKey};
use crate::ledger::LogKeys;
use crate::node::{Listeners, Node, NodeError, NodeOptions};
use crate::pki::PkiError;
use crate::pki::dev::{DevFederation, DevMember, assign_witnesses, dev_federation, dev_member};
use crate::postings::PostingsOptions;
use crate::roster::{Draft, MemberRole};
use crate::rosters::RostersError;
use crate::rpc::audit::client::Dial;
use crate::rpc::desk_client::{DeskCallError, DeskClient};
use crate::rpc::keygen::{self, KeygenError};
use crate::tls::{ListenerKind, Material, TlsError, TlsServer, accept, connector};
use crate::wire::v1;

/// The officer that every member of a rehearsed federation has.
pub const OFFICER: &str = "officer";
/// Days that a rehearsed roster is valid.
const ROSTER_DAYS: i64 = 30;

/// Why a federation did not come up.
#[derive(Debug, thiserror::Error)]
pub enum FederationError {
    /// Certificates or the roster could not be made.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// A node did not start.
    #[error("{member}: {source}")]
    Node {
        /// Which node.
        member: MemberId,
        /// Why.
        source: NodeError,
    },
    /// No listener.
    #[error("a listener on loopback: {0}")]
    Listen(std::io::Error),
    /// A file of the federation's directory.
    #[error("{0}")]
    File(String),
    /// The key generation failed.
    #[error(transparent)]
    Keygen(#[from] KeygenError),
    /// Custodians ended a key generation with different keys.
    #[error("the custodians ended the key generation with different keys")]
    KeysDiffer,
    /// A node refused the roster with the token keys.
    #[error(transparent)]
    Rosters(#[from] RostersError),
    /// No such member.
    #[error("no member {0} in this federation")]
    NoMember(MemberId),
    /// A desk client could not be made.
    #[error(transparent)]
    Desk(#[from] DeskCallError),
    /// A certificate could not be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// One member to be.
#[derive(Clone, Debug)]
pub struct MemberSpec {
    /// Its name.
    pub id: MemberId,
    /// Its role.
    pub role: MemberRole,
    /// Its region.
    pub region: String,
    /// Whether its node keeps replicas; custodian-only members do not.
    pub replicate: bool,
}

/// What federation to bring up.
#[derive(Clone, Debug)]
pub struct FederationSpec {
    /// The federation's name.
    pub federation: FederationId,
    /// Where the nodes' directories go.
    pub dir: PathBuf,
    /// All members.
    pub members: Vec<MemberSpec>,
    /// Those that hold shares, in index order. They witness everybody's logs too.
    pub custodians: Vec<MemberId>,
    /// How many of them make a token.
    pub threshold: u16,
    /// The time.
    pub clock: Clock,
    /// Rules for canonical values.
    pub rules: Rules,
    /// First loads: (member, class, points), valid for a day.
    pub grants: Vec<(MemberId, TokenClass, u64)>,
    /// Page cache of each store, in bytes.
    pub cache_bytes: u64,
    /// A bureau before whose node something else will stand at the address in
    /// the roster: for a rehearsal of attacks.
    pub behind: Option<MemberId>,
}

/// A running federation.
#[derive(Debug)]
pub struct Federation {
    spec: FederationSpec,
    dev: DevFederation,
    seals: BTreeMap<MemberId, [u8; 32]>,
    addresses: BTreeMap<MemberId, (SocketAddr, SocketAddr)>,
    audits: BTreeMap<MemberId, SocketAddr>,
    front: Option<(TcpListener, SocketAddr)>,
    limits: Limits,
    /// The nodes by member; one that was stopped is not among them.
    pub nodes: BTreeMap<MemberId, Node>,
}

impl Federation {
    /// Makes certificates and the roster, starts every node, generates both
    /// token keys over RPC, and gives every node the roster that names them.
    ///
    /// # Errors
    /// [`FederationError`].
    pub async fn launch(spec: FederationSpec) -> Result<Self, FederationError> {
        let now = spec.clock.now();
        let mut members = vec![];
        let mut sockets = BTreeMap::new();
        let mut listens = vec![];
        let mut front = None;
        for member in &spec.members {
            let listeners = Listeners::loopback()
                .await
                .map_err(FederationError::Listen)?;
            let mut peer = listeners
                .peer
                .local_addr()
                .map_err(FederationError::Listen)?;
            let behind = peer;
            if spec.behind.as_ref() == Some(&member.id) {
                let socket = TcpListener::bind("127.0.0.1:0").await;
                let socket = socket.map_err(FederationError::Listen)?;
                peer = socket.local_addr().map_err(FederationError::Listen)?;
                front = Some((socket, behind));
            }
            let desk = listeners
                .desk
                .local_addr()
                .map_err(FederationError::Listen)?;
            let audit = listeners
                .audit
                .local_addr()
                .map_err(FederationError::Listen)?;
            let made = dev_member(&spec.federation, &member.id, member.role, now, &[OFFICER])?;
            let mut made = DevMember {
                region: member.region.clone(),
                replicate: member.replicate,
                audit_endpoint: audit.to_string(),
                ..made
            };
            // Auditors come without a node.
            if member.role == MemberRole::Auditor {
                made.audit_endpoint = String::new();
                members.push((made, String::new()));
                listens.push(Default::default());
                continue;
            }
            members.push((made, peer.to_string()));
            let admin = listeners.admin.as_ref().map(TcpListener::local_addr);
            let admin = admin.transpose().map_err(FederationError::Listen)?;
            let admin = admin.map_or_else(String::new, |a| a.to_string());
            listens.push([peer.to_string(), desk.to_string(), admin]);
            sockets.insert(member.id.clone(), (listeners, behind, desk, audit));
        }
        assign_witnesses(&mut members, &spec.custodians);
        let dev = dev_federation(&spec.federation, members, now)?;
        dev.write(&spec.dir, &listens)?;
        let mut federation = Self {
            seals: BTreeMap::new(),
            addresses: sockets
                .iter()
                .map(|(id, (_, p, d, _))| (id.clone(), (*p, *d)))
                .collect(),
            audits: sockets
                .iter()
                .map(|(id, (_, _, _, a))| (id.clone(), *a))
                .collect(),
            nodes: BTreeMap::new(),
            front,
            limits: Limits::default(),
            spec,
            dev,
        };
        for member in federation.spec.members.clone() {
            if let Some((listeners, _, _, _)) = sockets.remove(&member.id) {
                let seal = read_seal(&federation.member_dir(&member.id).join("seal.key"))?;
                federation.seals.insert(member.id.clone(), seal);
                federation.start(&member.id, listeners).await?;
            }
        }
        federation.make_token_keys().await?;
        Ok(federation)
    }

    /// The directory of one member: keys, certificates, config, store.
    #[must_use]
    pub fn member_dir(&self, member: &MemberId) -> PathBuf {
        self.spec.dir.join(member.as_str())
    }

    /// The addresses of a member's node: for peers, for officers.
    #[must_use]
    pub fn addresses(&self, member: &MemberId) -> Option<(SocketAddr, SocketAddr)> {
        self.addresses.get(member).copied()
    }

    /// The address of a member's node for auditors.
    #[must_use]
    pub fn audit_address(&self, member: &MemberId) -> Option<SocketAddr> {
        self.audits.get(member).copied()
    }

    /// What a member's officer needs to call other nodes' audit ports.
    ///
    /// # Errors
    /// [`FederationError::NoMember`].
    pub fn dial(&self, member: &MemberId) -> Result<Dial, FederationError> {
        Ok(Dial {
            material: self.officer(member)?,
            roster: Arc::new(arc_swap::ArcSwap::from(Arc::clone(self.dev.chain.newest()))),
            clock: self.spec.clock.clone(),
        })
    }

    /// Everything that was made for a member: certificates, keys, its CA.
    ///
    /// # Errors
    /// [`FederationError::NoMember`].
    pub fn made(&self, member: &MemberId) -> Result<&DevMember, FederationError> {
        self.dev
            .members
            .iter()
            .find(|m| m.id == *member)
            .ok_or_else(|| FederationError::NoMember(member.clone()))
    }

    fn options(&self, member: &MemberId, dir: PathBuf) -> Result<NodeOptions, FederationError> {
        let made = self.made(member)?;
        let spec = self.spec.members.iter().find(|m| m.id == *member);
        let copy = |key: &SigningKey| {
            SigningKey::from_seed(&key.seed()).map_err(|e| FederationError::File(e.to_string()))
        };
        Ok(NodeOptions {
            dir,
            federation: self.spec.federation.clone(),
            member: member.clone(),
            material: made.node_material()?,
            keys: LogKeys {
                records: copy(&made.records_key)?,
                records_next: made.records_next.as_ref().map(copy).transpose()?,
                checkpoint: copy(&made.checkpoint_key)?,
                witness: copy(&made.witness_key)?,
            },
            seal: *self.seals.get(member).unwrap_or(&[0; 32]),
            pin: self.dev.chain.pin(),
            rosters: self.dev.chain.after(0),
            clock: self.spec.clock.clone(),
            first_admin: crate::ids::OfficerName::new(OFFICER).ok(),
            rules: self.spec.rules,
            utc_offset_s: crate::intake::SHANGHAI_OFFSET_S,
            replicate: spec.is_some_and(|s| s.replicate),
            cache_bytes: self.spec.cache_bytes,
            index: PostingsOptions::default(),
            limits: self.limits.clone(),
        })
    }

    async fn start(
        &mut self,
        member: &MemberId,
        listeners: Listeners,
    ) -> Result<(), FederationError> {
        let options = self.options(member, self.member_dir(member).join("store"))?;
        let node = start_node(member, options, listeners).await?;
        self.nodes.insert(member.clone(), node);
        Ok(())
    }

    /// Starts a second node of a member from `dir`, a copy of its store, at
    /// other addresses than the roster's: for a rehearsal of attacks.
    ///
    /// # Errors
    /// [`FederationError`].
    pub async fn start_copy(&self, member: &MemberId, dir: &Path) -> Result<Node, FederationError> {
        let options = self.options(member, dir.to_path_buf())?;
        let listeners = Listeners::loopback().await;
        let listeners = listeners.map_err(FederationError::Listen)?;
        start_node(member, options, listeners).await
    }

    /// Stops one node; its directory stays.
    pub async fn stop_node(&mut self, member: &MemberId) {
        if let Some(node) = self.nodes.remove(member) {
            node.stop().await;
        }
    }

    /// Starts a stopped node again, on the same addresses.
    ///
    /// # Errors
    /// [`FederationError`].
    pub async fn restart_node(&mut self, member: &MemberId) -> Result<(), FederationError> {
        let (peer, desk) = self
            .addresses(member)
            .ok_or_else(|| FederationError::NoMember(member.clone()))?;
        let audit = self
            .audit_address(member)
            .ok_or_else(|| FederationError::NoMember(member.clone()))?;
        let bind = TcpListener::bind;
        let listeners = Listeners {
            peer: bind(peer).await.map_err(FederationError::Listen)?,
            desk: bind(desk).await.map_err(FederationError::Listen)?,
            audit: bind(audit).await.map_err(FederationError::Listen)?,
            admin: None,
        };
        self.start(member, listeners).await
    }

    async fn make_token_keys(&mut self) -> Result<(), FederationError> {
        let mut draft = Draft::after(
            self.dev.chain.newest(),
            self.spec.clock.now(),
            ROSTER_DAYS * DAY_S,
        );
        for class in [v1::TokenClass::Enumerable, v1::TokenClass::Open] {
            draft = draft.token_key(self.generate(class).await?);
        }
        for (member, class, points) in &self.spec.grants {
            draft = draft.grant(member, *class, *points, DAY_S);
        }
        self.install(&draft).await
    }

    async fn generate(&self, class: v1::TokenClass) -> Result<v1::TokenKey, FederationError> {
        let plan = v1::KeygenPlan {
            ceremony: random::<16>().to_vec().into(),
            token_class: class as i32,
            threshold: u32::from(self.spec.threshold),
            custodians: self
                .spec
                .custodians
                .iter()
                .map(ToString::to_string)
                .collect(),
        };
        let mut running = JoinSet::new();
        for id in &self.spec.custodians {
            let node = self
                .nodes
                .get(id)
                .ok_or_else(|| FederationError::NoMember(id.clone()))?;
            let (parts, plan, id) = (Arc::clone(node.parts()), plan.clone(), id.clone());
            running.spawn(async move {
                let asked = crate::access::Asked::default();
                keygen::run(&parts.custodian, &parts.peers, &id, &plan, &asked).await
            });
        }
        let mut keys = vec![];
        while let Some(done) = running.join_next().await {
            keys.push(done.map_err(|e| FederationError::File(e.to_string()))??);
        }
        let first = keys.first().cloned().ok_or(FederationError::KeysDiffer)?;
        if keys.iter().any(|key| *key != first) {
            return Err(FederationError::KeysDiffer);
        }
        Ok(first)
    }

    /// Signs the next roster with the root and gives it to every running node.
    ///
    /// # Errors
    /// [`FederationError::Rosters`] when a node refuses it.
    pub async fn install(&mut self, draft: &Draft) -> Result<(), FederationError> {
        let signed = draft.sign(&[&self.dev.root]);
        self.dev
            .chain
            .extend(&signed)
            .map_err(|e| FederationError::Rosters(e.into()))?;
        let newest = self.dev.chain.after(self.dev.chain.newest().version - 1);
        for node in self.nodes.values() {
            let (rosters, newest) = (node.parts().rosters.clone(), newest.clone());
            let taken = tokio::task::spawn_blocking(move || rosters.extend(&newest)).await;
            taken.map_err(|e| FederationError::File(e.to_string()))??;
        }
        let bytes = self.dev.chain.to_bytes();
        let files = std::iter::once(self.spec.dir.join("roster.bin")).chain(
            self.spec
                .members
                .iter()
                .map(|m| self.member_dir(&m.id).join("roster.bin")),
        );
        for file in files {
            std::fs::write(&file, &bytes)
                .map_err(|e| FederationError::File(format!("{}: {e}", file.display())))?;
        }
        Ok(())
    }

    /// A draft of the next roster, to be changed and installed.
    #[must_use]
    pub fn next_roster(&self) -> Draft {
        Draft::after(
            self.dev.chain.newest(),
            self.spec.clock.now(),
            ROSTER_DAYS * DAY_S,
        )
    }

    /// The certificate of a member's officer.
    ///
    /// # Errors
    /// [`FederationError::NoMember`].
    pub fn officer(&self, member: &MemberId) -> Result<Material, FederationError> {
        self.made(member)?
            .officer_material(OFFICER)
            .ok_or_else(|| FederationError::NoMember(member.clone()))
    }

    /// A desk client of a member's officer.
    ///
    /// # Errors
    /// [`FederationError`].
    pub fn desk(&self, member: &MemberId) -> Result<DeskClient, FederationError> {
        let (_, desk) = self
            .addresses(member)
            .ok_or_else(|| FederationError::NoMember(member.clone()))?;
        let roster = Arc::new(arc_swap::ArcSwap::from(Arc::clone(self.dev.chain.newest())));
        Ok(DeskClient::new(
            self.officer(member)?,
            roster,
            self.spec.clock.clone(),
            member.clone(),
            &desk.to_string(),
        )?)
    }

    /// A connection to the node of `member` itself, as that member's own node,
    /// past whatever stands before it.
    ///
    /// # Errors
    /// [`FederationError::NoMember`].
    pub fn channel_behind(&self, member: &MemberId) -> Result<Channel, FederationError> {
        let no_member = || FederationError::NoMember(member.clone());
        let (peer, _) = self.addresses(member).ok_or_else(no_member)?;
        let endpoint = Endpoint::from_shared(format!("http://{peer}"))
            .map_err(|e| FederationError::File(e.to_string()))?;
        let node = self.nodes.get(member).ok_or_else(no_member)?;
        Ok(endpoint.connect_with_connector_lazy(connector(
            self.made(member)?.node_material()?,
            node.parts().rosters.handle(),
            self.spec.clock.clone(),
            member.clone(),
        )))
    }

    /// Serves `exchange` at the address that the roster gives for `member`,
    /// with that member's own certificate.
    ///
    /// # Errors
    /// [`FederationError::NoMember`] unless the spec says that something
    /// stands before that member.
    pub fn stand_before<E: v1::exchange_server::Exchange>(
        &mut self,
        member: &MemberId,
        exchange: v1::exchange_server::ExchangeServer<E>,
    ) -> Result<(), FederationError> {
        let no_member = || FederationError::NoMember(member.clone());
        let (socket, _) = self.front.take().ok_or_else(no_member)?;
        let node = self.nodes.get(member).ok_or_else(no_member)?;
        let tls = TlsServer::new(
            self.made(member)?.node_material()?,
            node.parts().rosters.handle(),
            self.spec.clock.clone(),
            ListenerKind::Peer,
            accept::log_refused,
        );
        let accepting = tls.listen(socket)?;
        let router = Server::builder().add_service(exchange);
        tokio::spawn(async move {
            if let Err(e) = router.serve_with_incoming(accepting.incoming).await {
                tracing::error!(error = %e, "what stood before a node ended");
            }
        });
        Ok(())
    }

    /// Makes a key that a member's node holds from its next start on, beside the
    /// one it has, and returns its public half.
    ///
    /// # Errors
    /// [`FederationError::NoMember`].
    pub fn make_next_key(&mut self, member: &MemberId) -> Result<PublicKey, FederationError> {
        let made = self.dev.members.iter_mut().find(|m| m.id == *member);
        let made = made.ok_or_else(|| FederationError::NoMember(member.clone()))?;
        let next = made.records_next.insert(SigningKey::generate());
        Ok(next.public_key().clone())
    }

    /// Sets the limits of nodes that are started from now on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// The federation's name.
    #[must_use]
    pub fn name(&self) -> &FederationId {
        &self.spec.federation
    }

    /// The pin of the first roster, hex.
    #[must_use]
    pub fn pin(&self) -> String {
        self.dev.chain.pin().to_string()
    }

    /// The members that hold replicas.
    pub fn replicating(&self) -> impl Iterator<Item = &MemberSpec> {
        self.spec.members.iter().filter(|m| m.replicate)
    }

    /// Stops every node.
    pub async fn stop(mut self) {
        let mut stopping = JoinSet::new();
        for (_, node) in std::mem::take(&mut self.nodes) {
            stopping.spawn(node.stop());
        }
        while stopping.join_next().await.is_some() {}
    }
}

async fn start_node(
    member: &MemberId,
    options: NodeOptions,
    listeners: Listeners,
) -> Result<Node, FederationError> {
    let started = Node::start(options, listeners).await;
    started.map_err(|source| FederationError::Node {
        member: member.clone(),
        source,
    })
}

fn read_seal(path: &Path) -> Result<[u8; 32], FederationError> {
    let bad = |why: String| FederationError::File(format!("{}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|e| bad(e.to_string()))?;
    let bytes = hex::decode(text.trim()).map_err(|e| bad(e.to_string()))?;
    bytes
        .try_into()
        .map_err(|_| bad("a seal key has 64 hex digits".into()))
}
