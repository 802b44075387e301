//! Health and metrics over plain HTTP, on loopback only: `/live`, `/ready`,
//! `/metrics`. `/ready` says in words what is missing.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::ids::LogName;
use crate::node::Parts;

/// The metric that counts proven contradictions.
pub const CONFLICTS: &str = "casegate_evidence_conflicts";
/// The gauge that says whether the next own record can be signed.
pub const MAY_SIGN: &str = "casegate_ledger_may_sign";
/// The gauge of the own records log's size.
pub const RECORDS_SIZE: &str = "casegate_ledger_records_size";
/// The gauge of bodies that only a later version reads.
pub const NEWER_BODIES: &str = "casegate_ledger_newer_bodies";
/// The gauge of bodies that their authors signed against a rule.
pub const REFUSED_BODIES: &str = "casegate_ledger_refused_bodies";

/// Serves until `stop`.
pub async fn serve(parts: Arc<Parts>, socket: TcpListener, mut stop: watch::Receiver<bool>) {
    let router = Router::new()
        .route("/live", get(|| async { "live\n" }))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(parts);
    let ending = async move {
        while !*stop.borrow() {
            if stop.changed().await.is_err() {
                return;
            }
        }
    };
    if let Err(e) = axum::serve(socket, router)
        .with_graceful_shutdown(ending)
        .await
    {
        tracing::error!(error = %e, "the admin listener ended");
    }
}

/// What keeps a node from doing its work, in words; empty when nothing does.
#[must_use]
pub fn unready(parts: &Parts) -> Vec<String> {
    let mut why = vec![];
    if !parts.ledger.is_writable() {
        why.push("store: a write's outcome is unknown; restart the node".to_owned());
    }
    let standing = parts.ledger.standing();
    if standing != crate::ledger::Standing::Open {
        why.push(format!("own log: {}", standing.sentence()));
    }
    let standing = parts.ledger.access_standing();
    if standing != crate::ledger::Standing::Open {
        why.push(format!("access log: {}", standing.access_sentence()));
    }
    if parts.rosters.is_expired() {
        why.push("roster: the newest roster has run out; get a newer one".to_owned());
    }
    let newest = parts.rosters.newest();
    if newest.member(parts.ledger.own()).is_none() {
        why.push("roster: the newest roster does not list this member any more".to_owned());
    }
    if parts.material.expires_at() <= parts.clock.now() {
        why.push(
            "certificate: it has run out; request a new one (casegate pki request)".to_owned(),
        );
    }
    why
}

async fn ready(State(parts): State<Arc<Parts>>) -> (StatusCode, String) {
    let why = unready(&parts);
    if why.is_empty() {
        (StatusCode::OK, "ready\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, why.join("\n") + "\n")
    }
}

async fn metrics(State(parts): State<Arc<Parts>>) -> String {
    crate::metrics::render(&sample(&parts))
}

fn troubled(parts: &Parts) -> u64 {
    let states = parts.witnessing.states();
    states
        .values()
        .map(|s| u64::from(!s.trouble.is_empty()))
        .sum()
}

fn sample(parts: &Parts) -> Vec<crate::metrics::Reading> {
    use crate::metrics::Reading;
    let publish = &parts.publisher.counts;
    let replicate = &parts.replicator.counts;
    let of = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let mut out = vec![
        Reading::counter(
            "casegate_publish_records_total",
            "Element records signed",
            of(&publish.records),
        ),
        Reading::counter(
            "casegate_publish_evaluated_total",
            "Values that custodians evaluated",
            of(&publish.evaluated),
        ),
        Reading::counter(
            "casegate_replicate_verified_total",
            "Foreign entries verified on receipt",
            of(&replicate.verified),
        ),
        Reading::counter(
            "casegate_replicate_refused_total",
            "Answers of peers that were refused",
            of(&replicate.refused),
        ),
        Reading::counter(
            "casegate_replicate_bodies_total",
            "Bodies received and checked",
            of(&replicate.bodies),
        ),
        Reading::gauge(
            RECORDS_SIZE,
            "Entries of the own records log",
            crate::node::records_size(parts),
        ),
        Reading::gauge(
            "casegate_store_disk_bytes",
            "Bytes of the store on disk",
            parts.ledger.store().disk_bytes(),
        ),
        Reading::gauge(
            "casegate_roster_version",
            "Version of the newest roster",
            parts.rosters.newest().version,
        ),
        Reading::gauge(
            "casegate_ledger_lost_bodies",
            "Bodies of own records that nobody has any more",
            parts.ledger.own_lost().unwrap_or(0),
        ),
        Reading::gauge(
            MAY_SIGN,
            "1 when a key that the roster wants here may sign the next record",
            u64::from(parts.ledger.check_signing().is_ok()),
        ),
        Reading::gauge(
            CONFLICTS,
            "Pairs of signed notes that contradict each other",
            parts.ledger.evidence().count().unwrap_or(0),
        ),
        Reading::gauge(
            "casegate_node_ready",
            "1 when the node is ready",
            u64::from(unready(parts).is_empty()),
        ),
    ];
    out.extend(unread(parts));
    out.extend(witness_readings(parts));
    out.extend(spoken_readings(parts));
    let mut watching = 0;
    for state in parts.replicator.states().values() {
        watching += u64::from(state.watching);
    }
    out.push(Reading::gauge(
        "casegate_replicate_watching",
        "Members whose logs are being watched",
        watching,
    ));
    out
}

/// What the other members' nodes run and speak.
fn spoken_readings(parts: &Parts) -> Vec<crate::metrics::Reading> {
    use crate::metrics::Reading;
    let spoken = parts.ledger.spoken();
    let (behind, ahead) = spoken.count(&parts.rosters.newest(), parts.ledger.own());
    vec![
        Reading::gauge(
            "casegate_spoken_behind",
            "Members whose nodes lack a feature of this one, or never said what they speak",
            behind,
        ),
        Reading::gauge(
            "casegate_spoken_ahead",
            "Members whose nodes speak a feature that is unknown here",
            ahead,
        ),
        Reading::counter(
            "casegate_spoken_ignored_total",
            "Words of other nodes about what they speak that did not fit",
            spoken.ignored(),
        ),
    ]
}

/// Bodies that are held and not read. A count that fails is no reading, not 0.
fn unread(parts: &Parts) -> Vec<crate::metrics::Reading> {
    use crate::metrics::Reading;
    let Ok(counts) = parts.ledger.opaque_counts() else {
        return vec![];
    };
    let newer = counts.values().map(|count| count.newer).sum();
    let refused = counts.values().map(|count| count.refused).sum();
    vec![
        Reading::gauge(
            NEWER_BODIES,
            "Bodies of a later version, which an upgrade reads",
            newer,
        ),
        Reading::gauge(
            REFUSED_BODIES,
            "Bodies that their authors signed against a rule",
            refused,
        ),
    ]
}

fn witness_readings(parts: &Parts) -> Vec<crate::metrics::Reading> {
    use crate::metrics::Reading;
    let of = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    vec![
        Reading::gauge(
            "casegate_witnessing_records_size",
            "Entries of the own records log that are witnessed",
            parts.ledger.own_log(LogName::Records).witnessed_size().0,
        ),
        Reading::gauge(
            "casegate_witnessing_access_size",
            "Entries of the own access log that are witnessed",
            parts.ledger.own_log(LogName::Access).witnessed_size().0,
        ),
        Reading::gauge(
            "casegate_witnessing_troubled",
            "Witnesses of the own logs that did not cosign when asked last",
            troubled(parts),
        ),
        Reading::counter(
            "casegate_witness_cosigned_total",
            "Checkpoints of other members that were cosigned",
            of(&parts.witness.counts.cosigned),
        ),
        Reading::counter(
            "casegate_witness_refused_total",
            "Checkpoints of other members that were refused",
            of(&parts.witness.counts.refused),
        ),
    ]
}
