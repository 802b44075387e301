//! The sizes of an access body's fields. Its meaning belongs to the access log.

use crate::record::{NONCE_BYTES, RecordError, SALT_BYTES, codec};
use crate::wire::v1::{AccessBody, AccessScope};

const ID_BYTES: usize = 16;
const DIGEST_BYTES: usize = 32;
/// Names of methods, callers, outcomes, offences and urgencies.
const WORD_BYTES_MAX: usize = 512;
/// Certificates between an officer's and its CA.
const CHAIN_MAX: usize = 3;
/// Room for a DER signature of any usual key.
const SIGNATURE_BYTES_MAX: usize = 512;

/// Checks the body's fields; its total size is checked before.
pub(super) fn check(body: &AccessBody) -> Result<(), RecordError> {
    size("nonce", &body.nonce, NONCE_BYTES)?;
    match AccessScope::try_from(body.scope) {
        Ok(scope) if scope != AccessScope::Unspecified => {}
        _ => {
            return Err(RecordError::Unknown {
                what: "access scope",
                got: body.scope.into(),
            });
        }
    }
    if !body.query_id.is_empty() {
        size("query_id", &body.query_id, ID_BYTES)?;
    }
    codec::text("method", &body.method, WORD_BYTES_MAX)?;
    codec::text("caller", &body.caller, WORD_BYTES_MAX)?;
    codec::text("outcome", &body.outcome, WORD_BYTES_MAX)?;
    codec::text("log", &body.log, WORD_BYTES_MAX)?;
    for purpose in &body.purposes {
        size("salt", &purpose.salt, SALT_BYTES)?;
        optional("case_ref", &purpose.case_ref, ID_BYTES)?;
    }
    for seen in &body.seen {
        optional("case_ref", &seen.case_ref, ID_BYTES)?;
        size("purpose commitment", &seen.commitment, DIGEST_BYTES)?;
        codec::text("offence_class", &seen.offence_class, WORD_BYTES_MAX)?;
        codec::text("urgency", &seen.urgency, WORD_BYTES_MAX)?;
    }
    for asked in &body.asked {
        codec::text("asked member", &asked.member, WORD_BYTES_MAX)?;
        codec::text("asked outcome", &asked.outcome, WORD_BYTES_MAX)?;
    }
    if body.officer_chain.len() > CHAIN_MAX || body.taken_at < 0 {
        let what = "officer chain or taken_at";
        return Err(RecordError::Field { what });
    }
    codec::within(
        "officer signature",
        &body.officer_signature,
        SIGNATURE_BYTES_MAX,
    )
}

fn size(what: &'static str, bytes: &[u8], want: usize) -> Result<(), RecordError> {
    if bytes.len() == want {
        Ok(())
    } else {
        Err(RecordError::Field { what })
    }
}

fn optional(what: &'static str, bytes: &[u8], want: usize) -> Result<(), RecordError> {
    if bytes.is_empty() {
        Ok(())
    } else {
        size(what, bytes, want)
    }
}
