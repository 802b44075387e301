//! `casegate serve`: runs a node until it is told to stop. Logs go to standard
//! error; one line on standard output says when and where the node serves.
//! SIGTERM and SIGINT drain it, SIGHUP makes it read the roster file again.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::blame::Blamed;
use crate::cli::failure::Exit;
use crate::cli::logging;
use crate::cli::output::Output;
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

/// Why serving ended early, with the exit code that belongs to it.
struct Ended {
    exit: Exit,
    code: &'static str,
    sentence: String,
}

impl Ended {
    fn config(path: &Path, code: &'static str, why: impl std::fmt::Display) -> Self {
        Self {
            exit: Exit::Config,
            code,
            sentence: format!("{}: {why}", path.display()),
        }
    }

    fn failed(code: &'static str, sentence: String) -> Self {
        Self {
            exit: Exit::Internal,
            code,
            sentence,
        }
    }

    fn of_node(path: &Path, error: &NodeError) -> Self {
        match error {
            NodeError::NotInRoster(_)
            | NodeError::OtherMember { .. }
            | NodeError::KeyNotInRoster(_)
            | NodeError::Rosters(_) => Self::config(path, error.code(), error),
            NodeError::Ledger(_)
            | NodeError::Access(_)
            | NodeError::Officers(_)
            | NodeError::Custodian(_)
            | NodeError::Tls(_)
            | NodeError::Reflection(_) => Self::failed(error.code(), error.to_string()),
        }
    }
}

/// Runs `casegate serve`. Exit codes: 64 for a bad config, 4 for any other
/// failure, 0 once it was told to stop and has drained.
///
/// # Errors
/// Only what standard output answers.
pub async fn run(
    args: &ServeArgs,
    config: &Path,
    clock: &Clock,
    output: &Output,
) -> anyhow::Result<Exit> {
    match serve(args, config, clock, output).await {
        Ok(exit) => Ok(exit),
        Err(ended) => {
            output.fail(ended.code, &ended.sentence)?;
            Ok(ended.exit)
        }
    }
}

async fn serve(
    args: &ServeArgs,
    path: &Path,
    clock: &Clock,
    output: &Output,
) -> Result<Exit, Ended> {
    let config = Config::load(path).map_err(|e| Ended {
        exit: Exit::Config,
        code: e.code(),
        sentence: e.to_string(),
    })?;
    let options =
        setup::options_of(&config, clock).map_err(|e| Ended::config(path, e.code(), &e))?;
    if args.check {
        say(
            output,
            "message.serve.checked",
            &[("config", &path.display().to_string())],
            &json!({
                "config": path, "member": config.member.as_str(), "checked": true,
            }),
        )?;
        return Ok(Exit::Done);
    }
    logging::start(&config.log)
        .map_err(|e| Ended::config(path, "config.value", format!("{e:#}")))?;
    let mut told =
        Told::listen().map_err(|e| Ended::failed("serve.signals", format!("signals: {e}")))?;
    let (listeners, admin) = bind(&config).await?;
    let member = config.member.clone();
    let node = tokio::select! {
        started = Node::start(options, listeners) => {
            started.map_err(|e| Ended::of_node(path, &e))?
        }
        () = told.asked_to_stop() => return Ok(Exit::Done),
    };
    let (peer, desk) = (node.peer_address, node.desk_address);
    let audit = node.audit_address;
    say(
        output,
        "message.serve.ready",
        &[
            ("member", member.as_str()),
            ("peer", &peer.to_string()),
            ("desk", &desk.to_string()),
            ("audit", &audit.to_string()),
            ("admin", &admin.to_string()),
        ],
        &json!({
            "member": member.as_str(), "peer": peer, "desk": desk, "audit": audit, "admin": admin,
            "pid": std::process::id(),
        }),
    )?;
    tracing::info!(%member, %peer, %desk, %audit, %admin, "the node serves");
    while told.next().await == Word::Reload {
        reload(&config, &node).await;
    }
    Ok(drain(node, &mut told, config.limits.drain_s).await)
}

fn say(
    output: &Output,
    key: &str,
    words: &[(&str, &str)],
    value: &serde_json::Value,
) -> Result<(), Ended> {
    let text = output.lang().text(key, words);
    output
        .emit("serve", value, |screen| screen.line(&text))
        .map_err(|e| Ended::failed("command.output", e.to_string()))
}

async fn bind(config: &Config) -> Result<(Listeners, SocketAddr), Ended> {
    let one = |key: &'static str, address: SocketAddr| async move {
        TcpListener::bind(address)
            .await
            .map_err(|e| Ended::failed("serve.listen", format!("{key}: {address}: {e}")))
    };
    let listen = &config.listen;
    let admin = one("listen.admin", listen.admin).await?;
    let address = admin
        .local_addr()
        .map_err(|e| Ended::failed("serve.listen", format!("listen.admin: {e}")))?;
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
