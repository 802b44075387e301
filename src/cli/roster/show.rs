//! How a roster is shown: everything that a stranger needs to check signatures
//! with other tools, and how long guessing takes under its budgets.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::keys::use_word;
use crate::cli::output::{Output, Screen, Table};
use crate::clock::{DAY_S, UnixSeconds};
use crate::element::TokenClass;
use crate::keys::ListedKey;
use crate::roster::log::{RosterCheckpoint, origin};
use crate::roster::{Member, MemberKey, Newer, Roster, RosterChain, TokenKey};
use crate::tokens::guess_years;

/// Values that somebody could walk through: name, their number, key class.
/// China's phone numbers (TRUST.md says where the figures come from), and the
/// IPv4 addresses, which are of an open kind.
const SPACES: [(&str, f64, TokenClass); 3] = [
    ("phone", 7e9, TokenClass::Enumerable),
    ("alipay", 7e9, TokenClass::Open),
    ("ip", 4_294_967_296.0, TokenClass::Open),
];

/// Shows a roster; `schema` is the command's name.
///
/// # Errors
/// When the output cannot be written.
pub(super) fn present(
    chain: &RosterChain,
    now: UnixSeconds,
    output: &Output,
    command: &str,
) -> anyhow::Result<()> {
    let roster = chain.newest();
    let guesses = guesses(roster);
    let mut value = described(roster, now);
    let log = RosterCheckpoint::of(chain.history(), roster.version);
    value["log"] = log.as_ref().map_or(Value::Null, logged);
    value["guessing"] = guesses.iter().map(Guess::json).collect();
    output.emit(command, &value, |screen| {
        show(roster, now, screen);
        if let Some(log) = &log {
            show_log(log, screen);
        }
        if !guesses.is_empty() {
            show_guesses(&guesses, screen);
        }
    })?;
    Ok(())
}

/// The roster log, so that two members can compare what they have.
fn logged(log: &RosterCheckpoint) -> Value {
    json!({
        "origin": origin(&log.federation), "size": log.size.0,
        "root": STANDARD.encode(log.root.0),
    })
}

fn show_log(log: &RosterCheckpoint, screen: &mut Screen) {
    let (origin, size) = (origin(&log.federation), log.size.to_string());
    let root = STANDARD.encode(log.root.0);
    let values = [("origin", &*origin), ("size", &size), ("root", &root)];
    screen.text("roster.show.log", &values);
}

fn described(roster: &Roster, now: UnixSeconds) -> Value {
    json!({
        "federation": roster.federation.as_str(), "version": roster.version,
        "sha256": roster.digest.to_string(), "issued_at": roster.issued_at,
        "expires_at": roster.expires_at, "expired": roster.is_expired(now),
        "roots": roster.roots.iter().map(root).collect::<Vec<_>>(),
        "root_threshold": roster.root_threshold,
        "members": roster.members.values().map(member).collect::<Vec<_>>(),
        "token_keys": roster.token_keys.iter().map(token_key).collect::<Vec<_>>(),
        "witness_quorum": roster.policy.witness_quorum,
        "required_features": roster.required_features,
        "lacking": roster.lacking(),
        "newer": roster.newer.iter().map(newer).collect::<Vec<_>>(),
    })
}

fn root(key: &ListedKey) -> Value {
    json!({
        "id": key.id().to_string(), "algorithm": key.algorithm().to_string(),
        "public_key": hex::encode(key.as_bytes()),
    })
}

fn newer(n: &Newer) -> Value {
    json!({ "place": n.place, "what": n.what.word(), "number": n.what.number() })
}

fn member(m: &Member) -> Value {
    json!({
        "id": m.id.as_str(), "role": m.role.as_str(), "name": m.name,
        "region": m.region, "endpoint": m.peer_endpoint, "audit_endpoint": m.audit_endpoint,
        "records_generation": m.records_generation,
        "access_generation": m.access_generation,
        "ca_sha256": hex::encode(Sha256::digest(&m.ca)),
        "keys": m.keys.iter().map(key).collect::<Vec<_>>(),
        "witnesses": m.witnesses.iter().map(|w| w.as_str()).collect::<Vec<_>>(),
    })
}

fn key(k: &MemberKey) -> Value {
    json!({
        "use": use_word(k.usage), "id": k.id.to_string(),
        "algorithm": k.key.algorithm().to_string(), "public_key": hex::encode(k.key.as_bytes()),
        "valid_from": k.valid_from, "valid_to": k.valid_to,
        "revoked_at_size": k.revoked_at_size, "from_size": k.from_size,
    })
}

fn token_key(k: &TokenKey) -> Value {
    json!({
        "id": k.id.to_string(), "class": k.class.as_str(), "threshold": k.threshold,
        "public_key": hex::encode(k.public_key), "epoch": k.epoch,
        "custodians": k.shares.iter().map(|s| s.member.as_str()).collect::<Vec<_>>(),
    })
}

/// How long one member needs to walk through a space of values.
struct Guess {
    space: &'static str,
    values: f64,
    class: TokenClass,
    threshold: u16,
    custodians: u16,
    colluding: u16,
    points_per_day: u64,
    years: f64,
}

impl Guess {
    fn json(&self) -> Value {
        json!({
            "space": self.space, "values": self.values, "class": self.class.as_str(),
            "threshold": self.threshold, "custodians": self.custodians,
            "colluding": self.colluding, "points_per_day": self.points_per_day,
            "years": self.years,
        })
    }
}

/// For each token key and space of its class: no custodian colludes, and one
/// fewer than the threshold do.
fn guesses(roster: &Roster) -> Vec<Guess> {
    let mut all = Vec::new();
    for key in &roster.token_keys {
        let custodians = u16::try_from(key.shares.len()).unwrap_or(u16::MAX);
        let points_per_day = roster.daily_points(key.class);
        for (space, values, _) in SPACES.into_iter().filter(|s| s.2 == key.class) {
            let most = key.threshold.saturating_sub(1);
            let mut counts = vec![0, most];
            counts.dedup();
            for colluding in counts {
                let (t, n, c) = (key.threshold, custodians, colluding);
                all.push(Guess {
                    space,
                    values,
                    class: key.class,
                    threshold: key.threshold,
                    custodians,
                    colluding,
                    points_per_day,
                    years: guess_years(t, n, c, points_per_day, values),
                });
            }
        }
    }
    all
}

fn show(roster: &Roster, now: UnixSeconds, screen: &mut Screen) {
    let (version, sha256) = (roster.version.to_string(), roster.digest.to_string());
    let federation = roster.federation.as_str();
    let values = [
        ("federation", federation),
        ("version", &version),
        ("sha256", &sha256),
    ];
    screen.text("roster.show.title", &values);
    let (threshold, roots) = (
        roster.root_threshold.to_string(),
        roster.roots.len().to_string(),
    );
    let days = (roster.expires_at.saturating_sub(now) / DAY_S).to_string();
    let values = [
        ("threshold", &*threshold),
        ("roots", &roots),
        ("days", &days),
    ];
    if roster.is_expired(now) {
        screen.text("roster.show.expired", &values);
    } else {
        screen.text("roster.show.roots", &values);
    }
    for m in roster.members.values() {
        screen.line(&format!(
            "  {} ({}) {} {}",
            m.id, m.role, m.name, m.peer_endpoint
        ));
    }
    show_newer(roster, screen);
}

/// What the roster requires, and what of it is not known here.
fn show_newer(roster: &Roster, screen: &mut Screen) {
    if !roster.required_features.is_empty() {
        let words = roster.required_features.join(", ");
        screen.text("roster.show.requires", &[("words", &words)]);
    }
    let lacking = roster.lacking();
    if !lacking.is_empty() {
        screen.text("roster.show.lacking", &[("words", &lacking.join(", "))]);
    }
    for n in &roster.newer {
        let number = n.what.number().map(|n| n.to_string()).unwrap_or_default();
        let values = [("place", &*n.place), ("number", &number)];
        screen.text(&format!("roster.show.newer.{}", n.what.word()), &values);
    }
}

fn show_guesses(guesses: &[Guess], screen: &mut Screen) {
    screen.title("roster.show.guessing");
    let mut table = Table::new()
        .column("label.column.kind")
        .number("roster.column.values")
        .column("roster.column.custodians")
        .number("roster.column.colluding")
        .number("label.column.budget")
        .number("roster.column.years");
    for g in guesses {
        table.row([
            screen.lang().text(&format!("label.kind.{}", g.space), &[]),
            format!("{:.1e}", g.values),
            format!("{}/{}", g.threshold, g.custodians),
            g.colluding.to_string(),
            g.points_per_day.to_string(),
            format!("{:.1}", g.years),
        ]);
    }
    screen.table(&table);
}
