//! The format of a store's directory, and what to say of another one. Pure.

use super::StoreError;

/// The layout of the directory; another version is refused in words.
pub const FORMAT_VERSION: u32 = 1;

/// Judges the number that a directory has; a new one has none yet.
pub(super) fn check(found: Option<&[u8]>) -> Result<(), StoreError> {
    let Some(found) = found else { return Ok(()) };
    let found = <[u8; 4]>::try_from(found).map_err(|_| StoreError::Damaged("format"))?;
    let (found, want) = (u32::from_be_bytes(found), FORMAT_VERSION);
    if found == want {
        Ok(())
    } else {
        Err(StoreError::Format { found, want })
    }
}

/// What to do about a directory of another format than the one that is read here.
pub(super) fn advice(found: u32, want: u32) -> &'static str {
    if found > want {
        "a newer casegate wrote it; run that one, or a newer one"
    } else {
        "an older casegate wrote it; upgrade by way of a version that reads both"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blame::Blamed;

    #[test]
    fn another_format_is_refused_in_words_and_bytes_that_are_none_are_damage() {
        assert!(check(None).is_ok() && check(Some(&FORMAT_VERSION.to_be_bytes())).is_ok());
        let refused = |found: &[u8]| check(Some(found)).expect_err("another format");
        for (found, code, words) in [
            (
                &[0, 0, 0, 2][..],
                "store.newer",
                "has format 2, this casegate reads format 1: a newer",
            ),
            (
                &[255; 4],
                "store.newer",
                "a newer casegate wrote it; run that one",
            ),
            (
                &[0; 4],
                "store.older",
                "has format 0, this casegate reads format 1: an older",
            ),
            (b"", "store.damaged", "damaged format"),
            (b"12345", "store.damaged", "damaged format"),
        ] {
            let refused = refused(found);
            assert_eq!(refused.code(), code);
            assert!(refused.to_string().contains(words), "{refused}");
        }
    }
}
