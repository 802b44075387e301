//! What a node does by itself, now and then: fetches newer rosters, and erases
//! what has reached its retention end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::Parts;
use super::serving::stopped;
use crate::ledger::Ledger;

/// How often peers are asked for a newer roster, in seconds.
const ROSTER_POLL_S: u64 = 30;
/// How often retention ends are looked for, in seconds.
const SWEEP_S: u64 = 30;

/// Asks peers for newer rosters, one peer a round; the answer must follow the
/// chain that is here.
pub(super) async fn follow_roster(parts: Arc<Parts>, stop: watch::Receiver<bool>) {
    let mut next = 0_usize;
    loop {
        let pause = if parts.rosters.is_expired() {
            2
        } else {
            ROSTER_POLL_S
        };
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(pause)) => {}
            () = stopped(stop.clone()) => return,
        }
        let roster = parts.rosters.newest();
        let others: Vec<_> = roster
            .members
            .keys()
            .filter(|id| *id != parts.ledger.own())
            .collect();
        let Some(peer) = others.get(next % others.len().max(1)) else {
            continue;
        };
        next = next.wrapping_add(1);
        match parts.peers.rosters(peer, roster.version).await {
            Ok(newer) if newer.is_empty() => {}
            Ok(newer) => {
                let rosters = parts.rosters.clone();
                let taken = tokio::task::spawn_blocking(move || rosters.extend(&newer)).await;
                if let Ok(Err(e)) = taken {
                    tracing::error!(peer.member = %peer, error = %e, "a roster is refused");
                }
            }
            Err(e) => tracing::debug!(error = %e, "no roster from a peer"),
        }
    }
}

/// Erases bodies whose retention end has passed.
pub(super) async fn sweep(ledger: Ledger, stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(SWEEP_S)) => {}
            () = stopped(stop.clone()) => return,
        }
        let ledger = ledger.clone();
        match tokio::task::spawn_blocking(move || ledger.sweep_expired()).await {
            Ok(Ok(0)) | Err(_) => {}
            Ok(Ok(erased)) => tracing::info!(erased, "bodies reached their retention end"),
            Ok(Err(e)) => tracing::error!(error = %e, "erasing at the retention end failed"),
        }
    }
}
