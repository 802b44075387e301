//! An officer's signature under a request, made with the key of the officer's
//! TLS certificate. What is signed and why is in [`crate::access::officer`]; the
//! salt of the commitments travels beside it, to the own node, and is kept
//! nowhere.

use prost::Message;
use rustls::SignatureScheme;

use crate::access::officer::{
    NONCE_BYTES, OfficerSignatureError, Redacted, SCHEMES, Signed, redacted, signed_bytes,
};
use crate::clock::UnixSeconds;
use crate::ids::random;
use crate::record::SALT_BYTES;
use crate::tls::Material;
use crate::wire::v1::{OfficerRequest, SignedCall};

/// Signs a request with the key of the officer's certificate, under a fresh
/// nonce and salt.
///
/// # Errors
/// [`OfficerSignatureError`] when the key cannot sign.
pub fn sign<R: Signed>(
    material: &Material,
    now: UnixSeconds,
    request: &R,
) -> Result<SignedCall, OfficerSignatureError> {
    let salt: [u8; SALT_BYTES] = random();
    let Redacted { request, values } = redacted(request, &salt);
    let offered: Vec<_> = SCHEMES.into_iter().map(SignatureScheme::from).collect();
    let key = &material.certified().key;
    let signer = key
        .choose_scheme(&offered)
        .ok_or(OfficerSignatureError::Scheme(0))?;
    let officer = OfficerRequest {
        method: R::METHOD.as_str().into(),
        nonce: random::<NONCE_BYTES>().to_vec().into(),
        signed_at: now,
        scheme: u16::from(signer.scheme()).into(),
        request: request.into(),
    };
    let signed = officer.encode_to_vec();
    let signature = signer
        .sign(&signed_bytes(&signed))
        .map_err(|_| OfficerSignatureError::Failed)?;
    Ok(SignedCall {
        signed: signed.into(),
        signature: signature.into(),
        salt: salt.to_vec().into(),
        values,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::officer::{Opened, open, verify_officer};
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

    fn opened(cert: &Material, call: &SignedCall) -> Result<QueryRequest, OfficerSignatureError> {
        open(cert.certificate(), call).map(|opened: Opened<_>| opened.request)
    }

    fn said(call: &SignedCall) -> OfficerRequest {
        OfficerRequest::decode(&call.signed[..]).expect("what was signed")
    }

    #[test]
    fn another_method_certificate_signature_or_other_bytes_do_not_verify() {
        let own = material(&rcgen::PKCS_ED25519);
        let other = material(&rcgen::PKCS_ED25519);
        let call = sign(&own, 9, &request()).expect("signed");
        assert_eq!(opened(&own, &call), Ok(request()));
        let invalid = Err(OfficerSignatureError::Invalid);
        assert_eq!(opened(&other, &call), invalid);
        let hits = sign(&own, 9, &HitsRequest::default()).expect("signed");
        assert_eq!(opened(&own, &hits), invalid, "another method");
        let changed: [fn(&mut OfficerRequest); 4] = [
            |said| said.nonce = vec![1; NONCE_BYTES].into(),
            |said| said.signed_at += 1,
            |said| said.method = "Desk.Hits".into(),
            |said| said.request = vec![].into(),
        ];
        for change in changed {
            let mut said = said(&call);
            change(&mut said);
            let call = SignedCall {
                signed: said.encode_to_vec().into(),
                ..call.clone()
            };
            assert_eq!(opened(&own, &call), invalid, "{said:?}");
        }
        let longer = [&call.signed[..], &[0xc2, 0x3e, 0]].concat();
        let longer = SignedCall {
            signed: longer.into(),
            ..call.clone()
        };
        assert_eq!(
            opened(&own, &longer),
            invalid,
            "a field that was not signed"
        );
        let cut = SignedCall {
            signature: call.signature.slice(1..),
            ..call.clone()
        };
        assert_eq!(opened(&own, &cut), invalid);
        let no_certificate = open::<QueryRequest>(b"no certificate", &call);
        let refused = no_certificate.expect_err("refused");
        assert_eq!(refused, OfficerSignatureError::Certificate);
    }

    #[test]
    fn a_call_without_a_request_a_nonce_or_a_signature_is_none() {
        let own = material(&rcgen::PKCS_ED25519);
        let call = sign(&own, 9, &request()).expect("signed");
        let missing = Err(OfficerSignatureError::Missing);
        assert_eq!(opened(&own, &SignedCall::default()), missing);
        let short = OfficerRequest {
            nonce: vec![7; NONCE_BYTES - 1].into(),
            ..said(&call)
        };
        let changed: [(&str, Vec<u8>, Vec<u8>); 5] = [
            ("no signature", call.signed.to_vec(), vec![]),
            ("a long one", call.signed.to_vec(), vec![7; 513]),
            ("no request", vec![], call.signature.to_vec()),
            ("no message", b"\x0a\x09x".to_vec(), call.signature.to_vec()),
            (
                "a short nonce",
                short.encode_to_vec(),
                call.signature.to_vec(),
            ),
        ];
        for (what, signed, signature) in changed {
            let call = SignedCall {
                signed: signed.into(),
                signature: signature.into(),
                ..call.clone()
            };
            assert_eq!(opened(&own, &call), missing, "{what}");
        }
    }

    #[test]
    fn a_scheme_that_is_weak_unknown_or_not_that_of_the_key_says_so() {
        let (ed, p256) = (
            material(&rcgen::PKCS_ED25519),
            material(&rcgen::PKCS_ECDSA_P256_SHA256),
        );
        for (own, scheme) in [
            (&ed, 0x0201_u16),
            (&ed, 0x0403),
            (&ed, 0x0804),
            (&p256, 0x0807),
            (&p256, 0x0503),
            (&p256, 0),
        ] {
            let call = sign(own, 9, &request()).expect("signed");
            let said = OfficerRequest {
                scheme: scheme.into(),
                ..said(&call)
            };
            let call = SignedCall {
                signed: said.encode_to_vec().into(),
                ..call
            };
            let refused = Err(OfficerSignatureError::Scheme(scheme));
            assert_eq!(opened(own, &call), refused, "{scheme:04x}");
        }
    }

    #[test]
    fn each_kind_of_key_signs_what_verifies() {
        for (algorithm, number) in [
            (&rcgen::PKCS_ED25519, 0x0807),
            (&rcgen::PKCS_ECDSA_P256_SHA256, 0x0403),
            (&rcgen::PKCS_ECDSA_P384_SHA384, 0x0503),
        ] {
            let own = material(algorithm);
            let call = sign(&own, 9, &request()).expect("signed");
            assert_eq!(said(&call).scheme, number);
            let line = open::<QueryRequest>(own.certificate(), &call).expect("it verifies");
            let signed = &line.proof.request;
            assert_eq!(*signed, signed_bytes(&call.signed), "as it was signed");
            let kept = verify_officer(own.certificate(), signed, &line.proof.signature);
            assert_eq!(kept, Ok(line.said));
        }
    }

    #[test]
    fn two_signatures_under_one_request_share_neither_nonce_nor_salt() {
        let own = material(&rcgen::PKCS_ED25519);
        let one = sign(&own, 9, &request()).expect("signed");
        let two = sign(&own, 9, &request()).expect("signed");
        assert!(said(&one).nonce != said(&two).nonce && one.salt != two.salt);
    }
}
