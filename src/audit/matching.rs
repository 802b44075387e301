//! Compares both ends of what members asked each other: the asker's lines with
//! opened purposes, and the asked end's with what it saw. Lines meet by query
//! id, scope and asker (PROTOCOL.md section 16).

mod compare;
mod lines;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::audit::verify::{Options, Policy, Step, VerifyError, verify};
use crate::clock::UnixSeconds;
use crate::ids::{LogName, Origin};
use crate::record::{Body, Entry};

pub use lines::Scope;

use lines::Side;

/// Discrepancies that are listed; all are counted.
const LISTED_MAX: usize = 1_000;

/// What two ends can differ in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Difference {
    /// The asked end has no line of what the asker says it answered.
    NotAtAsked,
    /// The asker has no line of what the asked end saw.
    NotAtAsker,
    /// The asker does not say that it asked this end.
    NotNamed,
    /// A commitment that none of the asker's purposes opens.
    Commitment,
    /// A purpose under another case ref.
    CaseRef,
    /// A purpose under another offence class.
    Offence,
    /// A purpose under another urgency.
    Urgency,
    /// More was asked for a purpose than the asker says.
    Count,
    /// Another number of points or answers.
    Points,
    /// The two ends say that it ended differently.
    Outcome,
    /// The asked end answered more often than the asker says it asked.
    Replayed,
}

impl Difference {
    /// Every difference.
    pub const ALL: [Self; 11] = [
        Self::NotAtAsked,
        Self::NotAtAsker,
        Self::NotNamed,
        Self::Commitment,
        Self::CaseRef,
        Self::Offence,
        Self::Urgency,
        Self::Count,
        Self::Points,
        Self::Outcome,
        Self::Replayed,
    ];

    /// The word that stands in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotAtAsked => "not_at_asked",
            Self::NotAtAsker => "not_at_asker",
            Self::NotNamed => "not_named",
            Self::Commitment => "commitment",
            Self::CaseRef => "case_ref",
            Self::Offence => "offence",
            Self::Urgency => "urgency",
            Self::Count => "count",
            Self::Points => "points",
            Self::Outcome => "outcome",
            Self::Replayed => "replayed",
        }
    }
}

/// Why a line of one end could not be compared; no fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unsettled {
    /// The other member's access log is in none of the bundles.
    NotGiven,
    /// The other's exported lines do not reach to that time.
    Outside,
    /// The asker got no answer: the question may never have arrived.
    Unanswered,
}

impl Unsettled {
    /// Every reason.
    pub const ALL: [Self; 3] = [Self::NotGiven, Self::Outside, Self::Unanswered];

    /// The word that stands in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotGiven => "not_given",
            Self::Outside => "outside",
            Self::Unanswered => "unanswered",
        }
    }
}

/// One thing in which two ends differ, or that could not be compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MatchLine {
    /// What it is.
    pub what: &'static str,
    /// The scope's word.
    pub scope: &'static str,
    /// The query id, hex.
    pub query_id: String,
    /// Who asked.
    pub asker: String,
    /// Who was asked.
    pub asked: String,
    /// More: what either end says.
    pub detail: String,
}

/// One member's access log as it was compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MatchedLog {
    /// The log.
    pub origin: String,
    /// Its size.
    pub size: u64,
    /// The first index that the bundle has.
    pub start: u64,
    /// The index after the last.
    pub end: u64,
    /// Lines of the three scopes.
    pub lines: u64,
    /// Whether the bundle's access log verifies.
    pub verified: bool,
}

/// How many of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MatchCount {
    /// What it is.
    pub what: &'static str,
    /// How many.
    pub count: u64,
}

/// What a comparison came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct MatchReport {
    /// Whether nothing differs and every access log verifies.
    pub ok: bool,
    /// The logs that were compared.
    pub logs: Vec<MatchedLog>,
    /// Questions whose two ends agree.
    pub matched: u64,
    /// Purposes that were opened and are what the asked end saw.
    pub opened: u64,
    /// What differs, by kind.
    pub differences: Vec<MatchCount>,
    /// What could not be compared, by kind.
    pub unsettled: Vec<MatchCount>,
    /// The first differences.
    pub differing: Vec<MatchLine>,
    /// The first that could not be compared.
    pub open: Vec<MatchLine>,
}

/// Verifies the access logs of the bundles and compares them. Blocks.
///
/// # Errors
/// [`VerifyError`] when a bundle cannot be looked at.
pub fn compare(
    bundles: &[PathBuf],
    policy: &Policy,
    jobs: usize,
    now: UnixSeconds,
    progress: &(dyn Fn(Step) + Sync),
) -> Result<MatchReport, VerifyError> {
    let mut report = MatchReport::default();
    let mut sides: BTreeMap<String, Side> = BTreeMap::new();
    for bundle in bundles {
        let found: Mutex<BTreeMap<String, Side>> = Mutex::default();
        let take = |origin: &Origin, _index: u64, entry: &Entry, body: &Body| {
            if let Body::Access(body) = body {
                let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                let side = found.entry(origin.to_string()).or_default();
                side.take(origin, entry.statement.issued_at, body);
            }
        };
        let options = Options {
            jobs,
            now,
            progress,
            records: None,
            bodies: Some(&take),
            only: Some(LogName::Access),
        };
        let verified = verify(bundle, policy, options)?;
        let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        for log in &verified.logs {
            let mut side = found.remove(&log.origin).unwrap_or_default();
            // What a later generation begins with is not the log's first line.
            let first = log.start == 0 && log.origin.ends_with("/1");
            side.is_whole = (first, log.end >= log.size);
            report.logs.push(MatchedLog {
                origin: log.origin.clone(),
                size: log.size,
                start: log.start,
                end: log.end,
                lines: side.count(),
                verified: verified.ok,
            });
            sides.entry(verified.member.clone()).or_default().join(side);
        }
    }
    compare::all(&sides, &mut report);
    let verified = report.logs.iter().all(|log| log.verified);
    report.ok = verified && report.differences.is_empty() && !report.logs.is_empty();
    Ok(report)
}

impl MatchReport {
    fn differ(&mut self, difference: Difference, line: MatchLine) {
        let what = difference.as_str();
        count(&mut self.differences, what);
        if self.differing.len() < LISTED_MAX {
            self.differing.push(MatchLine { what, ..line });
        }
    }

    fn leave_open(&mut self, why: Unsettled, line: MatchLine) {
        let what = why.as_str();
        count(&mut self.unsettled, what);
        if self.open.len() < LISTED_MAX {
            self.open.push(MatchLine { what, ..line });
        }
    }
}

fn count(counts: &mut Vec<MatchCount>, what: &'static str) {
    match counts.iter_mut().find(|count| count.what == what) {
        Some(found) => found.count += 1,
        None => counts.push(MatchCount { what, count: 1 }),
    }
}
