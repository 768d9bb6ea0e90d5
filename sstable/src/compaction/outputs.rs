//! [`Outputs`]: the tables that a compaction writes.

use std::ops::Range;

use durable_io::Dir;

use crate::compaction::survivors::Retention;
use crate::entry::{Entry, RangeTombstone};
use crate::error::Result;
use crate::key_range::KeyRange;
use crate::limits::MAX_RANGE_TOMBSTONES_SIZE;
use crate::options::Options;
use crate::table_info::TableInfo;
use crate::writer::Writer;

/// The tables that a compaction writes: entries in order, cut into tables between two keys, with the
/// range tombstones that are needed, cut at the same borders.
pub(crate) struct Outputs<'a, N> {
    pub(crate) dir: &'a Dir,
    pub(crate) options: &'a Options,
    /// Gives the name of each new table.
    pub(crate) name: N,
    pub(crate) output_bytes: u64,
    pub(crate) ranges: Ranges<'a>,
    pub(crate) writer: Option<Writer>,
    /// Of the range tombstones in the table that is being written.
    pub(crate) range_bytes: u64,
    /// The names of all tables so far, that one included.
    pub(crate) names: Vec<String>,
    pub(crate) finished: Vec<TableInfo>,
}

impl<N: FnMut() -> String> Outputs<'_, N> {
    /// Adds an entry that stays, the first or another one of its key.
    #[inline]
    pub(crate) fn add(&mut self, entry: Entry<'_>, is_first_of_key: bool) -> Result<()> {
        if !self.ranges.are_passed() {
            self.pass_ranges(Some(entry.key))?;
        }
        if is_first_of_key && self.is_full() {
            self.cut(entry.key)?;
        }
        self.ranges.note(entry);
        self.writer()?.add(entry)
    }

    /// Ends the last table.
    pub(crate) fn finish(&mut self) -> Result<()> {
        self.pass_ranges(None)?;
        self.end_table()
    }

    /// All tables, with their names: they stay.
    pub(crate) fn into_tables(mut self) -> Vec<(String, TableInfo)> {
        let names = std::mem::take(&mut self.names);
        names.into_iter().zip(self.finished.drain(..)).collect()
    }

    pub(crate) fn bytes_written(&self) -> u64 {
        let finished: u64 = self.finished.iter().map(|info| info.file_bytes).sum();
        finished + self.writer.as_ref().map_or(0, Writer::file_bytes)
    }

    fn writer(&mut self) -> Result<&mut Writer> {
        if self.writer.is_none() {
            let name = (self.name)();
            self.names.push(name.clone());
            let writer = self.options.create(self.dir, &name)?;
            self.writer = Some(writer);
        }
        Ok(self.writer.as_mut().expect("it was made above"))
    }

    fn is_full(&self) -> bool {
        let written = self.writer.as_ref().map_or(0, Writer::file_bytes);
        written + self.range_bytes >= self.output_bytes
            || self.range_bytes >= MAX_RANGE_TOMBSTONES_SIZE as u64 / 2
    }

    /// Adds the range tombstones that end before `key`, or all; a table of many is cut too.
    fn pass_ranges(&mut self, key: Option<&[u8]>) -> Result<()> {
        while self.ranges.have_ended(key) {
            if self.writer.is_some() && self.is_full() && !self.ranges.is_entered {
                self.end_table()?;
            }
            self.add_ranges(None)?;
            self.ranges.pass();
        }
        Ok(())
    }

    /// Ends the table before `border`, and lets the range tombstones there go on in the next one.
    fn cut(&mut self, border: &[u8]) -> Result<()> {
        self.add_ranges(Some(border))?;
        self.ranges.cut(border);
        self.end_table()
    }

    fn add_ranges(&mut self, border: Option<&[u8]>) -> Result<()> {
        for piece in self.ranges.needed(border) {
            self.range_bytes += (piece.start.len() + piece.end.len() + 16) as u64;
            self.writer()?.add_range_tombstone(&piece)?;
        }
        Ok(())
    }

    fn end_table(&mut self) -> Result<()> {
        self.range_bytes = 0;
        if let Some(writer) = self.writer.take() {
            self.finished.push(writer.finish()?);
        }
        Ok(())
    }
}

impl<N> Drop for Outputs<'_, N> {
    /// Removes all tables after an error, or a panic of whoever is called back: nothing names them yet.
    fn drop(&mut self) {
        drop(self.writer.take());
        for name in &self.names {
            // Best effort: what led here matters more, and whoever opens the store must remove what a crash
            // left anyway.
            drop(self.dir.remove(name));
        }
    }
}

/// The range tombstones of all inputs, passed through in the order of keys.
///
/// One stays where an older table may have something, and where it hides an entry that stays because a
/// reader who does not see the range tombstone sees the entry.
#[derive(Debug)]
pub(crate) struct Ranges<'a> {
    /// Those that are not passed; of those of one range only the newest that each reader sees.
    fragments: Vec<RangeTombstone>,
    /// Those of the first range, and which of them hide an entry.
    here: Range<usize>,
    hides: Vec<bool>,
    /// There is an entry in the table behind the start of the first range.
    is_entered: bool,
    older: &'a [KeyRange],
}

const HERE_IS_AMONG_ALL: &str = "the first range's fragments are among all";

impl<'a> Ranges<'a> {
    /// Those of `all` that readers see.
    pub(crate) fn new<'r>(
        all: impl IntoIterator<Item = &'r RangeTombstone>,
        retention: &Retention<'_>,
        older: &'a [KeyRange],
    ) -> Self {
        let fragments = retention.fragments(all.into_iter().cloned());
        let mut ranges = Self {
            fragments,
            here: 0..0,
            hides: Vec::new(),
            is_entered: false,
            older,
        };
        ranges.pass();
        ranges
    }

    /// True if there are no more.
    #[inline]
    fn are_passed(&self) -> bool {
        self.here.start >= self.fragments.len()
    }

    /// True if the first range ends before `key`, or if there is no key.
    fn have_ended(&self, key: Option<&[u8]>) -> bool {
        let first = self.fragments.get(self.here.start);
        first.is_some_and(|first| key.is_none_or(|key| *first.end <= *key))
    }

    /// Goes on to the next range.
    fn pass(&mut self) {
        let start = self.here.end;
        let (_, rest) = self.fragments.split_at(start);
        let same = rest.chunk_by(|a, b| a.start == b.start).next();
        let len = same.map_or(0, <[_]>::len);
        self.here = start..start + len;
        self.is_entered = false;
        self.hides.clear();
        self.hides.resize(len, false);
    }

    fn here(&self) -> &[RangeTombstone] {
        let here = self.fragments.get(self.here.clone());
        here.expect(HERE_IS_AMONG_ALL)
    }

    /// Remembers what hides `entry`, which stays: of several the oldest is enough.
    fn note(&mut self, entry: Entry<'_>) {
        let here = self.here();
        if !here.first().is_some_and(|range| range.contains(entry.key)) {
            return;
        }
        self.is_entered = true;
        let here = self.here();
        let newer = here.partition_point(|range| range.version > entry.version);
        let oldest = newer.checked_sub(1);
        if let Some(hides) = oldest.and_then(|nth| self.hides.get_mut(nth)) {
            *hides = true;
        }
    }

    /// Those of the first range that are needed, up to `border`.
    fn needed(&self, border: Option<&[u8]>) -> Vec<RangeTombstone> {
        let pieces = self.here().iter().zip(&self.hides);
        let pieces = pieces.filter_map(|(range, hides)| {
            let end = border.map_or(&*range.end, |border| border.min(&range.end));
            let is_needed = *range.start < *end && (*hides || self.may_hide_older(range, end));
            is_needed.then(|| RangeTombstone {
                start: range.start.clone(),
                end: end.to_vec(),
                version: range.version,
            })
        });
        pieces.collect()
    }

    fn may_hide_older(&self, range: &RangeTombstone, end: &[u8]) -> bool {
        let before = |older: &KeyRange| !older.reaches(&range.start);
        let first = self.older.get(self.older.partition_point(before));
        first.is_some_and(|older| *older.first < *end)
    }

    /// Lets the first range begin at `border`.
    fn cut(&mut self, border: &[u8]) {
        let here = self.fragments.get_mut(self.here.clone());
        for range in here.expect(HERE_IS_AMONG_ALL) {
            if *range.start < *border {
                range.start = border.to_vec();
            }
        }
        self.hides.fill(false);
        self.is_entered = false;
    }
}
