//! What a version may change of the keys that stood in an earlier one: a key
//! retires or is revoked, but what it signed must stay checkable, so it is
//! never taken out, and no word about it is taken back.

use std::sync::Arc;

use super::{Member, MemberKey, Roster, RosterError};

/// Checks the keys of `new` against every earlier version.
///
/// # Errors
/// [`RosterError::KeyDropped`], [`RosterError::Revocation`] or
/// [`RosterError::KeyChanged`].
pub(super) fn keep_keys(history: &[Arc<Roster>], new: &Roster) -> Result<(), RosterError> {
    for member in new.members.values() {
        // A member that left may come back: its last stand is what counts.
        let last = history.iter().rev().find_map(|r| r.member(&member.id));
        if let Some(before) = last {
            keep_member_keys(new.version, before, member)?;
        }
    }
    Ok(())
}

fn keep_member_keys(version: u64, before: &Member, now: &Member) -> Result<(), RosterError> {
    for old in &before.keys {
        let named = now.keys.iter().find(|k| k.key == old.key);
        let Some(new) = named else {
            return Err(RosterError::KeyDropped {
                version,
                member: now.id.clone(),
                key: old.id,
            });
        };
        let refuse = |what| RosterError::KeyChanged {
            version,
            member: now.id.clone(),
            key: old.id,
            what,
        };
        if new.usage != old.usage {
            return Err(refuse("its use never changes"));
        }
        if new.from_size < old.from_size {
            return Err(refuse("its first index never goes back"));
        }
        keep_revocation(version, now, old, new)?;
    }
    Ok(())
}

fn keep_revocation(
    version: u64,
    member: &Member,
    old: &MemberKey,
    new: &MemberKey,
) -> Result<(), RosterError> {
    if old.revoked_at_size.is_some() && new.revoked_at_size != old.revoked_at_size {
        return Err(RosterError::Revocation {
            version,
            member: member.id.clone(),
            key: old.id,
        });
    }
    Ok(())
}
