//! A records key is rotated, then revoked, with nothing but the operator's and
//! the roots' commands, on running nodes; `doctor` says what is left to do.

use std::fmt::Write;
use std::path::Path;

use casegate::ids::LogIndex;
use casegate::record::Entry;
use casegate::roster::KeyUse;
use casegate::wire::v1;
use serde_json::Value;

use super::{HEFEI, Processes, casegate, setup, told, until};
use crate::cluster::id;

/// How many records the log may grow by before the new key signs.
const AHEAD: u64 = 1;

impl Processes {
    /// The description from which the roots make each version; `more` goes into
    /// hefei's lines.
    fn description(&self, more: &str) -> String {
        let roster = self.dev.chain.newest();
        let root = hex::encode(self.dev.root.public_key().as_bytes());
        let mut text = format!(
            "federation = \"{}\"\nroots = [\"{root}\"]\nroot_threshold = 1\ndays = 90\n",
            roster.federation
        );
        for member in roster.members.values() {
            let key = |usage| {
                let mut keys = member.keys.iter();
                let found = keys.find(|key| key.usage == usage).expect("a key");
                hex::encode(found.key.as_bytes())
            };
            let name = &member.id;
            writeln!(
                text,
                "[[member]]\nid = \"{name}\"\nrole = \"{}\"\nname = \"{name}\"\nca = \"{name}/ca.pem\"\n\
                 endpoint = \"{}\"\nrecords = \"{}\"\ncheckpoint = \"{}\"\nwitness = \"{}\"",
                member.role,
                member.peer_endpoint,
                key(KeyUse::Records),
                key(KeyUse::Checkpoint),
                key(KeyUse::Witness)
            )
            .expect("a String takes it");
            if *name == id("hefei") {
                text.push_str(more);
            }
        }
        text
    }

    fn roots(&self, words: &[&str]) -> Value {
        let output = casegate(&self.home("hefei").join("node.toml"), words)
            .current_dir(self.dir.path())
            .output()
            .expect("it runs");
        assert!(output.status.success(), "{words:?}: {output:?}");
        told(&output)
    }

    /// The roots make, sign and append the next version; every node gets the file.
    async fn next_version(&self, more: &str) {
        let dir = self.dir.path();
        let pin = self.dev.chain.pin().to_string();
        std::fs::write(dir.join("federation.toml"), self.description(more)).expect("written");
        // What the test's own chain has is the roots' file.
        let file = dir.join("roots.bin");
        if !file.exists() {
            std::fs::write(&file, self.dev.chain.to_bytes()).expect("written");
        }
        let chain = ["--pin", &pin];
        let new = [
            "roster",
            "new",
            "--from",
            "federation.toml",
            "--out",
            "next.bin",
        ];
        self.roots(&[&new[..], &["--after", "roots.bin"], &chain].concat());
        self.roots(&[
            "roster",
            "sign",
            "--roster",
            "next.bin",
            "--key",
            "root.seed",
        ]);
        let verify = [
            "roster",
            "verify",
            "--file",
            "roots.bin",
            "--add",
            "next.bin",
        ];
        let made = self.roots(&[&verify[..], &chain].concat());
        let version = made["version"].as_u64().expect("a version");
        for name in self.desks.keys() {
            let to = self.home(name.as_str()).join("roster.bin");
            std::fs::copy(&file, to).expect("copied");
        }
        self.reload(version).await;
    }

    /// What doctor finds about hefei's keys that is not as it should be.
    fn key_troubles(&self) -> Vec<String> {
        let told = told(&self.node("hefei", &["doctor"]));
        let findings = told["findings"].as_array().expect("a list").iter();
        let keys = findings.filter(|f| f["area"] == "keys" && f["level"] != "ok");
        keys.map(|f| f["code"].as_str().expect("a code").to_owned())
            .collect()
    }

    async fn restart(&mut self, member: &str) {
        assert_eq!(self.take(member).stop().await, Some(0));
        self.start(member);
    }

    async fn publish(&self, case: &str) {
        let csv = format!(
            "case_no,category,kind,value,role\n{case},loan-fraud,domain,{}.example,suspect\n",
            case.to_lowercase()
        );
        let report = self.import("hefei", &csv, |_| false).await;
        report.expect("it is imported").expect("a report");
    }

    async fn status(&self, member: &str) -> v1::GetStatusResponse {
        let answer = self.desk(member).get_status(v1::GetStatusRequest {}).await;
        answer.expect("a status")
    }
}

/// Has the member's config name a seed as its next records key.
fn name_next(home: &Path, file: &str) {
    let config = home.join("node.toml");
    let text = std::fs::read_to_string(&config).expect("a config");
    let old = text.lines().find(|line| line.starts_with("records_next"));
    let text = match old {
        Some(line) => text.replace(&format!("{line}\n"), ""),
        None => text.clone(),
    };
    let with = format!("[keys]\nrecords_next = \"{file}\"\n");
    std::fs::write(&config, text.replace("[keys]\n", &with)).expect("written");
}

/// Makes the next key with the operator's command; returns its public half and id.
fn make_next(nodes: &Processes) -> (String, String) {
    let home = nodes.home("hefei");
    let out = home.display().to_string();
    let made = told(&nodes.node("hefei", &["pki", "keys", "--next", "--out", &out]));
    let text = |field: &str| made[field].as_str().expect("a text").to_owned();
    let file = Path::new(&text("file"))
        .file_name()
        .expect("a name")
        .to_owned();
    name_next(&home, file.to_str().expect("a name"));
    (text("public_key"), text("id"))
}

fn listed(public: &str, from_size: u64) -> String {
    format!("[[member.key]]\nuse = \"records\"\nkey = \"{public}\"\nfrom_size = {from_size}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_rotated_and_revoked_by_command_and_doctor_says_what_is_left_to_do() {
    let mut nodes = Processes::ready().await;
    nodes
        .import("hefei", HEFEI, |_| false)
        .await
        .expect("it is imported")
        .expect("a report");
    assert_eq!(nodes.key_troubles(), [""; 0]);

    // Rotated: made, listed by the roots, held by the node.
    let (public, second) = make_next(&nodes);
    assert_eq!(nodes.key_troubles(), ["keys.next_not_listed"]);
    let change = nodes.records_size("hefei").await + AHEAD;
    let first_lines = listed(&public, change);
    nodes.next_version(&first_lines).await;
    assert_eq!(nodes.key_troubles(), [""; 0]);
    nodes.restart("hefei").await;
    nodes.publish("HF-3").await;
    nodes.publish("HF-4").await;
    let size = nodes.records_size("hefei").await;
    assert!(size > change);

    // Revoked: publishing stops, and says so everywhere.
    let good = size - 2;
    let revoked = format!("[[member.revoke]]\nkey = \"{second}\"\nat_size = {good}\n");
    nodes.next_version(&format!("{first_lines}{revoked}")).await;
    assert_eq!(nodes.key_troubles(), ["keys.none_due"]);
    assert_eq!(nodes.status("hefei").await.records_key_invalid, 2);
    let told_status = told(
        &casegate(&nodes.officer_config("hefei"), &["status"])
            .output()
            .expect("it runs"),
    );
    assert_eq!(told_status["records_key_invalid"], 2, "{told_status}");
    assert!(told_status["roster_witnessed"].is_u64(), "{told_status}");

    // The next key, from where the log stands.
    let (public, third) = make_next(&nodes);
    assert_eq!(
        nodes.key_troubles(),
        ["keys.none_due", "keys.next_not_listed"]
    );
    let lines = format!("{first_lines}{}{revoked}", listed(&public, size));
    nodes.next_version(&lines).await;
    nodes.restart("hefei").await;
    nodes.publish("HF-5").await;
    assert_eq!(nodes.key_troubles(), [""; 0]);
    let wuhu = nodes.desk("wuhu");
    let end = nodes.records_size("hefei").await;
    until("wuhu has all of it", || async {
        let status = wuhu.get_status(v1::GetStatusRequest {}).await.ok()?;
        let replica = status.replicas.into_iter().find(|r| r.member == "hefei")?;
        (replica.bodies_upto == end && replica.key_invalid == 2).then_some(())
    })
    .await;

    assert_eq!(nodes.take("hefei").stop().await, Some(0));
    let config = nodes.config("hefei");
    let (ledger, _) = setup::open_ledger(&config, &casegate::clock::Clock::System).expect("opens");
    let log = ledger.own_log(casegate::ids::LogName::Records);
    let entries = ledger.entries(log.number, LogIndex(0), log.size().0);
    let signer = |bytes| Entry::parse(bytes).expect("an entry").statement.key_id;
    let signers = entries.expect("entries").into_iter().map(signer);
    for (at, key) in (0_u64..).zip(signers) {
        let due = if at < change {
            nodes.dev.chain.newest().members[&id("hefei")]
                .keys
                .iter()
                .find(|k| k.usage == KeyUse::Records)
                .expect("the first key")
                .id
                .to_string()
        } else if at < size {
            second.clone()
        } else {
            third.clone()
        };
        assert_eq!(key.to_string(), due, "entry {at}");
    }
}
