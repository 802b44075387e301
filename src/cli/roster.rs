//! `casegate roster`: the roots' tool. `new` writes an unsigned roster from a
//! TOML description, each root's holder adds a signature with `sign`, and
//! `verify` appends the result to the roster file that nodes read.

mod generations;
mod keys;
mod show;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::{Args, Subcommand};
use prost::Message;
use serde::Deserialize;

use crate::cli::sheet::Sheet;
use crate::clock::{DAY_S, UnixSeconds};
use crate::ids::{Digest, FederationId, MemberId};
use crate::keys::PublicKey;
use crate::pki::files::load_seed;
use crate::roster::draft::sign as add_signatures;
use crate::roster::read::RawRoster;
use crate::roster::{Draft, KeyUse, MemberDraft, MemberRole, Roster, RosterChain, ShareCheck};
use crate::wire::v1;

use self::generations::EndedLines;
use self::keys::{KeyLines, RevokeLines};
use self::show::present;

/// Makes, signs and checks rosters.
#[derive(Clone, Debug, Args)]
pub struct RosterArgs {
    #[command(subcommand)]
    command: RosterCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum RosterCommand {
    /// Writes an unsigned roster from a TOML description.
    New(NewArgs),
    /// Adds a root's signature to a roster.
    Sign(SignArgs),
    /// Checks a roster file, and a new roster against it.
    Verify(VerifyArgs),
    /// Shows the newest roster of a roster file.
    Show(ShowArgs),
}

#[derive(Clone, Debug, Args)]
struct ChainArgs {
    /// The roster file: every version from 1 on.
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// SHA-256 of roster 1.
    #[arg(long, value_name = "HEX")]
    pin: Digest,
}

#[derive(Clone, Debug, Args)]
struct NewArgs {
    /// The description: federation, roots, members.
    #[arg(long, value_name = "TOML")]
    from: PathBuf,
    /// The roster file that it follows; without it roster 1 is made.
    #[arg(long, value_name = "FILE", requires = "pin")]
    after: Option<PathBuf>,
    /// SHA-256 of roster 1.
    #[arg(long, value_name = "HEX", requires = "after")]
    pin: Option<Digest>,
    /// A token key that key generation wrote, to add.
    #[arg(long, value_name = "FILE")]
    token_key: Vec<PathBuf>,
    /// The unsigned roster to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Clone, Debug, Args)]
struct SignArgs {
    /// The roster; the signature is added to it.
    #[arg(long, value_name = "FILE")]
    roster: PathBuf,
    /// The root's seed.
    #[arg(long, value_name = "FILE", required = true)]
    key: Vec<PathBuf>,
}

#[derive(Clone, Debug, Args)]
struct VerifyArgs {
    #[command(flatten)]
    chain: ChainArgs,
    /// A signed roster that follows; it is appended to the file if it holds.
    #[arg(long, value_name = "FILE")]
    add: Option<PathBuf>,
}

#[derive(Clone, Debug, Args)]
struct ShowArgs {
    #[command(flatten)]
    chain: ChainArgs,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    federation: String,
    roots: Vec<String>,
    root_threshold: u32,
    days: i64,
    member: Vec<MemberLines>,
    #[serde(default)]
    policy: PolicyLines,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MemberLines {
    id: String,
    role: String,
    name: String,
    #[serde(default)]
    region: String,
    ca: PathBuf,
    #[serde(default)]
    endpoint: String,
    #[serde(default)]
    audit_endpoint: String,
    #[serde(default)]
    records: String,
    #[serde(default)]
    checkpoint: String,
    #[serde(default)]
    witness: String,
    #[serde(default)]
    contact: String,
    #[serde(default)]
    witnesses: Vec<String>,
    #[serde(default)]
    key: Vec<KeyLines>,
    #[serde(default)]
    revoke: Vec<RevokeLines>,
    #[serde(default)]
    ended: Vec<EndedLines>,
    access_generation: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PolicyLines {
    enumerable_points_per_day: u64,
    open_points_per_day: u64,
    custodian_points_per_day: u64,
    witness_quorum: u32,
}

/// Runs `casegate roster` at the time `now`; `shares` checks token keys.
///
/// # Errors
/// A sentence that names what was refused.
pub fn run(args: &RosterArgs, now: UnixSeconds, shares: ShareCheck) -> anyhow::Result<Sheet> {
    match &args.command {
        RosterCommand::New(args) => new(args, now, shares),
        RosterCommand::Sign(args) => sign(args),
        RosterCommand::Verify(args) => verify(args, now, shares),
        RosterCommand::Show(args) => {
            let chain = read_chain(&args.chain.file, args.chain.pin, shares)?;
            Ok(present(&chain, now, "roster.show"))
        }
    }
}

fn read_chain(file: &Path, pin: Digest, shares: ShareCheck) -> anyhow::Result<RosterChain> {
    let bytes = read(file)?;
    Ok(RosterChain::from_bytes(pin, &bytes, 0, shares)?)
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Replaces a file as a whole, so that a crash leaves the old one or the new one.
fn replace(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let dir = path
        .parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or_else(|| Path::new("."));
    let file = tempfile::NamedTempFile::new_in(dir)
        .with_context(|| format!("cannot write in {}", dir.display()))?;
    fs::write(file.path(), bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}

fn new(args: &NewArgs, now: UnixSeconds, shares: ShareCheck) -> anyhow::Result<Sheet> {
    let text = String::from_utf8(read(&args.from)?).context("the description is not UTF-8")?;
    let lines: Description =
        toml::from_str(&text).with_context(|| format!("{}", args.from.display()))?;
    ensure!(
        (1..=3_650).contains(&lines.days),
        "days is not between 1 and 3,650"
    );
    let base = args.from.parent().unwrap_or_else(|| Path::new(""));
    let before = match (&args.after, &args.pin) {
        (Some(file), Some(pin)) => Some(read_chain(file, *pin, shares)?),
        _ => None,
    };
    let mut draft = describe(&lines, base, now)?;
    if let Some(chain) = &before {
        follow(&mut draft, chain.newest(), now, lines.days);
    }
    for (member, lines) in draft.wire.members.iter_mut().zip(&lines.member) {
        keys::apply(member, &lines.key, &lines.revoke, now)
            .and_then(|()| generations::apply(member, &lines.ended, lines.access_generation))
            .with_context(|| format!("member {}", lines.id))?;
    }
    for path in &args.token_key {
        let key = v1::TokenKey::decode(&read(path)?[..])
            .with_context(|| format!("{} holds no token key", path.display()))?;
        draft = draft.token_key(key);
    }
    let unsigned = draft.sign(&[]);
    let digest = draft.digest();
    replace(&args.out, &unsigned)?;
    let out = args.out.display().to_string();
    let version = draft.wire.version;
    let mut sheet = Sheet::new("roster.new");
    sheet.data("version", version);
    sheet.data("file", &out);
    sheet.data("sha256", digest.to_string());
    let words = [
        ("file", out.into()),
        ("version", version.into()),
        ("sha256", digest.to_string().into()),
    ];
    sheet.say("roster.new.made", words);
    Ok(sheet)
}

fn describe(lines: &Description, base: &Path, now: UnixSeconds) -> anyhow::Result<Draft> {
    let federation = FederationId::new(&lines.federation)?;
    let roots = lines
        .roots
        .iter()
        .map(|hex| public(hex))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let mut draft = Draft::first(
        &federation,
        &roots,
        lines.root_threshold,
        now,
        lines.days * DAY_S,
    );
    for member in &lines.member {
        let at = || format!("member {}", member.id);
        draft = draft.member(member_draft(member, base).with_context(at)?);
    }
    let policy = &lines.policy;
    draft.wire.policy = Some(v1::Policy {
        enumerable_points_per_day: policy.enumerable_points_per_day,
        open_points_per_day: policy.open_points_per_day,
        custodian_points_per_day: policy.custodian_points_per_day,
        witness_quorum: policy.witness_quorum,
        grants: Vec::new(),
    });
    Ok(draft)
}

fn member_draft(lines: &MemberLines, base: &Path) -> anyhow::Result<MemberDraft> {
    let pem = read(&base.join(&lines.ca))?;
    let (_, ca) = x509_parser::pem::parse_x509_pem(&pem).context("ca is no PEM file")?;
    let names = lines.witnesses.iter().map(|name| MemberId::new(name));
    Ok(MemberDraft {
        id: MemberId::new(&lines.id)?,
        role: MemberRole::from_word(&lines.role)
            .context("role is not bureau, department or auditor")?,
        name: lines.name.clone(),
        region: lines.region.clone(),
        ca: ca.contents,
        peer_endpoint: lines.endpoint.clone(),
        audit_endpoint: lines.audit_endpoint.clone(),
        keys: keys_of(lines)?,
        desk_contact: lines.contact.clone(),
        witnesses: names.collect::<Result<_, _>>()?,
    })
}

/// The keys of the member's node; an auditor without a node has none.
fn keys_of(lines: &MemberLines) -> anyhow::Result<Vec<(KeyUse, PublicKey)>> {
    let named = [
        (KeyUse::Records, &lines.records),
        (KeyUse::Checkpoint, &lines.checkpoint),
        (KeyUse::Witness, &lines.witness),
    ];
    if lines.endpoint.is_empty() && named.iter().all(|(_, text)| text.is_empty()) {
        return Ok(vec![]);
    }
    let keys = named.map(|(usage, text)| public(text).map(|key| (usage, key)));
    keys.into_iter().collect()
}

fn public(text: &str) -> anyhow::Result<PublicKey> {
    let bytes = hex::decode(text).context("a public key is 64 hexadecimal digits")?;
    Ok(PublicKey::from_slice(&bytes)?)
}

/// Makes a description follow a roster: token keys and grants that still run
/// stay, and so do old keys and generations, or old entries could not be checked.
fn follow(draft: &mut Draft, before: &Roster, now: UnixSeconds, days: i64) {
    let held = Draft::after(before, now, days * DAY_S).wire;
    let wire = &mut draft.wire;
    wire.version = held.version;
    wire.previous_sha256 = held.previous_sha256;
    wire.token_keys = held.token_keys;
    let grants = held.policy.map(|policy| policy.grants).unwrap_or_default();
    wire.policy.get_or_insert_default().grants = grants
        .into_iter()
        .filter(|grant| grant.valid_to > now)
        .collect();
    let mut old: BTreeMap<String, v1::RosterMember> = held
        .members
        .into_iter()
        .map(|member| (member.id.clone(), member))
        .collect();
    for member in &mut wire.members {
        let Some(before) = old.remove(&member.id) else {
            continue;
        };
        member.records_generation = before.records_generation;
        member.access_generation = before.access_generation;
        member.frozen = before.frozen;
        let fresh = std::mem::replace(&mut member.keys, before.keys);
        for key in fresh {
            if !member
                .keys
                .iter()
                .any(|kept| kept.public_key == key.public_key)
            {
                member.keys.push(key);
            }
        }
    }
}

fn sign(args: &SignArgs) -> anyhow::Result<Sheet> {
    let bytes = read(&args.roster)?;
    let raw = RawRoster::parse(&bytes)?;
    let signed = v1::SignedRoster::decode(&bytes[..]).context("not a roster")?;
    let keys = args
        .key
        .iter()
        .map(|path| load_seed(path))
        .collect::<Result<Vec<_>, _>>()?;
    let signed = add_signatures(signed, &keys.iter().collect::<Vec<_>>());
    replace(&args.roster, &signed.encode_to_vec())?;
    let (version, count, digest) = (raw.roster.version, signed.signatures.len(), raw.digest);
    let mut sheet = Sheet::new("roster.sign");
    sheet.data("version", version);
    sheet.data("signatures", count);
    sheet.data("sha256", digest.to_string());
    let words = [
        ("version", version.into()),
        ("sha256", digest.to_string().into()),
        ("count", count.into()),
    ];
    sheet.say("roster.sign.made", words);
    Ok(sheet)
}

fn verify(args: &VerifyArgs, now: UnixSeconds, shares: ShareCheck) -> anyhow::Result<Sheet> {
    let ChainArgs { file, pin } = &args.chain;
    let Some(add) = &args.add else {
        let chain = read_chain(file, *pin, shares)?;
        chain.current(now)?;
        return Ok(present(&chain, now, "roster.verify"));
    };
    let next = read(add)?;
    let chain = if file.exists() {
        let mut chain = read_chain(file, *pin, shares)?;
        chain.extend(&next)?;
        chain
    } else {
        RosterChain::start(*pin, &next, shares)?
    };
    replace(file, &chain.to_bytes())?;
    Ok(present(&chain, now, "roster.verify"))
}
