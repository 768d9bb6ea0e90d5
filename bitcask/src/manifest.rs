//! The manifest: which data files are the store, oldest first ([format], section 5).
//!
//! [format]: crate::format

use std::path::PathBuf;

use durable_io::checksum::{Place, checksum};
use durable_io::codec::{Decoder, Encoder, put};
use durable_io::engine::UnsupportedVersion;
use durable_io::{Dir, replace_file};

use crate::error::{Corruption, Error, Result};
use crate::limits::MAX_DATA_FILES;
use crate::names;
use crate::record::FIRST_GROUP;

/// The format version that this crate writes, and the newest that it reads.
pub(crate) const VERSION: u32 = 2;

const MAGIC: &[u8; 8] = b"bcskmani";
const HEADER_SIZE: usize = 56;
const ENTRY_SIZE: usize = 32;
/// Where the check stands.
const CHECK: usize = 12;

/// What the manifest says of one data file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileEntry {
    pub(crate) number: u64,
    pub(crate) id: u64,
    /// Where the groups of a sealed file end; below it, those of the active file were durable.
    pub(crate) end: u64,
    /// Of a sealed file.
    pub(crate) digest: u32,
}

impl FileEntry {
    /// The place of the byte at `offset`, for checksums.
    pub(crate) fn place(&self, offset: u64) -> Place {
        Place {
            id: self.id,
            number: self.number,
            offset,
        }
    }
}

/// The whole manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) store_id: u64,
    pub(crate) hash_seed: u64,
    /// No file of the store has this number or a higher one.
    pub(crate) next_number: u64,
    /// Counts the manifests of this store. Data files state the one that was durable when they were made,
    /// so that an older manifest in its place is found out.
    pub(crate) generation: u64,
    /// Oldest first; the last one is the active file.
    pub(crate) files: Vec<FileEntry>,
}

impl Manifest {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let size = HEADER_SIZE + ENTRY_SIZE * self.files.len();
        let mut out = Encoder::with_capacity(size);
        out.bytes(MAGIC).u32(VERSION).u32(0);
        out.u64(self.store_id)
            .u64(self.hash_seed)
            .u64(self.next_number);
        let count = u32::try_from(self.files.len());
        out.u32(count.expect("there are no more than MAX_DATA_FILES"))
            .u32(0)
            .u64(self.generation);
        for file in &self.files {
            out.u64(file.number).u64(file.id).u64(file.end);
            out.u32(file.digest).u32(0);
        }
        let mut bytes = out.into_vec();
        seal(&mut bytes);
        bytes
    }

    /// The manifest in `bytes`, or what is wrong and where.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Bad> {
        let short = Bad::at(0, Corruption::Length);
        let mut decoder = Decoder::new(bytes);
        if decoder.bytes(MAGIC.len()).ok_or(short)? != MAGIC {
            return Err(Bad::at(0, Corruption::Magic));
        }
        let version = decoder.u32().ok_or(short)?;
        let check = decoder.u32().ok_or(short)?;
        let mut covered = bytes.to_vec();
        put(&mut covered, CHECK, &[0; 4]);
        if checksum(&covered) != check {
            return Err(Bad::at(0, Corruption::Checksum));
        }
        // After the check: a flipped bit is damage, not a newer version.
        if version > VERSION {
            return Err(Bad::Newer(version));
        }
        let (store_id, hash_seed) = decoder.u64().zip(decoder.u64()).ok_or(short)?;
        let next_number = decoder.u64().ok_or(short)?;
        let (count, zero) = decoder.u32().zip(decoder.u32()).ok_or(short)?;
        let generation = match version {
            1 => 0,
            _ => decoder.u64().ok_or(short)?,
        };
        if decoder.rest().len() != ENTRY_SIZE * count as usize || count == 0 {
            return Err(Bad::at(40, Corruption::Length));
        }
        if zero != 0 || version == 0 {
            return Err(Bad::at(44, Corruption::NotZero));
        }
        let mut files = Vec::with_capacity(count as usize);
        for _ in 0..count {
            let at = (bytes.len() - decoder.rest().len()) as u64;
            let (number, id) = decoder.u64().zip(decoder.u64()).ok_or(short)?;
            let end = decoder.u64().ok_or(short)?;
            let (digest, zero) = decoder.u32().zip(decoder.u32()).ok_or(short)?;
            let file = FileEntry {
                number,
                id,
                end,
                digest,
            };
            if number == 0 || number >= next_number || end < FIRST_GROUP || zero != 0 {
                return Err(Bad::at(at, Corruption::Order));
            }
            files.push(file);
        }
        Ok(Self {
            store_id,
            hash_seed,
            next_number,
            generation,
            files,
        })
    }

    /// True if data file `number` is one of the store.
    pub(crate) fn names(&self, number: u64) -> bool {
        self.files.iter().any(|file| file.number == number)
    }

    /// Reads the manifest of the store in `dir`; `None` if there is none.
    pub(crate) fn read(dir: &Dir) -> Result<Option<Self>> {
        let file = match dir.open_read_only(names::MANIFEST) {
            Err(error) if error.is_not_found() => return Ok(None),
            other => other?,
        };
        let path = || file.path().to_owned();
        let largest = (HEADER_SIZE + ENTRY_SIZE * MAX_DATA_FILES as usize) as u64;
        let len = file.len()?;
        if len > largest {
            return Err(Bad::at(largest, Corruption::Length).into_error(path()));
        }
        let mut bytes = vec![0; usize::try_from(len).expect("a manifest is small")];
        let read = file.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        Self::decode(&bytes)
            .map(Some)
            .map_err(|bad| bad.into_error(path()))
    }

    /// Replaces the manifest in `dir`, durably.
    pub(crate) fn write(&self, dir: &Dir) -> durable_io::Result<()> {
        // Durable: the whole list. Only now may a group be written to a file that is new in it, and a
        // file that is not in it any more be removed.
        replace_file(dir, names::MANIFEST, &self.encode())
    }
}

/// Gives the manifest in `bytes` its check.
fn seal(bytes: &mut [u8]) {
    put(bytes, CHECK, &[0; 4]);
    let check = checksum(bytes);
    put(bytes, CHECK, &check.to_le_bytes());
}

/// Why a manifest or the header of a file cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bad {
    Corrupt { offset: u64, reason: Corruption },
    Newer(u32),
}

impl Bad {
    pub(crate) fn at(offset: u64, reason: Corruption) -> Self {
        Self::Corrupt { offset, reason }
    }

    /// The error that names the file at `path`.
    pub(crate) fn into_error(self, path: PathBuf) -> Error {
        match self {
            Self::Corrupt { offset, reason } => Error::corrupt(&path, offset, reason),
            Self::Newer(version) => Error::UnsupportedVersion(UnsupportedVersion {
                path,
                version,
                supported: VERSION,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of version 1.
    const HEADER_SIZE_1: usize = 48;

    fn manifest() -> Manifest {
        let file = |number| FileEntry {
            number,
            id: 100 + number,
            end: 64,
            digest: 0,
        };
        Manifest {
            store_id: 7,
            hash_seed: 8,
            next_number: 4,
            generation: 5,
            files: vec![file(3), file(1)],
        }
    }

    #[test]
    fn a_manifest_is_read_back() {
        assert_eq!(Manifest::decode(&manifest().encode()), Ok(manifest()));
    }

    #[test]
    fn d16_every_flipped_bit_and_every_missing_byte_of_a_manifest_is_seen() {
        let whole = manifest().encode();
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let bad = Manifest::decode(&bytes);
            assert!(matches!(bad, Err(Bad::Corrupt { .. })), "bit {bit}");
        }
        for len in 0..whole.len() {
            assert!(Manifest::decode(&whole[..len]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn a_manifest_of_version_1_has_no_generation() {
        let mut bytes = manifest().encode();
        bytes.drain(HEADER_SIZE_1..HEADER_SIZE);
        put(&mut bytes, 8, &1_u32.to_le_bytes());
        seal(&mut bytes);
        let generation = 0;
        let expected = Manifest {
            generation,
            ..manifest()
        };
        assert_eq!(Manifest::decode(&bytes), Ok(expected));
    }

    #[test]
    fn a_newer_version_is_not_damage() {
        let mut bytes = manifest().encode();
        put(&mut bytes, 8, &3_u32.to_le_bytes());
        seal(&mut bytes);
        assert_eq!(Manifest::decode(&bytes), Err(Bad::Newer(3)));
    }

    #[test]
    fn numbers_that_contradict_each_other_are_refused() {
        let mut wrong = manifest();
        wrong.next_number = 3;
        let order = Bad::at(56, Corruption::Order);
        assert_eq!(Manifest::decode(&wrong.encode()), Err(order));
        wrong = manifest();
        wrong.files.clear();
        assert!(Manifest::decode(&wrong.encode()).is_err());
    }
}
