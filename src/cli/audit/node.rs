//! The way from an officer's config to another member's audit port.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::cli::desk::DeskConfig;
use crate::cli::failure::CommandError;
use crate::clock::Clock;
use crate::ids::{FederationId, MemberId};
use crate::rpc::audit::client::{Dial, PortFiles};

/// Whose node is asked, and how it is reached.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct NodeArgs {
    /// The member whose logs are asked for.
    #[arg(long, value_name = "NAME", value_parser = member_of)]
    pub(super) member: MemberId,
    /// Where its node listens for auditors; otherwise as the roster says.
    #[arg(long, value_name = "HOST:PORT")]
    pub(super) node: Option<String>,
}

pub(super) fn member_of(text: &str) -> Result<MemberId, String> {
    MemberId::new(text).map_err(|e| e.to_string())
}

/// A node's audit port, as an officer's commands see it.
#[derive(Debug)]
pub(super) struct AuditPort {
    pub(super) federation: FederationId,
    pub(super) files: PortFiles,
    /// Becomes true when the officer presses Ctrl-C.
    pub(super) stopped: watch::Receiver<bool>,
    /// Drives the connection.
    _runtime: Runtime,
}

/// A runtime, and whether the officer wants to stop.
pub(super) fn interruptible() -> std::io::Result<(Runtime, watch::Receiver<bool>)> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let (stop, stopped) = watch::channel(false);
    runtime.spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.send_replace(true);
        }
        // As long as somebody waits for the word, there is somebody to say it.
        stop.closed().await;
    });
    Ok((runtime, stopped))
}

impl AuditPort {
    /// Gets ready from the officer's config at `path`; connects at the first file.
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
            .or_else(|| dial.audit_endpoint(&args.member))
            .ok_or(CommandError::Usage(
                "the roster names no audit port of this member: say where it is with --node",
            ))?;
        let (runtime, stopped) = interruptible()?;
        let whose = (&config.federation, &args.member);
        let handle = runtime.handle().clone();
        let files = PortFiles::new(handle, &dial, whose, &endpoint, stopped.clone())?;
        Ok(Self {
            federation: config.federation,
            files,
            stopped,
            _runtime: runtime,
        })
    }
}
