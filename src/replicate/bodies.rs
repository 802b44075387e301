//! Fetching the bodies of a replica: retractions first, then what is new, then
//! what nobody had so far, or an owner withheld before a newer roster moved
//! this member.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{PeerTransport, PullError, Replicator};
use crate::ids::{LogIndex, MemberId};
use crate::ledger::{LedgerError, Log};
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
        let mut wrong = None;
        if !retractions.is_empty() {
            let ranges = retractions.iter().map(|at| (at.0, at.0 + 1)).collect();
            let mut answers = self.peers.bodies(from, &log.origin, ranges).await?;
            while let Some(chunk) = answers.recv().await {
                let chunk = chunk?;
                let applied = self
                    .blocking(log, author, move |ledger, log, _| {
                        ledger.apply_early(log, &chunk)
                    })
                    .await;
                match applied {
                    Ok(()) => {}
                    // The bodies beside it count all the same.
                    Err(source @ LedgerError::Record { .. }) => {
                        wrong.get_or_insert(source);
                    }
                    Err(source) => return Err(refused(source)),
                }
            }
        }
        if wrong.is_none() {
            // What has ended is known now: the bodies here may be given out.
            log.set_stale(false);
        }
        let mut fetched = Fetched {
            wrong,
            ..Fetched::default()
        };
        if start < end {
            let new = vec![(start, end)];
            fetched.add(self.fetch_ranges(log, author, from, new).await?);
        }
        if *from == author.id || start == end {
            fetched.add(self.fetch_absent(log, author, from).await?);
        }
        match fetched.wrong {
            Some(source) => Err(refused(source)),
            None => Ok(fetched.held > 0),
        }
    }

    /// Asks for bodies that nobody had so far, in turn, as long as that settles any.
    async fn fetch_absent(
        &self,
        log: &Arc<Log>,
        author: &Arc<Member>,
        from: &MemberId,
    ) -> Result<Fetched, PullError> {
        let refused = |source| PullError::Refused {
            from: from.clone(),
            source,
        };
        let mut fetched = Fetched::default();
        loop {
            let asked = self.ledger.next_absent(log, ABSENT_MAX).map_err(refused)?;
            let Some(&(first, _)) = asked.first() else {
                return Ok(fetched);
            };
            fetched.add(self.fetch_ranges(log, author, from, asked.clone()).await?);
            let left = self
                .ledger
                .absent_from(log, LogIndex(first), ABSENT_MAX)
                .map_err(refused)?;
            if left.starts_with(&asked) {
                return Ok(fetched);
            }
        }
    }

    /// Asks for the bodies of ranges. Each is judged alone: one that is not what
    /// was signed holds up no other, and is told of at the end.
    ///
    /// # Errors
    /// [`PullError`] when the source breaks off, or answers for what nobody asked.
    pub(super) async fn fetch_ranges(
        &self,
        log: &Arc<Log>,
        author: &Arc<Member>,
        from: &MemberId,
        ranges: Vec<(u64, u64)>,
    ) -> Result<Fetched, PullError> {
        let refused = |source| PullError::Refused {
            from: from.clone(),
            source,
        };
        let asked = ranges.iter().map(|(start, end)| end - start).sum::<u64>();
        let mut answers = self.peers.bodies(from, &log.origin, ranges).await?;
        let (mut fetched, mut answered) = (Fetched::default(), 0);
        while let Some(chunk) = answers.recv().await {
            let chunk = chunk?;
            answered += chunk.answers.len().max(1) as u64;
            if answered > asked {
                return Err(refused(LedgerError::Malformed {
                    origin: log.origin.clone(),
                    what: "it answers for more bodies than were asked for",
                }));
            }
            let accepted = self
                .blocking(log, author, move |ledger, log, author| {
                    ledger.accept_bodies(log, author, chunk)
                })
                .await
                .map_err(refused)?;
            self.counts
                .bodies
                .fetch_add(accepted.held, Ordering::Relaxed);
            fetched.add(Fetched {
                held: accepted.held,
                wrong: accepted.wrong,
            });
        }
        Ok(fetched)
    }
}

/// What came of asking for bodies.
#[derive(Debug, Default)]
pub(super) struct Fetched {
    /// Bodies that are held now.
    pub(super) held: u64,
    /// The first that is not what was signed, if any: the source is to blame.
    pub(super) wrong: Option<LedgerError>,
}

impl Fetched {
    fn add(&mut self, more: Self) {
        self.held += more.held;
        self.wrong = self.wrong.take().or(more.wrong);
    }
}
