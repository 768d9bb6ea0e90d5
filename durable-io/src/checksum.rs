//! CRC-32, bound to the place of the bytes it covers.
//!
//! A checksum over bytes alone also holds for the same bytes in another file, at another offset, or
//! of an earlier life of the block. So the place goes in first: the file's random id, its number
//! within the store, and the offset. A misdirected, swapped or stale block then fails its check.

use crc32fast::Hasher;

/// Where checked bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The random id of the store or file, drawn by [`Disk::unique_id`](crate::Disk::unique_id).
    pub id: u64,
    /// The number of the file within its store; 0 if there is but one.
    pub number: u64,
    /// The offset of the bytes in the file.
    pub offset: u64,
}

/// The CRC-32 (IEEE) of `bytes`, bound to no place: for payloads whose position is not known yet.
/// Cover the result with [`checksum_at`] once it is.
#[inline]
pub fn checksum(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// The CRC-32 (IEEE) of `place` (id, number, offset; each 8 bytes, little-endian) followed by
/// `bytes`.
#[inline]
pub fn checksum_at(place: Place, bytes: &[u8]) -> u32 {
    let parts = [place.id, place.number, place.offset].map(u64::to_le_bytes);
    let place = parts.as_flattened();
    let mut short = [0; 64];
    let len = place.len() + bytes.len();
    if let Some(short) = short.get_mut(..len) {
        // One update: each has a cost of its own, which for a header is most of it.
        let (start, tail) = short.split_at_mut(place.len());
        start.copy_from_slice(place);
        tail.copy_from_slice(bytes);
        return checksum(short);
    }
    let mut hasher = Hasher::new();
    hasher.update(place);
    hasher.update(bytes);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_test_vector_holds() {
        assert_eq!(checksum(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn every_part_of_the_place_counts() {
        let place = Place {
            id: 1,
            number: 2,
            offset: 3,
        };
        let others = [
            Place { id: 9, ..place },
            Place { number: 9, ..place },
            Place { offset: 9, ..place },
        ];
        for other in others {
            assert_ne!(checksum_at(place, b"bytes"), checksum_at(other, b"bytes"));
        }
    }

    #[test]
    fn the_place_is_a_prefix() {
        let mut whole = Vec::new();
        for part in [7_u64, 8, 9] {
            whole.extend_from_slice(&part.to_le_bytes());
        }
        whole.extend_from_slice(b"abc");
        let place = Place {
            id: 7,
            number: 8,
            offset: 9,
        };
        assert_eq!(checksum_at(place, b"abc"), checksum(&whole));
        whole.extend_from_slice(&[7; 100]);
        assert_eq!(checksum_at(place, &whole[24..]), checksum(&whole));
    }
}
