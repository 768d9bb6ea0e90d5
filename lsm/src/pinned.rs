//! [`Pinned`]: memory that readers hold and nobody else.

use std::any::Any;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// What is no part of the store any more, as long as readers hold it.
#[derive(Debug, Default)]
pub(crate) struct Pinned {
    /// So that a write that finds none takes no lock.
    len: AtomicUsize,
    held: Mutex<Vec<(Weak<dyn Any + Send + Sync>, u64)>>,
}

impl Pinned {
    /// Counts the `bytes` of a part of the store that is replaced, until no reader holds it any more.
    pub(crate) fn add<T: Any + Send + Sync>(&self, part: &Arc<T>, bytes: u64) {
        let part: Weak<dyn Any + Send + Sync> = Arc::<T>::downgrade(part);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.push((part, bytes));
        self.len.store(held.len(), Ordering::Release);
    }

    /// How many bytes are held.
    pub(crate) fn bytes(&self) -> u64 {
        if self.len.load(Ordering::Acquire) == 0 {
            return 0;
        }
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|(part, _)| part.strong_count() > 0);
        self.len.store(held.len(), Ordering::Release);
        held.iter().map(|(_, bytes)| bytes).sum()
    }
}
