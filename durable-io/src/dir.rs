//! [`Dir`]: a held directory. Names are relative to it, so it can always be synced.

use std::fmt;
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::backend::{DirBackend, FileBackend, LockAttempt};
use crate::error::{Error, Op, Result};
use crate::file::{File, retry_interrupted};
use crate::latch::Latch;
use crate::site::{Barrier, Site};

/// One name in a directory, as [`Dir::list`] gives it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Entry {
    /// The name; bytes that are not UTF-8 are replaced, so such a name is seen but cannot be opened.
    pub name: String,
    /// True for a directory.
    pub is_dir: bool,
}

/// A held directory.
///
/// Cheap to clone; clones share one failure latch: after a failed [`sync`](Dir::sync), every later
/// change or sync through any clone is [`Error::Poisoned`].
///
/// Names are single components: a name with `/` in it is refused by the kernel or by the simulator.
#[derive(Clone)]
pub struct Dir {
    inner: Arc<Inner>,
}

struct Inner {
    backend: Arc<dyn DirBackend>,
    path: PathBuf,
    latch: Latch,
}

impl fmt::Debug for Dir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dir").field("path", &self.inner.path).finish_non_exhaustive()
    }
}

impl Dir {
    pub(crate) fn new(backend: Arc<dyn DirBackend>, path: PathBuf) -> Self {
        Self { inner: Arc::new(Inner { backend, path, latch: Latch::default() }) }
    }

    /// The path by which the directory was opened, for messages.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Opens the file `name` for reading and writing.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::is_not_found`] tells a missing file from the rest.
    pub fn open(&self, name: &str) -> Result<File> {
        let path = self.inner.path.join(name);
        match retry_interrupted(|| self.inner.backend.open(name)) {
            Ok(backend) => Ok(Self::file(backend, path)),
            Err(source) => Err(Error::io(Op::Open, &path, None, source)),
        }
    }

    /// Creates the file `name`, which must not exist. Its name is durable only after
    /// [`sync`](Dir::sync).
    ///
    /// # Errors
    /// [`Error::Io`] (see [`Error::is_already_exists`]), [`Error::NoSpace`], [`Error::Poisoned`].
    pub fn create_new(&self, name: &str) -> Result<File> {
        let path = self.inner.path.join(name);
        self.inner.latch.check(&self.inner.path)?;
        match retry_interrupted(|| self.inner.backend.create_new(name)) {
            Ok(backend) => Ok(Self::file(backend, path)),
            Err(source) => Err(Error::io_or_no_space(Op::Create, &path, None, source)),
        }
    }

    fn file(backend: Arc<dyn FileBackend>, path: PathBuf) -> File {
        File::new(backend, path)
    }

    /// Opens the directory `name` below this one.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open_dir(&self, name: &str) -> Result<Self> {
        let path = self.inner.path.join(name);
        match retry_interrupted(|| self.inner.backend.open_dir(name)) {
            Ok(backend) => Ok(Self::new(backend, path)),
            Err(source) => Err(Error::io(Op::OpenDir, &path, None, source)),
        }
    }

    /// Creates the directory `name` below this one; durable after [`sync`](Dir::sync).
    ///
    /// # Errors
    /// [`Error::Io`] (see [`Error::is_already_exists`]), [`Error::NoSpace`], [`Error::Poisoned`].
    pub fn create_dir(&self, name: &str) -> Result<()> {
        self.change(Op::CreateDir, name, |backend| backend.create_dir(name))
    }

    /// Renames `from` to `to`, replacing `to` if it exists, in one atomic step; durable after
    /// [`sync`](Dir::sync).
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::NoSpace`], [`Error::Poisoned`]. After an error either name may stand.
    pub fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.change(Op::Rename, from, |backend| backend.rename(from, to))
    }

    /// Gives the file `from` the second name `to`, which must not exist; durable after
    /// [`sync`](Dir::sync).
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::NoSpace`], [`Error::Poisoned`].
    pub fn link(&self, from: &str, to: &str) -> Result<()> {
        self.change(Op::Link, to, |backend| backend.link(from, to))
    }

    /// Removes the file name `name`; the crash may bring it back until [`sync`](Dir::sync).
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Poisoned`].
    pub fn remove(&self, name: &str) -> Result<()> {
        self.change(Op::Remove, name, |backend| backend.remove(name))
    }

    fn change(
        &self,
        op: Op,
        name: &str,
        call: impl Fn(&dyn DirBackend) -> std::io::Result<()>,
    ) -> Result<()> {
        self.inner.latch.check(&self.inner.path)?;
        // Not repeated when interrupted: a change may have happened although it reports an error,
        // and a second rename of it would then fail with "not found".
        call(&*self.inner.backend).map_err(|source| {
            Error::io_or_no_space(op, &self.inner.path.join(name), None, source)
        })
    }

    /// Lists the directory, in no particular order.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn list(&self) -> Result<Vec<Entry>> {
        retry_interrupted(|| self.inner.backend.list())
            .map_err(|source| Error::io(Op::List, &self.inner.path, None, source))
    }

    /// Makes every name created, renamed or removed in this directory durable.
    ///
    /// # Errors
    /// [`Error::Io`] if the kernel fails; the directory is then poisoned and the sync is never tried
    /// again. [`Error::Poisoned`] afterwards.
    #[track_caller]
    pub fn sync(&self) -> Result<()> {
        self.sync_at(Site::new(Location::caller(), Barrier::Dir, ""))
    }

    /// [`sync`](Dir::sync), counted as the barrier at `site`.
    ///
    /// # Errors
    /// As [`sync`](Dir::sync).
    pub fn sync_at(&self, site: Site) -> Result<()> {
        self.inner.latch.check(&self.inner.path)?;
        self.inner.backend.sync(&site).map_err(|source| {
            self.inner.latch.set();
            Error::io(Op::Sync, &self.inner.path, None, source)
        })
    }

    /// Bytes that may still be written to the file system of this directory.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn free_space(&self) -> Result<u64> {
        self.inner
            .backend
            .free_space()
            .map_err(|source| Error::io(Op::FreeSpace, &self.inner.path, None, source))
    }

    /// Takes the lock file `name`, creating it if need be. The lock ends when the value is dropped
    /// or the process dies; the file stays. Locks are outside the crash model.
    ///
    /// # Errors
    /// [`Error::Locked`] if somebody else has it, with the process id if it could be read;
    /// [`Error::Io`].
    pub fn try_lock(&self, name: &str) -> Result<Lock> {
        let path = self.inner.path.join(name);
        match retry_interrupted(|| self.inner.backend.try_lock(name)) {
            Ok(LockAttempt::Taken(held)) => Ok(Lock { _held: held }),
            Ok(LockAttempt::Held { pid }) => Err(Error::Locked { path, pid }),
            Err(source) => Err(Error::io(Op::Lock, &path, None, source)),
        }
    }
}

/// A held lock; dropping it lets go.
#[derive(Debug)]
pub struct Lock {
    _held: Box<dyn fmt::Debug + Send + Sync>,
}
