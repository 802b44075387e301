//! SplitMix64 (Steele, Lea and Flood, 2014): small, the same on every machine,
//! and for synthetic data only. Never for keys.

/// A generator that a seed determines.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    pub(super) fn below(&mut self, end: usize) -> usize {
        let wide = u128::from(self.word()) * (end as u128);
        usize::try_from(wide >> 64).expect("the product's upper half is below end")
    }

    pub(super) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    pub(super) fn digits(&mut self, len: usize) -> String {
        (0..len)
            .map(|_| *self.pick(&['0', '1', '2', '3', '4', '5', '6', '7', '8', '9']))
            .collect()
    }

    pub(super) fn letters(&mut self, len: usize) -> String {
        const LETTERS: &[u8; 24] = b"abcdefghjkmnpqrstuvwxyz2";
        (0..len).map(|_| char::from(*self.pick(LETTERS))).collect()
    }

    pub(super) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        for chunk in out.chunks_mut(8) {
            chunk.copy_from_slice(&self.word().to_le_bytes()[..chunk.len()]);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_words_of_seed_zero_are_the_published_ones() {
        let mut random = Random::new(0);
        assert_eq!(random.word(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(random.word(), 0x6e78_9e6a_a1b9_65f4);
    }
}
