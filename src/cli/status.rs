//! `casegate status`: what the node is doing, how old its replicas are, and
//! what is left of its token budgets.

use serde::Serialize;

use crate::cli::desk::Desk;
use crate::cli::failure::{CommandError, Exit};
use crate::cli::output::{Output, Screen, Table};
use crate::cli::show;
use crate::wire::v1;

/// How far one member's log has been received.
#[derive(Clone, Debug, Serialize)]
pub struct ReplicaView {
    member: String,
    watching: bool,
    fresh_at: Option<String>,
    /// Absent: never complete yet.
    age_s: Option<i64>,
    entries: u64,
    bodies_upto: u64,
    /// Entries that do not count: their key did not speak for them.
    key_invalid: u64,
    trouble: String,
    alarm: String,
    /// Since when; absent when there is none.
    alarm_began: Option<String>,
    /// The last alarm that ended.
    past_alarm: String,
    past_alarm_began: Option<String>,
    past_alarm_ended: Option<String>,
    /// Bodies of a later version: an upgrade reads them.
    newer: u64,
    /// Bodies that break a rule.
    refused: u64,
    /// Its owner signed two histories of it.
    forked: bool,
    /// Entries that a witnessed checkpoint holds.
    witnessed: u64,
    /// Bodies that their owner lost, and that are not here.
    lost: u64,
    /// What its node said last that it runs and speaks; absent: it never said.
    spoken: Option<SpokenView>,
}

/// What a member's node said last that it runs and speaks.
#[derive(Clone, Debug, Serialize)]
pub struct SpokenView {
    version: String,
    said_at: Option<String>,
    /// Features of this node that it lacks.
    lacks: Vec<String>,
    /// Features of it that this node does not know.
    unknown: Vec<String>,
}

/// What was spent at one custodian today.
#[derive(Clone, Debug, Serialize)]
pub struct BudgetView {
    custodian: String,
    key_class: String,
    day: String,
    spent: u64,
    allowed: u64,
    trouble: String,
}

/// How far one witness cosigned this node's logs.
#[derive(Clone, Debug, Serialize)]
pub struct WitnessView {
    member: String,
    records: u64,
    access: u64,
    trouble: String,
}

/// A node's state as JSON and people see it.
#[derive(Clone, Debug, Serialize)]
pub struct StatusView {
    federation: String,
    member: String,
    role: String,
    version: String,
    now: Option<String>,
    roster_version: u64,
    /// Up to which version enough members cosigned the rosters.
    roster_witnessed: u64,
    roster_expires_at: Option<String>,
    certificate_expires_at: Option<String>,
    records_size: u64,
    /// Own records that do not count: their key did not speak for them.
    records_key_invalid: u64,
    access_size: u64,
    publishing: String,
    waiting_for: String,
    cases: u64,
    hits: u64,
    disk_bytes: u64,
    conflicts: u64,
    records_witnessed: u64,
    access_witnessed: u64,
    /// 0: witnessing is off.
    witness_quorum: u32,
    witnesses: Vec<WitnessView>,
    /// Own bodies that nobody has any more.
    records_lost: u64,
    /// Why the own access log is closed; empty when it is open.
    access_closed: String,
    /// What this node speaks.
    features: Vec<String>,
    /// Members whose nodes publishing waits for.
    behind: Vec<String>,
    replicas: Vec<ReplicaView>,
    budgets: Vec<BudgetView>,
}

impl StatusView {
    /// Takes the node's answer.
    #[must_use]
    pub fn of(answer: &v1::GetStatusResponse) -> Self {
        let replica = |r: &v1::ReplicaStatus| ReplicaView {
            member: r.member.clone(),
            watching: r.watching,
            fresh_at: show::instant(r.fresh_at),
            age_s: (r.fresh_at != 0).then_some(answer.now.saturating_sub(r.fresh_at).max(0)),
            entries: r.entries,
            bodies_upto: r.bodies_upto,
            key_invalid: r.key_invalid,
            trouble: r.trouble.clone(),
            alarm: r.alarm.clone(),
            alarm_began: show::instant(r.alarm_began),
            past_alarm: r.past_alarm.clone(),
            past_alarm_began: show::instant(r.past_alarm_began),
            past_alarm_ended: show::instant(r.past_alarm_ended),
            newer: r.newer,
            refused: r.refused,
            forked: r.forked,
            witnessed: r.witnessed,
            lost: r.lost,
            spoken: r.spoken.as_ref().map(|s| SpokenView {
                version: s.version.clone(),
                said_at: show::instant(s.said_at),
                lacks: s.lacks.clone(),
                unknown: s.unknown.clone(),
            }),
        };
        let witness = |w: &v1::WitnessStatus| WitnessView {
            member: w.member.clone(),
            records: w.records,
            access: w.access,
            trouble: w.trouble.clone(),
        };
        let budget = |b: &v1::BudgetStatus| BudgetView {
            custodian: b.custodian.clone(),
            key_class: b.token_class.clone(),
            day: b.day.clone(),
            spent: b.spent,
            allowed: b.allowed,
            trouble: b.trouble.clone(),
        };
        Self {
            federation: answer.federation.clone(),
            member: answer.member.clone(),
            role: answer.role.clone(),
            version: answer.version.clone(),
            now: show::instant(answer.now),
            roster_version: answer.roster_version,
            roster_witnessed: answer.roster_witnessed,
            roster_expires_at: show::instant(answer.roster_expires_at),
            certificate_expires_at: show::instant(answer.certificate_expires_at),
            records_size: answer.records_size,
            records_key_invalid: answer.records_key_invalid,
            access_size: answer.access_size,
            publishing: answer.publishing.clone(),
            waiting_for: answer.waiting_for.clone(),
            cases: answer.cases,
            hits: answer.hits,
            disk_bytes: answer.disk_bytes,
            conflicts: answer.conflicts,
            records_witnessed: answer.records_witnessed,
            access_witnessed: answer.access_witnessed,
            witness_quorum: answer.witness_quorum,
            witnesses: answer.witnesses.iter().map(witness).collect(),
            records_lost: answer.records_lost,
            access_closed: answer.access_closed.clone(),
            features: answer.features.clone(),
            behind: answer.behind.clone(),
            replicas: answer.replicas.iter().map(replica).collect(),
            budgets: answer.budgets.iter().map(budget).collect(),
        }
    }

    /// Shows it to people.
    pub fn show(&self, screen: &mut Screen) {
        let lang = screen.lang();
        let number = |n: u64| n.to_string();
        let date = |at: &Option<String>| at.clone().unwrap_or_else(|| show::word(lang, "unknown"));
        screen.text(
            "message.status.who",
            &[
                ("member", &self.member),
                ("role", &show::word(lang, &self.role)),
                ("federation", &self.federation),
                ("version", &self.version),
            ],
        );
        screen.text(
            "message.status.until",
            &[
                ("roster", &number(self.roster_version)),
                ("expires", &date(&self.roster_expires_at)),
                ("certificate", &date(&self.certificate_expires_at)),
            ],
        );
        self.show_rosters(screen);
        screen.text(
            "message.status.counts",
            &[
                ("cases", &number(self.cases)),
                ("hits", &number(self.hits)),
                ("records", &number(self.records_size)),
                ("access", &number(self.access_size)),
                ("mebibytes", &number(self.disk_bytes.div_ceil(1 << 20))),
            ],
        );
        let doing = show::word(lang, &self.publishing);
        if self.waiting_for.is_empty() {
            screen.text("message.status.publishing", &[("state", &doing)]);
        } else {
            let why = self.waiting_for.as_str();
            screen.text("message.status.waiting", &[("state", &doing), ("why", why)]);
        }
        if self.conflicts > 0 {
            let count = number(self.conflicts);
            screen.text("message.status.conflicts", &[("count", &count)]);
        }
        if !self.access_closed.is_empty() {
            let why = self.access_closed.as_str();
            screen.text("message.status.access_closed", &[("why", why)]);
        }
        self.show_spoken(screen);
        self.show_lost(screen);
        self.show_unread(screen);
        self.show_key_invalid(screen);
        self.show_witnesses(screen);
        self.show_replicas(screen);
        self.show_budgets(screen);
    }

    /// Who is behind this node, and who is ahead of it.
    fn show_spoken(&self, screen: &mut Screen) {
        if !self.behind.is_empty() {
            let members = self.behind.join(", ");
            screen.text("message.publish.behind", &[("members", &members)]);
        }
        let silent = self.replicas.iter().filter(|r| r.spoken.is_none());
        let silent: Vec<&str> = silent.map(|r| r.member.as_str()).collect();
        if !silent.is_empty() {
            let members = silent.join(", ");
            screen.text("message.status.unsaid", &[("members", &members)]);
        }
        let said = self.replicas.iter();
        for (member, spoken) in said.filter_map(|r| Some((&r.member, r.spoken.as_ref()?))) {
            let both = [
                ("message.status.lacks", &spoken.lacks),
                ("message.status.ahead", &spoken.unknown),
            ];
            for (key, words) in both.into_iter().filter(|(_, words)| !words.is_empty()) {
                let (version, words) = (spoken.version.as_str(), words.join(", "));
                screen.text(
                    key,
                    &[("member", member), ("version", version), ("words", &words)],
                );
            }
        }
    }

    fn show_lost(&self, screen: &mut Screen) {
        if self.records_lost > 0 {
            let count = self.records_lost.to_string();
            screen.text("message.status.own_lost", &[("count", &count)]);
        }
        for replica in self.replicas.iter().filter(|replica| replica.lost > 0) {
            let count = replica.lost.to_string();
            screen.text(
                "message.status.lost",
                &[("member", &replica.member), ("count", &count)],
            );
        }
    }

    /// What is held and not read, and what is over.
    fn show_unread(&self, screen: &mut Screen) {
        for replica in &self.replicas {
            let told = [
                ("message.status.newer", replica.newer),
                ("message.status.refused", replica.refused),
            ];
            for (key, count) in told.into_iter().filter(|(_, count)| *count > 0) {
                let count = count.to_string();
                screen.text(key, &[("member", &replica.member), ("count", &count)]);
            }
            if let (Some(began), Some(ended)) =
                (&replica.past_alarm_began, &replica.past_alarm_ended)
            {
                screen.text(
                    "message.status.past_alarm",
                    &[
                        ("member", &replica.member),
                        ("began", began),
                        ("ended", ended),
                        ("what", &replica.past_alarm),
                    ],
                );
            }
        }
    }

    /// Whether the members are known to hold the same rosters. Without a quorum
    /// nobody cosigns them, and there is nothing to say.
    fn show_rosters(&self, screen: &mut Screen) {
        if self.witness_quorum == 0 && self.roster_witnessed == 0 {
            return;
        }
        if self.roster_witnessed >= self.roster_version {
            screen.text("message.status.rosters", &[]);
            return;
        }
        let newest = self.roster_version.to_string();
        let witnessed = self.roster_witnessed.to_string();
        screen.text(
            "message.status.rosters_open",
            &[("roster", &newest), ("witnessed", &witnessed)],
        );
    }

    fn show_key_invalid(&self, screen: &mut Screen) {
        if self.records_key_invalid > 0 {
            let count = self.records_key_invalid.to_string();
            screen.text("message.status.own_key_invalid", &[("count", &count)]);
        }
        for replica in self.replicas.iter().filter(|r| r.key_invalid > 0) {
            let count = replica.key_invalid.to_string();
            screen.text(
                "message.status.key_invalid",
                &[("member", &replica.member), ("count", &count)],
            );
        }
    }

    fn show_witnesses(&self, screen: &mut Screen) {
        if self.witness_quorum == 0 {
            screen.text("message.status.unwitnessed", &[]);
            return;
        }
        screen.text(
            "message.status.witnessed",
            &[
                ("records", &self.records_witnessed.to_string()),
                ("records_all", &self.records_size.to_string()),
                ("access", &self.access_witnessed.to_string()),
                ("access_all", &self.access_size.to_string()),
                ("quorum", &self.witness_quorum.to_string()),
                ("witnesses", &self.witnesses.len().to_string()),
            ],
        );
        for witness in self.witnesses.iter().filter(|w| !w.trouble.is_empty()) {
            screen.text(
                "message.status.witness",
                &[("member", &witness.member), ("reason", &witness.trouble)],
            );
        }
    }

    fn show_replicas(&self, screen: &mut Screen) {
        if self.replicas.is_empty() {
            return;
        }
        let lang = screen.lang();
        screen.title("label.title.replicas");
        let mut table = Table::new()
            .column("label.column.member")
            .column("label.column.age")
            .number("label.column.entries")
            .number("label.column.bodies")
            .number("label.column.witnessed")
            .column("label.column.status");
        for replica in &self.replicas {
            let alarm = match &replica.alarm_began {
                Some(began) => lang.text(
                    "message.status.alarm_since",
                    &[("what", &replica.alarm), ("began", began)],
                ),
                None => replica.alarm.clone(),
            };
            let parts = [&alarm, &replica.trouble];
            let said: Vec<&str> = parts
                .into_iter()
                .filter(|p| !p.is_empty())
                .map(String::as_str)
                .collect();
            let state = if said.is_empty() {
                show::word(lang, "ok")
            } else {
                said.join("; ")
            };
            table.row([
                replica.member.clone(),
                show::age(lang, replica.age_s.unwrap_or(-1)),
                replica.entries.to_string(),
                replica.bodies_upto.to_string(),
                replica.witnessed.to_string(),
                state,
            ]);
        }
        screen.table(&table);
    }

    fn show_budgets(&self, screen: &mut Screen) {
        if self.budgets.is_empty() {
            return;
        }
        let lang = screen.lang();
        screen.title("label.title.budgets");
        let mut table = Table::new()
            .column("label.column.custodian")
            .column("label.column.key_class")
            .number("label.column.spent")
            .number("label.column.budget")
            .column("label.column.status");
        for budget in &self.budgets {
            let class = if budget.key_class == "open" {
                "open_key"
            } else {
                &budget.key_class
            };
            let state = if budget.trouble.is_empty() {
                show::word(lang, "ok")
            } else {
                budget.trouble.clone()
            };
            table.row([
                budget.custodian.clone(),
                show::word(lang, class),
                budget.spent.to_string(),
                budget.allowed.to_string(),
                state,
            ]);
        }
        screen.table(&table);
    }
}

/// Asks the node how it is.
///
/// # Errors
/// [`CommandError`].
pub async fn run(desk: &Desk, output: &Output) -> Result<Exit, CommandError> {
    let view = StatusView::of(&desk.client.get_status(v1::GetStatusRequest {}).await?);
    output.emit("status", &view, |screen| view.show(screen))?;
    Ok(Exit::Done)
}
