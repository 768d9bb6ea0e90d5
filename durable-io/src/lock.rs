//! [`Lock`]: a directory that belongs to one process.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::process::Process;

/// A held lock ([`Dir::try_lock`](crate::Dir::try_lock)); dropping it lets go.
///
/// It belongs to the process that took it. The copy that a forked child has is inert: it says so
/// ([`check`](Lock::check)), and dropping it lets nothing go.
#[derive(Debug)]
pub struct Lock {
    _held: Box<dyn fmt::Debug + Send + Sync>,
    owner: Process,
    path: PathBuf,
}

impl Lock {
    /// `held` lets go when it is dropped by `owner`, and by nobody else.
    pub(crate) fn new(
        held: Box<dyn fmt::Debug + Send + Sync>,
        owner: Process,
        path: PathBuf,
    ) -> Self {
        Self {
            _held: held,
            owner,
            path,
        }
    }

    /// The path of the lock file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The process that took it.
    pub fn owner(&self) -> Process {
        self.owner
    }

    /// Says whether this is the process that took the lock: for the first line of every operation of
    /// what the lock protects, before any mutex. No system call.
    ///
    /// # Errors
    /// [`Error::Forked`] in a forked child: nothing of the handle may be used there.
    #[inline]
    pub fn check(&self) -> Result<()> {
        if self.owner.is_current() {
            return Ok(());
        }
        Err(Error::Forked {
            path: self.path.clone(),
        })
    }
}
