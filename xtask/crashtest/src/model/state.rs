//! What a store holds, with a hash of it that is kept up to date.

use crate::engine::Contents;
use crate::splitmix::splitmix;

/// What a store holds, whatever kind it is: under a key of bytes each part of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pairs: Contents,
    hash: u64,
    /// The hashes of the pairs put since these were last taken.
    put: Vec<u64>,
}

impl State {
    pub(crate) fn pairs(&self) -> &Contents {
        &self.pairs
    }

    /// The sum of the hashes of its pairs.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// The hashes of the pairs put since this was last called.
    pub(super) fn take_put(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.put)
    }

    pub(crate) fn put(&mut self, key: &[u8], value: Vec<u8>) {
        let pair = pair_hash(key, &value);
        self.put.push(pair);
        self.hash = self.hash.wrapping_add(pair);
        if let Some(before) = self.pairs.insert(key.to_vec(), value) {
            self.hash = self.hash.wrapping_sub(pair_hash(key, &before));
        }
    }

    pub(crate) fn remove(&mut self, key: &[u8]) {
        if let Some(before) = self.pairs.remove(key) {
            self.hash = self.hash.wrapping_sub(pair_hash(key, &before));
        }
    }
}

/// The key of what is numbered: in the order of the numbers.
pub(crate) fn key_of(what: &str, number: u64) -> Vec<u8> {
    format!("{what} {number:08}").into_bytes()
}

/// The number of which `key` is the key.
pub(super) fn number_of(what: &str, key: &[u8]) -> Option<u64> {
    let (word, number) = std::str::from_utf8(key).ok()?.split_once(' ')?;
    (word == what).then(|| number.parse().ok())?
}

/// A hash of a key and its value.
pub(crate) fn pair_hash(key: &[u8], value: &[u8]) -> u64 {
    let hash = fold(key.len() as u64, key);
    fold(hash, value)
}

fn fold(seed: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let words = words.iter().map(|word| u64::from_le_bytes(*word));
    let hash = words.fold(splitmix(seed), |hash, word| splitmix(hash ^ word));
    let rest = rest
        .iter()
        .fold(0_u64, |word, byte| word << 8 | u64::from(*byte));
    splitmix(hash ^ rest ^ (bytes.len() as u64) << 56)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_what_is_there_however_it_came_to_be() {
        let mut state = State::default();
        state.put(b"a", vec![1]);
        let before = state.hash();
        state.put(b"b", vec![2]);
        state.put(b"b", vec![3]);
        let other = pair_hash(b"a", &[1]).wrapping_add(pair_hash(b"b", &[3]));
        assert_eq!(state.hash(), other);
        state.remove(b"b");
        state.remove(b"c");
        assert_eq!(state.hash(), before);
    }

    #[test]
    fn every_byte_of_key_and_value_counts_and_so_does_where_one_ends() {
        let hashes = [
            pair_hash(b"a", b"bc"),
            pair_hash(b"ab", b"c"),
            pair_hash(b"a", b"bd"),
            pair_hash(b"b", b"bc"),
            pair_hash(b"a", b"bc\0"),
            pair_hash(b"a", &[0; 8]),
            pair_hash(b"a", &[0; 9]),
        ];
        let distinct: std::collections::BTreeSet<u64> = hashes.into_iter().collect();
        assert_eq!(distinct.len(), hashes.len());
    }
}
