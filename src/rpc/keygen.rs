//! Driving one custodian's part of a key generation over the wire: join, then
//! round 1 to all, the echo of it to all, round 2 to each alone. Every step is
//! repeated until the others are ready for it, within a time limit.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tonic::Status;

use crate::access::Asked;
use crate::blame::{Blame, Blamed};
use crate::custodian::{Custodian, CustodianError};
use crate::ids::MemberId;
use crate::peers::client::{PeerClients, peer_error};
use crate::replicate::PeerError;
use crate::store::StoreError;
use crate::wire::v1;

/// Pause before a step that the others were not ready for is tried again.
const RETRY_MS: u64 = 100;
/// Tries of one step: half a minute.
const TRIES_MAX: u32 = 300;

/// Why a key generation ended without a key. It is started anew.
#[derive(Debug, thiserror::Error)]
pub enum KeygenError {
    /// This node's part failed, or another custodian misbehaved.
    #[error(transparent)]
    Custodian(#[from] CustodianError),
    /// Another custodian could not be reached in time.
    #[error("key generation: {0}")]
    Peer(#[from] PeerError),
    /// The others did not get as far in time.
    #[error("the other custodians did not finish {0} in time")]
    TooSlow(&'static str),
}

impl Blamed for KeygenError {
    fn blame(&self) -> Blame {
        match self {
            Self::Custodian(e) => e.blame(),
            Self::Peer(e) => e.blame,
            Self::TooSlow(_) => Blame::Unavailable,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Custodian(e) => e.code(),
            Self::Peer(_) => "keygen.peer",
            Self::TooSlow(_) => "keygen.too_slow",
        }
    }
}

/// Runs this node's part of the ceremony that `plan` names to its end; returns
/// the public side of the key, which is for the roster. Whom it sent what is
/// noted in `asked`.
///
/// # Errors
/// [`KeygenError`]; the ceremony is given up here.
pub async fn run(
    custodian: &Arc<Custodian>,
    peers: &Arc<PeerClients>,
    own: &MemberId,
    plan: &v1::KeygenPlan,
    asked: &Asked,
) -> Result<v1::TokenKey, KeygenError> {
    let result = rounds(custodian, peers, own, plan, asked).await;
    if result.is_err() {
        let ceremony = plan.ceremony.clone();
        offload(custodian, move |custodian| {
            custodian.keygen_abandon(&ceremony);
            Ok(())
        })
        .await?;
    }
    result
}

async fn rounds(
    custodian: &Arc<Custodian>,
    peers: &Arc<PeerClients>,
    own: &MemberId,
    plan: &v1::KeygenPlan,
    asked: &Asked,
) -> Result<v1::TokenKey, KeygenError> {
    let others: Vec<MemberId> = plan
        .custodians
        .iter()
        .filter_map(|name| MemberId::new(name).ok())
        .filter(|id| id != own)
        .collect();
    let joining = plan.clone();
    let package = offload(custodian, move |custodian| custodian.keygen_join(&joining)).await?;
    for to in &others {
        let message = v1::KeygenRound1Request {
            plan: Some(plan.clone()),
            package: package.clone().into(),
        };
        send(to, asked, || {
            let (client, message) = (peers.custodian(to), message.clone());
            async move { Ok(client?.keygen_round1(message).await.map(drop)) }
        })
        .await?;
    }
    let ceremony = &plan.ceremony;
    let seen = ready(custodian, ceremony, "round 1", Custodian::keygen_own_echo).await?;
    for to in &others {
        let message = v1::KeygenEchoRequest {
            ceremony: plan.ceremony.clone(),
            round1_sha256: seen.iter().map(|d| d.0.to_vec().into()).collect(),
        };
        send(to, asked, || {
            let (client, message) = (peers.custodian(to), message.clone());
            async move { Ok(client?.keygen_echo(message).await.map(drop)) }
        })
        .await?;
    }
    let packages = ready(
        custodian,
        ceremony,
        "the echo",
        Custodian::keygen_own_round2,
    )
    .await?;
    for (to, package) in &packages {
        let message = v1::KeygenRound2Request {
            ceremony: plan.ceremony.clone(),
            package: package.to_vec().into(),
        };
        send(to, asked, || {
            let (client, message) = (peers.custodian(to), message.clone());
            async move { Ok(client?.keygen_round2(message).await.map(drop)) }
        })
        .await?;
    }
    ready(custodian, ceremony, "round 2", Custodian::keygen_finish).await
}

/// Runs a step of this node off the async threads: it writes to the disk.
async fn offload<T: Send + 'static>(
    custodian: &Arc<Custodian>,
    work: impl FnOnce(&Custodian) -> Result<T, CustodianError> + Send + 'static,
) -> Result<T, CustodianError> {
    let custodian = Arc::clone(custodian);
    let done = tokio::task::spawn_blocking(move || work(&custodian)).await;
    done.unwrap_or(Err(CustodianError::Store(StoreError::Closed)))
}

/// Sends one message until the receiver takes it. What it refuses for another
/// reason than being behind is final.
async fn send<F>(to: &MemberId, asked: &Asked, call: impl FnMut() -> F) -> Result<(), KeygenError>
where
    F: Future<Output = Result<Result<(), Status>, PeerError>>,
{
    let place = asked.sending(to, 1);
    let sent = repeat(to, call).await;
    asked.ended(place, sent.as_ref().map_or_else(Blamed::code, |()| "ok"));
    sent
}

async fn repeat<F>(to: &MemberId, mut call: impl FnMut() -> F) -> Result<(), KeygenError>
where
    F: Future<Output = Result<Result<(), Status>, PeerError>>,
{
    let mut last = None;
    for _ in 0..TRIES_MAX {
        match call().await? {
            Ok(()) => return Ok(()),
            Err(status) => {
                let error = peer_error(to, &status);
                let behind = matches!(
                    error.blame,
                    Blame::Unavailable | Blame::Stale | Blame::NotFound | Blame::Busy
                );
                if !behind {
                    return Err(error.into());
                }
                last = Some(error);
            }
        }
        tokio::time::sleep(Duration::from_millis(RETRY_MS)).await;
    }
    Err(last.map_or(KeygenError::TooSlow("sending"), KeygenError::Peer))
}

/// Repeats a step of this node until the others' messages for it are here.
async fn ready<T: Send + 'static>(
    custodian: &Arc<Custodian>,
    ceremony: &Bytes,
    step: &'static str,
    attempt: fn(&Custodian, &[u8]) -> Result<T, CustodianError>,
) -> Result<T, KeygenError> {
    for _ in 0..TRIES_MAX {
        let ceremony = ceremony.clone();
        match offload(custodian, move |custodian| attempt(custodian, &ceremony)).await {
            Err(e) if e.blame() == Blame::Busy => {}
            done => return Ok(done?),
        }
        tokio::time::sleep(Duration::from_millis(RETRY_MS)).await;
    }
    Err(KeygenError::TooSlow(step))
}
