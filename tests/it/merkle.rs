//! Trees and proofs against vectors of others and a naive reference.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use casegate::ids::{Digest, LogIndex, TreeSize};
use casegate::merkle::{
    Frontier, MerkleError, Nodes, TILE_WIDTH, TileNodes, append_tiles, consistency_proof,
    empty_root, inclusion_proof, leaf_hash, node_hash, verify_consistency, verify_inclusion,
};
use proptest::prelude::*;
use serde_json::Value;

use crate::signatures::{field, json, vectors};

/// The definitions of RFC 6962 section 2.1, word by word.
fn naive_root(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => empty_root(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(naive_split(leaves.len()));
            node_hash(&naive_root(left), &naive_root(right))
        }
    }
}

fn naive_split(count: usize) -> usize {
    let mut k = 1;
    while k * 2 < count {
        k *= 2;
    }
    k
}

fn naive_path(at: usize, leaves: &[Digest]) -> Vec<Digest> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(naive_split(leaves.len()));
    if at < left.len() {
        [naive_path(at, left), vec![naive_root(right)]].concat()
    } else {
        [naive_path(at - left.len(), right), vec![naive_root(left)]].concat()
    }
}

fn naive_subproof(from: usize, leaves: &[Digest], known: bool) -> Vec<Digest> {
    if from == leaves.len() {
        return if known {
            Vec::new()
        } else {
            vec![naive_root(leaves)]
        };
    }
    let (left, right) = leaves.split_at(naive_split(leaves.len()));
    if from <= left.len() {
        [naive_subproof(from, left, known), vec![naive_root(right)]].concat()
    } else {
        [
            naive_subproof(from - left.len(), right, false),
            vec![naive_root(left)],
        ]
        .concat()
    }
}

fn leaves(count: usize) -> Vec<Digest> {
    (0..count).map(|n| leaf_hash(&n.to_be_bytes())).collect()
}

fn number(count: usize) -> u64 {
    count.try_into().expect("a usize is a u64")
}

fn size(count: usize) -> TreeSize {
    TreeSize(number(count))
}

/// Tiles as a log would store them.
#[derive(Default)]
struct Tiles(BTreeMap<(u8, u64), Vec<Digest>>);

impl Tiles {
    fn read(&self, level: u8, tile: u64) -> Result<Vec<Digest>, MerkleError> {
        let missing = MerkleError::Malformed {
            what: "missing tile",
        };
        self.0.get(&(level, tile)).cloned().ok_or(missing)
    }

    fn append(&mut self, held: usize, new: &[Digest]) {
        let updates = append_tiles(size(held), |level, tile| self.read(level, tile), new);
        for update in updates.expect("tiles") {
            self.0.insert((update.level, update.tile), update.hashes);
        }
    }

    /// Every tile, appended in steps of `step`.
    fn of(leaves: &[Digest], step: usize) -> Self {
        let mut tiles = Self::default();
        for (n, chunk) in leaves.chunks(step).enumerate() {
            tiles.append(n * step, chunk);
        }
        tiles
    }
}

fn proofs_agree(nodes: &impl Nodes<Error = MerkleError>, leaves: &[Digest], at: usize) {
    let root = naive_root(leaves);
    let index = LogIndex(number(at));
    let proof = inclusion_proof(nodes, index, size(leaves.len())).expect("hashes");
    assert_eq!(proof, naive_path(at, leaves));
    let verdict = verify_inclusion(&leaves[at], index, size(leaves.len()), &proof, &root);
    assert_eq!(verdict, Ok(()));

    let from = at + 1;
    let proof = consistency_proof(nodes, size(from), size(leaves.len())).expect("hashes");
    assert_eq!(proof, naive_subproof(from, leaves, true));
    let old = naive_root(&leaves[..from]);
    let verdict = verify_consistency(size(from), &old, size(leaves.len()), &root, &proof);
    assert_eq!(verdict, Ok(()));
}

#[test]
fn every_proof_of_every_small_tree_is_that_of_the_definition() {
    let all = leaves(70);
    for count in 1..=all.len() {
        let leaves = &all[..count];
        let tiles = Tiles::of(leaves, 7);
        let nodes = TileNodes(|level, tile| tiles.read(level, tile));
        for at in 0..count {
            proofs_agree(&nodes, leaves, at);
        }
    }
}

/// A log that rewrote its past keeps the new root and lies about the old one.
#[test]
fn a_proof_holds_for_its_two_roots_and_sizes_only() {
    let all = leaves(40);
    for to in 2..=all.len() {
        let root = naive_root(&all[..to]);
        for from in 1..to {
            let old = naive_root(&all[..from]);
            let proof = naive_subproof(from, &all[..to], true);
            let check = |from: usize, old: &Digest, to: usize, new: &Digest| {
                verify_consistency(size(from), old, size(to), new, &proof)
            };
            assert_eq!(check(from, &old, to, &root), Ok(()));
            let wrong = Err(MerkleError::RootMismatch);
            assert_eq!(
                check(from, &root, to, &root),
                wrong,
                "old root, {from} to {to}"
            );
            assert_eq!(
                check(from, &old, to, &old),
                wrong,
                "new root, {from} to {to}"
            );
            assert!(
                check(to, &old, from, &root).is_err(),
                "swapped, {from} to {to}"
            );
            assert!(
                check(from, &root, to, &old).is_err(),
                "swapped roots, {from} to {to}"
            );
        }
    }
}

#[test]
fn proofs_reach_across_levels_of_tiles() {
    let leaves = leaves(66_000);
    let tiles = Tiles::of(&leaves, 1_021);
    let nodes = TileNodes(|level, tile| tiles.read(level, tile));
    assert_eq!(tiles.0.keys().map(|(level, _)| *level).max(), Some(2));
    for at in [0, 255, 256, 257, 65_279, 65_535, 65_536, 65_999] {
        proofs_agree(&nodes, &leaves, at);
    }
    let mut frontier = Frontier::new();
    frontier.extend(leaves.iter().copied());
    assert_eq!(frontier.root(), naive_root(&leaves));
}

#[test]
fn tiles_do_not_depend_on_how_the_leaves_came() {
    let leaves = leaves(1_100);
    let at_once = Tiles::of(&leaves, 1_100);
    for step in [1, 255, 256, 257, 600] {
        assert_eq!(Tiles::of(&leaves, step).0, at_once.0, "steps of {step}");
    }
    assert!(
        at_once
            .0
            .values()
            .all(|hashes| number(hashes.len()) <= TILE_WIDTH)
    );
    let none = append_tiles(TreeSize(5), |_, _| Err(MerkleError::RootMismatch), &[]);
    assert_eq!(none, Ok(Vec::new()));
}

#[test]
fn a_stored_tile_of_the_wrong_length_is_refused() {
    let leaves = leaves(10);
    for held in [0, 8, 10, 256] {
        let read = |_, _| Ok(vec![leaves[0]; held]);
        let got = append_tiles(TreeSize(9), read, &leaves[..1]);
        assert_eq!(got, Err(MerkleError::Malformed { what: "tile" }));
    }
    let short = TileNodes(|_, _| Ok::<_, MerkleError>(leaves.clone()));
    assert!(short.node(0, 9).is_ok());
    assert!(short.node(0, 10).is_err());
    assert!(short.node(3, 1).is_err());
    assert!(short.node(63, u64::MAX).is_err());
}

#[test]
fn proofs_outside_the_tree_are_empty_and_prove_nothing() {
    let nodes = TileNodes(|_, _| Err(MerkleError::RootMismatch));
    let proof = inclusion_proof(&nodes, LogIndex(3), TreeSize(3)).expect("no hash is read");
    assert!(proof.is_empty());
    let leaf = leaf_hash(b"");
    for (index, size) in [(3, 3), (0, 0), (u64::MAX, 1), (u64::MAX, u64::MAX)] {
        let verdict = verify_inclusion(&leaf, LogIndex(index), TreeSize(size), &proof, &leaf);
        assert!(matches!(verdict, Err(MerkleError::Index { .. })));
    }
    for (from, to) in [(0, 4), (4, 4), (5, 4)] {
        assert_eq!(
            consistency_proof(&nodes, TreeSize(from), TreeSize(to)),
            Ok(Vec::new())
        );
    }
}

#[test]
fn the_empty_tree_is_a_prefix_of_every_tree_and_only_as_itself() {
    let (empty, root) = (empty_root(), leaf_hash(b"x"));
    let check = |from_root, to, to_root, proof: &[Digest]| {
        verify_consistency(TreeSize(0), from_root, TreeSize(to), to_root, proof)
    };
    assert_eq!(check(&empty, 0, &empty, &[]), Ok(()));
    assert_eq!(check(&empty, 9, &root, &[]), Ok(()));
    assert!(check(&root, 9, &root, &[]).is_err());
    assert!(check(&root, 0, &root, &[]).is_err());
    assert!(check(&empty, 0, &root, &[]).is_err());
    assert!(check(&empty, 9, &root, &[root]).is_err());
}

#[test]
fn a_frontier_that_does_not_fit_its_size_is_refused() {
    let mut frontier = Frontier::new();
    assert_eq!(frontier.root(), empty_root());
    frontier.extend(leaves(11));
    let bytes = frontier.encode();
    assert_eq!(Frontier::decode(&bytes), Ok(frontier));
    let mut other_size = bytes.clone();
    other_size[7] += 1;
    let huge = [&u64::MAX.to_be_bytes()[..], &[0; 32 * 64]].concat();
    for bad in [
        &bytes[..bytes.len() - 1],
        &bytes[..40],
        &other_size,
        &huge,
        &[],
        &[0; 7],
    ] {
        assert!(Frontier::decode(bad).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_frontier_and_tiles_give_the_root_and_proofs_of_the_definition(
        count in 1..1_500usize, at in any::<prop::sample::Index>(), step in 1..400usize,
    ) {
        let leaves = leaves(count);
        let mut frontier = Frontier::new();
        frontier.extend(leaves.iter().copied());
        prop_assert_eq!(frontier.root(), naive_root(&leaves));
        prop_assert_eq!(frontier.size(), size(count));
        prop_assert_eq!(Frontier::decode(&frontier.encode()), Ok(frontier));
        let tiles = Tiles::of(&leaves, step);
        let nodes = TileNodes(|level, tile| tiles.read(level, tile));
        proofs_agree(&nodes, &leaves, at.index(count));
    }

    #[test]
    fn no_bit_of_a_proof_can_change(
        count in 2..300usize, at in any::<prop::sample::Index>(),
        which in any::<prop::sample::Index>(), bit in 0..256usize,
    ) {
        let leaves = leaves(count);
        let root = naive_root(&leaves);
        let at = at.index(count - 1);
        let flip = |proof: &[Digest]| {
            let mut proof = proof.to_vec();
            let which = which.index(proof.len());
            proof[which].0[bit / 8] ^= 1 << (bit % 8);
            proof
        };
        let index = LogIndex(number(at));
        let bad = flip(&naive_path(at, &leaves));
        prop_assert!(verify_inclusion(&leaves[at], index, size(count), &bad, &root).is_err());
        let bad = flip(&naive_subproof(at + 1, &leaves, true));
        let old = naive_root(&leaves[..=at]);
        prop_assert!(verify_consistency(size(at + 1), &old, size(count), &root, &bad).is_err());
    }

    #[test]
    fn any_claim_about_any_size_is_answered(
        index: u64, from: u64, to: u64, length in 0..130usize,
    ) {
        let proof = vec![Digest([7; 32]); length];
        let root = Digest([9; 32]);
        let included = verify_inclusion(&root, LogIndex(index), TreeSize(to), &proof, &root);
        prop_assert!(included.is_err() || to == 1);
        let extends = verify_consistency(TreeSize(from), &root, TreeSize(to), &root, &proof);
        prop_assert!(extends.is_err() || from == to);
    }
}

/// All JSON files below a directory.
fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else if path.extension().is_some_and(|ext| ext == "json") {
            files.push(path);
        }
    }
    files
}

/// A digest of a vector, or `None` where the vector has another length.
fn digest(text: &str) -> Option<Digest> {
    Digest::from_slice(&STANDARD.decode(text).expect("base64")).ok()
}

/// The proof of a vector, or `None` where a hash has another length.
fn proof(list: &Value) -> Option<Vec<Digest>> {
    let list = list.as_array().into_iter().flatten();
    list.map(|hash| digest(hash.as_str().expect("a string")))
        .collect()
}

fn int(value: &Value, name: &str) -> u64 {
    value[name].as_u64().expect(name)
}

/// Says whether a vector's inclusion holds; `start` is that of its subtree.
fn inclusion_holds(case: &Value, start: u64, end: u64) -> bool {
    let (Some(root), Some(leaf), Some(proof)) = (
        digest(field(case, "root")),
        digest(field(case, "leafHash")),
        proof(&case["proof"]),
    ) else {
        return false;
    };
    let Some(index) = int(case, "leafIdx").checked_sub(start) else {
        return false;
    };
    let size = TreeSize(end.saturating_sub(start));
    verify_inclusion(&leaf, LogIndex(index), size, &proof, &root).is_ok()
}

fn consistency_holds(case: &Value, from: u64, to: u64) -> bool {
    // Where the sizes are equal, some roots are a few letters that only have to
    // be the same; their hashes are too.
    let root = |name| match digest(field(case, name)) {
        None if from == to => Some(Digest::of(field(case, name).as_bytes())),
        root => root,
    };
    let (Some(old), Some(new), Some(proof)) = (root("root1"), root("root2"), proof(&case["proof"]))
    else {
        return false;
    };
    verify_consistency(TreeSize(from), &old, TreeSize(to), &new, &proof).is_ok()
}

/// Runs all vectors of a directory that `holds` applies to; returns how many.
fn run(dir: &str, holds: impl Fn(&Value) -> Option<bool>) -> usize {
    let Some(root) = vectors(&format!("merkle-rfc6962/{dir}")) else {
        return 0;
    };
    let mut checked = 0;
    for file in files_below(&root) {
        let case = json(&file);
        if let Some(got) = holds(&case) {
            let want = !case["wantErr"].as_bool().expect("wantErr");
            assert_eq!(got, want, "{}: {}", file.display(), case["desc"]);
            checked += 1;
        }
    }
    checked
}

#[test]
fn inclusion_vectors_get_their_verdicts() {
    let checked = run("inclusion", |case| {
        Some(inclusion_holds(case, 0, int(case, "treeSize")))
    });
    assert!(checked == 98 || checked == 0);
}

#[test]
fn consistency_vectors_get_their_verdicts() {
    let checked = run("consistency", |case| {
        Some(consistency_holds(
            case,
            int(case, "size1"),
            int(case, "size2"),
        ))
    });
    assert!(checked == 98 || checked == 0);
}

/// A subtree that starts at 0 and is not empty is a tree; others are no part of
/// casegate.
#[test]
fn subtree_vectors_that_are_about_whole_trees_get_their_verdicts() {
    let included = run("subtreeinclusion", |case| {
        (int(case, "start") == 0).then(|| inclusion_holds(case, 0, int(case, "end")))
    });
    let extended = run("subtreeconsistency", |case| {
        (int(case, "start") == 0 && int(case, "end") > 0)
            .then(|| consistency_holds(case, int(case, "end"), int(case, "size")))
    });
    assert!((included > 0) == (extended > 0));
}

#[test]
fn inclusion_proofs_of_the_sigsum_library_get_their_verdicts() {
    for (name, want) in [("inclusion-valid", true), ("inclusion-invalid", false)] {
        let Some(path) = vectors(&format!("sigsum-crate/{name}.json")) else {
            return;
        };
        for case in json(&path).as_array().expect("an array") {
            let verdict = verify_inclusion(
                &digest(field(case, "leaf_hash")).expect("a digest"),
                LogIndex(int(case, "leaf_index")),
                TreeSize(int(case, "tree_size")),
                &proof(&case["inclusion_path"]).expect("digests"),
                &digest(field(case, "root_hash")).expect("a digest"),
            );
            assert_eq!(verdict.is_ok(), want, "{case}");
        }
    }
}

/// A proof that a running public log gave out, at size 381,382.
#[test]
fn a_proof_of_a_running_log_holds() {
    let Some(path) = vectors("sigsum-crate/hello-sigsum.proof") else {
        return;
    };
    let text = std::fs::read_to_string(&path).expect("a file");
    let message = std::fs::read(path.with_extension("msg")).expect("a file");
    let value = |name: &'static str| text.lines().filter_map(move |line| line.strip_prefix(name));
    let one = |name| value(name).next().expect("a line").to_owned();
    let bytes = |hex: &str| hex::decode(hex).expect("hex");
    let leaf = one("leaf=");
    let (key_hash, signature) = leaf.split_once(' ').expect("two words");
    let checksum = Digest::of(&Digest::of(&message).0);
    let leaf = [&checksum.0[..], &bytes(signature), &bytes(key_hash)].concat();
    let proof: Vec<Digest> = value("node_hash=")
        .map(|hash| Digest::from_slice(&bytes(hash)).expect("a digest"))
        .collect();
    let verify = |leaf: &[u8]| {
        verify_inclusion(
            &leaf_hash(leaf),
            LogIndex(one("leaf_index=").parse().expect("a number")),
            TreeSize(one("size=").parse().expect("a number")),
            &proof,
            &Digest::from_slice(&bytes(&one("root_hash="))).expect("a digest"),
        )
    };
    assert_eq!(verify(&leaf), Ok(()));
    assert!(verify(&leaf[1..]).is_err());
}
