//! A custodian's part in key generations: each message of the wire goes to one
//! function here. A ceremony lives in memory; a restart ends it, and it is
//! started anew under another name.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, PoisonError};

use super::keys::{self, HeldKey};
use super::{Custodian, CustodianError};
use crate::ids::{Digest, MemberId};
use crate::keys::Algorithm;
use crate::oprf::dkg::{Ceremony, DkgError, GeneratedKey, Plan, PrivatePackage};
use crate::wire::v1::{CustodianShare, KeygenPlan, TokenClass, TokenKey, TokenKeyState};

/// Key generations that may run at once.
pub const CEREMONIES_MAX: usize = 8;

/// Names of finished key generations that are remembered.
const FINISHED_MAX: usize = 64;

/// The key generations that this node joined.
#[derive(Debug, Default)]
pub(super) struct Ceremonies {
    running: HashMap<[u8; 16], Ceremony>,
    finished: VecDeque<[u8; 16]>,
}

/// Reads a plan from the wire.
///
/// # Errors
/// [`DkgError::Plan`].
pub fn read_plan(plan: &KeygenPlan) -> Result<Plan, DkgError> {
    let bad = |reason| DkgError::Plan { reason };
    let ceremony = plan.ceremony[..]
        .try_into()
        .map_err(|_| bad("its name is not 16 bytes"))?;
    let class = u8::try_from(plan.token_class)
        .ok()
        .filter(|class| TokenClass::try_from(i32::from(*class)).is_ok())
        .ok_or_else(|| bad("its token class is unknown"))?;
    let threshold = u16::try_from(plan.threshold).map_err(|_| bad("its threshold is too high"))?;
    let custodians = plan
        .custodians
        .iter()
        .map(|name| MemberId::new(name))
        .collect::<Result<_, _>>()
        .map_err(|_| bad("a custodian's name is malformed"))?;
    Plan::new(ceremony, class, threshold, custodians)
}

impl Custodian {
    /// Joins a key generation that this node's operator agreed to; returns the
    /// round 1 package for every other custodian. Joining twice is joining once.
    ///
    /// # Errors
    /// [`CustodianError::Keygen`], [`CustodianError::Ceremonies`].
    pub fn keygen_join(&self, plan: &KeygenPlan) -> Result<Vec<u8>, CustodianError> {
        let plan = read_plan(plan)?;
        let mut ceremonies = self
            .ceremonies
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = ceremonies.running.get(plan.ceremony()) {
            if *known.plan() == plan {
                return Ok(known.own_round1().to_vec());
            }
            return Err(DkgError::Foreign {
                from: self.own.clone(),
            }
            .into());
        }
        if ceremonies.running.len() >= CEREMONIES_MAX {
            return Err(CustodianError::Ceremonies {
                limit: CEREMONIES_MAX,
            });
        }
        let name = *plan.ceremony();
        let (ceremony, package) = Ceremony::start(plan, &self.own)?;
        ceremonies.running.insert(name, ceremony);
        Ok(package)
    }

    /// Takes another custodian's round 1 package.
    ///
    /// # Errors
    /// [`CustodianError::Keygen`]; [`DkgError::Ended`] while this node has not joined.
    pub fn keygen_round1(
        &self,
        from: &MemberId,
        plan: &KeygenPlan,
        package: &[u8],
    ) -> Result<(), CustodianError> {
        let plan = read_plan(plan)?;
        self.take(plan.ceremony(), |c| {
            c.receive_round1(from, &plan.digest(), package)
        })
    }

    /// What this node saw in round 1, for every other custodian.
    ///
    /// # Errors
    /// [`CustodianError::Keygen`]; [`DkgError::TooEarly`] until all packages are here.
    pub fn keygen_own_echo(&self, ceremony: &[u8]) -> Result<Vec<Digest>, CustodianError> {
        self.with(ceremony, |c| c.echo())
    }

    /// Takes what another custodian saw in round 1.
    ///
    /// # Errors
    /// [`CustodianError::Keygen`].
    pub fn keygen_echo<B: AsRef<[u8]>>(
        &self,
        from: &MemberId,
        ceremony: &[u8],
        seen: &[B],
    ) -> Result<(), CustodianError> {
        let seen = seen
            .iter()
            .map(|digest| Digest::from_slice(digest.as_ref()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| DkgError::BadPackage {
                from: from.clone(),
                what: "echo",
            })?;
        self.take(ceremony, |c| c.receive_echo(from, ceremony, &seen))
    }

    /// The private packages of round 2 with their receivers; made once.
    ///
    /// # Errors
    /// [`CustodianError::Keygen`]; [`DkgError::TooEarly`] until all echoes are here.
    pub fn keygen_own_round2(
        &self,
        ceremony: &[u8],
    ) -> Result<Vec<PrivatePackage>, CustodianError> {
        self.with(ceremony, Ceremony::round2)
    }

    /// Takes the private package that another custodian made for this node.
    ///
    /// # Errors
    /// [`CustodianError::Keygen`].
    pub fn keygen_round2(
        &self,
        from: &MemberId,
        ceremony: &[u8],
        package: &[u8],
    ) -> Result<(), CustodianError> {
        self.take(ceremony, |c| c.receive_round2(from, ceremony, package))
    }

    /// Ends the ceremony: the share is sealed and durable when this returns.
    /// The public side, which must be equal at all custodians, is for the
    /// roster; until the roster lists it the key is not served.
    ///
    /// # Errors
    /// [`CustodianError::Keygen`], [`CustodianError::Store`].
    pub fn keygen_finish(&self, ceremony: &[u8]) -> Result<TokenKey, CustodianError> {
        let generated = self.with(ceremony, |c| c.finish())?;
        let key = self.keep(&generated)?;
        let mut ceremonies = self
            .ceremonies
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        ceremonies.running.remove(ceremony);
        if ceremonies.finished.len() == FINISHED_MAX {
            ceremonies.finished.pop_front();
        }
        ceremonies.finished.push_back(*generated.plan.ceremony());
        Ok(key)
    }

    /// Gives a ceremony up.
    pub fn keygen_abandon(&self, ceremony: &[u8]) {
        let mut ceremonies = self
            .ceremonies
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        ceremonies.running.remove(ceremony);
    }

    fn keep(&self, generated: &GeneratedKey) -> Result<TokenKey, CustodianError> {
        let plan = &generated.plan;
        let shares = plan.custodians().iter().zip(&generated.public_shares);
        let key = TokenKey {
            key_id: generated.key_id().as_bytes().to_vec().into(),
            token_class: i32::from(plan.class()),
            threshold: u32::from(plan.threshold()),
            public_key: generated.public_key.to_vec().into(),
            shares: shares
                .map(|(member, (index, point))| CustodianShare {
                    member: member.to_string(),
                    index: u32::from(*index),
                    public_share: point.to_vec().into(),
                })
                .collect(),
            epoch: 1,
            state: TokenKeyState::Current.into(),
            suite: Algorithm::RISTRETTO255_SHA512.number().into(),
        };
        let held =
            HeldKey::new(generated.index, &generated.share, &key).ok_or(CustodianError::Share)?;
        keys::keep(&self.store, &self.seal, &held, &generated.share, &key)?;
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.insert((held.key_id(), held.epoch()), Arc::new(held));
        Ok(key)
    }

    /// Hands a message to its ceremony. One that is here already was sent again
    /// because its reply was lost; so was one for a ceremony that has everything.
    fn take(
        &self,
        ceremony: &[u8],
        step: impl FnOnce(&mut Ceremony) -> Result<(), DkgError>,
    ) -> Result<(), CustodianError> {
        let finished = {
            let ceremonies = self
                .ceremonies
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            ceremonies.finished.iter().any(|name| name == ceremony)
        };
        if finished {
            return Ok(());
        }
        match self.with(ceremony, step) {
            Err(CustodianError::Keygen(DkgError::Twice { .. })) => Ok(()),
            result => result,
        }
    }

    fn with<R>(
        &self,
        ceremony: &[u8],
        step: impl FnOnce(&mut Ceremony) -> Result<R, DkgError>,
    ) -> Result<R, CustodianError> {
        let mut ceremonies = self
            .ceremonies
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let running = ceremonies
            .running
            .get_mut(ceremony)
            .ok_or(DkgError::Ended)?;
        Ok(step(running)?)
    }
}
