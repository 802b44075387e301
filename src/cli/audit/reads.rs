//! `casegate audit logs`, `erasures` and `evidence`: what a node says of its
//! logs, without a bundle. Claims, until a bundle proves them.

use std::future::Future;
use std::path::Path;

use serde_json::{Value, json};

use super::node::{AuditPort, NodeArgs};
use crate::cli::failure::{CommandError, Exit};
use crate::cli::output::{Output, Table};
use crate::cli::show;
use crate::clock::Clock;
use crate::wire::v1::{self, ConfirmationState};

fn blocking<T>(asking: impl Future<Output = Result<T, CommandError>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(asking)?)
}

/// The member's logs, with their newest checkpoints.
pub(super) fn logs(
    args: &NodeArgs,
    config: &Path,
    clock: &Clock,
    output: &Output,
) -> anyhow::Result<Exit> {
    let logs = blocking(async {
        let port = AuditPort::open(args, config, clock)?;
        Ok(port.client.list_logs().await?)
    })?;
    let lines: Vec<Value> = logs
        .iter()
        .map(|log| {
            json!({
                "origin": log.origin, "size": log.size, "witnessed": log.witnessed,
                "checkpoint": String::from_utf8_lossy(&log.checkpoint),
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
    let lines: Vec<Value> = erasures.iter().map(erasure_value).collect();
    output.emit("audit.erasures", &json!({ "erasures": lines }), |screen| {
        let mut table = Table::new()
            .column("label.column.records")
            .column("label.column.reason")
            .column("label.column.time")
            .number("label.column.confirmed")
            .column("label.column.waiting");
        for erasure in &erasures {
            let range = erasure.range.unwrap_or_default();
            let waiting = pending(erasure);
            let confirmed = erasure.confirmations.len() - waiting.len();
            table.row([
                format!("{}-{}", range.start, range.end.saturating_sub(1)),
                reason(erasure).to_owned(),
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
    })?;
    Ok(Exit::Done)
}

fn pending(erasure: &v1::Erasure) -> Vec<String> {
    let open = erasure
        .confirmations
        .iter()
        .filter(|c| c.state == ConfirmationState::Pending as i32);
    open.map(|c| c.member.clone()).collect()
}

fn reason(erasure: &v1::Erasure) -> &'static str {
    if erasure.retracted_by.is_none() {
        return "retention";
    }
    match erasure.reason() {
        v1::RetractReason::Mistake => "mistake",
        v1::RetractReason::Retention => "retention",
        v1::RetractReason::Order => "order",
        v1::RetractReason::CaseClosed => "case-closed",
        v1::RetractReason::Unspecified => "other",
    }
}

fn erasure_value(erasure: &v1::Erasure) -> Value {
    let range = erasure.range.unwrap_or_default();
    let confirmations = erasure.confirmations.iter().map(|said| {
        let state = match said.state() {
            ConfirmationState::Erased => "erased",
            ConfirmationState::NeverHeld => "never_held",
            ConfirmationState::Pending | ConfirmationState::Unspecified => "pending",
        };
        json!({
            "member": said.member, "state": state, "late": said.late, "at": said.at,
            "receipt_origin": said.receipt_origin, "receipt_index": said.receipt_index,
        })
    });
    json!({
        "start": range.start, "end": range.end, "retracted_by": erasure.retracted_by,
        "reason": reason(erasure), "decided_at": erasure.decided_at,
        "erased_at": erasure.erased_at, "entry": erasure.entry, "late": erasure.late,
        "confirmations": confirmations.collect::<Vec<_>>(),
    })
}

/// Pairs of notes that contradict each other, which the node keeps.
pub(super) fn evidence(
    args: &NodeArgs,
    config: &Path,
    clock: &Clock,
    output: &Output,
) -> anyhow::Result<Exit> {
    let pairs = blocking(async {
        let port = AuditPort::open(args, config, clock)?;
        Ok(port.client.evidence().await?)
    })?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let lines: Vec<Value> = pairs
        .iter()
        .map(|pair| {
            json!({
                "origin": pair.origin, "found_at": pair.found_at, "source": pair.source,
                "first": text(&pair.first), "second": text(&pair.second),
            })
        })
        .collect();
    output.emit("audit.evidence", &json!({ "evidence": lines }), |screen| {
        if pairs.is_empty() {
            screen.text("message.audit.no_evidence", &[]);
        }
        for pair in &pairs {
            screen.line(&format!("{} ({})", pair.origin, pair.source));
            screen.line(&text(&pair.first));
            screen.line(&text(&pair.second));
        }
    })?;
    Ok(if pairs.is_empty() {
        Exit::Done
    } else {
        Exit::Nothing
    })
}
