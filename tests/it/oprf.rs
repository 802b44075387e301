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
    let beside = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let text = [beside.as_path(), std::path::Path::new("/work/shared")]
        .into_iter()
        .find_map(|dir| {
            std::fs::read_to_string(dir.join("vectors/oprf/rfc9497-ristretto255.json")).ok()
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
                let got: Vec<_> = got.iter().map(|e| hex::encode(e.output)).collect();
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
        assert_eq!(evaluation.output[..], want[..]);
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
    assert!(
        matches!(new(3, &good).map(drop), Ok(())),
        "a line is also a parabola through three"
    );
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
