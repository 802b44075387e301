//! The auditor's commands against running nodes: the fields of their JSON, their
//! words, how they end, and what an export leaves behind that broke off.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bytes::Bytes;
use casegate::audit::verify::{Options, Policy, Report, verify};
use casegate::cli::{self, Cli};
use casegate::clock::Clock;
use casegate::ids::{Digest, LogName};
use casegate::lang::Lang;
use casegate::wire::v1::EvidencePair;
use clap::Parser;
use serde_json::Value;

use crate::cluster::link::{Fault, Link};
use crate::cluster::{Cluster, id, wait_for};
use crate::operation::papers;
use crate::processes::shapes::shaped;
use crate::tamper::federation;

const ROWS: &str = "case_no,category,kind,value,role,audience\n\
    HF-1,loan-fraud,domain,one.example,suspect,federation\n\
    HF-2,loan-fraud,domain,two.example,suspect,federation\n";

/// The auditor's config, as it was written with the federation.
fn auditors(cluster: &Cluster) -> PathBuf {
    let home = cluster.federation.member_dir(&id("audit-office"));
    home.join("officers/officer.toml")
}

/// How a command ended, and what it wrote.
struct Said {
    code: u8,
    out: String,
    err: String,
}

impl Said {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("{} {}", self.out, self.err))
    }
}

/// Runs a command in this process, under the cluster's clock.
async fn casegate(clock: &Clock, config: &Path, json: bool, lang: Lang, words: &[&str]) -> Said {
    let config = config.to_str().expect("text");
    let args = [&["casegate", "--config", config], words].concat();
    let cli = Cli::try_parse_from(args).expect("a command line");
    let (output, out, err) = papers(json, lang);
    let clock = clock.clone();
    let run = move || cli::run(&cli, &clock, &output).code();
    let code = tokio::task::spawn_blocking(run).await.expect("it ends");
    Said {
        code,
        out: out.text(),
        err: err.text(),
    }
}

/// A command as JSON and in both languages; returns what the JSON says.
async fn said(cluster: &Cluster, name: &str, words: &[&str], code: u8, shown: [&str; 2]) -> Value {
    let (clock, config) = (&cluster.clock, auditors(cluster));
    let told = casegate(clock, &config, true, Lang::En, words).await;
    assert_eq!(told.code, code, "{name}: {} {}", told.out, told.err);
    let value = told.json();
    shaped(name, &value);
    for (lang, word) in [(Lang::En, shown[0]), (Lang::Zh, shown[1])] {
        let told = casegate(clock, &config, false, lang, words).await;
        assert_eq!(told.code, code, "{name} in {lang}");
        assert!(told.out.contains(word), "{name} in {lang}: {}", told.out);
    }
    value
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("it ends")
}

/// hefei has published two cases and taken one back; all who must have signed for it.
async fn retracted(cluster: &Cluster) {
    cluster.import("hefei", ROWS).await;
    cluster.converge().await;
    assert!(cluster.retract("hefei", "HF-1").await.retracted >= 1);
    let ledger = cluster.parts("hefei").ledger.clone();
    wait_for("everybody has signed for it", || {
        let erasures = ledger.erasures().expect("a report");
        !erasures.is_empty()
            && erasures
                .iter()
                .all(|e| e.confirmations.iter().all(|c| c.receipt.is_some()))
    })
    .await;
    let records = ledger.own_log(LogName::Records);
    wait_for("the records are witnessed", || {
        records.witnessed_size() == records.size()
    })
    .await;
}

fn verified(cluster: &Cluster, bundle: &Path) -> Report {
    let pin = hex::decode(cluster.federation.pin()).expect("hex");
    let policy = Policy {
        federation: federation(),
        roster_pin: Digest::from_slice(&pin).expect("a digest"),
        quorum: None,
        require_witnessed: false,
        witnesses: vec![],
    };
    let options = Options {
        jobs: 2,
        now: cluster.clock.now(),
        progress: &|_| (),
        records: None,
        bodies: None,
        only: None,
    };
    verify(bundle, &policy, options).expect("it can be looked at")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_auditors_commands_say_the_same_fields_as_ever_and_end_as_they_should() {
    let cluster = Cluster::audited(&["hefei", "wuhu"]).await;
    retracted(&cluster).await;
    let member = ["--member", "hefei"];
    let with = |words: &[&'static str]| [words, &member[..]].concat();

    let origin = "anhui.example/hefei/records/1";
    let words = with(&["audit", "logs"]);
    let logs = said(&cluster, "audit-logs", &words, 0, [origin, origin]).await;
    assert_eq!(logs["logs"].as_array().map(Vec::len), Some(2));
    let note = logs["logs"][0]["checkpoint"].as_str().expect("a note");
    assert!(note.starts_with("anhui.example/hefei/"), "{note}");

    let words = with(&["audit", "erasures"]);
    let found = said(
        &cluster,
        "audit-erasures",
        &words,
        0,
        ["mistake", "mistake"],
    )
    .await;
    let confirmations = found["erasures"][0]["confirmations"].as_array();
    let states: Vec<_> = confirmations
        .expect("some")
        .iter()
        .map(|c| &c["state"])
        .collect();
    assert!(states.contains(&&Value::from("erased")) && !states.contains(&&Value::from("pending")));

    let stranger = ["audit", "logs", "--member", "nobody"];
    let config = auditors(&cluster);
    let refused = casegate(&cluster.clock, &config, true, Lang::En, &stranger).await;
    let words = refused.json()["message"].to_string();
    assert!(
        refused.code == 2 && words.contains("no member of this name"),
        "{words}"
    );

    let words = with(&["audit", "evidence"]);
    let none = casegate(&cluster.clock, &auditors(&cluster), true, Lang::En, &words).await;
    assert_eq!(
        (none.code, none.json()["evidence"].as_array().map(Vec::len)),
        (0, Some(0))
    );
    let evidence = cluster.parts("hefei").ledger.evidence().clone();
    let pair = EvidencePair {
        origin: "anhui.example/wuhu/records/1".into(),
        first: Bytes::from_static(b"one"),
        second: Bytes::from_static(b"two"),
        source: "wuhu".into(),
        ..EvidencePair::default()
    };
    blocking(move || evidence.keep(pair)).await.expect("kept");
    let shown = ["anhui.example/wuhu/records/1 (wuhu)"; 2];
    said(&cluster, "audit-evidence", &words, 1, shown).await;
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auditors_export_has_the_receipts_of_the_others_and_replaces_nothing() {
    let mut cluster = Cluster::audited(&["hefei", "wuhu"]).await;
    retracted(&cluster).await;
    let dir = tempfile::tempdir().expect("a directory");
    let at = |name: &str| dir.path().join(name);
    let (out, again) = (at("bundle"), at("again"));
    let export = |out: &Path| {
        let out = out.to_str().expect("text").to_owned();
        ["audit", "export", "--member", "hefei", "--out"]
            .map(str::to_owned)
            .into_iter()
            .chain([out])
            .collect::<Vec<_>>()
    };
    let clock = cluster.clock.clone();
    let run = async |config: &Path, out: &Path, more: &[&str]| {
        let words = export(out);
        let words: Vec<_> = words
            .iter()
            .map(String::as_str)
            .chain(more.iter().copied())
            .collect();
        casegate(&clock, config, true, Lang::En, &words).await
    };
    let config = auditors(&cluster);
    let told = run(&config, &out, &[]).await;
    assert_eq!(told.code, 0, "{} {}", told.out, told.err);
    let value = told.json();
    shaped("audit-export", &value);
    // wuhu and province held it; the custodians said beforehand that they hold nothing.
    let receipts = std::fs::read_dir(out.join("receipts")).expect("receipts");
    let names = receipts.map(|item| {
        item.expect("a file")
            .file_name()
            .into_string()
            .expect("text")
    });
    let names: Vec<String> = names.filter(|name| name.ends_with(".entry")).collect();
    for member in ["wuhu", "province", "court", "procuracy", "regulator"] {
        let of = |name: &&String| name.starts_with(&format!("{member}-1-"));
        assert_eq!(names.iter().filter(of).count(), 1, "{member}: {names:?}");
    }
    assert_eq!(value["receipts"], names.len());
    let report = verified(&cluster, &out);
    assert!(report.ok, "{:?} {:?}", report.found, report.records);
    let erasures = report.logs.iter().map(|log| &log.erasures);
    assert!(
        erasures
            .clone()
            .any(|e| e.confirmed > 0 && e.owed == e.confirmed),
        "{report:?}"
    );
    assert!(
        report.roster.newest == 2 && report.roster.witnessed >= 1,
        "{:?}",
        report.roster
    );

    online(&cluster, dir.path(), &report).await;

    for (lang, word) in [(Lang::En, "is written"), (Lang::Zh, "已写入")] {
        let words = export(&at(word));
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let told = casegate(&clock, &config, false, lang, &words).await;
        assert!(told.code == 0 && told.out.contains(word), "{}", told.out);
    }

    // What is there stays as it is, and the officer is told what to do.
    let before = std::fs::read(out.join("SHA256SUMS")).expect("sums");
    let taken = run(&config, &out, &[]).await;
    assert_eq!(
        (taken.code, taken.json()["code"].as_str()),
        (2, Some("audit.exists"))
    );
    assert!(
        taken.json()["message"]
            .to_string()
            .contains("take another name"),
        "{}",
        taken.out
    );
    assert_eq!(std::fs::read(out.join("SHA256SUMS")).expect("sums"), before);
    std::fs::create_dir(at("again.partial")).expect("a directory");
    let left = run(&config, &again, &[]).await;
    assert_eq!(
        (left.code, left.json()["code"].as_str()),
        (2, Some("audit.left_over"))
    );
    assert!(
        left.json()["message"]
            .to_string()
            .contains("remove it first"),
        "{}",
        left.out
    );
    std::fs::remove_dir(at("again.partial")).expect("removed");
    for (more, code) in [
        (&["--from", "soon"][..], None),
        (&["--node", "127.0.0.1:1"], Some(3)),
        (&["--from", "2026-11-01", "--to", "0"], Some(0)),
    ] {
        let out = at(&format!("other-{}", more.len()));
        let Some(code) = code else {
            let words = [
                &["casegate"],
                &["audit", "export", "--member", "hefei", "--out", "x"][..],
                more,
            ];
            assert!(Cli::try_parse_from(words.concat()).is_err());
            continue;
        };
        let told = run(&config, &out, more).await;
        assert_eq!(told.code, code, "{more:?}: {} {}", told.out, told.err);
        assert_eq!(out.exists(), code == 0, "{more:?}");
    }

    // The own stopped node's directory gives the same, but for what exports wrote.
    cluster.stop("hefei").await;
    let node = cluster
        .federation
        .member_dir(&id("hefei"))
        .join("node.toml");
    let told = run(&node, &again, &["--offline"]).await;
    assert!(told.code <= 1, "{} {}", told.out, told.err);
    let (online, offline) = (sums(&out), sums(&again));
    for (path, digest) in &online {
        let may_differ = path == "bundle.json"
            || path == "roster/checkpoint"
            || path.starts_with("access/")
            || path.starts_with("receipts/")
            || path.starts_with("records/1/bodies/");
        assert!(may_differ || offline.get(path) == Some(digest), "{path}");
    }
    let entries = |sums: &BTreeMap<String, String>| {
        let of = |path: &&String| path.starts_with("records/1/tile/");
        sums.keys().filter(of).cloned().collect::<Vec<_>>()
    };
    assert_eq!(entries(&online), entries(&offline));
    assert!(!entries(&online).is_empty());
    let report = verified(&cluster, &again);
    assert!(report.ok, "{:?} {:?}", report.found, report.records);
    cluster.restart("hefei").await;
    let access = cluster.parts("hefei").access.clone();
    let lines = blocking(move || access.newest(20)).await.expect("lines");
    let own = lines.iter().filter(|(_, line)| line.caller == "offline");
    let own: Vec<_> = own
        .map(|(_, line)| (line.log.as_str(), line.count > 0))
        .collect();
    let logs = [
        "anhui.example/hefei/records/1",
        "anhui.example/hefei/access/1",
    ];
    assert_eq!(
        own,
        logs.map(|log| (log, true)),
        "whoever holds the keys leaves a line"
    );
    let wuhu = cluster.federation.member_dir(&id("wuhu")).join("node.toml");
    let other = run(&wuhu, &at("third"), &["--offline"]).await;
    assert_eq!(other.code, 2, "another member's logs: {}", other.err);
    cluster.federation.stop().await;
}

/// What the node shows is judged as the bundle that is made of it, `report`.
async fn online(cluster: &Cluster, dir: &Path, report: &Report) {
    let config = auditors(cluster);
    for (pin, code) in [
        (cluster.federation.pin().to_string(), 0),
        ("0".repeat(64), 1),
    ] {
        let policy = dir.join(format!("{code}.toml"));
        let text = format!("federation = \"anhui.example\"\nroster_pin = \"{pin}\"\n");
        std::fs::write(&policy, text).expect("written");
        let policy = policy.to_str().expect("text");
        let words = [
            "audit", "verify", "--online", "--member", "hefei", "--policy", policy,
        ];
        let told = casegate(&cluster.clock, &config, true, Lang::En, &words).await;
        assert_eq!(told.code, code, "{} {}", told.out, told.err);
        let value = told.json();
        assert_eq!(value["ok"], code == 0);
        if code == 0 {
            let all = serde_json::to_value(report).expect("JSON");
            let of = |value: &Value| {
                let logs = value["logs"].as_array().expect("logs").clone();
                let is_records = |log: &Value| log["origin"] == "anhui.example/hefei/records/1";
                logs.into_iter().find(is_records).expect("the records")
            };
            assert_eq!(of(&value)["verdicts"], of(&all)["verdicts"]);
            assert_eq!(of(&value)["erasures"], of(&all)["erasures"]);
        }
    }
    for words in [
        &["audit", "verify", "--policy", "p"][..],
        &[
            "audit", "verify", "b", "--online", "--member", "hefei", "--policy", "p",
        ],
        &["audit", "verify", "--online", "--policy", "p"],
        &["audit", "verify", "b", "--member", "hefei", "--policy", "p"],
    ] {
        let words = [&["casegate"], words].concat();
        assert!(Cli::try_parse_from(words.iter()).is_err(), "{words:?}");
    }
}

/// Path and digest of each file that SHA256SUMS names; they are as it says.
fn sums(bundle: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(bundle.join("SHA256SUMS")).expect("sums");
    let lines = text
        .lines()
        .map(|line| line.split_once("  ").expect("a line"));
    let of = |(digest, path): (&str, &str)| {
        let bytes = std::fs::read(bundle.join(path)).expect("a file");
        assert_eq!(Digest::of(&bytes).to_string(), digest, "{path}");
        (path.to_owned(), digest.to_owned())
    };
    lines.map(of).collect()
}

/// A node that falls silent in the middle of an export once kept the officer waiting
/// whatever he pressed.
#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_an_export_that_hangs_and_leaves_nothing_behind() {
    let cluster = Cluster::audited_today(&["hefei"]).await;
    cluster.import("hefei", ROWS).await;
    let audit = cluster
        .federation
        .audit_address(&id("hefei"))
        .expect("an address");
    // The handshake is over, and the rosters are on their way.
    let link = Link::start(audit, &[Fault::Hold(9_000)]).await;
    let dir = tempfile::tempdir().expect("a directory");
    let out = dir.path().join("bundle");
    let mut command = Command::new(env!("CARGO_BIN_EXE_casegate"));
    command.arg("--config").arg(auditors(&cluster));
    command
        .args(["--json", "audit", "export", "--member", "hefei", "--out"])
        .arg(&out);
    let node = ["--node".to_owned(), link.address.to_string()];
    let child = command
        .args(&node)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let child = child.expect("it starts");
    let partial = dir.path().join("bundle.partial");
    wait_for("it hangs", || link.faults_done() == 1 && partial.exists()).await;
    let pid = child.id().to_string();
    let sent = Command::new("kill")
        .args(["-INT", &pid])
        .status()
        .expect("kill runs");
    assert!(sent.success());
    let ended = blocking(move || child.wait_with_output())
        .await
        .expect("it ends");
    assert_eq!(ended.status.code(), Some(3), "{ended:?}");
    let told: Value = serde_json::from_slice(&ended.stdout).expect("JSON");
    assert_eq!(told["code"], "audit.stopped");
    let left: Vec<_> = std::fs::read_dir(dir.path())
        .expect("a directory")
        .collect();
    assert!(left.is_empty(), "{left:?}");
    // The node did not answer; once it does, the same command works.
    let words = [
        "audit",
        "export",
        "--member",
        "hefei",
        "--out",
        out.to_str().expect("text"),
    ];
    let again = casegate(&cluster.clock, &auditors(&cluster), true, Lang::En, &words).await;
    assert_eq!(again.code, 0, "{} {}", again.out, again.err);
    let size = cluster
        .parts("hefei")
        .ledger
        .own_log(LogName::Records)
        .size();
    assert_eq!(again.json()["logs"][0]["size"], size.0);
    cluster.federation.stop().await;
}

/// README's lines for an auditor, from the alias on, with the demo's directory.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_readme_tells_an_auditor_to_type_works() {
    let cluster = Cluster::audited(&["hefei", "wuhu"]).await;
    retracted(&cluster).await;
    let home = cluster.federation.member_dir(&id("audit-office"));
    let demo = home.parent().expect("the federation's directory");
    let dir = tempfile::tempdir().expect("a directory");
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(readme).expect("the README");
    let (_, lines) = readme.split_once("    alias auditor='").expect("the alias");
    let (alias, lines) = lines.split_once("'\n").expect("its end");
    assert_eq!(
        alias,
        "target/release/casegate --config demo/audit-office/officers/officer.toml"
    );
    let (lines, _) = lines.split_once("\n\n").expect("the end of the lines");
    let lines = lines.replace("\\\n", " ");
    let pin = std::fs::read_to_string(demo.join("roster.pin")).expect("the pin");
    let mut ran = 0;
    for line in lines
        .lines()
        .map(|line| line.trim().replace("$(cat demo/roster.pin)", pin.trim()))
    {
        let words: Vec<String> = line
            .split_whitespace()
            .skip(1)
            .map(|word| match word.strip_prefix("demo/") {
                Some(file) => demo.join(file).display().to_string(),
                None if word.contains(['.', '/']) || word == "bundle" => {
                    dir.path().join(word).display().to_string()
                }
                None => word.to_owned(),
            })
            .collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let told = casegate(&cluster.clock, &auditors(&cluster), false, Lang::En, &words).await;
        assert_eq!(told.code, 0, "{line}: {} {}", told.out, told.err);
        ran += 1;
    }
    assert_eq!(ran, 6);
    assert!(dir.path().join("report.html").exists());
    cluster.federation.stop().await;
}
