//! Officers and their rights, files through the desk, and custodians that are down.

use std::sync::Arc;

use arc_swap::ArcSwap;
use casegate::federation::OFFICER;
use casegate::ids::{LogIndex, LogName, OfficerName};
use casegate::postings::Pointer;
use casegate::publish::PublishState;
use casegate::rpc::desk_client::{DeskCallError, DeskClient, FilePart};
use casegate::wire::v1::{
    self, AddCaseRequest, AddOfficerRequest, CaseRow, ImportOptions, ListCasesRequest,
    ListOfficersRequest, QueryRequest, ShowLogRequest, SuspendOfficerRequest,
};

use crate::cluster::link::Link;
use crate::cluster::{Cluster, id, import_options, purpose, wait_for};
use crate::tamper::postings;

const HEADER: &str = "case_no,category,kind,value,role,observed_on\n";

fn csv(rows: &[&str]) -> String {
    format!("{HEADER}{}\n", rows.join("\n"))
}

fn code<T: std::fmt::Debug>(answer: Result<T, DeskCallError>) -> String {
    answer.expect_err("a refusal").shown_code().to_owned()
}

async fn set_rights(cluster: &Cluster, member: &str, name: &'static str, rights: &[&str]) {
    let officers = cluster.parts(member).officers.clone();
    let rights: Vec<_> = rights.iter().map(ToString::to_string).collect();
    let set = move || officers.set(&OfficerName::new(name).expect("a name"), &rights);
    tokio::task::spawn_blocking(set)
        .await
        .expect("set")
        .expect("set");
}

fn query() -> QueryRequest {
    QueryRequest {
        case_no: "HF-1".into(),
        purpose: Some(purpose()),
        ..Default::default()
    }
}

fn suspend(name: &str, restore: bool) -> SuspendOfficerRequest {
    SuspendOfficerRequest {
        name: name.into(),
        restore,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_officer_does_what_his_rights_say_and_no_more() {
    let cluster = Cluster::new(&["hefei"]).await;
    cluster
        .import(
            "hefei",
            &csv(&["HF-1,loan-fraud,domain,loan.example,suspect,"]),
        )
        .await;
    let desk = cluster.desk("hefei");
    let boss = AddOfficerRequest {
        name: "boss".into(),
        rights: vec!["admin".into()],
    };
    desk.add_officer(boss).await.expect("another admin");
    let row = CaseRow {
        case_no: "HF-9".into(),
        category: "x".into(),
        ..Default::default()
    };
    let add_case = AddCaseRequest { row: Some(row) };

    set_rights(&cluster, "hefei", OFFICER, &["query"]).await;
    desk.query(query()).await.expect("he may query");
    assert_eq!(
        code(desk.add_case(add_case.clone()).await),
        "policy.missing_right"
    );
    assert_eq!(
        code(cluster.import_with("hefei", HEADER, import_options()).await),
        "policy.missing_right"
    );
    assert_eq!(
        code(desk.list_officers(ListOfficersRequest {}).await),
        "policy.missing_right"
    );
    assert_eq!(
        code(desk.show_log(ShowLogRequest::default()).await),
        "policy.missing_right"
    );
    assert_eq!(
        code(desk.suspend_officer(suspend("boss", false)).await),
        "policy.missing_right",
        "nobody suspends his admin"
    );
    let lines = cluster.parts("hefei").access.newest(1).expect("read");
    assert_eq!(
        lines[0].1.outcome, "policy.missing_right",
        "a denial is logged"
    );
    assert_eq!(lines[0].1.method, "Desk.SuspendOfficer");

    set_rights(&cluster, "hefei", OFFICER, &["publish"]).await;
    desk.add_case(add_case).await.expect("he may publish");
    assert_eq!(code(desk.query(query()).await), "policy.missing_right");
    assert_eq!(
        code(desk.list_cases(ListCasesRequest::default()).await),
        "policy.missing_right"
    );
    set_rights(&cluster, "hefei", OFFICER, &[]).await;
    assert_eq!(code(desk.query(query()).await), "policy.missing_right");
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_officer_is_out_at_once_on_an_open_connection_until_restored() {
    let mut cluster = Cluster::new(&["hefei"]).await;
    cluster
        .import(
            "hefei",
            &csv(&["HF-1,loan-fraud,domain,loan.example,suspect,"]),
        )
        .await;
    let desk = cluster.desk("hefei");
    desk.query(query()).await.expect("the connection is open");
    assert_eq!(
        code(desk.suspend_officer(suspend(OFFICER, false)).await),
        "officer.last_admin"
    );
    desk.query(query()).await.expect("the last admin stays");
    assert_eq!(
        code(desk.suspend_officer(suspend("nobody", false)).await),
        "officer.unknown"
    );

    let boss = AddOfficerRequest {
        name: "boss".into(),
        rights: vec!["admin".into()],
    };
    desk.add_officer(boss).await.expect("another admin");
    desk.suspend_officer(suspend(OFFICER, false))
        .await
        .expect("he suspends himself");
    let refused = code(desk.query(query()).await);
    assert_eq!(
        refused, "policy.not_listed",
        "the very next call on that connection"
    );
    assert_eq!(
        code(desk.get_status(v1::GetStatusRequest {}).await),
        refused
    );
    assert_eq!(
        code(desk.suspend_officer(suspend(OFFICER, true)).await),
        refused
    );
    assert_eq!(
        code(cluster.desk("hefei").query(query()).await),
        refused,
        "on a new one too"
    );
    cluster.stop("hefei").await;
    cluster.restart("hefei").await;
    assert_eq!(
        code(cluster.desk("hefei").query(query()).await),
        refused,
        "after a restart too"
    );

    let officers = cluster.parts("hefei").officers.clone();
    let name = OfficerName::new(OFFICER).expect("a name");
    let restore = move || officers.suspend(&name, false);
    tokio::task::spawn_blocking(restore)
        .await
        .expect("restored")
        .expect("restored");
    cluster
        .desk("hefei")
        .query(query())
        .await
        .expect("he is back");
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_officer_of_another_member_is_refused() {
    let cluster = Cluster::new(&["hefei", "wuhu"]).await;
    cluster
        .import(
            "hefei",
            &csv(&["HF-1,loan-fraud,domain,loan.example,suspect,"]),
        )
        .await;
    let (peer, desk) = cluster
        .federation
        .addresses(&id("hefei"))
        .expect("addresses");
    let roster = Arc::new(ArcSwap::from(cluster.parts("hefei").rosters.newest()));
    let client = |member: &str, address: std::net::SocketAddr| {
        let material = cluster.federation.officer(&id(member)).expect("an officer");
        let roster = Arc::clone(&roster);
        let (clock, at) = (cluster.clock.clone(), address.to_string());
        DeskClient::new(material, roster, clock, id("hefei"), &at).expect("a client")
    };
    let before = cluster
        .parts("hefei")
        .access
        .newest(100)
        .expect("read")
        .len();
    let refused = client("wuhu", desk)
        .query(query())
        .await
        .expect_err("refused");
    assert!(
        matches!(refused, DeskCallError::Tls(_)),
        "at the handshake: {refused}"
    );
    let refused = client("hefei", peer)
        .query(query())
        .await
        .expect_err("refused");
    assert!(
        matches!(refused, DeskCallError::Tls(_)),
        "officers do not call peers: {refused}"
    );
    assert_eq!(
        cluster
            .parts("hefei")
            .access
            .newest(100)
            .expect("read")
            .len(),
        before
    );
    client("hefei", desk)
        .query(query())
        .await
        .expect("the own officer is answered");
    cluster.federation.stop().await;
}

fn bureau_state(cluster: &Cluster) -> (u64, usize, bool, usize) {
    let parts = cluster.parts("hefei");
    (
        parts.ledger.own_log(LogName::Records).size().0,
        parts.cases.all().expect("cases").len(),
        parts.ledger.is_queue_empty(),
        parts.ledger.notes().expect("notes").len(),
    )
}

const MIXED: &[&str] = &[
    "HF-1,loan-fraud,domain,loan.example,suspect,",
    "HF-1,loan-fraud,bank-card,6222020000000000001,suspect,",
    "HF-2,loan-fraud,domain,bank.example,suspect,2026-02-30",
    "HF-2,loan-fraud,nonsense,x,suspect,",
    "HF-2,loan-fraud,person,张三,suspect,",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_counts_and_changes_nothing() {
    let cluster = Cluster::new(&["hefei"]).await;
    let options = |preview| ImportOptions {
        preview,
        ..import_options()
    };
    let before = bureau_state(&cluster);
    let (preview, refused) = cluster
        .import_with("hefei", &csv(MIXED), options(true))
        .await
        .expect("a preview");
    assert_eq!(bureau_state(&cluster), before);
    let (done, refused_then) = cluster
        .import_with("hefei", &csv(MIXED), options(false))
        .await
        .expect("an import");
    assert_eq!(refused, refused_then);
    assert_eq!(preview.refusals, done.refusals);
    assert_eq!(preview, done, "the preview said what the import did");
    assert_eq!(done.rows, done.elements + done.refused + done.duplicates);
    let changed = csv(&["HF-1,loan-fraud,domain,loan.example,suspect,2026-01-01"]);
    let before = bureau_state(&cluster);
    let (preview, _) = cluster
        .import_with("hefei", &changed, options(true))
        .await
        .expect("a preview");
    assert_eq!((preview.amendments, preview.fresh), (1, 0));
    assert_eq!(bureau_state(&cluster), before);
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bare_name_is_kept_once_at_home_and_never_published() {
    let mut cluster = Cluster::new(&["hefei"]).await;
    let names = csv(&["HF-2,loan-fraud,person,张三,suspect,"]);
    let report = cluster.import("hefei", &names).await;
    assert_eq!((report.fresh, report.not_linkable), (1, 1));
    assert_eq!(bureau_state(&cluster), (0, 1, true, 1));
    let report = cluster.import("hefei", &names).await;
    assert_eq!(
        (report.fresh, report.unchanged),
        (0, 1),
        "the same file twice"
    );
    cluster.stop("hefei").await;
    let index = cluster
        .federation
        .member_dir(&id("hefei"))
        .join("store")
        .join("index");
    std::fs::remove_dir_all(index).expect("removed");
    cluster.restart("hefei").await;
    let report = cluster.import("hefei", &names).await;
    assert_eq!(
        (report.fresh, report.unchanged),
        (0, 1),
        "with a lost index too"
    );
    assert_eq!(bureau_state(&cluster), (0, 1, true, 1));
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_rows_are_told_with_line_column_and_code_and_can_be_mended() {
    let cluster = Cluster::new(&["hefei"]).await;
    let (report, refused) = cluster
        .import_with("hefei", &csv(MIXED), import_options())
        .await
        .expect("an import");
    assert_eq!((report.rows, report.refused, report.fresh), (5, 3, 2));
    let told: Vec<_> = refused
        .iter()
        .map(|r| (r.line, r.column.as_str(), r.code.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (3, "value", "bank_card.luhn"),
            (4, "observed_on", "intake.date"),
            (5, "kind", "intake.unknown_kind"),
        ]
    );
    assert!(refused.iter().all(|r| !r.sentence.is_empty()));
    assert_eq!(
        refused[0].record[3], "6222020000000000001",
        "the row comes back as it was"
    );

    let mended: Vec<_> = refused
        .iter()
        .map(|r| {
            let mut fields = r.record.clone();
            match r.code.as_str() {
                "bank_card.luhn" => fields[3] = with_check_digit("622202000000000000"),
                "intake.date" => fields[5] = "2026-02-28".into(),
                _ => (fields[2], fields[3]) = ("qq".into(), "123456789".into()),
            }
            fields.join(",")
        })
        .collect();
    let mended = csv(&mended.iter().map(String::as_str).collect::<Vec<_>>());
    let (report, refused) = cluster
        .import_with("hefei", &mended, import_options())
        .await
        .expect("an import");
    assert_eq!((report.fresh, report.refused), (3, 0), "{refused:?}");
    cluster.federation.stop().await;
}

/// Appends the Luhn check digit.
fn with_check_digit(digits: &str) -> String {
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(at, digit)| {
            let digit = u32::from(digit - b'0') * if at % 2 == 0 { 2 } else { 1 };
            digit / 10 + digit % 10
        })
        .sum();
    format!("{digits}{}", (10 - sum % 10) % 10)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_breaks_off_is_resumed_by_the_whole_file_again() {
    let cluster = Cluster::new(&["hefei", "wuhu"]).await;
    // The value comes last, so that a cut row looks like a whole one; rows are
    // long, since the reader looks 64 KiB ahead of the row it takes.
    let pad = "x".repeat(60);
    let row = |n: u32| {
        format!(
            "HF-{},loan-fraud,domain,suspect,d{n}.{pad}.{pad}.example\n",
            n / 10
        )
    };
    let rows: String = (0..2_000).map(row).collect();
    let file = format!("case_no,category,kind,role,value\n{rows}");
    let part = file.find("d1500").expect("the row") + 100;

    let (_, address) = cluster
        .federation
        .addresses(&id("hefei"))
        .expect("an address");
    let link = Link::start(address, &[]).await;
    let desk = DeskClient::new(
        cluster
            .federation
            .officer(&id("hefei"))
            .expect("an officer"),
        Arc::new(ArcSwap::from(cluster.parts("hefei").rosters.newest())),
        cluster.clock.clone(),
        id("hefei"),
        &link.address.to_string(),
    )
    .expect("a client");
    let (sender, parts) = tokio::sync::mpsc::channel(1);
    let mut events = desk
        .import(import_options(), parts)
        .await
        .expect("it starts");
    let bytes = bytes::Bytes::from(file[..part].to_owned());
    sender.send(FilePart::Bytes(bytes)).await.expect("sent");
    wait_for("rows of the first part are taken in", || {
        cluster
            .parts("hefei")
            .cases
            .find("HF-1")
            .is_ok_and(|c| c.is_some())
    })
    .await;
    link.cut();
    while let Ok(Some(_)) = events.next().await {}
    drop(sender);

    let report = cluster.import("hefei", &file).await;
    assert_eq!(
        (report.rows, report.elements, report.refused),
        (2_000, 2_000, 0)
    );
    let report = cluster.import("hefei", &file).await;
    assert_eq!((report.fresh, report.unchanged), (0, 2_000));
    let parts = cluster.parts("hefei");
    let whole = |parts: &casegate::parts::Parts| {
        let elements = parts
            .ledger
            .postings()
            .count_pointers(Pointer::Row)
            .expect("rows");
        (elements, parts.cases.all().expect("cases").len())
    };
    let cases: std::collections::BTreeSet<_> = parts
        .cases
        .all()
        .expect("cases")
        .into_iter()
        .map(|c| c.case_no)
        .collect();
    assert_eq!(
        cases.len(),
        200,
        "no row was cut in the middle: {:?}",
        whole(parts)
    );
    assert_eq!(whole(parts).0, 2_000);
    assert_eq!(
        parts.ledger.own_log(LogName::Records).size().0,
        2_200,
        "and a notice a case"
    );
    cluster.converge().await;
    assert_eq!(postings(&cluster.parts("wuhu").ledger).len(), 2_000);
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_custodian_of_three_may_be_down() {
    let mut cluster = Cluster::new(&["hefei", "wuhu"]).await;
    cluster.stop("procuracy").await;
    let phones = ["HF-1,loan-fraud,phone,13800138000,suspect,"];
    let report = cluster.import("hefei", &csv(&phones)).await;
    assert_eq!(report.fresh, 1);
    assert_eq!(
        cluster
            .parts("hefei")
            .ledger
            .own_log(LogName::Records)
            .size()
            .0,
        2
    );
    cluster.restart("procuracy").await;
    cluster.stop("court").await;
    cluster
        .import(
            "wuhu",
            &csv(&["WH-1,loan-fraud,phone,13800138000,suspect,"]),
        )
        .await;
    cluster.converge().await;
    let answer = cluster.query("wuhu", "WH-1").await;
    assert_eq!(
        answer.matches.len(),
        1,
        "any two make the same token: {answer:?}"
    );
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_two_custodians_down_elements_wait_survive_a_restart_and_drain_by_themselves() {
    let mut cluster = Cluster::new(&["hefei", "wuhu"]).await;
    cluster.stop("procuracy").await;
    cluster.stop("court").await;
    let first = csv(&[
        "HF-1,loan-fraud,phone,13800138000,suspect,2026-01-01",
        "HF-1,loan-fraud,domain,loan.example,suspect,",
    ]);
    let report = cluster.import("hefei", &first).await;
    assert_eq!(
        (report.fresh, report.refused),
        (2, 0),
        "an import does not fail for that"
    );
    let size = |cluster: &Cluster| {
        cluster
            .parts("hefei")
            .ledger
            .own_log(LogName::Records)
            .size()
            .0
    };
    assert_eq!(size(&cluster), 0);
    let waits = |cluster: &Cluster| !cluster.parts("hefei").ledger.is_queue_empty();
    assert!(waits(&cluster));
    let state = cluster.parts("hefei").publisher.state();
    wait_for(
        "the node says what it waits for",
        || matches!(&*state.borrow(), PublishState::Waiting(why) if !why.is_empty()),
    )
    .await;
    // The same rows once more, one of them corrected meanwhile.
    let corrected = csv(&["HF-1,loan-fraud,phone,13800138000,suspect,2026-05-05"]);
    cluster.import("hefei", &corrected).await;

    cluster.stop("hefei").await;
    cluster.restart("hefei").await;
    assert!(waits(&cluster), "the queue is durable");
    assert_eq!(size(&cluster), 0);
    cluster.restart("court").await;
    wait_for("the queue drains by itself", || {
        !waits(&cluster) && size(&cluster) > 0
    })
    .await;
    let ledger = &cluster.parts("hefei").ledger;
    assert_eq!(
        ledger
            .postings()
            .count_pointers(Pointer::Row)
            .expect("rows"),
        2
    );
    let days: Vec<_> = (0..size(&cluster))
        .filter_map(|at| ledger.element(0, LogIndex(at)).expect("readable"))
        .map(|e| e.body.observed_on)
        .filter(|day| *day != 0)
        .collect();
    assert_eq!(days, [20_578], "the corrected date counts: 2026-05-05");
    cluster
        .import(
            "wuhu",
            &csv(&["WH-1,loan-fraud,phone,13800138000,suspect,"]),
        )
        .await;
    cluster.converge().await;
    assert_eq!(cluster.query("wuhu", "WH-1").await.matches.len(), 1);
    cluster.federation.stop().await;
}
