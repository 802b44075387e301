//! How what an audit found is shown: titles, sentences and tables, the same on
//! a terminal and on a page.

use crate::audit::verify::{ErasureLine, LogReport, RecordLine, Report, Verdict};
use crate::cli::output::{Screen, Table};
use crate::cli::show::instant;
use crate::lang::Lang;

/// Rows of a table that people are shown; JSON has more.
const ROWS_MAX: usize = 50;

/// A cell: words of the catalogue by family and code, or text as it is.
#[derive(Clone, Debug)]
pub(super) enum Cell {
    /// A word of the catalogue.
    Word(&'static str, String),
    /// Text as it is.
    Text(String),
    /// A number.
    Number(u64),
    /// A time.
    Time(Option<i64>),
}

impl Cell {
    /// The cell's text.
    pub(super) fn text(&self, lang: Lang) -> String {
        match self {
            Self::Word(family, code) if lang.knows(family, code) => lang.coded(family, code, &[]),
            Self::Word(_, text) | Self::Text(text) => text.clone(),
            Self::Number(number) => number.to_string(),
            Self::Time(at) => at.and_then(instant).unwrap_or_default(),
        }
    }

    fn from_text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }
}

/// A table under a title.
#[derive(Clone, Debug)]
pub(super) struct Section {
    /// The title's key.
    pub(super) title: &'static str,
    /// The columns' keys.
    pub(super) columns: Vec<&'static str>,
    /// The rows.
    pub(super) rows: Vec<Vec<Cell>>,
    /// Rows that are not shown.
    pub(super) more: usize,
}

impl Section {
    pub(super) fn new(
        title: &'static str,
        columns: &[&'static str],
        mut rows: Vec<Vec<Cell>>,
    ) -> Self {
        let more = rows.len().saturating_sub(ROWS_MAX);
        rows.truncate(ROWS_MAX);
        Self {
            title,
            columns: columns.to_vec(),
            rows,
            more,
        }
    }

    /// Says whether a column has numbers only, which stand to the right.
    pub(super) fn is_number(&self, column: usize) -> bool {
        let is_number = |row: &Vec<Cell>| matches!(row.get(column), Some(Cell::Number(_)));
        !self.rows.is_empty() && self.rows.iter().all(is_number)
    }

    fn draw(&self, screen: &mut Screen) {
        screen.title(self.title);
        let mut table = Table::new();
        for (at, key) in self.columns.iter().enumerate() {
            table = if self.is_number(at) {
                table.number(key)
            } else {
                table.column(key)
            };
        }
        let lang = screen.lang();
        for row in &self.rows {
            table.row(row.iter().map(|cell| cell.text(lang)));
        }
        screen.table(&table);
        if self.more > 0 {
            screen.text("audit.more", &[("count", &self.more.to_string())]);
        }
    }
}

/// What is shown: a headline, facts, and tables that have rows.
#[derive(Clone, Debug)]
pub(super) struct Sheet {
    /// Whether nothing is wrong.
    pub(super) ok: bool,
    /// The title's key.
    pub(super) title: &'static str,
    /// Whose it is.
    pub(super) subject: String,
    /// Sentences: key and values.
    pub(super) sentences: Vec<(&'static str, Vec<(&'static str, String)>)>,
    /// The tables.
    pub(super) sections: Vec<Section>,
}

impl Sheet {
    /// A verification.
    pub(super) fn of(report: &Report) -> Self {
        let roster = &report.roster;
        let when = instant(report.verified_at).unwrap_or_default();
        let facts = (
            "audit.verify.facts",
            vec![
                ("versions", roster.versions.to_string()),
                ("witnessed", roster.witnessed.to_string()),
                ("pin", roster.pin.clone()),
                ("time", when),
            ],
        );
        let headline = if report.ok {
            "audit.verify.good"
        } else {
            "audit.verify.bad"
        };
        let records = report
            .verdicts
            .iter()
            .map(|count| count.records)
            .sum::<u64>();
        let told = (headline, vec![("records", records.to_string())]);
        let newer = (report.newer > 0).then(|| {
            let count = vec![("count", report.newer.to_string())];
            ("audit.verify.newer", count)
        });
        let sections = [
            verdicts(report),
            logs(report),
            findings(report),
            records_section(report),
            erasures(report),
            owed(report),
        ];
        Self {
            ok: report.ok,
            title: "audit.verify.title",
            subject: format!("{}/{}", report.federation, report.member),
            sentences: [Some(told), newer, Some(facts)]
                .into_iter()
                .flatten()
                .collect(),
            sections: sections
                .into_iter()
                .filter(|section| !section.rows.is_empty())
                .collect(),
        }
    }

    /// Puts it on a screen.
    pub(super) fn draw(&self, screen: &mut Screen) {
        let title = screen
            .lang()
            .text(self.title, &[("subject", &self.subject)]);
        screen.line(&title);
        for (key, values) in &self.sentences {
            let values: Vec<(&str, &str)> = values.iter().map(|(k, v)| (*k, v.as_str())).collect();
            screen.text(key, &values);
        }
        for section in &self.sections {
            section.draw(screen);
        }
    }
}

fn verdicts(report: &Report) -> Section {
    let rows = report.verdicts.iter().map(|count| {
        let wrong = count.verdict.is_fault(report.require_witnessed);
        let mark = if wrong { "audit.word.wrong" } else { "" };
        vec![
            Cell::Word("audit.verdict", count.verdict.as_str().into()),
            Cell::Number(count.records),
            Cell::Word("audit.word", mark.trim_start_matches("audit.word.").into()),
        ]
    });
    Section::new(
        "audit.title.verdicts",
        &[
            "audit.column.verdict",
            "audit.column.records",
            "audit.column.mark",
        ],
        rows.collect(),
    )
}

fn logs(report: &Report) -> Section {
    let row = |log: &LogReport| {
        let proven = if log.size > 0 && log.proven == log.size {
            "yes"
        } else {
            "no"
        };
        vec![
            Cell::from_text(&log.origin),
            Cell::Number(log.size),
            Cell::Word("label.word", proven.into()),
            Cell::Number(log.witnessed),
            Cell::Time(log.witnessed_at),
            Cell::from_text(format!("{}-{}", log.start, log.end)),
        ]
    };
    Section::new(
        "audit.title.logs",
        &[
            "label.column.log",
            "label.column.size",
            "audit.column.proven",
            "audit.column.witnessed",
            "audit.column.witnessed_at",
            "audit.column.looked_at",
        ],
        report.logs.iter().map(row).collect(),
    )
}

fn findings(report: &Report) -> Section {
    let rows = report.found.iter().map(|finding| {
        let index = finding.index.map_or_else(String::new, |n| n.to_string());
        vec![
            Cell::Text(finding.code.to_string()),
            Cell::Word("audit.finding", finding.code.to_string()),
            Cell::from_text(&finding.path),
            Cell::Text(index),
            Cell::from_text(&finding.detail),
        ]
    });
    Section::new(
        "audit.title.findings",
        &[
            "audit.column.code",
            "label.column.finding",
            "audit.column.file",
            "label.column.index",
            "audit.column.detail",
        ],
        rows.collect(),
    )
}

fn records_section(report: &Report) -> Section {
    let row = |line: &RecordLine| {
        let by = line.by.map_or_else(String::new, |by| by.to_string());
        let why = match line.reason {
            Some(reason) => Cell::Word("audit.reason", reason.into()),
            None => Cell::Word("audit.why", line.why.into()),
        };
        vec![
            Cell::from_text(&line.log),
            Cell::Number(line.index),
            Cell::Word("audit.verdict", line.verdict.as_str().into()),
            why,
            Cell::Text(by),
            Cell::Time(line.at),
        ]
    };
    let mut lines: Vec<&RecordLine> = report.records.iter().collect();
    lines.sort_by_key(|line| line.verdict == Verdict::Erased);
    Section::new(
        "audit.title.records",
        &[
            "label.column.log",
            "label.column.index",
            "audit.column.verdict",
            "label.column.why",
            "audit.column.by",
            "label.column.time",
        ],
        lines.into_iter().map(row).collect(),
    )
}

fn erasure_lines(report: &Report) -> impl Iterator<Item = (&LogReport, &ErasureLine)> {
    report.logs.iter().flat_map(|log: &LogReport| {
        let lines = log.erasures.listed.iter();
        lines.map(move |line| (log, line))
    })
}

fn late(is_late: bool) -> Cell {
    let word = if is_late { "late" } else { "" };
    Cell::Word("audit.word", word.into())
}

fn erasures(report: &Report) -> Section {
    let rows = erasure_lines(report).map(|(log, line)| {
        let by = line
            .retracted_by
            .map_or_else(String::new, |by| by.to_string());
        let given = line.owed.iter();
        let given = given.filter(|owed| matches!(owed.state, "erased" | "never_held"));
        vec![
            Cell::from_text(&log.origin),
            Cell::from_text(format!("{}-{}", line.start, line.end)),
            Cell::Word("audit.reason", line.reason.into()),
            Cell::Text(by),
            Cell::Time(Some(line.decided_at)),
            Cell::Time(line.erased_at),
            Cell::from_text(format!("{}/{}", given.count(), line.owed.len())),
            late(line.late),
        ]
    });
    Section::new(
        "audit.title.erasures",
        &[
            "label.column.log",
            "audit.column.range",
            "label.column.reason",
            "audit.column.by",
            "audit.column.decided",
            "audit.column.erased",
            "audit.column.receipts",
            "audit.column.mark",
        ],
        rows.collect(),
    )
}

fn owed(report: &Report) -> Section {
    let rows = erasure_lines(report).flat_map(|(_, line)| {
        line.owed.iter().map(move |owed| {
            vec![
                Cell::from_text(format!("{}-{}", line.start, line.end)),
                Cell::from_text(&owed.member),
                Cell::Word("audit.receipt", owed.state.into()),
                Cell::Time(owed.at),
                late(owed.late),
            ]
        })
    });
    Section::new(
        "audit.title.receipts",
        &[
            "audit.column.range",
            "label.column.member",
            "audit.column.receipt",
            "label.column.time",
            "audit.column.mark",
        ],
        rows.collect(),
    )
}
