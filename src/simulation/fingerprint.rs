//! A hash that is the same in every run, and cheap: worlds are told apart by nothing else.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// A table whose keys are hashed by [`Mixer`].
pub type Table<K, V> = HashMap<K, V, BuildHasherDefault<Mixer>>;

/// Mixes word after word by the rounds of `MurmurHash3`'s finalizer.
#[derive(Debug, Default, Clone, Copy)]
pub struct Mixer(u64);

/// The hash of one value.
pub fn hash_of(value: impl Hash) -> u64 {
    let mut mixer = Mixer::default();
    value.hash(&mut mixer);
    mixer.finish()
}

impl Mixer {
    const fn mix(&mut self, word: u64) {
        let mut state = self.0.rotate_left(23) ^ word;
        state = state.wrapping_mul(0xff51_afd7_ed55_8ccd);
        state ^= state >> 32;
        self.0 = state.wrapping_mul(0xc4ce_b9fe_1a85_ec53).wrapping_add(1);
    }
}

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }

    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        for byte in rest {
            self.mix(u64::from(*byte));
        }
    }

    fn write_u8(&mut self, word: u8) {
        self.mix(u64::from(word));
    }

    fn write_u16(&mut self, word: u16) {
        self.mix(u64::from(word));
    }

    fn write_u32(&mut self, word: u32) {
        self.mix(u64::from(word));
    }

    fn write_u64(&mut self, word: u64) {
        self.mix(word);
    }

    fn write_usize(&mut self, word: usize) {
        self.mix(word as u64);
    }

    fn write_isize(&mut self, word: isize) {
        self.mix(word as u64);
    }
}
