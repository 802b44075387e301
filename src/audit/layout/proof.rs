//! Proofs as text: C2SP tlog-proof, and lists of base64 hashes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::{LayoutError, decimal};
use crate::ids::{Digest, LogIndex};

/// The first line of a proof file.
pub const PROOF_HEADER: &str = "c2sp.org/tlog-proof@v1";

/// Hashes that a proof may have: the depth of a tree of 64-bit size, twice.
const HASHES_MAX: usize = 128;

/// That an entry stands in a log: its index, the inclusion proof, and the
/// checkpoint that the proof leads to (C2SP tlog-proof). Nothing in it is
/// checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlogProof {
    /// Where the entry stands.
    pub index: LogIndex,
    /// The inclusion proof, the nearest sibling first.
    pub hashes: Vec<Digest>,
    /// The checkpoint: a signed note.
    pub checkpoint: Bytes,
}

impl TlogProof {
    /// Writes the proof's text.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let head = format!("{PROOF_HEADER}\nindex {}\n", self.index);
        let hashes = write_hashes(&self.hashes);
        [head.as_bytes(), hashes.as_bytes(), b"\n", &self.checkpoint].concat()
    }

    /// Reads the proof's text. An `extra` line is refused: no proof of a
    /// casegate log has one.
    ///
    /// # Errors
    /// [`LayoutError::Content`] naming the line that is wrong.
    pub fn decode(text: &Bytes) -> Result<Self, LayoutError> {
        let bad = |what| LayoutError::Content { what };
        let at = text
            .windows(2)
            .position(|two| two == b"\n\n")
            .ok_or_else(|| bad("a proof without an empty line"))?;
        let head = text
            .get(..=at)
            .and_then(|head| std::str::from_utf8(head).ok())
            .ok_or_else(|| bad("a proof that is not text"))?;
        let rest = head
            .strip_prefix(PROOF_HEADER)
            .and_then(|rest| rest.strip_prefix('\n'))
            .ok_or_else(|| bad("a proof without its header"))?;
        let (index, hashes) = rest
            .strip_prefix("index ")
            .and_then(|rest| rest.split_once('\n'))
            .ok_or_else(|| bad("a proof without an index"))?;
        Ok(Self {
            index: LogIndex(decimal(index).ok_or_else(|| bad("a proof's index"))?),
            hashes: read_hashes(hashes)?,
            checkpoint: text.slice(at + 2..),
        })
    }
}

/// Writes hashes as base64, one a line.
#[must_use]
pub fn write_hashes(hashes: &[Digest]) -> String {
    hashes
        .iter()
        .map(|hash| STANDARD.encode(hash.0) + "\n")
        .collect()
}

/// Reads hashes that [`write_hashes`] wrote.
///
/// # Errors
/// [`LayoutError::Content`] for a line that is no hash, a missing last newline,
/// and more hashes than a proof can have.
pub fn read_hashes(text: &str) -> Result<Vec<Digest>, LayoutError> {
    let bad = |what| LayoutError::Content { what };
    if text.is_empty() {
        return Ok(vec![]);
    }
    let lines = text
        .strip_suffix('\n')
        .ok_or_else(|| bad("a list of hashes that breaks off"))?;
    if lines.split('\n').count() > HASHES_MAX {
        return Err(bad("more hashes than a proof can have"));
    }
    lines
        .split('\n')
        .map(|line| {
            let bytes = STANDARD.decode(line).ok();
            bytes
                .and_then(|bytes| Digest::from_slice(&bytes).ok())
                .ok_or_else(|| bad("a line that is no hash"))
        })
        .collect()
}
