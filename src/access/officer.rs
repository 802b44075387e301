//! What an officer signs (PROTOCOL.md section 11): the method, a nonce, the
//! time, and the request with every value and qualifier replaced by a
//! commitment under a salt that nobody keeps. So the access log can hold the
//! signed bytes, and a node can neither invent an officer's request nor ask it
//! twice. The bytes are kept and checked as they came: nothing is encoded
//! again, and fields that this version does not know stay under the signature.
//! Pure.

mod redaction;

use bytes::Bytes;
use prost::Message;
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm};
use webpki::Error as CertificateError;

pub use redaction::{Redacted, Signed, VALUES_MAX, redacted};

use super::OfficerProof;
use crate::blame::{Blame, Blamed};
use crate::clock::UnixSeconds;
use crate::keys::PublicKey;
use crate::record;
use crate::wire::v1::{OfficerRequest, SignedCall};

/// The DSSE payload type of an officer's request.
pub const PAYLOAD_TYPE: &str = "application/vnd.casegate.desk.v3+protobuf";
/// Bytes of a request's nonce.
pub const NONCE_BYTES: usize = 16;
/// The most bytes that a signature may have: RSA with 4096 bits.
pub const SIGNATURE_BYTES_MAX: usize = 512;
/// The most bytes that a redacted request may have, so that it fits into a
/// line of the access log beside its purposes.
pub const REQUEST_BYTES_MAX: usize = 512 * 1024;
/// How far the signing time may be from the node's clock, in seconds.
pub const SKEW_S_MAX: i64 = 300;

/// The scheme of an Ed25519 key.
const ED25519: u16 = 0x0807;
/// The TLS 1.3 signature schemes that count, the preferred one first.
pub const SCHEMES: [u16; 4] = [ED25519, 0x0403, 0x0503, 0x0804];

/// Why a request is not taken for its officer's.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum OfficerSignatureError {
    /// The call holds no request that can be read, or no signature.
    #[error("the request is not signed by its officer: use a casegate of this version")]
    Missing,
    /// A scheme that does not count, or that the key cannot do.
    #[error("the officer's key has no signature scheme that is taken here (scheme {0})")]
    Scheme(u16),
    /// The certificate cannot be read.
    #[error("the officer's certificate cannot be read")]
    Certificate,
    /// The signature is not that of the certificate's key over this request.
    #[error("the officer's signature is not valid for this request")]
    Invalid,
    /// What was signed is no request of the method that was called.
    #[error("what the officer signed is no request of this method")]
    Unreadable,
    /// A value stands in what was signed, where only its commitment may.
    #[error(
        "what the officer signed holds a value in plain, or a kind or role that is not known here"
    )]
    Plain,
    /// The values beside the request are not those that were committed to.
    #[error("the values beside the request are not those that its officer signed")]
    Values,
    /// Signed too long ago, or in the future.
    #[error(
        "the request was signed {off_s} s away from this node's time, more than {SKEW_S_MAX} s: set the clocks right"
    )]
    Untimely {
        /// Seconds between signing and now.
        off_s: u64,
    },
    /// The nonce was used before: the same request again.
    #[error("this signed request was made before: sign it anew")]
    Replayed,
    /// More requests in a short time than nonces are remembered.
    #[error("too many signed requests in ten minutes; try again later")]
    TooMany,
    /// The request would not fit into the access log.
    #[error("the request has {bytes} bytes without its values, more than {REQUEST_BYTES_MAX}")]
    TooBig {
        /// Its bytes.
        bytes: usize,
    },
    /// The key failed to sign.
    #[error("the officer's key failed to sign")]
    Failed,
}

impl Blamed for OfficerSignatureError {
    fn blame(&self) -> Blame {
        match self {
            Self::Missing | Self::Invalid | Self::Certificate | Self::Replayed => Blame::Denied,
            Self::Untimely { .. } => Blame::Stale,
            Self::TooMany => Blame::Busy,
            Self::TooBig { .. } | Self::Unreadable | Self::Plain | Self::Values => {
                Blame::Misbehaved
            }
            Self::Scheme(_) => Blame::Incompatible,
            Self::Failed => Blame::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Missing => "officer.unsigned",
            Self::Scheme(_) => "officer.scheme",
            Self::Certificate => "officer.certificate",
            Self::Invalid => "officer.bad_signature",
            Self::Unreadable => "officer.unreadable",
            Self::Plain => "officer.plain_value",
            Self::Values => "officer.values",
            Self::Untimely { .. } => "officer.untimely",
            Self::Replayed => "officer.replayed",
            Self::TooMany => "officer.too_many",
            Self::TooBig { .. } => "officer.too_big",
            Self::Failed => "officer.sign_failed",
        }
    }
}

/// The bytes that an officer's key signs, of an encoded [`OfficerRequest`]; they
/// stand in the access log.
#[must_use]
pub fn signed_bytes(payload: &[u8]) -> Vec<u8> {
    record::pae(PAYLOAD_TYPE, payload)
}

/// Reads back what [`signed_bytes`] made. Fields that are not known are passed over.
#[must_use]
pub fn parse(signed: &[u8]) -> Option<OfficerRequest> {
    let head = format!("DSSEv1 {} {PAYLOAD_TYPE} ", PAYLOAD_TYPE.len());
    let rest = signed.strip_prefix(head.as_bytes())?;
    let space = rest.iter().position(|byte| *byte == b' ')?;
    let payload = rest.get(space + 1..)?;
    if signed_bytes(payload) != signed {
        return None;
    }
    read(payload).ok()
}

fn read(payload: &[u8]) -> Result<OfficerRequest, OfficerSignatureError> {
    let request = OfficerRequest::decode(payload).ok();
    let whole = request.filter(|request| request.nonce.len() == NONCE_BYTES);
    whole.ok_or(OfficerSignatureError::Missing)
}

/// A call whose officer signed it.
#[derive(Clone, Debug)]
pub struct Opened<R> {
    /// What is asked, with its values.
    pub request: R,
    /// What was signed, without them.
    pub said: OfficerRequest,
    /// For the line of the access log.
    pub proof: OfficerProof,
}

/// Checks that the holder of `certificate` (DER) signed `call` for the method of
/// `R`, and puts the values back. Whether the certificate counts is for the
/// roster to say; whether the time and nonce do, for the log.
///
/// # Errors
/// [`OfficerSignatureError`].
pub fn open<R: Signed>(
    certificate: &[u8],
    call: &SignedCall,
) -> Result<Opened<R>, OfficerSignatureError> {
    if call.signature.is_empty() || call.signature.len() > SIGNATURE_BYTES_MAX {
        return Err(OfficerSignatureError::Missing);
    }
    let bytes = call.signed.len();
    if bytes > REQUEST_BYTES_MAX {
        return Err(OfficerSignatureError::TooBig { bytes });
    }
    let said = read(&call.signed)?;
    let signed = signed_bytes(&call.signed);
    check_signature(certificate, said.scheme, &signed, &call.signature)?;
    if said.method != R::METHOD.as_str() {
        return Err(OfficerSignatureError::Invalid);
    }
    let request = redaction::restored(&said.request, &call.salt, &call.values)?;
    let proof = OfficerProof {
        request: signed.into(),
        signature: call.signature.clone(),
        certificate: Bytes::copy_from_slice(certificate),
        ..OfficerProof::default()
    };
    Ok(Opened {
        request,
        said,
        proof,
    })
}

/// Checks that the holder of `certificate` (DER) signed `signed`, the bytes in
/// a line of the access log, and returns what they say. Whether the certificate
/// counts is for the roster to say; whether the time and nonce do, for the log.
///
/// # Errors
/// [`OfficerSignatureError`].
pub fn verify_officer(
    certificate: &[u8],
    signed: &[u8],
    signature: &[u8],
) -> Result<OfficerRequest, OfficerSignatureError> {
    let request = parse(signed).ok_or(OfficerSignatureError::Missing)?;
    check_signature(certificate, request.scheme, signed, signature)?;
    Ok(request)
}

fn check_signature(
    certificate: &[u8],
    scheme: u32,
    signed: &[u8],
    signature: &[u8],
) -> Result<(), OfficerSignatureError> {
    let scheme = u16::try_from(scheme).unwrap_or(0);
    if scheme == ED25519 {
        return verify_ed25519(certificate, signed, signature);
    }
    let algorithm = algorithm(scheme).ok_or(OfficerSignatureError::Scheme(scheme))?;
    let certificate = CertificateDer::from(certificate);
    let certificate = webpki::EndEntityCert::try_from(&certificate)
        .map_err(|_| OfficerSignatureError::Certificate)?;
    certificate
        .verify_signature(algorithm, signed, signature)
        .map_err(|error| match error {
            CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
                OfficerSignatureError::Scheme(scheme)
            }
            _ => OfficerSignatureError::Invalid,
        })
}

/// The strict verdict: what a TLS library accepts is wider (see [`crate::keys`]).
fn verify_ed25519(
    certificate: &[u8],
    signed: &[u8],
    signature: &[u8],
) -> Result<(), OfficerSignatureError> {
    let (_, read) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|_| OfficerSignatureError::Certificate)?;
    let key = read.public_key();
    if key.algorithm.algorithm != x509_parser::oid_registry::OID_SIG_ED25519 {
        return Err(OfficerSignatureError::Scheme(ED25519));
    }
    PublicKey::from_slice(&key.subject_public_key.data)
        .map_err(|_| OfficerSignatureError::Invalid)?
        .verify(signed, signature)
        .map_err(|_| OfficerSignatureError::Invalid)
}

/// Says whether a request signed at `signed_at` is of this time.
///
/// # Errors
/// [`OfficerSignatureError::Untimely`].
pub fn check_time(signed_at: UnixSeconds, now: UnixSeconds) -> Result<(), OfficerSignatureError> {
    let off_s = now.abs_diff(signed_at);
    if off_s > SKEW_S_MAX.unsigned_abs() {
        return Err(OfficerSignatureError::Untimely { off_s });
    }
    Ok(())
}

fn algorithm(scheme: u16) -> Option<&'static dyn SignatureVerificationAlgorithm> {
    match scheme {
        0x0403 => Some(webpki::ring::ECDSA_P256_SHA256),
        0x0503 => Some(webpki::ring::ECDSA_P384_SHA384),
        0x0804 => Some(webpki::ring::RSA_PSS_2048_8192_SHA256_LEGACY_KEY),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> OfficerRequest {
        OfficerRequest {
            method: "Desk.Query".into(),
            nonce: vec![7; NONCE_BYTES].into(),
            signed_at: 9,
            scheme: 0x0807,
            request: vec![1, 2, 3].into(),
        }
    }

    #[test]
    fn only_the_bytes_that_a_signer_makes_are_read() {
        let payload = request().encode_to_vec();
        let signed = signed_bytes(&payload);
        assert_eq!(parse(&signed), Some(request()));
        assert!(signed.starts_with(b"DSSEv1 41 application/vnd.casegate.desk.v3+protobuf "));
        for cut in 0..signed.len() {
            assert_eq!(parse(&signed[..cut]), None, "{cut}");
        }
        assert_eq!(parse(&[&signed[..], b"x"].concat()), None);
        let short = OfficerRequest {
            nonce: vec![7; 15].into(),
            ..request()
        };
        assert_eq!(parse(&signed_bytes(&short.encode_to_vec())), None);
    }

    #[test]
    fn fields_of_a_later_version_and_another_order_are_read() {
        let later = [&[0xc2, 0x3e, 2, b'h', b'i'][..], &request().encode_to_vec()].concat();
        assert_eq!(parse(&signed_bytes(&later)), Some(request()));
    }

    #[test]
    fn a_time_more_than_five_minutes_away_is_refused() {
        for (signed_at, now) in [(1_000, 1_000), (700, 1_000), (1_300, 1_000)] {
            assert_eq!(check_time(signed_at, now), Ok(()));
        }
        for (signed_at, now) in [(699, 1_000), (1_301, 1_000), (i64::MIN, i64::MAX)] {
            let off_s = now.abs_diff(signed_at);
            let untimely = OfficerSignatureError::Untimely { off_s };
            assert_eq!(check_time(signed_at, now), Err(untimely));
        }
    }
}
