//! `casegate audit policy`: a policy file from a federation's roster file and
//! the pin that its reader got from somebody whom he trusts.

use std::io::Write;
use std::path::PathBuf;

use crate::audit::verify::Policy;
use crate::cli::failure::CommandError;
use crate::cli::sheet::{Cell, Sheet};
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
    pin: Digest,
    /// The policy to write; a file that is there is left alone.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(super) fn run(args: &PolicyArgs) -> Result<Sheet, CommandError> {
    let pin = args.pin;
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
    Ok(sheet(newest, &policy, &args.out.display().to_string()))
}

fn sheet(newest: &Roster, policy: &Policy, path: &str) -> Sheet {
    let roots = newest.roots.iter().map(|key| hex::encode(key.as_bytes()));
    let roots: Vec<String> = roots.collect();
    let has_key = |member: &&crate::ids::MemberId| newest.keys(member, KeyUse::Witness).count() > 0;
    let witnesses = newest.members.keys().filter(has_key).count();
    let mut sheet = Sheet::new("audit.policy");
    sheet.data("file", path);
    sheet.data("federation", policy.federation.to_string());
    sheet.data("roster_pin", policy.roster_pin.to_string());
    sheet.data("roots", Cell::texts(&roots));
    sheet.data("root_threshold", newest.root_threshold);
    sheet.data("members", newest.members.len());
    sheet.data("witnesses", witnesses);
    sheet.data("quorum", newest.policy.witness_quorum);
    sheet.data("newest", newest.version);
    sheet.say("audit.policy.made", [("path", path.into())]);
    let words = [
        ("federation", policy.federation.as_str().into()),
        ("pin", policy.roster_pin.to_string().into()),
    ];
    sheet.say("audit.policy.pins", words);
    sheet.say(
        "audit.policy.follows",
        [
            ("threshold", newest.root_threshold.into()),
            ("roots", roots.len().into()),
            ("version", newest.version.into()),
            ("members", newest.members.len().into()),
            ("witnesses", witnesses.into()),
            ("quorum", newest.policy.witness_quorum.into()),
        ],
    );
    for root in roots {
        sheet.line(root);
    }
    sheet
}
