//! The right edge of a tree: all that is needed to append to it and to know
//! its root, in at most 64 hashes.

use crate::ids::{Digest, TreeSize};
use crate::merkle::{MerkleError, Nodes, fold, node_hash};

/// A log is never longer than this many entries.
const SIZE_MAX: u64 = 1 << 62;

/// The size of a tree and the roots of its complete subtrees, largest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Digest>,
}

impl Frontier {
    /// Makes the frontier of the empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the frontier of a tree's first `size` leaves from its stored hashes.
    ///
    /// # Errors
    /// Whatever reading the hashes fails with.
    pub fn of<N: Nodes>(nodes: &N, size: TreeSize) -> Result<Self, N::Error> {
        let (mut peaks, mut at) = (vec![], 0);
        for level in (0..62_u8).rev() {
            if (size.0 >> level) & 1 == 1 {
                peaks.push(nodes.node(level, at >> level)?);
                at += 1 << level;
            }
        }
        Ok(Self {
            size: size.0,
            peaks,
        })
    }

    /// Appends one leaf hash.
    ///
    /// # Panics
    /// At 2^62 leaves, which no log reaches.
    pub fn append(&mut self, leaf: Digest) {
        assert!(self.size < SIZE_MAX, "a log has fewer than 2^62 entries");
        let mut hash = leaf;
        for _ in 0..self.size.trailing_ones() {
            let left = self
                .peaks
                .pop()
                .expect("a peak stands for each set bit of the size");
            hash = node_hash(&left, &hash);
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// Appends leaf hashes in order.
    pub fn extend(&mut self, leaves: impl IntoIterator<Item = Digest>) {
        for leaf in leaves {
            self.append(leaf);
        }
    }

    /// Returns the number of leaves.
    #[must_use]
    pub fn size(&self) -> TreeSize {
        TreeSize(self.size)
    }

    /// Returns the root hash (RFC 6962 section 2.1).
    #[must_use]
    pub fn root(&self) -> Digest {
        fold(&self.peaks)
    }

    /// Writes the frontier: size as u64 big-endian, then the peaks.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(8 + 32 * self.peaks.len());
        out.extend_from_slice(&self.size.to_be_bytes());
        for peak in &self.peaks {
            out.extend_from_slice(&peak.0);
        }
        out
    }

    /// Reads what [`Frontier::encode`] wrote.
    ///
    /// # Errors
    /// [`MerkleError::Malformed`] when the number of peaks is not that of the size.
    pub fn decode(bytes: &[u8]) -> Result<Self, MerkleError> {
        let malformed = MerkleError::Malformed { what: "frontier" };
        let Some((size, peaks)) = bytes.split_first_chunk::<8>() else {
            return Err(malformed);
        };
        let size = u64::from_be_bytes(*size);
        let (peaks, rest) = peaks.as_chunks::<32>();
        let count = u32::try_from(peaks.len()).unwrap_or(u32::MAX);
        if size > SIZE_MAX || !rest.is_empty() || count != size.count_ones() {
            return Err(malformed);
        }
        Ok(Self {
            size,
            peaks: peaks.iter().copied().map(Digest).collect(),
        })
    }
}
