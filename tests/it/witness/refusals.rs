//! What a witness cosigns and what it refuses, asked without a network.

use std::sync::{Arc, Barrier};

use arc_swap::ArcSwap;
use bytes::Bytes;
use casegate::blame::Blamed;
use casegate::checkpoint::{Checkpoint, SignedNote, contradicts, open_cosignature, witness_name};
use casegate::ids::{Digest, LogName, Origin, TreeSize};
use casegate::ledger::Ledger;
use casegate::merkle::{Frontier, Nodes, consistency_proof, leaf_hash, node_hash};
use casegate::store::Table;
use casegate::wire::v1::{AddCheckpointRequest, AddCheckpointResponse, EvidencePair};
use casegate::witness::{Witness, WitnessError};

use crate::cluster::{NOW, id};
use crate::tamper::{Ledgers, federation, origin};

/// The leaves of some log; two with one prefix and other words fork there.
pub(super) struct Tree(Vec<Digest>);

impl Nodes for Tree {
    type Error = std::convert::Infallible;

    fn node(&self, level: u8, index: u64) -> Result<Digest, Self::Error> {
        Ok(match level {
            0 => self.0[usize::try_from(index).expect("small")],
            _ => node_hash(
                &self.node(level - 1, 2 * index)?,
                &self.node(level - 1, 2 * index + 1)?,
            ),
        })
    }
}

impl Tree {
    /// A log of 40 entries that reads `word` from entry `from` on.
    fn new(word: &str, from: usize) -> Self {
        let text = |n: usize| {
            if n < from {
                format!("same {n}")
            } else {
                format!("{word} {n}")
            }
        };
        Self((0..40).map(|n| leaf_hash(text(n).as_bytes())).collect())
    }

    fn at(&self, origin: &Origin, size: usize) -> Checkpoint {
        let mut frontier = Frontier::new();
        self.0
            .iter()
            .take(size)
            .for_each(|leaf| frontier.append(*leaf));
        Checkpoint {
            origin: origin.clone(),
            size: frontier.size(),
            root: frontier.root(),
        }
    }

    fn proof(&self, from: u64, to: u64) -> Vec<Digest> {
        consistency_proof(self, TreeSize(from), TreeSize(to)).expect("in memory")
    }
}

fn bytes(hash: &Digest) -> Bytes {
    Bytes::copy_from_slice(&hash.0)
}

/// Ledgers of hefei and wuhu, and of anqing, who witnesses hefei only.
struct Bench {
    ledgers: Ledgers,
    ledger: Ledger,
    witness: Witness,
}

impl Bench {
    fn new() -> Self {
        let ledgers = Ledgers::of(&[("hefei", &["anqing"]), ("wuhu", &[]), ("anqing", &[])]);
        let (ledger, witness) = open(&ledgers);
        Self {
            ledgers,
            ledger,
            witness,
        }
    }

    /// Stops the witness's node and starts it again.
    fn restart(self) -> Self {
        let Self {
            ledgers,
            ledger,
            witness,
        } = self;
        drop((ledger, witness));
        let (ledger, witness) = open(&ledgers);
        Self {
            ledgers,
            ledger,
            witness,
        }
    }

    fn note(&self, checkpoint: &Checkpoint) -> Bytes {
        let key = self
            .ledgers
            .keys(checkpoint.origin.member.as_str())
            .checkpoint;
        checkpoint.sign(&key).into_bytes().into()
    }

    /// What hefei sends when its log is `tree`, and it thinks that the witness
    /// saw `from` of it.
    fn request(&self, tree: &Tree, origin: &Origin, from: u64, to: u64) -> AddCheckpointRequest {
        let size = |n: u64| usize::try_from(n).expect("small");
        AddCheckpointRequest {
            old_size: from,
            consistency: tree.proof(from, to).iter().map(bytes).collect(),
            checkpoint: self.note(&tree.at(origin, size(to))),
            old_root: bytes(&tree.at(origin, size(from)).root),
        }
    }

    fn offer(
        &self,
        tree: &Tree,
        from: u64,
        to: u64,
    ) -> Result<AddCheckpointResponse, WitnessError> {
        let request = self.request(tree, &origin("hefei"), from, to);
        self.witness.add_checkpoint(&id("hefei"), &request)
    }

    fn refused(&self, request: &AddCheckpointRequest) -> &'static str {
        let answer = self.witness.add_checkpoint(&id("hefei"), request);
        answer.expect_err("it is refused").code()
    }

    fn evidence(&self) -> Vec<EvidencePair> {
        self.ledger.evidence().all().expect("evidence")
    }

    /// The time of the cosignature in an answer, which must hold.
    fn time(&self, tree: &Tree, size: usize, answer: &AddCheckpointResponse) -> i64 {
        let note = self.note(&tree.at(&origin("hefei"), size));
        let whole = [&note[..], &answer.cosignatures[..]].concat();
        let whole = SignedNote::parse(&whole).expect("a note");
        let key = self.ledgers.keys("anqing").witness;
        let name = witness_name(&federation(), &id("anqing"));
        let found = open_cosignature(&whole, &name, key.public_key());
        found.expect("it holds").expect("it is there").time
    }
}

fn open(ledgers: &Ledgers) -> (Ledger, Witness) {
    let ledger = ledgers.open("anqing");
    let roster = Arc::new(ArcSwap::from(Arc::clone(ledgers.dev.chain.newest())));
    let witness = Witness::open(ledger.clone(), roster).expect("a witness");
    (ledger, witness)
}

#[test]
fn a_witness_cosigns_what_extends_and_says_what_it_saw_when_the_caller_is_wrong() {
    let bench = Bench::new();
    let tree = Tree::new("a", 0);
    let first = bench.offer(&tree, 0, 5).expect("cosigned");
    assert_eq!(bench.time(&tree, 5, &first), NOW);
    for wrong in [0, 3, 9] {
        let answer = bench.offer(&tree, wrong, 9).expect("an answer");
        assert_eq!(
            (answer.cosignatures.len(), answer.seen_size),
            (0, 5),
            "{wrong}"
        );
    }
    for (from, to) in [(5, 8), (8, 8), (8, 9), (9, 40)] {
        let answer = bench.offer(&tree, from, to).expect("an answer");
        let size = usize::try_from(to).expect("small");
        assert_eq!(bench.time(&tree, size, &answer), NOW, "{from} to {to}");
    }
    assert!(bench.evidence().is_empty());
}

#[test]
fn a_smaller_or_replayed_checkpoint_gets_no_cosignature() {
    let bench = Bench::new();
    let tree = Tree::new("a", 0);
    bench.offer(&tree, 0, 9).expect("cosigned");
    let smaller = AddCheckpointRequest {
        old_size: 9,
        consistency: vec![],
        ..bench.request(&tree, &origin("hefei"), 5, 5)
    };
    assert_eq!(bench.refused(&smaller), "witness.smaller");
    // The very request that was answered once, by somebody who kept it.
    let replayed = bench.offer(&tree, 0, 5).expect("an answer");
    assert_eq!((replayed.cosignatures.len(), replayed.seen_size), (0, 9));
    assert!(bench.evidence().is_empty(), "an old checkpoint is no crime");
}

#[test]
fn every_refusal_has_its_code_and_leaves_nothing_behind() {
    let bench = Bench::new();
    let tree = Tree::new("a", 0);
    let good = bench.request(&tree, &origin("hefei"), 0, 5);
    let offer = |checkpoint: Bytes| AddCheckpointRequest {
        checkpoint,
        ..good.clone()
    };
    let named = |origin: &Origin| tree.at(origin, 5);
    let second = Origin {
        generation: 2,
        ..origin("hefei")
    };
    let elsewhere = Origin {
        federation: casegate::ids::FederationId::new("other.example").expect("a name"),
        ..origin("hefei")
    };
    let hefei = bench.ledgers.keys("hefei");
    let signed = |origin: &Origin| Bytes::from(named(origin).sign(&hefei.checkpoint));
    let text = String::from_utf8(good.checkpoint.to_vec()).expect("text");
    let hashes = |count: usize, length: usize| AddCheckpointRequest {
        consistency: vec![Bytes::from(vec![1; length]); count],
        ..good.clone()
    };
    let rootless = Checkpoint {
        root: Digest([1; 32]),
        ..tree.at(&origin("hefei"), 0)
    };
    for (request, code) in [
        (offer(signed(&origin("wuhu"))), "witness.not_own_log"),
        (offer(signed(&elsewhere)), "witness.not_own_log"),
        (offer(signed(&second)), "witness.other_generation"),
        (
            offer(named(&origin("hefei")).sign(&hefei.records).into()),
            "checkpoint.not_signed",
        ),
        (
            offer(text.replacen("\n5\n", "\n6\n", 1).into()),
            "checkpoint.bad_signature",
        ),
        (
            offer(text.replacen("\n5\n", "\n05\n", 1).into()),
            "checkpoint.malformed",
        ),
        (
            offer(Bytes::from_static(b"hello\n")),
            "checkpoint.malformed_note",
        ),
        (offer(vec![b'x'; 4_097].into()), "witness.too_big"),
        (hashes(129, 32), "witness.too_big"),
        (hashes(1, 31), "witness.malformed"),
        (hashes(1, 32), "witness.proof"),
        (offer(bench.note(&rootless)), "witness.proof"),
    ] {
        assert_eq!(bench.refused(&request), code, "{request:?}");
    }
    // Members to whom the roster does not assign this witness, and itself.
    for name in ["wuhu", "anqing"] {
        let request = bench.request(&tree, &origin(name), 0, 5);
        let answer = bench.witness.add_checkpoint(&id(name), &request);
        assert_eq!(answer.expect_err("refused").code(), "witness.not_assigned");
    }
    let stranger = bench.witness.add_checkpoint(&id("fuyang"), &good);
    assert_eq!(stranger.expect_err("refused").code(), "witness.not_own_log");
    let kept = bench
        .ledger
        .store()
        .scan(Table::Cosigned, b"")
        .expect("readable");
    assert!(kept.is_empty() && bench.evidence().is_empty());
    assert!(
        bench.offer(&tree, 0, 5).is_ok(),
        "the good one is still taken"
    );
}

#[test]
fn a_wrong_proof_is_refused_and_proves_nothing_against_the_log() {
    let bench = Bench::new();
    let tree = Tree::new("a", 0);
    bench.offer(&tree, 0, 5).expect("cosigned");
    let good = bench.request(&tree, &origin("hefei"), 5, 9);
    for at in 0..good.consistency.len() {
        let mut bad = good.clone();
        let mut hash = bad.consistency[at].to_vec();
        hash[7] ^= 1;
        bad.consistency[at] = hash.into();
        assert_eq!(bench.refused(&bad), "witness.proof");
        bad.consistency.remove(at);
        assert_eq!(bench.refused(&bad), "witness.proof");
    }
    // A false root of its own without a proof that holds from it.
    let mut bad = good.clone();
    bad.old_root = Bytes::from(vec![9; 32]);
    bad.consistency.reverse();
    assert_eq!(bench.refused(&bad), "witness.proof");
    assert!(bench.evidence().is_empty());
    assert!(bench.witness.add_checkpoint(&id("hefei"), &good).is_ok());
}

#[test]
fn two_roots_of_one_size_are_evidence_and_end_the_cosigning_also_after_a_restart() {
    let bench = Bench::new();
    let (tree, other) = (Tree::new("a", 3), Tree::new("b", 3));
    bench.offer(&tree, 0, 5).expect("cosigned");
    // Whatever size the caller says that the witness saw.
    let refused = bench.offer(&other, 0, 5).expect_err("refused");
    assert_eq!(refused.code(), "witness.conflict");
    let bench = bench.restart();
    let evidence = bench.evidence();
    assert_eq!(evidence.len(), 1);
    let pair = &evidence[0];
    assert_eq!(pair.first, bench.note(&tree.at(&origin("hefei"), 5)));
    assert_eq!(pair.second, bench.note(&other.at(&origin("hefei"), 5)));
    assert_eq!((pair.source.as_str(), pair.consistency.len()), ("hefei", 0));
    for tree in [&tree, &other] {
        let refused = bench.offer(tree, 5, 9).expect_err("refused");
        assert_eq!(refused.code(), "witness.forked");
    }
    // The member's other log is another log.
    let access = Origin {
        log: LogName::Access,
        ..origin("hefei")
    };
    let request = bench.request(&tree, &access, 0, 5);
    assert!(bench.witness.add_checkpoint(&id("hefei"), &request).is_ok());
}

#[test]
fn a_larger_checkpoint_of_another_history_is_evidence_when_its_proof_says_so() {
    // Sizes whose old root is, and is not, a part of the proof.
    for (from, to) in [(5, 9), (8, 12), (4, 40), (7, 8)] {
        let bench = Bench::new();
        let (tree, other) = (Tree::new("a", 3), Tree::new("b", 3));
        bench.offer(&tree, 0, from).expect("cosigned");
        let mut request = bench.request(&other, &origin("hefei"), from, to);
        let old_root = std::mem::take(&mut request.old_root);
        assert_eq!(bench.refused(&request), "witness.proof", "{from} to {to}");
        assert!(bench.evidence().is_empty());
        request.old_root = old_root.clone();
        assert_eq!(
            bench.refused(&request),
            "witness.conflict",
            "{from} to {to}"
        );
        let evidence = bench.evidence();
        assert_eq!(evidence.len(), 1);
        let shown = [&[old_root][..], &request.consistency[..]].concat();
        assert_eq!(evidence[0].consistency, shown);
        let hashes: Vec<_> = shown
            .iter()
            .map(|h| Digest::from_slice(h).expect("32"))
            .collect();
        let size = |n| usize::try_from(n).expect("small");
        let first = tree.at(&origin("hefei"), size(from));
        let second = other.at(&origin("hefei"), size(to));
        assert_eq!(contradicts(&first, &second, &hashes), Ok(true));
    }
}

#[test]
fn a_restarted_witness_remembers_what_it_cosigned() {
    let bench = Bench::new();
    let (tree, other) = (Tree::new("a", 0), Tree::new("b", 0));
    bench.offer(&tree, 0, 9).expect("cosigned");
    let bench = bench.restart();
    let answer = bench.offer(&tree, 0, 12).expect("an answer");
    assert_eq!((answer.cosignatures.len(), answer.seen_size), (0, 9));
    let refused = bench.offer(&other, 9, 12).expect_err("refused");
    assert_eq!(refused.code(), "witness.conflict");
}

#[test]
fn a_cosignature_is_never_older_than_one_before_it() {
    let bench = Bench::new();
    let tree = Tree::new("a", 0);
    bench.offer(&tree, 0, 5).expect("cosigned");
    bench.ledgers.clock.advance(-86_400);
    let answer = bench.offer(&tree, 5, 9).expect("cosigned");
    assert_eq!(bench.time(&tree, 9, &answer), NOW);
    let bench = bench.restart();
    let answer = bench.offer(&tree, 9, 12).expect("cosigned");
    assert_eq!(bench.time(&tree, 12, &answer), NOW, "after a restart too");
    bench.ledgers.clock.advance(86_401);
    let answer = bench.offer(&tree, 12, 13).expect("cosigned");
    assert_eq!(bench.time(&tree, 13, &answer), NOW + 1);
}

/// One hundred times two checkpoints of one size come at the same moment.
#[test]
fn of_two_checkpoints_of_one_size_offered_at_once_exactly_one_is_cosigned() {
    let names: Vec<String> = (0..50).map(|n| format!("bureau{n}")).collect();
    let mut members: Vec<(&str, &[&str])> = vec![("anqing", &[])];
    members.extend(names.iter().map(|name| (name.as_str(), &["anqing"][..])));
    let ledgers = Ledgers::of(&members);
    let (ledger, witness) = open(&ledgers);
    let bench = Bench {
        ledgers,
        ledger,
        witness,
    };
    let trees = [Tree::new("a", 3), Tree::new("b", 3)];
    for (round, name) in names.iter().flat_map(|name| [name, name]).enumerate() {
        let log = [LogName::Records, LogName::Access][round % 2];
        let origin = Origin {
            log,
            ..origin(name)
        };
        let start = Barrier::new(2);
        let answers: Vec<_> = std::thread::scope(|scope| {
            let ask = |tree| {
                let request = bench.request(tree, &origin, 0, 5);
                let (start, bench) = (&start, &bench);
                scope.spawn(move || {
                    start.wait();
                    bench.witness.add_checkpoint(&id(name), &request)
                })
            };
            let asked: Vec<_> = trees.iter().map(ask).collect();
            asked
                .into_iter()
                .map(|t| t.join().expect("an answer"))
                .collect()
        });
        let cosigned = |a: &Result<AddCheckpointResponse, WitnessError>| {
            a.as_ref().is_ok_and(|a| !a.cosignatures.is_empty())
        };
        assert_eq!(
            answers.iter().filter(|a| cosigned(a)).count(),
            1,
            "round {round}"
        );
        let refused: Vec<_> = answers.iter().filter_map(|a| a.as_ref().err()).collect();
        assert_eq!(refused.len(), 1, "round {round}");
        assert_eq!(refused[0].code(), "witness.conflict", "round {round}");
        assert_eq!(bench.evidence().len(), round + 1);
    }
}
