//! [`Table`]: a finished table, for reading.

use std::ops::{Bound, Range, RangeBounds};
use std::sync::Arc;

use durable_io::Dir;
use durable_io::engine::Value;

use crate::bounds::is_above;
use crate::cache::BlockCache;
use crate::entry::{Kind, RangeTombstone};
use crate::error::{Error, Result};
use crate::fragments::covering;
use crate::properties::Properties;
use crate::reader::Reader;
use crate::search::{self, Found, Search};
use crate::source::Reads;
use crate::table_cursor::TableCursor;

/// A finished table.
///
/// Cheap to clone, and shared by threads; clones are the same open table. It holds a map of the file and
/// no descriptor; the file may be unlinked or renamed.
///
/// ```
/// use sstable::{BlockCache, Kind, Options, Table};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let temp = tempfile::tempdir()?;
/// # let dir = durable_io::Disk::os().create_dir(temp.path().join("tables"))?;
/// # let mut writer = Options::new().create(&dir, "users")?;
/// # writer.put(b"user/1", b"Ann")?;
/// # writer.delete(b"user/2")?;
/// # writer.put(b"user/3", b"Eve")?;
/// # writer.finish()?;
/// let table = Table::open(&dir, "users", &BlockCache::new(8 << 20))?;
/// assert_eq!(table.get(b"user/1")?.as_deref(), Some(&b"Ann"[..]));
/// // A deletion is an entry, too, for who asks for entries.
/// assert_eq!(table.get(b"user/2")?, None);
/// assert_eq!(table.find(b"user/2", u64::MAX)?.map(|it| it.kind), Some(Kind::Delete));
/// assert_eq!(table.scan_prefix(b"user/", u64::MAX)?.count(), 2);
/// assert!(table.verify()?.is_whole()); // reads and checks every byte
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Table {
    pub(crate) reader: Arc<Reader>,
}

impl Table {
    /// Opens the table `name` of `dir`. Blocks that must be decompressed are kept in `cache`. The right to
    /// read is enough: the file may be another user's, or on a file system that is mounted read-only.
    ///
    /// Header, properties, range tombstones and top index are checked now; any other block when it is
    /// first used. Of what is there twice one copy is enough: see [`damage`](Self::damage).
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::UnsupportedVersion`], [`Error::Disk`].
    ///
    /// # Cost
    /// Reads the header, the footer and those three blocks. The memory is that of the properties, of the
    /// range tombstones, and of 16 bytes for each partition; and of about 200 for each partition that
    /// has been used, with a bit for each data block. If the system refuses to map the file, for want of address
    /// space or of maps, it is read: then index and filter of each partition that has been used are in memory,
    /// and each data block that is not in `cache` is read and checked each time.
    pub fn open(dir: &Dir, name: &str, cache: &BlockCache) -> Result<Self> {
        Ok(Self {
            reader: Arc::new(Reader::open(dir, name, cache)?),
        })
    }

    /// The value of `key`, as the newest entry and the range tombstones have it.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::UnsupportedCompression`].
    ///
    /// # Cost
    /// One look at the filter; if it is not denied, at one data block.
    pub fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        self.get_at(key, u64::MAX)
    }

    /// The value that `key` had at `version`: nothing newer counts, whether entry or range tombstone.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_at(&self, key: &[u8], version: u64) -> Result<Option<Value>> {
        let Some(found) = self.find(key, version)? else {
            return Ok(None);
        };
        let is_hidden = found.kind == Kind::Delete
            || covering(self.range_tombstones(), key, version).is_some_and(|by| by > found.version);
        Ok((!is_hidden).then_some(found.value))
    }

    /// The newest entry of `key` with at most `version`, whatever it says. Range tombstones are left
    /// out: see [`covering`].
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn find(&self, key: &[u8], version: u64) -> Result<Option<Found>> {
        let reader = &self.reader;
        let Some(search) = Search::begin(reader, key, version)? else {
            return Ok(None);
        };
        let Some(nth) = search.block(reader)? else {
            return Ok(None);
        };
        match search.enter(reader, nth)? {
            Some(entered) => entered.find(reader),
            None => Ok(None),
        }
    }

    /// What [`find`](Self::find) finds of each of `keys`, in their order. They are best in the order of keys.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    ///
    /// # Cost
    /// As [`find`](Self::find) for each, but many wait for memory at the same time.
    pub fn find_many(&self, keys: &[&[u8]], version: u64) -> Result<Vec<Option<Found>>> {
        search::find_many(&self.reader, keys, version)
    }

    /// About how many bytes of the file the keys of `range` take: those of the data blocks that have some of them,
    /// with indexes and filters that are between; of a range without an end, up to the end of the file.
    ///
    /// # Cost
    /// Two searches in the index. No data block is read.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub fn approximate_bytes<'k>(&self, range: impl RangeBounds<&'k [u8]>) -> Result<u64> {
        let properties = self.properties();
        let (first, last) = (&*properties.first, &properties.last);
        let start = match range.start_bound() {
            Bound::Included(start) | Bound::Excluded(start) if is_above(start, last) => {
                return Ok(0);
            }
            Bound::Included(start) | Bound::Excluded(start) if **start > *first => {
                self.block_of(start)?.start
            }
            _ => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(end) | Bound::Excluded(end) if **end < *first => return Ok(0),
            Bound::Excluded(end) if **end == *first => return Ok(0),
            Bound::Included(end) | Bound::Excluded(end) => self.block_of(end)?.end,
            Bound::Unbounded => self.file_bytes(),
        };
        Ok(end.saturating_sub(start))
    }

    /// Where the data block is that has the place of `key`; the end of the last one if that is behind all.
    fn block_of(&self, key: &[u8]) -> Result<Range<u64>> {
        let reader = &*self.reader;
        let Some(last) = reader.partitions().checked_sub(1) else {
            return Ok(0..0);
        };
        let partition = reader.partition(reader.find_partition(key, u64::MAX)?.min(last))?;
        let Some(last) = partition.len().checked_sub(1) else {
            return Ok(0..0);
        };
        let nth = partition.find(&reader.source, key, u64::MAX)?;
        let (offset, len) = partition.place(&reader.source, nth.min(last));
        let end = offset.saturating_add(len);
        Ok(if nth < partition.len() {
            offset..end
        } else {
            end..end
        })
    }

    /// A cursor over all entries, deletions and old versions too. It holds the table.
    pub fn cursor(&self) -> TableCursor {
        TableCursor::new(&self.reader)
    }

    /// The fragments of range tombstones, in order: disjoint ranges, ascending; those of one range
    /// newest first.
    pub fn range_tombstones(&self) -> &[RangeTombstone] {
        &self.reader.range_tombstones
    }

    /// What the table says about itself.
    pub fn properties(&self) -> &Properties {
        &self.reader.properties
    }

    /// The random id of the file.
    pub fn file_id(&self) -> u64 {
        self.reader.footer.file_id
    }

    /// The size of the file, in bytes.
    pub fn file_bytes(&self) -> u64 {
        self.reader.footer.file_len
    }

    /// What was read since the table was opened.
    pub fn reads(&self) -> Reads {
        self.reader.source.reads()
    }

    /// What was found damaged so far although there was an answer: header or footer, one copy of
    /// something that is there twice, a filter. Each is an [`Error::Corrupt`]. The answers are exact;
    /// but the file has lost what it had to spare, and is better written again.
    pub fn damage(&self) -> Vec<Error> {
        self.reader.source.damage()
    }
}
