//! The manifest: which tables are the set, and which numbers were given.

use std::ops::Bound;

use durable_io::checksum::checksum;
use durable_io::codec::{Decoder, Encoder};
use durable_io::{Dir, replace_file};
use sstable::TableInfo;

use super::set::Outcome;

const NAME: &str = "manifest";

/// A table of the set: a file whose name is its number.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) number: u64,
    pub(crate) level: u32,
    pub(crate) run: u64,
    pub(crate) info: TableInfo,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Manifest {
    /// No table of the set has had a higher number. The first table has 1.
    pub(crate) last_number: u64,
    pub(crate) members: Vec<Member>,
}

impl Manifest {
    /// The manifest in `dir`; that of an empty set if there is none.
    pub(crate) fn read(dir: &Dir) -> Outcome<Self> {
        let file = match dir.open(NAME) {
            Err(error) if error.is_not_found() => return Ok(Self::default()),
            other => other?,
        };
        let mut bytes = vec![0; usize::try_from(file.len()?)?];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(Self::decode(&bytes).ok_or("the manifest is damaged")?)
    }

    /// Replaces the manifest in `dir`.
    pub(crate) fn write(&self, dir: &Dir) -> Outcome<()> {
        let mut body = Encoder::default();
        body.u64(self.last_number);
        for member in &self.members {
            let info = &member.info;
            let (last, is_included) = match &info.last {
                Bound::Included(last) => (last, 1),
                Bound::Excluded(end) => (end, 0),
                Bound::Unbounded => return Err("a table has an end".into()),
            };
            body.u64(member.number).u32(member.level).u64(member.run);
            body.u64(info.file_id).u64(info.file_bytes);
            body.u64(info.entries).u64(info.tombstones);
            body.u64(info.range_tombstones).u32(info.checksum);
            body.u64(info.oldest_version).u64(info.newest_version);
            body.u32(u32::try_from(info.first.len())?)
                .bytes(&info.first);
            body.u32(is_included);
            body.u32(u32::try_from(last.len())?).bytes(last);
        }
        let mut file = Encoder::default();
        file.u32(checksum(body.as_slice())).bytes(body.as_slice());
        // Durable: the edit, in one atomic step; the tables that it names are durable already. Only now
        // is anything acknowledged, and may tables go that it does not name any more.
        Ok(replace_file(dir, NAME, file.as_slice())?)
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut decoder = Decoder::new(bytes);
        if decoder.u32()? != checksum(decoder.rest()) {
            return None;
        }
        let mut manifest = Self {
            last_number: decoder.u64()?,
            members: Vec::new(),
        };
        while !decoder.rest().is_empty() {
            manifest.members.push(member(&mut decoder)?);
        }
        Some(manifest)
    }
}

fn member(decoder: &mut Decoder<'_>) -> Option<Member> {
    let (number, level, run) = (decoder.u64()?, decoder.u32()?, decoder.u64()?);
    let (file_id, file_bytes) = (decoder.u64()?, decoder.u64()?);
    let (entries, tombstones) = (decoder.u64()?, decoder.u64()?);
    let (range_tombstones, checksum) = (decoder.u64()?, decoder.u32()?);
    let (oldest_version, newest_version) = (decoder.u64()?, decoder.u64()?);
    let first = key(decoder)?;
    let is_included = decoder.u32()? == 1;
    let last = key(decoder)?;
    let last = if is_included {
        Bound::Included(last)
    } else {
        Bound::Excluded(last)
    };
    let info = TableInfo {
        file_id,
        file_bytes,
        entries,
        tombstones,
        range_tombstones,
        first,
        last,
        oldest_version,
        newest_version,
        checksum,
    };
    Some(Member {
        number,
        level,
        run,
        info,
    })
}

fn key(decoder: &mut Decoder<'_>) -> Option<Vec<u8>> {
    let len = decoder.u32()?;
    Some(decoder.bytes(usize::try_from(len).ok()?)?.to_vec())
}
