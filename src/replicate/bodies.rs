//! Fetching the bodies of a replica: retractions first, then what is new, then
//! what nobody had so far, or an owner withheld before a newer roster moved
//! this member.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{PeerTransport, PullError, Replicator};
use crate::ids::{LogIndex, MemberId};
use crate::ledger::{LedgerError, Log, Range};
use crate::roster::Member;

/// Absent bodies that are asked for again in one go.
pub(super) const ABSENT_MAX: usize = 4_096;
/// Ranges that one request for bodies may name.
pub const RANGES_MAX: usize = 8_192;
/// Bodies that one request may ask for.
pub const BODIES_ASKED_MAX: u64 = 1 << 20;

/// Sorted ranges as requests that a peer answers; ranges that touch are one.
fn requests(ranges: impl IntoIterator<Item = Range>) -> Vec<Vec<Range>> {
    let (mut all, mut last, mut bodies) = (vec![], Vec::<Range>::new(), 0);
    for (mut start, end) in ranges {
        while start < end {
            let touches = last.last().is_some_and(|before| before.1 == start);
            if bodies == BODIES_ASKED_MAX || (last.len() == RANGES_MAX && !touches) {
                all.push(std::mem::take(&mut last));
                bodies = 0;
                continue;
            }
            let upto = end.min(start.saturating_add(BODIES_ASKED_MAX - bodies));
            bodies += upto - start;
            match last.last_mut() {
                Some(before) if before.1 == start => before.1 = upto,
                _ => last.push((start, upto)),
            }
            start = upto;
        }
    }
    if !last.is_empty() {
        all.push(last);
    }
    all
}

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
        for ranges in requests(retractions.iter().map(|at| (at.0, at.0 + 1))) {
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
        let mut fetched = Fetched::default();
        for ranges in requests(ranges) {
            let asked = ranges.iter().map(|(start, end)| end - start).sum::<u64>();
            let mut answers = self.peers.bodies(from, &log.origin, ranges).await?;
            let mut answered = 0;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_stays_within_what_a_peer_answers() {
        assert!(requests([]).is_empty());
        assert_eq!(requests([(3, 4), (4, 5), (7, 9)]), [[(3, 5), (7, 9)]]);
        let max = BODIES_ASKED_MAX;
        assert_eq!(
            requests([(5, 2 * max + 6)]),
            [
                [(5, max + 5)],
                [(max + 5, 2 * max + 5)],
                [(2 * max + 5, 2 * max + 6)]
            ]
        );
        assert_eq!(
            requests([(0, 1), (2, max + 2)]),
            [vec![(0, 1), (2, max + 1)], vec![(max + 1, max + 2)]]
        );
        let apart = requests((0..2 * RANGES_MAX as u64 + 1).map(|n| (2 * n, 2 * n + 1)));
        let lengths: Vec<usize> = apart.iter().map(Vec::len).collect();
        assert_eq!(lengths, [RANGES_MAX, RANGES_MAX, 1]);
        let end = u64::MAX;
        assert_eq!(requests([(end - 1, end)]), [[(end - 1, end)]]);
    }
}
