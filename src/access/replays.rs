//! Nonces of officers' requests that this node has taken: none counts twice.
//! In memory for as long as a signing time counts; after a restart they are
//! read back from the newest lines of the access log.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::officer::{NONCE_BYTES, OfficerSignatureError, SKEW_S_MAX, check_time};
use crate::clock::UnixSeconds;
use crate::wire::v1::OfficerRequest;

/// Nonces that are remembered at once; more than a peer's rate limit lets in.
const NONCES_MAX: usize = 1 << 19;

type Nonce = [u8; NONCE_BYTES];

/// The nonces of the last minutes.
#[derive(Debug, Default)]
pub(super) struct Replays(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    nonces: HashMap<Nonce, UnixSeconds>,
    swept_at: UnixSeconds,
}

impl Replays {
    /// Takes a request whose signature holds, if its time is near and its nonce
    /// new.
    pub(super) fn take(
        &self,
        request: &OfficerRequest,
        now: UnixSeconds,
    ) -> Result<(), OfficerSignatureError> {
        check_time(request.signed_at, now)?;
        let nonce = Nonce::try_from(&request.nonce[..]);
        let nonce = nonce.map_err(|_| OfficerSignatureError::Missing)?;
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now.abs_diff(seen.swept_at) > SKEW_S_MAX.unsigned_abs() {
            seen.nonces.retain(|_, at| check_time(*at, now).is_ok());
            seen.swept_at = now;
        }
        if seen.nonces.contains_key(&nonce) {
            return Err(OfficerSignatureError::Replayed);
        }
        if seen.nonces.len() >= NONCES_MAX {
            return Err(OfficerSignatureError::TooMany);
        }
        seen.nonces.insert(nonce, request.signed_at);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(nonce: u8, signed_at: UnixSeconds) -> OfficerRequest {
        OfficerRequest {
            nonce: vec![nonce; NONCE_BYTES].into(),
            signed_at,
            ..Default::default()
        }
    }

    #[test]
    fn a_nonce_counts_once_and_only_while_its_time_is_near() {
        let replays = Replays::default();
        let now = 10_000;
        assert_eq!(replays.take(&request(1, now), now), Ok(()));
        let replayed = Err(OfficerSignatureError::Replayed);
        assert_eq!(replays.take(&request(1, now), now), replayed);
        assert_eq!(replays.take(&request(1, now + 9), now), replayed);
        assert_eq!(replays.take(&request(1, now), now + SKEW_S_MAX), replayed);
        assert_eq!(replays.take(&request(2, now), now), Ok(()));
        let late = replays.take(&request(1, now), now + SKEW_S_MAX + 1);
        assert!(matches!(late, Err(OfficerSignatureError::Untimely { .. })));
    }

    #[test]
    fn what_no_longer_counts_is_forgotten() {
        let replays = Replays::default();
        for nonce in 0..100 {
            replays.take(&request(nonce, 10_000), 10_000).expect("new");
        }
        let later = 10_000 + 2 * SKEW_S_MAX + 2;
        replays.take(&request(200, later), later).expect("new");
        let seen = replays.0.lock().expect("not poisoned");
        assert_eq!(seen.nonces.len(), 1);
    }

    #[test]
    fn none_is_taken_that_could_not_be_remembered() {
        let replays = Replays::default();
        let now = 10_000;
        let mut seen = replays.0.lock().expect("not poisoned");
        let numbers = 0..NONCES_MAX as u128;
        seen.nonces = numbers.map(|n| (n.to_be_bytes(), now)).collect();
        seen.swept_at = now;
        drop(seen);
        let refused = replays.take(&request(7, now), now);
        assert_eq!(refused, Err(OfficerSignatureError::TooMany));
        let replayed = Err(OfficerSignatureError::Replayed);
        assert_eq!(replays.take(&request(0, now), now), replayed);
        let later = now + SKEW_S_MAX + 1;
        let taken = replays.take(&request(7, later), later);
        assert_eq!(taken, Ok(()), "there is room again");
    }
}
