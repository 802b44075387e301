//! Writes a bundle: first into a directory beside its own name, then, when it
//! is whole, under that name. A bundle that broke off never has its name.
//!
//! Nothing is synced: a bundle is a copy, and its sums say whether it is whole.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::error::ExportError;
use super::layout::BundlePath;
use crate::ids::Digest;

/// How an unfinished bundle is called: its own name and this.
const PARTIAL: &str = ".partial";
/// The mode of files in a tar.
const TAR_MODE: u32 = 0o644;

/// Where a bundle goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BundleOut {
    /// A directory, which must not exist yet.
    Dir(PathBuf),
    /// A tar file, which must not exist yet.
    Tar(PathBuf),
}

impl BundleOut {
    /// A tar where the name ends with `.tar`, otherwise a directory.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        let is_tar = path.extension().is_some_and(|e| e == "tar");
        if is_tar {
            Self::Tar(path.to_owned())
        } else {
            Self::Dir(path.to_owned())
        }
    }

    /// Its name.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Dir(path) | Self::Tar(path) => path,
        }
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> ExportError + use<> {
    let path = path.to_owned();
    move |source| ExportError::File { path, source }
}

/// A bundle in the making. Dropped before [`BundleWriter::finish`], it takes
/// what it wrote away again.
#[derive(Debug)]
pub(super) struct BundleWriter {
    out: BundleOut,
    partial: PathBuf,
    folders: BTreeSet<PathBuf>,
    /// Path and digest of every file, in the order of writing.
    sums: Vec<(String, Digest)>,
    bytes: u64,
    finished: bool,
}

impl BundleWriter {
    /// Begins a bundle.
    pub(super) fn create(out: BundleOut) -> Result<Self, ExportError> {
        let path = out.path();
        if path.symlink_metadata().is_ok() {
            return Err(ExportError::Exists(path.to_owned()));
        }
        let partial = with_suffix(path, PARTIAL);
        match fs::create_dir(&partial) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                return Err(ExportError::LeftOver(partial));
            }
            Err(e) => return Err(failed(&partial)(e)),
        }
        Ok(Self {
            out,
            partial,
            folders: BTreeSet::new(),
            sums: vec![],
            bytes: 0,
            finished: false,
        })
    }

    /// The directory that is being written.
    pub(super) fn dir(&self) -> &Path {
        &self.partial
    }

    /// Bytes of all files so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Files so far.
    pub(super) fn files(&self) -> u64 {
        self.sums.len() as u64
    }

    /// Writes one file.
    pub(super) fn put(&mut self, path: &BundlePath, bytes: &[u8]) -> Result<(), ExportError> {
        self.write(path, bytes)?;
        self.sums.push((path.to_string(), Digest::of(bytes)));
        Ok(())
    }

    fn write(&mut self, path: &BundlePath, bytes: &[u8]) -> Result<(), ExportError> {
        let file = self.partial.join(path.to_string());
        if let Some(folder) = file.parent()
            && !self.folders.contains(folder)
        {
            fs::create_dir_all(folder).map_err(failed(folder))?;
            self.folders.insert(folder.to_owned());
        }
        fs::write(&file, bytes).map_err(failed(&file))?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Writes the sums and gives the bundle its name.
    pub(super) fn finish(mut self) -> Result<PathBuf, ExportError> {
        self.sums.sort();
        let mut text = String::new();
        for (path, digest) in &self.sums {
            writeln!(text, "{digest}  {path}").expect("a String takes all that is written");
        }
        self.write(&BundlePath::Sums, text.as_bytes())?;
        match &self.out {
            BundleOut::Dir(path) => {
                fs::rename(&self.partial, path).map_err(failed(path))?;
            }
            BundleOut::Tar(path) => {
                let part = self.partial.join("tar");
                self.pack(&part).map_err(failed(&part))?;
                fs::rename(&part, path).map_err(failed(path))?;
                fs::remove_dir_all(&self.partial).map_err(failed(&self.partial))?;
            }
        }
        self.finished = true;
        Ok(self.out.path().to_owned())
    }

    /// Moves every file into a tar, the sums last; the same files give the
    /// same tar.
    fn pack(&self, part: &Path) -> io::Result<()> {
        let mut tar = tar::Builder::new(BufWriter::new(File::create_new(part)?));
        let sums = BundlePath::Sums.to_string();
        let names = self.sums.iter().map(|(name, _)| name).chain([&sums]);
        for name in names {
            let file = self.partial.join(name);
            let bytes = fs::read(&file)?;
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(TAR_MODE);
            header.set_mtime(0);
            tar.append_data(&mut header, name, &bytes[..])?;
            fs::remove_file(&file)?;
        }
        tar.into_inner()?.flush()
    }
}

impl Drop for BundleWriter {
    fn drop(&mut self) {
        if !self.finished
            && let Err(e) = fs::remove_dir_all(&self.partial)
        {
            tracing::warn!(error = %e, path = %self.partial.display(), "what was written of a bundle stays");
        }
    }
}
