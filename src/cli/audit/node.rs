//! The way from an officer's config to another member's audit port.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::cli::desk::DeskConfig;
use crate::cli::failure::CommandError;
use crate::clock::Clock;
use crate::ids::{FederationId, MemberId};
use crate::rpc::audit::client::{AuditClient, Dial};
use crate::rpc::audit::source::audit_endpoint;

/// Whose node is asked, and how it is reached.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct NodeArgs {
    /// The member whose logs are asked for.
    #[arg(long, value_name = "NAME")]
    pub(super) member: MemberId,
    /// Where its node listens for auditors; otherwise as the roster says.
    #[arg(long, value_name = "HOST:PORT")]
    pub(super) node: Option<String>,
}

/// A node's audit port, as an officer's commands see it.
#[derive(Clone, Debug)]
pub(super) struct AuditPort {
    pub(super) federation: FederationId,
    pub(super) dial: Dial,
    pub(super) client: AuditClient,
}

impl AuditPort {
    /// Gets ready from the officer's config at `path`; connects at the first
    /// call. Needs a running tokio.
    pub(super) fn open(args: &NodeArgs, path: &Path, clock: &Clock) -> Result<Self, CommandError> {
        let config = DeskConfig::load(path)?;
        let dial = Dial {
            material: config.material(path)?,
            roster: Arc::new(ArcSwap::from(config.newest_roster(path)?)),
            clock: clock.clone(),
        };
        if dial.roster.load().member(&args.member).is_none() {
            return Err(CommandError::Usage("the roster has no member of this name"));
        }
        let endpoint = args.node.clone();
        let endpoint = endpoint
            .or_else(|| audit_endpoint(&dial, &args.member))
            .ok_or(CommandError::Usage(
                "the roster names no audit port of this member: say where it is with --node",
            ))?;
        let client = AuditClient::new(&dial, args.member.clone(), &endpoint)?;
        Ok(Self {
            federation: config.federation,
            dial,
            client,
        })
    }
}
