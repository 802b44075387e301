//! One round: one checkpoint, offered to every witness that is not still busy
//! with an earlier one, until enough of them have cosigned it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;

use super::{WitnessState, WitnessTransport, Witnessing};
use crate::blame::Blame;
use crate::checkpoint::{cosignature_of, witness_name};
use crate::ids::{LogName, MemberId, TreeSize};
use crate::keys::PublicKey;
use crate::ledger::LedgerError;
use crate::replicate::PeerError;
use crate::roster::Roster;
use crate::wire::v1;

/// How long one witness may take.
pub(super) const ASK: Duration = Duration::from_secs(5);
/// How long a round lasts at most.
const ROUND: Duration = Duration::from_secs(6);
/// How long the others are waited for once there is a quorum.
const GRACE: Duration = Duration::from_millis(150);
/// How often one witness is asked in a round: it may remember another size.
const TRIES: usize = 3;

/// How a round ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The checkpoint is witnessed, durably.
    Witnessed,
    /// Too few cosigned it.
    Short,
}

/// The questions that are under way; those of a slow witness outlast a round.
#[derive(Debug, Default)]
pub(super) struct Asking {
    running: JoinSet<(MemberId, TreeSize, Result<String, PeerError>)>,
    busy: BTreeSet<MemberId>,
}

/// What a round is about.
#[derive(Clone, Debug)]
struct Target {
    name: LogName,
    size: TreeSize,
    note: Bytes,
}

/// The code of a witness that says it saw more of a log than is here.
const AHEAD: &str = "witnessing.ahead";

/// Says whether a witness claims to hold something against an own log.
fn is_against_us(error: &PeerError) -> bool {
    [AHEAD, "witness.conflict", "witness.forked"].contains(&&*error.code)
}

impl<T: WitnessTransport> Witnessing<T> {
    pub(super) async fn round(self: &Arc<Self>, name: LogName, asking: &mut Asking) -> Outcome {
        let head = self.ledger.own_log(name).head();
        let target = Target {
            name,
            size: head.checkpoint_size,
            note: head.checkpoint,
        };
        let roster = self.roster.load_full();
        let witnesses = roster.witnesses(self.ledger.own());
        let mut waiting: BTreeSet<MemberId> =
            witnesses.keys.iter().map(|(id, _)| id.clone()).collect();
        let quorum = usize::try_from(witnesses.quorum).unwrap_or(usize::MAX);
        for witness in waiting.difference(&asking.busy.clone()) {
            self.ask(witness, &target, &roster, asking);
        }
        let mut lines: BTreeMap<MemberId, String> = BTreeMap::new();
        let round = tokio::time::sleep(ROUND);
        tokio::pin!(round);
        let mut grace = None;
        while !waiting.is_empty() {
            let patience = async {
                match grace {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            let answered = tokio::select! {
                answered = asking.running.join_next() => answered,
                () = patience => break,
                () = &mut round => break,
            };
            let Some(Ok((witness, size, answer))) = answered else {
                break;
            };
            asking.busy.remove(&witness);
            self.show(&witness, name, size, &answer);
            if size != target.size {
                // It was still busy with an earlier one.
                self.ask(&witness, &target, &roster, asking);
                continue;
            }
            waiting.remove(&witness);
            lines.extend(answer.ok().map(|line| (witness, line)));
            if grace.is_none() && lines.len() >= quorum {
                grace = Some(tokio::time::Instant::now() + GRACE);
            }
        }
        if lines.len() < quorum {
            return Outcome::Short;
        }
        self.keep(&target, &roster, lines).await
    }

    fn ask(
        self: &Arc<Self>,
        witness: &MemberId,
        target: &Target,
        roster: &Arc<Roster>,
        asking: &mut Asking,
    ) {
        asking.busy.insert(witness.clone());
        let (this, witness) = (Arc::clone(self), witness.clone());
        let (target, roster) = (target.clone(), Arc::clone(roster));
        asking.running.spawn(async move {
            let asked = tokio::time::timeout(ASK, this.cosignature(&witness, &target, &roster));
            let late = |_| {
                Err(trouble(
                    &witness,
                    Blame::Unavailable,
                    "it did not answer in time",
                ))
            };
            let answer = asked.await.unwrap_or_else(late);
            (witness, target.size, answer)
        });
    }

    /// Asks one witness, and once more from the size that it remembers.
    async fn cosignature(
        &self,
        witness: &MemberId,
        target: &Target,
        roster: &Roster,
    ) -> Result<String, PeerError> {
        let mut known = self.known(witness, target);
        for _ in 0..TRIES {
            if known > target.size {
                let said = format!(
                    "it cosigned {known} entries of this node's {} log, which has {}: was a backup restored?",
                    target.name.as_str(),
                    target.size
                );
                return Err(PeerError {
                    code: AHEAD.to_owned(),
                    ..trouble(witness, Blame::Misbehaved, &said)
                });
            }
            let request = self.request(witness, target, known).await?;
            let answer = self.peers.add_checkpoint(witness, request).await?;
            if !answer.cosignatures.is_empty() {
                return open_line(witness, target, roster, &answer.cosignatures);
            }
            known = TreeSize(answer.seen_size);
        }
        Err(trouble(
            witness,
            Blame::Misbehaved,
            "it says another size every time it is asked",
        ))
    }

    /// How much the witness is thought to have seen.
    fn known(&self, witness: &MemberId, target: &Target) -> TreeSize {
        let states = self.states();
        let told = states.get(witness).map(|state| state.size(target.name));
        match told {
            Some(size) if size.0 > 0 => size,
            _ => self.ledger.own_log(target.name).witnessed_size(),
        }
    }

    async fn request(
        &self,
        witness: &MemberId,
        target: &Target,
        known: TreeSize,
    ) -> Result<v1::AddCheckpointRequest, PeerError> {
        let (ledger, name, size) = (self.ledger.clone(), target.name, target.size);
        let proven = tokio::task::spawn_blocking(move || {
            let log = ledger.own_log(name);
            Ok::<_, LedgerError>((
                ledger.consistency(log, known, size)?,
                ledger.root_at(log, known)?,
            ))
        });
        let proven = proven.await.unwrap_or(Err(LedgerError::Stopped));
        let (proof, old_root) =
            proven.map_err(|e| trouble(witness, Blame::Internal, &e.to_string()))?;
        let bytes = |hash: crate::ids::Digest| Bytes::copy_from_slice(&hash.0);
        Ok(v1::AddCheckpointRequest {
            old_size: known.0,
            consistency: proof.into_iter().map(bytes).collect(),
            checkpoint: target.note.clone(),
            old_root: bytes(old_root),
        })
    }

    fn show(
        &self,
        witness: &MemberId,
        name: LogName,
        size: TreeSize,
        answer: &Result<String, PeerError>,
    ) {
        match answer {
            Ok(_) => self.note(witness, |state| state.cosigned(name, size)),
            Err(error) => {
                if error.blame == Blame::Misbehaved {
                    tracing::error!(peer.member = %witness, error = %error, log.name = name.as_str(), "a witness does not cosign");
                } else {
                    tracing::debug!(peer.member = %witness, error = %error, "a witness does not cosign");
                }
                if name == LogName::Access && is_against_us(error) {
                    // It may lie: what it saw is looked at.
                    self.doubted.store(true, Ordering::SeqCst);
                }
                let said = error.sentence.clone();
                self.note(witness, |state: &mut WitnessState| {
                    state.trouble.insert(name, said);
                });
            }
        }
    }

    /// Keeps the note with its cosignatures.
    async fn keep(
        &self,
        target: &Target,
        roster: &Arc<Roster>,
        lines: BTreeMap<MemberId, String>,
    ) -> Outcome {
        let mut note = target.note.to_vec();
        lines
            .values()
            .for_each(|line| note.extend_from_slice(line.as_bytes()));
        let (ledger, roster, name) = (self.ledger.clone(), Arc::clone(roster), target.name);
        let kept = tokio::task::spawn_blocking(move || {
            ledger.accept_witnessed(ledger.own_log(name), &roster, &note.into())
        });
        match kept.await.unwrap_or(Err(LedgerError::Stopped)) {
            Ok(true) => Outcome::Witnessed,
            Ok(false) => Outcome::Short,
            Err(error) => {
                tracing::error!(error = %error, "a witnessed checkpoint could not be kept");
                Outcome::Short
            }
        }
    }
}

/// Takes the witness's line out of its answer, if it holds.
fn open_line(
    witness: &MemberId,
    target: &Target,
    roster: &Roster,
    lines: &Bytes,
) -> Result<String, PeerError> {
    let keys = roster.witness_keys(witness);
    let keys: Vec<&PublicKey> = keys.collect();
    let name = witness_name(&roster.federation, witness);
    cosignature_of(&target.note, lines, &name, &keys)
        .map_err(|e| trouble(witness, Blame::Misbehaved, &e.to_string()))
}

fn trouble(witness: &MemberId, blame: Blame, sentence: &str) -> PeerError {
    PeerError {
        member: witness.clone(),
        sentence: sentence.to_owned(),
        blame,
        code: String::new(),
    }
}
