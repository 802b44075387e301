//! Offering checkpoints to witnesses.

use std::sync::Arc;
use std::time::Duration;

use super::{CALL_S, PeerClients, peer_error};
use crate::ids::MemberId;
use crate::replicate::PeerError;
use crate::wire::v1;
use crate::witnessing::WitnessTransport;

impl WitnessTransport for Arc<PeerClients> {
    async fn add_checkpoint(
        &self,
        witness: &MemberId,
        request: v1::AddCheckpointRequest,
    ) -> Result<v1::AddCheckpointResponse, PeerError> {
        let mut request = tonic::Request::new(request);
        request.set_timeout(Duration::from_secs(CALL_S));
        let answer = self.exchange(witness)?.add_checkpoint(request).await;
        Ok(answer.map_err(|s| peer_error(witness, &s))?.into_inner())
    }
}
