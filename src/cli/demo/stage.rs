//! The play itself: nodes come up, bureaus import and publish, logs travel,
//! officers ask, everything is verified.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, bail};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::props::{
    DEPARTMENT, case_with_hit, complete, import_one, rate, spec, trouble, verify_node, wait,
};
use super::report::{Findings, Numbers};
use super::shared::{self, Shared};
use super::tamper::Middle;
use super::{BureauFile, DemoArgs, progress, purpose};
use crate::cli::output::{Output, Progress};
use crate::clock::{Clock, DAY_S, Stopwatch};
use crate::element::Rules;
use crate::federation::{Federation, OFFICER};
use crate::ids::{LogName, MemberId};
use crate::node::Parts;
use crate::wire::v1;

/// Files that are imported at once.
const IMPORTS_AT_ONCE: usize = 4;
/// The number of the department's operation.
const OPERATION: &str = "DEMO-OPERATION";

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
            let alarm = states.get(member)?.alarms.standing()?.sentence.clone();
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
