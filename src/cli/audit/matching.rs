//! `casegate audit match`: whether both ends of what members asked each other
//! say the same.

use std::path::PathBuf;

use super::show::{Cell, Section, Sheet};
use super::verify::{read_policy, refuse, threads};
use crate::audit::matching::{MatchLine, MatchReport, MatchedLog, compare};
use crate::audit::verify::Step;
use crate::cli::failure::Exit;
use crate::cli::output::Output;
use crate::clock::Clock;

/// Compares both ends' access logs by query id.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct MatchArgs {
    /// The bundles of the members, each a directory or a tar archive.
    #[arg(required = true, value_name = "BUNDLE")]
    bundles: Vec<PathBuf>,
    /// What to trust: federation and digest of roster 1.
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// How many threads; as many as there are processors otherwise.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,
}

pub(super) fn run(args: &MatchArgs, clock: &Clock, output: &Output) -> anyhow::Result<Exit> {
    let policy = read_policy(&args.policy)?;
    let label = output.lang().text("audit.verify.progress", &[]);
    let bar = output.progress(&label, Some(0));
    let progress = |step| match step {
        Step::Records(all) => bar.total(all),
        Step::Done(some) => bar.advance(some),
    };
    let jobs = threads(args.jobs);
    let report = match compare(&args.bundles, &policy, jobs, clock.now(), &progress) {
        Ok(report) => report,
        Err(error) => return refuse(&error, output),
    };
    drop(bar);
    output.emit("audit.match", &report, |screen| sheet(&report).draw(screen))?;
    Ok(if report.ok { Exit::Done } else { Exit::Nothing })
}

/// What people are shown.
#[must_use]
fn sheet(report: &MatchReport) -> Sheet {
    let headline = if report.ok {
        "audit.match.good"
    } else {
        "audit.match.bad"
    };
    let told = vec![
        ("matched", report.matched.to_string()),
        ("opened", report.opened.to_string()),
    ];
    let sections = [
        logs(report),
        lines(
            "audit.title.differences",
            "audit.difference",
            &report.differing,
        ),
        lines("audit.title.unsettled", "audit.unsettled", &report.open),
    ];
    Sheet {
        ok: report.ok,
        title: "audit.match.title",
        subject: String::new(),
        sentences: vec![(headline, told)],
        sections: sections
            .into_iter()
            .filter(|section| !section.rows.is_empty())
            .collect(),
    }
}

fn logs(report: &MatchReport) -> Section {
    let row = |log: &MatchedLog| {
        let verified = if log.verified { "yes" } else { "no" };
        vec![
            Cell::Text(log.origin.clone()),
            Cell::Number(log.size),
            Cell::Text(format!("{}-{}", log.start, log.end)),
            Cell::Number(log.lines),
            Cell::Word("label.word", verified.into()),
        ]
    };
    Section::new(
        "audit.title.logs",
        &[
            "label.column.log",
            "label.column.size",
            "audit.column.looked_at",
            "audit.column.lines",
            "audit.column.verified",
        ],
        report.logs.iter().map(row).collect(),
    )
}

fn lines(title: &'static str, family: &'static str, lines: &[MatchLine]) -> Section {
    let row = |line: &MatchLine| {
        vec![
            Cell::Word(family, line.what.into()),
            Cell::Word("audit.scope", line.scope.into()),
            Cell::Text(line.query_id.clone()),
            Cell::Text(line.asker.clone()),
            Cell::Text(line.asked.clone()),
            Cell::Text(line.detail.clone()),
        ]
    };
    Section::new(
        title,
        &[
            "label.column.what",
            "audit.column.scope",
            "audit.column.query_id",
            "audit.column.asker",
            "audit.column.asked",
            "audit.column.detail",
        ],
        lines.iter().map(row).collect(),
    )
}
