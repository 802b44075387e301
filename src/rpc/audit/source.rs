//! A node's audit port as the source of a bundle. Blocks: it is used on a
//! thread of its own while a runtime drives the connection, until it is told to
//! stop.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tonic::{Response, Status, Streaming};

use super::client::{AuditClient, Dial};
use crate::audit::export::ExportError;
use crate::audit::layout::{TileIndex, TilePath, TlogProof, split_entries};
use crate::audit::local::size_of;
use crate::audit::source::{Each, LogState, Receipt, Run, Source, SourceError};
use crate::blame::{Blame, Blamed};
use crate::ids::{Digest, LogIndex, MemberId, Origin, TreeSize};
use crate::ledger::AuditedBody;
use crate::merkle::TILE_WIDTH;
use crate::rpc::desk_client::DeskCallError;
use crate::wire::v1::{self, BodyAnswer};

/// The audit ports of a federation, one of which is exported from.
#[derive(Debug)]
pub struct RemoteSource {
    driver: Driver,
    dial: Dial,
    client: AuditClient,
    /// Whether the caller is an officer of the member that is exported: other
    /// members' nodes do not let him in, so receipts come from the replicas of
    /// his own.
    own: bool,
    others: HashMap<MemberId, AuditClient>,
}

/// Waits for what a runtime does.
#[derive(Clone, Debug)]
struct Driver {
    runtime: Handle,
    /// Says whether to give up; nobody does without a sender.
    stop: watch::Receiver<bool>,
}

impl Driver {
    /// Waits for an answer, or for the word to give up.
    fn wait<T>(&self, answer: impl Future<Output = T>) -> Result<T, ExportError> {
        let mut stop = self.stop.clone();
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                Ok(_) = stop.wait_for(|stop| *stop) => Err(ExportError::Stopped),
                answer = answer => Ok(answer),
            }
        })
    }
}

/// What a failed call is to an export.
#[must_use]
pub fn source_error(error: &DeskCallError) -> SourceError {
    SourceError {
        code: error.shown_code().to_owned(),
        blame: error.blame(),
        sentence: error.to_string(),
    }
}

impl RemoteSource {
    /// Exports from the node behind `client`, which is that of `member`, until
    /// `stop` says true.
    #[must_use]
    pub fn new(
        runtime: Handle,
        dial: Dial,
        client: AuditClient,
        member: &MemberId,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let own = dial.material.identity().member == *member;
        Self {
            driver: Driver { runtime, stop },
            dial,
            client,
            own,
            others: HashMap::new(),
        }
    }

    fn call<T>(
        &self,
        calling: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, ExportError> {
        call(&self.driver, &self.client, calling)
    }

    fn each_tile(
        &self,
        mut tiles: Streaming<v1::Tile>,
        level: Option<u8>,
        each: Each<'_, (TilePath, Bytes)>,
    ) -> Result<(), ExportError> {
        while let Some(tile) = next(&self.driver, &self.client, &mut tiles)? {
            let width = u16::try_from(tile.width).unwrap_or(0);
            if width == 0 || u64::from(width) > TILE_WIDTH {
                return Err(ExportError::Malformed {
                    what: "a tile without a width",
                });
            }
            let path = TilePath {
                level,
                index: TileIndex(tile.index),
                width,
            };
            each((path, tile.data))?;
        }
        Ok(())
    }

    /// Whom to ask for entries of `member`'s log.
    fn of_member(&mut self, member: &MemberId) -> Result<AuditClient, SourceError> {
        if self.own {
            return Ok(self.client.clone());
        }
        if let Some(client) = self.others.get(member) {
            return Ok(client.clone());
        }
        let roster = self.dial.roster.load();
        let endpoint = roster.member(member).map(|m| m.audit_endpoint.clone());
        let endpoint = endpoint.filter(|e| !e.is_empty());
        let endpoint = endpoint.ok_or_else(|| SourceError {
            code: "audit.no_endpoint".into(),
            blame: Blame::NotFound,
            sentence: format!("the roster names no audit port of {member}"),
        })?;
        let _entered = self.driver.runtime.enter();
        let client = AuditClient::new(&self.dial, member.clone(), &endpoint);
        let client = client.map_err(|e| source_error(&e))?;
        self.others.insert(member.clone(), client.clone());
        Ok(client)
    }
}

fn call<T>(
    driver: &Driver,
    client: &AuditClient,
    calling: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, ExportError> {
    let answer = driver.wait(calling)?;
    let answer = answer.map_err(|status| source_error(&client.failed(&status)))?;
    Ok(answer.into_inner())
}

fn next<T>(
    driver: &Driver,
    client: &AuditClient,
    stream: &mut Streaming<T>,
) -> Result<Option<T>, ExportError> {
    let message = driver.wait(stream.message())?;
    Ok(message.map_err(|status| source_error(&client.failed(&status)))?)
}

/// Hands over what one chunk says, which must begin at `at`; returns where the
/// next one begins.
fn each_body(
    chunk: v1::BodyChunk,
    at: u64,
    each: Each<'_, AuditedBody>,
) -> Result<u64, ExportError> {
    let malformed = || ExportError::Malformed {
        what: "an answer about bodies that does not fit",
    };
    if chunk.start != at {
        return Err(malformed());
    }
    let mut bodies = chunk.bodies.into_iter();
    let mut count = 0;
    for answer in &chunk.answers {
        let answer = BodyAnswer::try_from(i32::from(*answer)).map_err(|_| malformed())?;
        let bytes = match answer {
            BodyAnswer::Held => bodies.next().ok_or_else(malformed)?,
            _ => Bytes::new(),
        };
        each(AuditedBody { answer, bytes })?;
        count += 1;
    }
    if bodies.next().is_some() {
        return Err(malformed());
    }
    Ok(at.saturating_add(count))
}

fn hashes(proof: v1::Proof) -> Result<Vec<Digest>, ExportError> {
    let read = proof.hashes.iter().map(|hash| Digest::from_slice(hash));
    read.collect::<Result<_, _>>()
        .map_err(|_| ExportError::Malformed {
            what: "a proof with a hash that is none",
        })
}

impl Source for RemoteSource {
    fn rosters(&mut self) -> Result<Vec<v1::SignedRoster>, ExportError> {
        let mut out = vec![];
        loop {
            let after = out.len() as u64;
            let mut calls = self.client.calls();
            let answer = self.call(calls.get_rosters(v1::GetRosterRequest { after }))?;
            if answer.rosters.is_empty() {
                return Ok(out);
            }
            out.extend(answer.rosters);
        }
    }

    fn roster_checkpoint(&mut self) -> Result<Option<Bytes>, ExportError> {
        let mut calls = self.client.calls();
        // No version comes after this one: the answer holds the note alone.
        let after = v1::GetRosterRequest { after: u64::MAX };
        let note = self.call(calls.get_rosters(after))?.checkpoint;
        Ok(Some(note).filter(|note| !note.is_empty()))
    }

    fn logs(&mut self) -> Result<Vec<LogState>, ExportError> {
        let mut calls = self.client.calls();
        let answer = self.call(calls.list_logs(v1::ListLogsRequest {}))?;
        let states = answer.logs.into_iter().map(|log| {
            let origin: Origin = log.origin.parse().map_err(|_| ExportError::Malformed {
                what: "a log with a name that is none",
            })?;
            let size = TreeSize(log.size);
            if size_of(&log.checkpoint).unwrap_or(TreeSize(0)) != size {
                return Err(ExportError::Malformed {
                    what: "a log of another size than its checkpoint",
                });
            }
            Ok(LogState {
                origin,
                checkpoint: log.checkpoint,
                size,
            })
        });
        states.collect()
    }

    fn checkpoints(&mut self, log: &Origin, each: Each<'_, Bytes>) -> Result<(), ExportError> {
        let request = v1::GetCheckpointsRequest {
            origin: log.to_string(),
            from_size: 0,
        };
        let mut calls = self.client.calls();
        let mut notes = self.call(calls.get_checkpoints(request))?;
        while let Some(kept) = next(&self.driver, &self.client, &mut notes)? {
            if kept.witnessed {
                each(kept.note)?;
            }
        }
        Ok(())
    }

    fn tiles(
        &mut self,
        log: &Origin,
        level: u8,
        run: Run,
        each: Each<'_, (TilePath, Bytes)>,
    ) -> Result<(), ExportError> {
        let request = v1::GetTilesRequest {
            origin: log.to_string(),
            level: u32::from(level),
            first: run.first,
            count: run.count,
            size: run.size.0,
        };
        let mut calls = self.client.calls();
        let tiles = self.call(calls.get_tiles(request))?;
        self.each_tile(tiles, Some(level), each)
    }

    fn entries(
        &mut self,
        log: &Origin,
        run: Run,
        each: Each<'_, (TilePath, Bytes)>,
    ) -> Result<(), ExportError> {
        let request = v1::GetEntryBundlesRequest {
            origin: log.to_string(),
            first: run.first,
            count: run.count,
            size: run.size.0,
        };
        let mut calls = self.client.calls();
        let tiles = self.call(calls.get_entry_bundles(request))?;
        self.each_tile(tiles, None, each)
    }

    fn bodies(
        &mut self,
        log: &Origin,
        run: Run,
        each: Each<'_, AuditedBody>,
    ) -> Result<(), ExportError> {
        let end = run.first.saturating_add(run.count);
        let mut calls = self.client.calls();
        let mut chunks = self.call(calls.get_bodies(bodies_request(log, run.first, end)))?;
        let mut at = run.first;
        while let Some(chunk) = next(&self.driver, &self.client, &mut chunks)? {
            at = each_body(chunk, at, each)?;
        }
        Ok(())
    }

    fn erasures(&mut self, log: &Origin) -> Result<Vec<v1::Erasure>, ExportError> {
        let origin = log.to_string();
        let mut calls = self.client.calls();
        let mut erasures = self.call(calls.get_erasures(v1::GetErasuresRequest { origin }))?;
        let mut out = vec![];
        while let Some(erasure) = next(&self.driver, &self.client, &mut erasures)? {
            out.push(erasure);
        }
        Ok(out)
    }

    fn receipt(&mut self, log: &Origin, index: LogIndex) -> Result<Receipt, SourceError> {
        let client = self.of_member(&log.member)?;
        fetch_receipt(&self.driver, &client, log, index).map_err(|error| match error {
            ExportError::Source(error) => error,
            other => SourceError::of(&other),
        })
    }

    fn evidence(&mut self) -> Result<Vec<v1::EvidencePair>, ExportError> {
        let mut calls = self.client.calls();
        let mut pairs = self.call(calls.get_evidence(v1::GetEvidenceRequest {}))?;
        let mut out = vec![];
        while let Some(pair) = next(&self.driver, &self.client, &mut pairs)? {
            out.push(pair);
        }
        Ok(out)
    }
}

fn bodies_request(log: &Origin, start: u64, end: u64) -> v1::GetBodiesRequest {
    v1::GetBodiesRequest {
        origin: log.to_string(),
        ranges: vec![v1::IndexRange { start, end }],
    }
}

/// One entry with its body and the proof that it stands in its log.
fn fetch_receipt(
    driver: &Driver,
    client: &AuditClient,
    log: &Origin,
    index: LogIndex,
) -> Result<Receipt, ExportError> {
    let malformed = |what| ExportError::Malformed { what };
    let origin = log.to_string();
    let mut calls = client.calls();
    let newest = v1::GetCheckpointsRequest {
        origin: origin.clone(),
        from_size: u64::MAX,
    };
    let mut notes = call(driver, client, calls.get_checkpoints(newest))?;
    let note = next(driver, client, &mut notes)?.map(|kept| kept.note);
    let checkpoint = note.ok_or_else(|| malformed("no checkpoint of a receipt's log"))?;
    let size = size_of(&checkpoint).ok_or_else(|| malformed("a checkpoint that is none"))?;

    let bundle = v1::GetEntryBundlesRequest {
        origin: origin.clone(),
        first: index.0 / TILE_WIDTH,
        count: 1,
        size: size.0,
    };
    let mut bundles = call(driver, client, calls.get_entry_bundles(bundle))?;
    let bundle = next(driver, client, &mut bundles)?.map(|tile| tile.data);
    let place = usize::try_from(index.0 % TILE_WIDTH).unwrap_or(usize::MAX);
    let entry = bundle.and_then(|bundle| split_entries(bundle).nth(place));
    let entry = entry.ok_or_else(|| malformed("no entry of a receipt"))??;

    let wanted = bodies_request(log, index.0, index.0.saturating_add(1));
    let mut chunks = call(driver, client, calls.get_bodies(wanted))?;
    let mut body = None;
    if let Some(chunk) = next(driver, client, &mut chunks)? {
        each_body(chunk, index.0, &mut |found| {
            body = (found.answer == BodyAnswer::Held).then_some(found.bytes);
            Ok(())
        })?;
    }
    let body = body.ok_or_else(|| malformed("no body of a receipt"))?;

    let index_of = v1::InclusionProofRequest {
        origin,
        index: index.0,
        size: size.0,
    };
    let proof = call(driver, client, calls.get_inclusion_proof(index_of))?;
    Ok(Receipt {
        entry,
        body,
        proof: TlogProof {
            index,
            hashes: hashes(proof)?,
            checkpoint,
        },
    })
}

/// The roster's own words for where a member's audit port is.
#[must_use]
pub fn audit_endpoint(dial: &Dial, member: &MemberId) -> Option<String> {
    let roster = Arc::clone(&dial.roster.load());
    let endpoint = roster.member(member)?.audit_endpoint.clone();
    (!endpoint.is_empty()).then_some(endpoint)
}
