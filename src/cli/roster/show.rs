//! How a roster is shown: everything that a stranger needs to check signatures
//! with other tools, and how long guessing takes under its budgets.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::keys::use_word;
use crate::cli::sheet::{Cell, Column, Section, Sheet};
use crate::clock::{DAY_S, UnixSeconds};
use crate::element::TokenClass;
use crate::roster::log::{RosterCheckpoint, origin};
use crate::roster::{Member, MemberKey, Roster, RosterChain, TokenKey};
use crate::tokens::guess_years;

/// Values that somebody could walk through: name, their number, key class.
/// China's phone numbers (TRUST.md says where the figures come from), and the
/// IPv4 addresses, which are of an open kind.
const SPACES: [(&str, f64, TokenClass); 3] = [
    ("phone", 7e9, TokenClass::Enumerable),
    ("alipay", 7e9, TokenClass::Open),
    ("ip", 4_294_967_296.0, TokenClass::Open),
];

const KEYS: &[Column<MemberKey>] = &[
    Column::data("use", |k| use_word(k.usage).into()),
    Column::data("id", |k| k.id.to_string().into()),
    Column::data("public_key", |k| Cell::Hex(k.key.as_bytes().to_vec())),
    Column::data("valid_from", |k| Cell::Second(k.valid_from)),
    Column::data("valid_to", |k| k.valid_to.map_or(Cell::Null, Cell::Second)),
    Column::data("revoked_at_size", |k| Cell::maybe(k.revoked_at_size)),
    Column::data("from_size", |k| k.from_size.into()),
];

type Members = Column<Member>;

const MEMBERS: &[Members] = &[
    Members::of("id", "label.column.member", |m| m.id.as_str().into()),
    Members::of("role", "label.column.rank", |m| {
        Cell::word("label.word", m.role.as_str())
    }),
    Members::of("name", "label.column.name", |m| (&m.name).into()).flow(),
    Members::of("region", "label.column.region", |m| (&m.region).into()).spare(2),
    Members::of("endpoint", "label.column.endpoint", |m| {
        (&m.peer_endpoint).into()
    }),
    Members::seen("label.column.contact", |m| (&m.desk_contact).into())
        .flow()
        .spare(1),
    Members::of("audit_endpoint", "label.column.audit_endpoint", |m| {
        (&m.audit_endpoint).into()
    })
    .wide(),
    Members::data("records_generation", |m| m.records_generation.into()),
    Members::data("access_generation", |m| m.access_generation.into()),
    Members::data("ca_sha256", |m| Cell::Hex(Sha256::digest(&m.ca).to_vec())),
    Members::data("keys", |m| Cell::rows(&m.keys, KEYS)),
    Members::of("witnesses", "label.column.witnesses", |m| {
        let names: Vec<&str> = m.witnesses.iter().map(|w| w.as_str()).collect();
        Cell::texts(&names)
    })
    .wide(),
];

const TOKEN_KEYS: &[Column<TokenKey>] = &[
    Column::data("id", |k| k.id.to_string().into()),
    Column::data("class", |k| k.class.as_str().into()),
    Column::data("threshold", |k| u32::from(k.threshold).into()),
    Column::data("public_key", |k| Cell::Hex(k.public_key.to_vec())),
    Column::data("epoch", |k| k.epoch.into()),
    Column::data("custodians", |k| {
        let names: Vec<&str> = k.shares.iter().map(|s| s.member.as_str()).collect();
        Cell::texts(&names)
    }),
];

/// The roster log, so that two members can compare what they have.
const LOG: &[Column<RosterCheckpoint>] = &[
    Column::data("origin", |l| origin(&l.federation).into()),
    Column::data("size", |l| l.size.0.into()),
    Column::data("root", |l| STANDARD.encode(l.root.0).into()),
];

const GUESSES: &[Column<Guess>] = &[
    Column::of("space", "label.column.kind", |g| {
        Cell::word("label.kind", g.space)
    }),
    Column::data("values", |g| Cell::Fraction(g.values, 0)),
    Column::seen("roster.column.values", |g| {
        format!("{:.1e}", g.values).into()
    }),
    Column::data("class", |g| g.class.as_str().into()),
    Column::data("threshold", |g| u32::from(g.threshold).into()),
    Column::data("custodians", |g| u32::from(g.custodians).into()),
    Column::seen("roster.column.custodians", |g| {
        format!("{}/{}", g.threshold, g.custodians).into()
    }),
    Column::of("colluding", "roster.column.colluding", |g| {
        u32::from(g.colluding).into()
    }),
    Column::of("points_per_day", "label.column.budget", |g| {
        g.points_per_day.into()
    }),
    Column::of("years", "roster.column.years", |g| {
        Cell::Fraction(g.years, 1)
    }),
];

/// Shows a roster; `command` is the command's name.
#[must_use]
pub(super) fn present(chain: &RosterChain, now: UnixSeconds, command: &'static str) -> Sheet {
    let roster = chain.newest();
    let guesses = guesses(roster);
    let log = RosterCheckpoint::of(chain.history(), roster.version);
    let mut sheet = Sheet::new(command);
    facts(&mut sheet, roster, now);
    let members = Section::of(roster.members.values(), MEMBERS).keyed("members");
    let members = members.total(roster.members.len() as u64, "label.shown.some");
    sheet.section(members);
    sheet.data("token_keys", Cell::rows(&roster.token_keys, TOKEN_KEYS));
    sheet.data("witness_quorum", roster.policy.witness_quorum);
    let none = Cell::Null;
    sheet.data(
        "log",
        log.as_ref().map_or(none, |log| Cell::record(log, LOG)),
    );
    if let Some(log) = &log {
        let words = [
            ("origin", origin(&log.federation).into()),
            ("size", log.size.0.into()),
            ("root", STANDARD.encode(log.root.0).into()),
        ];
        sheet.say("roster.show.log", words);
    }
    let guesses = Section::of(&guesses, GUESSES).keyed("guessing");
    sheet.section(guesses.titled("roster.show.guessing"));
    sheet
}

fn facts(sheet: &mut Sheet, roster: &Roster, now: UnixSeconds) {
    let roots = roster.roots.iter().map(|key| hex::encode(key.as_bytes()));
    let roots: Vec<String> = roots.collect();
    let title = [
        ("federation", Cell::from(roster.federation.as_str())),
        ("version", roster.version.into()),
        ("sha256", roster.digest.to_string().into()),
    ];
    for (key, cell) in title.clone() {
        sheet.data(key, cell);
    }
    sheet.data("issued_at", Cell::Second(roster.issued_at));
    sheet.data("expires_at", Cell::Second(roster.expires_at));
    sheet.data("expired", roster.is_expired(now));
    sheet.data("roots", Cell::texts(&roots));
    sheet.data("root_threshold", roster.root_threshold);
    sheet.say("roster.show.title", title);
    let days = roster.expires_at.saturating_sub(now) / DAY_S;
    let key = if roster.is_expired(now) {
        "roster.show.expired"
    } else {
        "roster.show.roots"
    };
    let words = [
        ("threshold", roster.root_threshold.into()),
        ("roots", roots.len().into()),
        ("days", days.to_string().into()),
    ];
    sheet.say(key, words);
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
