//! The officers' command line: what each command prints for a fixed answer
//! (golden files, in JSON, Chinese and English), how it ends, and what it
//! refuses before anything is asked of a node.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use casegate::blame::Blame;
use casegate::cli::case::view::{CaseView, CasesView, RetractView, ShownCaseView};
use casegate::cli::desk::DeskConfig;
use casegate::cli::failure::{CommandError, Exit, Failure};
use casegate::cli::hits::HitsView;
use casegate::cli::import::ImportView;
use casegate::cli::links::{By, LinksView, sheet};
use casegate::cli::log::LogView;
use casegate::cli::log::erasures::ErasuresView;
use casegate::cli::officer::{OfficerCommand, OfficersView};
use casegate::cli::output::{Output, Screen};
use casegate::cli::publish::{PublishView, parse_element};
use casegate::cli::query::QueryView;
use casegate::cli::status::StatusView;
use casegate::cli::{self, Cli, Command, DeskCommand};
use casegate::clock::Clock;
use casegate::lang::Lang;
use casegate::rpc::desk_client::DeskCallError;
use casegate::tls::TlsRefusal;
use casegate::wire::v1;
use clap::{CommandFactory, Parser};
use serde::Serialize;

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

/// Checks all three forms of what a command shows.
fn shows<T: Serialize>(command: &str, name: &str, value: &T, show: impl Fn(&T, &mut Screen)) {
    for (json, lang) in [(true, Lang::En), (false, Lang::En), (false, Lang::Zh)] {
        shows_in(json, lang, command, name, value, &show);
    }
}

fn shows_in<T: Serialize>(
    json: bool,
    lang: Lang,
    command: &str,
    name: &str,
    value: &T,
    show: impl Fn(&T, &mut Screen),
) {
    let (output, out, _) = papers(json, lang);
    output
        .emit(command, value, |screen| show(value, screen))
        .expect("memory takes it");
    let text = out.text();
    if json {
        let parsed: serde_json::Value = serde_json::from_str(&text).expect("one object");
        assert_eq!(parsed["schema"], format!("casegate.{command}/1"));
        assert_eq!(
            parsed.to_string().len(),
            text.trim_end().len(),
            "a key stands twice: {text}"
        );
        golden(&format!("{name}.json"), &text);
    } else {
        golden(&format!("{name}.{lang}.txt"), &text);
    }
}

#[test]
fn a_query_shows_matches_ages_and_silent_members() {
    let view = QueryView::of("A-2026-1", &answers::query());
    shows("query", "query", &view, QueryView::show);
    assert_eq!(view.exit(), Exit::Done);
}

#[test]
fn a_query_without_hits_says_so_and_ends_with_1() {
    let answer = v1::QueryResponse {
        matches: vec![],
        left_out: 0,
        ..answers::query()
    };
    let view = QueryView::of("A-2026-1", &answer);
    shows("query", "query-none", &view, |view, screen| {
        view.show(screen)
    });
    assert_eq!(view.exit().code(), 1);
}

#[test]
fn hits_are_listed_with_their_total() {
    let view = HitsView::of(&answers::hits());
    shows("hits", "hits", &view, HitsView::show);
    assert_eq!(view.exit(), Exit::Done);
    assert_eq!(
        HitsView::of(&v1::HitsResponse::default()).exit(),
        Exit::Nothing
    );
}

#[test]
fn links_show_pairs_and_groups_or_tokens() {
    let view = LinksView::of("OP-7", By::Case, &answers::links());
    shows("links", "links", &view, LinksView::show);
    assert_eq!(view.exit(), Exit::Done);
    let view = LinksView::of("OP-7", By::Token, &answers::linked_tokens());
    shows("links", "links-token", &view, |view, screen| {
        view.show(screen)
    });
    let none = v1::LinksResponse::default();
    assert_eq!(LinksView::of("OP-7", By::Case, &none).exit().code(), 1);
}

#[test]
fn a_sheet_of_links_has_a_row_a_pair_or_token_and_no_formula() {
    let mut pairs = vec![];
    sheet::pairs(
        &LinksView::of("OP-7", By::Case, &answers::links()),
        &mut pairs,
    )
    .expect("written");
    let pairs = String::from_utf8(pairs).expect("text");
    assert!(pairs.contains("'=HYPERLINK"), "{pairs}");
    golden("links-pairs.csv", &pairs);
    let mut tokens = vec![];
    let view = LinksView::of("OP-7", By::Token, &answers::linked_tokens());
    sheet::tokens(&view, &mut tokens).expect("written");
    golden(
        "links-tokens.csv",
        &String::from_utf8(tokens).expect("text"),
    );
}

#[test]
fn an_import_shows_its_report_and_what_to_do_next() {
    let rejects = Path::new("cases.csv.rejects.csv");
    let view = ImportView::of("cases.csv", false, 75, Some(rejects), &answers::report());
    shows("import", "import", &view, ImportView::show);
    let view = ImportView::of("cases.csv", true, 0, None, &answers::report());
    shows("import", "import-preview", &view, |view, screen| {
        view.show(screen)
    });
}

#[test]
fn a_publish_names_what_was_refused_in_the_officers_language() {
    for lang in [Lang::Zh, Lang::En] {
        let view = PublishView::of("A-2026-1", &answers::publish(), lang).expect("a report");
        assert_eq!(view.exit().code(), 2);
        for json in [false, true]
            .into_iter()
            .filter(|json| !json || lang == Lang::En)
        {
            shows_in(json, lang, "publish", "publish", &view, PublishView::show);
        }
    }
    let broken = v1::PublishResponse {
        report: None,
        ..answers::publish()
    };
    assert!(PublishView::of("A-2026-1", &broken, Lang::En).is_err());
}

#[test]
fn cases_and_operations_are_listed_shown_and_retracted() {
    let view = CasesView::of(&answers::cases()).expect("cases");
    shows("case", "case-list", &view, CasesView::show);
    let view = CasesView::of(&answers::operations()).expect("cases");
    shows("case", "case-operations", &view, |view, screen| {
        view.show(screen)
    });
    let view = ShownCaseView::of(&answers::shown_case()).expect("a case");
    shows("case", "case-show", &view, ShownCaseView::show);
    let view = CaseView::of(answers::shown_case().summary.as_ref()).expect("a case");
    shows("case", "case-added", &view, |view, screen| {
        view.say(screen, false)
    });
    let view = RetractView::of("A-2026-1", false, &answers::retracted());
    shows("case", "case-retract", &view, |view, screen| {
        view.show(screen)
    });
    assert_eq!(view.exit(), Exit::Done);
    let none = RetractView::of("A-2026-1", true, &v1::RetractResponse::default());
    assert_eq!(none.exit(), Exit::Nothing);
    assert!(CaseView::of(None).is_err());
    let none = CasesView::of(&v1::ListCasesResponse::default()).expect("no case is a list too");
    assert_eq!(none.exit(), Exit::Nothing);
}

#[test]
fn officers_are_listed_and_changes_said() {
    let view = OfficersView::of(&answers::officers());
    shows("officer", "officer-list", &view, |view, screen| {
        view.show(screen)
    });
    let one = OfficersView::of(&answers::officers()[1..]);
    let name = casegate::ids::OfficerName::new("li.wei").expect("a name");
    shows("officer", "officer-suspend", &one, |view, screen| {
        view.say(screen, &OfficerCommand::Suspend { name: name.clone() });
    });
}

#[test]
fn a_status_shows_replicas_and_budgets() {
    let view = StatusView::of(&answers::status());
    shows("status", "status", &view, StatusView::show);
}

fn status_text(answer: &v1::GetStatusResponse) -> String {
    let (output, out, _) = papers(false, Lang::En);
    let view = StatusView::of(answer);
    output
        .emit("status", &view, |screen| view.show(screen))
        .expect("memory takes it");
    out.text()
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
fn what_the_store_could_not_be_read_for_is_not_known_and_not_none() {
    let mut answer = answers::status();
    (answer.cases, answer.conflicts, answer.records_lost) = (0, 0, 0);
    let said = status_text(&answer);
    assert!(
        said.contains("0 cases") && !said.contains("these are not known"),
        "{said}"
    );
    answer.unread = vec!["cases".into(), "conflicts".into(), "lost".into()];
    let said = status_text(&answer);
    assert!(said.contains("unknown cases, 4 hits"), "{said}");
    assert!(
        said.contains("these are not known: cases, contradicting checkpoints, lost bodies"),
        "{said}"
    );
    let view = serde_json::to_value(StatusView::of(&answer)).expect("JSON");
    for key in ["cases", "conflicts", "records_lost"] {
        assert!(view[key].is_null(), "{key}");
    }
    assert!(view["replicas"][2]["lost"].is_null() && view["replicas"][2]["forked"] == true);
}

#[test]
fn a_log_that_does_not_verify_is_an_error() {
    let view = LogView::of(&answers::log(), true, false);
    shows("log", "log-verify", &view, LogView::show);
    assert_eq!(view.exit().code(), 2);
    let view = LogView::of(&answers::log(), false, true);
    shows("log", "log-dsse", &view, LogView::show);
    assert_eq!(view.exit(), Exit::Done, "nobody asked whether they verify");
}

#[test]
fn erasures_are_shown_with_those_who_have_not_confirmed_them() {
    let view = ErasuresView::of(&answers::erasures());
    shows("log.erasures", "log-erasures", &view, ErasuresView::show);
    assert_eq!(view.exit(), Exit::Nothing, "somebody is late");
    let none = ErasuresView::of(&v1::ShowLogResponse::default());
    assert_eq!(none.exit(), Exit::Done);
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
