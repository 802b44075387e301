//! Why a TLS connection was refused, in types, on either end.
//!
//! The end that refuses knows the rule that was broken. The other end gets an
//! alert, one of a few; [`Refusal::alert_error`] picks a different one for each
//! thing that a person would do about it, and [`refusal_in`] reads it back.
//! Texts of errors are never looked at: they change between versions.

use std::error::Error as StdError;
use std::io;

use rustls::{AlertDescription, CertificateError};

use crate::blame::{Blame, Blamed};
use crate::clock::UnixSeconds;
use crate::ids::MemberId;
use crate::policy::Identity;
use crate::roster::MemberRole;

/// Which rule a peer's certificate breaks, as its judge knows it.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refusal {
    /// Not a certificate, or without one URI that names a holder.
    #[error("the certificate does not name anybody of a federation")]
    NoName,
    /// Of another federation.
    #[error("{identity} is of another federation")]
    OtherFederation {
        /// Whom it names.
        identity: Identity,
    },
    /// The member is not in the roster.
    #[error("{member} is not in roster {roster_version}")]
    NotInRoster {
        /// The member.
        member: MemberId,
        /// The roster that was asked.
        roster_version: u64,
    },
    /// The certificate says another role than the roster.
    #[error("the certificate calls {member} a {says}, the roster a {is}")]
    WrongRole {
        /// The member.
        member: MemberId,
        /// The certificate's word.
        says: MemberRole,
        /// The roster's word.
        is: MemberRole,
    },
    /// No CA of the roster issued it.
    #[error("the certificate that names {member} is not from a CA in the roster")]
    UnknownCa {
        /// The member that it names.
        member: MemberId,
    },
    /// Another member's CA issued it.
    #[error("the certificate that names {member} is from the CA of {issuer}")]
    OtherMembersCa {
        /// The member that it names.
        member: MemberId,
        /// The member whose CA it was.
        issuer: MemberId,
    },
    /// It has run out.
    #[error("the certificate of {identity} expired at {not_after} (Unix time)")]
    Expired {
        /// Whom it names.
        identity: Identity,
        /// Its last second.
        not_after: UnixSeconds,
    },
    /// It is not valid yet.
    #[error("the certificate of {identity} is not valid before {not_before} (Unix time)")]
    NotYetValid {
        /// Whom it names.
        identity: Identity,
        /// Its first second.
        not_before: UnixSeconds,
    },
    /// It is not for this end of TLS.
    #[error("the certificate of {identity} is not for this use")]
    WrongPurpose {
        /// Whom it names.
        identity: Identity,
    },
    /// An officer where nodes speak, or a node where officers do, or a stranger's officer.
    #[error("{identity} has no business here: {want}")]
    NotForListener {
        /// Whom it names.
        identity: Identity,
        /// Who may connect here.
        want: &'static str,
    },
    /// The node that answers is not the one that was dialled.
    #[error("{got} answers where the node of {want} was expected")]
    NotExpected {
        /// The member that was dialled.
        want: MemberId,
        /// Who answered.
        got: Identity,
    },
    /// Something else is wrong with the chain.
    #[error("the certificate chain of {identity} does not verify")]
    BadChain {
        /// Whom it names.
        identity: Identity,
    },
}

impl Refusal {
    /// The rustls error whose alert tells the other end what to do about it.
    #[must_use]
    pub fn alert_error(&self) -> rustls::Error {
        let error = match self {
            Self::NoName | Self::NotExpected { .. } => CertificateError::NotValidForName,
            Self::OtherFederation { .. } | Self::NotInRoster { .. } | Self::WrongRole { .. } => {
                CertificateError::ApplicationVerificationFailure
            }
            Self::UnknownCa { .. } | Self::OtherMembersCa { .. } => CertificateError::UnknownIssuer,
            Self::Expired { .. } => CertificateError::Expired,
            Self::NotYetValid { .. } => CertificateError::NotValidYet,
            Self::WrongPurpose { .. } | Self::NotForListener { .. } => {
                CertificateError::InvalidPurpose
            }
            Self::BadChain { .. } => CertificateError::BadSignature,
        };
        rustls::Error::InvalidCertificate(error)
    }

    /// A stable code for logs and metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoName => "tls.no_name",
            Self::OtherFederation { .. } => "tls.other_federation",
            Self::NotInRoster { .. } => "tls.not_in_roster",
            Self::WrongRole { .. } => "tls.wrong_role",
            Self::UnknownCa { .. } => "tls.unknown_ca",
            Self::OtherMembersCa { .. } => "tls.other_members_ca",
            Self::Expired { .. } => "tls.expired",
            Self::NotYetValid { .. } => "tls.not_yet_valid",
            Self::WrongPurpose { .. } => "tls.wrong_purpose",
            Self::NotForListener { .. } => "tls.not_for_listener",
            Self::NotExpected { .. } => "tls.not_expected",
            Self::BadChain { .. } => "tls.bad_chain",
        }
    }
}

/// Why there is no TLS connection, with what to do about it.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum TlsRefusal {
    /// This end refused the other's certificate.
    #[error("refused here: {0}")]
    Here(Refusal),
    /// The other end sent no certificate.
    #[error("refused here: no certificate was sent; an own certificate is needed on both ends")]
    NoCertificate,
    /// The other end wants a certificate and got none.
    #[error("the node wants a certificate: name one with its key in [tls] or on the command line")]
    CertificateRequired,
    /// The other end's clock says that this end's certificate is out of its dates.
    #[error(
        "the node says that this certificate is expired or not yet valid: renew it (casegate pki request), or correct the clock"
    )]
    OutOfDates,
    /// The other end does not know this end's CA as this member's.
    #[error(
        "the node does not accept this certificate's CA for the member that it names: use the CA that the roster lists for it"
    )]
    UnknownCa,
    /// The other end's roster does not have this end's member.
    #[error(
        "the node's newest roster does not list this member with this role: have the roots list it, or let the node fetch the newest roster"
    )]
    NotInRoster,
    /// This kind of certificate is not for that port.
    #[error(
        "this certificate is not for this port: nodes use the peer port, officers the desk port of their own member's node"
    )]
    NotForListener,
    /// The other end cannot read a name in this end's certificate, or dialled another node.
    #[error(
        "the node finds another name in this certificate than it wants: check whom it names (casegate pki show)"
    )]
    BadName,
    /// Another alert.
    #[error("the node ended the handshake with the TLS alert {0:?}")]
    Alert(AlertDescription),
    /// The bytes are not TLS 1.3 as it is spoken here.
    #[error("the other end does not speak TLS 1.3 as a node does: check host and port")]
    NotTls,
    /// The handshake took too long.
    #[error("the handshake was not done within {seconds} seconds: check host, port and network")]
    TimedOut {
        /// The limit.
        seconds: u64,
    },
    /// The other end closed the connection without a word.
    #[error("the other end closed the connection during the handshake")]
    Closed,
}

impl Blamed for TlsRefusal {
    fn blame(&self) -> Blame {
        match self {
            Self::Here(_) | Self::NoCertificate => Blame::Denied,
            Self::CertificateRequired
            | Self::OutOfDates
            | Self::UnknownCa
            | Self::NotForListener
            | Self::BadName => Blame::Denied,
            Self::NotInRoster => Blame::Stale,
            Self::Alert(_) | Self::NotTls => Blame::Incompatible,
            Self::TimedOut { .. } | Self::Closed => Blame::Unavailable,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Here(refusal) => refusal.code(),
            Self::NoCertificate => "tls.no_certificate",
            Self::CertificateRequired => "tls.certificate_required",
            Self::OutOfDates => "tls.out_of_dates",
            Self::UnknownCa => "tls.ca_not_accepted",
            Self::NotInRoster => "tls.not_in_their_roster",
            Self::NotForListener => "tls.not_for_port",
            Self::BadName => "tls.bad_name",
            Self::Alert(_) => "tls.alert",
            Self::NotTls => "tls.not_tls",
            Self::TimedOut { .. } => "tls.timed_out",
            Self::Closed => "tls.closed",
        }
    }
}

impl TlsRefusal {
    /// Reads a rustls error; `None` for faults of this end.
    #[must_use]
    pub fn of(error: &rustls::Error) -> Option<Self> {
        match error {
            rustls::Error::AlertReceived(alert) => Some(Self::of_alert(*alert)),
            rustls::Error::NoCertificatesPresented => Some(Self::NoCertificate),
            rustls::Error::InvalidMessage(_)
            | rustls::Error::InappropriateMessage { .. }
            | rustls::Error::InappropriateHandshakeMessage { .. }
            | rustls::Error::PeerIncompatible(_)
            | rustls::Error::PeerMisbehaved(_)
            | rustls::Error::NoApplicationProtocol => Some(Self::NotTls),
            _ => None,
        }
    }

    fn of_alert(alert: AlertDescription) -> Self {
        match alert {
            AlertDescription::CertificateRequired => Self::CertificateRequired,
            AlertDescription::CertificateExpired => Self::OutOfDates,
            AlertDescription::UnknownCA => Self::UnknownCa,
            AlertDescription::AccessDenied => Self::NotInRoster,
            AlertDescription::UnsupportedCertificate => Self::NotForListener,
            AlertDescription::BadCertificate => Self::BadName,
            AlertDescription::ProtocolVersion | AlertDescription::NoApplicationProtocol => {
                Self::NotTls
            }
            other => Self::Alert(other),
        }
    }

    /// Reads an I/O error of a handshake.
    #[must_use]
    pub fn of_io(error: &io::Error) -> Option<Self> {
        if let Some(inner) = error.get_ref() {
            return refusal_in(inner);
        }
        match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe => Some(Self::Closed),
            _ => None,
        }
    }
}

/// How many causes of an error are looked at.
const CAUSES_MAX: usize = 16;

/// Looks for a TLS refusal in an error and its causes, through I/O errors too.
#[must_use]
pub fn refusal_in(error: &(dyn StdError + 'static)) -> Option<TlsRefusal> {
    let mut next = Some(error);
    for _ in 0..CAUSES_MAX {
        let error = next?;
        if let Some(refusal) = error.downcast_ref::<TlsRefusal>() {
            return Some(refusal.clone());
        }
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return TlsRefusal::of(tls);
        }
        if let Some(inner) = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            return refusal_in(inner);
        }
        next = error.source();
    }
    None
}
