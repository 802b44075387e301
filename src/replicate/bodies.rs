//! Fetching the bodies of a replica: retractions first, then what is new, then
//! what nobody had so far, or an owner withheld before a newer roster moved
//! this member.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{PeerTransport, PullError, Replicator};
use crate::ids::{LogIndex, MemberId};
use crate::ledger::{Ledger, Log};
use crate::roster::Member;

/// Absent bodies that are asked for again in one go.
pub(super) const ABSENT_MAX: usize = 4_096;

impl<P: PeerTransport> Replicator<P> {
    /// Asks again for what owners withheld, if the newest roster moved this member.
    pub(super) async fn reopen_after_move(&self) {
        let ledger = self.ledger.clone();
        match tokio::task::spawn_blocking(move || ledger.reopen_after_move()).await {
            Ok(Ok(0)) | Err(_) => {}
            Ok(Ok(bodies)) => {
                tracing::info!(
                    bodies,
                    "the roster moved this member: withheld bodies are asked for again"
                );
                self.reopened.send_modify(|n| *n += 1);
            }
            Ok(Err(e)) => {
                tracing::error!(error = %e, "withheld bodies could not be asked for again")
            }
        }
    }

    /// Asks `from` for bodies that are missing; says whether any came.
    pub(super) async fn fetch_bodies(
        &self,
        log: &Arc<Log>,
        author: &Arc<Member>,
        from: &MemberId,
    ) -> Result<bool, PullError> {
        let refused = |source| PullError::Refused {
            from: from.clone(),
            source,
        };
        let (start, end) = (log.head().bodies_upto, log.size().0);
        let retractions = self
            .blocking(log, author, move |ledger, log, _| {
                ledger.retractions(log, LogIndex(start), end)
            })
            .await
            .map_err(refused)?;
        if !retractions.is_empty() {
            let ranges = retractions.iter().map(|at| (at.0, at.0 + 1)).collect();
            let mut answers = self.peers.bodies(from, &log.origin, ranges).await?;
            while let Some(chunk) = answers.recv().await {
                let chunk = chunk?;
                self.blocking(log, author, move |ledger, log, _| {
                    ledger.apply_early(log, &chunk)
                })
                .await
                .map_err(refused)?;
            }
        }
        // What has ended is known now: the bodies here may be given out.
        log.set_stale(false);
        let mut held = 0;
        if start < end {
            held += self
                .fetch_ranges(log, author, from, vec![(start, end)])
                .await?;
        }
        if *from == author.id || start == end {
            held += self.fetch_absent(log, author, from).await?;
        }
        Ok(held > 0)
    }

    /// Asks for bodies that nobody had so far, in turn, as long as that settles any.
    async fn fetch_absent(
        &self,
        log: &Arc<Log>,
        author: &Arc<Member>,
        from: &MemberId,
    ) -> Result<u64, PullError> {
        let refused = |source| PullError::Refused {
            from: from.clone(),
            source,
        };
        let mut held = 0;
        loop {
            let next = |ledger: &Ledger, log: &Log, _: &Member| ledger.next_absent(log, ABSENT_MAX);
            let asked = self.blocking(log, author, next).await.map_err(refused)?;
            let Some(&(first, _)) = asked.first() else {
                return Ok(held);
            };
            held += self.fetch_ranges(log, author, from, asked.clone()).await?;
            let left = move |ledger: &Ledger, log: &Log, _: &Member| {
                ledger.absent_from(log, LogIndex(first), ABSENT_MAX)
            };
            let left = self.blocking(log, author, left).await.map_err(refused)?;
            if left.starts_with(&asked) {
                return Ok(held);
            }
        }
    }

    /// Asks for the bodies of ranges; returns how many are held then.
    pub(super) async fn fetch_ranges(
        &self,
        log: &Arc<Log>,
        author: &Arc<Member>,
        from: &MemberId,
        ranges: Vec<(u64, u64)>,
    ) -> Result<u64, PullError> {
        let refused = |source| PullError::Refused {
            from: from.clone(),
            source,
        };
        let mut answers = self.peers.bodies(from, &log.origin, ranges).await?;
        let mut held = 0;
        while let Some(chunk) = answers.recv().await {
            let chunk = chunk?;
            let accepted = self
                .blocking(log, author, move |ledger, log, author| {
                    ledger.accept_bodies(log, author, chunk)
                })
                .await
                .map_err(refused)?;
            held += accepted.held;
            self.counts
                .bodies
                .fetch_add(accepted.held, Ordering::Relaxed);
        }
        Ok(held)
    }
}
