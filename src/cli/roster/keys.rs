//! What a roster description says of a member's keys beyond the first three:
//! further keys, and revocations. Keys of earlier versions stay by themselves.

use anyhow::{Context, bail, ensure};
use serde::Deserialize;

use super::public;
use crate::clock::UnixSeconds;
use crate::roster::KeyUse;
use crate::roster::draft::wire_key;
use crate::wire::v1;

/// One more key, or other dates for one that is listed already.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyLines {
    /// records, checkpoint or witness.
    r#use: String,
    /// The public key, 64 hexadecimal digits.
    key: String,
    /// Records keys: the first index that it signs; without it from the first on.
    from_size: Option<u64>,
    /// The first second at which it no longer counts, in Unix seconds.
    valid_to: Option<UnixSeconds>,
}

/// A revocation.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RevokeLines {
    /// The public key, or its id of 16 hexadecimal digits.
    key: String,
    /// Records keys: entries below this index stay valid.
    at_size: Option<u64>,
}

/// Puts a description's keys and revocations into a member's lines.
///
/// # Errors
/// A sentence that names the key.
pub(super) fn apply(
    member: &mut v1::RosterMember,
    keys: &[KeyLines],
    revoked: &[RevokeLines],
    now: UnixSeconds,
) -> anyhow::Result<()> {
    for lines in keys {
        add(member, lines, now).with_context(|| format!("key {}", lines.key))?;
    }
    for lines in revoked {
        revoke(member, lines).with_context(|| format!("revoke {}", lines.key))?;
    }
    Ok(())
}

fn use_of(word: &str) -> anyhow::Result<KeyUse> {
    Ok(match word {
        "records" => KeyUse::Records,
        "checkpoint" => KeyUse::Checkpoint,
        "witness" => KeyUse::Witness,
        _ => bail!("use is not records, checkpoint or witness"),
    })
}

fn add(member: &mut v1::RosterMember, lines: &KeyLines, now: UnixSeconds) -> anyhow::Result<()> {
    let (usage, public) = (use_of(&lines.r#use)?, public(&lines.key)?);
    ensure!(
        usage == KeyUse::Records || lines.from_size.is_none(),
        "from_size is for records keys only"
    );
    let fresh = wire_key(usage, &public, now);
    let held = member
        .keys
        .iter()
        .position(|key| key.public_key == fresh.public_key);
    let at = held.unwrap_or_else(|| {
        member.keys.push(fresh);
        member.keys.len() - 1
    });
    if let Some(key) = member.keys.get_mut(at) {
        key.from_size = lines.from_size.unwrap_or(key.from_size);
        key.valid_to = lines.valid_to.unwrap_or(key.valid_to);
    }
    Ok(())
}

fn revoke(member: &mut v1::RosterMember, lines: &RevokeLines) -> anyhow::Result<()> {
    let named = hex::decode(&lines.key).context("a key is hexadecimal")?;
    let fits = |key: &&mut v1::MemberKey| key.public_key == named || key.key_id == named;
    let key = member
        .keys
        .iter_mut()
        .find(fits)
        .context("the member has no such key")?;
    let size = match (key.r#use(), lines.at_size) {
        (v1::KeyUse::Records, None) => {
            bail!("a records key is revoked at a size: entries below it stay valid")
        }
        (_, size) => size.unwrap_or(0),
    };
    ensure!(
        key.revoked_at_size.is_none_or(|held| held == size),
        "it is revoked already, at another size: a revocation stays as it is"
    );
    key.revoked_at_size = Some(size);
    Ok(())
}

/// Names a key's use as descriptions do.
pub(super) fn use_word(usage: KeyUse) -> &'static str {
    match usage {
        KeyUse::Records => "records",
        KeyUse::Checkpoint => "checkpoint",
        KeyUse::Witness => "witness",
        KeyUse::Unknown(_) => "unknown",
    }
}
