//! [`Writer`]: entries in order, into a new file that has its name when it is whole
//! ([format], section 10).
//!
//! Memory: one data block, one partition of index and filter, one line of the top index for each
//! partition, and the range tombstones.
//!
//! [format]: crate::format

use std::fmt;
use std::ops::Bound;

use durable_io::codec::Encoder;
use durable_io::{Dir, Temp, publish_temp};

use crate::block_builder::BlockBuilder;
use crate::compression::{self, compress};
use crate::entry::{Entry, Kind, RangeTombstone, compare};
use crate::error::{Error, Result};
use crate::filter::{self, key_hash, low_half};
use crate::footer::FOOTER_SIZE;
use crate::fragments;
use crate::frame::{self, BLOCK_HEADER_SIZE, BlockHeader, BlockKind};
use crate::limits::{
    MAX_KEY_SIZE, MAX_RANGE_TOMBSTONES_SIZE, MAX_VALUE_SIZE, PARTITION_INDEX_SIZE,
};
use crate::options::Options;
use crate::output::Output;
use crate::properties::Properties;
use crate::separators::{SeparatorsBuilder, shortest_between};
use crate::table_info::TableInfo;

mod meta;

/// A table that is being written.
///
/// It has its name only after [`finish`](Self::finish). Dropped before, it leaves nothing.
///
/// ```
/// use sstable::{Entry, Error, Kind, Options};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let temp = tempfile::tempdir()?;
/// # let dir = durable_io::Disk::os().create_dir(temp.path().join("tables"))?;
/// let mut writer = Options::new().create(&dir, "plain")?;
/// writer.put(b"apple", b"3")?;
/// writer.delete(b"fig")?; // hides what older tables say of it
/// let refused = writer.put(b"banana", b"1"); // keys ascend
/// assert!(matches!(refused, Err(Error::OutOfOrder { .. })));
/// writer.put(b"pear", b"1")?; // nothing was added, and it goes on
/// assert_eq!(writer.finish()?.entries, 3);
///
/// // With versions: of one key the newest comes first.
/// let mut writer = Options::new().create(&dir, "versions")?;
/// for (version, value) in [(9, "newer"), (4, "older")] {
///     writer.add(Entry {
///         key: b"apple",
///         version,
///         kind: Kind::Put,
///         value: value.as_bytes(),
///     })?;
/// }
/// assert_eq!(writer.finish()?.newest_version, 9);
/// # Ok(())
/// # }
/// ```
pub struct Writer {
    options: Options,
    id: u64,
    name: String,
    /// Removes the file, if the writer is dropped before it is finished.
    temp: Temp,
    /// A write failed; nothing can be added any more.
    failed: Option<Error>,
    output: Output,
    block: BlockBuilder,
    /// The payload of a compressed block, with room for its header.
    compressed: Vec<u8>,
    /// The separator behind the last block.
    separator: (Vec<u8>, u64),
    partition: Partition,
    /// For each partition: where its data begin; where its index is and how long; how far behind the
    /// first of the second copies its own is; where its filter is and how long.
    top: SeparatorsBuilder<6>,
    /// The index blocks, in order.
    indexes: Vec<Placed>,
    range_tombstones: Encoder,
    first_range_tombstone: Option<RangeTombstone>,
    last_range_tombstone: Option<RangeTombstone>,
    properties: Properties,
}

/// The partition that is being filled.
#[derive(Debug)]
struct Partition {
    /// Where its first block is.
    start: u64,
    entries: u32,
    /// For each block: its end.
    index: SeparatorsBuilder<1>,
    hashes: Vec<u64>,
    /// The last prefix whose hash is among them.
    prefix: Option<Vec<u8>>,
}

/// A block in the file.
#[derive(Clone, Copy, Debug, Default)]
struct Placed {
    offset: u64,
    len: u64,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("name", &self.name)
            .field("offset", &self.output.offset())
            .finish_non_exhaustive()
    }
}

impl Options {
    /// Begins a table that will be called `name` in `dir`; until [`Writer::finish`] it has a temporary
    /// name of its own ([`Temp`](durable_io::Temp)). Of several writers of one name each has its file, and the one who
    /// finishes last its table.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], [`Error::TooLarge`] for properties, [`Error::Disk`]. No file is left.
    pub fn create(&self, dir: &Dir, name: &str) -> Result<Writer> {
        self.check()?;
        Writer::create(self, dir.unique_id()?, dir, name)
    }
}

impl Writer {
    pub(crate) fn create(options: &Options, id: u64, dir: &Dir, name: &str) -> Result<Self> {
        let temp = Temp::create(dir, name)?;
        let output = Output::new(temp.file().clone(), FOOTER_SIZE as u64);
        Ok(Self {
            id,
            name: name.to_owned(),
            temp,
            failed: None,
            block: BlockBuilder::new(options.restart_interval, options.hash_index),
            compressed: Vec::new(),
            separator: (Vec::new(), 0),
            partition: Partition {
                start: output.offset(),
                entries: 0,
                index: SeparatorsBuilder::new(),
                hashes: Vec::new(),
                prefix: None,
            },
            output,
            top: SeparatorsBuilder::new(),
            indexes: Vec::new(),
            range_tombstones: Encoder::default(),
            first_range_tombstone: None,
            last_range_tombstone: None,
            properties: Properties::new(),
            options: options.clone(),
        })
    }

    /// Appends a value for `key`, which must be above the last one, in a table without versions: that is an entry
    /// of version 0.
    ///
    /// # Errors
    /// As [`add`](Writer::add).
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let kind = Kind::Put;
        self.add(Entry {
            key,
            version: 0,
            kind,
            value,
        })
    }

    /// Appends a deletion of `key`, which must be above the last one, in a table without versions: it hides what
    /// older tables have. That is an entry of version 0.
    ///
    /// # Errors
    /// As [`add`](Writer::add).
    pub fn delete(&mut self, key: &[u8]) -> Result<()> {
        let kind = Kind::Delete;
        self.add(Entry {
            key,
            version: 0,
            kind,
            value: b"",
        })
    }

    /// Appends `entry`, which must be behind the last one: its key above, or the same key with a smaller
    /// version. A table without versions is made with [`put`](Writer::put) and [`delete`](Writer::delete).
    ///
    /// # Errors
    /// [`Error::OutOfOrder`], [`Error::TooLarge`], [`Error::InvalidEntry`] for a deletion with a value:
    /// nothing was added, and the table can go on. [`Error::Disk`]: it cannot.
    pub fn add(&mut self, entry: Entry<'_>) -> Result<()> {
        self.check(&entry)?;
        let hashes = self.options.hash_index || self.options.filter_bits > 0;
        let hash = if hashes {
            key_hash(self.id, entry.key)
        } else {
            0
        };
        let size = self.block.size_with(entry.key.len(), entry.value.len());
        if !self.block.is_empty() && size > self.options.block_size {
            let ended = self.end_block(Some(entry.key));
            self.failed = ended.clone().err();
            ended?;
        }
        if self.properties.entries() == 0 {
            self.properties.first = entry.key.to_vec();
        }
        let is_new_key = self.block.is_empty() || self.block.last_key() != entry.key;
        if self.options.filter_bits > 0 && is_new_key {
            self.partition.hashes.push(hash);
            self.add_prefix(entry.key);
        }
        self.block.add(&entry, low_half(hash));
        self.partition.entries = self.partition.entries.saturating_add(1);
        self.count(&entry);
        Ok(())
    }

    fn check(&self, entry: &Entry<'_>) -> Result<()> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if entry.value.len() > MAX_VALUE_SIZE {
            return Err(too_large("a value", entry.value.len(), MAX_VALUE_SIZE));
        }
        check_key(entry.key)?;
        if entry.kind != Kind::Put && !entry.value.is_empty() {
            let what = "a deletion has no value";
            return Err(Error::InvalidEntry { what });
        }
        // After the first entry, the block is never empty here.
        let last = (self.block.last_key(), self.block.last_version());
        if !self.block.is_empty() && compare(last, (entry.key, entry.version)).is_ge() {
            let what = "an entry";
            return Err(Error::OutOfOrder { what });
        }
        Ok(())
    }

    fn count(&mut self, entry: &Entry<'_>) {
        let properties = &mut self.properties;
        match entry.kind {
            Kind::Put => properties.puts += 1,
            Kind::Delete => properties.tombstones += 1,
        }
        properties.key_bytes += entry.key.len() as u64;
        properties.value_bytes += entry.value.len() as u64;
        self.see_version(entry.version);
    }

    fn see_version(&mut self, version: u64) {
        let properties = &mut self.properties;
        properties.oldest_version = properties.oldest_version.min(version);
        properties.newest_version = properties.newest_version.max(version);
    }

    /// The prefix of `key`, if it has one and it is another than before, goes into the filter too.
    fn add_prefix(&mut self, key: &[u8]) {
        let Some(prefix) = key.get(..self.options.filter_prefix) else {
            return;
        };
        if prefix.is_empty() || self.partition.prefix.as_deref() == Some(prefix) {
            return;
        }
        self.partition.hashes.push(key_hash(self.id, prefix));
        self.partition.prefix = Some(prefix.to_vec());
    }

    /// Appends a range tombstone, which must be a fragment behind the last one: of a range behind it, or
    /// of the same range with a smaller version. Entries and range tombstones may be added in any turn.
    ///
    /// # Errors
    /// [`Error::OutOfOrder`], [`Error::TooLarge`], [`Error::InvalidEntry`] for an empty range: nothing was
    /// added, and the table can go on.
    pub fn add_range_tombstone(&mut self, tombstone: &RangeTombstone) -> Result<()> {
        check_key(&tombstone.start)?;
        check_key(&tombstone.end)?;
        if tombstone.start >= tombstone.end {
            let what = "a range tombstone ends above its start";
            return Err(Error::InvalidEntry { what });
        }
        let last = self.last_range_tombstone.as_ref();
        if last.is_some_and(|last| !fragments::is_behind(last, tombstone)) {
            let what = "a range tombstone";
            return Err(Error::OutOfOrder { what });
        }
        let size = self.range_tombstones.as_slice().len()
            + tombstone.start.len()
            + tombstone.end.len()
            + 16;
        if size > MAX_RANGE_TOMBSTONES_SIZE {
            let what = "the sum of all range tombstones";
            return Err(too_large(what, size, MAX_RANGE_TOMBSTONES_SIZE));
        }
        fragments::encode(&mut self.range_tombstones, tombstone);
        if self.first_range_tombstone.is_none() {
            self.first_range_tombstone = Some(tombstone.clone());
        }
        self.properties.range_tombstones += 1;
        self.see_version(tombstone.version);
        self.last_range_tombstone = Some(tombstone.clone());
        Ok(())
    }

    /// About how long the file is so far, in bytes; the filter and the index of the last partition are
    /// not counted.
    pub fn file_bytes(&self) -> u64 {
        self.output.offset() + self.block.size_with(0, 0) as u64
    }

    /// Ends the data block. `next` is the key of the entry that comes then.
    fn end_block(&mut self, next: Option<&[u8]>) -> Result<()> {
        let last = self.block.last_key();
        let (key, version) = match next {
            Some(next) if next == last => (last, self.block.last_version()),
            Some(next) => (shortest_between(last, next), 0),
            None => (last, 0),
        };
        self.separator.0.clear();
        self.separator.0.extend_from_slice(key);
        self.separator.1 = version;
        let placed = self.write_block()?;
        let end = placed.offset + placed.len;
        let (key, version) = &self.separator;
        self.partition.index.push(key, *version, [end]);
        let is_full = self.partition.entries >= self.options.partition_keys
            || self.partition.index.size() >= PARTITION_INDEX_SIZE;
        if is_full || next.is_none() {
            self.end_partition()?;
        }
        Ok(())
    }

    fn write_block(&mut self) -> Result<Placed> {
        let offset = self.output.offset();
        let count = self.block.count();
        let plain = self.block.finish();
        let raw = plain.len() - BLOCK_HEADER_SIZE;
        self.compressed.clear();
        self.compressed.resize(BLOCK_HEADER_SIZE, 0);
        let (_, payload) = plain.split_at(BLOCK_HEADER_SIZE);
        let compressed = compress(self.options.compression, payload, &mut self.compressed);
        let (block, code) = match compressed {
            Some(code) => (&mut self.compressed, code),
            None => (plain, compression::RAW),
        };
        let header = BlockHeader {
            kind: BlockKind::Data,
            stored: block.len() - BLOCK_HEADER_SIZE,
            raw,
            count,
            compression: code,
        };
        frame::seal(block, &header, self.id, offset);
        let len = block.len() as u64;
        self.output.push(block)?;
        self.block.clear();
        self.properties.data_blocks += 1;
        self.properties.data_bytes += len;
        Ok(Placed { offset, len })
    }

    /// Ends the partition: writes its index and its filter.
    fn end_partition(&mut self) -> Result<()> {
        let blocks = small(self.partition.index.len());
        let payload = self.partition.index.finish();
        let index = self.push(BlockKind::Index, blocks, &payload)?;
        self.indexes.push(index);
        let copy = self.properties.index_bytes;
        self.properties.index_bytes += index.len;
        let mut filter = Placed::default();
        if self.options.filter_bits > 0 {
            let hashes = &self.partition.hashes;
            let payload = filter::build(hashes, self.options.filter_bits);
            let keys = small(hashes.len());
            // A line of the filter is then a line of the processor's cache.
            let ahead = BLOCK_HEADER_SIZE as u64;
            self.output.pad(filter::LINE_SIZE as u64, ahead)?;
            filter = self.push(BlockKind::Filter, keys, &payload)?;
            self.properties.filter_bytes += filter.len;
        }
        let numbers = [
            self.partition.start,
            index.offset,
            index.len,
            copy,
            filter.offset,
            filter.len,
        ];
        let (key, version) = &self.separator;
        self.top.push(key, *version, numbers);
        self.partition.start = self.output.offset();
        self.partition.entries = 0;
        self.partition.hashes.clear();
        self.partition.prefix = None;
        Ok(())
    }

    fn push(&mut self, kind: BlockKind, count: u32, payload: &[u8]) -> Result<Placed> {
        let offset = self.output.offset();
        let block = frame::whole(kind, count, payload, self.id, offset);
        self.output.push(&block)?;
        let len = block.len() as u64;
        Ok(Placed { offset, len })
    }

    /// Ends the table: writes the rest, makes everything durable, and only then gives the file its name.
    /// A table that had that name is replaced in the same step.
    ///
    /// # Durability
    /// When this returns, the table and its name survive power loss. After a crash before that, the name
    /// is what it was, or the whole table.
    ///
    /// # Cost
    /// One sync of the file, one of the directory.
    ///
    /// # Errors
    /// [`Error::Empty`] if nothing was added, [`Error::Disk`]. There is no table then, unless the error is
    /// that of the directory's sync; no other file is left.
    pub fn finish(mut self) -> Result<TableInfo> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        if self.block.is_empty() && self.properties.range_tombstones == 0 {
            return Err(Error::Empty);
        }
        if !self.block.is_empty() {
            self.properties.last = Bound::Included(self.block.last_key().to_vec());
            self.end_block(None)?;
        }
        let (first, last) = (&self.first_range_tombstone, &self.last_range_tombstone);
        self.properties.cover(first.as_ref(), last.as_ref());
        let checksum = self.write_meta()?;
        // Durable: the table's bytes, then its name. Only now may a manifest or a caller rely on it.
        drop(publish_temp(self.temp)?);
        let properties = self.properties;
        Ok(TableInfo {
            file_id: self.id,
            file_bytes: self.output.offset(),
            entries: properties.entries(),
            tombstones: properties.tombstones,
            range_tombstones: properties.range_tombstones,
            first: properties.first,
            last: properties.last,
            oldest_version: properties.oldest_version,
            newest_version: properties.newest_version,
            checksum,
        })
    }
}

/// A number of things that were all in memory.
fn small(n: usize) -> u32 {
    u32::try_from(n).expect("fewer than 2^32")
}

fn too_large(what: &'static str, size: usize, limit: usize) -> Error {
    Error::TooLarge {
        what,
        size: size as u64,
        limit: limit as u64,
    }
}

fn check_key(key: &[u8]) -> Result<()> {
    if key.len() > MAX_KEY_SIZE {
        return Err(too_large("a key", key.len(), MAX_KEY_SIZE));
    }
    Ok(())
}
