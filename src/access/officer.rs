//! What an officer signs (PROTOCOL.md section 11): the method, a nonce, the
//! time, and the request with every value and qualifier replaced by a
//! commitment under a salt that nobody keeps. So the access log can hold the
//! signed bytes, and a node can neither invent an officer's request nor ask it
//! twice. Pure but for the salt and nonce, which the signer draws.

use prost::Message;
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm};

use crate::blame::{Blame, Blamed};
use crate::clock::UnixSeconds;
use crate::element::{Kind, Role};
use crate::keys::PublicKey;
use crate::policy::Method;
use crate::record::{self, SALT_BYTES};
use crate::wire::v1::{self, ElementSpec, OfficerRequest};

/// The DSSE payload type of an officer's request.
pub const PAYLOAD_TYPE: &str = "application/vnd.casegate.desk.v2+protobuf";
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
    /// No signature came with the request, or none that can be read.
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
            Self::TooBig { .. } => Blame::Misbehaved,
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
            Self::Untimely { .. } => "officer.untimely",
            Self::Replayed => "officer.replayed",
            Self::TooMany => "officer.too_many",
            Self::TooBig { .. } => "officer.too_big",
            Self::Failed => "officer.sign_failed",
        }
    }
}

/// A request of the Desk service that its officer signs.
pub trait Signed: Message + Clone {
    /// The method that the signature is for.
    const METHOD: Method;

    /// The elements in it, whose values the access log must not hold.
    fn elements(&mut self) -> &mut [ElementSpec] {
        &mut []
    }
}

macro_rules! signed {
    ($($request:ident => $method:ident $(, |$it:ident| $elements:expr)?;)*) => {
        $(
            impl Signed for v1::$request {
                const METHOD: Method = Method::$method;
                $(
                    fn elements(&mut self) -> &mut [ElementSpec] {
                        let $it = self;
                        $elements
                    }
                )?
            }
        )*
    };
}

signed! {
    ImportOptions => Import;
    PublishRequest => Publish, |it| &mut it.elements;
    RetractRequest => Retract, |it| it.element.as_mut_slice();
    ListCasesRequest => ListCases;
    ShowCaseRequest => ShowCase;
    AddCaseRequest => AddCase;
    CloseCaseRequest => CloseCase;
    QueryRequest => Query, |it| &mut it.elements;
    LinksRequest => Links;
    HitsRequest => Hits;
    ListOfficersRequest => ListOfficers;
    AddOfficerRequest => AddOfficer;
    SuspendOfficerRequest => SuspendOfficer;
    KeygenRequest => Keygen;
    ShowLogRequest => ShowLog;
}

/// A request's bytes with every value and qualifier that is not empty replaced
/// by its commitment under `salt`, in hex; so is what stands for a kind or role
/// and is none, since it may be a value in the wrong field.
#[must_use]
pub fn redacted<R: Signed>(request: &R, salt: &[u8; SALT_BYTES]) -> Vec<u8> {
    let mut request = request.clone();
    for element in request.elements() {
        let kind = Kind::parse(&element.kind).is_some();
        let role = Role::parse(&element.role).is_some();
        for (text, shown) in [
            (&mut element.kind, kind),
            (&mut element.value, false),
            (&mut element.qualifier, false),
            (&mut element.role, role),
        ] {
            if !shown && !text.is_empty() {
                *text = record::typed_commitment(salt, text).to_string();
            }
        }
    }
    request.encode_to_vec()
}

/// The bytes that an officer signs.
#[must_use]
pub fn signed_bytes(request: &OfficerRequest) -> Vec<u8> {
    record::pae(PAYLOAD_TYPE, &request.encode_to_vec())
}

/// Reads back what [`signed_bytes`] made; nothing else is read.
#[must_use]
pub fn parse(signed: &[u8]) -> Option<OfficerRequest> {
    let head = format!("DSSEv1 {} {PAYLOAD_TYPE} ", PAYLOAD_TYPE.len());
    let rest = signed.strip_prefix(head.as_bytes())?;
    let space = rest.iter().position(|byte| *byte == b' ')?;
    let request = OfficerRequest::decode(rest.get(space + 1..)?).ok()?;
    let nonce = request.nonce.len() == NONCE_BYTES;
    (nonce && signed_bytes(&request) == signed).then_some(request)
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
    let scheme = u16::try_from(request.scheme).unwrap_or(0);
    if scheme == ED25519 {
        verify_ed25519(certificate, signed, signature)?;
        return Ok(request);
    }
    let algorithm = algorithm(scheme).ok_or(OfficerSignatureError::Scheme(scheme))?;
    let certificate = CertificateDer::from(certificate);
    let certificate = webpki::EndEntityCert::try_from(&certificate)
        .map_err(|_| OfficerSignatureError::Certificate)?;
    certificate
        .verify_signature(algorithm, signed, signature)
        .map_err(|_| OfficerSignatureError::Invalid)?;
    Ok(request)
}

/// The strict verdict: what a TLS library accepts is wider (see [`crate::keys`]).
fn verify_ed25519(
    certificate: &[u8],
    signed: &[u8],
    signature: &[u8],
) -> Result<(), OfficerSignatureError> {
    let (_, read) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|_| OfficerSignatureError::Certificate)?;
    PublicKey::from_slice(&read.public_key().subject_public_key.data)
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
        let signed = signed_bytes(&request());
        assert_eq!(parse(&signed), Some(request()));
        assert!(signed.starts_with(b"DSSEv1 41 application/vnd.casegate.desk.v2+protobuf "));
        for cut in 0..signed.len() {
            assert_eq!(parse(&signed[..cut]), None, "{cut}");
        }
        assert_eq!(parse(&[&signed[..], b"x"].concat()), None);
        let short = OfficerRequest {
            nonce: vec![7; 15].into(),
            ..request()
        };
        assert_eq!(parse(&signed_bytes(&short)), None);
    }

    #[test]
    fn a_redacted_request_holds_no_value_and_depends_on_each_of_them() {
        let element = |value: &str, qualifier: &str| ElementSpec {
            kind: "person".into(),
            value: value.into(),
            qualifier: qualifier.into(),
            role: "suspect".into(),
        };
        let query = |elements| v1::QueryRequest {
            case_no: "A-1".into(),
            elements,
            ..Default::default()
        };
        let salt = [5; SALT_BYTES];
        let bytes = redacted(&query(vec![element("13800138000", "1990")]), &salt);
        let holds = |text: &str| bytes.windows(text.len()).any(|w| w == text.as_bytes());
        assert!(holds("A-1") && holds("person") && holds("suspect"));
        assert!(!holds("13800138000") && !holds("1990"));
        for other in [
            element("13800138001", "1990"),
            element("13800138000", "1991"),
        ] {
            assert_ne!(redacted(&query(vec![other]), &salt), bytes);
        }
        let salted = redacted(&query(vec![element("13800138000", "1990")]), &[6; 32]);
        assert_ne!(salted, bytes);
        let mut misplaced = element("x", "");
        misplaced.kind = "13800138000".into();
        let retract = v1::RetractRequest {
            element: Some(misplaced),
            ..Default::default()
        };
        let bytes = redacted(&retract, &salt);
        assert!(!bytes.windows(11).any(|w| w == b"13800138000"));
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
