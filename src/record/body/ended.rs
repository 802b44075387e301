//! Checks of the bodies that say what was erased: receipts of those who had
//! bodies of others, and erasures by the owner. Both use the wire's own types.

use crate::ids::{MemberId, Origin};
use crate::record::{RecordError, codec};
use crate::wire::v1::{ErasureBody, IndexRange, ReceiptBody};

/// Items that one body may have; more go into further bodies.
pub const ENDED_ITEMS_MAX: usize = 256;

pub(super) fn check_receipt(body: &ReceiptBody) -> Result<(), RecordError> {
    codec::array::<16>("nonce", &body.nonce)?;
    body.origin.parse::<Origin>()?;
    // Without items it ends that the member keeps no replica.
    if !body.items.is_empty() {
        check_ranges(body.items.iter().map(|item| item.range))?;
    }
    for item in &body.items {
        super::known::<crate::wire::v1::ReceiptState>("state", item.state)?;
        super::specified("state", item.state)?;
        codec::time("at", item.at)?;
    }
    Ok(())
}

pub(super) fn check_erasure(body: &ErasureBody) -> Result<(), RecordError> {
    codec::array::<16>("nonce", &body.nonce)?;
    check_ranges(body.items.iter().map(|item| item.range))?;
    for item in &body.items {
        super::known::<crate::wire::v1::RetractReason>("reason", item.reason)?;
        super::specified("reason", item.reason)?;
        codec::time("decided_at", item.decided_at)?;
        codec::time("erased_at", item.erased_at)?;
        for owed in &item.owed {
            MemberId::new(owed)?;
        }
        if !item.owed.is_sorted_by(|a, b| a < b) {
            return Err(RecordError::Field { what: "owed" });
        }
    }
    Ok(())
}

/// At least one range and not too many, each filled, sorted and apart.
fn check_ranges(ranges: impl Iterator<Item = Option<IndexRange>>) -> Result<(), RecordError> {
    let wrong = RecordError::Field { what: "range" };
    let (mut count, mut upto) = (0, 0);
    for range in ranges {
        let range = range.ok_or_else(|| wrong.clone())?;
        if range.start >= range.end || range.start < upto {
            return Err(wrong);
        }
        upto = range.end;
        count += 1;
    }
    if count == 0 || count > ENDED_ITEMS_MAX {
        return Err(wrong);
    }
    Ok(())
}
