//! Sentences of a node in the reader's language. A node says in English what is
//! wrong; the catalogue's family `said` has those sentences in both languages,
//! and a sentence is known by its English pattern.

use super::{Lang, catalogue, fill};

/// Sentences within sentences that are looked into.
const DEPTH_MAX: usize = 4;

impl Lang {
    /// Tells a node's sentence in this language; one that the catalogue does not
    /// know stays as it came.
    #[must_use]
    pub fn retold(self, sentence: &str) -> String {
        match self {
            Self::En => sentence.to_owned(),
            Self::Zh => retold(sentence, DEPTH_MAX).unwrap_or_else(|| sentence.to_owned()),
        }
    }
}

fn retold(sentence: &str, depth: usize) -> Option<String> {
    let depth = depth.checked_sub(1)?;
    let known = catalogue().range("said.".to_owned().."said/".to_owned());
    let fits = known.filter_map(|(_, phrase)| {
        let pattern = phrase.en.as_deref()?;
        let literal = literals(pattern);
        Some((literal, captures(pattern, sentence)?, phrase.zh.as_deref()?))
    });
    // The pattern with the most words of its own says most.
    let (_, values, zh) = fits.max_by_key(|(literal, ..)| *literal)?;
    let told: Vec<(&str, String)> = values
        .into_iter()
        .map(|(name, value)| {
            let inner = retold(value, depth).unwrap_or_else(|| value.to_owned());
            (name, inner)
        })
        .collect();
    let told: Vec<(&str, &str)> = told.iter().map(|(n, v)| (*n, v.as_str())).collect();
    Some(fill(zh, &told))
}

/// Bytes of a pattern outside of its placeholders.
fn literals(pattern: &str) -> usize {
    let names: usize = super::placeholders(pattern)
        .iter()
        .map(|n| n.len() + 2)
        .sum();
    pattern.len().saturating_sub(names)
}

/// What stands in a sentence where its pattern has placeholders.
fn captures<'a>(pattern: &'a str, sentence: &'a str) -> Option<Vec<(&'a str, &'a str)>> {
    let (head, mut pattern) = pattern.split_at(pattern.find('{').unwrap_or(pattern.len()));
    let mut rest = sentence.strip_prefix(head)?;
    let mut found = vec![];
    while let Some(inner) = pattern.strip_prefix('{') {
        let (name, after) = inner.split_once('}')?;
        let (literal, next) = after.split_at(after.find('{').unwrap_or(after.len()));
        let end = if next.is_empty() {
            rest.len().checked_sub(literal.len())?
        } else {
            rest.find(literal)?
        };
        let (value, tail) = (rest.get(..end)?, rest.get(end..)?);
        rest = tail.strip_prefix(literal)?;
        if value.is_empty() {
            return None;
        }
        found.push((name, value));
        pattern = next;
    }
    rest.is_empty().then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_takes_a_sentence_as_a_whole_or_not_at_all() {
        assert_eq!(captures("a {x} b", "a 1 b"), Some(vec![("x", "1")]));
        assert_eq!(
            captures("{x}: {y}", "m: n: o"),
            Some(vec![("x", "m"), ("y", "n: o")])
        );
        assert_eq!(captures("plain", "plain"), Some(vec![]));
        for (pattern, sentence) in [
            ("a {x} b", "a  b"),
            ("a {x} b", "a 1 c"),
            ("a {x} b", "a 1 b c"),
            ("plain", "plainer"),
            ("{x}", ""),
        ] {
            assert_eq!(captures(pattern, sentence), None, "{pattern} {sentence}");
        }
    }

    #[test]
    fn a_sentence_within_a_sentence_is_told_too() {
        let said = "wuhu: its node does not answer (connection refused)";
        assert_eq!(
            Lang::Zh.retold(said),
            "wuhu：其节点无应答（connection refused）"
        );
        assert_eq!(Lang::En.retold(said), said);
        assert_eq!(Lang::Zh.retold("something new"), "something new");
    }
}
