//! Hashes stored in tiles of 256 (C2SP tlog-tiles): tile level L holds the
//! roots of full tiles of level L - 1; level 0 holds leaf hashes.

use crate::ids::{Digest, TreeSize};
use crate::merkle::{MerkleError, Nodes, node_hash};

/// Hashes in a full tile.
pub const TILE_WIDTH: u64 = 256;

/// Tree levels that one tile level spans.
const TILE_HEIGHT: u8 = 8;

/// One tile as it stands after an append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TileUpdate {
    /// The tile level.
    pub level: u8,
    /// The tile's position in its level.
    pub tile: u64,
    /// All hashes of the tile, 1 to 256.
    pub hashes: Vec<Digest>,
}

/// Computes which tiles change when `new_leaves` are appended to a tree of
/// `size`. `read(level, tile)` returns the hashes of a stored tile; it is asked
/// only for the partial tile at the right edge of each level that grows.
///
/// # Errors
/// What `read` fails with, and [`MerkleError::Malformed`] for a stored tile that
/// has another number of hashes than `size` says.
pub fn append_tiles<E: From<MerkleError>>(
    size: TreeSize,
    read: impl Fn(u8, u64) -> Result<Vec<Digest>, E>,
    new_leaves: &[Digest],
) -> Result<Vec<TileUpdate>, E> {
    let mut updates = Vec::new();
    let mut level = 0;
    let mut count = size.0;
    let mut new = new_leaves.to_vec();
    while !new.is_empty() {
        let mut roots = Vec::new();
        for update in extend_level(level, count, &read, &new)? {
            if is_full(&update.hashes) {
                roots.push(root(&update.hashes));
            }
            updates.push(update);
        }
        new = roots;
        count /= TILE_WIDTH;
        level += 1;
    }
    Ok(updates)
}

/// The tiles of one level that change when `new` follows its `count` hashes.
fn extend_level<E: From<MerkleError>>(
    level: u8,
    count: u64,
    read: impl Fn(u8, u64) -> Result<Vec<Digest>, E>,
    new: &[Digest],
) -> Result<Vec<TileUpdate>, E> {
    let mut tile = count / TILE_WIDTH;
    let held = count % TILE_WIDTH;
    let mut hashes = if held == 0 {
        Vec::new()
    } else {
        read(level, tile)?
    };
    if u64::try_from(hashes.len()) != Ok(held) {
        return Err(MerkleError::Malformed { what: "tile" }.into());
    }
    let mut updates = Vec::new();
    for hash in new {
        hashes.push(*hash);
        if is_full(&hashes) {
            updates.push(TileUpdate {
                level,
                tile,
                hashes: std::mem::take(&mut hashes),
            });
            tile += 1;
        }
    }
    if !hashes.is_empty() {
        updates.push(TileUpdate {
            level,
            tile,
            hashes,
        });
    }
    Ok(updates)
}

fn is_full(hashes: &[Digest]) -> bool {
    u64::try_from(hashes.len()) == Ok(TILE_WIDTH)
}

/// The root over a power of two of hashes.
fn root(hashes: &[Digest]) -> Digest {
    match hashes {
        [one] => *one,
        _ => {
            let (left, right) = hashes.split_at(hashes.len() / 2);
            node_hash(&root(left), &root(right))
        }
    }
}

/// [`Nodes`] over a reader of tiles, `Fn(level, tile)` → the tile's hashes.
pub struct TileNodes<F>(pub F);

impl<F> std::fmt::Debug for TileNodes<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TileNodes(..)")
    }
}

impl<F, E> Nodes for TileNodes<F>
where
    F: Fn(u8, u64) -> Result<Vec<Digest>, E>,
    E: From<MerkleError>,
{
    type Error = E;

    fn node(&self, level: u8, index: u64) -> Result<Digest, E> {
        let malformed = || E::from(MerkleError::Malformed { what: "tile" });
        let inside = level % TILE_HEIGHT;
        let first = index.checked_mul(1 << inside).ok_or_else(malformed)?;
        let hashes = (self.0)(level / TILE_HEIGHT, first / TILE_WIDTH)?;
        let offset = usize::try_from(first % TILE_WIDTH).map_err(|_| malformed())?;
        let covered = hashes
            .get(offset..offset + (1 << inside))
            .ok_or_else(malformed)?;
        Ok(root(covered))
    }
}
