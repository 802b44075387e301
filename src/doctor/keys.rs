//! The keys that sign for a node: the files here against what the roster says of
//! them. It tells when none may sign now, and when a change of keys is half done.

use std::io::ErrorKind;
use std::path::Path;

use super::offline::EXPIRY_WARNING_DAYS;
use super::{Finding, date};
use crate::clock::{DAY_S, UnixSeconds};
use crate::config::Config;
use crate::keys::{PublicKey, SigningKey};
use crate::pki::PkiError;
use crate::pki::files::load_seed;
use crate::roster::{KeyUse, Member, MemberKey, Roster};
use crate::setup;
use crate::tls::{TlsError, check_private};

/// Looks at the files of signing keys and the seal key, and at what the roster
/// says of them at the time `now`.
#[must_use]
pub fn keys(config: &Config, now: UnixSeconds, roster: Option<&Roster>) -> Vec<Finding> {
    let member = roster.and_then(|roster| roster.member(&config.member));
    // Before the roster counts nothing in it does; that is the clock's finding.
    let issued = roster.map_or(i64::MIN, |roster| roster.issued_at);
    let files = &config.keys;
    let next = files.records_next.as_deref();
    let mut findings = vec![];
    for (usage, key, path, next) in [
        (KeyUse::Records, "records", &files.records, next),
        (KeyUse::Checkpoint, "checkpoint", &files.checkpoint, None),
        (KeyUse::Witness, "witness", &files.witness, None),
    ] {
        let mut held = vec![];
        for path in std::iter::once(path.as_path()).chain(next) {
            match load_seed(path) {
                Ok(loaded) => held.push((path, loaded)),
                Err(error) => findings.push(bad_key(path, &error)),
            }
        }
        if let Some(member) = member {
            let now = now.max(issued);
            findings.extend(Uses { usage, key, now }.examine(member, &held));
        }
    }
    findings.extend(seal(&files.seal));
    if findings.iter().all(|f| f.level == super::Level::Ok) {
        let code = if member.is_some() {
            "keys.ok"
        } else {
            "keys.readable"
        };
        findings.push(Finding::ok(code));
    }
    findings
}

/// One use of keys, at one time.
#[derive(Clone, Copy)]
struct Uses {
    usage: KeyUse,
    /// Its word in commands and in the config.
    key: &'static str,
    now: UnixSeconds,
}

impl Uses {
    /// Compares the keys `held` here, the one in use first, with those listed.
    fn examine(self, member: &Member, held: &[(&Path, SigningKey)]) -> Vec<Finding> {
        let listed: Vec<&MemberKey> = member
            .keys
            .iter()
            .filter(|k| k.usage == self.usage)
            .collect();
        let said = |key: &PublicKey| listed.iter().copied().find(|k| k.key.is(key));
        let mut findings = vec![];
        let mut mine = vec![];
        for (place, (path, seed)) in held.iter().enumerate() {
            match said(seed.public_key()) {
                Some(key) => mine.push((*path, key)),
                None if place == 0 => findings.push(
                    Finding::wrong("keys.not_in_roster")
                        .with("key", format!("keys.{}", self.key))
                        .with("path", path.display())
                        .with("public", hex::encode(seed.public_key().as_bytes())),
                ),
                None => findings.push(
                    Finding::warning("keys.next_not_listed")
                        .with("path", path.display())
                        .with("public", hex::encode(seed.public_key().as_bytes())),
                ),
            }
        }
        if !mine.is_empty() {
            findings.extend(self.in_force(&mine));
            findings.extend(self.half_done(&listed, &mine));
        }
        findings
    }

    /// Whether one of the keys that are held may sign now, and for how long.
    fn in_force(self, mine: &[(&Path, &MemberKey)]) -> Option<Finding> {
        let good = mine.iter().filter(|(_, key)| self.refuses(key).is_none());
        let ends = good.map(|(_, key)| key.valid_to).collect::<Vec<_>>();
        if ends.is_empty() {
            let (path, key) = mine.first()?;
            let finding = self.refuses(key)?;
            return Some(self.named(finding, key).with("path", path.display()));
        }
        let last = ends.into_iter().collect::<Option<Vec<_>>>()?;
        let last = last.into_iter().max()?;
        let soon = last.saturating_sub(self.now) < EXPIRY_WARNING_DAYS * DAY_S;
        let (path, key) = mine.last()?;
        soon.then(|| {
            self.named(Finding::warning("keys.ends_soon"), key)
                .with("path", path.display())
                .with("date", date(last))
        })
    }

    /// Why a key may not sign now.
    fn refuses(self, key: &MemberKey) -> Option<Finding> {
        if key.revoked_at_size.is_some() {
            return Some(Finding::wrong("keys.revoked"));
        }
        if self.now < key.valid_from {
            let from = date(key.valid_from);
            return Some(Finding::wrong("keys.not_yet").with("date", from));
        }
        let ended = key.valid_to.filter(|end| *end <= self.now)?;
        Some(Finding::wrong("keys.over").with("date", date(ended)))
    }

    /// What is left to do of a change of keys.
    fn half_done(self, listed: &[&MemberKey], mine: &[(&Path, &MemberKey)]) -> Vec<Finding> {
        let order = |key: &MemberKey| (key.from_size, key.valid_from);
        let newest = mine.iter().map(|(_, key)| order(key)).max();
        let counts = |key: &MemberKey| key.revoked_at_size.is_none();
        let others = listed
            .iter()
            .copied()
            .filter(|key| counts(key) && !mine.iter().any(|(_, own)| own.id == key.id));
        let mut findings = vec![];
        for key in others {
            let code = match (newest, self.usage) {
                (Some(newest), _) if order(key) > newest => "keys.next_not_held",
                (_, KeyUse::Records) => continue,
                _ => "keys.old_in_force",
            };
            findings.push(self.named(Finding::warning(code), key));
        }
        if let [_, (_, next)] = mine
            && counts(next)
        {
            findings.push(self.named(Finding::ok("keys.change"), next));
        }
        findings
    }

    fn named(self, finding: Finding, key: &MemberKey) -> Finding {
        finding
            .with("key", format!("keys.{}", self.key))
            .with("use", self.key)
            .with("id", key.id)
            .with("size", key.from_size)
    }
}

fn seal(path: &Path) -> Option<Finding> {
    match setup::seal_key(path) {
        Ok(_) => None,
        Err(_) if check_private(path).is_ok() => Some(
            Finding::wrong("keys.unreadable")
                .with("path", path.display())
                .with("why", "64 hexadecimal digits are needed"),
        ),
        Err(_) => check_private(path).err().map(|e| not_private(path, &e)),
    }
}

fn bad_key(path: &Path, error: &PkiError) -> Finding {
    match error {
        PkiError::Tls(error) => not_private(path, error),
        other => Finding::wrong("keys.unreadable")
            .with("path", path.display())
            .with("why", other),
    }
}

fn not_private(path: &Path, error: &TlsError) -> Finding {
    match error {
        TlsError::KeyReadable { .. } => {
            Finding::wrong("keys.permissions").with("path", path.display())
        }
        TlsError::File { source, .. } if source.kind() == ErrorKind::NotFound => {
            Finding::wrong("keys.missing").with("path", path.display())
        }
        other => Finding::wrong("keys.unreadable")
            .with("path", path.display())
            .with("why", other),
    }
}
