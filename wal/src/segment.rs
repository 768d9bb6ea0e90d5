//! One segment file: its header, and how it is made ([format], section 3).
//!
//! [format]: crate::format

use std::path::Path;

use durable_io::codec::{Decoder, put};
use durable_io::engine::{self, Format, UnsupportedVersion};
use durable_io::{Dir, File, Temp, publish_temp};

use crate::error::{Corruption, Error};
use crate::frame::{Layout, SEGMENT_HEADER_SIZE, place};
use crate::limits::{MAX_SEGMENT_SIZE, MIN_SEGMENT_SIZE, SEGMENT_ALIGN};
use crate::names;

/// [`SEGMENT_HEADER_SIZE`] as an offset in a file: that of the first group.
pub(crate) const FIRST_GROUP: u64 = SEGMENT_HEADER_SIZE as u64;
/// The version of segments that this crate writes, and the newest that it reads.
pub(crate) const VERSION: u32 = 2;

const FORMAT: Format = Format {
    magic: *b"waldsegm",
    version: VERSION,
};

/// What a segment header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) log_id: u64,
    pub(crate) number: u64,
    /// Bytes of this segment.
    pub(crate) size: u64,
    /// Bytes of those of the log that are not made for one large batch.
    pub(crate) usual: u64,
    /// Of the headers of its groups.
    pub(crate) layout: Layout,
}

/// Why a segment header cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadHeader {
    Corrupt(Corruption),
    Newer(u32),
}

impl BadHeader {
    /// The error that names the file at `path`.
    pub(crate) fn into_error(self, path: &Path) -> Error {
        match self {
            Self::Corrupt(reason) => Error::Corrupt {
                path: path.to_owned(),
                offset: 0,
                reason,
            },
            Self::Newer(version) => Error::UnsupportedVersion(UnsupportedVersion {
                path: path.to_owned(),
                version,
                supported: VERSION,
            }),
        }
    }
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER_SIZE] {
        let mut out = [0; SEGMENT_HEADER_SIZE];
        put(&mut out, 16, &self.log_id.to_le_bytes());
        put(&mut out, 24, &self.number.to_le_bytes());
        put(&mut out, 32, &self.size.to_le_bytes());
        let version = match self.layout {
            Layout::Plain => 1,
            Layout::Timed { since } => {
                put(&mut out, 40, &self.usual.to_le_bytes());
                put(&mut out, 48, &since.to_le_bytes());
                VERSION
            }
        };
        let format = Format { version, ..FORMAT };
        format.seal(&mut out, place(self.log_id, self.number, 0));
        out
    }

    /// The header of the segment that is called `number`.
    pub(crate) fn decode(bytes: &[u8], number: u64) -> Result<Self, BadHeader> {
        let short = BadHeader::Corrupt(Corruption::Length);
        let bytes = bytes.get(..SEGMENT_HEADER_SIZE).ok_or(short)?;
        let at = |log_id| place(log_id, number, 0);
        let opened = FORMAT.open(bytes, |fields| fields.u64().map(at));
        let mut fields = opened.map_err(|bad| match bad {
            // A version that there never was is none of ours.
            engine::BadHeader::Length | engine::BadHeader::Version(0) => short,
            engine::BadHeader::Magic => BadHeader::Corrupt(Corruption::Magic),
            engine::BadHeader::Checksum => BadHeader::Corrupt(Corruption::Checksum),
            engine::BadHeader::Version(newer) => BadHeader::Newer(newer),
        })?;
        let mut header = Self {
            log_id: fields.u64().ok_or(short)?,
            number: fields.u64().ok_or(short)?,
            size: fields.u64().ok_or(short)?,
            usual: 0,
            layout: Layout::Plain,
        };
        header.usual = header.size;
        if layout_of(bytes) != Layout::Plain {
            header.usual = fields.u64().ok_or(short)?;
            let since = fields.u64().ok_or(short)?;
            header.layout = Layout::Timed { since };
        }
        if fields.rest().iter().any(|&byte| byte != 0) {
            return Err(BadHeader::Corrupt(Corruption::NotZero));
        }
        let is_large_enough = is_segment_size(header.usual) && header.size >= header.usual;
        if header.number != number || !is_segment_size(header.size) || !is_large_enough {
            return Err(BadHeader::Corrupt(Corruption::Length));
        }
        Ok(header)
    }
}

/// How the groups are laid out of the segment whose header is `bytes`, as far as that says, damaged or not.
pub(crate) fn layout_of(bytes: &[u8]) -> Layout {
    let mut decoder = Decoder::new(bytes);
    match (decoder.u64(), decoder.u32()) {
        (Some(_magic), Some(1)) => Layout::Plain,
        _ => Layout::Timed { since: 0 },
    }
}

/// `offset`, which is inside of a segment.
pub(crate) fn offset_in_segment(offset: u64) -> u32 {
    u32::try_from(offset).expect("a segment is smaller than 4 GiB")
}

/// True if segments may have `size` bytes.
pub(crate) fn is_segment_size(size: u64) -> bool {
    (MIN_SEGMENT_SIZE..=MAX_SEGMENT_SIZE).contains(&size) && size.is_multiple_of(SEGMENT_ALIGN)
}

/// Makes the empty segment that `header` describes, over whatever left-over has its name: its first
/// `filled` bytes, or all of it if that is more, have space and zeros, the rest is a hole. Nothing of it is
/// durable yet.
///
/// A left-over is rewritten in place: names reach the disk in any order, so a segment that was
/// unlinked and created again could be gone while a later one is there, and look like a loss.
///
/// # Errors
/// A full disk: the left-over is no segment, or an empty one.
pub(crate) fn write_blank(
    dir: &Dir,
    header: &SegmentHeader,
    filled: u64,
) -> durable_io::Result<File> {
    let file = open_or_create(dir, &names::segment(header.number))?;
    if file.len()? > 0 {
        // What was there must not come to follow a group.
        file.set_len(0)?;
    }
    // A full disk is met here, and never by an append. Written zeros rather than reserved blocks:
    // the sync of a group then has no metadata to write.
    file.write_zeros(0, filled.min(header.size))?;
    file.set_len(header.size)?;
    file.write_all_at(&header.encode(), 0)?;
    Ok(file)
}

/// Makes the empty segment that `header` describes, all of it reserved, and durable, also by its name; in one
/// step, in the place of an empty one that may be there and that the superblock may name.
///
/// # Errors
/// A full disk: nothing has changed.
pub(crate) fn put_blank(dir: &Dir, header: &SegmentHeader) -> durable_io::Result<File> {
    let blank = Temp::create(dir, &names::segment(header.number))?;
    // Reserved and not written: what is made for one batch is written once.
    blank.file().allocate(0, header.size)?;
    blank.file().write_all_at(&header.encode(), 0)?;
    // Durable: a whole segment and its name, by both barriers of the procedure. Only now may a group be
    // written into it, and the superblock name it. Until then the one that it takes the place of is there.
    publish_temp(blank)
}

/// The file `name`, with whatever a left-over holds.
pub(crate) fn open_or_create(dir: &Dir, name: &str) -> durable_io::Result<File> {
    match dir.create_new(name) {
        Err(error) if error.is_already_exists() => dir.open(name),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: SegmentHeader = SegmentHeader {
        log_id: 7,
        number: 3,
        size: 4096,
        usual: 2048,
        layout: Layout::Timed { since: 99 },
    };

    #[test]
    fn a_header_is_read_back_only_under_its_number() {
        let bytes = HEADER.encode();
        assert_eq!(SegmentHeader::decode(&bytes, 3), Ok(HEADER));
        assert_eq!(
            SegmentHeader::decode(&bytes, 4),
            Err(BadHeader::Corrupt(Corruption::Checksum))
        );
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_seen() {
        for bit in 0..SEGMENT_HEADER_SIZE * 8 {
            let mut bytes = HEADER.encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(
                matches!(SegmentHeader::decode(&bytes, 3), Err(BadHeader::Corrupt(_))),
                "bit {bit}"
            );
        }
    }

    #[test]
    fn a_newer_version_is_not_damage() {
        let mut bytes = HEADER.encode();
        let newer = Format {
            version: 3,
            ..FORMAT
        };
        newer.seal(&mut bytes, place(7, 3, 0));
        assert_eq!(SegmentHeader::decode(&bytes, 3), Err(BadHeader::Newer(3)));
    }

    #[test]
    fn a_header_of_version_1_is_that_of_a_segment_of_the_usual_size() {
        let header = SegmentHeader {
            usual: 4096,
            layout: Layout::Plain,
            ..HEADER
        };
        assert_eq!(SegmentHeader::decode(&header.encode(), 3), Ok(header));
    }

    #[test]
    fn no_segment_is_smaller_than_the_usual_ones() {
        for (size, usual) in [(2048, 4096), (4096, 0), (4096, 2047)] {
            let header = SegmentHeader {
                size,
                usual,
                ..HEADER
            };
            let read = SegmentHeader::decode(&header.encode(), 3);
            assert_eq!(read, Err(BadHeader::Corrupt(Corruption::Length)));
        }
    }
}
