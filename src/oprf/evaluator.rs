//! One custodian's side: an RFC 9497 VOPRF server with the key k_i. It sees
//! random points, never inputs, and not which other custodians are asked.

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use zeroize::Zeroize;

use super::{OprfError, PROOF_BYTES, Points, decode_scalar, proof};
use crate::ids::random;

/// A custodian's share, ready to evaluate with. Wiped from memory on drop.
pub struct Evaluator {
    index: u16,
    share: Scalar,
    halved: Scalar,
    public_share: [u8; 32],
}

impl std::fmt::Debug for Evaluator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Evaluator")
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}

impl Drop for Evaluator {
    fn drop(&mut self) {
        self.share.zeroize();
        self.halved.zeroize();
    }
}

/// A custodian's answer to one batch.
#[derive(Clone, PartialEq, Eq)]
pub struct Evaluated {
    /// 32 bytes a point, in the order of the question.
    pub points: Vec<u8>,
    /// The batch proof, c ‖ s.
    pub proof: [u8; PROOF_BYTES],
}

impl std::fmt::Debug for Evaluated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Evaluated")
            .field("bytes", &self.points.len())
            .finish_non_exhaustive()
    }
}

impl Evaluator {
    /// Takes the share of the custodian at `index` (from 1).
    ///
    /// # Errors
    /// [`OprfError::BadIndex`] for index 0, [`OprfError::BadScalar`] for a
    /// share that is zero or not canonical.
    pub fn new(index: u16, share: &[u8; 32]) -> Result<Self, OprfError> {
        if index == 0 {
            return Err(OprfError::BadIndex { index });
        }
        let share = decode_scalar(share, "key share")?;
        Ok(Self {
            index,
            share,
            halved: share.div_by_2(),
            public_share: RistrettoPoint::mul_base(&share).compress().to_bytes(),
        })
    }

    /// The custodian's index in the key.
    #[must_use]
    pub fn index(&self) -> u16 {
        self.index
    }

    /// Y_i, the public side of the share.
    #[must_use]
    pub fn public_share(&self) -> &[u8; 32] {
        &self.public_share
    }

    /// Evaluates a batch of encoded points and proves it.
    ///
    /// # Errors
    /// What [`Points::decode`] refuses; nothing is evaluated then.
    pub fn evaluate(&self, points: &[u8]) -> Result<Evaluated, OprfError> {
        Ok(self.evaluate_points(&Points::decode(points)?))
    }

    /// Evaluates a batch that was decoded before.
    #[must_use]
    pub fn evaluate_points(&self, asked: &Points) -> Evaluated {
        let halves: Vec<_> = asked
            .points
            .iter()
            .map(|point| point * self.halved)
            .collect();
        let points: Vec<u8> = RistrettoPoint::double_and_compress_batch(&halves)
            .iter()
            .flat_map(|encoded| encoded.to_bytes())
            .collect();
        let proof = proof::prove(&self.share, &self.public_share, asked, &points, &random());
        Evaluated { points, proof }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_and_non_canonical_shares_and_index_zero_are_refused() {
        let bad = OprfError::BadScalar { what: "key share" };
        assert_eq!(Evaluator::new(1, &[0; 32]).err(), Some(bad.clone()));
        assert_eq!(Evaluator::new(1, &[0xff; 32]).err(), Some(bad));
        let one = Scalar::ONE.to_bytes();
        assert_eq!(
            Evaluator::new(0, &one).err(),
            Some(OprfError::BadIndex { index: 0 })
        );
    }

    #[test]
    fn debug_does_not_show_the_share() {
        let evaluator = Evaluator::new(3, &Scalar::from(77u8).to_bytes()).unwrap();
        assert_eq!(format!("{evaluator:?}"), "Evaluator { index: 3, .. }");
    }
}
