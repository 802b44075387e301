//! C2SP cosignatures (tlog-cosignature v1): a witness's statement that, at a
//! time, a checkpoint was consistent with all that it had seen of the log.

use crate::checkpoint::CheckpointError;
use crate::checkpoint::note::{SignedNote, signature_line, typed_key_id};
use crate::clock::UnixSeconds;
use crate::keys::{PublicKey, SigningKey};

/// The signature type byte of cosignature/v1.
const COSIGNATURE_V1: u8 = 0x04;

/// A cosignature that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cosignature {
    /// When the witness signed, by its own clock.
    pub time: UnixSeconds,
}

/// Returns a witness key's id in notes: type byte 0x04.
#[must_use]
pub fn cosignature_key_id(name: &str, key: &PublicKey) -> [u8; 4] {
    typed_key_id(name, COSIGNATURE_V1, key)
}

/// Builds the bytes that a witness signs: a header, the time, the note's text.
#[must_use]
pub fn cosigned_bytes(text: &str, time: u64) -> Vec<u8> {
    format!("cosignature/v1\ntime {time}\n{text}").into_bytes()
}

/// Cosigns a note's text, and returns the line to append to the note.
#[must_use]
pub fn cosign(text: &str, witness: &str, key: &SigningKey, now: UnixSeconds) -> String {
    let time = u64::try_from(now).unwrap_or(0);
    let mut signature = time.to_be_bytes().to_vec();
    signature.extend_from_slice(&key.sign(&cosigned_bytes(text, time)));
    signature_line(
        witness,
        cosignature_key_id(witness, key.public_key()),
        &signature,
    )
}

/// Finds the newest cosignature of `key` under the name `witness`.
///
/// # Errors
/// [`CheckpointError::BadSignature`] when a line claims to be by that key and
/// does not hold.
pub fn open_cosignature(
    note: &SignedNote<'_>,
    witness: &str,
    key: &PublicKey,
) -> Result<Option<Cosignature>, CheckpointError> {
    let bad = || CheckpointError::BadSignature {
        name: witness.to_owned(),
    };
    let mut newest = None;
    for line in note.lines_of(witness, cosignature_key_id(witness, key)) {
        let (time, signature) = line.signature.split_first_chunk::<8>().ok_or_else(bad)?;
        let time = u64::from_be_bytes(*time);
        key.verify(&cosigned_bytes(note.text(), time), signature)
            .map_err(|_| bad())?;
        newest = newest.max(Some(i64::try_from(time).map_err(|_| bad())?));
    }
    Ok(newest.map(|time| Cosignature { time }))
}
