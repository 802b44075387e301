//! Merkle tiles in the store: 256 hashes a value, in the tlog-tiles geometry.
//! Derived from the entries, but kept, so that proofs read a few values only.

use std::cell::RefCell;
use std::collections::HashMap;

use bytes::Bytes;

use crate::ids::Digest;
use crate::merkle::{TILE_WIDTH, TileUpdate};
use crate::store::{Batch, Store, StoreError, Table};

fn tile_key(log: u32, level: u8, tile: u64) -> [u8; 13] {
    let mut key = [0; 13];
    key[..4].copy_from_slice(&log.to_be_bytes());
    key[4] = level;
    key[5..].copy_from_slice(&tile.to_be_bytes());
    key
}

/// Reads a tile's bytes, as many hashes as are there.
pub(crate) fn tile_bytes(
    store: &Store,
    log: u32,
    level: u8,
    tile: u64,
) -> Result<Option<Bytes>, StoreError> {
    store.read(Table::Tiles, &tile_key(log, level, tile))
}

/// Reads a tile's hashes, as many as are there.
pub(crate) fn read_tile(
    store: &Store,
    log: u32,
    level: u8,
    tile: u64,
) -> Result<Vec<Digest>, StoreError> {
    let Some(value) = store.read(Table::Tiles, &tile_key(log, level, tile))? else {
        return Ok(vec![]);
    };
    value
        .chunks(32)
        .map(|h| Digest::from_slice(h).map_err(|_| StoreError::Damaged("tile")))
        .collect()
}

/// Takes out of a log's tiles what belongs to entries from `size` on.
pub(crate) fn cut_tiles(
    store: &Store,
    batch: &mut Batch,
    log: u32,
    size: u64,
) -> Result<(), StoreError> {
    let mut count = size;
    for level in 0..8 {
        let edge = tile_key(log, level, count / TILE_WIDTH);
        for (place, item) in (0..).zip(store.iter_from(Table::Tiles, &edge, 5)) {
            let (key, value) = item?;
            let first = place == 0 && key == edge;
            let keep = if first { count % TILE_WIDTH } else { 0 };
            let bytes = usize::try_from(keep * 32).unwrap_or(0);
            match value.get(..bytes) {
                Some(kept) if bytes > 0 => batch.put(Table::Tiles, &key, kept.to_vec()),
                Some(_) | None => batch.delete(Table::Tiles, &key),
            }
        }
        count /= TILE_WIDTH;
    }
    Ok(())
}

/// Puts changed tiles into `batch`.
pub(crate) fn put_tiles(batch: &mut Batch, log: u32, updates: &[TileUpdate]) {
    for update in updates {
        let value: Vec<u8> = update.hashes.iter().flat_map(|h| h.0).collect();
        batch.put(
            Table::Tiles,
            &tile_key(log, update.level, update.tile),
            value,
        );
    }
}

/// The rightmost, partial tile of each level of a log that is being appended
/// to, so that an append can be planned before the last one is on the disk.
#[derive(Debug, Default)]
pub(crate) struct Edges(HashMap<u8, (u64, Vec<Digest>)>);

impl Edges {
    /// Returns the hashes of a tile from the edge, or else from the store.
    pub(crate) fn read(
        &self,
        store: &Store,
        log: u32,
        level: u8,
        tile: u64,
    ) -> Result<Vec<Digest>, StoreError> {
        match self.0.get(&level) {
            Some((at, hashes)) if *at == tile => Ok(hashes.clone()),
            _ => read_tile(store, log, level, tile),
        }
    }

    /// Remembers the last tile of each level that was changed.
    pub(crate) fn apply(&mut self, updates: &[TileUpdate]) {
        for update in updates {
            let newer = self
                .0
                .get(&update.level)
                .is_none_or(|(at, _)| *at <= update.tile);
            if newer {
                self.0
                    .insert(update.level, (update.tile, update.hashes.clone()));
            }
        }
    }
}

/// A tile reader with a small cache, for the few tiles that one proof needs.
#[derive(Debug)]
pub(crate) struct TileReader<'a> {
    store: &'a Store,
    log: u32,
    seen: RefCell<HashMap<(u8, u64), Vec<Digest>>>,
}

impl<'a> TileReader<'a> {
    pub(crate) fn new(store: &'a Store, log: u32) -> Self {
        Self {
            store,
            log,
            seen: RefCell::new(HashMap::new()),
        }
    }

    pub(crate) fn tile(&self, level: u8, tile: u64) -> Result<Vec<Digest>, StoreError> {
        if let Some(hashes) = self.seen.borrow().get(&(level, tile)) {
            return Ok(hashes.clone());
        }
        let hashes = read_tile(self.store, self.log, level, tile)?;
        debug_assert!(
            hashes.len() as u64 <= TILE_WIDTH,
            "a tile has at most 256 hashes"
        );
        self.seen.borrow_mut().insert((level, tile), hashes.clone());
        Ok(hashes)
    }
}
