//! Whom a certificate names, and whether a member's CA issued it for a time: one
//! set of rules, by which connections are let in and auditors judge what
//! officers signed (PROTOCOL.md section 2). Pure.

use std::time::Duration;

use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use crate::clock::UnixSeconds;
use crate::policy::{BadIdentity, Identity};
use crate::roster::Member;

/// The most certificates of a chain that are looked at.
pub const CHAIN_MAX: usize = 4;

/// Signatures that certificates may carry.
static ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
    webpki::ring::ECDSA_P256_SHA256,
    webpki::ring::ECDSA_P384_SHA384,
    webpki::ring::ED25519,
];

/// Why a certificate names nobody.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum NameError {
    /// It cannot be read.
    #[error("this is no certificate that can be read")]
    Unreadable,
    /// It has not exactly one URI name.
    #[error("the certificate has {count} URI names instead of one")]
    UriNames {
        /// How many it has.
        count: usize,
    },
    /// Its URI names nobody of a federation.
    #[error(transparent)]
    Identity(#[from] BadIdentity),
}

/// Whom the one URI name of a certificate names.
///
/// # Errors
/// [`NameError`].
pub fn identity_of(certificate: &CertificateDer<'_>) -> Result<Identity, NameError> {
    let parsed = EndEntityCert::try_from(certificate).map_err(|_| NameError::Unreadable)?;
    let uris: Vec<&str> = parsed.valid_uri_names().collect();
    match uris[..] {
        [uri] => Ok(Identity::from_uri(uri)?),
        _ => Err(NameError::UriNames { count: uris.len() }),
    }
}

/// Checks that a chain ends at the CA of `member` and at no other, and that its
/// dates and usage allow it at `now`.
///
/// # Errors
/// What is wrong with it.
pub fn check_chain(
    leaf: &CertificateDer<'_>,
    chain: &[CertificateDer<'_>],
    usage: KeyUsage,
    member: &Member,
    now: UnixSeconds,
) -> Result<(), webpki::Error> {
    if chain.len() >= CHAIN_MAX {
        return Err(webpki::Error::MaximumPathDepthExceeded);
    }
    let ca = CertificateDer::from(member.ca.as_slice());
    let anchor = anchor_from_trusted_cert(&ca)?;
    let since = Duration::from_secs(u64::try_from(now).unwrap_or(0));
    let time = UnixTime::since_unix_epoch(since);
    let leaf = EndEntityCert::try_from(leaf)?;
    leaf.verify_for_usage(ALGORITHMS, &[anchor], chain, time, usage, None, None)
        .map(|_| ())
}
