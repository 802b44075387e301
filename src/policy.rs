//! Who may call what: one table from (role, node or officer) to methods, and
//! the [`Permit`] that a service asks for, so that an unchecked call does not
//! compile. Deny by default. Pure; the officers' rights are given by the caller.

use std::fmt;

use crate::blame::{Blame, Blamed};
use crate::ids::{FederationId, MemberId, OfficerName};
use crate::roster::MemberRole;

/// Who acts for a member.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// The member's node.
    Node,
    /// One of its officers.
    Officer(OfficerName),
}

/// What a certificate says its holder is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The federation.
    pub federation: FederationId,
    /// The member.
    pub member: MemberId,
    /// The member's role.
    pub role: MemberRole,
    /// Node or officer.
    pub subject: Subject,
}

/// A URI that names nobody of a federation.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{uri:?} is not spiffe://FEDERATION/ROLE/MEMBER/node or .../officer/NAME")]
pub struct BadIdentity {
    /// The URI, cut to 200 characters.
    pub uri: String,
}

impl Blamed for BadIdentity {
    fn blame(&self) -> Blame {
        Blame::Denied
    }

    fn code(&self) -> &'static str {
        "policy.bad_identity"
    }
}

impl Identity {
    /// Reads the URI name of a certificate. There is one spelling of each identity.
    ///
    /// # Errors
    /// [`BadIdentity`] for any other text.
    pub fn from_uri(uri: &str) -> Result<Self, BadIdentity> {
        Self::parse(uri).ok_or_else(|| BadIdentity {
            uri: uri.chars().take(200).collect(),
        })
    }

    fn parse(uri: &str) -> Option<Self> {
        let mut parts = uri.strip_prefix("spiffe://")?.split('/');
        let federation = FederationId::new(parts.next()?).ok()?;
        let role = MemberRole::from_word(parts.next()?)?;
        let member = MemberId::new(parts.next()?).ok()?;
        let subject = match (parts.next()?, parts.next()) {
            ("node", None) => Subject::Node,
            ("officer", Some(name)) => Subject::Officer(OfficerName::new(name).ok()?),
            _ => return None,
        };
        let identity = Self {
            federation,
            member,
            role,
            subject,
        };
        parts.next().is_none().then_some(identity)
    }

    /// Returns the officer's name, if an officer it is.
    #[must_use]
    pub fn officer(&self) -> Option<&OfficerName> {
        match &self.subject {
            Subject::Officer(name) => Some(name),
            Subject::Node => None,
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "spiffe://{}/{}/{}/",
            self.federation, self.role, self.member
        )?;
        match &self.subject {
            Subject::Node => f.write_str("node"),
            Subject::Officer(name) => write!(f, "officer/{name}"),
        }
    }
}

/// What an officer may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Right {
    /// Import and publish cases, close and amend them.
    Publish,
    /// Ask for links of a case or an operation.
    Query,
    /// Confirm or reject hits.
    Confirm,
    /// Ask another member to disclose.
    DiscloseRequest,
    /// Decide on other members' requests.
    DiscloseApprove,
    /// Take data out.
    Export,
    /// Keep the list of officers.
    Admin,
}

impl Right {
    /// Every right.
    pub const ALL: [Self; 7] = [
        Self::Publish,
        Self::Query,
        Self::Confirm,
        Self::DiscloseRequest,
        Self::DiscloseApprove,
        Self::Export,
        Self::Admin,
    ];

    /// The word that stands in commands and lists.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Query => "query",
            Self::Confirm => "confirm",
            Self::DiscloseRequest => "disclose-request",
            Self::DiscloseApprove => "disclose-approve",
            Self::Export => "export",
            Self::Admin => "admin",
        }
    }

    /// Reads the word of [`Right::as_str`]; `None` for any other text.
    #[must_use]
    pub fn from_word(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|right| right.as_str() == text)
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who stands on the caller's side of a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Callers {
    /// Nodes of any member, of the listed roles.
    Nodes(&'static [MemberRole]),
    /// Officers of the node's own member, with this right if one is named.
    OwnOfficers(Option<Right>),
    /// Nodes and officers of auditors, and officers of the node's own member
    /// with this right.
    Auditors(Right),
    /// Nodes of any member, officers of auditors, and officers of the node's own.
    AnyMember,
}

use MemberRole::{Auditor, Bureau, Department};

const EVERY_ROLE: &[MemberRole] = &[Bureau, Department, Auditor];
/// Auditors see entries, not bodies and not tokens.
const CASE_ROLES: &[MemberRole] = &[Bureau, Department];

macro_rules! methods {
    ($($name:ident: $path:literal, $callers:expr;)*) => {
        /// Every call that a node answers.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Method {
            $(
                #[doc = concat!("`", $path, "`")]
                $name,
            )*
        }

        impl Method {
            /// Every method, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The method's name as it stands in logs and metrics.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $path,)* }
            }

            /// The table: who may call the method.
            #[must_use]
            pub fn callers(self) -> Callers {
                match self { $(Self::$name => $callers,)* }
            }
        }
    };
}

methods! {
    GetRoster: "Exchange.GetRoster", Callers::Nodes(EVERY_ROLE);
    Watch: "Exchange.Watch", Callers::Nodes(EVERY_ROLE);
    GetCheckpoint: "Exchange.GetCheckpoint", Callers::Nodes(EVERY_ROLE);
    Pull: "Exchange.Pull", Callers::Nodes(EVERY_ROLE);
    GetBodies: "Exchange.GetBodies", Callers::Nodes(CASE_ROLES);
    GetConsistency: "Exchange.GetConsistency", Callers::Nodes(EVERY_ROLE);
    ListCheckpoints: "Exchange.ListCheckpoints", Callers::Nodes(EVERY_ROLE);
    AddCheckpoint: "Exchange.AddCheckpoint", Callers::Nodes(EVERY_ROLE);
    Evaluate: "Custodian.Evaluate", Callers::Nodes(CASE_ROLES);
    GetBudget: "Custodian.GetBudget", Callers::Nodes(CASE_ROLES);
    KeygenRound1: "Custodian.KeygenRound1", Callers::Nodes(EVERY_ROLE);
    KeygenEcho: "Custodian.KeygenEcho", Callers::Nodes(EVERY_ROLE);
    KeygenRound2: "Custodian.KeygenRound2", Callers::Nodes(EVERY_ROLE);
    GetStatus: "Desk.GetStatus", Callers::OwnOfficers(None);
    Import: "Desk.Import", Callers::OwnOfficers(Some(Right::Publish));
    Publish: "Desk.Publish", Callers::OwnOfficers(Some(Right::Publish));
    ListCases: "Desk.ListCases", Callers::OwnOfficers(Some(Right::Query));
    ShowCase: "Desk.ShowCase", Callers::OwnOfficers(Some(Right::Query));
    AddCase: "Desk.AddCase", Callers::OwnOfficers(Some(Right::Publish));
    CloseCase: "Desk.CloseCase", Callers::OwnOfficers(Some(Right::Publish));
    Retract: "Desk.Retract", Callers::OwnOfficers(Some(Right::Publish));
    Query: "Desk.Query", Callers::OwnOfficers(Some(Right::Query));
    Links: "Desk.Links", Callers::OwnOfficers(Some(Right::Query));
    Hits: "Desk.Hits", Callers::OwnOfficers(Some(Right::Query));
    ListOfficers: "Desk.ListOfficers", Callers::OwnOfficers(Some(Right::Admin));
    AddOfficer: "Desk.AddOfficer", Callers::OwnOfficers(Some(Right::Admin));
    SuspendOfficer: "Desk.SuspendOfficer", Callers::OwnOfficers(Some(Right::Admin));
    Keygen: "Desk.Keygen", Callers::OwnOfficers(Some(Right::Admin));
    ShowLog: "Desk.ShowLog", Callers::OwnOfficers(Some(Right::Export));
    ReadIndex: "Audit.ReadIndex", Callers::Auditors(Right::Export);
    ReadRoster: "Audit.ReadRoster", Callers::Auditors(Right::Export);
    ReadCheckpoint: "Audit.ReadCheckpoint", Callers::Auditors(Right::Export);
    ReadTile: "Audit.ReadTile", Callers::Auditors(Right::Export);
    ReadEntries: "Audit.ReadEntries", Callers::Auditors(Right::Export);
    ReadBodies: "Audit.ReadBodies", Callers::Auditors(Right::Export);
    ReadReceipt: "Audit.ReadReceipt", Callers::Auditors(Right::Export);
    ReadErasures: "Audit.ReadErasures", Callers::Auditors(Right::Export);
    ReadEvidence: "Audit.ReadEvidence", Callers::Auditors(Right::Export);
    ReadFile: "Audit.ReadFile", Callers::Auditors(Right::Export);
    Health: "Health", Callers::AnyMember;
    Reflection: "Reflection", Callers::AnyMember;
}

impl Method {
    /// Says whether the method is answered while the node's newest roster has
    /// run out: only what lets a node catch up, or a person see what is wrong.
    #[must_use]
    pub fn works_on_expired_roster(self) -> bool {
        matches!(self, Self::GetRoster | Self::GetStatus | Self::Health)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Proof that one identity may make one call; only [`authorize`] makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    identity: Identity,
    method: Method,
}

impl Permit {
    /// The caller.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The call that is allowed.
    #[must_use]
    pub fn method(&self) -> Method {
        self.method
    }

    /// The calling officer's name, if an officer calls.
    #[must_use]
    pub fn officer(&self) -> Option<&OfficerName> {
        self.identity.officer()
    }
}

/// Which rule denies a call.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Denied {
    /// Nodes only.
    #[error("{method} is for nodes of members, not for officers")]
    NodesOnly {
        /// The method.
        method: Method,
    },
    /// Officers only.
    #[error("{method} is for officers, not for nodes")]
    OfficersOnly {
        /// The method.
        method: Method,
    },
    /// Members of this role do not make this call.
    #[error("{method} is not for members with the role {role}")]
    Role {
        /// The method.
        method: Method,
        /// The caller's role.
        role: MemberRole,
    },
    /// An officer of another member.
    #[error("{method} is for officers of {own}, not of {caller}")]
    OtherMember {
        /// The method.
        method: Method,
        /// The node's own member.
        own: MemberId,
        /// The caller's member.
        caller: MemberId,
    },
    /// An officer who is not on the node's list, or is suspended.
    #[error("officer {officer} is not on this node's list, or is suspended")]
    NotListed {
        /// The officer.
        officer: OfficerName,
    },
    /// A right is missing.
    #[error("{method} needs the right {right}, which officer {officer} does not have")]
    MissingRight {
        /// The method.
        method: Method,
        /// The right.
        right: Right,
        /// The officer.
        officer: OfficerName,
    },
}

impl Blamed for Denied {
    fn blame(&self) -> Blame {
        Blame::Denied
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NodesOnly { .. } => "policy.nodes_only",
            Self::OfficersOnly { .. } => "policy.officers_only",
            Self::Role { .. } => "policy.role",
            Self::OtherMember { .. } => "policy.other_member",
            Self::NotListed { .. } => "policy.not_listed",
            Self::MissingRight { .. } => "policy.missing_right",
        }
    }
}

/// Decides whether `identity` may call `method` on the node of `own`.
///
/// The identity comes from a certificate that was checked against the roster.
/// `rights` are those that the node's list gives the calling officer, `None`
/// when it does not have him or he is suspended; for nodes it is not looked at.
///
/// # Errors
/// [`Denied`] naming the rule.
pub fn authorize(
    identity: &Identity,
    own: &MemberId,
    method: Method,
    rights: Option<&[Right]>,
) -> Result<Permit, Denied> {
    match (&identity.subject, method.callers()) {
        (Subject::Node, Callers::Nodes(roles)) => {
            if !roles.contains(&identity.role) {
                return Err(Denied::Role {
                    method,
                    role: identity.role,
                });
            }
        }
        (Subject::Node | Subject::Officer(_), Callers::Auditors(_) | Callers::AnyMember)
            if identity.role == Auditor && identity.member != *own => {}
        (Subject::Node, Callers::Auditors(_)) if identity.role != Auditor => {
            return Err(Denied::Role {
                method,
                role: identity.role,
            });
        }
        (Subject::Node, Callers::AnyMember | Callers::Auditors(_)) => {}
        (Subject::Officer(officer), Callers::Auditors(right)) => {
            own_officer(identity, officer, own, method, rights, Some(right))?;
        }
        (Subject::Node, Callers::OwnOfficers(_)) => return Err(Denied::OfficersOnly { method }),
        (Subject::Officer(_), Callers::Nodes(_)) => return Err(Denied::NodesOnly { method }),
        (Subject::Officer(officer), Callers::OwnOfficers(right)) => {
            own_officer(identity, officer, own, method, rights, right)?;
        }
        (Subject::Officer(officer), Callers::AnyMember) => {
            own_officer(identity, officer, own, method, rights, None)?;
        }
    }
    Ok(Permit {
        identity: identity.clone(),
        method,
    })
}

fn own_officer(
    identity: &Identity,
    officer: &OfficerName,
    own: &MemberId,
    method: Method,
    rights: Option<&[Right]>,
    needed: Option<Right>,
) -> Result<(), Denied> {
    if identity.member != *own {
        let (own, caller) = (own.clone(), identity.member.clone());
        return Err(Denied::OtherMember {
            method,
            own,
            caller,
        });
    }
    let Some(rights) = rights else {
        return Err(Denied::NotListed {
            officer: officer.clone(),
        });
    };
    match needed {
        Some(right) if !rights.contains(&right) => Err(Denied::MissingRight {
            method,
            right,
            officer: officer.clone(),
        }),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(uri: &str) -> Identity {
        Identity::from_uri(uri).expect("an identity")
    }

    fn hefei() -> MemberId {
        MemberId::new("hefei").expect("a name")
    }

    #[test]
    fn uris_that_name_nobody_are_refused() {
        for bad in [
            "",
            "https://anhui.example/bureau/hefei/node",
            "SPIFFE://anhui.example/bureau/hefei/node",
            "spiffe://anhui.example/bureau/hefei/node/",
            "spiffe://anhui.example/bureau/hefei/node?x=1",
            "spiffe://anhui.example/bureau/hefei/node#x",
            "spiffe://anhui.example/bureau/Hefei/node",
            "spiffe://anhui.example/bureau/hefei",
            "spiffe://anhui.example/bureau/hefei/officer",
            "spiffe://anhui.example/bureau/hefei/officer/",
            "spiffe://anhui.example/bureau/hefei/officer/li/wei",
            "spiffe://anhui.example/police/hefei/node",
            "spiffe://anhui.example//hefei/node",
            "spiffe://u@anhui.example/bureau/hefei/node",
            "spiffe://anhui.example/bureau/he%66ei/node",
            "spiffe://anhui.example/bureau/hefei/node\0",
        ] {
            assert!(Identity::from_uri(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_identity_prints_as_it_was_read() {
        for uri in [
            "spiffe://anhui.example/bureau/hefei/node",
            "spiffe://anhui.example/department/anhui/officer/li.wei",
        ] {
            assert_eq!(identity(uri).to_string(), uri);
        }
    }

    #[test]
    fn officers_of_the_own_member_reach_the_desk_and_only_with_the_right() {
        let li = identity("spiffe://anhui.example/bureau/hefei/officer/li.wei");
        let all = Right::ALL;
        for method in Method::ALL {
            let verdict = authorize(&li, &hefei(), *method, Some(&all));
            let none = authorize(&li, &hefei(), *method, Some(&[]));
            match method.callers() {
                Callers::Nodes(_) => {
                    assert_eq!(verdict, Err(Denied::NodesOnly { method: *method }));
                }
                Callers::OwnOfficers(Some(right)) | Callers::Auditors(right) => {
                    assert!(verdict.is_ok(), "{method}");
                    assert!(
                        matches!(none, Err(Denied::MissingRight { right: r, .. }) if r == right)
                    );
                    assert!(authorize(&li, &hefei(), *method, Some(&[right])).is_ok());
                }
                Callers::OwnOfficers(None) | Callers::AnyMember => {
                    assert!(verdict.is_ok() && none.is_ok(), "{method}");
                }
            }
        }
    }

    #[test]
    fn an_officer_who_is_not_listed_or_of_another_member_is_denied_everything() {
        let li = identity("spiffe://anhui.example/bureau/hefei/officer/li.wei");
        let wang = identity("spiffe://anhui.example/bureau/wuhu/officer/wang");
        for method in Method::ALL {
            assert!(authorize(&li, &hefei(), *method, None).is_err(), "{method}");
            assert!(
                authorize(&wang, &hefei(), *method, Some(&Right::ALL)).is_err(),
                "{method}"
            );
        }
    }

    #[test]
    fn nodes_reach_what_is_for_their_role_and_no_desk() {
        for role in MemberRole::ALL {
            let node = identity(&format!("spiffe://anhui.example/{role}/wuhu/node"));
            for method in Method::ALL {
                let verdict = authorize(&node, &hefei(), *method, Some(&Right::ALL));
                let want = match method.callers() {
                    Callers::Nodes(roles) => roles.contains(&role),
                    Callers::OwnOfficers(_) => false,
                    Callers::Auditors(_) => role == Auditor,
                    Callers::AnyMember => true,
                };
                assert_eq!(verdict.is_ok(), want, "{role} {method}");
            }
        }
    }

    /// The table once more, by name, so that a slip in it is seen.
    #[test]
    fn the_table_says_what_the_design_says() {
        let auditor = identity("spiffe://anhui.example/auditor/court/node");
        for (method, want) in [
            (Method::Pull, true),
            (Method::GetCheckpoint, true),
            (Method::GetBodies, false),
            (Method::Evaluate, false),
            (Method::AddOfficer, false),
        ] {
            assert_eq!(
                authorize(&auditor, &hefei(), method, None).is_ok(),
                want,
                "{method}"
            );
        }
        for (method, right) in [
            (Method::Import, Right::Publish),
            (Method::Links, Right::Query),
            (Method::SuspendOfficer, Right::Admin),
            (Method::ShowLog, Right::Export),
        ] {
            assert_eq!(method.callers(), Callers::OwnOfficers(Some(right)));
        }
    }
}
