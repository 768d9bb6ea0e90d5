//! What every block begins with: which kind it is, how long, and the checksum that is bound to its file
//! and offset ([format], section 4).
//!
//! [format]: crate::format

use durable_io::checksum::{Place, checksum_at};
use durable_io::codec::{Decoder, put};

use crate::compression;
use crate::error::Corruption;

/// The size of a block's header, in bytes.
pub(crate) const BLOCK_HEADER_SIZE: usize = 24;
pub(crate) const MAGIC: [u8; 3] = *b"sst";

/// What a block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockKind {
    Data,
    Index,
    Filter,
    Top,
    RangeTombstones,
    Properties,
}

impl BlockKind {
    fn code(self) -> u8 {
        match self {
            Self::Data => b'D',
            Self::Index => b'I',
            Self::Filter => b'F',
            Self::Top => b'T',
            Self::RangeTombstones => b'R',
            Self::Properties => b'P',
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        let all = [
            Self::Data,
            Self::Index,
            Self::Filter,
            Self::Top,
            Self::RangeTombstones,
            Self::Properties,
        ];
        all.into_iter().find(|kind| kind.code() == code)
    }
}

/// A block's header, its checksum apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockHeader {
    pub(crate) kind: BlockKind,
    /// Bytes behind the header.
    pub(crate) stored: usize,
    /// Bytes of the payload when it is not compressed.
    pub(crate) raw: usize,
    /// Entries, keys or whatever the kind counts.
    pub(crate) count: u32,
    /// How the payload is compressed.
    pub(crate) compression: u8,
}

/// Writes the header at the front of `block`, which has [`BLOCK_HEADER_SIZE`] bytes for it, then the
/// payload as it is stored, and will stand at `offset` of file `id`.
pub(crate) fn seal(block: &mut [u8], header: &BlockHeader, id: u64, offset: u64) {
    let length = |n: usize| u32::try_from(n).expect("a block is shorter than 4 GiB");
    put(block, 4, &MAGIC);
    put(block, 7, &[header.kind.code()]);
    put(block, 8, &length(header.stored).to_le_bytes());
    put(block, 12, &length(header.raw).to_le_bytes());
    put(block, 16, &header.count.to_le_bytes());
    put(block, 20, &[header.compression, 0, 0, 0]);
    let (_, covered) = block.split_at(4);
    let check = checksum_at(place(id, offset), covered);
    put(block, 0, &check.to_le_bytes());
}

fn place(id: u64, offset: u64) -> Place {
    Place {
        id,
        number: 0,
        offset,
    }
}

/// Reads the header of `block`, a whole block at `offset` of file `id`, and believes nothing: for blocks
/// that are checked already.
#[inline]
pub(crate) fn header(block: &[u8], kind: BlockKind) -> Result<BlockHeader, Corruption> {
    let header = block
        .first_chunk::<BLOCK_HEADER_SIZE>()
        .ok_or(Corruption::Length)?;
    if header.get(4..7) != Some(&MAGIC) {
        return Err(Corruption::Magic);
    }
    if header.get(7) != Some(&kind.code()) {
        return Err(Corruption::BlockKind);
    }
    let parse = || {
        let mut rest = Decoder::new(header.get(8..)?);
        let stored = rest.u32()? as usize;
        let raw = rest.u32()? as usize;
        let count = rest.u32()?;
        let &[compression, zeros @ ..] = rest.bytes(4)?.first_chunk::<4>()?;
        (zeros == [0; 3]).then_some(BlockHeader {
            kind,
            stored,
            raw,
            count,
            compression,
        })
    };
    let header = parse().ok_or(Corruption::NotZero)?;
    let fits = header.stored.checked_add(BLOCK_HEADER_SIZE) == Some(block.len())
        && compression::is_possible(header.compression, header.stored, header.raw);
    fits.then_some(header).ok_or(Corruption::Length)
}

/// The kind and the length of a block that may begin with `bytes`; nothing of it is believed yet.
pub(crate) fn guess(bytes: &[u8]) -> Option<(BlockKind, u64)> {
    let start = bytes.first_chunk::<BLOCK_HEADER_SIZE>()?;
    let kind = BlockKind::from_code(*start.get(7)?)?;
    let stored = u32::from_le_bytes(*start.get(8..)?.first_chunk()?);
    let raw = u32::from_le_bytes(*start.get(12..)?.first_chunk()?) as usize;
    let &[compression, zeros @ ..] = start.get(20..)?.first_chunk::<4>()?;
    let is_one = start.get(4..7) == Some(&MAGIC)
        && zeros == [0; 3]
        && compression::is_possible(compression, stored as usize, raw);
    is_one.then_some((kind, BLOCK_HEADER_SIZE as u64 + u64::from(stored)))
}

/// Checks `block`, a whole block of `kind` at `offset` of file `id`, and returns its header.
pub(crate) fn open(
    block: &[u8],
    kind: BlockKind,
    id: u64,
    offset: u64,
) -> Result<BlockHeader, Corruption> {
    let (check, covered) = block.split_first_chunk::<4>().ok_or(Corruption::Length)?;
    if checksum_at(place(id, offset), covered) != u32::from_le_bytes(*check) {
        return Err(Corruption::Checksum);
    }
    header(block, kind)
}

/// The whole of an uncompressed block of `kind` at `offset` of file `id`.
pub(crate) fn whole(kind: BlockKind, count: u32, payload: &[u8], id: u64, offset: u64) -> Vec<u8> {
    let mut block = vec![0; BLOCK_HEADER_SIZE];
    block.extend_from_slice(payload);
    let header = BlockHeader {
        kind,
        stored: payload.len(),
        raw: payload.len(),
        count,
        compression: compression::RAW,
    };
    seal(&mut block, &header, id, offset);
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_good_in_its_place_alone() {
        let block = whole(BlockKind::Filter, 3, b"payload", 7, 4096);
        let header = open(&block, BlockKind::Filter, 7, 4096).unwrap();
        assert_eq!((header.count, header.stored, header.raw), (3, 7, 7));
        for (id, offset) in [(8, 4096), (7, 4095), (7, 0)] {
            let refused = open(&block, BlockKind::Filter, id, offset);
            assert_eq!(refused, Err(Corruption::Checksum));
        }
        let refused = open(&block, BlockKind::Data, 7, 4096);
        assert_eq!(refused, Err(Corruption::BlockKind));
    }

    #[test]
    fn no_changed_bit_and_no_cut_goes_unnoticed() {
        let block = whole(BlockKind::Data, 1, b"payload", 7, 0);
        for bit in 0..block.len() * 8 {
            let mut changed = block.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            open(&changed, BlockKind::Data, 7, 0).unwrap_err();
        }
        for len in 0..block.len() {
            open(&block[..len], BlockKind::Data, 7, 0).unwrap_err();
        }
    }

    #[test]
    fn a_length_that_its_block_cannot_have_is_refused_under_a_right_checksum() {
        for (stored, raw, code) in [(8, 8, 0), (7, 8, 0), (7, 7 * 256 + 1, 1), (7, 7, 3)] {
            let mut block = vec![0; BLOCK_HEADER_SIZE + 7];
            let header = BlockHeader {
                kind: BlockKind::Data,
                stored,
                raw,
                count: 1,
                compression: code,
            };
            seal(&mut block, &header, 7, 0);
            let refused = open(&block, BlockKind::Data, 7, 0);
            assert_eq!(refused, Err(Corruption::Length));
        }
    }
}
