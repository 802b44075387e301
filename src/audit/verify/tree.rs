//! A bundle's files: a directory, or a tar archive that is unpacked into a
//! temporary one. Only plain files below it are read; an archive with links,
//! devices, paths that lead elsewhere or sizes that it does not have is refused.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use super::VerifyError;

/// The most files of a bundle.
const FILES_MAX: usize = 2_000_000;
/// The most directories that lie in each other.
const DEPTH_MAX: usize = 16;
/// Bytes of a tar block.
const BLOCK: usize = 512;

/// The files of one bundle, by their paths below it.
#[derive(Debug)]
pub(crate) struct Tree {
    root: PathBuf,
    files: BTreeMap<String, u64>,
    /// Keeps what was unpacked until the bundle is no longer read.
    _unpacked: Option<tempfile::TempDir>,
}

impl Tree {
    /// Opens a bundle.
    ///
    /// # Errors
    /// [`VerifyError::Unreadable`], and [`VerifyError::Archive`] for an archive
    /// that is not a plain one.
    pub(crate) fn open(bundle: &Path) -> Result<Self, VerifyError> {
        let unreadable = |source| VerifyError::Unreadable {
            path: bundle.to_path_buf(),
            source,
        };
        let kind = fs::metadata(bundle).map_err(unreadable)?;
        let (root, unpacked) = if kind.is_dir() {
            (bundle.to_path_buf(), None)
        } else {
            let dir = tempfile::tempdir().map_err(unreadable)?;
            let file = File::open(bundle).map_err(unreadable)?;
            unpack(BufReader::new(file), kind.len(), dir.path())?;
            (dir.path().to_path_buf(), Some(dir))
        };
        let mut files = BTreeMap::new();
        list(&root, "", 0, &mut files).map_err(unreadable)?;
        Ok(Self {
            root,
            files,
            _unpacked: unpacked,
        })
    }

    /// All paths, in order, with their sizes.
    pub(crate) fn files(&self) -> &BTreeMap<String, u64> {
        &self.files
    }

    /// Says whether a file is there.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    /// The paths that begin with `prefix`, without it.
    pub(crate) fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.files
            .range(prefix.to_owned()..)
            .map_while(move |(path, _)| path.strip_prefix(prefix))
    }

    /// Reads a file of at most `max` bytes; `None` when it is not there, or is
    /// larger, or cannot be read: to a verifier all that is a missing file.
    pub(crate) fn read(&self, path: &str, max: u64) -> Option<Vec<u8>> {
        let size = *self.files.get(path)?;
        if size > max {
            return None;
        }
        fs::read(self.root.join(path)).ok()
    }

    /// Reads a file of text as [`Tree::read`] does.
    pub(crate) fn text(&self, path: &str, max: u64) -> Option<String> {
        String::from_utf8(self.read(path, max)?).ok()
    }

    /// Opens a file to be read in one go from the beginning.
    pub(crate) fn stream(&self, path: &str) -> Option<BufReader<File>> {
        self.files.get(path)?;
        let file = File::open(self.root.join(path)).ok()?;
        Some(BufReader::with_capacity(1 << 16, file))
    }
}

/// Lists plain files; anything else that a directory holds is no part of a bundle.
fn list(dir: &Path, prefix: &str, depth: usize, out: &mut BTreeMap<String, u64>) -> io::Result<()> {
    if depth > DEPTH_MAX {
        return Err(io::Error::other("directories are nested too deeply"));
    }
    for item in fs::read_dir(dir)? {
        let item = item?;
        let kind = item.file_type()?;
        let Ok(name) = item.file_name().into_string() else {
            return Err(io::Error::other("a name is not UTF-8"));
        };
        let path = format!("{prefix}{name}");
        if kind.is_dir() {
            list(&item.path(), &format!("{path}/"), depth + 1, out)?;
        } else if kind.is_file() {
            out.insert(path, item.metadata()?.len());
        } else {
            return Err(io::Error::other(format!("{path} is not a plain file")));
        }
        if out.len() > FILES_MAX {
            return Err(io::Error::other("too many files"));
        }
    }
    Ok(())
}

/// Unpacks a tar archive of `length` bytes into an empty directory.
fn unpack(mut tar: impl Read, length: u64, into: &Path) -> Result<(), VerifyError> {
    let mut left = length;
    let mut count = 0;
    loop {
        let mut header = [0; BLOCK];
        if !fill(&mut tar, &mut header)? || header.iter().all(|b| *b == 0) {
            return Ok(());
        }
        left = left.saturating_sub(BLOCK as u64);
        let member = Member::parse(&header)?;
        count += 1;
        if count > FILES_MAX {
            return Err(VerifyError::Archive("too many files"));
        }
        let padded = member
            .size
            .checked_next_multiple_of(BLOCK as u64)
            .filter(|padded| *padded <= left)
            .ok_or(VerifyError::Archive("a file is longer than the archive"))?;
        left -= padded;
        let path = into.join(&member.path);
        if member.is_dir {
            fs::create_dir_all(&path).map_err(written)?;
            continue;
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(written)?;
        }
        let mut file = File::options()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(|_| VerifyError::Archive("a path stands in it twice"))?;
        let copied = io::copy(&mut (&mut tar).take(member.size), &mut file).map_err(written)?;
        file.flush().map_err(written)?;
        let padding = padded - member.size;
        let skipped = io::copy(&mut (&mut tar).take(padding), &mut io::sink()).map_err(written)?;
        if copied != member.size || skipped != padding {
            return Err(VerifyError::Archive("it is cut off"));
        }
    }
}

fn written(source: io::Error) -> VerifyError {
    VerifyError::Unpack(source)
}

/// Fills the buffer; `false` at the very end.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> Result<bool, VerifyError> {
    match from.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(written(error)),
    }
}

/// One member of an archive.
struct Member {
    path: PathBuf,
    size: u64,
    is_dir: bool,
}

impl Member {
    /// Reads a ustar header (POSIX.1-1988, and what GNU tar writes for short names).
    fn parse(header: &[u8; BLOCK]) -> Result<Self, VerifyError> {
        let sum: u64 = header
            .iter()
            .enumerate()
            .map(|(at, byte)| {
                u64::from(if (148..156).contains(&at) {
                    b' '
                } else {
                    *byte
                })
            })
            .sum();
        if octal(&header[148..156]) != Some(sum) {
            return Err(VerifyError::Archive("it is not a tar archive"));
        }
        let is_dir = match header[156] {
            b'0' | 0 => false,
            b'5' => true,
            _ => return Err(VerifyError::Archive("it holds more than plain files")),
        };
        let mut name = text(&header[..100])?.to_owned();
        if header[257..262] == *b"ustar" && header[262] == 0 && header[345] != 0 {
            name = format!("{}/{name}", text(&header[345..500])?);
        }
        let size = octal(&header[124..136]).ok_or(VerifyError::Archive("a size is malformed"))?;
        Ok(Self {
            path: inside(&name)?,
            size: if is_dir { 0 } else { size },
            is_dir,
        })
    }
}

fn text(field: &[u8]) -> Result<&str, VerifyError> {
    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    std::str::from_utf8(field.get(..end).unwrap_or_default())
        .map_err(|_| VerifyError::Archive("a name is not UTF-8"))
}

fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?;
    u64::from_str_radix(text.trim_matches(['\0', ' ']), 8).ok()
}

/// Takes a path that stays below the directory it is joined to.
fn inside(name: &str) -> Result<PathBuf, VerifyError> {
    let mut path = PathBuf::new();
    let parts = name
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".");
    for part in parts {
        if part == ".." || part.contains('\\') {
            return Err(VerifyError::Archive("a path leads out of it"));
        }
        path.push(part);
    }
    if name.starts_with('/') || path.components().count() > DEPTH_MAX {
        return Err(VerifyError::Archive("a path leads out of it"));
    }
    Ok(path)
}
