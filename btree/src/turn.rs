//! [`Turn`]: one write transaction at a time.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::page::Page;
use crate::root::Root;
use crate::space::Space;

/// What only the one who writes has.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) space: Space,
    pub(crate) ledger: Ledger,
}

/// What is known of the last committed state.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) head: Arc<Root>,
    /// Its pages that are not in the file yet.
    pub(crate) dirty: BTreeMap<u32, Arc<Page>>,
    pub(crate) next_version: u64,
    /// What versions are added to, to make stamps that no page had before the store was opened.
    pub(crate) base: u64,
    /// The pages of the free list that the meta slots name.
    pub(crate) free_list: Vec<u32>,
}

impl Ledger {
    /// A version for a transaction or for the pages of a checkpoint.
    pub(crate) fn take_version(&mut self) -> u64 {
        let version = self.next_version;
        self.next_version += 1;
        version
    }
}

#[derive(Debug)]
pub(crate) struct Turn {
    writer: Mutex<Option<Writer>>,
    is_given: Condvar,
}

impl Turn {
    pub(crate) fn new(writer: Writer) -> Self {
        Self {
            writer: Mutex::new(Some(writer)),
            is_given: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Writer>> {
        // Nothing under this lock can panic half-way through a change.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the turn; `None` if `timeout` is over first.
    pub(crate) fn take(&self, timeout: Option<Duration>) -> Option<Writer> {
        let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut writer = self.lock();
        loop {
            if let Some(writer) = writer.take() {
                return Some(writer);
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            writer = match left {
                Some(left) if left.is_zero() => return None,
                Some(left) => {
                    let woken = self.is_given.wait_timeout(writer, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    let woken = self.is_given.wait(writer);
                    woken.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
    }

    pub(crate) fn give(&self, writer: Writer) {
        *self.lock() = Some(writer);
        self.is_given.notify_one();
    }

    /// Looks at the writer, unless it is somebody's turn.
    pub(crate) fn peek<T>(&self, look: impl FnOnce(&mut Writer) -> T) -> Option<T> {
        self.lock().as_mut().map(look)
    }
}
