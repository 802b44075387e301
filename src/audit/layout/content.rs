//! The bytes of entry bundles and of `bodies/N`: lists of length-prefixed
//! items. A list is read item by item and must end where its last item does.

use bytes::Bytes;

use super::LayoutError;
use crate::wire::v1::BodyAnswer;

/// Bytes that one body in a bundle may have: those of an access log.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Appends an entry to a bundle: u16 big-endian length, bytes (C2SP tlog-tiles).
///
/// # Errors
/// [`LayoutError::Content`] for an entry of more than 65,535 bytes.
pub fn put_entry(out: &mut Vec<u8>, entry: &[u8]) -> Result<(), LayoutError> {
    let length = u16::try_from(entry.len()).map_err(|_| LayoutError::Content {
        what: "an entry is too long for a bundle",
    })?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(entry);
    Ok(())
}

/// Reads a bundle entry by entry, without copying. After an error it ends.
#[must_use]
pub fn split_entries(bundle: Bytes) -> BundleEntries {
    BundleEntries(Rest {
        bytes: bundle,
        at: 0,
    })
}

/// What `bodies/N` says of one entry's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyItem {
    /// What is known of it; never `Unspecified`.
    pub answer: BodyAnswer,
    /// Its bytes; none unless the answer is `Held`.
    pub body: Bytes,
}

/// Appends what is known of one body: u8 answer, u32 big-endian length, bytes.
///
/// # Errors
/// [`LayoutError::Content`] for an empty answer, a body that is over
/// [`BODY_BYTES_MAX`], and bytes beside an answer that is not `Held`.
pub fn put_body(out: &mut Vec<u8>, answer: BodyAnswer, body: &[u8]) -> Result<(), LayoutError> {
    let content = |what| LayoutError::Content { what };
    let code = u8::try_from(answer as i32).unwrap_or(0);
    if code == 0 {
        return Err(content("an empty answer about a body"));
    }
    if body.len() > BODY_BYTES_MAX {
        return Err(content("a body is too long"));
    }
    if answer != BodyAnswer::Held && !body.is_empty() {
        return Err(content("bytes of a body that is not held"));
    }
    let length = u32::try_from(body.len()).map_err(|_| content("a body is too long"))?;
    out.push(code);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(body);
    Ok(())
}

/// Reads `bodies/N` item by item, without copying. After an error it ends.
#[must_use]
pub fn split_bodies(file: Bytes) -> BundleItems {
    BundleItems(Rest { bytes: file, at: 0 })
}

/// What is left to read of a list.
#[derive(Clone, Debug)]
struct Rest {
    bytes: Bytes,
    at: usize,
}

impl Rest {
    fn is_done(&self) -> bool {
        self.at >= self.bytes.len()
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let taken = self.bytes.get(self.at..)?.first_chunk::<N>().copied()?;
        self.at += N;
        Some(taken)
    }

    fn slice(&mut self, length: usize) -> Option<Bytes> {
        let end = self.at.checked_add(length)?;
        if end > self.bytes.len() {
            return None;
        }
        let slice = self.bytes.slice(self.at..end);
        self.at = end;
        Some(slice)
    }

    /// Makes the reader end.
    fn stop<T>(&mut self, what: &'static str) -> Result<T, LayoutError> {
        self.at = self.bytes.len();
        Err(LayoutError::Content { what })
    }
}

/// The entries of a bundle, in order.
#[derive(Clone, Debug)]
pub struct BundleEntries(Rest);

impl Iterator for BundleEntries {
    type Item = Result<Bytes, LayoutError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = &mut self.0;
        if rest.is_done() {
            return None;
        }
        let entry = rest
            .take::<2>()
            .and_then(|length| rest.slice(usize::from(u16::from_be_bytes(length))));
        Some(match entry {
            Some(entry) => Ok(entry),
            None => rest.stop("an entry bundle ends within an entry"),
        })
    }
}

/// The items of a `bodies/N` file, in order.
#[derive(Clone, Debug)]
pub struct BundleItems(Rest);

impl Iterator for BundleItems {
    type Item = Result<BodyItem, LayoutError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = &mut self.0;
        if rest.is_done() {
            return None;
        }
        let [code] = rest.take::<1>()?;
        let answer = match BodyAnswer::try_from(i32::from(code)) {
            Ok(BodyAnswer::Unspecified) | Err(_) => {
                return Some(rest.stop("an unknown answer about a body"));
            }
            Ok(answer) => answer,
        };
        let body = rest
            .take::<4>()
            .and_then(|length| usize::try_from(u32::from_be_bytes(length)).ok())
            .and_then(|length| rest.slice(length));
        Some(match body {
            None => rest.stop("a file of bodies ends within a body"),
            Some(body) if answer != BodyAnswer::Held && !body.is_empty() => {
                rest.stop("bytes of a body that is not held")
            }
            Some(body) => Ok(BodyItem { answer, body }),
        })
    }
}
