//! Whole federations in one process, with the helpers that tests share.

pub(crate) mod link;

use std::sync::Arc;
use std::time::Duration;

use casegate::clock::Clock;
use casegate::element::Rules;
use casegate::federation::{Federation, FederationSpec, MemberSpec};
use casegate::ids::{FederationId, LogIndex, LogName, MemberId, Origin};
use casegate::ledger::BodyState;
use casegate::parts::Parts;
use casegate::roster::MemberRole;
use casegate::rpc::desk_client::{DeskCallError, DeskClient, FilePart};
use casegate::wire::v1::{self, DeskPurpose, ElementSpec, import_event::Event};

/// When tests take place: 2026-11-22T00:00:00Z, before the certificates' end.
pub(crate) const NOW: i64 = 1_795_305_600;

/// A federation in a directory of its own, under a manual clock.
pub(crate) struct Cluster {
    pub(crate) federation: Federation,
    pub(crate) clock: Clock,
    /// Removed when the cluster is dropped.
    _dir: tempfile::TempDir,
}

/// How long a condition is waited for before a test gives up: no measure of
/// anything, and long enough for a machine that is busy.
const WAIT_MAX: Duration = Duration::from_secs(300);

/// A member's id.
pub(crate) fn id(name: &str) -> MemberId {
    MemberId::new(name).expect("a member's name")
}

impl Cluster {
    /// Brings up `bureaus`, a department named `province`, and three custodians, 2 of 3.
    pub(crate) async fn new(bureaus: &[&str]) -> Self {
        Self::launch(bureaus, None, &[], Clock::manual(NOW)).await
    }

    /// As [`Cluster::new`], with the auditor `audit-office`, who has no node.
    pub(crate) async fn audited(bureaus: &[&str]) -> Self {
        Self::launch(bureaus, None, &["audit-office"], Clock::manual(NOW)).await
    }

    /// As [`Cluster::audited`], under the system's clock: for processes beside it.
    pub(crate) async fn audited_today(bureaus: &[&str]) -> Self {
        Self::launch(bureaus, None, &["audit-office"], Clock::System).await
    }

    /// As [`Cluster::new`], with room for something before the node of `member`.
    pub(crate) async fn behind(bureaus: &[&str], member: &str) -> Self {
        Self::launch(bureaus, Some(id(member)), &[], Clock::manual(NOW)).await
    }

    async fn launch(
        bureaus: &[&str],
        behind: Option<MemberId>,
        auditors: &[&str],
        clock: Clock,
    ) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let member = |name: &str, role, replicate| MemberSpec {
            id: id(name),
            role,
            region: "anhui".into(),
            replicate,
        };
        let mut members: Vec<_> = bureaus
            .iter()
            .map(|name| member(name, MemberRole::Bureau, true))
            .collect();
        members.push(member("province", MemberRole::Department, true));
        let custodians = ["court", "procuracy", "regulator"];
        members.extend(custodians.map(|name| member(name, MemberRole::Department, false)));
        let auditors = auditors.iter();
        members.extend(auditors.map(|name| member(name, MemberRole::Auditor, false)));
        let spec = FederationSpec {
            federation: FederationId::new("anhui.example").expect("a name"),
            dir: dir.path().join("federation"),
            members,
            custodians: custodians.map(id).to_vec(),
            threshold: 2,
            clock: clock.clone(),
            rules: Rules::default(),
            grants: vec![],
            cache_bytes: 4 << 20,
            behind,
        };
        let federation = Federation::launch(spec)
            .await
            .expect("the federation comes up");
        Self {
            federation,
            clock,
            _dir: dir,
        }
    }

    /// A desk client of the member's officer.
    pub(crate) fn desk(&self, member: &str) -> DeskClient {
        self.federation.desk(&id(member)).expect("a desk client")
    }

    /// The parts of a member's running node.
    pub(crate) fn parts(&self, member: &str) -> &Arc<Parts> {
        self.federation.nodes[&id(member)].parts()
    }

    /// Imports a CSV as the member's officer and waits until it is published.
    pub(crate) async fn import(&self, member: &str, csv: &str) -> v1::ImportReport {
        self.import_with(member, csv, import_options())
            .await
            .expect("an import")
            .0
    }

    /// Imports a CSV; returns the report and the refused rows.
    pub(crate) async fn import_with(
        &self,
        member: &str,
        csv: &str,
        options: v1::ImportOptions,
    ) -> Result<(v1::ImportReport, Vec<v1::Refusal>), DeskCallError> {
        let (sender, parts) = tokio::sync::mpsc::channel(4);
        let bytes = bytes::Bytes::from(csv.to_owned());
        for part in [FilePart::Bytes(bytes), FilePart::End] {
            sender.send(part).await.expect("the channel is open");
        }
        let mut events = self.desk(member).import(options, parts).await?;
        let (mut report, mut refusals) = (None, vec![]);
        while let Some(event) = events.next().await? {
            match event {
                Event::Report(done) => report = Some(done),
                Event::Refusal(refusal) => refusals.push(refusal),
                Event::Rows(_) | Event::Published(_) => {}
            }
        }
        Ok((report.expect("a report at the end"), refusals))
    }

    pub(crate) async fn stop(&mut self, member: &str) {
        self.federation.stop_node(&id(member)).await;
    }

    pub(crate) async fn restart(&mut self, member: &str) {
        self.federation
            .restart_node(&id(member))
            .await
            .expect("the node starts again");
    }

    /// How far `reader` is with the bodies of `owner`'s records log.
    pub(crate) fn bodies_upto(&self, reader: &str, owner: &str) -> u64 {
        let parts = self.parts(reader);
        parts
            .ledger
            .log(&records(owner))
            .map_or(0, |log| log.head().bodies_upto)
    }

    /// What `reader` holds of the bodies of `owner`'s records log.
    pub(crate) fn states(&self, reader: &str, owner: &str) -> Vec<BodyState> {
        let ledger = &self.parts(reader).ledger;
        let log = ledger.log(&records(owner)).expect("the log");
        ledger
            .body_states(log.number, LogIndex(0), log.size().0)
            .expect("states")
    }

    /// Waits until every replicating node holds every other's log to its end.
    pub(crate) async fn converge(&self) {
        wait_for("all replicas are complete", || self.converged()).await;
    }

    fn converged(&self) -> bool {
        self.federation.nodes.values().all(|node| {
            let parts = node.parts();
            !parts.replicate
                || self.federation.nodes.values().all(|other| {
                    let own = other.parts().ledger.own_log(LogName::Records);
                    parts.ledger.log(&own.origin).is_ok_and(|log| {
                        let head = log.head();
                        let open = parts.ledger.absent(&log, 1).is_ok_and(|a| a.is_empty());
                        let indexed = parts.ledger.postings().position(log.number);
                        head.size() == own.size()
                            && head.bodies_upto == own.size().0
                            && open
                            && indexed.is_ok_and(|at| at == own.size().0)
                    })
                })
        })
    }

    /// Asks about a case as the member's officer.
    pub(crate) async fn query(&self, member: &str, case_no: &str) -> v1::QueryResponse {
        let desk = self.federation.desk(&id(member)).expect("a desk client");
        let request = v1::QueryRequest {
            case_no: case_no.into(),
            elements: Vec::<ElementSpec>::new(),
            add: false,
            purpose: Some(purpose()),
        };
        desk.query(request).await.expect("an answer")
    }

    /// Takes a case of a member back, as a mistake.
    pub(crate) async fn retract(&self, member: &str, case_no: &str) -> v1::RetractResponse {
        let request = v1::RetractRequest {
            case_no: case_no.into(),
            element: None,
            reason: v1::RetractReason::Mistake.into(),
            dry_run: false,
        };
        let done = self.desk(member).retract(request).await;
        done.expect("retracted")
    }
}

/// The records log of a member.
pub(crate) fn records(member: &str) -> Origin {
    Origin {
        federation: FederationId::new("anhui.example").expect("a name"),
        member: id(member),
        log: LogName::Records,
        generation: 1,
    }
}

/// A CSV that is published before the answer ends.
pub(crate) fn import_options() -> v1::ImportOptions {
    v1::ImportOptions {
        file_name: "cases.csv".into(),
        format: "csv".into(),
        wait: true,
        purpose: Some(purpose()),
        ..Default::default()
    }
}

/// A purpose that says all it must.
pub(crate) fn purpose() -> DeskPurpose {
    DeskPurpose {
        offence: "fraud".into(),
        reason: "test".into(),
        urgency: "routine".into(),
    }
}

/// Waits until `done`, at most a minute; the condition is looked at again and again.
pub(crate) async fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let waiting = async {
        let mut looks = tokio::time::interval(Duration::from_millis(10));
        while !done() {
            looks.tick().await;
        }
    };
    let waited = tokio::time::timeout(WAIT_MAX, waiting).await;
    assert!(waited.is_ok(), "waited in vain: {what}");
}
