//! What the stores are asked to keep: keys in no order, and values that do not compress.

use std::ops::Range;

use crate::measure::record;

/// Bytes of a value.
pub(crate) const VALUE_SIZE: usize = 100;
/// Keys in one write while a store is being filled.
pub(crate) const BATCH: usize = 1000;

pub(crate) type Key = [u8; 16];

/// The key `number`: the same in every store, and far from its neighbours.
pub(crate) fn key(number: u64) -> Key {
    let mut key = Key::default();
    for (half, place) in key.chunks_exact_mut(8).enumerate() {
        place.copy_from_slice(&mixed(number * 2 + half as u64).to_le_bytes());
    }
    key
}

/// The key `number` of those that come in their order.
pub(crate) fn in_order(number: u64) -> Key {
    let mut key = Key::default();
    key.copy_from_slice(format!("{number:016}").as_bytes());
    key
}

pub(crate) fn value() -> Vec<u8> {
    record(VALUE_SIZE)
}

/// The numbers below `count`, a batch at a time.
pub(crate) fn batches(count: u64) -> impl Iterator<Item = Range<u64>> {
    let firsts = (0..count).step_by(BATCH);
    firsts.map(move |first| first..count.min(first + BATCH as u64))
}

/// Numbers below a bound, in no order.
#[derive(Debug)]
pub(crate) struct Numbers {
    state: u64,
    bound: u64,
}

impl Numbers {
    pub(crate) fn below(bound: u64, thread: usize) -> Self {
        let state = mixed(thread as u64);
        Self { state, bound }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        // The upper half of the product: even, and without a division.
        let product = u128::from(mixed(self.state)) * u128::from(self.bound);
        u64::try_from(product >> 64).unwrap_or(0)
    }
}

/// The finaliser of `SplitMix64`: one to one.
fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}
