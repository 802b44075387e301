//! The officer's own signature over a request that names a purpose: a node
//! cannot invent officers (PROTOCOL.md section 11).

use prost::Message;
use tonic::{Request, Status};

use crate::access::OfficerProof;
use crate::policy::Method;
use crate::rpc::desk_client::signature::signed_bytes;
use crate::rpc::desk_client::{OfficerSignatureError, officer_signature, verify_officer};
use crate::rpc::status::to_officer;
use crate::tls::Peer;

/// Checks the signature that came with `request` under the caller's certificate.
pub(super) fn of<M: Message>(method: Method, request: &Request<M>) -> Result<OfficerProof, Status> {
    of_bytes(method, request, &request.get_ref().encode_to_vec())
}

/// As [`of`], for a message that came as the first part of a stream.
pub(super) fn of_bytes<T>(
    method: Method,
    request: &Request<T>,
    message: &[u8],
) -> Result<OfficerProof, Status> {
    let peer = request
        .extensions()
        .get::<Peer>()
        .ok_or_else(|| to_officer(&OfficerSignatureError::Missing))?;
    let certificate = peer.certificate();
    let (scheme, signature) = officer_signature(request.metadata()).map_err(|e| to_officer(&e))?;
    verify_officer(certificate, scheme, method.as_str(), message, &signature)
        .map_err(|e| to_officer(&e))?;
    Ok(OfficerProof {
        request: signed_bytes(method.as_str(), message).into(),
        signature: signature.into(),
        certificate: certificate.to_vec().into(),
    })
}
