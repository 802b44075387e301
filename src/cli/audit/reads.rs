//! `casegate audit logs`, `erasures` and `evidence`: what a node says of its
//! logs, without a bundle. Claims, until a bundle proves them.

use std::future::Future;
use std::path::Path;

use super::node::{AuditPort, NodeArgs};
use crate::cli::failure::{CommandError, Exit};
use crate::cli::log::erasures;
use crate::cli::sheet::{Cell, Column, Say, Section, Sheet};
use crate::clock::Clock;
use crate::wire::v1;

fn blocking<T>(asking: impl Future<Output = Result<T, CommandError>>) -> Result<T, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(asking)
}

const LOGS: &[Column<v1::AuditLog>] = &[
    Column::of("origin", "label.column.log", |l| (&l.origin).into()),
    Column::of("size", "label.column.size", |l| l.size.into()),
    Column::of("witnessed", "label.column.witnessed", |l| {
        l.witnessed.into()
    }),
    Column::data("checkpoint", |l| text(&l.checkpoint).into()),
];

/// The member's logs, with their newest checkpoints.
pub(super) fn logs(args: &NodeArgs, config: &Path, clock: &Clock) -> Result<Sheet, CommandError> {
    let logs = blocking(async {
        let port = AuditPort::open(args, config, clock)?;
        Ok(port.client.list_logs().await?)
    })?;
    let mut sheet = Sheet::new("audit.logs");
    let member = args.member.as_str().into();
    sheet.head(Say::new("page.audit_logs", [("member", member)]));
    sheet.section(Section::of(&logs, LOGS).keyed("logs"));
    Ok(sheet)
}

const CONFIRMATIONS: &[Column<v1::Confirmation>] = &[
    Column::data("member", |c| (&c.member).into()),
    Column::data("state", |c| erasures::state(c).into()),
    Column::data("late", |c| c.late.into()),
    Column::data("at", |c| Cell::Second(c.at)),
    Column::data("receipt_origin", |c| (&c.receipt_origin).into()),
    Column::data("receipt_index", |c| c.receipt_index.into()),
];

type Erasures = Column<v1::Erasure>;

const ERASURES: &[Erasures] = &[
    Erasures::seen("label.column.records", erasures::range),
    Erasures::data("start", |e| e.range.unwrap_or_default().start.into()),
    Erasures::data("end", |e| e.range.unwrap_or_default().end.into()),
    Erasures::data("retracted_by", |e| Cell::maybe(e.retracted_by)),
    Erasures::of("reason", "label.column.reason", |e| {
        let reason = match e.retracted_by {
            Some(_) => erasures::reason(e),
            None => "retention",
        };
        Cell::word("label.reason", reason)
    }),
    Erasures::of("decided_at", "label.column.decided", |e| {
        Cell::Second(e.decided_at)
    }),
    Erasures::of("erased_at", "label.column.erased", |e| {
        Cell::Second(e.erased_at)
    })
    .spare(1),
    Erasures::data("entry", |e| e.entry.into()),
    Erasures::data("late", |e| e.late.into()),
    Erasures::data("confirmations", |e| {
        Cell::rows(&e.confirmations, CONFIRMATIONS)
    }),
    Erasures::seen("label.column.confirmed", erasures::confirmed),
    Erasures::seen("label.column.pending", erasures::pending).flow(),
];

/// What was erased of the member's newest records log, and who confirmed it.
pub(super) fn erasures(
    args: &NodeArgs,
    config: &Path,
    clock: &Clock,
) -> Result<Sheet, CommandError> {
    let erasures = blocking(async {
        let port = AuditPort::open(args, config, clock)?;
        let mut found = vec![];
        for log in port.client.list_logs().await? {
            if log.origin.contains("/records/") {
                found.extend(port.client.erasures(&log.origin).await?);
            }
        }
        Ok(found)
    })?;
    let mut sheet = Sheet::new("audit.erasures");
    let member = args.member.as_str().into();
    sheet.head(Say::new("page.audit_erasures", [("member", member)]));
    if erasures.is_empty() {
        sheet.say("message.audit.nothing_erased", []);
    }
    sheet.section(Section::of(&erasures, ERASURES).keyed("erasures"));
    Ok(sheet)
}

const PAIRS: &[Column<v1::EvidencePair>] = &[
    Column::data("origin", |p| (&p.origin).into()),
    Column::data("found_at", |p| Cell::Second(p.found_at)),
    Column::data("source", |p| (&p.source).into()),
    Column::data("first", |p| text(&p.first).into()),
    Column::data("second", |p| text(&p.second).into()),
];

/// Pairs of notes that contradict each other, which the node keeps.
pub(super) fn evidence(
    args: &NodeArgs,
    config: &Path,
    clock: &Clock,
) -> Result<Sheet, CommandError> {
    let pairs = blocking(async {
        let port = AuditPort::open(args, config, clock)?;
        Ok(port.client.evidence().await?)
    })?;
    let exit = if pairs.is_empty() {
        Exit::Done
    } else {
        Exit::Nothing
    };
    let mut sheet = Sheet::new("audit.evidence").ends(exit);
    sheet.data("evidence", Cell::rows(&pairs, PAIRS));
    if pairs.is_empty() {
        sheet.say("message.audit.no_evidence", []);
    }
    for pair in &pairs {
        sheet.line(format!("{} ({})", pair.origin, pair.source));
        sheet.line(text(&pair.first));
        sheet.line(text(&pair.second));
    }
    Ok(sheet)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
