//! The entries of one log, bundle by bundle, on all threads: each entry's
//! place, key, signature and leaf, its body, and its DSSE form.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, Read};
use std::ops::Range;

use bytes::Bytes;

use super::findings::{Code, Finding};
use super::hashes::{Hashes, Source, read_tile};
use super::marks::{BodyMark, EntryMark, Mark};
use super::tree::Tree;
use crate::audit::layout::{LogFile, TileIndex, TilePath, split_bodies, split_entries};
use crate::clock::UnixSeconds;
use crate::ids::{Digest, KeyId, LogIndex, LogName, Origin, TreeSize};
use crate::keys::PublicKey;
use crate::merkle::{TILE_WIDTH, leaf_hash};
use crate::record::{
    ACCESS_BODY_BYTES_MAX, Body, BodyType, ENTRY_BYTES_MAX, Entry, Readers, RecordError,
};
use crate::roster::validity::KeyTimeline;
use crate::wire::v1::BodyAnswer;

/// Bytes of an entry bundle at most; one that is longer has too many entries.
const BUNDLE_BYTES_MAX: u64 = 2 * TILE_WIDTH * (ENTRY_BYTES_MAX as u64 + 2);
/// Bytes of the bodies of one bundle at most.
const BODIES_BYTES_MAX: u64 = TILE_WIDTH * (ACCESS_BODY_BYTES_MAX as u64 + 5);
/// The longest line of a DSSE file.
const DSSE_LINE_BYTES_MAX: u64 = 4 * ENTRY_BYTES_MAX as u64;

/// What all bundles of a log are checked against.
#[derive(Debug)]
pub(crate) struct LogContext<'a> {
    pub(crate) tree: &'a Tree,
    /// The log's directory, with a slash at its end.
    pub(crate) log: &'a str,
    pub(crate) origin: &'a Origin,
    /// The entry bundles that are there, each with its widest file.
    pub(crate) bundles: BTreeMap<u64, u16>,
    /// The size of the log's tree; 0 where no checkpoint holds.
    pub(crate) size: TreeSize,
    /// Up to where a signed root proves the leaves.
    pub(crate) proven: TreeSize,
    pub(crate) hashes: &'a Hashes,
    pub(crate) keys: HashMap<KeyId, Vec<&'a PublicKey>>,
    pub(crate) timeline: KeyTimeline,
    /// Sizes of witnessed checkpoints, ascending, and since when.
    pub(crate) witnessed: Vec<(TreeSize, UnixSeconds)>,
}

/// What one bundle holds.
#[derive(Debug, Default)]
pub(crate) struct BlockResult {
    pub(crate) first: u64,
    pub(crate) marks: Vec<Mark>,
    pub(crate) findings: Vec<Finding>,
    /// Bodies that say what ended: retractions and erasures, with their time.
    pub(crate) ending: Vec<(u64, UnixSeconds, Body)>,
    /// Where an erased body's own end was.
    pub(crate) ends: Vec<(u64, UnixSeconds)>,
}

/// What sees every body that fits, from several threads at once.
pub(crate) type Visitor<'a> = &'a (dyn Fn(u64, &Entry, &Body) + Sync);

/// The place of one record: its entry if it is one, and its verdict so far.
#[derive(Default)]
struct Slot {
    entry: Option<Entry>,
    mark: Mark,
}

impl LogContext<'_> {
    /// The bundles to look at: from the first that is there to the last.
    pub(crate) fn numbers(&self) -> Range<u64> {
        let (first, last) = (self.bundles.keys().next(), self.bundles.keys().next_back());
        match (first, last) {
            (Some(first), Some(last)) => *first..last.saturating_add(1),
            _ => 0..0,
        }
    }

    /// Checks one bundle.
    pub(crate) fn block(&self, number: u64, visit: Option<Visitor<'_>>) -> BlockResult {
        let path = self.bundle(number);
        let mut out = BlockResult {
            first: path.first(),
            ..BlockResult::default()
        };
        let slots = self.entries(&path, &mut out);
        self.dsse(number, &slots, &mut out);
        self.bodies(number, slots, &mut out, visit);
        out
    }

    /// The bundle of this number, in the widest file that is there.
    pub(crate) fn bundle(&self, number: u64) -> TilePath {
        let full = u16::try_from(TILE_WIDTH).unwrap_or(u16::MAX);
        TilePath {
            level: None,
            index: TileIndex(number),
            width: self.bundles.get(&number).copied().unwrap_or(full),
        }
    }

    /// How many entries a bundle should have: as many as the tree has there,
    /// and no fewer than its name says.
    pub(crate) fn width(&self, bundle: &TilePath) -> usize {
        let in_tree = self.size.0.saturating_sub(bundle.first()).min(TILE_WIDTH);
        usize::from(bundle.width).max(usize::try_from(in_tree).unwrap_or(0))
    }

    /// The leaves that the signed tree has in this block, where they stand in
    /// a hash tile.
    fn leaves(&self, bundle: &TilePath) -> Option<Vec<Digest>> {
        let width = self.size.0.saturating_sub(bundle.first()).min(TILE_WIDTH);
        let tile = TilePath {
            level: Some(0),
            index: bundle.index,
            width: u16::try_from(width).ok().filter(|width| *width > 0)?,
        };
        match self.hashes.source(bundle.index.0) {
            Source::Tile => read_tile(self.tree, self.log, &tile),
            Source::Entries => None,
        }
    }

    /// Reads and checks the entries; each stands in the slot of its index.
    fn entries(&self, path: &TilePath, out: &mut BlockResult) -> Vec<Slot> {
        let file = format!("{}{path}", self.log);
        let leaves = self.leaves(path);
        let width = self.width(path);
        let bytes = self.tree.read(&file, BUNDLE_BYTES_MAX).unwrap_or_default();
        let mut found = Vec::with_capacity(width);
        for entry in split_entries(Bytes::from(bytes)) {
            let told = match entry {
                Ok(_) if found.len() >= usize::from(path.width) => "something after the last entry",
                Ok(entry) => {
                    found.push((leaf_hash(&entry), entry));
                    continue;
                }
                Err(_) => "it ends within an entry",
            };
            out.findings
                .push(Finding::new(Code::EntryTruncated, &file, told));
            break;
        }
        if found.len() < width {
            let what = format!("{} of {width} entries are there", found.len());
            out.findings
                .push(Finding::new(Code::EntryMissing, &file, what));
        }
        let short = found.len() < width;
        let places = leaves.as_deref().filter(|_| short).map(places_of);
        let mut slots: Vec<Slot> = (0..width).map(|_| Slot::default()).collect();
        for (at, (leaf, bytes)) in found.into_iter().enumerate() {
            // Where some are missing, the others stand where the tree has them.
            let place = places.as_ref().and_then(|places| places.get(&leaf));
            let at = place.copied().unwrap_or(at);
            let index = path.first().saturating_add(at as u64);
            let in_tree = self.is_in_tree(index, &leaf, leaves.as_deref(), at);
            let slot = self.entry(index, in_tree, bytes, &file, out);
            put(&mut slots, at, slot);
        }
        slots
    }

    /// Says whether a leaf is the tree's at its index.
    fn is_in_tree(&self, index: u64, leaf: &Digest, leaves: Option<&[Digest]>, at: usize) -> bool {
        if index >= self.proven.0 {
            return false;
        }
        match (leaves, self.hashes.source(index / TILE_WIDTH)) {
            (Some(leaves), _) => leaves.get(at) == Some(leaf),
            // The entries themselves gave the signed root.
            (None, source) => source == Source::Entries,
        }
    }

    fn entry(
        &self,
        index: u64,
        in_tree: bool,
        bytes: Bytes,
        file: &str,
        out: &mut BlockResult,
    ) -> Slot {
        let checked = Entry::parse(bytes).and_then(|entry| {
            entry.check_place(self.origin)?;
            self.is_signed(&entry)?;
            Ok(entry)
        });
        let mut mark = Mark {
            in_tree,
            ..Mark::MISSING
        };
        match checked {
            Ok(entry) => {
                let (key, at) = (entry.statement.key_id, self.witnessed_at(index));
                mark.entry = EntryMark::Signed;
                mark.key = self.timeline.judge(key, LogIndex(index), at);
                Slot {
                    entry: Some(entry),
                    mark,
                }
            }
            Err(error) => {
                let finding = Finding::new(Code::EntryForged, file, error);
                out.findings.push(finding.at(index));
                mark.entry = EntryMark::Forged;
                Slot { entry: None, mark }
            }
        }
    }

    /// Checks the signature with the keys of its id; four bytes of digest may
    /// name several. What no roster names is judged by that, not by this.
    fn is_signed(&self, entry: &Entry) -> Result<(), RecordError> {
        let Some(keys) = self.keys.get(&entry.statement.key_id) else {
            return Ok(());
        };
        if keys.iter().any(|key| entry.verify(key).is_ok()) {
            return Ok(());
        }
        Err(RecordError::BadSignature)
    }

    /// The tree's leaf at an index, where a signed root proves it.
    pub(crate) fn leaf(&self, index: u64) -> Option<Digest> {
        if index >= self.proven.0 {
            return None;
        }
        let bundle = self.bundle(index / TILE_WIDTH);
        let at = usize::try_from(index % TILE_WIDTH).ok()?;
        if let Some(leaves) = self.leaves(&bundle) {
            return leaves.get(at).copied();
        }
        // The entries gave the signed root.
        let bytes = self
            .tree
            .read(&format!("{}{bundle}", self.log), BUNDLE_BYTES_MAX)?;
        let entry = split_entries(Bytes::from(bytes)).nth(at)?.ok()?;
        Some(leaf_hash(&entry))
    }

    /// When the first witnessed checkpoint that holds `index` was witnessed.
    fn witnessed_at(&self, index: u64) -> Option<UnixSeconds> {
        let after = self.witnessed.partition_point(|(size, _)| size.0 <= index);
        self.witnessed.get(after).map(|(_, time)| *time)
    }

    /// Compares `dsse/N.jsonl` with the entries, if it is there.
    fn dsse(&self, number: u64, slots: &[Slot], out: &mut BlockResult) {
        let path = format!("{}{}", self.log, LogFile::Dsse(TileIndex(number)));
        let Some(mut file) = self.tree.stream(&path) else {
            return;
        };
        for (at, slot) in slots.iter().enumerate() {
            let line = read_line(&mut file);
            let Some(entry) = &slot.entry else { continue };
            let index = out.first.saturating_add(at as u64);
            if !line.is_some_and(|line| is_dsse_of(&line, entry)) {
                let finding = Finding::new(Code::EntryForged, &path, "not the entry's DSSE form");
                out.findings.push(finding.at(index));
            }
        }
        if !matches!(file.fill_buf(), Ok([])) {
            let what = "more envelopes than entries";
            out.findings
                .push(Finding::new(Code::EntryForged, &path, what));
        }
    }

    fn bodies(
        &self,
        number: u64,
        slots: Vec<Slot>,
        out: &mut BlockResult,
        visit: Option<Visitor<'_>>,
    ) {
        let path = format!("{}{}", self.log, LogFile::Bodies(TileIndex(number)));
        let bytes = self.tree.read(&path, BODIES_BYTES_MAX);
        let mut items = split_bodies(Bytes::from(bytes.unwrap_or_default()));
        for (at, slot) in slots.into_iter().enumerate() {
            let index = out.first.saturating_add(at as u64);
            let Slot { entry, mut mark } = slot;
            // What cannot be read is not there.
            let item = items.next().and_then(Result::ok);
            mark.told = item
                .as_ref()
                .map_or(BodyAnswer::Unspecified, |item| item.answer);
            if let Some(entry) = &entry {
                let body = item.as_ref().map(|item| &item.body);
                self.body(index, entry, body, &mut mark, &path, out, visit);
            }
            let moved = !mark.in_tree && index < self.proven.0;
            if moved && entry.is_some() && mark.body != BodyMark::Forged {
                let file = format!("{}{}", self.log, self.bundle(number));
                let what = "the tree has another leaf there";
                out.findings
                    .push(Finding::new(Code::EntryForged, file, what).at(index));
            }
            out.marks.push(mark);
        }
    }

    #[allow(clippy::too_many_arguments, reason = "all that is known of one record")]
    fn body(
        &self,
        index: u64,
        entry: &Entry,
        bytes: Option<&Bytes>,
        mark: &mut Mark,
        path: &str,
        out: &mut BlockResult,
        visit: Option<Visitor<'_>>,
    ) {
        mark.newer = !entry.statement.body_type.is_known();
        mark.body = match mark.told {
            BodyAnswer::Held => {
                let opened = entry.open_body(bytes.map_or(&[][..], |bytes| bytes));
                match opened {
                    Err(error) if error.is_newer() => {
                        mark.newer = true;
                        BodyMark::Held
                    }
                    Ok(body) => {
                        self.keep(index, entry, body, mark, out, visit);
                        BodyMark::Held
                    }
                    Err(error) => {
                        out.findings
                            .push(Finding::new(Code::BodyForged, path, error).at(index));
                        BodyMark::Forged
                    }
                }
            }
            BodyAnswer::NotForYou if self.may_withhold(entry.statement.body_type) => {
                BodyMark::Withheld
            }
            BodyAnswer::Erased => {
                out.ends.push((index, entry.statement.expires_at));
                BodyMark::Erased
            }
            BodyAnswer::NotForYou
            | BodyAnswer::Absent
            | BodyAnswer::Lost
            | BodyAnswer::Unspecified => {
                let finding = Finding::new(Code::BodyMissing, path, mark.missing());
                out.findings.push(finding.at(index));
                BodyMark::Missing
            }
        };
    }

    fn keep(
        &self,
        index: u64,
        entry: &Entry,
        body: Body,
        mark: &Mark,
        out: &mut BlockResult,
        visit: Option<Visitor<'_>>,
    ) {
        if !mark.entry_holds() {
            return;
        }
        if let Some(visit) = visit {
            visit(index, entry, &body);
        }
        if matches!(body, Body::Retract(_) | Body::Erasure(_)) {
            out.ending.push((index, entry.statement.issued_at, body));
        }
    }

    /// Auditors see access lines, and what says how bodies ended.
    fn may_withhold(&self, body_type: BodyType) -> bool {
        let readers = body_type.rules().readers;
        self.origin.log == LogName::Records
            && matches!(readers, Readers::Audience | Readers::Unknown)
    }
}

/// Puts an entry into its slot, or into the next that is free.
fn put(slots: &mut [Slot], at: usize, slot: Slot) {
    let is_free = |slot: &Slot| slot.mark.entry == EntryMark::Missing;
    let behind = slots.iter().skip(at).position(is_free);
    let free = behind
        .map(|n| at + n)
        .or_else(|| slots.iter().position(is_free));
    if let Some(place) = free.and_then(|at| slots.get_mut(at)) {
        *place = slot;
    }
}

fn places_of(leaves: &[Digest]) -> HashMap<Digest, usize> {
    let placed = leaves.iter().enumerate();
    placed.map(|(at, leaf)| (*leaf, at)).collect()
}

fn read_line(file: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    file.by_ref()
        .take(DSSE_LINE_BYTES_MAX)
        .read_line(&mut line)
        .ok()?;
    Some(line)
}

/// Says whether a line is an entry as a DSSE envelope, in any spelling of JSON.
fn is_dsse_of(line: &str, entry: &Entry) -> bool {
    let want = entry.dsse_json();
    if line.trim_end() == want {
        return true;
    }
    let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    read(line).is_some_and(|line| Some(line) == read(&want))
}
