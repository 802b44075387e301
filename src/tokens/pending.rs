//! Batches on their way: inputs, blinds and points, sealed in the store under
//! erasable keys from before the first question until the answers are combined.

use zeroize::{Zeroize, Zeroizing};

use crate::clock::UnixSeconds;
use crate::ids::{KeyId, random};
use crate::oprf::{Blinding, OprfError, Points, blind_batch, padding};
use crate::shred::{ShredError, ShredKeys, SlotId};

/// The sizes to which batches are padded, so that a custodian learns little
/// about how many values a member asks for.
const SIZES: [usize; 3] = [4096, 1024, 64];

/// A rest above this many inputs is padded to the next size; below, several
/// small batches cost less budget.
const SMALL_REST_MAX: usize = 512;

const CONTEXT: &[u8] = b"casegate/pending-batch/v1";

/// One batch. Its inputs are wiped from memory on drop.
pub(super) struct Pending {
    at: Vec<u8>,
    epoch: u32,
    inputs: Vec<Vec<u8>>,
    blindings: Vec<Blinding>,
    points: Points,
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.inputs.zeroize();
    }
}

/// Splits `inputs` into batches, blinds them and pads them.
pub(super) fn make(
    key_id: KeyId,
    epoch: u32,
    now: UnixSeconds,
    inputs: Vec<Vec<u8>>,
) -> Result<Vec<Pending>, OprfError> {
    let inputs = Zeroizing::new(inputs);
    let mut batches = vec![];
    let mut rest: &[Vec<u8>] = &inputs;
    while !rest.is_empty() {
        let size = batch_size(rest.len());
        let (mine, others) = rest.split_at(size.min(rest.len()));
        rest = others;
        let (blindings, mut points) = blind_batch(mine)?;
        points.extend_from_slice(&padding(size - mine.len()));
        let at = [
            &key_id.as_bytes()[..],
            &epoch.to_be_bytes(),
            &now.to_be_bytes(),
            &random::<8>(),
        ]
        .concat();
        batches.push(Pending {
            at,
            epoch,
            inputs: mine.to_vec(),
            blindings,
            points: Points::decode(&points)?,
        });
    }
    Ok(batches)
}

/// The padded size of the next batch of `count` remaining inputs.
fn batch_size(count: usize) -> usize {
    let [large, middle, small] = SIZES;
    if count >= large {
        large
    } else if count > SMALL_REST_MAX {
        middle
    } else {
        small
    }
}

impl Pending {
    pub(super) fn at(&self) -> &[u8] {
        &self.at
    }

    pub(super) fn epoch(&self) -> u32 {
        self.epoch
    }

    pub(super) fn inputs(&self) -> &[Vec<u8>] {
        &self.inputs
    }

    pub(super) fn blindings(&self) -> &[Blinding] {
        &self.blindings
    }

    pub(super) fn points(&self) -> &Points {
        &self.points
    }

    /// slot ‖ (count ‖ (length ‖ input ‖ blind)* ‖ points, sealed under the key of
    /// that slot and bound to its place). The keys must be synced before it is stored.
    pub(super) fn sealed(&self, shred: &ShredKeys) -> Result<Vec<u8>, ShredError> {
        let mut plain = Zeroizing::new(length(self.inputs.len()).to_vec());
        for (input, blinding) in self.inputs.iter().zip(&self.blindings) {
            plain.extend_from_slice(&length(input.len()));
            plain.extend_from_slice(input);
            plain.extend_from_slice(&*blinding.to_bytes());
        }
        plain.extend_from_slice(self.points.bytes());
        let slots = shred.allocate(1)?;
        let slot = *slots.first().expect("one slot was asked for");
        let mut out = slot.0.to_be_bytes().to_vec();
        out.extend_from_slice(&shred.seal(slot, &context(&self.at), &plain)?);
        Ok(out)
    }

    /// Opens what [`Self::sealed`] made; `None` when its key is gone, or it is
    /// not such a batch.
    pub(super) fn open(shred: &ShredKeys, at: &[u8], value: &[u8]) -> Option<Self> {
        let (_, sealed) = value.split_first_chunk::<8>()?;
        let plain = shred.open_chunk(slot_of(value)?, &context(at), sealed);
        parse(at, &plain.ok()?)
    }
}

/// The erasable key of a stored batch.
pub(super) fn slot_of(value: &[u8]) -> Option<SlotId> {
    SlotId::leading(value)
}

fn context(at: &[u8]) -> Vec<u8> {
    [CONTEXT, at].concat()
}

fn length(of: usize) -> [u8; 4] {
    u32::try_from(of)
        .expect("batches and inputs are bounded")
        .to_be_bytes()
}

fn parse(at: &[u8], plain: &[u8]) -> Option<Pending> {
    let (_key_id, rest) = at.split_first_chunk::<8>()?;
    let (epoch, rest) = rest.split_first_chunk::<4>()?;
    rest.split_first_chunk::<8>()?;
    let (count, mut rest) = plain.split_first_chunk::<4>()?;
    let (mut inputs, mut blindings) = (vec![], vec![]);
    for _ in 0..u32::from_be_bytes(*count) {
        let (length, tail) = rest.split_first_chunk::<4>()?;
        let (input, tail) = tail.split_at_checked(u32::from_be_bytes(*length).try_into().ok()?)?;
        let (blinding, tail) = tail.split_first_chunk::<32>()?;
        inputs.push(input.to_vec());
        blindings.push(Blinding::from_bytes(blinding).ok()?);
        rest = tail;
    }
    let points = Points::decode(rest).ok()?;
    Some(Pending {
        at: at.to_vec(),
        epoch: u32::from_be_bytes(*epoch),
        inputs,
        blindings,
        points,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(count: usize) -> Vec<Vec<u8>> {
        (0..count)
            .map(|i| format!("phone\0{i}").into_bytes())
            .collect()
    }

    fn keys() -> (tempfile::TempDir, ShredKeys) {
        let dir = tempfile::tempdir().unwrap();
        let keys = ShredKeys::open(&dir.path().join("shred.keys"), &[5; 32]).unwrap();
        (dir, keys)
    }

    fn sizes(count: usize) -> Vec<usize> {
        let made = make(KeyId([1; 8]), 1, 0, inputs(count)).unwrap();
        assert_eq!(made.iter().map(|b| b.inputs().len()).sum::<usize>(), count);
        made.iter().map(|batch| batch.points().count()).collect()
    }

    #[test]
    fn batches_are_padded_to_three_sizes_only() {
        assert_eq!(sizes(0), [0usize; 0]);
        assert_eq!(sizes(1), [64]);
        assert_eq!(sizes(65), [64, 64]);
        assert_eq!(sizes(513), [1024]);
        assert_eq!(sizes(1100), [1024, 64, 64]);
        assert_eq!(sizes(4097), [4096, 64]);
    }

    #[test]
    fn a_batch_opens_to_the_same_bytes_only_with_its_key_and_place() {
        let (_dir, seal) = keys();
        let batch = &make(KeyId([1; 8]), 7, 9, inputs(3)).unwrap()[0];
        let sealed = batch.sealed(&seal).unwrap();
        let again = Pending::open(&seal, batch.at(), &sealed).unwrap();
        assert_eq!(again.points().bytes(), batch.points().bytes());
        assert_eq!(again.inputs(), batch.inputs());
        assert_eq!(again.epoch(), 7);
        let blinds =
            |b: &Pending| -> Vec<_> { b.blindings.iter().map(|b| *b.to_bytes()).collect() };
        assert_eq!(blinds(&again), blinds(batch));
        assert!(Pending::open(&seal, &[0; 24], &sealed).is_none());
        seal.destroy(&[slot_of(&sealed).unwrap()]).unwrap();
        assert!(Pending::open(&seal, batch.at(), &sealed).is_none());
    }

    #[test]
    fn truncated_batches_are_refused() {
        let batch = &make(KeyId([1; 8]), 1, 0, inputs(2)).unwrap()[0];
        let (_dir, shred) = keys();
        let sealed = batch.sealed(&shred).unwrap();
        let slot = slot_of(&sealed).unwrap();
        let plain = shred
            .open_chunk(slot, &context(batch.at()), &sealed[8..])
            .unwrap();
        for cut in [0, 3, 4, 10, 60, plain.len() - 1] {
            assert!(parse(batch.at(), &plain[..cut]).is_none(), "{cut}");
        }
    }
}
