//! Merkle trees with RFC 6962 hashing: leaves, nodes, proofs and their checks.
//!
//! Pure functions over digests. Stored hashes are reached through [`Nodes`];
//! `merkle::tiles` has the 256-wide layout in which a log keeps them.

mod frontier;
mod tiles;

use ring::digest::{Context, SHA256};

use crate::blame::{Blame, Blamed};
use crate::ids::{Digest, LogIndex, TreeSize};

pub use frontier::Frontier;
pub use tiles::{TILE_WIDTH, TileNodes, TileUpdate, append_tiles};

/// Why a proof, or stored hashes, are refused.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum MerkleError {
    /// The leaf's position is not inside the tree.
    #[error("index {index} is not in a tree of {size}")]
    Index {
        /// The claimed position.
        index: LogIndex,
        /// The tree's size.
        size: TreeSize,
    },
    /// The later tree is smaller than the earlier one.
    #[error("a tree of {from} cannot have become one of {to}")]
    Shrunk {
        /// The earlier size.
        from: TreeSize,
        /// The later size.
        to: TreeSize,
    },
    /// The proof has another number of hashes than the sizes ask for.
    #[error("the proof must have {want} hashes, not {got}")]
    ProofLength {
        /// The number that the sizes ask for.
        want: usize,
        /// The number that came.
        got: usize,
    },
    /// The proof leads to another root.
    #[error("the proof leads to another root")]
    RootMismatch,
    /// Stored or encoded hashes that do not fit the size they are said to have.
    #[error("stored {what} does not fit its size")]
    Malformed {
        /// What was malformed.
        what: &'static str,
    },
}

impl Blamed for MerkleError {
    fn blame(&self) -> Blame {
        match self {
            Self::Malformed { .. } => Blame::Internal,
            Self::Index { .. }
            | Self::Shrunk { .. }
            | Self::ProofLength { .. }
            | Self::RootMismatch => Blame::Misbehaved,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Index { .. } => "merkle.index",
            Self::Shrunk { .. } => "merkle.shrunk",
            Self::ProofLength { .. } => "merkle.proof_length",
            Self::RootMismatch => "merkle.root_mismatch",
            Self::Malformed { .. } => "merkle.malformed",
        }
    }
}

/// Hashes one entry as a leaf: SHA-256(0x00 ‖ entry), RFC 6962 section 2.1.
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> Digest {
    let mut context = Context::new(&SHA256);
    context.update(&[0]);
    context.update(entry);
    finish(context)
}

/// Hashes two subtrees: SHA-256(0x01 ‖ left ‖ right), RFC 6962 section 2.1.
#[must_use]
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    let mut bytes = [1; 65];
    bytes[1..33].copy_from_slice(&left.0);
    bytes[33..].copy_from_slice(&right.0);
    Digest::of(&bytes)
}

/// Returns the root of the tree without leaves: SHA-256 of nothing.
#[must_use]
pub fn empty_root() -> Digest {
    Digest::of(&[])
}

fn finish(context: Context) -> Digest {
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    Digest(out)
}

/// Stored hashes of complete subtrees.
pub trait Nodes {
    /// What reading a hash may fail with.
    type Error;

    /// Returns the hash of the complete subtree over the leaves
    /// `[index << level, (index + 1) << level)`; level 0 is the leaf hashes.
    ///
    /// # Errors
    /// Whatever the store fails with.
    fn node(&self, level: u8, index: u64) -> Result<Digest, Self::Error>;
}

/// Builds the proof that the leaf at `index` is in the tree of `size`
/// (RFC 6962 section 2.1.1), nearest sibling first.
///
/// An `index` outside the tree gives an empty proof, which proves nothing.
///
/// # Errors
/// Whatever reading the hashes fails with.
pub fn inclusion_proof<N: Nodes>(
    nodes: &N,
    index: LogIndex,
    size: TreeSize,
) -> Result<Vec<Digest>, N::Error> {
    let mut proof = Vec::new();
    if index.0 >= size.0 {
        return Ok(proof);
    }
    let (mut start, mut end) = (0, size.0);
    while end - start > 1 {
        let middle = start + split(end - start);
        if index.0 < middle {
            proof.push(range_root(nodes, middle, end)?);
            end = middle;
        } else {
            proof.push(range_root(nodes, start, middle)?);
            start = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// Builds the proof that the tree of `to` extends the tree of `from`
/// (RFC 6962 section 2.1.2). Empty when `from` is 0, equal to `to` or above it.
///
/// # Errors
/// Whatever reading the hashes fails with.
pub fn consistency_proof<N: Nodes>(
    nodes: &N,
    from: TreeSize,
    to: TreeSize,
) -> Result<Vec<Digest>, N::Error> {
    let mut proof = Vec::new();
    if from.0 == 0 || from.0 >= to.0 {
        return Ok(proof);
    }
    let (mut start, mut end) = (0, to.0);
    while from.0 != end {
        let middle = start + split(end - start);
        if from.0 <= middle {
            proof.push(range_root(nodes, middle, end)?);
            end = middle;
        } else {
            proof.push(range_root(nodes, start, middle)?);
            start = middle;
        }
    }
    // The old root itself is known to the reader; any other last subtree is not.
    if start > 0 {
        proof.push(range_root(nodes, start, end)?);
    }
    proof.reverse();
    Ok(proof)
}

/// Computes the root of a tree's first `size` leaves from its stored hashes.
///
/// # Errors
/// Whatever reading the hashes fails with.
pub fn root_at<N: Nodes>(nodes: &N, size: TreeSize) -> Result<Digest, N::Error> {
    range_root(nodes, 0, size.0)
}

/// The largest power of two below `width`, which is at least 2.
fn split(width: u64) -> u64 {
    1 << (width - 1).ilog2()
}

/// The root over `[start, end)`, a range whose left edge the recursion made.
fn range_root<N: Nodes>(nodes: &N, start: u64, end: u64) -> Result<Digest, N::Error> {
    let mut peaks = Vec::new();
    let mut at = start;
    while at < end {
        let level = level_of(end - at);
        peaks.push(nodes.node(level, at >> level)?);
        at += 1 << level;
    }
    Ok(fold(&peaks))
}

/// The level of the largest complete subtree in `width` leaves, `width` > 0.
fn level_of(width: u64) -> u8 {
    u8::try_from(width.ilog2()).expect("the logarithm of a u64 is below 64")
}

/// The root above peaks that stand from largest to smallest.
fn fold(peaks: &[Digest]) -> Digest {
    let mut from_the_right = peaks.iter().rev();
    let Some(last) = from_the_right.next() else {
        return empty_root();
    };
    from_the_right.fold(*last, |right, left| node_hash(left, &right))
}

/// Checks that `leaf` stands at `index` in the tree of `size` and `root`.
///
/// # Errors
/// [`MerkleError`] when it does not.
pub fn verify_inclusion(
    leaf: &Digest,
    index: LogIndex,
    size: TreeSize,
    proof: &[Digest],
    root: &Digest,
) -> Result<(), MerkleError> {
    if index.0 >= size.0 {
        return Err(MerkleError::Index { index, size });
    }
    // Below `inner` both siblings exist at each level; above it the path runs
    // along the right border and has a sibling only to the left.
    let inner = bits(index.0 ^ (size.0 - 1));
    let border = ones(index.0.checked_shr(inner).unwrap_or(0));
    let (inner, border) = (width(inner), width(border));
    expect_length(proof, inner + border)?;
    let (low, high) = proof.split_at(inner);
    let mut hash = *leaf;
    for (level, sibling) in low.iter().enumerate() {
        hash = if (index.0 >> level) & 1 == 0 {
            node_hash(&hash, sibling)
        } else {
            node_hash(sibling, &hash)
        };
    }
    for sibling in high {
        hash = node_hash(sibling, &hash);
    }
    same_root(&hash, root)
}

/// Checks that the tree of `to` extends the tree of `from`.
///
/// From size 0 there is nothing to prove: the proof must be empty and the root
/// that of the empty tree.
///
/// # Errors
/// [`MerkleError`] when it does not.
pub fn verify_consistency(
    from: TreeSize,
    from_root: &Digest,
    to: TreeSize,
    to_root: &Digest,
    proof: &[Digest],
) -> Result<(), MerkleError> {
    if to.0 < from.0 {
        return Err(MerkleError::Shrunk { from, to });
    }
    if from == to {
        expect_length(proof, 0)?;
        if from.0 == 0 {
            same_root(from_root, &empty_root())?;
        }
        return same_root(from_root, to_root);
    }
    if from.0 == 0 {
        expect_length(proof, 0)?;
        return same_root(from_root, &empty_root());
    }
    verify_extension(from.0, from_root, to.0, to_root, proof)
}

/// The check of `verify_consistency` for 0 < `from` < `to`.
fn verify_extension(
    from: u64,
    from_root: &Digest,
    to: u64,
    to_root: &Digest,
    proof: &[Digest],
) -> Result<(), MerkleError> {
    // The path starts at the largest complete subtree that ends at `from`.
    let shift = from.trailing_zeros();
    let inner = bits((from - 1) ^ (to - 1)) - shift;
    let border = ones((from - 1).checked_shr(inner + shift).unwrap_or(0));
    let is_subtree = from.is_power_of_two();
    let (inner, border) = (width(inner), width(border));
    expect_length(proof, inner + border + usize::from(!is_subtree))?;
    let (seed, path) = match proof.split_first() {
        Some((first, rest)) if !is_subtree => (first, rest),
        _ => (from_root, proof),
    };
    let (low, high) = path.split_at(inner);
    let mask = (from - 1) >> shift;
    let (mut old, mut new) = (*seed, *seed);
    for (level, sibling) in low.iter().enumerate() {
        if (mask >> level) & 1 == 1 {
            old = node_hash(sibling, &old);
            new = node_hash(sibling, &new);
        } else {
            new = node_hash(&new, sibling);
        }
    }
    for sibling in high {
        old = node_hash(sibling, &old);
        new = node_hash(sibling, &new);
    }
    same_root(&old, from_root)?;
    same_root(&new, to_root)
}

fn bits(value: u64) -> u32 {
    64 - value.leading_zeros()
}

fn ones(value: u64) -> u32 {
    value.count_ones()
}

fn width(bits: u32) -> usize {
    usize::try_from(bits).expect("a count of bits is at most 64")
}

fn expect_length(proof: &[Digest], want: usize) -> Result<(), MerkleError> {
    if proof.len() == want {
        Ok(())
    } else {
        Err(MerkleError::ProofLength {
            want,
            got: proof.len(),
        })
    }
}

fn same_root(got: &Digest, want: &Digest) -> Result<(), MerkleError> {
    if got == want {
        Ok(())
    } else {
        Err(MerkleError::RootMismatch)
    }
}
