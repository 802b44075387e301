//! Why a custodian refused, and who is to blame.

use super::REQUEST_LIFE_S_MAX;
use crate::blame::{Blame, Blamed};
use crate::clock::UnixSeconds;
use crate::oprf::OprfError;
use crate::oprf::dkg::DkgError;
use crate::store::StoreError;

/// Why a custodian refused.
#[derive(Debug, thiserror::Error)]
pub enum CustodianError {
    /// The request names another recipient.
    #[error("the request is for another custodian")]
    NotForMe,
    /// The request's expiry has passed, or lies too far ahead.
    #[error(
        "the request's expiry {expires_at} is not within the {REQUEST_LIFE_S_MAX} s from {now}"
    )]
    Expired {
        /// What the request says.
        expires_at: UnixSeconds,
        /// This custodian's time.
        now: UnixSeconds,
    },
    /// A key that the roster does not list or of which no share is here.
    #[error("no share of the named token key is served here")]
    UnknownKey,
    /// A share epoch that is not the roster's; fetch the roster.
    #[error("epoch {got} was asked for, epoch {want} is served")]
    Epoch {
        /// What was asked for.
        got: u32,
        /// What the roster says.
        want: u32,
    },
    /// No purpose, or one that is malformed.
    #[error("no usable purpose: {reason}")]
    Purpose {
        /// What is wrong.
        reason: &'static str,
    },
    /// A batch that is malformed.
    #[error(transparent)]
    Batch(#[from] OprfError),
    /// The member's budget, or the cap over all members, does not suffice.
    #[error("{asked} points are asked for, {left} are left until {until}{}", if *.cap { " (all members together)" } else { "" })]
    Budget {
        /// Points of the batch.
        asked: u64,
        /// Points that are left.
        left: u64,
        /// When the next day begins.
        until: UnixSeconds,
        /// Whether it is the cap over all members.
        cap: bool,
    },
    /// A step of a key generation was refused.
    #[error(transparent)]
    Keygen(#[from] DkgError),
    /// Too many key generations at once.
    #[error("{limit} key generations are running already")]
    Ceremonies {
        /// How many may run.
        limit: usize,
    },
    /// A share in the store does not open: another seal key, or damage.
    #[error("a stored key share does not open")]
    Share,
    /// The store failed; nothing was evaluated.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Blamed for CustodianError {
    fn blame(&self) -> Blame {
        match self {
            Self::NotForMe | Self::Purpose { .. } => Blame::Misbehaved,
            Self::Expired { .. } | Self::Epoch { .. } => Blame::Stale,
            Self::UnknownKey => Blame::NotFound,
            Self::Batch(e) => e.blame(),
            Self::Budget { .. } | Self::Ceremonies { .. } => Blame::Busy,
            Self::Keygen(e) => e.blame(),
            Self::Share => Blame::Internal,
            Self::Store(e) => e.blame(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotForMe => "custodian.not_for_me",
            Self::Expired { .. } => "custodian.expired",
            Self::UnknownKey => "custodian.unknown_key",
            Self::Epoch { .. } => "custodian.stale_epoch",
            Self::Purpose { .. } => "custodian.no_purpose",
            Self::Batch(e) => e.code(),
            Self::Budget { cap: false, .. } => "custodian.budget_spent",
            Self::Budget { cap: true, .. } => "custodian.cap_reached",
            Self::Keygen(e) => e.code(),
            Self::Ceremonies { .. } => "custodian.ceremonies",
            Self::Share => "custodian.share",
            Self::Store(e) => e.code(),
        }
    }
}
