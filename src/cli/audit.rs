//! `casegate audit`: what an auditor does with logs and bundles. What works
//! offline needs neither a node nor a config; the rest asks a node's audit port
//! as the officer whom the config names.

mod export;
mod matching;
mod node;
mod page;
mod policy;
mod reads;
mod show;
mod verify;

use std::path::Path;

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
    /// Writes a member's bundle: all that is needed to verify its logs offline.
    Export(export::ExportArgs),
    /// Lists a member's logs with their newest checkpoints.
    Logs(node::NodeArgs),
    /// Lists what a member erased, and which members have confirmed it.
    Erasures(node::NodeArgs),
    /// Shows pairs of signed notes that contradict each other.
    Evidence(node::NodeArgs),
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
pub fn run(
    args: &AuditArgs,
    config: &Path,
    clock: &Clock,
    output: &Output,
) -> anyhow::Result<Exit> {
    match &args.command {
        AuditCommand::Export(args) => export::run(args, config, clock, output),
        AuditCommand::Logs(args) => reads::logs(args, config, clock, output),
        AuditCommand::Erasures(args) => reads::erasures(args, config, clock, output),
        AuditCommand::Evidence(args) => reads::evidence(args, config, clock, output),
        AuditCommand::Verify(args) => verify::run(args, config, clock, output),
        AuditCommand::Match(args) => matching::run(args, clock, output),
        AuditCommand::Policy(args) => policy::run(args, output),
    }
}
