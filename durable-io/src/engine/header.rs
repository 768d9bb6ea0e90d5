//! [`Format`]: how the files of a store begin.

use std::path::PathBuf;

use crate::checksum::{Place, checksum_at};
use crate::codec::{Decoder, put};

/// Where the version is in a header.
const VERSION: usize = 8;
/// Where the check is.
const CHECK: usize = 12;
/// Where the fields of the engine's own begin.
const FIELDS: usize = 16;

/// The file was written by a newer version of the engine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} has format version {version}; this program reads up to {supported}", path.display())]
pub struct UnsupportedVersion {
    /// The file.
    pub path: PathBuf,
    /// Its format version.
    pub version: u32,
    /// The newest version that can be read.
    pub supported: u32,
}

/// Why a header is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadHeader {
    /// It is too short.
    Length,
    /// It does not begin as files of this kind do.
    Magic,
    /// Its check does not hold: it is damaged, or is in another's place.
    Checksum,
    /// It is whole, and of this version, which is newer, or 0.
    Version(u32),
}

/// A kind of file, and the version of its format. Its header is 8 bytes of magic, the version in 4, a check
/// in 4, and then fields of the engine's own; the check covers all of it, with zeros in its own place,
/// and the place of the header itself, made of the ids that are among the fields.
///
/// ```
/// use durable_io::checksum::Place;
/// use durable_io::codec::put;
/// use durable_io::engine::{BadHeader, Format};
///
/// const FORMAT: Format = Format { magic: *b"example\n", version: 1 };
/// let place = |id| Place { id, number: 3, offset: 0 };
///
/// let mut header = [0; 32];
/// put(&mut header, 16, &7_u64.to_le_bytes());
/// FORMAT.seal(&mut header, place(7));
///
/// let read = FORMAT.open(&header, |fields| Some(place(fields.u64()?)));
/// assert_eq!(read?.u64(), Some(7));
/// header[16] ^= 1;
/// let damaged = FORMAT.open(&header, |fields| Some(place(fields.u64()?)));
/// assert_eq!(damaged.err(), Some(BadHeader::Checksum));
/// # Ok::<(), BadHeader>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// How a file of this kind begins.
    pub magic: [u8; 8],
    /// The version that is written, and the newest that is read.
    pub version: u32,
}

impl Format {
    /// Bytes of a header before the engine's own fields.
    pub const FIELDS: usize = FIELDS;

    /// Completes `header`, which has at least 16 bytes and is at `place`, with its fields in it:
    /// magic, version and check.
    pub fn seal(&self, header: &mut [u8], place: Place) {
        debug_assert!(header.len() >= FIELDS, "a header holds what all begin with");
        put(header, 0, &self.magic);
        put(header, VERSION, &self.version.to_le_bytes());
        put(header, CHECK, &[0; 4]);
        let check = checksum_at(place, header);
        put(header, CHECK, &check.to_le_bytes());
    }

    /// Checks `header`, and returns its fields. It is at the `place` that they say.
    ///
    /// # Errors
    /// [`BadHeader`]. A version is reported only of a header that is whole: a flipped bit is damage, not a
    /// newer version.
    pub fn open<'a>(
        &self,
        header: &'a [u8],
        place: impl FnOnce(&mut Decoder<'a>) -> Option<Place>,
    ) -> Result<Decoder<'a>, BadHeader> {
        let mut decoder = Decoder::new(header);
        let mut begin = || Some((decoder.bytes(VERSION)?, decoder.u32()?, decoder.u32()?));
        let (magic, version, check) = begin().ok_or(BadHeader::Length)?;
        if magic != self.magic {
            return Err(BadHeader::Magic);
        }
        let fields = decoder;
        let place = place(&mut decoder).ok_or(BadHeader::Length)?;
        let mut covered = header.to_vec();
        put(&mut covered, CHECK, &[0; 4]);
        if checksum_at(place, &covered) != check {
            return Err(BadHeader::Checksum);
        }
        if version == 0 || version > self.version {
            return Err(BadHeader::Version(version));
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: Format = Format {
        magic: *b"anything",
        version: 2,
    };

    fn place(id: u64) -> Place {
        Place {
            id,
            number: 1,
            offset: 0,
        }
    }

    fn header(version: u32) -> [u8; 40] {
        let mut header = [0; 40];
        put(&mut header, FIELDS, &9_u64.to_le_bytes());
        let format = Format { version, ..FORMAT };
        format.seal(&mut header, place(9));
        header
    }

    fn open(header: &[u8]) -> Result<u64, BadHeader> {
        let mut fields = FORMAT.open(header, |fields| Some(place(fields.u64()?)))?;
        fields.u64().ok_or(BadHeader::Length)
    }

    #[test]
    fn every_version_up_to_this_one_is_read() {
        assert_eq!(open(&header(1)), Ok(9));
        assert_eq!(open(&header(2)), Ok(9));
        for version in [0, 3, u32::MAX] {
            assert_eq!(open(&header(version)), Err(BadHeader::Version(version)));
        }
    }

    #[test]
    fn every_flipped_bit_and_every_truncation_is_seen() {
        let whole = header(2);
        for bit in 0..whole.len() * 8 {
            let mut header = whole;
            header[bit / 8] ^= 1 << (bit % 8);
            let bad = open(&header).unwrap_err();
            let expected = if bit < 64 {
                BadHeader::Magic
            } else {
                BadHeader::Checksum
            };
            assert_eq!(bad, expected, "bit {bit}");
        }
        for len in 0..whole.len() {
            let bad = open(&whole[..len]).unwrap_err();
            let expected = if len < FIELDS + 8 {
                BadHeader::Length
            } else {
                BadHeader::Checksum
            };
            assert_eq!(bad, expected, "{len} bytes");
        }
    }
}
