//! What need not be checked again.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::sim::hash::MixedSet;
use crate::sim::world::to_index;

/// Checks that were passed already, by the hash of all that they depend on. What is found on equal
/// disks is equal: many crash states recover to the same bytes, and need what follows only once.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    shards: [Mutex<MixedSet<u64>>; PASSED_SHARDS],
}

const PASSED_SHARDS: usize = 16;

impl Passed {
    fn shard(&self, check: u64) -> Option<MutexGuard<'_, MixedSet<u64>>> {
        let shard = to_index(check >> 32) % PASSED_SHARDS;
        let shard = self.shards.get(shard)?;
        Some(shard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn contains(&self, check: u64) -> bool {
        self.shard(check)
            .is_some_and(|shard| shard.contains(&check))
    }

    pub(super) fn insert(&self, check: u64) {
        if let Some(mut shard) = self.shard(check) {
            shard.insert(check);
        }
    }
}
