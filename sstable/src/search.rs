//! [`Search`]: a point read, in steps; and many point reads side by side.
//!
//! Each step waits for a miss of the processor's cache that the one before leads to: a line of the filter, the end
//! of a block, entries. Many searches take each step one after the other, and begin to load what the next one looks
//! at: so they wait for many misses at a time.

use std::sync::Arc;

use durable_io::engine::{Value, prefetch};

use crate::block::Block;
use crate::entry::Kind;
use crate::error::{Corruption, Result};
use crate::filter::{key_hash, low_half};
use crate::partition::Partition;
use crate::reader::Reader;
use crate::source::Loaded;

/// So many searches are side by side: what they look at stays in the nearest caches.
const ABREAST: usize = 64;

/// An entry as [`Table::find`](crate::Table::find) finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// When it was written.
    pub version: u64,
    /// What it says of its key.
    pub kind: Kind,
    /// Empty for a deletion.
    pub value: Value,
}

/// A search for the newest entry of `key` with at most `version`, in a partition.
pub(crate) struct Search<'a> {
    key: &'a [u8],
    version: u64,
    hash: u64,
    partition: &'a Partition,
}

impl<'a> Search<'a> {
    /// `None` if the key is behind all partitions.
    #[inline]
    pub(crate) fn begin(reader: &'a Reader, key: &'a [u8], version: u64) -> Result<Option<Self>> {
        let nth = reader.find_partition(key, version)?;
        if nth == reader.partitions() {
            return Ok(None);
        }
        Ok(Some(Self {
            key,
            version,
            hash: key_hash(reader.footer.file_id, key),
            partition: reader.partition(nth)?,
        }))
    }

    /// The data block that may have the key, by its number.
    #[inline]
    pub(crate) fn block(&self, reader: &Reader) -> Result<Option<usize>> {
        let (source, partition) = (&reader.source, self.partition);
        if !partition.may_contain(source, &reader.footer, self.hash) {
            return Ok(None);
        }
        let nth = partition.find(source, self.key, self.version)?;
        Ok((nth < partition.len()).then_some(nth))
    }

    /// Goes to where the key may be in data block `nth`, which there is.
    #[inline]
    pub(crate) fn enter(self, reader: &Reader, nth: usize) -> Result<Option<Entered<'a>>> {
        let (source, partition) = (&reader.source, self.partition);
        let loaded = partition.block(source, &reader.footer, nth)?;
        let block = Block::new(source.payload(&loaded.payload), loaded.layout);
        let at = block.start_of(self.key, self.version, low_half(self.hash));
        let entered = Entered {
            at: 0,
            search: self,
            nth,
            loaded,
        };
        let at = at.map_err(|reason| entered.corrupt(reader, reason))?;
        Ok(at.map(|at| Entered { at, ..entered }))
    }
}

/// A search that has come to a data block.
pub(crate) struct Entered<'a> {
    search: Search<'a>,
    nth: usize,
    loaded: Loaded,
    /// Where in the block the entries begin among which its key is.
    at: usize,
}

impl Entered<'_> {
    fn corrupt(&self, reader: &Reader, reason: Corruption) -> crate::Error {
        let (offset, _) = self.search.partition.place(&reader.source, self.nth);
        reader.source.corrupt(offset, reason)
    }

    fn in_block<'b>(&'b self, reader: &'b Reader) -> Block<'b> {
        Block::new(
            reader.source.payload(&self.loaded.payload),
            self.loaded.layout,
        )
    }

    #[inline]
    pub(crate) fn find(&self, reader: &Arc<Reader>) -> Result<Option<Found>> {
        let (key, version) = (self.search.key, self.search.version);
        let found = self.in_block(reader).find_from(self.at, key, version);
        let found = found.map_err(|reason| self.corrupt(reader, reason))?;
        Ok(found.map(|found| Found {
            version: found.version,
            kind: found.kind,
            value: reader.value(&self.loaded.payload, &found.value),
        }))
    }
}

/// What [`Table::find`](crate::Table::find) finds of each of `keys`, in their order.
pub(crate) fn find_many(
    reader: &Arc<Reader>,
    keys: &[&[u8]],
    version: u64,
) -> Result<Vec<Option<Found>>> {
    let mut found = vec![None; keys.len()];
    for (keys, found) in keys.chunks(ABREAST).zip(found.chunks_mut(ABREAST)) {
        find_abreast(reader, keys, version, found)?;
    }
    Ok(found)
}

fn find_abreast(
    reader: &Arc<Reader>,
    keys: &[&[u8]],
    version: u64,
    found: &mut [Option<Found>],
) -> Result<()> {
    let mut begun = Vec::with_capacity(keys.len());
    for (key, slot) in keys.iter().zip(found) {
        if let Some(search) = Search::begin(reader, key, version)? {
            prefetch(search.partition.filter_line(&reader.source, search.hash));
            begun.push((search, slot));
        }
    }
    let mut placed = Vec::with_capacity(begun.len());
    for (search, slot) in begun {
        if let Some(nth) = search.block(reader)? {
            prefetch(search.partition.tail(&reader.source, nth));
            placed.push((search, slot, nth));
        }
    }
    let mut entered = Vec::with_capacity(placed.len());
    for (search, slot, nth) in placed {
        if let Some(entry) = search.enter(reader, nth)? {
            prefetch(entry.in_block(reader).entries_from(entry.at));
            entered.push((entry, slot));
        }
    }
    for (entry, slot) in entered {
        *slot = entry.find(reader)?;
    }
    Ok(())
}
