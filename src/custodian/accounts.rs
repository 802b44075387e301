//! Who has spent what today. The counters in memory are the truth while the
//! node runs, since a submitted batch is not read back at once; each charge is
//! one atomic batch of counters, clock and the mark of the answered batch.
//!
//! The day is that of a clock that never goes back, also over restarts, so
//! that setting the machine's clock back refills nothing.

use std::collections::HashMap;

use super::{CustodianError, PointsGrant, REPLAY_S, Rules, ServedKey};
use crate::clock::{DAY_S, UnixSeconds};
use crate::ids::{Digest, KeyId, MemberId};
use crate::store::{Batch, Store, StoreError, Table, Ticket};
use crate::wire::v1::TokenClass;

const CLOCK: &[u8] = b"now";

/// Deletions that one day's clean-up takes along with a charge at most.
const SWEPT_MAX: usize = 4096;

/// What a member asks to be charged for.
#[derive(Debug)]
pub(super) struct Claim<'a> {
    pub(super) member: &'a MemberId,
    pub(super) key_id: KeyId,
    pub(super) class: TokenClass,
    pub(super) points: u64,
    pub(super) batch: Digest,
}

/// What was charged.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Charge {
    pub(super) charged: u64,
    pub(super) left: u64,
}

/// Counters, the clock and the marks of batches that were answered.
#[derive(Debug)]
pub(super) struct Accounts {
    store: Store,
    now: UnixSeconds,
    swept_day: i64,
    spent: HashMap<Vec<u8>, u64>,
    answered: HashMap<Digest, UnixSeconds>,
}

impl Accounts {
    pub(super) fn open(store: Store) -> Result<Self, CustodianError> {
        let now = match store.read(Table::CustodianClock, CLOCK)? {
            None => i64::MIN,
            Some(bytes) => i64::from_be_bytes(array(&bytes)?),
        };
        Ok(Self {
            store,
            now,
            swept_day: i64::MIN,
            spent: HashMap::new(),
            answered: HashMap::new(),
        })
    }

    /// The day (since 1970) that it is here, given the machine's time.
    pub(super) fn day(&mut self, now: UnixSeconds) -> Result<i64, CustodianError> {
        self.now = self.now.max(now);
        Ok(self.now.div_euclid(DAY_S))
    }

    /// Debits `claim` and hands the debit to the store; it is durable when the
    /// ticket is. A batch that was answered before costs nothing, but its
    /// ticket still waits for whatever was submitted before it.
    pub(super) fn charge(
        &mut self,
        claim: &Claim<'_>,
        rules: &Rules,
        now: UnixSeconds,
    ) -> Result<(Charge, Ticket), CustodianError> {
        let day = self.day(now)?;
        let mut batch = Batch::new();
        self.sweep(day, &mut batch)?;
        batch.put(Table::CustodianClock, CLOCK, self.now.to_be_bytes());
        let charged = if self.was_answered(&claim.batch)? {
            0
        } else {
            for (key, spent) in self.debits(claim, rules, day)? {
                batch.put(Table::Budget, &key, spent.to_be_bytes());
                self.spent.insert(key, spent);
            }
            self.answered.insert(claim.batch, self.now);
            batch.put(Table::Reply, claim.batch.as_bytes(), self.now.to_be_bytes());
            claim.points
        };
        let left = self.left(claim, rules, day)?;
        let ticket = self.store.submit(batch)?;
        Ok((Charge { charged, left }, ticket))
    }

    /// The counters that a charge changes, with their new values: the day's
    /// budget first, grants for what is beyond it.
    fn debits(
        &mut self,
        claim: &Claim<'_>,
        rules: &Rules,
        day: i64,
    ) -> Result<Vec<(Vec<u8>, u64)>, CustodianError> {
        let until = day.saturating_add(1).saturating_mul(DAY_S);
        let asked = claim.points;
        let refuse = |left, cap| CustodianError::Budget { asked, left, until, cap };
        let own = member_key(day, claim.key_id, claim.member);
        let spent = self.read(&own)?;
        let daily = rules.points_per_day(claim.class).saturating_sub(spent).min(asked);
        let mut debits = vec![(own, spent.saturating_add(daily))];
        let mut rest = asked.saturating_sub(daily);
        for (key, granted, used) in self.grants(claim.member, claim.class, rules)? {
            let taken = granted.saturating_sub(used).min(rest);
            rest = rest.saturating_sub(taken);
            debits.push((key, used.saturating_add(taken)));
        }
        if rest > 0 {
            return Err(refuse(asked.saturating_sub(rest), false));
        }
        let all = total_key(day, claim.class);
        let together = self.read(&all)?;
        let left = rules.custodian_points_per_day.saturating_sub(together);
        if daily > left {
            return Err(refuse(left, true));
        }
        debits.push((all, together.saturating_add(daily)));
        Ok(debits)
    }

    fn left(&mut self, claim: &Claim<'_>, rules: &Rules, day: i64) -> Result<u64, CustodianError> {
        let spent = self.read(&member_key(day, claim.key_id, claim.member))?;
        let daily = rules.points_per_day(claim.class).saturating_sub(spent);
        let grants = self.grants(claim.member, claim.class, rules)?;
        Ok(grants
            .iter()
            .fold(daily, |sum, (_, points, used)| sum.saturating_add(points.saturating_sub(*used))))
    }

    /// What a member has spent today on `key`, and what it may: the day's
    /// budget and its valid grants, with all that was ever spent of these.
    pub(super) fn spent_and_allowed(
        &mut self,
        member: &MemberId,
        key: &ServedKey,
        rules: &Rules,
    ) -> Result<(u64, u64), CustodianError> {
        let day = self.now.div_euclid(DAY_S);
        let spent = self.read(&member_key(day, key.key_id, member))?;
        let grants = self.grants(member, key.class, rules)?;
        let daily = rules.points_per_day(key.class);
        Ok(grants.iter().fold((spent, daily), |(spent, allowed), (_, points, used)| {
            (spent.saturating_add(*used), allowed.saturating_add(*points))
        }))
    }

    /// The valid grants of a member: counter key, points, spent so far.
    fn grants(
        &mut self,
        member: &MemberId,
        class: TokenClass,
        rules: &Rules,
    ) -> Result<Vec<(Vec<u8>, u64, u64)>, CustodianError> {
        let now = self.now;
        let valid = |grant: &&PointsGrant| {
            grant.member == *member
                && grant.class == class
                && grant.valid_from <= now
                && now < grant.valid_to
        };
        let mut found: Vec<(Vec<u8>, u64, u64)> = vec![];
        for grant in rules.grants.iter().filter(valid) {
            let key = grant_key(&grant.id);
            // One grant that a roster lists twice is one grant.
            if found.iter().all(|(known, ..)| *known != key) {
                let used = self.read(&key)?;
                found.push((key, grant.points, used));
            }
        }
        Ok(found)
    }

    fn read(&mut self, key: &[u8]) -> Result<u64, CustodianError> {
        if let Some(spent) = self.spent.get(key) {
            return Ok(*spent);
        }
        let spent = match self.store.read(Table::Budget, key)? {
            None => 0,
            Some(bytes) => u64::from_be_bytes(array(&bytes)?),
        };
        self.spent.insert(key.to_vec(), spent);
        Ok(spent)
    }

    fn was_answered(&self, batch: &Digest) -> Result<bool, CustodianError> {
        let at = match self.answered.get(batch) {
            Some(at) => Some(*at),
            None => match self.store.read(Table::Reply, batch.as_bytes())? {
                None => None,
                Some(bytes) => Some(i64::from_be_bytes(array(&bytes)?)),
            },
        };
        Ok(at.is_some_and(|at| self.now.saturating_sub(at) < REPLAY_S))
    }

    /// Once a day, forgets counters of earlier days and marks that ran out.
    fn sweep(&mut self, day: i64, batch: &mut Batch) -> Result<(), CustodianError> {
        if self.swept_day == day {
            return Ok(());
        }
        self.swept_day = day;
        let now = self.now;
        self.answered.retain(|_, at| now.saturating_sub(*at) < REPLAY_S);
        // Grants outlive days; a day's counters are not read on later days.
        self.spent.retain(|key, _| key.first() == Some(&b'g'));
        for (key, value) in self.store.iter(Table::Reply, b"").take(SWEPT_MAX).flatten() {
            let at = i64::from_be_bytes(array(&value)?);
            if now.saturating_sub(at) >= REPLAY_S {
                batch.delete(Table::Reply, &key);
            }
        }
        for prefix in [b"m", b"t"] {
            for (key, _) in self.store.iter(Table::Budget, prefix).take(SWEPT_MAX).flatten() {
                let of = key.get(1..9).and_then(|b| b.try_into().ok()).map(i64::from_be_bytes);
                if of.is_some_and(|of| of < day) {
                    batch.delete(Table::Budget, &key);
                }
            }
        }
        Ok(())
    }
}

fn array(bytes: &[u8]) -> Result<[u8; 8], CustodianError> {
    bytes.try_into().map_err(|_| StoreError::Damaged("custodian counter").into())
}

fn member_key(day: i64, key_id: KeyId, member: &MemberId) -> Vec<u8> {
    [b"m", &day.to_be_bytes()[..], key_id.as_bytes(), member.as_str().as_bytes()].concat()
}

fn total_key(day: i64, class: TokenClass) -> Vec<u8> {
    let class: i32 = class.into();
    [b"t", &day.to_be_bytes()[..], &class.to_be_bytes()].concat()
}

fn grant_key(id: &Digest) -> Vec<u8> {
    [b"g", &id.as_bytes()[..]].concat()
}
