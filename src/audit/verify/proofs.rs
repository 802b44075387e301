//! Proofs that stand beside a log: consistency between its checkpoints,
//! inclusion of single entries, receipts of other members, and pairs of notes
//! that contradict each other.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::ended::Signed;
use super::findings::{Code, Finding, Findings};
use super::notes::{NoteReader, Notes};
use super::policy::Policy;
use super::roots::Roots;
use super::tree::Tree;
use crate::audit::layout::{BundlePath, EvidencePart, LogFile, TlogProof, read_hashes};
use crate::checkpoint::{CheckpointText, NOTE_BYTES_MAX, SignedNote, SizedRoot};
use crate::clock::UnixSeconds;
use crate::ids::{Digest, LogIndex, LogName, Origin, TreeSize};
use crate::merkle;
use crate::record::{Body, BodyType, ENTRY_BYTES_MAX, Entry, ReceiptBody, RecordError};
use crate::roster::log::{RosterCheckpoint, is_of_rosters};
use crate::roster::validity::{KeyTimeline, Validity};

/// The most bytes of a proof as text.
const PROOF_BYTES_MAX: u64 = NOTE_BYTES_MAX as u64 + 16 * 1024;

/// Checks `consistency/FROM-TO` of one log against the roots it signed.
pub(crate) fn consistency(tree: &Tree, log: &str, notes: &Notes, findings: &mut Findings) {
    let dir = format!("{log}consistency/");
    for name in tree.below(&dir) {
        let path = format!("{dir}{name}");
        if let Err(what) = one_consistency(tree, name, &path, notes) {
            findings.add(Finding::new(Code::ProofConsistency, path, what));
        }
    }
}

fn one_consistency(tree: &Tree, name: &str, path: &str, notes: &Notes) -> Result<(), String> {
    let file = format!("consistency/{name}").parse::<LogFile>();
    let Ok(LogFile::Consistency { from, to }) = file else {
        return Err("its name is not FROM-TO".into());
    };
    let root = |size: TreeSize| {
        let of_size = |note: &&super::notes::SignedRoot| note.size == size;
        let found = notes.all().find(of_size).map(|note| note.root);
        found.ok_or_else(|| format!("no checkpoint of {size} holds"))
    };
    let text = tree.text(path, PROOF_BYTES_MAX).ok_or("it is not there")?;
    let proof = read_hashes(&text).map_err(|error| error.to_string())?;
    merkle::verify_consistency(from, &root(from)?, to, &root(to)?, &proof)
        .map_err(|error| error.to_string())
}

/// Checks `proofs/GEN-INDEX.proof` of the records log of one generation;
/// `leaf` finds an entry's leaf hash.
pub(crate) fn inclusion(
    tree: &Tree,
    reader: &NoteReader<'_>,
    origin: &Origin,
    leaf: impl Fn(u64) -> Option<Digest>,
    findings: &mut Findings,
) {
    for name in tree.below("proofs/") {
        let path = format!("proofs/{name}");
        let index = match path.parse::<BundlePath>() {
            Ok(BundlePath::Proof { generation, index }) if generation == origin.generation => index,
            Ok(_) | Err(_) => continue,
        };
        let checked = read_proof(tree, &path).and_then(|proof| {
            if proof.index != index {
                return Err(format!("it is about entry {}", proof.index));
            }
            let leaf = leaf(index.0).ok_or("its entry is not known")?;
            is_included(reader, &proof, &leaf)
        });
        if let Err(what) = checked {
            findings.add(Finding::new(Code::ProofInclusion, path, what).at(index.0));
        }
    }
}

/// Proofs and receipts that are of none of the bundle's records logs.
pub(crate) fn strays(tree: &Tree, logs: &[Origin], findings: &mut Findings) {
    let has = |generation| {
        let of = |log: &&Origin| log.log == LogName::Records && log.generation == generation;
        logs.iter().any(|log| of(&log))
    };
    for name in tree.below("proofs/") {
        let path = format!("proofs/{name}");
        let known = match path.parse::<BundlePath>() {
            Ok(BundlePath::Proof { generation, .. }) => has(generation),
            Ok(_) | Err(_) => false,
        };
        if !known {
            let what = "the bundle has no such log";
            findings.add(Finding::new(Code::ProofInclusion, path, what));
        }
    }
}

fn read_proof(tree: &Tree, path: &str) -> Result<TlogProof, String> {
    let bytes = tree.read(path, PROOF_BYTES_MAX).ok_or("it is not there")?;
    TlogProof::decode(&Bytes::from(bytes)).map_err(|error| error.to_string())
}

fn is_included(reader: &NoteReader<'_>, proof: &TlogProof, leaf: &Digest) -> Result<(), String> {
    let signed = reader.open(&proof.checkpoint).map_err(|(_, what)| what)?;
    let (size, root) = (signed.size, &signed.root);
    merkle::verify_inclusion(leaf, proof.index, size, &proof.hashes, root)
        .map_err(|error| error.to_string())
}

/// Checks the receipts that other members gave for the log `origin`.
pub(crate) fn receipts(
    tree: &Tree,
    roots: &Roots,
    policy: &Policy,
    origin: &Origin,
    logs: &[Origin],
    findings: &mut Findings,
) -> Signed {
    let names = tree.below("receipts/");
    let stems: BTreeSet<&str> = names
        .map(|name| name.rsplit_once('.').map_or(name, |(stem, _)| stem))
        .collect();
    // By place: the first word of a member counts.
    let mut held = BTreeMap::new();
    for stem in stems {
        match receipt(tree, roots, policy, stem) {
            Ok((log, index, issued_at, body)) => match body.origin.parse::<Origin>() {
                Ok(about) if about == *origin => {
                    held.insert((log.member, log.generation, index), (issued_at, body));
                }
                Ok(about) if about.log == LogName::Records && logs.contains(&about) => {}
                Ok(_) | Err(_) => {
                    let what = format!("it is about {}", body.origin);
                    let path = format!("receipts/{stem}");
                    findings.add(Finding::new(Code::ReceiptForged, path, what));
                }
            },
            Err(what) => {
                let path = format!("receipts/{stem}");
                findings.add(Finding::new(Code::ReceiptForged, path, what));
            }
        }
    }
    let mut signed = Signed::new();
    for ((member, generation, index), (issued_at, body)) in held {
        let receipts = signed.entry(member).or_default();
        receipts.add((generation, index), issued_at, &body.items);
    }
    signed
}

/// Checks one receipt: entry, body, and that the member logged it.
fn receipt(
    tree: &Tree,
    roots: &Roots,
    policy: &Policy,
    stem: &str,
) -> Result<(Origin, LogIndex, UnixSeconds, ReceiptBody), String> {
    let told = |error: RecordError| error.to_string();
    let name = format!("receipts/{stem}.entry").parse::<BundlePath>();
    let Ok(BundlePath::Receipt {
        member,
        generation,
        index,
        ..
    }) = name
    else {
        return Err("its name is no place".into());
    };
    let log = &Origin {
        federation: policy.federation.clone(),
        member,
        log: LogName::Records,
        generation,
    };
    let path = |part: &str| format!("receipts/{stem}.{part}");
    let bytes = tree.read(&path("entry"), ENTRY_BYTES_MAX as u64);
    let entry = Entry::parse(Bytes::from(bytes.unwrap_or_default())).map_err(told)?;
    entry.check_place(log).map_err(told)?;
    let keys = roots.records_keys(&log.member);
    if !keys.iter().any(|key| entry.verify(key).is_ok()) {
        return Err("no key of the member signed it".into());
    }
    let max = BodyType::Receipt.rules().bytes_max as u64;
    let body = tree.read(&path("body"), max).unwrap_or_default();
    let Body::Receipt(body) = entry.open_body(&body).map_err(told)? else {
        return Err("it is no receipt".into());
    };
    let proof = read_proof(tree, &path("proof"))?;
    if proof.index != index {
        return Err(format!("its proof is about entry {}", proof.index));
    }
    let reader = NoteReader::new(roots, policy, log);
    is_included(&reader, &proof, &entry.leaf_hash())?;
    let timeline = KeyTimeline::of(&roots.history, log);
    let key = timeline.judge(entry.statement.key_id, proof.index, None);
    if let Validity::KeyInvalid(why) = key {
        return Err(why.to_string());
    }
    Ok((log.clone(), index, entry.statement.issued_at, body))
}

/// Looks at every pair of notes: each is a finding, whether it proves that a
/// log contradicts itself or only says so.
pub(crate) fn evidence(tree: &Tree, roots: &Roots, policy: &Policy, findings: &mut Findings) {
    let names = tree
        .below("evidence/")
        .filter_map(|name| name.split_once('/'));
    let numbers: BTreeSet<u64> = names
        .filter_map(|(number, _)| number.parse().ok())
        .collect();
    for number in numbers {
        let path = |part| BundlePath::Evidence { number, part }.to_string();
        let what = pair(tree, roots, policy, &path)
            .unwrap_or_else(|why| format!("it proves nothing: {why}"));
        let pair = format!("evidence/{number}");
        findings.add(Finding::new(Code::EvidencePair, pair, what));
    }
}

fn pair(
    tree: &Tree,
    roots: &Roots,
    policy: &Policy,
    path: &dyn Fn(EvidencePart) -> String,
) -> Result<String, String> {
    let note = |part| {
        tree.read(&path(part), NOTE_BYTES_MAX as u64)
            .unwrap_or_default()
    };
    let (first, second) = (note(EvidencePart::First), note(EvidencePart::Second));
    if is_of_rosters(&first, &policy.federation) {
        return rosters_pair(roots, policy, &first, &second);
    }
    let origin = origin_of(&first)?;
    let reader = NoteReader::new(roots, policy, &origin);
    let open = |note: &[u8]| reader.open(note).map_err(|(_, what)| what);
    let (a, b) = (open(&first)?, open(&second)?);
    if a.size == b.size {
        if a.root == b.root {
            return Err("both notes say the same".into());
        }
        return Ok(format!("{origin} signed two roots at {}", a.size));
    }
    let (old, new) = if a.size < b.size { (&a, &b) } else { (&b, &a) };
    let text = tree.text(&path(EvidencePart::Consistency), PROOF_BYTES_MAX);
    let proof = read_hashes(&text.ok_or("sizes differ and there is no proof")?)
        .map_err(|error| error.to_string())?;
    // First the root that the larger tree has at the smaller one's size, then
    // the proof from there.
    let (other, proof) = proof.split_first().ok_or("the proof is empty")?;
    if *other == old.root {
        return Err("the larger tree extends the smaller one".into());
    }
    merkle::verify_consistency(old.size, other, new.size, &new.root, proof)
        .map_err(|error| error.to_string())?;
    Ok(format!(
        "{origin} signed a tree of {} in which that of {} is another",
        new.size, old.size
    ))
}

/// Two notes of the roster log: of one size, or the larger one is judged by
/// the rosters of the bundle.
fn rosters_pair(
    roots: &Roots,
    policy: &Policy,
    first: &[u8],
    second: &[u8],
) -> Result<String, String> {
    let reader = NoteReader::of_rosters(roots, policy);
    let open = |note: &[u8]| reader.open(note).map_err(|(_, what)| what);
    let (a, b) = (open(first)?, open(second)?);
    if a.size == b.size && a.root != b.root {
        return Ok(format!("two roots of {} rosters were signed", a.size));
    }
    let differs = |signed: &SizedRoot| {
        let own = RosterCheckpoint::of(&roots.history, signed.size.0);
        own.is_some_and(|own| own.root != signed.root)
    };
    if differs(&a) != differs(&b) {
        return Ok("one of the notes is of other rosters".into());
    }
    Err("the notes do not contradict each other".into())
}

fn origin_of(note: &[u8]) -> Result<Origin, String> {
    let note = SignedNote::parse(note).map_err(|error| error.to_string())?;
    let text = CheckpointText::parse(note.text()).map_err(|error| error.to_string())?;
    text.origin
        .parse::<Origin>()
        .map_err(|error| error.to_string())
}
