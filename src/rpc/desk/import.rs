//! A file of cases that arrives in parts and is taken into the queue while it
//! comes. A part that says how many bytes the file has ends it; one that stops
//! before, or is silent for too long, is cut, and its last row is not taken.

use std::future::Future;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tonic::{Request, Status, Streaming};

use super::call::Call;
use super::error::DeskError;
use super::{DeskService, blocking};
use crate::import::{ImportNews, ImportRun};
use crate::intake::Format;
use crate::publish::PublishState;
use crate::rpc::status::to_officer;
use crate::wire::v1::{
    AccessScope, ImportEvent, ImportOptions, ImportPart, ImportReport, import_event::Event,
};

/// Events that may wait for a slow officer.
const EVENTS_AHEAD: usize = 64;
/// Parts that may wait for the importer.
const PARTS_AHEAD: usize = 8;
/// How often a waiting officer is told how far publishing is.
const PROGRESS: Duration = Duration::from_millis(500);

type Events = mpsc::Receiver<Result<ImportEvent, Status>>;
type EventSender = mpsc::Sender<Result<ImportEvent, Status>>;

/// What the feeding task hands to the reader.
enum Piece {
    Bytes(Bytes),
    End,
}

/// Why a file is not whole.
#[derive(Debug, thiserror::Error)]
enum Cut {
    #[error("the file broke off before its end: {0}")]
    Stream(String),
    #[error("the file broke off before its end: no part said that it was the last")]
    NoEnd,
    #[error("the file broke off before its end: {got} bytes came of {said}")]
    Length { got: u64, said: u64 },
    #[error("the file broke off before its end: nothing came for {0} s")]
    Silent(u64),
}

/// A file that arrives in parts, read by the blocking importer. One that is cut
/// fails the read: its last row may be cut, and must not pass for a whole one.
struct PartReader {
    pieces: mpsc::Receiver<Result<Piece, Cut>>,
    current: Bytes,
    ended: bool,
}

impl Read for PartReader {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let cut = |cut| std::io::Error::new(std::io::ErrorKind::ConnectionAborted, cut);
        while self.current.is_empty() && !self.ended {
            match self.pieces.blocking_recv() {
                Some(Ok(Piece::Bytes(bytes))) => self.current = bytes,
                Some(Ok(Piece::End)) => self.ended = true,
                Some(Err(why)) => return Err(cut(why)),
                None => return Err(cut(Cut::NoEnd)),
            }
        }
        let n = out.len().min(self.current.len());
        self.current.copy_to_slice(&mut out[..n]);
        Ok(n)
    }
}

/// Hands the parts of a file over, until it ends or is cut.
async fn feed(
    mut parts: Streaming<ImportPart>,
    pieces: mpsc::Sender<Result<Piece, Cut>>,
    silence: Duration,
) {
    let mut got = 0_u64;
    loop {
        let piece = match tokio::time::timeout(silence, parts.message()).await {
            Err(_) => Err(Cut::Silent(silence.as_secs())),
            Ok(Err(status)) => Err(Cut::Stream(status.message().to_owned())),
            Ok(Ok(None)) => Err(Cut::NoEnd),
            Ok(Ok(Some(part))) => {
                got = got.saturating_add(part.bytes.len() as u64);
                match part.end {
                    None => Ok(Piece::Bytes(part.bytes)),
                    Some(end) if end.bytes == got && part.bytes.is_empty() => Ok(Piece::End),
                    Some(end) => Err(Cut::Length {
                        got,
                        said: end.bytes,
                    }),
                }
            }
        };
        let last = !matches!(piece, Ok(Piece::Bytes(_)));
        if pieces.send(piece).await.is_err() || last {
            return;
        }
    }
}

fn format_of(options: &ImportOptions) -> Result<Format, DeskError> {
    match options.format.as_str() {
        "csv" => Ok(Format::Csv),
        "jsonl" => Ok(Format::JsonLines),
        _ => Err(DeskError::Format),
    }
}

/// Starts an import; its events come through what is returned.
pub(super) async fn start(
    desk: &DeskService,
    request: Request<Streaming<ImportPart>>,
) -> Result<Events, Status> {
    let (metadata, extensions, mut parts) = request.into_parts();
    let options = first_options(&mut parts, desk.timeout);
    let opened = desk.open_stream((metadata, extensions), options, AccessScope::Local);
    let mut call = opened.await?;
    let run = match begin(&mut call).await {
        Ok(run) => run,
        Err(status) => return call.close(Err(status)).await,
    };
    let (events, receiver) = mpsc::channel(EVENTS_AHEAD);
    tokio::spawn(async move {
        if let Err(status) = take_in(call, run, parts, &events).await {
            // An officer who went away learns it from the next import.
            drop(events.send(Err(status)).await);
        }
    });
    Ok(receiver)
}

fn first_options(
    parts: &mut Streaming<ImportPart>,
    silence: Duration,
) -> impl Future<Output = Option<ImportOptions>> + Send {
    // Less than a call may take, so that a silent caller leaves a line.
    let first = tokio::time::timeout(silence / 2, parts.message());
    async move { first.await.ok()?.ok()??.options }
}

async fn begin(call: &mut Call<ImportOptions>) -> Result<ImportRun, Status> {
    let options = call.request.clone();
    let format = format_of(&options).map_err(|e| to_officer(&e))?;
    let purpose = call.purpose("", options.purpose.as_ref(), 0).await?;
    call.begin().await?;
    Ok(ImportRun {
        format,
        preview: options.preview,
        as_note: options.as_note,
        purpose,
    })
}

/// Takes the file in, writes the line, follows the publishing, reports.
async fn take_in(
    mut call: Call<ImportOptions>,
    run: ImportRun,
    parts: Streaming<ImportPart>,
    events: &EventSender,
) -> Result<(), Status> {
    let (publisher, follow) = (
        Arc::clone(&call.parts().publisher),
        call.request.wait && !run.preview,
    );
    let preview = run.preview;
    let report = read_in(&call, run, parts, events).await;
    if let Ok(report) = &report {
        let taken = report.fresh.saturating_add(report.amendments);
        call.line.count = u32::try_from(taken).unwrap_or(u32::MAX);
    }
    if !preview {
        // What was taken in before a failure is published too.
        publisher.wake();
    }
    let parts = Arc::clone(call.parts());
    let silence = call.timeout();
    let mut report = call.close(report).await?;
    if !preview {
        report.behind = super::view::behind(&parts);
    }
    if follow {
        follow_publishing(&parts, events, silence).await;
    }
    let event = Some(Event::Report(report));
    drop(events.send(Ok(ImportEvent { event })).await);
    Ok(())
}

async fn read_in(
    call: &Call<ImportOptions>,
    run: ImportRun,
    parts: Streaming<ImportPart>,
    events: &EventSender,
) -> Result<ImportReport, Status> {
    let (pieces, reader) = mpsc::channel(PARTS_AHEAD);
    let silence = call.timeout();
    let feeding = tokio::spawn(feed(parts, pieces, silence));
    let (importer, telling) = (call.parts().importer.clone(), events.clone());
    let report = blocking(move || {
        let reader = PartReader {
            pieces: reader,
            current: Bytes::new(),
            ended: false,
        };
        let mut tell = |news| {
            let event = Some(match news {
                ImportNews::Refused(refusal) => Event::Refusal(refusal),
                ImportNews::Rows(rows) => Event::Rows(rows),
            });
            let sending = telling.send_timeout(Ok(ImportEvent { event }), silence);
            Handle::current().block_on(sending).is_ok()
        };
        importer
            .run(reader, &run, &mut tell)
            .map_err(|e| to_officer(&e))
    })
    .await;
    feeding.abort();
    report
}

/// Tells how publishing goes on until the queue is empty or has to wait, or the
/// officer takes no more.
async fn follow_publishing(parts: &crate::node::Parts, events: &EventSender, silence: Duration) {
    let mut state = parts.publisher.state();
    while !parts.ledger.is_queue_empty() {
        if matches!(*state.borrow_and_update(), PublishState::Waiting(_)) {
            return;
        }
        let counts = &parts.publisher.counts;
        let published = counts.records.load(std::sync::atomic::Ordering::Relaxed);
        let event = Some(Event::Published(published));
        let sent = events.send_timeout(Ok(ImportEvent { event }), silence);
        if sent.await.is_err() {
            return;
        }
        let changed = tokio::time::timeout(PROGRESS, state.changed()).await;
        if matches!(changed, Ok(Err(_))) {
            return;
        }
    }
}
