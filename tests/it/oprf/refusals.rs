//! What combining and key generation refuse from callers who skip a step.

use super::keygen::{NAMES, member, table};
use super::*;
use casegate::ids::Digest;
use casegate::oprf::dkg::{DkgError, PACKAGE_BYTES_MAX};
use casegate::oprf::{INPUT_BYTES_MAX, Points, Verified};

const INPUTS: [&[u8]; 2] = [b"phone\0+8613800000000", b"phone\0+8613800000001"];

/// Three custodians, two of whom are needed, and a batch of two that all answered.
struct Asked {
    keys: KeySet,
    evaluators: Vec<Evaluator>,
    blindings: Vec<Blinding>,
    batch: Vec<u8>,
}

impl Asked {
    fn new() -> Self {
        let (keys, evaluators) = deal(Scalar::from(99u8), 2, 4);
        let (blindings, batch) = blind_batch(&INPUTS).expect("blinded");
        Self {
            keys,
            evaluators,
            blindings,
            batch,
        }
    }

    /// The proven answers of `indices` to the batch, or to its beginning.
    fn verified(&self, keys: &KeySet, indices: &[usize], points: usize) -> Vec<Verified> {
        let batch = &self.batch[..points * 32];
        let asked = Points::decode(batch).expect("points");
        let prove = |index: &usize| {
            let mut answer = answer(&self.evaluators[index - 1], batch);
            answer.epoch = keys.epoch();
            keys.verify(&asked, &answer).expect("the proof holds")
        };
        indices.iter().map(prove).collect()
    }

    fn refusal(&self, answers: &[Verified]) -> Option<OprfError> {
        let combined = self.keys.combine(&INPUTS, &self.blindings, answers);
        combined.err()
    }

    /// The key set of the first `custodians`, in another share epoch perhaps.
    fn keys(&self, custodians: usize, epoch: u32) -> KeySet {
        let of = |e: &Evaluator| (e.index(), *e.public_share());
        let shares: Vec<_> = self.evaluators[..custodians].iter().map(of).collect();
        let public = RistrettoPoint::mul_base(&Scalar::from(99u8));
        KeySet::new(2, epoch, &public.compress().to_bytes(), &shares).expect("a key set")
    }
}

#[test]
fn proven_answers_of_another_epoch_a_stranger_or_one_custodian_twice_are_not_combined() {
    let asked = Asked::new();
    assert_eq!(
        asked.refusal(&asked.verified(&asked.keys, &[4, 2], 2)),
        None
    );
    let other = asked.verified(&asked.keys(4, 2), &[1, 2], 2);
    let epoch = OprfError::Epoch { got: 2, want: 1 };
    assert_eq!(asked.refusal(&other), Some(epoch));
    let twice = asked.verified(&asked.keys, &[1, 1], 2);
    assert_eq!(
        asked.refusal(&twice),
        Some(OprfError::BadIndex { index: 1 })
    );
    let fewer = asked.keys(3, 1);
    let strange = asked.verified(&asked.keys, &[1, 4], 2);
    let refused = fewer.combine(&INPUTS, &asked.blindings, &strange).err();
    assert_eq!(refused, Some(OprfError::BadIndex { index: 4 }));
}

#[test]
fn answers_blindings_and_inputs_that_do_not_fit_are_not_combined() {
    let asked = Asked::new();
    let size = |got| OprfError::BatchSize {
        got,
        low: 2,
        high: 2,
    };
    let short = asked.verified(&asked.keys, &[1, 2], 1);
    assert_eq!(asked.refusal(&short), Some(size(1)));
    let good = asked.verified(&asked.keys, &[1, 2], 2);
    let (mut more, _) = blind_batch(&INPUTS).expect("blinded");
    let combine = |blindings: &[Blinding]| asked.keys.combine(&INPUTS, blindings, &good).err();
    assert_eq!(combine(&more[..1]), Some(size(1)));
    more.extend(blind_batch(&INPUTS).expect("blinded").0);
    assert!(matches!(combine(&more), Some(OprfError::BatchSize { .. })));
    let long = vec![0; INPUT_BYTES_MAX + 1];
    let refused = asked
        .keys
        .combine(&[INPUTS[0], &long], &asked.blindings, &good);
    let got = long.len();
    assert_eq!(refused.err(), Some(OprfError::InputTooLong { got }));
    let padding_only = asked.keys.combine::<&[u8]>(&[], &[], &good);
    assert_eq!(padding_only, Ok(vec![]), "a batch may be padding only");
}

#[test]
fn an_echo_of_another_number_of_packages_is_refused_and_not_kept() {
    let mut table = table(2, &NAMES).round1();
    let from = member("procuracy");
    let ceremony = &mut table.seats[0].1;
    let echo = ceremony.echo().expect("complete");
    let long = [&echo[..], &[Digest([0; 32])]].concat();
    for bad in [&echo[..2], &[], &long] {
        let refused = ceremony.receive_echo(&from, &[7; 16], bad);
        let what = "echo";
        let from = from.clone();
        assert_eq!(refused, Err(DkgError::BadPackage { from, what }));
    }
    let taken = ceremony.receive_echo(&from, &[7; 16], &echo);
    assert_eq!(taken, Ok(()), "the right one is the first");
}

#[test]
fn a_private_package_that_is_too_long_or_none_is_refused_and_not_kept() {
    let mut table = table(2, &NAMES).round1().echoes();
    let from = member("procuracy");
    let sent = table.seats[1].1.round2().expect("round 2");
    let (_, good) = sent.iter().find(|p| p.0 == member("court")).expect("sent");
    let mut long = good.to_vec();
    long.resize(PACKAGE_BYTES_MAX + 1, 0);
    let ceremony = &mut table.seats[0].1;
    for bad in [&long[..], &good[..good.len() - 1], &[]] {
        let refused = ceremony.receive_round2(&from, &[7; 16], bad);
        let what = "round 2";
        let from = from.clone();
        assert_eq!(refused, Err(DkgError::BadPackage { from, what }));
    }
    let taken = ceremony.receive_round2(&from, &[7; 16], good);
    assert_eq!(taken, Ok(()), "the right one is the first");
}

#[test]
fn a_batch_has_a_point_at_least_and_4096_at_most() {
    let point = padding(1);
    for got in [0, BATCH_POINTS_MAX + 1] {
        let refused = Points::decode(&point.repeat(got)).map(drop);
        let (low, high) = (1, BATCH_POINTS_MAX);
        assert_eq!(refused, Err(OprfError::BatchSize { got, low, high }));
    }
    let most = Points::decode(&point.repeat(BATCH_POINTS_MAX)).expect("points");
    assert_eq!(most.count(), BATCH_POINTS_MAX);
}

#[test]
fn a_key_is_not_there_before_every_private_package_is() {
    let mut table = table(2, &NAMES).round1().echoes();
    let sent = table.seats[1].1.round2().expect("round 2");
    let (_, package) = sent.iter().find(|p| p.0 == member("court")).expect("sent");
    let early = |missing| DkgError::TooEarly {
        what: "the end",
        missing,
    };
    let ceremony = &mut table.seats[0].1;
    ceremony.round2().expect("round 2");
    assert_eq!(ceremony.finish().err(), Some(early(2)));
    let taken = ceremony.receive_round2(&member("procuracy"), &[7; 16], package);
    assert_eq!(taken, Ok(()));
    assert_eq!(ceremony.finish().err(), Some(early(1)));
}
