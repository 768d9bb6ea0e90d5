//! Fast, fixed hashes: those of images must be the same on every run and machine.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hash, Hasher};

use xxhash_rust::xxh3::xxh3_64;

/// Mixes two numbers into one (the finaliser of `SplitMix64` over a xor-multiply).
pub(crate) fn mix(a: u64, b: u64) -> u64 {
    let mut x = a.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ b.rotate_left(32);
    x ^= x >> 30;
    x = x.wrapping_mul(0xBF58_476D_1CE4_E5B9).wrapping_add(b);
    x ^= x >> 27;
    x = x.wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// Mixes a byte string into one number.
pub(crate) fn mix_bytes(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

/// Mixes whatever is hashed: for what nobody chooses in order to collide.
#[derive(Debug, Default)]
pub(crate) struct Mixer(u64);

impl Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = mix(self.0, mix_bytes(bytes));
    }

    fn write_u8(&mut self, n: u8) {
        self.write_u64(n.into());
    }

    fn write_u32(&mut self, n: u32) {
        self.write_u64(n.into());
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = mix(self.0, n);
    }

    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

pub(crate) type MixedMap<K, V> = HashMap<K, V, BuildHasherDefault<Mixer>>;
pub(crate) type MixedSet<K> = HashSet<K, BuildHasherDefault<Mixer>>;

/// A fixed hash of a value: the same on every run.
pub(crate) fn fixed_hash(value: &impl Hash) -> u64 {
    let mut mixer = Mixer::default();
    value.hash(&mut mixer);
    mixer.finish()
}
