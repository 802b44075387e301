//! The logs in a bundle: checkpoints, hash tiles, entries, bodies, proofs.

use bytes::Bytes;

use super::{Bundles, Export, ExportError, ExportedLog, LogState, covered, needed};
use crate::audit::layout::{
    BundlePath, Folder, LogFile, TilePath, TlogProof, hash_tiles, put_body, split_bodies,
    split_entries, tiles_of_run, write_hashes,
};
use crate::audit::local::size_of;
use crate::audit::tree::TileFiles;
use crate::ids::{LogIndex, LogName, TreeSize};
use crate::record::Entry;

/// Files that are asked for at once: a few bundles of large bodies fit in memory.
const FILES_AT_ONCE: usize = 4;

impl Export<'_> {
    pub(super) fn log(
        &mut self,
        log: &LogState,
        bundles: Bundles,
    ) -> Result<ExportedLog, ExportError> {
        self.writer
            .put(&log.path(LogFile::Checkpoint), &log.checkpoint)?;
        self.tiles(log)?;
        let dir = self.writer.dir().to_owned();
        let tree = TileFiles::new(dir, log.origin.log, log.origin.generation, log.size);
        let checkpoints = self.checkpoints(log, &tree)?;
        self.entries(log, bundles, &tree)?;
        let (first, end) = covered(log, bundles);
        Ok(ExportedLog {
            origin: log.origin.clone(),
            size: log.size,
            first,
            end,
            checkpoints,
        })
    }

    /// Hands the files of some tiles over, in order, a few at a time.
    fn each(
        &mut self,
        log: &LogState,
        tiles: impl Iterator<Item = TilePath>,
        mut take: impl FnMut(&mut Self, &[TilePath], Vec<Option<Bytes>>) -> Result<(), ExportError>,
    ) -> Result<(), ExportError> {
        let mut tiles = tiles.peekable();
        while tiles.peek().is_some() {
            let some: Vec<_> = tiles.by_ref().take(FILES_AT_ONCE).collect();
            let paths = some.iter().map(|tile| log.path(LogFile::Tile(*tile)));
            let files = self.files.get_all(&paths.collect::<Vec<_>>())?;
            take(self, &some, files)?;
        }
        Ok(())
    }

    fn tiles(&mut self, log: &LogState) -> Result<(), ExportError> {
        self.each(log, hash_tiles(log.size), |export, tiles, files| {
            for (tile, bytes) in tiles.iter().zip(files) {
                let bytes = needed(bytes, "a tile is missing")?;
                if bytes.len() != 32 * usize::from(tile.width) {
                    return Err(ExportError::Malformed {
                        what: "a tile with another number of hashes",
                    });
                }
                export.writer.put(&log.path(LogFile::Tile(*tile)), &bytes)?;
            }
            Ok(())
        })
    }

    /// Witnessed checkpoints, and the proofs that lead from one to the next
    /// and to the newest.
    fn checkpoints(&mut self, log: &LogState, tree: &TileFiles) -> Result<u64, ExportError> {
        let mut before: Option<TreeSize> = None;
        let mut count = 0;
        let folder = Folder::Checkpoints {
            log: log.origin.log,
            generation: log.origin.generation,
        };
        let mut sizes = vec![];
        for path in self.files.list(folder)? {
            if let BundlePath::Log {
                file: LogFile::Witnessed(size),
                ..
            } = path
            {
                // One that was witnessed after the export began is left for the next.
                sizes.extend((size <= log.size).then_some(size));
            }
        }
        for some in sizes.chunks(FILES_AT_ONCE) {
            let paths = some.iter().map(|size| log.path(LogFile::Witnessed(*size)));
            let paths: Vec<_> = paths.collect();
            let notes = self.files.get_all(&paths)?;
            for ((size, path), note) in some.iter().zip(&paths).zip(notes) {
                // Older ones are thinned while newer ones come.
                let Some(note) = note else { continue };
                if size_of(&note) != Some(*size) {
                    return Err(ExportError::Malformed {
                        what: "a checkpoint of another size than its name",
                    });
                }
                self.lead(log, tree, &mut before, *size)?;
                count += 1;
                self.writer.put(path, &note)?;
            }
        }
        self.lead(log, tree, &mut before, log.size)?;
        Ok(count)
    }

    /// Writes the proof that leads from the checkpoint before to the next.
    fn lead(
        &mut self,
        log: &LogState,
        tree: &TileFiles,
        before: &mut Option<TreeSize>,
        to: TreeSize,
    ) -> Result<(), ExportError> {
        if let Some(from) = before.replace(to)
            && from < to
        {
            let proof = write_hashes(&tree.consistency(from, to)?);
            let path = log.path(LogFile::Consistency { from, to });
            self.writer.put(&path, proof.as_bytes())?;
        }
        Ok(())
    }

    fn entries(
        &mut self,
        log: &LogState,
        bundles: Bundles,
        tree: &TileFiles,
    ) -> Result<(), ExportError> {
        let count = bundles.end.saturating_sub(bundles.first);
        let wanted = tiles_of_run(None, bundles.first, count, log.size);
        self.each(log, wanted, |export, tiles, files| {
            for (path, bundle) in tiles.iter().zip(files) {
                let bundle = needed(bundle, "an entry bundle is missing")?;
                export.bundle(log, *path, bundle, tree)?;
            }
            let bodies = tiles
                .iter()
                .map(|path| log.path(LogFile::Bodies(path.index)));
            let bodies: Vec<_> = bodies.collect();
            let files = export.files.get_all(&bodies)?;
            for ((tile, path), file) in tiles.iter().zip(&bodies).zip(files) {
                let file = needed(file, "a file of bodies is missing")?;
                let file = first_bodies(file, usize::from(tile.width))?;
                export.writer.put(path, &file)?;
                export.step(u64::from(tile.width))?;
            }
            Ok(())
        })
    }

    /// Writes one entry bundle, its entries as DSSE JSON, and the proofs of its
    /// first entry and of whatever took something back.
    fn bundle(
        &mut self,
        log: &LogState,
        path: TilePath,
        bundle: Bytes,
        tree: &TileFiles,
    ) -> Result<(), ExportError> {
        self.writer.put(&log.path(LogFile::Tile(path)), &bundle)?;
        let mut dsse = String::new();
        let mut count = 0;
        for (at, entry) in (path.first()..).zip(split_entries(bundle)) {
            count += 1;
            // What is no entry has no envelope; its line says so.
            let parsed = Entry::parse(entry?).ok();
            match &parsed {
                Some(entry) => dsse.push_str(&entry.dsse_json()),
                None => dsse.push_str("null"),
            }
            dsse.push('\n');
            let ends = parsed.is_some_and(|entry| entry.statement.body_type.rules().proof);
            if log.origin.log == LogName::Records && (ends || at == path.first()) {
                let index = LogIndex(at);
                let proof = TlogProof {
                    index,
                    hashes: tree.inclusion(index)?,
                    checkpoint: log.checkpoint.clone(),
                };
                let generation = log.origin.generation;
                let path = BundlePath::Proof { generation, index };
                self.writer.put(&path, &proof.encode())?;
            }
        }
        if count != u64::from(path.width) {
            return Err(ExportError::Malformed {
                what: "an entry bundle has another number of entries than the tree",
            });
        }
        let path = log.path(LogFile::Dsse(path.index));
        self.writer.put(&path, dsse.as_bytes())
    }
}

/// The first `count` bodies of a file: it may have those of a tree that grew
/// since the export began.
fn first_bodies(file: Bytes, count: usize) -> Result<Vec<u8>, ExportError> {
    let mut out = Vec::with_capacity(file.len());
    let mut items = split_bodies(file);
    for _ in 0..count {
        let item = items.next().transpose()?;
        let item = item.ok_or(ExportError::Malformed {
            what: "fewer bodies than entries",
        })?;
        put_body(&mut out, item.answer, &item.body)?;
    }
    Ok(out)
}
