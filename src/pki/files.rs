//! Files of keys and certificates. A private one is made with mode 0600 from
//! its first byte, never overwritten, and refused when others may read it.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use zeroize::Zeroizing;

use super::{PkiError, file_error};
use crate::keys::SigningKey;
use crate::tls::check_private;

/// Writes a new file that only its owner may read, and syncs it.
///
/// # Errors
/// [`PkiError::File`], also when the file exists: keys are not overwritten.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), PkiError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    write(&options, path, bytes)
}

/// Writes a new file for everybody to read, such as a certificate, and syncs it.
///
/// # Errors
/// [`PkiError::File`], also when the file exists.
pub fn write_public(path: &Path, bytes: &[u8]) -> Result<(), PkiError> {
    write(OpenOptions::new().write(true).create_new(true), path, bytes)
}

fn write(options: &OpenOptions, path: &Path, bytes: &[u8]) -> Result<(), PkiError> {
    let mut file = options.open(path).map_err(file_error(path))?;
    file.write_all(bytes).map_err(file_error(path))?;
    file.sync_all().map_err(file_error(path))
}

/// Makes a directory and those above it; on Unix only its owner may enter it.
///
/// # Errors
/// [`PkiError::File`].
pub fn make_dir(path: &Path) -> Result<(), PkiError> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.create(path).map_err(file_error(path))
}

/// Writes a signing key's seed as one line of 64 hexadecimal digits.
///
/// # Errors
/// [`PkiError::File`], also when the file exists.
pub fn write_seed(path: &Path, key: &SigningKey) -> Result<(), PkiError> {
    let mut line = Zeroizing::new(hex::encode(key.seed().as_slice()));
    line.push('\n');
    write_private(path, line.as_bytes())
}

/// Reads a signing key from its seed file, which only its owner may read.
///
/// # Errors
/// [`PkiError`] naming the file.
pub fn load_seed(path: &Path) -> Result<SigningKey, PkiError> {
    check_private(path)?;
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(file_error(path))?);
    let bad = || PkiError::Seed {
        path: path.to_owned(),
    };
    let mut seed = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text.trim_end(), seed.as_mut_slice()).map_err(|_| bad())?;
    SigningKey::from_seed(&seed).map_err(|_| bad())
}
