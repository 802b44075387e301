//! The tree of one log, recomputed from its leaves: which roots it has at the
//! sizes that were signed, and which stored hashes are not what they should be.
//!
//! Level 0 decides. Where a block of 256 leaves does not hash to what level 1
//! says, the entries themselves are asked which of the two is right.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::findings::{Code, Finding};
use super::tree::Tree;
use crate::audit::layout::{TILE_LEVELS, TileIndex, TilePath, split_entries};
use crate::ids::{Digest, TreeSize};
use crate::merkle::{TILE_WIDTH, leaf_hash, node_hash};
use crate::record::ENTRY_BYTES_MAX;

/// Bytes of a full entry bundle at most.
const BUNDLE_BYTES_MAX: u64 = TILE_WIDTH * (ENTRY_BYTES_MAX as u64 + 2);
/// Blocks of which nothing is there, after which a tree is not followed further:
/// a checkpoint may be signed for more entries than anybody could list.
const MISSING_MAX: usize = 10_000;

/// Where the leaves of a block stand that give the signed root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// In its hash tile, if anywhere.
    Tile,
    /// In its entries: the tile is damaged.
    Entries,
}

/// What the hashes of a log say.
#[derive(Debug, Default)]
pub(crate) struct Hashes {
    /// The roots at the sizes that were asked for.
    pub(crate) roots: BTreeMap<TreeSize, Digest>,
    /// Blocks whose leaves do not stand in their tile.
    exceptions: BTreeMap<u64, Source>,
    /// What is wrong with stored hashes.
    pub(crate) findings: Vec<Finding>,
}

impl Hashes {
    /// Where the leaves of a block stand.
    pub(crate) fn source(&self, block: u64) -> Source {
        self.exceptions.get(&block).copied().unwrap_or(Source::Tile)
    }
}

/// One block of up to 256 leaves, and the hashes that speak for it.
#[derive(Clone, Debug)]
struct Block {
    leaves: Option<Vec<Digest>>,
    from_tile: Option<Digest>,
    from_entries: Option<Digest>,
    source: Source,
}

/// Recomputes a log's tree.
#[derive(Debug)]
pub(crate) struct Hasher<'a> {
    tree: &'a Tree,
    log: &'a str,
    size: TreeSize,
    wanted: Vec<TreeSize>,
}

impl<'a> Hasher<'a> {
    /// Prepares to compute the roots of the log below `log`, laid out for
    /// `size`, at the sizes `wanted` (those above `size` are left out).
    pub(crate) fn new(
        tree: &'a Tree,
        log: &'a str,
        size: TreeSize,
        wanted: impl IntoIterator<Item = TreeSize>,
    ) -> Self {
        let wanted: BTreeSet<TreeSize> = wanted.into_iter().filter(|s| *s <= size).collect();
        Self {
            tree,
            log,
            size,
            wanted: wanted.into_iter().collect(),
        }
    }

    /// Computes the roots. `signed` is the root at the full size, which decides
    /// between stored hashes that contradict each other.
    pub(crate) fn run(&self, signed: Option<&Digest>) -> Hashes {
        let first = self.pass(Prefer::Agreed, signed);
        if first.1 {
            return first.0;
        }
        // The last block has nothing above it that could speak for it.
        let second = self.pass(Prefer::Entries, signed);
        if second.1 {
            return second.0;
        }
        first.0
    }

    /// One computation; says also whether it gives the signed root.
    fn pass(&self, prefer: Prefer, signed: Option<&Digest>) -> (Hashes, bool) {
        let mut out = Hashes::default();
        let mut spine = Spine::default();
        let mut upper = Upper::new(self);
        let mut wanted = self.wanted.iter().copied().peekable();
        let empty = wanted.next_if(|size| size.0 == 0);
        out.roots.extend(empty.map(|size| (size, Digest::of(&[]))));
        let mut missing = 0;
        for index in 0..self.size.0.div_ceil(TILE_WIDTH) {
            let path = self.tile(0, index);
            let block = self.block(&path, &mut upper, prefer, &mut out.findings);
            missing += usize::from(block.root().is_none());
            if missing > MISSING_MAX {
                break;
            }
            if block.source != Source::Tile {
                out.exceptions.insert(index, block.source);
            }
            if block.tile_is_wrong() {
                let at = format!("{}{path}", self.log);
                let what = "its hashes are not the leaves";
                out.findings.push(Finding::new(Code::TileRoot, at, what));
            }
            let end = path.first() + u64::from(path.width);
            while let Some(size) = wanted.next_if(|size| size.0 <= end) {
                let count = usize::try_from(size.0 - path.first()).unwrap_or(usize::MAX);
                let leaves = block.leaves.as_ref().and_then(|all| all.get(..count));
                let root = leaves.and_then(|leaves| spine.root(leaves));
                out.roots.extend(root.map(|root| (size, root)));
            }
            if let (true, Some(root)) = (path.is_full(), block.root()) {
                spine.append(root);
                upper.append(root, &mut out.findings);
            }
        }
        upper.finish(&mut out.findings);
        let fits = signed.is_none_or(|signed| out.roots.get(&self.size) == Some(signed));
        (out, fits)
    }

    fn tile(&self, level: u8, index: u64) -> TilePath {
        let count = self.size.0 >> (8 * u32::from(level));
        let width = count.saturating_sub(index * TILE_WIDTH).min(TILE_WIDTH);
        TilePath {
            level: Some(level),
            index: TileIndex(index),
            width: u16::try_from(width).unwrap_or(u16::MAX),
        }
    }

    /// Reads a hash tile of exactly its width; `None` with a finding otherwise.
    fn read(&self, path: &TilePath, findings: &mut Vec<Finding>) -> Option<Vec<Digest>> {
        let hashes = read_tile(self.tree, self.log, path);
        if hashes.is_none() {
            let at = format!("{}{}", self.log, there(self.tree, self.log, path));
            let what = "it is not there, or has another number of hashes";
            findings.push(Finding::new(Code::TileTruncated, at, what));
        }
        hashes
    }

    fn block(
        &self,
        path: &TilePath,
        upper: &mut Upper<'_>,
        prefer: Prefer,
        findings: &mut Vec<Finding>,
    ) -> Block {
        let tile = self.read(path, findings);
        let from_tile = tile.as_deref().and_then(root_of);
        let above = path.is_full().then(|| upper.stored(path.index.0)).flatten();
        let mut block = Block {
            leaves: tile,
            from_tile,
            from_entries: None,
            source: Source::Tile,
        };
        let agrees = from_tile.is_some() && (above == from_tile || above.is_none());
        if agrees && prefer == Prefer::Agreed {
            return block;
        }
        let entries = entry_leaves(self.tree, self.log, path);
        block.from_entries = entries.as_deref().and_then(root_of);
        let entries_fit = match prefer {
            Prefer::Agreed => above.is_some() && block.from_entries == above,
            Prefer::Entries => block.from_entries.is_some(),
        };
        if entries_fit || (from_tile.is_none() && block.from_entries.is_some()) {
            block.leaves = entries;
            block.source = Source::Entries;
        }
        block
    }
}

/// Which of several hashes of a block to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Prefer {
    /// What two of tile, entries and the level above agree on.
    Agreed,
    /// Entries before tiles.
    Entries,
}

impl Block {
    fn root(&self) -> Option<Digest> {
        match self.source {
            Source::Tile => self.from_tile,
            Source::Entries => self.from_entries,
        }
    }

    /// Says whether its tile is there, and is not what was taken.
    fn tile_is_wrong(&self) -> bool {
        self.from_tile.is_some() && self.from_tile != self.root()
    }
}

/// The narrowest file that has a tile in its width or a wider one; the tile's
/// own path where there is none.
fn there(tree: &Tree, log: &str, path: &TilePath) -> TilePath {
    let whole = TilePath {
        width: u16::try_from(TILE_WIDTH).unwrap_or(u16::MAX),
        ..*path
    };
    if tree.has(&format!("{log}{path}")) {
        return *path;
    }
    let partial = format!("{log}{whole}.p/");
    let widths = tree
        .below(&partial)
        .filter_map(|width| width.parse::<u16>().ok());
    let wider = widths.filter(|width| *width >= path.width && *width < whole.width);
    match wider.min() {
        Some(width) => TilePath { width, ..*path },
        None if tree.has(&format!("{log}{whole}")) => whole,
        None => *path,
    }
}

/// Reads the hashes of a tile, from a file of its width or of a wider one.
pub(crate) fn read_tile(tree: &Tree, log: &str, path: &TilePath) -> Option<Vec<Digest>> {
    let file = there(tree, log, path);
    let bytes = tree.read(&format!("{log}{file}"), TILE_WIDTH * 32)?;
    let (hashes, rest) = bytes.as_chunks::<32>();
    if !rest.is_empty() || hashes.len() != usize::from(file.width) {
        return None;
    }
    let hashes = hashes.get(..usize::from(path.width))?;
    Some(hashes.iter().copied().map(Digest).collect())
}

/// The leaves of the entries of a block, if all are there.
fn entry_leaves(tree: &Tree, log: &str, path: &TilePath) -> Option<Vec<Digest>> {
    let bundle = TilePath {
        level: None,
        ..*path
    };
    let file = there(tree, log, &bundle);
    let bytes = tree.read(&format!("{log}{file}"), BUNDLE_BYTES_MAX)?;
    let leaves: Vec<Digest> = split_entries(Bytes::from(bytes))
        .map_while(Result::ok)
        .take(usize::from(path.width))
        .map(|entry| leaf_hash(&entry))
        .collect();
    (leaves.len() == usize::from(path.width)).then_some(leaves)
}

/// The root over up to 256 hashes; `None` over none.
fn root_of(hashes: &[Digest]) -> Option<Digest> {
    let mut spine = Spine::default();
    for hash in hashes {
        spine.append(*hash);
    }
    spine.peak()
}

/// A frontier over hashes of one level: the roots of complete subtrees.
#[derive(Clone, Debug, Default)]
struct Spine {
    count: u64,
    peaks: Vec<Digest>,
}

impl Spine {
    fn append(&mut self, mut hash: Digest) {
        for _ in 0..self.count.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                hash = node_hash(&left, &hash);
            }
        }
        self.peaks.push(hash);
        self.count += 1;
    }

    /// The root over the peaks alone.
    fn peak(&self) -> Option<Digest> {
        let (last, rest) = self.peaks.split_last()?;
        Some(fold(rest, *last))
    }

    /// The root with further leaves at the right.
    fn root(&self, leaves: &[Digest]) -> Option<Digest> {
        match root_of(leaves) {
            Some(right) => Some(self.above(right)),
            None => self.peak(),
        }
    }

    /// The root with one more subtree at the right.
    fn above(&self, right: Digest) -> Digest {
        fold(&self.peaks, right)
    }
}

fn fold(peaks: &[Digest], last: Digest) -> Digest {
    peaks
        .iter()
        .rev()
        .fold(last, |right, left| node_hash(left, &right))
}

/// The levels above the leaves: recomputed as the blocks come, and compared
/// with what is stored.
#[derive(Debug)]
struct Upper<'a> {
    hasher: &'a Hasher<'a>,
    /// Level 1 as stored, the tile that was read last.
    stored: Option<(u64, Option<Vec<Digest>>)>,
    /// From level 1 on: how many hashes went by, and those of the open tile.
    levels: Vec<(u64, Vec<Digest>)>,
}

impl<'a> Upper<'a> {
    fn new(hasher: &'a Hasher<'a>) -> Self {
        Self {
            hasher,
            stored: None,
            levels: vec![],
        }
    }

    /// The hash that level 1 has for a full block.
    fn stored(&mut self, block: u64) -> Option<Digest> {
        let tile = block / TILE_WIDTH;
        if self.stored.as_ref().is_none_or(|(at, _)| *at != tile) {
            let path = self.hasher.tile(1, tile);
            let hashes = read_tile(self.hasher.tree, self.hasher.log, &path);
            self.stored = Some((tile, hashes));
        }
        let (_, hashes) = self.stored.as_ref()?;
        let at = usize::try_from(block % TILE_WIDTH).ok()?;
        hashes.as_ref()?.get(at).copied()
    }

    fn append(&mut self, root: Digest, findings: &mut Vec<Finding>) {
        let mut carry = Some(root);
        let mut level = 0;
        while let Some(hash) = carry.take() {
            if self.levels.len() == level {
                self.levels.push((0, vec![]));
            }
            let Some((count, open)) = self.levels.get_mut(level) else {
                return;
            };
            open.push(hash);
            *count += 1;
            if *count % TILE_WIDTH == 0 {
                let tile = *count / TILE_WIDTH - 1;
                let full = std::mem::take(open);
                self.compare(level, tile, &full, findings);
                carry = root_of(&full);
            }
            level += 1;
        }
    }

    /// Compares the tiles that stay open at the right edge.
    fn finish(&mut self, findings: &mut Vec<Finding>) {
        for (level, (count, open)) in std::mem::take(&mut self.levels).into_iter().enumerate() {
            if !open.is_empty() {
                self.compare(level, count / TILE_WIDTH, &open, findings);
            }
        }
    }

    fn compare(&self, above: usize, tile: u64, computed: &[Digest], findings: &mut Vec<Finding>) {
        let Some(level) = u8::try_from(above + 1).ok().filter(|l| *l < TILE_LEVELS) else {
            return;
        };
        let path = self.hasher.tile(level, tile);
        let Some(stored) = self.hasher.read(&path, findings) else {
            return;
        };
        if stored != computed {
            let what = "its hashes are not those of its subtrees";
            let path = format!("{}{path}", self.hasher.log);
            findings.push(Finding::new(Code::TileRoot, path, what));
        }
    }
}
