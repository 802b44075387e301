//! `casegate audit export`: writes a member's bundle, from its node's audit
//! port or, with `--offline`, from the directory of the own stopped node.

use std::path::{Path, PathBuf};

use time::{Date, format_description::BorrowedFormatItem, macros::format_description};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::node::{AuditPort, NodeArgs};
use crate::access::{AccessError, AccessLine, AccessLog};
use crate::audit::export::{Bound, BundleOut, Exported, ExportedLog, Progress, Selection, export};
use crate::audit::local::LocalSource;
use crate::audit::source::Source;
use crate::cli::failure::{CommandError, Exit};
use crate::cli::output::Output;
use crate::cli::sheet::{Cell, Column, Section, Sheet};
use crate::cli::store;
use crate::clock::{Clock, DAY_S};
use crate::config::Config;
use crate::ids::{FederationId, LogName};
use crate::intake::SHANGHAI_OFFSET_S;
use crate::policy::Method;
use crate::rpc::audit::source::RemoteSource;
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
) -> Result<Sheet, CommandError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let (stop, stopped) = watch::channel(false);
    runtime.spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.send_replace(true);
        }
        // As long as somebody waits for the word, there is somebody to say it.
        stop.closed().await;
    });
    let exported = if args.offline {
        offline(args, config, clock, output, &stopped)
    } else {
        online(args, config, clock, output, (&runtime, stopped))
    }?;
    Ok(sheet(&exported))
}

fn online(
    args: &ExportArgs,
    config: &Path,
    clock: &Clock,
    output: &Output,
    (runtime, stopped): (&Runtime, watch::Receiver<bool>),
) -> Result<Exported, CommandError> {
    let port = {
        let _entered = runtime.enter();
        AuditPort::open(&args.node, config, clock)?
    };
    let what = args.selection(port.federation, SHANGHAI_OFFSET_S, clock);
    let (handle, stop) = (runtime.handle().clone(), stopped.clone());
    let mut source = RemoteSource::new(handle, port.dial, port.client, &args.node.member, stop);
    write(args, &what, &mut source, output, &stopped)
}

fn offline(
    args: &ExportArgs,
    path: &Path,
    clock: &Clock,
    output: &Output,
    stopped: &watch::Receiver<bool>,
) -> Result<Exported, CommandError> {
    let config = Config::load(path)?;
    if config.member != args.node.member {
        return Err(CommandError::Usage(
            "--offline exports the own member's logs only",
        ));
    }
    let (ledger, _rosters) = setup::open_ledger(&config, clock)
        .map_err(|error| store::refused(&config, &error, output.lang()))?;
    let what = args.selection(config.federation, config.timezone.offset_s(), clock);
    // Whoever holds the node's keys exports; that he did stays in its log.
    let failed = |error: AccessError| CommandError::ended(Exit::Internal, &error);
    let access = AccessLog::open(ledger.clone()).map_err(failed)?;
    for log in [LogName::Records, LogName::Access] {
        let log = ledger.own_log(log);
        let mut line =
            AccessLine::new(AccessScope::Export, Method::AuditBodies.as_str(), "offline");
        line.count = u32::try_from(log.size().0).unwrap_or(u32::MAX);
        line.log = log.origin.to_string();
        access.write(line).map_err(failed)?;
    }
    let mut source = LocalSource::new(ledger);
    write(args, &what, &mut source, output, stopped)
}

fn write(
    args: &ExportArgs,
    what: &Selection,
    source: &mut dyn Source,
    output: &Output,
    stopped: &watch::Receiver<bool>,
) -> Result<Exported, CommandError> {
    let label = output.lang().text("message.audit.exporting", &[]);
    let mut bar = None;
    let mut watch = |Progress { done, total }| {
        bar.get_or_insert_with(|| output.progress(&label, Some(total)))
            .at(done);
        !*stopped.borrow()
    };
    let out = BundleOut::of(&args.out);
    let exported = export(source, what, out, &mut watch);
    drop(bar);
    Ok(exported?)
}

const LOGS: &[Column<ExportedLog>] = &[
    Column::of("origin", "label.column.log", |l| {
        l.origin.to_string().into()
    }),
    Column::of("size", "label.column.size", |l| l.size.0.into()),
    Column::of("first", "label.column.first", |l| l.first.into()),
    Column::of("end", "label.column.end", |l| l.end.into()),
    Column::of("checkpoints", "label.column.checkpoints", |l| {
        l.checkpoints.into()
    }),
];

/// What was exported; a bundle without everybody's receipts ends with 1.
fn sheet(exported: &Exported) -> Sheet {
    let exit = if exported.silent.is_empty() {
        Exit::Done
    } else {
        Exit::Nothing
    };
    let mut sheet = Sheet::new("audit.export").ends(exit);
    let path = exported.path.display().to_string();
    let counts = [
        ("rosters", Cell::from(exported.rosters)),
        ("receipts", exported.receipts.into()),
        ("evidence", exported.evidence.into()),
        ("files", exported.files.into()),
    ];
    sheet.data("path", &path);
    for (key, count) in counts.clone() {
        sheet.data(key, count);
    }
    sheet.data("bytes", exported.bytes);
    sheet.section(Section::of(&exported.logs, LOGS).keyed("logs"));
    let silent = exported.silent.iter().map(|(member, why)| {
        serde_json::json!({"member": member.as_str(), "code": why.code, "sentence": why.sentence})
    });
    let silent = Cell::Data(silent.collect());
    sheet.data("without_receipts_of", silent);
    let mut words = vec![
        ("path", path.into()),
        ("kib", (exported.bytes >> 10).into()),
    ];
    words.extend(counts);
    sheet.say("message.audit.exported", words);
    for (member, why) in &exported.silent {
        let words = [
            ("member", member.as_str().into()),
            ("why", Cell::Said(why.sentence.to_string())),
        ];
        sheet.say("message.audit.silent", words);
    }
    sheet
}
