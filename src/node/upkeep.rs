//! What a node does by itself, now and then: fetches newer rosters, erases what
//! has reached its retention end, signs for what was erased, and writes down
//! whom it turned away.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::serving::stopped;
use crate::access::AccessLog;
use crate::blame::{Blame, Blamed};
use crate::ids::{LogName, MemberId};
use crate::ledger::{Ledger, LedgerError, Standing};
use crate::parts::Parts;
use crate::wire::v1;

/// How often peers are asked for a newer roster, in seconds.
const ROSTER_POLL_S: u64 = 30;
/// How often retention ends are looked for, in seconds: what ends is erased and
/// signed for within a minute.
const SWEEP_S: u64 = 2;
/// After which time, and how often at most, the index is rid of erased postings.
const FORGET_AFTER_S: u64 = 60;
const FORGET_EVERY_S: u64 = 3_600;
/// How often it is looked again whether there is something to sign for, in seconds.
const RECEIPTS_S: u64 = 5;
/// How long erasures are gathered before they are signed for together.
const RECEIPTS_AFTER: Duration = Duration::from_millis(200);
/// How often denials that were only counted are looked for, in seconds.
const DENIALS_S: u64 = 15;

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
        let others: Vec<_> = roster.other_nodes(parts.ledger.own()).collect();
        let Some(peer) = others.get(next % others.len().max(1)) else {
            continue;
        };
        next = next.wrapping_add(1);
        match parts.peers.rosters(peer, roster.version).await {
            Ok(answer) => take_rosters(&parts, peer, answer).await,
            Err(e) => tracing::debug!(error = %e, "no roster from a peer"),
        }
    }
}

/// Takes the rosters that follow, and compares the member's roster log.
async fn take_rosters(parts: &Arc<Parts>, peer: &MemberId, answer: v1::GetRosterResponse) {
    let (parts, from) = (Arc::clone(parts), peer.clone());
    let taken = tokio::task::spawn_blocking(move || {
        if !answer.rosters.is_empty()
            && let Err(e) = parts.rosters.extend(&answer.rosters)
        {
            tracing::error!(peer.member = %from, error = %e, "a roster is refused");
        }
        if answer.checkpoint.is_empty() {
            return;
        }
        match parts.roster_log.compare(&from, &answer.checkpoint) {
            Ok(_) => {}
            Err(e) if e.blame() == Blame::Misbehaved => {
                tracing::error!(peer.member = %from, error = %e, "another roster log");
            }
            Err(e) => tracing::debug!(peer.member = %from, error = %e, "a roster log"),
        }
    });
    if taken.await.is_err() {
        tracing::debug!("the node stops while it takes rosters");
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

/// Asks the witnesses how far they saw the own access log, until it is open or
/// closed for good, and writes the lines of calls that broke off.
pub(super) async fn open_access(parts: Arc<Parts>, stop: watch::Receiver<bool>) {
    tokio::select! {
        () = Arc::clone(&parts.witnessing).settle_access() => {}
        () = stopped(stop) => return,
    }
    if parts.ledger.access_standing() != Standing::Open {
        return;
    }
    let access = parts.access.clone();
    if let Ok(Err(e)) = tokio::task::spawn_blocking(move || access.recover()).await {
        tracing::error!(error = %e, "calls that broke off are not in the access log");
    }
}

/// Destroys, once, the keys that a crash left behind and that seal nothing.
pub(super) async fn destroy_unused_keys(ledger: Ledger, stop: watch::Receiver<bool>) {
    let destroyed = tokio::task::spawn_blocking(move || {
        let go_on = || !*stop.borrow();
        ledger.destroy_unused_keys(&go_on)
    });
    match destroyed.await {
        Ok(Ok(None | Some(0))) | Err(_) => {}
        Ok(Ok(Some(keys))) => tracing::info!(keys, "destroyed keys that a crash left behind"),
        Ok(Err(e)) => tracing::error!(error = %e, "keys that a crash left behind are still there"),
    }
}

/// Takes the postings of what was erased out of the index's files: a minute
/// after the start or the first erasure, then at most once an hour.
pub(super) async fn forget_postings(ledger: Ledger, stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(FORGET_AFTER_S)) => {}
            () = stopped(stop.clone()) => return,
        }
        let forgetting = ledger.clone();
        let forgotten = tokio::task::spawn_blocking(move || {
            let due = forgetting.has_left_over()?;
            if due {
                forgetting.forget_postings()?;
            }
            Ok::<_, LedgerError>(due)
        })
        .await;
        match forgotten {
            Ok(Ok(false)) | Err(_) => continue,
            Ok(Ok(true)) => tracing::info!("the index is rid of what was erased"),
            Ok(Err(e)) => tracing::error!(error = %e, "the index keeps what was erased"),
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(FORGET_EVERY_S)) => {}
            () = stopped(stop.clone()) => return,
        }
    }
}

/// Signs for what was erased here, as soon as the own log is open.
pub(super) async fn sign_receipts(parts: Arc<Parts>, stop: watch::Receiver<bool>) {
    let (mut erased, mut standing) = (parts.ledger.erased(), parts.ledger.standings());
    loop {
        let signing = Arc::clone(&parts);
        let signed = tokio::task::spawn_blocking(move || sign_once(&signing)).await;
        match signed {
            Ok(Ok(0)) | Err(_) => {}
            Ok(Ok(entries)) => tracing::info!(entries, "signed for what was erased"),
            Ok(Err(e)) => tracing::warn!(error = %e, "receipts wait"),
        }
        tokio::select! {
            _ = erased.changed() => tokio::time::sleep(RECEIPTS_AFTER).await,
            _ = standing.changed() => {}
            () = tokio::time::sleep(Duration::from_secs(RECEIPTS_S)) => {}
            () = stopped(stop.clone()) => return,
        }
    }
}

fn sign_once(parts: &Parts) -> Result<u64, LedgerError> {
    let (roster, ledger) = (parts.rosters.newest(), &parts.ledger);
    let origins: Vec<_> = roster
        .members
        .keys()
        .filter(|id| *id != ledger.own())
        .filter_map(|id| roster.origin(id, LogName::Records))
        .collect();
    let declared = ledger.declare_replicas(&origins, parts.replicate)?;
    Ok(declared + ledger.write_receipts(&parts.rosters.history())?)
}

/// Writes the denials of callers who got no line of their own yet, and all that
/// were counted when the node stops.
pub(super) async fn write_denials(access: AccessLog, stop: watch::Receiver<bool>) {
    loop {
        let last = tokio::select! {
            () = access.denied() => false,
            () = tokio::time::sleep(Duration::from_secs(DENIALS_S)) => false,
            () = stopped(stop.clone()) => true,
        };
        let access = access.clone();
        let writing = tokio::task::spawn_blocking(move || access.write_denials(last));
        if let Ok(Err(e)) = writing.await {
            tracing::error!(error = %e, "denials are not in the access log");
        }
        if last {
            return;
        }
    }
}
