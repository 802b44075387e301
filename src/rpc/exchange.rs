//! The Exchange service: logs, checkpoints and bodies for other members' nodes.

mod error;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::admit::{Admitted, Gate};
use super::client::PeerClients;
use super::status::to_peer;
use crate::audit::local::rosters_after;
use crate::ids::{Digest, LogIndex, LogName, Origin, TreeSize};
use crate::ledger::{BodyReader, Ledger, LedgerError, Log, Range};
use crate::policy::{Method, Permit};
use crate::replicate::{BODIES_ASKED_MAX, RANGES_MAX, notice_of};
use crate::roster::log::is_of_rosters;
use crate::rosterlog::RosterLog;
use crate::spoken;
use crate::store::StoreError;
use crate::tls::RosterHandle;
use crate::wire::v1::{self, exchange_server};
use crate::witness::Witness;
use error::ExchangeError;

/// Entries that one chunk carries.
const CHUNK_ENTRIES: u64 = 2_000;
/// Rosters that one answer carries.
const ROSTERS_MAX: usize = 64;

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Answers other members' nodes.
#[derive(Debug)]
pub struct Exchange {
    /// Who gets in.
    pub gate: Arc<Gate>,
    /// The logs.
    pub ledger: Ledger,
    /// The log of rosters.
    pub roster_log: Arc<RosterLog<Arc<PeerClients>>>,
    /// Cosigns the callers' checkpoints.
    pub witness: Arc<Witness>,
    /// The newest roster.
    pub roster: RosterHandle,
    /// Ends the open streams when the node drains.
    pub stop: tokio::sync::watch::Receiver<bool>,
}

impl Exchange {
    fn log(&self, permit: &Permit, origin: &str) -> Result<Arc<Log>, Status> {
        let named: Origin = origin
            .parse()
            .map_err(|_| to_peer(&ExchangeError::Origin))?;
        if named.log == LogName::Access {
            tracing::warn!(peer.member = %permit.identity().member, "asked for an access log");
            return Err(to_peer(&ExchangeError::AccessLog));
        }
        self.ledger.log(&named).map_err(|e| to_peer(&e))
    }

    /// Cosigns a checkpoint of the roster log.
    async fn add_rosters(
        &self,
        admitted: Admitted,
        request: v1::AddCheckpointRequest,
    ) -> Result<Response<v1::AddCheckpointResponse>, Status> {
        let log = Arc::clone(&self.roster_log);
        let considered = tokio::task::spawn_blocking(move || {
            log.add_checkpoint(&admitted.permit.identity().member, &request)
        });
        let answer = considered.await.map_err(|_| broke_off())?;
        Ok(Response::new(answer.map_err(|e| to_peer(&e))?))
    }
}

#[tonic::async_trait]
impl exchange_server::Exchange for Exchange {
    type WatchStream = Answers<v1::CheckpointNotice>;
    type PullStream = Answers<v1::Chunk>;
    type GetBodiesStream = Answers<v1::BodyChunk>;

    async fn get_roster(
        &self,
        request: Request<v1::GetRosterRequest>,
    ) -> Result<Response<v1::GetRosterResponse>, Status> {
        let _admitted = self
            .gate
            .admit(&request, Method::GetRoster)
            .map_err(|e| to_peer(&e))?;
        let after = request.get_ref().after;
        let rosters = rosters_after(&self.ledger, after, ROSTERS_MAX).map_err(|e| to_peer(&e))?;
        Ok(Response::new(v1::GetRosterResponse {
            rosters,
            checkpoint: self.roster_log.note(),
        }))
    }

    async fn watch(
        &self,
        request: Request<v1::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let admitted = self
            .gate
            .admit(&request, Method::Watch)
            .map_err(|e| to_peer(&e))?;
        let peer = admitted.permit.identity().member.clone();
        let roster = Arc::clone(&self.roster);
        let origin = self.ledger.own_log(LogName::Records).origin.clone();
        let mut checkpoints = self.ledger.checkpoints();
        let mut witnessed = self.ledger.witnessings();
        let mut stop = self.stop.clone();
        let (notices, stream) = mpsc::channel(4);
        tracing::debug!(peer.member = %peer, "a peer watches");
        tokio::spawn(async move {
            let _admitted = admitted;
            checkpoints.mark_changed();
            loop {
                tokio::select! {
                    changed = checkpoints.changed() => if changed.is_err() { return },
                    changed = witnessed.changed() => if changed.is_err() { return },
                    _ = stop.changed() => return,
                    () = notices.closed() => return,
                }
                if roster.load().member(&peer).is_none() {
                    return;
                }
                let notice = v1::CheckpointNotice {
                    origin: origin.to_string(),
                    checkpoint: checkpoints.borrow_and_update().clone(),
                    witnessed: witnessed.borrow_and_update().clone(),
                    software: Some(spoken::own()),
                };
                if notices.send(Ok(notice)).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn get_checkpoint(
        &self,
        request: Request<v1::GetCheckpointRequest>,
    ) -> Result<Response<v1::CheckpointNotice>, Status> {
        let admitted = self
            .gate
            .admit(&request, Method::GetCheckpoint)
            .map_err(|e| to_peer(&e))?;
        let log = self.log(&admitted.permit, &request.get_ref().origin)?;
        Ok(Response::new(v1::CheckpointNotice {
            witnessed: log.witnessed_note(),
            software: self.ledger.is_own(&log).then(spoken::own),
            ..notice_of(&log.origin, log.head().checkpoint)
        }))
    }

    async fn pull(
        &self,
        request: Request<v1::PullRequest>,
    ) -> Result<Response<Self::PullStream>, Status> {
        let admitted = self
            .gate
            .admit(&request, Method::Pull)
            .map_err(|e| to_peer(&e))?;
        let log = self.log(&admitted.permit, &request.get_ref().origin)?;
        let mut at = LogIndex(request.get_ref().start);
        let ledger = self.ledger.clone();
        let (chunks, stream) = mpsc::channel(2);
        tokio::task::spawn_blocking(move || {
            let _admitted = admitted;
            loop {
                let chunk = match ledger.chunk(&log, at, CHUNK_ENTRIES) {
                    Ok(Some(chunk)) => chunk,
                    Ok(None) => return,
                    Err(e) => {
                        drop(chunks.blocking_send(Err(to_peer(&e))));
                        return;
                    }
                };
                at.0 += chunk.entries.len() as u64;
                if chunks.blocking_send(Ok(chunk)).is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn get_bodies(
        &self,
        request: Request<v1::GetBodiesRequest>,
    ) -> Result<Response<Self::GetBodiesStream>, Status> {
        let admitted = self
            .gate
            .admit(&request, Method::GetBodies)
            .map_err(|e| to_peer(&e))?;
        let log = self.log(&admitted.permit, &request.get_ref().origin)?;
        let ranges = asked(&request.into_inner().ranges, log.size()).map_err(|e| to_peer(&e))?;
        self.ledger
            .may_serve_bodies(&log)
            .map_err(|e| to_peer(&e))?;
        let (ledger, roster) = (self.ledger.clone(), self.roster.load_full());
        let (chunks, stream) = mpsc::channel(2);
        tokio::task::spawn_blocking(move || {
            let Some(member) = roster.member(&admitted.permit.identity().member) else {
                return;
            };
            let reader = BodyReader {
                member,
                roster: &roster,
            };
            for (start, end) in ranges {
                let mut at = LogIndex(start);
                while at.0 < end {
                    let answer = ledger.serve_bodies(&log, at, end, reader);
                    let answered = answer.as_ref().map_or(0, |c| c.answers.len() as u64);
                    let sent = chunks.blocking_send(answer.map_err(|e| to_peer(&e)));
                    if sent.is_err() || answered == 0 {
                        return;
                    }
                    at.0 += answered;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn add_checkpoint(
        &self,
        request: Request<v1::AddCheckpointRequest>,
    ) -> Result<Response<v1::AddCheckpointResponse>, Status> {
        let admitted = self
            .gate
            .admit(&request, Method::AddCheckpoint)
            .map_err(|e| to_peer(&e))?;
        let request = request.into_inner();
        if is_of_rosters(&request.checkpoint, &self.roster.load().federation) {
            return self.add_rosters(admitted, request).await;
        }
        let witness = Arc::clone(&self.witness);
        let considered = tokio::task::spawn_blocking(move || {
            let caller = &admitted.permit.identity().member;
            witness.add_checkpoint(caller, &request)
        });
        let stopped = |_| Err(StoreError::Closed.into());
        let answer = considered.await.unwrap_or_else(stopped);
        Ok(Response::new(answer.map_err(|e| to_peer(&e))?))
    }

    async fn list_checkpoints(
        &self,
        request: Request<v1::ListCheckpointsRequest>,
    ) -> Result<Response<v1::ListCheckpointsResponse>, Status> {
        let admitted = self
            .gate
            .admit(&request, Method::ListCheckpoints)
            .map_err(|e| to_peer(&e))?;
        let ledger = self.ledger.clone();
        let listed = tokio::task::spawn_blocking(move || {
            let _admitted = admitted;
            list(&ledger).map_err(|e| to_peer(&e))
        });
        let checkpoints = listed.await.unwrap_or_else(|_| Err(broke_off()))?;
        Ok(Response::new(v1::ListCheckpointsResponse {
            checkpoints,
            software: Some(spoken::own()),
        }))
    }

    async fn get_consistency(
        &self,
        request: Request<v1::GetConsistencyRequest>,
    ) -> Result<Response<v1::GetConsistencyResponse>, Status> {
        let admitted = self
            .gate
            .admit(&request, Method::GetConsistency)
            .map_err(|e| to_peer(&e))?;
        let request = request.into_inner();
        let log = self.log(&admitted.permit, &request.origin)?;
        let (old, size) = (TreeSize(request.old_size), TreeSize(request.size));
        if old.0 == 0 || old > size {
            return Err(to_peer(&ExchangeError::Sizes));
        }
        if size > log.size() {
            return Err(to_peer(&ExchangeError::Beyond));
        }
        let ledger = self.ledger.clone();
        let proven = tokio::task::spawn_blocking(move || {
            let _admitted = admitted;
            let hash = |digest: Digest| Bytes::copy_from_slice(&digest.0);
            let proof = ledger.consistency(&log, old, size)?;
            Ok(v1::GetConsistencyResponse {
                old_root: hash(ledger.root_at(&log, old)?),
                consistency: proof.into_iter().map(hash).collect(),
            })
        });
        let proven = proven.await.unwrap_or(Err(LedgerError::Stopped));
        Ok(Response::new(proven.map_err(|e| to_peer(&e))?))
    }
}

fn broke_off() -> Status {
    to_peer(&LedgerError::Stopped)
}

/// The ranges of a request for bodies of a log with `size` entries, without what
/// lies beyond: no index is answered for twice, so that a request costs at most
/// what it names.
fn asked(ranges: &[v1::IndexRange], size: TreeSize) -> Result<Vec<Range>, ExchangeError> {
    if ranges.len() > RANGES_MAX {
        return Err(ExchangeError::TooManyRanges);
    }
    let (mut upto, mut bodies) = (0, 0_u64);
    let mut out = Vec::with_capacity(ranges.len());
    for range in ranges {
        if range.start >= range.end || range.start < upto {
            return Err(ExchangeError::Ranges);
        }
        upto = range.end;
        let end = range.end.min(size.0);
        if range.start < end {
            bodies = bodies.saturating_add(end - range.start);
            out.push((range.start, end));
        }
    }
    if bodies > BODIES_ASKED_MAX {
        return Err(ExchangeError::TooManyBodies);
    }
    Ok(out)
}

/// The newest checkpoint of each records log that is held, and of each one
/// that was only seen.
fn list(ledger: &Ledger) -> Result<Vec<v1::CheckpointNotice>, LedgerError> {
    let logs = ledger.logs();
    let held = logs
        .iter()
        .filter(|log| log.origin.log == LogName::Records)
        .map(|log| (log.origin.clone(), log.head().checkpoint))
        .filter(|(_, checkpoint)| !checkpoint.is_empty());
    let mut all: BTreeMap<Origin, Bytes> = ledger.all_seen()?.into_iter().collect();
    all.extend(held);
    let notices = all
        .into_iter()
        .map(|(origin, note)| notice_of(&origin, note));
    Ok(notices.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_for_bodies_names_each_index_once_and_not_too_many() {
        let size = TreeSize(3_000_000);
        let of = |ranges: &[Range]| {
            let wire = |&(start, end): &Range| v1::IndexRange { start, end };
            asked(&ranges.iter().map(wire).collect::<Vec<_>>(), size)
        };
        let wrong = Err(ExchangeError::Ranges);
        for ranges in [
            &[(5, 5)][..],
            &[(6, 5)],
            &[(0, 0)],
            &[(5, 6), (3, 4)],
            &[(3, 6), (5, 7)],
            &[(3, 6), (3, 6)],
            &[(u64::MAX, 0)],
        ] {
            assert_eq!(of(ranges), wrong, "{ranges:?}");
        }
        let max = BODIES_ASKED_MAX;
        assert_eq!(of(&[(0, max + 1)]), Err(ExchangeError::TooManyBodies));
        assert_eq!(
            of(&[(0, max), (max, max + 1)]),
            Err(ExchangeError::TooManyBodies)
        );
        assert_eq!(of(&[(0, max)]), Ok(vec![(0, max)]));
        assert_eq!(
            of(&[(1, 2), (2, 3)]),
            Ok(vec![(1, 2), (2, 3)]),
            "they may touch"
        );
        let beyond = (2_999_999, u64::MAX);
        assert_eq!(of(&[beyond]), Ok(vec![(2_999_999, 3_000_000)]));
        assert_eq!(of(&[(3_000_000, u64::MAX)]), Ok(vec![]));
        let many: Vec<Range> = (0..=RANGES_MAX as u64)
            .map(|n| (2 * n, 2 * n + 1))
            .collect();
        assert_eq!(of(&many), Err(ExchangeError::TooManyRanges));
        assert_eq!(of(&many[1..]).map(|ranges| ranges.len()), Ok(RANGES_MAX));
    }
}
