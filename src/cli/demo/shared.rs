//! What two or more bureaus share, as their own nodes found it: the links come
//! from tokens, each value from its owner's sealed store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::element::Kind;
use crate::ids::{LogIndex, LogName, MemberId};
use crate::ledger::{LedgerError, OWN_RECORDS};
use crate::parts::Parts;
use crate::record::Body;

/// Records that are looked at in one go.
const BLOCK: u64 = 1_024;

/// One element that several bureaus hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SharedElement {
    pub(super) bureaus: BTreeSet<String>,
    pub(super) cases: usize,
}

/// All of them, by kind and canonical value.
pub(super) type Shared = BTreeMap<(&'static str, String), SharedElement>;

/// Collects what one bureau's node found, into `shared`.
///
/// # Errors
/// [`LedgerError`].
pub(super) fn collect(parts: &Arc<Parts>, shared: &mut Shared) -> Result<(), LedgerError> {
    let ledger = &parts.ledger;
    let size = ledger.own_log(LogName::Records).size().0;
    let mut at = 0;
    while at < size {
        let end = size.min(at + BLOCK);
        for (index, body) in ledger.decoded_bodies(OWN_RECORDS, LogIndex(at), end)? {
            let Body::Element(element) = body else {
                continue;
            };
            let mac = ledger.token_mac(element.token_key_id, &element.token);
            let postings = ledger.postings().postings(&mac)?;
            let members: BTreeSet<MemberId> = postings
                .iter()
                .filter_map(|p| ledger.log_by_number(p.log))
                .map(|log| log.origin.member.clone())
                .collect();
            if members.len() < 2 {
                continue;
            }
            let Some(held) = ledger.held(index)? else {
                continue;
            };
            let kind = Kind::from_wire(held.kind).map_or("", Kind::as_str);
            let cases: BTreeSet<_> = postings.iter().map(|p| (p.log, p.case_ref)).collect();
            shared.insert(
                (kind, held.canonical),
                SharedElement {
                    bureaus: members.iter().map(ToString::to_string).collect(),
                    cases: cases.len(),
                },
            );
        }
        at = end;
    }
    Ok(())
}

/// `kind<TAB>value<TAB>bureau,bureau<TAB>cases`, one line an element, sorted by bytes.
#[must_use]
pub(super) fn lines(shared: &Shared) -> String {
    let mut lines: Vec<String> = shared
        .iter()
        .map(|((kind, value), element)| {
            let bureaus: Vec<&str> = element.bureaus.iter().map(String::as_str).collect();
            format!(
                "{kind}\t{value}\t{}\t{}\n",
                bureaus.join(","),
                element.cases
            )
        })
        .collect();
    lines.sort_unstable();
    lines.concat()
}
