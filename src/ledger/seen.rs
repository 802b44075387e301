//! Which body hashes a replicated log names already: a repeated one is refused
//! (PROTOCOL.md). Eight bytes an entry in memory, filled from the log when it
//! is first needed. A fingerprint is keyed by a secret of the process, so that
//! an author cannot aim at collisions; one that matches is looked up exactly.

use std::hash::{BuildHasher, RandomState};

use crate::ids::Digest;

/// Fingerprints that are gathered before they are merged with the many.
const RECENT_MAX: usize = 32 * 1024;

/// The fingerprints of one log's body hashes.
#[derive(Debug, Default)]
pub(super) struct SeenBodies {
    key: RandomState,
    many: Vec<u64>,
    recent: Vec<u64>,
}

impl SeenBodies {
    /// The sorted fingerprints of `bodies`.
    pub(super) fn fingerprints(&self, bodies: &[Digest]) -> Vec<u64> {
        let mut fresh: Vec<u64> = bodies.iter().map(|d| self.key.hash_one(d)).collect();
        fresh.sort_unstable();
        fresh
    }

    /// Says whether one of `fresh`, which is sorted, is known or comes twice.
    pub(super) fn may_repeat(&self, fresh: &[u64]) -> bool {
        fresh.windows(2).any(|pair| pair[0] == pair[1])
            || fresh
                .iter()
                .any(|f| self.recent.binary_search(f).is_ok() || self.many.binary_search(f).is_ok())
    }

    /// Adds `fresh`, which is sorted.
    pub(super) fn add(&mut self, fresh: &[u64]) {
        merge(&mut self.recent, fresh);
        if self.recent.len() > RECENT_MAX || self.many.is_empty() {
            let recent = std::mem::take(&mut self.recent);
            merge(&mut self.many, &recent);
        }
    }
}

fn merge(into: &mut Vec<u64>, more: &[u64]) {
    let mut merged = Vec::with_capacity(into.len() + more.len());
    let (mut a, mut b) = (into.iter().peekable(), more.iter().peekable());
    while let (Some(x), Some(y)) = (a.peek(), b.peek()) {
        let next = if x <= y { a.next() } else { b.next() };
        merged.extend(next);
    }
    merged.extend(a);
    merged.extend(b);
    *into = merged;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digests(range: std::ops::Range<u64>) -> Vec<Digest> {
        range.map(|n| Digest::of(&n.to_be_bytes())).collect()
    }

    #[test]
    fn a_hash_repeats_within_a_chunk_and_across_chunks_and_merges() {
        let mut seen = SeenBodies::default();
        for start in (0..100_000).step_by(5_000) {
            let fresh = seen.fingerprints(&digests(start..start + 5_000));
            assert!(!seen.may_repeat(&fresh), "all of them are new");
            seen.add(&fresh);
        }
        for at in [0, 4_999, 50_000, 99_999] {
            assert!(
                seen.may_repeat(&seen.fingerprints(&digests(at..at + 1))),
                "{at} is known"
            );
        }
        let twice = [digests(200_000..200_001), digests(200_000..200_001)].concat();
        assert!(seen.may_repeat(&seen.fingerprints(&twice)));
        assert!(!seen.may_repeat(&seen.fingerprints(&digests(200_000..200_100))));
    }
}
