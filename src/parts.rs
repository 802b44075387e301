//! What a running node is made of, wired by `node` and used by its services at
//! the edge. Nothing here does anything of itself.

use std::sync::Arc;

use crate::access::AccessLog;
use crate::cases::Cases;
use crate::clock::Clock;
use crate::custodian::Custodian;
use crate::find::Finder;
use crate::ids::LogName;
use crate::import::Importer;
use crate::ledger::Ledger;
use crate::officers::Officers;
use crate::peers::client::PeerClients;
use crate::publish::Publisher;
use crate::replicate::Replicator;
use crate::rosterlog::RosterLog;
use crate::rosters::Rosters;
use crate::tls::Material;
use crate::witness::Witness;
use crate::witnessing::Witnessing;

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
    /// The log of rosters.
    pub roster_log: Arc<RosterLog<Arc<PeerClients>>>,
    /// Cosigns other members' checkpoints.
    pub witness: Arc<Witness>,
    /// Has the own logs cosigned.
    pub witnessing: Arc<Witnessing<Arc<PeerClients>>>,
    /// Connections to peers.
    pub peers: Arc<PeerClients>,
    /// The node's certificate.
    pub material: Material,
    /// The time.
    pub clock: Clock,
    /// Whether the node keeps replicas.
    pub replicate: bool,
}

impl Parts {
    /// The size of the own records log.
    #[must_use]
    pub fn records_size(&self) -> u64 {
        self.ledger.own_log(LogName::Records).size().0
    }
}
