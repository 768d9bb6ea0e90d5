//! Closing: the last sync, the witness of it, and the end of the lock.

use std::sync::atomic::Ordering;

use crate::error::{Error, Result};
use crate::store::Store;
use crate::writer::Writer;

impl Store {
    /// From now on every call is refused.
    ///
    /// # Errors
    /// [`Error::Closed`] if that is so already.
    pub(crate) fn begin_close(&self) -> Result<()> {
        if self.settings.is_closed.swap(true, Ordering::SeqCst) {
            return Err(Error::Closed);
        }
        Ok(())
    }

    /// Makes everything durable, says so in the manifest, and releases the lock, also after a failure. What
    /// other threads were about to write is refused.
    pub(crate) fn close(&self) -> Result<()> {
        // Both held until the lock is released: a merge removes no file and a writer writes no group after that.
        let _merging = self.health.lock(&self.merge);
        let writer = self.health.lock(&self.writer);
        let sealed = self.seal(&writer);
        self.home.unlock();
        sealed
    }

    fn seal(&self, writer: &Writer) -> Result<()> {
        self.health.check()?;
        // Durable: everything. Only now may the manifest state it as its witness.
        self.sync()?;
        let (number, end) = writer.position();
        // Held across I/O: manifests are written one at a time.
        let mut manifest = self.health.lock(&self.manifest);
        let mut sealed = manifest.clone();
        match sealed.files.last_mut() {
            Some(active) if active.number == number && active.end != end => active.end = end,
            _ => return Ok(()),
        }
        match self.replace_manifest(&mut manifest, sealed) {
            // A full disk: all is durable, only the witness is older.
            Err(error) if error.is_no_space() => Ok(()),
            other => other,
        }
    }
}
