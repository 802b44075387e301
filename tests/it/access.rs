//! The access log is complete and true: whatever an officer or a node calls,
//! well, badly or without the right, is one line with its outcome and the
//! officer's signature, and no line holds a value or a token.

mod audit;
mod closed;
mod gate;
mod signed;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use casegate::access::officer::{OfficerSignatureError, verify_officer};
use casegate::access::{AccessLine, AccessLog, BROKEN_OFF};
use casegate::federation::OFFICER;
use casegate::ids::{LogIndex, LogName, OfficerName, QueryId};
use casegate::peers::status::code_of;
use casegate::policy::{Callers, Method};
use casegate::record::AccessBody;
use casegate::rpc::desk_client::signature::sign;
use casegate::rpc::desk_client::{DeskCallError, FilePart};
use casegate::tls::connector;
use casegate::wire::v1::desk_client::DeskClient as RawDesk;
use casegate::wire::v1::{self, AccessScope, ElementSpec, KeygenPlan, TokenClass};
use prost::Message;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::cluster::{Cluster, NOW, id, import_options, purpose, wait_for};

const VALUES: [&str; 5] = [
    "13800138000",
    "loan.example",
    "added.example",
    "张三",
    "1990-01-02",
];

/// All lines of a member's access log.
async fn lines(cluster: &Cluster, member: &str) -> Vec<AccessBody> {
    let access = cluster.parts(member).access.clone();
    let read = tokio::task::spawn_blocking(move || access.newest(100_000)).await;
    let lines = read.expect("read").expect("read");
    lines.into_iter().map(|(_, line)| line).collect()
}

/// The lines of one method, in their order.
pub(crate) async fn of(cluster: &Cluster, member: &str, method: &str) -> Vec<AccessBody> {
    let mut lines = lines(cluster, member).await;
    lines.retain(|line| line.method == method);
    lines
}

async fn set_rights(cluster: &Cluster, rights: &[&str]) {
    let officers = cluster.parts("court").officers.clone();
    let rights: Vec<_> = rights.iter().map(ToString::to_string).collect();
    let set = move || officers.set(&OfficerName::new(OFFICER).expect("a name"), &rights);
    let set = tokio::task::spawn_blocking(set).await.expect("set");
    set.expect("set");
}

fn code<T>(answer: Result<T, DeskCallError>) -> String {
    match answer {
        Ok(_) => "ok".to_owned(),
        Err(e) => e.shown_code().to_owned(),
    }
}

fn element(kind: &str, value: &str) -> ElementSpec {
    ElementSpec {
        kind: kind.into(),
        value: value.into(),
        ..Default::default()
    }
}

fn case(case_no: &str) -> v1::CaseRow {
    v1::CaseRow {
        case_no: case_no.into(),
        category: "loan-fraud".into(),
        ..Default::default()
    }
}

fn plan(custodians: &[&str]) -> KeygenPlan {
    KeygenPlan {
        ceremony: vec![3; 16].into(),
        token_class: TokenClass::Open.into(),
        threshold: 2,
        custodians: custodians.iter().map(ToString::to_string).collect(),
    }
}

/// Makes one call of the desk, well formed or not; says how it ended, or
/// `None` where a request of the method cannot be malformed.
async fn call(cluster: &Cluster, method: Method, well: bool) -> Option<String> {
    let desk = cluster.desk("court");
    let given = well.then(purpose);
    let name = if well { "wang" } else { "WANG!" };
    let number = if well { "C-1" } else { "C-404" };
    let code = match method {
        Method::Import => {
            let options = v1::ImportOptions {
                format: if well { "csv" } else { "xml" }.into(),
                ..import_options()
            };
            let csv = "case_no,category,kind,value,role\nC-1,x,domain,loan.example,suspect\n";
            code(cluster.import_with("court", csv, options).await)
        }
        Method::Publish => code(
            desk.publish(v1::PublishRequest {
                case_no: "C-1".into(),
                elements: vec![
                    element("phone", "13800138000"),
                    ElementSpec {
                        qualifier: "1990-01-02".into(),
                        ..element("person", "张三")
                    },
                ],
                purpose: given,
                ..Default::default()
            })
            .await,
        ),
        Method::Query => code(
            desk.query(v1::QueryRequest {
                case_no: "C-1".into(),
                elements: vec![element(
                    if well { "domain" } else { "added.example" },
                    "added.example",
                )],
                add: true,
                purpose: Some(purpose()),
            })
            .await,
        ),
        Method::Retract => code(
            desk.retract(v1::RetractRequest {
                case_no: "C-1".into(),
                element: Some(element("phone", "13800138000")),
                reason: if well {
                    v1::RetractReason::Mistake
                } else {
                    v1::RetractReason::Unspecified
                }
                .into(),
                dry_run: false,
            })
            .await,
        ),
        Method::Links => code(
            desk.links(v1::LinksRequest {
                operation: "OP-1".into(),
                purpose: given,
                ..Default::default()
            })
            .await,
        ),
        Method::Hits => code(
            desk.hits(v1::HitsRequest {
                purpose: given,
                ..Default::default()
            })
            .await,
        ),
        Method::ShowCase => {
            let case_no = number.into();
            code(desk.show_case(v1::ShowCaseRequest { case_no }).await)
        }
        Method::AddCase => {
            let row = Some(case(if well { "C-2" } else { "" }));
            code(desk.add_case(v1::AddCaseRequest { row }).await)
        }
        Method::CloseCase => {
            let case_no = if well { "C-2" } else { "C-404" }.into();
            code(desk.close_case(v1::CloseCaseRequest { case_no }).await)
        }
        Method::AddOfficer => {
            let (name, rights) = (name.into(), vec!["query".into()]);
            code(
                desk.add_officer(v1::AddOfficerRequest { name, rights })
                    .await,
            )
        }
        Method::SuspendOfficer => {
            let request = v1::SuspendOfficerRequest {
                name: name.into(),
                restore: false,
            };
            code(desk.suspend_officer(request).await)
        }
        Method::Keygen => {
            let plan = plan(if well {
                &["court", "procuracy", "regulator"]
            } else {
                &[]
            });
            let of = |member: &str| {
                let (desk, plan) = (cluster.desk(member), Some(plan.clone()));
                async move { desk.keygen(v1::KeygenRequest { plan }).await }
            };
            let (own, ..) = tokio::join!(of("court"), of("procuracy"), of("regulator"));
            code(own)
        }
        Method::ListCases if well => code(desk.list_cases(v1::ListCasesRequest::default()).await),
        Method::ListOfficers if well => code(desk.list_officers(v1::ListOfficersRequest {}).await),
        Method::ShowLog if well => {
            let request = v1::ShowLogRequest {
                access: true,
                newest: 10,
                verify: true,
                erasures: false,
            };
            code(desk.show_log(request).await)
        }
        Method::GetStatus if well => code(desk.get_status(v1::GetStatusRequest {}).await),
        _ => return None,
    };
    Some(code)
}

/// What a malformed call of the desk is refused with.
fn malformed(method: Method) -> Option<&'static str> {
    Some(match method {
        Method::Import => "desk.format",
        Method::Publish | Method::Links | Method::Hits => "query.no_purpose",
        Method::Query => "query.unknown_kind",
        Method::Retract => "desk.no_reason",
        Method::ShowCase | Method::CloseCase => "case.unknown",
        Method::AddCase => "case.bad_number",
        Method::AddOfficer | Method::SuspendOfficer => "desk.officer_name",
        Method::Keygen => "dkg.plan",
        _ => return None,
    })
}

/// The one line that a call has left beyond those of before.
async fn one_more(cluster: &Cluster, method: Method, before: usize) -> AccessBody {
    let mut after = of(cluster, "court", method.as_str()).await;
    assert_eq!(
        after.len(),
        before + 1,
        "{method} leaves one line: {after:?}"
    );
    after.pop().expect("a line")
}

fn signed_by_officer(line: &AccessBody) -> OfficerSignatureOf {
    let (cert, signed) = (&line.officer_certificate, &line.officer_request);
    let said = verify_officer(cert, signed, &line.officer_signature);
    let said = said.unwrap_or_else(|e| panic_at(line, &e));
    assert_eq!(said.method, line.method);
    OfficerSignatureOf(said.nonce.to_vec())
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct OfficerSignatureOf(Vec<u8>);

#[allow(clippy::panic, reason = "a test says which line is wrong")]
fn panic_at(line: &AccessBody, error: &OfficerSignatureError) -> ! {
    panic!("{} {}: {error}", line.method, line.outcome)
}

/// The desk's methods in an order in which each finds what it needs.
fn desk_methods() -> Vec<Method> {
    let mut methods: Vec<_> = Method::ALL
        .iter()
        .copied()
        .filter(|method| method.as_str().starts_with("Desk."))
        .collect();
    methods.sort_by_key(|method| match method {
        Method::Import => 0,
        Method::Publish => 1,
        Method::AddCase => 2,
        Method::AddOfficer => 3,
        Method::Retract => 8,
        _ => 5,
    });
    methods
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_a_denied_and_a_malformed_call_of_every_method_of_the_desk_are_a_line_each() {
    let cluster = Cluster::new(&["hefei"]).await;
    let boss = v1::AddOfficerRequest {
        name: "boss".into(),
        rights: vec!["admin".into()],
    };
    let desk = cluster.desk("court");
    desk.add_officer(boss).await.expect("another admin");
    let operation = v1::CaseRow {
        operation: true,
        ..case("OP-1")
    };
    let add = v1::AddCaseRequest {
        row: Some(operation),
    };
    desk.add_case(add).await.expect("an operation");
    let rights = ["publish", "query", "export", "admin"];
    for method in desk_methods() {
        let signed = method != Method::GetStatus;
        let mut before = of(&cluster, "court", method.as_str()).await.len();
        set_rights(&cluster, &rights).await;
        let ended = call(&cluster, method, true).await;
        assert_eq!(ended.as_deref(), Some("ok"), "{method}");
        if signed {
            let line = one_more(&cluster, method, before).await;
            assert_eq!(
                (line.outcome.as_str(), line.caller.as_str()),
                ("ok", OFFICER)
            );
            signed_by_officer(&line);
            before += 1;
        }
        let ended = call(&cluster, method, false).await;
        assert_eq!(ended.as_deref(), malformed(method), "{method}");
        if let Some(outcome) = ended {
            let line = one_more(&cluster, method, before).await;
            assert_eq!(line.outcome, outcome, "{method}");
            signed_by_officer(&line);
            before += 1;
        }
        set_rights(&cluster, &["confirm"]).await;
        if signed {
            let ended = call(&cluster, method, true).await;
            assert_eq!(ended.as_deref(), Some("policy.missing_right"), "{method}");
            let line = one_more(&cluster, method, before).await;
            assert_eq!(
                (line.outcome.as_str(), line.count),
                ("policy.missing_right", 1)
            );
            signed_by_officer(&line);
        }
    }
    let all = lines(&cluster, "court").await;
    let signed = all.iter().filter(|line| !line.officer_request.is_empty());
    let nonces: Vec<_> = signed.map(signed_by_officer).collect();
    let different: BTreeSet<_> = nonces.iter().collect();
    assert_eq!(
        different.len(),
        nonces.len(),
        "each request stands there once"
    );
    let keygen = all.iter().find(|line| line.method == "Desk.Keygen");
    let asked = &keygen.expect("a line").asked;
    let asked: BTreeSet<_> = asked.iter().map(|a| (&*a.member, &*a.outcome)).collect();
    assert_eq!(
        asked,
        BTreeSet::from([("procuracy", "ok"), ("regulator", "ok")])
    );
    nothing_secret(&cluster).await;
    cluster.federation.stop().await;
}

/// No line of anybody holds a value or token that was used, in any spelling.
async fn nothing_secret(cluster: &Cluster) {
    let ledger = &cluster.parts("court").ledger;
    let size = ledger.own_log(LogName::Records).size().0;
    let mut secrets: Vec<Vec<u8>> = VALUES.iter().map(|v| v.as_bytes().to_vec()).collect();
    for at in 0..size {
        if let Some(element) = ledger.element(0, LogIndex(at)).expect("it reads") {
            let token = element.body.token.as_bytes();
            secrets.push(token.to_vec());
            secrets.push(hex::encode(token).into_bytes());
        }
    }
    assert!(secrets.len() > VALUES.len() + 2, "there are tokens");
    let mut seen = 0;
    for member in cluster.federation.nodes.keys() {
        for line in lines(cluster, member.as_str()).await {
            let bytes = line.encode_to_vec();
            seen += 1;
            for secret in &secrets {
                let held = bytes.windows(secret.len()).any(|w| w == &secret[..]);
                assert!(!held, "{} {} holds a secret", line.method, line.outcome);
            }
        }
    }
    assert!(seen > 40, "{seen} lines");
}

/// Calls a method of a node with an empty message, past any client.
async fn bare(channel: Channel, path: &'static str) -> Result<(), Status> {
    let mut client = tonic::client::Grpc::new(channel);
    let ready = client.ready().await;
    ready.map_err(|e| Status::unavailable(e.to_string()))?;
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    let path = http::uri::PathAndQuery::from_static(path);
    client.unary(Request::new(()), path, codec).await.map(drop)
}

fn path_of(method: Method) -> &'static str {
    let path = match method {
        Method::Health => "/grpc.health.v1.Health/Check".to_owned(),
        Method::Reflection => {
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo".to_owned()
        }
        _ => format!("/casegate.v1.{}", method.as_str().replace('.', "/")),
    };
    path.leak()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_call_of_every_method_of_the_peer_port_is_a_line() {
    let cluster = Cluster::new(&["hefei"]).await;
    let channel = cluster
        .federation
        .channel_behind(&id("hefei"))
        .expect("a channel");
    bare(channel.clone(), path_of(Method::Health))
        .await
        .expect("health is answered");
    let expires_at = cluster.parts("hefei").rosters.newest().expires_at;
    cluster.clock.advance(expires_at - NOW);
    let of_nodes = Method::ALL.iter().copied().filter(|method| {
        let peer = ["Exchange.", "Custodian.", "Health", "Reflection"];
        let served = peer.iter().any(|name| method.as_str().starts_with(name));
        let nodes = !matches!(method.callers(), Callers::OwnOfficers(_));
        served && nodes && !method.works_on_expired_roster()
    });
    let wanted = "admit.roster_expired";
    for method in of_nodes {
        for _ in 0..3 {
            let denied = bare(channel.clone(), path_of(method)).await;
            assert_eq!(code_of(&denied.expect_err("denied")), wanted, "{method}");
        }
        let access = cluster.parts("hefei").access.clone();
        let flush = move || access.write_denials(false);
        let flushed = tokio::task::spawn_blocking(flush).await.expect("written");
        flushed.expect("written");
        let lines = of(&cluster, "hefei", method.as_str()).await;
        let own: Vec<_> = lines
            .iter()
            .filter(|line| line.caller.contains("/hefei/"))
            .map(|line| (line.outcome.as_str(), line.count))
            .collect();
        assert_eq!(own, [(wanted, 1)], "{method}: three calls in a minute");
    }
    // What was only counted is written when its minute has passed, or at the end.
    cluster.clock.advance(60);
    let access = cluster.parts("hefei").access.clone();
    let flush = move || access.write_denials(false);
    let flushed = tokio::task::spawn_blocking(flush).await.expect("written");
    flushed.expect("written");
    let lines = of(&cluster, "hefei", "Exchange.Pull").await;
    let own = lines.iter().filter(|line| line.caller.contains("/hefei/"));
    assert_eq!(own.map(|line| line.count).sum::<u32>(), 3);
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ends_of_an_evaluation_name_the_same_question_and_its_outcome() {
    let mut cluster = Cluster::new(&["hefei"]).await;
    cluster.stop("regulator").await;
    let csv = "case_no,category,kind,value,role\nC-1,x,phone,13800138000,suspect\n";
    for n in 0..4 {
        // Whichever two are asked first: in the end the one that is down was, too.
        cluster
            .import(
                "hefei",
                &csv.replace("13800138000", &format!("1380013800{n}")),
            )
            .await;
    }
    let home = of(&cluster, "hefei", "custodian.evaluate").await;
    assert!(home.len() >= 4);
    let mut there: BTreeMap<(Vec<u8>, &str), Vec<AccessBody>> = BTreeMap::new();
    for member in ["court", "procuracy"] {
        for line in of(&cluster, member, "custodian.evaluate").await {
            let key = (line.query_id.to_vec(), member);
            there.entry(key).or_default().push(line);
        }
    }
    for line in &home {
        assert_eq!(line.outcome, "ok");
        let answered: Vec<_> = line.asked.iter().filter(|a| a.outcome == "ok").collect();
        assert_eq!(answered.len(), 2, "{:?}", line.asked);
        for asked in &line.asked {
            let key = (line.query_id.to_vec(), asked.member.as_str());
            match there.get(&key) {
                Some(seen) => {
                    assert_eq!((seen.len(), seen[0].outcome.as_str()), (1, "ok"));
                    assert_eq!(seen[0].count, asked.count, "points at both ends");
                }
                None => assert_eq!(asked.outcome, "unreachable", "{asked:?}"),
            }
        }
    }
    cluster.federation.stop().await;
}

/// A desk client that signs nothing of itself.
pub(crate) fn raw_desk(cluster: &Cluster, member: &str) -> RawDesk<Channel> {
    let address = cluster
        .federation
        .addresses(&id(member))
        .expect("an address");
    let roster = Arc::new(ArcSwap::from(cluster.parts(member).rosters.newest()));
    let material = cluster.federation.officer(&id(member)).expect("an officer");
    let connector = connector(material, roster, cluster.clock.clone(), id(member));
    let endpoint = Endpoint::from_shared(format!("http://{}", address.1)).expect("an address");
    RawDesk::new(endpoint.connect_with_connector_lazy(connector))
}

// A node that kept an officer's signed request could once ask it again whenever
// it liked: nothing in what was signed said when, or that it was meant once.
#[tokio::test(flavor = "multi_thread")]
async fn a_signed_request_counts_once_in_its_time_and_not_again_after_a_restart() {
    let mut cluster = Cluster::new(&["hefei"]).await;
    let own = cluster
        .federation
        .officer(&id("hefei"))
        .expect("an officer");
    let request = v1::ListCasesRequest::default();
    let signed = |at| sign(&own, at, &request).expect("signed");
    let mut desk = raw_desk(&cluster, "hefei");
    for at in [NOW - 301, NOW + 301] {
        let refused = desk.list_cases(signed(at)).await;
        assert_eq!(code_of(&refused.expect_err("refused")), "officer.untimely");
    }
    for at in [NOW - 300, NOW + 300] {
        let answer = desk.list_cases(signed(at)).await;
        answer.expect("five minutes are allowed");
    }
    let made = signed(NOW);
    desk.list_cases(made.clone()).await.expect("the first time");
    let refused = desk.list_cases(made.clone()).await;
    assert_eq!(code_of(&refused.expect_err("refused")), "officer.replayed");
    let line = of(&cluster, "hefei", "Desk.ListCases")
        .await
        .pop()
        .expect("a line");
    assert_eq!(line.outcome, "officer.replayed");
    assert!(
        line.officer_request.is_empty(),
        "it does not stand there twice"
    );
    cluster.stop("hefei").await;
    cluster.restart("hefei").await;
    let mut desk = raw_desk(&cluster, "hefei");
    let refused = desk.list_cases(made.clone()).await;
    assert_eq!(
        code_of(&refused.expect_err("refused")),
        "officer.replayed",
        "after a restart"
    );
    crate::backup::raise_access(&mut cluster, "hefei").await;
    cluster.stop("hefei").await;
    cluster.restart("hefei").await;
    let mut desk = raw_desk(&cluster, "hefei");
    let refused = desk.list_cases(made.clone()).await;
    assert_eq!(
        code_of(&refused.expect_err("refused")),
        "officer.replayed",
        "in the next generation of the log"
    );
    cluster.clock.advance(301);
    let refused = desk.list_cases(made.clone()).await;
    assert_eq!(code_of(&refused.expect_err("refused")), "officer.untimely");
    cluster.federation.stop().await;
}

#[test]
fn a_call_whose_line_leaves_no_room_for_its_outcome_is_not_begun() {
    use casegate::access::OfficerProof;
    use casegate::record::ACCESS_BODY_BYTES_MAX;
    let ledgers = crate::tamper::Ledgers::new();
    let access = AccessLog::open(ledgers.open("hefei")).expect("it opens");
    let line = |bytes: usize| AccessLine {
        officer: OfficerProof {
            request: vec![7; bytes].into(),
            ..OfficerProof::default()
        },
        ..AccessLine::new(AccessScope::Local, "Desk.Import", OFFICER)
    };
    let begin = |short_of: usize| access.begin(&line(ACCESS_BODY_BYTES_MAX - short_of));
    drop(begin(80 * 1024).expect("there is room"));
    let refused = begin(32 * 1024).expect_err("it would not fit with what comes");
    assert_eq!(casegate::blame::Blamed::code(&refused), "access.line");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_would_not_fit_into_a_line_is_refused_before_it_acts() {
    let cluster = Cluster::new(&["hefei"]).await;
    let phone = |n: u32| element("phone", &format!("138{n:08}"));
    let request = v1::PublishRequest {
        case_no: "C-1".into(),
        category: "x".into(),
        elements: (0..8_000).map(phone).collect(),
        purpose: Some(purpose()),
        ..Default::default()
    };
    let answer = cluster.desk("hefei").publish(request).await;
    assert_eq!(code(answer), "officer.too_big");
    let line = of(&cluster, "hefei", "Desk.Publish")
        .await
        .pop()
        .expect("a line");
    assert_eq!(line.outcome, "officer.too_big");
    let parts = cluster.parts("hefei");
    assert!(parts.ledger.is_queue_empty() && parts.cases.all().expect("cases").is_empty());
    let log = parts.ledger.own_log(LogName::Access);
    let all = lines(&cluster, "hefei").await.len() as u64;
    assert_eq!(all, log.size().0, "every line can be read");
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_ends_before_its_end_was_said_is_not_taken_for_whole() {
    let cluster = Cluster::new(&["hefei"]).await;
    let head = "case_no,category,kind,role,value\nC-1,x,domain,suspect,loan.example";
    let own = cluster
        .federation
        .officer(&id("hefei"))
        .expect("an officer");
    let part = |bytes: &str| v1::ImportPart {
        bytes: bytes.as_bytes().to_vec().into(),
        ..Default::default()
    };
    let end = |bytes| v1::ImportPart {
        end: Some(v1::ImportEnd { bytes }),
        ..Default::default()
    };
    let whole = head.len() as u64;
    for (what, last) in [("no end", None), ("too few", Some(end(whole + 1)))] {
        let options = import_options();
        let first = v1::ImportPart {
            call: Some(sign(&own, NOW, &options).expect("signed")),
            ..Default::default()
        };
        let parts: Vec<_> = [first, part(head)].into_iter().chain(last).collect();
        let call = tokio_stream::iter(parts);
        let answer = raw_desk(&cluster, "hefei").import(call).await;
        let mut events = answer.expect("it starts").into_inner();
        let refused = loop {
            match events.message().await {
                Ok(Some(event)) => assert!(
                    !matches!(event.event, Some(v1::import_event::Event::Report(_))),
                    "{what}"
                ),
                Ok(None) => break None,
                Err(status) => break Some(status),
            }
        };
        let refused = refused.expect(what);
        assert!(
            refused.message().contains("broke off"),
            "{what}: {refused:?}"
        );
        let line = of(&cluster, "hefei", "Desk.Import")
            .await
            .pop()
            .expect("a line");
        assert_eq!(line.outcome, code_of(&refused), "{what}");
        assert_ne!(line.outcome, "ok");
        signed_by_officer(&line);
        assert!(cluster.parts("hefei").ledger.is_queue_empty(), "{what}");
    }
    let (sender, parts) = tokio::sync::mpsc::channel(2);
    let bytes = FilePart::Bytes(head.as_bytes().to_vec().into());
    sender.send(bytes).await.expect("there is room");
    drop(sender);
    let desk = cluster.desk("hefei");
    let mut events = desk
        .import(import_options(), parts)
        .await
        .expect("it starts");
    let ended = loop {
        match events.next().await {
            Ok(Some(_)) => {}
            Ok(None) => break Ok(()),
            Err(e) => break Err(e),
        }
    };
    ended.expect_err("a client that stopped has not said the end");
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_a_node_had_begun_when_it_ended_is_a_line_at_its_start() {
    let mut cluster = Cluster::new(&["hefei"]).await;
    let query_id = QueryId([9; 16]);
    let access: AccessLog = cluster.parts("hefei").access.clone();
    let begin = move || {
        let mut line = AccessLine::new(AccessScope::Local, "Desk.Publish", OFFICER);
        line.query_id = query_id;
        access.begin(&line).map(drop)
    };
    let begun = tokio::task::spawn_blocking(begin).await.expect("begun");
    begun.expect("begun");
    assert!(of(&cluster, "hefei", "Desk.Publish").await.is_empty());
    cluster.stop("hefei").await;
    cluster.restart("hefei").await;
    let parts = Arc::clone(cluster.parts("hefei"));
    wait_for("its line is there", || {
        let lines = parts.access.newest(100).expect("it reads");
        lines.iter().any(|(_, line)| line.outcome == BROKEN_OFF)
    })
    .await;
    drop(parts);
    let found = of(&cluster, "hefei", "Desk.Publish").await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].query_id, query_id.as_bytes()[..]);
    assert_eq!(found[0].outcome, BROKEN_OFF);
    cluster.stop("hefei").await;
    cluster.restart("hefei").await;
    assert_eq!(of(&cluster, "hefei", "Desk.Publish").await.len(), 1, "once");
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_caller_goes_away_is_done_and_logged_all_the_same() {
    let cluster = Cluster::new(&["hefei"]).await;
    let desk = cluster.desk("hefei");
    let request = v1::PublishRequest {
        case_no: "C-1".into(),
        category: "x".into(),
        elements: vec![element("domain", "loan.example")],
        purpose: Some(purpose()),
        ..Default::default()
    };
    let asking = tokio::spawn(async move { desk.publish(request).await });
    let parts = Arc::clone(cluster.parts("hefei"));
    wait_for("it is taken in", || {
        parts.cases.find("C-1").is_ok_and(|found| found.is_some())
    })
    .await;
    asking.abort();
    let method = "Desk.Publish";
    wait_for("its line is there", || {
        let lines = parts.access.newest(100).expect("it reads");
        lines.iter().any(|(_, line)| line.method == method)
    })
    .await;
    let line = of(&cluster, "hefei", method).await.pop().expect("a line");
    assert_eq!(line.outcome, "ok");
    signed_by_officer(&line);
    cluster.federation.stop().await;
}
