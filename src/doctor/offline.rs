//! What files and the machine tell, with the node running or not.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use rustix::process::{Resource, getrlimit};

use super::{Finding, date};
use crate::clock::{DAY_S, UnixSeconds};
use crate::config::Config;
use crate::roster::{Roster, RosterError};
use crate::setup::{self, SetupError};
use crate::tls::refusal::Refusal;
use crate::tls::verify::{Want, judge};
use crate::tls::{Material, TlsError};

/// Days before the end of a certificate or roster at which doctor speaks up.
pub const EXPIRY_WARNING_DAYS: i64 = 30;
/// Free bytes below which the node should not run.
pub const FREE_NEEDED_BYTES: u64 = 1 << 30;
/// Free bytes below which somebody should make room.
pub const FREE_WARNING_BYTES: u64 = 5 << 30;
/// Files that a node with many peers may have open.
pub const OPEN_FILES_NEEDED: u64 = 1_024;

/// Looks at the node's certificate and its key.
#[must_use]
pub fn certificate(config: &Config, now: UnixSeconds, roster: Option<&Roster>) -> Vec<Finding> {
    let (cert, key) = (&config.tls.cert, &config.tls.key);
    if !cert.exists() {
        return vec![Finding::wrong("certificate.missing").with("path", cert.display())];
    }
    let material = match Material::load(cert, key) {
        Ok(material) => material,
        Err(error) => return vec![unusable(&error, cert, key)],
    };
    vec![names_and_dates(config, now, roster, &material)]
}

fn unusable(error: &TlsError, cert: &Path, key: &Path) -> Finding {
    match error {
        TlsError::KeyReadable { path, .. } => {
            Finding::wrong("certificate.key_permissions").with("path", path.display())
        }
        TlsError::File { path, source } => Finding::wrong("certificate.key_unreadable")
            .with("path", path.display())
            .with("why", source),
        TlsError::Rustls(_) => {
            Finding::wrong("certificate.key_mismatch").with("path", key.display())
        }
        TlsError::Pem { .. }
        | TlsError::NoCertificate
        | TlsError::UriNames { .. }
        | TlsError::Identity(_)
        | TlsError::Listen(_) => Finding::wrong("certificate.unreadable")
            .with("path", cert.display())
            .with("why", error),
    }
}

fn names_and_dates(
    config: &Config,
    now: UnixSeconds,
    roster: Option<&Roster>,
    material: &Material,
) -> Finding {
    let (found, wanted) = (material.identity().to_string(), setup::wanted_name(config));
    if found != wanted {
        return Finding::wrong("certificate.wrong_name")
            .with("found", found)
            .with("wanted", wanted);
    }
    let Some((from, to)) = dates(material) else {
        return Finding::wrong("certificate.unreadable")
            .with("path", config.tls.cert.display())
            .with("why", "its dates cannot be read");
    };
    if now < from {
        return Finding::wrong("certificate.not_yet_valid").with("date", date(from));
    }
    if now > to {
        return Finding::wrong("certificate.expired").with("date", date(to));
    }
    if let Some(refusal) = roster.and_then(|roster| refused(config, now, roster, material)) {
        return match refusal {
            Refusal::UnknownCa { .. } | Refusal::OtherMembersCa { .. } => {
                Finding::wrong("certificate.wrong_authority").with("member", &config.member)
            }
            // That the roster lacks the member is the roster's finding.
            Refusal::NotInRoster { .. } => {
                Finding::ok("certificate.ok").with("days", days(now, to))
            }
            other => Finding::wrong("certificate.refused").with("why", other),
        };
    }
    if to - now < EXPIRY_WARNING_DAYS * DAY_S {
        return Finding::warning("certificate.expires_soon").with("days", days(now, to));
    }
    Finding::ok("certificate.ok").with("days", days(now, to))
}

fn days(now: UnixSeconds, to: UnixSeconds) -> i64 {
    to.saturating_sub(now) / DAY_S
}

fn dates(material: &Material) -> Option<(UnixSeconds, UnixSeconds)> {
    let (_, parsed) = x509_parser::parse_x509_certificate(material.certificate()).ok()?;
    let validity = parsed.validity();
    Some((
        validity.not_before.timestamp(),
        validity.not_after.timestamp(),
    ))
}

/// What a peer with this roster would say to this certificate.
fn refused(
    config: &Config,
    now: UnixSeconds,
    roster: &Roster,
    material: &Material,
) -> Option<Refusal> {
    let chain = material.certified().cert.get(1..).unwrap_or_default();
    let (usage, want) = (
        webpki::KeyUsage::client_auth(),
        Want::NodeOf(config.member.clone()),
    );
    judge(material.certificate(), chain, usage, roster, now, &want).err()
}

/// Looks at the roster file. A node that `serves` may hold a newer roster than
/// the file, so that an old file is then no fault of the node.
#[must_use]
pub fn roster(
    config: &Config,
    now: UnixSeconds,
    serves: bool,
) -> (Option<Arc<Roster>>, Vec<Finding>) {
    let path = &config.roster.file;
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return (
                None,
                vec![Finding::wrong("roster.missing").with("path", path.display())],
            );
        }
        Err(error) => return (None, vec![no_roster(path, error)]),
    };
    let chain = match setup::chain(config, &bytes) {
        Ok(chain) => chain,
        Err(SetupError::Roster { source, .. }) => return (None, vec![bad_roster(path, &source)]),
        Err(other) => return (None, vec![no_roster(path, other)]),
    };
    let newest = Arc::clone(chain.newest());
    let mut findings = vec![];
    if newest.federation != config.federation {
        findings.push(
            Finding::wrong("roster.other_federation")
                .with("found", &newest.federation)
                .with("wanted", &config.federation),
        );
    } else if newest.member(&config.member).is_none() {
        findings.push(Finding::wrong("roster.not_a_member").with("member", &config.member));
    }
    match chain.current(now) {
        Ok(_) => {}
        Err(RosterError::NotYetIssued { version, .. }) => findings.push(
            Finding::wrong("clock.roster_ahead")
                .with("version", version)
                .with("date", date(newest.issued_at))
                .with("now", date(now)),
        ),
        Err(_) => {
            let code = if serves {
                "roster.file_old"
            } else {
                "roster.expired"
            };
            let make = if serves {
                Finding::warning
            } else {
                Finding::wrong
            };
            findings.push(
                make(code)
                    .with("version", newest.version)
                    .with("date", date(newest.expires_at)),
            );
        }
    }
    if newest.token_keys.is_empty() {
        findings.push(Finding::warning("roster.no_token_keys").with("version", newest.version));
    }
    if findings.is_empty() {
        findings.push(
            Finding::ok("roster.ok")
                .with("version", newest.version)
                .with("date", date(newest.expires_at)),
        );
    }
    (Some(newest), findings)
}

fn no_roster(path: &Path, why: impl ToString) -> Finding {
    Finding::wrong("roster.unusable")
        .with("path", path.display())
        .with("why", why)
}

fn bad_roster(path: &Path, error: &RosterError) -> Finding {
    match error {
        RosterError::NotPinned { .. } => Finding::wrong("roster.wrong_pin"),
        RosterError::BadSignature { .. } | RosterError::TooFewSignatures { .. } => {
            Finding::wrong("roster.bad_signature")
        }
        other => no_roster(path, other),
    }
}

/// Looks at the disk under the node's directory and at the open-file limit.
#[must_use]
pub fn disk(config: &Config) -> Vec<Finding> {
    let dir = config.dir.as_path();
    let there = dir
        .ancestors()
        .find(|d| d.is_dir())
        .unwrap_or_else(|| Path::new("."));
    let mut findings = vec![];
    if let Err(error) = tempfile::NamedTempFile::new_in(there) {
        findings.push(
            Finding::wrong("disk.not_writable")
                .with("path", there.display())
                .with("why", error),
        );
    }
    findings.push(match rustix::fs::statvfs(there) {
        Ok(stat) => room(dir, stat.f_bavail.saturating_mul(stat.f_frsize)),
        Err(error) => Finding::warning("disk.unknown")
            .with("path", there.display())
            .with("why", error),
    });
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if limit < OPEN_FILES_NEEDED {
        findings.push(
            Finding::warning("disk.open_files")
                .with("limit", limit)
                .with("needed", OPEN_FILES_NEEDED),
        );
    }
    findings
}

/// Judges the free bytes at `dir`.
pub(super) fn room(dir: &Path, free: u64) -> Finding {
    let low = |make: fn(&'static str) -> Finding, needed| {
        make("disk.low")
            .with("path", dir.display())
            .with("free", mebibytes(free))
            .with("needed", mebibytes(needed))
    };
    if free < FREE_NEEDED_BYTES {
        low(Finding::wrong, FREE_NEEDED_BYTES)
    } else if free < FREE_WARNING_BYTES {
        low(Finding::warning, FREE_WARNING_BYTES)
    } else {
        Finding::ok("disk.ok")
            .with("path", dir.display())
            .with("free", mebibytes(free))
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}
