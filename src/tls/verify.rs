//! Judges the other end's certificate by the newest roster: one URI name, a
//! member of the roster in its role, a chain that ends at that member's CA and
//! at no other, and dates that cover the node's clock.

use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, SignatureScheme};
use webpki::KeyUsage;

use super::RosterHandle;
use super::refusal::Refusal;
use crate::certificate::{check_chain, identity_of};
use crate::clock::{Clock, UnixSeconds};
use crate::ids::MemberId;
use crate::policy::{Identity, Subject};
use crate::roster::{MemberRole, Roster};

/// Whom a connection may be with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// The node of any member calls.
    AnyNode,
    /// An officer of this member calls.
    OfficerOf(MemberId),
    /// Whoever is of an auditor calls, or an officer of this member.
    Auditing(MemberId),
    /// The node of this member answers.
    NodeOf(MemberId),
}

/// What one handshake's verifier found out.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) identity: OnceLock<Identity>,
    pub(crate) refusal: OnceLock<Refusal>,
}

/// The verifier of one handshake.
#[derive(Debug)]
pub(crate) struct Judge {
    pub(crate) roster: RosterHandle,
    pub(crate) clock: Clock,
    pub(crate) want: Want,
    pub(crate) verdict: Arc<Verdict>,
    pub(crate) schemes: WebPkiSupportedAlgorithms,
}

impl Judge {
    fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        usage: KeyUsage,
    ) -> Result<(), Error> {
        let roster = self.roster.load();
        match judge(leaf, chain, usage, &roster, self.clock.now(), &self.want) {
            Ok(identity) => {
                // A handshake has one certificate message, so the cell is empty.
                drop(self.verdict.identity.set(identity));
                Ok(())
            }
            Err(refusal) => {
                let error = refusal.alert_error();
                drop(self.verdict.refusal.set(refusal));
                Err(error)
            }
        }
    }

    fn check_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.schemes)
    }
}

/// Says whom a certificate names, if the roster bears it out at `now`.
pub(crate) fn judge(
    leaf: &CertificateDer<'_>,
    chain: &[CertificateDer<'_>],
    usage: KeyUsage,
    roster: &Roster,
    now: UnixSeconds,
    want: &Want,
) -> Result<Identity, Refusal> {
    let identity = identity_of(leaf).map_err(|_| Refusal::NoName)?;
    if identity.federation != roster.federation {
        return Err(Refusal::OtherFederation { identity });
    }
    let Some(member) = roster.member(&identity.member) else {
        let member = identity.member;
        return Err(Refusal::NotInRoster {
            member,
            roster_version: roster.version,
        });
    };
    check_chain(leaf, chain, usage, member, now)
        .map_err(|error| refusal_of(&error, &identity, leaf, chain, usage, roster, now))?;
    if identity.role != member.role {
        let (member, says, is) = (identity.member, identity.role, member.role);
        return Err(Refusal::WrongRole { member, says, is });
    }
    check_want(identity, want)
}

fn check_want(identity: Identity, want: &Want) -> Result<Identity, Refusal> {
    let is_node = identity.subject == Subject::Node;
    match want {
        Want::AnyNode if !is_node => Err(Refusal::NotForListener {
            identity,
            want: "only nodes of members may",
        }),
        Want::OfficerOf(own) if is_node || identity.member != *own => {
            Err(Refusal::NotForListener {
                identity,
                want: "only this member's officers may",
            })
        }
        Want::Auditing(own)
            if identity.role != MemberRole::Auditor && (is_node || identity.member != *own) =>
        {
            Err(Refusal::NotForListener {
                identity,
                want: "only auditors and this member's officers may",
            })
        }
        Want::NodeOf(expected) if !is_node || identity.member != *expected => {
            Err(Refusal::NotExpected {
                want: expected.clone(),
                got: identity,
            })
        }
        Want::AnyNode | Want::OfficerOf(_) | Want::Auditing(_) | Want::NodeOf(_) => Ok(identity),
    }
}

fn refusal_of(
    error: &webpki::Error,
    identity: &Identity,
    leaf: &CertificateDer<'_>,
    chain: &[CertificateDer<'_>],
    usage: KeyUsage,
    roster: &Roster,
    now: UnixSeconds,
) -> Refusal {
    let identity = identity.clone();
    let seconds = |time: &UnixTime| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    match error {
        webpki::Error::CertExpired { not_after, .. } => Refusal::Expired {
            identity,
            not_after: seconds(not_after),
        },
        webpki::Error::CertNotValidYet { not_before, .. } => Refusal::NotYetValid {
            identity,
            not_before: seconds(not_before),
        },
        webpki::Error::RequiredEkuNotFoundContext(_) => Refusal::WrongPurpose { identity },
        webpki::Error::UnknownIssuer | webpki::Error::InvalidSignatureForPublicKey => {
            let member = identity.member;
            let others = roster.members.values().filter(|other| other.id != member);
            let issuer = others
                .into_iter()
                .find(|other| check_chain(leaf, chain, usage, other, now).is_ok())
                .map(|other| other.id.clone());
            match issuer {
                Some(issuer) => Refusal::OtherMembersCa { member, issuer },
                None => Refusal::UnknownCa { member },
            }
        }
        _ => Refusal::BadChain { identity },
    }
}

impl ClientCertVerifier for Judge {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.judge(end_entity, intermediates, KeyUsage::client_auth())?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.supported_schemes()
    }
}

impl ServerCertVerifier for Judge {
    /// The name that was dialled is not looked at: the member is what counts.
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.judge(end_entity, intermediates, KeyUsage::server_auth())?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.supported_schemes()
    }
}
