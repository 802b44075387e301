//! Every node as a process of its own, from the compiled binary: two bureaus
//! and three custodians on loopback. The operator's commands bring them up; a
//! bureau is killed without warning in the middle of an import.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use casegate::cli::desk::DeskConfig;
use casegate::clock::{Clock, DAY_S};
use casegate::config::Config;
use casegate::doctor::{self, Finding, Level};
use casegate::ids::{FederationId, LogIndex, LogName, MemberId};
use casegate::pki::dev::{DevFederation, dev_federation, dev_member};
use casegate::record::Body;
use casegate::roster::{Draft, MemberRole};
use casegate::rpc::desk_client::{DeskCallError, DeskClient, FilePart};
use casegate::setup;
use casegate::wire::v1::{self, import_event::Event};
use prost::Message;
use serde_json::Value;

use crate::cluster::{id, purpose};

mod keys;
pub(crate) mod shapes;

const OFFICER: &str = "li.wei";
const BUREAUS: [&str; 2] = ["hefei", "wuhu"];
const CUSTODIANS: [&str; 3] = ["court", "procuracy", "regulator"];
/// Rows of the import that is cut off: several batches of the publisher.
const ROWS: usize = 5_000;
/// How long anything may take before the test gives up.
const PATIENCE: Duration = Duration::from_secs(120);

/// A serving node; killed, by its own process id, when it is dropped.
struct NodeProcess {
    child: Child,
    member: String,
    /// What it said when it served.
    ready: Value,
}

impl NodeProcess {
    /// Starts a node and waits until it says that it serves.
    fn start(dir: &Path, member: &str) -> Self {
        let home = dir.join(member);
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(home.join("serve.log"))
            .expect("a log file");
        let mut child = casegate(&home.join("node.toml"), &["serve"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        let stdout = child.stdout.take().expect("it is piped");
        let (sender, first_line) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                drop(sender.send(line));
            }
        });
        let line = first_line.recv_timeout(PATIENCE);
        let log = || std::fs::read_to_string(home.join("serve.log")).unwrap_or_default();
        assert!(line.is_ok(), "{member} does not serve: {}", log());
        let line = line.expect("one was printed");
        let ready: Value = serde_json::from_str(&line).expect("one line of JSON");
        assert_eq!(ready["schema"], "casegate.serve/1", "{line}");
        assert_eq!(ready["pid"], child.id(), "{line}");
        Self {
            child,
            member: member.to_owned(),
            ready,
        }
    }

    /// Ends the process without warning.
    fn kill(mut self) {
        self.child.kill().expect("it was running");
        self.child.wait().expect("it ends");
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill")
            .args([name, &pid])
            .status()
            .expect("kill runs");
        assert!(sent.success(), "{name} to {}", self.member);
    }

    /// Tells the node to stop; returns its exit code.
    async fn stop(mut self) -> Option<i32> {
        self.signal("-TERM");
        let mut looks = tokio::time::interval(Duration::from_millis(20));
        let ending = async {
            loop {
                if let Some(status) = self.child.try_wait().expect("it can be asked") {
                    return status.code();
                }
                looks.tick().await;
            }
        };
        tokio::time::timeout(PATIENCE, ending)
            .await
            .expect("it drains in time")
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        // A process that has ended already is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn casegate(config: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_casegate"));
    command
        .arg("--config")
        .arg(config)
        .arg("--json")
        .args(["--lang", "en"])
        .args(words);
    command
}

/// What a command printed.
fn told(output: &Output) -> Value {
    let read = serde_json::from_slice(&output.stdout);
    assert!(read.is_ok(), "no JSON: {output:?}");
    read.expect("it was read")
}

/// A federation written to a directory; its nodes are processes.
struct Processes {
    dir: tempfile::TempDir,
    dev: DevFederation,
    desks: BTreeMap<MemberId, String>,
    nodes: BTreeMap<String, NodeProcess>,
    /// What the key generations said, by class.
    generated: BTreeMap<String, Value>,
}

/// As many free addresses of loopback as are wanted, all different.
fn free_addresses(count: usize) -> Vec<String> {
    let held: Vec<_> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"))
        .collect();
    held.iter()
        .map(|l| l.local_addr().expect("bound").to_string())
        .collect()
}

impl Processes {
    fn write() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let federation = FederationId::new("anhui.example").expect("a name");
        let now = Clock::System.now();
        let mut addresses = free_addresses(15).into_iter();
        let (mut members, mut listen, mut desks) = (vec![], vec![], BTreeMap::new());
        for name in BUREAUS.iter().chain(&CUSTODIANS) {
            let role = if BUREAUS.contains(name) {
                MemberRole::Bureau
            } else {
                MemberRole::Department
            };
            let made = dev_member(&federation, &id(name), role, now, &[OFFICER]);
            let mut next = || addresses.next().expect("three addresses a member");
            let three = [next(), next(), next()];
            members.push((made.expect("a member"), three[0].clone()));
            desks.insert(id(name), three[1].clone());
            listen.push(three);
        }
        let dev = dev_federation(&federation, members, now).expect("a federation");
        dev.write(dir.path(), &listen).expect("it is written");
        let this = Self {
            dir,
            dev,
            desks,
            nodes: BTreeMap::new(),
            generated: BTreeMap::new(),
        };
        for name in CUSTODIANS {
            let path = this.home(name).join("node.toml");
            let text = std::fs::read_to_string(&path).expect("a config");
            std::fs::write(&path, format!("replicate = false\n{text}")).expect("it is written");
        }
        for (member, desk) in &this.desks {
            let pin = this.dev.chain.pin();
            let text = format!(
                "federation = \"{federation}\"\nmember = \"{member}\"\ndesk = \"{desk}\"\n\
                 cert = \"officers/{OFFICER}.pem\"\nkey = \"officers/{OFFICER}.key\"\n\
                 roster = \"roster.bin\"\npin = \"{pin}\"\n"
            );
            std::fs::write(this.officer_config(member.as_str()), text).expect("it is written");
        }
        this
    }

    fn home(&self, member: &str) -> PathBuf {
        self.dir.path().join(member)
    }

    fn officer_config(&self, member: &str) -> PathBuf {
        self.home(member).join("casegate.toml")
    }

    fn config(&self, member: &str) -> Config {
        Config::load(&self.home(member).join("node.toml")).expect("a config")
    }

    fn start(&mut self, member: &str) {
        let node = NodeProcess::start(self.dir.path(), member);
        self.nodes.insert(member.to_owned(), node);
    }

    fn take(&mut self, member: &str) -> NodeProcess {
        self.nodes.remove(member).expect("it runs")
    }

    fn node(&self, member: &str, words: &[&str]) -> Output {
        casegate(&self.home(member).join("node.toml"), words)
            .output()
            .expect("it runs")
    }

    fn desk(&self, member: &str) -> DeskClient {
        let made = self
            .dev
            .members
            .iter()
            .find(|m| m.id == id(member))
            .expect("a member");
        let roster = Arc::new(arc_swap::ArcSwap::from(Arc::clone(self.dev.chain.newest())));
        let material = made.officer_material(OFFICER).expect("an officer");
        let desk = &self.desks[&id(member)];
        DeskClient::new(material, roster, Clock::System, id(member), desk).expect("an address")
    }

    /// Every custodian's officer begins the same key generation.
    fn generate(&mut self, class: &str) -> v1::TokenKey {
        let named = told(&self.node("court", &["custodian", "ceremony"]));
        let ceremony = named["ceremony"].as_str().expect("a name").to_owned();
        let all = CUSTODIANS.join(",");
        let running: Vec<Child> = CUSTODIANS
            .iter()
            .map(|name| {
                let out = self.home(name).join(format!("{class}.key"));
                let words = [
                    "custodian",
                    "keygen",
                    "--ceremony",
                    &ceremony,
                    "--class",
                    class,
                    "--threshold",
                    "2",
                    "--custodians",
                    &all,
                    "--out",
                ];
                casegate(&self.officer_config(name), &words)
                    .arg(out)
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped())
                    .spawn()
                    .expect("it starts")
            })
            .collect();
        let mut keys = BTreeSet::new();
        for child in running {
            let output = child.wait_with_output().expect("it ends");
            assert!(output.status.success(), "{output:?}");
            let told = told(&output);
            keys.insert(told["token_key"].as_str().expect("a key").to_owned());
            self.generated.insert(class.to_owned(), told);
        }
        assert_eq!(keys.len(), 1, "all custodians hold the same key");
        let file = std::fs::read(self.home("court").join(format!("{class}.key")));
        let key = file.expect("the key's file");
        assert!(keys.contains(&hex::encode(&key)));
        v1::TokenKey::decode(&key[..]).expect("a token key")
    }

    /// Signs the next roster and has every running node read it.
    async fn install(&mut self, keys: Vec<v1::TokenKey>) {
        let mut draft = Draft::after(self.dev.chain.newest(), Clock::System.now(), 300 * DAY_S);
        for key in keys {
            draft = draft.token_key(key);
        }
        let signed = draft.sign(&[&self.dev.root]);
        self.dev.chain.extend(&signed).expect("it follows");
        for name in self.desks.keys() {
            let file = self.home(name.as_str()).join("roster.bin");
            std::fs::write(file, self.dev.chain.to_bytes()).expect("it is written");
        }
        self.reload(self.dev.chain.newest().version).await;
    }

    /// Has every running node read its roster file, in which this version is the newest.
    async fn reload(&self, version: u64) {
        for (name, node) in &self.nodes {
            node.signal("-HUP");
            let desk = self.desk(name);
            until("the node works with the new roster", || async {
                let status = desk.get_status(v1::GetStatusRequest {}).await.ok()?;
                (status.roster_version == version).then_some(())
            })
            .await;
        }
    }

    /// Five nodes that share both token keys.
    async fn ready() -> Self {
        let mut this = Self::write();
        for name in BUREAUS.iter().chain(&CUSTODIANS) {
            this.start(name);
        }
        let keys = ["enumerable", "open"].map(|class| this.generate(class));
        this.install(keys.to_vec()).await;
        this
    }

    /// Imports a CSV; `stop_at` says at which event to let go of it.
    async fn import(
        &self,
        member: &str,
        csv: &str,
        stop_at: impl Fn(&Event) -> bool,
    ) -> Result<Option<v1::ImportReport>, DeskCallError> {
        self.import_parts(member, &[csv], stop_at).await
    }

    async fn import_parts(
        &self,
        member: &str,
        texts: &[&str],
        stop_at: impl Fn(&Event) -> bool,
    ) -> Result<Option<v1::ImportReport>, DeskCallError> {
        let (sender, parts) = tokio::sync::mpsc::channel(4);
        for text in texts {
            let bytes = bytes::Bytes::from((*text).to_owned());
            sender
                .send(FilePart::Bytes(bytes))
                .await
                .expect("it is open");
        }
        sender.send(FilePart::End).await.expect("it is open");
        let options = v1::ImportOptions {
            file_name: "cases.csv".into(),
            format: "csv".into(),
            wait: true,
            purpose: Some(purpose()),
            ..Default::default()
        };
        let mut events = self.desk(member).import(options, parts).await?;
        while let Some(event) = events.next().await? {
            match event {
                Event::Report(report) => return Ok(Some(report)),
                other if stop_at(&other) => return Ok(None),
                _ => {}
            }
        }
        Ok(None)
    }

    async fn records_size(&self, member: &str) -> u64 {
        let status = self.desk(member).get_status(v1::GetStatusRequest {}).await;
        status.expect("an answer").records_size
    }

    /// Waits until the node has nothing left to publish.
    async fn idle(&self, member: &str) {
        let desk = self.desk(member);
        until("everything is published", || async {
            let status = desk.get_status(v1::GetStatusRequest {}).await.ok()?;
            (status.publishing == "idle").then_some(())
        })
        .await;
    }
}

/// Asks again and again until there is an answer, within the patience of this test.
async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let asking = async {
        let mut looks = tokio::time::interval(Duration::from_millis(50));
        loop {
            if let Some(found) = ask().await {
                return found;
            }
            looks.tick().await;
        }
    };
    let answered = tokio::time::timeout(PATIENCE, asking).await;
    assert!(answered.is_ok(), "waited in vain: {what}");
    answered.expect("there was an answer")
}

const HEFEI: &str = "case_no,category,kind,value,role\n\
    HF-1,investment-fraud,phone,13800138000,suspect\n\
    HF-1,investment-fraud,domain,trade.example,instrument\n";
const WUHU: &str = "case_no,category,kind,value,role\n\
    WH-7,investment-fraud,phone,+86 138-0013-8000,suspect\n";

fn large() -> String {
    let mut csv = String::from("case_no,category,kind,value,role\n");
    for row in 0..ROWS {
        csv.push_str(&format!(
            "HF-L{},loan-fraud,domain,site{row}.example,instrument\n",
            row / 10
        ));
    }
    csv
}

async fn the_shared_phone_is_found(nodes: &Processes) {
    let desk = nodes.desk("hefei");
    let found = until("the phone that both bureaus have", || async {
        let request = v1::QueryRequest {
            case_no: "HF-1".into(),
            purpose: Some(purpose()),
            ..Default::default()
        };
        let answer = desk.query(request).await.expect("an answer");
        answer.matches.into_iter().next()
    })
    .await;
    assert_eq!(
        (found.member.as_str(), found.kind.as_str()),
        ("wuhu", "phone")
    );
}

/// Every element record of a stopped node, as (case, value).
fn published(config: &Config) -> Vec<(String, String)> {
    let (ledger, rosters) = setup::open_ledger(config, &Clock::System).expect("it opens");
    let own = ledger.own_log(LogName::Records);
    let owner = rosters
        .newest()
        .member(&config.member)
        .cloned()
        .expect("a member");
    let checkpoint = ledger.verify_log(own, &owner).expect("the log verifies");
    let elements = (0..checkpoint.size.0).filter_map(|at| {
        let body = ledger.body(own.number, LogIndex(at)).expect("readable");
        let Some(Body::Element(element)) = body else {
            return None;
        };
        let held = ledger
            .held(LogIndex(at))
            .expect("readable")
            .expect("its value is at home");
        Some((element.case_ref.to_string(), held.raw))
    });
    elements.collect()
}

/// Lines of a stopped node that say of an import that it broke off.
fn broken_off(config: &Config) -> usize {
    let (ledger, _) = setup::open_ledger(config, &Clock::System).expect("it opens");
    let log = ledger.own_log(LogName::Access);
    let lines = ledger.decoded_bodies(log.number, LogIndex(0), log.size().0);
    let broken = |body: &Body| {
        matches!(body, Body::Access(line)
            if line.method == "Desk.Import" && line.outcome == casegate::access::BROKEN_OFF)
    };
    let lines = lines.expect("readable").into_iter();
    lines.filter(|(_, body)| broken(body)).count()
}

fn troubles(findings: &[Finding]) -> Vec<(&'static str, String)> {
    let bad = findings
        .iter()
        .filter(|f| f.level != Level::Ok && f.area() != "disk");
    bad.map(|f| {
        let about = f.words.iter().find(|(name, _)| *name == "member");
        (
            f.code,
            about.map(|(_, word)| word.clone()).unwrap_or_default(),
        )
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bureau_killed_in_the_middle_of_an_import_loses_nothing_and_repeats_nothing() {
    let mut nodes = Processes::ready().await;
    nodes
        .import("hefei", HEFEI, |_| false)
        .await
        .expect("it is imported")
        .expect("a report");
    nodes
        .import("wuhu", WUHU, |_| false)
        .await
        .expect("it is imported")
        .expect("a report");
    the_shared_phone_is_found(&nodes).await;

    // Killed while rows are read, then while they are published.
    let csv = large();
    let before = nodes.records_size("hefei").await;
    let cut = nodes
        .import("hefei", &csv, |event| matches!(event, Event::Rows(_)))
        .await;
    assert_eq!(cut.expect("it had begun"), None);
    nodes.take("hefei").kill();
    nodes.start("hefei");
    let acknowledged = std::cell::Cell::new(0);
    let cut = nodes
        .import("hefei", &csv, |event| match event {
            Event::Published(records) => {
                acknowledged.set(*records);
                *records > 0
            }
            _ => false,
        })
        .await;
    assert_eq!(cut.expect("it had begun"), None);
    nodes.take("hefei").kill();
    assert!(acknowledged.get() > 0);

    nodes.start("hefei");
    let after = nodes.records_size("hefei").await;
    assert!(
        after >= before + acknowledged.get(),
        "{after} < {before} + {}",
        acknowledged.get()
    );
    let report = nodes
        .import("hefei", &csv, |_| false)
        .await
        .expect("it is imported");
    let report = report.expect("a report at the end");
    assert_eq!(
        (report.rows, report.refused),
        (ROWS as u64, 0),
        "{report:?}"
    );
    assert_eq!(report.fresh + report.unchanged, ROWS as u64, "{report:?}");
    nodes.idle("hefei").await;
    the_shared_phone_is_found(&nodes).await;

    // What is in use is not touched; what is stopped drains, verifies and is whole.
    let refused = nodes.node("hefei", &["store", "verify"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert_eq!(told(&refused)["code"], "store.in_use");
    assert_eq!(nodes.take("hefei").stop().await, Some(0));
    assert_eq!(
        broken_off(&nodes.config("hefei")),
        1,
        "killed while rows were read"
    );
    let all = published(&nodes.config("hefei"));
    let distinct: BTreeSet<_> = all.iter().collect();
    assert_eq!((all.len(), distinct.len()), (ROWS + 2, ROWS + 2));
    let verified = nodes.node("hefei", &["store", "verify"]);
    assert!(verified.status.success(), "{verified:?}");
    let logs = told(&verified)["logs"].as_array().expect("a list").clone();
    let of_wuhu = logs
        .iter()
        .find(|log| log["origin"] == "anhui.example/wuhu/records/1");
    assert!(of_wuhu.is_some_and(|log| log["size"].as_u64() > Some(0) && log["verified"] == true));
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_names_who_is_down_and_nobody_else() {
    let mut nodes = Processes::ready().await;
    let config = nodes.config("hefei");
    let findings = doctor::examine(&config, &Clock::System).await;
    assert_eq!(troubles(&findings), [], "{findings:#?}");

    let late = Clock::manual(Clock::System.now() + 600);
    let findings = doctor::examine(&config, &late).await;
    assert_eq!(
        troubles(&findings).first().map(|t| t.0),
        Some("clock.skewed"),
        "{findings:#?}"
    );

    nodes.take("wuhu").kill();
    let findings = doctor::examine(&config, &Clock::System).await;
    assert_eq!(
        troubles(&findings),
        [("peer.unreachable", "wuhu".to_owned())]
    );

    nodes.take("regulator").kill();
    let findings = doctor::examine(&config, &Clock::System).await;
    let down = |code, member: &str| (code, member.to_owned());
    let both = [
        down("peer.unreachable", "wuhu"),
        down("custodian.down", "regulator"),
    ];
    assert_eq!(troubles(&findings), both);

    nodes.take("court").kill();
    nodes.take("hefei").kill();
    let output = nodes.node("hefei", &["doctor"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let told = told(&output);
    let codes: Vec<_> = told["findings"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|finding| finding["level"] != "ok" && finding["area"] != "disk")
        .map(|finding| finding["code"].as_str().unwrap_or_default().to_owned())
        .collect();
    let want = [
        "node.stopped",
        "peer.unreachable",
        "custodian.down",
        "custodian.down",
        "custodian.too_few",
    ];
    assert_eq!(codes, want, "{told:#}");
}

#[test]
fn a_bad_config_ends_serving_with_64_and_names_the_key() {
    let nodes = Processes::write();
    let path = nodes.home("hefei").join("node.toml");
    let good = std::fs::read_to_string(&path).expect("a config");
    for (from, to, names) in [
        ("[keys]\n", "[keys]\nspare = \"x\"\n", "spare"),
        ("cert = \"node.pem\"", "cert = \"../wuhu/node.pem\"", "tls"),
        ("seal = \"seal.key\"", "seal = \"node.pem\"", "keys.seal"),
        ("pin = \"", "pin = \"00\" #", "pin"),
        ("member = \"hefei\"", "member = \"wuhu\"", "tls.cert"),
        (
            "file = \"roster.bin\"",
            "file = \"none.bin\"",
            "roster.file",
        ),
    ] {
        assert!(good.contains(from), "{from}");
        std::fs::write(&path, good.replacen(from, to, 1)).expect("it is written");
        let output = nodes.node("hefei", &["serve"]);
        assert_eq!(output.status.code(), Some(64), "{names}: {output:?}");
        let message = told(&output)["message"]
            .as_str()
            .expect("a sentence")
            .to_owned();
        assert!(
            message.contains(names) && message.contains("node.toml"),
            "{message}"
        );
    }
    std::fs::write(&path, good).expect("it is written");
    assert!(nodes.node("hefei", &["serve", "--check"]).status.success());
}

#[test]
fn the_officers_example_has_every_key_and_no_other() {
    let example = include_str!("../../deploy/officer.example.toml");
    let here = Path::new("/etc/casegate");
    let config = DeskConfig::parse(example, here).expect("the example parses");
    assert_eq!(
        (config.member, config.key),
        (id("hefei"), here.join("li.wei.key"))
    );
    for line in example.lines().filter(|line| line.contains(" = ")) {
        let without = DeskConfig::parse(&example.replace(line, ""), here);
        // Only an auditor whose member has no node does without a desk.
        assert_eq!(without.is_ok(), line.starts_with("desk"), "{line}");
    }
    assert!(DeskConfig::parse(&format!("{example}\nspare = 1\n"), here).is_err());
}

/// One bureau whose node takes messages of at most 64 KiB, and three calls a second.
fn narrow() -> Processes {
    let mut nodes = Processes::write();
    let path = nodes.home("hefei").join("node.toml");
    let config = std::fs::read_to_string(&path).expect("a config");
    let limits = "[limits]\nmessage_bytes_max = 65536\npeer_requests_per_s = 3\n";
    std::fs::write(&path, format!("{config}\n{limits}")).expect("it is written");
    nodes.start("hefei");
    nodes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_breaks_off_is_not_taken_for_one_that_ends() {
    let nodes = narrow();
    // The first part ends within a row, and what is there of it would be a row.
    let half = "case_no,category,role,kind,value\nHF-1,x,suspect,domain,trade.exam";
    let too_large = format!("ple\n{}", "HF-1,x,suspect,domain,a.example\n".repeat(3_000));
    let parts = [half, too_large.as_str()];
    let refused = nodes
        .import_parts("hefei", &parts, |_| false)
        .await
        .expect_err("too large");
    assert!(refused.to_string().contains("65536"), "{refused}");
    let report = nodes
        .import("hefei", half, |_| false)
        .await
        .expect("it is imported");
    assert_eq!(report.map(|r| (r.fresh, r.unchanged)), Some((1, 0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limits_of_the_config_are_those_that_refuse() {
    let nodes = narrow();
    let large = format!(
        "{HEFEI}{}",
        "HF-1,x,domain,a.example,suspect\n".repeat(3_000)
    );
    let refused = nodes
        .import("hefei", &large, |_| false)
        .await
        .expect_err("too large");
    assert!(refused.to_string().contains("65536"), "{refused}");
    let desk = nodes.desk("hefei");
    let code = until("a call that is too fast", || async {
        let answer = desk.get_status(v1::GetStatusRequest {}).await;
        answer.err().map(|e| e.shown_code().to_owned())
    })
    .await;
    assert_eq!(code, "admit.too_fast");
}
