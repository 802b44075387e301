//! Enrolment: what a member's CA signs and refuses, what the files look like,
//! and that tools which are not ours read the certificates.

use std::path::Path;
use std::process::Command;

use casegate::blame::Blamed;
use casegate::config::Config;
use casegate::ids::{FederationId, MemberId};
use casegate::pki::dev::{dev_federation, dev_member};
use casegate::pki::files::{load_seed, write_private};
use casegate::pki::{self, Authority, PkiError, Validity, identity};
use casegate::policy::Identity;
use casegate::roster::{MemberRole, RosterChain};
use casegate::tls::{Material, TlsError};

const NOW: i64 = 1_800_000_000;

fn federation() -> FederationId {
    FederationId::new("anhui.example").expect("a name")
}

fn id(name: &str) -> MemberId {
    MemberId::new(name).expect("a name")
}

fn node(name: &str) -> Identity {
    identity(&federation(), MemberRole::Bureau, &id(name), None).expect("an identity")
}

fn authority(name: &str) -> Authority {
    Authority::generate(&federation(), &id(name), NOW).expect("a CA")
}

#[test]
fn a_request_for_another_name_than_expected_is_refused() {
    let ca = authority("hefei");
    let officer = identity(
        &federation(),
        MemberRole::Bureau,
        &id("hefei"),
        Some("li.wei"),
    );
    let officer = officer.expect("an identity");
    let request = pki::request(&officer).expect("a request");
    let refused = ca.sign_request(&request.csr_pem, &node("hefei"), Validity::days(NOW, 10));
    assert!(matches!(refused, Err(PkiError::OtherName { .. })));
    let long = request.csr_pem.clone() + &"\n".repeat(pki::REQUEST_BYTES_MAX);
    let refused = ca.sign_request(&long, &officer, Validity::days(NOW, 10));
    assert!(matches!(refused, Err(PkiError::Request)), "16 KiB at most");
}

#[test]
fn a_certificate_ends_after_it_begins() {
    let ca = authority("hefei");
    for to in [NOW, NOW - 1] {
        let dates = Validity { from: NOW, to };
        let refused = ca.issue(&node("hefei"), dates).map(drop);
        assert!(matches!(refused, Err(PkiError::Dates)), "{to}");
    }
    let second = Validity {
        from: NOW,
        to: NOW + 1,
    };
    assert!(ca.issue(&node("hefei"), second).is_ok());
}

#[test]
fn a_ca_does_not_name_other_members() {
    let ca = authority("hefei");
    let validity = Validity::days(NOW, 10);
    let request = pki::request(&node("wuhu")).expect("a request");
    let refused = ca.sign_request(&request.csr_pem, &node("wuhu"), validity);
    assert!(matches!(refused, Err(PkiError::NotOwnMember { .. })));
    assert_eq!(
        ca.issue(&node("wuhu"), validity)
            .expect_err("refused")
            .code(),
        "pki.not_own_member"
    );
}

#[test]
fn a_request_that_was_changed_is_refused() {
    let ca = authority("hefei");
    let request = pki::request(&node("hefei")).expect("a request");
    let (_, pem) = x509_parser::pem::parse_x509_pem(request.csr_pem.as_bytes()).expect("PEM");
    let place = pem
        .contents
        .windows(5)
        .position(|w| w == b"hefei")
        .expect("the name");
    let mut der = pem.contents;
    der[place] = b'H';
    use base64::Engine;
    let body = base64::engine::general_purpose::STANDARD.encode(&der);
    let changed =
        format!("-----BEGIN CERTIFICATE REQUEST-----\n{body}\n-----END CERTIFICATE REQUEST-----\n");
    for csr in [changed.as_str(), "", "nonsense", &"x".repeat(20_000)] {
        let refused = ca.sign_request(csr, &node("hefei"), Validity::days(NOW, 10));
        assert!(matches!(refused, Err(PkiError::Request)));
    }
}

#[test]
fn only_key_and_name_of_a_request_count() {
    let ca = authority("hefei");
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let uri = node("hefei").to_string().try_into().expect("ASCII");
    params.subject_alt_names = vec![rcgen::SanType::URI(uri)];
    let csr = params
        .serialize_request(&key)
        .expect("a request")
        .pem()
        .expect("PEM");
    let cert = ca
        .sign_request(&csr, &node("hefei"), Validity::days(NOW, 10))
        .expect("signed");
    let (_, pem) = x509_parser::pem::parse_x509_pem(cert.as_bytes()).expect("PEM");
    assert!(!pem.parse_x509().expect("a certificate").is_ca());
}

#[test]
fn a_signed_request_and_its_key_make_material() {
    let ca = authority("hefei");
    let ca = Authority::from_pem(ca.cert_pem(), &ca.key_pem()).expect("reads back");
    let request = pki::request(&node("hefei")).expect("a request");
    assert_eq!(
        pki::requested_names(&request.csr_pem).expect("read"),
        [node("hefei").to_string()]
    );
    let cert = ca.sign_request(&request.csr_pem, &node("hefei"), Validity::days(NOW, 10));
    let material = Material::from_pem(&cert.expect("signed"), &request.key_pem).expect("fits");
    assert_eq!(material.identity(), &node("hefei"));
}

#[test]
fn a_key_that_is_not_the_certificates_is_refused() {
    let (one, other) = (authority("hefei"), authority("hefei"));
    let refused = Authority::from_pem(one.cert_pem(), &other.key_pem());
    assert!(matches!(refused, Err(PkiError::NotAPair)));
    let validity = Validity::days(NOW, 10);
    let leaf = one.issue(&node("hefei"), validity).expect("issued");
    let second = one.issue(&node("hefei"), validity).expect("issued");
    assert!(Material::from_pem(&leaf.cert_pem, &second.key_pem).is_err());
    assert!(matches!(
        Authority::from_pem(&leaf.cert_pem, &leaf.key_pem),
        Err(PkiError::NotAPair)
    ));
}

#[test]
fn a_key_that_others_may_read_is_refused_and_none_is_overwritten() {
    let dir = tempfile::tempdir().expect("a directory");
    let leaf = authority("hefei")
        .issue(&node("hefei"), Validity::days(NOW, 10))
        .expect("issued");
    let (cert, key) = (dir.path().join("node.pem"), dir.path().join("node.key"));
    std::fs::write(&cert, &leaf.cert_pem).expect("written");
    write_private(&key, leaf.key_pem.as_bytes()).expect("written");
    assert!(Material::load(&cert, &key).is_ok());
    assert!(matches!(
        write_private(&key, b"other"),
        Err(PkiError::File { .. })
    ));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let open = std::fs::Permissions::from_mode(0o640);
        std::fs::set_permissions(&key, open).expect("changed");
        let refused = Material::load(&cert, &key).expect_err("refused");
        assert!(
            matches!(refused, TlsError::KeyReadable { mode: 0o640, .. }),
            "{refused}"
        );
        assert!(load_seed(&key).is_err());
    }
}

fn shares(_: &casegate::roster::TokenKey) -> bool {
    false
}

#[test]
fn a_development_federation_is_ready_to_serve() {
    let dir = tempfile::tempdir().expect("a directory");
    let member = |name, role| {
        dev_member(&federation(), &id(name), role, NOW, &["li.wei", "wang"]).expect("a member")
    };
    let members = vec![
        (
            member("hefei", MemberRole::Bureau),
            "127.0.0.1:7440".to_owned(),
        ),
        (
            member("anhui", MemberRole::Department),
            "127.0.0.1:7450".to_owned(),
        ),
    ];
    let made = dev_federation(&federation(), members, NOW).expect("a federation");
    let listen = [7440, 7450].map(|port| [0, 1, 3].map(|n| format!("127.0.0.1:{}", port + n)));
    let pin = made.write(dir.path(), &listen).expect("written");
    for name in ["hefei", "anhui"] {
        let config = Config::load(&dir.path().join(name).join("node.toml")).expect("a config");
        assert_eq!((config.member.as_str(), config.roster.pin), (name, pin));
        let file = std::fs::read(&config.roster.file).expect("the roster file");
        let chain = RosterChain::from_bytes(pin, &file, 0, shares).expect("a chain");
        let material = Material::load(&config.tls.cert, &config.tls.key).expect("material");
        let role = chain.newest().member(&id(name)).expect("a member").role;
        assert_eq!(material.identity().role, role);
        assert_eq!(role, config.role.into());
        let key = load_seed(&config.keys.records).expect("a key");
        let uses = casegate::roster::KeyUse::Records;
        assert!(chain.newest().key(&id(name), uses, key.id()).is_some());
        assert_eq!(
            config.desk.first_admin.expect("an admin").as_str(),
            "li.wei"
        );
    }
    let again = made.write(dir.path(), &listen);
    assert!(
        matches!(again, Err(PkiError::File { .. })),
        "nothing is overwritten"
    );
    openssl_verifies(&dir.path().join("hefei"), "node.pem", true);
    openssl_verifies(&dir.path().join("hefei"), "officers/wang.pem", true);
    openssl_verifies(&dir.path().join("hefei"), "../anhui/node.pem", false);
}

/// A second opinion, where the tool is there.
fn openssl_verifies(dir: &Path, cert: &str, want: bool) {
    let at = NOW.to_string();
    let run = Command::new("openssl")
        .args([
            "verify",
            "-attime",
            &at,
            "-x509_strict",
            "-CAfile",
            "ca.pem",
            cert,
        ])
        .current_dir(dir)
        .output();
    match run {
        Ok(done) => assert_eq!(done.status.success(), want, "{cert}: {done:?}"),
        Err(_) => eprintln!("skipped: openssl is not here"),
    }
}
