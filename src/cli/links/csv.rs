//! A report of links as CSV, for a spreadsheet: fixed English column names, ISO
//! dates, scores with three decimals, and no cell that would run as a formula.

use std::io;

use crate::cli::show::{self, no_formula};
use crate::wire::v1::{KindCount, LinkedCase, LinksResponse};

/// Writes the pairs, one a row.
///
/// # Errors
/// Whatever `out` answers.
pub fn pairs<W: io::Write>(answer: &LinksResponse, out: W) -> io::Result<()> {
    let mut csv = ::csv::Writer::from_writer(out);
    csv.write_record([
        "member_a",
        "case_a",
        "category_a",
        "contact_a",
        "member_b",
        "case_b",
        "category_b",
        "contact_b",
        "shared",
        "kinds",
        "score",
        "first_seen",
        "last_seen",
    ])?;
    for pair in &answer.pairs {
        let mut row = Vec::with_capacity(13);
        let none = LinkedCase::default();
        for case in [&pair.a, &pair.b] {
            let case = case.as_ref().unwrap_or(&none);
            row.push(no_formula(&case.member));
            row.push(hex::encode(&case.case_ref));
            row.push(no_formula(&case.category));
            row.push(no_formula(&case.contact));
        }
        row.push(pair.shared.to_string());
        row.push(kinds(&pair.kinds));
        row.push(format!("{:.3}", pair.score));
        row.push(show::day(pair.first_day).unwrap_or_default());
        row.push(show::day(pair.last_day).unwrap_or_default());
        csv.write_record(row)?;
    }
    csv.flush()
}

/// Writes the tokens, one a row, under the report's own numbers.
///
/// # Errors
/// Whatever `out` answers.
pub fn tokens<W: io::Write>(answer: &LinksResponse, out: W) -> io::Result<()> {
    let mut csv = ::csv::Writer::from_writer(out);
    csv.write_record(["token", "kind", "members", "cases", "rarity", "hub"])?;
    for token in &answer.tokens {
        csv.write_record([
            token.ordinal.to_string(),
            no_formula(&token.kind),
            no_formula(&token.members.join(" ")),
            token.cases.to_string(),
            format!("{:.3}", token.rarity),
            if token.hub { "yes" } else { "no" }.to_owned(),
        ])?;
    }
    csv.flush()
}

fn kinds(counts: &[KindCount]) -> String {
    let parts: Vec<String> = counts
        .iter()
        .map(|c| format!("{}:{}", c.kind, c.count))
        .collect();
    no_formula(&parts.join(" "))
}
