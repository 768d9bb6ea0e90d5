//! [`Footer`]: the first and the last bytes of a table, with the same content ([format], section 3).
//!
//! [format]: crate::format

use durable_io::checksum::{Place, checksum_at};
use durable_io::codec::{Decoder, Encoder, put};

use crate::error::Corruption;

/// The size of the header, and of the footer, in bytes.
pub(crate) const FOOTER_SIZE: usize = 192;
/// The version of the format that is written.
pub(crate) const VERSION: u32 = 1;
const MAGIC: [u8; 8] = *b"sstable\n";

/// Where the two copies of a meta block are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Section {
    /// The offset of copy A.
    pub(crate) a: u64,
    /// The offset of copy B.
    pub(crate) b: u64,
    /// How long each is, header included.
    pub(crate) len: u64,
}

/// What header and footer say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Footer {
    /// The random id that every checksum of the file is bound to.
    pub(crate) file_id: u64,
    /// The length of the file.
    pub(crate) file_len: u64,
    pub(crate) entries: u64,
    /// The code of the compression that was asked for.
    pub(crate) compression: u32,
    /// How many bits each key sets in a filter.
    pub(crate) probes: u32,
    /// Prefixes of this length are in the filter too; 0 if none are.
    pub(crate) prefix_len: u32,
    /// Partitions of index and filter.
    pub(crate) partitions: u32,
    pub(crate) top: Section,
    pub(crate) range_tombstones: Section,
    pub(crate) properties: Section,
    /// The offset of the second copies of the index blocks, which follow each other.
    pub(crate) index_copies: u64,
}

/// Why a header or footer is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Corrupt(Corruption),
    /// It is whole, and of this version.
    Version(u32),
}

impl Footer {
    /// The bytes that say so at `offset`.
    pub(crate) fn encode(&self, offset: u64) -> [u8; FOOTER_SIZE] {
        let mut out = Encoder::with_capacity(FOOTER_SIZE);
        out.bytes(&MAGIC).u32(VERSION).u32(0);
        out.u64(self.file_id).u64(self.file_len).u64(self.entries);
        out.u32(self.compression).u32(self.probes);
        out.u32(self.prefix_len).u32(self.partitions);
        for section in [self.top, self.range_tombstones, self.properties] {
            out.u64(section.a).u64(section.b).u64(section.len);
        }
        out.u64(self.index_copies);
        let mut bytes = [0; FOOTER_SIZE];
        put(&mut bytes, 0, out.as_slice());
        let check = check(&bytes, self.file_id, offset);
        put(&mut bytes, 12, &check.to_le_bytes());
        bytes
    }

    /// What `bytes`, at `offset`, say.
    pub(crate) fn decode(bytes: &[u8; FOOTER_SIZE], offset: u64) -> Result<Self, Refused> {
        let mut rest = Decoder::new(bytes);
        let mut decode = || {
            let magic = rest.bytes(8)? == MAGIC;
            let version = rest.u32()?;
            let check = rest.u32()?;
            let mut footer = Self {
                file_id: rest.u64()?,
                file_len: rest.u64()?,
                entries: rest.u64()?,
                compression: rest.u32()?,
                probes: rest.u32()?,
                prefix_len: rest.u32()?,
                partitions: rest.u32()?,
                ..Self::default()
            };
            let Self {
                top,
                range_tombstones,
                properties,
                ..
            } = &mut footer;
            for section in [top, range_tombstones, properties] {
                *section = Section {
                    a: rest.u64()?,
                    b: rest.u64()?,
                    len: rest.u64()?,
                };
            }
            footer.index_copies = rest.u64()?;
            Some((magic, version, check, footer))
        };
        let (magic, version, stored, footer) =
            decode().ok_or(Refused::Corrupt(Corruption::Length))?;
        if !magic {
            return Err(Refused::Corrupt(Corruption::Magic));
        }
        if check(bytes, footer.file_id, offset) != stored {
            return Err(Refused::Corrupt(Corruption::Checksum));
        }
        if version != VERSION {
            return Err(Refused::Version(version));
        }
        if rest.rest().iter().any(|&byte| byte != 0) {
            return Err(Refused::Corrupt(Corruption::NotZero));
        }
        Ok(footer)
    }
}

/// The check of a header or footer: with zeros in its own place.
fn check(bytes: &[u8; FOOTER_SIZE], id: u64, offset: u64) -> u32 {
    let mut bytes = *bytes;
    put(&mut bytes, 12, &[0; 4]);
    let place = Place {
        id,
        number: 0,
        offset,
    };
    checksum_at(place, &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Footer {
        let section = |a| Section {
            a,
            b: a + 1,
            len: 9,
        };
        Footer {
            file_id: 1,
            file_len: 2,
            entries: 3,
            compression: 1,
            probes: 6,
            prefix_len: 4,
            partitions: 5,
            top: section(10),
            range_tombstones: section(20),
            properties: section(30),
            index_copies: 40,
        }
    }

    #[test]
    fn a_footer_is_good_in_its_place_alone() {
        let bytes = some().encode(7);
        assert_eq!(Footer::decode(&bytes, 7).unwrap(), some());
        let refused = Footer::decode(&bytes, 0);
        assert_eq!(refused, Err(Refused::Corrupt(Corruption::Checksum)));
        for bit in 0..FOOTER_SIZE * 8 {
            let mut changed = bytes;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(
                Footer::decode(&changed, 7),
                Err(Refused::Corrupt(_))
            ));
        }
    }

    #[test]
    fn a_newer_version_is_no_damage() {
        let mut bytes = some().encode(7);
        bytes[8] = 2;
        let check = check(&bytes, 1, 7);
        put(&mut bytes, 12, &check.to_le_bytes());
        assert_eq!(Footer::decode(&bytes, 7), Err(Refused::Version(2)));
    }
}
