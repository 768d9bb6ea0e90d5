//! [`Scan`]: the keys of a range with their values, from either end, without what is deleted.

use std::ops::{Bound, RangeBounds};

use durable_io::engine::Value;

use crate::bounds::{end_of_prefix, is_above, is_below, seek_lower, seek_upper, successor};
use crate::cursor::Cursor;
use crate::entry::Kind;
use crate::error::Result;
use crate::filter::key_hash;
use crate::fragments::covering;
use crate::table::Table;
use crate::table_cursor::TableCursor;

/// Keys and values of a table, in order, from either end. After an error it ends.
///
/// Each key is copied; values are lent. A [`cursor`](Table::cursor) copies nothing.
///
/// ```
/// # use sstable::{BlockCache, Options, Table};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let temp = tempfile::tempdir()?;
/// # let dir = durable_io::Disk::os().create_dir(temp.path().join("tables"))?;
/// # let mut writer = Options::new().create(&dir, "t")?;
/// # for key in ["a", "b", "c", "d"] {
/// #     writer.put(key.as_bytes(), b"1")?;
/// # }
/// # writer.finish()?;
/// # let table = Table::open(&dir, "t", &BlockCache::new(1 << 20))?;
/// let mut scan = table.scan(&b"b"[..]..);
/// let last = scan.next_back().ok_or("there are three")??;
/// assert_eq!(last.0, b"d");
/// let rest: Vec<Vec<u8>> = scan.map(|pair| pair.map(|(key, _)| key)).collect::<Result<_, _>>()?;
/// assert_eq!(rest, [b"b", b"c"]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Scan {
    table: Table,
    version: u64,
    front: Side,
    back: Side,
    is_done: bool,
}

/// One end of a scan.
#[derive(Debug)]
struct Side {
    cursor: TableCursor,
    /// What is beyond is not, or no longer, part of the scan.
    bound: Bound<Vec<u8>>,
    is_placed: bool,
}

impl Side {
    fn new(table: &Table, bound: Bound<Vec<u8>>) -> Self {
        Self {
            cursor: table.cursor(),
            bound,
            is_placed: false,
        }
    }
}

impl Table {
    /// The keys of `range` with their values, in order, from either end: what the newest entries and the
    /// range tombstones leave.
    pub fn scan<'k>(&self, range: impl RangeBounds<&'k [u8]>) -> Scan {
        self.scan_at(range, u64::MAX)
    }

    /// The keys of `range` as they were at `version`.
    pub fn scan_at<'k>(&self, range: impl RangeBounds<&'k [u8]>, version: u64) -> Scan {
        let owned = |bound: Bound<&&[u8]>| bound.map(|key| key.to_vec());
        let (start, end) = (owned(range.start_bound()), owned(range.end_bound()));
        Scan::new(self, start, end, version)
    }

    /// The keys that begin with `prefix`, as they were at `version` (`u64::MAX` for now). If the filter
    /// says that there are none, no data block is read: see
    /// [`Options::filter_prefix`](crate::Options::filter_prefix).
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn scan_prefix(&self, prefix: &[u8], version: u64) -> Result<Scan> {
        Scan::of_prefix(self, prefix, version)
    }
}

impl Scan {
    pub(crate) fn new(
        table: &Table,
        start: Bound<Vec<u8>>,
        end: Bound<Vec<u8>>,
        version: u64,
    ) -> Self {
        Self {
            table: table.clone(),
            version,
            front: Side::new(table, start),
            back: Side::new(table, end),
            is_done: false,
        }
    }

    pub(crate) fn of_prefix(table: &Table, prefix: &[u8], version: u64) -> Result<Self> {
        let start = Bound::Included(prefix.to_vec());
        let mut scan = Self::new(table, start, end_of_prefix(prefix), version);
        scan.is_done = !may_have_prefix(table, prefix)?;
        Ok(scan)
    }

    /// True if an entry of `key`, the newest that counts, is a value that nothing hides.
    fn is_visible(&self, key: &[u8], version: u64, kind: Kind) -> bool {
        let fragments = self.table.range_tombstones();
        let covered = covering(fragments, key, self.version);
        kind == Kind::Put && covered.is_none_or(|by| by <= version)
    }

    fn step_forward(&mut self) -> Result<Option<(Vec<u8>, Value)>> {
        let Side {
            cursor,
            bound,
            is_placed,
        } = &mut self.front;
        if !std::mem::replace(is_placed, true) {
            seek_lower(cursor, bound, self.version)?;
        }
        while let Some(entry) = self.front.cursor.entry() {
            if is_above(entry.key, &self.back.bound) {
                break;
            }
            // Newer than what counts, or older than what was found.
            if entry.version > self.version || is_below(entry.key, &self.front.bound) {
                self.front.cursor.advance()?;
                continue;
            }
            let is_visible = self.is_visible(entry.key, entry.version, entry.kind);
            let key = entry.key.to_vec();
            let value = self.front.cursor.value().filter(|_| is_visible);
            self.front.bound = Bound::Excluded(key.clone());
            self.front.cursor.advance()?;
            if let Some(value) = value {
                return Ok(Some((key, value)));
            }
        }
        Ok(None)
    }

    fn step_back(&mut self) -> Result<Option<(Vec<u8>, Value)>> {
        let Side {
            cursor,
            bound,
            is_placed,
        } = &mut self.back;
        if !std::mem::replace(is_placed, true) {
            seek_upper(cursor, bound)?;
        }
        // The oldest version of a key comes first: each newer one that counts replaces it.
        while let Some(entry) = self.back.cursor.entry() {
            if is_below(entry.key, &self.front.bound) {
                break;
            }
            let key = entry.key.to_vec();
            let mut found = None;
            while let Some(entry) = self.back.cursor.entry() {
                if entry.key != key || entry.version > self.version {
                    break;
                }
                let is_visible = self.is_visible(&key, entry.version, entry.kind);
                found = self.back.cursor.value().filter(|_| is_visible);
                self.back.cursor.retreat()?;
            }
            while self
                .back
                .cursor
                .entry()
                .is_some_and(|entry| entry.key == key)
            {
                self.back.cursor.retreat()?;
            }
            self.back.bound = Bound::Excluded(key.clone());
            if let Some(value) = found {
                return Ok(Some((key, value)));
            }
        }
        Ok(None)
    }

    fn ended(
        &mut self,
        step: Result<Option<(Vec<u8>, Value)>>,
    ) -> Option<<Self as Iterator>::Item> {
        self.is_done = !matches!(step, Ok(Some(_)));
        step.transpose()
    }
}

impl Iterator for Scan {
    type Item = Result<(Vec<u8>, Value)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        let step = self.step_forward();
        self.ended(step)
    }
}

impl DoubleEndedIterator for Scan {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        let step = self.step_back();
        self.ended(step)
    }
}

/// False if the filters of all partitions that could have keys with `prefix` deny it.
fn may_have_prefix(table: &Table, prefix: &[u8]) -> Result<bool> {
    let reader = &*table.reader;
    let len = reader.footer.prefix_len as usize;
    let Some(stored) = prefix.get(..len).filter(|stored| !stored.is_empty()) else {
        return Ok(true);
    };
    let hash = key_hash(reader.footer.file_id, stored);
    let first = reader.find_partition(prefix, u64::MAX)?;
    let last = match successor(prefix) {
        Some(end) => reader.find_partition(&end, u64::MAX)?,
        None => reader.partitions(),
    };
    for nth in (first..=last).take_while(|&nth| nth < reader.partitions()) {
        let partition = reader.partition(nth)?;
        if partition.may_contain(&reader.source, &reader.footer, hash) {
            return Ok(true);
        }
    }
    Ok(false)
}
