//! The roster chain of a bundle, from the pinned version on, and the keys that
//! follow from it: who signs a log, who witnesses it, since when.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::findings::{Code, Finding, Findings};
use super::policy::Policy;
use super::tree::Tree;
use crate::audit::layout::BundlePath;
use crate::checkpoint::cosignature_key_id;
use crate::clock::UnixSeconds;
use crate::ids::{KeyId, MemberId, Origin};
use crate::keys::PublicKey;
use crate::roster::{KeyUse, ROSTER_BYTES_MAX, Roster, RosterChain, RosterError};
use crate::rosters::shares_fit;

/// What a bundle's rosters say, as far as they hold.
#[derive(Debug)]
pub(crate) struct Roots {
    /// Version 1 first; empty when not even that one is the pinned one.
    pub(crate) history: Vec<Arc<Roster>>,
}

/// A key of a witness, and when it counts.
#[derive(Debug)]
pub(crate) struct WitnessKey {
    /// The name in cosignature lines.
    pub(crate) name: String,
    /// Its id in notes.
    pub(crate) note_id: [u8; 4],
    pub(crate) key: PublicKey,
    /// The member, or the policy's name of the witness.
    who: String,
    /// The times from (inclusive) and to (exclusive) in which a roster that was
    /// in force assigns it; all time where the policy names it.
    spans: Vec<(UnixSeconds, UnixSeconds)>,
}

impl WitnessKey {
    /// Says whether a cosignature of that time counts.
    pub(crate) fn counts_at(&self, time: UnixSeconds) -> bool {
        self.spans
            .iter()
            .any(|(from, to)| (*from..*to).contains(&time))
    }

    /// Whose key it is: several keys of one witness count once.
    pub(crate) fn who(&self) -> &str {
        &self.who
    }
}

impl Roots {
    /// Reads every version, and stops at the first that does not follow.
    pub(crate) fn read(tree: &Tree, policy: &Policy, findings: &mut Findings) -> Self {
        let mut history: Vec<Arc<Roster>> = vec![];
        let mut chain: Option<RosterChain> = None;
        for version in 1.. {
            let path = BundlePath::Roster(version).to_string();
            if !tree.has(&path) {
                break;
            }
            let bytes = tree
                .read(&path, ROSTER_BYTES_MAX as u64)
                .unwrap_or_default();
            let added = match &mut chain {
                None => RosterChain::start(policy.roster_pin, &bytes, shares_fit)
                    .map(|started| chain = Some(started)),
                Some(chain) => chain.extend(&bytes).map(drop),
            };
            let newest = chain.as_ref().map(RosterChain::newest);
            let follows = newest.is_some_and(|newest| newest.version == version);
            match (added, newest) {
                (Err(error), _) => {
                    findings.add(Finding::new(code_of(&error), path, error));
                    return Self { history };
                }
                (Ok(()), Some(newest)) if follows => history.push(Arc::clone(newest)),
                _ => {
                    findings.add(Finding::new(Code::RosterChain, path, "another version"));
                    return Self { history };
                }
            }
        }
        check_names(tree, &history, policy, findings);
        Self { history }
    }

    /// Every member of any version.
    pub(crate) fn members(&self) -> BTreeSet<&MemberId> {
        self.history.iter().flat_map(|r| r.members.keys()).collect()
    }

    /// The newest version that holds.
    pub(crate) fn newest(&self) -> Option<&Arc<Roster>> {
        self.history.last()
    }

    /// The keys under which a checkpoint of `origin` may be signed, of every
    /// version; each with the size up to which it counts, if it is revoked.
    pub(crate) fn checkpoint_keys(&self, origin: &Origin) -> Vec<(&PublicKey, Option<u64>)> {
        let mut keys: Vec<(&PublicKey, Option<u64>)> = vec![];
        for roster in self.history.iter().rev() {
            for key in roster.keys(&origin.member, KeyUse::Checkpoint) {
                let Some(usable) = key.key.usable() else {
                    continue;
                };
                if !keys.iter().any(|(known, _)| *known == usable) {
                    keys.push((usable, key.revoked_at_size));
                }
            }
        }
        keys
    }

    /// The keys under which the roster log may be signed: those of all members;
    /// each with the last version before the one that revokes it.
    pub(crate) fn roster_log_keys(&self) -> Vec<(&PublicKey, Option<u64>)> {
        let mut keys: Vec<(&PublicKey, Option<u64>)> = vec![];
        for roster in &self.history {
            let before = roster.version.saturating_sub(1);
            let members = roster.members.keys();
            for key in members.flat_map(|id| roster.keys(id, KeyUse::Checkpoint)) {
                let Some(usable) = key.key.usable() else {
                    continue;
                };
                let end = key.revoked_at_size.map(|_| before);
                match keys.iter_mut().find(|(known, _)| *known == usable) {
                    Some((_, known)) => *known = known.or(end),
                    None => keys.push((usable, end)),
                }
            }
        }
        keys
    }

    /// The keys of a member under which entries may be signed.
    pub(crate) fn records_keys(&self, member: &MemberId) -> Vec<&PublicKey> {
        let mut keys: Vec<&PublicKey> = vec![];
        for roster in &self.history {
            let listed = roster.keys(member, KeyUse::Records);
            for key in listed.filter_map(|key| key.key.usable()) {
                if !keys.contains(&key) {
                    keys.push(key);
                }
            }
        }
        keys
    }

    /// Those keys of a member for records whose algorithm is not known here.
    pub(crate) fn newer_records_keys(&self, member: &MemberId) -> HashSet<KeyId> {
        let versions = self.history.iter();
        let keys = versions.flat_map(|roster| roster.keys(member, KeyUse::Records));
        keys.filter(|key| key.key.usable().is_none())
            .map(|key| key.id)
            .collect()
    }

    /// Says whether any of these members has a key for a use whose algorithm is
    /// not known here: a line that no known key made may be under it.
    pub(crate) fn has_newer_key<'a>(
        &self,
        members: impl IntoIterator<Item = &'a MemberId>,
        usage: KeyUse,
    ) -> bool {
        members.into_iter().any(|member| {
            let versions = self.history.iter();
            let mut keys = versions.flat_map(|roster| roster.keys(member, usage));
            keys.any(|key| key.key.usable().is_none())
        })
    }

    /// How many cosignatures make a checkpoint of that time witnessed.
    pub(crate) fn quorum(&self, policy: &Policy, time: UnixSeconds) -> usize {
        let own = if policy.witnesses.is_empty() {
            self.in_force(time).map_or(0, |r| r.policy.witness_quorum)
        } else {
            1
        };
        usize::try_from(policy.quorum.unwrap_or(own)).unwrap_or(usize::MAX)
    }

    /// The newest version issued at `time`; the first one before that.
    fn in_force(&self, time: UnixSeconds) -> Option<&Arc<Roster>> {
        let issued = self.history.iter().rev().find(|r| r.issued_at <= time);
        issued.or_else(|| self.history.first())
    }

    /// The witnesses of a member's logs: the policy's, or the rosters'.
    pub(crate) fn witnesses(&self, policy: &Policy, member: &MemberId) -> Vec<WitnessKey> {
        self.assigned(policy, |roster| {
            let member = roster.member(member);
            member.map_or_else(Vec::new, |m| m.witnesses.iter().collect())
        })
    }

    /// The witnesses of the roster log: the policy's, or every member.
    pub(crate) fn roster_witnesses(&self, policy: &Policy) -> Vec<WitnessKey> {
        self.assigned(policy, |roster| roster.members.keys().collect())
    }

    /// The witnesses whom the policy names, or whom the versions assign.
    fn assigned<'a>(
        &'a self,
        policy: &Policy,
        assigned: impl Fn(&'a Roster) -> Vec<&'a MemberId>,
    ) -> Vec<WitnessKey> {
        if !policy.witnesses.is_empty() {
            let named = policy.witnesses.iter().map(|witness| WitnessKey {
                note_id: cosignature_key_id(&witness.name, &witness.key),
                name: witness.name.clone(),
                key: witness.key.clone(),
                who: witness.name.clone(),
                spans: vec![(UnixSeconds::MIN, UnixSeconds::MAX)],
            });
            return named.collect();
        }
        let mut keys: Vec<WitnessKey> = vec![];
        for (at, roster) in self.history.iter().enumerate() {
            let span = (
                if at == 0 {
                    UnixSeconds::MIN
                } else {
                    roster.issued_at
                },
                self.history
                    .get(at + 1)
                    .map_or(UnixSeconds::MAX, |next| next.issued_at),
            );
            for witness in assigned(roster) {
                let listed = roster.keys(witness, KeyUse::Witness);
                for key in listed.filter_map(|key| key.key.usable()) {
                    add_span(&mut keys, roster, witness, key, span);
                }
            }
        }
        // Who has a revoked key can date its cosignatures back.
        for key in keys.iter_mut().filter(|key| self.is_revoked(&key.key)) {
            key.spans.clear();
        }
        keys
    }

    /// Says whether a version revokes a witness key, whoever is assigned by then.
    fn is_revoked(&self, key: &PublicKey) -> bool {
        let said = self.history.iter().flat_map(|roster| {
            let members = roster.members.keys();
            members.flat_map(|id| roster.keys(id, KeyUse::Witness))
        });
        said.filter(|said| said.key.is(key))
            .any(|said| said.revoked_at_size.is_some())
    }
}

fn add_span(
    keys: &mut Vec<WitnessKey>,
    roster: &Roster,
    witness: &MemberId,
    key: &PublicKey,
    span: (UnixSeconds, UnixSeconds),
) {
    let known = keys
        .iter_mut()
        .find(|known| known.who == witness.as_str() && known.key == *key);
    if let Some(known) = known {
        known.spans.push(span);
        return;
    }
    let name = format!("{}/{witness}/witness", roster.federation);
    keys.push(WitnessKey {
        note_id: cosignature_key_id(&name, key),
        name,
        key: key.clone(),
        who: witness.to_string(),
        spans: vec![span],
    });
}

/// Versions that are missing, and a federation that is another one.
fn check_names(tree: &Tree, history: &[Arc<Roster>], policy: &Policy, findings: &mut Findings) {
    let first = BundlePath::Roster(1).to_string();
    let Some(newest) = history.last() else {
        findings.add(Finding::new(
            Code::RosterChain,
            first,
            "roster 1 is missing",
        ));
        return;
    };
    if newest.federation != policy.federation {
        let what = format!("it is of the federation {}", newest.federation);
        findings.add(Finding::new(Code::RosterChain, first, what));
    }
    let later = tree
        .below("roster/")
        .filter_map(|name| name.parse::<u64>().ok());
    if let Some(version) = later.max().filter(|version| *version > newest.version) {
        let path = BundlePath::Roster(version).to_string();
        findings.add(Finding::new(
            Code::RosterChain,
            path,
            "versions before it are missing",
        ));
    }
}

fn code_of(error: &RosterError) -> Code {
    match error {
        RosterError::BadSignature { .. } | RosterError::TooFewSignatures { .. } => {
            Code::RosterSignature
        }
        RosterError::Incompatible { .. } => Code::KeyNewer,
        RosterError::Malformed { .. }
        | RosterError::Features { .. }
        | RosterError::Field { .. }
        | RosterError::Key { .. }
        | RosterError::NotPinned { .. }
        | RosterError::BrokenChain { .. }
        | RosterError::Gap { .. }
        | RosterError::OlderThanSeen { .. }
        | RosterError::Fork { .. }
        | RosterError::Expired { .. }
        | RosterError::KeyDropped { .. }
        | RosterError::KeyChanged { .. }
        | RosterError::Revocation { .. }
        | RosterError::NotYetIssued { .. } => Code::RosterChain,
    }
}
