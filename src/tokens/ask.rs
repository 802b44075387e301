//! Asking custodians for one batch: `t` of them at once, one more whenever one
//! fails, lies or is slow, until `t` answers are proven.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use prost::Message;

use super::pending::Pending;
use super::{
    Accusation, CustodianTransport, Silent, TokenKeyInfo, Tokenizer, TokensError, TransportError,
    run,
};
use crate::access::Asked;
use crate::blame::Blamed;
use crate::clock::UnixSeconds;
use crate::ids::{MemberId, random};
use crate::oprf::{Answer, Evaluation, KeySet, OprfError, POINT_BYTES, Verified};
use crate::store::{Batch, Table};
use crate::wire::v1::{EvaluateRequest, EvaluateResponse};

/// Seconds for which a request is good.
pub(super) const REQUEST_LIFE_S: i64 = 600;

/// After this long without any answer, one more custodian is asked.
const HEDGE_AFTER: Duration = Duration::from_millis(2_000);

/// Seconds for which a custodian that failed is asked last.
const DEMOTED_S: i64 = 60;

/// Accusations that are remembered until somebody takes them.
const ACCUSATIONS_MAX: usize = 64;

/// How custodians did lately.
#[derive(Debug, Default)]
pub(super) struct Standing {
    demoted_until: HashMap<MemberId, UnixSeconds>,
    accusations: Vec<Accusation>,
}

impl Standing {
    pub(super) fn take_accusations(&mut self) -> Vec<Accusation> {
        std::mem::take(&mut self.accusations)
    }
}

/// A question, its answer, and what is wrong with the answer.
struct Lie {
    request: EvaluateRequest,
    response: EvaluateResponse,
    error: OprfError,
}

/// What became of one question.
enum Outcome {
    Proven(Verified),
    Silent(TransportError),
    Lied(Box<Lie>),
}

impl Outcome {
    /// `ok`, `unreachable`, the code of a refusal, or that of a lie.
    fn code(&self) -> String {
        match self {
            Self::Proven(_) => "ok".to_owned(),
            Self::Silent(TransportError::Unreachable { .. }) => "unreachable".to_owned(),
            Self::Silent(TransportError::Refused { code, .. }) => code.clone(),
            Self::Lied(lie) => lie.error.code().to_owned(),
        }
    }
}

impl<T: CustodianTransport> Tokenizer<T> {
    /// Asks until a threshold of answers is proven, and combines them.
    pub(super) async fn ask(
        &self,
        key: &TokenKeyInfo,
        keys: Arc<KeySet>,
        batch: Arc<Pending>,
        template: EvaluateRequest,
        noted: &Asked,
    ) -> Result<Vec<Evaluation>, TokensError> {
        let want = usize::from(key.threshold);
        let mut waiting = self.order(key).into_iter();
        let mut asked = FuturesUnordered::new();
        let (mut proven, mut silent): (Vec<Verified>, Vec<Silent>) = (vec![], vec![]);
        let question = |(member, index): (MemberId, u16)| {
            let request = EvaluateRequest {
                recipient: member.to_string(),
                ..template.clone()
            };
            self.question(
                member,
                index,
                Arc::clone(&keys),
                Arc::clone(&batch),
                request,
                noted,
            )
        };
        asked.extend(waiting.by_ref().take(want).map(question));
        while proven.len() < want {
            let answer = tokio::select! {
                answer = asked.next() => answer,
                () = tokio::time::sleep(HEDGE_AFTER), if waiting.len() > 0 => {
                    asked.extend(waiting.next().map(question));
                    continue;
                }
            };
            match answer {
                None => {
                    return Err(TokensError::TooFew {
                        got: proven.len(),
                        want,
                        silent,
                    });
                }
                Some((_, Outcome::Proven(verified))) => proven.push(verified),
                Some((member, failed)) => {
                    silent.push(self.note_failure(member, failed));
                    asked.extend(waiting.next().map(question));
                }
            }
        }
        run(move || keys.combine(batch.inputs(), batch.blindings(), &proven))
            .await?
            .map_err(TokensError::from)
    }

    /// The custodians in the order in which to ask: from a random one on, so
    /// that all share the load, and those that failed lately last.
    fn order(&self, key: &TokenKeyInfo) -> Vec<(MemberId, u16)> {
        let now = self.clock.now();
        let mut order: Vec<_> = key
            .shares
            .iter()
            .map(|(m, index, _)| (m.clone(), *index))
            .collect();
        if !order.is_empty() {
            let first = usize::from(u16::from_be_bytes(random())) % order.len();
            order.rotate_left(first);
        }
        let standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        order.sort_by_key(|(m, _)| {
            standing
                .demoted_until
                .get(m)
                .is_some_and(|until| now < *until)
        });
        order
    }

    async fn question(
        &self,
        member: MemberId,
        index: u16,
        keys: Arc<KeySet>,
        batch: Arc<Pending>,
        request: EvaluateRequest,
        noted: &Asked,
    ) -> (MemberId, Outcome) {
        let points = u32::try_from(request.points.len() / POINT_BYTES).unwrap_or(u32::MAX);
        let place = noted.sending(&member, points);
        let outcome = self.put(&member, index, keys, batch, request).await;
        noted.ended(place, &outcome.code());
        (member, outcome)
    }

    async fn put(
        &self,
        member: &MemberId,
        index: u16,
        keys: Arc<KeySet>,
        batch: Arc<Pending>,
        request: EvaluateRequest,
    ) -> Outcome {
        let response = match self.transport.evaluate(member, request.clone()).await {
            Ok(response) => response,
            Err(error) => return Outcome::Silent(error),
        };
        let answer = answer_of(index, &response);
        let checked = run(move || keys.verify(batch.points(), &answer?)).await;
        match checked {
            Ok(Ok(verified)) => Outcome::Proven(verified),
            Ok(Err(error)) => Outcome::Lied(Box::new(Lie {
                request,
                response,
                error,
            })),
            Err(_) => {
                let reason = "this node is stopping".to_owned();
                Outcome::Silent(TransportError::Unreachable { reason })
            }
        }
    }

    fn note_failure(&self, member: MemberId, outcome: Outcome) -> Silent {
        let (now, code) = (self.clock.now(), outcome.code());
        match outcome {
            Outcome::Proven(_) => {}
            Outcome::Silent(TransportError::Unreachable { reason }) => {
                tracing::warn!(custodian.member = %member, %reason, "a custodian is out of reach");
            }
            Outcome::Silent(TransportError::Refused { code, .. }) => {
                tracing::warn!(custodian.member = %member, %code, "a custodian refused");
            }
            Outcome::Lied(lie) => {
                let Lie {
                    request,
                    response,
                    error,
                } = *lie;
                tracing::error!(custodian.member = %member, %error, "a custodian's answer is false");
                self.keep_evidence(&member, now, &request, &response);
                self.accuse(Accusation {
                    member: member.clone(),
                    error,
                    at: now,
                });
            }
        }
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        standing
            .demoted_until
            .insert(member.clone(), now.saturating_add(DEMOTED_S));
        Silent { member, code }
    }

    fn accuse(&self, accusation: Accusation) {
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        if standing.accusations.len() < ACCUSATIONS_MAX {
            standing.accusations.push(accusation);
        }
    }

    /// Keeps question and answer: whoever has the roster can check that the
    /// proof in the answer does not hold.
    fn keep_evidence(
        &self,
        member: &MemberId,
        now: UnixSeconds,
        request: &EvaluateRequest,
        response: &EvaluateResponse,
    ) {
        let name = member.as_str().as_bytes();
        let at = [b"custodian/", &now.to_be_bytes()[..], name].concat();
        let mut value = request.encode_length_delimited_to_vec();
        value.extend_from_slice(&response.encode_length_delimited_to_vec());
        let mut batch = Batch::new();
        batch.put(Table::Evidence, &at, value);
        // Nobody waits for it: the store writes it in its turn, and a failed
        // store is reported by the next write that matters.
        drop(self.store.submit(batch));
    }
}

/// Reads a response of the custodian that the roster lists under `index`.
fn answer_of(index: u16, response: &EvaluateResponse) -> Result<Answer, OprfError> {
    if response.index != u32::from(index) {
        let said = u16::try_from(response.index).unwrap_or(u16::MAX);
        return Err(OprfError::BadIndex { index: said });
    }
    Ok(Answer {
        index,
        epoch: response.epoch,
        points: response.points.to_vec(),
        proof: response.proof[..]
            .try_into()
            .map_err(|_| OprfError::BadProof { index })?,
    })
}
