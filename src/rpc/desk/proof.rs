//! The officer's own signature over a request: a node can neither invent
//! officers nor ask in their name twice (PROTOCOL.md section 11).

use tonic::metadata::MetadataMap;

use crate::access::officer::{OfficerSignatureError, REQUEST_BYTES_MAX, Signed, verify_officer};
use crate::access::{AccessLog, OfficerProof};
use crate::rpc::desk_client::OfficerSignature;
use crate::tls::Peer;

/// Checks the signature that came in `metadata` with `request` under the
/// caller's certificate, its time and its nonce.
pub(super) fn of<R: Signed>(
    access: &AccessLog,
    metadata: &MetadataMap,
    peer: Option<&Peer>,
    request: &R,
) -> Result<OfficerProof, OfficerSignatureError> {
    let peer = peer.ok_or(OfficerSignatureError::Missing)?;
    let made = OfficerSignature::read(metadata)?;
    let signed = made.signed_bytes(request);
    if signed.len() > REQUEST_BYTES_MAX {
        let bytes = signed.len();
        return Err(OfficerSignatureError::TooBig { bytes });
    }
    let certificate = peer.certificate();
    let said = verify_officer(certificate, &signed, &made.signature)?;
    access.take(&said)?;
    Ok(OfficerProof {
        request: signed.into(),
        signature: made.signature.into(),
        certificate: certificate.to_vec().into(),
    })
}
