//! Each thing is broken once; doctor names it and nothing else.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::*;
use crate::clock::DAY_S;
use crate::ids::{FederationId, MemberId};
use crate::pki::dev::{DevFederation, ROSTER_DAYS, dev_federation, dev_member};
use crate::pki::{Validity, identity};
use crate::roster::MemberRole;

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
        all.extend(offline::keys(&config, roster.as_deref()));
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
    assert_eq!(online::read_conflicts(&metrics(0)), None);
    let found = online::read_conflicts(&metrics(2)).expect("a finding");
    assert_eq!(found.code, "evidence.conflicts");
    assert!(found.text(Lang::En).contains("2 pairs"));
}
