//! The member's first step: A = r·H1(x) with a fresh r for each input, and
//! padding points that nobody can tell from blinded ones.

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use zeroize::{Zeroize, Zeroizing};

use super::{INPUT_BYTES_MAX, OprfError, decode_scalar, suite};
use crate::ids::random;

/// The scalar that hides one input. Never reused, wiped on drop.
#[derive(Clone)]
pub struct Blinding(pub(super) Scalar);

impl std::fmt::Debug for Blinding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Blinding(..)")
    }
}

impl Drop for Blinding {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl Blinding {
    fn fresh() -> Self {
        // 64 random bytes modulo the order: zero has probability 2^-252, and
        // is drawn again so that the inverse always exists.
        loop {
            let wide = Zeroizing::new(random::<64>());
            let scalar = Scalar::from_bytes_mod_order_wide(&wide);
            if scalar != Scalar::ZERO {
                return Self(scalar);
            }
        }
    }

    /// The scalar's bytes, to be sealed with a pending batch.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// Takes back what [`Blinding::to_bytes`] gave.
    ///
    /// # Errors
    /// [`OprfError::BadScalar`] when it is zero or not canonical.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, OprfError> {
        decode_scalar(bytes, "blinding scalar").map(Self)
    }
}

/// Blinds one input.
///
/// # Errors
/// [`OprfError::InputTooLong`].
pub fn blind(input: &[u8]) -> Result<(Blinding, [u8; 32]), OprfError> {
    let blinding = Blinding::fresh();
    let point = blind_with(input, &blinding)?;
    Ok((blinding, point))
}

fn blind_with(input: &[u8], blinding: &Blinding) -> Result<[u8; 32], OprfError> {
    Ok((hash(input)? * blinding.0).compress().to_bytes())
}

fn hash(input: &[u8]) -> Result<RistrettoPoint, OprfError> {
    if input.len() > INPUT_BYTES_MAX {
        return Err(OprfError::InputTooLong { got: input.len() });
    }
    Ok(suite::hash_to_group(input))
}

/// Blinds many inputs; the points are encoded together, 32 bytes each, in order.
///
/// # Errors
/// [`OprfError::InputTooLong`].
pub fn blind_batch<I: AsRef<[u8]>>(inputs: &[I]) -> Result<(Vec<Blinding>, Vec<u8>), OprfError> {
    let blindings: Vec<_> = inputs.iter().map(|_| Blinding::fresh()).collect();
    let points = blind_batch_with(inputs, &blindings)?;
    Ok((blindings, points))
}

fn blind_batch_with<I: AsRef<[u8]>>(
    inputs: &[I],
    blindings: &[Blinding],
) -> Result<Vec<u8>, OprfError> {
    let halves = inputs
        .iter()
        .zip(blindings)
        .map(|(input, blinding)| Ok(hash(input.as_ref())? * blinding.0.div_by_2()))
        .collect::<Result<Vec<_>, OprfError>>()?;
    Ok(encode_doubled(&halves))
}

/// Makes `count` random points that stand for no input.
#[must_use]
pub fn padding(count: usize) -> Vec<u8> {
    let halves: Vec<_> = (0..count)
        .map(|_| RistrettoPoint::mul_base(&Blinding::fresh().0))
        .collect();
    encode_doubled(&halves)
}

/// Doubles and encodes many points with one field inversion for all.
fn encode_doubled(halves: &[RistrettoPoint]) -> Vec<u8> {
    RistrettoPoint::double_and_compress_batch(halves)
        .iter()
        .flat_map(|encoded| encoded.to_bytes())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9497 appendix A.1.2, test vectors 1 to 3.
    const INPUTS: [&[u8]; 2] = [&[0], &[0x5a; 17]];
    const BLINDS: [&str; 2] = [
        "64d37aed22a27f5191de1c1d69fadb899d8862b58eb4220029e036ec4c1f6706",
        "222a5e897cf59db8145db8d16e597e8facb80ae7d4e26d9881aa6f61d645fc0e",
    ];
    const BLINDED: [&str; 2] = [
        "863f330cc1a1259ed5a5998a23acfd37fb4351a793a5b3c090b642ddc439b945",
        "90a0145ea9da29254c3a56be4fe185465ebb3bf2a1801f7124bbbadac751e654",
    ];

    #[test]
    fn the_rfc_blinds_give_the_rfc_points_alone_and_in_a_batch() {
        let blindings: Vec<_> = BLINDS
            .iter()
            .map(|text| {
                Blinding::from_bytes(&hex::decode(text).unwrap().try_into().unwrap()).unwrap()
            })
            .collect();
        for ((input, blinding), want) in INPUTS.iter().zip(&blindings).zip(BLINDED) {
            assert_eq!(hex::encode(blind_with(input, blinding).unwrap()), want);
        }
        let batch = blind_batch_with(&INPUTS, &blindings).unwrap();
        assert_eq!(hex::encode(batch), BLINDED.concat());
    }

    #[test]
    fn an_input_that_the_rfc_cannot_count_is_refused() {
        assert!(blind(&vec![0; INPUT_BYTES_MAX]).is_ok());
        let too_long = vec![0; INPUT_BYTES_MAX + 1];
        assert_eq!(
            blind(&too_long).err(),
            Some(OprfError::InputTooLong { got: 65_536 })
        );
        assert!(blind_batch(&[too_long]).is_err());
    }

    #[test]
    fn the_same_input_is_never_blinded_the_same_way() {
        assert_ne!(blind(b"x").unwrap().1, blind(b"x").unwrap().1);
        assert_eq!(padding(3).len(), 96);
    }

    #[test]
    fn a_zero_blinding_is_not_taken_back() {
        assert!(Blinding::from_bytes(&[0; 32]).is_err());
        assert!(Blinding::from_bytes(&[0xff; 32]).is_err());
    }
}
