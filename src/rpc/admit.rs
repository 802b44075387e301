//! Who gets in: identity from the connection's certificate, limits a peer,
//! then the policy table. A refused call says which limit or rule it met, and is
//! counted in the access log.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::service::Interceptor;
use tonic::{Request, Status};

use crate::access::{AccessLine, AccessLog, OfficerProof};
use crate::blame::{Blame, Blamed};
use crate::config::Limits;
use crate::ids::{MemberId, QueryId};
use crate::officers::Officers;
use crate::peers::status::to_peer;
use crate::policy::{self, Denied, Identity, Method, Permit, Subject};
use crate::tls::{Peer, RosterHandle};
use crate::wire::v1::AccessScope;

/// Why a call was turned away before it was looked at.
#[derive(Debug, thiserror::Error)]
pub enum AdmitError {
    /// The connection has no identity that counts now.
    #[error("the connection's certificate does not count, or not any more")]
    NoIdentity,
    /// The caller's member is not in the newest roster any more.
    #[error("{0} is not in the roster any more")]
    NotInRoster(MemberId),
    /// The newest roster here has run out.
    #[error("the roster of this node has run out; it needs a newer one")]
    RosterExpired,
    /// The newest roster here requires what this software does not speak.
    #[error("this node answers again after an upgrade: the roster requires {}", .0.join(", "))]
    RosterFeatures(Vec<String>),
    /// The policy table says no.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// Too many calls under way.
    #[error("{0} calls are under way already for this member: the limit per peer")]
    TooMany(usize),
    /// Too many calls a second.
    #[error("more than {0} calls a second from this member: the rate limit per peer")]
    TooFast(u32),
}

impl Blamed for AdmitError {
    fn blame(&self) -> Blame {
        match self {
            Self::NoIdentity | Self::NotInRoster(_) => Blame::Denied,
            Self::RosterExpired => Blame::Stale,
            Self::RosterFeatures(_) => Blame::Unavailable,
            Self::Denied(e) => e.blame(),
            Self::TooMany(_) | Self::TooFast(_) => Blame::Busy,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NoIdentity => "admit.no_identity",
            Self::NotInRoster(_) => "admit.not_in_roster",
            Self::RosterExpired => "admit.roster_expired",
            Self::RosterFeatures(_) => "admit.roster_features",
            Self::Denied(e) => e.code(),
            Self::TooMany(_) => "admit.too_many_calls",
            Self::TooFast(_) => "admit.too_fast",
        }
    }
}

/// Decides about each call. One in a node.
#[derive(Debug)]
pub struct Gate {
    own: MemberId,
    roster: RosterHandle,
    officers: Officers,
    access: AccessLog,
    clock: crate::clock::Clock,
    calls_per_peer_max: usize,
    calls_per_peer_per_s: NonZeroU32,
    rates: DefaultKeyedRateLimiter<MemberId>,
    running: Mutex<HashMap<MemberId, Arc<Semaphore>>>,
}

/// An admitted call: the permit that its service requires, and its place among
/// the peer's running calls, given back on drop.
#[derive(Debug)]
pub struct Admitted {
    /// Who may call what.
    pub permit: Permit,
    _place: OwnedSemaphorePermit,
}

/// What a refused call said about itself, for the access log.
#[derive(Debug, Default)]
pub struct Asking {
    /// The question that it belongs to, if it names one.
    pub query_id: Option<QueryId>,
    /// The officer's signature under it, if it holds.
    pub officer: OfficerProof,
}

impl Gate {
    /// Makes the gate of one node. A rate of 0 counts as 1: the config refuses it.
    #[must_use]
    pub fn new(
        own: MemberId,
        roster: RosterHandle,
        officers: Officers,
        access: AccessLog,
        clock: crate::clock::Clock,
        limits: &Limits,
    ) -> Self {
        let rate = NonZeroU32::new(limits.peer_requests_per_s).unwrap_or(NonZeroU32::MIN);
        Self {
            own,
            roster,
            officers,
            access,
            clock,
            calls_per_peer_max: limits.peer_concurrency,
            calls_per_peer_per_s: rate,
            rates: RateLimiter::keyed(Quota::per_second(rate)),
            running: Mutex::default(),
        }
    }

    /// Admits a call, or says which limit or rule refuses it. A refusal is
    /// counted for the access log, which is written soon after, or by
    /// [`AccessLog::write_denials`].
    ///
    /// # Errors
    /// [`AdmitError`].
    pub fn admit<T>(&self, request: &Request<T>, method: Method) -> Result<Admitted, AdmitError> {
        let peer = request.extensions().get::<Peer>();
        self.judge(peer, method)
            .inspect_err(|e| self.deny(e, peer, method, Asking::default()))
    }

    /// Counts a refusal of [`Gate::judge`] for the access log. One that belongs
    /// to a question is a line of its own, as the asker's node expects it to be,
    /// unless a limit was met.
    pub fn deny(&self, error: &AdmitError, peer: Option<&Peer>, method: Method, asking: Asking) {
        let alone = asking.query_id.is_some() && error.blame() != Blame::Busy;
        let (scope, caller) = match peer {
            None => (AccessScope::Local, String::new()),
            Some(peer) if asking.query_id.is_some() => {
                (AccessScope::Evaluate, peer.identity.member.to_string())
            }
            Some(peer) => (AccessScope::Local, peer.identity.to_string()),
        };
        let mut line = AccessLine::new(scope, method.as_str(), caller);
        error.code().clone_into(&mut line.outcome);
        line.query_id = asking.query_id.unwrap_or(line.query_id);
        line.officer = asking.officer;
        self.access.deny(line, alone);
    }

    /// As [`Gate::admit`], for a caller that calls [`Gate::deny`] itself.
    ///
    /// # Errors
    /// [`AdmitError`].
    pub fn judge(&self, peer: Option<&Peer>, method: Method) -> Result<Admitted, AdmitError> {
        let peer = peer.ok_or(AdmitError::NoIdentity)?;
        let identity = &peer.identity;
        let place = self.place(&identity.member)?;
        if self.rates.check_key(&identity.member).is_err() {
            return Err(AdmitError::TooFast(self.calls_per_peer_per_s.get()));
        }
        let permit = self.authorize(peer, method)?;
        Ok(Admitted {
            permit,
            _place: place,
        })
    }

    fn place(&self, member: &MemberId) -> Result<OwnedSemaphorePermit, AdmitError> {
        let semaphore = {
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(
                running
                    .entry(member.clone())
                    .or_insert_with(|| Arc::new(Semaphore::new(self.calls_per_peer_max))),
            )
        };
        semaphore
            .try_acquire_owned()
            .map_err(|_| AdmitError::TooMany(self.calls_per_peer_max))
    }

    /// Judges the caller by the roster and the list of officers of this moment,
    /// so that a removed member or suspended officer is out on open
    /// connections too.
    fn authorize(&self, peer: &Peer, method: Method) -> Result<Permit, AdmitError> {
        let roster = self.roster.load();
        let identity: &Identity = &peer.identity;
        if roster.member(&identity.member).is_none() {
            return Err(AdmitError::NotInRoster(identity.member.clone()));
        }
        if roster.expires_at <= self.clock.now() && !method.works_on_expired_roster() {
            return Err(AdmitError::RosterExpired);
        }
        let lacking = roster.lacking();
        if !lacking.is_empty() && !method.works_on_expired_roster() {
            return Err(AdmitError::RosterFeatures(lacking));
        }
        // The certificate is judged as in a new handshake: one that ended, or
        // whose CA the roster no longer names, is out on open connections too.
        if peer.recheck(&roster, self.clock.now()).is_err() {
            return Err(AdmitError::NoIdentity);
        }
        let rights = match &identity.subject {
            Subject::Officer(name) if identity.member == self.own => self.officers.rights(name),
            Subject::Officer(_) | Subject::Node => None,
        };
        Ok(policy::authorize(
            identity,
            &self.own,
            method,
            rights.as_deref(),
        )?)
    }
}

/// Puts a service that knows no permits behind the gate: whom the policy does
/// not let in is not answered.
#[derive(Clone, Debug)]
pub struct Behind {
    /// Who gets in.
    pub gate: Arc<Gate>,
    /// What the service counts as in the policy's table.
    pub method: Method,
}

impl Interceptor for Behind {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        match self.gate.admit(&request, self.method) {
            Ok(_admitted) => Ok(request),
            Err(e) => Err(to_peer(&e)),
        }
    }
}
