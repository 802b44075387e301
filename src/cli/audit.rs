//! `casegate audit`: what an auditor does with logs and bundles. What works
//! offline needs neither a node nor a config.

mod matching;
mod page;
mod policy;
mod show;
mod verify;

use clap::Subcommand;

use crate::cli::failure::Exit;
use crate::cli::output::Output;
use crate::clock::Clock;

/// Proves what stands in a member's logs, with and without a node.
#[derive(Clone, Debug, clap::Args)]
pub struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum AuditCommand {
    /// Verifies a bundle offline, with keys from the policy only.
    Verify(verify::VerifyArgs),
    /// Compares both ends' access logs by query id.
    Match(matching::MatchArgs),
    /// Writes a policy that pins a federation's first roster.
    Policy(policy::PolicyArgs),
}

/// Runs `casegate audit`. Exit codes: 0 when nothing is wrong, 1 when
/// something is, 2 and above when it could not be looked at.
///
/// # Errors
/// Whatever keeps it from looking at all.
pub fn run(args: &AuditArgs, clock: &Clock, output: &Output) -> anyhow::Result<Exit> {
    match &args.command {
        AuditCommand::Verify(args) => verify::run(args, clock, output),
        AuditCommand::Match(args) => matching::run(args, clock, output),
        AuditCommand::Policy(args) => policy::run(args, output),
    }
}
