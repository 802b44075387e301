//! Mutual TLS 1.3 between nodes, and between officers and their own node.
//!
//! A certificate counts only if its one URI names a member of the newest
//! roster and that member's own CA issued it ([`verify`]). Both ends say why
//! they refuse ([`refusal`]). [`accept`] listens, [`connect`] dials. There are
//! no session tickets: every connection is judged by the roster of its moment.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::blame::{Blame, Blamed};
use crate::certificate::{self, NameError};
use crate::policy::{BadIdentity, Identity};
use crate::roster::Roster;

/// Lets a judged connection be written to as the TLS stream in it is.
macro_rules! writes_through {
    ($judged:ty) => {
        impl tokio::io::AsyncWrite for $judged {
            fn poll_write(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.stream).poll_write(cx, buf)
            }

            fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.stream).poll_flush(cx)
            }

            fn poll_shutdown(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
            ) -> Poll<io::Result<()>> {
                Pin::new(&mut self.stream).poll_shutdown(cx)
            }
        }
    };
}
use writes_through;

pub mod accept;
pub mod connect;
pub mod refusal;
pub mod verify;

pub use accept::{Accepting, Conn, Incoming, ListenerKind, Peer, RefusedHandshake, TlsServer};
pub use connect::{Connector, PeerStream, connector};
pub use refusal::{TlsRefusal, refusal_in};

/// The newest roster, as every part of a node sees it.
pub type RosterHandle = Arc<ArcSwap<Roster>>;

/// How long a handshake may take, in seconds, on either end.
pub const HANDSHAKE_S: u64 = 10;
/// The application protocol: HTTP/2.
pub const ALPN: &[u8] = b"h2";
/// The application protocol of simpler tools: HTTP/1.1, on the audit port only.
pub const ALPN_HTTP1: &[u8] = b"http/1.1";

/// Why certificate and key could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that cannot be read or is no PEM of its kind.
    #[error("{path}: {source}")]
    Pem {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: rustls::pki_types::pem::Error,
    },
    /// Others may read the private key.
    #[error("{path} has mode {mode:o}: only its owner may read a private key (chmod 600)")]
    KeyReadable {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file whose permissions cannot be looked at.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// No certificate, or one that is no certificate.
    #[error("the certificate file has no certificate that can be read")]
    NoCertificate,
    /// A certificate without exactly one URI name.
    #[error("the certificate has {count} URI names instead of one")]
    UriNames {
        /// How many it has.
        count: usize,
    },
    /// A certificate whose URI names nobody.
    #[error(transparent)]
    Identity(#[from] BadIdentity),
    /// Key and certificate do not fit, or rustls refuses them.
    #[error("certificate and key: {0}")]
    Rustls(#[from] rustls::Error),
    /// The listener could not be opened.
    #[error("cannot listen: {0}")]
    Listen(std::io::Error),
}

impl Blamed for TlsError {
    fn blame(&self) -> Blame {
        Blame::Internal
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Pem { .. } => "tls.pem",
            Self::KeyReadable { .. } => "tls.key_readable",
            Self::File { .. } => "tls.file",
            Self::NoCertificate => "tls.no_certificate",
            Self::UriNames { .. } => "tls.uri_names",
            Self::Identity(_) => "tls.identity",
            Self::Rustls(_) => "tls.rustls",
            Self::Listen(_) => "tls.listen",
        }
    }
}

/// A certificate chain with its private key, and whom it names.
#[derive(Clone)]
pub struct Material {
    certified: Arc<CertifiedKey>,
    identity: Identity,
}

impl std::fmt::Debug for Material {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Material({})", self.identity)
    }
}

impl Material {
    /// Takes a chain, the holder's certificate first, and its key.
    ///
    /// # Errors
    /// [`TlsError`] when they do not fit or the certificate names nobody.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, TlsError> {
        let leaf = chain.first().ok_or(TlsError::NoCertificate)?;
        let identity = identity_of(leaf)?;
        let certified = CertifiedKey::from_der(chain, key, &provider())?;
        Ok(Self {
            certified: Arc::new(certified),
            identity,
        })
    }

    /// Reads chain and key from PEM text.
    ///
    /// # Errors
    /// As [`Material::new`]; also when the text is no PEM.
    pub fn from_pem(chain: &str, key: &str) -> Result<Self, TlsError> {
        let pem = |source| TlsError::Pem {
            path: PathBuf::from("(in memory)"),
            source,
        };
        let chain = CertificateDer::pem_slice_iter(chain.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(pem)?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(pem)?;
        Self::new(chain, key)
    }

    /// Reads chain and key from PEM files; only the owner may read the key's.
    ///
    /// # Errors
    /// [`TlsError`] naming the file.
    pub fn load(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        check_private(key)?;
        let pem = |path: &Path| {
            let path = path.to_owned();
            move |source| TlsError::Pem { path, source }
        };
        let chain = CertificateDer::pem_file_iter(cert)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(pem(cert))?;
        let key = PrivateKeyDer::from_pem_file(key).map_err(pem(key))?;
        Self::new(chain, key)
    }

    /// Whom the certificate names.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The holder's certificate, DER.
    ///
    /// # Panics
    /// Never: material has a certificate.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        self.certified
            .cert
            .first()
            .expect("material has a certificate")
    }

    /// When the holder's certificate runs out, in Unix seconds; 0 when it does
    /// not say so in a way that can be read.
    #[must_use]
    pub fn expires_at(&self) -> crate::clock::UnixSeconds {
        x509_parser::parse_x509_certificate(self.certificate())
            .map_or(0, |(_, parsed)| parsed.validity().not_after.timestamp())
    }

    pub(crate) fn certified(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }
}

/// Refuses a file that group or others may read.
///
/// # Errors
/// [`TlsError::KeyReadable`], or [`TlsError::File`] when it cannot be looked at.
pub fn check_private(path: &Path) -> Result<(), TlsError> {
    let meta = std::fs::metadata(path).map_err(|source| TlsError::File {
        path: path.to_owned(),
        source,
    })?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = meta.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(TlsError::KeyReadable {
                path: path.to_owned(),
                mode,
            });
        }
    }
    #[cfg(not(unix))]
    drop(meta);
    Ok(())
}

/// Reads the one URI name of a certificate.
///
/// # Errors
/// [`TlsError`] when there is none, more than one, or it names nobody.
pub fn identity_of(certificate: &CertificateDer<'_>) -> Result<Identity, TlsError> {
    certificate::identity_of(certificate).map_err(|error| match error {
        NameError::Unreadable => TlsError::NoCertificate,
        NameError::UriNames { count } => TlsError::UriNames { count },
        NameError::Identity(error) => TlsError::Identity(error),
    })
}

/// The one provider of cryptography for TLS: ring.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
