//! Paths of tiles (C2SP tlog-tiles): `tile/L/N[.p/W]` for hashes,
//! `tile/entries/N[.p/W]` for entry bundles, N in groups of three digits.

use std::fmt;
use std::str::FromStr;

use super::{LayoutError, decimal, no_path};
use crate::ids::TreeSize;
use crate::merkle::TILE_WIDTH;

/// Tile levels that a tree of 64-bit size can have.
pub const TILE_LEVELS: u8 = 8;

/// The number of a tile in its level, written as `067`, `x001/x234/067`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TileIndex(pub u64);

impl fmt::Display for TileIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut groups = vec![];
        let mut rest = self.0;
        loop {
            groups.push(rest % 1_000);
            rest /= 1_000;
            if rest == 0 {
                break;
            }
        }
        while groups.len() > 1 {
            let group = groups.pop().unwrap_or_default();
            write!(f, "x{group:03}/")?;
        }
        write!(f, "{:03}", groups.first().copied().unwrap_or_default())
    }
}

impl FromStr for TileIndex {
    type Err = LayoutError;

    fn from_str(text: &str) -> Result<Self, LayoutError> {
        let bad = || no_path(text);
        let mut number = 0_u64;
        let mut groups = text.split('/').peekable();
        while let Some(group) = groups.next() {
            let digits = match groups.peek() {
                Some(_) => group.strip_prefix('x').ok_or_else(bad)?,
                None => group,
            };
            if digits.len() != 3 || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return Err(bad());
            }
            let value: u64 = digits.parse().map_err(|_| bad())?;
            number = number
                .checked_mul(1_000)
                .and_then(|n| n.checked_add(value))
                .ok_or_else(bad)?;
        }
        // Leading groups of zeros would be a second spelling.
        if Self(number).to_string() == text {
            Ok(Self(number))
        } else {
            Err(bad())
        }
    }
}

/// One tile: hashes of a level, or a bundle of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TilePath {
    /// The tile level of hashes, from 0; `None` for entries.
    pub level: Option<u8>,
    /// Its place in the level.
    pub index: TileIndex,
    /// Hashes or entries in it, 1 to 256.
    pub width: u16,
}

impl TilePath {
    /// Says whether it has all 256 and so never changes.
    #[must_use]
    pub fn is_full(&self) -> bool {
        u64::from(self.width) == TILE_WIDTH
    }

    /// The index of its first hash or entry, as a count in its level.
    ///
    /// A path that was read or listed has such an index; of any other one, at
    /// most `u64::MAX`.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.index.0.saturating_mul(TILE_WIDTH)
    }

    /// Says whether the tree of `size` has this tile in this width: full where
    /// it is full there, or any width up to what is there.
    #[must_use]
    pub fn is_in(&self, size: TreeSize) -> bool {
        let held = count_at(size, self.level.unwrap_or(0));
        self.first()
            .checked_add(u64::from(self.width))
            .is_some_and(|end| end <= held)
    }
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.level {
            Some(level) => write!(f, "tile/{level}/{}", self.index)?,
            None => write!(f, "tile/entries/{}", self.index)?,
        }
        if self.is_full() {
            Ok(())
        } else {
            write!(f, ".p/{}", self.width)
        }
    }
}

impl FromStr for TilePath {
    type Err = LayoutError;

    fn from_str(text: &str) -> Result<Self, LayoutError> {
        let bad = || no_path(text);
        let rest = text.strip_prefix("tile/").ok_or_else(bad)?;
        let (level, rest) = rest.split_once('/').ok_or_else(bad)?;
        let level = match level {
            "entries" => None,
            level => Some(
                decimal(level)
                    .and_then(|n| u8::try_from(n).ok())
                    .filter(|n| *n < TILE_LEVELS)
                    .ok_or_else(bad)?,
            ),
        };
        let (index, width) = match rest.split_once(".p/") {
            Some((index, width)) => {
                let width = decimal(width)
                    .filter(|w| (1..TILE_WIDTH).contains(w))
                    .and_then(|w| u16::try_from(w).ok());
                (index, width.ok_or_else(bad)?)
            }
            None => (rest, full()),
        };
        let index: TileIndex = index.parse().map_err(|_| bad())?;
        if index.0 > u64::MAX / TILE_WIDTH - 1 {
            return Err(bad());
        }
        Ok(Self {
            level,
            index,
            width,
        })
    }
}

fn full() -> u16 {
    u16::try_from(TILE_WIDTH).expect("a tile has 256 hashes")
}

/// Hashes at a tile level of a tree of `size`; level 0 has its leaves.
fn count_at(size: TreeSize, level: u8) -> u64 {
    size.0
        .checked_shr(u32::from(level).saturating_mul(8))
        .unwrap_or(0)
}

/// How many tiles a level has in a tree of `size`.
#[must_use]
pub fn tiles_at(size: TreeSize, level: u8) -> u64 {
    count_at(size, level).div_ceil(TILE_WIDTH)
}

/// The tiles of one level in a tree of `size`, the last one partial where the
/// level's hashes do not fill it.
pub fn tiles_of_level(size: TreeSize, level: u8) -> impl Iterator<Item = TilePath> {
    split(count_at(size, level), Some(level))
}

/// `count` tiles of a level (`None` for entry bundles) from number `first` on,
/// as far as a tree of `size` has them.
pub fn tiles_of_run(
    level: Option<u8>,
    first: u64,
    count: u64,
    size: TreeSize,
) -> impl Iterator<Item = TilePath> {
    let held = count_at(size, level.unwrap_or(0));
    let end = first.saturating_add(count).min(held.div_ceil(TILE_WIDTH));
    (first..end).map(move |index| tile_at(level, index, held))
}

/// All hash tiles of a tree of `size`, level by level.
pub fn hash_tiles(size: TreeSize) -> impl Iterator<Item = TilePath> {
    (0..TILE_LEVELS).flat_map(move |level| tiles_of_level(size, level))
}

/// The entry bundles of a log of `size`.
pub fn entry_bundles(size: TreeSize) -> impl Iterator<Item = TilePath> {
    split(size.0, None)
}

fn split(count: u64, level: Option<u8>) -> impl Iterator<Item = TilePath> {
    (0..count.div_ceil(TILE_WIDTH)).map(move |index| tile_at(level, index, count))
}

fn tile_at(level: Option<u8>, index: u64, count: u64) -> TilePath {
    let before = index.saturating_mul(TILE_WIDTH);
    let held = count.saturating_sub(before).min(TILE_WIDTH);
    TilePath {
        level,
        index: TileIndex(index),
        width: u16::try_from(held).unwrap_or_else(|_| full()),
    }
}
