//! The newest own checkpoint that rides on every answer to another member: the
//! server puts it into the answer's metadata, the client takes it from there
//! and hands it to a bounded sink. What comes faster than it is looked at is
//! dropped, so that no answer waits for it.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::sync::mpsc;
use tower::Service;

use crate::checkpoint::NOTE_BYTES_MAX;
use crate::ids::{LogName, MemberId};
use crate::ledger::Ledger;
use crate::replicate::Shown;

/// The metadata key under which the checkpoint travels.
pub const CHECKPOINT_HEADER: &str = "casegate-checkpoint-bin";

/// Binary metadata is base64, with or without padding (gRPC over HTTP/2).
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Puts the newest checkpoint of the own records log on an answer.
pub fn stamp<B>(ledger: &Ledger, mut answer: Response<B>) -> Response<B> {
    let note = ledger.own_log(LogName::Records).head().checkpoint;
    if let Ok(value) = HeaderValue::try_from(BASE64.encode(note)) {
        answer.headers_mut().insert(CHECKPOINT_HEADER, value);
    }
    answer
}

/// Where the checkpoints of answers go.
#[derive(Debug)]
pub struct ShownSink {
    sender: mpsc::Sender<Shown>,
    last: Mutex<HashMap<MemberId, HeaderValue>>,
}

impl ShownSink {
    /// A sink that hands on what is new.
    #[must_use]
    pub fn new(sender: mpsc::Sender<Shown>) -> Self {
        Self {
            sender,
            last: Mutex::default(),
        }
    }

    fn take(&self, from: &MemberId, headers: &HeaderMap) {
        let Some(value) = headers.get(CHECKPOINT_HEADER) else {
            return;
        };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.get(from) == Some(value) || value.len() > NOTE_BYTES_MAX * 2 {
            return;
        }
        let Ok(note) = BASE64.decode(value.as_bytes()) else {
            return;
        };
        let shown = Shown {
            from: from.clone(),
            note: note.into(),
        };
        if self.sender.try_send(shown).is_ok() {
            last.insert(from.clone(), value.clone());
        }
    }
}

/// A connection to a member's node that takes the checkpoint from each answer.
#[derive(Clone, Debug)]
pub struct Noting<S> {
    inner: S,
    member: MemberId,
    sink: Option<Arc<ShownSink>>,
}

impl<S> Noting<S> {
    pub(super) fn new(inner: S, member: MemberId, sink: Option<Arc<ShownSink>>) -> Self {
        Self {
            inner,
            member,
            sink,
        }
    }
}

impl<S, Q, A> Service<Request<Q>> for Noting<S>
where
    S: Service<Request<Q>, Response = Response<A>>,
    S::Future: Send + 'static,
{
    type Response = Response<A>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<A>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let answer = self.inner.call(request);
        let (member, sink) = (self.member.clone(), self.sink.clone());
        Box::pin(async move {
            let answer = answer.await?;
            if let Some(sink) = sink {
                sink.take(&member, answer.headers());
            }
            Ok(answer)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(note: &[u8]) -> HeaderMap {
        let value = HeaderValue::try_from(BASE64.encode(note)).expect("ASCII");
        HeaderMap::from_iter([(CHECKPOINT_HEADER.try_into().expect("a name"), value)])
    }

    #[test]
    fn what_is_new_is_handed_on_and_a_full_sink_delays_nobody() {
        let (sender, mut shown) = mpsc::channel(1);
        let sink = ShownSink::new(sender);
        let wuhu = MemberId::new("wuhu").expect("a name");
        for note in [&b"one"[..], b"one", b"two"] {
            sink.take(&wuhu, &headers(note));
        }
        let first = shown.try_recv().expect("the first one");
        assert_eq!((&first.note[..], &first.from), (&b"one"[..], &wuhu));
        assert!(
            shown.try_recv().is_err(),
            "the same is told once, the rest is dropped"
        );
        sink.take(&wuhu, &headers(b"two"));
        assert_eq!(
            &shown.try_recv().expect("told the next time").note[..],
            b"two"
        );
        sink.take(&wuhu, &HeaderMap::new());
        let mut broken = HeaderMap::new();
        broken.insert(CHECKPOINT_HEADER, HeaderValue::from_static("!!"));
        sink.take(&wuhu, &broken);
        assert!(shown.try_recv().is_err());
    }
}
