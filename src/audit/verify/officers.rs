//! What officers signed, as it stands in the lines of an access log (PROTOCOL.md
//! sections 11 and 15): whether an officer of the member signed it, with a
//! certificate that counted then, for this call, and when the line says.

use std::collections::HashSet;
use std::sync::Arc;

use prost::Message;
use rustls::pki_types::CertificateDer;
use webpki::KeyUsage;

use super::findings::Code;
use crate::access::officer::{
    NONCE_BYTES, OfficerSignatureError, SKEW_S_MAX, check_time, verify_officer,
};
use crate::certificate::{check_chain, identity_of};
use crate::clock::UnixSeconds;
use crate::ids::Origin;
use crate::policy::{Identity, Method};
use crate::roster::Roster;
use crate::wire::v1::{AccessBody, OfficerRequest, QueryRequest};

/// The outcome of a call that was answered.
const DONE: &str = "ok";

/// What is random in each request.
pub(crate) type Nonce = [u8; NONCE_BYTES];

/// What the lines of one access log are judged by.
#[derive(Debug)]
pub(crate) struct Officers<'a> {
    pub(crate) history: &'a [Arc<Roster>],
    pub(crate) origin: &'a Origin,
}

/// What one line is worth.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    /// What is wrong with it, and why.
    pub(crate) faults: Vec<(Code, &'static str)>,
    /// The nonce of what was signed, where the signature holds.
    pub(crate) nonce: Option<Nonce>,
}

impl Officers<'_> {
    /// Checks a line that was written at `issued_at`.
    pub(crate) fn check(&self, body: &AccessBody, issued_at: UnixSeconds) -> Checked {
        let mut out = Checked::default();
        if body.officer_request.is_empty() {
            if body.outcome == DONE && is_signed(&body.method) {
                let what = "nothing that an officer signed";
                out.faults.push((Code::OfficerUnsigned, what));
            }
            return out;
        }
        let (certificate, signature) = (&body.officer_certificate, &body.officer_signature);
        let said = verify_officer(certificate, &body.officer_request, signature);
        match said {
            Ok(said) if said.method == body.method => {
                if is_untimely(body, &said, issued_at) {
                    let what = "not written when it was signed";
                    out.faults.push((Code::OfficerUntimely, what));
                }
                out.nonce = Nonce::try_from(&said.nonce[..]).ok();
            }
            Ok(_) => out
                .faults
                .push((Code::OfficerSignature, "signed for another method")),
            // Said below.
            Err(OfficerSignatureError::Certificate) => {}
            Err(_) => out
                .faults
                .push((Code::OfficerSignature, "the signature does not hold")),
        }
        if !self.counts(body) {
            let what = "not the officer's, or it did not count then";
            out.faults.push((Code::OfficerCertificate, what));
        }
        out
    }

    /// Says whether the certificate names the line's caller, and a roster of the
    /// time has the CA that issued it.
    fn counts(&self, body: &AccessBody) -> bool {
        let leaf = CertificateDer::from(&body.officer_certificate[..]);
        let Ok(identity) = identity_of(&leaf) else {
            return false;
        };
        if identity.federation != self.origin.federation || !self.names(&identity, body) {
            return false;
        }
        let chain = body.officer_chain.iter();
        let chain: Vec<_> = chain.map(|der| CertificateDer::from(&der[..])).collect();
        let (usage, at) = (KeyUsage::client_auth(), body.taken_at);
        self.history.iter().any(|roster| {
            let begins = roster.issued_at.saturating_sub(SKEW_S_MAX);
            let member = roster.member(&identity.member);
            let member = member.filter(|member| member.role == identity.role);
            let issued = |member| check_chain(&leaf, &chain, usage, member, at).is_ok();
            (begins..roster.expires_at).contains(&at) && member.is_some_and(issued)
        })
    }

    /// An officer of the member stands there by name; whom the gate turned away,
    /// of whatever member, with the whole identity.
    fn names(&self, identity: &Identity, body: &AccessBody) -> bool {
        let own = identity.member == self.origin.member;
        let officer = identity.officer().map(ToString::to_string);
        let by_name = own && officer.is_some_and(|name| name == body.caller);
        by_name || (body.outcome != DONE && identity.to_string() == body.caller)
    }
}

/// Says whether calls of this method are signed: those of the desk.
fn is_signed(method: &str) -> bool {
    method.starts_with("Desk.")
}

/// A request is taken within five minutes of its signing, and its line follows,
/// unless it is noted before it begins, or the log was closed meanwhile to what
/// was refused.
fn is_untimely(body: &AccessBody, said: &OfficerRequest, issued_at: UnixSeconds) -> bool {
    let taken_at = body.taken_at;
    if check_time(said.signed_at, taken_at).is_err() {
        return true;
    }
    let late = issued_at > taken_at.saturating_add(SKEW_S_MAX);
    issued_at < taken_at.saturating_sub(SKEW_S_MAX)
        || (late && body.outcome == DONE && !is_noted_first(said))
}

/// Calls that are noted before they begin, and are a line when they end.
fn is_noted_first(said: &OfficerRequest) -> bool {
    let noted = [
        Method::Import,
        Method::Publish,
        Method::Retract,
        Method::Keygen,
    ];
    let adds = || QueryRequest::decode(&said.request[..]).is_ok_and(|request| request.add);
    noted.iter().any(|method| method.as_str() == said.method)
        || (said.method == Method::Query.as_str() && adds())
}

/// The indices at which a nonce stands that stood in the log before.
pub(crate) fn replayed(mut nonces: Vec<(u64, Nonce)>) -> Vec<u64> {
    nonces.sort_unstable();
    let mut seen = HashSet::with_capacity(nonces.len());
    let again = nonces.into_iter().filter(|(_, nonce)| !seen.insert(*nonce));
    again.map(|(index, _)| index).collect()
}
