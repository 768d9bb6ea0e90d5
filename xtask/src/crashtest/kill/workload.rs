//! What each writer writes: every record is a pure function of its writer and its number, so
//! whoever reads one back knows whether it is whole, and whose it is.

use crate::crashtest::splitmix::splitmix;

/// Threads that append.
pub(crate) const WRITERS: usize = 4;

/// Records in a batch.
pub(crate) const BATCH: u64 = 3;

/// The writer (8 bytes, little-endian) and the number (8 bytes), before the pattern.
const HEADER: usize = 16;

/// How many records `writer` appends in one operation when it stands at number `n`: 1, or a batch.
pub(crate) fn count(writer: usize, n: u64) -> u64 {
    if mix(writer, n).is_multiple_of(8) {
        BATCH
    } else {
        1
    }
}

/// The record number `n` of `writer`: from 16 bytes to 6 KiB, most below 700 bytes.
pub(crate) fn payload(writer: usize, n: u64) -> Vec<u8> {
    let mixed = mix(writer, n);
    let longest = if (mixed >> 32).is_multiple_of(32) {
        6000
    } else {
        700
    };
    let len = HEADER + usize::try_from((mixed >> 40) % longest).unwrap_or(0);
    let mut bytes = Vec::with_capacity(len);
    bytes.extend_from_slice(&(writer as u64).to_le_bytes());
    bytes.extend_from_slice(&n.to_le_bytes());
    let mut state = mixed;
    while bytes.len() < len {
        state = splitmix(state);
        let word = state.to_le_bytes();
        bytes.extend_from_slice(
            word.get(..word.len().min(len - bytes.len()))
                .unwrap_or(&word),
        );
    }
    bytes
}

/// The writer and the number of a record, or `None` if it is not exactly what they would write.
pub(crate) fn identify(record: &[u8]) -> Option<(usize, u64)> {
    let (writer, rest) = record.split_first_chunk::<8>()?;
    let (n, _) = rest.split_first_chunk::<8>()?;
    let writer = usize::try_from(u64::from_le_bytes(*writer)).ok()?;
    let n = u64::from_le_bytes(*n);
    (writer < WRITERS && payload(writer, n) == record).then_some((writer, n))
}

pub(super) fn mix(writer: usize, n: u64) -> u64 {
    splitmix(n ^ ((writer as u64) << 56))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_names_its_writer_and_one_flipped_bit_of_it_is_seen() {
        for writer in 0..WRITERS {
            for n in 1..200 {
                let mut record = payload(writer, n);
                assert_eq!(identify(&record), Some((writer, n)));
                let at = record.len() - 1;
                record[at] ^= 1;
                assert_ne!(identify(&record), Some((writer, n)));
                assert_eq!(identify(&record[..at]), None);
            }
        }
    }
}
