//! The officers' command line: what each command prints for a fixed answer
//! (golden files, in JSON, Chinese and English), how it ends, and what it
//! refuses before anything is asked of a node.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use casegate::blame::Blame;
use casegate::cli::case::view;
use casegate::cli::desk::DeskConfig;
use casegate::cli::failure::{CommandError, Exit, Failure};
use casegate::cli::import::Imported;
use casegate::cli::links::{By, csv};
use casegate::cli::log::erasures;
use casegate::cli::officer::{self, OfficerCommand};
use casegate::cli::output::Output;
use casegate::cli::publish::parse_element;
use casegate::cli::sheet::Sheet;
use casegate::cli::sheet::width;
use casegate::cli::{
    self, Cli, Command, DeskCommand, custodian, hits, import, links, log, publish, query, status,
};
use casegate::clock::Clock;
use casegate::lang::Lang;
use casegate::rpc::desk_client::DeskCallError;
use casegate::tls::TlsRefusal;
use casegate::wire::v1;
use clap::{CommandFactory, Parser};

mod answers;
mod desk;

#[derive(Clone, Default)]
pub(crate) struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .expect("nobody panics while writing")
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Paper {
    pub(crate) fn text(&self) -> String {
        let bytes = self.0.lock().expect("nobody panics while writing").clone();
        String::from_utf8(bytes).expect("output is text")
    }
}

pub(crate) fn papers(json: bool, lang: Lang) -> (Output, Paper, Paper) {
    let (out, err) = (Paper::default(), Paper::default());
    (
        Output::to(json, lang, Box::new(out.clone()), Box::new(err.clone())),
        out,
        err,
    )
}

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
                assert!(width::of(line) <= columns, "{name} {lang} {columns}: {line}");
            }
            if !text.starts_with('{') {
                no_codes(name, *lang, &text);
            }
            golden(&format!("{name}.{lang}.{columns}.txt"), &text);
        }
        let page = casegate::cli::sheet::page::html(sheet, *lang);
        assert!(page.starts_with("<!doctype html>"), "{name}");
        no_codes(name, *lang, &page[page.find("<body>").expect("a body")..]);
    }
}

/// No word of programs stands where people read, and no English in Chinese
/// beside what people and machines are called.
fn no_codes(name: &str, lang: Lang, text: &str) {
    for code in ["BODY_TYPE", "ELEMENT_KIND", "Desk.", "Audit.", "label.", "message."] {
        assert!(!text.contains(code), "{name}: {code} in {text}");
    }
    if lang == Lang::Zh {
        for english in [" the ", " of ", " not ", " and ", "records", "members"] {
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
    assert!(said.starts_with("nothing of case A-2026-1 was compared"), "{said}");
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
    shows("case", "case-operations", &view::list(&answers::operations()));
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
    shows("officer", "officer-list", &officer::list(&answers::officers()));
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
    output.columns(40).wide(true).show(&sheet).expect("memory takes it");
    let text = out.text();
    assert!(text.contains("rarity") && text.contains(&"01".repeat(16)), "{text}");
    assert!(!text.contains("no room for"), "{text}");
}

#[test]
fn what_there_is_no_room_for_is_named() {
    let sheet = query::sheet("A-2026-1", &answers::query());
    let text = drawn(&sheet, false, Lang::En, Some(60));
    assert!(text.contains("no room for:") && text.contains("month"), "{text}");
    assert!(text.contains("01010101") && text.contains("wuhu"), "{text}");
}

#[test]
fn the_kind_ends_at_the_first_colon() {
    for bad in [
        "",
        "phone",
        "phone:",
        "phone: ",
        ":1",
        "fax:1",
        "PHONE:1",
        "unspecified:1",
    ] {
        let error = parse_element(bad).expect_err(bad);
        assert!(!error.contains("fax:1"), "a value is not repeated: {error}");
    }
    for (text, kind, value) in [
        (
            "url:https://a.example:8443/x",
            "url",
            "https://a.example:8443/x",
        ),
        ("mac:00:1b:44:11:3a:b7", "mac", "00:1b:44:11:3a:b7"),
        ("bank-card: 6222 0000", "bank-card", " 6222 0000"),
        ("wallet::x", "wallet", ":x"),
    ] {
        let element = parse_element(text).expect("an element");
        assert_eq!(
            (element.kind.as_str(), element.value.as_str()),
            (kind, value)
        );
        assert!(
            !format!("{element:?}").contains(value),
            "a value is not shown by Debug"
        );
    }
}

const PURPOSE: [&str; 4] = ["--offence", "fraud", "--reason", "asked for"];

fn parse(words: &[&str]) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(["casegate"].iter().chain(words))
}

#[test]
fn the_command_line_holds_together() {
    Cli::command().debug_assert();
}

#[test]
fn a_query_without_case_or_purpose_is_refused() {
    let with = |words: &[&'static str]| parse(&[words, &PURPOSE].concat());
    assert!(parse(&["query", "--case", "A"]).is_err());
    assert!(parse(&["hits"]).is_err());
    assert!(parse(&["links", "--operation", "OP-7"]).is_err());
    assert!(with(&["query"]).is_err());
    assert!(
        with(&["query", "--case", "A", "--add"]).is_err(),
        "there is nothing to add"
    );
    assert!(with(&["query", "--case", "A", "--element", "fax:1"]).is_err());
    assert!(with(&["links", "--operation", "OP-7", "--from", "2026-13-01"]).is_err());
    assert!(
        with(&["publish", "--case", "A"]).is_err(),
        "there is nothing to publish"
    );
    assert!(
        parse(&["officer", "add", "li.wei"]).is_err(),
        "an officer without rights"
    );
    assert!(parse(&["officer", "add", "li.wei", "--right", "all"]).is_err());
    assert!(parse(&["officer", "add", "Li Wei", "--right", "query"]).is_err());
    assert!(
        parse(&["case", "retract", "A"]).is_err(),
        "a retraction says why"
    );
    assert!(
        parse(&[
            "case",
            "operation",
            "add",
            "OP",
            "--region",
            "n",
            "--ends-on",
            "x"
        ])
        .is_err()
    );
    let cli = with(&["query", "--json", "--case", "A", "--element", "mac:00:11"]).expect("a query");
    assert!(cli.json && matches!(cli.command, Command::Desk(DeskCommand::Query(_))));
}

#[test]
fn an_operation_ends_when_its_last_day_does() {
    let words = [
        "case",
        "operation",
        "add",
        "OP-7",
        "--region",
        "north",
        "--kind",
        "phone",
    ];
    let cli = parse(&[&words[..], &["--kind", "url", "--ends-on", "2026-11-22"]].concat());
    let Command::Desk(DeskCommand::Case(cli::case::CaseCommand::Operation(
        cli::case::OperationCommand::Add(args),
    ))) = cli.expect("an operation").command
    else {
        panic!("another command");
    };
    let row = cli::case::operation_row(&args);
    assert!(row.operation);
    assert_eq!(
        row.kinds,
        [v1::ElementKind::Phone as i32, v1::ElementKind::Url as i32]
    );
    assert_eq!(row.ends_at, 1_795_363_200);
}

#[test]
fn the_language_given_counts_before_that_of_the_environment() {
    let language = |words: &[&str]| parse(words).expect("a command line").language();
    assert_eq!(
        language(&["--lang", "en", "--env-lang", "zh_CN.UTF-8", "status"]),
        Lang::En
    );
    let locale = ["--env-lc-all", "", "--env-lang", "zh_CN.UTF-8", "status"];
    assert_eq!(language(&locale), Lang::Zh);
    assert_eq!(language(&["status", "--lang", "zh"]), Lang::Zh);
    assert!(parse(&["--lang", "fr", "status"]).is_err());
}

fn config(extra: &str) -> String {
    let pin = "ab".repeat(32);
    format!(
        "federation = \"anhui.example\"\nmember = \"hefei\"\ndesk = \"127.0.0.1:7441\"\n\
         cert = \"li.pem\"\nkey = \"/keys/li.key\"\nroster = \"roster.bin\"\npin = \"{pin}\"\n{extra}"
    )
}

#[test]
fn a_config_with_unknown_missing_or_wrong_keys_is_refused() {
    let dir = Path::new("/etc/casegate");
    let refused = |text: &str| DeskConfig::parse(text, dir).expect_err(text);
    assert!(refused(&config("listen = \"x\"")).contains("listen"));
    assert!(refused(&config("[tls]")).contains("tls"));
    assert!(refused(&config("desk = \"twice\"")).contains("desk"));
    for key in ["federation", "member", "cert", "key", "roster", "pin"] {
        let whole = config("");
        let without: Vec<&str> = whole
            .lines()
            .filter(|line| !line.starts_with(&format!("{key} ")))
            .collect();
        assert!(refused(&without.join("\n")).contains(key), "{key}");
    }
    assert!(refused(&config("").replace("abab", "ab")).contains("pin"));
    assert!(refused(&config("").replace("hefei", "Hefei")).contains("Hefei"));
    let without_desk = config("").replace("desk = \"127.0.0.1:7441\"\n", "");
    let read = DeskConfig::parse(&without_desk, dir).expect("an auditor without a node");
    assert!(read.desk.is_empty());
    let read = DeskConfig::parse(&config(""), dir).expect("a config");
    assert_eq!(read.cert, PathBuf::from("/etc/casegate/li.pem"));
    assert_eq!(read.key, PathBuf::from("/keys/li.key"));
}

#[test]
fn a_bad_config_ends_with_64_and_names_the_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("officer.toml");
    fs::write(&path, config("surplus = 1")).expect("written");
    for (path, code) in [
        (path, "config.invalid"),
        (dir.path().join("none"), "config.missing"),
    ] {
        let name = path.to_str().expect("text");
        let cli = parse(&["--config", name, "status"]).expect("a command line");
        let (output, out, err) = papers(false, Lang::En);
        assert_eq!(cli::run(&cli, &Clock::manual(1), &output).code(), 64);
        assert!(
            err.text().starts_with("casegate: ") && err.text().contains(name),
            "{}",
            err.text()
        );
        assert_eq!(out.text(), "");
        let (output, out, _) = papers(true, Lang::Zh);
        assert_eq!(cli::run(&cli, &Clock::manual(1), &output), Exit::Config);
        let told: serde_json::Value = serde_json::from_str(&out.text()).expect("one object");
        assert_eq!(
            (told["schema"].as_str(), told["code"].as_str()),
            (Some("casegate.error/1"), Some(code))
        );
    }
}

fn answered(code: &str, blame: Blame) -> CommandError {
    let sentence = "the node's own words".into();
    DeskCallError::Answered {
        code: code.into(),
        sentence,
        blame,
    }
    .into()
}

#[test]
fn exit_codes_tell_refusals_from_what_is_out_of_reach() {
    let unreachable = DeskCallError::Unreachable {
        endpoint: "h:1".into(),
        detail: "refused".into(),
    };
    for (error, code) in [
        (answered("case.unknown", Blame::NotFound), 2),
        (answered("limit.reached", Blame::Busy), 2),
        (answered("custodian.too_few", Blame::Unavailable), 3),
        (answered("ledger.stopped", Blame::Internal), 4),
        (unreachable.into(), 3),
        (DeskCallError::Tls(TlsRefusal::UnknownCa).into(), 2),
        (DeskCallError::Tls(TlsRefusal::Closed).into(), 3),
        (CommandError::Usage("no"), 2),
        (CommandError::Answer("report"), 2),
    ] {
        let failure = Failure::of(&error, Lang::En, &[]);
        assert_eq!(failure.exit.code(), code, "{failure:?}");
        assert!(!failure.sentence.contains('{'), "{failure:?}");
    }
}

#[test]
fn a_failure_is_told_in_the_officers_language_with_what_to_do_next() {
    let known = [("case", "A-1".to_owned())];
    let tell = |error: &CommandError, lang| Failure::of(error, lang, &known);
    let unknown = answered("case.unknown", Blame::NotFound);
    let zh = tell(&unknown, Lang::Zh);
    assert!(
        zh.sentence.contains("A-1") && zh.sentence.contains("登记"),
        "{zh:?}"
    );
    assert_eq!(zh.code, "case.unknown");
    // A sentence of which a word is not known would stand with a hole.
    let hole = Failure::of(&unknown, Lang::En, &[]);
    assert!(
        hole.sentence.starts_with("the node's own words"),
        "{hole:?}"
    );
    let later = tell(&answered("of.a.later.version", Blame::Busy), Lang::En);
    assert_eq!(
        later.sentence,
        "the node's own words; try again later, or ask for less"
    );
    let tls = tell(
        &DeskCallError::Tls(TlsRefusal::NotForListener).into(),
        Lang::Zh,
    );
    assert!(tls.sentence.contains("desk"), "{tls:?}");
}

#[test]
fn completions_and_manual_pages_are_printed_as_they_are() {
    for words in [
        &["completion", "bash"][..],
        &["completion", "zsh"],
        &["man"],
        &["man", "query"],
    ] {
        let (output, out, err) = papers(false, Lang::En);
        let exit = cli::run(
            &parse(words).expect("a command line"),
            &Clock::manual(1),
            &output,
        );
        assert_eq!((exit, err.text().as_str()), (Exit::Done, ""));
        let text = out.text();
        assert!(
            text.contains("casegate") && !text.contains('\u{fffd}'),
            "{words:?}"
        );
    }
    let (output, _, err) = papers(false, Lang::En);
    let cli = parse(&["man", "moon"]).expect("a command line");
    assert_eq!(cli::run(&cli, &Clock::manual(1), &output), Exit::Refused);
    assert!(err.text().contains("manual page"), "{}", err.text());
}
