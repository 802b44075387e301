//! What is wrong with a question of an auditor, in words that say what to ask.

use crate::blame::{Blame, Blamed};
use crate::ids::TreeSize;

/// Why a call of the Audit service is not answered.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum AuditError {
    /// The log's name is none.
    #[error("the origin is not FEDERATION/MEMBER/records/GEN or .../access/GEN")]
    Origin,
    /// A size that no checkpoint has yet.
    #[error("the log has no checkpoint of that size yet: the newest is {newest}")]
    Size {
        /// The newest checkpoint's.
        newest: TreeSize,
    },
    /// An index, or an older size, beyond the size that is named.
    #[error("that is not in a tree of {size}")]
    Beyond {
        /// The size that is named.
        size: TreeSize,
    },
    /// A level that no tree has.
    #[error("there is no such tile level")]
    Level,
    /// Several ranges of bodies, or none.
    #[error("one range is asked for at a time")]
    Ranges,
}

impl Blamed for AuditError {
    fn blame(&self) -> Blame {
        Blame::Misbehaved
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Origin => "audit.origin",
            Self::Size { .. } => "audit.size",
            Self::Beyond { .. } => "audit.beyond",
            Self::Level => "audit.level",
            Self::Ranges => "audit.ranges",
        }
    }
}
