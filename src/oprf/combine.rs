//! The member's second step: check each custodian's batch proof, combine the
//! first `t` valid answers with small-integer Lagrange coefficients, unblind,
//! and finish as the RFC does.

use std::collections::BTreeMap;

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{Identity, IsIdentity};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{Blinding, CUSTODIANS_MAX, OprfError, PROOF_BYTES, Points, decode_point, proof, suite};
use crate::ids::Token;

mod lagrange;

/// One token key in one share epoch: Y, the threshold and every Y_i, checked
/// to belong together when it is made.
#[derive(Clone)]
pub struct KeySet {
    threshold: u16,
    epoch: u32,
    shares: BTreeMap<u16, (RistrettoPoint, [u8; 32])>,
}

impl std::fmt::Debug for KeySet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeySet")
            .field("threshold", &self.threshold)
            .field("epoch", &self.epoch)
            .field("custodians", &self.shares.len())
            .finish_non_exhaustive()
    }
}

/// What one custodian answered to a batch.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The custodian's index.
    pub index: u16,
    /// The share epoch that it answered with.
    pub epoch: u32,
    /// 32 bytes a point.
    pub points: Vec<u8>,
    /// c ‖ s.
    pub proof: [u8; PROOF_BYTES],
}

/// An answer whose proof held; only [`KeySet::verify`] makes one.
#[derive(Clone, Debug)]
pub struct Verified {
    index: u16,
    epoch: u32,
    points: Points,
}

impl Verified {
    /// The index of the custodian that gave it.
    #[must_use]
    pub fn index(&self) -> u16 {
        self.index
    }
}

/// What the OPRF gives for one input. Wiped from memory on drop.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Evaluation {
    n: [u8; 32],
    output: [u8; 64],
}

impl std::fmt::Debug for Evaluation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Evaluation(..)")
    }
}

impl Evaluation {
    /// N = k·H1(input). It stays at home: with it every guess can be tested.
    #[must_use]
    pub fn n(&self) -> &[u8; 32] {
        &self.n
    }

    /// The RFC's 64-byte output.
    #[must_use]
    pub fn output(&self) -> &[u8; 64] {
        &self.output
    }

    /// The token: the first 16 bytes of the output.
    #[must_use]
    pub fn token(&self) -> Token {
        let mut token = [0; 16];
        token.copy_from_slice(&self.output[..16]);
        Token(token)
    }
}

impl KeySet {
    /// Checks that the shares (index, Y_i) make up `public_key` for *every* set
    /// of `threshold` custodians: a wrong set would give wrong tokens silently.
    ///
    /// # Errors
    /// [`OprfError::BadIndex`], [`OprfError::BadKeySet`].
    pub fn new(
        threshold: u16,
        epoch: u32,
        public_key: &[u8; 32],
        shares: &[(u16, [u8; 32])],
    ) -> Result<Self, OprfError> {
        let bad = |reason| OprfError::BadKeySet { reason };
        if threshold == 0 || usize::from(threshold) > shares.len() {
            return Err(bad("the threshold is zero or above the number of shares"));
        }
        let key = decode_point(public_key).ok_or_else(|| bad("the public key is not a point"))?;
        let mut points = BTreeMap::new();
        for (index, encoded) in shares {
            let point = decode_point(encoded).ok_or_else(|| bad("a share is not a point"))?;
            let unusable = *index == 0 || *index > CUSTODIANS_MAX;
            if unusable || points.insert(*index, (point, *encoded)).is_some() {
                return Err(OprfError::BadIndex { index: *index });
            }
        }
        let set = Self {
            threshold,
            epoch,
            shares: points,
        };
        set.check_against(&key)?;
        Ok(set)
    }

    /// The first `t` shares fix the polynomial; Y and every other share must lie on it.
    fn check_against(&self, key: &RistrettoPoint) -> Result<(), OprfError> {
        let first: Vec<u16> = self.indices().take(usize::from(self.threshold)).collect();
        let at = |x: u16| -> Option<RistrettoPoint> {
            let weights = lagrange::weights_at(&first, x)?;
            weights
                .iter()
                .zip(&first)
                .try_fold(RistrettoPoint::identity(), |sum, (weight, i)| {
                    self.shares.get(i).map(|(point, _)| sum + point * weight)
                })
        };
        let fits = at(0).as_ref() == Some(key)
            && self
                .shares
                .iter()
                .all(|(x, (point, _))| at(*x).as_ref() == Some(point));
        if !fits {
            return Err(OprfError::BadKeySet {
                reason: "a share is not on the key's polynomial",
            });
        }
        if self.fewer_suffice(key, &first) {
            return Err(OprfError::BadKeySet {
                reason: "fewer custodians than the threshold says could answer",
            });
        }
        Ok(())
    }

    /// Says whether Y and all shares lie on a polynomial of a lower degree than
    /// the threshold says: then `threshold - 1` custodians make up the key. They
    /// lie on the one through the first `threshold` shares; if Y lies on the one
    /// through one share fewer, that one is the same.
    fn fewer_suffice(&self, key: &RistrettoPoint, first: &[u16]) -> bool {
        let Some((_, fewer)) = first.split_last().filter(|(_, fewer)| !fewer.is_empty()) else {
            return false;
        };
        let Some(weights) = lagrange::weights_at(fewer, 0) else {
            return true;
        };
        let sum = weights
            .iter()
            .zip(fewer)
            .try_fold(RistrettoPoint::identity(), |sum, (weight, i)| {
                self.shares.get(i).map(|(point, _)| sum + point * weight)
            });
        sum.as_ref() == Some(key)
    }

    /// How many custodians are needed.
    #[must_use]
    pub fn threshold(&self) -> u16 {
        self.threshold
    }

    /// The share epoch.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The custodians' indices, in order.
    pub fn indices(&self) -> impl Iterator<Item = u16> + '_ {
        self.shares.keys().copied()
    }

    /// Checks one custodian's answer to the batch `asked`.
    ///
    /// # Errors
    /// [`OprfError::Epoch`], [`OprfError::BadIndex`], [`OprfError::BatchSize`],
    /// [`OprfError::BadPoint`] or [`OprfError::BadProof`]: the custodian lied or erred.
    pub fn verify(&self, asked: &Points, answer: &Answer) -> Result<Verified, OprfError> {
        let index = answer.index;
        if answer.epoch != self.epoch {
            return Err(OprfError::Epoch {
                got: answer.epoch,
                want: self.epoch,
            });
        }
        let Some((point, encoded)) = self.shares.get(&index) else {
            return Err(OprfError::BadIndex { index });
        };
        let points = Points::decode(&answer.points)?;
        if points.count() != asked.count() {
            let want = asked.count();
            return Err(OprfError::BatchSize {
                got: points.count(),
                low: want,
                high: want,
            });
        }
        if !proof::holds((point, encoded), asked, &points, &answer.proof) {
            return Err(OprfError::BadProof { index });
        }
        Ok(Verified {
            index,
            epoch: answer.epoch,
            points,
        })
    }

    /// Combines the first `t` verified answers and unblinds. The first
    /// `inputs.len()` points of the batch belong to the inputs, in order; the
    /// rest is padding.
    ///
    /// # Errors
    /// [`OprfError::TooFew`], [`OprfError::BadIndex`] for an index twice,
    /// [`OprfError::Epoch`] for answers of another epoch's key set,
    /// [`OprfError::BatchSize`] when blindings or answers do not fit the inputs.
    pub fn combine<I: AsRef<[u8]>>(
        &self,
        inputs: &[I],
        blindings: &[Blinding],
        answers: &[Verified],
    ) -> Result<Vec<Evaluation>, OprfError> {
        let used = self.usable(answers)?;
        for have in used
            .iter()
            .map(|a| a.points.count())
            .chain([blindings.len()])
        {
            if have < inputs.len() || blindings.len() > inputs.len() {
                let want = inputs.len();
                return Err(OprfError::BatchSize {
                    got: have,
                    low: want,
                    high: want,
                });
            }
        }
        let indices: Vec<u16> = used.iter().map(|answer| answer.index).collect();
        let weights = lagrange::integers(&indices).ok_or(OprfError::BadKeySet {
            reason: "the indices are too large to combine",
        })?;
        let sums = (0..inputs.len()).map(|j| {
            let points: Vec<_> = used.iter().map(|a| a.points.points[j]).collect();
            weights.sum(&points)
        });
        let ns = unblind(sums, blindings, &weights.denominator)?;
        inputs
            .iter()
            .zip(ns)
            .map(|(input, n)| {
                let input = input.as_ref();
                if input.len() > super::INPUT_BYTES_MAX {
                    return Err(OprfError::InputTooLong { got: input.len() });
                }
                Ok(Evaluation {
                    output: suite::finalize(input, &n),
                    n,
                })
            })
            .collect()
    }

    fn usable<'a>(&self, answers: &'a [Verified]) -> Result<Vec<&'a Verified>, OprfError> {
        let mut used = BTreeMap::new();
        for answer in answers {
            if answer.epoch != self.epoch {
                return Err(OprfError::Epoch {
                    got: answer.epoch,
                    want: self.epoch,
                });
            }
            let index = answer.index;
            if !self.shares.contains_key(&index) || used.contains_key(&index) {
                return Err(OprfError::BadIndex { index });
            }
            if used.len() < usize::from(self.threshold) {
                used.insert(index, answer);
            }
        }
        let (got, want) = (used.len(), usize::from(self.threshold));
        if got < want {
            return Err(OprfError::TooFew { got, want });
        }
        Ok(used.into_values().collect())
    }
}

/// N_j = sum_j / (r_j · D): one inversion for the whole batch, and half of each
/// scalar so that the points can be encoded by `double_and_compress_batch`.
fn unblind(
    sums: impl Iterator<Item = RistrettoPoint>,
    blindings: &[Blinding],
    denominator: &Scalar,
) -> Result<Vec<[u8; 32]>, OprfError> {
    let double = denominator + denominator;
    let mut scalars: Vec<Scalar> = blindings.iter().map(|b| b.0 * double).collect();
    Scalar::invert_batch_alloc(&mut scalars).zeroize();
    let halves: Vec<_> = sums
        .zip(&scalars)
        .map(|(sum, scalar)| sum * scalar)
        .collect();
    scalars.zeroize();
    // Proven answers are multiples of points other than the identity, so this
    // cannot be; the identity would spoil the whole batch inversion.
    if let Some(position) = halves.iter().position(IsIdentity::is_identity) {
        return Err(OprfError::BadPoint { position });
    }
    let encoded = RistrettoPoint::double_and_compress_batch(&halves);
    Ok(encoded.iter().map(|n| n.to_bytes()).collect())
}

/// By custodian index, why answers were refused.
pub type Refusals = Vec<(u16, OprfError)>;

/// Verifies `answers` one after the other until `t` of them held, and combines.
///
/// Returns the evaluations and, by index, why other answers were refused.
///
/// # Errors
/// [`OprfError::TooFew`] with the refusals when fewer than `t` held, else what
/// [`Points::decode`] and [`KeySet::combine`] refuse.
pub fn verify_and_combine<I: AsRef<[u8]>>(
    keys: &KeySet,
    inputs: &[I],
    blindings: &[Blinding],
    asked: &[u8],
    answers: &[Answer],
) -> Result<(Vec<Evaluation>, Refusals), (OprfError, Refusals)> {
    let mut refused = vec![];
    let asked = Points::decode(asked).map_err(|error| (error, vec![]))?;
    let mut verified: Vec<Verified> = vec![];
    for answer in answers {
        if verified.len() == usize::from(keys.threshold) {
            break;
        }
        if verified.iter().any(|held| held.index == answer.index) {
            refused.push((
                answer.index,
                OprfError::BadIndex {
                    index: answer.index,
                },
            ));
            continue;
        }
        match keys.verify(&asked, answer) {
            Ok(held) => verified.push(held),
            Err(error) => refused.push((answer.index, error)),
        }
    }
    match keys.combine(inputs, blindings, &verified) {
        Ok(evaluations) => Ok((evaluations, refused)),
        Err(error) => Err((error, refused)),
    }
}
