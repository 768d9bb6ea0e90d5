//! Space that is held back, so that flushes, compactions and deletions work on a full disk.

use durable_io::{Dir, File};

use crate::error::Result;
use crate::names;
use crate::store::Store;

/// The file that holds the space. Its content means nothing, so nothing of it is synced: after a crash
/// it is made again.
#[derive(Debug)]
pub(crate) struct Reserve {
    dir: Dir,
    size: u64,
    is_held: bool,
}

impl Reserve {
    pub(crate) fn new(dir: Dir, size: u64) -> Self {
        let is_held = false;
        Self { dir, size, is_held }
    }

    /// Holds the space back, if there is so much to be had; a full disk is no error.
    pub(crate) fn hold(&mut self) -> durable_io::Result<()> {
        if self.is_held || self.size == 0 {
            return Ok(());
        }
        let held = self.open().and_then(|file| {
            // An older one may be larger.
            if file.len()? > self.size {
                file.set_len(self.size)?;
            }
            file.allocate(0, self.size)
        });
        match held {
            Ok(()) => self.is_held = true,
            // Not even a part of it: what is left is for others.
            Err(durable_io::Error::NoSpace { .. }) => self.remove()?,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Gives the space back; false if there is none.
    fn release(&mut self) -> durable_io::Result<bool> {
        let was_held = std::mem::take(&mut self.is_held);
        if was_held {
            self.remove()?;
        }
        Ok(was_held)
    }

    fn open(&self) -> durable_io::Result<File> {
        match self.dir.create_new(names::RESERVE) {
            Err(error) if error.is_already_exists() => self.dir.open(names::RESERVE),
            other => other,
        }
    }

    fn remove(&self) -> durable_io::Result<()> {
        match self.dir.remove(names::RESERVE) {
            Err(error) if error.is_not_found() => Ok(()),
            other => other,
        }
    }
}

impl Store {
    /// Does `work`, which gives space back in the end; if the disk is full, once more with the space that
    /// is held back.
    pub(crate) fn with_reserve<T>(&self, work: impl Fn() -> Result<T>) -> Result<T> {
        match work() {
            Err(error) if error.is_no_space() => {
                let released = self.health.lock(&self.reserve).release();
                if released? { work() } else { Err(error) }
            }
            other => other,
        }
    }

    /// Gives the space back that is held.
    pub(crate) fn release_reserve(&self) -> Result<()> {
        self.health.lock(&self.reserve).release()?;
        Ok(())
    }

    /// Holds the space back again, if it can be had by now.
    pub(crate) fn hold_reserve(&self) -> Result<()> {
        Ok(self.health.lock(&self.reserve).hold()?)
    }
}
