//! The list of index parts: which files are the index ([format], section 5).
//!
//! [format]: crate::format

use std::path::{Path, PathBuf};

use durable_io::checksum::Place;
use durable_io::codec::{Decoder, Encoder};
use durable_io::engine::{BadHeader, Format, UnsupportedVersion};
use durable_io::{Dir, replace_file};

use crate::error::{Corruption, Error, Result};
use crate::ids::Position;
use crate::names;
use crate::term::Key;

/// How the file begins, and the version of its format. The check covers all of it.
const FORMAT: Format = Format {
    magic: *b"evstlist",
    version: 1,
};
/// The list is alone.
const PLACE: Place = Place {
    id: 0,
    number: 0,
    offset: 0,
};

const HEADER_SIZE: usize = 48;
const ENTRY_SIZE: usize = 32;

/// One part of the index, as the list names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) number: u64,
    /// The random id of its file.
    pub(crate) id: u64,
    /// The events that it covers.
    pub(crate) first: Position,
    pub(crate) last: Position,
}

impl Entry {
    /// The place of the byte at `offset` of the part, for checksums.
    pub(crate) fn place(&self, offset: u64) -> Place {
        Place {
            id: self.id,
            number: self.number,
            offset,
        }
    }

    pub(crate) fn events(&self) -> u64 {
        self.last.0 - self.first.0 + 1
    }
}

/// The whole list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct List {
    pub(crate) key: Key,
    /// No part has this number or a higher one.
    pub(crate) next_number: u64,
    /// In the order of the log, from its first event on, without a gap.
    pub(crate) parts: Vec<Entry>,
}

/// What is wrong with a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bad {
    Damaged,
    Newer(u32),
}

impl List {
    pub(crate) fn new(key: Key) -> Self {
        Self {
            key,
            next_number: 1,
            parts: Vec::new(),
        }
    }

    /// The last event that a part covers.
    pub(crate) fn last(&self) -> Position {
        self.parts.last().map_or(Position(0), |part| part.last)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::with_capacity(HEADER_SIZE + ENTRY_SIZE * self.parts.len());
        out.bytes(&[0; Format::FIELDS]);
        let Key([high, low]) = self.key;
        out.u64(high).u64(low).u64(self.next_number);
        out.u64(self.parts.len() as u64);
        for part in &self.parts {
            out.u64(part.number).u64(part.id);
            out.u64(part.first.0).u64(part.last.0);
        }
        let mut bytes = out.into_vec();
        FORMAT.seal(&mut bytes, PLACE);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Bad> {
        match FORMAT.open(bytes, |_fields| Some(PLACE)) {
            Ok(fields) => Self::decode_fields(fields).ok_or(Bad::Damaged),
            Err(BadHeader::Version(version)) => Err(Bad::Newer(version)),
            Err(_) => Err(Bad::Damaged),
        }
    }

    fn decode_fields(mut decoder: Decoder<'_>) -> Option<Self> {
        let key = Key([decoder.u64()?, decoder.u64()?]);
        let next_number = decoder.u64()?;
        let count = usize::try_from(decoder.u64()?).ok()?;
        if decoder.rest().len() != count.checked_mul(ENTRY_SIZE)? {
            return None;
        }
        let mut parts = Vec::with_capacity(count);
        let mut next = Position(1);
        for _ in 0..count {
            let part = Entry {
                number: decoder.u64()?,
                id: decoder.u64()?,
                first: Position(decoder.u64()?),
                last: Position(decoder.u64()?),
            };
            let is_sound = part.first == next && part.last >= next && part.last.0 < u64::MAX;
            if !is_sound || part.number == 0 || part.number >= next_number {
                return None;
            }
            next = part.last.next();
            parts.push(part);
        }
        Some(Self {
            key,
            next_number,
            parts,
        })
    }

    /// Reads the list in `dir`: `None` if there is none, or if it is damaged, and which.
    ///
    /// # Errors
    /// [`Error::UnsupportedVersion`], [`Error::Disk`].
    pub(crate) fn read(dir: &Dir) -> Result<Found> {
        let file = match dir.open_read_only(names::LIST) {
            Err(error) if error.is_not_found() => return Ok(Found::Missing),
            other => other?,
        };
        let len = file.len()?;
        // What it takes to name every part of the largest store: before anything is allocated.
        if len > (HEADER_SIZE + ENTRY_SIZE * MAX_PARTS) as u64 {
            return Ok(Found::Damaged);
        }
        let mut bytes = vec![0; usize::try_from(len).expect("the length is bounded")];
        let read = file.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        match Self::decode(&bytes) {
            Ok(list) => Ok(Found::Whole(list)),
            Err(Bad::Damaged) => Ok(Found::Damaged),
            Err(Bad::Newer(version)) => Err(Error::UnsupportedVersion(UnsupportedVersion {
                path: file.path().to_owned(),
                version,
                supported: FORMAT.version,
            })),
        }
    }

    /// Replaces the list in `dir`, durably.
    pub(crate) fn write(&self, dir: &Dir) -> durable_io::Result<()> {
        // Durable: the whole list. Only now may a part that is not in it any more be removed.
        replace_file(dir, names::LIST, &self.encode())
    }

    /// The error of a list that names what the log, which ends at `last`, does not hold.
    pub(crate) fn ahead_of_log(&self, dir: &Path, last: Position) -> Error {
        let path: PathBuf = dir.join(names::LIST);
        let listed = self.last();
        Error::corrupt(&path, 0, Corruption::LostEvents { listed, last })
    }
}

/// More parts than a store has whose parts are merged.
const MAX_PARTS: usize = 1 << 16;

/// What is in the place of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Whole(List),
    Missing,
    Damaged,
}

/// The list as it is on the disk; held by whoever changes it.
#[derive(Debug)]
pub(crate) struct Indexer {
    pub(crate) list: List,
    /// The number of the next part: above all that were tried.
    pub(crate) next_number: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> List {
        let part = |number, first, last| Entry {
            number,
            id: 100 + number,
            first: Position(first),
            last: Position(last),
        };
        List {
            key: Key([7, 8]),
            next_number: 4,
            parts: vec![part(3, 1, 10), part(1, 11, 11)],
        }
    }

    #[test]
    fn a_list_is_read_back() {
        assert_eq!(List::decode(&list().encode()), Ok(list()));
        assert_eq!(list().last(), Position(11));
    }

    #[test]
    fn d16_every_flipped_bit_and_every_missing_byte_of_a_list_is_seen() {
        let whole = list().encode();
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(List::decode(&bytes), Err(Bad::Damaged), "bit {bit}");
        }
        for len in 0..whole.len() {
            assert_eq!(
                List::decode(&whole[..len]),
                Err(Bad::Damaged),
                "{len} bytes"
            );
        }
    }

    #[test]
    fn a_newer_version_is_not_damage() {
        let mut bytes = list().encode();
        let newer = Format {
            version: 2,
            ..FORMAT
        };
        newer.seal(&mut bytes, PLACE);
        assert_eq!(List::decode(&bytes), Err(Bad::Newer(2)));
    }

    #[test]
    fn parts_that_do_not_follow_each_other_are_refused() {
        for change in [
            |list: &mut List| list.parts[1].first = Position(12),
            |list: &mut List| list.parts[0].first = Position(2),
            |list: &mut List| list.parts[1].last = Position(10),
            |list: &mut List| list.next_number = 3,
        ] {
            let mut wrong = list();
            change(&mut wrong);
            assert_eq!(List::decode(&wrong.encode()), Err(Bad::Damaged));
        }
    }
}
