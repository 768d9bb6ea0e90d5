//! [`Fifo`]: the oldest tables go.

use crate::compaction::planner::{Planner, bytes};

/// The oldest tables are dropped, with all that is in them, when all together are larger than a limit.
/// For what is worth keeping only while it is new: nothing is ever written a second time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fifo {
    max_bytes: u64,
}

impl Fifo {
    /// All tables together have at most `max_bytes` bytes after the jobs of a plan.
    pub fn new(max_bytes: u64) -> Self {
        Self { max_bytes }
    }

    pub(crate) fn plan(&self, planner: &mut Planner<'_>) {
        let mut staying = planner.tables.clone();
        staying.retain(|table| planner.is_free(table));
        let mut total = bytes(&staying);
        let mut dropped = Vec::new();
        while total > self.max_bytes
            && let Some(oldest) = staying.pop()
        {
            total = total.saturating_sub(oldest.bytes);
            dropped.push(oldest);
        }
        dropped.reverse();
        planner.drop_tables(&dropped);
    }
}
