//! Batches on their way: inputs, blinds and points, sealed in the store from
//! before the first question until the answers are combined.

use zeroize::{Zeroize, Zeroizing};

use crate::clock::UnixSeconds;
use crate::ids::{KeyId, random};
use crate::oprf::{Blinding, OprfError, Points, blind_batch, padding};
use crate::seal::{SealError, SealKey};

/// The sizes to which batches are padded, so that a custodian learns little
/// about how many values a member asks for.
const SIZES: [usize; 3] = [4096, 1024, 64];

/// A rest above this many inputs is padded to the next size; below, several
/// small batches cost less budget.
const SMALL_REST_MAX: usize = 512;

/// Seconds after which a batch that nobody asks for any more is dropped: the
/// custodians would charge for it again.
const OLD_S: i64 = 86_400;

const CONTEXT: &[u8] = b"casegate/pending-batch/v1";

/// One batch. Its inputs are wiped from memory on drop.
pub(super) struct Pending {
    at: Vec<u8>,
    epoch: u32,
    made_at: UnixSeconds,
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
        let at =
            [&key_id.as_bytes()[..], &epoch.to_be_bytes(), &now.to_be_bytes(), &random::<8>()]
                .concat();
        batches.push(Pending {
            at,
            epoch,
            made_at: now,
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

    pub(super) fn is_old(&self, now: UnixSeconds) -> bool {
        now.saturating_sub(self.made_at) >= OLD_S
    }

    /// count ‖ (length ‖ input ‖ blind)* ‖ points, sealed and bound to its key.
    pub(super) fn sealed(&self, seal: &SealKey) -> Vec<u8> {
        let mut plain = Zeroizing::new(length(self.inputs.len()).to_vec());
        for (input, blinding) in self.inputs.iter().zip(&self.blindings) {
            plain.extend_from_slice(&length(input.len()));
            plain.extend_from_slice(input);
            plain.extend_from_slice(&*blinding.to_bytes());
        }
        plain.extend_from_slice(self.points.bytes());
        seal.seal(&context(&self.at), &plain)
    }

    pub(super) fn open(seal: &SealKey, at: &[u8], sealed: &[u8]) -> Result<Self, SealError> {
        let plain = seal.open(&context(at), sealed)?;
        parse(at, &plain).ok_or(SealError)
    }
}

fn context(at: &[u8]) -> Vec<u8> {
    [CONTEXT, at].concat()
}

fn length(of: usize) -> [u8; 4] {
    u32::try_from(of).expect("batches and inputs are bounded").to_be_bytes()
}

fn parse(at: &[u8], plain: &[u8]) -> Option<Pending> {
    let (_, rest) = at.split_first_chunk::<4>()?;
    let (epoch, rest) = rest.split_first_chunk::<4>()?;
    let (made_at, _) = rest.split_first_chunk::<8>()?;
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
        made_at: i64::from_be_bytes(*made_at),
        inputs,
        blindings,
        points,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(count: usize) -> Vec<Vec<u8>> {
        (0..count).map(|i| format!("phone\0{i}").into_bytes()).collect()
    }

    fn sizes(count: usize) -> Vec<usize> {
        let made = make(KeyId([1; 4]), 1, 0, inputs(count)).unwrap();
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
        let seal = SealKey::new([5; 32]);
        let batch = &make(KeyId([1; 4]), 7, 9, inputs(3)).unwrap()[0];
        let sealed = batch.sealed(&seal);
        let again = Pending::open(&seal, batch.at(), &sealed).ok().unwrap();
        assert_eq!(again.points().bytes(), batch.points().bytes());
        assert_eq!(again.inputs(), batch.inputs());
        assert_eq!((again.epoch(), again.made_at), (7, 9));
        let blinds = |b: &Pending| -> Vec<_> { b.blindings.iter().map(|b| *b.to_bytes()).collect() };
        assert_eq!(blinds(&again), blinds(batch));
        assert!(Pending::open(&SealKey::new([6; 32]), batch.at(), &sealed).is_err());
        assert!(Pending::open(&seal, &[0; 24], &sealed).is_err());
    }

    #[test]
    fn truncated_batches_are_refused() {
        let batch = &make(KeyId([1; 4]), 1, 0, inputs(2)).unwrap()[0];
        let seal = SealKey::new([5; 32]);
        let plain = seal.open(&context(batch.at()), &batch.sealed(&seal)).unwrap();
        for cut in [0, 3, 4, 10, 60, plain.len() - 1] {
            assert!(parse(batch.at(), &plain[..cut]).is_none(), "{cut}");
        }
    }
}
