//! `casegate status`: what the node is doing, how old its replicas are, and
//! what is left of its token budgets.

use crate::cli::desk::Desk;
use crate::cli::failure::CommandError;
use crate::cli::sheet::{Cell, Column, Section, Sheet};
use crate::wire::v1;

/// How far one member's log has been received, at a time of the node.
struct Replica {
    now: i64,
    of: v1::ReplicaStatus,
}

type Replicas = Column<Replica>;

const REPLICAS: &[Replicas] = &[
    Replicas::of("member", "label.column.member", |r| (&r.of.member).into()),
    Replicas::data("watching", |r| r.of.watching.into()),
    Replicas::data("fresh_at", |r| Cell::Time(r.of.fresh_at)),
    Replicas::of("age_s", "label.column.age", |r| {
        let age = r.now.saturating_sub(r.of.fresh_at).max(0);
        Cell::Age((r.of.fresh_at != 0).then_some(age))
    }),
    Replicas::of("entries", "label.column.entries", |r| r.of.entries.into()),
    Replicas::of("bodies_upto", "label.column.bodies", |r| {
        r.of.bodies_upto.into()
    })
    .spare(2),
    Replicas::data("key_invalid", |r| r.of.key_invalid.into()),
    Replicas::data("trouble", |r| (&r.of.trouble).into()),
    Replicas::data("alarm", |r| (&r.of.alarm).into()),
    Replicas::data("forked", |r| r.of.forked.into()),
    Replicas::of("witnessed", "label.column.witnessed", |r| {
        r.of.witnessed.into()
    })
    .spare(1),
    Replicas::data("lost", |r| r.of.lost.into()),
    Replicas::data("alarm_began", |r| Cell::Time(r.of.alarm_began)),
    Replicas::data("past_alarm", |r| (&r.of.past_alarm).into()),
    Replicas::data("past_alarm_began", |r| Cell::Time(r.of.past_alarm_began)),
    Replicas::data("past_alarm_ended", |r| Cell::Time(r.of.past_alarm_ended)),
    Replicas::data("newer", |r| r.of.newer.into()),
    Replicas::data("refused", |r| r.of.refused.into()),
    Replicas::data("spoken", |r| match &r.of.spoken {
        Some(spoken) => Cell::record(spoken, SPOKEN),
        None => Cell::Null,
    }),
    Replicas::seen("label.column.status", |r| {
        state([alarm(&r.of), Cell::Said(r.of.trouble.clone())])
    })
    .flow(),
];

type Budgets = Column<v1::BudgetStatus>;

const BUDGETS: &[Budgets] = &[
    Budgets::of("custodian", "label.column.custodian", |b| {
        (&b.custodian).into()
    }),
    Budgets::of("key_class", "label.column.key_class", |b| {
        Cell::word("label.class", &b.token_class)
    }),
    Budgets::data("day", |b| (&b.day).into()),
    Budgets::of("spent", "label.column.spent", |b| b.spent.into()).sum(),
    Budgets::of("allowed", "label.column.budget", |b| b.allowed.into()).sum(),
    Budgets::data("trouble", |b| (&b.trouble).into()),
    Budgets::seen("label.column.status", |b| {
        state([Cell::Said(b.trouble.clone())])
    })
    .flow(),
];

const WITNESSES: &[Column<v1::WitnessStatus>] = &[
    Column::data("member", |w| (&w.member).into()),
    Column::data("records", |w| w.records.into()),
    Column::data("access", |w| w.access.into()),
    Column::data("trouble", |w| (&w.trouble).into()),
];

const FACTS: &[Column<v1::GetStatusResponse>] = &[
    Column::data("federation", |s| (&s.federation).into()),
    Column::data("member", |s| (&s.member).into()),
    Column::data("role", |s| (&s.role).into()),
    Column::data("version", |s| (&s.version).into()),
    Column::data("now", |s| Cell::Time(s.now)),
    Column::data("roster_version", |s| s.roster_version.into()),
    Column::data("roster_witnessed", |s| s.roster_witnessed.into()),
    Column::data("roster_expires_at", |s| Cell::Time(s.roster_expires_at)),
    Column::data("certificate_expires_at", |s| {
        Cell::Time(s.certificate_expires_at)
    }),
    Column::data("records_size", |s| s.records_size.into()),
    Column::data("records_key_invalid", |s| s.records_key_invalid.into()),
    Column::data("access_size", |s| s.access_size.into()),
    Column::data("publishing", |s| (&s.publishing).into()),
    Column::data("waiting_for", |s| (&s.waiting_for).into()),
    Column::data("cases", |s| s.cases.into()),
    Column::data("hits", |s| s.hits.into()),
    Column::data("disk_bytes", |s| s.disk_bytes.into()),
    Column::data("conflicts", |s| s.conflicts.into()),
    Column::data("records_witnessed", |s| s.records_witnessed.into()),
    Column::data("access_witnessed", |s| s.access_witnessed.into()),
    Column::data("witness_quorum", |s| s.witness_quorum.into()),
    Column::data("witnesses", |s| Cell::rows(&s.witnesses, WITNESSES)),
    Column::data("records_lost", |s| s.records_lost.into()),
    Column::data("access_closed", |s| (&s.access_closed).into()),
    Column::data("features", |s| Cell::texts(&s.features)),
    Column::data("behind", |s| Cell::texts(&s.behind)),
];

/// What a member's node said last that it runs and speaks.
const SPOKEN: &[Column<v1::SpokenStatus>] = &[
    Column::data("version", |s| (&s.version).into()),
    Column::data("said_at", |s| Cell::Time(s.said_at)),
    Column::data("lacks", |s| Cell::texts(&s.lacks)),
    Column::data("unknown", |s| Cell::texts(&s.unknown)),
];

/// What a member's log is accused of, and since when.
fn alarm(replica: &v1::ReplicaStatus) -> Cell {
    let what = Cell::Said(replica.alarm.clone());
    if replica.alarm.is_empty() || replica.alarm_began == 0 {
        return what;
    }
    let began = Cell::Time(replica.alarm_began);
    let words = vec![("what", what), ("began", began)];
    Cell::Phrase("message.status.alarm_since", words)
}

/// What is wrong, or that nothing is.
fn state<const N: usize>(said: [Cell; N]) -> Cell {
    let wrong = |cell: &Cell| !matches!(cell, Cell::Said(text) if text.is_empty());
    let said: Vec<Cell> = said.into_iter().filter(wrong).collect();
    if said.is_empty() {
        Cell::word("label.word", "ok")
    } else {
        Cell::List(said)
    }
}

/// What is held and not read, and what is over.
fn unread(sheet: &mut Sheet, answer: &v1::GetStatusResponse) {
    for replica in &answer.replicas {
        for (key, count) in [
            ("message.status.newer", replica.newer),
            ("message.status.refused", replica.refused),
        ] {
            if count > 0 {
                let member = Cell::from(&replica.member);
                sheet.say(key, [("member", member), ("count", count.into())]);
            }
        }
        if replica.past_alarm_began != 0 && replica.past_alarm_ended != 0 {
            let words = [
                ("member", Cell::from(&replica.member)),
                ("began", Cell::Time(replica.past_alarm_began)),
                ("ended", Cell::Time(replica.past_alarm_ended)),
                ("what", Cell::Said(replica.past_alarm.clone())),
            ];
            sheet.say("message.status.past_alarm", words);
        }
    }
}

/// A node's state.
#[must_use]
pub fn sheet(answer: &v1::GetStatusResponse) -> Sheet {
    let mut sheet = Sheet::new("status");
    sheet.fields(answer, FACTS);
    facts(&mut sheet, answer);
    troubles(&mut sheet, answer);
    witnesses(&mut sheet, answer);
    let replica = |of: &v1::ReplicaStatus| Replica {
        now: answer.now,
        of: of.clone(),
    };
    let replicas: Vec<Replica> = answer.replicas.iter().map(replica).collect();
    let replicas = Section::of(&replicas, REPLICAS).keyed("replicas");
    sheet.section(replicas.titled("label.title.replicas"));
    let budgets = Section::of(&answer.budgets, BUDGETS).keyed("budgets");
    sheet.section(budgets.titled("label.title.budgets"));
    sheet
}

fn date(at: i64) -> Cell {
    if at == 0 {
        Cell::word("label.word", "unknown")
    } else {
        Cell::Time(at)
    }
}

fn facts(sheet: &mut Sheet, answer: &v1::GetStatusResponse) {
    sheet.say(
        "message.status.who",
        [
            ("member", Cell::from(&answer.member)),
            ("role", Cell::word("label.word", &answer.role)),
            ("federation", (&answer.federation).into()),
            ("version", (&answer.version).into()),
        ],
    );
    sheet.say(
        "message.status.until",
        [
            ("roster", answer.roster_version.into()),
            ("expires", date(answer.roster_expires_at)),
            ("certificate", date(answer.certificate_expires_at)),
        ],
    );
    rosters(sheet, answer);
    sheet.say(
        "message.status.counts",
        [
            ("cases", answer.cases.into()),
            ("hits", answer.hits.into()),
            ("records", answer.records_size.into()),
            ("access", answer.access_size.into()),
            ("mebibytes", answer.disk_bytes.div_ceil(1 << 20).into()),
        ],
    );
    let doing = ("state", Cell::word("label.word", &answer.publishing));
    if answer.waiting_for.is_empty() {
        sheet.say("message.status.publishing", [doing]);
    } else {
        let why = ("why", Cell::Said(answer.waiting_for.clone()));
        sheet.say("message.status.waiting", [doing, why]);
    }
}

/// Whether the members are known to hold the same rosters. Without a quorum
/// nobody cosigns them, and there is nothing to say.
fn rosters(sheet: &mut Sheet, answer: &v1::GetStatusResponse) {
    let (witnessed, newest) = (answer.roster_witnessed, answer.roster_version);
    if answer.witness_quorum == 0 && witnessed == 0 {
    } else if witnessed >= newest {
        sheet.say("message.status.rosters", []);
    } else {
        let words = [("roster", newest.into()), ("witnessed", witnessed.into())];
        sheet.say("message.status.rosters_open", words);
    }
}

fn troubles(sheet: &mut Sheet, answer: &v1::GetStatusResponse) {
    let replicas = || answer.replicas.iter();
    if answer.conflicts > 0 {
        let count = answer.conflicts.into();
        sheet.say("message.status.conflicts", [("count", count)]);
    }
    if !answer.access_closed.is_empty() {
        let why = Cell::Said(answer.access_closed.clone());
        sheet.say("message.status.access_closed", [("why", why)]);
    }
    spoken(sheet, answer);
    unread(sheet, answer);
    if answer.records_lost > 0 {
        let count = answer.records_lost.into();
        sheet.say("message.status.own_lost", [("count", count)]);
    }
    for replica in replicas().filter(|replica| replica.lost > 0) {
        let words = [
            ("member", Cell::from(&replica.member)),
            ("count", replica.lost.into()),
        ];
        sheet.say("message.status.lost", words);
    }
    if answer.records_key_invalid > 0 {
        let count = answer.records_key_invalid.into();
        sheet.say("message.status.own_key_invalid", [("count", count)]);
    }
    for replica in replicas().filter(|replica| replica.key_invalid > 0) {
        let words = [
            ("member", Cell::from(&replica.member)),
            ("count", replica.key_invalid.into()),
        ];
        sheet.say("message.status.key_invalid", words);
    }
}

/// Who is behind this node, and who is ahead of it.
fn spoken(sheet: &mut Sheet, answer: &v1::GetStatusResponse) {
    if !answer.behind.is_empty() {
        let members = Cell::texts(&answer.behind);
        sheet.say("message.publish.behind", [("members", members)]);
    }
    let silent = answer.replicas.iter().filter(|r| r.spoken.is_none());
    let silent: Vec<&str> = silent.map(|r| r.member.as_str()).collect();
    if !silent.is_empty() {
        let members = Cell::texts(&silent);
        sheet.say("message.status.unsaid", [("members", members)]);
    }
    let said = answer.replicas.iter();
    for (member, spoken) in said.filter_map(|r| Some((&r.member, r.spoken.as_ref()?))) {
        for (key, words) in [
            ("message.status.lacks", &spoken.lacks),
            ("message.status.ahead", &spoken.unknown),
        ] {
            if words.is_empty() {
                continue;
            }
            let words = [
                ("member", Cell::from(member)),
                ("version", (&spoken.version).into()),
                ("words", Cell::texts(words)),
            ];
            sheet.say(key, words);
        }
    }
}

fn witnesses(sheet: &mut Sheet, answer: &v1::GetStatusResponse) {
    if answer.witness_quorum == 0 {
        sheet.say("message.status.unwitnessed", []);
        return;
    }
    sheet.say(
        "message.status.witnessed",
        [
            ("records", answer.records_witnessed.into()),
            ("records_all", answer.records_size.into()),
            ("access", answer.access_witnessed.into()),
            ("access_all", answer.access_size.into()),
            ("quorum", answer.witness_quorum.into()),
            ("witnesses", answer.witnesses.len().into()),
        ],
    );
    for witness in answer.witnesses.iter().filter(|w| !w.trouble.is_empty()) {
        let words = [
            ("member", Cell::from(&witness.member)),
            ("reason", Cell::Said(witness.trouble.clone())),
        ];
        sheet.say("message.status.witness", words);
    }
}

/// Asks the node how it is.
///
/// # Errors
/// [`CommandError`].
pub async fn run(desk: &Desk) -> Result<Sheet, CommandError> {
    Ok(sheet(
        &desk.client.get_status(v1::GetStatusRequest {}).await?,
    ))
}
