//! Carries one node's part of a key generation through to its end: sends its
//! messages until they are taken, and waits for those of the others.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::blame::{Blame, Blamed};
use crate::custodian::{Custodian, CustodianError};
use crate::ids::MemberId;
use crate::tokens::TransportError;
use crate::wire::v1::{
    KeygenEchoRequest, KeygenPlan, KeygenRound1Request, KeygenRound2Request, TokenKey,
};

use super::read_plan;

/// The pause before a message is sent, or a step is tried, once more.
const PAUSE: Duration = Duration::from_millis(200);

/// Carries the three messages of a key generation to another custodian.
/// Round 2 is private: the channel must be encrypted to that custodian alone.
pub trait KeygenTransport: Send + Sync {
    /// Delivers a round 1 package.
    fn round1(
        &self,
        to: &MemberId,
        request: KeygenRound1Request,
    ) -> impl Future<Output = Result<(), TransportError>> + Send;

    /// Delivers what this node saw in round 1.
    fn echo(
        &self,
        to: &MemberId,
        request: KeygenEchoRequest,
    ) -> impl Future<Output = Result<(), TransportError>> + Send;

    /// Delivers the private package for `to`.
    fn round2(
        &self,
        to: &MemberId,
        request: KeygenRound2Request,
    ) -> impl Future<Output = Result<(), TransportError>> + Send;
}

/// Why a key generation did not come to its end; a new one is needed.
#[derive(Debug, thiserror::Error)]
pub enum KeygenError {
    /// A custodian refused a message.
    #[error("{member} did not take the {what}: {source}")]
    Delivery {
        /// Which custodian.
        member: MemberId,
        /// Which message.
        what: &'static str,
        /// What the transport said last.
        source: TransportError,
    },
    /// A step failed here, or the others' messages did not come in time.
    #[error(transparent)]
    Custodian(#[from] CustodianError),
    /// The process is stopping.
    #[error("the node is stopping")]
    Stopped,
}

impl Blamed for KeygenError {
    fn blame(&self) -> Blame {
        match self {
            Self::Delivery {
                source: TransportError::Refused { blame, .. },
                ..
            } => *blame,
            Self::Delivery { .. } | Self::Stopped => Blame::Unavailable,
            Self::Custodian(e) => e.blame(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Delivery { .. } => "keygen.delivery",
            Self::Custodian(e) => e.code(),
            Self::Stopped => "keygen.stopped",
        }
    }
}

/// Runs this node's part of `plan` to its end, which every custodian of the
/// plan has to do at about the same time. Each step is tried `attempts` times,
/// 200 ms apart. The share is durable when this returns; a failed or dropped
/// run leaves no share.
///
/// # Errors
/// [`KeygenError`]; the ceremony is given up then.
pub async fn run_keygen<T: KeygenTransport>(
    custodian: Arc<Custodian>,
    transport: &T,
    plan: &KeygenPlan,
    attempts: u32,
) -> Result<TokenKey, KeygenError> {
    let result = Run {
        custodian: &custodian,
        transport,
        plan,
        attempts,
    }
    .to_end()
    .await;
    if result.is_err() {
        custodian.keygen_abandon(&plan.ceremony);
    }
    result
}

struct Run<'a, T> {
    custodian: &'a Arc<Custodian>,
    transport: &'a T,
    plan: &'a KeygenPlan,
    attempts: u32,
}

impl<T: KeygenTransport> Run<'_, T> {
    async fn to_end(&self) -> Result<TokenKey, KeygenError> {
        let name = self.plan.ceremony.clone();
        let package = self.custodian.keygen_join(self.plan)?;
        let plan = read_plan(self.plan).map_err(CustodianError::from)?;
        let others = plan
            .custodians()
            .iter()
            .filter(|member| **member != self.custodian.own);
        let others: Vec<MemberId> = others.cloned().collect();
        for to in &others {
            let request = KeygenRound1Request {
                plan: Some(self.plan.clone()),
                package: package.clone().into(),
            };
            self.deliver(to, "round 1 package", || {
                self.transport.round1(to, request.clone())
            })
            .await?;
        }
        let echo = self
            .step(|custodian| custodian.keygen_own_echo(&name))
            .await?;
        let seen: Vec<_> = echo.iter().map(|d| d.as_bytes().to_vec().into()).collect();
        for to in &others {
            let request = KeygenEchoRequest {
                ceremony: name.clone(),
                round1_sha256: seen.clone(),
            };
            self.deliver(to, "echo", || self.transport.echo(to, request.clone()))
                .await?;
        }
        for (to, package) in self
            .step(|custodian| custodian.keygen_own_round2(&name))
            .await?
        {
            let request = KeygenRound2Request {
                ceremony: name.clone(),
                package: package.to_vec().into(),
            };
            self.deliver(&to, "round 2 package", || {
                self.transport.round2(&to, request.clone())
            })
            .await?;
        }
        let ready = name.clone();
        self.step(|custodian| custodian.keygen_ready(&ready))
            .await?;
        let custodian = Arc::clone(self.custodian);
        let finished = tokio::task::spawn_blocking(move || custodian.keygen_finish(&name)).await;
        Ok(finished.map_err(|_| KeygenError::Stopped)??)
    }

    /// Sends until it is taken. That it was taken before, or that the receiver
    /// has all it needs and has ended, means that only the reply was lost.
    async fn deliver<F: Future<Output = Result<(), TransportError>>>(
        &self,
        to: &MemberId,
        what: &'static str,
        send: impl Fn() -> F,
    ) -> Result<(), KeygenError> {
        let mut tried = 0;
        loop {
            tried += 1;
            let error = match send().await {
                Ok(()) => return Ok(()),
                Err(TransportError::Refused { code, .. }) if code == "dkg.twice" => return Ok(()),
                Err(TransportError::Refused { code, .. })
                    if code == "dkg.ended" && what == "round 2 package" =>
                {
                    return Ok(());
                }
                Err(error) => error,
            };
            let hopeless = matches!(
                &error,
                TransportError::Refused {
                    blame: Blame::Misbehaved | Blame::Denied,
                    ..
                }
            );
            if hopeless || tried >= self.attempts {
                return Err(KeygenError::Delivery {
                    member: to.clone(),
                    what,
                    source: error,
                });
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Tries a step until the others' messages for it are here.
    async fn step<R>(
        &self,
        step: impl Fn(&Custodian) -> Result<R, CustodianError>,
    ) -> Result<R, KeygenError> {
        let mut tried = 0;
        loop {
            tried += 1;
            match step(self.custodian) {
                Err(error) if error.blame() == Blame::Busy && tried < self.attempts => {
                    tokio::time::sleep(PAUSE).await;
                }
                result => return Ok(result?),
            }
        }
    }
}
