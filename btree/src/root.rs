//! [`Root`]: one committed state of the store. As long as somebody holds it, no page that it reaches is
//! used for anything else.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wal::Lsn;

use crate::error::{Error, Result};
use crate::node::Ref;
use crate::pager::Pager;

/// A tree: where it begins and how many entries it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tree {
    /// `None` if it is empty.
    pub(crate) root: Option<Ref>,
    pub(crate) len: u64,
}

/// A committed state.
#[derive(Debug)]
pub(crate) struct Root {
    /// Counts write transactions since the store was opened.
    pub(crate) version: u64,
    /// The last record of the log that it holds.
    pub(crate) lsn: Lsn,
    /// The tables, by name.
    pub(crate) catalog: Tree,
    /// The id of the next table.
    pub(crate) next_table: u64,
    pub(crate) pager: Arc<Pager>,
    lease: Lease,
    released: Arc<Released>,
}

/// Whether a state may still be read: its pages are used for something else when it may not.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lease {
    has_ended: Arc<AtomicBool>,
}

impl Lease {
    pub(crate) fn end(&self) {
        self.has_ended.store(true, Ordering::SeqCst);
    }

    #[inline]
    fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::SeqCst)
    }
}

impl Root {
    pub(crate) fn new(
        (version, lsn): (u64, Lsn),
        state: State,
        pager: &Arc<Pager>,
        (lease, released): (Lease, Arc<Released>),
    ) -> Self {
        Self {
            version,
            lsn,
            catalog: state.catalog,
            next_table: state.next_table,
            pager: Arc::clone(pager),
            lease,
            released,
        }
    }

    /// Whether a reader may read of it.
    #[inline]
    pub(crate) fn check_read(&self) -> Result<()> {
        if self.lease.has_ended() {
            return Err(Error::LeaseEnded);
        }
        self.pager.health.check_read(self.version)
    }

    /// Reads of it for a reader. What the places of its pages hold is no damage when the lease has ended meanwhile.
    #[inline]
    pub(crate) fn read<T>(&self, read: impl FnOnce() -> Result<T>) -> Result<T> {
        self.check_read()?;
        read().map_err(|error| {
            if self.lease.has_ended() {
                Error::LeaseEnded
            } else {
                error
            }
        })
    }

    pub(crate) fn state(&self) -> State {
        State {
            catalog: self.catalog,
            next_table: self.next_table,
        }
    }
}

/// What of a state is on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) catalog: Tree,
    pub(crate) next_table: u64,
}

impl Drop for Root {
    fn drop(&mut self) {
        self.released.push(self.version);
    }
}

/// The versions that nobody holds any more, and that the free space does not know of yet.
#[derive(Debug, Default)]
pub(crate) struct Released(Mutex<Vec<u64>>);

impl Released {
    fn lock(&self) -> MutexGuard<'_, Vec<u64>> {
        // Nothing under this lock can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, version: u64) {
        self.lock().push(version);
    }

    pub(crate) fn take(&self) -> Vec<u64> {
        std::mem::take(&mut *self.lock())
    }
}
