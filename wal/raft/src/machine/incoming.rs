//! [`Incoming`]: a snapshot on its way from another node.

use durable_io::{Dir, File, Process};

use crate::error::Result;

/// A snapshot that is being received, in a file that is removed when this is dropped. Nothing of it counts before
/// it is installed; nothing of it survives power loss.
#[derive(Debug)]
pub struct Incoming {
    dir: Dir,
    name: String,
    file: File,
    owner: Process,
}

impl Incoming {
    pub(super) fn create(dir: &Dir, name: String) -> Result<Self> {
        let owner = Process::current()?;
        Ok(Self {
            file: dir.create_new(&name)?,
            dir: dir.clone(),
            name,
            owner,
        })
    }

    /// How many bytes there are.
    pub(super) fn len(&self) -> Result<u64> {
        Ok(self.file.len()?)
    }

    pub(super) fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        Ok(self.file.read_at(buf, offset)?)
    }

    /// Writes what was received for `offset`; a transfer may be begun anew.
    ///
    /// # Errors
    /// Those of [`File::write_all_at`].
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        Ok(self.file.write_all_at(bytes, offset)?)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // The copy of a forked child has nothing to remove: its parent is still receiving.
        if self.owner.is_current() {
            // Best effort: what is left is removed by the next opening.
            drop(self.dir.remove(&self.name));
        }
    }
}
