//! An officer's signature under a request, made with the key of the officer's
//! TLS certificate, on its way through gRPC metadata. What is signed and why is
//! in [`crate::access::officer`]; the salt of the commitments travels here, to
//! the own node, and is kept nowhere.

use rustls::SignatureScheme;
use tonic::Request;
use tonic::metadata::{MetadataMap, MetadataValue};

use crate::access::officer::{
    NONCE_BYTES, OfficerSignatureError, SCHEMES, SIGNATURE_BYTES_MAX, Signed, redacted,
    signed_bytes,
};
use crate::clock::UnixSeconds;
use crate::ids::random;
use crate::record::SALT_BYTES;
use crate::tls::Material;
use crate::wire::v1::OfficerRequest;

/// The metadata key of the TLS signature scheme, a decimal number.
pub const SCHEME_HEADER: &str = "casegate-officer-scheme";
/// The metadata key of the signing time, a decimal number of Unix seconds.
pub const TIME_HEADER: &str = "casegate-officer-time";
/// The metadata key of the nonce.
pub const NONCE_HEADER: &str = "casegate-officer-nonce-bin";
/// The metadata key of the salt.
pub const SALT_HEADER: &str = "casegate-officer-salt-bin";
/// The metadata key of the signature.
pub const SIGNATURE_HEADER: &str = "casegate-officer-signature-bin";

/// What travels beside a signed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfficerSignature {
    /// The TLS signature scheme.
    pub scheme: u16,
    /// When it was signed, by the officer's clock.
    pub signed_at: UnixSeconds,
    /// Random, for each request.
    pub nonce: [u8; NONCE_BYTES],
    /// The key of the commitments that stand in place of values.
    pub salt: [u8; SALT_BYTES],
    /// The signature.
    pub signature: Vec<u8>,
}

impl OfficerSignature {
    /// Signs a request with the key of the officer's certificate.
    ///
    /// # Errors
    /// [`OfficerSignatureError`] when the key cannot sign.
    pub fn make<R: Signed>(
        material: &Material,
        now: UnixSeconds,
        request: &R,
    ) -> Result<Self, OfficerSignatureError> {
        let offered: Vec<_> = SCHEMES.into_iter().map(SignatureScheme::from).collect();
        let key = &material.certified().key;
        let signer = key
            .choose_scheme(&offered)
            .ok_or(OfficerSignatureError::Scheme(0))?;
        let mut made = Self {
            scheme: u16::from(signer.scheme()),
            signed_at: now,
            nonce: random(),
            salt: random(),
            signature: vec![],
        };
        made.signature = signer
            .sign(&made.signed_bytes(request))
            .map_err(|_| OfficerSignatureError::Failed)?;
        Ok(made)
    }

    /// The bytes that are signed, of a request that came with this.
    #[must_use]
    pub fn signed_bytes<R: Signed>(&self, request: &R) -> Vec<u8> {
        signed_bytes(&OfficerRequest {
            method: R::METHOD.as_str().into(),
            nonce: self.nonce.to_vec().into(),
            signed_at: self.signed_at,
            scheme: self.scheme.into(),
            request: redacted(request, &self.salt).into(),
        })
    }

    /// Puts all of it into metadata.
    ///
    /// # Errors
    /// [`OfficerSignatureError::Failed`] never: numbers are ASCII.
    pub fn put(&self, metadata: &mut MetadataMap) -> Result<(), OfficerSignatureError> {
        let number =
            |text: String| MetadataValue::try_from(text).map_err(|_| OfficerSignatureError::Failed);
        metadata.insert(SCHEME_HEADER, number(self.scheme.to_string())?);
        metadata.insert(TIME_HEADER, number(self.signed_at.to_string())?);
        for (header, bytes) in [
            (NONCE_HEADER, &self.nonce[..]),
            (SALT_HEADER, &self.salt),
            (SIGNATURE_HEADER, &self.signature),
        ] {
            metadata.insert_bin(header, MetadataValue::from_bytes(bytes));
        }
        Ok(())
    }

    /// Reads what [`OfficerSignature::put`] wrote.
    ///
    /// # Errors
    /// [`OfficerSignatureError::Missing`] when a part is not there or not readable.
    pub fn read(metadata: &MetadataMap) -> Result<Self, OfficerSignatureError> {
        Self::read_all(metadata).ok_or(OfficerSignatureError::Missing)
    }

    fn read_all(metadata: &MetadataMap) -> Option<Self> {
        let number = |header| metadata.get(header)?.to_str().ok();
        let bytes = |header| metadata.get_bin(header)?.to_bytes().ok();
        let signature = bytes(SIGNATURE_HEADER)?;
        (signature.len() <= SIGNATURE_BYTES_MAX).then_some(())?;
        Some(Self {
            scheme: number(SCHEME_HEADER)?.parse().ok()?,
            signed_at: number(TIME_HEADER)?.parse().ok()?,
            nonce: bytes(NONCE_HEADER)?[..].try_into().ok()?,
            salt: bytes(SALT_HEADER)?[..].try_into().ok()?,
            signature: signature.to_vec(),
        })
    }
}

/// Signs a request and puts the signature into its metadata.
pub(super) fn attach<R: Signed>(
    material: &Material,
    now: UnixSeconds,
    request: &mut Request<R>,
) -> Result<(), OfficerSignatureError> {
    let made = OfficerSignature::make(material, now, request.get_ref())?;
    made.put(request.metadata_mut())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::officer::verify_officer;
    use crate::wire::v1::{ElementSpec, HitsRequest, QueryRequest};

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
            elements: vec![ElementSpec {
                kind: "phone".into(),
                value: "13800138000".into(),
                ..Default::default()
            }],
            add: true,
            ..QueryRequest::default()
        }
    }

    #[test]
    fn another_method_request_time_nonce_salt_certificate_or_scheme_does_not_verify() {
        let own = material(&rcgen::PKCS_ED25519);
        let other = material(&rcgen::PKCS_ED25519);
        let made = OfficerSignature::make(&own, 9, &request()).expect("signed");
        let check = |cert: &Material, made: &OfficerSignature, signed: &[u8]| {
            verify_officer(cert.certificate(), signed, &made.signature).map(|r| r.method)
        };
        let invalid = Err(OfficerSignatureError::Invalid);
        let signed = made.signed_bytes(&request());
        assert_eq!(check(&own, &made, &signed), Ok("Desk.Query".into()));
        assert_eq!(check(&other, &made, &signed), invalid);
        let hits = made.signed_bytes(&HitsRequest::default());
        assert_eq!(check(&own, &made, &hits), invalid);
        let mut asked = request();
        asked.elements[0].value = "13800138001".into();
        assert_eq!(check(&own, &made, &made.signed_bytes(&asked)), invalid);
        let changed: [fn(&mut OfficerSignature); 4] = [
            |made| made.nonce[3] ^= 1,
            |made| made.salt[3] ^= 1,
            |made| made.signed_at += 1,
            |made| made.scheme = 0x0403,
        ];
        for change in changed {
            let mut made = made.clone();
            change(&mut made);
            let signed = made.signed_bytes(&request());
            assert_eq!(check(&own, &made, &signed), invalid, "{made:?}");
        }
        let mut cut = made.clone();
        cut.signature.remove(0);
        assert_eq!(check(&own, &cut, &signed), invalid);
        let weak = OfficerSignature {
            scheme: 0x0201,
            ..made.clone()
        };
        assert_eq!(
            check(&own, &weak, &weak.signed_bytes(&request())),
            Err(OfficerSignatureError::Scheme(0x0201))
        );
        assert_eq!(
            verify_officer(b"no certificate", &signed, &made.signature),
            Err(OfficerSignatureError::Certificate)
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
            let made = OfficerSignature::make(&own, 9, &request()).expect("signed");
            assert_eq!(made.scheme, number);
            let signed = made.signed_bytes(&request());
            verify_officer(own.certificate(), &signed, &made.signature).expect("it verifies");
        }
    }

    #[test]
    fn two_signatures_under_one_request_share_neither_nonce_nor_salt() {
        let own = material(&rcgen::PKCS_ED25519);
        let one = OfficerSignature::make(&own, 9, &request()).expect("signed");
        let two = OfficerSignature::make(&own, 9, &request()).expect("signed");
        assert!(one.nonce != two.nonce && one.salt != two.salt);
    }

    #[test]
    fn what_is_put_into_metadata_is_read_back_and_nothing_else() {
        let whole = OfficerSignature {
            scheme: 0x0807,
            signed_at: 1_795_305_600,
            nonce: [1; NONCE_BYTES],
            salt: [2; SALT_BYTES],
            signature: vec![7; 64],
        };
        let missing = Err(OfficerSignatureError::Missing);
        let mut metadata = MetadataMap::new();
        assert_eq!(OfficerSignature::read(&metadata), missing);
        whole.put(&mut metadata).expect("it fits");
        assert_eq!(OfficerSignature::read(&metadata), Ok(whole.clone()));
        for header in [SCHEME_HEADER, TIME_HEADER] {
            for bad in ["", "x", "99999999999999999999"] {
                let mut metadata = metadata.clone();
                metadata.insert(header, MetadataValue::from_static(bad));
                assert_eq!(OfficerSignature::read(&metadata), missing, "{header} {bad}");
            }
        }
        for header in [NONCE_HEADER, SALT_HEADER, SIGNATURE_HEADER] {
            let mut cut = metadata.clone();
            cut.remove_bin(header);
            assert_eq!(OfficerSignature::read(&cut), missing, "{header}");
            let long = MetadataValue::from_bytes(&[7; SIGNATURE_BYTES_MAX + 1]);
            cut.insert_bin(header, long);
            assert_eq!(OfficerSignature::read(&cut), missing, "{header}");
        }
    }
}
