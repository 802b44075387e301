//! Key shares at rest: each sealed under the node's seal key, together with
//! the public side, and bound to its key id and epoch.

use std::collections::HashMap;
use std::sync::Arc;

use prost::Message;
use zeroize::Zeroizing;

use super::CustodianError;
use crate::ids::KeyId;
use crate::keys::Algorithm;
use crate::oprf::{Evaluator, KeySet};
use crate::seal::SealKey;
use crate::store::{Batch, Store, Table};
use crate::wire::v1::TokenKey;

const CONTEXT: &[u8] = b"casegate/share/v1";

/// A share that can be evaluated with.
#[derive(Debug)]
pub(super) struct HeldKey {
    key_id: KeyId,
    epoch: u32,
    evaluator: Evaluator,
}

impl HeldKey {
    pub(super) fn key_id(&self) -> KeyId {
        self.key_id
    }

    pub(super) fn epoch(&self) -> u32 {
        self.epoch
    }

    pub(super) fn evaluator(&self) -> &Evaluator {
        &self.evaluator
    }

    /// Takes a share, checked to belong to the public side of its key.
    pub(super) fn new(index: u16, share: &[u8; 32], key: &TokenKey) -> Option<Self> {
        let public_key: [u8; 32] = key.public_key[..].try_into().ok()?;
        let shares = key
            .shares
            .iter()
            .map(|s| {
                Some((
                    u16::try_from(s.index).ok()?,
                    s.public_share[..].try_into().ok()?,
                ))
            })
            .collect::<Option<Vec<(u16, [u8; 32])>>>()?;
        let threshold = u16::try_from(key.threshold).ok()?;
        KeySet::new(threshold, key.epoch, &public_key, &shares).ok()?;
        let evaluator = Evaluator::new(index, share).ok()?;
        let fits = shares
            .iter()
            .any(|(i, y)| *i == index && y == evaluator.public_share());
        let suite = Algorithm::of_tokens(key.suite).filter(|suite| suite.is_known())?;
        let key_id = suite.id_of(&public_key);
        fits.then_some(Self {
            key_id,
            epoch: key.epoch,
            evaluator,
        })
    }
}

fn store_key(key_id: KeyId, epoch: u32) -> Vec<u8> {
    [&key_id.as_bytes()[..], &epoch.to_be_bytes()].concat()
}

fn context(store_key: &[u8]) -> Vec<u8> {
    [CONTEXT, store_key].concat()
}

/// Writes a share durably, sealed.
pub(super) fn keep(
    store: &Store,
    seal: &SealKey,
    held: &HeldKey,
    share: &[u8; 32],
    key: &TokenKey,
) -> Result<(), CustodianError> {
    let at = store_key(held.key_id, held.epoch);
    let public = key.encode_to_vec();
    let index = held.evaluator.index().to_be_bytes();
    let plain = Zeroizing::new([&index[..], share, &public].concat());
    let mut batch = Batch::new();
    batch.put(Table::Share, &at, seal.seal(&context(&at), &plain));
    Ok(store.commit(batch)?)
}

/// Reads all shares.
pub(super) fn load(
    store: &Store,
    seal: &SealKey,
) -> Result<HashMap<(KeyId, u32), Arc<HeldKey>>, CustodianError> {
    let mut keys = HashMap::new();
    for (at, sealed) in store.scan(Table::Share, b"")? {
        let plain = seal
            .open(&context(&at), &sealed)
            .map_err(|_| CustodianError::Share)?;
        let held = parse(&plain).ok_or(CustodianError::Share)?;
        keys.insert((held.key_id, held.epoch), Arc::new(held));
    }
    Ok(keys)
}

fn parse(plain: &[u8]) -> Option<HeldKey> {
    let (index, rest) = plain.split_first_chunk::<2>()?;
    let (share, public) = rest.split_first_chunk::<32>()?;
    HeldKey::new(
        u16::from_be_bytes(*index),
        share,
        &TokenKey::decode(public).ok()?,
    )
}
