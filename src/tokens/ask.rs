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
use crate::clock::UnixSeconds;
use crate::ids::{MemberId, random};
use crate::oprf::{Answer, Evaluation, KeySet, OprfError, Verified};
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

/// What became of one question.
enum Outcome {
    Proven(Verified),
    Silent(TransportError),
    Lied { request: EvaluateRequest, response: EvaluateResponse, error: OprfError },
}

impl<T: CustodianTransport> Tokenizer<T> {
    /// Asks until a threshold of answers is proven, and combines them.
    pub(super) async fn ask(
        &self,
        key: &TokenKeyInfo,
        keys: Arc<KeySet>,
        batch: Arc<Pending>,
        template: EvaluateRequest,
    ) -> Result<Vec<Evaluation>, TokensError> {
        let want = usize::from(key.threshold);
        let mut waiting = self.order(key).into_iter();
        let mut asked = FuturesUnordered::new();
        let (mut proven, mut silent): (Vec<Verified>, Vec<Silent>) = (vec![], vec![]);
        let question = |(member, index): (MemberId, u16)| {
            let request = EvaluateRequest { recipient: member.to_string(), ..template.clone() };
            self.question(member, index, Arc::clone(&keys), Arc::clone(&batch), request)
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
                None => return Err(TokensError::TooFew { got: proven.len(), want, silent }),
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
        let mut order: Vec<_> = key.shares.iter().map(|(m, index, _)| (m.clone(), *index)).collect();
        if !order.is_empty() {
            let first = usize::from(u16::from_be_bytes(random())) % order.len();
            order.rotate_left(first);
        }
        let standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        order.sort_by_key(|(m, _)| standing.demoted_until.get(m).is_some_and(|until| now < *until));
        order
    }

    async fn question(
        &self,
        member: MemberId,
        index: u16,
        keys: Arc<KeySet>,
        batch: Arc<Pending>,
        request: EvaluateRequest,
    ) -> (MemberId, Outcome) {
        let response = match self.transport.evaluate(&member, request.clone()).await {
            Ok(response) => response,
            Err(error) => return (member, Outcome::Silent(error)),
        };
        let answer = answer_of(index, &response);
        let checked = run(move || keys.verify(batch.points(), &answer?)).await;
        let outcome = match checked {
            Ok(Ok(verified)) => Outcome::Proven(verified),
            Ok(Err(error)) => Outcome::Lied { request, response, error },
            Err(_) => {
                let reason = "this node is stopping".to_owned();
                Outcome::Silent(TransportError::Unreachable { reason })
            }
        };
        (member, outcome)
    }

    fn note_failure(&self, member: MemberId, outcome: Outcome) -> Silent {
        let now = self.clock.now();
        let code = match outcome {
            Outcome::Proven(_) => "ok".to_owned(),
            Outcome::Silent(TransportError::Unreachable { reason }) => {
                tracing::warn!(custodian.member = %member, %reason, "a custodian is out of reach");
                "unreachable".to_owned()
            }
            Outcome::Silent(TransportError::Refused { code, .. }) => {
                tracing::warn!(custodian.member = %member, %code, "a custodian refused");
                code
            }
            Outcome::Lied { request, response, error } => {
                tracing::error!(custodian.member = %member, %error, "a custodian's answer is false");
                self.keep_evidence(&member, now, &request, &response);
                let code = crate::blame::Blamed::code(&error).to_owned();
                self.accuse(Accusation { member: member.clone(), error, at: now });
                code
            }
        };
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        standing.demoted_until.insert(member.clone(), now.saturating_add(DEMOTED_S));
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
        proof: response.proof[..].try_into().map_err(|_| OprfError::BadProof { index })?,
    })
}
