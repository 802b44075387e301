//! Whole federations in one process, with the helpers that tests share.

use std::time::Duration;

use casegate::clock::Clock;
use casegate::element::Rules;
use casegate::federation::{Federation, FederationSpec, MemberSpec};
use casegate::ids::{FederationId, MemberId};
use casegate::roster::MemberRole;
use casegate::wire::v1::{self, DeskPurpose, ElementSpec, import_event::Event};

/// When tests take place: 2026-11-22T00:00:00Z, before the certificates' end.
pub(crate) const NOW: i64 = 1_795_305_600;

/// A federation in a directory of its own, under a manual clock.
pub(crate) struct Cluster {
    pub(crate) federation: Federation,
    pub(crate) clock: Clock,
    pub(crate) dir: tempfile::TempDir,
}

/// A member's id.
pub(crate) fn id(name: &str) -> MemberId {
    MemberId::new(name).expect("a member's name")
}

impl Cluster {
    /// Brings up `bureaus`, a department named `province`, and three custodians, 2 of 3.
    pub(crate) async fn new(bureaus: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let clock = Clock::manual(NOW);
        let member = |name: &str, role, replicate| MemberSpec {
            id: id(name),
            role,
            region: "anhui".into(),
            replicate,
        };
        let mut members: Vec<_> =
            bureaus.iter().map(|name| member(name, MemberRole::Bureau, true)).collect();
        members.push(member("province", MemberRole::Department, true));
        let custodians = ["court", "procuracy", "regulator"];
        members.extend(custodians.map(|name| member(name, MemberRole::Department, false)));
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
            behind: None,
        };
        let federation = Federation::launch(spec).await.expect("the federation comes up");
        Self { federation, clock, dir }
    }

    /// Imports a CSV as the member's officer and waits until it is published.
    pub(crate) async fn import(&self, member: &str, csv: &str) -> v1::ImportReport {
        let desk = self.federation.desk(&id(member)).expect("a desk client");
        let (sender, parts) = tokio::sync::mpsc::channel(4);
        let bytes = bytes::Bytes::from(csv.to_owned());
        sender
            .send(v1::ImportPart { options: None, bytes })
            .await
            .expect("the channel is open");
        drop(sender);
        let options = v1::ImportOptions {
            file_name: "cases.csv".into(),
            format: "csv".into(),
            wait: true,
            purpose: Some(purpose()),
            ..Default::default()
        };
        let mut events = desk.import(options, parts).await.expect("the import starts");
        let mut report = None;
        while let Some(event) = events.next().await.expect("the import goes on") {
            if let Event::Report(done) = event {
                report = Some(done);
            }
        }
        report.expect("a report at the end")
    }

    /// Waits until every replicating node holds every other's log to its end.
    pub(crate) async fn converge(&self) {
        wait_for("all replicas are complete", || self.converged()).await;
    }

    fn converged(&self) -> bool {
        use casegate::ids::LogName;
        self.federation.nodes.values().all(|node| {
            let parts = node.parts();
            !parts.replicate
                || self.federation.nodes.values().all(|other| {
                    let own = other.parts().ledger.own_log(LogName::Records);
                    parts.ledger.log(&own.origin).is_ok_and(|log| {
                        let head = log.head();
                        head.size() == own.size() && head.bodies_upto == own.size().0
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
    let waited = tokio::time::timeout(Duration::from_secs(60), waiting).await;
    assert!(waited.is_ok(), "waited in vain: {what}");
}
