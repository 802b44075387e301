//! The words for what this software speaks of the protocol: what a roster may
//! require of every node, and what a node says of itself. A word is never
//! used again for something else. Pure.

/// The word that every version speaks: what stands in records since the first.
pub const BASE: &str = "records-1";

/// What this software speaks, sorted.
///
/// - `key-algorithms`: keys, signatures and limits by algorithm; an unknown
///   one holds a log back and blames nobody.
/// - `opaque-bodies`: what is newer in a body is kept and not read.
/// - `records-1`: statements of version 1 with the bodies of PROTOCOL.md
///   section 5; spoken by every version there is.
pub const SPOKEN: &[&str] = &["key-algorithms", "opaque-bodies", BASE];

/// The most words that a roster may require, or a node may say.
pub const WORDS_MAX: usize = 64;

/// Says whether `word` is 1 to 63 of `a-z 0-9 - .`.
#[must_use]
pub fn is_word(word: &str) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    (1..=63).contains(&word.len()) && word.bytes().all(fits)
}

/// Those of the `required` words that this software does not speak.
#[must_use]
pub fn lacking(required: &[String]) -> Vec<String> {
    let unknown = |word: &&String| !SPOKEN.contains(&word.as_str());
    required.iter().filter(unknown).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_spoken_here_is_lacking() {
        let required = ["records-1", "records-9", "tea"].map(String::from);
        assert_eq!(lacking(&required), ["records-9", "tea"]);
        assert!(lacking(&[]).is_empty());
    }

    #[test]
    fn words_are_sorted_each_once_and_well_formed() {
        assert!(SPOKEN.is_sorted_by(|a, b| a < b));
        assert!(SPOKEN.iter().all(|word| is_word(word)));
        let long = "a".repeat(64);
        for bad in ["", "Records", "a b", "a_b", &long] {
            assert!(!is_word(bad), "{bad}");
        }
    }
}
