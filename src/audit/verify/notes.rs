//! The signed notes of one log: whose they are, at what size, with which root,
//! and from when on a checkpoint counts as witnessed.

use std::collections::BTreeMap;

use super::findings::{Code, Finding, Findings};
use super::policy::Policy;
use super::roots::{Roots, WitnessKey};
use super::tree::Tree;
use crate::audit::layout::LogFile;
use crate::checkpoint::{
    CheckpointError, NOTE_BYTES_MAX, NoteSignature, SignedNote, SizedRoot, cosigned_bytes,
    note_key_id, witness_name,
};
use crate::clock::UnixSeconds;
use crate::ids::{Digest, Origin, TreeSize};
use crate::keys::PublicKey;
use crate::roster::{self, KeyUse};

/// What is said of a signature under a key whose algorithm is not known here.
pub(crate) const NEWER: &str =
    "it is signed with an algorithm that this verifier does not know: use a newer one";

/// A checkpoint that its log signed.
#[derive(Clone, Debug)]
pub(crate) struct SignedRoot {
    pub(crate) path: String,
    pub(crate) size: TreeSize,
    pub(crate) root: Digest,
    /// When enough witnesses had cosigned it.
    pub(crate) witnessed: Option<UnixSeconds>,
}

/// All that a log signed, as far as it holds.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// The newest checkpoint, if it holds.
    pub(crate) newest: Option<SignedRoot>,
    /// Those of `checkpoints/`, by size.
    pub(crate) earlier: Vec<SignedRoot>,
}

impl Notes {
    /// Every signed root, in ascending order of size.
    pub(crate) fn all(&self) -> impl Iterator<Item = &SignedRoot> {
        self.earlier.iter().chain(&self.newest)
    }

    /// The largest that holds: its tree is that of the log.
    pub(crate) fn largest(&self) -> Option<&SignedRoot> {
        match (self.earlier.last(), &self.newest) {
            (Some(earlier), Some(newest)) if newest.size > earlier.size => Some(newest),
            (Some(earlier), _) => Some(earlier),
            (None, newest) => newest.as_ref(),
        }
    }

    /// When each witnessed size was witnessed, ascending, each the first that
    /// holds what it holds.
    pub(crate) fn witnessed(&self) -> Vec<(TreeSize, UnixSeconds)> {
        let mut sizes: BTreeMap<TreeSize, UnixSeconds> = BTreeMap::new();
        for note in self.all() {
            if let Some(time) = note.witnessed {
                let first = sizes.entry(note.size).or_insert(time);
                *first = time.min(*first);
            }
        }
        sizes.into_iter().collect()
    }

    /// Reads `checkpoint` and `checkpoints/` below `log`.
    pub(crate) fn read(
        tree: &Tree,
        log: &str,
        reader: &NoteReader<'_>,
        findings: &mut Findings,
    ) -> Self {
        let mut notes = Self::default();
        let path = format!("{log}{}", LogFile::Checkpoint);
        match tree.read(&path, NOTE_BYTES_MAX as u64) {
            None => findings.add(Finding::new(Code::CheckpointMalformed, path, "not there")),
            Some(bytes) => notes.newest = reader.read(&path, &bytes, findings),
        }
        let dir = format!("{log}checkpoints/");
        for name in tree.below(&dir) {
            let path = format!("{dir}{name}");
            let bytes = tree.read(&path, NOTE_BYTES_MAX as u64).unwrap_or_default();
            let Some(note) = reader.read(&path, &bytes, findings) else {
                continue;
            };
            if note.size.to_string() == name {
                notes.earlier.push(note);
            } else {
                let what = "its size is not its name";
                findings.add(Finding::new(Code::CheckpointMalformed, path, what));
            }
        }
        notes.earlier.sort_by_key(|note| note.size);
        notes.check_growth(findings);
        notes
    }

    /// A log never shrinks: the newest checkpoint is the largest.
    fn check_growth(&self, findings: &mut Findings) {
        let (Some(newest), Some(largest)) = (&self.newest, self.earlier.last()) else {
            return;
        };
        if newest.size < largest.size {
            let what = format!("{} entries, after {}", newest.size, largest.size);
            findings.add(Finding::new(Code::CheckpointSmaller, &newest.path, what));
        }
    }
}

/// Opens notes of one log.
#[derive(Debug)]
pub(crate) struct NoteReader<'a> {
    roots: &'a Roots,
    policy: &'a Policy,
    /// The log's name.
    name: String,
    /// Who may sign it, and up to which size.
    keys: Vec<(&'a PublicKey, Option<u64>)>,
    witnesses: Vec<WitnessKey>,
    /// Whether a key that is not known here may have signed it.
    newer: bool,
}

impl<'a> NoteReader<'a> {
    /// For a log of a member.
    pub(crate) fn new(roots: &'a Roots, policy: &'a Policy, origin: &Origin) -> Self {
        Self {
            roots,
            policy,
            name: origin.to_string(),
            keys: roots.checkpoint_keys(origin),
            witnesses: roots.witnesses(policy, &origin.member),
            newer: roots.has_newer_key([&origin.member], KeyUse::Checkpoint),
        }
    }

    /// For the roster log: every member may sign it, and is its witness.
    pub(crate) fn of_rosters(roots: &'a Roots, policy: &'a Policy) -> Self {
        Self {
            roots,
            policy,
            name: roster::log::origin(&policy.federation),
            keys: roots.roster_log_keys(),
            witnesses: roots.roster_witnesses(policy),
            newer: roots.has_newer_key(roots.members(), KeyUse::Checkpoint),
        }
    }

    /// Opens a note, and tells what is wrong with it or its cosignatures.
    pub(crate) fn read(
        &self,
        path: &str,
        bytes: &[u8],
        findings: &mut Findings,
    ) -> Option<SignedRoot> {
        let SizedRoot { size, root } = match self.open(bytes) {
            Ok(opened) => opened,
            Err((code, what)) => {
                findings.add(Finding::new(code, path, what));
                return None;
            }
        };
        Some(SignedRoot {
            path: path.to_owned(),
            size,
            root,
            witnessed: self.witnessed(path, bytes, findings),
        })
    }

    /// Opens a note as a checkpoint of this log.
    pub(crate) fn open(&self, bytes: &[u8]) -> Result<SizedRoot, (Code, String)> {
        let told = |error: CheckpointError| match error {
            CheckpointError::NotSigned if self.newer => (Code::KeyNewer, NEWER.to_owned()),
            error => (code_of(&error), error.to_string()),
        };
        let all = self.keys.iter().map(|(key, _)| *key);
        let opened = SizedRoot::open(bytes, &self.name, all).map_err(told)?;
        let counts = |end: Option<u64>| end.is_none_or(|end| opened.size.0 <= end);
        let still = self.keys.iter().filter(|(_, end)| counts(*end));
        SizedRoot::open(bytes, &self.name, still.map(|(key, _)| *key))
            .map_err(|error| (code_of(&error), error.to_string()))
    }

    /// Says whether a line's name is that of a member with a witness key whose
    /// algorithm is not known here: the line is passed over.
    fn is_newer_witness(&self, name: &str) -> bool {
        let federation = &self.policy.federation;
        let members = self.roots.members().into_iter();
        let mut named = members.filter(|member| witness_name(federation, member) == name);
        named.any(|member| self.roots.has_newer_key([member], KeyUse::Witness))
    }

    /// The time at which enough witnesses had cosigned a note, if they have.
    fn witnessed(&self, path: &str, bytes: &[u8], findings: &mut Findings) -> Option<UnixSeconds> {
        let note = SignedNote::parse(bytes).ok()?;
        let own = &self.name;
        let ids = self.keys.iter().map(|(key, _)| note_key_id(own, key));
        let ids: Vec<_> = ids.collect();
        let is_own = |line: &&NoteSignature<'_>| line.name == own && ids.contains(&line.key_id);
        let mut times: BTreeMap<&str, UnixSeconds> = BTreeMap::new();
        let mut all_hold = true;
        for line in note.signatures().iter().filter(|line| !is_own(line)) {
            let named = |key: &&WitnessKey| key.name == line.name && key.note_id == line.key_id;
            let Some(witness) = self.witnesses.iter().find(named) else {
                if !self.is_newer_witness(line.name) {
                    findings.add(Finding::new(Code::CosignatureUnknown, path, line.name));
                }
                continue;
            };
            let Some(time) = cosigned_at(&note, witness, &line.signature) else {
                findings.add(Finding::new(Code::CosignatureInvalid, path, line.name));
                all_hold = false;
                continue;
            };
            if witness.counts_at(time) {
                let newest = times.entry(witness.who()).or_insert(time);
                *newest = time.max(*newest);
            }
        }
        if !all_hold {
            return None;
        }
        let mut times: Vec<UnixSeconds> = times.into_values().collect();
        times.sort_unstable();
        times
            .iter()
            .enumerate()
            .find(|(at, time)| {
                let quorum = self.roots.quorum(self.policy, **time);
                quorum > 0 && at + 1 >= quorum
            })
            .map(|(_, time)| *time)
    }
}

/// The time of one cosignature line, if it holds (C2SP tlog-cosignature).
fn cosigned_at(
    note: &SignedNote<'_>,
    witness: &WitnessKey,
    signature: &[u8],
) -> Option<UnixSeconds> {
    let (time, signature) = signature.split_first_chunk::<8>()?;
    let time = u64::from_be_bytes(*time);
    let signed = cosigned_bytes(note.text(), time);
    witness.key.verify(&signed, signature).ok()?;
    UnixSeconds::try_from(time).ok()
}

/// The finding that an error about a note is.
pub(crate) fn code_of(error: &CheckpointError) -> Code {
    match error {
        CheckpointError::Origin(_) | CheckpointError::OtherLog { .. } => Code::CheckpointOrigin,
        CheckpointError::NotSigned | CheckpointError::BadSignature { .. } => {
            Code::CheckpointSignature
        }
        CheckpointError::TooBig { .. }
        | CheckpointError::MalformedNote { .. }
        | CheckpointError::Malformed { .. } => Code::CheckpointMalformed,
    }
}
