//! A blocked Bloom filter: all bits of a key are in one line of 64 bytes, so that a question costs one
//! miss of the processor's cache ([format], section 7).
//!
//! Source: Putze, Sanders and Singler, "Cache-, Hash- and Space-Efficient Bloom Filters", 2007. The
//! choice of the bits is that of `RocksDB`'s `FastLocalBloom`.
//!
//! [format]: crate::format

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The size of a line, in bytes.
pub(crate) const LINE_SIZE: usize = 64;
const LINE_BITS: u64 = 512;

/// The hash of a key, or of a prefix of keys, in file `id`: for the filter, and its lower half for the
/// hash index of a block.
#[inline]
pub(crate) fn key_hash(id: u64, key: &[u8]) -> u64 {
    xxh3_64_with_seed(key, id)
}

/// The lower half of a hash.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the lower half")]
pub(crate) fn low_half(hash: u64) -> u32 {
    hash as u32
}

/// How many bits a key sets, of `bits_per_key` that it has: the number that makes the fewest false
/// answers, `bits · ln 2`, a little less since all are in one line.
pub(crate) fn probes(bits_per_key: u32) -> u32 {
    (bits_per_key * 5 / 8).clamp(1, 16)
}

/// The filter of `hashes`.
pub(crate) fn build(hashes: &[u64], bits_per_key: u32) -> Vec<u8> {
    let bits = hashes.len() as u64 * u64::from(bits_per_key);
    let lines = usize::try_from(bits.div_ceil(LINE_BITS).max(1)).expect("a partition is small");
    let mut filter = vec![0; lines * LINE_SIZE];
    let probes = probes(bits_per_key);
    for &hash in hashes {
        let Some(line) = filter.get_mut(line_range(hash, lines)) else {
            continue;
        };
        for bit in bits_of(hash, probes) {
            if let Some(byte) = line.get_mut(bit / 8) {
                *byte |= 1 << (bit % 8);
            }
        }
    }
    filter
}

/// False if `hash` is not that of any key in `filter`, which has whole lines, at least one; true if it
/// is, and now and then if it is not.
#[inline]
pub(crate) fn may_contain(filter: &[u8], probes: u32, hash: u64) -> bool {
    let Some(line) = line(filter, hash).first_chunk::<LINE_SIZE>() else {
        return true;
    };
    bits_of(hash, probes).all(|bit| match line.get(bit / 8) {
        Some(byte) => byte & (1 << (bit % 8)) != 0,
        None => true,
    })
}

/// The line of `filter` that has the bits of `hash`.
#[inline]
pub(crate) fn line(filter: &[u8], hash: u64) -> &[u8] {
    let range = line_range(hash, filter.len() / LINE_SIZE);
    filter.get(range).unwrap_or(&[])
}

#[inline]
fn line_range(hash: u64, lines: usize) -> std::ops::Range<usize> {
    let line = ((hash >> 32) * lines as u64) >> 32;
    let line = usize::try_from(line).expect("a line is below the number of lines");
    let start = line * LINE_SIZE;
    start..start + LINE_SIZE
}

/// The bits of a line that `hash` sets.
#[inline]
fn bits_of(hash: u64, probes: u32) -> impl Iterator<Item = usize> {
    let mut h = low_half(hash);
    (0..probes).map(move |_| {
        h = h.wrapping_mul(0x9e37_79b9);
        (h >> 23) as usize
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(from: u32, to: u32) -> Vec<u64> {
        (from..to).map(|n| key_hash(5, &n.to_le_bytes())).collect()
    }

    #[test]
    fn no_key_is_denied_and_few_others_are_not() {
        for (bits, most_percent) in [(4, 20), (8, 4), (10, 2), (16, 1)] {
            let keys = hashes(0, 10_000);
            let filter = build(&keys, bits);
            let probes = probes(bits);
            assert!(keys.iter().all(|&hash| may_contain(&filter, probes, hash)));
            let others = hashes(10_000, 110_000);
            let wrong = others
                .iter()
                .filter(|&&hash| may_contain(&filter, probes, hash))
                .count();
            assert!(
                wrong < 1000 * most_percent,
                "{bits} bits: {wrong} of 100000"
            );
        }
    }

    #[test]
    fn the_smallest_filter_is_one_line() {
        assert_eq!(build(&[], 10).len(), LINE_SIZE);
        assert_eq!(build(&hashes(0, 51), 10).len(), LINE_SIZE);
        assert_eq!(build(&hashes(0, 52), 10).len(), 2 * LINE_SIZE);
    }
}
