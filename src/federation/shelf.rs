//! One member's real, signed and witnessed logs, made without nodes: for
//! measurements, and for tests of verifiers. Every key, roster, cosignature and
//! proof is as a running federation makes it; values and cases are invented.

use std::path::PathBuf;
use std::sync::Arc;

use crate::access::AccessLine;
use crate::audit::export::{BundleOut, ExportError, Exported, Selection, export};
use crate::audit::local::LedgerFiles;
use crate::checkpoint::{SignedNote, cosign};
use crate::clock::Clock;
use crate::federation::FederationError;
use crate::ids::{
    CaseRef, Digest, FederationId, KeyId, LogIndex, LogName, MemberId, Token, random,
};
use crate::keys::SigningKey;
use crate::ledger::{Ledger, LedgerError, LedgerOptions, LogKeys, NewEntry, Seer};
use crate::pki::dev::{DevMember, dev_member};
use crate::postings::PostingsOptions;
use crate::record::{Audience, Body, CaseNoticeBody, ElementBody, RetractBody};
use crate::roster::{Draft, MemberRole, RosterChain};
use crate::rosters::{Rosters, shares_fit};
use crate::seal::SealKey;
use crate::store::Batch;
use crate::wire::v1::{AccessBody, AccessScope, ElementKind, ElementRole, RetractReason};

/// Records that one append carries.
const BATCH: u64 = 2_000;
/// Seconds between two appends, by the shelf's clock.
const STEP_S: i64 = 60;
/// Days that the roster is valid.
const ROSTER_DAYS: i64 = 365;

/// What to make.
#[derive(Clone, Debug)]
pub struct ShelfSpec {
    /// Where the member's directory goes.
    pub dir: PathBuf,
    /// Entries of the records log.
    pub records: u64,
    /// Entries of the access log.
    pub access: u64,
    /// When it begins; moved on with every append.
    pub now: i64,
}

/// A member's logs, open.
#[derive(Debug)]
pub struct Shelf {
    /// The logs.
    pub ledger: Ledger,
    /// The rosters.
    pub chain: RosterChain,
    /// All members: the owner, three witnesses, an auditor.
    pub members: Vec<DevMember>,
    /// Signs rosters.
    pub root: SigningKey,
    /// The time on the shelf.
    pub clock: Clock,
}

/// The member whose logs these are.
const OWNER: &str = "hefei";
/// Who cosigns its checkpoints; two of them are enough.
const WITNESSES: [&str; 3] = ["wuhu", "anqing", "province"];
/// The auditor, who has no node.
const AUDITOR: &str = "audit-office";

impl Shelf {
    /// Makes a federation of five and fills the logs of `hefei`: elements for
    /// different audiences, notices, retractions, lines of the access log.
    ///
    /// # Errors
    /// [`FederationError`].
    pub fn fill(spec: &ShelfSpec) -> Result<Self, FederationError> {
        let federation = FederationId::new("anhui.example").map_err(name)?;
        let clock = Clock::manual(spec.now);
        let (members, root, chain) = roster(&federation, spec.now)?;
        let owner = members.first().ok_or(FederationError::KeysDiffer)?;
        let copy = |key: &SigningKey| {
            SigningKey::from_seed(&key.seed()).map_err(|e| FederationError::File(e.to_string()))
        };
        let options = LedgerOptions {
            federation,
            own: owner.id.clone(),
            keys: LogKeys {
                records: copy(&owner.records_key)?,
                checkpoint: copy(&owner.checkpoint_key)?,
                witness: copy(&owner.witness_key)?,
                records_next: None,
            },
            seal: Arc::new(SealKey::new(random())),
            clock: clock.clone(),
            records_generation: 1,
            access_generation: 1,
            cache_bytes: 16 << 20,
            index: PostingsOptions::default(),
        };
        std::fs::create_dir_all(&spec.dir).map_err(|e| FederationError::File(e.to_string()))?;
        let ledger = Ledger::open(&spec.dir, options).map_err(failed)?;
        let store = ledger.store().clone();
        Rosters::open(store, clock.clone(), chain.pin(), &chain.after(0))?;
        let shelf = Self {
            ledger,
            chain,
            members,
            root,
            clock,
        };
        shelf.append(LogName::Records, spec.records)?;
        shelf.append(LogName::Access, spec.access)?;
        Ok(shelf)
    }

    /// Appends entries, and has every batch's checkpoint cosigned.
    ///
    /// # Errors
    /// [`FederationError`].
    pub fn append(&self, log: LogName, count: u64) -> Result<(), FederationError> {
        let mut left = count;
        while left > 0 {
            let batch = left.min(BATCH);
            let first = self.ledger.own_log(log).size().0;
            let entries = (first..first + batch).map(|n| match log {
                LogName::Records => self.record(n),
                LogName::Access => line(n),
            });
            self.ledger
                .append(log, entries.collect(), Batch::new())
                .map_err(failed)?;
            self.clock.advance(STEP_S);
            self.cosign(log)?;
            left -= batch;
        }
        Ok(())
    }

    /// Has all witnesses cosign the newest checkpoint of a log and keeps it.
    fn cosign(&self, log: LogName) -> Result<(), FederationError> {
        let log = self.ledger.own_log(log);
        let head = log.head();
        let mut note = head.checkpoint.to_vec();
        let parsed = SignedNote::parse(&head.checkpoint)
            .map_err(|e| FederationError::File(e.to_string()))?;
        for member in &self.members {
            if WITNESSES.contains(&member.id.as_str()) {
                let name = format!("{}/{}/witness", log.origin.federation, member.id);
                let key = &member.witness_key;
                let line = cosign(parsed.text(), &name, key, self.clock.now());
                note.extend_from_slice(line.as_bytes());
            }
        }
        let (log, roster) = (Arc::clone(log), self.chain.newest());
        self.ledger
            .accept_witnessed(&log, roster, &note.into())
            .map_err(failed)?;
        Ok(())
    }

    fn record(&self, n: u64) -> NewEntry {
        let body = match n % BATCH {
            1_000 => notice(n),
            // What the batch before published is taken back in part.
            1_999 => retraction(n - 1_500),
            _ => self.element(n),
        };
        NewEntry {
            body,
            expires_at: 0,
            private: None,
        }
    }

    fn element(&self, n: u64) -> Body {
        let audience = match n % 50 {
            7 => Audience::Nobody,
            8 => Audience::Members(MemberId::new(AUDITOR).into_iter().collect()),
            9 => Audience::Members(MemberId::new(WITNESSES[0]).into_iter().collect()),
            _ => Audience::Federation,
        };
        let log = self.ledger.own_log(LogName::Records);
        Body::Element(ElementBody {
            nonce: random(),
            federation: log.origin.federation.clone(),
            member: log.origin.member.clone(),
            case_ref: case(n / 10),
            kind: ElementKind::Phone,
            token: Token(random()),
            token_key_id: KeyId([1; 4]),
            commitment: Digest(random()),
            role: ElementRole::Suspect,
            observed_on: 20_000,
            audience,
            handling: String::new(),
            expires_at: 0,
            canonical_rules: 1,
        })
    }

    /// The member whose logs these are, and its federation.
    #[must_use]
    pub fn owner(&self) -> (FederationId, MemberId) {
        let origin = &self.ledger.own_log(LogName::Records).origin;
        (origin.federation.clone(), origin.member.clone())
    }

    /// Exports everything, with the eyes of the own member.
    ///
    /// # Errors
    /// [`ExportError`].
    pub fn export(&self, out: BundleOut) -> Result<Exported, ExportError> {
        let (federation, member) = self.owner();
        let what = Selection {
            federation,
            member,
            from: None,
            to: None,
            now: self.clock.now(),
        };
        let files = LedgerFiles::new(&self.ledger, Seer::Own);
        export(&files, &what, out, &mut |_| true)
    }

    /// The policy by which an auditor verifies the bundle.
    #[must_use]
    pub fn policy(&self) -> String {
        let (federation, _) = self.owner();
        format!(
            "federation = \"{federation}\"\nroster_pin = \"{}\"\n",
            self.chain.pin()
        )
    }
}

fn failed(error: LedgerError) -> FederationError {
    FederationError::File(error.to_string())
}

fn name(error: crate::ids::IdError) -> FederationError {
    FederationError::File(error.to_string())
}

fn case(n: u64) -> CaseRef {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    CaseRef(bytes)
}

fn notice(n: u64) -> Body {
    Body::CaseNotice(CaseNoticeBody {
        nonce: random(),
        case_ref: case(n / 10),
        category: "fraud".into(),
        month: 202_611,
        desk: "desk".into(),
        expires_at: 0,
        audience: Audience::Federation,
    })
}

fn retraction(first: u64) -> Body {
    Body::Retract(RetractBody {
        nonce: random(),
        targets: vec![(LogIndex(first), LogIndex(first + 3))],
        reason: RetractReason::Mistake,
    })
}

fn line(n: u64) -> NewEntry {
    let line = AccessLine::new(AccessScope::Local, "Desk.Query", "li.wei");
    let body = Body::Access(AccessBody {
        nonce: random::<16>().to_vec().into(),
        scope: line.scope as i32,
        query_id: line.query_id.as_bytes().to_vec().into(),
        method: line.method.into(),
        caller: line.caller,
        outcome: line.outcome,
        count: u32::try_from(n % 7).unwrap_or(0),
        ..Default::default()
    });
    NewEntry {
        body,
        expires_at: 0,
        private: None,
    }
}

/// The members, the root, and roster 1.
fn roster(
    federation: &FederationId,
    now: i64,
) -> Result<(Vec<DevMember>, SigningKey, RosterChain), FederationError> {
    let root = SigningKey::generate();
    let roots = [root.public_key().clone()];
    let lifetime_s = ROSTER_DAYS * crate::clock::DAY_S;
    let mut draft = Draft::first(federation, &roots, 1, now, lifetime_s);
    draft.wire.policy.get_or_insert_default().witness_quorum = 2;
    let mut members = vec![];
    let bureaus = [OWNER].into_iter().chain(WITNESSES);
    let roles = bureaus.map(|name| (name, MemberRole::Bureau));
    for (name_of, role) in roles.chain([(AUDITOR, MemberRole::Auditor)]) {
        let id = MemberId::new(name_of).map_err(name)?;
        let member = dev_member(federation, &id, role, now, &[])?;
        let endpoint = match role {
            MemberRole::Auditor => String::new(),
            _ => format!("{name_of}.example:7440"),
        };
        let mut lines = member.draft(&endpoint);
        if name_of == OWNER {
            let witnesses = WITNESSES.iter().map(|w| MemberId::new(w));
            lines.witnesses = witnesses.collect::<Result<_, _>>().map_err(name)?;
        }
        draft = draft.member(lines);
        members.push(member);
    }
    let chain = RosterChain::start(draft.digest(), &draft.sign(&[&root]), shares_fit)
        .map_err(crate::pki::PkiError::from)?;
    Ok((members, root, chain))
}
