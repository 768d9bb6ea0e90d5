//! The failure latch: after the first failed write or sync of a file, refuse all the rest.
//!
//! A failed fsync may have thrown the dirty pages away, so a second one that "succeeds" proves
//! nothing (Rebello et al., "Can Applications Recover from fsync Failures?", ATC 2020). The latch
//! sits in the handles, where no engine can forget it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

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
            return Err(Error::Poisoned { path: path.to_owned() });
        }
        Ok(())
    }
}
