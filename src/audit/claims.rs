//! What a node says for people about its logs, beside what it signed: what was
//! erased and who has confirmed it, where a pair of notes came from. JSON, one
//! object a line. Nothing is proven by it; a bundle proves it or does not.

use serde::{Deserialize, Serialize};

use super::error::ExportError;
use crate::clock::UnixSeconds;
use crate::ledger::{Confirmation, Erasure};
use crate::record::RetractReason;
use crate::wire::v1::EvidencePair;

/// Erasures that one file `erasures/N.jsonl` has.
pub const ERASURES_PER_FILE: usize = 256;

/// A range of records whose bodies ended for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasureClaim {
    /// The first index.
    pub start: u64,
    /// One past the last.
    pub end: u64,
    /// The entry that retracted them; none when their retention end did.
    pub retracted_by: Option<u64>,
    /// `mistake`, `retention`, `order` or `case_closed`.
    pub reason: String,
    /// When it was decided.
    pub decided_at: UnixSeconds,
    /// When the owner had erased them.
    pub erased_at: UnixSeconds,
    /// Where the owner's own erasure stands in the log.
    pub entry: u64,
    /// Whether the owner took longer than a minute.
    pub late: bool,
    /// Whoever owes a receipt.
    pub confirmations: Vec<ConfirmationClaim>,
}

/// What a member that owes a receipt has said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfirmationClaim {
    /// The member.
    pub member: String,
    /// `pending`, `erased` or `never_held`.
    pub state: String,
    /// Whether it took longer than a minute, or still does.
    pub late: bool,
    /// When it had erased; 0 while it is pending, as the two below.
    pub at: UnixSeconds,
    /// The log in which its receipt stands.
    pub receipt_origin: String,
    /// Where it stands there.
    pub receipt_index: u64,
}

/// Of which log two notes are, and who found them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairClaim {
    /// The log.
    pub origin: String,
    /// When the node kept them.
    pub found_at: UnixSeconds,
    /// Who showed the second one.
    pub source: String,
}

fn reason_word(erasure: &Erasure) -> &'static str {
    match erasure.reason {
        _ if erasure.retracted_by.is_none() => "retention",
        RetractReason::Mistake => "mistake",
        RetractReason::Retention => "retention",
        RetractReason::Order => "order",
        RetractReason::CaseClosed => "case_closed",
        RetractReason::Unspecified => "unspecified",
    }
}

impl ErasureClaim {
    /// What the node says of an erasure.
    #[must_use]
    pub fn of(erasure: &Erasure) -> Self {
        let confirmations = erasure.confirmations.iter().map(ConfirmationClaim::of);
        Self {
            start: erasure.range.0,
            end: erasure.range.1,
            retracted_by: erasure.retracted_by.map(|at| at.0),
            reason: reason_word(erasure).to_owned(),
            decided_at: erasure.decided_at,
            erased_at: erasure.erased_at,
            entry: erasure.entry.0,
            late: erasure.is_late(),
            confirmations: confirmations.collect(),
        }
    }
}

impl ConfirmationClaim {
    fn of(confirmation: &Confirmation) -> Self {
        let receipt = confirmation.receipt.as_ref();
        let state = match receipt {
            None => "pending",
            Some(receipt) if receipt.held => "erased",
            Some(_) => "never_held",
        };
        Self {
            member: confirmation.member.to_string(),
            state: state.to_owned(),
            late: confirmation.late,
            at: receipt.map_or(0, |receipt| receipt.at),
            receipt_origin: receipt.map_or_else(String::new, |r| r.origin.to_string()),
            receipt_index: receipt.map_or(0, |receipt| receipt.index.0),
        }
    }
}

impl PairClaim {
    /// What the node says of a pair of notes.
    #[must_use]
    pub fn of(pair: &EvidencePair) -> Self {
        Self {
            origin: pair.origin.clone(),
            found_at: pair.found_at,
            source: pair.source.clone(),
        }
    }
}

/// Writes objects, one a line.
pub(super) fn write_lines<T: Serialize>(
    claims: impl IntoIterator<Item = T>,
) -> Result<Vec<u8>, ExportError> {
    let mut out = vec![];
    for claim in claims {
        serde_json::to_writer(&mut out, &claim).map_err(|_| ExportError::Malformed {
            what: "something that is no JSON",
        })?;
        out.push(b'\n');
    }
    Ok(out)
}

/// Reads what a node says, one object a line. Fields that are not known here
/// are passed over.
///
/// # Errors
/// [`ExportError::Malformed`].
pub fn read_lines<T: for<'a> Deserialize<'a>>(text: &[u8]) -> Result<Vec<T>, ExportError> {
    let lines = text.split(|byte| *byte == b'\n');
    lines
        .filter(|line| !line.is_empty())
        .map(|line| {
            serde_json::from_slice(line).map_err(|_| ExportError::Malformed {
                what: "a line that is not what is said there",
            })
        })
        .collect()
}
