//! Space that is held back, so that streams can be ended and readers can acknowledge on a full disk.

use durable_io::{Dir, File};

use crate::names;

/// It is given back in parts of this size: 1 / 8.
const PARTS: u64 = 8;

/// The file that holds the space. Its content means nothing, so nothing of it is synced: after a crash
/// it is made again.
#[derive(Debug)]
pub(crate) struct Reserve {
    dir: Dir,
    size: u64,
    /// How much is held.
    held: u64,
}

impl Reserve {
    pub(crate) fn new(dir: Dir, size: u64) -> Self {
        Self { dir, size, held: 0 }
    }

    /// Holds all of the space back, if there is so much to be had.
    ///
    /// # Errors
    /// Those of the disk; a full one is none.
    pub(crate) fn hold(&mut self) -> durable_io::Result<()> {
        if self.held == self.size {
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
            Ok(()) => self.held = self.size,
            // The file may have grown, but not have all of its blocks: what was held is.
            Err(durable_io::Error::NoSpace { .. }) => self.shrink(self.held)?,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Gives a part of the space back; false if nothing is left.
    ///
    /// # Errors
    /// Those of the disk.
    pub(crate) fn release(&mut self) -> durable_io::Result<bool> {
        if self.held == 0 {
            return Ok(false);
        }
        self.held = self.held.saturating_sub((self.size / PARTS).max(1));
        self.shrink(self.held)?;
        Ok(true)
    }

    pub(crate) fn held(&self) -> u64 {
        self.held
    }

    fn open(&self) -> durable_io::Result<File> {
        match self.dir.create_new(names::RESERVE) {
            Err(error) if error.is_already_exists() => self.dir.open(names::RESERVE),
            other => other,
        }
    }

    fn shrink(&self, len: u64) -> durable_io::Result<()> {
        match self.dir.open(names::RESERVE) {
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
            Ok(file) => file.set_len(len),
        }
    }
}
