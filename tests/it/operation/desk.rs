//! Which certificate and roster an officer's config may name, on files as
//! `casegate pki dev` writes them.

use std::path::Path;

use casegate::cli::desk::Desk;
use casegate::ids::FederationId;
use casegate::pki::dev::{DevFederation, dev_federation, dev_member};
use casegate::roster::MemberRole;

use super::*;
use crate::cluster::{NOW, id};

/// Writes a federation of these members below `dir`.
fn made(dir: &Path, federation: &str, members: &[&str]) -> DevFederation {
    let federation = FederationId::new(federation).expect("a name");
    let member = |name: &&str| {
        let made = dev_member(&federation, &id(name), MemberRole::Bureau, NOW, &["li"]);
        (made.expect("a member"), format!("{name}.example:7440"))
    };
    let members: Vec<_> = members.iter().map(member).collect();
    let listen = vec![["", "", ""].map(str::to_owned); members.len()];
    let made = dev_federation(&federation, members, NOW).expect("a federation");
    made.write(dir, &listen).expect("written");
    made
}

#[tokio::test]
async fn an_officer_needs_its_own_members_certificate_and_a_roster_that_lists_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let at = |name: &str| dir.path().join(name);
    let own = made(&at("own"), "anhui.example", &["hefei", "wuhu"]);
    let other = made(&at("other"), "jiangsu.example", &["hefei"]);
    let without = made(&at("without"), "anhui.example", &["wuhu"]);
    let config = |changes: &[(&str, String)]| {
        let mut lines = [
            ("federation", "anhui.example".to_owned()),
            ("member", "hefei".to_owned()),
            ("desk", "127.0.0.1:7441".to_owned()),
            ("cert", "own/hefei/officers/li.pem".to_owned()),
            ("key", "own/hefei/officers/li.key".to_owned()),
            ("roster", "own/roster.bin".to_owned()),
            ("pin", own.chain.pin().to_string()),
        ];
        for (key, value) in changes {
            let line = lines.iter_mut().find(|line| line.0 == *key);
            value.clone_into(&mut line.expect("a key").1);
        }
        let line = |(key, value): &(&str, String)| format!("{key} = \"{value}\"\n");
        let text: String = lines.iter().map(line).collect();
        let path = at("li.toml");
        fs::write(&path, text).expect("written");
        Desk::open(&path, &Clock::manual(NOW))
    };
    let desk = config(&[]).expect("all of it is right");
    assert_eq!(desk.officer, "li");
    let of = |text: &str| text.to_owned();
    let roster = |name: &str, made: &DevFederation| {
        let path = format!("{name}/roster.bin");
        vec![("roster", path), ("pin", made.chain.pin().to_string())]
    };
    let node = [
        ("cert", "own/hefei/node.pem"),
        ("key", "own/hefei/node.key"),
    ];
    let theirs = [
        ("cert", "other/hefei/officers/li.pem"),
        ("key", "other/hefei/officers/li.key"),
    ];
    for (changes, said) in [
        (vec![("desk", String::new())], "desk is missing"),
        (
            node.map(|(k, v)| (k, of(v))).to_vec(),
            "a node's certificate",
        ),
        (vec![("member", of("wuhu"))], "the certificate names"),
        (
            theirs.map(|(k, v)| (k, of(v))).to_vec(),
            "the certificate names",
        ),
        (
            roster("other", &other),
            "the roster is that of jiangsu.example",
        ),
        (roster("without", &without), "does not list it"),
    ] {
        let refused = config(&changes).expect_err(said);
        assert!(matches!(refused, CommandError::Config { .. }), "{refused}");
        assert!(refused.to_string().contains(said), "{said}: {refused}");
    }
    let unpinned = config(&[("roster", of("without/roster.bin"))]);
    let refused = unpinned.expect_err("another federation's root");
    assert!(matches!(refused, CommandError::Roster { .. }), "{refused}");
}
