//! What all custodians agree on before round 1: its digest goes with every
//! round 1 package, so that nobody takes part in another ceremony than he thinks.

use super::DkgError;
use crate::ids::{Digest, MemberId};
use crate::oprf::CUSTODIANS_MAX;

/// A planned key generation. Custodian `i` (from 1) is `custodians[i - 1]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    ceremony: [u8; 16],
    class: u8,
    threshold: u16,
    custodians: Vec<MemberId>,
}

impl Plan {
    /// Checks a plan: 2 to [`CUSTODIANS_MAX`] different custodians and a
    /// threshold from 2 to their number. `class` is the roster's token class.
    ///
    /// # Errors
    /// [`DkgError::Plan`].
    pub fn new(
        ceremony: [u8; 16],
        class: u8,
        threshold: u16,
        custodians: Vec<MemberId>,
    ) -> Result<Self, DkgError> {
        let bad = |reason| Err(DkgError::Plan { reason });
        if !(2..=usize::from(CUSTODIANS_MAX)).contains(&custodians.len()) {
            return bad("it must have 2 to 16 custodians");
        }
        if threshold < 2 || usize::from(threshold) > custodians.len() {
            return bad("the threshold must be 2 to the number of custodians");
        }
        let repeated = custodians
            .iter()
            .enumerate()
            .any(|(n, c)| custodians[..n].contains(c));
        if repeated {
            return bad("a custodian is named twice");
        }
        if class == 0 {
            return bad("it names no token class");
        }
        Ok(Self {
            ceremony,
            class,
            threshold,
            custodians,
        })
    }

    /// The 16 random bytes that name the ceremony.
    #[must_use]
    pub fn ceremony(&self) -> &[u8; 16] {
        &self.ceremony
    }

    /// The roster's number of the token class.
    #[must_use]
    pub fn class(&self) -> u8 {
        self.class
    }

    /// How many custodians will be needed for an evaluation.
    #[must_use]
    pub fn threshold(&self) -> u16 {
        self.threshold
    }

    /// The custodians, in index order.
    #[must_use]
    pub fn custodians(&self) -> &[MemberId] {
        &self.custodians
    }

    pub(super) fn custodian_count(&self) -> u16 {
        u16::try_from(self.custodians.len()).expect("a plan has at most 16 custodians")
    }

    /// The index of a custodian, from 1.
    #[must_use]
    pub fn index_of(&self, member: &MemberId) -> Option<u16> {
        (1u16..)
            .zip(&self.custodians)
            .find(|(_, name)| *name == member)
            .map(|(index, _)| index)
    }

    pub(super) fn name(&self, index: u16) -> Result<MemberId, DkgError> {
        let position = usize::from(index).checked_sub(1);
        position
            .and_then(|p| self.custodians.get(p))
            .cloned()
            .ok_or(DkgError::Ended)
    }

    /// SHA-256 over every field, each with its length before it.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let threshold = self.threshold.to_be_bytes();
        let mut bytes = vec![];
        let fixed: [&[u8]; 4] = [
            b"casegate/keygen-plan/v1",
            &self.ceremony,
            &[self.class],
            &threshold,
        ];
        for field in fixed
            .into_iter()
            .chain(self.custodians.iter().map(|c| c.as_str().as_bytes()))
        {
            let length = u32::try_from(field.len()).expect("fields of a plan are short");
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(field);
        }
        Digest::of(&bytes)
    }
}
