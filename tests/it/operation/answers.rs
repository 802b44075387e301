//! Fixed answers of a node, from which the golden files are made.

use bytes::Bytes;
use casegate::wire::v1;

/// 2026-11-22T12:00:00Z.
pub(super) const NOW: i64 = 1_795_348_800;
/// 2026-11-22, in days since 1970-01-01.
const DAY: i32 = 20_779;

fn case_ref(byte: u8) -> Bytes {
    vec![byte; 16].into()
}

fn count(kind: &str, count: u64) -> v1::KindCount {
    v1::KindCount {
        kind: kind.into(),
        count,
    }
}

fn ages() -> Vec<v1::ReplicaAge> {
    let age = |member: &str, age_s, trouble: &str| v1::ReplicaAge {
        member: member.into(),
        age_s,
        trouble: trouble.into(),
    };
    vec![
        age("wuhu", 45, ""),
        age("anqing", 8_000, "its node does not answer"),
        age("fuyang", -1, ""),
    ]
}

pub(super) fn query() -> v1::QueryResponse {
    let found = |kind: &str, value: &str, member: &str, byte, month| v1::QueryMatch {
        kind: kind.into(),
        value: value.into(),
        member: member.into(),
        case_ref: case_ref(byte),
        category: "loan".into(),
        role: "suspect".into(),
        month,
        contact: "desk 3".into(),
        cases_with_token: 3,
        rarity: 2.345,
        status: "provisional".into(),
        leaf: vec![byte; 32].into(),
    };
    v1::QueryResponse {
        query_id: vec![0xab; 16].into(),
        matches: vec![
            found("phone", "138 0000 0000", "wuhu", 1, 202_610),
            found("url", "https://a.example:8443/x", "wuhu", 1, 202_610),
            found("hologram", "x", "anqing", 2, 0),
        ],
        elements_asked: 7,
        left_out: 2,
        replicas: ages(),
    }
}

pub(super) fn hits() -> v1::HitsResponse {
    v1::HitsResponse {
        hits: vec![v1::HitLine {
            case_no: "A-2026-1".into(),
            kind: "bank-card".into(),
            value: "6222 0000".into(),
            member: "wuhu".into(),
            case_ref: case_ref(9),
            category: "loan".into(),
            contact: "desk 3".into(),
            raised_at: NOW,
            cases_with_token: 2,
            status: "witnessed".into(),
        }],
        total: 12,
    }
}

pub(super) fn links() -> v1::LinksResponse {
    let case = |member: &str, byte| v1::LinkedCase {
        member: member.into(),
        case_ref: case_ref(byte),
        category: "loan".into(),
        contact: "=HYPERLINK(\"x\")".into(),
    };
    let pair = v1::LinkedPair {
        a: Some(case("hefei", 1)),
        b: Some(case("wuhu", 2)),
        shared: 3,
        kinds: vec![count("phone", 2), count("url", 1)],
        score: 7.125,
        first_day: DAY - 30,
        last_day: DAY,
    };
    let group = v1::LinkedGroup {
        cases: vec![case("hefei", 1), case("wuhu", 2)],
        members: vec!["hefei".into(), "wuhu".into()],
        lead: Some(case("wuhu", 2)),
        lead_reason: "holds 3 of the shared tokens".into(),
        shared: 3,
        kinds: vec![count("phone", 2), count("url", 1)],
        score: 7.125,
        capped: true,
        case_count: 2,
    };
    v1::LinksResponse {
        query_id: vec![0xcd; 16].into(),
        pairs: vec![pair],
        groups: vec![group],
        tokens: vec![],
        shared_tokens: 3,
        hubs: 1,
        total_pairs: 5,
        total_groups: 1,
        cases: 40,
        provisional: 7,
        replicas: ages(),
    }
}

pub(super) fn linked_tokens() -> v1::LinksResponse {
    let token = v1::LinkedToken {
        ordinal: 1,
        kind: "phone".into(),
        members: vec!["hefei".into(), "wuhu".into()],
        cases: 2,
        rarity: 1.5,
        hub: true,
    };
    v1::LinksResponse {
        pairs: vec![],
        groups: vec![],
        tokens: vec![token],
        ..links()
    }
}

pub(super) fn report() -> v1::ImportReport {
    v1::ImportReport {
        encoding: "GB18030".into(),
        rows: 100,
        elements: 90,
        duplicates: 4,
        refused: 6,
        fresh: 80,
        unchanged: 8,
        amendments: 2,
        not_linkable: 3,
        cases: 20,
        new_cases: 18,
        kinds: vec![count("phone", 60), count("wallet", 30)],
        refusals: vec![count("phone.impossible", 5), count("of.a.later.version", 1)],
        warnings: vec![count("ip.not_global", 2)],
        notes: 1,
        headers: vec!["case_no".into(), "value".into()],
        behind: vec![],
    }
}

pub(super) fn publish() -> v1::PublishResponse {
    let report = v1::ImportReport {
        fresh: 1,
        rows: 2,
        elements: 1,
        refused: 1,
        ..Default::default()
    };
    let refusal = v1::Refusal {
        line: 2,
        column: "value".into(),
        code: "phone.impossible".into(),
        sentence: "of the node".into(),
        record: vec![],
    };
    v1::PublishResponse {
        report: Some(report),
        refusals: vec![refusal],
        queued: true,
    }
}

fn summary(case_no: &str) -> v1::CaseSummary {
    v1::CaseSummary {
        case_no: case_no.into(),
        case_ref: case_ref(7),
        category: "loan".into(),
        title: "冒充客服贷款".into(),
        contact: "desk 3".into(),
        opened_on: DAY,
        state: "open".into(),
        elements: 2,
        ..Default::default()
    }
}

pub(super) fn cases() -> v1::ListCasesResponse {
    let closed = v1::CaseSummary {
        state: "closed".into(),
        opened_on: 0,
        ..summary("A-2026-2")
    };
    v1::ListCasesResponse {
        cases: vec![summary("A-2026-1"), closed],
        total: 2,
    }
}

pub(super) fn operations() -> v1::ListCasesResponse {
    let operation = v1::CaseSummary {
        operation: true,
        regions: vec!["north".into(), "south".into()],
        kinds: vec!["phone".into(), "wallet".into()],
        // The end of 2026-11-22 in China.
        ends_at: 1_795_363_200,
        ..summary("OP-7")
    };
    v1::ListCasesResponse {
        cases: vec![operation],
        total: 1,
    }
}

pub(super) fn shown_case() -> v1::ShowCaseResponse {
    let element = v1::CaseElement {
        kind: "mac".into(),
        value: "00:1b:44:11:3a:b7".into(),
        role: "instrument".into(),
        index: 12,
        audience: "federation".into(),
        shared_with: 3,
    };
    v1::ShowCaseResponse {
        summary: Some(summary("A-2026-1")),
        elements: vec![element],
    }
}

pub(super) fn retracted() -> v1::RetractResponse {
    v1::RetractResponse {
        retracted: 4,
        waiting: 2,
        index: 99,
    }
}

pub(super) fn officers() -> Vec<v1::OfficerRow> {
    let officer = |name: &str, rights: &[&str], suspended| v1::OfficerRow {
        name: name.into(),
        rights: rights.iter().map(|right| (*right).into()).collect(),
        suspended,
        changed_at: NOW,
    };
    vec![
        officer("chen", &["admin", "query"], false),
        officer("li.wei", &["query"], true),
    ]
}

pub(super) fn status() -> v1::GetStatusResponse {
    let replica = |member: &str, fresh_at, trouble: &str, alarm: &str| v1::ReplicaStatus {
        member: member.into(),
        watching: fresh_at != 0,
        fresh_at,
        entries: 1_000,
        bodies_upto: 990,
        trouble: trouble.into(),
        alarm: alarm.into(),
        witnessed: 990,
        forked: false,
        key_invalid: if member == "anqing" { 12 } else { 0 },
        lost: 0,
        spoken: Some(v1::SpokenStatus {
            version: "0.1.0".into(),
            said_at: NOW - 60,
            lacks: vec![],
            unknown: vec![],
        }),
        newer: if member == "anqing" { 12 } else { 0 },
        refused: u64::from(!alarm.is_empty()),
        alarm_began: if alarm.is_empty() { 0 } else { NOW - 600 },
        past_alarm: String::new(),
        past_alarm_began: 0,
        past_alarm_ended: 0,
    };
    let budget = |custodian: &str, class: &str, trouble: &str| v1::BudgetStatus {
        custodian: custodian.into(),
        token_class: class.into(),
        day: "2026-11-22".into(),
        spent: 20,
        allowed: 20_000,
        trouble: trouble.into(),
    };
    v1::GetStatusResponse {
        federation: "anhui.example".into(),
        member: "hefei".into(),
        role: "bureau".into(),
        version: "0.1.0".into(),
        roster_version: 3,
        roster_expires_at: NOW + 86_400,
        records_size: 250,
        access_size: 40,
        publishing: "waiting".into(),
        waiting_for: "1 of 2 custodians answers".into(),
        cases: 20,
        hits: 4,
        replicas: vec![
            v1::ReplicaStatus {
                spoken: Some(v1::SpokenStatus {
                    version: "0.2.0".into(),
                    said_at: NOW - 30,
                    lacks: vec!["records-1".into()],
                    unknown: vec!["series-1".into(), "narratives-1".into()],
                }),
                ..replica("wuhu", NOW - 30, "", "")
            },
            replica("anqing", NOW - 600, "its node does not answer", ""),
            v1::ReplicaStatus {
                forked: true,
                lost: 2,
                spoken: None,
                ..replica("fuyang", 0, "", "two roots for one size")
            },
        ],
        budgets: vec![
            budget("court", "enumerable", ""),
            budget("audit", "open", "out of reach"),
        ],
        certificate_expires_at: 0,
        disk_bytes: 5_000_000,
        now: NOW,
        records_witnessed: 250,
        access_witnessed: 38,
        conflicts: 1,
        records_key_invalid: 2,
        roster_witnessed: 2,
        witness_quorum: 2,
        witnesses: vec![
            v1::WitnessStatus {
                member: "court".into(),
                records: 250,
                access: 38,
                trouble: String::new(),
            },
            v1::WitnessStatus {
                member: "procuracy".into(),
                records: 249,
                access: 38,
                trouble: "it did not answer in time".into(),
            },
        ],
        records_lost: 3,
        access_closed: "no witness has said yet".into(),
        features: vec!["records-1".into()],
        behind: vec!["wuhu".into()],
    }
}

pub(super) fn log() -> v1::ShowLogResponse {
    let line = v1::LogLine {
        index: 12,
        r#type: "element".into(),
        leaf: vec![0x5a; 32].into(),
        issued_at: NOW,
        text: "phone, suspect".into(),
        dsse_json: "{\"payloadType\":\"t\",\"payload\":\"AA==\",\"signatures\":[]}".into(),
    };
    let log = |origin: &str, verified, trouble: &str| v1::LogSummary {
        origin: origin.into(),
        size: 13,
        root: vec![0x11; 32].into(),
        checkpoint: Bytes::from_static(b"anhui.example/hefei/records/1\n13\nEQ==\n"),
        verified,
        trouble: trouble.into(),
    };
    v1::ShowLogResponse {
        lines: vec![line],
        erasures: vec![],
        logs: vec![
            log("anhui.example/hefei/records/1", true, ""),
            log(
                "anhui.example/wuhu/records/1",
                false,
                "entry 5 has a bad signature",
            ),
        ],
    }
}

pub(super) fn erasures() -> v1::ShowLogResponse {
    let confirmation = |member: &str, state: v1::ConfirmationState, late| {
        let pending = state == v1::ConfirmationState::Pending;
        v1::Confirmation {
            member: member.into(),
            state: state.into(),
            receipt_origin: if pending {
                String::new()
            } else {
                format!("anhui.example/{member}/records/1")
            },
            receipt_index: if pending { 0 } else { 7 },
            at: if pending { 0 } else { NOW + 3 },
            late,
            receipts: vec![],
        }
    };
    let erasure = v1::Erasure {
        range: Some(v1::IndexRange { start: 5, end: 8 }),
        retracted_by: Some(12),
        reason: v1::RetractReason::Order.into(),
        decided_at: NOW,
        confirmations: vec![
            confirmation("anqing", v1::ConfirmationState::Pending, true),
            confirmation("court", v1::ConfirmationState::NeverHeld, false),
            confirmation("wuhu", v1::ConfirmationState::Erased, false),
        ],
        erased_at: NOW + 1,
        entry: 13,
        late: false,
    };
    let ended = v1::Erasure {
        range: Some(v1::IndexRange { start: 1, end: 2 }),
        retracted_by: None,
        reason: v1::RetractReason::Retention.into(),
        decided_at: NOW - 100,
        confirmations: vec![],
        erased_at: NOW,
        entry: 14,
        late: true,
    };
    v1::ShowLogResponse {
        erasures: vec![erasure, ended],
        ..Default::default()
    }
}
