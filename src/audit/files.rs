//! Where the files of a member's logs are: a node's audit port, the ledger of a
//! stopped node, a directory, a tar archive. All have the same layout, so that
//! one way of reading does for all.

use bytes::Bytes;

use super::error::ExportError;
use super::layout::{BundlePath, Folder};

/// Gives the files of one member's logs. Blocks.
///
/// A file is given whole or not at all; what is not there is `None`, and what
/// is refused or breaks off is an error.
pub trait Files: Sync {
    /// Reads one file, of at most [`BundlePath::bytes_max`].
    ///
    /// # Errors
    /// [`ExportError::Source`] when it is refused or out of reach,
    /// [`ExportError::Malformed`] when it is too long, [`ExportError::Stopped`].
    fn get(&self, path: &BundlePath) -> Result<Option<Bytes>, ExportError>;

    /// Reads several files, each as [`Files::get`] does.
    ///
    /// # Errors
    /// As [`Files::get`], of the first that fails.
    fn get_all(&self, paths: &[BundlePath]) -> Result<Vec<Option<Bytes>>, ExportError> {
        paths.iter().map(|path| self.get(path)).collect()
    }

    /// The files of a folder, in order; none where there is no such folder.
    ///
    /// # Errors
    /// As [`Files::get`].
    fn list(&self, folder: Folder) -> Result<Vec<BundlePath>, ExportError>;
}
