//! How large levels should be, and how tables come into a sorted one.

use crate::compaction::TableMeta;
use crate::compaction::planner::{Planner, bytes, groups};

/// Merges `tables`, the newest first, into a sorted level: one job for each group that overlaps.
pub(crate) fn merge_down<'a>(
    planner: &mut Planner<'a>,
    tables: Vec<&'a TableMeta>,
    level: u32,
    output_bytes: u64,
) {
    let mut all = tables;
    all.extend(planner.level(level));
    for group in groups(all) {
        if group.iter().any(|table| table.level != level) {
            planner.add(&group, level, output_bytes);
        }
    }
}

/// How large levels should be, counted from the last one upwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// The last level.
    pub(crate) last: u32,
    /// Where new tables go: the first level that should be in use, or that is.
    pub(crate) base: u32,
    /// Of the levels above the last that should be in use, upwards; however many there are, these are few.
    targets: Vec<u64>,
}

impl Sizes {
    pub(crate) fn new(tables: &[&TableMeta], levels: u32, base_bytes: u64, fanout: u64) -> Self {
        let last = last_level(tables.iter().copied(), levels);
        let in_use = tables.iter().map(|table| table.level);
        let in_use = in_use.filter(|level| *level > 0).min().unwrap_or(last);
        let lowest = tables.iter().filter(|table| table.level == last);
        let mut target = bytes(&lowest.copied().collect::<Vec<_>>());
        let mut targets = Vec::new();
        // The last level cannot be too large.
        let mut level = last;
        while level > 1 && target > base_bytes {
            level -= 1;
            target /= fanout;
            targets.push(target);
        }
        Self {
            last,
            base: level.min(in_use),
            targets,
        }
    }

    /// Of a level above the last; 0 if it should not be in use.
    pub(crate) fn target(&self, level: u32) -> u64 {
        let mut upwards = self.targets.iter();
        let above = (self.last - level).checked_sub(1);
        let target = above.and_then(|nth| upwards.nth(usize::try_from(nth).ok()?));
        target.copied().unwrap_or(0)
    }
}

/// The last of so many levels; or that of the oldest table, if another strategy had more.
pub(crate) fn last_level<'a>(tables: impl IntoIterator<Item = &'a TableMeta>, levels: u32) -> u32 {
    let in_use = tables.into_iter().map(|table| table.level).max();
    in_use.unwrap_or(0).max(levels - 1)
}
