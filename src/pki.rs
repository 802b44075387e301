//! Makes certificates: a member's CA, its node's and its officers'.
//!
//! Keys are ECDSA P-256, which rustls with ring and every other tool take. In
//! real enrolment ([`request`], [`Authority::sign_request`]) a private key never
//! leaves the machine that made it; [`dev`] makes whole federations for
//! development and tests, with all keys in one place.

use std::fmt;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::blame::{Blame, Blamed};
use crate::clock::{DAY_S, UnixSeconds};
use crate::ids::{FederationId, MemberId};
use crate::policy::{Identity, Subject};
use crate::tls::{Material, TlsError};

pub mod dev;
pub mod files;

/// How long a CA's certificate is valid, in days.
pub const CA_DAYS: i64 = 3_650;
/// How long a node's or an officer's certificate is valid unless said otherwise, in days.
pub const LEAF_DAYS: i64 = 397;
/// How far before its issue a certificate begins, for clocks that are late.
pub const BACKDATE_S: i64 = 3_600;
/// The most bytes of a signing request that are looked at.
pub const REQUEST_BYTES_MAX: usize = 16 * 1024;

/// Why a certificate was not made.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// The certificate library refused.
    #[error("certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// A validity that no certificate can state.
    #[error("the dates of the certificate are out of range")]
    Dates,
    /// A signing request that cannot be read or whose own signature does not hold.
    #[error("the signing request cannot be read, or was not signed by its own key")]
    Request,
    /// A signing request for another name than the signer was told to expect.
    #[error("the request is for {asked}, not for {expected}")]
    OtherName {
        /// The names that stand in the request.
        asked: String,
        /// The name that the signer expects.
        expected: Identity,
    },
    /// A CA that may not name this member.
    #[error("this is the CA of {own}: it does not name members as {asked}")]
    NotOwnMember {
        /// Whose CA it is.
        own: String,
        /// The name that was asked for.
        asked: Identity,
    },
    /// The CA's certificate and key do not belong together.
    #[error("the CA's certificate and key do not belong together")]
    NotAPair,
    /// A file that cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// A seed file that holds no seed.
    #[error("{path} does not hold one line of 64 hexadecimal digits")]
    Seed {
        /// The file.
        path: PathBuf,
    },
    /// A name that is none.
    #[error(transparent)]
    Name(#[from] crate::ids::IdError),
    /// A file that others may read, or material that does not fit.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The roster that was made does not hold.
    #[error(transparent)]
    Roster(#[from] crate::roster::RosterError),
}

impl Blamed for PkiError {
    fn blame(&self) -> Blame {
        match self {
            Self::OtherName { .. } | Self::NotOwnMember { .. } => Blame::Denied,
            Self::Request => Blame::Misbehaved,
            _ => Blame::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Certificate(_) => "pki.certificate",
            Self::Dates => "pki.dates",
            Self::Request => "pki.request",
            Self::OtherName { .. } => "pki.other_name",
            Self::NotOwnMember { .. } => "pki.not_own_member",
            Self::NotAPair => "pki.not_a_pair",
            Self::File { .. } => "pki.file",
            Self::Seed { .. } => "pki.seed",
            Self::Name(_) => "pki.name",
            Self::Tls(error) => error.code(),
            Self::Roster(error) => error.code(),
        }
    }
}

/// From when to when a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub from: UnixSeconds,
    /// The last second.
    pub to: UnixSeconds,
}

impl Validity {
    /// Begins a little before `now` and lasts `days` days from then.
    #[must_use]
    pub fn days(now: UnixSeconds, days: i64) -> Self {
        Self {
            from: now.saturating_sub(BACKDATE_S),
            to: now.saturating_add(days.saturating_mul(DAY_S)),
        }
    }

    fn set(self, params: &mut CertificateParams) -> Result<(), PkiError> {
        let at =
            |seconds| OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| PkiError::Dates);
        if self.to <= self.from {
            return Err(PkiError::Dates);
        }
        params.not_before = at(self.from)?;
        params.not_after = at(self.to)?;
        Ok(())
    }
}

/// A certificate with its private key, both as PEM.
#[derive(Clone)]
pub struct Issued {
    /// Whom it names.
    pub identity: Identity,
    /// The certificate.
    pub cert_pem: String,
    /// The private key, PKCS #8.
    pub key_pem: Zeroizing<String>,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Issued({})", self.identity)
    }
}

impl Issued {
    /// Makes it ready for TLS.
    ///
    /// # Errors
    /// [`PkiError::Tls`] when certificate and key do not fit.
    pub fn material(&self) -> Result<Material, PkiError> {
        Ok(Material::from_pem(&self.cert_pem, &self.key_pem)?)
    }
}

/// A signing request and the private key that stays where it was made.
#[derive(Clone)]
pub struct Request {
    /// The request, PEM; goes to the member's CA.
    pub csr_pem: String,
    /// The private key, PKCS #8; stays.
    pub key_pem: Zeroizing<String>,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Request(..)")
    }
}

/// Makes a key and a request for `identity`'s certificate.
///
/// # Errors
/// [`PkiError::Certificate`] when the library refuses.
pub fn request(identity: &Identity) -> Result<Request, PkiError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    Ok(Request {
        csr_pem: request_of(identity, &key)?,
        key_pem: Zeroizing::new(key.serialize_pem()),
    })
}

/// Makes a request for `identity`'s certificate with a key that is there already, PEM.
///
/// # Errors
/// [`PkiError::Certificate`] when the key cannot be read or the library refuses.
pub fn request_with(identity: &Identity, key_pem: &str) -> Result<String, PkiError> {
    request_of(identity, &KeyPair::from_pem(key_pem)?)
}

fn request_of(identity: &Identity, key: &KeyPair) -> Result<String, PkiError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = name(&identity.member, &common_name(identity));
    params.subject_alt_names = vec![SanType::URI(identity.to_string().try_into()?)];
    Ok(params.serialize_request(key)?.pem()?)
}

/// Reads the URI names that a signing request asks for.
///
/// # Errors
/// [`PkiError::Request`] when it cannot be read or is not signed by its own key.
pub fn requested_names(csr_pem: &str) -> Result<Vec<String>, PkiError> {
    let request = parse_request(csr_pem)?;
    Ok(uris(&request))
}

fn parse_request(csr_pem: &str) -> Result<CertificateSigningRequestParams, PkiError> {
    if csr_pem.len() > REQUEST_BYTES_MAX {
        return Err(PkiError::Request);
    }
    CertificateSigningRequestParams::from_pem(csr_pem).map_err(|_| PkiError::Request)
}

fn uris(request: &CertificateSigningRequestParams) -> Vec<String> {
    let names = request.params.subject_alt_names.iter();
    names
        .filter_map(|san| match san {
            SanType::URI(uri) => Some(uri.as_str().to_owned()),
            _ => None,
        })
        .collect()
}

/// A member's own certificate authority.
pub struct Authority {
    federation: FederationId,
    member: MemberId,
    cert_pem: String,
    cert_der: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({}/{})", self.federation, self.member)
    }
}

impl Authority {
    /// Makes a new CA for a member, valid for [`CA_DAYS`].
    ///
    /// # Errors
    /// [`PkiError`] when the library refuses.
    pub fn generate(
        federation: &FederationId,
        member: &MemberId,
        now: UnixSeconds,
    ) -> Result<Self, PkiError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        Validity::days(now, CA_DAYS).set(&mut params)?;
        params.distinguished_name = name(member, &format!("{member} CA"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca_name = format!("spiffe://{federation}/ca/{member}");
        params.subject_alt_names = vec![SanType::URI(ca_name.try_into()?)];
        let cert = params.self_signed(&key)?;
        Ok(Self {
            federation: federation.clone(),
            member: member.clone(),
            cert_pem: cert.pem(),
            cert_der: cert.der().to_vec(),
            issuer: Issuer::new(params, key),
        })
    }

    /// Reads a CA that was made here from PEM text.
    ///
    /// # Errors
    /// [`PkiError::NotAPair`] when the key is not the certificate's, or the
    /// certificate is no CA of this program.
    pub fn from_pem(cert_pem: &str, key_pem: &str) -> Result<Self, PkiError> {
        let key = KeyPair::from_pem(key_pem)?;
        let der =
            CertificateDer::from_pem_slice(cert_pem.as_bytes()).map_err(|_| PkiError::NotAPair)?;
        let (_, parsed) =
            x509_parser::parse_x509_certificate(&der).map_err(|_| PkiError::NotAPair)?;
        if parsed.public_key().subject_public_key.data != key.public_key_raw() || !parsed.is_ca() {
            return Err(PkiError::NotAPair);
        }
        let (federation, member) = ca_names(&parsed).ok_or(PkiError::NotAPair)?;
        Ok(Self {
            federation,
            member,
            cert_pem: cert_pem.to_owned(),
            cert_der: der.to_vec(),
            issuer: Issuer::from_ca_cert_der(&der, key)?,
        })
    }

    /// The CA's certificate, PEM.
    #[must_use]
    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// The CA's certificate, DER, as the roster lists it.
    #[must_use]
    pub fn cert_der(&self) -> &[u8] {
        &self.cert_der
    }

    /// The CA's private key, PKCS #8 PEM; to be written where only its keeper reads.
    #[must_use]
    pub fn key_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.issuer.key().serialize_pem())
    }

    /// Makes a key and a certificate in one place, for development and tests.
    ///
    /// # Errors
    /// [`PkiError`]; [`PkiError::NotOwnMember`] for a name of another member.
    pub fn issue(&self, identity: &Identity, validity: Validity) -> Result<Issued, PkiError> {
        let params = self.params(identity, validity)?;
        self.issue_unchecked(identity, params)
    }

    /// Issues any name: what a hostile CA would do. Tests need it to show that
    /// nodes refuse the outcome.
    ///
    /// # Errors
    /// [`PkiError`] when the library refuses.
    pub fn issue_any_name(
        &self,
        identity: &Identity,
        validity: Validity,
    ) -> Result<Issued, PkiError> {
        let params = leaf_params(identity, validity)?;
        self.issue_unchecked(identity, params)
    }

    fn issue_unchecked(
        &self,
        identity: &Identity,
        params: CertificateParams,
    ) -> Result<Issued, PkiError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let cert = params.signed_by(&key, &self.issuer)?;
        Ok(Issued {
            identity: identity.clone(),
            cert_pem: cert.pem(),
            key_pem: Zeroizing::new(key.serialize_pem()),
        })
    }

    /// Answers a signing request for exactly `expected`; returns the certificate, PEM.
    ///
    /// Only the request's public key is taken over. Name, uses and dates are the
    /// signer's, so that a request cannot smuggle anything in.
    ///
    /// # Errors
    /// [`PkiError::OtherName`] when the request asks for another name.
    pub fn sign_request(
        &self,
        csr_pem: &str,
        expected: &Identity,
        validity: Validity,
    ) -> Result<String, PkiError> {
        let request = parse_request(csr_pem)?;
        let asked = uris(&request);
        if asked != [expected.to_string()] {
            let (asked, expected) = (asked.join(", "), expected.clone());
            return Err(PkiError::OtherName { asked, expected });
        }
        let params = self.params(expected, validity)?;
        let public_key = request.public_key;
        let signed =
            CertificateSigningRequestParams { params, public_key }.signed_by(&self.issuer)?;
        Ok(signed.pem())
    }

    fn params(
        &self,
        identity: &Identity,
        validity: Validity,
    ) -> Result<CertificateParams, PkiError> {
        if identity.federation != self.federation || identity.member != self.member {
            let own = self.member.to_string();
            return Err(PkiError::NotOwnMember {
                own,
                asked: identity.clone(),
            });
        }
        leaf_params(identity, validity)
    }
}

fn leaf_params(identity: &Identity, validity: Validity) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::default();
    validity.set(&mut params)?;
    params.distinguished_name = name(&identity.member, &common_name(identity));
    params.subject_alt_names = vec![SanType::URI(identity.to_string().try_into()?)];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    if identity.subject == Subject::Node {
        params
            .extended_key_usages
            .push(ExtendedKeyUsagePurpose::ServerAuth);
    }
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn common_name(identity: &Identity) -> String {
    match identity.officer() {
        Some(officer) => format!("{officer} of {}", identity.member),
        None => format!("{} node", identity.member),
    }
}

fn name(member: &MemberId, common: &str) -> DistinguishedName {
    let mut out = DistinguishedName::new();
    out.push(DnType::OrganizationName, member.as_str());
    out.push(DnType::CommonName, common);
    out
}

fn ca_names(
    cert: &x509_parser::certificate::X509Certificate<'_>,
) -> Option<(FederationId, MemberId)> {
    let names = cert.subject_alternative_name().ok()??;
    let uri = names
        .value
        .general_names
        .iter()
        .find_map(|name| match name {
            x509_parser::extensions::GeneralName::URI(uri) => Some(*uri),
            _ => None,
        })?;
    let (federation, member) = uri.strip_prefix("spiffe://")?.split_once("/ca/")?;
    Some((
        FederationId::new(federation).ok()?,
        MemberId::new(member).ok()?,
    ))
}

/// Names a member's node or officer.
///
/// # Errors
/// [`PkiError::Name`] when the officer's name is none.
pub fn identity(
    federation: &FederationId,
    role: crate::roster::MemberRole,
    member: &MemberId,
    officer: Option<&str>,
) -> Result<Identity, PkiError> {
    let subject = match officer {
        Some(name) => Subject::Officer(crate::ids::OfficerName::new(name)?),
        None => Subject::Node,
    };
    Ok(Identity {
        federation: federation.clone(),
        member: member.clone(),
        role,
        subject,
    })
}

/// Says of a file error which file it was.
pub(crate) fn file_error(path: &Path) -> impl FnOnce(std::io::Error) -> PkiError + use<> {
    let path = path.to_owned();
    move |source| PkiError::File { path, source }
}
