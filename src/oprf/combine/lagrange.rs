//! Lagrange coefficients of a set of custodians, as small integers over one
//! common denominator: 2-of-3 and 3-of-5 need no integer above 15, so a sum
//! costs a few additions instead of full multiplications.

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::Identity;

/// λ_i = `integers[i]` / `denominator` for the value at 0.
#[derive(Debug)]
pub(super) struct Weights {
    integers: Vec<i64>,
    pub(super) denominator: Scalar,
}

impl Weights {
    /// Σ integers[i]·points[i], in variable time: answers are public.
    pub(super) fn sum(&self, points: &[RistrettoPoint]) -> RistrettoPoint {
        let bits = self
            .integers
            .iter()
            .map(|a| 64 - a.unsigned_abs().leading_zeros())
            .max();
        let mut sum = RistrettoPoint::identity();
        for bit in (0..bits.unwrap_or(0)).rev() {
            sum += sum;
            for (integer, point) in self.integers.iter().zip(points) {
                if (integer.unsigned_abs() >> bit) & 1 == 1 {
                    if *integer < 0 {
                        sum -= point
                    } else {
                        sum += point
                    }
                }
            }
        }
        sum
    }
}

fn gcd(a: i128, b: i128) -> i128 {
    if b == 0 { a.abs() } else { gcd(b, a % b) }
}

/// The weights for the value at 0 of the polynomial through `indices`, or
/// nothing when an index repeats or the integers do not fit.
pub(super) fn integers(indices: &[u16]) -> Option<Weights> {
    let mut fractions = vec![];
    let mut denominator: i128 = 1;
    for i in indices {
        let (mut over, mut under): (i128, i128) = (1, 1);
        for j in indices.iter().filter(|j| *j != i) {
            over = over.checked_mul(i128::from(*j))?;
            under = under.checked_mul(i128::from(*j) - i128::from(*i))?;
        }
        let shared = gcd(over, under);
        let sign = under.signum();
        let (over, under) = (sign * over / shared, sign * under / shared);
        denominator = denominator.checked_mul(under / gcd(denominator, under))?;
        fractions.push((over, under));
    }
    let integers = fractions
        .into_iter()
        .map(|(over, under)| i64::try_from(over.checked_mul(denominator / under)?).ok())
        .collect::<Option<Vec<_>>>()?;
    let repeated = indices
        .iter()
        .enumerate()
        .any(|(n, i)| indices[..n].contains(i));
    let denominator = u64::try_from(denominator).ok().filter(|_| !repeated)?;
    Some(Weights {
        integers,
        denominator: Scalar::from(denominator),
    })
}

/// The scalars that take the values at `indices` to the value at `x`: for the
/// checks of a key set, where speed does not matter.
pub(super) fn weights_at(indices: &[u16], x: u16) -> Option<Vec<Scalar>> {
    let at = |n: u16| Scalar::from(n);
    indices
        .iter()
        .map(|i| {
            let (mut over, mut under) = (Scalar::ONE, Scalar::ONE);
            for j in indices.iter().filter(|j| *j != i) {
                over *= at(*j) - at(x);
                under *= at(*j) - at(*i);
            }
            (under != Scalar::ZERO).then(|| over * under.invert())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subsets(n: u16, t: usize) -> Vec<Vec<u16>> {
        (0u32..1 << n)
            .filter(|mask| mask.count_ones() as usize == t)
            .map(|mask| (1..=n).filter(|i| mask >> (i - 1) & 1 == 1).collect())
            .collect()
    }

    #[test]
    fn small_integers_agree_with_field_inversion_for_every_subset() {
        for (n, t) in [(3, 2), (5, 3), (7, 4), (16, 8), (16, 16), (1, 1)] {
            for set in subsets(n, t) {
                let weights = integers(&set).expect("small indices fit");
                let inverse = weights.denominator.invert();
                for (small, want) in weights.integers.iter().zip(weights_at(&set, 0).unwrap()) {
                    let magnitude = Scalar::from(small.unsigned_abs()) * inverse;
                    assert_eq!(
                        if *small < 0 { -magnitude } else { magnitude },
                        want,
                        "{set:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn three_of_five_needs_no_integer_above_fifteen() {
        let largest = subsets(5, 3)
            .iter()
            .flat_map(|set| integers(set).unwrap().integers)
            .map(i64::unsigned_abs)
            .max();
        assert_eq!(largest, Some(15));
    }

    #[test]
    fn an_index_twice_has_no_weights() {
        assert!(integers(&[1, 1, 2]).is_none());
    }
}
