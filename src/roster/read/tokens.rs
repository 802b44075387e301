//! The token keys of a roster, and what may be spent with them. A row whose
//! suite, class or state is not known here is checked as far as its id goes,
//! listed, and not used.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{
    CUSTODIAN_POINTS_PER_DAY, CustodianShare, ENUMERABLE_POINTS_PER_DAY, GRANTS_MAX, Grant, Member,
    Newer, OPEN_POINTS_PER_DAY, Policy, RosterError, TOKEN_KEYS_MAX, TokenClass, TokenKey,
    TokenKeyState, What,
};
use super::{At, ShareCheck};
use crate::ids::{KeyId, MemberId};
use crate::keys::Algorithm;
use crate::wire::v1;

/// The most custodians of a token key.
const CUSTODIANS_MAX: usize = 255;
/// The most bytes of the public key of a suite that is not known here.
const POINT_BYTES_MAX: usize = 8_192;

/// The class of a number; `None` when it is not known here.
fn class_of(at: At, field: &str, wire: i32) -> Result<Option<TokenClass>, RosterError> {
    match v1::TokenClass::try_from(wire) {
        Ok(v1::TokenClass::Enumerable) => Ok(Some(TokenClass::Enumerable)),
        Ok(v1::TokenClass::Open) => Ok(Some(TokenClass::Open)),
        Ok(v1::TokenClass::Unspecified) => Err(at.field(field, "have no token class")),
        Err(_) => Ok(None),
    }
}

/// The state of a number; `None` when it is not known here.
fn state_of(at: At, field: &str, wire: i32) -> Result<Option<TokenKeyState>, RosterError> {
    match v1::TokenKeyState::try_from(wire) {
        Ok(v1::TokenKeyState::Next) => Ok(Some(TokenKeyState::Next)),
        Ok(v1::TokenKeyState::Dual) => Ok(Some(TokenKeyState::Dual)),
        Ok(v1::TokenKeyState::Current) => Ok(Some(TokenKeyState::Current)),
        Ok(v1::TokenKeyState::Retired) => Ok(Some(TokenKeyState::Retired)),
        Ok(v1::TokenKeyState::Unspecified) => Err(at.field(field, "have no state")),
        Err(_) => Ok(None),
    }
}

pub(super) fn read_token_keys(
    at: At,
    wire: &v1::Roster,
    members: &BTreeMap<MemberId, Member>,
    shares: ShareCheck,
    newer: &mut Vec<Newer>,
) -> Result<Vec<TokenKey>, RosterError> {
    let field = "token_keys";
    if wire.token_keys.len() > TOKEN_KEYS_MAX {
        return Err(at.field(field, "are more than 32"));
    }
    let mut keys: Vec<TokenKey> = Vec::new();
    let mut ids = BTreeSet::new();
    for one in &wire.token_keys {
        let id = read_id(at, one)?;
        if !ids.insert(id) {
            return Err(at.field(field, "have one id twice"));
        }
        let Some(key) = read_token_key(at, id, one, members, newer)? else {
            continue;
        };
        let current = |k: &TokenKey| k.class == key.class && k.state == TokenKeyState::Current;
        if current(&key) && keys.iter().any(current) {
            return Err(at.field(field, "have two current keys of one class"));
        }
        if !shares(&key) {
            return Err(at.field(field, "have public shares that do not make the public key"));
        }
        keys.push(key);
    }
    Ok(keys)
}

/// The id of a token key, checked against suite and key.
fn read_id(at: At, wire: &v1::TokenKey) -> Result<KeyId, RosterError> {
    let field = "token_keys";
    let suite = Algorithm::of_tokens(wire.suite)
        .ok_or_else(|| at.field(field, "have a suite that is not 65 to 127"))?;
    if !(1..=POINT_BYTES_MAX).contains(&wire.public_key.len()) {
        return Err(at.field(field, "have a public key without 1 to 8,192 bytes"));
    }
    let id = suite.id_of(&wire.public_key);
    if wire.key_id[..] != id.0[..] {
        return Err(at.field(field, "have an id that is not the key's"));
    }
    Ok(id)
}

/// A token key; `None`, and listed, when something of it is not known here.
fn read_token_key(
    at: At,
    id: KeyId,
    wire: &v1::TokenKey,
    members: &BTreeMap<MemberId, Member>,
    newer: &mut Vec<Newer>,
) -> Result<Option<TokenKey>, RosterError> {
    let field = "token_keys";
    let mut unknown = |what| {
        newer.push(Newer {
            place: format!("{field}[{id}]"),
            what,
        });
        Ok(None)
    };
    let suite = Algorithm::of(id);
    if !suite.is_known() {
        return unknown(What::Suite(suite.number()));
    }
    let Some(class) = class_of(at, field, wire.token_class)? else {
        return unknown(What::Class(wire.token_class));
    };
    let Some(state) = state_of(at, field, wire.state)? else {
        return unknown(What::State(wire.state));
    };
    let point = |bytes: &[u8]| {
        <[u8; 32]>::try_from(bytes).map_err(|_| at.field(field, "have a point without 32 bytes"))
    };
    let public_key = point(&wire.public_key)?;
    if wire.shares.len() > CUSTODIANS_MAX {
        return Err(at.field(field, "have more than 255 custodians"));
    }
    let mut shares = Vec::new();
    let mut holders = BTreeSet::new();
    for (place, share) in (1_u16..).zip(&wire.shares) {
        let member = at.member(field, &share.member)?;
        if !members.contains_key(&member) || !holders.insert(member.clone()) {
            return Err(at.field(field, "have a custodian that is a stranger or stands twice"));
        }
        if share.index != u32::from(place) {
            return Err(at.field(field, "do not number their custodians 1 to n in order"));
        }
        shares.push(CustodianShare {
            member,
            index: place,
            public_share: point(&share.public_share)?,
        });
    }
    let threshold = u16::try_from(wire.threshold).unwrap_or(u16::MAX);
    if threshold == 0 || usize::from(threshold) > shares.len() {
        return Err(at.field(field, "have a threshold that is not between 1 and n"));
    }
    Ok(Some(TokenKey {
        id,
        class,
        threshold,
        public_key,
        shares,
        epoch: wire.epoch,
        state,
    }))
}

pub(super) fn read_policy(
    at: At,
    wire: Option<&v1::Policy>,
    members: &BTreeMap<MemberId, Member>,
    newer: &mut Vec<Newer>,
) -> Result<Policy, RosterError> {
    let wire = wire.cloned().unwrap_or_default();
    let field = "policy.grants";
    if wire.grants.len() > GRANTS_MAX {
        return Err(at.field(field, "are more than 4,000"));
    }
    let mut grants = Vec::new();
    for grant in &wire.grants {
        let member = at.member(field, &grant.member)?;
        if !members.contains_key(&member) {
            return Err(at.field(field, "name a stranger"));
        }
        if grant.valid_to <= grant.valid_from {
            return Err(at.field(field, "end before they begin"));
        }
        let Some(class) = class_of(at, field, grant.token_class)? else {
            newer.push(Newer {
                place: format!("{field}[{member}]"),
                what: What::Class(grant.token_class),
            });
            continue;
        };
        grants.push(Grant {
            member,
            class,
            points: grant.points,
            valid_from: grant.valid_from,
            valid_to: grant.valid_to,
        });
    }
    let or_default = |value: u64, default: u64| if value == 0 { default } else { value };
    Ok(Policy {
        enumerable_points_per_day: or_default(
            wire.enumerable_points_per_day,
            ENUMERABLE_POINTS_PER_DAY,
        ),
        open_points_per_day: or_default(wire.open_points_per_day, OPEN_POINTS_PER_DAY),
        custodian_points_per_day: or_default(
            wire.custodian_points_per_day,
            CUSTODIAN_POINTS_PER_DAY,
        ),
        witness_quorum: wire.witness_quorum,
        grants,
    })
}
