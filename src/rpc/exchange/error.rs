//! What is wrong with a question of another member's node.

use crate::blame::{Blame, Blamed};

/// Why a call of the Exchange service is not answered.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum ExchangeError {
    /// The log's name is none.
    #[error("the origin is not FEDERATION/MEMBER/records/GEN")]
    Origin,
    /// An access log was asked for.
    #[error("access logs do not travel")]
    AccessLog,
    /// More ranges than a request for bodies may name.
    #[error("a request for bodies names at most 8,192 ranges")]
    TooManyRanges,
    /// A range is empty or reversed, or begins below the end of the one before.
    #[error("ranges are filled, sorted, and do not overlap")]
    Ranges,
    /// More bodies than one request may ask for.
    #[error("a request for bodies asks for at most 1,048,576")]
    TooManyBodies,
    /// The sizes are not two of a log.
    #[error("the sizes are not two of a log, the smaller one first and from 1 on")]
    Sizes,
    /// The log is shorter here.
    #[error("this node holds fewer entries")]
    Beyond,
}

impl Blamed for ExchangeError {
    fn blame(&self) -> Blame {
        match self {
            Self::Origin
            | Self::TooManyRanges
            | Self::Ranges
            | Self::TooManyBodies
            | Self::Sizes => Blame::Misbehaved,
            Self::AccessLog => Blame::Denied,
            Self::Beyond => Blame::NotFound,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Origin => "exchange.origin",
            Self::AccessLog => "exchange.access_log",
            Self::TooManyRanges => "exchange.too_many_ranges",
            Self::Ranges => "exchange.ranges",
            Self::TooManyBodies => "exchange.too_many_bodies",
            Self::Sizes => "exchange.sizes",
            Self::Beyond => "exchange.beyond",
        }
    }
}
