//! The Custodian service: evaluation under budget, and key generation.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::admit::{Admitted, Asking, Gate};
use super::status::to_peer;
use crate::access::{AccessLine, AccessLog};
use crate::custodian::{Custodian, Handled, PointsGrant, Rules, SeenRequest, ServedKey};
use crate::ids::QueryId;
use crate::ledger::LedgerError;
use crate::policy::Method;
use crate::roster::{Roster, TokenClass, TokenKeyState};
use crate::tls::{Peer, RosterHandle};
use crate::wire::v1::{self, AccessScope, custodian_server};

/// Answers members that need tokens, and the other custodians.
#[derive(Debug)]
pub struct CustodianService {
    /// Who gets in.
    pub gate: Arc<Gate>,
    /// The shares and accounts.
    pub custodian: Arc<Custodian>,
    /// Every evaluation is logged before its answer leaves.
    pub access: AccessLog,
    /// The newest roster.
    pub roster: RosterHandle,
}

fn wire_class(class: TokenClass) -> v1::TokenClass {
    match class {
        TokenClass::Enumerable => v1::TokenClass::Enumerable,
        TokenClass::Open => v1::TokenClass::Open,
    }
}

/// What the roster says to custodians.
#[must_use]
pub fn rules_of(roster: &Roster) -> Rules {
    Rules {
        keys: roster
            .token_keys
            .iter()
            .filter(|key| key.state != TokenKeyState::Retired)
            .map(|key| ServedKey {
                key_id: key.id,
                class: wire_class(key.class),
                epoch: key.epoch,
            })
            .collect(),
        enumerable_points_per_day: roster.policy.enumerable_points_per_day,
        open_points_per_day: roster.policy.open_points_per_day,
        custodian_points_per_day: roster.policy.custodian_points_per_day,
        grants: roster
            .policy
            .grants
            .iter()
            .map(|grant| PointsGrant {
                id: grant.id(),
                member: grant.member.clone(),
                class: wire_class(grant.class),
                points: grant.points,
                valid_from: grant.valid_from,
                valid_to: grant.valid_to,
            })
            .collect(),
    }
}

fn line_of(seen: SeenRequest) -> AccessLine {
    let mut line = AccessLine::new(
        AccessScope::Evaluate,
        "custodian.evaluate",
        seen.caller.as_str(),
    );
    if let Some(id) = seen.request_id {
        line.query_id = id;
    }
    line.seen = seen.purposes;
    line.count = seen.points;
    line.outcome = seen.outcome.to_owned();
    line
}

impl CustodianService {
    /// Admits an evaluation; a refusal is logged under the request's own id.
    fn admit_asker(&self, request: &Request<v1::EvaluateRequest>) -> Result<Admitted, Status> {
        let peer = request.extensions().get::<Peer>();
        self.gate.judge(peer, Method::Evaluate).map_err(|e| {
            let asking = Asking {
                query_id: QueryId::from_slice(&request.get_ref().request_id).ok(),
                ..Asking::default()
            };
            self.gate.deny(&e, peer, Method::Evaluate, asking);
            to_peer(&e)
        })
    }
}

#[tonic::async_trait]
impl custodian_server::Custodian for CustodianService {
    async fn evaluate(
        &self,
        request: Request<v1::EvaluateRequest>,
    ) -> Result<Response<v1::EvaluateResponse>, Status> {
        let admitted = self.admit_asker(&request)?;
        let caller = admitted.permit.identity().member.clone();
        let rules = rules_of(&self.roster.load());
        let (custodian, access) = (Arc::clone(&self.custodian), self.access.clone());
        let request = request.into_inner();
        let done = tokio::task::spawn_blocking(move || {
            let Handled { reply, seen } = custodian.evaluate(&caller, &rules, &request);
            access.write(line_of(seen)).map_err(|e| to_peer(&e))?;
            reply.map_err(|e| to_peer(&e))
        })
        .await;
        let reply = done.unwrap_or_else(|_| Err(to_peer(&LedgerError::Stopped)))?;
        Ok(Response::new(reply))
    }

    async fn get_budget(
        &self,
        request: Request<v1::GetBudgetRequest>,
    ) -> Result<Response<v1::GetBudgetResponse>, Status> {
        let admitted = self
            .gate
            .admit(&request, Method::GetBudget)
            .map_err(|e| to_peer(&e))?;
        let rules = rules_of(&self.roster.load());
        let answer = self
            .custodian
            .budget(&admitted.permit.identity().member, &rules);
        Ok(Response::new(answer.map_err(|e| to_peer(&e))?))
    }

    async fn keygen_round1(
        &self,
        request: Request<v1::KeygenRound1Request>,
    ) -> Result<Response<v1::KeygenRound1Response>, Status> {
        let admitted = self
            .gate
            .admit(&request, Method::KeygenRound1)
            .map_err(|e| to_peer(&e))?;
        let from = &admitted.permit.identity().member;
        let message = request.get_ref();
        let plan = message.plan.clone().unwrap_or_default();
        self.custodian
            .keygen_round1(from, &plan, &message.package)
            .map_err(|e| to_peer(&e))?;
        Ok(Response::new(v1::KeygenRound1Response {}))
    }

    async fn keygen_echo(
        &self,
        request: Request<v1::KeygenEchoRequest>,
    ) -> Result<Response<v1::KeygenEchoResponse>, Status> {
        let admitted = self
            .gate
            .admit(&request, Method::KeygenEcho)
            .map_err(|e| to_peer(&e))?;
        let from = &admitted.permit.identity().member;
        let message = request.get_ref();
        self.custodian
            .keygen_echo(from, &message.ceremony, &message.round1_sha256)
            .map_err(|e| to_peer(&e))?;
        Ok(Response::new(v1::KeygenEchoResponse {}))
    }

    async fn keygen_round2(
        &self,
        request: Request<v1::KeygenRound2Request>,
    ) -> Result<Response<v1::KeygenRound2Response>, Status> {
        let admitted = self
            .gate
            .admit(&request, Method::KeygenRound2)
            .map_err(|e| to_peer(&e))?;
        let from = &admitted.permit.identity().member;
        let message = request.get_ref();
        self.custodian
            .keygen_round2(from, &message.ceremony, &message.package)
            .map_err(|e| to_peer(&e))?;
        Ok(Response::new(v1::KeygenRound2Response {}))
    }
}
