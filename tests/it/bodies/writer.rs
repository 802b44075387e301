//! A member from the future: it signs what no node of today writes.

use bytes::Bytes;
use casegate::checkpoint::Checkpoint;
use casegate::ids::{Digest, LogIndex, LogName, Origin, random};
use casegate::ledger::LogKeys;
use casegate::merkle::{Frontier, leaf_hash};
use casegate::record::{Audience, Body, PAYLOAD_TYPE, pae};
use casegate::wire::v1::{self, BodyAnswer, BodyChunk, Chunk, LogKind};
use prost::Message;

use crate::cluster::NOW;
use crate::tamper::element;

/// One log that is written by hand, with every body.
pub(crate) struct Future {
    origin: Origin,
    keys: LogKeys,
    /// The tree at the first own entry, and where that stands.
    start: u64,
    before: Frontier,
    entries: Vec<Bytes>,
    bodies: Vec<Bytes>,
}

impl Future {
    pub(crate) fn new(origin: Origin, keys: LogKeys) -> Self {
        Self::after(origin, keys, Frontier::new())
    }

    /// Goes on with a log from its tree as it stands.
    pub(crate) fn after(origin: Origin, keys: LogKeys, before: Frontier) -> Self {
        Self {
            origin,
            keys,
            start: before.size().0,
            before,
            entries: vec![],
            bodies: vec![],
        }
    }

    /// Appends an entry with a body of any type; returns where it stands.
    pub(crate) fn put(&mut self, body_type: i32, body: Vec<u8>, expires_at: i64) -> LogIndex {
        self.sign((1, body_type), body, expires_at, &[])
    }

    /// The same under a statement of another version, with a field of its own.
    pub(crate) fn put_statement_of(&mut self, version: u32, body_type: i32, body: Vec<u8>) {
        self.sign((version, body_type), body, 0, &[0x58, 1]);
    }

    fn sign(
        &mut self,
        (version, body_type): (u32, i32),
        body: Vec<u8>,
        expires_at: i64,
        more: &[u8],
    ) -> LogIndex {
        let body = Bytes::from(body);
        let key = &self.keys.records;
        let key_id = Bytes::copy_from_slice(key.id().as_bytes());
        let log = match self.origin.log {
            LogName::Records => LogKind::Records,
            LogName::Access => LogKind::Access,
        };
        let mut statement = v1::Statement {
            version,
            federation: self.origin.federation.to_string(),
            log: log.into(),
            generation: self.origin.generation,
            author: self.origin.member.to_string(),
            body_type,
            body_sha256: Bytes::copy_from_slice(Digest::of(&body).as_bytes()),
            issued_at: NOW,
            expires_at,
            key_id: key_id.clone(),
        }
        .encode_to_vec();
        statement.extend_from_slice(more);
        let signature = key.sign(&pae(PAYLOAD_TYPE, &statement));
        let entry = v1::Entry {
            statement: statement.into(),
            signature: Some(v1::Signature {
                key_id,
                signature: Bytes::copy_from_slice(&signature),
            }),
        };
        self.entries.push(entry.encode_to_vec().into());
        self.bodies.push(body);
        LogIndex(self.size() - 1)
    }

    pub(crate) fn size(&self) -> u64 {
        self.start + self.entries.len() as u64
    }

    /// The signed checkpoint of the whole log.
    pub(crate) fn checkpoint(&self) -> Bytes {
        let mut frontier = self.before.clone();
        for entry in &self.entries {
            frontier.append(leaf_hash(entry));
        }
        let checkpoint = Checkpoint {
            origin: self.origin.clone(),
            size: frontier.size(),
            root: frontier.root(),
        };
        checkpoint.sign(&self.keys.checkpoint).into_bytes().into()
    }

    fn place(&self, index: u64) -> usize {
        usize::try_from(index - self.start).expect("small")
    }

    /// All entries from `start` on.
    pub(crate) fn chunk(&self, start: u64) -> Chunk {
        Chunk {
            start,
            entries: self.entries[self.place(start)..].to_vec(),
            checkpoint: self.checkpoint(),
            consistency: vec![],
        }
    }

    /// The bodies of [start, end).
    pub(crate) fn answer(&self, start: u64, end: u64) -> BodyChunk {
        let end = end.min(self.size());
        let held = i32::from(BodyAnswer::Held).to_le_bytes()[0];
        let bodies = self.bodies[self.place(start)..self.place(end)].to_vec();
        BodyChunk {
            start,
            answers: vec![held; bodies.len()].into(),
            bodies,
            withheld: None,
        }
    }
}

/// An element of `owner`, as it is written today, but for `change`.
pub(crate) fn element_bytes(
    owner: &str,
    n: u32,
    change: impl FnOnce(&mut v1::ElementBody),
) -> Vec<u8> {
    let Body::Element(body) = element(owner, n, Audience::Federation).body else {
        panic!("an element")
    };
    let bytes = Body::Element(body).encode();
    let mut wire = v1::ElementBody::decode(bytes).expect("protobuf");
    wire.nonce = random::<16>().to_vec().into();
    change(&mut wire);
    wire.encode_to_vec()
}

/// A body with a field that nobody has today: number 100, the text "new".
pub(crate) fn with_more(body: &[u8]) -> Vec<u8> {
    [body, &[0xa2, 0x06, 3], b"new"].concat()
}
