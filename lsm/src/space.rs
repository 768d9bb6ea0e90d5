//! How the store uses its space, and why it is not given back.

use std::ops::{Bound, RangeBounds};

use crate::error::Result;
use crate::levels::LiveTable;
use crate::reclaim::Reclaim;
use crate::store::Store;
use crate::tree::Tree;

/// How a keyspace uses space ([`explain_space`](crate::Lsm::explain_space)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyspaceSpace {
    /// Its name.
    pub name: String,
    /// Bytes of memory in its memtables, those that wait for their flush included.
    pub memtable_bytes: u64,
    /// Its levels that have tables, the newest first.
    pub levels: Vec<LevelSpace>,
}

/// How the tables of one level use space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LevelSpace {
    /// 0 for new tables; a larger number is older.
    pub level: u32,
    /// Tables.
    pub tables: u64,
    /// In so many sorted runs: a read looks into one table of each.
    pub runs: u64,
    /// The size of their files, in bytes.
    pub bytes: u64,
    /// Entries, deletions included.
    pub entries: u64,
    /// Of these, deletions.
    pub tombstones: u64,
    /// Deletions of ranges.
    pub range_tombstones: u64,
    /// Of `bytes`, in tables that go, or are merged, next for what is deleted in them or by them
    /// ([`Options::reclaim_percent`](crate::Options::reclaim_percent)).
    pub due_bytes: u64,
    /// Of `bytes`, in tables that would go, or be merged, for what is deleted, but that a snapshot sees as it was:
    /// [`Stats::oldest_snapshot`](crate::Stats::oldest_snapshot) is the one that must end.
    pub held_bytes: u64,
}

impl LevelSpace {
    fn add(&mut self, live: &LiveTable, reclaim: &Reclaim) {
        let (number, bytes) = (live.entry.number, live.entry.bytes);
        let properties = live.table.properties();
        self.tables += 1;
        self.bytes += bytes;
        self.entries += properties.entries();
        self.tombstones += properties.tombstones;
        self.range_tombstones += properties.range_tombstones;
        if reclaim.dead.contains(&number) || reclaim.due.contains(&number) {
            self.due_bytes += bytes;
        } else if reclaim.held.contains(&number) {
            self.held_bytes += bytes;
        }
    }
}

impl Store {
    pub(crate) fn explain_space(&self) -> Vec<KeyspaceSpace> {
        let catalog = self.catalog_full();
        let snapshots = self.snapshot_versions();
        let percent = self.options.reclaim_percent;
        let explain = |tree: &Tree| {
            let (active, frozen) = tree.memtable_bytes();
            let levels = tree.state().levels.clone();
            let reclaim = Reclaim::new(&levels, &snapshots, percent);
            let mut space = KeyspaceSpace {
                name: tree.name.clone(),
                memtable_bytes: active + frozen,
                levels: Vec::new(),
            };
            for run in &levels.runs {
                for (nth, live) in run.tables.iter().enumerate() {
                    let level = live.meta.level;
                    if space.levels.last().is_none_or(|last| last.level != level) {
                        let level = LevelSpace {
                            level,
                            ..LevelSpace::default()
                        };
                        space.levels.push(level);
                    }
                    if let Some(last) = space.levels.last_mut() {
                        last.add(live, &reclaim);
                        last.runs += u64::from(nth == 0);
                    }
                }
            }
            space
        };
        catalog.trees.iter().map(|tree| explain(tree)).collect()
    }

    /// About how many bytes the keys of `range` take in the keyspace of `slot`.
    pub(crate) fn approximate_bytes<'k>(
        &self,
        slot: u64,
        range: impl RangeBounds<&'k [u8]>,
    ) -> Result<u64> {
        self.check_open()?;
        let range = (range.start_bound().cloned(), range.end_bound().cloned());
        if is_empty(range) {
            return Ok(0);
        }
        let state = self.catalog().find(slot)?.state();
        let frozen = state.frozen.iter().map(|frozen| &frozen.table);
        let memtables = std::iter::once(&state.active).chain(frozen);
        let in_memory: u64 = memtables.map(|table| table.bytes_of(range)).sum();
        let mut bytes = in_memory;
        for live in &state.levels.tables {
            bytes += live.table.approximate_bytes(range)?;
        }
        Ok(bytes)
    }
}

fn is_empty(range: (Bound<&[u8]>, Bound<&[u8]>)) -> bool {
    match range {
        (Bound::Included(start), Bound::Included(end)) => start > end,
        (Bound::Included(start) | Bound::Excluded(start), Bound::Excluded(end))
        | (Bound::Excluded(start), Bound::Included(end)) => start >= end,
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
    }
}
