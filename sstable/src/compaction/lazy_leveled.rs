//! [`LazyLeveled`]: the last level is one run, the levels above have several.

use crate::compaction::TableMeta;
use crate::compaction::due::plan_due;
use crate::compaction::planner::{Planner, run_count};
use crate::compaction::sizes::Sizes;
use crate::compaction::sizes::last_level;
use crate::compaction::sizes::merge_down;

/// The last level is one sorted run; each level above has up to 3 runs, with the default of 4, and then
/// they are merged into one run of the next level. So entries are written once for each level, and a few
/// times in the last one; and since the last level holds most of everything, reads and space are nearly
/// as good as with [`Leveled`](crate::compaction::Leveled).
///
/// Source: Dayan and Idreos, "Dostoevsky", 2018, section 4.1; the number of levels follows the size of
/// the last one, as in [`Leveled`](crate::compaction::Leveled).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LazyLeveled {
    levels: u32,
    runs: usize,
    base_bytes: u64,
    pub(crate) table_bytes: u64,
}

impl Default for LazyLeveled {
    fn default() -> Self {
        Self {
            levels: 7,
            runs: 4,
            base_bytes: 256 << 20,
            table_bytes: 64 << 20,
        }
    }
}

impl LazyLeveled {
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

    /// So many runs of a level are merged into one of the next, at least 2; and a level is so many times
    /// as large as the one above. Default: 4.
    #[must_use]
    pub fn runs(mut self, runs: usize) -> Self {
        self.runs = runs.max(2);
        self
    }

    /// Up to which size of the last level new tables are merged right into it, in bytes; for each time
    /// that it is larger by the number of runs, another level above it comes into use. Default: 256 MiB.
    #[must_use]
    pub fn base_bytes(mut self, bytes: u64) -> Self {
        self.base_bytes = bytes.max(1);
        self
    }

    /// At about which size a table ends and the next one begins, in bytes. Default: 64 MiB.
    #[must_use]
    pub fn table_bytes(mut self, bytes: u64) -> Self {
        self.table_bytes = bytes;
        self
    }

    pub(crate) fn last_level(&self, tables: &[TableMeta]) -> u32 {
        last_level(tables, self.levels)
    }

    pub(crate) fn plan(&self, planner: &mut Planner<'_>) {
        let fanout = self.runs as u64;
        let sizes = Sizes::new(&planner.tables, self.levels, self.base_bytes, fanout);
        for level in planner.levels() {
            if level >= sizes.last {
                continue;
            }
            let tables = planner.free(level);
            if run_count(&tables) < self.runs {
                continue;
            }
            let next = if level == 0 { sizes.base } else { level + 1 };
            if next == sizes.last {
                merge_down(planner, tables, next, self.table_bytes);
            } else {
                planner.add(&tables, next, self.table_bytes);
            }
        }
        plan_due(planner, &sizes, self.table_bytes);
    }
}
