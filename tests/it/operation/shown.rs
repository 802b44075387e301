//! What each officers' command prints for a fixed answer: golden files as JSON,
//! and in Chinese and English at 80 and 100 columns.

use std::fs;
use std::path::Path;

use casegate::cli::case::view;
use casegate::cli::failure::Exit;
use casegate::cli::import::Imported;
use casegate::cli::links::{By, csv};
use casegate::cli::log::erasures;
use casegate::cli::officer::{self, OfficerCommand};
use casegate::cli::sheet::{Sheet, page, width};
use casegate::cli::{custodian, hits, import, links, log, publish, query, status};
use casegate::lang::Lang;
use casegate::wire::v1;

use super::{answers, papers};

/// Compares with `golden/NAME`; what it is now is kept beside the build, to be
/// looked at and copied.
fn golden(name: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/it/operation/golden")
        .join(name);
    let known = fs::read_to_string(&file).unwrap_or_default();
    if known != text {
        let now = Path::new(env!("CARGO_TARGET_TMPDIR")).join("golden");
        fs::create_dir_all(&now).expect("a directory");
        fs::write(now.join(name), text).expect("written");
    }
    assert!(
        known == text,
        "{name} is not as in {}; it is now\n{text}",
        file.display()
    );
}

/// What a sheet is on a screen of so many columns, or as JSON.
fn drawn(sheet: &Sheet, json: bool, lang: Lang, columns: Option<usize>) -> String {
    let (mut output, out, _) = papers(json, lang);
    if let Some(columns) = columns {
        output = output.columns(columns);
    }
    output.show(sheet).expect("memory takes it");
    out.text()
}

/// Checks what a command answers as JSON, and in both languages at both widths.
fn shows(command: &str, name: &str, sheet: &Sheet) {
    shows_json(command, name, sheet);
    shows_people(name, sheet, &[Lang::En, Lang::Zh]);
}

fn shows_json(command: &str, name: &str, sheet: &Sheet) {
    let text = drawn(sheet, true, Lang::En, None);
    let parsed: serde_json::Value = serde_json::from_str(&text).expect("one object");
    assert_eq!(parsed["schema"], format!("casegate.{command}/1"));
    assert_eq!(
        parsed.to_string().len(),
        text.trim_end().len(),
        "a key stands twice: {text}"
    );
    golden(&format!("{name}.json"), &text);
}

fn shows_people(name: &str, sheet: &Sheet, langs: &[Lang]) {
    for lang in langs {
        for columns in [80, 100] {
            let text = drawn(sheet, false, *lang, Some(columns));
            for line in text.lines().filter(|line| !line.starts_with('{')) {
                assert!(
                    width::of(line) <= columns,
                    "{name} {lang} {columns}: {line}"
                );
            }
            if !text.starts_with('{') {
                no_codes(name, *lang, &text);
            }
            golden(&format!("{name}.{lang}.{columns}.txt"), &text);
        }
        let page = page::html(sheet, *lang);
        assert!(page.starts_with("<!doctype html>"), "{name}");
        no_codes(name, *lang, &page[page.find("<body>").expect("a body")..]);
    }
}

/// No word of programs stands where people read, and no English in Chinese
/// beside what people and machines are called.
fn no_codes(name: &str, lang: Lang, text: &str) {
    for code in [
        "BODY_TYPE",
        "ELEMENT_KIND",
        "Desk.",
        "Audit.",
        "label.",
        "message.",
    ] {
        assert!(!text.contains(code), "{name}: {code} in {text}");
    }
    if lang == Lang::Zh {
        for english in [" the ", " of ", " not ", " and ", " records ", " members "] {
            assert!(!text.contains(english), "{name}: {english} in {text}");
        }
    }
}

#[test]
fn a_query_shows_matches_ages_and_silent_members() {
    let sheet = query::sheet("A-2026-1", &answers::query());
    shows("query", "query", &sheet);
    assert_eq!(sheet.exit(), Exit::Done);
}

#[test]
fn a_query_without_hits_says_so_and_ends_with_1() {
    let none = v1::QueryResponse {
        matches: vec![],
        left_out: 0,
        ..answers::query()
    };
    let sheet = query::sheet("A-2026-1", &none);
    shows("query", "query-none", &sheet);
    assert_eq!(sheet.exit().code(), 1);
    let nothing = v1::QueryResponse {
        elements_asked: 0,
        ..none
    };
    let sheet = query::sheet("A-2026-1", &nothing);
    let said = drawn(&sheet, false, Lang::En, None);
    assert!(
        said.starts_with("nothing of case A-2026-1 was compared"),
        "{said}"
    );
    assert!(!said.contains("shares nothing"), "{said}");
}

#[test]
fn hits_are_listed_with_their_total() {
    let sheet = hits::sheet(&answers::hits());
    shows("hits", "hits", &sheet);
    assert_eq!(sheet.exit(), Exit::Done);
    let none = hits::sheet(&v1::HitsResponse::default());
    assert_eq!(none.exit(), Exit::Nothing);
}

#[test]
fn links_show_pairs_and_groups_or_tokens() {
    let sheet = links::sheet("OP-7", By::Case, &answers::links());
    shows("links", "links", &sheet);
    assert_eq!(sheet.exit(), Exit::Done);
    let sheet = links::sheet("OP-7", By::Token, &answers::linked_tokens());
    shows("links", "links-token", &sheet);
    let none = v1::LinksResponse::default();
    assert_eq!(links::sheet("OP-7", By::Case, &none).exit().code(), 1);
}

#[test]
fn a_file_of_links_has_a_row_a_pair_or_token_and_no_formula() {
    let mut pairs = vec![];
    csv::pairs(&answers::links(), &mut pairs).expect("written");
    let pairs = String::from_utf8(pairs).expect("text");
    assert!(pairs.contains("'=HYPERLINK"), "{pairs}");
    golden("links-pairs.csv", &pairs);
    let mut tokens = vec![];
    csv::tokens(&answers::linked_tokens(), &mut tokens).expect("written");
    golden(
        "links-tokens.csv",
        &String::from_utf8(tokens).expect("text"),
    );
}

#[test]
fn an_import_shows_its_report_and_what_to_do_next() {
    let report = answers::report();
    let done = Imported {
        file: "cases.csv",
        preview: false,
        published: 75,
        rejects: Some(Path::new("cases.csv.rejects.csv")),
        report: &report,
    };
    shows("import", "import", &import::sheet(&done));
    let preview = Imported {
        preview: true,
        published: 0,
        rejects: None,
        ..done
    };
    shows("import", "import-preview", &import::sheet(&preview));
}

#[test]
fn a_publish_names_what_was_refused_in_the_officers_language() {
    for lang in [Lang::Zh, Lang::En] {
        let sheet = publish::sheet("A-2026-1", &answers::publish(), lang).expect("a report");
        assert_eq!(sheet.exit().code(), 2);
        shows_people("publish", &sheet, &[lang]);
        if lang == Lang::En {
            shows_json("publish", "publish", &sheet);
        }
    }
    let broken = v1::PublishResponse {
        report: None,
        ..answers::publish()
    };
    assert!(publish::sheet("A-2026-1", &broken, Lang::En).is_err());
}

#[test]
fn cases_and_operations_are_listed_shown_and_retracted() {
    shows("case", "case-list", &view::list(&answers::cases()));
    shows(
        "case",
        "case-operations",
        &view::list(&answers::operations()),
    );
    let shown = view::shown(&answers::shown_case()).expect("a case");
    shows("case", "case-show", &shown);
    let summary = answers::shown_case().summary;
    let added = view::one(summary.as_ref(), "message.case.added").expect("a case");
    shows("case", "case-added", &added);
    let sheet = view::retracted("A-2026-1", false, &answers::retracted());
    shows("case", "case-retract", &sheet);
    assert_eq!(sheet.exit(), Exit::Done);
    let none = view::retracted("A-2026-1", true, &v1::RetractResponse::default());
    assert_eq!(none.exit(), Exit::Nothing);
    assert!(view::one(None, "message.case.added").is_err());
    let none = view::list(&v1::ListCasesResponse::default());
    assert_eq!(none.exit(), Exit::Nothing);
}

#[test]
fn officers_are_listed_and_changes_said() {
    shows(
        "officer",
        "officer-list",
        &officer::list(&answers::officers()),
    );
    let name = casegate::ids::OfficerName::new("li.wei").expect("a name");
    let suspend = OfficerCommand::Suspend { name };
    let sheet = officer::changed(&answers::officers()[1], &suspend);
    shows("officer", "officer-suspend", &sheet);
}

#[test]
fn a_status_shows_replicas_and_budgets() {
    shows("status", "status", &status::sheet(&answers::status()));
    let budgets = custodian::budget(&answers::status().budgets);
    shows("custodian.budget", "custodian-budget", &budgets);
}

fn status_text(answer: &v1::GetStatusResponse) -> String {
    drawn(&status::sheet(answer), false, Lang::En, None)
}

#[test]
fn a_status_speaks_of_cosigned_rosters_and_void_records_only_when_there_is_something_to_say() {
    let mut answer = answers::status();
    assert!(status_text(&answer).contains("up to version 2 only, version 3 is still open"));
    answer.roster_witnessed = 3;
    assert!(status_text(&answer).contains("cosigned by enough members up to the newest version"));
    (answer.witness_quorum, answer.roster_witnessed) = (0, 0);
    assert!(!status_text(&answer).contains("roster log"));
    assert!(status_text(&answer).contains("alarm: 2 records of this node do not count"));
    assert!(status_text(&answer).contains("note: 12 records of anqing do not count"));
    answer.records_key_invalid = 0;
    answer.replicas.iter_mut().for_each(|r| r.key_invalid = 0);
    assert!(!status_text(&answer).contains("do not count"));
}

#[test]
fn a_log_that_does_not_verify_is_an_error() {
    let sheet = log::sheet(&answers::log(), true, false);
    shows("log", "log-verify", &sheet);
    assert_eq!(sheet.exit().code(), 2);
    let sheet = log::sheet(&answers::log(), false, true);
    shows("log", "log-dsse", &sheet);
    assert_eq!(sheet.exit(), Exit::Done, "nobody asked whether they verify");
}

#[test]
fn a_line_of_the_access_log_says_in_words_who_asked_what() {
    let sheet = log::sheet(&answers::access_log(), false, false);
    shows("log", "log-mixed", &sheet);
    let mut calls = answers::access_log();
    calls.lines.retain(|line| line.r#type.ends_with("ACCESS"));
    let sheet = log::sheet(&calls, false, false);
    shows("log", "log-access", &sheet);
}

#[test]
fn erasures_are_shown_with_those_who_have_not_confirmed_them() {
    let sheet = erasures::sheet(&answers::erasures().erasures);
    shows("log.erasures", "log-erasures", &sheet);
    assert_eq!(sheet.exit(), Exit::Nothing, "somebody is late");
    assert_eq!(erasures::sheet(&[]).exit(), Exit::Done);
}

#[test]
fn everything_is_shown_to_whom_asks_for_it_however_wide() {
    let sheet = query::sheet("A-2026-1", &answers::query());
    let (output, out, _) = papers(false, Lang::En);
    output
        .columns(40)
        .wide(true)
        .show(&sheet)
        .expect("memory takes it");
    let text = out.text();
    assert!(
        text.contains("rarity") && text.contains(&"01".repeat(16)),
        "{text}"
    );
    assert!(!text.contains("no room for"), "{text}");
}

#[test]
fn a_list_says_how_many_there_are_and_what_shows_the_others() {
    let text = |total, hits: usize| {
        let one = answers::hits().hits;
        let answer = v1::HitsResponse {
            hits: std::iter::repeat_n(one[0].clone(), hits).collect(),
            total,
        };
        drawn(&hits::sheet(&answer), false, Lang::En, Some(100))
    };
    assert!(text(1_472, 5).contains("5 of 1472 shown: --limit asks for more"));
    assert!(text(5, 5).contains("\n5 rows\n"));
    let mut matches = answers::query();
    matches.matches = std::iter::repeat_n(matches.matches[0].clone(), 60).collect();
    let sheet = query::sheet("A-2026-1", &matches);
    let text = drawn(&sheet, false, Lang::En, Some(100));
    assert!(
        text.contains("the first 50 of 60 shown: --wide shows all"),
        "{text}"
    );
}

#[test]
fn what_there_is_no_room_for_is_named() {
    let sheet = query::sheet("A-2026-1", &answers::query());
    let text = drawn(&sheet, false, Lang::En, Some(60));
    assert!(
        text.contains("no room for:") && text.contains("month"),
        "{text}"
    );
    assert!(text.contains("01010101") && text.contains("wuhu"), "{text}");
}
