//! Strict decoding: a message counts only in the bytes that encoding it gives.

use prost::Message;

use crate::record::RecordError;

/// Decodes `bytes` and refuses them when encoding the result gives others.
///
/// Unknown fields, defaults written out, fields out of order, long varints and
/// doubled fields all come back different.
pub(super) fn decode<M: Message + Default>(
    what: &'static str,
    bytes: &[u8],
) -> Result<M, RecordError> {
    let message = M::decode(bytes).map_err(|_| RecordError::NotCanonical { what })?;
    if is_encoding_of(&message, bytes) {
        Ok(message)
    } else {
        Err(RecordError::NotCanonical { what })
    }
}

/// Small messages are encoded again on the stack: this runs for every entry.
fn is_encoding_of<M: Message>(message: &M, bytes: &[u8]) -> bool {
    const SMALL: usize = 512;
    if message.encoded_len() != bytes.len() {
        return false;
    }
    if bytes.len() > SMALL {
        return message.encode_to_vec() == bytes;
    }
    let mut again = [0; SMALL];
    let mut rest = &mut again[..];
    message.encode(&mut rest).is_ok() && again.get(..bytes.len()) == Some(bytes)
}

/// Checks that `bytes` are within `max`.
pub(super) fn within(what: &'static str, bytes: &[u8], max: usize) -> Result<(), RecordError> {
    if bytes.len() <= max {
        Ok(())
    } else {
        Err(RecordError::TooBig {
            what,
            got: bytes.len(),
            max,
        })
    }
}

/// Takes an array from exactly its length of bytes.
pub(super) fn array<const N: usize>(
    what: &'static str,
    bytes: &[u8],
) -> Result<[u8; N], RecordError> {
    bytes.try_into().map_err(|_| RecordError::Field { what })
}

/// Checks a text of a peer: short, and without characters that steer a terminal.
pub(super) fn text(what: &'static str, text: &str, bytes_max: usize) -> Result<(), RecordError> {
    if text.len() <= bytes_max && !text.chars().any(char::is_control) {
        Ok(())
    } else {
        Err(RecordError::Field { what })
    }
}

/// Checks a time: seconds since 1970, 0 where a field may say "none".
pub(super) fn time(what: &'static str, seconds: i64) -> Result<i64, RecordError> {
    if seconds >= 0 {
        Ok(seconds)
    } else {
        Err(RecordError::Field { what })
    }
}
