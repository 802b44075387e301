//! Checkpoints: the signed root of a log at a size (C2SP tlog-checkpoint), as a
//! signed note. The key name in a note is the log's origin.

mod contradiction;
mod cosignature;
mod named;
mod note;
mod quorum;

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::blame::{Blame, Blamed};
use crate::ids::{Digest, IdError, Origin, TreeSize};
use crate::keys::{PublicKey, SigningKey};

pub use contradiction::contradicts;
pub use cosignature::{Cosignature, cosign, cosignature_key_id, cosigned_bytes, open_cosignature};
pub use named::SizedRoot;
pub use note::{NOTE_BYTES_MAX, NoteSignature, SignedNote, note_key_id, signature_line};
pub use quorum::{Witnessed, cosignature_of, cosigned_by, witness_name, witnessed};

/// Why a checkpoint, or the note around it, is refused.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum CheckpointError {
    /// More bytes than a note may have.
    #[error("a note of {got} bytes is over the limit of {max}")]
    TooBig {
        /// Its bytes.
        got: usize,
        /// The bytes that it may have.
        max: usize,
    },
    /// The bytes are not a signed note.
    #[error("the note is malformed: {what}")]
    MalformedNote {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The note's text is not a checkpoint.
    #[error("the checkpoint is malformed: {what}")]
    Malformed {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The origin is not a log of a federation.
    #[error(transparent)]
    Origin(#[from] IdError),
    /// The checkpoint is of another log.
    #[error("the checkpoint is of {got}, not of {want}")]
    OtherLog {
        /// The log that was asked for.
        want: String,
        /// The log that the checkpoint names.
        got: String,
    },
    /// No signature is by a key that counts.
    #[error("no known key signed the checkpoint")]
    NotSigned,
    /// A signature by a key that counts does not hold.
    #[error("the signature of {name} does not hold")]
    BadSignature {
        /// The key's name.
        name: String,
    },
}

impl Blamed for CheckpointError {
    fn blame(&self) -> Blame {
        match self {
            Self::NotSigned => Blame::Stale,
            Self::TooBig { .. }
            | Self::MalformedNote { .. }
            | Self::Malformed { .. }
            | Self::Origin(_)
            | Self::OtherLog { .. }
            | Self::BadSignature { .. } => Blame::Misbehaved,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::TooBig { .. } => "checkpoint.too_big",
            Self::MalformedNote { .. } => "checkpoint.malformed_note",
            Self::Malformed { .. } => "checkpoint.malformed",
            Self::Origin(_) => "checkpoint.origin",
            Self::OtherLog { .. } => "checkpoint.other_log",
            Self::NotSigned => "checkpoint.not_signed",
            Self::BadSignature { .. } => "checkpoint.bad_signature",
        }
    }
}

/// The root of one of a federation's logs at a size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: Origin,
    /// How many entries.
    pub size: TreeSize,
    /// The root over them.
    pub root: Digest,
}

impl Checkpoint {
    /// The root at its size.
    fn sized(&self) -> SizedRoot {
        SizedRoot {
            size: self.size,
            root: self.root,
        }
    }

    /// Returns the text that is signed: origin, size, base64 root, a line each.
    #[must_use]
    pub fn body(&self) -> String {
        self.sized().text(&self.origin.to_string())
    }

    /// Signs the checkpoint and returns the whole signed note.
    #[must_use]
    pub fn sign(&self, key: &SigningKey) -> String {
        self.sized().sign(&self.origin.to_string(), key)
    }

    /// Reads a signed note as a checkpoint of `origin`, signed by at least one of
    /// `keys`. Signatures by other keys are ignored. Checkpoints with extension
    /// lines are refused: casegate's logs have none.
    ///
    /// # Errors
    /// [`CheckpointError`] when it is anything else, and when a signature by one
    /// of `keys` does not hold, whatever the others say.
    pub fn open(
        note: &[u8],
        origin: &Origin,
        keys: &[&PublicKey],
    ) -> Result<Self, CheckpointError> {
        let SizedRoot { size, root } =
            SizedRoot::open(note, &origin.to_string(), keys.iter().copied())?;
        Ok(Self {
            origin: origin.clone(),
            size,
            root,
        })
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} at {} with root {}",
            self.origin, self.size, self.root
        )
    }
}

/// The lines of any log's checkpoint, ours or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointText<'a> {
    /// The log's name.
    pub origin: &'a str,
    /// How many entries.
    pub size: TreeSize,
    /// The root over them.
    pub root: Digest,
    /// What follows, line by line.
    pub extensions: Vec<&'a str>,
}

impl<'a> CheckpointText<'a> {
    /// Reads a note's text as a checkpoint (C2SP tlog-checkpoint).
    ///
    /// # Errors
    /// [`CheckpointError::Malformed`] for missing or empty lines, a size that is
    /// not the shortest decimal, and a root that is not 32 bytes of base64.
    pub fn parse(text: &'a str) -> Result<Self, CheckpointError> {
        let malformed = |what| CheckpointError::Malformed { what };
        let text = text
            .strip_suffix('\n')
            .ok_or_else(|| malformed("no last newline"))?;
        let mut lines = text.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next())
        else {
            return Err(malformed("fewer than three lines"));
        };
        let extensions: Vec<&str> = lines.collect();
        if origin.is_empty() || extensions.contains(&"") {
            return Err(malformed("an empty line"));
        }
        let number: u64 = size.parse().map_err(|_| malformed("size"))?;
        if number.to_string() != size {
            return Err(malformed("size"));
        }
        let root = STANDARD.decode(root).map_err(|_| malformed("root"))?;
        let root = Digest::from_slice(&root).map_err(|_| malformed("root"))?;
        Ok(Self {
            origin,
            size: TreeSize(number),
            root,
            extensions,
        })
    }
}
