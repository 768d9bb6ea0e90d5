//! Hints: what the index needs of a sealed data file, as a cache ([format], section 6).
//!
//! [format]: crate::format

use std::sync::Arc;

use durable_io::checksum::checksum;
use durable_io::codec::{Decoder, put};
use durable_io::{Dir, File, Map};

use crate::data_file::DataFile;
use crate::error::{Corruption, Result};
use crate::keydir::Hasher;
use crate::manifest::FileEntry;
use crate::names;
use crate::record::FIRST_GROUP;
use crate::record::{Kind, digest};
use crate::scan::{Indexed, Scan, Step};

const MAGIC: &[u8; 8] = b"bcskhint";
const VERSION: u32 = 1;
const HEADER_SIZE: usize = 64;
const ENTRY_SIZE: usize = 16;
/// Where the check stands.
const CHECK: usize = 12;
/// About how much of a hint is in memory while it is written.
const PART: usize = 256 << 10;

/// What the index needs of one data file.
#[derive(Debug)]
pub(crate) enum Hint {
    /// A valid file.
    Mapped(Map),
    /// What a scan of the data file gave.
    Made(Vec<u8>),
}

impl Hint {
    /// The hint file of the data file `entry`, if it is there and valid. A hint that cannot be read
    /// is like one that is not there.
    pub(crate) fn load(dir: &Dir, entry: &FileEntry) -> Option<Self> {
        let file = dir.open_read_only(&names::hint(entry.number)).ok()?;
        let map = file.map(0..file.len().ok()?).ok()?;
        is_valid(&map, entry).then_some(Self::Mapped(map))
    }

    /// Reads the sealed data file `file`, which the manifest calls `entry`.
    ///
    /// # Errors
    /// Damage of the file.
    pub(crate) fn scan(file: &Arc<DataFile>, entry: &FileEntry, hasher: &Hasher) -> Result<Self> {
        let mut bytes = vec![0; HEADER_SIZE];
        scan_into(file, entry, hasher, &mut bytes, |_bytes| Ok(()))?;
        let head = header(entry, entries_in(&bytes));
        put(&mut bytes, 0, &head);
        Ok(Self::Made(bytes))
    }

    /// The hash of the key of the record at `offset`, if there is one.
    pub(crate) fn hash_at(&self, offset: u64) -> Option<u64> {
        self.entries()
            .find(|entry| entry.offset == offset)
            .map(|entry| entry.hash)
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Made(bytes) => bytes,
        }
    }

    /// Its entries, one for each record, in their order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Indexed> + '_ {
        indexed(entries_in(self.bytes()))
    }
}

fn indexed(entries: &[u8]) -> impl Iterator<Item = Indexed> + '_ {
    entries.chunks_exact(ENTRY_SIZE).filter_map(|entry| {
        let mut decoder = Decoder::new(entry);
        let (hash, word) = decoder.u64().zip(decoder.u64())?;
        let kind = if word & 1 == 0 {
            Kind::Put
        } else {
            Kind::Delete
        };
        Some(Indexed {
            hash,
            offset: word >> 1,
            kind,
        })
    })
}

/// The entries of a hint that is whole, or has room for its header.
fn entries_in(bytes: &[u8]) -> &[u8] {
    let entries = bytes.get(HEADER_SIZE..);
    entries.expect("a hint begins with its header")
}

/// Writes the hint of the sealed data file `file`, which the manifest calls `entry`, over whatever has
/// its name. Takes memory for a part of it only.
///
/// # Errors
/// Damage of the data file; those of the disk.
pub(crate) fn write(
    dir: &Dir,
    file: &Arc<DataFile>,
    entry: &FileEntry,
    hasher: &Hasher,
) -> Result<()> {
    let name = names::hint(entry.number);
    let hint = create_over(dir, &name)?;
    let written = write_to(&hint, file, entry, hasher);
    if written.is_err() {
        // Best effort: what is left is no valid hint.
        drop(dir.remove(&name));
    }
    written
}

fn write_to(hint: &File, file: &Arc<DataFile>, entry: &FileEntry, hasher: &Hasher) -> Result<()> {
    let mut bytes = vec![0; HEADER_SIZE];
    let mut end = 0;
    let append = |bytes: &mut Vec<u8>, end: &mut u64| -> Result<()> {
        hint.allocate(*end, bytes.len() as u64)?;
        hint.write_all_at(bytes, *end)?;
        *end += bytes.len() as u64;
        bytes.clear();
        Ok(())
    };
    scan_into(file, entry, hasher, &mut bytes, |bytes| {
        if bytes.len() < PART {
            return Ok(());
        }
        append(bytes, &mut end)
    })?;
    if end == 0 {
        // All of it in one write.
        let head = header(entry, entries_in(&bytes));
        put(&mut bytes, 0, &head);
        append(&mut bytes, &mut end)?;
    } else {
        if !bytes.is_empty() {
            append(&mut bytes, &mut end)?;
        }
        let entries = hint.map(HEADER_SIZE as u64..end)?;
        hint.write_all_at(&header(entry, &entries), 0)?;
    }
    // Redundant: a hint that a crash left torn does not pass its check, and is made again from the
    // data file. The sync saves that, which is most of the time of opening.
    drop(hint.sync_data()?);
    Ok(())
}

/// Appends an entry to `bytes` for each record of the sealed data file `file`; calls `part` after each
/// group.
fn scan_into(
    file: &Arc<DataFile>,
    entry: &FileEntry,
    hasher: &Hasher,
    bytes: &mut Vec<u8>,
    mut part: impl FnMut(&mut Vec<u8>) -> Result<()>,
) -> Result<()> {
    let mut scan = Scan::sealed(file);
    let mut found = Vec::new();
    loop {
        match scan.index(hasher, &mut found)? {
            Step::Group(_) => {}
            Step::End if scan.offset == entry.end => break,
            Step::End => return Err(scan.corrupt(scan.offset, Corruption::Length)),
            Step::Bad { offset, reason } => return Err(scan.corrupt(offset, reason)),
        }
        for record in &found {
            let is_tombstone = u64::from(record.kind == Kind::Delete);
            bytes.extend_from_slice(&record.hash.to_le_bytes());
            bytes.extend_from_slice(&(record.offset << 1 | is_tombstone).to_le_bytes());
        }
        part(bytes)?;
    }
    if scan.digest != entry.digest {
        return Err(scan.corrupt(FIRST_GROUP, Corruption::Digest));
    }
    Ok(())
}

fn create_over(dir: &Dir, name: &str) -> durable_io::Result<File> {
    match dir.create_new(name) {
        Err(error) if error.is_already_exists() => {
            dir.remove(name)?;
            dir.create_new(name)
        }
        other => other,
    }
}

/// The header of the hint of `entry` with these entries.
fn header(entry: &FileEntry, entries: &[u8]) -> [u8; HEADER_SIZE] {
    let count = (entries.len() / ENTRY_SIZE) as u64;
    let mut out = [0; HEADER_SIZE];
    put(&mut out, 0, MAGIC);
    put(&mut out, 8, &VERSION.to_le_bytes());
    put(&mut out, 16, &entry.number.to_le_bytes());
    put(&mut out, 24, &entry.id.to_le_bytes());
    put(&mut out, 32, &entry.end.to_le_bytes());
    put(&mut out, 40, &entry.digest.to_le_bytes());
    put(&mut out, 48, &count.to_le_bytes());
    // Of the header with zeros in the place of the check.
    let check = digest(checksum(&out), checksum(entries));
    put(&mut out, CHECK, &check.to_le_bytes());
    out
}

/// How many entries a hint of `len` bytes has.
pub(crate) fn count(len: usize) -> usize {
    len.saturating_sub(HEADER_SIZE) / ENTRY_SIZE
}

/// True if `bytes` are a whole hint of the data file `entry`.
pub(crate) fn is_valid(bytes: &[u8], entry: &FileEntry) -> bool {
    let Some((head, entries)) = bytes.split_at_checked(HEADER_SIZE) else {
        return false;
    };
    let is_within = |indexed: Indexed| indexed.offset < entry.end;
    entries.len().is_multiple_of(ENTRY_SIZE)
        && header(entry, entries) == head
        && indexed(entries).all(is_within)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: FileEntry = FileEntry {
        number: 3,
        id: 9,
        end: 200,
        digest: 5,
    };

    fn hint() -> Vec<u8> {
        // Of a hash and an offset.
        let entries = [7_u64.to_le_bytes(), 200_u64.to_le_bytes()]
            .concat()
            .repeat(2);
        [&header(&ENTRY, &entries)[..], &entries].concat()
    }

    #[test]
    fn d11_a_hint_of_other_content_is_not_valid() {
        assert!(is_valid(&hint(), &ENTRY));
        let others = [
            FileEntry { number: 4, ..ENTRY },
            FileEntry { id: 8, ..ENTRY },
            FileEntry { end: 208, ..ENTRY },
            FileEntry { digest: 6, ..ENTRY },
        ];
        for other in others {
            assert!(!is_valid(&hint(), &other));
        }
    }

    #[test]
    fn d11_every_flipped_bit_and_every_cut_of_a_hint_is_seen() {
        for bit in 0..hint().len() * 8 {
            let mut bytes = hint();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(!is_valid(&bytes, &ENTRY), "bit {bit}");
        }
        for len in 0..hint().len() {
            assert!(!is_valid(&hint()[..len], &ENTRY), "{len} bytes");
        }
    }
}
