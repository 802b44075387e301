//! A custodian: holds shares of token keys and evaluates points for members,
//! within budgets that no restart refills.
//!
//! Owns the tables Share, Budget, Reply and `CustodianClock`. Everything here
//! blocks (disk and CPU): the caller places it off the async threads, and
//! writes what [`Handled::seen`] says to the access log before it answers.

mod accounts;
pub mod keygen;
mod keys;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::blame::{Blame, Blamed};
use crate::clock::{Clock, UnixSeconds};
use crate::ids::{Digest, KeyId, MemberId, QueryId};
use crate::oprf::dkg::{Ceremony, DkgError};
use crate::oprf::{OprfError, POINT_BYTES, Points};
use crate::seal::SealKey;
use crate::store::{Store, StoreError};
use crate::wire::v1::{
    BudgetLine, EvaluateRequest, EvaluateResponse, GetBudgetResponse, SeenPurpose, TokenClass,
};

use accounts::{Accounts, Charge, Claim};
use keys::HeldKey;

/// Segments (cases) of one batch at most.
pub const SEGMENTS_MAX: usize = 4096;

/// Bytes of a segment's offence class or urgency at most.
pub const SEGMENT_TEXT_BYTES_MAX: usize = 64;

/// Seconds that a request's expiry may lie ahead at most.
pub const REQUEST_LIFE_S_MAX: i64 = 86_400;

/// Seconds for which the same batch of the same member is answered again for free.
pub const REPLAY_S: i64 = 86_400;

/// Why a custodian refused.
#[derive(Debug, thiserror::Error)]
pub enum CustodianError {
    /// The request names another recipient.
    #[error("the request is for another custodian")]
    NotForMe,
    /// The request's expiry has passed, or lies too far ahead.
    #[error("the request's expiry {expires_at} is not within the {REQUEST_LIFE_S_MAX} s from {now}")]
    Expired {
        /// What the request says.
        expires_at: UnixSeconds,
        /// This custodian's time.
        now: UnixSeconds,
    },
    /// A key that the roster does not list or of which no share is here.
    #[error("no share of the named token key is served here")]
    UnknownKey,
    /// A share epoch that is not the roster's; fetch the roster.
    #[error("epoch {got} was asked for, epoch {want} is served")]
    Epoch {
        /// What was asked for.
        got: u32,
        /// What the roster says.
        want: u32,
    },
    /// No purpose, or one that is malformed.
    #[error("no usable purpose: {reason}")]
    Purpose {
        /// What is wrong.
        reason: &'static str,
    },
    /// A batch that is malformed.
    #[error(transparent)]
    Batch(#[from] OprfError),
    /// The member's budget, or the cap over all members, does not suffice.
    #[error("{asked} points are asked for, {left} are left until {until}{}", if *.cap { " (all members together)" } else { "" })]
    Budget {
        /// Points of the batch.
        asked: u64,
        /// Points that are left.
        left: u64,
        /// When the next day begins.
        until: UnixSeconds,
        /// Whether it is the cap over all members.
        cap: bool,
    },
    /// A step of a key generation was refused.
    #[error(transparent)]
    Keygen(#[from] DkgError),
    /// Too many key generations at once.
    #[error("{limit} key generations are running already")]
    Ceremonies {
        /// How many may run.
        limit: usize,
    },
    /// A share in the store does not open: another seal key, or damage.
    #[error("a stored key share does not open")]
    Share,
    /// The store failed; nothing was evaluated.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Blamed for CustodianError {
    fn blame(&self) -> Blame {
        match self {
            Self::NotForMe | Self::Purpose { .. } => Blame::Misbehaved,
            Self::Expired { .. } | Self::Epoch { .. } => Blame::Stale,
            Self::UnknownKey => Blame::NotFound,
            Self::Batch(e) => e.blame(),
            Self::Budget { .. } | Self::Ceremonies { .. } => Blame::Busy,
            Self::Keygen(e) => e.blame(),
            Self::Share => Blame::Internal,
            Self::Store(e) => e.blame(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotForMe => "custodian.not_for_me",
            Self::Expired { .. } => "custodian.expired",
            Self::UnknownKey => "custodian.unknown_key",
            Self::Epoch { .. } => "custodian.stale_epoch",
            Self::Purpose { .. } => "custodian.no_purpose",
            Self::Batch(e) => e.code(),
            Self::Budget { cap: false, .. } => "custodian.budget_spent",
            Self::Budget { cap: true, .. } => "custodian.cap_reached",
            Self::Keygen(e) => e.code(),
            Self::Ceremonies { .. } => "custodian.ceremonies",
            Self::Share => "custodian.share",
            Self::Store(e) => e.code(),
        }
    }
}

/// A roster-signed, dated, counted addition to a member's budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PointsGrant {
    /// Names the grant across roster versions, so that it is spent once.
    pub id: Digest,
    /// Whose it is.
    pub member: MemberId,
    /// For which token keys.
    pub class: TokenClass,
    /// How many points, once at each custodian.
    pub points: u64,
    /// From when, inclusive.
    pub valid_from: UnixSeconds,
    /// Until when, exclusive.
    pub valid_to: UnixSeconds,
}

/// What the roster in force says to custodians.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// The token keys that are served, with their share epochs.
    pub keys: Vec<ServedKey>,
    /// Points a member may spend a day on a key of enumerable kinds.
    pub enumerable_points_per_day: u64,
    /// Points a member may spend a day on a key of open kinds.
    pub open_points_per_day: u64,
    /// Daily points of all members together, each class; grants come on top.
    pub custodian_points_per_day: u64,
    /// Additions for first loads.
    pub grants: Vec<PointsGrant>,
}

/// A token key as the roster lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedKey {
    /// The key.
    pub key_id: KeyId,
    /// Which kinds it serves.
    pub class: TokenClass,
    /// The share epoch in force.
    pub epoch: u32,
}

impl Rules {
    fn points_per_day(&self, class: TokenClass) -> u64 {
        match class {
            TokenClass::Enumerable => self.enumerable_points_per_day,
            TokenClass::Open => self.open_points_per_day,
            TokenClass::Unspecified => 0,
        }
    }
}

/// What the access log must say about one call, whatever its outcome.
#[derive(Clone, Debug, PartialEq)]
pub struct SeenRequest {
    /// Who asked.
    pub caller: MemberId,
    /// The caller's request id; nothing when it was malformed.
    pub request_id: Option<QueryId>,
    /// The purposes; empty when they were malformed.
    pub purposes: Vec<SeenPurpose>,
    /// The points of the batch.
    pub points: u32,
    /// The points that were charged; 0 for the same batch once more.
    pub charged: u64,
    /// `ok`, `replay`, or the code of the refusal.
    pub outcome: &'static str,
}

/// A handled call: the reply, and what to log before it leaves.
#[derive(Debug)]
pub struct Handled {
    /// The reply.
    pub reply: Result<EvaluateResponse, CustodianError>,
    /// For the access log.
    pub seen: SeenRequest,
}

/// One node's custodian.
pub struct Custodian {
    own: MemberId,
    store: Store,
    clock: Clock,
    seal: SealKey,
    keys: RwLock<HashMap<(KeyId, u32), Arc<HeldKey>>>,
    accounts: Mutex<Accounts>,
    ceremonies: Mutex<HashMap<[u8; 16], Ceremony>>,
}

impl std::fmt::Debug for Custodian {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Custodian").field("own", &self.own).finish_non_exhaustive()
    }
}

impl Custodian {
    /// Opens the custodian of `own` with the shares and accounts in `store`.
    ///
    /// # Errors
    /// [`CustodianError::Share`] when a share does not open with `seal_key`,
    /// [`CustodianError::Store`].
    pub fn open(
        store: Store,
        clock: Clock,
        seal_key: &[u8; 32],
        own: MemberId,
    ) -> Result<Self, CustodianError> {
        let seal = SealKey::new(*seal_key);
        let keys = RwLock::new(keys::load(&store, &seal)?);
        let accounts = Mutex::new(Accounts::open(store.clone())?);
        let ceremonies = Mutex::new(HashMap::new());
        Ok(Self { own, store, clock, seal, keys, accounts, ceremonies })
    }

    /// Evaluates a batch for the authenticated member `caller`. Refuses, in
    /// this order: a wrong recipient, a passed expiry, an unknown key, another
    /// epoch, no purpose, a malformed batch, a spent budget. The debit is
    /// synced before the evaluation; the same points of the same member within
    /// [`REPLAY_S`] are evaluated again and charged once.
    #[must_use]
    pub fn evaluate(&self, caller: &MemberId, rules: &Rules, request: &EvaluateRequest) -> Handled {
        let mut seen = SeenRequest {
            caller: caller.clone(),
            request_id: QueryId::from_slice(&request.request_id).ok(),
            purposes: vec![],
            points: u32::try_from(request.points.len() / POINT_BYTES).unwrap_or(u32::MAX),
            charged: 0,
            outcome: "ok",
        };
        let reply = self.answer(caller, rules, request, &mut seen);
        if let Err(refusal) = &reply {
            seen.outcome = refusal.code();
        }
        Handled { reply, seen }
    }

    fn answer(
        &self,
        caller: &MemberId,
        rules: &Rules,
        request: &EvaluateRequest,
        seen: &mut SeenRequest,
    ) -> Result<EvaluateResponse, CustodianError> {
        let now = self.clock.now();
        self.check_address(request, now)?;
        let (key, class) = self.key(rules, request)?;
        seen.purposes = check_purposes(request, seen.request_id.is_some())?;
        let points = Points::decode(&request.points)?;
        let claim = Claim {
            member: caller,
            key_id: key.key_id(),
            class,
            points: u64::try_from(points.count()).unwrap_or(u64::MAX),
            batch: batch_digest(caller, request),
        };
        let charge = self.charge(&claim, rules, now)?;
        seen.charged = charge.charged;
        if charge.charged == 0 {
            seen.outcome = "replay";
        }
        let evaluated = key.evaluator().evaluate_points(&points);
        Ok(EvaluateResponse {
            points: evaluated.points.into(),
            proof: evaluated.proof.to_vec().into(),
            index: u32::from(key.evaluator().index()),
            budget_left: charge.left,
            epoch: key.epoch(),
        })
    }

    fn check_address(
        &self,
        request: &EvaluateRequest,
        now: UnixSeconds,
    ) -> Result<(), CustodianError> {
        if request.recipient != self.own.as_str() {
            return Err(CustodianError::NotForMe);
        }
        let expires_at = request.expires_at;
        if expires_at <= now || expires_at > now.saturating_add(REQUEST_LIFE_S_MAX) {
            return Err(CustodianError::Expired { expires_at, now });
        }
        Ok(())
    }

    fn key(
        &self,
        rules: &Rules,
        request: &EvaluateRequest,
    ) -> Result<(Arc<HeldKey>, TokenClass), CustodianError> {
        let listed = KeyId::from_slice(&request.key_id)
            .ok()
            .and_then(|id| rules.keys.iter().find(|key| key.key_id == id))
            .ok_or(CustodianError::UnknownKey)?;
        if listed.epoch != request.epoch {
            return Err(CustodianError::Epoch { got: request.epoch, want: listed.epoch });
        }
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let held = keys.get(&(listed.key_id, listed.epoch)).ok_or(CustodianError::UnknownKey)?;
        Ok((Arc::clone(held), listed.class))
    }

    /// Debits, and returns once the debit is durable.
    fn charge(
        &self,
        claim: &Claim<'_>,
        rules: &Rules,
        now: UnixSeconds,
    ) -> Result<Charge, CustodianError> {
        let (charge, ticket) = {
            let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
            accounts.charge(claim, rules, now)?
        };
        ticket.wait()?;
        Ok(charge)
    }

    /// What `caller` has spent today on each key that is served here, and what it may.
    ///
    /// # Errors
    /// [`CustodianError::Store`].
    pub fn budget(
        &self,
        caller: &MemberId,
        rules: &Rules,
    ) -> Result<GetBudgetResponse, CustodianError> {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let today = accounts.day(self.clock.now())?;
        let date = time::OffsetDateTime::UNIX_EPOCH.date().saturating_add(time::Duration::days(today));
        let mut lines = vec![];
        for key in &rules.keys {
            let (spent, allowed) = accounts.spent_and_allowed(caller, key, rules)?;
            lines.push(BudgetLine {
                key_id: key.key_id.as_bytes().to_vec().into(),
                token_class: key.class.into(),
                day: date.to_string(),
                spent,
                allowed,
            });
        }
        Ok(GetBudgetResponse { lines })
    }
}

/// What makes two batches the same: member, key, epoch and points. Another
/// member's copy of the points is another batch, and is charged.
fn batch_digest(caller: &MemberId, request: &EvaluateRequest) -> Digest {
    let name = caller.as_str().as_bytes();
    let mut bytes = Vec::with_capacity(request.points.len() + 128);
    let epoch = request.epoch.to_be_bytes();
    for field in [b"casegate/batch/v1", name, &request.key_id, &epoch, &request.points] {
        bytes.extend_from_slice(&u32::try_from(field.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(field);
    }
    Digest::of(&bytes)
}

fn check_purposes(
    request: &EvaluateRequest,
    has_request_id: bool,
) -> Result<Vec<SeenPurpose>, CustodianError> {
    let refuse = |reason| Err(CustodianError::Purpose { reason });
    if !has_request_id {
        return refuse("the request id is not 16 bytes");
    }
    if request.segments.is_empty() {
        return refuse("no segment says why");
    }
    if request.segments.len() > SEGMENTS_MAX {
        return refuse("too many segments");
    }
    let mut total: u64 = 0;
    for segment in &request.segments {
        let text = [&segment.offence_class, &segment.urgency];
        if segment.case_ref.len() != 16 || segment.purpose_commitment.len() != 32 {
            return refuse("a case ref or commitment has a wrong length");
        }
        if segment.offence_class.is_empty() || text.iter().any(|t| t.len() > SEGMENT_TEXT_BYTES_MAX)
        {
            return refuse("an offence class or urgency is missing or too long");
        }
        if segment.count == 0 {
            return refuse("a segment counts no points");
        }
        total = total.saturating_add(u64::from(segment.count));
    }
    let points = u64::try_from(request.points.len() / POINT_BYTES).unwrap_or(u64::MAX);
    if total > points {
        return refuse("the segments count more points than there are");
    }
    Ok(request
        .segments
        .iter()
        .map(|segment| SeenPurpose {
            case_ref: segment.case_ref.clone(),
            offence_class: segment.offence_class.clone(),
            urgency: segment.urgency.clone(),
            commitment: segment.purpose_commitment.clone(),
            count: segment.count,
        })
        .collect())
}
