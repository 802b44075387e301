//! Each thing is broken once; doctor names it and nothing else.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::*;
use crate::clock::DAY_S;
use crate::ids::{FederationId, MemberId};
use crate::keys::SigningKey;
use crate::pki::dev::{DevFederation, ROSTER_DAYS, dev_federation, dev_member};
use crate::pki::files::write_seed;
use crate::pki::{Validity, identity};
use crate::roster::draft::wire_key;
use crate::roster::{Draft, KeyUse, MemberRole};
use crate::wire::v1;

/// 2026-11-22T00:00:00Z.
const NOW: i64 = 1_795_305_600;

struct Home {
    dir: tempfile::TempDir,
    dev: DevFederation,
}

impl Home {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let federation = FederationId::new("anhui.example").expect("a name");
        let member = |name: &str| {
            let id = MemberId::new(name).expect("a name");
            dev_member(&federation, &id, MemberRole::Bureau, NOW, &[]).expect("a member")
        };
        let members = vec![
            (member("hefei"), "127.0.0.1:7440".to_owned()),
            (member("wuhu"), "127.0.0.1:7450".to_owned()),
        ];
        let dev = dev_federation(&federation, members, NOW).expect("a federation");
        let listen = [[1, 2, 3], [4, 5, 6]].map(|ports| ports.map(|p| format!("127.0.0.1:{p}")));
        dev.write(dir.path(), &listen).expect("it is written");
        Self { dir, dev }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join("hefei").join(file)
    }

    fn config(&self) -> Config {
        Config::load(&self.path("node.toml")).expect("a config")
    }

    fn copy_from_wuhu(&self, file: &str) {
        let other = self.dir.path().join("wuhu").join(file);
        fs::copy(other, self.path(file)).expect("it is copied");
    }

    /// Gives the node a certificate that is valid for `days` from now on.
    fn reissue(&self, days: i64) {
        let hefei = &self.dev.members[0];
        let federation = &self.dev.chain.newest().federation;
        let name = identity(federation, hefei.role, &hefei.id, None).expect("a name");
        let issued = hefei
            .ca
            .issue(&name, Validity::days(NOW, days))
            .expect("it is issued");
        fs::write(self.path("node.pem"), &issued.cert_pem).expect("it is written");
        fs::write(self.path("node.key"), issued.key_pem.as_bytes()).expect("it is written");
    }

    /// The codes of what is not as it should be, without the network and the machine.
    fn troubles(&self, now: i64) -> Vec<(Level, &'static str)> {
        let config = self.config();
        let (roster, mut all) = offline::roster(&config, now, false);
        all.extend(offline::certificate(&config, now, roster.as_deref()));
        all.extend(keys::keys(&config, now, roster.as_deref()));
        for finding in &all {
            for lang in [Lang::En, Lang::Zh] {
                let text = finding.text(lang);
                assert!(
                    !text.contains('{') && !text.contains(finding.code),
                    "{text}"
                );
            }
        }
        // A roster without token keys is what every new federation begins with.
        let bad = all
            .iter()
            .filter(|f| f.level != Level::Ok && f.code != "roster.no_token_keys");
        bad.map(|f| (f.level, f.code)).collect()
    }

    fn only(&self, now: i64, code: &'static str) {
        assert_eq!(self.troubles(now), [(Level::Wrong, code)]);
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is changed");
}

#[test]
fn a_fresh_node_has_no_trouble() {
    assert_eq!(Home::new().troubles(NOW), []);
}

#[test]
fn a_certificate_that_ran_out_is_named() {
    let home = Home::new();
    home.reissue(20);
    assert_eq!(
        home.troubles(NOW),
        [(Level::Warning, "certificate.expires_soon")]
    );
    home.only(NOW + 21 * DAY_S, "certificate.expired");
}

#[test]
fn a_clock_that_is_late_is_named() {
    let home = Home::new();
    let at = NOW - 1_800;
    assert_eq!(home.troubles(at), [(Level::Wrong, "clock.roster_ahead")]);
    let at = NOW - 2 * DAY_S;
    let both = [
        (Level::Wrong, "clock.roster_ahead"),
        (Level::Wrong, "certificate.not_yet_valid"),
    ];
    assert_eq!(home.troubles(at), both);
}

#[test]
fn each_broken_certificate_is_named() {
    let home = Home::new();
    home.copy_from_wuhu("node.pem");
    home.only(NOW, "certificate.key_mismatch");
    home.copy_from_wuhu("node.key");
    home.only(NOW, "certificate.wrong_name");
    fs::write(home.path("node.pem"), "nothing").expect("it is written");
    home.only(NOW, "certificate.unreadable");
    fs::remove_file(home.path("node.pem")).expect("it was there");
    home.only(NOW, "certificate.missing");
}

#[test]
fn a_certificate_of_another_authority_is_named() {
    let home = Home::new();
    let (hefei, wuhu) = (&home.dev.members[0], &home.dev.members[1]);
    let federation = &home.dev.chain.newest().federation;
    let name = identity(federation, hefei.role, &hefei.id, None).expect("a name");
    let forged = wuhu
        .ca
        .issue_any_name(&name, Validity::days(NOW, 90))
        .expect("it is issued");
    fs::write(home.path("node.pem"), &forged.cert_pem).expect("it is written");
    fs::write(home.path("node.key"), forged.key_pem.as_bytes()).expect("it is written");
    home.only(NOW, "certificate.wrong_authority");
}

#[test]
fn keys_that_others_may_read_are_named() {
    let home = Home::new();
    for (file, code) in [
        ("node.key", "certificate.key_permissions"),
        ("records.seed", "keys.permissions"),
        ("witness.seed", "keys.permissions"),
        ("seal.key", "keys.permissions"),
    ] {
        mode(&home.path(file), 0o644);
        home.only(NOW, code);
        mode(&home.path(file), 0o600);
    }
}

#[test]
fn keys_that_are_not_the_rosters_are_named() {
    let home = Home::new();
    for file in ["records.seed", "checkpoint.seed", "witness.seed"] {
        let own = fs::read(home.path(file)).expect("a seed");
        home.copy_from_wuhu(file);
        home.only(NOW, "keys.not_in_roster");
        fs::write(home.path(file), "short\n").expect("it is written");
        home.only(NOW, "keys.unreadable");
        fs::write(home.path(file), own).expect("it is written");
    }
    fs::write(home.path("seal.key"), "short\n").expect("it is written");
    home.only(NOW, "keys.unreadable");
    fs::remove_file(home.path("seal.key")).expect("it was there");
    home.only(NOW, "keys.missing");
}

#[test]
fn each_broken_roster_is_named() {
    let home = Home::new();
    let good = fs::read(home.path("roster.bin")).expect("a roster");
    home.only_after(NOW + (ROSTER_DAYS + 1) * DAY_S, "roster.expired");
    fs::write(home.path("roster.bin"), &good[..good.len() - 3]).expect("it is written");
    home.only(NOW, "roster.unusable");
    // The last bytes of the file are those of the root's signature.
    let mut forged = good.clone();
    *forged.last_mut().expect("a byte") ^= 1;
    fs::write(home.path("roster.bin"), &forged).expect("it is written");
    home.only(NOW, "roster.bad_signature");
    fs::remove_file(home.path("roster.bin")).expect("it was there");
    home.only(NOW, "roster.missing");
    let other = Home::new();
    fs::copy(other.path("roster.bin"), home.path("roster.bin")).expect("it is copied");
    home.only(NOW, "roster.wrong_pin");
}

impl Home {
    /// As [`Home::only`], at a time so late that the certificate is near its end too.
    fn only_after(&self, now: i64, code: &'static str) {
        let wrong: Vec<_> = self
            .troubles(now)
            .into_iter()
            .filter(|(level, _)| *level == Level::Wrong)
            .collect();
        assert_eq!(wrong, [(Level::Wrong, code)]);
    }
}

#[test]
fn an_old_roster_file_is_no_fault_of_a_node_that_serves() {
    let home = Home::new();
    let late = NOW + (ROSTER_DAYS + 1) * DAY_S;
    let (_, findings) = offline::roster(&home.config(), late, true);
    assert!(
        findings
            .iter()
            .any(|f| f.code == "roster.file_old" && f.level == Level::Warning)
    );
}

#[test]
fn a_full_disk_is_named() {
    let dir = Path::new("/var/lib/casegate");
    assert_eq!(
        offline::room(dir, offline::FREE_NEEDED_BYTES - 1).level,
        Level::Wrong
    );
    assert_eq!(
        offline::room(dir, offline::FREE_WARNING_BYTES - 1).level,
        Level::Warning
    );
    assert_eq!(
        offline::room(dir, offline::FREE_WARNING_BYTES).code,
        "disk.ok"
    );
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let home = Home::new();
    let mut config = home.config();
    // No account can make files there, not even root.
    config.dir = "/proc".into();
    assert!(
        offline::disk(&config)
            .iter()
            .any(|f| f.code == "disk.not_writable")
    );
}

#[tokio::test]
async fn a_stopped_node_and_one_that_is_not_ready_are_told_apart() {
    let home = Home::new();
    let mut config = home.config();
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    config.listen.admin = free.local_addr().expect("bound");
    let address = config.listen.admin;
    drop(free);
    assert_eq!(online::node(&config).await.code, "node.stopped");
    let answer = |head: &str, body: &str| {
        online::read_ready(&format!("{head}\r\nserver: x\r\n\r\n{body}"), address)
    };
    assert_eq!(answer("HTTP/1.1 200 OK", "ready\n").code, "node.ready");
    let not = answer(
        "HTTP/1.1 503 Service Unavailable",
        "store: full\nroster: old\n",
    );
    assert!(
        not.code == "node.not_ready" && not.text(Lang::En).contains("store: full; roster: old")
    );
    assert_eq!(answer("HTTP/1.1 404 Not Found", "").code, "node.stranger");
    assert_eq!(online::read_ready("", address).code, "node.stranger");

    let metrics = |count: u64| format!("# TYPE x gauge\ncasegate_evidence_conflicts {count}\n");
    assert_eq!(online::read_metrics(&metrics(0)), []);
    let found = online::read_metrics(&metrics(2));
    assert_eq!(found[0].code, "evidence.conflicts");
    assert!(found[0].text(Lang::En).contains("2 pairs"));
    // Nothing is said of a count that the node does not know.
    let found = online::read_metrics("casegate_store_unreadable 2\n");
    assert_eq!(found[0].code, "store.unreadable");
    assert_eq!(online::read_metrics("casegate_store_unreadable 0\n"), []);
    let signing =
        |may: u64| format!("casegate_ledger_records_size 40\ncasegate_ledger_may_sign {may}\n");
    assert_eq!(online::read_metrics(&signing(1)), []);
    let found = online::read_metrics(&signing(0));
    assert_eq!(found[0].code, "keys.none_due");
    assert!(found[0].text(Lang::En).contains("entry 40"));
}

/// What the next roster says of hefei's keys; it is issued `after_s` later.
fn change_keys(home: &mut Home, after_s: i64, change: impl FnOnce(&mut Vec<v1::MemberKey>)) {
    let dev = &mut home.dev;
    let mut draft = Draft::after(dev.chain.newest(), NOW + after_s, 90 * DAY_S);
    let hefei = draft.wire.members.iter_mut().find(|m| m.id == "hefei");
    change(&mut hefei.expect("a member").keys);
    let signed = draft.sign(&[&dev.root]);
    dev.chain.extend(&signed).expect("a good roster");
    let bytes = dev.chain.to_bytes();
    fs::write(home.config().roster.file, bytes).expect("it is written");
}

fn of_use(keys: &mut [v1::MemberKey], usage: KeyUse) -> &mut v1::MemberKey {
    let wanted = wire_key(usage, SigningKey::generate().public_key(), NOW).r#use;
    let mut keys = keys.iter_mut();
    keys.find(|key| key.r#use == wanted).expect("a key")
}

/// Has the config name a fresh seed as the next records key.
fn hold_next(home: &Home) -> SigningKey {
    let key = SigningKey::generate();
    write_seed(&home.path("next.seed"), &key).expect("it is written");
    let config = home.path("node.toml");
    let text = fs::read_to_string(&config).expect("a config");
    let text = text.replace("[keys]\n", "[keys]\nrecords_next = \"next.seed\"\n");
    fs::write(config, text).expect("it is written");
    key
}

#[test]
fn a_records_key_that_may_not_sign_is_named_until_its_successor_may() {
    let mut home = Home::new();
    change_keys(&mut home, 10, |keys| {
        of_use(keys, KeyUse::Records).valid_to = NOW + 100;
    });
    assert_eq!(
        home.troubles(NOW + 20),
        [(Level::Warning, "keys.ends_soon")]
    );
    home.only(NOW + 100, "keys.over");
    change_keys(&mut home, 200, |keys| {
        of_use(keys, KeyUse::Records).valid_to = 0;
    });
    assert_eq!(home.troubles(NOW + 200), []);
    change_keys(&mut home, 300, |keys| {
        of_use(keys, KeyUse::Records).revoked_at_size = Some(7);
    });
    home.only(NOW + 300, "keys.revoked");
    let next = hold_next(&home);
    let both = [
        (Level::Warning, "keys.next_not_listed"),
        (Level::Wrong, "keys.revoked"),
    ];
    assert_eq!(home.troubles(NOW + 300), both);
    change_keys(&mut home, 400, |keys| {
        let key = wire_key(KeyUse::Records, next.public_key(), NOW + 400);
        keys.push(v1::MemberKey {
            from_size: 7,
            ..key
        });
    });
    assert_eq!(home.troubles(NOW + 400), []);
    let config = home.config();
    let roster = home.dev.chain.newest();
    let all = keys::keys(&config, NOW + 400, Some(roster));
    let said: Vec<_> = all.iter().map(|f| f.code).collect();
    assert_eq!(said, ["keys.change", "keys.ok"]);
    assert!(all[0].text(Lang::En).contains("from entry 7 on"));
    fs::remove_file(home.path("next.seed")).expect("it was there");
    let both = [
        (Level::Wrong, "keys.missing"),
        (Level::Wrong, "keys.revoked"),
        (Level::Warning, "keys.next_not_held"),
    ];
    assert_eq!(home.troubles(NOW + 400), both);
}

#[test]
fn a_change_of_a_checkpoint_key_that_is_half_done_is_named_at_each_step() {
    let mut home = Home::new();
    let next = SigningKey::generate();
    change_keys(&mut home, 10, |keys| {
        keys.push(wire_key(KeyUse::Checkpoint, next.public_key(), NOW + 10));
    });
    let half = |code| [(Level::Warning, code)];
    assert_eq!(home.troubles(NOW + 20), half("keys.next_not_held"));
    fs::remove_file(home.path("checkpoint.seed")).expect("it was there");
    write_seed(&home.path("checkpoint.seed"), &next).expect("it is written");
    assert_eq!(home.troubles(NOW + 20), half("keys.old_in_force"));
    change_keys(&mut home, 30, |keys| {
        of_use(keys, KeyUse::Checkpoint).revoked_at_size = Some(0);
    });
    assert_eq!(home.troubles(NOW + 30), []);
    change_keys(&mut home, 40, |keys| {
        of_use(keys, KeyUse::Witness).revoked_at_size = Some(0);
    });
    home.only(NOW + 40, "keys.revoked");
}
