//! `casegate serve`: runs a node until it is told to stop. Logs go to standard
//! error; one line on standard output says when and where the node serves.
//! SIGTERM and SIGINT drain it, SIGHUP makes it read the roster file again.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::blame::Blamed;
use crate::cli::failure::{CommandError, Exit};
use crate::cli::logging;
use crate::cli::output::Output;
use crate::cli::sheet::{Cell, Sheet};
use crate::clock::Clock;
use crate::config::Config;
use crate::node::{Listeners, Node, NodeError};
use crate::setup;

/// Runs the node that the config describes.
#[derive(Clone, Debug, clap::Args)]
pub struct ServeArgs {
    /// Reads and checks the config and every file that it names, and ends.
    #[arg(long)]
    check: bool,
}

/// A config, or what it names, that a node cannot be started with.
fn unfit(path: &Path, code: &'static str, why: impl std::fmt::Display) -> CommandError {
    CommandError::Ended {
        exit: Exit::Config,
        code,
        sentence: format!("{}: {why}", path.display()),
    }
}

fn failed(code: &'static str, sentence: String) -> CommandError {
    CommandError::Ended {
        exit: Exit::Internal,
        code,
        sentence,
    }
}

fn not_started(path: &Path, error: &NodeError) -> CommandError {
    match error {
        NodeError::NotInRoster(_)
        | NodeError::OtherMember { .. }
        | NodeError::KeyNotInRoster(_)
        | NodeError::Rosters(_) => unfit(path, error.code(), error),
        NodeError::Ledger(_)
        | NodeError::Access(_)
        | NodeError::Officers(_)
        | NodeError::Custodian(_)
        | NodeError::Tls(_)
        | NodeError::Reflection(_) => CommandError::ended(Exit::Internal, error),
    }
}

/// Runs `casegate serve`. Exit codes: 64 for a bad config, 4 for any other
/// failure, 0 once it was told to stop and has drained.
///
/// # Errors
/// [`CommandError`].
pub async fn run(
    args: &ServeArgs,
    path: &Path,
    clock: &Clock,
    output: &Output,
) -> Result<Exit, CommandError> {
    let config = Config::load(path)?;
    let options = setup::options_of(&config, clock).map_err(|e| unfit(path, e.code(), &e))?;
    if args.check {
        return output.show(&checked(path, &config));
    }
    logging::start(&config.log).map_err(|e| unfit(path, "config.value", format!("{e:#}")))?;
    let mut told = Told::listen().map_err(|e| failed("serve.signals", format!("signals: {e}")))?;
    let (listeners, admin) = bind(&config).await?;
    let node = tokio::select! {
        started = Node::start(options, listeners) => {
            started.map_err(|e| not_started(path, &e))?
        }
        () = told.asked_to_stop() => return Ok(Exit::Done),
    };
    output.show(&ready(&config, &node, admin))?;
    let (peer, desk, audit) = (node.peer_address, node.desk_address, node.audit_address);
    tracing::info!(member = %config.member, %peer, %desk, %audit, %admin, "the node serves");
    while told.next().await == Word::Reload {
        reload(&config, &node).await;
    }
    Ok(drain(node, &mut told, config.limits.drain_s).await)
}

fn checked(path: &Path, config: &Config) -> Sheet {
    let path = path.display().to_string();
    let mut sheet = Sheet::new("serve");
    sheet.data("config", &path);
    sheet.data("member", config.member.as_str());
    sheet.data("checked", true);
    sheet.say("message.serve.checked", [("config", path.into())]);
    sheet
}

fn ready(config: &Config, node: &Node, admin: SocketAddr) -> Sheet {
    let facts = [
        ("member", config.member.to_string()),
        ("peer", node.peer_address.to_string()),
        ("desk", node.desk_address.to_string()),
        ("audit", node.audit_address.to_string()),
        ("admin", admin.to_string()),
    ]
    .map(|(key, text)| (key, Cell::Text(text)));
    let mut sheet = Sheet::new("serve");
    for (key, cell) in facts.clone() {
        sheet.data(key, cell);
    }
    sheet.data("pid", std::process::id());
    sheet.say("message.serve.ready", facts);
    sheet
}

async fn bind(config: &Config) -> Result<(Listeners, SocketAddr), CommandError> {
    let one = |key: &'static str, address: SocketAddr| async move {
        TcpListener::bind(address)
            .await
            .map_err(|e| failed("serve.listen", format!("{key}: {address}: {e}")))
    };
    let listen = &config.listen;
    let admin = one("listen.admin", listen.admin).await?;
    let address = admin
        .local_addr()
        .map_err(|e| failed("serve.listen", format!("listen.admin: {e}")))?;
    let listeners = Listeners {
        peer: one("listen.peer", listen.peer).await?,
        desk: one("listen.desk", listen.desk).await?,
        audit: one("listen.audit", listen.audit).await?,
        admin: Some(admin),
    };
    Ok((listeners, address))
}

/// Stops the node within its time limit; a second signal ends the wait.
async fn drain(node: Node, told: &mut Told, seconds: u64) -> Exit {
    tracing::info!("told to stop; draining");
    let cut = tokio::select! {
        whole = node.stop_within(Duration::from_secs(seconds)) => !whole,
        () = told.asked_to_stop() => true,
    };
    if cut {
        return Exit::Internal;
    }
    tracing::info!("drained");
    Exit::Done
}

/// Takes newer rosters from the roster file; a file that is refused changes nothing.
async fn reload(config: &Config, node: &Node) {
    let (config, rosters) = (config.clone(), node.parts().rosters.clone());
    let taken = tokio::task::spawn_blocking(move || {
        let newer = setup::rosters(&config).map_err(|e| e.to_string())?;
        rosters.extend(&newer).map_err(|e| e.to_string())
    });
    match taken.await {
        Ok(Ok(true)) => node.parts().publisher.wake(),
        Ok(Ok(false)) => tracing::info!("the roster file has nothing newer"),
        Ok(Err(why)) => tracing::error!(error = %why, "the roster file is refused"),
        Err(e) => tracing::error!(error = %e, "reading the roster file broke off"),
    }
}

/// What a signal says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Stop,
    Reload,
}

/// The signals that a serving node hears.
struct Told {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Told {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

impl Told {
    async fn next(&mut self) -> Word {
        tokio::select! {
            _ = self.terminate.recv() => Word::Stop,
            _ = self.interrupt.recv() => Word::Stop,
            _ = self.hangup.recv() => Word::Reload,
        }
    }

    /// Waits for a signal to stop; others are not heard meanwhile.
    async fn asked_to_stop(&mut self) {
        while self.next().await != Word::Stop {}
    }
}
