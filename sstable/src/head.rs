//! Heads: the first 8 bytes of a key as one number, so that a search compares numbers and not keys.
//!
//! Heads are taken behind the prefix that all keys in question have in common. A smaller head means a
//! smaller key; equal heads say nothing yet.

use std::cmp::Ordering;
use std::ops::Range;

/// The first 8 bytes of `suffix`, the first one highest; zeros where there are fewer.
#[inline]
pub(crate) fn head(suffix: &[u8]) -> u64 {
    if let Some(bytes) = suffix.first_chunk::<8>() {
        return u64::from_le_bytes(*bytes).swap_bytes();
    }
    let mut bytes = [0; 8];
    durable_io::codec::put(&mut bytes, 0, suffix);
    u64::from_le_bytes(bytes).swap_bytes()
}

/// How many bytes at the front are the same.
#[inline]
pub(crate) fn common(a: &[u8], b: &[u8]) -> usize {
    let len = a.len().min(b.len());
    let (words, _) = a.as_chunks::<8>();
    let (others, _) = b.as_chunks::<8>();
    for (n, (word, other)) in words.iter().zip(others).enumerate() {
        let differs = u64::from_le_bytes(*word) ^ u64::from_le_bytes(*other);
        if differs != 0 {
            return n * 8 + (differs.trailing_zeros() / 8) as usize;
        }
    }
    let whole = len / 8 * 8;
    let rest = a.iter().zip(b).skip(whole);
    whole + rest.take_while(|(a, b)| a == b).count()
}

/// Where a key stands to all keys that begin with `prefix`: before them, behind them, or among them,
/// with the head of what follows its prefix.
#[inline]
pub(crate) fn against_prefix(key: &[u8], prefix: &[u8]) -> (Ordering, u64) {
    match key.split_at_checked(prefix.len()) {
        Some((start, suffix)) => (start.cmp(prefix), head(suffix)),
        // Shorter: if it is the beginning of the prefix, it is before all of them.
        None => (key.cmp(prefix), 0),
    }
}

/// The heads in `heads`, which are in order, that are equal to `target`; where it would stand if none
/// is.
#[inline]
pub(crate) fn equal(heads: &[[u8; 8]], target: u64) -> Range<usize> {
    let start = heads.partition_point(|head| u64::from_le_bytes(*head) < target);
    let (_, rest) = heads.split_at(start);
    // Mostly none or one.
    let mut len = 0;
    while let Some(head) = rest.get(len) {
        if u64::from_le_bytes(*head) != target {
            break;
        }
        len += 1;
        if len == 8 {
            let (_, rest) = rest.split_at(len);
            len += rest.partition_point(|head| u64::from_le_bytes(*head) <= target);
            break;
        }
    }
    start..start + len
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_heads_is_that_of_keys() {
        let keys: [&[u8]; 7] = [b"", b"\0", b"a", b"a\0", b"ab", b"abcdefgh", b"b"];
        for pair in keys.windows(2) {
            assert!(head(pair[0]) <= head(pair[1]), "{pair:?}");
        }
        assert_eq!(head(b"a"), 0x6100_0000_0000_0000);
        assert_eq!(head(b"abcdefghi"), 0x6162_6364_6566_6768);
    }

    #[test]
    fn the_common_prefix_is_found_at_every_length() {
        for len in 0..30 {
            let a = vec![7; len];
            for at in 0..len {
                let mut b = a.clone();
                b[at] = 8;
                assert_eq!(common(&a, &b), at);
            }
            assert_eq!(common(&a, &[7; 19]), len.min(19));
        }
    }

    #[test]
    fn equal_heads_are_found_among_many() {
        let heads: Vec<[u8; 8]> = [1_u64, 3, 3, 5]
            .into_iter()
            .chain([7; 40])
            .chain([9])
            .map(u64::to_le_bytes)
            .collect();
        for (target, expected) in [
            (0, 0..0),
            (1, 0..1),
            (3, 1..3),
            (4, 3..3),
            (7, 4..44),
            (9, 44..45),
            (10, 45..45),
        ] {
            assert_eq!(equal(&heads, target), expected, "{target}");
        }
    }

    #[test]
    fn a_key_is_before_among_or_behind_what_has_a_prefix() {
        for (key, expected) in [
            (&b"a"[..], Ordering::Less),
            (b"ab", Ordering::Equal),
            (b"abz", Ordering::Equal),
            (b"ac", Ordering::Greater),
            (b"", Ordering::Less),
            (b"b", Ordering::Greater),
        ] {
            assert_eq!(against_prefix(key, b"ab").0, expected, "{key:?}");
        }
    }
}
