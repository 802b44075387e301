//! `casegate log`: the newest entries of the node's own logs, in words or as
//! DSSE envelopes that other tools verify, and whether all logs verify.

pub mod erasures;

use serde::Serialize;

use self::erasures::ErasuresView;
use crate::cli::desk::Desk;
use crate::cli::failure::{CommandError, Exit};
use crate::cli::output::{Output, Screen, Table};
use crate::cli::show;
use crate::wire::v1;

/// Shows the newest entries of the records log, or of the access log.
#[derive(Clone, Debug, clap::Args)]
pub struct LogArgs {
    /// Shows the access log: who asked what, and why.
    #[arg(long)]
    pub access: bool,
    /// How many entries to show.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub newest: u32,
    /// Checks every signature and the root of every log again.
    #[arg(long)]
    pub verify: bool,
    /// Shows what was erased of the records log, and who has confirmed it.
    #[arg(long, conflicts_with_all = ["access", "verify", "dsse"])]
    pub erasures: bool,
    /// Prints each entry as a DSSE envelope, one JSON object a line.
    #[arg(long)]
    pub dsse: bool,
}

/// One entry.
#[derive(Clone, Debug, Serialize)]
pub struct EntryView {
    index: u64,
    #[serde(rename = "type")]
    type_: String,
    leaf: String,
    issued_at: Option<String>,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    dsse: Option<serde_json::Value>,
}

/// One log.
#[derive(Clone, Debug, Serialize)]
pub struct LogSummaryView {
    origin: String,
    size: u64,
    root: String,
    /// The signed note, as it is.
    checkpoint: String,
    /// Absent when it was not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<bool>,
    trouble: String,
}

/// Logs as JSON and people see them.
#[derive(Clone, Debug, Serialize)]
pub struct LogView {
    entries: Vec<EntryView>,
    logs: Vec<LogSummaryView>,
}

impl LogView {
    /// Takes the node's answer to a request with these options.
    #[must_use]
    pub fn of(answer: &v1::ShowLogResponse, verify: bool, dsse: bool) -> Self {
        let entry = |line: &v1::LogLine| EntryView {
            index: line.index,
            type_: line.r#type.clone(),
            leaf: hex::encode(&line.leaf),
            issued_at: show::instant(line.issued_at),
            text: line.text.clone(),
            dsse: dsse.then(|| serde_json::from_str(&line.dsse_json).unwrap_or_default()),
        };
        let log = |log: &v1::LogSummary| LogSummaryView {
            origin: log.origin.clone(),
            size: log.size,
            root: hex::encode(&log.root),
            checkpoint: String::from_utf8_lossy(&log.checkpoint).into_owned(),
            verified: verify.then_some(log.verified),
            trouble: log.trouble.clone(),
        };
        Self {
            entries: answer.lines.iter().map(entry).collect(),
            logs: answer.logs.iter().map(log).collect(),
        }
    }

    /// Shows it to people; as envelopes, one a line, if it has them.
    pub fn show(&self, screen: &mut Screen) {
        if self.entries.iter().any(|entry| entry.dsse.is_some()) {
            for envelope in self.entries.iter().filter_map(|entry| entry.dsse.as_ref()) {
                screen.line(&envelope.to_string());
            }
            return;
        }
        let mut table = Table::new()
            .number("label.column.index")
            .column("label.column.what")
            .column("label.column.time")
            .column("label.column.leaf")
            .column("label.column.text");
        for entry in &self.entries {
            let short: String = entry.leaf.chars().take(16).collect();
            table.row([
                entry.index.to_string(),
                entry.type_.clone(),
                entry.issued_at.clone().unwrap_or_default(),
                short,
                entry.text.clone(),
            ]);
        }
        if !table.is_empty() {
            screen.table(&table);
        }
        self.show_logs(screen);
    }

    fn show_logs(&self, screen: &mut Screen) {
        let mut table = Table::new()
            .column("label.column.log")
            .number("label.column.size")
            .column("label.column.root");
        for log in &self.logs {
            table.row([log.origin.clone(), log.size.to_string(), log.root.clone()]);
        }
        screen.table(&table);
        for log in &self.logs {
            let size = log.size.to_string();
            match log.verified {
                Some(true) => {
                    screen.text(
                        "message.log.verified",
                        &[("log", &log.origin), ("size", &size)],
                    );
                }
                Some(false) => screen.text(
                    "message.log.wrong",
                    &[("log", &log.origin), ("trouble", &log.trouble)],
                ),
                None => {}
            }
        }
    }

    /// A log that does not verify is an error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        if self.logs.iter().any(|log| log.verified == Some(false)) {
            Exit::Refused
        } else {
            Exit::Done
        }
    }
}

/// Shows the log.
///
/// # Errors
/// [`CommandError`].
pub async fn run(args: &LogArgs, desk: &Desk, output: &Output) -> Result<Exit, CommandError> {
    let request = v1::ShowLogRequest {
        access: args.access,
        newest: args.newest,
        verify: args.verify,
        erasures: args.erasures,
    };
    let answer = desk.client.show_log(request).await?;
    if args.erasures {
        let view = ErasuresView::of(&answer);
        output.emit("log.erasures", &view, |screen| view.show(screen))?;
        return Ok(view.exit());
    }
    let view = LogView::of(&answer, args.verify, args.dsse);
    output.emit("log", &view, |screen| view.show(screen))?;
    Ok(view.exit())
}
