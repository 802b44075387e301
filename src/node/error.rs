//! Why a node does not start.

use crate::access::AccessError;
use crate::blame::{Blame, Blamed};
use crate::custodian::CustodianError;
use crate::ids::MemberId;
use crate::ledger::LedgerError;
use crate::officers::OfficerError;
use crate::rosters::RostersError;
use crate::tls::TlsError;

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The ledger did not open.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The access log did not open.
    #[error(transparent)]
    Access(#[from] AccessError),
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
            Self::Access(e) => e.code(),
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
