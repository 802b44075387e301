//! Writes a member's bundle: rosters, both logs of every generation, bodies as
//! far as the one who exports may see them, proofs, receipts, evidence, sums
//! (PROTOCOL.md section 15). The same state gives the same bytes, but for the
//! time of the export.
//!
//! It records and does not judge: what a node signed goes into the bundle as
//! it is, and `audit verify` says what it is worth.

mod extras;
mod logs;

use std::io;
use std::path::PathBuf;

use prost::Message;
use serde_json::json;

use super::layout::{BUNDLE_FORMAT, BundlePath, LayoutError, split_entries};
use super::source::{LogState, Run, Source, SourceError};
use super::writer::BundleWriter;
use crate::blame::{Blame, Blamed};
use crate::clock::UnixSeconds;
use crate::ids::{FederationId, LogName, MemberId, Origin, TreeSize};
use crate::merkle::{MerkleError, TILE_WIDTH};
use crate::record::Entry;

pub use super::writer::BundleOut;

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The node, or the store, did not give what was asked for.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The name is taken.
    #[error("{} is there already: a bundle never replaces anything", .0.display())]
    Exists(PathBuf),
    /// An earlier export broke off.
    #[error("{} is left from an export that broke off: remove it first", .0.display())]
    LeftOver(PathBuf),
    /// A file of the bundle.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The source gave something that cannot be: a piece is missing or too long.
    #[error("the node gave no whole log: {what}")]
    Malformed {
        /// What is wrong with it.
        what: &'static str,
    },
    /// Nothing has these names or numbers.
    #[error("there is nothing to export: {what}")]
    Nothing {
        /// What is not there.
        what: &'static str,
    },
    /// Whoever watches the progress said stop.
    #[error("the export was stopped")]
    Stopped,
}

impl Blamed for ExportError {
    fn blame(&self) -> Blame {
        match self {
            Self::Source(e) => e.blame,
            Self::Exists(_) | Self::LeftOver(_) => Blame::Denied,
            Self::File { .. } => Blame::Internal,
            Self::Malformed { .. } => Blame::Misbehaved,
            Self::Nothing { .. } => Blame::NotFound,
            Self::Stopped => Blame::Unavailable,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Source(_) => "audit.source",
            Self::Exists(_) => "audit.exists",
            Self::LeftOver(_) => "audit.left_over",
            Self::File { .. } => "audit.file",
            Self::Malformed { .. } => "audit.malformed",
            Self::Nothing { .. } => "audit.nothing",
            Self::Stopped => "audit.stopped",
        }
    }
}

impl ExportError {
    /// The code that people and scripts see: the source's own where it has one.
    #[must_use]
    pub fn shown_code(&self) -> &str {
        match self {
            Self::Source(error) if !error.code.is_empty() => &error.code,
            other => other.code(),
        }
    }
}

impl From<MerkleError> for ExportError {
    fn from(_: MerkleError) -> Self {
        Self::Malformed {
            what: "a tile has another length than the tree's size says",
        }
    }
}

impl From<LayoutError> for ExportError {
    fn from(error: LayoutError) -> Self {
        let what = match error {
            LayoutError::Path(_) => "a path that is none",
            LayoutError::Content { what } => what,
        };
        Self::Malformed { what }
    }
}

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
    /// Members whose receipts could not be fetched, with the reason.
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
    source: &mut dyn Source,
    what: &Selection,
    out: BundleOut,
    watch: &mut dyn FnMut(Progress) -> bool,
) -> Result<Exported, ExportError> {
    let writer = BundleWriter::create(out)?;
    Export {
        source,
        what,
        writer,
        watch,
        progress: Progress { done: 0, total: 0 },
    }
    .run()
}

/// An export under way.
struct Export<'a> {
    source: &'a mut dyn Source,
    what: &'a Selection,
    writer: BundleWriter,
    watch: &'a mut dyn FnMut(Progress) -> bool,
    progress: Progress,
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
        let mut states = self.source.logs()?;
        states.retain(|log| log.origin.member == self.what.member);
        states.sort_by(|a, b| a.origin.cmp(&b.origin));
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
        let (receipts, silent) = self.receipts(&selected)?;
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

    fn step(&mut self, entries: u64) -> Result<(), ExportError> {
        self.progress.done += entries;
        if (self.watch)(self.progress) {
            Ok(())
        } else {
            Err(ExportError::Stopped)
        }
    }

    fn rosters(&mut self) -> Result<u64, ExportError> {
        let rosters = self.source.rosters()?;
        for (version, signed) in (1_u64..).zip(&rosters) {
            let path = BundlePath::Roster(version);
            self.writer.put(&path, &signed.encode_to_vec())?;
        }
        if let Some(note) = self.source.roster_checkpoint()? {
            self.writer.put(&BundlePath::RosterCheckpoint, &note)?;
        }
        Ok(rosters.len() as u64)
    }

    /// Which entry bundles the selection covers of one log.
    fn select(&mut self, log: &LogState) -> Result<Bundles, ExportError> {
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
        &mut self,
        log: &LogState,
        all: u64,
        time: UnixSeconds,
    ) -> Result<u64, ExportError> {
        let (mut low, mut high) = (0, all);
        while low < high {
            let middle = low + (high - low) / 2;
            let mut before = false;
            let run = Run {
                first: middle,
                count: 1,
                size: log.size,
            };
            self.source.entries(&log.origin, run, &mut |(_, bundle)| {
                let first = split_entries(bundle).next().transpose()?;
                before = first
                    .and_then(|entry| Entry::parse(entry).ok())
                    .is_some_and(|entry| entry.statement.issued_at < time);
                Ok(())
            })?;
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
