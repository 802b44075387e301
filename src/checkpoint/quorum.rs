//! When a checkpoint is witnessed: enough of the witnesses that the roster names
//! for a log cosigned the same note. Pure; who the witnesses are, and how many
//! must sign, is the caller's to say.

use std::collections::BTreeMap;

use crate::checkpoint::{
    Checkpoint, CheckpointError, SignedNote, cosignature_key_id, open_cosignature, signature_line,
};
use crate::clock::UnixSeconds;
use crate::ids::{Digest, FederationId, MemberId, Origin, TreeSize};
use crate::keys::PublicKey;

/// A checkpoint that enough witnesses cosigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Witnessed {
    /// How many entries.
    pub size: TreeSize,
    /// The root over them.
    pub root: Digest,
    /// When it became witnessed: by this time as many as must had cosigned it.
    pub time: UnixSeconds,
}

/// Returns the key name of a witness in cosignature lines: `FEDERATION/MEMBER/witness`.
#[must_use]
pub fn witness_name(federation: &FederationId, member: &MemberId) -> String {
    format!("{federation}/{member}/witness")
}

/// Opens a note as a checkpoint of `origin` under `log_keys`, and says whether at
/// least `quorum` of `witnesses` cosigned it. A member counts once, whatever
/// number of its keys signed; lines by anybody else are ignored. The time is the
/// `quorum`-th smallest of the members' times. A quorum of 0 witnesses nothing.
///
/// # Errors
/// As [`Checkpoint::open`]; [`CheckpointError::BadSignature`] also when a line
/// claims to be by one of `witnesses` and does not hold, whatever the others say.
pub fn witnessed(
    note: &[u8],
    origin: &Origin,
    log_keys: &[&PublicKey],
    witnesses: &[(MemberId, &PublicKey)],
    quorum: u32,
) -> Result<Option<Witnessed>, CheckpointError> {
    let checkpoint = Checkpoint::open(note, origin, log_keys)?;
    let cosigned = cosigned_by(note, &origin.federation, witnesses)?;
    let mut times: Vec<UnixSeconds> = cosigned.into_values().collect();
    times.sort_unstable();
    let last = usize::try_from(quorum)
        .ok()
        .and_then(|quorum| quorum.checked_sub(1));
    Ok(last.and_then(|at| times.get(at)).map(|time| Witnessed {
        size: checkpoint.size,
        root: checkpoint.root,
        time: *time,
    }))
}

/// Lists which of `witnesses` cosigned a note, and when each first did. The
/// log's own signature is not looked at.
///
/// # Errors
/// [`CheckpointError::BadSignature`] when a line claims to be by one of
/// `witnesses` and does not hold; others when the bytes are no note.
pub fn cosigned_by(
    note: &[u8],
    federation: &FederationId,
    witnesses: &[(MemberId, &PublicKey)],
) -> Result<BTreeMap<MemberId, UnixSeconds>, CheckpointError> {
    let note = SignedNote::parse(note)?;
    let mut cosigned = BTreeMap::new();
    for (member, key) in witnesses {
        let name = witness_name(federation, member);
        let Some(found) = open_cosignature(&note, &name, key)? else {
            continue;
        };
        cosigned
            .entry(member.clone())
            .and_modify(|time: &mut UnixSeconds| *time = found.time.min(*time))
            .or_insert(found.time);
    }
    Ok(cosigned)
}

/// Takes the newest cosignature of the witness `name` out of the `lines` that it
/// answered with for a note; `keys` are its keys.
///
/// # Errors
/// [`CheckpointError::NotSigned`] when none of `lines` is by one of `keys`;
/// others when the lines are malformed or one of them does not hold.
pub fn cosignature_of(
    note: &[u8],
    lines: &[u8],
    name: &str,
    keys: &[&PublicKey],
) -> Result<String, CheckpointError> {
    let whole = [note, lines].concat();
    let (bare, whole) = (SignedNote::parse(note)?, SignedNote::parse(&whole)?);
    if whole.text() != bare.text() {
        return Err(CheckpointError::MalformedNote {
            what: "lines that are no signatures",
        });
    }
    for key in keys {
        let Some(found) = open_cosignature(&whole, name, key)? else {
            continue;
        };
        let time = found.time.to_be_bytes();
        let id = cosignature_key_id(name, key);
        let line = whole.signatures().iter().find(|line| {
            line.name == name && line.key_id == id && line.signature.starts_with(&time)
        });
        if let Some(line) = line {
            return Ok(signature_line(name, id, &line.signature));
        }
    }
    Err(CheckpointError::NotSigned)
}
