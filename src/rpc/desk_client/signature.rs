//! An officer's signature under a request, made with the key of the officer's
//! TLS certificate, so that a node can prove who asked and cannot invent it.
//!
//! The signed bytes are DSSE v1 over the payload `METHOD 0x00 REQUEST`: the
//! method's name as in the policy's table, such as `Desk.Query`, and the
//! request's protobuf bytes (of an import: its options). What verifies is that
//! the holder of the certificate signed; whether the certificate counts is for
//! TLS and the roster to say.

use prost::Message;
use rustls::SignatureScheme;
use rustls::pki_types::CertificateDer;
use tonic::Request;
use tonic::metadata::{MetadataMap, MetadataValue};

use crate::blame::{Blame, Blamed};
use crate::record;
use crate::tls::{Material, provider};

/// The DSSE payload type of an officer's request.
pub const PAYLOAD_TYPE: &str = "application/vnd.casegate.desk.v1+protobuf";
/// The metadata key of the signature.
pub const SIGNATURE_HEADER: &str = "casegate-officer-signature-bin";
/// The metadata key of its TLS signature scheme, a decimal number.
pub const SCHEME_HEADER: &str = "casegate-officer-scheme";
/// The most bytes that a signature may have: RSA with 8192 bits.
pub const SIGNATURE_BYTES_MAX: usize = 1024;

/// The schemes that count, the preferred one first; those of TLS 1.3.
const SCHEMES: [SignatureScheme; 4] = [
    SignatureScheme::ED25519,
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::RSA_PSS_SHA256,
];

/// Why a request is not signed by its officer.
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
    /// The key failed to sign.
    #[error("the officer's key failed to sign")]
    Failed,
}

impl Blamed for OfficerSignatureError {
    fn blame(&self) -> Blame {
        match self {
            Self::Missing | Self::Invalid | Self::Certificate => Blame::Denied,
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
            Self::Failed => "officer.sign_failed",
        }
    }
}

/// The bytes that an officer signs.
#[must_use]
pub fn signed_bytes(method: &str, request: &[u8]) -> Vec<u8> {
    let payload = [method.as_bytes(), &[0], request].concat();
    record::pae(PAYLOAD_TYPE, &payload)
}

/// Signs a request with the key of the officer's certificate; returns the TLS
/// signature scheme and the signature.
///
/// # Errors
/// [`OfficerSignatureError`] when the key cannot sign.
pub fn sign_request<M: Message>(
    material: &Material,
    method: &str,
    request: &M,
) -> Result<(u16, Vec<u8>), OfficerSignatureError> {
    let key = &material.certified().key;
    let signer = key
        .choose_scheme(&SCHEMES)
        .ok_or(OfficerSignatureError::Scheme(0))?;
    let signature = signer
        .sign(&signed_bytes(method, &request.encode_to_vec()))
        .map_err(|_| OfficerSignatureError::Failed)?;
    Ok((u16::from(signer.scheme()), signature))
}

/// Signs a request and puts scheme and signature into its metadata.
pub(super) fn attach<M: Message>(
    material: &Material,
    method: &str,
    request: &mut Request<M>,
) -> Result<(), OfficerSignatureError> {
    let (scheme, signature) = sign_request(material, method, request.get_ref())?;
    put(request.metadata_mut(), scheme, &signature)
}

/// Puts scheme and signature into metadata.
pub(super) fn put(
    metadata: &mut MetadataMap,
    scheme: u16,
    signature: &[u8],
) -> Result<(), OfficerSignatureError> {
    let number = scheme.to_string();
    let number = MetadataValue::try_from(number).map_err(|_| OfficerSignatureError::Failed)?;
    metadata.insert(SCHEME_HEADER, number);
    metadata.insert_bin(SIGNATURE_HEADER, MetadataValue::from_bytes(signature));
    Ok(())
}

/// Reads scheme and signature from a request's metadata.
///
/// # Errors
/// [`OfficerSignatureError::Missing`] when they are not there or not readable.
pub fn officer_signature(metadata: &MetadataMap) -> Result<(u16, Vec<u8>), OfficerSignatureError> {
    let scheme = metadata
        .get(SCHEME_HEADER)
        .and_then(|value| value.to_str().ok());
    let scheme = scheme.and_then(|text| text.parse().ok());
    let signature = metadata
        .get_bin(SIGNATURE_HEADER)
        .and_then(|value| value.to_bytes().ok());
    match (scheme, signature) {
        (Some(scheme), Some(bytes)) if bytes.len() <= SIGNATURE_BYTES_MAX => {
            Ok((scheme, bytes.to_vec()))
        }
        _ => Err(OfficerSignatureError::Missing),
    }
}

/// Checks that the holder of a certificate signed a request. The bytes of a
/// request that was decoded are those of encoding it again: its messages have
/// no maps, and one encoder writes them all.
///
/// # Errors
/// [`OfficerSignatureError`].
pub fn verify_officer(
    certificate: &[u8],
    scheme: u16,
    method: &str,
    request: &[u8],
    signature: &[u8],
) -> Result<(), OfficerSignatureError> {
    let certificate = CertificateDer::from(certificate);
    let certificate = webpki::EndEntityCert::try_from(&certificate)
        .map_err(|_| OfficerSignatureError::Certificate)?;
    let wanted = SignatureScheme::from(scheme);
    let known = SCHEMES.contains(&wanted);
    let algorithms = provider().signature_verification_algorithms;
    let (_, algorithms) = algorithms
        .mapping
        .iter()
        .find(|(named, _)| known && *named == wanted)
        .ok_or(OfficerSignatureError::Scheme(scheme))?;
    let message = signed_bytes(method, request);
    let holds = |algorithm: &&dyn rustls::pki_types::SignatureVerificationAlgorithm| {
        certificate
            .verify_signature(*algorithm, &message, signature)
            .is_ok()
    };
    if algorithms.iter().any(holds) {
        Ok(())
    } else {
        Err(OfficerSignatureError::Invalid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::v1::QueryRequest;

    const OFFICER: &str = "spiffe://anhui.example/bureau/hefei/officer/li.wei";

    fn material(algorithm: &'static rcgen::SignatureAlgorithm) -> Material {
        let key = rcgen::KeyPair::generate_for(algorithm).expect("a key");
        let mut params = rcgen::CertificateParams::default();
        params.subject_alt_names = vec![rcgen::SanType::URI(
            OFFICER.try_into().expect("an ASCII name"),
        )];
        let certificate = params.self_signed(&key).expect("a certificate");
        Material::from_pem(&certificate.pem(), &key.serialize_pem()).expect("they fit")
    }

    fn request() -> QueryRequest {
        QueryRequest {
            case_no: "A-1".into(),
            add: true,
            ..QueryRequest::default()
        }
    }

    #[test]
    fn another_method_request_certificate_or_scheme_does_not_verify() {
        let own = material(&rcgen::PKCS_ED25519);
        let other = material(&rcgen::PKCS_ED25519);
        let (scheme, signature) = sign_request(&own, "Desk.Query", &request()).expect("signed");
        let bytes = request().encode_to_vec();
        let check = |cert: &Material, scheme, method, bytes: &[u8], signature: &[u8]| {
            verify_officer(cert.certificate(), scheme, method, bytes, signature)
        };
        let invalid = Err(OfficerSignatureError::Invalid);
        assert_eq!(
            check(&own, scheme, "Desk.Hits", &bytes, &signature),
            invalid
        );
        assert_eq!(
            check(&other, scheme, "Desk.Query", &bytes, &signature),
            invalid
        );
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(
                check(&own, scheme, "Desk.Query", &changed, &signature),
                invalid
            );
        }
        let mut changed = signature.clone();
        changed[5] ^= 1;
        assert_eq!(check(&own, scheme, "Desk.Query", &bytes, &changed), invalid);
        assert_eq!(
            check(&own, scheme, "Desk.Query", &bytes, &signature[1..]),
            invalid
        );
        assert_eq!(
            check(&own, 0x0403, "Desk.Query", &bytes, &signature),
            invalid
        );
        assert_eq!(
            check(&own, 0x0201, "Desk.Query", &bytes, &signature),
            Err(OfficerSignatureError::Scheme(0x0201))
        );
        assert_eq!(
            verify_officer(b"no certificate", scheme, "Desk.Query", &bytes, &signature),
            Err(OfficerSignatureError::Certificate)
        );
        assert_eq!(
            check(&own, scheme, "Desk.Query", &bytes, &signature),
            Ok(())
        );
    }

    #[test]
    fn each_kind_of_key_signs_what_verifies() {
        for (algorithm, number) in [
            (&rcgen::PKCS_ED25519, 0x0807),
            (&rcgen::PKCS_ECDSA_P256_SHA256, 0x0403),
            (&rcgen::PKCS_ECDSA_P384_SHA384, 0x0503),
        ] {
            let own = material(algorithm);
            let (scheme, signature) = sign_request(&own, "Desk.Query", &request()).expect("signed");
            assert_eq!(scheme, number);
            let bytes = request().encode_to_vec();
            verify_officer(own.certificate(), scheme, "Desk.Query", &bytes, &signature)
                .expect("it verifies");
        }
    }

    #[test]
    fn the_method_cannot_run_over_into_the_request() {
        assert_ne!(
            signed_bytes("Desk.Query", b"x"),
            signed_bytes("Desk.Quer", b"yx")
        );
        let text = signed_bytes("Desk.Hits", b"");
        assert!(
            text.starts_with(b"DSSEv1 41 application/vnd.casegate.desk.v1+protobuf 10 Desk.Hits\0")
        );
    }

    #[test]
    fn what_is_put_into_metadata_is_read_back_and_nothing_else() {
        let mut metadata = MetadataMap::new();
        let missing = Err(OfficerSignatureError::Missing);
        assert_eq!(officer_signature(&metadata), missing);
        put(&mut metadata, 0x0807, &[7; 64]).expect("it fits");
        assert_eq!(officer_signature(&metadata), Ok((0x0807, vec![7; 64])));
        metadata.insert(SCHEME_HEADER, MetadataValue::from_static("70000"));
        assert_eq!(officer_signature(&metadata), missing);
        put(&mut metadata, 1, &[7; SIGNATURE_BYTES_MAX + 1]).expect("it fits");
        assert_eq!(officer_signature(&metadata), missing);
    }
}
