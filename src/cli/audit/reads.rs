//! `casegate audit logs`, `erasures` and `evidence`: what a node says of its
//! logs, without a bundle. Claims, until a bundle proves them.

use std::path::Path;

use serde_json::{Value, json};

use super::node::{AuditPort, NodeArgs};
use crate::audit::claims::{ErasureClaim, PairClaim, read_lines};
use crate::audit::export::ExportError;
use crate::audit::files::Files;
use crate::audit::layout::{BundlePath, EvidencePart, Folder, LogFile};
use crate::audit::local::size_of;
use crate::cli::failure::{CommandError, Exit};
use crate::cli::output::{Output, Table};
use crate::cli::show;
use crate::clock::Clock;

/// Reads a file that the node's own index names.
fn named(port: &AuditPort, path: &BundlePath) -> Result<Vec<u8>, CommandError> {
    let file = port.files.get(path)?;
    let file = file.ok_or(ExportError::Malformed {
        what: "a file that its index names is missing",
    })?;
    Ok(file.into())
}

/// A log with its newest checkpoint.
struct LogView {
    origin: String,
    size: u64,
    witnessed: u64,
    checkpoint: String,
}

fn log_views(port: &AuditPort, args: &NodeArgs) -> Result<Vec<LogView>, CommandError> {
    let mut views = vec![];
    for path in port.files.list(Folder::Logs)? {
        let BundlePath::Log {
            log, generation, ..
        } = path
        else {
            continue;
        };
        let note = named(port, &path)?;
        let size = size_of(&note).ok_or(ExportError::Malformed {
            what: "a checkpoint that is none",
        })?;
        let witnessed = port.files.list(Folder::Checkpoints { log, generation })?;
        let witnessed = match witnessed.last() {
            Some(BundlePath::Log {
                file: LogFile::Witnessed(size),
                ..
            }) => size.0,
            _ => 0,
        };
        let (federation, member) = (&port.federation, &args.member);
        views.push(LogView {
            origin: format!("{federation}/{member}/{}/{generation}", log.as_str()),
            size: size.0,
            witnessed,
            checkpoint: String::from_utf8_lossy(&note).into_owned(),
        });
    }
    Ok(views)
}

/// The member's logs, with their newest checkpoints.
pub(super) fn logs(
    args: &NodeArgs,
    config: &Path,
    clock: &Clock,
    output: &Output,
) -> anyhow::Result<Exit> {
    let port = AuditPort::open(args, config, clock)?;
    let logs = log_views(&port, args)?;
    let lines: Vec<Value> = logs
        .iter()
        .map(|log| {
            json!({
                "origin": log.origin, "size": log.size, "witnessed": log.witnessed,
                "checkpoint": log.checkpoint,
            })
        })
        .collect();
    output.emit("audit.logs", &json!({ "logs": lines }), |screen| {
        let mut table = Table::new()
            .column("label.column.log")
            .number("label.column.size")
            .number("label.column.witnessed");
        for log in &logs {
            let (size, witnessed) = (log.size.to_string(), log.witnessed.to_string());
            table.row([log.origin.clone(), size, witnessed]);
        }
        screen.table(&table);
    })?;
    Ok(Exit::Done)
}

/// What was erased of the member's newest records log, and who confirmed it.
pub(super) fn erasures(
    args: &NodeArgs,
    config: &Path,
    clock: &Clock,
    output: &Output,
) -> anyhow::Result<Exit> {
    let port = AuditPort::open(args, config, clock)?;
    let mut erasures: Vec<ErasureClaim> = vec![];
    for path in port.files.list(Folder::Erasures)? {
        erasures.extend(read_lines::<ErasureClaim>(&named(&port, &path)?)?);
    }
    output.emit(
        "audit.erasures",
        &json!({ "erasures": erasures }),
        |screen| {
            let mut table = Table::new()
                .column("label.column.records")
                .column("label.column.reason")
                .column("label.column.time")
                .number("label.column.confirmed")
                .column("label.column.waiting");
            for erasure in &erasures {
                let waiting = pending(erasure);
                let confirmed = erasure.confirmations.len() - waiting.len();
                table.row([
                    format!("{}-{}", erasure.start, erasure.end.saturating_sub(1)),
                    erasure.reason.clone(),
                    show::instant(erasure.decided_at).unwrap_or_default(),
                    confirmed.to_string(),
                    waiting.join(", "),
                ]);
            }
            if table.is_empty() {
                screen.text("message.audit.nothing_erased", &[]);
            } else {
                screen.table(&table);
            }
        },
    )?;
    Ok(Exit::Done)
}

fn pending(erasure: &ErasureClaim) -> Vec<String> {
    let open = erasure
        .confirmations
        .iter()
        .filter(|c| c.state == "pending");
    open.map(|c| c.member.clone()).collect()
}

/// The pairs of notes, each with what the node says of it.
fn pairs(port: &AuditPort) -> Result<Vec<(PairClaim, String, String)>, CommandError> {
    let mut pairs = vec![];
    for path in port.files.list(Folder::Evidence)? {
        let BundlePath::Evidence { number, part } = path else {
            continue;
        };
        if part != EvidencePart::About {
            continue;
        }
        let text = |part| {
            let file = named(port, &BundlePath::Evidence { number, part })?;
            Ok::<_, CommandError>(String::from_utf8_lossy(&file).into_owned())
        };
        for about in read_lines(text(part)?.as_bytes())? {
            let (first, second) = (text(EvidencePart::First)?, text(EvidencePart::Second)?);
            pairs.push((about, first, second));
        }
    }
    Ok(pairs)
}

/// Pairs of notes that contradict each other, which the node keeps.
pub(super) fn evidence(
    args: &NodeArgs,
    config: &Path,
    clock: &Clock,
    output: &Output,
) -> anyhow::Result<Exit> {
    let port = AuditPort::open(args, config, clock)?;
    let pairs = pairs(&port)?;
    let lines: Vec<Value> = pairs
        .iter()
        .map(|(about, first, second)| {
            json!({
                "origin": about.origin, "found_at": about.found_at, "source": about.source,
                "first": first, "second": second,
            })
        })
        .collect();
    output.emit("audit.evidence", &json!({ "evidence": lines }), |screen| {
        if pairs.is_empty() {
            screen.text("message.audit.no_evidence", &[]);
        }
        for (about, first, second) in &pairs {
            screen.line(&format!("{} ({})", about.origin, about.source));
            screen.line(first);
            screen.line(second);
        }
    })?;
    Ok(if pairs.is_empty() {
        Exit::Done
    } else {
        Exit::Nothing
    })
}
