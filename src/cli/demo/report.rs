//! What the demo found and took: one JSON object, or a page for a person.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::cli::failure::Exit;
use crate::cli::sheet::{Cell, Column, Say, Section, Sheet};
use crate::wire::v1;

/// Pairs and groups that a person is shown.
const SHOWN: usize = 10;

/// The numbers, under the names of `--json`.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Numbers {
    /// Bureaus with a file.
    pub(super) bureaus: u64,
    /// Distinct cases.
    pub(super) cases: u64,
    /// Rows read.
    pub(super) rows: u64,
    /// Distinct (bureau, case, kind, value).
    pub(super) elements: u64,
    /// Refused rows.
    pub(super) refused: u64,
    /// Rows that repeat an element.
    pub(super) duplicates: u64,
    /// Elements that two or more bureaus share.
    pub(super) shared: u64,
    /// Hits raised, over all bureaus.
    pub(super) hits: u64,
    /// Values that custodians evaluated for members.
    pub(super) evaluations: u64,
    /// Entries received from other nodes.
    pub(super) exchanged: u64,
    /// Foreign entries whose signature was verified on receipt.
    pub(super) signatures_checked: u64,
    /// Answers that were refused for what was signed or sent wrong.
    pub(super) signatures_bad: u64,
    /// Replicas whose root was computed again and is the signed one.
    pub(super) logs_verified: u64,
    /// Planted links of the sample; absent for other data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) planted: Option<u64>,
    /// Planted links that were found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) planted_found: Option<u64>,
    /// Links that were found and not planted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) planted_false: Option<u64>,
    /// The process's peak of memory.
    pub(super) peak_rss_bytes: u64,
    /// All nodes' directories.
    pub(super) disk_bytes: u64,
    /// From start to end, in seconds.
    pub(super) wall_s: f64,
    /// Seconds of each part, and milliseconds of a query.
    pub(super) timings: BTreeMap<&'static str, f64>,
    /// Points spent at each custodian, by class.
    pub(super) budgets: BTreeMap<String, u64>,
    /// What was caught of a tampering, when there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tampering: Option<String>,
}

/// All that is shown at the end.
#[derive(Clone, Debug, Default)]
pub(super) struct Findings {
    pub(super) numbers: Numbers,
    pub(super) links: v1::LinksResponse,
    pub(super) hub_found: bool,
    pub(super) planted_hub: bool,
    pub(super) next: Vec<String>,
}

fn case_text(case: Option<&v1::LinkedCase>) -> Cell {
    case.map_or(Cell::Absent, |case| {
        Cell::Beside(vec![
            (&case.member).into(),
            Cell::Case(case.case_ref.to_vec()),
        ])
    })
}

fn mib(bytes: u64) -> Cell {
    format!("{} MiB", bytes >> 20).into()
}

type Groups = Column<v1::LinkedGroup>;

const GROUPS: &[Groups] = &[
    Groups::seen("label.column.members", |g| Cell::texts(&g.members)).flow(),
    Groups::seen("label.column.cases", |g| g.case_count.into()),
    Groups::seen("label.column.shared", |g| g.shared.into()),
    Groups::seen("label.column.kinds", |g| {
        Cell::Counts("label.kind", g.kinds.clone())
    })
    .flow(),
    Groups::seen("label.column.score", |g| Cell::Fraction(g.score, 1)),
    Groups::seen("label.column.lead", |g| case_text(g.lead.as_ref())),
];

type Pairs = Column<v1::LinkedPair>;

const PAIRS: &[Pairs] = &[
    Pairs::seen("label.column.case_a", |p| case_text(p.a.as_ref())),
    Pairs::seen("label.column.case_b", |p| case_text(p.b.as_ref())),
    Pairs::seen("label.column.shared", |p| p.shared.into()),
    Pairs::seen("label.column.kinds", |p| {
        Cell::Counts("label.kind", p.kinds.clone())
    })
    .flow(),
    Pairs::seen("label.column.score", |p| Cell::Fraction(p.score, 1)),
];

/// A line of the statistics.
type Line = (Cell, Cell);

type LineColumn = Column<Line>;

const NUMBERS: &[LineColumn] = &[
    LineColumn::seen("label.column.check", |line| line.0.clone()),
    LineColumn::seen("label.column.count", |line| line.1.clone()).right(),
];

/// All of it, as `exit` ends it.
///
/// # Errors
/// When the numbers cannot be written as JSON.
pub(super) fn sheet(findings: &Findings, exit: Exit) -> std::io::Result<Sheet> {
    let numbers = &findings.numbers;
    let links = &findings.links;
    let mut sheet = Sheet::new("demo").ends(exit);
    sheet.head(Say::new("page.demo", []));
    sheet.all(numbers)?;
    let groups = Section::of(&links.groups, GROUPS).titled("demo.title.groups");
    sheet.section(groups.at_most(SHOWN));
    let pairs = Section::of(&links.pairs, PAIRS).titled("demo.title.pairs");
    sheet.section(pairs.at_most(SHOWN));
    let lines = lines(numbers);
    sheet.section(Section::of(&lines, NUMBERS).titled("demo.title.numbers"));
    sheet.line("");
    if let (Some(planted), Some(found), Some(wrong)) = (
        numbers.planted,
        numbers.planted_found,
        numbers.planted_false,
    ) {
        let words = [
            ("planted", planted.into()),
            ("found", found.into()),
            ("false", wrong.into()),
        ];
        sheet.say("demo.planted", words);
        let words = [
            ("found", u32::from(findings.hub_found).into()),
            ("planted", u32::from(findings.planted_hub).into()),
        ];
        sheet.say("demo.hub", words);
    }
    if let Some(tampering) = &numbers.tampering {
        sheet.line(tampering);
    }
    sheet.say("demo.privacy", []);
    sheet.title("demo.title.next");
    for line in &findings.next {
        sheet.line(format!("  {line}"));
    }
    Ok(sheet)
}

fn lines(numbers: &Numbers) -> Vec<Line> {
    let timing = |name: &str| numbers.timings.get(name).copied().unwrap_or_default();
    let line = |key, value: Cell| (Cell::Phrase(key, vec![]), value);
    let mut lines = vec![
        line("demo.number.cases", numbers.cases.into()),
        line("demo.number.elements", numbers.elements.into()),
        line("demo.number.refused", numbers.refused.into()),
        line("demo.number.duplicates", numbers.duplicates.into()),
        line("demo.number.shared", numbers.shared.into()),
        line("demo.number.hits", numbers.hits.into()),
        line(
            "demo.number.tokens_per_second",
            Cell::Fraction(timing("tokens_per_s"), 0),
        ),
        line(
            "demo.number.entries_per_second",
            Cell::Fraction(timing("exchanged_per_s"), 0),
        ),
        line(
            "demo.number.query_latency",
            format!("{:.1} ms", timing("query_ms")).into(),
        ),
    ];
    for (spent, points) in &numbers.budgets {
        let (custodian, class) = spent.split_once('/').unwrap_or((spent, ""));
        let words = vec![
            ("custodian", custodian.into()),
            ("class", Cell::word("label.class", class)),
        ];
        let name = Cell::Phrase("demo.number.budget_spent", words);
        lines.push((name, (*points).into()));
    }
    lines.extend([
        line("demo.number.signatures", numbers.signatures_checked.into()),
        line("demo.number.bad_signatures", numbers.signatures_bad.into()),
        line("demo.number.logs_verified", numbers.logs_verified.into()),
        line("demo.number.memory", mib(numbers.peak_rss_bytes)),
        line("demo.number.disk", mib(numbers.disk_bytes)),
        line(
            "demo.number.wall",
            format!("{:.1} s", numbers.wall_s).into(),
        ),
    ]);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::Output;
    use crate::cli::output::tests::Paper;
    use crate::lang::Lang;

    #[test]
    fn the_json_has_the_keys_that_others_read() {
        let numbers = Numbers {
            planted: Some(12),
            planted_found: Some(12),
            planted_false: Some(0),
            ..Numbers::default()
        };
        let value = serde_json::to_value(&numbers).expect("numbers are JSON");
        let keys: Vec<&str> = value
            .as_object()
            .expect("an object")
            .keys()
            .map(String::as_str)
            .collect();
        let mut wanted = vec![
            "bureaus",
            "cases",
            "rows",
            "elements",
            "refused",
            "duplicates",
            "shared",
            "hits",
            "evaluations",
            "exchanged",
            "signatures_checked",
            "signatures_bad",
            "logs_verified",
            "planted",
            "planted_found",
            "planted_false",
            "peak_rss_bytes",
            "disk_bytes",
            "wall_s",
            "timings",
            "budgets",
        ];
        wanted.sort_unstable();
        let mut found = keys;
        found.sort_unstable();
        assert_eq!(found, wanted);
    }

    #[test]
    fn the_page_is_drawn_in_both_languages() {
        for (lang, words) in [
            (Lang::En, "2 of 3 planted links found, 1 false"),
            (Lang::Zh, "预设的 3 个关联找到 2 个"),
        ] {
            let paper = Paper::default();
            let output = Output::to(
                false,
                lang,
                Box::new(paper.clone()),
                Box::new(std::io::sink()),
            );
            let mut findings = Findings::default();
            findings.numbers.planted = Some(3);
            findings.numbers.planted_found = Some(2);
            findings.numbers.planted_false = Some(1);
            let sheet = sheet(&findings, Exit::Done).expect("numbers are JSON");
            output.show(&sheet).expect("drawn");
            let text = paper.text();
            assert!(text.contains(words), "{text}");
        }
    }
}
