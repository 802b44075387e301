//! One log of a bundle, from its checkpoints to the verdicts on its records.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use super::blocks::{BlockResult, LogContext};
use super::ended::{Ended, Endings, Signed, reason_word};
use super::findings::{Code, Finding, Findings};
use super::hashes::{Hasher, Hashes};
use super::marks::{BodyMark, EntryMark, Mark, Verdict};
use super::notes::{NoteReader, Notes};
use super::policy::Policy;
use super::proofs;
use super::report::{LogReport, RecordLine, Report, counts};
use super::roots::Roots;
use super::tree::Tree;
use super::{Options, Step, VerifyError};
use crate::audit::layout::{LogFile, TileIndex, TilePath};
use crate::ids::{KeyId, LogName, Origin, TreeSize};
use crate::keys::PublicKey;
use crate::merkle::TILE_WIDTH;
use crate::roster::validity::KeyTimeline;

/// Results of bundles that wait to be taken, for each thread.
const WAITING_PER_JOB: usize = 4;

/// A log whose checkpoints and tiles were looked at.
#[derive(Debug)]
pub(crate) struct Prepared<'a> {
    tree: &'a Tree,
    roots: &'a Roots,
    policy: &'a Policy,
    origin: &'a Origin,
    /// Its directory, with a slash at its end.
    dir: String,
    notes: Notes,
    hashes: Hashes,
    /// Up to where a signed root proves the leaves.
    proven: TreeSize,
    bundles: BTreeMap<u64, u16>,
}

impl<'a> Prepared<'a> {
    /// Reads checkpoints, hash tiles and consistency proofs.
    pub(crate) fn of(
        tree: &'a Tree,
        roots: &'a Roots,
        policy: &'a Policy,
        origin: &'a Origin,
        findings: &mut Findings,
    ) -> Self {
        let dir = format!("{}/{}/", origin.log.as_str(), origin.generation);
        let reader = NoteReader::new(roots, policy, origin);
        let notes = Notes::read(tree, &dir, &reader, findings);
        let mut prepared = Self {
            bundles: bundles_of(tree, &dir),
            hashes: Hashes::default(),
            proven: TreeSize(0),
            tree,
            roots,
            policy,
            origin,
            dir,
            notes,
        };
        prepared.hash(findings);
        proofs::consistency(tree, &prepared.dir, &prepared.notes, findings);
        prepared
    }

    /// The size of the log's tree; 0 where no checkpoint holds.
    fn size(&self) -> TreeSize {
        self.notes.largest().map_or(TreeSize(0), |note| note.size)
    }

    /// Recomputes the tree and compares every root that was signed.
    fn hash(&mut self, findings: &mut Findings) {
        let Some(largest) = self.notes.largest() else {
            return;
        };
        let sizes = self.notes.all().map(|note| note.size);
        let hasher = Hasher::new(self.tree, &self.dir, largest.size, sizes);
        let mut hashes = hasher.run(Some(&largest.root));
        for finding in std::mem::take(&mut hashes.findings) {
            findings.add(finding);
        }
        for note in self.notes.all() {
            if hashes.roots.get(&note.size) == Some(&note.root) {
                self.proven = self.proven.max(note.size);
            } else {
                let what = "the tree has another root there";
                findings.add(Finding::new(Code::CheckpointRoot, &note.path, what));
            }
        }
        self.hashes = hashes;
    }

    /// How many records will be looked at.
    pub(crate) fn records(&self) -> u64 {
        let context = self.context();
        let width = |number| context.width(&context.bundle(number)) as u64;
        match (context.numbers().next(), context.numbers().last()) {
            (Some(first), Some(last)) => (last - first)
                .saturating_mul(TILE_WIDTH)
                .saturating_add(width(last)),
            _ => 0,
        }
    }

    fn context(&self) -> LogContext<'_> {
        let mut keys: HashMap<KeyId, Vec<&PublicKey>> = HashMap::new();
        for key in self.roots.records_keys(&self.origin.member) {
            keys.entry(key.id()).or_default().push(key);
        }
        LogContext {
            tree: self.tree,
            log: &self.dir,
            origin: self.origin,
            bundles: self.bundles.clone(),
            size: self.size(),
            proven: self.proven,
            hashes: &self.hashes,
            keys,
            timeline: KeyTimeline::of(&self.roots.history, self.origin),
            witnessed: self.notes.witnessed(),
        }
    }

    /// Looks at every record, and at what proves single ones.
    pub(crate) fn verify(
        &self,
        jobs: usize,
        logs: &[Origin],
        options: &mut Options<'_>,
        report: &mut Report,
        findings: &mut Findings,
    ) -> Result<LogReport, VerifyError> {
        let context = self.context();
        let first = context.numbers().start.saturating_mul(TILE_WIDTH);
        let records = usize::try_from(self.records()).unwrap_or(usize::MAX);
        let mut marks = vec![Mark::MISSING; records];
        let mut ended = Ended::default();
        blocks(&context, jobs, options, |mut block| {
            ended.take(&mut block);
            let at = usize::try_from(block.first - first).unwrap_or(usize::MAX);
            let places = marks.get_mut(at..).unwrap_or_default();
            for (place, mark) in places.iter_mut().zip(&block.marks) {
                *place = *mark;
            }
            block
                .findings
                .into_iter()
                .for_each(|finding| findings.add(finding));
        });
        let receipts = match self.origin.log {
            LogName::Records => {
                let (tree, roots, policy) = (self.tree, self.roots, self.policy);
                let reader = NoteReader::new(roots, policy, self.origin);
                let leaf = |index| context.leaf(index);
                proofs::inclusion(tree, &reader, self.origin, leaf, findings);
                proofs::receipts(tree, roots, policy, self.origin, logs, findings)
            }
            LogName::Access => Signed::new(),
        };
        let (endings, erasures) = ended.settle(first, &mut marks, &receipts, options.now);
        let verdicts = self.settle(first, &marks, &endings, options, report, findings)?;
        let last = self.notes.witnessed().last().copied();
        Ok(LogReport {
            origin: self.origin.to_string(),
            size: self.size().0,
            root: self
                .notes
                .largest()
                .map_or_else(String::new, |n| n.root.to_string()),
            proven: self.proven.0,
            witnessed: last.map_or(0, |(size, _)| size.0),
            witnessed_at: last.map(|(_, time)| time),
            checkpoints: self.notes.all().count(),
            start: first,
            end: first.saturating_add(marks.len() as u64),
            verdicts: counts(&verdicts),
            newer: marks.iter().filter(|mark| mark.newer).count() as u64,
            erasures,
        })
    }

    /// Counts the verdicts, lists those that are not valid, and hands all on.
    fn settle(
        &self,
        first: u64,
        marks: &[Mark],
        endings: &Endings,
        options: &mut Options<'_>,
        report: &mut Report,
        findings: &mut Findings,
    ) -> Result<BTreeMap<Verdict, u64>, VerifyError> {
        let mut all: BTreeMap<Verdict, u64> = BTreeMap::new();
        let log = self.origin.to_string();
        for (at, mark) in marks.iter().enumerate() {
            let index = first.saturating_add(at as u64);
            let verdict = mark.verdict();
            *all.entry(verdict).or_default() += 1;
            if verdict == Verdict::Missing
                && mark.entry == EntryMark::Signed
                && mark.body == BodyMark::Erased
            {
                let file = LogFile::Bodies(TileIndex(index / TILE_WIDTH));
                let path = format!("{}{file}", self.dir);
                findings.add(Finding::new(Code::BodyMissing, path, mark.why()).at(index));
            }
            let is_listed = !matches!(verdict, Verdict::Valid | Verdict::Provisional);
            if options.records.is_none() && !(is_listed && report.has_room()) {
                continue;
            }
            let line = line_of(&log, index, mark, endings);
            if let Some(sink) = options.records.as_mut() {
                sink(&line).map_err(VerifyError::Write)?;
            }
            if is_listed && report.has_room() {
                report.records.push(line);
            }
        }
        Ok(all)
    }
}

fn line_of(log: &str, index: u64, mark: &Mark, endings: &Endings) -> RecordLine {
    let verdict = mark.verdict();
    let ending = endings.of(index).filter(|_| verdict == Verdict::Erased);
    RecordLine {
        log: log.to_owned(),
        index,
        verdict,
        why: mark.why(),
        newer: mark.newer,
        by: ending.and_then(|ending| ending.by),
        at: ending.map(|ending| ending.at),
        reason: ending.map(|ending| reason_word(ending.reason)),
    }
}

/// The entry bundles below a log's directory, each with its widest file.
fn bundles_of(tree: &Tree, dir: &str) -> BTreeMap<u64, u16> {
    let mut bundles: BTreeMap<u64, u16> = BTreeMap::new();
    let prefix = format!("{dir}tile/entries/");
    for name in tree.below(&prefix) {
        if let Ok(path) = format!("tile/entries/{name}").parse::<TilePath>() {
            let widest = bundles.entry(path.index.0).or_default();
            *widest = path.width.max(*widest);
        }
    }
    bundles
}

/// Checks all bundles on `jobs` threads; `take` gets each result, in any order.
fn blocks(
    context: &LogContext<'_>,
    jobs: usize,
    options: &Options<'_>,
    mut take: impl FnMut(BlockResult),
) {
    let numbers = context.numbers();
    let next = AtomicU64::new(numbers.start);
    let (progress, bodies) = (options.progress, options.bodies);
    let visit = bodies.map(|sink| {
        move |index: u64, entry: &crate::record::Entry, body: &crate::record::Body| {
            sink(context.origin, index, entry, body);
        }
    });
    let visit = visit
        .as_ref()
        .map(|visit| visit as super::blocks::Visitor<'_>);
    std::thread::scope(|scope| {
        let (done, results) = mpsc::sync_channel::<BlockResult>(jobs * WAITING_PER_JOB);
        for _ in 0..jobs {
            let (done, next, end) = (done.clone(), &next, numbers.end);
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= end {
                        return;
                    }
                    let block = context.block(number, visit);
                    progress(Step::Done(block.marks.len() as u64));
                    if done.send(block).is_err() {
                        return;
                    }
                }
            });
        }
        drop(done);
        results.iter().for_each(&mut take);
    });
}
