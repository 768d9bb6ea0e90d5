//! [`Reserve`]: space that is held back, so that what frees some works on a full disk.
//!
//! It is given back by the removal of its file, and what is still to be held is reserved anew: where a file
//! system copies on write, the blocks of a file that is only truncated are kept until the next sync.

use crate::dir::Dir;
use crate::error::{Error, Result};
use crate::file::File;

/// It is given back in parts of this size: 1 / 8.
const PARTS: u64 = 8;

/// A file that holds space, which is given back piece by piece when the disk is full. Its content means
/// nothing, so nothing of it is synced: after a crash it is made again.
///
/// ```
/// # use durable_io::{Disk, engine::Reserve};
/// # let temp = tempfile::tempdir().unwrap();
/// let dir = Disk::os().open_dir(temp.path())?;
/// let mut reserve = Reserve::new(dir, "reserve", 64 << 10);
/// reserve.hold()?; // when the store is opened, and again when there may be space
///
/// // The disk is full, and what is to be done will free some: it continues with a part of the reserve.
/// assert!(reserve.release(0)?);
/// assert_eq!(reserve.held(), 56 << 10);
/// # Ok::<(), durable_io::Error>(())
/// ```
#[derive(Debug)]
pub struct Reserve {
    dir: Dir,
    name: &'static str,
    size: u64,
    held: u64,
}

impl Reserve {
    /// A reserve of `size` bytes in the file `name` of `dir`, which no other reserve has. Nothing is held
    /// yet, and nothing is done.
    pub fn new(dir: Dir, name: &'static str, size: u64) -> Self {
        Self {
            dir,
            name,
            size,
            held: 0,
        }
    }

    /// How much is to be held, in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// How much is held, in bytes.
    pub fn held(&self) -> u64 {
        self.held
    }

    /// Holds all of the space back, if there is so much to be had; a full disk is no error. No system call
    /// if all of it is held.
    ///
    /// # Errors
    /// Those of the disk, but for a full one.
    pub fn hold(&mut self) -> Result<()> {
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
            Err(Error::NoSpace { .. }) => self.shrink(self.held)?,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Gives an eighth of the space back, unless no more than `kept` bytes are held; true if it did. More
    /// of it, if somebody else takes what is free meanwhile.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn release(&mut self, kept: u64) -> Result<bool> {
        if self.held <= kept {
            return Ok(false);
        }
        let rest = self.held.saturating_sub((self.size / PARTS).max(1));
        self.held = 0;
        self.remove()?;
        if rest > 0 {
            match self.dir.create_new(self.name)?.allocate(0, rest) {
                Ok(()) => self.held = rest,
                Err(Error::NoSpace { .. }) => self.remove()?,
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn remove(&self) -> Result<()> {
        match self.dir.remove(self.name) {
            Err(error) if error.is_not_found() => Ok(()),
            other => other,
        }
    }

    fn open(&self) -> Result<File> {
        match self.dir.create_new(self.name) {
            Err(error) if error.is_already_exists() => self.dir.open(self.name),
            other => other,
        }
    }

    fn shrink(&self, len: u64) -> Result<()> {
        match self.dir.open(self.name) {
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
            Ok(file) => file.set_len(len),
        }
    }
}

#[cfg(all(test, feature = "sim"))]
mod tests {
    use super::*;
    use crate::sim::SimDisk;

    const SIZE: u64 = 64 << 10;

    fn reserve(sim: &SimDisk) -> Reserve {
        let dir = sim.disk().open_dir("/").expect("there is a root");
        Reserve::new(dir, "reserve", SIZE)
    }

    #[test]
    fn each_part_that_is_given_back_is_free_on_a_full_disk() {
        let sim = SimDisk::new();
        let mut reserve = reserve(&sim);
        reserve.hold().unwrap();
        let full = sim.used_bytes();
        assert!(full >= SIZE);
        sim.set_budget(Some(full));
        for part in 1..=4 {
            assert!(reserve.release(SIZE / 2).unwrap());
            assert_eq!(reserve.held(), SIZE - part * SIZE / 8);
            assert_eq!(sim.used_bytes(), full - part * SIZE / 8);
        }
        assert!(!reserve.release(SIZE / 2).unwrap(), "that half is kept");
        for _ in 0..4 {
            assert!(reserve.release(0).unwrap());
        }
        assert!(!reserve.release(0).unwrap());
        assert_eq!(reserve.held(), 0);
        reserve.hold().unwrap();
        assert_eq!((reserve.held(), sim.used_bytes()), (SIZE, full));
    }

    #[test]
    fn where_there_is_not_all_of_it_what_was_held_stays_and_no_more() {
        let sim = SimDisk::new();
        let mut reserve = reserve(&sim);
        reserve.hold().unwrap();
        reserve.release(0).unwrap();
        let used = sim.used_bytes();
        sim.set_budget(Some(used + 512));
        reserve.hold().unwrap();
        assert_eq!(reserve.held(), SIZE - SIZE / 8);
        assert_eq!(sim.used_bytes(), used);
    }

    #[test]
    fn an_older_one_is_made_as_large_as_this_one_and_a_missing_one_is_none() {
        let sim = SimDisk::new();
        let mut reserve = reserve(&sim);
        let older = reserve.dir.create_new("reserve").unwrap();
        older.allocate(0, 2 * SIZE).unwrap();
        reserve.hold().unwrap();
        assert_eq!(older.len().unwrap(), SIZE);
        reserve.dir.remove("reserve").unwrap();
        assert!(reserve.release(0).unwrap());
    }
}
