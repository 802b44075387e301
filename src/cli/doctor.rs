//! `casegate doctor`: what is wrong with a node, in plain words.

use std::path::Path;

use serde_json::json;

use crate::blame::Blamed;
use crate::cli::failure::Exit;
use crate::cli::output::{Output, Table};
use crate::clock::Clock;
use crate::config::Config;
use crate::doctor::{Finding, Level, examine, worst};

/// Examines the node that the config describes.
#[derive(Clone, Debug, clap::Args)]
pub struct DoctorArgs {}

/// Runs `casegate doctor`. Exit codes: 0 when all is well, 1 with warnings,
/// 2 when something is wrong, 64 when the config cannot be read.
///
/// # Errors
/// Only what standard output answers.
pub async fn run(
    _args: &DoctorArgs,
    config: &Path,
    clock: &Clock,
    output: &Output,
) -> anyhow::Result<Exit> {
    let config = match Config::load(config) {
        Ok(config) => config,
        Err(error) => {
            output.fail(error.code(), &error.to_string())?;
            return Ok(Exit::Config);
        }
    };
    let waiting = output.progress(&output.lang().text("message.doctor.asking", &[]), None);
    let findings = examine(&config, clock).await;
    drop(waiting);
    present(&findings, output)?;
    Ok(match worst(&findings) {
        Level::Ok => Exit::Done,
        Level::Warning => Exit::Nothing,
        Level::Wrong => Exit::Refused,
    })
}

fn present(findings: &[Finding], output: &Output) -> std::io::Result<()> {
    let count = |level| findings.iter().filter(|f| f.level == level).count();
    let (warnings, wrong) = (count(Level::Warning), count(Level::Wrong));
    let lines: Vec<_> = findings
        .iter()
        .map(|finding| {
            json!({
                "area": finding.area(), "level": finding.level.as_str(), "code": finding.code,
                "text": finding.text(output.lang()),
                "words": finding.words.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
            })
        })
        .collect();
    let value = json!({
        "healthy": warnings + wrong == 0, "warnings": warnings, "wrong": wrong, "findings": lines,
    });
    output.emit("doctor", &value, |screen| {
        let lang = screen.lang();
        let mut table = Table::new()
            .column("label.column.level")
            .column("label.column.finding");
        for finding in findings {
            let level = match finding.level {
                Level::Ok => lang.text("label.level.ok", &[]),
                Level::Warning => lang.text("label.level.warning", &[]),
                Level::Wrong => lang.text("label.level.wrong", &[]),
            };
            table.row([level, finding.text(lang)]);
        }
        screen.table(&table);
        if warnings + wrong == 0 {
            screen.text("doctor.summary.healthy", &[]);
        } else {
            let count = (warnings + wrong).to_string();
            screen.text("doctor.summary.problems", &[("count", &count)]);
        }
    })
}
