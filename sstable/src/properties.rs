//! [`Properties`]: what a table says about itself ([format], section 9).
//!
//! [format]: crate::format

use std::ops::Bound;

use durable_io::codec::{Decoder, Encoder};

use crate::entry::RangeTombstone;
use crate::error::Corruption;

/// What a table says about itself: counts, sizes in bytes, and what its maker had to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Properties {
    /// The smallest key that an entry has or a range tombstone deletes.
    pub first: Vec<u8>,
    /// The largest key of an entry, included; or the end of a range tombstone, excluded, if that is
    /// beyond.
    pub last: Bound<Vec<u8>>,
    /// Entries that are values.
    pub puts: u64,
    /// Entries that are deletions.
    pub tombstones: u64,
    /// Fragments of range tombstones.
    pub range_tombstones: u64,
    /// The smallest version of an entry or a range tombstone.
    pub oldest_version: u64,
    /// The largest version of an entry or a range tombstone.
    pub newest_version: u64,
    /// The sum of all keys.
    pub key_bytes: u64,
    /// The sum of all values.
    pub value_bytes: u64,
    /// Data blocks.
    pub data_blocks: u64,
    /// Data blocks as they are stored, headers included.
    pub data_bytes: u64,
    /// One copy of the index: the blocks of all partitions.
    pub index_bytes: u64,
    /// The filter: the blocks of all partitions.
    pub filter_bytes: u64,
    /// What the maker of the table wanted it to say, by name, in the order in which it was given.
    pub user: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Properties {
    pub(crate) fn new() -> Self {
        Self {
            first: Vec::new(),
            last: Bound::Unbounded,
            puts: 0,
            tombstones: 0,
            range_tombstones: 0,
            oldest_version: u64::MAX,
            newest_version: 0,
            key_bytes: 0,
            value_bytes: 0,
            data_blocks: 0,
            data_bytes: 0,
            index_bytes: 0,
            filter_bytes: 0,
            user: Vec::new(),
        }
    }

    /// Entries of every kind.
    pub fn entries(&self) -> u64 {
        self.puts.saturating_add(self.tombstones)
    }

    /// The value of the user-defined property `name`.
    pub fn user(&self, name: &[u8]) -> Option<&[u8]> {
        let mut pairs = self.user.iter();
        let (_, value) = pairs.find(|(found, _)| found == name)?;
        Some(value)
    }

    /// Makes the range of keys, so far that of the entries, cover the range tombstones too, of which
    /// these are the first and the last.
    pub(crate) fn cover(&mut self, first: Option<&RangeTombstone>, last: Option<&RangeTombstone>) {
        let (Some(first), Some(last)) = (first, last) else {
            return;
        };
        if self.entries() == 0 || first.start < self.first {
            self.first.clone_from(&first.start);
        }
        let is_beyond = match &self.last {
            Bound::Included(key) => *key < last.end,
            Bound::Excluded(_) | Bound::Unbounded => true,
        };
        if is_beyond {
            self.last = Bound::Excluded(last.end.clone());
        }
    }

    fn numbers(&self) -> [u64; 11] {
        [
            self.puts,
            self.tombstones,
            self.range_tombstones,
            self.oldest_version,
            self.newest_version,
            self.key_bytes,
            self.value_bytes,
            self.data_blocks,
            self.data_bytes,
            self.index_bytes,
            self.filter_bytes,
        ]
    }

    /// The payload.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::default();
        for number in self.numbers() {
            out.u64(number);
        }
        let (is_included, last) = match &self.last {
            Bound::Included(last) => (1, &last[..]),
            Bound::Excluded(last) => (0, &last[..]),
            Bound::Unbounded => (0, &b""[..]),
        };
        out.u32(is_included);
        put(&mut out, &self.first);
        put(&mut out, last);
        for (name, value) in &self.user {
            put(&mut out, name);
            put(&mut out, value);
        }
        out.into_vec()
    }

    /// The properties of `payload`, which has `count` user-defined ones.
    pub(crate) fn decode(payload: &[u8], count: u32) -> Result<Self, Corruption> {
        let mut rest = Decoder::new(payload);
        let mut decode = || {
            let mut numbers = [0; 11];
            for number in &mut numbers {
                *number = rest.u64()?;
            }
            let is_included = rest.u32()?;
            let first = take(&mut rest)?;
            let last = take(&mut rest)?;
            let last = match is_included {
                1 => Bound::Included(last),
                0 => Bound::Excluded(last),
                _ => return None,
            };
            let mut user = Vec::new();
            for _ in 0..count {
                user.push((take(&mut rest)?, take(&mut rest)?));
            }
            let [
                puts,
                tombstones,
                range_tombstones,
                oldest_version,
                newest_version,
                rest_of @ ..,
            ] = numbers;
            let [
                key_bytes,
                value_bytes,
                data_blocks,
                data_bytes,
                index_bytes,
                filter_bytes,
            ] = rest_of;
            Some(Self {
                first,
                last,
                puts,
                tombstones,
                range_tombstones,
                oldest_version,
                newest_version,
                key_bytes,
                value_bytes,
                data_blocks,
                data_bytes,
                index_bytes,
                filter_bytes,
                user,
            })
        };
        let properties = decode().ok_or(Corruption::Length)?;
        if rest.rest().is_empty() {
            Ok(properties)
        } else {
            Err(Corruption::Length)
        }
    }
}

fn put(out: &mut Encoder, bytes: &[u8]) {
    let len = u32::try_from(bytes.len()).expect("the writer bounds keys and properties");
    out.u32(len).bytes(bytes);
}

fn take(rest: &mut Decoder<'_>) -> Option<Vec<u8>> {
    let len = rest.u32()? as usize;
    rest.bytes(len).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_read_back_and_cut_ones_are_not() {
        for last in [
            Bound::Included(b"z".to_vec()),
            Bound::Excluded(b"zz".to_vec()),
        ] {
            let properties = Properties {
                first: b"a".to_vec(),
                last,
                puts: 3,
                index_bytes: 77,
                user: vec![(b"made by".to_vec(), b"hand".to_vec()), Default::default()],
                ..Properties::new()
            };
            let bytes = properties.encode();
            assert_eq!(Properties::decode(&bytes, 2).unwrap(), properties);
            assert_eq!(properties.user(b"made by"), Some(&b"hand"[..]));
            for len in 0..bytes.len() {
                Properties::decode(&bytes[..len], 2).unwrap_err();
            }
            Properties::decode(&bytes, 1).unwrap_err();
        }
    }
}
