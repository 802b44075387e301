//! Key generation without a dealer (FROST DKG over ristretto255): nobody ever
//! holds the whole key. Transport-free: the caller carries messages over
//! channels that authenticate the sender, and round 2 over private ones.
//!
//! Order for each custodian: [`Ceremony::start`], everybody's round 1, then
//! [`Ceremony::echo`] to all (so that all saw the same round 1), everybody's
//! echo, [`Ceremony::round2`] one package to each, everybody's round 2,
//! [`Ceremony::finish`]. Secrets live in memory only: a restart ends a ceremony.

mod error;
mod generator;
mod plan;

use std::collections::BTreeMap;

use frost_ristretto255::Identifier;
use frost_ristretto255::keys::dkg::{self, round1, round2};
use zeroize::Zeroizing;

use super::{Evaluator, KeySet, OprfError};
use crate::ids::{Digest, KeyId, MemberId};
use crate::keys::Algorithm;

use generator::OsGenerator;

pub use error::DkgError;
pub use plan::Plan;

/// A round 2 package and the one custodian that may see it.
pub type PrivatePackage = (MemberId, Zeroizing<Vec<u8>>);

/// Bytes of one package at most; 16 commitments and a proof take under 700.
pub const PACKAGE_BYTES_MAX: usize = 2048;

/// One custodian's state in a running key generation.
pub struct Ceremony {
    plan: Plan,
    own: u16,
    secret1: Option<round1::SecretPackage>,
    secret2: Option<round2::SecretPackage>,
    /// Encoded round 1 packages by index, this node's own among them.
    round1: BTreeMap<u16, Vec<u8>>,
    echoes: BTreeMap<u16, Vec<Digest>>,
    round2: BTreeMap<u16, round2::Package>,
}

impl std::fmt::Debug for Ceremony {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ceremony")
            .field("plan", &self.plan)
            .field("own", &self.own)
            .field("round1", &self.round1.len())
            .field("echoes", &self.echoes.len())
            .field("round2", &self.round2.len())
            .finish_non_exhaustive()
    }
}

/// What a ceremony ends with at one custodian.
pub struct GeneratedKey {
    /// What was agreed on.
    pub plan: Plan,
    /// This custodian's index.
    pub index: u16,
    /// k_i. Never used for signing.
    pub share: Zeroizing<[u8; 32]>,
    /// Y, equal at all custodians.
    pub public_key: [u8; 32],
    /// Every (index, Y_i).
    pub public_shares: Vec<(u16, [u8; 32])>,
}

impl std::fmt::Debug for GeneratedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GeneratedKey")
            .field("key_id", &self.key_id())
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}

impl GeneratedKey {
    /// The id by which the roster and requests name the key.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        Algorithm::RISTRETTO255_SHA512.id_of(&self.public_key)
    }
}

impl Ceremony {
    /// Starts this node's part in `plan`; the package goes to every other custodian.
    ///
    /// # Errors
    /// [`DkgError::Stranger`] when `own` is no custodian of the plan.
    pub fn start(plan: Plan, own: &MemberId) -> Result<(Self, Vec<u8>), DkgError> {
        let index = plan
            .index_of(own)
            .ok_or_else(|| DkgError::Stranger { from: own.clone() })?;
        let (secret, package) = dkg::part1(
            identifier(index)?,
            plan.custodian_count(),
            plan.threshold(),
            OsGenerator,
        )
        .map_err(|_| DkgError::Ended)?;
        let package = package.serialize().map_err(|_| DkgError::Ended)?;
        let ceremony = Self {
            plan,
            own: index,
            secret1: Some(secret),
            secret2: None,
            round1: BTreeMap::from([(index, package.clone())]),
            echoes: BTreeMap::new(),
            round2: BTreeMap::new(),
        };
        Ok((ceremony, package))
    }

    /// The plan that all custodians agree on.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// This node's own round 1 package, to be sent once more after a lost reply.
    #[must_use]
    pub fn own_round1(&self) -> &[u8] {
        self.round1.get(&self.own).map_or(&[], Vec::as_slice)
    }

    /// Takes another custodian's round 1 package. `plan` is the digest of the
    /// plan that came with it.
    ///
    /// # Errors
    /// [`DkgError::Foreign`], [`DkgError::Stranger`], [`DkgError::Twice`],
    /// [`DkgError::Equivocation`] for a second, different package, [`DkgError::BadPackage`].
    pub fn receive_round1(
        &mut self,
        from: &MemberId,
        plan: &Digest,
        package: &[u8],
    ) -> Result<(), DkgError> {
        let index = self.other(from)?;
        if *plan != self.plan.digest() {
            return Err(DkgError::Foreign { from: from.clone() });
        }
        if let Some(known) = self.round1.get(&index) {
            return Err(if known == package {
                DkgError::Twice {
                    from: from.clone(),
                    what: "round 1",
                }
            } else {
                DkgError::Equivocation {
                    culprit: from.clone(),
                    reporter: from.clone(),
                }
            });
        }
        let bad = || DkgError::BadPackage {
            from: from.clone(),
            what: "round 1",
        };
        decode_round1(package, self.plan.threshold()).ok_or_else(bad)?;
        self.round1.insert(index, package.to_vec());
        Ok(())
    }

    /// What this node saw in round 1: one digest a custodian, in index order.
    ///
    /// # Errors
    /// [`DkgError::TooEarly`] until every round 1 package is here.
    pub fn echo(&self) -> Result<Vec<Digest>, DkgError> {
        require(self.round1.len(), self.plan.custodian_count(), "the echo")?;
        Ok(self
            .round1
            .values()
            .map(|package| Digest::of(package))
            .collect())
    }

    /// Takes what another custodian saw in round 1; it may come before this
    /// node has seen everything itself.
    ///
    /// # Errors
    /// [`DkgError::Foreign`], [`DkgError::Stranger`], [`DkgError::Twice`],
    /// [`DkgError::BadPackage`] for a wrong number of digests, and
    /// [`DkgError::Equivocation`] when it is known by now that two versions are about.
    pub fn receive_echo(
        &mut self,
        from: &MemberId,
        ceremony: &[u8],
        seen: &[Digest],
    ) -> Result<(), DkgError> {
        let index = self.other(from)?;
        self.same_ceremony(from, ceremony)?;
        if seen.len() != usize::from(self.plan.custodian_count()) {
            return Err(DkgError::BadPackage {
                from: from.clone(),
                what: "echo",
            });
        }
        if self.echoes.contains_key(&index) {
            return Err(DkgError::Twice {
                from: from.clone(),
                what: "the echo",
            });
        }
        self.echoes.insert(index, seen.to_vec());
        self.compare_echoes()
    }

    fn compare_echoes(&self) -> Result<(), DkgError> {
        for (reporter, seen) in &self.echoes {
            for (about, digest) in (1u16..).zip(seen) {
                let differs = self
                    .round1
                    .get(&about)
                    .is_some_and(|p| Digest::of(p) != *digest);
                if differs {
                    // About its own package this node knows who lies.
                    let culprit = if about == self.own { *reporter } else { about };
                    return Err(DkgError::Equivocation {
                        culprit: self.plan.name(culprit)?,
                        reporter: self.plan.name(*reporter)?,
                    });
                }
            }
        }
        Ok(())
    }

    /// Makes the private packages of round 2, one for each other custodian.
    /// The polynomial is gone afterwards, so this works once.
    ///
    /// # Errors
    /// [`DkgError::TooEarly`] until everybody's echo is here,
    /// [`DkgError::Equivocation`], [`DkgError::BadPackage`] for a proof of
    /// knowledge that does not hold, [`DkgError::Ended`] the second time.
    pub fn round2(&mut self) -> Result<Vec<PrivatePackage>, DkgError> {
        let others = self.plan.custodian_count().saturating_sub(1);
        require(self.round1.len(), self.plan.custodian_count(), "round 2")?;
        require(self.echoes.len(), others, "round 2")?;
        self.compare_echoes()?;
        let packages = self.decoded_round1()?;
        let secret = self.secret1.take().ok_or(DkgError::Ended)?;
        let (secret, outgoing) =
            dkg::part2(secret, &packages).map_err(|error| self.blame_package(&error, "round 1"))?;
        self.secret2 = Some(secret);
        let mut sealed = vec![];
        for index in (1..=self.plan.custodian_count()).filter(|index| *index != self.own) {
            let package = outgoing.get(&identifier(index)?).ok_or(DkgError::Ended)?;
            let bytes = package.serialize().map_err(|_| DkgError::Ended)?;
            sealed.push((self.plan.name(index)?, Zeroizing::new(bytes)));
        }
        Ok(sealed)
    }

    /// Takes the private package that another custodian made for this node.
    ///
    /// # Errors
    /// [`DkgError::TooEarly`] before this node could have sent its echo,
    /// [`DkgError::Foreign`], [`DkgError::Stranger`], [`DkgError::Twice`],
    /// [`DkgError::BadPackage`].
    pub fn receive_round2(
        &mut self,
        from: &MemberId,
        ceremony: &[u8],
        package: &[u8],
    ) -> Result<(), DkgError> {
        let index = self.other(from)?;
        self.same_ceremony(from, ceremony)?;
        require(
            self.round1.len(),
            self.plan.custodian_count(),
            "a round 2 package",
        )?;
        if self.round2.contains_key(&index) {
            return Err(DkgError::Twice {
                from: from.clone(),
                what: "round 2",
            });
        }
        let bad = || DkgError::BadPackage {
            from: from.clone(),
            what: "round 2",
        };
        if package.len() > PACKAGE_BYTES_MAX {
            return Err(bad());
        }
        let package = round2::Package::deserialize(package).map_err(|_| bad())?;
        self.round2.insert(index, package);
        Ok(())
    }

    fn ready(&self) -> Result<(), DkgError> {
        let others = self.plan.custodian_count().saturating_sub(1);
        require(self.round2.len(), others, "the end")?;
        require(usize::from(self.secret2.is_some()), 1, "the end")
    }

    /// Makes the share and the public shares, and checks them: every Y_i comes
    /// from the sum of the commitments, this node's share fits its Y_i, and
    /// every `t` of the Y_i make up Y.
    ///
    /// # Errors
    /// [`DkgError::TooEarly`], [`DkgError::BadPackage`] naming who sent a share
    /// that does not fit his commitments, [`DkgError::BadKey`].
    pub fn finish(&self) -> Result<GeneratedKey, DkgError> {
        self.ready()?;
        let secret = self.secret2.as_ref().ok_or(DkgError::TooEarly {
            what: "the end",
            missing: 1,
        })?;
        let round2 = self
            .round2
            .iter()
            .map(|(index, package)| Ok((identifier(*index)?, package.clone())))
            .collect::<Result<BTreeMap<_, _>, DkgError>>()?;
        let (key, public) = dkg::part3(secret, &self.decoded_round1()?, &round2)
            .map_err(|error| self.blame_package(&error, "round 2"))?;
        let share = Zeroizing::new(key.signing_share().serialize());
        let share = Zeroizing::new(array(&share)?);
        let public_key = array(
            &public
                .verifying_key()
                .serialize()
                .map_err(|_| DkgError::Ended)?,
        )?;
        let mut public_shares = vec![];
        for index in 1..=self.plan.custodian_count() {
            let shares = public.verifying_shares();
            let point = shares.get(&identifier(index)?).ok_or(DkgError::Ended)?;
            let point = point.serialize().map_err(|_| DkgError::Ended)?;
            public_shares.push((index, array(&point)?));
        }
        let generated = GeneratedKey {
            plan: self.plan.clone(),
            index: self.own,
            share,
            public_key,
            public_shares,
        };
        check(&generated)?;
        Ok(generated)
    }

    fn other(&self, from: &MemberId) -> Result<u16, DkgError> {
        self.plan
            .index_of(from)
            .filter(|index| *index != self.own)
            .ok_or_else(|| DkgError::Stranger { from: from.clone() })
    }

    fn same_ceremony(&self, from: &MemberId, ceremony: &[u8]) -> Result<(), DkgError> {
        if ceremony == self.plan.ceremony() {
            Ok(())
        } else {
            Err(DkgError::Foreign { from: from.clone() })
        }
    }

    /// The other custodians' round 1 packages.
    fn decoded_round1(&self) -> Result<BTreeMap<Identifier, round1::Package>, DkgError> {
        let others = self.round1.iter().filter(|(index, _)| **index != self.own);
        others
            .map(|(index, bytes)| {
                let package = decode_round1(bytes, self.plan.threshold()).ok_or(DkgError::Ended)?;
                Ok((identifier(*index)?, package))
            })
            .collect()
    }

    /// Names whom the library found out.
    fn blame_package(&self, error: &frost_ristretto255::Error, what: &'static str) -> DkgError {
        let culprit = error.culprits().first().copied();
        (1..=self.plan.custodian_count())
            .find(|index| identifier(*index).ok() == culprit && culprit.is_some())
            .and_then(|index| self.plan.name(index).ok())
            .map_or(DkgError::Ended, |from| DkgError::BadPackage { from, what })
    }
}

fn require(have: usize, want: u16, what: &'static str) -> Result<(), DkgError> {
    match usize::from(want).saturating_sub(have) {
        0 => Ok(()),
        missing => Err(DkgError::TooEarly { what, missing }),
    }
}

fn check(generated: &GeneratedKey) -> Result<(), DkgError> {
    let threshold = generated.plan.threshold();
    KeySet::new(
        threshold,
        1,
        &generated.public_key,
        &generated.public_shares,
    )?;
    let own = Evaluator::new(generated.index, &generated.share)?;
    let fits = generated
        .public_shares
        .iter()
        .any(|(index, point)| *index == generated.index && point == own.public_share());
    if fits {
        Ok(())
    } else {
        Err(OprfError::BadKeySet {
            reason: "the own share does not fit its public share",
        }
        .into())
    }
}

/// Decodes a package that is as short as it must be, has one spelling, and
/// commits to a polynomial of the plan's degree.
fn decode_round1(bytes: &[u8], threshold: u16) -> Option<round1::Package> {
    if bytes.len() > PACKAGE_BYTES_MAX {
        return None;
    }
    let package = round1::Package::deserialize(bytes).ok()?;
    let commitments = package.commitment().serialize().ok()?;
    let canonical = package.serialize().ok()? == bytes;
    (canonical && commitments.len() == usize::from(threshold)).then_some(package)
}

/// Identifiers are the plain numbers 1..n, as the Lagrange integers expect.
fn identifier(index: u16) -> Result<Identifier, DkgError> {
    Identifier::try_from(index).map_err(|_| DkgError::Ended)
}

fn array(bytes: &[u8]) -> Result<[u8; 32], DkgError> {
    bytes.try_into().map_err(|_| DkgError::Ended)
}
