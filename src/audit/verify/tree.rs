//! A bundle's files: a directory, or a tar archive, which is read where it
//! lies. Only plain files below it are read; an archive with links, devices,
//! paths that lead elsewhere or sizes that it does not have is refused.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tar::EntryType;

use super::VerifyError;
use crate::audit::error::ExportError;
use crate::audit::files::Files;
use crate::audit::layout::{BundlePath, Folder};

/// The most files of a bundle.
const FILES_MAX: usize = 2_000_000;
/// The most directories that lie in each other.
const DEPTH_MAX: usize = 16;
/// Bytes of a tar block.
const BLOCK: u64 = 512;

/// The files of one bundle, by their paths below it.
#[derive(Debug)]
pub struct Tree {
    place: Place,
    files: BTreeMap<String, Piece>,
}

#[derive(Debug)]
enum Place {
    Directory(PathBuf),
    Archive(File),
}

/// Where the bytes of a file are: in an archive from `at` on.
#[derive(Clone, Copy, Debug)]
struct Piece {
    at: u64,
    size: u64,
}

impl Tree {
    /// Opens a bundle. Blocks.
    ///
    /// # Errors
    /// [`VerifyError::Unreadable`], and [`VerifyError::Archive`] for an archive
    /// that is not a plain one.
    pub fn open(bundle: &Path) -> Result<Self, VerifyError> {
        let unreadable = |source| VerifyError::Unreadable {
            path: bundle.to_path_buf(),
            source,
        };
        let kind = fs::metadata(bundle).map_err(unreadable)?;
        if kind.is_dir() {
            let mut files = BTreeMap::new();
            list(bundle, "", 0, &mut files).map_err(unreadable)?;
            let place = Place::Directory(bundle.to_path_buf());
            return Ok(Self { place, files });
        }
        let file = File::open(bundle).map_err(unreadable)?;
        Ok(Self {
            files: contents(&file, kind.len())?,
            place: Place::Archive(file),
        })
    }

    /// All paths, in order.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &String> {
        self.files.keys()
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
        let piece = *self.files.get(path)?;
        if piece.size > max {
            return None;
        }
        self.bytes(path, piece).ok()
    }

    fn bytes(&self, path: &str, piece: Piece) -> io::Result<Vec<u8>> {
        match &self.place {
            Place::Directory(root) => fs::read(root.join(path)),
            Place::Archive(file) => {
                let size = usize::try_from(piece.size).map_err(io::Error::other)?;
                let mut bytes = vec![0; size];
                file.read_exact_at(&mut bytes, piece.at)?;
                Ok(bytes)
            }
        }
    }

    /// Reads a file of text as [`Tree::read`] does.
    pub(crate) fn text(&self, path: &str, max: u64) -> Option<String> {
        String::from_utf8(self.read(path, max)?).ok()
    }

    /// Opens a file to be read in one go from the beginning.
    pub(crate) fn stream(&self, path: &str) -> Option<BufReader<Box<dyn Read + '_>>> {
        let piece = *self.files.get(path)?;
        let bytes: Box<dyn Read> = match &self.place {
            Place::Directory(root) => Box::new(File::open(root.join(path)).ok()?),
            Place::Archive(file) => Box::new(Part { file, piece }),
        };
        Some(BufReader::with_capacity(1 << 16, bytes))
    }
}

/// A bundle is read as any other place where the files of a log are.
impl Files for Tree {
    fn get(&self, path: &BundlePath) -> Result<Option<Bytes>, ExportError> {
        let name = path.to_string();
        let Some(piece) = self.files.get(&name).copied() else {
            return Ok(None);
        };
        if piece.size > path.bytes_max() as u64 {
            return Err(ExportError::Malformed {
                what: "a file is too long",
            });
        }
        let bytes = self.bytes(&name, piece);
        let failed = |source| ExportError::File {
            path: name.into(),
            source,
        };
        bytes.map(|bytes| Some(bytes.into())).map_err(failed)
    }

    fn list(&self, folder: Folder) -> Result<Vec<BundlePath>, ExportError> {
        let folder_path = folder.to_string();
        let below = self.below(&folder_path);
        let files = below.filter_map(|name| format!("{folder_path}{name}").parse().ok());
        let mut files: Vec<_> = files.filter(|path| folder.has(path)).collect();
        files.sort();
        Ok(files)
    }
}

/// What is left to read of a file in an archive.
struct Part<'a> {
    file: &'a File,
    piece: Piece,
}

impl Read for Part<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.piece.size).unwrap_or(usize::MAX);
        let length = buffer.len().min(wanted);
        let read = self
            .file
            .read_at(buffer.get_mut(..length).unwrap_or_default(), self.piece.at)?;
        self.piece.at += read as u64;
        self.piece.size -= read as u64;
        Ok(read)
    }
}

/// Goes to a place from the beginning of what there was to read, or from here.
impl Seek for Part<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let end = self.piece.at.saturating_add(self.piece.size);
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.piece.at.checked_add_signed(by),
            SeekFrom::End(by) => end.checked_add_signed(by),
        };
        let at = at.filter(|at| *at <= end);
        let at = at.ok_or_else(|| io::Error::other("beyond the end"))?;
        self.piece = Piece { at, size: end - at };
        Ok(at)
    }
}

/// Lists plain files; anything else that a directory holds is no part of a bundle.
fn list(
    dir: &Path,
    prefix: &str,
    depth: usize,
    out: &mut BTreeMap<String, Piece>,
) -> io::Result<()> {
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
            let size = item.metadata()?.len();
            out.insert(path, Piece { at: 0, size });
        } else {
            return Err(io::Error::other(format!("{path} is not a plain file")));
        }
        if out.len() > FILES_MAX {
            return Err(io::Error::other("too many files"));
        }
    }
    Ok(())
}

/// Finds the files of a tar archive of `length` bytes. Headers are taken as they
/// stand: nothing that gives a file another name or length is followed.
fn contents(file: &File, length: u64) -> Result<BTreeMap<String, Piece>, VerifyError> {
    let refused = VerifyError::Archive;
    let failed = |_| refused("it is not a tar archive");
    // A block that is cut off is none.
    let whole = length - length % BLOCK;
    let mut tar = tar::Archive::new(Part {
        file,
        piece: Piece { at: 0, size: whole },
    });
    let mut files = BTreeMap::new();
    let mut count = 0;
    for item in tar.entries_with_seek().map_err(failed)?.raw(true) {
        let item = item.map_err(failed)?;
        count += 1;
        if count > FILES_MAX {
            return Err(refused("too many files"));
        }
        let header = item.header();
        let path = inside(&header.path_bytes())?;
        let is_dir = match header.entry_type() {
            EntryType::Regular => false,
            EntryType::Directory => true,
            _ => return Err(refused("it holds more than plain files")),
        };
        let size = header.entry_size();
        let size = size.map_err(|_| refused("a size is malformed"))?;
        let at = item.raw_file_position();
        let end = size
            .checked_next_multiple_of(BLOCK)
            .and_then(|padded| padded.checked_add(at));
        if end.is_none_or(|end| end > whole) {
            return Err(refused("a file is longer than the archive"));
        }
        if !is_dir && files.insert(path, Piece { at, size }).is_some() {
            return Err(refused("a path stands in it twice"));
        }
    }
    Ok(files)
}

/// Takes a path that stays below the directory it is in.
fn inside(name: &[u8]) -> Result<String, VerifyError> {
    let name = std::str::from_utf8(name);
    let name = name.map_err(|_| VerifyError::Archive("a name is not UTF-8"))?;
    let parts = name.split('/');
    let parts: Vec<_> = parts
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    let leads_out = |part: &&str| *part == ".." || part.contains('\\');
    if name.starts_with('/') || parts.len() > DEPTH_MAX || parts.iter().any(leads_out) {
        return Err(VerifyError::Archive("a path leads out of it"));
    }
    Ok(parts.join("/"))
}
