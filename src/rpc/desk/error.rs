//! What the desk refuses by itself, before anything else looks at a request.

use crate::blame::{Blame, Blamed};
use crate::ids::IdError;

/// Why a request was refused, or came to no end.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeskError {
    /// A format that is not known.
    #[error("the format of a file is csv or jsonl")]
    Format,
    /// A retraction that says not why.
    #[error("a retraction needs a reason")]
    NoReason,
    /// A name that no officer can have.
    #[error("this is no officer's name: {0}")]
    OfficerName(#[from] IdError),
    /// The call took longer than the node lets one take.
    #[error("no answer within {seconds} s; what was begun goes on, and is in the access log")]
    TooSlow {
        /// The limit.
        seconds: u64,
    },
    /// The node is stopping, or the call's task failed.
    #[error("the call broke off; the access log says what became of it")]
    BrokenOff,
}

impl Blamed for DeskError {
    fn blame(&self) -> Blame {
        match self {
            Self::Format | Self::NoReason | Self::OfficerName(_) => Blame::Misbehaved,
            Self::TooSlow { .. } | Self::BrokenOff => Blame::Unavailable,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Format => "desk.format",
            Self::NoReason => "desk.no_reason",
            Self::OfficerName(_) => "desk.officer_name",
            Self::TooSlow { .. } => "desk.too_slow",
            Self::BrokenOff => "desk.broken_off",
        }
    }
}
