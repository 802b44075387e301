//! Randomness for the FROST library, which speaks an older `rand_core`.

/// The operating system's generator, in the terms of the FROST library.
pub(super) struct OsGenerator;

impl frost_ristretto255::rand_core::CryptoRng for OsGenerator {}

impl frost_ristretto255::rand_core::RngCore for OsGenerator {
    fn next_u32(&mut self) -> u32 {
        u32::from_le_bytes(crate::ids::random())
    }

    fn next_u64(&mut self) -> u64 {
        u64::from_le_bytes(crate::ids::random())
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        getrandom::fill(dest).expect("the operating system's random generator answers");
    }

    fn try_fill_bytes(
        &mut self,
        dest: &mut [u8],
    ) -> Result<(), frost_ristretto255::rand_core::Error> {
        self.fill_bytes(dest);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use frost_ristretto255::rand_core::RngCore;

    #[test]
    fn every_way_to_ask_for_bytes_fills_them() {
        let (mut one, mut two) = ([0; 32], [0; 32]);
        OsGenerator.fill_bytes(&mut one);
        OsGenerator.try_fill_bytes(&mut two).expect("bytes");
        assert!(one != [0; 32] && two != [0; 32] && one != two);
        assert_ne!(OsGenerator.next_u64(), OsGenerator.next_u64());
    }
}
