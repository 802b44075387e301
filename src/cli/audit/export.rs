//! `casegate audit export`: writes a member's bundle, from its node's audit
//! port or, with `--offline`, from the directory of the own stopped node.

use std::path::{Path, PathBuf};

use serde_json::json;
use time::{Date, format_description::BorrowedFormatItem, macros::format_description};
use tokio::sync::watch;

use super::node::{AuditPort, NodeArgs, interruptible};
use crate::access::{AccessLine, AccessLog};
use crate::audit::export::{Bound, BundleOut, Exported, Progress, Selection, export};
use crate::audit::files::Files;
use crate::audit::local::LedgerFiles;
use crate::blame::Blamed;
use crate::cli::failure::{CommandError, Exit};
use crate::cli::output::{Output, Screen, Table};
use crate::clock::{Clock, DAY_S};
use crate::config::Config;
use crate::ids::{FederationId, LogName};
use crate::intake::SHANGHAI_OFFSET_S;
use crate::ledger::Seer;
use crate::policy::Method;
use crate::setup;
use crate::wire::v1::AccessScope;

/// How days are written.
const DAY: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");

/// Writes a member's bundle: all that is needed to verify its logs offline.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    node: NodeArgs,
    /// The first record to export, or the first day.
    #[arg(long, value_name = "INDEX|YYYY-MM-DD", value_parser = edge)]
    from: Option<Edge>,
    /// The last record to export, or the last day.
    #[arg(long, value_name = "INDEX|YYYY-MM-DD", value_parser = edge)]
    to: Option<Edge>,
    /// Where the bundle goes: a new directory, or a file that ends with .tar.
    #[arg(long, value_name = "DIR|FILE.tar")]
    out: PathBuf,
    /// Reads the directory of the own stopped node; --config names its config.
    #[arg(long, conflicts_with = "node")]
    offline: bool,
}

/// One end of what is exported, as it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edge {
    Index(u64),
    /// Midnight of a day, as if it were in UTC.
    Day(i64),
}

fn edge(text: &str) -> Result<Edge, String> {
    if let Ok(index) = text.parse() {
        return Ok(Edge::Index(index));
    }
    let day = Date::parse(text, DAY).map_err(|_| "neither an index nor a day".to_owned())?;
    Ok(Edge::Day(day.midnight().assume_utc().unix_timestamp()))
}

impl Edge {
    /// The bound before which, or from which on, `after` of it is exported.
    fn bound(self, offset_s: i32, after: bool) -> Bound {
        match self {
            Self::Index(index) => Bound::Index(index.saturating_add(u64::from(after))),
            Self::Day(midnight) => {
                let day = if after { DAY_S } else { 0 };
                Bound::Time(midnight - i64::from(offset_s) + day)
            }
        }
    }
}

impl ExportArgs {
    fn selection(&self, federation: FederationId, offset_s: i32, clock: &Clock) -> Selection {
        Selection {
            federation,
            member: self.node.member.clone(),
            from: self.from.map(|edge| edge.bound(offset_s, false)),
            to: self.to.map(|edge| edge.bound(offset_s, true)),
            now: clock.now(),
        }
    }
}

/// Runs `casegate audit export`. Exit codes: 0 for a whole bundle; 1 for one
/// without the receipts of members that did not answer; 2 and above when there
/// is none.
pub(super) fn run(
    args: &ExportArgs,
    config: &Path,
    clock: &Clock,
    output: &Output,
) -> anyhow::Result<Exit> {
    let exported = if args.offline {
        offline(args, config, clock, output)
    } else {
        online(args, config, clock, output)
    }?;
    match exported {
        Outcome::Bundle(exported) => {
            let value = value_of(&exported);
            output.emit("audit.export", &value, |screen| show(&exported, screen))?;
            Ok(if exported.silent.is_empty() {
                Exit::Done
            } else {
                Exit::Nothing
            })
        }
        Outcome::Refused(exit) => Ok(exit),
    }
}

enum Outcome {
    Bundle(Exported),
    Refused(Exit),
}

fn online(
    args: &ExportArgs,
    config: &Path,
    clock: &Clock,
    output: &Output,
) -> anyhow::Result<Outcome> {
    let port = AuditPort::open(&args.node, config, clock)?;
    let what = args.selection(port.federation.clone(), SHANGHAI_OFFSET_S, clock);
    let out = BundleOut::of(&args.out);
    write(out, &what, &port.files, output, &port.stopped).map(Outcome::Bundle)
}

fn offline(
    args: &ExportArgs,
    path: &Path,
    clock: &Clock,
    output: &Output,
) -> anyhow::Result<Outcome> {
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(error) => {
            output.fail(error.code(), &error.to_string())?;
            return Ok(Outcome::Refused(Exit::Config));
        }
    };
    if config.member != args.node.member {
        return Err(CommandError::Usage("--offline exports the own member's logs only").into());
    }
    let (ledger, _rosters) = match setup::open_ledger(&config, clock) {
        Ok(opened) => opened,
        Err(error) => {
            return super::super::store::refuse(&config, &error, output).map(Outcome::Refused);
        }
    };
    let what = args.selection(config.federation, config.timezone.offset_s(), clock);
    // Whoever holds the node's keys exports; that he did stays in its log.
    let access = AccessLog::open(ledger.clone())?;
    for log in [LogName::Records, LogName::Access] {
        let log = ledger.own_log(log);
        let mut line = AccessLine::new(AccessScope::Export, Method::ReadBodies.as_str(), "offline");
        line.count = u32::try_from(log.size().0).unwrap_or(u32::MAX);
        line.log = log.origin.to_string();
        access.write(line)?;
    }
    let (_runtime, stopped) = interruptible()?;
    let files = LedgerFiles::new(&ledger, Seer::Own);
    let out = BundleOut::of(&args.out);
    write(out, &what, &files, output, &stopped).map(Outcome::Bundle)
}

/// Writes a bundle, and shows how far it is.
pub(super) fn write(
    out: BundleOut,
    what: &Selection,
    files: &dyn Files,
    output: &Output,
    stopped: &watch::Receiver<bool>,
) -> anyhow::Result<Exported> {
    let label = output.lang().text("message.audit.exporting", &[]);
    let mut bar = None;
    let mut watch = |Progress { done, total }| {
        bar.get_or_insert_with(|| output.progress(&label, Some(total)))
            .at(done);
        !*stopped.borrow()
    };
    let exported = export(files, what, out, &mut watch);
    drop(bar);
    Ok(exported.map_err(CommandError::Export)?)
}

fn value_of(exported: &Exported) -> serde_json::Value {
    let log = |log: &crate::audit::export::ExportedLog| {
        json!({
            "origin": log.origin.to_string(), "size": log.size.0,
            "first": log.first, "end": log.end, "checkpoints": log.checkpoints,
        })
    };
    let silent = exported.silent.iter().map(|(member, why)| {
        json!({"member": member.as_str(), "code": why.code, "sentence": why.sentence})
    });
    json!({
        "path": exported.path, "rosters": exported.rosters, "receipts": exported.receipts,
        "evidence": exported.evidence, "files": exported.files, "bytes": exported.bytes,
        "logs": exported.logs.iter().map(log).collect::<Vec<_>>(),
        "without_receipts_of": silent.collect::<Vec<_>>(),
    })
}

fn show(exported: &Exported, screen: &mut Screen) {
    let mut table = Table::new()
        .column("label.column.log")
        .number("label.column.size")
        .number("label.column.first")
        .number("label.column.end")
        .number("label.column.checkpoints");
    for log in &exported.logs {
        table.row([
            log.origin.to_string(),
            log.size.to_string(),
            log.first.to_string(),
            log.end.to_string(),
            log.checkpoints.to_string(),
        ]);
    }
    screen.table(&table);
    let numbers = [
        exported.rosters,
        exported.receipts,
        exported.evidence,
        exported.files,
    ]
    .map(|n| n.to_string());
    let path = exported.path.display().to_string();
    screen.text(
        "message.audit.exported",
        &[
            ("path", &path),
            ("rosters", &numbers[0]),
            ("receipts", &numbers[1]),
            ("evidence", &numbers[2]),
            ("files", &numbers[3]),
            ("kib", &(exported.bytes >> 10).to_string()),
        ],
    );
    for (member, why) in &exported.silent {
        screen.text(
            "message.audit.silent",
            &[("member", member.as_str()), ("why", &why.sentence)],
        );
    }
}
