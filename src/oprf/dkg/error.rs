//! Why a key generation's message or step was refused, and who is to blame.

use crate::blame::{Blame, Blamed};
use crate::ids::MemberId;
use crate::oprf::OprfError;

/// Why a ceremony's message or step was refused.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum DkgError {
    /// A plan that cannot be carried out.
    #[error("the plan is refused: {reason}")]
    Plan {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A message of another ceremony, or of a plan with other bytes.
    #[error("{from} speaks of another ceremony or plan")]
    Foreign {
        /// Who sent it.
        from: MemberId,
    },
    /// A member that is no custodian of this ceremony, or this node itself.
    #[error("{from} is no other custodian of this ceremony")]
    Stranger {
        /// Who it is.
        from: MemberId,
    },
    /// The same message once more.
    #[error("{from} sent {what} twice")]
    Twice {
        /// Who sent it.
        from: MemberId,
        /// Which message.
        what: &'static str,
    },
    /// A step before its time.
    #[error("it is too early for {what}: {missing} messages are missing")]
    TooEarly {
        /// Which step.
        what: &'static str,
        /// How many messages of the step before are missing.
        missing: usize,
    },
    /// Two versions of one custodian's message. Messages are not signed, so
    /// when a third party reports it, either of the two may lie.
    #[error("two versions of the round 1 package of {culprit} (seen by {reporter})")]
    Equivocation {
        /// Whose package differs.
        culprit: MemberId,
        /// Who saw another version than this node.
        reporter: MemberId,
    },
    /// A package that is malformed, or whose proof or share does not hold.
    #[error("the {what} package of {from} does not hold")]
    BadPackage {
        /// Who sent it.
        from: MemberId,
        /// Of which round.
        what: &'static str,
    },
    /// The result does not pass its last checks.
    #[error("the generated key is not usable")]
    BadKey(#[from] OprfError),
    /// The ceremony failed before or inside the library; it must be started anew.
    #[error("the ceremony has ended; start a new one")]
    Ended,
}

impl Blamed for DkgError {
    fn blame(&self) -> Blame {
        match self {
            Self::TooEarly { .. } => Blame::Busy,
            Self::Ended => Blame::NotFound,
            Self::BadKey(_) => Blame::Internal,
            Self::Plan { .. }
            | Self::Foreign { .. }
            | Self::Stranger { .. }
            | Self::Twice { .. }
            | Self::Equivocation { .. }
            | Self::BadPackage { .. } => Blame::Misbehaved,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Plan { .. } => "dkg.plan",
            Self::Foreign { .. } => "dkg.foreign",
            Self::Stranger { .. } => "dkg.stranger",
            Self::Twice { .. } => "dkg.twice",
            Self::TooEarly { .. } => "dkg.too_early",
            Self::Equivocation { .. } => "dkg.equivocation",
            Self::BadPackage { .. } => "dkg.bad_package",
            Self::BadKey(_) => "dkg.bad_key",
            Self::Ended => "dkg.ended",
        }
    }
}
