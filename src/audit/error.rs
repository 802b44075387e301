//! Why files of a log are not had, or no bundle is made of them.

use std::io;
use std::path::PathBuf;

use super::layout::LayoutError;
use crate::blame::{Blame, Blamed};
use crate::ledger::LedgerError;
use crate::merkle::MerkleError;
use crate::store::StoreError;

/// Why a source did not give what was asked for.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{sentence}")]
pub struct SourceError {
    /// The stable code of what went wrong.
    pub code: String,
    /// Who has to act.
    pub blame: Blame,
    /// What it says, for people.
    pub sentence: String,
}

impl SourceError {
    /// Takes over any other error.
    #[must_use]
    pub fn of<E: Blamed + std::fmt::Display>(error: &E) -> Self {
        Self {
            code: error.code().to_owned(),
            blame: error.blame(),
            sentence: error.to_string(),
        }
    }
}

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The node, or the store, did not give what was asked for.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The name is taken.
    #[error("{} is there already: a bundle never replaces anything", .0.display())]
    Exists(PathBuf),
    /// An earlier export broke off.
    #[error("{} is left from an export that broke off: remove it first", .0.display())]
    LeftOver(PathBuf),
    /// A file of the bundle.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The source gave something that cannot be: a piece is missing or too long.
    #[error("the node gave no whole log: {what}")]
    Malformed {
        /// What is wrong with it.
        what: &'static str,
    },
    /// Nothing has these names or numbers.
    #[error("there is nothing to export: {what}")]
    Nothing {
        /// What is not there.
        what: &'static str,
    },
    /// Whoever watches the progress said stop.
    #[error("the export was stopped")]
    Stopped,
}

impl Blamed for ExportError {
    fn blame(&self) -> Blame {
        match self {
            Self::Source(e) => e.blame,
            Self::Exists(_) | Self::LeftOver(_) => Blame::Denied,
            Self::File { .. } => Blame::Internal,
            Self::Malformed { .. } => Blame::Misbehaved,
            Self::Nothing { .. } => Blame::NotFound,
            Self::Stopped => Blame::Unavailable,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Source(_) => "audit.source",
            Self::Exists(_) => "audit.exists",
            Self::LeftOver(_) => "audit.left_over",
            Self::File { .. } => "audit.file",
            Self::Malformed { .. } => "audit.malformed",
            Self::Nothing { .. } => "audit.nothing",
            Self::Stopped => "audit.stopped",
        }
    }
}

impl ExportError {
    /// The code that people and scripts see: the source's own where it has one.
    #[must_use]
    pub fn shown_code(&self) -> &str {
        match self {
            Self::Source(error) if !error.code.is_empty() => &error.code,
            other => other.code(),
        }
    }
}

impl From<MerkleError> for ExportError {
    fn from(_: MerkleError) -> Self {
        Self::Malformed {
            what: "a tile has another length than the tree's size says",
        }
    }
}

impl From<LayoutError> for ExportError {
    fn from(error: LayoutError) -> Self {
        let what = match error {
            LayoutError::Path(_) => "a path that is none",
            LayoutError::Content { what } => what,
        };
        Self::Malformed { what }
    }
}

impl From<LedgerError> for ExportError {
    fn from(error: LedgerError) -> Self {
        Self::Source(SourceError::of(&error))
    }
}

impl From<StoreError> for ExportError {
    fn from(error: StoreError) -> Self {
        LedgerError::from(error).into()
    }
}
