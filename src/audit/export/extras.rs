//! What else is in a bundle: receipts of other members, and evidence.

use std::collections::BTreeMap;

use super::{Export, ExportError, SourceError};
use crate::audit::layout::{BundlePath, EvidencePart, Folder, ReceiptPart};
use crate::blame::Blame;
use crate::ids::{LogIndex, MemberId};

impl Export<'_> {
    /// The receipts that the member's erasures name; a member of whom one is
    /// named and not there is told with the reason.
    pub(super) fn receipts(&mut self) -> Result<(u64, Vec<(MemberId, SourceError)>), ExportError> {
        let mut all: BTreeMap<(MemberId, u32, LogIndex), Vec<BundlePath>> = BTreeMap::new();
        for path in self.files.list(Folder::Receipts)? {
            if let BundlePath::Receipt {
                member,
                generation,
                index,
                ..
            } = &path
            {
                let place = (member.clone(), *generation, *index);
                all.entry(place).or_default().push(path);
            }
        }
        let mut count = 0;
        let mut silent: Vec<(MemberId, SourceError)> = vec![];
        for ((member, generation, index), parts) in all {
            if silent.iter().any(|(other, _)| *other == member) {
                continue;
            }
            let files = self.files.get_all(&parts)?;
            let files: Option<Vec<_>> = files.into_iter().collect();
            match files.filter(|files| files.len() == ReceiptPart::ALL.len()) {
                Some(files) => {
                    count += 1;
                    for (path, bytes) in parts.iter().zip(files) {
                        self.writer.put(path, &bytes)?;
                    }
                }
                None => {
                    let place = format!("entry {index} of {member}/records/{generation}");
                    silent.push((
                        member,
                        SourceError {
                            code: "audit.no_receipt".into(),
                            blame: Blame::NotFound,
                            sentence: format!("{place} is not held there"),
                        },
                    ));
                }
            }
        }
        Ok((count, silent))
    }

    /// Pairs of notes that contradict each other.
    pub(super) fn evidence(&mut self) -> Result<u64, ExportError> {
        let paths = self.files.list(Folder::Evidence)?;
        let mut pairs = 0;
        for path in &paths {
            let bytes = super::needed(self.files.get(path)?, "a file of evidence is missing")?;
            let is_first =
                matches!(path, BundlePath::Evidence { part, .. } if *part == EvidencePart::First);
            pairs += u64::from(is_first);
            self.writer.put(path, &bytes)?;
        }
        Ok(pairs)
    }
}
