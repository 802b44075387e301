//! Federations for development, the demo and tests: every key of every member
//! made in one place. Real members enrol with `pki request` and `pki sign`.

use std::path::Path;

use super::files::{make_dir, write_private, write_public, write_seed};
use super::{Authority, Issued, LEAF_DAYS, PkiError, Validity, identity};
use crate::clock::{DAY_S, UnixSeconds};
use crate::ids::{Digest, FederationId, MemberId, random};
use crate::keys::{PublicKey, SigningKey};
use crate::roster::{Draft, KeyUse, Member, MemberDraft, MemberRole, RosterChain};
use crate::tls::Material;

/// How long a development roster is current, in days.
pub const ROSTER_DAYS: i64 = 365;

/// Everything that one member of a development federation has.
#[derive(Debug)]
pub struct DevMember {
    /// Its id.
    pub id: MemberId,
    /// Its role.
    pub role: MemberRole,
    /// Its region.
    pub region: String,
    /// Whether its node keeps replicas of other members' logs.
    pub replicate: bool,
    /// Where its node listens for auditors, `host:port`; may be empty.
    pub audit_endpoint: String,
    /// Its CA.
    pub ca: Authority,
    /// Its node's certificate and key.
    pub node: Issued,
    /// Its officers' certificates and keys, in the order given.
    pub officers: Vec<Issued>,
    /// Signs statements.
    pub records_key: SigningKey,
    /// Signs them later, from the index on that a roster states.
    pub records_next: Option<SigningKey>,
    /// Signs checkpoints.
    pub checkpoint_key: SigningKey,
    /// Cosigns other members' checkpoints.
    pub witness_key: SigningKey,
    /// The members that witness its logs.
    pub witnesses: Vec<MemberId>,
}

impl DevMember {
    /// The member's lines of a roster; the name is the id and the rest is empty.
    /// Without an endpoint it has no node, and so no keys: an auditor.
    #[must_use]
    pub fn draft(&self, peer_endpoint: &str) -> MemberDraft {
        MemberDraft {
            id: self.id.clone(),
            role: self.role,
            name: self.id.to_string(),
            region: self.region.clone(),
            ca: self.ca.cert_der().to_vec(),
            peer_endpoint: peer_endpoint.to_owned(),
            audit_endpoint: self.audit_endpoint.clone(),
            keys: if peer_endpoint.is_empty() {
                vec![]
            } else {
                self.public_keys()
            },
            desk_contact: String::new(),
            witnesses: self.witnesses.clone(),
        }
    }

    fn public_keys(&self) -> Vec<(KeyUse, PublicKey)> {
        [
            (KeyUse::Records, &self.records_key),
            (KeyUse::Checkpoint, &self.checkpoint_key),
            (KeyUse::Witness, &self.witness_key),
        ]
        .map(|(usage, key)| (usage, key.public_key().clone()))
        .into()
    }

    /// The node's certificate and key, ready for TLS.
    ///
    /// # Errors
    /// [`PkiError::Tls`] when they do not fit.
    pub fn node_material(&self) -> Result<Material, PkiError> {
        self.node.material()
    }

    /// An officer's certificate and key, ready for TLS; `None` for a stranger.
    #[must_use]
    pub fn officer_material(&self, name: &str) -> Option<Material> {
        let mut officers = self.officers.iter();
        let found = officers.find(|o| o.identity.officer().is_some_and(|n| n.as_str() == name))?;
        found.material().ok()
    }
}

/// Makes a member with fresh keys; its certificates are valid around `now`.
///
/// # Errors
/// [`PkiError`], such as for an officer's name that is none.
pub fn dev_member(
    federation: &FederationId,
    id: &MemberId,
    role: MemberRole,
    now: UnixSeconds,
    officers: &[&str],
) -> Result<DevMember, PkiError> {
    let ca = Authority::generate(federation, id, now)?;
    let validity = Validity::days(now, LEAF_DAYS);
    let node = ca.issue(&identity(federation, role, id, None)?, validity)?;
    let officers = officers
        .iter()
        .map(|name| ca.issue(&identity(federation, role, id, Some(name))?, validity))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(DevMember {
        id: id.clone(),
        role,
        region: String::new(),
        replicate: true,
        audit_endpoint: String::new(),
        ca,
        node,
        officers,
        records_key: SigningKey::generate(),
        records_next: None,
        checkpoint_key: SigningKey::generate(),
        witness_key: SigningKey::generate(),
        witnesses: Vec::new(),
    })
}

/// Makes `witnesses` the witnesses of every member, each of all but itself.
pub fn assign_witnesses(members: &mut [(DevMember, String)], witnesses: &[MemberId]) {
    for (member, _) in members {
        member.witnesses = witnesses
            .iter()
            .filter(|witness| **witness != member.id)
            .cloned()
            .collect();
    }
}

/// As many witnesses as must cosign: two, where every member that has any has two.
fn quorum(members: &[(DevMember, String)]) -> u32 {
    let counts = members.iter().map(|(member, _)| member.witnesses.len());
    match counts.filter(|count| *count > 0).min() {
        None => 0,
        Some(1) => 1,
        Some(_) => 2,
    }
}

/// A development federation with its root and its first roster.
#[derive(Debug)]
pub struct DevFederation {
    /// Signs rosters.
    pub root: SigningKey,
    /// The members, in the order given.
    pub members: Vec<DevMember>,
    /// The chain of roster 1.
    pub chain: RosterChain,
}

/// Makes roster 1 of members with their endpoints, signed by a fresh root. Two
/// witnesses must cosign, or one where a member has one only.
///
/// # Errors
/// [`PkiError::Roster`] when two members clash, as in an endpoint.
pub fn dev_federation(
    federation: &FederationId,
    members: Vec<(DevMember, String)>,
    now: UnixSeconds,
) -> Result<DevFederation, PkiError> {
    let root = SigningKey::generate();
    let roots = [root.public_key().clone()];
    let lifetime_s = ROSTER_DAYS * DAY_S;
    let mut draft = Draft::first(federation, &roots, 1, now, lifetime_s);
    draft.wire.policy.get_or_insert_default().witness_quorum = quorum(&members);
    let mut made = Vec::new();
    for (member, endpoint) in members {
        draft = draft.member(member.draft(&endpoint));
        made.push(member);
    }
    let signed = draft.sign(&[&root]);
    let chain = RosterChain::start(draft.digest(), &signed, crate::rosters::shares_fit)?;
    Ok(DevFederation {
        root,
        members: made,
        chain,
    })
}

impl DevFederation {
    /// Writes the federation as one directory a member, ready for `serve`.
    ///
    /// `listen` gives for each member the peer, desk and admin addresses; they
    /// count for nothing where it has no node.
    ///
    /// # Errors
    /// [`PkiError::File`]; nothing that exists is overwritten.
    pub fn write(&self, dir: &Path, listen: &[[String; 3]]) -> Result<Digest, PkiError> {
        make_dir(dir)?;
        write_seed(&dir.join("root.seed"), &self.root)?;
        write_public(&dir.join("roster.bin"), &self.chain.to_bytes())?;
        write_public(
            &dir.join("roster.pin"),
            format!("{}\n", self.chain.pin()).as_bytes(),
        )?;
        for (member, addresses) in self.members.iter().zip(listen) {
            self.write_member(&dir.join(member.id.as_str()), member, addresses)?;
        }
        Ok(self.chain.pin())
    }

    fn write_member(
        &self,
        dir: &Path,
        member: &DevMember,
        [peer, desk, admin]: &[String; 3],
    ) -> Result<(), PkiError> {
        make_dir(&dir.join("officers"))?;
        write_public(&dir.join("ca.pem"), member.ca.cert_pem().as_bytes())?;
        write_private(&dir.join("ca.key"), member.ca.key_pem().as_bytes())?;
        for officer in &member.officers {
            if let Some(name) = officer.identity.officer() {
                write_issued(&dir.join("officers"), name.as_str(), officer)?;
            }
        }
        write_public(&dir.join("roster.bin"), &self.chain.to_bytes())?;
        let newest = self.chain.newest();
        if !newest.member(&member.id).is_some_and(Member::has_node) {
            return self.write_officers(dir, member);
        }
        write_issued(dir, "node", &member.node)?;
        write_seed(&dir.join("records.seed"), &member.records_key)?;
        write_seed(&dir.join("checkpoint.seed"), &member.checkpoint_key)?;
        write_seed(&dir.join("witness.seed"), &member.witness_key)?;
        let seal = zeroize::Zeroizing::new(hex::encode(random::<32>()) + "\n");
        write_private(&dir.join("seal.key"), seal.as_bytes())?;
        let federation = &newest.federation;
        let audit = match &*member.audit_endpoint {
            "" => "127.0.0.1:0",
            endpoint => endpoint,
        };
        let (id, role, pin) = (&member.id, member.role, self.chain.pin());
        let first_admin = member
            .officers
            .first()
            .and_then(|officer| officer.identity.officer());
        let first_admin = first_admin.map_or(String::new(), |n| format!("first_admin = \"{n}\"\n"));
        let replicate = if member.replicate {
            ""
        } else {
            "replicate = false\n"
        };
        let config = format!(
            "federation = \"{federation}\"\nmember = \"{id}\"\nrole = \"{role}\"\ndir = \"store\"\n{replicate}\n\
             [tls]\ncert = \"node.pem\"\nkey = \"node.key\"\n\n\
             [roster]\nfile = \"roster.bin\"\npin = \"{pin}\"\n\n\
             [keys]\nrecords = \"records.seed\"\ncheckpoint = \"checkpoint.seed\"\n\
             witness = \"witness.seed\"\nseal = \"seal.key\"\n\n\
             [listen]\npeer = \"{peer}\"\ndesk = \"{desk}\"\naudit = \"{audit}\"\nadmin = \"{admin}\"\n\n\
             [desk]\n{first_admin}"
        );
        write_public(&dir.join("node.toml"), config.as_bytes())
    }

    /// Writes what the officers of a member without a node need to call others'.
    fn write_officers(&self, dir: &Path, member: &DevMember) -> Result<(), PkiError> {
        let (federation, pin) = (&self.chain.newest().federation, self.chain.pin());
        for officer in &member.officers {
            let Some(name) = officer.identity.officer() else {
                continue;
            };
            let config = format!(
                "federation = \"{federation}\"\nmember = \"{}\"\n\
                 cert = \"{name}.pem\"\nkey = \"{name}.key\"\n\
                 roster = \"../roster.bin\"\npin = \"{pin}\"\n",
                member.id
            );
            let path = dir.join("officers").join(format!("{name}.toml"));
            write_public(&path, config.as_bytes())?;
        }
        Ok(())
    }
}

fn write_issued(dir: &Path, name: &str, issued: &Issued) -> Result<(), PkiError> {
    write_public(&dir.join(format!("{name}.pem")), issued.cert_pem.as_bytes())?;
    write_private(&dir.join(format!("{name}.key")), issued.key_pem.as_bytes())
}
