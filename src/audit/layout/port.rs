//! What the audit port has beside the files of a bundle: an index of each
//! folder, which says what a directory would show.
//!
//! An index names at most [`INDEX_NAMES_MAX`] files, one a line. Its last line
//! says `end`, or `next NAME`, where the page from NAME on is `index/NAME`.

use std::fmt;
use std::str::FromStr;

use super::{BundlePath, LayoutError, LogFile, read_generation};
use crate::ids::LogName;

/// Names that one index has.
pub const INDEX_NAMES_MAX: usize = 1_000;

/// What comes after the last name.
const END: &str = "end";
/// What stands before the name with which the next page begins.
const NEXT: &str = "next ";

/// A folder whose files are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Folder {
    /// The logs, each by its `checkpoint`.
    Logs,
    /// `roster/`.
    Roster,
    /// `checkpoints/` of a log.
    Checkpoints {
        /// Which of the member's logs.
        log: LogName,
        /// Its generation.
        generation: u32,
    },
    /// `receipts/`.
    Receipts,
    /// `evidence/`.
    Evidence,
    /// `erasures/`.
    Erasures,
}

impl Folder {
    /// Says whether the file is listed in this folder.
    #[must_use]
    pub fn has(self, path: &BundlePath) -> bool {
        match (self, path) {
            (Self::Logs, BundlePath::Log { file, .. }) => *file == LogFile::Checkpoint,
            (Self::Checkpoints { log, generation }, BundlePath::Log { .. }) => matches!(
                path,
                BundlePath::Log { log: of, generation: n, file: LogFile::Witnessed(_) }
                    if *of == log && *n == generation
            ),
            (Self::Roster, BundlePath::Roster(_) | BundlePath::RosterCheckpoint)
            | (Self::Receipts, BundlePath::Receipt { .. })
            | (Self::Evidence, BundlePath::Evidence { .. })
            | (Self::Erasures, BundlePath::Erasures(_)) => true,
            _ => false,
        }
    }

    fn read(text: &str) -> Option<Self> {
        Some(match text {
            "" => Self::Logs,
            "roster/" => Self::Roster,
            "receipts/" => Self::Receipts,
            "evidence/" => Self::Evidence,
            "erasures/" => Self::Erasures,
            _ => {
                let (log, rest) = text.strip_suffix("/checkpoints/")?.split_once('/')?;
                let mut logs = [LogName::Records, LogName::Access].into_iter();
                Self::Checkpoints {
                    log: logs.find(|name| name.as_str() == log)?,
                    generation: read_generation(rest)?,
                }
            }
        })
    }
}

/// Writes the folder's path, with a slash at its end.
impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Logs => Ok(()),
            Self::Roster => f.write_str("roster/"),
            Self::Checkpoints { log, generation } => {
                write!(f, "{}/{generation}/checkpoints/", log.as_str())
            }
            Self::Receipts => f.write_str("receipts/"),
            Self::Evidence => f.write_str("evidence/"),
            Self::Erasures => f.write_str("erasures/"),
        }
    }
}

/// A path below `/FEDERATION/MEMBER/` on the audit port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortPath {
    /// A file as it stands in a bundle.
    File(BundlePath),
    /// A page of a folder's index.
    Index {
        /// The folder.
        folder: Folder,
        /// The file with which the page begins; the first without it.
        from: Option<BundlePath>,
    },
}

impl fmt::Display for PortPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.fmt(f),
            Self::Index { folder, from: None } => write!(f, "{folder}index"),
            Self::Index {
                folder,
                from: Some(from),
            } => write!(f, "{folder}index/{}", name_in(*folder, from)),
        }
    }
}

impl FromStr for PortPath {
    type Err = LayoutError;

    fn from_str(text: &str) -> Result<Self, LayoutError> {
        match read_index_path(text) {
            Some(index) => Ok(index),
            None => text.parse().map(Self::File),
        }
    }
}

fn read_index_path(text: &str) -> Option<PortPath> {
    let (folder, rest) = text.split_once("index")?;
    let folder = Folder::read(folder)?;
    let from = match rest.strip_prefix('/') {
        Some(name) => Some(file_in(folder, name)?),
        None if rest.is_empty() => None,
        None => return None,
    };
    Some(PortPath::Index { folder, from })
}

fn name_in(folder: Folder, path: &BundlePath) -> String {
    let (path, folder) = (path.to_string(), folder.to_string());
    path.strip_prefix(&folder).unwrap_or(&path).to_owned()
}

fn file_in(folder: Folder, name: &str) -> Option<BundlePath> {
    let path: BundlePath = format!("{folder}{name}").parse().ok()?;
    folder.has(&path).then_some(path)
}

/// Writes a page of the index: the first of `files`, which come in order.
#[must_use]
pub fn write_index(folder: Folder, files: &[BundlePath]) -> String {
    let mut out = String::new();
    for file in files.iter().take(INDEX_NAMES_MAX) {
        out.push_str(&name_in(folder, file));
        out.push('\n');
    }
    match files.get(INDEX_NAMES_MAX) {
        Some(next) => out.push_str(&format!("{NEXT}{}\n", name_in(folder, next))),
        None => out.push_str(&format!("{END}\n")),
    }
    out
}

/// Reads a page of an index: its files, and with which the next page begins.
///
/// # Errors
/// [`LayoutError::Content`] for a page without its last line, with too many
/// names, and for a name that is none of the folder's.
pub fn read_index(
    folder: Folder,
    text: &str,
) -> Result<(Vec<BundlePath>, Option<BundlePath>), LayoutError> {
    let bad = |what| LayoutError::Content { what };
    let read = |name: &str| file_in(folder, name).ok_or_else(|| bad("a name that is none there"));
    let lines = text
        .strip_suffix('\n')
        .ok_or_else(|| bad("an index that breaks off"))?;
    let (names, last) = lines.rsplit_once('\n').unwrap_or(("", lines));
    let next = match last.strip_prefix(NEXT) {
        Some(name) => Some(read(name)?),
        None if last == END => None,
        None => return Err(bad("an index that breaks off")),
    };
    let names: Vec<_> = names.lines().map(read).collect::<Result<_, _>>()?;
    if names.len() > INDEX_NAMES_MAX || (names.is_empty() && next.is_some()) {
        return Err(bad("an index of another length"));
    }
    Ok((names, next))
}
