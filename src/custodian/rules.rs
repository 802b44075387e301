//! What the roster in force says to custodians, as plain data.

use crate::clock::UnixSeconds;
use crate::ids::{Digest, KeyId, MemberId};
use crate::wire::v1::TokenClass;

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
    pub(super) fn points_per_day(&self, class: TokenClass) -> u64 {
        match class {
            TokenClass::Enumerable => self.enumerable_points_per_day,
            TokenClass::Open => self.open_points_per_day,
            TokenClass::Unspecified => 0,
        }
    }
}
