//! Whether two checkpoints of one log can both be true: what makes a pair of
//! signed notes evidence against the log's owner, and against nobody else.

use super::Checkpoint;
use crate::ids::Digest;
use crate::merkle::{MerkleError, verify_consistency};

/// Says whether two checkpoints contradict each other: they are of one log and
/// of one size with different roots, or the larger one extends another tree
/// than the smaller one's. In the second case `shown` begins with the root that
/// the larger one's tree had at the smaller one's size, and goes on with the
/// consistency proof from there (RFC 6962 section 2.1.2).
///
/// # Errors
/// [`MerkleError`] when `shown` does not lead to the larger one's root: then
/// it proves nothing about the log, only something about who gave it.
pub fn contradicts(
    one: &Checkpoint,
    other: &Checkpoint,
    shown: &[Digest],
) -> Result<bool, MerkleError> {
    if one.origin != other.origin {
        return Ok(false);
    }
    if one.size == other.size {
        return Ok(one.root != other.root);
    }
    let (small, large) = if one.size < other.size {
        (one, other)
    } else {
        (other, one)
    };
    let Some((root, proof)) = shown.split_first() else {
        return Err(MerkleError::ProofLength { want: 1, got: 0 });
    };
    verify_consistency(small.size, root, large.size, &large.root, proof)?;
    Ok(*root != small.root)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{FederationId, LogName, MemberId, Origin, TreeSize};
    use crate::merkle::{Frontier, Nodes, consistency_proof, leaf_hash, node_hash, root_at};

    /// A tree whose leaves from `parted` on are another member's lie.
    struct Tree(Vec<Digest>);

    impl Tree {
        fn new(size: u64, parted: u64) -> Self {
            let leaf = |at: u64| match at < parted {
                true => leaf_hash(&at.to_be_bytes()),
                false => leaf_hash(&[b'x', u8::try_from(at).expect("small")]),
            };
            Self((0..size).map(leaf).collect())
        }

        fn checkpoint(&self, size: u64) -> Checkpoint {
            let mut frontier = Frontier::new();
            frontier.extend(
                self.0
                    .iter()
                    .copied()
                    .take(usize::try_from(size).expect("small")),
            );
            Checkpoint {
                origin: origin(1),
                size: TreeSize(size),
                root: frontier.root(),
            }
        }

        fn shown(&self, from: u64, to: u64) -> Vec<Digest> {
            let (from, to) = (TreeSize(from), TreeSize(to));
            let mut shown = vec![root_at(self, from).expect("no store")];
            shown.extend(consistency_proof(self, from, to).expect("no store"));
            shown
        }
    }

    impl Nodes for Tree {
        type Error = MerkleError;

        fn node(&self, level: u8, index: u64) -> Result<Digest, MerkleError> {
            if level == 0 {
                let at = usize::try_from(index).expect("small");
                return Ok(self.0[at]);
            }
            let left = self.node(level - 1, index * 2)?;
            Ok(node_hash(&left, &self.node(level - 1, index * 2 + 1)?))
        }
    }

    fn origin(generation: u32) -> Origin {
        Origin {
            federation: FederationId::new("anhui.example").expect("a name"),
            member: MemberId::new("hefei").expect("a name"),
            log: LogName::Records,
            generation,
        }
    }

    #[test]
    fn the_proof_of_another_history_is_told_from_that_of_the_same() {
        for parted in 0..20 {
            let (good, bad) = (Tree::new(20, 20), Tree::new(20, parted));
            for (from, to) in (1..20).flat_map(|from| (from + 1..=20).map(move |to| (from, to))) {
                let (held, newer) = (good.checkpoint(from), bad.checkpoint(to));
                let shown = bad.shown(from, to);
                let parts = parted < from;
                assert_eq!(
                    contradicts(&held, &newer, &shown),
                    Ok(parts),
                    "{parted} {from} {to}"
                );
                assert_eq!(
                    contradicts(&newer, &held, &shown),
                    Ok(parts),
                    "order is no matter"
                );
                for at in 0..shown.len() {
                    let mut lie = shown.clone();
                    lie[at].0[9] ^= 1;
                    assert!(
                        contradicts(&held, &newer, &lie).is_err(),
                        "hash {at} is checked"
                    );
                }
                assert!(contradicts(&held, &newer, &shown[1..]).is_err());
                assert!(contradicts(&held, &newer, &[]).is_err());
            }
        }
    }

    #[test]
    fn one_size_needs_no_proof_and_two_logs_contradict_nothing() {
        let (good, bad) = (Tree::new(9, 9), Tree::new(9, 4));
        assert_eq!(
            contradicts(&good.checkpoint(9), &bad.checkpoint(9), &[]),
            Ok(true)
        );
        assert_eq!(
            contradicts(&good.checkpoint(9), &good.checkpoint(9), &[]),
            Ok(false)
        );
        let mut next = bad.checkpoint(9);
        next.origin = origin(2);
        assert_eq!(contradicts(&good.checkpoint(9), &next, &[]), Ok(false));
    }
}
