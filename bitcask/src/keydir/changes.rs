//! What the index was before, for those who must see that.

use std::sync::atomic::Ordering;

use super::{Inner, Keydir, Origin, SHARDS, Spot, Spots, shard_of};

/// One change of a key, for those who must see what was before.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// The record before; `None` if the key was absent.
    pub(crate) old: Option<Spot>,
    /// Where the record was that made the change; `None` if it was a deletion.
    pub(crate) new: Option<Origin>,
    pub(crate) key: Box<[u8]>,
}

/// A change that snapshots may have to know of.
pub(crate) struct Noted<'a> {
    pub(crate) version: u64,
    pub(crate) key: &'a [u8],
    pub(crate) newest_snapshot: u64,
    pub(crate) change: &'a dyn Fn() -> Change,
}

/// Bytes that a change takes in memory beside its key, about.
pub(crate) const CHANGE_SIZE: u64 = 96;

/// What a snapshot sees of a key.
#[derive(Debug)]
pub(crate) enum AtVersion {
    /// The record that was there before the first change after it.
    Was(Option<Spot>),
    /// It has not changed.
    Is(Spots),
}

impl Inner {
    /// The first change of `key` after `version` that is noted.
    pub(super) fn first_change(&self, hash: u64, key: &[u8], version: u64) -> Option<&Change> {
        let mut later = self.changes.range((hash, version + 1)..=(hash, u64::MAX));
        let is_its = |(_, change): &(_, &Change)| *change.key == *key;
        later.find(is_its).map(|(_, change)| change)
    }

    /// Versions and hashes of the changes of which `is_needed` does not say, of the change before it of the
    /// same key, and of its own version, that somebody asks for it.
    fn not_needed(&self, is_needed: impl Fn(u64, u64) -> bool) -> Vec<(u64, u64)> {
        let mut gone = Vec::new();
        // Keys that share the hash at hand, and their last changes.
        let mut before: Vec<(&[u8], u64)> = Vec::new();
        let mut last_hash = None;
        for (&(hash, at), change) in &self.changes {
            if last_hash != Some(hash) {
                before.clear();
                last_hash = Some(hash);
            }
            let its = before.iter_mut().find(|(key, _)| *key == &*change.key);
            let previous = if let Some((_, version)) = its {
                std::mem::replace(version, at)
            } else {
                before.push((&change.key, at));
                0
            };
            if !is_needed(previous, at) {
                gone.push((hash, at));
            }
        }
        gone
    }
}

impl Keydir {
    /// Bytes of memory of the changes that snapshots hold.
    pub(crate) fn change_bytes(&self) -> u64 {
        self.change_count() * CHANGE_SIZE
    }

    /// What is to be known of `key`, with this hash, as of `version`.
    pub(crate) fn at_version(&self, hash: u64, key: &[u8], version: u64) -> AtVersion {
        let Some(shard) = self.read(shard_of(hash)) else {
            return AtVersion::Is(self.spots(hash));
        };
        shard.seen(hash, key, Some(version))
    }

    /// Changes that are noted for snapshots.
    pub(crate) fn change_count(&self) -> u64 {
        self.change_count.load(Ordering::Relaxed)
    }

    /// Notes a change that was made before, for readers of an earlier version.
    pub(crate) fn note(&self, hash: u64, version: u64, change: Change) {
        if let Some(mut shard) = self.write(shard_of(hash)) {
            let before = shard.changes.insert((hash, version), change);
            if before.is_none() {
                self.change_count.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Forgets changes that no snapshot needs: `is_needed` gets the version of the change before it of the same
    /// key, or 0, and its own; a snapshot from the one on and below the other needs it.
    pub(crate) fn forget(&self, is_needed: impl Fn(u64, u64) -> bool) {
        if self.change_count() == 0 {
            return;
        }
        for shard in 0..SHARDS {
            if let Some(mut shard) = self.write(shard) {
                let gone = shard.not_needed(&is_needed);
                for change in &gone {
                    shard.changes.remove(change);
                }
                self.change_count
                    .fetch_sub(gone.len() as u64, Ordering::Relaxed);
            }
        }
    }
}
