//! The threshold OPRF from outside: the RFC's vectors for every subset of
//! custodians, an independent implementation as oracle, and every lie.

use casegate::blame::{Blame, Blamed};
use casegate::oprf::{
    Answer, BATCH_POINTS_MAX, Blinding, Evaluator, KeySet, OprfError, blind_batch, padding,
    verify_and_combine,
};
use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use voprf::{Ristretto255, VoprfServer};

const RFC_KEY: &str = "e6f73f344b79b379f1a0dd37e07ff62e38d9f71345ce62ae3a9bc60b04ccd909";

fn hex32(text: &str) -> [u8; 32] {
    hex::decode(text)
        .expect("hex")
        .try_into()
        .expect("32 bytes")
}

fn scalar(bytes: [u8; 32]) -> Scalar {
    Scalar::from_canonical_bytes(bytes).expect("canonical")
}

/// Shamir shares of `key` on the polynomial key + 7x + 11x^2 + ...
fn deal(key: Scalar, threshold: u16, custodians: u16) -> (KeySet, Vec<Evaluator>) {
    let evaluators: Vec<_> = (1..=custodians)
        .map(|index| {
            let x = Scalar::from(index);
            let mut power = x;
            let mut share = key;
            for degree in 1..threshold {
                share += power * Scalar::from(degree * 4 + 3);
                power *= x;
            }
            Evaluator::new(index, share.as_bytes()).expect("a share")
        })
        .collect();
    let shares: Vec<_> = evaluators
        .iter()
        .map(|e| (e.index(), *e.public_share()))
        .collect();
    let public = RistrettoPoint::mul_base(&key).compress().to_bytes();
    (
        KeySet::new(threshold, 1, &public, &shares).expect("a key set"),
        evaluators,
    )
}

fn subsets(evaluators: &[Evaluator], size: usize) -> Vec<Vec<&Evaluator>> {
    (0u32..1 << evaluators.len())
        .filter(|mask| mask.count_ones() as usize == size)
        .map(|mask| {
            evaluators
                .iter()
                .enumerate()
                .filter(|(i, _)| mask >> i & 1 == 1)
                .map(|p| p.1)
                .collect()
        })
        .collect()
}

fn answer(evaluator: &Evaluator, asked: &[u8]) -> Answer {
    let evaluated = evaluator.evaluate(asked).expect("good points");
    Answer {
        index: evaluator.index(),
        epoch: 1,
        points: evaluated.points,
        proof: evaluated.proof,
    }
}

struct Vector {
    inputs: Vec<Vec<u8>>,
    blinds: Vec<Blinding>,
    blinded: Vec<u8>,
    outputs: Vec<String>,
}

/// RFC 9497 appendix A.1.2, test vectors 1 and 2.
fn typed_vectors() -> Vec<Vector> {
    let blind = "64d37aed22a27f5191de1c1d69fadb899d8862b58eb4220029e036ec4c1f6706";
    [
        (
            "00",
            "863f330cc1a1259ed5a5998a23acfd37fb4351a793a5b3c090b642ddc439b945",
            concat!(
                "b58cfbe118e0cb94d79b5fd6a6dafb98764dff49c14e1770b566e42402da1a7d",
                "a4d8527693914139caee5bd03903af43a491351d23b430948dd50cde10d32b3c"
            ),
        ),
        (
            "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a",
            "cc0b2a350101881d8a4cba4c80241d74fb7dcbfde4a61fde2f91443c2bf9ef0c",
            concat!(
                "8a9a2f3c7f085b65933594309041fc1898d42d0858e59f90814ae90571a6df60",
                "356f4610bf816f27afdd84f47719e480906d27ecd994985890e5f539e7ea74b6"
            ),
        ),
    ]
    .map(|(input, blinded, output)| Vector {
        inputs: vec![hex::decode(input).expect("hex")],
        blinds: vec![Blinding::from_bytes(&hex32(blind)).expect("a blind")],
        blinded: hex::decode(blinded).expect("hex"),
        outputs: vec![output.to_owned()],
    })
    .into()
}

fn file_vectors() -> Option<Vec<Vector>> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = ["../shared", "../../shared"].iter().find_map(|dir| {
        std::fs::read_to_string(
            root.join(dir)
                .join("vectors/oprf/rfc9497-ristretto255.json"),
        )
        .ok()
    })?;
    let file: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let suite = file["suites"]
        .as_array()?
        .iter()
        .find(|suite| suite["mode"] == 1)?;
    assert_eq!(suite["skSm"], RFC_KEY);
    let list = |value: &serde_json::Value| -> Vec<String> {
        value
            .as_str()
            .expect("text")
            .split(',')
            .map(str::to_owned)
            .collect()
    };
    let vectors = suite["vectors"].as_array()?.iter().map(|v| Vector {
        inputs: list(&v["Input"])
            .iter()
            .map(|t| hex::decode(t).expect("hex"))
            .collect(),
        blinds: list(&v["Blind"])
            .iter()
            .map(|t| Blinding::from_bytes(&hex32(t)).expect("a blind"))
            .collect(),
        blinded: hex::decode(list(&v["BlindedElement"]).concat()).expect("hex"),
        outputs: list(&v["Output"]),
    });
    Some(vectors.collect())
}

fn check_all_subsets(vectors: &[Vector]) {
    let key = scalar(hex32(RFC_KEY));
    for (threshold, custodians) in [(2, 3), (3, 5)] {
        let (keys, evaluators) = deal(key, threshold, custodians);
        for vector in vectors {
            for set in subsets(&evaluators, usize::from(threshold)) {
                let answers: Vec<_> = set.iter().map(|e| answer(e, &vector.blinded)).collect();
                let (got, refused) = verify_and_combine(
                    &keys,
                    &vector.inputs,
                    &vector.blinds,
                    &vector.blinded,
                    &answers,
                )
                .expect("combined");
                assert!(refused.is_empty());
                let got: Vec<_> = got.iter().map(|e| hex::encode(e.output())).collect();
                assert_eq!(got, vector.outputs);
            }
        }
    }
}

#[test]
fn the_rfc_outputs_hold_for_every_subset_of_custodians() {
    check_all_subsets(&typed_vectors());
}

#[test]
#[allow(clippy::print_stdout, reason = "a skipped test says so")]
fn the_rfc_vector_file_holds_for_every_subset_of_custodians() {
    match file_vectors() {
        Some(vectors) => {
            assert_eq!(vectors.len(), 3);
            check_all_subsets(&vectors);
        }
        None => println!("skipped: the vector file is not here"),
    }
}

#[test]
fn tokens_equal_those_of_an_independent_implementation() {
    let key = scalar(hex32(RFC_KEY));
    let oracle = VoprfServer::<Ristretto255>::new_with_key(key.as_bytes()).expect("a key");
    let inputs: Vec<Vec<u8>> = (0..70u8)
        .map(|i| format!("phone\0+86138{i:08}").into())
        .collect();
    let (blinds, mut asked) = blind_batch(&inputs).expect("blinded");
    asked.extend_from_slice(&padding(30));
    let (keys, evaluators) = deal(key, 3, 5);
    let answers: Vec<_> = evaluators.iter().map(|e| answer(e, &asked)).collect();
    let (got, _) = verify_and_combine(&keys, &inputs, &blinds, &asked, &answers).expect("combined");
    assert_eq!(got.len(), inputs.len());
    for (input, evaluation) in inputs.iter().zip(&got) {
        let want = oracle.evaluate(input).expect("evaluated");
        assert_eq!(evaluation.output()[..], want[..]);
        assert_eq!(evaluation.token().as_bytes()[..], want[..16]);
    }
}

#[test]
fn a_share_is_an_rfc_server_of_its_own_for_an_independent_client() {
    let (_, evaluators) = deal(scalar(hex32(RFC_KEY)), 2, 3);
    let client =
        voprf::VoprfClient::<Ristretto255>::blind(b"x", &mut rand_core06::OsRng).expect("blinded");
    let asked = client.message.serialize();
    let evaluated = evaluators[0].evaluate(&asked).expect("evaluated");
    let element = voprf::EvaluationElement::deserialize(&evaluated.points).expect("a point");
    let proof = voprf::Proof::deserialize(&evaluated.proof).expect("a proof");
    let key = |e: &Evaluator| curve25519_dalek_of_voprf(e.public_share());
    client
        .state
        .finalize(b"x", &element, &proof, key(&evaluators[0]))
        .expect("the proof holds");
    assert!(
        client
            .state
            .finalize(b"x", &element, &proof, key(&evaluators[1]))
            .is_err()
    );
}

/// The same point in the types of the oracle's version of the curve.
fn curve25519_dalek_of_voprf(bytes: &[u8; 32]) -> <Ristretto255 as voprf::Group>::Elem {
    <Ristretto255 as voprf::Group>::deserialize_elem(bytes).expect("a point")
}

struct Round {
    keys: KeySet,
    inputs: Vec<&'static [u8]>,
    blinds: Vec<Blinding>,
    asked: Vec<u8>,
    answers: Vec<Answer>,
}

fn round() -> Round {
    let (keys, evaluators) = deal(Scalar::from(99u8), 2, 3);
    let inputs: Vec<&[u8]> = vec![b"a", b"b", b"c"];
    let (blinds, asked) = blind_batch(&inputs).expect("blinded");
    let answers = evaluators.iter().map(|e| answer(e, &asked)).collect();
    Round {
        keys,
        inputs,
        blinds,
        asked,
        answers,
    }
}

impl Round {
    fn combine(&self) -> Result<usize, (OprfError, Vec<(u16, OprfError)>)> {
        verify_and_combine(
            &self.keys,
            &self.inputs,
            &self.blinds,
            &self.asked,
            &self.answers,
        )
        .map(|(_, refused)| refused.len())
    }

    fn refusal_of_first(&self) -> OprfError {
        let (_, refused) = verify_and_combine(
            &self.keys,
            &self.inputs,
            &self.blinds,
            &self.asked,
            &self.answers,
        )
        .expect("two honest custodians are enough");
        assert_eq!(refused.len(), 1);
        assert_eq!(refused[0].0, self.answers[0].index);
        refused[0].1.clone()
    }
}

#[test]
fn a_wrong_share_is_caught_by_its_proof_and_named() {
    let mut round = round();
    let liar = Evaluator::new(1, Scalar::from(5u8).as_bytes()).expect("a share");
    round.answers[0] = answer(&liar, &round.asked);
    assert_eq!(round.refusal_of_first(), OprfError::BadProof { index: 1 });
    assert_eq!(round.refusal_of_first().blame(), Blame::Misbehaved);
}

#[test]
fn a_changed_point_proof_or_order_is_caught() {
    let honest = round();
    for bit in [0, 31 * 8, 32 * 8, 63 * 8] {
        let mut round = Round {
            answers: honest.answers.clone(),
            ..round_like(&honest)
        };
        round.answers[0].proof[bit / 8] ^= 1;
        assert_eq!(
            round.refusal_of_first(),
            OprfError::BadProof { index: 1 },
            "{bit}"
        );
    }
    let mut swapped = round_like(&honest);
    let (first, second) = swapped.answers[0].points.split_at_mut(32);
    first.swap_with_slice(&mut second[..32]);
    assert_eq!(swapped.refusal_of_first(), OprfError::BadProof { index: 1 });
    let mut mixed = round_like(&honest);
    mixed.answers[0].points = honest.answers[1].points.clone();
    assert_eq!(mixed.refusal_of_first(), OprfError::BadProof { index: 1 });
}

fn round_like(other: &Round) -> Round {
    Round {
        keys: other.keys.clone(),
        inputs: other.inputs.clone(),
        blinds: other.blinds.clone(),
        asked: other.asked.clone(),
        answers: other.answers.clone(),
    }
}

#[test]
fn malformed_answers_are_refused_and_the_others_used() {
    let mut round = round();
    let honest = round.answers[0].points.clone();
    round.answers[0].points = [&honest[..64], &[0; 32]].concat();
    assert_eq!(
        round.refusal_of_first(),
        OprfError::BadPoint { position: 2 }
    );
    round.answers[0].points = honest[..95].to_vec();
    assert_eq!(round.refusal_of_first(), OprfError::PointLength { got: 95 });
    round.answers[0].points = honest[..64].to_vec();
    assert_eq!(
        round.refusal_of_first(),
        OprfError::BatchSize {
            got: 2,
            low: 3,
            high: 3
        }
    );
    round.answers[0].points = honest.repeat(BATCH_POINTS_MAX);
    assert!(matches!(
        round.refusal_of_first(),
        OprfError::BatchSize { .. }
    ));
}

#[test]
fn duplicate_zero_and_unknown_indices_are_refused() {
    let mut round = round();
    round.answers[1] = round.answers[0].clone();
    assert_eq!(round.combine(), Ok(1), "the third custodian stands in");
    round.answers.truncate(2);
    let (error, refused) = round
        .combine()
        .expect_err("one custodian twice is one custodian");
    assert_eq!(error, OprfError::TooFew { got: 1, want: 2 });
    assert_eq!(refused, vec![(1, OprfError::BadIndex { index: 1 })]);
    for index in [0, 4] {
        round.answers[1].index = index;
        assert_eq!(
            round.combine().expect_err("unknown").1,
            vec![(index, OprfError::BadIndex { index })]
        );
    }
}

#[test]
fn an_answer_of_another_epoch_is_refused() {
    let mut round = round();
    round.answers[0].epoch = 2;
    assert_eq!(
        round.refusal_of_first(),
        OprfError::Epoch { got: 2, want: 1 }
    );
}

#[test]
fn key_sets_that_do_not_belong_together_are_refused() {
    let (_, evaluators) = deal(Scalar::from(99u8), 2, 3);
    let public = RistrettoPoint::mul_base(&Scalar::from(99u8))
        .compress()
        .to_bytes();
    let good: Vec<_> = evaluators
        .iter()
        .map(|e| (e.index(), *e.public_share()))
        .collect();
    let new = |threshold, shares: &[(u16, [u8; 32])]| KeySet::new(threshold, 1, &public, shares);
    assert!(new(2, &good).is_ok());
    let mut swapped = good.clone();
    swapped.swap(0, 2);
    assert!(
        new(2, &swapped).is_ok(),
        "the order in which shares are named says nothing"
    );
    let mut other = good.clone();
    other[2].1 = good[1].1;
    assert!(
        matches!(new(2, &other), Err(OprfError::BadKeySet { .. })),
        "the last share counts too"
    );
    let (_, constant) = deal(Scalar::from(99u8), 1, 3);
    let constant: Vec<_> = constant
        .iter()
        .map(|e| (e.index(), *e.public_share()))
        .collect();
    assert!(new(1, &constant).is_ok());
    for (threshold, shares, why) in [
        (3, &good, "a line is also a parabola through three"),
        (2, &constant, "every custodian alone has the key"),
        (3, &constant, "every custodian alone has the key, of three"),
    ] {
        let refused = new(threshold, shares).map(drop);
        assert!(
            matches!(refused, Err(OprfError::BadKeySet { .. })),
            "{why}: fewer custodians than it says could answer"
        );
    }
    assert!(matches!(new(1, &good), Err(OprfError::BadKeySet { .. })));
    assert!(matches!(new(0, &good), Err(OprfError::BadKeySet { .. })));
    assert!(matches!(new(4, &good), Err(OprfError::BadKeySet { .. })));
    let mut twice = good.clone();
    twice[1].0 = 1;
    assert_eq!(new(2, &twice).err(), Some(OprfError::BadIndex { index: 1 }));
    let mut zero = good.clone();
    zero[0].0 = 0;
    assert_eq!(new(2, &zero).err(), Some(OprfError::BadIndex { index: 0 }));
    let mut identity = good;
    identity[0].1 = [0; 32];
    assert!(matches!(
        new(2, &identity),
        Err(OprfError::BadKeySet { .. })
    ));
}

mod refusals;

mod keygen {
    use casegate::ids::{Digest, MemberId};
    use casegate::oprf::dkg::{Ceremony, DkgError, GeneratedKey, Plan};

    use super::*;

    pub(super) fn member(name: &str) -> MemberId {
        MemberId::new(name).expect("a name")
    }

    fn plan(threshold: u16, names: &[&str]) -> Plan {
        let custodians = names.iter().map(|name| member(name)).collect();
        Plan::new([7; 16], 1, threshold, custodians).expect("a plan")
    }

    pub(super) const NAMES: [&str; 3] = ["court", "procuracy", "university"];

    pub(super) struct Table {
        plan: Plan,
        pub(super) seats: Vec<(MemberId, Ceremony, Vec<u8>)>,
    }

    pub(super) fn table(threshold: u16, names: &[&str]) -> Table {
        let plan = plan(threshold, names);
        let seats = plan
            .custodians()
            .iter()
            .map(|name| {
                let (ceremony, package) = Ceremony::start(plan.clone(), name).expect("started");
                (name.clone(), ceremony, package)
            })
            .collect();
        Table { plan, seats }
    }

    impl Table {
        pub(super) fn round1(mut self) -> Self {
            let sent: Vec<_> = self
                .seats
                .iter()
                .map(|s| (s.0.clone(), s.2.clone()))
                .collect();
            let digest = self.plan.digest();
            for (name, ceremony, _) in &mut self.seats {
                for (from, package) in sent.iter().filter(|(from, _)| from != name) {
                    ceremony
                        .receive_round1(from, &digest, package)
                        .expect("taken");
                }
            }
            self
        }

        pub(super) fn echoes(mut self) -> Self {
            let sent: Vec<_> = self
                .seats
                .iter()
                .map(|s| (s.0.clone(), s.1.echo().expect("complete")))
                .collect();
            for (name, ceremony, _) in &mut self.seats {
                for (from, echo) in sent.iter().filter(|(from, _)| from != name) {
                    ceremony
                        .receive_echo(from, &[7; 16], echo)
                        .expect("the same");
                }
            }
            self
        }

        fn round2(mut self) -> Self {
            let mut sent = vec![];
            for (from, ceremony, _) in &mut self.seats {
                for (to, package) in ceremony.round2().expect("round 2") {
                    sent.push((from.clone(), to, package));
                }
            }
            for (from, to, package) in sent {
                let seat = self
                    .seats
                    .iter_mut()
                    .find(|seat| seat.0 == to)
                    .expect("a seat");
                seat.1
                    .receive_round2(&from, &[7; 16], &package)
                    .expect("taken");
            }
            self
        }

        fn finish(self) -> Vec<GeneratedKey> {
            self.seats
                .iter()
                .map(|seat| seat.1.finish().expect("a key"))
                .collect()
        }
    }

    #[test]
    fn custodians_without_a_dealer_make_a_key_that_evaluates() {
        for (threshold, names) in [(2, &NAMES[..]), (3, &["a", "b", "c", "d", "e"][..])] {
            let keys = table(threshold, names).round1().echoes().round2().finish();
            let first = &keys[0];
            assert!(keys.iter().all(|key| key.public_key == first.public_key));
            assert!(
                keys.iter()
                    .all(|key| key.public_shares == first.public_shares)
            );
            let set = KeySet::new(threshold, 1, &first.public_key, &first.public_shares)
                .expect("a key set");
            let evaluators: Vec<_> = keys
                .iter()
                .map(|key| Evaluator::new(key.index, &key.share).expect("a share"))
                .collect();
            let inputs = [b"phone\0+8613800000000".as_slice()];
            let (blinds, asked) = blind_batch(&inputs).expect("blinded");
            let mut tokens: Vec<_> = subsets(&evaluators, usize::from(threshold))
                .iter()
                .map(|subset| {
                    let answers: Vec<_> = subset.iter().map(|e| answer(e, &asked)).collect();
                    let (got, _) = verify_and_combine(&set, &inputs, &blinds, &asked, &answers)
                        .expect("combined");
                    got[0].token()
                })
                .collect();
            tokens.dedup();
            assert_eq!(tokens.len(), 1, "every subset gives the same token");
        }
    }

    #[test]
    fn steps_before_their_time_are_refused() {
        let mut early = table(2, &NAMES);
        let (_, ceremony, _) = &mut early.seats[0];
        assert_eq!(
            ceremony.echo(),
            Err(DkgError::TooEarly {
                what: "the echo",
                missing: 2
            })
        );
        assert!(matches!(
            ceremony.round2(),
            Err(DkgError::TooEarly { missing: 2, .. })
        ));
        assert!(matches!(
            ceremony.receive_round2(&member("procuracy"), &[7; 16], b"x"),
            Err(DkgError::TooEarly { .. })
        ));
        assert!(matches!(ceremony.finish(), Err(DkgError::TooEarly { .. })));
        let mut unechoed = early.round1();
        assert!(matches!(
            unechoed.seats[0].1.round2(),
            Err(DkgError::TooEarly { missing: 2, .. })
        ));
    }

    #[test]
    fn a_message_twice_is_refused_and_a_second_version_is_equivocation() {
        let mut table = table(2, &NAMES).round1();
        let digest = table.plan.digest();
        let from = member("procuracy");
        let package = table.seats[1].2.clone();
        let other = Ceremony::start(table.plan.clone(), &from)
            .expect("started")
            .1;
        let ceremony = &mut table.seats[0].1;
        assert_eq!(
            ceremony.receive_round1(&from, &digest, &package),
            Err(DkgError::Twice {
                from: from.clone(),
                what: "round 1"
            })
        );
        assert_eq!(
            ceremony.receive_round1(&from, &digest, &other),
            Err(DkgError::Equivocation {
                culprit: from.clone(),
                reporter: from.clone()
            })
        );
        let echo = ceremony.echo().expect("complete");
        ceremony
            .receive_echo(&from, &[7; 16], &echo)
            .expect("the same");
        assert!(matches!(
            ceremony.receive_echo(&from, &[7; 16], &echo),
            Err(DkgError::Twice { .. })
        ));
    }

    #[test]
    fn foreign_ceremonies_and_strangers_are_refused() {
        let mut table = table(2, &NAMES);
        let package = table.seats[1].2.clone();
        let from = member("procuracy");
        let digest = table.plan.digest();
        let ceremony = &mut table.seats[0].1;
        let foreign = Err(DkgError::Foreign { from: from.clone() });
        let other = plan(3, &NAMES).digest();
        assert_eq!(ceremony.receive_round1(&from, &other, &package), foreign);
        assert_eq!(
            ceremony.receive_echo(&from, &[8; 16], &[digest; 3]),
            foreign
        );
        assert_eq!(ceremony.receive_round2(&from, &[8; 16], b""), foreign);
        for name in ["hefei", "court"] {
            assert_eq!(
                ceremony.receive_round1(&member(name), &digest, &package),
                Err(DkgError::Stranger { from: member(name) }),
                "a stranger, and this node itself"
            );
        }
        assert!(Ceremony::start(plan(2, &NAMES), &member("hefei")).is_err());
    }

    #[test]
    fn different_packages_to_different_custodians_are_found_by_the_echo() {
        let mut table = table(2, &NAMES);
        let digest = table.plan.digest();
        let liar = member("university");
        let second = Ceremony::start(table.plan.clone(), &liar)
            .expect("started")
            .1;
        let packages: Vec<_> = table
            .seats
            .iter()
            .map(|s| (s.0.clone(), s.2.clone()))
            .collect();
        table.seats[0]
            .1
            .receive_round1(&packages[1].0, &digest, &packages[1].1)
            .expect("taken");
        table.seats[0]
            .1
            .receive_round1(&liar, &digest, &packages[2].1)
            .expect("taken");
        table.seats[1]
            .1
            .receive_round1(&packages[0].0, &digest, &packages[0].1)
            .expect("taken");
        table.seats[1]
            .1
            .receive_round1(&liar, &digest, &second)
            .expect("taken");
        let echo = table.seats[1].1.echo().expect("complete");
        let found = DkgError::Equivocation {
            culprit: liar,
            reporter: member("procuracy"),
        };
        let ceremony = &mut table.seats[0].1;
        assert_eq!(
            ceremony.receive_echo(&member("procuracy"), &[7; 16], &echo),
            Err(found.clone())
        );
        assert!(ceremony.round2().is_err(), "no share leaves after that");
        let mut about_me = ceremony.echo().expect("complete");
        about_me[0] = Digest([0; 32]);
        let refused = ceremony.receive_echo(&member("university"), &[7; 16], &about_me);
        assert!(matches!(refused, Err(DkgError::Equivocation { .. })));
    }

    #[test]
    fn who_misreports_this_nodes_own_package_is_the_culprit() {
        let mut table = table(2, &NAMES).round1();
        let ceremony = &mut table.seats[0].1;
        let mut echo = ceremony.echo().expect("complete");
        echo[0] = Digest([0; 32]);
        let from = member("procuracy");
        assert_eq!(
            ceremony.receive_echo(&from, &[7; 16], &echo),
            Err(DkgError::Equivocation {
                culprit: from.clone(),
                reporter: from
            })
        );
    }

    #[test]
    fn packages_that_are_malformed_or_of_another_degree_are_refused() {
        let mut table = table(2, &NAMES);
        let digest = table.plan.digest();
        let from = member("procuracy");
        let honest = table.seats[1].2.clone();
        let long = Ceremony::start(plan(3, &NAMES), &from).expect("started").1;
        let ceremony = &mut table.seats[0].1;
        let mut trailing = honest.clone();
        trailing.push(0);
        for bad in [
            &honest[..honest.len() - 1],
            &[],
            &trailing,
            &long,
            &[0; 5000],
        ] {
            assert_eq!(
                ceremony.receive_round1(&from, &digest, bad),
                Err(DkgError::BadPackage {
                    from: from.clone(),
                    what: "round 1"
                })
            );
        }
    }

    #[test]
    fn a_proof_of_knowledge_by_another_is_named() {
        let mut table = table(2, &NAMES);
        let digest = table.plan.digest();
        let stolen = table.seats[2].2.clone();
        let names: Vec<_> = table.plan.custodians().to_vec();
        let ceremony = &mut table.seats[0].1;
        ceremony
            .receive_round1(&names[1], &digest, &stolen)
            .expect("well-formed");
        ceremony
            .receive_round1(&names[2], &digest, &stolen)
            .expect("well-formed");
        let echo = ceremony.echo().expect("complete");
        ceremony
            .receive_echo(&names[1], &[7; 16], &echo)
            .expect("the same");
        ceremony
            .receive_echo(&names[2], &[7; 16], &echo)
            .expect("the same");
        assert_eq!(
            ceremony.round2().err(),
            Some(DkgError::BadPackage {
                from: names[1].clone(),
                what: "round 1"
            })
        );
    }

    #[test]
    fn a_share_that_does_not_fit_the_commitments_is_named() {
        let mut table = table(2, &NAMES).round1().echoes();
        let mut packages = vec![];
        for (from, ceremony, _) in &mut table.seats {
            packages.extend(
                ceremony
                    .round2()
                    .expect("round 2")
                    .into_iter()
                    .map(|(to, p)| (from.clone(), to, p)),
            );
        }
        let pick = |from: &str, to: &str| {
            packages
                .iter()
                .find(|p| p.0 == member(from) && p.1 == member(to))
                .expect("sent")
        };
        let ceremony = &mut table.seats[0].1;
        let crossed = &pick("procuracy", "university").2;
        ceremony
            .receive_round2(&member("procuracy"), &[7; 16], crossed)
            .expect("well-formed");
        let good = &pick("university", "court").2;
        ceremony
            .receive_round2(&member("university"), &[7; 16], good)
            .expect("well-formed");
        assert!(matches!(
            ceremony.receive_round2(&member("university"), &[7; 16], good),
            Err(DkgError::Twice { .. })
        ));
        assert_eq!(
            ceremony.finish().err(),
            Some(DkgError::BadPackage {
                from: member("procuracy"),
                what: "round 2"
            })
        );
    }

    #[test]
    fn plans_that_cannot_be_carried_out_are_refused() {
        let names = |n: usize| (0..n).map(|i| member(&format!("m{i}"))).collect::<Vec<_>>();
        let refused = |t, c: Vec<MemberId>| Plan::new([1; 16], 1, t, c).is_err();
        assert!(refused(1, names(3)));
        assert!(refused(4, names(3)));
        assert!(refused(2, names(1)));
        assert!(refused(2, names(17)));
        assert!(refused(2, vec![member("a"), member("a")]));
        assert!(Plan::new([1; 16], 0, 2, names(3)).is_err());
        assert!(!refused(2, names(16)));
    }
}
