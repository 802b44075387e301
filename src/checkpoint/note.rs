//! C2SP signed notes: a text, an empty line, and signature lines
//! `— name base64(key id ‖ signature)`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::checkpoint::CheckpointError;
use crate::ids::Digest;
use crate::keys::PublicKey;

/// The largest signed note, in bytes.
pub const NOTE_BYTES_MAX: usize = 64 * 1024;

/// More signature lines than this are refused.
const SIGNATURES_MAX: usize = 64;

/// What a signature line begins with: an em dash and a space.
const LINE_PREFIX: &str = "\u{2014} ";

/// The signature type byte of plain Ed25519.
const ED25519: u8 = 0x01;

/// One signature line, taken apart but not checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature<'a> {
    /// The key's name.
    pub name: &'a str,
    /// The key's id in notes.
    pub key_id: [u8; 4],
    /// What follows the key id; at least one byte.
    pub signature: Vec<u8>,
}

/// A note whose form is checked. Its signatures are not, until they are verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedNote<'a> {
    text: &'a str,
    signatures: Vec<NoteSignature<'a>>,
}

impl<'a> SignedNote<'a> {
    /// Reads a signed note (C2SP signed-note).
    ///
    /// # Errors
    /// [`CheckpointError`] when it is over [`NOTE_BYTES_MAX`], not UTF-8, has
    /// control characters, or its signature lines are not well-formed.
    pub fn parse(note: &'a [u8]) -> Result<Self, CheckpointError> {
        let malformed = |what| CheckpointError::MalformedNote { what };
        if note.len() > NOTE_BYTES_MAX {
            return Err(CheckpointError::TooBig {
                got: note.len(),
                max: NOTE_BYTES_MAX,
            });
        }
        let note = std::str::from_utf8(note).map_err(|_| malformed("not UTF-8"))?;
        if note.chars().any(|c| c.is_ascii_control() && c != '\n') {
            return Err(malformed("a control character"));
        }
        let at = note
            .rfind("\n\n")
            .ok_or_else(|| malformed("no empty line"))?;
        let (text, rest) = note.split_at(at + 1);
        let lines = rest
            .strip_prefix('\n')
            .and_then(|lines| lines.strip_suffix('\n'))
            .ok_or_else(|| malformed("no signature line"))?;
        if lines.split('\n').count() > SIGNATURES_MAX {
            return Err(malformed("too many signature lines"));
        }
        let signatures = lines
            .split('\n')
            .map(|line| parse_line(line).ok_or_else(|| malformed("a signature line")))
            .collect::<Result<_, _>>()?;
        Ok(Self { text, signatures })
    }

    /// Returns the signed text, which ends with a newline.
    #[must_use]
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// Returns the signature lines, in order.
    #[must_use]
    pub fn signatures(&self) -> &[NoteSignature<'a>] {
        &self.signatures
    }

    /// Says whether `key`, under `name`, signed the note with plain Ed25519.
    ///
    /// # Errors
    /// [`CheckpointError::BadSignature`] when a line claims to be by that key
    /// and its signature does not hold.
    pub fn verify(&self, name: &str, key: &PublicKey) -> Result<bool, CheckpointError> {
        let mut signed = false;
        for line in self.lines_of(name, note_key_id(name, key)) {
            key.verify(self.text.as_bytes(), &line.signature)
                .map_err(|_| CheckpointError::BadSignature {
                    name: name.to_owned(),
                })?;
            signed = true;
        }
        Ok(signed)
    }

    /// The lines that claim to be by the key of this name and id.
    pub(super) fn lines_of(
        &self,
        name: &str,
        key_id: [u8; 4],
    ) -> impl Iterator<Item = &NoteSignature<'a>> {
        self.signatures
            .iter()
            .filter(move |line| line.name == name && line.key_id == key_id)
    }
}

/// Returns the key's id in notes: the first four bytes of
/// SHA-256(name ‖ 0x0A ‖ 0x01 ‖ public key).
#[must_use]
pub fn note_key_id(name: &str, key: &PublicKey) -> [u8; 4] {
    typed_key_id(name, ED25519, key)
}

/// The same for any signature type.
pub(super) fn typed_key_id(name: &str, signature_type: u8, key: &PublicKey) -> [u8; 4] {
    let mut bytes = Vec::with_capacity(name.len() + 34);
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(&[b'\n', signature_type]);
    bytes.extend_from_slice(key.as_bytes());
    let [a, b, c, d, ..] = Digest::of(&bytes).0;
    [a, b, c, d]
}

/// Writes one signature line, with its newline.
#[must_use]
pub fn signature_line(name: &str, key_id: [u8; 4], signature: &[u8]) -> String {
    let mut bytes = key_id.to_vec();
    bytes.extend_from_slice(signature);
    format!("{LINE_PREFIX}{name} {}\n", STANDARD.encode(bytes))
}

fn parse_line(line: &str) -> Option<NoteSignature<'_>> {
    let (name, encoded) = line.strip_prefix(LINE_PREFIX)?.split_once(' ')?;
    if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == '+') {
        return None;
    }
    let bytes = STANDARD.decode(encoded).ok()?;
    let (key_id, signature) = bytes.split_first_chunk::<4>()?;
    if signature.is_empty() {
        return None;
    }
    Some(NoteSignature {
        name,
        key_id: *key_id,
        signature: signature.to_vec(),
    })
}
