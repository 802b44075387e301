//! A custodian: holds shares of token keys and evaluates points for members,
//! within budgets that no restart refills.
//!
//! Owns the tables Share, Budget, Reply and `CustodianClock`. Everything here
//! blocks (disk and CPU): the caller places it off the async threads, and
//! writes what [`Handled::seen`] says to the access log before it answers.

mod accounts;
mod error;
pub mod keygen;
mod keys;
mod rules;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::blame::Blamed;
use crate::clock::{Clock, UnixSeconds};
use crate::ids::{Digest, KeyId, MemberId, QueryId};
use crate::oprf::{POINT_BYTES, Points};
use crate::seal::SealKey;
use crate::store::Store;
use crate::wire::v1::{
    BudgetLine, EvaluateRequest, EvaluateResponse, GetBudgetResponse, SeenPurpose, TokenClass,
};

pub use error::CustodianError;
pub use rules::{PointsGrant, Rules, ServedKey};

use accounts::{Accounts, Charge, Claim};
use keygen::Ceremonies;
use keys::HeldKey;

/// Segments (cases) of one batch at most.
pub const SEGMENTS_MAX: usize = 4096;

/// Bytes of a segment's offence class or urgency at most.
pub const SEGMENT_TEXT_BYTES_MAX: usize = 64;

/// Seconds that a request's expiry may lie ahead at most.
pub const REQUEST_LIFE_S_MAX: i64 = 86_400;

/// Seconds for which the same batch of the same member is answered again for free.
pub const REPLAY_S: i64 = 86_400;

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
    ceremonies: Mutex<Ceremonies>,
}

impl std::fmt::Debug for Custodian {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Custodian")
            .field("own", &self.own)
            .finish_non_exhaustive()
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
        let ceremonies = Mutex::new(Ceremonies::default());
        Ok(Self {
            own,
            store,
            clock,
            seal,
            keys,
            accounts,
            ceremonies,
        })
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
            return Err(CustodianError::Epoch {
                got: request.epoch,
                want: listed.epoch,
            });
        }
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let held = keys
            .get(&(listed.key_id, listed.epoch))
            .ok_or(CustodianError::UnknownKey)?;
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
        let date = time::OffsetDateTime::UNIX_EPOCH
            .date()
            .saturating_add(time::Duration::days(today));
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
    for field in [
        b"casegate/batch/v1",
        name,
        &request.key_id,
        &epoch,
        &request.points,
    ] {
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
        let unfit = |t: &str| t.len() > SEGMENT_TEXT_BYTES_MAX || t.chars().any(char::is_control);
        if segment.offence_class.is_empty() || text.iter().any(|t| unfit(t)) {
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
