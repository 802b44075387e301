//! Where things stand: the paths of a static log (C2SP tlog-tiles) and of a
//! bundle, and the bytes of the files that are not protobuf or signed notes.
//!
//! Pure: names and bytes in, names and bytes out. Every name and every content
//! has one spelling; any other is refused.

mod content;
mod port;
mod proof;
mod tile;

use std::fmt;
use std::str::FromStr;

use crate::blame::{Blame, Blamed};
use crate::checkpoint::NOTE_BYTES_MAX;
use crate::ids::{LogIndex, LogName, MemberId, TreeSize};
use crate::merkle::TILE_WIDTH;
use crate::record::ENTRY_BYTES_MAX;
use crate::roster::ROSTER_BYTES_MAX;

pub use content::{
    BODY_BYTES_MAX, BodyItem, BundleEntries, BundleItems, put_body, put_entry, split_bodies,
    split_entries,
};
pub use port::{Folder, INDEX_NAMES_MAX, PortPath, read_index, write_index};
pub use proof::{PROOF_HEADER, TlogProof, read_hashes, write_hashes};
pub use tile::{
    TILE_LEVELS, TileIndex, TilePath, entry_bundles, hash_tiles, tiles_at, tiles_of_level,
    tiles_of_run,
};

/// The format of a bundle, in `bundle.json`. A reader refuses a newer one in words.
pub const BUNDLE_FORMAT: u64 = 1;

/// Why a path or a file's content is refused.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum LayoutError {
    /// The path is not one of the layout.
    #[error("{0:?} is no path of this layout")]
    Path(String),
    /// The content does not have the form of its file.
    #[error("{what}")]
    Content {
        /// What is wrong with it.
        what: &'static str,
    },
}

impl Blamed for LayoutError {
    fn blame(&self) -> Blame {
        match self {
            Self::Path(_) => Blame::NotFound,
            Self::Content { .. } => Blame::Misbehaved,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Path(_) => "audit.path",
            Self::Content { .. } => "audit.content",
        }
    }
}

pub(crate) fn no_path(text: &str) -> LayoutError {
    LayoutError::Path(text.chars().take(200).collect())
}

/// Reads a decimal in its shortest form; `None` for anything else.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// A file of one log, below the log's own directory or URL.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LogFile {
    /// `checkpoint`: the newest one, a signed note.
    Checkpoint,
    /// `checkpoints/SIZE`: a witnessed one.
    Witnessed(TreeSize),
    /// `tile/...`: hashes or entries (C2SP tlog-tiles).
    Tile(TilePath),
    /// `bodies/N`: the bodies of entry bundle N.
    Bodies(TileIndex),
    /// `dsse/N.jsonl`: entry bundle N as DSSE JSON envelopes, one a line.
    Dsse(TileIndex),
    /// `consistency/FROM-TO`: a consistency proof.
    Consistency {
        /// The earlier size.
        from: TreeSize,
        /// The later size.
        to: TreeSize,
    },
}

impl fmt::Display for LogFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checkpoint => f.write_str("checkpoint"),
            Self::Witnessed(size) => write!(f, "checkpoints/{size}"),
            Self::Tile(path) => path.fmt(f),
            Self::Bodies(index) => write!(f, "bodies/{index}"),
            Self::Dsse(index) => write!(f, "dsse/{index}.jsonl"),
            Self::Consistency { from, to } => write!(f, "consistency/{from}-{to}"),
        }
    }
}

impl FromStr for LogFile {
    type Err = LayoutError;

    fn from_str(text: &str) -> Result<Self, LayoutError> {
        let bad = || no_path(text);
        if text == "checkpoint" {
            return Ok(Self::Checkpoint);
        }
        let (folder, rest) = text.split_once('/').ok_or_else(bad)?;
        match folder {
            "checkpoints" => decimal(rest).map(|n| Self::Witnessed(TreeSize(n))),
            "tile" => return text.parse().map(Self::Tile),
            "bodies" => rest.parse().ok().map(Self::Bodies),
            "dsse" => rest
                .strip_suffix(".jsonl")
                .and_then(|index| index.parse().ok())
                .map(Self::Dsse),
            "consistency" => rest.split_once('-').and_then(|(from, to)| {
                let (from, to) = (TreeSize(decimal(from)?), TreeSize(decimal(to)?));
                Some(Self::Consistency { from, to })
            }),
            _ => None,
        }
        .ok_or_else(bad)
    }
}

/// One of the files of a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReceiptPart {
    /// The entry's bytes.
    Entry,
    /// The body's bytes.
    Body,
    /// That the entry stands in its log, a [`TlogProof`].
    Proof,
}

impl ReceiptPart {
    /// Every part.
    pub const ALL: [Self; 3] = [Self::Entry, Self::Body, Self::Proof];

    fn as_str(self) -> &'static str {
        match self {
            Self::Entry => "entry",
            Self::Body => "body",
            Self::Proof => "proof",
        }
    }
}

/// One of the files of a pair of notes that contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EvidencePart {
    /// The first note.
    First,
    /// The second note.
    Second,
    /// The proof by which the second speaks of another tree.
    Consistency,
    /// `about.json`: of which log they are, who found them and when; for people.
    About,
}

impl EvidencePart {
    /// Every part.
    pub const ALL: [Self; 4] = [Self::First, Self::Second, Self::Consistency, Self::About];

    fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Second => "second",
            Self::Consistency => "consistency",
            Self::About => "about.json",
        }
    }
}

/// A file of a bundle, by its path from the bundle's root.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BundlePath {
    /// `bundle.json`: its format, whose it is, and more for people.
    Description,
    /// `SHA256SUMS`: every other file, in `sha256sum -c` form.
    Sums,
    /// `roster/000001`: a signed roster version.
    Roster(u64),
    /// `roster/checkpoint`: the signed note of the roster log.
    RosterCheckpoint,
    /// `records/GEN/...` or `access/GEN/...`.
    Log {
        /// Which of the member's logs.
        log: LogName,
        /// Its generation.
        generation: u32,
        /// The file in it.
        file: LogFile,
    },
    /// `receipts/MEMBER-GEN-INDEX.entry`, `.body` or `.proof`.
    Receipt {
        /// Whose receipt.
        member: MemberId,
        /// The generation of that member's records log.
        generation: u32,
        /// Where the receipt stands in it.
        index: LogIndex,
        /// Which of its files.
        part: ReceiptPart,
    },
    /// `proofs/GEN-INDEX.proof`: that a records entry is in the log.
    Proof {
        /// The generation of the records log.
        generation: u32,
        /// The entry.
        index: LogIndex,
    },
    /// `evidence/N/...`: a pair of notes that contradict each other.
    Evidence {
        /// The pair's number: made of its notes, so that it keeps it.
        number: u64,
        /// Which of its files.
        part: EvidencePart,
    },
    /// `erasures/N.jsonl`: what the node says was erased; for people.
    Erasures(u64),
}

/// The most bytes of what is for people.
const TEXT_BYTES_MAX: usize = 64 << 20;
/// The most bytes of a proof as text.
const PROOF_BYTES_MAX: usize = NOTE_BYTES_MAX + (16 << 10);

impl BundlePath {
    /// The most bytes that the file has, whoever gives it.
    #[must_use]
    pub fn bytes_max(&self) -> usize {
        let bundle = usize::try_from(TILE_WIDTH).unwrap_or(usize::MAX);
        match self {
            Self::Roster(_) => ROSTER_BYTES_MAX,
            Self::RosterCheckpoint => NOTE_BYTES_MAX,
            Self::Log { file, .. } => match file {
                LogFile::Checkpoint | LogFile::Witnessed(_) => NOTE_BYTES_MAX,
                LogFile::Tile(path) if path.level.is_some() => bundle * 32,
                // Twice what a log may have: what breaks a rule is recorded too.
                LogFile::Tile(_) => 2 * bundle * (ENTRY_BYTES_MAX + 2),
                LogFile::Bodies(_) => bundle * (BODY_BYTES_MAX + 5),
                LogFile::Dsse(_) => bundle * 4 * ENTRY_BYTES_MAX,
                LogFile::Consistency { .. } => PROOF_BYTES_MAX,
            },
            Self::Receipt { part, .. } => match part {
                ReceiptPart::Entry => ENTRY_BYTES_MAX,
                ReceiptPart::Body => BODY_BYTES_MAX,
                ReceiptPart::Proof => PROOF_BYTES_MAX,
            },
            Self::Evidence { part, .. } => match part {
                EvidencePart::First | EvidencePart::Second => NOTE_BYTES_MAX,
                EvidencePart::Consistency | EvidencePart::About => PROOF_BYTES_MAX,
            },
            Self::Proof { .. } => PROOF_BYTES_MAX,
            Self::Description | Self::Sums | Self::Erasures(_) => TEXT_BYTES_MAX,
        }
    }
}

impl fmt::Display for BundlePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Description => f.write_str("bundle.json"),
            Self::Sums => f.write_str("SHA256SUMS"),
            Self::Roster(version) => write!(f, "roster/{version:06}"),
            Self::RosterCheckpoint => f.write_str("roster/checkpoint"),
            Self::Log {
                log,
                generation,
                file,
            } => write!(f, "{}/{generation}/{file}", log.as_str()),
            Self::Receipt {
                member,
                generation,
                index,
                part,
            } => write!(
                f,
                "receipts/{member}-{generation}-{index}.{}",
                part.as_str()
            ),
            Self::Proof { generation, index } => write!(f, "proofs/{generation}-{index}.proof"),
            Self::Evidence { number, part } => write!(f, "evidence/{number}/{}", part.as_str()),
            Self::Erasures(page) => write!(f, "erasures/{page}.jsonl"),
        }
    }
}

impl FromStr for BundlePath {
    type Err = LayoutError;

    fn from_str(text: &str) -> Result<Self, LayoutError> {
        let read = match text.split_once('/') {
            None => match text {
                "bundle.json" => Some(Self::Description),
                "SHA256SUMS" => Some(Self::Sums),
                _ => None,
            },
            Some(("roster", "checkpoint")) => Some(Self::RosterCheckpoint),
            Some(("roster", rest)) => read_roster(rest),
            Some(("records", rest)) => read_log(LogName::Records, rest),
            Some(("access", rest)) => read_log(LogName::Access, rest),
            Some(("receipts", rest)) => read_receipt(rest),
            Some(("proofs", rest)) => read_proof(rest),
            Some(("evidence", rest)) => read_evidence(rest),
            Some(("erasures", rest)) => read_erasures(rest),
            Some(_) => None,
        };
        read.ok_or_else(|| no_path(text))
    }
}

fn read_roster(text: &str) -> Option<BundlePath> {
    let version: u64 = text.parse().ok()?;
    (version > 0 && format!("{version:06}") == text).then_some(BundlePath::Roster(version))
}

fn read_generation(text: &str) -> Option<u32> {
    u32::try_from(decimal(text)?).ok().filter(|n| *n > 0)
}

fn read_log(log: LogName, text: &str) -> Option<BundlePath> {
    let (generation, file) = text.split_once('/')?;
    Some(BundlePath::Log {
        log,
        generation: read_generation(generation)?,
        file: file.parse().ok()?,
    })
}

fn read_receipt(text: &str) -> Option<BundlePath> {
    let (name, part) = text.rsplit_once('.')?;
    let part = ReceiptPart::ALL.into_iter().find(|p| p.as_str() == part)?;
    let (rest, index) = name.rsplit_once('-')?;
    let (member, generation) = rest.rsplit_once('-')?;
    Some(BundlePath::Receipt {
        member: MemberId::new(member).ok()?,
        generation: read_generation(generation)?,
        index: LogIndex(decimal(index)?),
        part,
    })
}

fn read_proof(text: &str) -> Option<BundlePath> {
    let (generation, index) = text.strip_suffix(".proof")?.split_once('-')?;
    Some(BundlePath::Proof {
        generation: read_generation(generation)?,
        index: LogIndex(decimal(index)?),
    })
}

fn read_evidence(text: &str) -> Option<BundlePath> {
    let (number, part) = text.split_once('/')?;
    let part = EvidencePart::ALL.into_iter().find(|p| p.as_str() == part)?;
    Some(BundlePath::Evidence {
        number: decimal(number).filter(|n| *n > 0)?,
        part,
    })
}

fn read_erasures(text: &str) -> Option<BundlePath> {
    let page = decimal(text.strip_suffix(".jsonl")?)?;
    Some(BundlePath::Erasures(page)).filter(|_| page > 0)
}
