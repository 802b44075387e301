//! What the checkpoints of all logs have in common, whatever a log is called: the
//! text that is signed, and the note around it. The key name is the log's name.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{CheckpointError, CheckpointText, SignedNote, note_key_id, signature_line};
use crate::ids::{Digest, TreeSize};
use crate::keys::{PublicKey, SigningKey};

/// A root at a size, of a log that the reader knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizedRoot {
    /// How many entries.
    pub size: TreeSize,
    /// The root over them.
    pub root: Digest,
}

impl SizedRoot {
    /// Returns the text that is signed: name, size, base64 root, a line each.
    #[must_use]
    pub fn text(&self, name: &str) -> String {
        format!("{name}\n{}\n{}\n", self.size, STANDARD.encode(self.root.0))
    }

    /// Signs the root of the log `name` and returns the whole signed note.
    #[must_use]
    pub fn sign(&self, name: &str, key: &SigningKey) -> String {
        let text = self.text(name);
        let id = note_key_id(name, key.public_key());
        let line = signature_line(name, id, &key.sign(text.as_bytes()));
        format!("{text}\n{line}")
    }

    /// Reads a signed note as a checkpoint of the log `name`, signed by at least
    /// one of `keys`. Signatures by other keys are ignored. Checkpoints with
    /// extension lines are refused: casegate's logs have none.
    ///
    /// # Errors
    /// [`CheckpointError`] when it is anything else, and when a signature by one
    /// of `keys` does not hold, whatever the others say.
    pub fn open<'a>(
        note: &[u8],
        name: &str,
        keys: impl IntoIterator<Item = &'a PublicKey>,
    ) -> Result<Self, CheckpointError> {
        let note = SignedNote::parse(note)?;
        let text = CheckpointText::parse(note.text())?;
        if text.origin != name {
            return Err(CheckpointError::OtherLog {
                want: name.to_owned(),
                got: text.origin.chars().take(200).collect(),
            });
        }
        let mut signed = false;
        for key in keys {
            signed |= note.verify(name, key)?;
        }
        if !signed {
            return Err(CheckpointError::NotSigned);
        }
        if !text.extensions.is_empty() {
            let what = "extension lines";
            return Err(CheckpointError::Malformed { what });
        }
        Ok(Self {
            size: text.size,
            root: text.root,
        })
    }
}
