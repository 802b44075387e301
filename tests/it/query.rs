//! What an officer may ask, what is refused, and that all of it is in the
//! access log, signed by the officer.

use std::sync::Arc;

use arc_swap::ArcSwap;
use casegate::access::AccessLine;
use casegate::access::officer::{Signed, redacted, verify_officer};
use casegate::clock::DAY_S;
use casegate::federation::OFFICER;
use casegate::ids::OfficerName;
use casegate::peers::status::code_of;
use casegate::record::AccessBody;
use casegate::rpc::desk_client::DeskCallError;
use casegate::rpc::desk_client::signature::sign;
use casegate::tls::connector;
use casegate::wire::v1::desk_client::DeskClient as RawDesk;
use casegate::wire::v1::{
    self, AccessScope, AddCaseRequest, CaseRow, CloseCaseRequest, DeskPurpose, ElementSpec,
    LinksRequest, QueryRequest,
};
use prost::Message;
use tonic::transport::{Channel, Endpoint};

use crate::cluster::{Cluster, NOW, id, purpose};

const HEFEI: &str = "case_no,category,kind,value,role\n\
    HF-1,loan-fraud,domain,loan.example,suspect\n\
    HF-2,loan-fraud,domain,bank.example,suspect\n";
const WUHU: &str = "case_no,category,kind,value,role\n\
    WH-7,loan-fraud,domain,loan.example,suspect\n\
    WH-7,loan-fraud,domain,added.example,suspect\n";

fn query(case_no: &str) -> QueryRequest {
    QueryRequest {
        case_no: case_no.into(),
        elements: vec![],
        add: false,
        purpose: Some(purpose()),
    }
}

fn domain(value: &str) -> ElementSpec {
    ElementSpec {
        kind: "domain".into(),
        value: value.into(),
        ..Default::default()
    }
}

fn links(operation: &str) -> LinksRequest {
    LinksRequest {
        operation: operation.into(),
        purpose: Some(purpose()),
        ..Default::default()
    }
}

/// The code of a refusal.
fn code<T: std::fmt::Debug>(answer: Result<T, DeskCallError>) -> String {
    answer.expect_err("a refusal").shown_code().to_owned()
}

/// The newest line of a member's access log.
async fn newest(cluster: &Cluster, member: &str) -> AccessBody {
    let access = cluster.parts(member).access.clone();
    let lines = tokio::task::spawn_blocking(move || access.newest(1))
        .await
        .expect("read");
    lines.expect("read").pop().expect("a line").1
}

/// The newest line says so, and the officer's signature in it holds.
async fn logged<R: Signed>(
    cluster: &Cluster,
    member: &str,
    (method, request): (&str, &R),
    outcome: &str,
) {
    let line = newest(cluster, member).await;
    assert_eq!(
        (line.method.as_str(), line.outcome.as_str()),
        (method, outcome)
    );
    assert_eq!(line.caller, "officer");
    let (cert, signed) = (&line.officer_certificate, &line.officer_request);
    let said = verify_officer(cert, signed, &line.officer_signature).expect("the officer signed");
    assert_eq!(said.method, method);
    // Without values, the request stands there as it was asked.
    let bare = redacted(request, &[0; 32]).request;
    assert_eq!(said.request.len(), bare.len(), "what {method} asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_needs_an_open_case_its_element_and_a_purpose_and_is_logged_either_way() {
    let cluster = Cluster::new(&["hefei", "wuhu"]).await;
    cluster.import("hefei", HEFEI).await;
    cluster.import("wuhu", WUHU).await;
    cluster.converge().await;
    let desk = cluster.desk("hefei");

    let request = query("HF-404");
    assert_eq!(code(desk.query(request.clone()).await), "case.unknown");
    logged(&cluster, "hefei", ("Desk.Query", &request), "case.unknown").await;

    let request = QueryRequest {
        elements: vec![domain("other.example")],
        ..query("HF-1")
    };
    assert_eq!(code(desk.query(request.clone()).await), "query.not_in_case");
    logged(
        &cluster,
        "hefei",
        ("Desk.Query", &request),
        "query.not_in_case",
    )
    .await;
    let request = QueryRequest {
        elements: vec![domain("bank.example")],
        ..query("HF-1")
    };
    assert_eq!(
        code(desk.query(request).await),
        "query.not_in_case",
        "another case's element"
    );
    let request = QueryRequest {
        elements: vec![domain("not a domain")],
        ..query("HF-1")
    };
    assert_eq!(code(desk.query(request).await), "query.bad_element");

    for (offence, reason) in [("", "why"), ("fraud", ""), (" ", "\t")] {
        let given = DeskPurpose {
            offence: offence.into(),
            reason: reason.into(),
            ..Default::default()
        };
        let request = QueryRequest {
            purpose: Some(given),
            ..query("HF-1")
        };
        assert_eq!(code(desk.query(request.clone()).await), "query.no_purpose");
        logged(
            &cluster,
            "hefei",
            ("Desk.Query", &request),
            "query.no_purpose",
        )
        .await;
    }
    let request = QueryRequest {
        purpose: None,
        ..query("HF-1")
    };
    assert_eq!(code(desk.query(request).await), "query.no_purpose");

    let request = QueryRequest {
        elements: vec![domain("LOAN.example")],
        ..query("HF-1")
    };
    let answer = desk.query(request.clone()).await.expect("an answer");
    assert_eq!((answer.elements_asked, answer.matches.len()), (1, 1));
    assert!(
        answer
            .replicas
            .iter()
            .any(|r| r.member == "wuhu" && r.age_s == 0)
    );
    logged(&cluster, "hefei", ("Desk.Query", &request), "ok").await;
    let line = newest(&cluster, "hefei").await;
    assert_eq!((line.count, line.purposes.len()), (1, 1));
    let opened = v1::Purpose::decode(line.purposes[0].purpose.clone()).expect("a purpose");
    assert_eq!(
        (opened.case_no.as_str(), opened.officer.as_str()),
        ("HF-1", "officer")
    );

    desk.close_case(CloseCaseRequest {
        case_no: "HF-1".into(),
    })
    .await
    .expect("closed");
    let request = query("HF-1");
    assert_eq!(code(desk.query(request.clone()).await), "case.closed");
    logged(&cluster, "hefei", ("Desk.Query", &request), "case.closed").await;
    cluster.federation.stop().await;
}

/// Gives hefei's officer these rights and no others.
async fn set_rights(cluster: &Cluster, rights: &[&str]) {
    let officers = cluster.parts("hefei").officers.clone();
    let rights: Vec<_> = rights.iter().map(ToString::to_string).collect();
    let set = move || officers.set(&OfficerName::new(OFFICER).expect("a name"), &rights);
    let set = tokio::task::spawn_blocking(set).await.expect("it ends");
    set.expect("set");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_with_add_publishes_the_element_first() {
    let cluster = Cluster::new(&["hefei", "wuhu"]).await;
    cluster.import("hefei", HEFEI).await;
    cluster.import("wuhu", WUHU).await;
    cluster.converge().await;
    let desk = cluster.desk("hefei");
    let with = |case_no: &str, value: &str| QueryRequest {
        elements: vec![domain(value)],
        add: true,
        ..query(case_no)
    };

    let request = with("HF-404", "added.example");
    assert_eq!(
        code(desk.query(request.clone()).await),
        "case.unknown",
        "no case is made up"
    );
    logged(&cluster, "hefei", ("Desk.Query", &request), "case.unknown").await;

    let size = |member: &str| {
        cluster
            .parts(member)
            .ledger
            .own_log(casegate::ids::LogName::Records)
            .size()
            .0
    };
    let before = size("hefei");
    set_rights(&cluster, &["query", "admin"]).await;
    let request = with("HF-2", "added.example");
    assert_eq!(
        code(desk.query(request.clone()).await),
        "policy.missing_right",
        "to ask is not to publish"
    );
    logged(
        &cluster,
        "hefei",
        ("Desk.Query", &request),
        "policy.missing_right",
    )
    .await;
    let ledger = &cluster.parts("hefei").ledger;
    assert!(size("hefei") == before && ledger.is_queue_empty());
    desk.query(query("HF-2")).await.expect("asking goes on");
    set_rights(&cluster, &["query", "admin", "publish"]).await;
    let answer = desk
        .query(with("HF-2", "added.example"))
        .await
        .expect("an answer");
    assert_eq!(answer.matches.len(), 1, "{answer:?}");
    assert_eq!(answer.matches[0].member, "wuhu");
    assert_eq!(
        size("hefei"),
        before + 1,
        "the element is in the log before the answer"
    );
    desk.query(with("HF-2", "added.example"))
        .await
        .expect("an answer");
    assert_eq!(size("hefei"), before + 1, "and only once");
    cluster.converge().await;
    let theirs = cluster.query("wuhu", "WH-7").await;
    assert!(
        theirs
            .matches
            .iter()
            .any(|m| m.member == "hefei" && m.value == "added.example")
    );
    cluster.federation.stop().await;
}

fn operation(number: &str, ends_at: i64, regions: &[&str]) -> AddCaseRequest {
    let row = CaseRow {
        case_no: number.into(),
        category: "loan-fraud".into(),
        operation: true,
        ends_at,
        regions: regions.iter().map(ToString::to_string).collect(),
        ..Default::default()
    };
    AddCaseRequest { row: Some(row) }
}

#[tokio::test(flavor = "multi_thread")]
async fn links_need_an_operation_of_the_askers_own_that_has_not_ended() {
    let cluster = Cluster::new(&["hefei", "wuhu"]).await;
    cluster.import("hefei", HEFEI).await;
    cluster.import("wuhu", WUHU).await;
    cluster.converge().await;
    let province = cluster.desk("province");
    province
        .add_case(operation("OP-1", NOW + DAY_S, &["anhui"]))
        .await
        .expect("added");
    province
        .add_case(operation("OP-2", 0, &["jiangsu"]))
        .await
        .expect("added");

    let answer = province.links(links("OP-1")).await.expect("an answer");
    assert_eq!(
        (answer.pairs.len(), answer.shared_tokens),
        (1, 1),
        "{answer:?}"
    );
    logged(&cluster, "province", ("Desk.Links", &links("OP-1")), "ok").await;
    for (category, found) in [("loan-fraud", (1, 1)), ("other", (0, 0))] {
        let mut request = links("OP-1");
        request.categories = vec![category.into()];
        let answer = province.links(request).await.expect("an answer");
        assert_eq!(
            (answer.pairs.len(), answer.shared_tokens),
            found,
            "{category}"
        );
    }
    let mut request = links("OP-1");
    request.by = "token".into();
    let answer = province.links(request).await.expect("an answer");
    assert_eq!(
        (answer.tokens.len(), answer.pairs.len()),
        (1, 0),
        "{answer:?}"
    );
    let answer = province.links(links("OP-2")).await.expect("an answer");
    assert!(answer.pairs.is_empty(), "nobody is in the other region");

    assert_eq!(code(province.links(links("OP-9")).await), "case.unknown");
    logged(
        &cluster,
        "province",
        ("Desk.Links", &links("OP-9")),
        "case.unknown",
    )
    .await;
    let unexplained = LinksRequest {
        purpose: None,
        ..links("OP-1")
    };
    assert_eq!(
        code(province.links(unexplained.clone()).await),
        "query.no_purpose"
    );
    logged(
        &cluster,
        "province",
        ("Desk.Links", &unexplained),
        "query.no_purpose",
    )
    .await;

    let hefei = cluster.desk("hefei");
    assert_eq!(
        code(hefei.links(links("OP-1")).await),
        "case.unknown",
        "another's operation"
    );
    assert_eq!(
        code(hefei.links(links("HF-1")).await),
        "case.not_an_operation"
    );
    logged(
        &cluster,
        "hefei",
        ("Desk.Links", &links("HF-1")),
        "case.not_an_operation",
    )
    .await;

    cluster.clock.advance(DAY_S);
    assert_eq!(code(province.links(links("OP-1")).await), "case.ended");
    logged(
        &cluster,
        "province",
        ("Desk.Links", &links("OP-1")),
        "case.ended",
    )
    .await;
    province
        .links(links("OP-2"))
        .await
        .expect("one without an end goes on");
    province
        .close_case(CloseCaseRequest {
            case_no: "OP-2".into(),
        })
        .await
        .expect("closed");
    assert_eq!(code(province.links(links("OP-2")).await), "case.closed");
    cluster.federation.stop().await;
}

/// A desk client that signs nothing of itself.
fn raw_desk(cluster: &Cluster, member: &str) -> RawDesk<Channel> {
    let (_, desk) = cluster
        .federation
        .addresses(&id(member))
        .expect("an address");
    let roster = Arc::new(ArcSwap::from(cluster.parts(member).rosters.newest()));
    let material = cluster.federation.officer(&id(member)).expect("an officer");
    let connector = connector(material, roster, cluster.clock.clone(), id(member));
    let endpoint = Endpoint::from_shared(format!("http://{desk}")).expect("an address");
    RawDesk::new(endpoint.connect_with_connector_lazy(connector))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_its_officer_did_not_sign_is_refused_and_logged() {
    let cluster = Cluster::new(&["hefei", "wuhu"]).await;
    cluster.import("hefei", HEFEI).await;
    let mut desk = raw_desk(&cluster, "hefei");
    let own = cluster
        .federation
        .officer(&id("hefei"))
        .expect("an officer");
    let other = cluster.federation.officer(&id("wuhu")).expect("an officer");

    let unsigned = desk.query(v1::SignedCall::default()).await;
    let unsigned = unsigned.expect_err("refused");
    assert_eq!(code_of(&unsigned), "officer.unsigned");
    let line = newest(&cluster, "hefei").await;
    assert_eq!(
        (line.outcome.as_str(), line.officer_signature.len()),
        ("officer.unsigned", 0)
    );
    assert!(
        line.purposes.is_empty(),
        "a purpose that nobody signed is not his"
    );

    let signed = |material, request: &QueryRequest| sign(material, NOW, request).expect("signed");
    let asked = signed(&own, &query("HF-1"));
    let mut other_case = signed(&own, &query("HF-2"));
    other_case.signature = asked.signature.clone();
    let for_hits = sign(&own, NOW, &v1::HitsRequest::default()).expect("signed");
    let wrong = [
        ("another officer's", signed(&other, &query("HF-1"))),
        ("for another case", other_case),
        ("for another method", for_hits),
    ];
    for (what, call) in wrong {
        let refused = desk.query(call).await.expect_err(what);
        assert_eq!(code_of(&refused), "officer.bad_signature", "{what}");
    }
    let unsigned = desk.retract(v1::SignedCall::default());
    assert_eq!(
        code_of(&unsigned.await.expect_err("refused")),
        "officer.unsigned"
    );
    let access = cluster.parts("hefei").access.clone();
    let lines = tokio::task::spawn_blocking(move || access.newest(100)).await;
    let lines = lines.expect("read").expect("read");
    let lines = lines.iter().map(|(_, line)| line);
    let refused = lines.filter(|line| line.outcome.starts_with("officer."));
    let refused: Vec<_> = refused
        .map(|line| (&*line.method, &*line.outcome, line.count))
        .collect();
    let told = [
        ("Desk.Query", "officer.unsigned", 1),
        ("Desk.Query", "officer.bad_signature", 1),
        ("Desk.Retract", "officer.unsigned", 1),
    ];
    assert_eq!(
        refused, told,
        "the others are counted and told within a minute"
    );
    desk.query(asked)
        .await
        .expect("what the officer signed is answered");
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_does_not_leave_before_its_line_is_durable() {
    let mut cluster = Cluster::new(&["hefei"]).await;
    cluster.import("hefei", HEFEI).await;
    for _ in 0..5 {
        cluster.query("hefei", "HF-1").await;
    }
    let lines = |cluster: &Cluster| {
        let lines = cluster.parts("hefei").access.newest(100).expect("read");
        lines
            .iter()
            .filter(|(_, line)| line.method == "Desk.Query")
            .count()
    };
    assert_eq!(lines(&cluster), 5);
    cluster.stop("hefei").await;
    cluster.restart("hefei").await;
    assert_eq!(lines(&cluster), 5);
    let parts = Arc::clone(cluster.parts("hefei"));
    let logged = tokio::task::spawn_blocking(move || {
        let line = AccessLine::new(AccessScope::Local, "test", "nobody");
        parts.access.write(line).expect("written");
        let log = Arc::clone(parts.ledger.own_log(casegate::ids::LogName::Access));
        let roster = parts.rosters.newest();
        let author = roster.member(&id("hefei")).expect("a member").clone();
        parts
            .ledger
            .verify_log(&log, &author)
            .expect("the access log verifies")
            .size
    });
    assert!(logged.await.expect("verified").0 > 5);
    cluster.federation.stop().await;
}
