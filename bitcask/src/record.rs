//! Groups and records, to and from bytes ([format], section 4). No I/O.
//!
//! [format]: crate::format

use durable_io::checksum::{Place, checksum, checksum_at};
use durable_io::codec::{Decoder, put};

use crate::error::Corruption;

/// Bytes of a data file's header; the first group follows.
pub(crate) const FILE_HEADER_SIZE: usize = 64;
/// [`FILE_HEADER_SIZE`] as the offset of the first group.
pub(crate) const FIRST_GROUP: u64 = FILE_HEADER_SIZE as u64;

/// Bytes of a group header.
pub(crate) const GROUP_HEADER_SIZE: usize = 24;
/// [`GROUP_HEADER_SIZE`] as a distance in a file.
pub(crate) const GROUP_HEADER: u64 = GROUP_HEADER_SIZE as u64;
/// Bytes of a record's header.
pub(crate) const RECORD_HEADER_SIZE: usize = 12;
/// Groups begin at multiples of this.
pub(crate) const GROUP_ALIGN: u64 = 8;

/// The first offset at or behind `offset` at which a group may begin.
pub(crate) fn align_group(offset: u64) -> u64 {
    offset.next_multiple_of(GROUP_ALIGN)
}

/// What a record does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Put,
    /// A tombstone.
    Delete,
}

impl Kind {
    fn code(self) -> u32 {
        match self {
            Self::Put => 1,
            Self::Delete => 2,
        }
    }
}

/// A record in bytes that passed its check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) kind: Kind,
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
}

impl Record<'_> {
    /// Bytes of the whole record.
    pub(crate) fn size(&self) -> usize {
        RECORD_HEADER_SIZE + self.key.len() + self.value.len()
    }
}

/// The lengths and kind of a record, not yet checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordHeader {
    check: u32,
    value_len: u32,
    /// Length of the key, kind and a zero byte.
    meta: u32,
}

impl RecordHeader {
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut decoder = Decoder::new(bytes);
        Some(Self {
            check: decoder.u32()?,
            value_len: decoder.u32()?,
            meta: decoder.u32()?,
        })
    }

    pub(crate) fn key_len(self) -> usize {
        (self.meta & 0xffff) as usize
    }

    /// True if it may be a record's: most bytes are none.
    pub(crate) fn is_likely(self) -> bool {
        matches!(self.meta >> 16, 1 | 2)
    }

    /// Bytes of the whole record, as the header says.
    pub(crate) fn size(self) -> u64 {
        RECORD_HEADER_SIZE as u64 + self.key_len() as u64 + u64::from(self.value_len)
    }
}

/// The check of a record at `place` whose key and value, one after the other, have the checksum `body`.
fn record_check(place: Place, value_len: u32, meta: u32, body: u32) -> u32 {
    let mut covered = [0; 12];
    let parts = [value_len, meta, body].map(u32::to_le_bytes);
    covered.copy_from_slice(parts.as_flattened());
    checksum_at(place, &covered)
}

/// The record at the start of `bytes`, which stand at `place`.
pub(crate) fn decode_record(bytes: &[u8], place: Place) -> Result<Record<'_>, Corruption> {
    let header = RecordHeader::decode(bytes).ok_or(Corruption::Length)?;
    let size = usize::try_from(header.size()).map_err(|_too_large| Corruption::Length)?;
    let body = bytes
        .get(RECORD_HEADER_SIZE..size)
        .ok_or(Corruption::Length)?;
    let check = record_check(place, header.value_len, header.meta, checksum(body));
    if check != header.check {
        return Err(Corruption::Checksum);
    }
    let kind = match header.meta >> 16 {
        1 => Kind::Put,
        2 if header.value_len == 0 => Kind::Delete,
        _ => return Err(Corruption::Kind),
    };
    let (key, value) = body
        .split_at_checked(header.key_len())
        .ok_or(Corruption::Length)?;
    Ok(Record { kind, key, value })
}

/// Appends a record without its check to `out`, and returns the checksum of key and value. The caller
/// has checked the lengths.
pub(crate) fn encode_record(out: &mut Vec<u8>, kind: Kind, key: &[u8], value: &[u8]) -> u32 {
    let fits =
        |n: usize| u32::try_from(n).expect("keys and values are checked against their limits");
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&fits(value.len()).to_le_bytes());
    out.extend_from_slice(&(fits(key.len()) & 0xffff | kind.code() << 16).to_le_bytes());
    let body = out.len();
    out.extend_from_slice(key);
    out.extend_from_slice(value);
    checksum(out.get(body..).expect("what was appended is there"))
}

/// Writes the check of the record at the start of `bytes`, now that it is known where it will stand.
pub(crate) fn bind_record(bytes: &mut [u8], place: Place, body: u32) {
    let header = RecordHeader::decode(bytes).expect("a record that was encoded has a header");
    let check = record_check(place, header.value_len, header.meta, body);
    put(bytes, 0, &check.to_le_bytes());
}

/// The header of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupHeader {
    /// Bytes of records that follow.
    pub(crate) bytes: u32,
    pub(crate) count: u32,
    /// Groups below this offset were durable when this was written.
    pub(crate) durable: u64,
}

impl GroupHeader {
    /// The header's bytes at `place`, and its check.
    pub(crate) fn encode(&self, place: Place) -> ([u8; GROUP_HEADER_SIZE], u32) {
        let mut out = [0; GROUP_HEADER_SIZE];
        put(&mut out, 4, &self.bytes.to_le_bytes());
        put(&mut out, 8, &self.count.to_le_bytes());
        put(&mut out, 16, &self.durable.to_le_bytes());
        let (_, covered) = out.split_at(4);
        let check = checksum_at(place, covered);
        put(&mut out, 0, &check.to_le_bytes());
        (out, check)
    }

    /// The header at the start of `bytes`, and its check, if it passes.
    pub(crate) fn decode(bytes: &[u8], place: Place) -> Option<(Self, u32)> {
        let bytes = bytes.get(..GROUP_HEADER_SIZE)?;
        let mut decoder = Decoder::new(bytes);
        let check = decoder.u32()?;
        let covered = decoder.rest();
        let (bytes, count, zero) = (decoder.u32()?, decoder.u32()?, decoder.u32()?);
        let durable = decoder.u64()?;
        let header = Self {
            bytes,
            count,
            durable,
        };
        // Most of what is tried is zeros, or no header at all: the cheap questions first.
        let may_be = count > 0 && zero == 0 && durable <= place.offset;
        (may_be && checksum_at(place, covered) == check).then_some((header, check))
    }
}

/// The digest of a file after one more group.
pub(crate) fn digest(before: u32, group_check: u32) -> u32 {
    let parts = [before, group_check].map(u32::to_le_bytes);
    checksum(parts.as_flattened())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place {
        id: 7,
        number: 3,
        offset: 64,
    };

    fn record(kind: Kind, key: &[u8], value: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let body = encode_record(&mut bytes, kind, key, value);
        bind_record(&mut bytes, PLACE, body);
        bytes
    }

    #[test]
    fn a_record_is_read_back_only_at_its_place() {
        for (kind, key, value) in [
            (Kind::Put, &b"key"[..], &b"value"[..]),
            (Kind::Put, b"", b""),
            (Kind::Put, b"key", b""),
            (Kind::Delete, b"key", b""),
        ] {
            let bytes = record(kind, key, value);
            let read = decode_record(&bytes, PLACE);
            assert_eq!(read, Ok(Record { kind, key, value }));
            let elsewhere = Place {
                offset: 72,
                ..PLACE
            };
            assert_eq!(decode_record(&bytes, elsewhere), Err(Corruption::Checksum));
        }
    }

    #[test]
    fn d13_d14_an_empty_value_is_a_value_and_deletion_a_kind() {
        let put = record(Kind::Put, b"k", b"");
        let delete = record(Kind::Delete, b"k", b"");
        assert_eq!(decode_record(&put, PLACE).unwrap().kind, Kind::Put);
        assert_eq!(decode_record(&delete, PLACE).unwrap().kind, Kind::Delete);
    }

    #[test]
    fn d16_every_flipped_bit_of_a_record_or_header_is_seen() {
        let bytes = record(Kind::Put, b"key", b"value");
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_record(&bytes, PLACE).is_err(), "bit {bit}");
        }
        let header = GroupHeader {
            bytes: 20,
            count: 1,
            durable: 64,
        };
        let (bytes, check) = header.encode(PLACE);
        assert_eq!(GroupHeader::decode(&bytes, PLACE), Some((header, check)));
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(GroupHeader::decode(&bytes, PLACE), None, "bit {bit}");
        }
    }
}
