//! What else is in a bundle: receipts of other members, and evidence.

use std::collections::BTreeSet;

use super::{Bundles, Export, ExportError};
use crate::audit::layout::{BundlePath, EvidencePart, ReceiptPart, write_hashes};
use crate::audit::source::{LogState, Receipt, SourceError};
use crate::ids::{Digest, LogIndex, LogName, MemberId, Origin};
use crate::wire::v1::{Confirmation, EvidencePair};

impl Export<'_> {
    /// The receipts that the member's erasures name; members that do not
    /// answer are asked once and named.
    pub(super) fn receipts(
        &mut self,
        logs: &[(LogState, Bundles)],
    ) -> Result<(u64, Vec<(MemberId, SourceError)>), ExportError> {
        let mut count = 0;
        let mut silent: Vec<(MemberId, SourceError)> = vec![];
        let mut seen = BTreeSet::new();
        for (log, _) in logs {
            if log.origin.log != LogName::Records {
                continue;
            }
            for erasure in self.source.erasures(&log.origin)? {
                for (origin, index) in erasure.confirmations.iter().flat_map(places_of) {
                    let is_silent = silent.iter().any(|(member, _)| *member == origin.member);
                    if is_silent || !seen.insert((origin.clone(), index)) {
                        continue;
                    }
                    match self.source.receipt(&origin, index) {
                        Ok(receipt) => {
                            count += 1;
                            self.put_receipt(&origin, index, receipt)?;
                        }
                        Err(why) => silent.push((origin.member, why)),
                    }
                }
            }
        }
        Ok((count, silent))
    }

    fn put_receipt(
        &mut self,
        origin: &Origin,
        index: LogIndex,
        receipt: Receipt,
    ) -> Result<(), ExportError> {
        let parts = [
            (ReceiptPart::Entry, receipt.entry),
            (ReceiptPart::Body, receipt.body),
            (ReceiptPart::Proof, receipt.proof.encode().into()),
        ];
        for (part, bytes) in parts {
            let path = BundlePath::Receipt {
                member: origin.member.clone(),
                generation: origin.generation,
                index,
                part,
            };
            self.writer.put(&path, &bytes)?;
        }
        Ok(())
    }

    pub(super) fn evidence(&mut self) -> Result<u64, ExportError> {
        let pairs = self.source.evidence()?;
        for (number, pair) in (1_u64..).zip(&pairs) {
            let EvidencePair {
                first,
                second,
                consistency,
                ..
            } = pair;
            let mut put = |part, bytes: &[u8]| {
                self.writer
                    .put(&BundlePath::Evidence { number, part }, bytes)
            };
            put(EvidencePart::First, first)?;
            put(EvidencePart::Second, second)?;
            if !consistency.is_empty() {
                let hashes: Result<Vec<_>, _> = consistency
                    .iter()
                    .map(|hash| Digest::from_slice(hash))
                    .collect();
                let hashes = hashes.map_err(|_| ExportError::Malformed {
                    what: "evidence with a hash that is none",
                })?;
                put(EvidencePart::Consistency, write_hashes(&hashes).as_bytes())?;
            }
        }
        Ok(pairs.len() as u64)
    }
}

/// Where the receipts of a confirmation stand: all that say something about it.
fn places_of(confirmation: &Confirmation) -> Vec<(Origin, LogIndex)> {
    let counted = (&confirmation.receipt_origin, confirmation.receipt_index);
    let all = confirmation.receipts.iter().map(|r| (&r.origin, r.index));
    let places = std::iter::once(counted).chain(all);
    places
        .filter_map(|(origin, index)| Some((origin.parse().ok()?, LogIndex(index))))
        .collect()
}
