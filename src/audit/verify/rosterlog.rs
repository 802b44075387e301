//! The checkpoint of the roster log in a bundle: who signed and cosigned the
//! rosters, by the rules for the checkpoints of members' logs.

use super::findings::{Code, Finding, Findings};
use super::notes::{NoteReader, SignedRoot};
use super::policy::Policy;
use super::roots::Roots;
use super::tree::Tree;
use crate::audit::layout::BundlePath;
use crate::checkpoint::NOTE_BYTES_MAX;
use crate::roster::log::RosterCheckpoint;

/// Checks `roster/checkpoint`, where there is one, and compares it with the
/// versions that hold. Returns it if it is of those.
pub(crate) fn check(
    tree: &Tree,
    roots: &Roots,
    policy: &Policy,
    findings: &mut Findings,
) -> Option<SignedRoot> {
    let path = BundlePath::RosterCheckpoint.to_string();
    if roots.history.is_empty() || !tree.has(&path) {
        return None;
    }
    let bytes = tree.read(&path, NOTE_BYTES_MAX as u64).unwrap_or_default();
    let reader = NoteReader::of_rosters(roots, policy);
    let signed = reader.read(&path, &bytes, findings)?;
    let own = RosterCheckpoint::of(&roots.history, signed.size.0);
    if own.is_some_and(|own| own.root == signed.root) {
        return Some(signed);
    }
    let what = "the rosters of the bundle have another root there";
    findings.add(Finding::new(Code::CheckpointRoot, path, what));
    None
}
