//! What the demo found and took: one JSON object, or a page for a person.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::cli::output::{Screen, Table};
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

fn case_text(case: Option<&v1::LinkedCase>) -> String {
    case.map_or_else(String::new, |c| {
        let short: String = hex::encode(&c.case_ref).chars().take(8).collect();
        format!("{}/{short}", c.member)
    })
}

fn kinds_text(screen: &Screen, kinds: &[v1::KindCount]) -> String {
    let lang = screen.lang();
    let each = kinds.iter().map(|k| {
        let name = if lang.knows("label.kind", &k.kind) {
            lang.coded("label.kind", &k.kind, &[])
        } else {
            k.kind.clone()
        };
        format!("{name} {}", k.count)
    });
    each.collect::<Vec<_>>().join(", ")
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

/// Draws the page.
pub(super) fn draw(screen: &mut Screen, findings: &Findings) {
    groups(screen, &findings.links);
    pairs(screen, &findings.links);
    numbers(screen, &findings.numbers);
    let numbers = &findings.numbers;
    screen.line("");
    if let (Some(planted), Some(found), Some(false_ones)) = (
        numbers.planted,
        numbers.planted_found,
        numbers.planted_false,
    ) {
        let (planted, found) = (planted.to_string(), found.to_string());
        let false_ones = false_ones.to_string();
        screen.text(
            "demo.planted",
            &[
                ("planted", &planted),
                ("found", &found),
                ("false", &false_ones),
            ],
        );
        let hubs = u8::from(findings.hub_found).to_string();
        let planted = u8::from(findings.planted_hub).to_string();
        screen.text("demo.hub", &[("found", &hubs), ("planted", &planted)]);
    }
    if let Some(tampering) = &numbers.tampering {
        screen.line(tampering);
    }
    screen.text("demo.privacy", &[]);
    screen.title("demo.title.next");
    for line in &findings.next {
        screen.line(&format!("  {line}"));
    }
}

fn groups(screen: &mut Screen, links: &v1::LinksResponse) {
    if links.groups.is_empty() {
        return;
    }
    screen.title("demo.title.groups");
    let mut table = Table::new()
        .column("label.column.members")
        .number("label.column.cases")
        .number("label.column.shared")
        .column("label.column.kinds")
        .number("label.column.score")
        .column("label.column.lead");
    for group in links.groups.iter().take(SHOWN) {
        table.row([
            group.members.join(", "),
            group.case_count.to_string(),
            group.shared.to_string(),
            kinds_text(screen, &group.kinds),
            format!("{:.1}", group.score),
            case_text(group.lead.as_ref()),
        ]);
    }
    screen.table(&table);
}

fn pairs(screen: &mut Screen, links: &v1::LinksResponse) {
    if links.pairs.is_empty() {
        return;
    }
    screen.title("demo.title.pairs");
    let mut table = Table::new()
        .column("label.column.case_a")
        .column("label.column.case_b")
        .number("label.column.shared")
        .column("label.column.kinds")
        .number("label.column.score");
    for pair in links.pairs.iter().take(SHOWN) {
        table.row([
            case_text(pair.a.as_ref()),
            case_text(pair.b.as_ref()),
            pair.shared.to_string(),
            kinds_text(screen, &pair.kinds),
            format!("{:.1}", pair.score),
        ]);
    }
    screen.table(&table);
}

fn numbers(screen: &mut Screen, numbers: &Numbers) {
    screen.title("demo.title.numbers");
    let timing = |name: &str| numbers.timings.get(name).copied().unwrap_or_default();
    let mut table = Table::new()
        .column("label.column.check")
        .number("label.column.count");
    let lang = screen.lang();
    let mut row = |key: &str, value: String| table.row([lang.text(key, &[]), value]);
    row("demo.number.cases", numbers.cases.to_string());
    row("demo.number.elements", numbers.elements.to_string());
    row("demo.number.refused", numbers.refused.to_string());
    row("demo.number.duplicates", numbers.duplicates.to_string());
    row("demo.number.shared", numbers.shared.to_string());
    row("demo.number.hits", numbers.hits.to_string());
    row(
        "demo.number.tokens_per_second",
        format!("{:.0}", timing("tokens_per_s")),
    );
    row(
        "demo.number.entries_per_second",
        format!("{:.0}", timing("exchanged_per_s")),
    );
    row(
        "demo.number.query_latency",
        format!("{:.1} ms", timing("query_ms")),
    );
    for (custodian, points) in &numbers.budgets {
        let name = lang.text("demo.number.budget_spent", &[]);
        table.row([format!("{name}: {custodian}"), points.to_string()]);
    }
    let mut row = |key: &str, value: String| table.row([lang.text(key, &[]), value]);
    row(
        "demo.number.signatures",
        numbers.signatures_checked.to_string(),
    );
    row(
        "demo.number.bad_signatures",
        numbers.signatures_bad.to_string(),
    );
    row(
        "demo.number.logs_verified",
        numbers.logs_verified.to_string(),
    );
    row("demo.number.memory", mib(numbers.peak_rss_bytes));
    row("demo.number.disk", mib(numbers.disk_bytes));
    row("demo.number.wall", format!("{:.1} s", numbers.wall_s));
    screen.table(&table);
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
            output
                .emit("demo", &findings.numbers, |screen| draw(screen, &findings))
                .expect("drawn");
            let text = paper.text();
            assert!(text.contains(words), "{text}");
        }
    }
}
