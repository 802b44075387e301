//! `casegate audit policy`: a policy file from a federation's roster file and
//! the pin that its reader got from somebody whom he trusts.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use serde_json::json;

use crate::audit::verify::Policy;
use crate::cli::failure::{CommandError, Exit};
use crate::cli::output::Output;
use crate::ids::Digest;
use crate::roster::{KeyUse, Roster, RosterChain};
use crate::rosters::shares_fit;

/// Writes a policy that pins a federation's first roster.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct PolicyArgs {
    /// The roster file: every version from 1 on.
    #[arg(long, value_name = "FILE")]
    roster: PathBuf,
    /// SHA-256 of roster 1, from somebody whom you trust.
    #[arg(long, value_name = "HEX")]
    pin: String,
    /// The policy to write; a file that is there is left alone.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(super) fn run(args: &PolicyArgs, output: &Output) -> anyhow::Result<Exit> {
    let pin = hex::decode(&args.pin).unwrap_or_default();
    let pin = Digest::from_slice(&pin).context("the pin is 64 hexadecimal digits")?;
    let file = std::fs::read(&args.roster).map_err(|source| CommandError::Unreadable {
        path: args.roster.clone(),
        source,
    })?;
    let chain = RosterChain::from_bytes(pin, &file, 0, shares_fit);
    let chain = chain.map_err(|source| CommandError::Roster {
        path: args.roster.clone(),
        source,
    })?;
    let newest = chain.newest();
    let policy = Policy {
        federation: newest.federation.clone(),
        roster_pin: pin,
        quorum: None,
        require_witnessed: false,
        witnesses: vec![],
    };
    let out = &args.out;
    let unwritable = |source| CommandError::Unwritable {
        path: out.clone(),
        source,
    };
    let mut opened = std::fs::File::options()
        .write(true)
        .create_new(true)
        .open(out)
        .map_err(unwritable)?;
    let text = policy.to_toml();
    opened.write_all(text.as_bytes()).map_err(unwritable)?;
    show(newest, &policy, &args.out.display().to_string(), output)?;
    Ok(Exit::Done)
}

fn show(newest: &Roster, policy: &Policy, path: &str, output: &Output) -> std::io::Result<()> {
    let roots: Vec<String> = newest
        .roots
        .iter()
        .map(|key| hex::encode(key.as_bytes()))
        .collect();
    let has_key = |member: &&crate::ids::MemberId| newest.keys(member, KeyUse::Witness).count() > 0;
    let witnesses = newest.members.keys().filter(has_key).count();
    let value = json!({
        "file": path,
        "federation": policy.federation.to_string(),
        "roster_pin": policy.roster_pin.to_string(),
        "roots": roots,
        "root_threshold": newest.root_threshold,
        "members": newest.members.len(),
        "witnesses": witnesses,
        "quorum": newest.policy.witness_quorum,
        "newest": newest.version,
    });
    output.emit("audit.policy", &value, |screen| {
        screen.text("audit.policy.made", &[("path", path)]);
        screen.text(
            "audit.policy.pins",
            &[
                ("federation", policy.federation.as_str()),
                ("pin", &policy.roster_pin.to_string()),
            ],
        );
        screen.text(
            "audit.policy.follows",
            &[
                ("threshold", &newest.root_threshold.to_string()),
                ("roots", &newest.roots.len().to_string()),
                ("version", &newest.version.to_string()),
                ("members", &newest.members.len().to_string()),
                ("witnesses", &witnesses.to_string()),
                ("quorum", &newest.policy.witness_quorum.to_string()),
            ],
        );
        for root in &roots {
            screen.line(root);
        }
    })
}
