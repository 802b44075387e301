//! Proofs from the hash tiles of a bundle that is being written: what the
//! bundle proves is then proven by its own files.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::PathBuf;

use super::error::ExportError;
use super::layout::{BundlePath, LogFile, tiles_of_run};
use crate::ids::{Digest, LogIndex, LogName, TreeSize};
use crate::merkle::{self, TileNodes};

/// Tiles that are kept in memory: a proof needs two a level.
const TILES_KEPT: usize = 64;

/// The hash tiles of one log, in the directory of the bundle.
#[derive(Debug)]
pub(super) struct TileFiles {
    dir: PathBuf,
    log: LogName,
    generation: u32,
    size: TreeSize,
    kept: RefCell<HashMap<(u8, u64), Vec<Digest>>>,
}

impl TileFiles {
    pub(super) fn new(dir: PathBuf, log: LogName, generation: u32, size: TreeSize) -> Self {
        Self {
            dir,
            log,
            generation,
            size,
            kept: RefCell::new(HashMap::new()),
        }
    }

    pub(super) fn inclusion(&self, index: LogIndex) -> Result<Vec<Digest>, ExportError> {
        let nodes = TileNodes(|level, tile| self.tile(level, tile));
        merkle::inclusion_proof(&nodes, index, self.size)
    }

    pub(super) fn consistency(
        &self,
        from: TreeSize,
        to: TreeSize,
    ) -> Result<Vec<Digest>, ExportError> {
        let nodes = TileNodes(|level, tile| self.tile(level, tile));
        merkle::consistency_proof(&nodes, from, to)
    }

    fn tile(&self, level: u8, tile: u64) -> Result<Vec<Digest>, ExportError> {
        if let Some(hashes) = self.kept.borrow().get(&(level, tile)) {
            return Ok(hashes.clone());
        }
        let hashes = self.read(level, tile)?;
        let mut kept = self.kept.borrow_mut();
        if kept.len() >= TILES_KEPT {
            kept.clear();
        }
        kept.insert((level, tile), hashes.clone());
        Ok(hashes)
    }

    fn read(&self, level: u8, tile: u64) -> Result<Vec<Digest>, ExportError> {
        let malformed = || ExportError::Malformed {
            what: "a tile is missing",
        };
        let path = tiles_of_run(Some(level), tile, 1, self.size)
            .next()
            .ok_or_else(malformed)?;
        let file = BundlePath::Log {
            log: self.log,
            generation: self.generation,
            file: LogFile::Tile(path),
        };
        let path = self.dir.join(file.to_string());
        let bytes = std::fs::read(&path).map_err(|source| ExportError::File { path, source })?;
        bytes
            .chunks(32)
            .map(|hash| Digest::from_slice(hash).map_err(|_| malformed()))
            .collect()
    }
}
