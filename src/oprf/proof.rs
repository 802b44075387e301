//! The batch proof of discrete-logarithm equality (RFC 9497 section 2.2): one
//! proof says that every answer of a batch was made with the key of Y_i.

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{IsIdentity, VartimeMultiscalarMul};
use zeroize::Zeroize;

use super::{PROOF_BYTES, Points, suite};

/// The weights d_i of a batch, from the encodings of both sides.
fn weights(public_share: &[u8; 32], c: &[u8], d: &[u8]) -> Vec<Scalar> {
    let seed = suite::composite_seed(public_share);
    let (c, _) = c.as_chunks::<32>();
    let (d, _) = d.as_chunks::<32>();
    (0u16..)
        .zip(c.iter().zip(d))
        .map(|(position, (c, d))| suite::composite_weight(&seed, position, c, d))
        .collect()
}

/// Proves that `answers` (encoded) are `share` times `asked`. `fresh` hedges
/// the nonce together with the share and the transcript.
pub(super) fn prove(
    share: &Scalar,
    public_share: &[u8; 32],
    asked: &Points,
    answers: &[u8],
    fresh: &[u8; 32],
) -> [u8; PROOF_BYTES] {
    let (m, z) = composites(share, public_share, asked, answers);
    let mut nonce = suite::hedged_nonce(
        share,
        fresh,
        &m.compress().to_bytes(),
        &z.compress().to_bytes(),
    );
    let proof = respond(share, public_share, &m, &z, &nonce);
    nonce.zeroize();
    proof
}

fn composites(
    share: &Scalar,
    public_share: &[u8; 32],
    asked: &Points,
    answers: &[u8],
) -> (RistrettoPoint, RistrettoPoint) {
    let weights = weights(public_share, &asked.bytes, answers);
    let m = RistrettoPoint::vartime_multiscalar_mul(&weights, &asked.points);
    (m, m * share)
}

fn respond(
    share: &Scalar,
    public_share: &[u8; 32],
    m: &RistrettoPoint,
    z: &RistrettoPoint,
    nonce: &Scalar,
) -> [u8; PROOF_BYTES] {
    let t2 = RistrettoPoint::mul_base(nonce);
    let t3 = m * nonce;
    let c = challenge(public_share, m, z, &t2, &t3);
    let s = nonce - c * share;
    let mut proof = [0; PROOF_BYTES];
    let (first, second) = proof.split_at_mut(32);
    first.copy_from_slice(c.as_bytes());
    second.copy_from_slice(s.as_bytes());
    proof
}

fn challenge(
    public_share: &[u8; 32],
    m: &RistrettoPoint,
    z: &RistrettoPoint,
    t2: &RistrettoPoint,
    t3: &RistrettoPoint,
) -> Scalar {
    let [m, z, t2, t3] = [m, z, t2, t3].map(|point| point.compress().to_bytes());
    suite::challenge(public_share, [&m, &z, &t2, &t3])
}

/// Says whether `proof` holds: `answers` are `asked` times the key of `public_share`.
pub(super) fn holds(
    public_share: (&RistrettoPoint, &[u8; 32]),
    asked: &Points,
    answers: &Points,
    proof: &[u8; PROOF_BYTES],
) -> bool {
    let ([c, s], _) = proof.as_chunks::<32>() else {
        return false;
    };
    let scalar = |bytes: &[u8; 32]| Option::<Scalar>::from(Scalar::from_canonical_bytes(*bytes));
    let (Some(c), Some(s)) = (scalar(c), scalar(s)) else {
        return false;
    };
    let (point, encoded) = public_share;
    let weights = weights(encoded, &asked.bytes, &answers.bytes);
    let m = RistrettoPoint::vartime_multiscalar_mul(&weights, &asked.points);
    let z = RistrettoPoint::vartime_multiscalar_mul(&weights, &answers.points);
    if m.is_identity() {
        return false;
    }
    let t2 = RistrettoPoint::vartime_double_scalar_mul_basepoint(&c, point, &s);
    let t3 = RistrettoPoint::vartime_multiscalar_mul([s, c], [m, z]);
    challenge(encoded, &m, &z, &t2, &t3) == c
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex32(text: &str) -> [u8; 32] {
        hex::decode(text).unwrap().try_into().unwrap()
    }

    /// RFC 9497 appendix A.1.2, test vector 3: a batch of two with the fixed nonce.
    #[test]
    fn the_rfc_batch_proof_comes_out_byte_for_byte() {
        let share = hex32("e6f73f344b79b379f1a0dd37e07ff62e38d9f71345ce62ae3a9bc60b04ccd909");
        let share = Scalar::from_canonical_bytes(share).unwrap();
        let public = hex32("c803e2cc6b05fc15064549b5920659ca4a77b2cca6f04f6b357009335476ad4e");
        let nonce = hex32("419c4f4f5052c53c45f3da494d2b67b220d02118e0857cdbcf037f9ea84bbe0c");
        let nonce = Scalar::from_canonical_bytes(nonce).unwrap();
        let asked = hex::decode(concat!(
            "863f330cc1a1259ed5a5998a23acfd37fb4351a793a5b3c090b642ddc439b945",
            "90a0145ea9da29254c3a56be4fe185465ebb3bf2a1801f7124bbbadac751e654",
        ));
        let answers = hex::decode(concat!(
            "aa8fa048764d5623868679402ff6108d2521884fa138cd7f9c7669a9a014267e",
            "cc5ac221950a49ceaa73c8db41b82c20372a4c8d63e5dded2db920b7eee36a2a",
        ));
        let (asked, answers) = (asked.unwrap(), answers.unwrap());
        let asked = Points::decode(&asked).unwrap();
        let (m, z) = composites(&share, &public, &asked, &answers);
        let proof = respond(&share, &public, &m, &z, &nonce);
        assert_eq!(
            hex::encode(proof),
            concat!(
                "cc203910175d786927eeb44ea847328047892ddf8590e723c37205cb74600b0a",
                "5ab5337c8eb4ceae0494c2cf89529dcf94572ed267473d567aeed6ab873dee08",
            )
        );
        let y = super::super::decode_point(&public).unwrap();
        let answers = Points::decode(&answers).unwrap();
        assert!(holds((&y, &public), &asked, &answers, &proof));
    }

    #[test]
    fn a_repeated_generator_does_not_repeat_the_nonce_of_another_batch() {
        let share = Scalar::from(7u8);
        let one = suite::hedged_nonce(&share, &[0; 32], &[1; 32], &[2; 32]);
        let two = suite::hedged_nonce(&share, &[0; 32], &[1; 32], &[3; 32]);
        assert_ne!(one, two);
        assert_ne!(
            one,
            suite::hedged_nonce(&share, &[9; 32], &[1; 32], &[2; 32])
        );
    }
}
