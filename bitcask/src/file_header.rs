//! How a data file begins ([format], section 3).
//!
//! [format]: crate::format

use durable_io::checksum::Place;
use durable_io::codec::{Decoder, put};
use durable_io::engine::{BadHeader, Format};
use durable_io::{Dir, File, create_durably};

use crate::error::{Corruption, Error, Result};
use crate::manifest::{Bad, FileEntry, VERSION};
use crate::names;
use crate::record::{FILE_HEADER_SIZE, FIRST_GROUP};
use crate::table::OFFSET_BITS;

const FORMAT: Format = Format {
    magic: *b"bcskdata",
    version: VERSION,
};

/// What a data file was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Made {
    /// It is of version 1, which does not say.
    Unknown,
    /// To be written to: not before the manifest names it, so until then it has no group.
    ToWrite,
    /// It is what a merge wrote, before the manifest names it.
    ByMerge,
}

/// What a data file's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileHeader {
    pub(crate) store_id: u64,
    pub(crate) number: u64,
    pub(crate) id: u64,
    /// Of the manifest that was durable when the file was made.
    pub(crate) generation: u64,
    pub(crate) made: Made,
}

impl Made {
    fn code(self) -> u64 {
        match self {
            Self::Unknown => 0,
            Self::ToWrite => 1,
            Self::ByMerge => 2,
        }
    }
}

impl FileHeader {
    pub(crate) fn encode(&self) -> [u8; FILE_HEADER_SIZE] {
        let mut out = [0; FILE_HEADER_SIZE];
        put(&mut out, 16, &self.store_id.to_le_bytes());
        put(&mut out, 24, &self.number.to_le_bytes());
        put(&mut out, 32, &self.id.to_le_bytes());
        put(&mut out, 40, &self.generation.to_le_bytes());
        put(&mut out, 48, &self.made.code().to_le_bytes());
        FORMAT.seal(&mut out, self.place());
        out
    }

    fn place(&self) -> Place {
        self.entry().place(0)
    }

    /// What a manifest would say of the file while it is empty.
    pub(crate) fn entry(&self) -> FileEntry {
        FileEntry {
            number: self.number,
            id: self.id,
            end: FIRST_GROUP,
            digest: 0,
        }
    }

    /// The header of `file`, which is called `number`, and what is wrong with it.
    ///
    /// # Errors
    /// Those of the disk.
    pub(crate) fn read(file: &File, number: u64) -> Result<Result<Self, Bad>> {
        let mut bytes = [0; FILE_HEADER_SIZE];
        let read = file.read_at(&mut bytes, 0)?;
        let bytes = bytes.get(..read);
        let bytes = bytes.expect("no more is read than there is room for");
        Ok(Self::decode(bytes, number))
    }

    /// The header of the file that is called `number`.
    pub(crate) fn decode(bytes: &[u8], number: u64) -> Result<Self, Bad> {
        let short = Bad::at(0, Corruption::Length);
        let bytes = bytes.get(..FILE_HEADER_SIZE).ok_or(short)?;
        let ids = |fields: &mut Decoder<'_>| Some((fields.u64()?, fields.u64()?, fields.u64()?));
        let opened = FORMAT.open(bytes, |fields| {
            let (_, number, id) = ids(fields)?;
            let offset = 0;
            Some(Place { id, number, offset })
        });
        let mut fields = opened.map_err(|bad| match bad {
            BadHeader::Length => short,
            BadHeader::Magic => Bad::at(0, Corruption::Magic),
            BadHeader::Checksum => Bad::at(0, Corruption::Checksum),
            // A version that there never was is none of ours.
            BadHeader::Version(0) => Bad::at(0, Corruption::NotZero),
            BadHeader::Version(newer) => Bad::Newer(newer),
        })?;
        let (store_id, named, id) = ids(&mut fields).ok_or(short)?;
        if named != number {
            return Err(Bad::at(0, Corruption::Checksum));
        }
        let (generation, code) = fields.u64().zip(fields.u64()).ok_or(short)?;
        let is_version_1 = bytes.get(8..12) == Some(&1_u32.to_le_bytes()[..]);
        let made = match (is_version_1, code) {
            (true, 0) if generation == 0 => Made::Unknown,
            (true, _) => return Err(Bad::at(40, Corruption::NotZero)),
            (false, 1) => Made::ToWrite,
            (false, 2) => Made::ByMerge,
            (false, _) => return Err(Bad::at(48, Corruption::Kind)),
        };
        if fields.rest().iter().any(|&byte| byte != 0) {
            return Err(Bad::at(0, Corruption::NotZero));
        }
        Ok(Self {
            store_id,
            number,
            id,
            generation,
            made,
        })
    }
}

/// Reads the header of `file`, which must be what the manifest calls `entry`.
pub(crate) fn check_header(file: &File, entry: &FileEntry, store_id: u64) -> Result<()> {
    let header = FileHeader::read(file, entry.number)?
        .map_err(|bad| bad.into_error(file.path().to_owned()))?;
    if header.store_id != store_id || header.id != entry.id {
        return Err(Error::corrupt(file.path(), 0, Corruption::ForeignFile));
    }
    Ok(())
}

/// Opens the file that the manifest calls `entry`, and checks its header and that it is long enough.
/// It is opened for writing only if it `is_written`.
pub(crate) fn open_named(
    dir: &Dir,
    entry: &FileEntry,
    store_id: u64,
    is_written: bool,
) -> Result<File> {
    let name = names::data(entry.number);
    let opened = if is_written {
        dir.open(&name)
    } else {
        dir.open_read_only(&name)
    };
    let file = match opened {
        Err(error) if error.is_not_found() => {
            let path = dir.path().join(name);
            return Err(Error::corrupt(&path, 0, Corruption::MissingFile));
        }
        other => other?,
    };
    check_header(&file, entry, store_id)?;
    let len = file.len()?;
    if len < entry.end || len >> OFFSET_BITS != 0 {
        return Err(Error::corrupt(file.path(), len, Corruption::Length));
    }
    Ok(file)
}

/// Creates the data file with this header, empty, durably, with its first `window` bytes as zeros.
pub(crate) fn create(dir: &Dir, header: &FileHeader, window: u64) -> durable_io::Result<File> {
    // Durable: header, zeros and name. Only now may the manifest name it: a file that it names and
    // that is missing or has no header is a loss.
    create_durably(dir, &names::data(header.number), |file| {
        // A full disk is met here.
        file.write_zeros(0, window)?;
        file.write_all_at(&header.encode(), 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: FileHeader = FileHeader {
        store_id: 7,
        number: 3,
        id: 9,
        generation: 4,
        made: Made::ByMerge,
    };

    #[test]
    fn a_header_is_read_back_only_under_its_number() {
        let bytes = HEADER.encode();
        assert_eq!(FileHeader::decode(&bytes, 3), Ok(HEADER));
        let other = FileHeader::decode(&bytes, 4);
        assert_eq!(other, Err(Bad::at(0, Corruption::Checksum)));
    }

    #[test]
    fn d16_every_flipped_bit_of_a_header_is_seen() {
        for bit in 0..FILE_HEADER_SIZE * 8 {
            let mut bytes = HEADER.encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let bad = FileHeader::decode(&bytes, 3);
            assert!(matches!(bad, Err(Bad::Corrupt { .. })), "bit {bit}");
        }
    }
}
