//! [`StoreDir`]: the directory of a store that is open.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::dir::Dir;
use crate::disk::Disk;
use crate::error::Result;
use crate::lock::Lock;

/// The directory of an open store, and the lock on it.
#[derive(Debug)]
pub struct StoreDir {
    dir: Dir,
    lock: Mutex<Option<Lock>>,
}

/// Opens `path` for one writer: creates it and every missing parent, durably, and takes the lock that
/// the file `lock` in it stands for.
///
/// # Durability
/// When this returns, the directory's own name and those of its parents survive power loss:
/// [`Disk::create_dir`], whose barrier is counted at the caller's line.
///
/// # Errors
/// Those of [`Disk::create_dir`] and [`Dir::try_lock`].
#[track_caller]
pub fn open_store(disk: &Disk, path: impl AsRef<Path>, lock: &str) -> Result<StoreDir> {
    // Durable: the directory's own name. Only now may anything in it be relied on.
    let dir = disk.create_dir(path)?;
    StoreDir::locked(dir, lock)
}

impl StoreDir {
    /// Opens the directory of a store that is there, for one user; creates nothing but the lock's file.
    ///
    /// # Errors
    /// Those of [`Disk::open_dir`] and [`Dir::try_lock`].
    pub fn open(disk: &Disk, path: impl AsRef<Path>, lock: &str) -> Result<Self> {
        Self::locked(disk.open_dir(path)?, lock)
    }

    /// Opens the directory of a store that is there, for reading: beside other readers, but not beside a
    /// writer. Makes and writes nothing, not even the lock's file, and works on a file system that is mounted
    /// read-only: what is opened in it is opened for reading.
    ///
    /// # Errors
    /// Those of [`Disk::open_dir`] and [`Dir::try_lock_shared`].
    pub fn open_shared(disk: &Disk, path: impl AsRef<Path>, lock: &str) -> Result<Self> {
        let dir = disk.open_dir(path)?.for_reading();
        let lock = Mutex::new(Some(dir.try_lock_shared(lock)?));
        Ok(Self { dir, lock })
    }

    /// Opens the directory of a store that is there, for reading; takes no lock and writes nothing: what is
    /// opened in it is opened for reading.
    ///
    /// # Errors
    /// Those of [`Disk::open_dir`].
    pub fn open_read_only(disk: &Disk, path: impl AsRef<Path>) -> Result<Self> {
        let dir = disk.open_dir(path)?.for_reading();
        let lock = Mutex::new(None);
        Ok(Self { dir, lock })
    }

    fn locked(dir: Dir, lock: &str) -> Result<Self> {
        let lock = Mutex::new(Some(dir.try_lock(lock)?));
        Ok(Self { dir, lock })
    }

    /// The directory.
    pub fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Lets somebody else open the store: nothing may be written to it any more. For a handle's `Drop`,
    /// which must not leave that to the last reference.
    pub fn unlock(&self) {
        *self.lock.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
