//! [`Leveled`]: each level is one run.

use std::cmp::Reverse;

use crate::compaction::TableMeta;
use crate::compaction::due::plan_due;
use crate::compaction::planner::{Planner, bytes, run_count};
use crate::compaction::sizes::{Sizes, merge_down};

/// Each level but the first is one sorted run, and ten times as large as the level above. The sizes are
/// counted from the last level upwards, so that it holds nine tenths of everything however much that is,
/// and old versions take little space; new tables go right to the first level that is in use.
///
/// From a level that is too large tables go down: those first that overlap the least below, for their
/// size. What overlaps nothing moves without being written.
///
/// A reader looks into the new tables and one table of each level; an entry is written up to about ten
/// times for each level.
///
/// Source: the leveled compaction of `LevelDB`, with the dynamic level sizes and the choice by overlap of
/// `RocksDB`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leveled {
    levels: u32,
    fanout: u64,
    base_bytes: u64,
    new_runs: usize,
    pub(crate) table_bytes: u64,
}

impl Default for Leveled {
    fn default() -> Self {
        Self {
            levels: 7,
            fanout: 10,
            base_bytes: 256 << 20,
            new_runs: 4,
            table_bytes: 64 << 20,
        }
    }
}

impl Leveled {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many levels there are, the one of the new tables included; at least 2. Default: 7.
    #[must_use]
    pub fn levels(mut self, levels: u32) -> Self {
        self.levels = levels.max(2);
        self
    }

    /// How many times as large as the level above a level is; at least 2. Default: 10.
    #[must_use]
    pub fn fanout(mut self, fanout: u64) -> Self {
        self.fanout = fanout.max(2);
        self
    }

    /// The size that the first level in use may have, in bytes: when the last level grows, another one
    /// above it comes into use for each time that its size is a fanout more than this. Default: 256 MiB.
    #[must_use]
    pub fn base_bytes(mut self, bytes: u64) -> Self {
        self.base_bytes = bytes.max(1);
        self
    }

    /// When there are so many runs in level 0, they are merged into the levels; at least 1. Default: 4.
    #[must_use]
    pub fn new_runs(mut self, runs: usize) -> Self {
        self.new_runs = runs.max(1);
        self
    }

    /// At about which size a table ends and the next one begins, in bytes. Default: 64 MiB.
    #[must_use]
    pub fn table_bytes(mut self, bytes: u64) -> Self {
        self.table_bytes = bytes;
        self
    }

    pub(crate) fn plan(&self, planner: &mut Planner<'_>) {
        let sizes = Sizes::new(&planner.tables, self.levels, self.base_bytes, self.fanout);
        let new = planner.free(0);
        let mut due: Vec<(u128, u32)> = Vec::new();
        let runs = run_count(&new);
        if runs >= self.new_runs {
            due.push((runs as u128 * 1000 / self.new_runs as u128, 0));
        }
        for level in planner.levels() {
            if level == 0 || level >= sizes.last {
                continue;
            }
            let excess = bytes(&planner.free(level)).saturating_sub(sizes.target(level));
            if excess > 0 {
                let target = u128::from(sizes.target(level)).max(1);
                due.push((
                    u128::from(bytes(&planner.level(level))) * 1000 / target,
                    level,
                ));
            }
        }
        due.sort_unstable_by_key(|&(score, level)| (Reverse(score), level));
        for (_, level) in due {
            if level == 0 {
                merge_down(planner, new.clone(), sizes.base, self.table_bytes);
            } else {
                self.push_down(planner, level, sizes.target(level));
            }
        }
        plan_due(planner, &sizes, self.table_bytes);
    }

    /// Brings tables from a level to the next one, until the rest is not too large.
    fn push_down(&self, planner: &mut Planner<'_>, level: u32, target: u64) {
        let free = planner.free(level);
        let mut excess = bytes(&free).saturating_sub(target);
        let mut below = planner.level(level + 1);
        below.sort_by(|a, b| a.range.first.cmp(&b.range.first));
        let overlaps = |table: &TableMeta| {
            let before = |other: &&TableMeta| !other.range.reaches(&table.range.first);
            let (_, rest) = below.split_at(below.partition_point(before));
            let inside = rest
                .iter()
                .take_while(|other| table.range.reaches(&other.range.first));
            inside.copied().collect::<Vec<_>>()
        };
        let mut choices: Vec<_> = free.iter().map(|table| (*table, overlaps(table))).collect();
        choices.sort_by_cached_key(|(table, below)| {
            let cost = u128::from(bytes(below)) * 1000 / u128::from(table.bytes).max(1);
            (cost, table.range.first.clone())
        });
        for (table, below) in choices {
            if excess == 0 {
                break;
            }
            let mut inputs = vec![table];
            inputs.extend(below);
            if planner.add(&inputs, level + 1, self.table_bytes) {
                excess = excess.saturating_sub(table.bytes);
            }
        }
    }
}
