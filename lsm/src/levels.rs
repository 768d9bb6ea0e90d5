//! [`Levels`]: the tables of a keyspace, in sorted runs.

use std::cmp::Reverse;
use std::ops::Bound;
use std::sync::Arc;

use sstable::compaction::TableMeta;
use sstable::{RangeTombstone, Table};

use crate::manifest::TableEntry;

/// What an open table takes beside its keys and range tombstones, about.
const TABLE_OVERHEAD: usize = 1024;
/// What a range tombstone takes beside its bounds: itself, and what the allocator adds to two allocations.
const RANGE_OVERHEAD: usize = 88;

/// A table of the store, open.
#[derive(Debug)]
pub(crate) struct LiveTable {
    /// What the manifest says of it.
    pub(crate) entry: TableEntry,
    /// What a plan sees of it.
    pub(crate) meta: TableMeta,
    pub(crate) table: Table,
}

impl LiveTable {
    /// What is kept in memory of it, in bytes, about: its name and numbers; its first and last key, here, in
    /// its own properties and for plans; its range tombstones, here and in its run; what is known of the
    /// partitions of its index. Filters and indexes are in the map.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let ranges = self.table.range_tombstones().iter();
        let ranges: usize = ranges
            .map(|range| range.start.len() + range.end.len() + RANGE_OVERHEAD)
            .sum();
        let last = match &self.meta.range.last {
            Bound::Included(key) | Bound::Excluded(key) => key.len(),
            Bound::Unbounded => 0,
        };
        let keys = self.meta.range.first.len() + last;
        let properties = self.table.properties();
        (TABLE_OVERHEAD + 3 * keys + 2 * ranges) as u64 + 2 * properties.data_blocks
    }
}

/// Tables that do not overlap, in the order of their keys.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) tables: Vec<Arc<LiveTable>>,
    pub(crate) range_tombstones: Arc<[RangeTombstone]>,
}

impl Run {
    pub(crate) fn new(tables: Vec<Arc<LiveTable>>) -> Self {
        let all = tables.iter().flat_map(|live| live.table.range_tombstones());
        Self {
            range_tombstones: all.cloned().collect(),
            tables,
        }
    }

    /// The table that may have `key`.
    #[inline]
    pub(crate) fn find(&self, key: &[u8]) -> Option<&LiveTable> {
        let after = self
            .tables
            .partition_point(|live| *live.meta.range.first <= *key);
        let live = self.tables.get(after.checked_sub(1)?)?;
        live.meta.range.contains(key).then_some(&**live)
    }
}

/// The tables of a keyspace. Never changed: another one takes its place.
#[derive(Debug, Default)]
pub(crate) struct Levels {
    pub(crate) tables: Vec<Arc<LiveTable>>,
    /// The newest first.
    pub(crate) runs: Vec<Arc<Run>>,
    /// What is kept in memory of all of them, in bytes, about.
    pub(crate) memory: u64,
}

impl Levels {
    pub(crate) fn new(mut tables: Vec<Arc<LiveTable>>) -> Self {
        tables.sort_by(|a, b| {
            let place = |live: &LiveTable| (live.meta.level, Reverse(live.meta.run));
            let (a_place, b_place) = (place(a), place(b));
            a_place
                .cmp(&b_place)
                .then_with(|| a.meta.range.first.cmp(&b.meta.range.first))
        });
        let mut runs = Vec::new();
        for level in tables.chunk_by(|a, b| a.meta.level == b.meta.level) {
            let mut sorted = level.to_vec();
            sorted.sort_by(|a, b| a.meta.range.first.cmp(&b.meta.range.first));
            if !overlap(&sorted) {
                runs.push(Arc::new(Run::new(sorted)));
                continue;
            }
            for run in level.chunk_by(|a, b| a.meta.run == b.meta.run) {
                runs.push(Arc::new(Run::new(run.to_vec())));
            }
        }
        let memory = tables.iter().map(|live| live.memory_bytes()).sum();
        Self {
            tables,
            runs,
            memory,
        }
    }

    /// Without the tables of the numbers `removed`, and with `added`.
    pub(crate) fn replaced(&self, removed: &[u64], added: &[Arc<LiveTable>]) -> Self {
        let kept = self.tables.iter();
        let kept = kept.filter(|live| !removed.contains(&live.entry.number));
        Self::new(kept.chain(added).cloned().collect())
    }

    pub(crate) fn find(&self, number: u64) -> Option<&Arc<LiveTable>> {
        self.tables.iter().find(|live| live.entry.number == number)
    }

    /// The tables of the numbers `numbers`, run by run, the newest first.
    pub(crate) fn runs_of(&self, numbers: &[u64]) -> Vec<Arc<Run>> {
        let part = |run: &Arc<Run>| {
            let tables = run.tables.iter();
            let tables = tables.filter(|live| numbers.contains(&live.entry.number));
            Run::new(tables.cloned().collect())
        };
        let parts = self.runs.iter().map(part);
        parts
            .filter(|run| !run.tables.is_empty())
            .map(Arc::new)
            .collect()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.tables.iter().map(|live| live.entry.bytes).sum()
    }

    /// Two tables of one run that overlap, if there are any: no store has such.
    pub(crate) fn tangle(&self) -> Option<&LiveTable> {
        let runs = self.runs.iter();
        runs.flat_map(|run| run.tables.windows(2))
            .find_map(|pair| match pair {
                [a, b] if a.meta.range.overlaps(&b.meta.range) => Some(&**b),
                _ => None,
            })
    }
}

/// True if some of the tables, in the order of their first keys, overlap.
fn overlap(sorted: &[Arc<LiveTable>]) -> bool {
    sorted
        .windows(2)
        .any(|pair| matches!(pair, [a, b] if a.meta.range.overlaps(&b.meta.range)))
}
