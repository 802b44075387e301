//! The offline verifier of a bundle (PROTOCOL.md section 15): one verdict for
//! every record, and what else is wrong. It trusts its policy and nothing that
//! stands in the bundle, needs no node and no network, and reads the bundle
//! piece by piece on as many threads as there are processors.

mod blocks;
mod ended;
mod findings;
mod hashes;
mod log;
mod marks;
mod notes;
mod policy;
mod proofs;
mod report;
mod roots;
mod rosterlog;
mod sums;
mod tree;

use std::io;
use std::path::{Path, PathBuf};

use crate::audit::layout::{BUNDLE_FORMAT, BundlePath};
use crate::blame::{Blame, Blamed};
use crate::clock::UnixSeconds;
use crate::ids::{LogName, MemberId, Origin};
use crate::record::{Body, Entry};

pub use ended::{ConfirmationLine, ErasureLine, ErasureReport};
pub use findings::{Code, Finding, Findings, LISTED_MAX};
pub use marks::Verdict;
pub use policy::{POLICY_BYTES_MAX, Policy, PolicyError, PolicyWitness};
pub use report::{FindingCount, LogReport, RecordLine, Report, RosterReport, VerdictCount};

pub use tree::Tree;

use roots::Roots;

/// The most bytes of `bundle.json`.
const DESCRIPTION_BYTES_MAX: u64 = 1 << 20;

/// Bytes of the name of what wrote a bundle that are shown.
const SOFTWARE_BYTES_MAX: usize = 64;

/// Why a bundle could not be verified at all.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It cannot be read.
    #[error("the bundle {} cannot be read: {source}", path.display())]
    Unreadable {
        /// The bundle.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The archive is not one that is read here.
    #[error("the bundle is no archive that is read: {0}")]
    Archive(&'static str),
    /// Nothing says whose bundle it is.
    #[error("bundle.json does not name the member")]
    NoMember,
    /// Nothing says in which format it is.
    #[error("bundle.json names no format that there ever was")]
    NoFormat,
    /// A newer casegate wrote it.
    #[error(
        "the bundle has format {found}, this casegate {version} reads format {BUNDLE_FORMAT}: \
         verify it with {software} or a newer one",
        version = env!("CARGO_PKG_VERSION")
    )]
    Newer {
        /// Its format.
        found: u64,
        /// What wrote it, as it says.
        software: String,
    },
    /// The verdicts could not be written.
    #[error("the verdicts cannot be written: {0}")]
    Write(io::Error),
}

impl Blamed for VerifyError {
    fn blame(&self) -> Blame {
        match self {
            Self::Unreadable { .. } | Self::Archive(_) | Self::NoMember | Self::NoFormat => {
                Blame::Misbehaved
            }
            Self::Newer { .. } => Blame::Incompatible,
            Self::Write(_) => Blame::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "bundle.unreadable",
            Self::Archive(_) => "bundle.archive",
            Self::NoMember => "bundle.no_member",
            Self::NoFormat => "bundle.no_format",
            Self::Newer { .. } => "bundle.newer",
            Self::Write(_) => "bundle.write",
        }
    }
}

/// How far a verification is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// So many records will be looked at.
    Records(u64),
    /// So many more are done.
    Done(u64),
}

/// Sees one record after the other, in order, with its log.
pub type RecordSink<'a> = &'a mut dyn FnMut(&RecordLine) -> io::Result<()>;

/// Sees every body that holds, from several threads at once.
pub type BodySink<'a> = &'a (dyn Fn(&Origin, u64, &Entry, &Body) + Sync);

/// What a verification is given beside bundle and policy.
pub struct Options<'a> {
    /// How many threads; at least one.
    pub jobs: usize,
    /// The time by which retention ends are judged.
    pub now: UnixSeconds,
    /// Is told how far it is, from several threads at once.
    pub progress: &'a (dyn Fn(Step) + Sync),
    /// Sees every record's verdict, if given.
    pub records: Option<RecordSink<'a>>,
    /// Sees every body that holds, if given.
    pub bodies: Option<BodySink<'a>>,
    /// Looks at the member's logs of this name only, if given.
    pub only: Option<LogName>,
}

impl std::fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("jobs", &self.jobs)
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

/// Verifies a bundle, a directory or a tar archive. Blocks, for as long as it
/// takes; a million records are about a minute of one processor.
///
/// # Errors
/// [`VerifyError`] when it could not be verified at all. Whatever is wrong
/// with it stands in the report.
pub fn verify(
    bundle: &Path,
    policy: &Policy,
    mut options: Options<'_>,
) -> Result<Report, VerifyError> {
    let tree = Tree::open(bundle)?;
    let member = member_of(&tree)?;
    let mut findings = Findings::default();
    let jobs = options.jobs.max(1);
    sums::check(&tree, jobs, &mut findings);
    let roots = Roots::read(&tree, policy, &mut findings);
    let rosters = rosterlog::check(&tree, &roots, policy, &mut findings);
    let mut report = Report::new(policy, &member, &roots, rosters.as_ref(), options.now);
    if !roots.history.is_empty() {
        let mut logs = logs_of(&tree, policy, &member);
        if let Some(only) = options.only {
            logs.retain(|origin| origin.log == only);
        }
        let prepared: Vec<log::Prepared<'_>> = logs
            .iter()
            .map(|origin| log::Prepared::of(&tree, &roots, policy, origin, &mut findings))
            .collect();
        let records = prepared.iter().map(log::Prepared::records).sum();
        (options.progress)(Step::Records(records));
        for log in &prepared {
            let done = log.verify(jobs, &logs, &mut options, &mut report, &mut findings)?;
            report.logs.push(done);
        }
        if options.only.is_none() {
            proofs::strays(&tree, &logs, &mut findings);
        }
        proofs::evidence(&tree, &roots, policy, &mut findings);
    }
    report.finish(&findings, policy);
    Ok(report)
}

/// The member that the bundle says it is of, if it is of the format that is read
/// here. A wrong member finds no key.
fn member_of(tree: &Tree) -> Result<MemberId, VerifyError> {
    let path = BundlePath::Description.to_string();
    let text = tree.text(&path, DESCRIPTION_BYTES_MAX).unwrap_or_default();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    match value.get("format").and_then(serde_json::Value::as_u64) {
        Some(BUNDLE_FORMAT) => {}
        Some(found) if found > BUNDLE_FORMAT => {
            return Err(VerifyError::Newer {
                found,
                software: writer_of(&value),
            });
        }
        Some(_) | None => return Err(VerifyError::NoFormat),
    }
    let name = value.get("member").and_then(serde_json::Value::as_str);
    name.and_then(|name| MemberId::new(name).ok())
        .ok_or(VerifyError::NoMember)
}

/// What wrote a bundle, as far as that can be shown.
fn writer_of(description: &serde_json::Value) -> String {
    let told = description
        .get("software")
        .and_then(serde_json::Value::as_str);
    let shown = |c: char| c.is_ascii_graphic() || c == ' ';
    told.filter(|told| (1..=SOFTWARE_BYTES_MAX).contains(&told.len()) && told.chars().all(shown))
        .map_or_else(|| "the casegate that wrote it".to_owned(), str::to_owned)
}

/// The logs that a bundle has, records first.
fn logs_of(tree: &Tree, policy: &Policy, member: &MemberId) -> Vec<Origin> {
    let mut logs = vec![];
    for log in [LogName::Records, LogName::Access] {
        let dir = format!("{}/", log.as_str());
        let names = tree.below(&dir).filter_map(|name| name.split_once('/'));
        let mut generations: Vec<u32> = names
            .filter_map(|(name, _)| name.parse().ok().filter(|n: &u32| n.to_string() == name))
            .filter(|generation| *generation > 0)
            .collect();
        generations.sort_unstable();
        generations.dedup();
        logs.extend(generations.into_iter().map(|generation| Origin {
            federation: policy.federation.clone(),
            member: member.clone(),
            log,
            generation,
        }));
    }
    logs
}
