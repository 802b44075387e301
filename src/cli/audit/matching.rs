//! `casegate audit match`: whether both ends of what members asked each other
//! say the same.

use std::path::PathBuf;

use super::verify::{read_policy, refused, threads};
use crate::audit::matching::{MatchLine, MatchReport, MatchedLog, compare};
use crate::audit::verify::Step;
use crate::cli::failure::{CommandError, Exit};
use crate::cli::output::Output;
use crate::cli::sheet::{Cell, Column, ROWS_MAX, Say, Section, Sheet};
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

pub(super) fn run(args: &MatchArgs, clock: &Clock, output: &Output) -> Result<Sheet, CommandError> {
    let policy = read_policy(&args.policy)?;
    let label = output.lang().text("audit.verify.progress", &[]);
    let bar = output.progress(&label, Some(0));
    let progress = |step| match step {
        Step::Records(all) => bar.total(all),
        Step::Done(some) => bar.advance(some),
    };
    let jobs = threads(args.jobs);
    let report = compare(&args.bundles, &policy, jobs, clock.now(), &progress);
    drop(bar);
    Ok(sheet(
        &report.map_err(|error| refused(&error, output.lang()))?,
    )?)
}

type Logs = Column<MatchedLog>;

const LOGS: &[Logs] = &[
    Logs::seen("label.column.log", |l| (&l.origin).into()),
    Logs::seen("label.column.size", |l| l.size.into()),
    Logs::seen("audit.column.looked_at", |l| {
        format!("{}-{}", l.start, l.end).into()
    }),
    Logs::seen("audit.column.lines", |l| l.lines.into()).sum(),
    Logs::seen("audit.column.verified", |l| l.verified.into()),
];

/// A line of one end, and the family of words for what came of it.
struct Told {
    family: &'static str,
    line: MatchLine,
}

type Lines = Column<Told>;

const LINES: &[Lines] = &[
    Lines::seen("label.column.what", |t| Cell::word(t.family, t.line.what)).flow(),
    Lines::seen("audit.column.scope", |t| {
        Cell::word("audit.scope", t.line.scope)
    }),
    Lines::seen("audit.column.query_id", |t| (&t.line.query_id).into()),
    Lines::seen("audit.column.asker", |t| (&t.line.asker).into()),
    Lines::seen("audit.column.asked", |t| (&t.line.asked).into()),
    Lines::seen("audit.column.detail", |t| (&t.line.detail).into())
        .flow()
        .spare(1),
];

/// What both ends say of each other.
fn sheet(report: &MatchReport) -> std::io::Result<Sheet> {
    let (exit, headline) = if report.ok {
        (Exit::Done, "audit.match.good")
    } else {
        (Exit::Nothing, "audit.match.bad")
    };
    let mut sheet = Sheet::new("audit.match").ends(exit);
    sheet.all(report)?;
    sheet.head(Say::new("audit.match.title", []));
    let words = [
        ("matched", Cell::from(report.matched)),
        ("opened", report.opened.into()),
    ];
    sheet.say(headline, words);
    sheet.section(Section::of(&report.logs, LOGS).titled("audit.title.logs"));
    for (title, family, lines) in [
        (
            "audit.title.differences",
            "audit.difference",
            &report.differing,
        ),
        ("audit.title.unsettled", "audit.unsettled", &report.open),
    ] {
        let told = |line: &MatchLine| Told {
            family,
            line: line.clone(),
        };
        let told: Vec<Told> = lines.iter().map(told).collect();
        sheet.section(Section::of(&told, LINES).titled(title).at_most(ROWS_MAX));
    }
    Ok(sheet)
}
