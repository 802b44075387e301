//! Officers' signatures in an access log: lines as a node writes them hold, and
//! each way of inventing, repeating or postponing one is found.

use casegate::access::officer::{Opened, SKEW_S_MAX, Signed, open};
use casegate::audit::matching::compare;
use casegate::audit::verify::{Code, verify};
use casegate::ids::LogName;
use casegate::pki::Validity;
use casegate::policy::{Identity, Subject};
use casegate::record::{AccessBody, Body};
use casegate::rpc::desk_client::signature::sign;
use casegate::tls::Material;
use casegate::wire::v1::{
    ElementSpec, HitsRequest, ImportOptions, KeygenRequest, PublishRequest, QueryRequest,
    RetractRequest,
};

use super::fixture::{BEGAN, Log, NOW, access_line, sum, world, write};
use super::options;

/// When the lines are written.
const AT: i64 = BEGAN + 600;
const FILE: &str = "logs/access/1/bodies/000";

/// A line, and when it is written.
type Line = (i64, AccessBody);

fn officer(member: &str) -> Material {
    let material = world().member(member).officer_material("li.wei");
    material.expect("an officer")
}

/// A line as a node writes it.
fn line_of<R: Signed>(material: &Material, request: &R) -> AccessBody {
    let call = sign(material, AT, request).expect("signed");
    let opened: Opened<R> = open(material.certificate(), &call).expect("it holds");
    AccessBody {
        method: opened.said.method.clone(),
        officer_request: opened.proof.request,
        officer_signature: opened.proof.signature,
        officer_certificate: opened.proof.certificate,
        taken_at: AT,
        ..access_line(1)
    }
}

fn query() -> QueryRequest {
    QueryRequest {
        case_no: "A-1".into(),
        elements: vec![ElementSpec {
            kind: "phone".into(),
            value: "13800138000".into(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn line() -> AccessBody {
    line_of(&officer("hefei"), &query())
}

fn bundle(lines: &[Line]) -> tempfile::TempDir {
    let mut log = Log::new("hefei", LogName::Access);
    for (number, (at, line)) in (0_u8..).zip(lines) {
        let mut line = line.clone();
        line.nonce = vec![number; 16].into();
        let key = &world().member("hefei").records_key;
        log.add(key, Body::Access(line), *at);
    }
    let mut files = world().base();
    world().write(&log, &[], &mut files);
    sum(&mut files);
    write(&files)
}

/// What is found in a log of these lines: codes and indices.
fn found(lines: &[Line]) -> Vec<(Code, Option<u64>)> {
    let dir = bundle(lines);
    let report = verify(dir.path(), &world().policy(), options()).expect("it can be looked at");
    let listed = report.found.iter();
    listed
        .map(|finding| {
            assert_eq!(finding.path, FILE, "{finding:?}");
            (finding.code, finding.index)
        })
        .collect()
}

fn changed(change: impl FnOnce(&mut AccessBody)) -> Line {
    let mut line = line();
    change(&mut line);
    (AT, line)
}

/// Exactly this is found in one line.
fn finds(code: Code, line: Line) {
    let told = format!("{:?} {}", line.1.method, line.1.outcome);
    assert_eq!(found(&[line]), [(code, Some(0))], "{told}");
}

#[test]
fn a_line_of_the_desk_without_a_signature_is_found_unless_it_was_refused() {
    let bare = |outcome: &str, method: &str| {
        let line = AccessBody {
            outcome: outcome.into(),
            method: method.into(),
            ..access_line(1)
        };
        (AT, line)
    };
    finds(Code::OfficerUnsigned, bare("ok", "Desk.Query"));
    assert_eq!(found(&[bare("officer.unsigned", "Desk.Query")]), []);
    assert_eq!(found(&[bare("ok", "custodian.evaluate")]), []);
}

#[test]
fn a_signature_over_anything_else_is_found() {
    let flip = |bytes: &mut bytes::Bytes, at: usize| {
        let mut out = bytes.to_vec();
        out[at] ^= 1;
        *bytes = out.into();
    };
    let hits = line_of(&officer("hefei"), &HitsRequest::default());
    let other = line();
    let forged = [
        changed(|line| {
            let last = line.officer_request.len() - 1;
            flip(&mut line.officer_request, last);
        }),
        changed(|line| flip(&mut line.officer_request, 3)),
        changed(|line| flip(&mut line.officer_signature, 8)),
        changed(|line| line.officer_signature = other.officer_signature.clone()),
        changed(|line| line.officer_request = other.officer_request.clone()),
        changed(|line| line.officer_signature = bytes::Bytes::new()),
        changed(|line| line.method = "Desk.Hits".into()),
        (
            AT,
            AccessBody {
                method: "Desk.Query".into(),
                ..hits
            },
        ),
    ];
    for line in forged {
        finds(Code::OfficerSignature, line);
    }
}

#[test]
fn a_certificate_of_another_name_ca_or_time_is_found() {
    let hefei = world().member("hefei");
    let issue = |member: &str, name: &str, from, to| {
        let identity = Identity::from_uri(name).expect("an identity");
        let ca = &world().member(member).ca;
        let validity = Validity { from, to };
        let issued = ca.issue_any_name(&identity, validity).expect("issued");
        issued.material().expect("it fits")
    };
    let wei = "spiffe://anhui.example/bureau/hefei/officer/li.wei";
    let (from, to) = (BEGAN, NOW);
    let node = hefei.node_material().expect("a node");
    for material in [
        officer("wuhu"),
        node,
        issue("wuhu", wei, from, to),
        issue("hefei", wei, from, AT - 1),
        issue("hefei", wei, AT + 1, to),
        issue("hefei", &wei.replace("li.wei", "wang"), from, to),
        issue("hefei", &wei.replace("bureau", "department"), from, to),
        issue("hefei", &wei.replace("anhui.", "other."), from, to),
    ] {
        finds(Code::OfficerCertificate, (AT, line_of(&material, &query())));
    }
    finds(
        Code::OfficerCertificate,
        changed(|line| line.officer_certificate = b"none".to_vec().into()),
    );
    for (from, to) in [(AT, AT + 1), (AT - 1, AT)] {
        let edge = line_of(&issue("hefei", wei, from, to), &query());
        assert_eq!(found(&[(AT, edge)]), [], "at its edge");
    }
    // Roster 1 does not speak of the time before it.
    let before = BEGAN - SKEW_S_MAX - 1;
    let line = line_at(before, issue("hefei", wei, before, to));
    finds(Code::OfficerCertificate, line);
}

fn line_at(at: i64, material: Material) -> Line {
    let call = sign(&material, at, &query()).expect("signed");
    let opened: Opened<QueryRequest> = open(material.certificate(), &call).expect("it holds");
    let line = AccessBody {
        officer_request: opened.proof.request,
        officer_signature: opened.proof.signature,
        taken_at: at,
        ..line_of(&material, &query())
    };
    (at, line)
}

#[test]
fn a_denied_stranger_stands_there_with_the_whole_name_and_nobody_else_does() {
    let wuhu = officer("wuhu");
    let identity = Identity {
        federation: super::fixture::federation(),
        member: super::fixture::id("wuhu"),
        role: casegate::roster::MemberRole::Bureau,
        subject: Subject::Officer(casegate::ids::OfficerName::new("li.wei").expect("a name")),
    };
    let stranger = |outcome: &str, caller: String| {
        let line = AccessBody {
            outcome: outcome.into(),
            caller,
            ..line_of(&wuhu, &query())
        };
        (AT, line)
    };
    let denied = "policy.other_member";
    assert_eq!(found(&[stranger(denied, identity.to_string())]), []);
    for (outcome, caller) in [("ok", identity.to_string()), (denied, "li.wei".into())] {
        finds(Code::OfficerCertificate, stranger(outcome, caller));
    }
}

#[test]
fn a_line_that_was_not_written_when_its_officer_signed_is_found() {
    let skew = SKEW_S_MAX;
    let taken = |taken_at| changed(|line| line.taken_at = taken_at);
    for late in [
        taken(AT + skew + 1),
        taken(AT - skew - 1),
        taken(0),
        (AT + skew + 1, line()),
        (AT - skew - 1, line()),
    ] {
        let codes: Vec<_> = found(&[late]).into_iter().map(|(code, _)| code).collect();
        assert!(codes.contains(&Code::OfficerUntimely), "{codes:?}");
    }
    assert_eq!(found(&[taken(AT + skew)]), []);
    assert_eq!(found(&[taken(AT - skew)]), []);
    assert_eq!(found(&[(AT + skew, line())]), []);
    assert_eq!(found(&[(AT - skew, line())]), []);
    // What is noted before it begins ends when it ends, or at the next start.
    let own = officer("hefei");
    let add = QueryRequest {
        add: true,
        ..query()
    };
    let mut refused = line();
    refused.outcome = "query.not_in_case".into();
    for line in [
        line_of(&own, &add),
        line_of(&own, &PublishRequest::default()),
        line_of(&own, &RetractRequest::default()),
        line_of(&own, &ImportOptions::default()),
        line_of(&own, &KeygenRequest::default()),
        refused,
    ] {
        assert_eq!(found(&[(AT + 9_000, line)]), []);
    }
    finds(
        Code::OfficerUntimely,
        (AT + 9_000, line_of(&own, &HitsRequest::default())),
    );
}

#[test]
fn a_nonce_that_stands_in_the_log_twice_is_found_where_it_stands_again() {
    let (one, two) = (line(), line());
    let mut again = one.clone();
    again.outcome = "query.not_in_case".into();
    let lines = [(AT, one), (AT, two), (AT + 1, again)];
    assert_eq!(found(&lines[..2]), []);
    assert_eq!(found(&lines), [(Code::OfficerReplayed, Some(2))]);
}

#[test]
fn comparing_both_ends_says_that_such_a_log_does_not_verify() {
    let holds = |line: Line| {
        let dir = bundle(&[line]);
        let paths = [dir.path().to_path_buf()];
        let report = compare(&paths, &world().policy(), 1, NOW, &|_| ());
        report.expect("it can be compared").ok
    };
    assert!(holds((AT, line())));
    assert!(!holds(changed(|line| line.method = "Desk.Hits".into())));
}
