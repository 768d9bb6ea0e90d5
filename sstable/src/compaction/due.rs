//! Tables that are due for themselves, whatever their level has.

use crate::compaction::planner::{Planner, groups};
use crate::compaction::sizes::Sizes;
use crate::compaction::sizes::merge_down;

/// Brings each table that is due to the next level, with those of its own level that overlap it; a table of the
/// last level is written again where it is.
///
/// A table comes to a higher level by that, or loses its tombstones, so it ends.
pub(crate) fn plan_due(planner: &mut Planner<'_>, sizes: &Sizes, table_bytes: u64) {
    for level in planner.levels() {
        let tables = planner.level(level);
        if !tables.iter().any(|table| table.is_due) {
            continue;
        }
        let is_last = level >= sizes.last;
        let next = match level {
            _ if is_last => level,
            0 => sizes.base,
            _ => level + 1,
        };
        for group in groups(tables) {
            let is_due = group.iter().any(|table| table.is_due);
            let is_free = group.iter().all(|table| planner.is_free(table));
            if !is_due || !is_free {
                continue;
            }
            if is_last {
                if group.iter().any(|table| table.tombstones > 0) {
                    planner.add(&group, level, table_bytes);
                }
            } else if planner.is_sorted(next) {
                merge_down(planner, group, next, table_bytes);
            } else {
                planner.add(&group, next, table_bytes);
            }
        }
    }
}
