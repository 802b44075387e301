//! The logs in a bundle: checkpoints, hash tiles, entries, bodies, proofs.

use bytes::Bytes;

use super::{Bundles, Export, ExportError, ExportedLog, covered};
use crate::audit::layout::{
    BundlePath, LogFile, TILE_LEVELS, TileIndex, TilePath, TlogProof, put_body, split_entries,
    tiles_at, tiles_of_level, tiles_of_run, write_hashes,
};
use crate::audit::local::size_of;
use crate::audit::source::{LogState, Run};
use crate::audit::tree::TileFiles;
use crate::audit::writer::BundleWriter;
use crate::ids::{LogIndex, LogName, Origin, TreeSize};
use crate::ledger::AuditedBody;
use crate::merkle::TILE_WIDTH;
use crate::record::Entry;

/// Entry bundles that are asked for at once.
const BUNDLES_AT_ONCE: u64 = 64;

impl Export<'_> {
    pub(super) fn log(
        &mut self,
        log: &LogState,
        bundles: Bundles,
    ) -> Result<ExportedLog, ExportError> {
        let place = Place::of(&log.origin);
        self.writer
            .put(&place.file(LogFile::Checkpoint), &log.checkpoint)?;
        self.tiles(log, place)?;
        let dir = self.writer.dir().to_owned();
        let tree = TileFiles::new(dir, place.log, place.generation, log.size);
        let checkpoints = self.checkpoints(log, place, &tree)?;
        self.entries(log, place, bundles, &tree)?;
        let (first, end) = covered(log, bundles);
        Ok(ExportedLog {
            origin: log.origin.clone(),
            size: log.size,
            first,
            end,
            checkpoints,
        })
    }

    fn tiles(&mut self, log: &LogState, place: Place) -> Result<(), ExportError> {
        for level in 0..TILE_LEVELS {
            let mut wanted = tiles_of_level(log.size, level);
            let count = tiles_at(log.size, level);
            if count == 0 {
                return Ok(());
            }
            let run = Run {
                first: 0,
                count,
                size: log.size,
            };
            let writer = &mut self.writer;
            self.source
                .tiles(&log.origin, level, run, &mut |(path, bytes)| {
                    if wanted.next() != Some(path) || bytes.len() != 32 * usize::from(path.width) {
                        return Err(ExportError::Malformed {
                            what: "a tile that was not asked for",
                        });
                    }
                    writer.put(&place.file(LogFile::Tile(path)), &bytes)
                })?;
            if wanted.next().is_some() {
                return Err(ExportError::Malformed {
                    what: "a tile is missing",
                });
            }
        }
        Ok(())
    }

    /// Witnessed checkpoints, and the proofs that lead from one to the next
    /// and to the newest.
    fn checkpoints(
        &mut self,
        log: &LogState,
        place: Place,
        tree: &TileFiles,
    ) -> Result<u64, ExportError> {
        let mut before: Option<TreeSize> = None;
        let mut count = 0;
        let writer = &mut self.writer;
        let mut lead = |writer: &mut BundleWriter, to: TreeSize| -> Result<(), ExportError> {
            if let Some(from) = before.replace(to)
                && from < to
            {
                let proof = write_hashes(&tree.consistency(from, to)?);
                let path = place.file(LogFile::Consistency { from, to });
                writer.put(&path, proof.as_bytes())?;
            }
            Ok(())
        };
        self.source.checkpoints(&log.origin, &mut |note| {
            // One that was witnessed after the export began is left for the next.
            let Some(size) = size_of(&note).filter(|size| *size <= log.size) else {
                return Ok(());
            };
            lead(writer, size)?;
            count += 1;
            writer.put(&place.file(LogFile::Witnessed(size)), &note)
        })?;
        lead(&mut self.writer, log.size)?;
        Ok(count)
    }

    fn entries(
        &mut self,
        log: &LogState,
        place: Place,
        bundles: Bundles,
        tree: &TileFiles,
    ) -> Result<(), ExportError> {
        let mut at = bundles.first;
        while at < bundles.end {
            let count = (bundles.end - at).min(BUNDLES_AT_ONCE);
            let run = Run {
                first: at,
                count,
                size: log.size,
            };
            let mut wanted = tiles_of_run(None, at, count, log.size);
            let (writer, checkpoint) = (&mut self.writer, &log.checkpoint);
            self.source
                .entries(&log.origin, run, &mut |(path, bundle)| {
                    if wanted.next() != Some(path) {
                        return Err(ExportError::Malformed {
                            what: "an entry bundle that was not asked for",
                        });
                    }
                    put_bundle(writer, place, path, bundle, tree, checkpoint)
                })?;
            if wanted.next().is_some() {
                return Err(ExportError::Malformed {
                    what: "an entry bundle is missing",
                });
            }
            self.bodies(log, place, at, count)?;
            at += count;
        }
        Ok(())
    }

    /// The bodies of `count` entry bundles from number `first` on.
    fn bodies(
        &mut self,
        log: &LogState,
        place: Place,
        first: u64,
        count: u64,
    ) -> Result<(), ExportError> {
        let start = first * TILE_WIDTH;
        let end = (first + count).saturating_mul(TILE_WIDTH).min(log.size.0);
        let run = Run {
            first: start,
            count: end - start,
            size: log.size,
        };
        let mut file = vec![];
        let mut next = start;
        let writer = &mut self.writer;
        self.source
            .bodies(&log.origin, run, &mut |AuditedBody { answer, bytes }| {
                put_body(&mut file, answer, &bytes)?;
                next += 1;
                if next > end {
                    return Err(ExportError::Malformed {
                        what: "more bodies than were asked for",
                    });
                }
                if next.is_multiple_of(TILE_WIDTH) || next == end {
                    let index = TileIndex((next - 1) / TILE_WIDTH);
                    writer.put(&place.file(LogFile::Bodies(index)), &file)?;
                    file.clear();
                }
                Ok(())
            })?;
        if next != end {
            return Err(ExportError::Malformed {
                what: "fewer bodies than were asked for",
            });
        }
        self.step(end - start)
    }
}

/// A log's directory in a bundle.
#[derive(Clone, Copy)]
struct Place {
    log: LogName,
    generation: u32,
}

impl Place {
    fn of(origin: &Origin) -> Self {
        Self {
            log: origin.log,
            generation: origin.generation,
        }
    }

    fn file(self, file: LogFile) -> BundlePath {
        BundlePath::Log {
            log: self.log,
            generation: self.generation,
            file,
        }
    }
}

/// Writes one entry bundle, its entries as DSSE JSON, and the proofs of its
/// first entry and of whatever took something back.
fn put_bundle(
    writer: &mut BundleWriter,
    place: Place,
    path: TilePath,
    bundle: Bytes,
    tree: &TileFiles,
    checkpoint: &Bytes,
) -> Result<(), ExportError> {
    writer.put(&place.file(LogFile::Tile(path)), &bundle)?;
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
        if place.log == LogName::Records && (ends || at == path.first()) {
            let index = LogIndex(at);
            let proof = TlogProof {
                index,
                hashes: tree.inclusion(index)?,
                checkpoint: checkpoint.clone(),
            };
            let generation = place.generation;
            writer.put(&BundlePath::Proof { generation, index }, &proof.encode())?;
        }
    }
    if count != u64::from(path.width) {
        return Err(ExportError::Malformed {
            what: "an entry bundle has another number of entries than the tree",
        });
    }
    writer.put(&place.file(LogFile::Dsse(path.index)), dsse.as_bytes())
}
