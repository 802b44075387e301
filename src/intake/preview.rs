//! What a file would do, counted without doing it.

use std::collections::{BTreeMap, HashSet};

use ring::digest;

use crate::element::Kind;
use crate::intake::Parsed;

/// Counts over a file: rows by kind, refusals by reason, warnings, repeated rows.
#[derive(Clone, Debug, Default)]
pub struct Preview {
    /// Accepted rows by kind, repeated ones too.
    pub rows: BTreeMap<Kind, u64>,
    /// Refused rows by the reason's code.
    pub refused: BTreeMap<&'static str, u64>,
    /// Warnings by code.
    pub warnings: BTreeMap<&'static str, u64>,
    /// Accepted rows that are never tokenized.
    pub not_linkable: u64,
    /// Accepted rows whose identity stood in the file before.
    pub duplicates: u64,
    seen: HashSet<[u8; 16]>,
}

impl Preview {
    /// Counts one row.
    pub fn add(&mut self, parsed: &Parsed) {
        let row = match parsed {
            Parsed::Row(row) => row,
            Parsed::Reject(reject) => {
                *self.refused.entry(reject.code()).or_default() += 1;
                return;
            }
        };
        *self.rows.entry(row.kind).or_default() += 1;
        for warning in &row.canonical.warnings {
            *self.warnings.entry(warning.code()).or_default() += 1;
        }
        self.not_linkable += u64::from(!row.canonical.linkable);
        self.duplicates += u64::from(!self.seen.insert(fingerprint(&row.identity())));
    }

    /// All accepted rows.
    #[must_use]
    pub fn rows_total(&self) -> u64 {
        self.rows.values().sum()
    }

    /// All refused rows.
    #[must_use]
    pub fn refused_total(&self) -> u64 {
        self.refused.values().sum()
    }
}

fn fingerprint(fields: &[&[u8]]) -> [u8; 16] {
    let mut context = digest::Context::new(&digest::SHA256);
    for field in fields {
        context.update(&u64::try_from(field.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(field);
    }
    let mut out = [0; 16];
    out.copy_from_slice(&context.finish().as_ref()[..16]);
    out
}
