//! Reports as CSV, for a spreadsheet: fixed English column names, ISO dates,
//! scores with three decimals. The caller says how a case is written, since
//! only it knows the numbers of its own cases.

use std::io;

use super::{CaseKey, Report};
use crate::clock;

/// Writes the pairs.
///
/// # Errors
/// Whatever `out` answers.
pub fn pairs_csv<W: io::Write>(
    report: &Report,
    label: impl Fn(&CaseKey) -> String,
    out: W,
) -> io::Result<()> {
    let mut csv = csv::Writer::from_writer(out);
    csv.write_record([
        "member_a",
        "case_a",
        "member_b",
        "case_b",
        "shared",
        "kinds",
        "score",
        "first_seen",
        "last_seen",
    ])?;
    for pair in &report.pairs {
        csv.write_record([
            pair.a.member.as_str(),
            &inert(label(&pair.a)),
            pair.b.member.as_str(),
            &inert(label(&pair.b)),
            &pair.shared.to_string(),
            &kinds(&pair.kinds),
            &format!("{:.3}", pair.score),
            &iso(pair.first_day),
            &iso(pair.last_day),
        ])?;
    }
    csv.flush()
}

/// Writes the groups, one line a case, with the group's number from 1.
///
/// # Errors
/// Whatever `out` answers.
pub fn groups_csv<W: io::Write>(
    report: &Report,
    label: impl Fn(&CaseKey) -> String,
    out: W,
) -> io::Result<()> {
    let mut csv = csv::Writer::from_writer(out);
    csv.write_record([
        "group",
        "member",
        "case",
        "lead",
        "group_cases",
        "shared",
        "kinds",
        "score",
        "first_seen",
        "last_seen",
        "capped",
    ])?;
    for (number, group) in report.groups.iter().enumerate() {
        for case in &group.cases {
            csv.write_record([
                (number + 1).to_string().as_str(),
                case.member.as_str(),
                &inert(label(case)),
                yes(*case == group.lead.case),
                &group.cases.len().to_string(),
                &group.shared.to_string(),
                &kinds(&group.kinds),
                &format!("{:.3}", group.score),
                &iso(group.first_day),
                &iso(group.last_day),
                yes(group.capped),
            ])?;
        }
    }
    csv.flush()
}

/// Writes the tokens by ordinal, one line a token.
///
/// # Errors
/// Whatever `out` answers.
pub fn tokens_csv<W: io::Write>(report: &Report, out: W) -> io::Result<()> {
    let mut csv = csv::Writer::from_writer(out);
    csv.write_record(["token", "kind", "members", "cases", "rarity", "hub"])?;
    for token in &report.tokens {
        let members: Vec<&str> = token.members.iter().map(|member| member.as_str()).collect();
        csv.write_record([
            token.ordinal.to_string().as_str(),
            token.kind,
            &members.join(" "),
            &token.case_count.to_string(),
            &format!("{:.3}", token.rarity),
            yes(token.hub),
        ])?;
    }
    csv.flush()
}

fn kinds(counts: &[(&'static str, u32)]) -> String {
    let parts: Vec<String> = counts
        .iter()
        .map(|(kind, n)| format!("{kind}:{n}"))
        .collect();
    parts.join(" ")
}

fn yes(flag: bool) -> &'static str {
    if flag { "yes" } else { "no" }
}

fn iso(day: Option<i32>) -> String {
    day.and_then(clock::date_of)
        .map_or_else(String::new, |date| date.to_string())
}

/// Keeps a spreadsheet from running a label as a formula.
fn inert(label: String) -> String {
    if label.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        format!("'{label}")
    } else {
        label
    }
}
