//! The play itself: nodes come up, bureaus import and publish, logs travel,
//! officers ask, everything is verified.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::report::{Findings, Numbers};
use super::shared::{self, Shared};
use super::tamper::Middle;
use super::{BureauFile, DemoArgs, progress, purpose};
use crate::cli::output::{Output, Progress};
use crate::clock::{Clock, DAY_S, Stopwatch};
use crate::element::{Rules, TokenClass};
use crate::federation::{Federation, FederationSpec, MemberSpec, OFFICER};
use crate::ids::{FederationId, LogName, MemberId};
use crate::node::Parts;
use crate::roster::MemberRole;
use crate::wire::v1::{self, import_event::Event};

/// Files that are imported at once.
const IMPORTS_AT_ONCE: usize = 4;
/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How long nothing may move before the demo gives up.
const STALLED_S: f64 = 120.0;
/// Page cache of each node's store: small, since many run in one process.
const CACHE_BYTES: u64 = 8 << 20;
/// The department of the demo.
const DEPARTMENT: &str = "province";
/// The number of the department's operation.
const OPERATION: &str = "DEMO-OPERATION";
/// Bytes of one part of an imported file.
const PART_BYTES: usize = 256 * 1024;

/// A bar and how long it has run.
pub(in crate::cli) struct Progressing {
    pub(in crate::cli) bar: Progress,
    pub(in crate::cli) watch: Stopwatch,
}

/// The federation on its stage, and what has been counted so far.
pub(super) struct Stage {
    federation: Federation,
    files: Vec<BureauFile>,
    department: MemberId,
    middle: Option<(MemberId, Arc<AtomicBool>)>,
    reports: Vec<v1::ImportReport>,
    numbers: Numbers,
    asked_case: Option<String>,
    loading: Stopwatch,
    dir: PathBuf,
}

impl Stage {
    /// Brings the federation up.
    pub(super) async fn launch(
        args: &DemoArgs,
        dir: PathBuf,
        clock: Clock,
        rules: Rules,
        files: Vec<BureauFile>,
        output: &Output,
    ) -> anyhow::Result<Self> {
        let watch = Stopwatch::start();
        let (bureaus, custodians) = (files.len().to_string(), args.custodians.to_string());
        let values = [("bureaus", &*bureaus), ("custodians", &*custodians)];
        output.note(&output.lang().text("demo.step.federation", &values))?;
        let spec = spec(args, dir.clone(), clock, rules, &files)?;
        let department = MemberId::new(DEPARTMENT)?;
        let threshold = args.threshold.to_string();
        let values = [("threshold", &*threshold), ("custodians", &*custodians)];
        output.note(&output.lang().text("demo.step.keygen", &values))?;
        let middle = match (&spec.behind, args.tamper) {
            (Some(member), true) => Some((member.clone(), Arc::new(AtomicBool::new(false)))),
            _ => None,
        };
        let mut federation = Federation::launch(spec).await?;
        if let Some((member, changed)) = &middle {
            let channel = federation.channel_behind(member)?;
            let middle = Middle::new(channel, Arc::clone(changed));
            federation.stand_before(member, v1::exchange_server::ExchangeServer::new(middle))?;
        }
        let mut stage = Self {
            federation,
            files,
            department,
            middle,
            reports: vec![],
            numbers: Numbers::default(),
            asked_case: None,
            loading: Stopwatch::start(),
            dir,
        };
        stage.write_officer_configs()?;
        stage.numbers.timings.insert("launch_s", watch.seconds());
        Ok(stage)
    }

    /// Imports, publishes and exchanges; returns what was caught of a tampering.
    pub(super) async fn play(
        &mut self,
        rows: u64,
        output: &Output,
    ) -> anyhow::Result<Option<String>> {
        self.loading = Stopwatch::start();
        self.import(rows, output).await?;
        self.publish(output).await?;
        self.exchange(output).await?;
        match &self.middle {
            None => Ok(None),
            Some((member, changed)) => Ok(Some(self.caught(member, changed, output))),
        }
    }

    async fn import(&mut self, rows: u64, output: &Output) -> anyhow::Result<()> {
        let step = progress(output, "demo.step.import", &[], Some(rows))?;
        let federation = &self.federation;
        let bar = &step.bar;
        let reports: Vec<v1::ImportReport> = stream::iter(self.files.clone())
            .map(|file| import_one(federation, file, bar))
            .buffer_unordered(IMPORTS_AT_ONCE)
            .try_collect()
            .await?;
        for report in &reports {
            self.numbers.rows += report.rows;
            self.numbers.elements += report.elements;
            self.numbers.refused += report.refused;
            self.numbers.duplicates += report.duplicates;
            self.numbers.cases += report.cases;
        }
        self.numbers.bureaus = reports.len() as u64;
        self.reports = reports;
        self.numbers
            .timings
            .insert("import_s", step.watch.seconds());
        Ok(())
    }

    fn parts(&self) -> Vec<Arc<Parts>> {
        self.federation
            .nodes
            .values()
            .map(|node| Arc::clone(node.parts()))
            .collect()
    }

    fn evaluated(&self) -> u64 {
        let of = |p: &Arc<Parts>| p.publisher.counts.evaluated.load(Ordering::Relaxed);
        self.parts().iter().map(of).sum()
    }

    async fn publish(&mut self, output: &Output) -> anyhow::Result<()> {
        let step = progress(
            output,
            "demo.step.publish",
            &[],
            Some(self.numbers.elements),
        )?;
        let parts = self.parts();
        let published = || -> u64 {
            let of = |p: &Arc<Parts>| p.publisher.counts.records.load(Ordering::Relaxed);
            parts.iter().map(of).sum()
        };
        wait(
            || {
                let done = published();
                step.bar.at(done);
                (parts.iter().all(|p| p.ledger.is_queue_empty()), done)
            },
            || trouble(&parts),
        )
        .await?;
        let seconds = self.loading.seconds();
        let evaluated = self.evaluated();
        self.numbers.evaluations = evaluated;
        self.numbers.timings.insert("load_s", seconds);
        self.numbers
            .timings
            .insert("tokens_per_s", rate(evaluated, seconds));
        Ok(())
    }

    async fn exchange(&mut self, output: &Output) -> anyhow::Result<()> {
        let parts = self.parts();
        let behind = self.middle.as_ref().map(|(member, _)| member.clone());
        let replicas: Vec<_> = parts.iter().filter(|p| p.replicate).cloned().collect();
        let total: u64 = parts
            .iter()
            .map(|owner| {
                let others = replicas.len() - usize::from(owner.replicate);
                owner.ledger.own_log(LogName::Records).size().0 * others as u64
            })
            .sum();
        let step = progress(output, "demo.step.exchange", &[], Some(total))?;
        let verified = || -> u64 {
            let of = |p: &Arc<Parts>| p.replicator.counts.verified.load(Ordering::Relaxed);
            parts.iter().map(of).sum()
        };
        let bodies = || -> u64 {
            let of = |p: &Arc<Parts>| p.replicator.counts.bodies.load(Ordering::Relaxed);
            parts.iter().map(of).sum()
        };
        wait(
            || {
                let done = verified();
                step.bar.at(done);
                (
                    replicas
                        .iter()
                        .all(|p| complete(p, &parts, behind.as_ref())),
                    done + bodies(),
                )
            },
            || trouble(&parts),
        )
        .await?;
        // Peers pull while bureaus still publish: the rate is over all of it.
        let seconds = self.loading.seconds();
        self.numbers.exchanged = verified();
        self.numbers.signatures_checked = verified();
        self.numbers.timings.insert("load_and_exchange_s", seconds);
        self.numbers
            .timings
            .insert("exchanged_per_s", rate(verified(), seconds));
        Ok(())
    }

    fn caught(&self, member: &MemberId, changed: &AtomicBool, output: &Output) -> String {
        let alarm = self.parts().iter().find_map(|p| {
            let states = p.replicator.states();
            let alarm = states.get(member)?.alarm.clone()?;
            Some((p.ledger.own().to_string(), alarm))
        });
        match (alarm, changed.load(Ordering::SeqCst)) {
            (Some((receiver, alarm)), true) => {
                let member = member.to_string();
                let values = [
                    ("member", &*member),
                    ("index", "0"),
                    ("receiver", &*receiver),
                ];
                let said = output.lang().text("demo.tamper.caught", &values);
                format!("{said} ({alarm})")
            }
            _ => output.lang().text("demo.tamper.missed", &[]),
        }
    }

    /// Asks, links, verifies and collects.
    pub(super) async fn finish(&mut self, output: &Output) -> anyhow::Result<(Shared, Findings)> {
        output.note(&output.lang().text("demo.step.query", &[]))?;
        self.ask().await?;
        output.note(&output.lang().text("demo.step.links", &[]))?;
        let links = self.link().await?;
        self.verify(output).await?;
        let shared = self.collect().await?;
        self.spent().await?;
        let findings = Findings {
            numbers: self.numbers.clone(),
            links,
            ..Default::default()
        };
        Ok((shared, findings))
    }

    async fn ask(&mut self) -> anyhow::Result<()> {
        let mut times = vec![];
        for file in &self.files {
            let Some(node) = self.federation.nodes.get(&file.id) else {
                continue;
            };
            let parts = Arc::clone(node.parts());
            let asked = tokio::task::spawn_blocking(move || case_with_hit(&parts)).await??;
            let (hits, Some(case_no)) = asked else {
                continue;
            };
            self.numbers.hits += hits;
            let desk = self.federation.desk(&file.id)?;
            let request = v1::QueryRequest {
                case_no: case_no.clone(),
                purpose: Some(purpose()),
                ..Default::default()
            };
            desk.get_status(v1::GetStatusRequest {}).await?;
            let watch = Stopwatch::start();
            let answer = desk.query(request).await?;
            times.push(watch.seconds() * 1_000.0);
            if answer.matches.is_empty() {
                bail!("{}: a case with a hit has no match", file.id);
            }
            self.asked_case.get_or_insert(case_no);
        }
        times.sort_by(f64::total_cmp);
        let median = times.get(times.len() / 2).copied().unwrap_or_default();
        self.numbers.timings.insert("query_ms", median);
        Ok(())
    }

    async fn link(&mut self) -> anyhow::Result<v1::LinksResponse> {
        let watch = Stopwatch::start();
        let desk = self.federation.desk(&self.department)?;
        let now = self.clock_now();
        let row = v1::CaseRow {
            case_no: OPERATION.into(),
            category: "operation".into(),
            operation: true,
            ends_at: now + 30 * DAY_S,
            ..Default::default()
        };
        desk.add_case(v1::AddCaseRequest { row: Some(row) }).await?;
        let request = v1::LinksRequest {
            operation: OPERATION.into(),
            by: "case".into(),
            purpose: Some(purpose()),
            ..Default::default()
        };
        let links = desk.links(request).await?;
        self.numbers.timings.insert("links_s", watch.seconds());
        Ok(links)
    }

    fn clock_now(&self) -> i64 {
        self.federation
            .nodes
            .values()
            .next()
            .map_or(0, |n| n.parts().clock.now())
    }

    async fn verify(&mut self, output: &Output) -> anyhow::Result<()> {
        let nodes: Vec<_> = self.parts().into_iter().filter(|p| p.replicate).collect();
        let logs = (nodes.len() * nodes.len().saturating_sub(1)) as u64;
        let step = progress(output, "demo.step.verify", &[], Some(logs))?;
        let owners: Arc<BTreeMap<MemberId, crate::ids::Digest>> = Arc::new(
            nodes
                .iter()
                .map(|p| {
                    (
                        p.ledger.own().clone(),
                        p.ledger.own_log(LogName::Records).head().root(),
                    )
                })
                .collect(),
        );
        let verified: Vec<u64> = stream::iter(nodes.clone())
            .map(|parts| {
                let owners = Arc::clone(&owners);
                let bar = &step.bar;
                async move {
                    let work = move || verify_node(&parts, &owners);
                    let good = tokio::task::spawn_blocking(work).await??;
                    bar.advance(good);
                    anyhow::Ok(good)
                }
            })
            .buffer_unordered(2)
            .try_collect()
            .await?;
        self.numbers.logs_verified = verified.iter().sum();
        let refused = |p: &Arc<Parts>| p.replicator.counts.refused.load(Ordering::Relaxed);
        self.numbers.signatures_bad = nodes.iter().map(refused).sum();
        self.numbers
            .timings
            .insert("verify_s", step.watch.seconds());
        Ok(())
    }

    async fn collect(&mut self) -> anyhow::Result<Shared> {
        let watch = Stopwatch::start();
        let bureaus: Vec<_> = self
            .files
            .iter()
            .filter_map(|f| self.federation.nodes.get(&f.id))
            .map(|node| Arc::clone(node.parts()))
            .collect();
        let shared = tokio::task::spawn_blocking(move || {
            let mut shared = Shared::new();
            bureaus
                .iter()
                .try_for_each(|parts| shared::collect(parts, &mut shared))?;
            anyhow::Ok(shared)
        })
        .await??;
        self.numbers.timings.insert("collect_s", watch.seconds());
        Ok(shared)
    }

    async fn spent(&mut self) -> anyhow::Result<()> {
        for file in &self.files {
            let Some(node) = self.federation.nodes.get(&file.id) else {
                continue;
            };
            let parts = node.parts();
            for custodian in parts.rosters.newest().custodians() {
                let answer = parts.peers.budget(custodian).await?;
                for line in answer.lines {
                    let class = match line.token_class() {
                        v1::TokenClass::Enumerable => "enumerable",
                        v1::TokenClass::Open | v1::TokenClass::Unspecified => "open",
                    };
                    let name = format!("{custodian}/{class}");
                    *self.numbers.budgets.entry(name).or_default() += line.spent;
                }
            }
        }
        Ok(())
    }

    /// Writes for each member's officer the config with which he attaches.
    fn write_officer_configs(&self) -> anyhow::Result<()> {
        for member in self.members() {
            let Some((_, desk)) = self.federation.addresses(&member) else {
                continue;
            };
            let text = format!(
                "federation = \"{}\"\nmember = \"{member}\"\ndesk = \"{desk}\"\n\
                 cert = \"{OFFICER}.pem\"\nkey = \"{OFFICER}.key\"\n\
                 roster = \"../roster.bin\"\npin = \"{}\"\n",
                self.federation.name(),
                self.federation.pin(),
            );
            let path = self.officer_config(&member);
            std::fs::write(&path, text).with_context(|| path.display().to_string())?;
        }
        Ok(())
    }

    pub(super) fn officer_config(&self, member: &MemberId) -> PathBuf {
        self.dir
            .join(member.as_str())
            .join("officers")
            .join(format!("{OFFICER}.toml"))
    }

    pub(super) fn asked_case(&self) -> Option<&str> {
        self.asked_case.as_deref()
    }

    pub(super) fn first_bureau(&self) -> &MemberId {
        self.files.first().map_or(&self.department, |file| &file.id)
    }

    pub(super) fn members(&self) -> Vec<MemberId> {
        let bureaus = self.files.iter().map(|f| f.id.clone());
        bureaus.chain([self.department.clone()]).collect()
    }

    pub(super) async fn stop(self) {
        self.federation.stop().await;
    }
}

fn spec(
    args: &DemoArgs,
    dir: PathBuf,
    clock: Clock,
    rules: Rules,
    files: &[BureauFile],
) -> anyhow::Result<FederationSpec> {
    let member = |id: MemberId, role, region: &str, replicate| MemberSpec {
        id,
        role,
        region: region.to_owned(),
        replicate,
    };
    let mut members = vec![];
    for file in files {
        members.push(member(
            file.id.clone(),
            MemberRole::Bureau,
            file.id.as_str(),
            true,
        ));
    }
    let department = MemberId::new(DEPARTMENT)?;
    members.push(member(department, MemberRole::Department, DEPARTMENT, true));
    let custodians = (1..=args.custodians)
        .map(|n| MemberId::new(&format!("custodian-{n}")))
        .collect::<Result<Vec<_>, _>>()?;
    for id in &custodians {
        members.push(member(
            id.clone(),
            MemberRole::Department,
            DEPARTMENT,
            false,
        ));
    }
    Ok(FederationSpec {
        federation: FederationId::new("demo.example")?,
        dir,
        members,
        custodians,
        threshold: args.threshold,
        clock,
        rules,
        grants: grants(files),
        cache_bytes: CACHE_BYTES,
        behind: files
            .first()
            .filter(|_| args.tamper)
            .map(|file| file.id.clone()),
    })
}

/// Explicit grants for the first load: as many points as a file has lines, with
/// room for padding, where that may pass the daily budget.
fn grants(files: &[BureauFile]) -> Vec<(MemberId, TokenClass, u64)> {
    let mut grants = vec![];
    for file in files {
        let points = super::count_lines(&file.bytes) * 2 + 8_192;
        for class in [TokenClass::Enumerable, TokenClass::Open] {
            grants.push((file.id.clone(), class, points));
        }
    }
    grants
}

async fn import_one(
    federation: &Federation,
    file: BureauFile,
    bar: &Progress,
) -> anyhow::Result<v1::ImportReport> {
    let desk = federation.desk(&file.id)?;
    let (sender, parts) = tokio::sync::mpsc::channel(4);
    let bytes = file.bytes.clone();
    let feeding = tokio::spawn(async move {
        let mut rest = bytes;
        while !rest.is_empty() {
            let part = rest.split_to(rest.len().min(PART_BYTES));
            if sender
                .send(v1::ImportPart {
                    options: None,
                    bytes: part,
                })
                .await
                .is_err()
            {
                return;
            }
        }
    });
    let options = v1::ImportOptions {
        file_name: file.id.to_string(),
        format: file.format.into(),
        purpose: Some(purpose()),
        ..Default::default()
    };
    let mut events = desk.import(options, parts).await?;
    let (mut rows, mut report) = (0, None);
    while let Some(event) = events.next().await? {
        match event {
            Event::Rows(n) => {
                bar.advance(n.saturating_sub(rows));
                rows = n;
            }
            Event::Report(done) => report = Some(done),
            Event::Refusal(_) | Event::Published(_) => {}
        }
    }
    feeding.await?;
    report.with_context(|| format!("{}: the import ended without a report", file.id))
}

/// Waits until `look` says so; gives up when its second number stands still.
async fn wait(
    mut look: impl FnMut() -> (bool, u64),
    trouble: impl Fn() -> String,
) -> anyhow::Result<()> {
    let mut looks = tokio::time::interval(LOOK);
    let (mut last, mut since) = (0, Stopwatch::start());
    loop {
        looks.tick().await;
        let (done, moved) = look();
        if done {
            return Ok(());
        }
        if moved != last {
            (last, since) = (moved, Stopwatch::start());
        }
        if since.seconds() > STALLED_S {
            bail!("nothing moved for {STALLED_S:.0} s: {}", trouble());
        }
    }
}

/// What the nodes complain about.
fn trouble(parts: &[Arc<Parts>]) -> String {
    let mut out = vec![];
    for p in parts {
        if let crate::publish::PublishState::Waiting(why) = &*p.publisher.state().borrow() {
            out.push(format!("{}: {why}", p.ledger.own()));
        }
        for (member, state) in p.replicator.states() {
            if let Some(trouble) = state.trouble {
                out.push(format!("{} about {member}: {trouble}", p.ledger.own()));
            }
        }
    }
    out.truncate(5);
    out.join("; ")
}

/// Whether a node has all of every other's log, but for the tampered one,
/// which it must have refused.
fn complete(parts: &Parts, all: &[Arc<Parts>], behind: Option<&MemberId>) -> bool {
    all.iter().all(|other| {
        let own = other.ledger.own_log(LogName::Records);
        if Some(other.ledger.own()) == behind && parts.ledger.own() != other.ledger.own() {
            let states = parts.replicator.states();
            return states
                .get(other.ledger.own())
                .is_some_and(|s| s.alarm.is_some());
        }
        parts.ledger.log(&own.origin).is_ok_and(|log| {
            let head = log.head();
            head.size() == own.size() && head.bodies_upto == own.size().0
        })
    })
}

/// The number of hits of a node, and an own case with one.
fn case_with_hit(parts: &Parts) -> anyhow::Result<(u64, Option<String>)> {
    let hits = parts.ledger.hits()?;
    let Some(first) = hits.first() else {
        return Ok((0, None));
    };
    let held = parts.ledger.held(first.own_index)?;
    Ok((hits.len() as u64, held.map(|h| h.case_no)))
}

/// Computes the roots of a node's replicas again; returns how many are the
/// roots of their owners.
fn verify_node(
    parts: &Parts,
    owners: &BTreeMap<MemberId, crate::ids::Digest>,
) -> anyhow::Result<u64> {
    let roster = parts.rosters.newest();
    let mut good = 0;
    for log in parts.ledger.logs() {
        let member = &log.origin.member;
        if member == parts.ledger.own() || log.origin.log != LogName::Records {
            continue;
        }
        let (Some(owner), Some(root)) = (roster.member(member), owners.get(member)) else {
            continue;
        };
        if let Ok(signed) = parts.ledger.verify_log(&log, owner) {
            good += u64::from(signed.root == *root);
        }
    }
    Ok(good)
}

#[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn rate(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 {
        count as f64 / seconds
    } else {
        0.0
    }
}
