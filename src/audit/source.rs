//! Where a bundle comes from: a node's audit port, or the directory of a node
//! that is stopped. Everything is handed over piece by piece, so that a large
//! log needs no large memory. Blocks.

use bytes::Bytes;

use super::export::ExportError;
use super::layout::{TilePath, TlogProof};
use crate::blame::{Blame, Blamed};
use crate::ids::{LogIndex, Origin, TreeSize};
use crate::ledger::AuditedBody;
use crate::wire::v1::{Erasure, EvidencePair, SignedRoster};

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

/// One log as it stands at the beginning of an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogState {
    /// Its name.
    pub origin: Origin,
    /// Its newest checkpoint, a signed note.
    pub checkpoint: Bytes,
    /// The size in that checkpoint.
    pub size: TreeSize,
}

/// A receipt of another member about an erasure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The entry's bytes.
    pub entry: Bytes,
    /// The body's bytes.
    pub body: Bytes,
    /// That the entry stands in that member's records log.
    pub proof: TlogProof,
}

/// What each piece of a stream is given to.
pub type Each<'a, T> = &'a mut dyn FnMut(T) -> Result<(), ExportError>;

/// A run of a log's pieces: tiles, bundles or indices, from the first on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The first one's number.
    pub first: u64,
    /// How many.
    pub count: u64,
    /// The size of the tree that they are of.
    pub size: TreeSize,
}

/// Gives the logs of one member, and what belongs to them.
///
/// The pieces come in order and none is left out; what is asked of one call is
/// of the tree at the size that is named, whatever was appended since.
pub trait Source {
    /// Every roster version, from 1 on.
    ///
    /// # Errors
    /// [`ExportError::Source`], as of every method here.
    fn rosters(&mut self) -> Result<Vec<SignedRoster>, ExportError>;

    /// The newest checkpoint of the roster log, where there is one.
    ///
    /// # Errors
    /// [`ExportError::Source`].
    fn roster_checkpoint(&mut self) -> Result<Option<Bytes>, ExportError>;

    /// The member's own logs of every generation that is held.
    ///
    /// # Errors
    /// [`ExportError::Source`].
    fn logs(&mut self) -> Result<Vec<LogState>, ExportError>;

    /// The witnessed checkpoints of a log that are kept, by size.
    ///
    /// # Errors
    /// [`ExportError::Source`], and what `each` answers.
    fn checkpoints(&mut self, log: &Origin, each: Each<'_, Bytes>) -> Result<(), ExportError>;

    /// Hash tiles of one level, each with its hashes.
    ///
    /// # Errors
    /// [`ExportError::Source`], and what `each` answers.
    fn tiles(
        &mut self,
        log: &Origin,
        level: u8,
        run: Run,
        each: Each<'_, (TilePath, Bytes)>,
    ) -> Result<(), ExportError>;

    /// Entry bundles.
    ///
    /// # Errors
    /// [`ExportError::Source`], and what `each` answers.
    fn entries(
        &mut self,
        log: &Origin,
        run: Run,
        each: Each<'_, (TilePath, Bytes)>,
    ) -> Result<(), ExportError>;

    /// What the one who exports may see of the bodies of a run of indices.
    ///
    /// # Errors
    /// [`ExportError::Source`], and what `each` answers.
    fn bodies(
        &mut self,
        log: &Origin,
        run: Run,
        each: Each<'_, AuditedBody>,
    ) -> Result<(), ExportError>;

    /// What was erased of a records log.
    ///
    /// # Errors
    /// [`ExportError::Source`].
    fn erasures(&mut self, log: &Origin) -> Result<Vec<Erasure>, ExportError>;

    /// One entry of another member's records log, which confirms an erasure.
    ///
    /// # Errors
    /// [`SourceError`]; the member is then named as one that did not answer.
    fn receipt(&mut self, log: &Origin, index: LogIndex) -> Result<Receipt, SourceError>;

    /// Pairs of signed notes that contradict each other.
    ///
    /// # Errors
    /// [`ExportError::Source`].
    fn evidence(&mut self) -> Result<Vec<EvidencePair>, ExportError>;
}
