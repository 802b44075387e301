//! `casegate doctor`: what is wrong with a node, in plain words.

use std::path::Path;

use crate::cli::failure::{CommandError, Exit};
use crate::cli::output::Output;
use crate::cli::sheet::{Cell, Column, Say, Section, Sheet};
use crate::clock::Clock;
use crate::config::Config;
use crate::doctor::{Finding, Level, examine, worst};
use crate::lang::Lang;

/// Examines the node that the config describes.
#[derive(Clone, Debug, clap::Args)]
pub struct DoctorArgs {}

/// Runs `casegate doctor`. Exit codes: 0 when all is well, 1 with warnings,
/// 2 when something is wrong, 64 when the config cannot be read.
///
/// # Errors
/// [`CommandError`] for a config that cannot be read.
pub async fn run(
    _args: &DoctorArgs,
    config: &Path,
    clock: &Clock,
    output: &Output,
) -> Result<Sheet, CommandError> {
    let config = Config::load(config)?;
    let waiting = output.progress(&output.lang().text("message.doctor.asking", &[]), None);
    let findings = examine(&config, clock).await;
    drop(waiting);
    Ok(sheet(&findings, output.lang()))
}

/// A finding as it is told.
struct Told {
    area: &'static str,
    level: Level,
    code: &'static str,
    text: String,
    words: serde_json::Value,
}

type Findings = Column<Told>;

const FINDINGS: &[Findings] = &[
    Findings::data("area", |f| f.area.into()),
    Findings::of("level", "label.column.level", |f| {
        Cell::word("label.level", f.level.as_str())
    }),
    Findings::data("code", |f| f.code.into()),
    Findings::of("text", "label.column.finding", |f| (&f.text).into()).flow(),
    Findings::data("words", |f| Cell::Data(f.words.clone())),
];

/// What was found, in the operator's language.
#[must_use]
pub fn sheet(findings: &[Finding], lang: Lang) -> Sheet {
    let count = |level| findings.iter().filter(|f| f.level == level).count();
    let (warnings, wrong) = (count(Level::Warning), count(Level::Wrong));
    let told = |finding: &Finding| Told {
        area: finding.area(),
        level: finding.level,
        code: finding.code,
        text: finding.text(lang),
        words: finding
            .words
            .iter()
            .map(|(name, word)| ((*name).to_owned(), word.clone().into()))
            .collect::<serde_json::Map<_, _>>()
            .into(),
    };
    let told: Vec<Told> = findings.iter().map(told).collect();
    let mut sheet = Sheet::new("doctor").ends(match worst(findings) {
        Level::Ok => Exit::Done,
        Level::Warning => Exit::Nothing,
        Level::Wrong => Exit::Refused,
    });
    sheet.head(Say::new("page.doctor", []));
    sheet.data("healthy", warnings + wrong == 0);
    sheet.data("warnings", warnings);
    sheet.data("wrong", wrong);
    sheet.section(Section::of(&told, FINDINGS).keyed("findings"));
    if warnings + wrong == 0 {
        sheet.say("doctor.summary.healthy", []);
    } else {
        let count = (warnings + wrong).into();
        sheet.say("doctor.summary.problems", [("count", count)]);
    }
    sheet
}
