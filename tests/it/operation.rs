//! The officers' command line: what each command prints for a fixed answer, how
//! it ends, and what it refuses before anything is asked of a node.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use casegate::blame::Blame;
use casegate::cli::desk::DeskConfig;
use casegate::cli::failure::{CommandError, Exit, Failure};
use casegate::cli::output::Output;
use casegate::cli::publish::parse_element;
use casegate::cli::{self, Cli, Command, DeskCommand};
use casegate::clock::Clock;
use casegate::lang::Lang;
use casegate::rpc::desk_client::DeskCallError;
use casegate::tls::TlsRefusal;
use casegate::wire::v1;
use clap::{CommandFactory, Parser};

mod answers;
mod desk;
mod shown;

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
