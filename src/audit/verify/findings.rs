//! What a verifier finds wrong with a bundle beside single records: stable
//! codes, exact counts of files, and a bounded list of where.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Serialize, Serializer};

/// Findings that are listed; all are counted.
pub const LISTED_MAX: usize = 1_000;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// A kind of fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// Every code, in the order in which reports list them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code as it stands in reports.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

codes! {
    /// A file is not the one that SHA256SUMS names.
    SumsMismatch = "sums.mismatch",
    /// A file is not there, or SHA256SUMS does not name it.
    SumsMissing = "sums.missing",
    /// Rosters do not follow each other from the pinned one on.
    RosterChain = "roster.chain",
    /// Too few roots signed a roster, or a signature does not hold.
    RosterSignature = "roster.signature",
    /// A signature under a key whose algorithm is not known here: a newer
    /// verifier is needed.
    KeyNewer = "key.newer",
    /// A checkpoint is not there, or is no checkpoint.
    CheckpointMalformed = "checkpoint.malformed",
    /// A checkpoint is of another log.
    CheckpointOrigin = "checkpoint.origin",
    /// A checkpoint is not signed by its log's member.
    CheckpointSignature = "checkpoint.signature",
    /// A checkpoint's root is not that of the log's tree.
    CheckpointRoot = "checkpoint.root",
    /// The newest checkpoint is smaller than an earlier one.
    CheckpointSmaller = "checkpoint.smaller",
    /// A cosignature by nobody who witnesses this log.
    CosignatureUnknown = "cosignature.unknown",
    /// A cosignature in a witness's name that does not hold.
    CosignatureInvalid = "cosignature.invalid",
    /// A hash tile is not there, or has too few or too many hashes.
    TileTruncated = "tile.truncated",
    /// A hash tile is not what its subtree hashes to.
    TileRoot = "tile.root",
    /// An entry, or its DSSE form, is not what its author signed.
    EntryForged = "entry.forged",
    /// An entry that the tree has is not there.
    EntryMissing = "entry.missing",
    /// An entry bundle ends within an entry.
    EntryTruncated = "entry.truncated",
    /// A body is not the one that its statement names.
    BodyForged = "body.forged",
    /// A body is not there, and nothing says why.
    BodyMissing = "body.missing",
    /// A line of the desk without what its officer signed.
    OfficerUnsigned = "officer.unsigned",
    /// What stands in a line is not signed by its officer for this method.
    OfficerSignature = "officer.signature",
    /// The certificate of a line is not of its officer, or did not count then.
    OfficerCertificate = "officer.certificate",
    /// The line was not written when its officer signed.
    OfficerUntimely = "officer.untimely",
    /// What an officer signed once stands in the log twice.
    OfficerReplayed = "officer.replayed",
    /// A proof does not show that an entry is in the tree.
    ProofInclusion = "proof.inclusion",
    /// A proof does not show that one checkpoint extends another.
    ProofConsistency = "proof.consistency",
    /// A receipt is not what the member signed and logged.
    ReceiptForged = "receipt.forged",
    /// Two signed notes contradict each other, or are said to and do not.
    EvidencePair = "evidence.pair",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind of fault.
    pub code: Code,
    /// The file in which it shows.
    pub path: String,
    /// The first record that it concerns, where it is about records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    /// More, in English.
    pub detail: String,
}

impl Finding {
    pub(crate) fn new(code: Code, path: impl Into<String>, detail: impl fmt::Display) -> Self {
        Self {
            code,
            path: path.into(),
            index: None,
            detail: detail.to_string(),
        }
    }

    pub(crate) fn at(self, index: u64) -> Self {
        Self {
            index: Some(index),
            ..self
        }
    }
}

/// All faults, each once a file: counted, and the first of each kind listed.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    files: BTreeMap<Code, BTreeSet<String>>,
    listed: Vec<Finding>,
}

impl Findings {
    pub(crate) fn add(&mut self, finding: Finding) {
        let files = self.files.entry(finding.code).or_default();
        if !files.insert(finding.path.clone()) {
            return;
        }
        // A flood of one kind must not hide the others.
        let share = LISTED_MAX / Code::ALL.len();
        if files.len() <= share || self.listed.len() < LISTED_MAX / 2 {
            self.listed.push(finding);
        }
    }

    /// In how many files each kind was found.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<Code, u64> {
        let count = |files: &BTreeSet<String>| files.len() as u64;
        self.files
            .iter()
            .map(|(code, files)| (*code, count(files)))
            .collect()
    }

    /// Those that are listed, in the order of their codes and paths.
    #[must_use]
    pub fn listed(&self) -> Vec<Finding> {
        let mut listed = self.listed.clone();
        listed.sort_by(|a, b| (a.code, &a.path, a.index).cmp(&(b.code, &b.path, b.index)));
        listed
    }

    /// Says whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}
