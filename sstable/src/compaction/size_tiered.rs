//! [`SizeTiered`]: runs of similar size are merged.

use crate::compaction::TableMeta;
use crate::compaction::planner::{Planner, bytes};

/// Runs of similar size that are next to each other in age are merged, some at a time, into one of the
/// next size. An entry is written once for each size that its run goes through: log₄ of all bytes over
/// those of a new table, with the default of 4 runs. A reader looks into up to 3 runs of each size, and
/// old versions can take a multiple of the space of the newest ones.
///
/// It leaves all tables in level 0.
///
/// Source: O'Neil et al., "The Log-Structured Merge-Tree", 1996, for merging in tiers; the choice by
/// size, and only of neighbours, is as in the universal compaction of `RocksDB`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SizeTiered {
    runs: usize,
    smallest_bytes: u64,
    pub(crate) table_bytes: u64,
}

impl Default for SizeTiered {
    fn default() -> Self {
        Self {
            runs: 4,
            smallest_bytes: 4 << 20,
            table_bytes: 256 << 20,
        }
    }
}

impl SizeTiered {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// So many runs of similar size are merged, at least 2; and a size is so many times the one before.
    /// Default: 4.
    #[must_use]
    pub fn runs(mut self, runs: usize) -> Self {
        self.runs = runs.max(2);
        self
    }

    /// All runs up to this size are of similar size, in bytes. Default: 4 MiB.
    #[must_use]
    pub fn smallest_bytes(mut self, bytes: u64) -> Self {
        self.smallest_bytes = bytes.max(1);
        self
    }

    /// At about which size a table ends and the next one of the run begins, in bytes. Default: 256 MiB.
    #[must_use]
    pub fn table_bytes(mut self, bytes: u64) -> Self {
        self.table_bytes = bytes;
        self
    }

    pub(crate) fn plan(&self, planner: &mut Planner<'_>) {
        let runs = runs(planner);
        let tiers: Vec<u32> = runs.iter().map(|run| self.tier(bytes(run))).collect();
        let mut sizes = tiers.clone();
        sizes.sort_unstable();
        sizes.dedup();
        for tier in sizes {
            for window in windows(&tiers, tier) {
                let window = runs.get(window);
                let window = window.expect("there is a tier for each run");
                let alike = window.iter().filter(|run| self.tier(bytes(run)) == tier);
                if alike.count() < self.runs {
                    continue;
                }
                let inputs = window.concat();
                // In the place of the oldest.
                let level = inputs.last().map_or(0, |table| table.level);
                planner.add(&inputs, level, self.table_bytes);
            }
        }
    }

    /// How many times the smallest size is to be multiplied to reach `bytes`.
    fn tier(&self, bytes: u64) -> u32 {
        let mut tier = 0;
        let mut size = self.smallest_bytes;
        while size < bytes {
            size = size.saturating_mul(self.runs as u64);
            tier += 1;
        }
        tier
    }
}

/// The runs of all levels, the newest first.
fn runs<'a>(planner: &Planner<'a>) -> Vec<Vec<&'a TableMeta>> {
    let is_same = |a: &&TableMeta, b: &&TableMeta| (a.level, a.run) == (b.level, b.run);
    let runs = planner.tables.chunk_by(is_same);
    runs.map(<[_]>::to_vec).collect()
}

/// The places of neighbours up to `tier`, as long as can be, each from the first one that is of that
/// tier to the last.
fn windows(tiers: &[u32], tier: u32) -> Vec<std::ops::Range<usize>> {
    let mut windows: Vec<std::ops::Range<usize>> = Vec::new();
    let mut is_open = false;
    for (nth, &other) in tiers.iter().enumerate() {
        if other > tier {
            is_open = false;
        } else if other == tier {
            match windows.last_mut().filter(|_| is_open) {
                Some(window) => window.end = nth + 1,
                None => windows.push(nth..nth + 1),
            }
            is_open = true;
        }
    }
    windows
}
