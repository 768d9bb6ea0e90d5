//! [`Sequence`]: up to which version everything is in the memtables, so that readers may see it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

/// Which versions are published. Threads insert their batches at the same time, in any order; a version
/// becomes visible when it and all before it are inserted, and with all of its batch.
#[derive(Debug)]
pub(crate) struct Sequence {
    visible: AtomicU64,
    /// Batches that are inserted, behind one that is not: first version, and the one behind the last.
    waiting: Mutex<BTreeMap<u64, u64>>,
    moved: Condvar,
    /// It will not move any more.
    has_ended: AtomicBool,
}

impl Sequence {
    /// Everything up to `visible` is there.
    pub(crate) fn new(visible: u64) -> Self {
        Self {
            visible: AtomicU64::new(visible),
            waiting: Mutex::default(),
            moved: Condvar::new(),
            has_ended: AtomicBool::new(false),
        }
    }

    /// The newest version that readers may see.
    #[inline]
    pub(crate) fn visible(&self) -> u64 {
        self.visible.load(Ordering::Acquire)
    }

    /// Says that the versions of `batch` are inserted.
    pub(crate) fn publish(&self, batch: &Range<u64>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if batch.start != self.visible() + 1 {
            waiting.insert(batch.start, batch.end);
            return;
        }
        let mut end = batch.end;
        while let Some((&start, &next)) = waiting.first_key_value()
            && start == end
        {
            waiting.pop_first();
            end = next;
        }
        self.visible.store(end - 1, Ordering::Release);
        drop(waiting);
        self.moved.notify_all();
    }

    /// Waits until `version` is visible; false if it will never be.
    pub(crate) fn wait_for(&self, version: u64) -> bool {
        if self.visible() >= version {
            return true;
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        while self.visible() < version {
            if self.has_ended.load(Ordering::SeqCst) {
                return false;
            }
            waiting = self
                .moved
                .wait(waiting)
                .unwrap_or_else(PoisonError::into_inner);
        }
        true
    }

    /// Says that what is not visible now may never be, and wakes all who wait.
    pub(crate) fn end(&self) {
        self.has_ended.store(true, Ordering::SeqCst);
        drop(self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        self.moved.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_visible_when_all_before_it_are() {
        let sequence = Sequence::new(10);
        for (batch, visible) in [
            (14..15, 10),
            (12..14, 10),
            (17..20, 10),
            (11..12, 14),
            (15..17, 19),
        ] {
            sequence.publish(&batch);
            assert_eq!(sequence.visible(), visible, "{batch:?}");
        }
        assert!(sequence.wait_for(19));
    }

    #[test]
    fn nobody_waits_for_what_will_never_be_visible() {
        let sequence = Sequence::new(0);
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| sequence.wait_for(1));
            sequence.end();
            assert!(!waits.join().unwrap());
        });
    }
}
