//! The range tombstones of a memtable.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use sstable::{RangeTombstone, covering, fragment};

/// So many are looked at one by one before all are made fragments again: that costs a step for each.
const RECENT: usize = 16;

#[derive(Debug, Default)]
pub(crate) struct Ranges {
    /// So that a reader of a memtable without any takes no lock.
    len: AtomicUsize,
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    all: Vec<RangeTombstone>,
    /// What the first ones of `all` are as fragments, and how many these are.
    fragments: Arc<[RangeTombstone]>,
    fragmented: usize,
}

impl Inner {
    fn recent(&self) -> &[RangeTombstone] {
        let recent = self.all.get(self.fragmented..);
        recent.expect("fragments are of ranges that are there")
    }

    fn make_fragments(&mut self) {
        if self.fragmented < self.all.len() {
            // As many as they make: what bounds them is MAX_MEMTABLE_RANGES.
            let fragments = fragment(self.all.iter().cloned(), usize::MAX);
            self.fragments = fragments.expect("there is no limit").into();
            self.fragmented = self.all.len();
        }
    }
}

impl Ranges {
    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    pub(crate) fn insert(&self, range: RangeTombstone) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        inner.all.push(range);
        if inner.recent().len() > RECENT {
            inner.make_fragments();
        }
        self.len.store(inner.all.len(), Ordering::Release);
    }

    /// The newest version, of those up to `version`, with which one of them deletes `key`.
    pub(crate) fn covering(&self, key: &[u8], version: u64) -> Option<u64> {
        if self.len() == 0 {
            return None;
        }
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let recent = inner.recent().iter();
        let recent = recent
            .filter(|range| range.version <= version && range.contains(key))
            .map(|range| range.version)
            .max();
        recent.max(covering(&inner.fragments, key, version))
    }

    /// All of them as fragments.
    pub(crate) fn fragments(&self) -> Arc<[RangeTombstone]> {
        if self.len() == 0 {
            return Arc::default();
        }
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        if inner.recent().is_empty() {
            return Arc::clone(&inner.fragments);
        }
        drop(inner);
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        inner.make_fragments();
        Arc::clone(&inner.fragments)
    }
}
