//! What a verification says: the counts of verdicts, what was found, and a
//! bounded list of records that are not valid.

use std::collections::BTreeMap;

use serde::Serialize;

use super::ended::ErasureReport;
use super::findings::{Code, Finding, Findings};
use super::marks::Verdict;
use super::notes::SignedRoot;
use super::policy::Policy;
use super::roots::Roots;
use crate::clock::UnixSeconds;
use crate::ids::MemberId;

/// Records that a report lists; all are counted.
const RECORDS_MAX: usize = 1_000;

/// How many records have one verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct VerdictCount {
    /// The verdict.
    pub verdict: Verdict,
    /// How many records.
    pub records: u64,
}

/// In how many files one kind of fault was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct FindingCount {
    /// The kind of fault.
    pub code: Code,
    /// How many files.
    pub files: u64,
}

/// The verdict on one record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RecordLine {
    /// The log.
    pub log: String,
    /// Where it stands.
    pub index: u64,
    /// The verdict.
    pub verdict: Verdict,
    /// Why, as a stable word; empty where there is nothing to say.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub why: &'static str,
    /// Whether it is of a later version than this verifier reads.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub newer: bool,
    /// Erased: the retraction's index; none at the retention end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<u64>,
    /// Erased: when that was decided.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "rfc3339::option::serialize"
    )]
    pub at: Option<UnixSeconds>,
    /// Erased: the reason's word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
}

/// What the rosters of the bundle say.
#[derive(Clone, Debug, Serialize)]
pub struct RosterReport {
    /// The digest that the policy pins.
    pub pin: String,
    /// Versions that hold, from the pinned one on.
    pub versions: usize,
    /// The newest that holds; 0 for none.
    pub newest: u64,
    /// The newest that enough members cosigned, by the roster log's checkpoint;
    /// 0 for none.
    pub witnessed: u64,
    /// When they had.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "rfc3339::option::serialize"
    )]
    pub witnessed_at: Option<UnixSeconds>,
}

/// What one log came to.
#[derive(Clone, Debug, Serialize)]
pub struct LogReport {
    /// Its name.
    pub origin: String,
    /// The size of the largest checkpoint that holds; 0 for none.
    pub size: u64,
    /// Its root, hex; empty for none.
    pub root: String,
    /// Up to where a signed root proves the leaves in the bundle.
    pub proven: u64,
    /// The largest witnessed size.
    pub witnessed: u64,
    /// When that was witnessed.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "rfc3339::option::serialize"
    )]
    pub witnessed_at: Option<UnixSeconds>,
    /// Checkpoints that hold.
    pub checkpoints: usize,
    /// The first index whose record was looked at.
    pub start: u64,
    /// The index after the last.
    pub end: u64,
    /// How many records have each verdict.
    pub verdicts: Vec<VerdictCount>,
    /// How many records are of a later version than this verifier reads.
    pub newer: u64,
    /// What of it was erased.
    pub erasures: ErasureReport,
}

/// What a verification says.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whether nothing is wrong.
    pub ok: bool,
    /// The federation of the policy.
    pub federation: String,
    /// The member whose bundle it is.
    pub member: String,
    /// When it was verified.
    #[serde(serialize_with = "rfc3339::serialize")]
    pub verified_at: UnixSeconds,
    /// Whether records that are not witnessed count as faults.
    pub require_witnessed: bool,
    /// Its rosters.
    pub roster: RosterReport,
    /// Its logs.
    pub logs: Vec<LogReport>,
    /// How many records have each verdict, over all logs.
    pub verdicts: Vec<VerdictCount>,
    /// How many records, over all logs, are of a later version than this
    /// verifier reads: all else about them was verified.
    pub newer: u64,
    /// What was found, by code.
    pub findings: Vec<FindingCount>,
    /// Where it was found; the first of each.
    pub found: Vec<Finding>,
    /// Records that are neither valid nor provisional; the first ones.
    pub records: Vec<RecordLine>,
}

impl Report {
    /// Begins a report; `rosters` is the roster log's checkpoint, if it holds.
    pub(crate) fn new(
        policy: &Policy,
        member: &MemberId,
        roots: &Roots,
        rosters: Option<&SignedRoot>,
        now: UnixSeconds,
    ) -> Self {
        let witnessed = rosters.filter(|signed| signed.witnessed.is_some());
        Self {
            ok: false,
            federation: policy.federation.to_string(),
            member: member.to_string(),
            verified_at: now,
            require_witnessed: policy.require_witnessed,
            roster: RosterReport {
                pin: policy.roster_pin.to_string(),
                versions: roots.history.len(),
                newest: roots.newest().map_or(0, |roster| roster.version),
                witnessed: witnessed.map_or(0, |signed| signed.size.0),
                witnessed_at: witnessed.and_then(|signed| signed.witnessed),
            },
            logs: vec![],
            verdicts: vec![],
            newer: 0,
            findings: vec![],
            found: vec![],
            records: vec![],
        }
    }

    /// Says whether one more record can be listed.
    pub(crate) fn has_room(&self) -> bool {
        self.records.len() < RECORDS_MAX
    }

    /// Adds up what the logs came to.
    pub(crate) fn finish(&mut self, findings: &Findings, policy: &Policy) {
        let mut all: BTreeMap<Verdict, u64> = BTreeMap::new();
        for count in self.logs.iter().flat_map(|log| &log.verdicts) {
            *all.entry(count.verdict).or_default() += count.records;
        }
        self.verdicts = counts(&all);
        self.newer = self.logs.iter().map(|log| log.newer).sum();
        let wrong = |verdict: &Verdict| verdict.is_fault(policy.require_witnessed);
        self.ok = findings.is_empty() && !all.keys().any(wrong);
        self.findings = findings
            .counts()
            .into_iter()
            .map(|(code, files)| FindingCount { code, files })
            .collect();
        self.found = findings.listed();
    }

    /// How many records have a verdict.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> u64 {
        let of = self.verdicts.iter().find(|count| count.verdict == verdict);
        of.map_or(0, |count| count.records)
    }
}

/// The counts that are not zero, in the order of reports.
pub(crate) fn counts(all: &BTreeMap<Verdict, u64>) -> Vec<VerdictCount> {
    let count = |(verdict, records): (&Verdict, &u64)| VerdictCount {
        verdict: *verdict,
        records: *records,
    };
    all.iter().filter(|(_, n)| **n > 0).map(count).collect()
}

/// Writes times as RFC 3339 in UTC.
pub(crate) mod rfc3339 {
    use serde::{Serialize, Serializer};
    use time::OffsetDateTime;
    use time::format_description::well_known::Rfc3339;

    use crate::clock::UnixSeconds;

    fn text(at: UnixSeconds) -> Option<String> {
        OffsetDateTime::from_unix_timestamp(at)
            .ok()?
            .format(&Rfc3339)
            .ok()
    }

    pub(crate) fn serialize<S: Serializer>(at: &UnixSeconds, to: S) -> Result<S::Ok, S::Error> {
        text(*at).serialize(to)
    }

    pub(crate) mod option {
        use serde::{Serialize, Serializer};

        use crate::clock::UnixSeconds;

        pub(crate) fn serialize<S: Serializer>(
            at: &Option<UnixSeconds>,
            to: S,
        ) -> Result<S::Ok, S::Error> {
            at.and_then(super::text).serialize(to)
        }
    }
}
