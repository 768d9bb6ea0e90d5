//! The failure latch: after the first failed write or sync of a file, refuse all the rest. A plain write that
//! met a full disk is none: the kernel says so before it takes the bytes, and what it had taken stays to be
//! written back.
//!
//! A failed fsync may have thrown the dirty pages away, so a second one that "succeeds" proves
//! nothing (Rebello et al., "Can Applications Recover from fsync Failures?", ATC 2020). The latch
//! sits in the handles, where no engine can forget it.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Result};

#[derive(Debug, Default)]
pub(crate) struct Latch(AtomicBool);

impl Latch {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// [`Error::Poisoned`] if the latch is set.
    pub(crate) fn check(&self, path: &Path) -> Result<()> {
        if self.0.load(Ordering::Acquire) {
            return Err(Error::Poisoned {
                path: path.to_owned(),
            });
        }
        Ok(())
    }
}

/// The syncs of one descriptor, one at a time, and none after the first that failed.
///
/// Linux reports a failed write-back once for each descriptor: the sync after the one that returned it
/// succeeds, although the pages are gone. The latch in the handle is set only after the failed sync
/// has returned, so without this lock another thread could slip in between, sync, and learn that
/// its bytes are durable.
#[derive(Debug, Default)]
pub(crate) struct Syncs {
    failed: Mutex<bool>,
}

impl Syncs {
    pub(crate) fn run<T>(&self, sync: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        // Held across I/O on purpose; a panic cannot happen while it is held.
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if *failed {
            return Err(io::Error::other("an earlier sync of it failed"));
        }
        let result = sync();
        *failed = result.is_err();
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d30_a_sync_after_a_failed_one_does_not_reach_the_kernel() {
        let syncs = Syncs::default();
        assert_eq!(syncs.run(|| Ok(1)).expect("succeeds"), 1);
        let failed = syncs.run::<()>(|| Err(io::ErrorKind::InvalidData.into()));
        assert_eq!(
            failed.expect_err("passed on").kind(),
            io::ErrorKind::InvalidData
        );
        let later = syncs.run::<()>(|| panic!("the kernel would say that all is well"));
        assert!(later.is_err());
    }
}
