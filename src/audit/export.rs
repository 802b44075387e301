//! Writes a member's bundle: a copy of the files of its logs, wherever they are,
//! and what is made of them: proofs, DSSE, sums, a description (PROTOCOL.md
//! section 17). The same state gives the same bytes, but for the time of the
//! export.
//!
//! It records and does not judge: what a node signed goes into the bundle as
//! it is, and `audit verify` says what it is worth.

mod extras;
mod logs;

use std::path::PathBuf;

use bytes::Bytes;
use serde_json::json;

use super::files::Files;
use super::layout::{BUNDLE_FORMAT, BundlePath, Folder, LogFile, split_entries, tiles_of_run};
use super::local::size_of;
use super::writer::BundleWriter;
use crate::clock::UnixSeconds;
use crate::ids::{FederationId, LogName, MemberId, Origin, TreeSize};
use crate::merkle::TILE_WIDTH;
use crate::record::Entry;

pub use super::error::{ExportError, SourceError};
pub use super::writer::BundleOut;

/// One end of what is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// An index of the records log; the access log is exported whole.
    Index(u64),
    /// A time, by the author's clock; of both logs.
    Time(UnixSeconds),
}

/// Whose bundle, and which part of it. Bounds are rounded outwards to whole
/// entry bundles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The federation.
    pub federation: FederationId,
    /// The member whose logs are exported.
    pub member: MemberId,
    /// From here on.
    pub from: Option<Bound>,
    /// Up to here, which is not exported any more.
    pub to: Option<Bound>,
    /// When the export is made.
    pub now: UnixSeconds,
}

/// How far an export is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Entries that are written with their bodies.
    pub done: u64,
    /// All entries that will be.
    pub total: u64,
}

/// One log in a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportedLog {
    /// Its name.
    pub origin: Origin,
    /// The size of the tree.
    pub size: TreeSize,
    /// The first entry that is there.
    pub first: u64,
    /// One past the last one.
    pub end: u64,
    /// Witnessed checkpoints.
    pub checkpoints: u64,
}

/// What a bundle holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// Where it is.
    pub path: PathBuf,
    /// The logs.
    pub logs: Vec<ExportedLog>,
    /// Roster versions.
    pub rosters: u64,
    /// Receipts of other members.
    pub receipts: u64,
    /// Members whose receipts are named and not there, with the reason.
    pub silent: Vec<(MemberId, SourceError)>,
    /// Pairs of notes that contradict each other.
    pub evidence: u64,
    /// Files, without the sums.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Writes the bundle. `watch` hears of the progress and says whether to go on.
///
/// # Errors
/// [`ExportError`]; nothing is left behind then.
pub fn export(
    files: &dyn Files,
    what: &Selection,
    out: BundleOut,
    watch: &mut dyn FnMut(Progress) -> bool,
) -> Result<Exported, ExportError> {
    let writer = BundleWriter::create(out)?;
    Export {
        files,
        what,
        writer,
        watch,
        progress: Progress { done: 0, total: 0 },
    }
    .run()
}

/// An export under way.
struct Export<'a> {
    files: &'a dyn Files,
    what: &'a Selection,
    writer: BundleWriter,
    watch: &'a mut dyn FnMut(Progress) -> bool,
    progress: Progress,
}

/// One log as it stands at the beginning of an export.
#[derive(Clone, Debug)]
struct LogState {
    origin: Origin,
    /// Its newest checkpoint, a signed note, and the size in that.
    checkpoint: Bytes,
    size: TreeSize,
}

impl LogState {
    fn path(&self, file: LogFile) -> BundlePath {
        BundlePath::Log {
            log: self.origin.log,
            generation: self.origin.generation,
            file,
        }
    }
}

/// The entry bundles of one log that are exported: [first, end).
#[derive(Clone, Copy)]
struct Bundles {
    first: u64,
    end: u64,
}

impl Export<'_> {
    fn run(mut self) -> Result<Exported, ExportError> {
        let rosters = self.rosters()?;
        let states = self.logs()?;
        if states.is_empty() {
            return Err(ExportError::Nothing {
                what: "the node has no log of this member",
            });
        }
        let mut selected = vec![];
        for log in states {
            let bundles = self.select(&log)?;
            let (first, end) = covered(&log, bundles);
            self.progress.total = self.progress.total.saturating_add(end - first);
            selected.push((log, bundles));
        }
        let mut logs = vec![];
        for (log, bundles) in &selected {
            logs.push(self.log(log, *bundles)?);
        }
        let (receipts, silent) = self.receipts()?;
        let evidence = self.evidence()?;
        self.describe(&logs, &silent)?;
        let (files, bytes) = (self.writer.files(), self.writer.bytes());
        Ok(Exported {
            path: self.writer.finish()?,
            logs,
            rosters,
            receipts,
            silent,
            evidence,
            files,
            bytes,
        })
    }

    /// The logs that there are, by name.
    fn logs(&self) -> Result<Vec<LogState>, ExportError> {
        let malformed = |what| ExportError::Malformed { what };
        let mut states = vec![];
        for path in self.files.list(Folder::Logs)? {
            let BundlePath::Log {
                log, generation, ..
            } = path
            else {
                continue;
            };
            let checkpoint = needed(self.files.get(&path)?, "a checkpoint is missing")?;
            let size = size_of(&checkpoint);
            states.push(LogState {
                origin: Origin {
                    federation: self.what.federation.clone(),
                    member: self.what.member.clone(),
                    log,
                    generation,
                },
                size: size.ok_or_else(|| malformed("a checkpoint that is none"))?,
                checkpoint,
            });
        }
        states.sort_by(|a, b| a.origin.cmp(&b.origin));
        Ok(states)
    }

    fn step(&mut self, entries: u64) -> Result<(), ExportError> {
        self.progress.done += entries;
        if (self.watch)(self.progress) {
            Ok(())
        } else {
            Err(ExportError::Stopped)
        }
    }

    fn rosters(&mut self) -> Result<u64, ExportError> {
        let mut rosters = 0;
        for path in self.files.list(Folder::Roster)? {
            let bytes = needed(self.files.get(&path)?, "a roster is missing")?;
            rosters += u64::from(matches!(path, BundlePath::Roster(_)));
            self.writer.put(&path, &bytes)?;
        }
        Ok(rosters)
    }

    /// Which entry bundles the selection covers of one log.
    fn select(&self, log: &LogState) -> Result<Bundles, ExportError> {
        let all = log.size.0.div_ceil(TILE_WIDTH);
        let by_index = log.origin.log == LogName::Records;
        let first = match self.what.from {
            Some(Bound::Index(index)) if by_index => index / TILE_WIDTH,
            // The bundle before may reach into the time.
            Some(Bound::Time(time)) => self.bundles_before(log, all, time)?.saturating_sub(1),
            Some(Bound::Index(_)) | None => 0,
        };
        let end = match self.what.to {
            Some(Bound::Index(index)) if by_index => index.div_ceil(TILE_WIDTH),
            Some(Bound::Time(time)) => self.bundles_before(log, all, time)?,
            Some(Bound::Index(_)) | None => all,
        };
        let end = end.min(all);
        Ok(Bundles {
            first: first.min(end),
            end,
        })
    }

    /// How many of the log's first bundles begin before `time`.
    fn bundles_before(
        &self,
        log: &LogState,
        all: u64,
        time: UnixSeconds,
    ) -> Result<u64, ExportError> {
        let (mut low, mut high) = (0, all);
        while low < high {
            let middle = low + (high - low) / 2;
            let path = tiles_of_run(None, middle, 1, log.size).next();
            let path = path.map(|path| log.path(LogFile::Tile(path)));
            let found = path.map(|path| self.files.get(&path)).transpose()?;
            let bundle = needed(found.flatten(), "an entry bundle is missing")?;
            let first = split_entries(bundle).next().transpose()?;
            let before = first
                .and_then(|entry| Entry::parse(entry).ok())
                .is_some_and(|entry| entry.statement.issued_at < time);
            if before {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    fn describe(
        &mut self,
        logs: &[ExportedLog],
        silent: &[(MemberId, SourceError)],
    ) -> Result<(), ExportError> {
        let logs: Vec<_> = logs
            .iter()
            .map(|log| {
                json!({
                    "origin": log.origin.to_string(), "size": log.size.0,
                    "first": log.first, "end": log.end, "checkpoints": log.checkpoints,
                })
            })
            .collect();
        let silent: Vec<_> = silent
            .iter()
            .map(|(member, why)| json!({"member": member.as_str(), "code": why.code}))
            .collect();
        let value = json!({
            "format": BUNDLE_FORMAT,
            "software": concat!("casegate ", env!("CARGO_PKG_VERSION")),
            "federation": self.what.federation.as_str(),
            "member": self.what.member.as_str(),
            "exported_at": self.what.now,
            "logs": logs,
            "without_receipts_of": silent,
        });
        let text = format!("{value:#}\n");
        self.writer.put(&BundlePath::Description, text.as_bytes())
    }
}

/// The entries that some bundles of a log hold: [first, end).
fn covered(log: &LogState, bundles: Bundles) -> (u64, u64) {
    let at = |bundle: u64| bundle.saturating_mul(TILE_WIDTH).min(log.size.0);
    (at(bundles.first), at(bundles.end))
}

/// A file without which there is no whole log.
fn needed(file: Option<Bytes>, what: &'static str) -> Result<Bytes, ExportError> {
    file.ok_or(ExportError::Malformed { what })
}
