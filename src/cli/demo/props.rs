//! What the play needs: the federation to bring up, one file's import, waiting
//! with an eye on whether anything moves, and looking at one node.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};

use super::{BureauFile, DemoArgs, purpose};
use crate::cli::output::Progress;
use crate::clock::{Clock, Stopwatch};
use crate::element::{Rules, TokenClass};
use crate::federation::{Federation, FederationSpec, MemberSpec};
use crate::ids::{FederationId, LogName, MemberId};
use crate::node::Parts;
use crate::roster::MemberRole;
use crate::rpc::desk_client::FilePart;
use crate::wire::v1::{self, import_event::Event};

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How long nothing may move before the demo gives up.
const STALLED_S: f64 = 120.0;
/// Page cache of each node's store: small, since many run in one process.
const CACHE_BYTES: u64 = 8 << 20;
/// The department of the demo.
pub(super) const DEPARTMENT: &str = "province";
/// Bytes of one part of an imported file.
const PART_BYTES: usize = 256 * 1024;

/// The member that audits the others; it has no node.
const AUDITOR: &str = "audit-office";

pub(super) fn spec(
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
    let auditor = MemberId::new(AUDITOR)?;
    members.push(member(auditor, MemberRole::Auditor, DEPARTMENT, false));
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
pub(super) fn grants(files: &[BureauFile]) -> Vec<(MemberId, TokenClass, u64)> {
    let mut grants = vec![];
    for file in files {
        let points = super::count_lines(&file.bytes) * 2 + 8_192;
        for class in [TokenClass::Enumerable, TokenClass::Open] {
            grants.push((file.id.clone(), class, points));
        }
    }
    grants
}

pub(super) async fn import_one(
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
            if sender.send(FilePart::Bytes(part)).await.is_err() {
                return;
            }
        }
        // A node that hung up says why in its answer.
        drop(sender.send(FilePart::End).await);
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
pub(super) async fn wait(
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
pub(super) fn trouble(parts: &[Arc<Parts>]) -> String {
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
pub(super) fn complete(parts: &Parts, all: &[Arc<Parts>], behind: Option<&MemberId>) -> bool {
    all.iter().all(|other| {
        let own = other.ledger.own_log(LogName::Records);
        if Some(other.ledger.own()) == behind && parts.ledger.own() != other.ledger.own() {
            let states = parts.replicator.states();
            return states
                .get(other.ledger.own())
                .is_some_and(|s| s.alarms.standing().is_some());
        }
        parts.ledger.log(&own.origin).is_ok_and(|log| {
            let head = log.head();
            head.size() == own.size() && head.bodies_upto == own.size().0
        })
    })
}

/// The number of hits of a node, and an own case with one.
pub(super) fn case_with_hit(parts: &Parts) -> anyhow::Result<(u64, Option<String>)> {
    let hits = parts.ledger.hits()?;
    let Some(first) = hits.first() else {
        return Ok((0, None));
    };
    let held = parts.ledger.held(first.own_index)?;
    Ok((hits.len() as u64, held.map(|h| h.case_no)))
}

/// Computes the roots of a node's replicas again; returns how many are the
/// roots of their owners.
pub(super) fn verify_node(
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
pub(super) fn rate(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 {
        count as f64 / seconds
    } else {
        0.0
    }
}
