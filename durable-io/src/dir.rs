//! [`Dir`]: a held directory. Names are relative to it, so it can always be synced.

use std::fmt;
use std::io;
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::backend::{DirBackend, FileBackend, LockAttempt};
use crate::disk::no_randomness;
use crate::error::{Error, Op, Result};
use crate::file::{File, retry_interrupted};
use crate::latch::Latch;
use crate::lock::Lock;
use crate::process::Process;
use crate::site::{Barrier, Site};
use crate::temp::check_no_temp;

#[cfg(test)]
mod tests;

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
/// Names are single components. The empty name, `.`, `..`, and a name with `/` or a zero byte in it
/// are refused with [`Error::Io`] of kind `InvalidInput`, so that a name read from a damaged file
/// cannot lead out of the directory. So is giving a file a name that is one of a [`Temp`](crate::Temp).
#[derive(Clone)]
pub struct Dir {
    inner: Arc<Inner>,
    reads_only: bool,
}

struct Inner {
    backend: Arc<dyn DirBackend>,
    path: PathBuf,
    latch: Latch,
    modes: Modes,
}

/// Who may do what with what is created, as `open` and `mkdir` have it; the umask takes off from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Modes {
    pub(crate) file: u32,
    pub(crate) dir: u32,
}

impl Default for Modes {
    fn default() -> Self {
        Self {
            file: 0o644,
            dir: 0o755,
        }
    }
}

impl fmt::Debug for Dir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dir")
            .field("path", &self.inner.path)
            .finish_non_exhaustive()
    }
}

impl Dir {
    pub(crate) fn new(backend: Arc<dyn DirBackend>, path: PathBuf, modes: Modes) -> Self {
        Self {
            inner: Arc::new(Inner {
                backend,
                path,
                latch: Latch::default(),
                modes,
            }),
            reads_only: false,
        }
    }

    /// The same directory, in which [`open`](Dir::open) is [`open_read_only`](Dir::open_read_only).
    #[must_use]
    pub fn for_reading(&self) -> Self {
        let inner = Arc::clone(&self.inner);
        let reads_only = true;
        Self { inner, reads_only }
    }

    /// The path by which the directory was opened, for messages.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Opens the file `name` for reading and writing.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::is_not_found`] distinguishes a missing file from the rest. [`Error::Resource`].
    pub fn open(&self, name: &str) -> Result<File> {
        if self.reads_only {
            return self.open_read_only(name);
        }
        self.open_by(name, || self.inner.backend.open(name))
    }

    /// Opens the file `name` for reading: needs no right to write to it, and works on a file system
    /// that is mounted read-only. Whatever would change the file fails.
    ///
    /// # Errors
    /// As [`open`](Dir::open).
    pub fn open_read_only(&self, name: &str) -> Result<File> {
        self.open_by(name, || self.inner.backend.open_read_only(name))
    }

    fn open_by(
        &self,
        name: &str,
        open: impl FnMut() -> io::Result<Arc<dyn FileBackend>>,
    ) -> Result<File> {
        let path = self.checked(Op::Open, name)?;
        match retry_interrupted(open) {
            Ok(backend) => Ok(File::new(backend, path)),
            Err(source) => Err(Error::refusal(Op::Open, &path, None, source)),
        }
    }

    /// Creates the file `name`, which must not exist. Its name is durable only after
    /// [`sync`](Dir::sync).
    ///
    /// # Errors
    /// [`Error::Io`] (see [`Error::is_already_exists`]), [`Error::NoSpace`], [`Error::Resource`],
    /// [`Error::Poisoned`].
    pub fn create_new(&self, name: &str) -> Result<File> {
        self.checked_new(Op::Create, name)?;
        self.create_with(Op::Create, name, None)
    }

    /// As [`create_new`](Dir::create_new), of any name, and with a mode other than that of new files.
    pub(crate) fn create_with(&self, op: Op, name: &str, mode: Option<u32>) -> Result<File> {
        let path = self.checked(op, name)?;
        self.inner.latch.check(&self.inner.path)?;
        let mode = mode.unwrap_or(self.inner.modes.file);
        match retry_interrupted(|| self.inner.backend.create_new(name, mode)) {
            Ok(backend) => Ok(File::new(backend, path)),
            Err(source) => Err(Error::refusal(op, &path, None, source)),
        }
    }

    /// The mode of the file `name`, if there is one and the disk knows modes.
    pub(crate) fn mode_of(&self, name: &str) -> Result<Option<u32>> {
        let path = self.checked_new(Op::Create, name)?;
        retry_interrupted(|| self.inner.backend.mode_of(name))
            .map_err(|source| Error::refusal(Op::Create, &path, None, source))
    }

    /// A number for a temporary name, another one for each `attempt`.
    pub(crate) fn number(&self, attempt: u64) -> Result<u64> {
        let number = self.inner.backend.temp_number(attempt);
        number.map_err(|source| Error::refusal(Op::Create, &self.inner.path, None, source))
    }

    /// A number that nobody else has drawn, as [`Disk::unique_id`](crate::Disk::unique_id) gives it, of the disk
    /// that the directory is on.
    ///
    /// # Errors
    /// [`Error::Io`] if the system has no randomness to give.
    pub fn unique_id(&self) -> Result<u64> {
        self.inner.backend.unique_id().map_err(no_randomness)
    }

    /// Opens the directory `name` below this one.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open_dir(&self, name: &str) -> Result<Self> {
        let path = self.checked(Op::OpenDir, name)?;
        match retry_interrupted(|| self.inner.backend.open_dir(name)) {
            Ok(backend) => Ok(Self::new(backend, path, self.inner.modes)),
            Err(source) => Err(Error::refusal(Op::OpenDir, &path, None, source)),
        }
    }

    /// Creates the directory `name` below this one; durable after [`sync`](Dir::sync).
    ///
    /// # Errors
    /// [`Error::Io`] (see [`Error::is_already_exists`]), [`Error::NoSpace`], [`Error::Resource`],
    /// [`Error::Poisoned`].
    pub fn create_dir(&self, name: &str) -> Result<()> {
        self.checked_new(Op::CreateDir, name)?;
        let mode = self.inner.modes.dir;
        self.change(Op::CreateDir, name, |backend| {
            backend.create_dir(name, mode)
        })
    }

    /// Renames `from` to `to`, replacing `to` if it exists, in one atomic step; durable after
    /// [`sync`](Dir::sync).
    ///
    /// # Errors
    /// [`Error::NoSpace`], [`Error::Resource`], [`Error::Poisoned`]: nothing changed. [`Error::Io`]:
    /// either name may exist.
    pub fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.checked_new(Op::Rename, to)?;
        self.change(Op::Rename, from, |backend| backend.rename(from, to))
    }

    /// Gives the file `from` the second name `to`, which must not exist; durable after
    /// [`sync`](Dir::sync).
    ///
    /// # Errors
    /// As [`link_into`](Dir::link_into).
    pub fn link(&self, from: &str, to: &str) -> Result<()> {
        self.link_into(from, self, to)
    }

    /// Gives the file `from` of this directory one more name: `to` in the directory `dir`, which must be
    /// on the same disk and not have that name yet. Durable after a [`sync`](Dir::sync) of `dir`; a sync
    /// of this directory does nothing for it.
    ///
    /// The two names are one file: whatever is written by one is seen by the other. A link is no copy.
    ///
    /// # Errors
    /// [`Error::NoSpace`], [`Error::Resource`], [`Error::Poisoned`] by a sync of `dir`: nothing changed.
    /// [`Error::Io`], of kind `CrossesDevices` if `dir` is on another file system or another [`Disk`].
    ///
    /// [`Disk`]: crate::Disk
    pub fn link_into(&self, from: &str, dir: &Self, to: &str) -> Result<()> {
        self.checked(Op::Link, from)?;
        dir.checked_new(Op::Link, to)?;
        let target = &*dir.inner.backend;
        dir.change(Op::Link, to, |_| self.inner.backend.link(from, target, to))
    }

    /// Removes the file name `name`; a crash may bring it back until [`sync`](Dir::sync). Open
    /// files and maps of it stay good.
    ///
    /// # Errors
    /// [`Error::NoSpace`] (some file systems need space to remove), [`Error::Resource`],
    /// [`Error::Poisoned`]: nothing changed. [`Error::Io`].
    pub fn remove(&self, name: &str) -> Result<()> {
        self.change(Op::Remove, name, |backend| backend.remove(name))
    }

    /// Removes the directory `name`, which must be empty; a crash may bring it back until
    /// [`sync`](Dir::sync), and then perhaps with names in it whose removal was not made durable. A
    /// handle of it takes no new names any more.
    ///
    /// # Errors
    /// As [`remove`](Dir::remove); [`Error::Io`] of kind `DirectoryNotEmpty` or `NotADirectory`.
    pub fn remove_dir(&self, name: &str) -> Result<()> {
        self.change(Op::RemoveDir, name, |backend| backend.remove_dir(name))
    }

    fn change(
        &self,
        op: Op,
        name: &str,
        mut call: impl FnMut(&dyn DirBackend) -> io::Result<()>,
    ) -> Result<()> {
        let path = self.checked(op, name)?;
        self.inner.latch.check(&self.inner.path)?;
        let mut call = || {
            let result = call(&*self.inner.backend);
            result.map_err(|source| Error::refusal(op, &path, None, source))
        };
        match call() {
            Err(interrupted) if interrupted.is_interrupted() => match retry(&mut call) {
                // The first one may have happened although it was interrupted, or another process has
                // been here: nobody knows.
                Err(error) if error.is_not_found() || error.is_already_exists() => Err(interrupted),
                repeated => repeated,
            },
            other => other,
        }
    }

    /// The path of `name`, if it is a name of something *in* this directory.
    fn checked(&self, op: Op, name: &str) -> Result<PathBuf> {
        let path = self.inner.path.join(name);
        if matches!(name, "" | "." | "..") || name.contains(['/', '\0']) {
            return Err(Error::io(
                op,
                &path,
                None,
                io::ErrorKind::InvalidInput.into(),
            ));
        }
        Ok(path)
    }

    /// The path of `name`, if a file that is no temporary one may be called so.
    fn checked_new(&self, op: Op, name: &str) -> Result<PathBuf> {
        let path = self.checked(op, name)?;
        check_no_temp(op, &path, name)?;
        Ok(path)
    }

    /// Lists the directory, in no particular order.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn list(&self) -> Result<Vec<Entry>> {
        retry_interrupted(|| self.inner.backend.list())
            .map_err(|source| Error::refusal(Op::List, &self.inner.path, None, source))
    }

    /// Makes every name created, renamed or removed in this directory durable. What the names hold
    /// is not: that is [`File::sync_data`].
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
        retry_interrupted(|| self.inner.backend.free_space())
            .map_err(|source| Error::refusal(Op::FreeSpace, &self.inner.path, None, source))
    }

    /// Locks the directory for this process, and with it the lock file `name`, which is created if need be
    /// and stays. The lock ends when the value is dropped or the process dies.
    ///
    /// It excludes every other lock in the directory, of whatever name, by this process and by
    /// others. The directory itself is locked besides the file, so that somebody who removes the file
    /// lets nobody in. A child that this process forks has an inert copy ([`Lock`]); but while the child
    /// lives and has neither dropped its copy nor executed another program, the *death* of this process
    /// does not free the lock.
    ///
    /// Both locks are `flock`, so they bind those who ask. On NFS the file is locked between machines too,
    /// unless the mount says otherwise (`nolock`, `local_lock`), and the directory among the processes of
    /// one machine only: there a removed lock file lets another machine in. File systems that know no
    /// locks of directories have that of the file alone. Locks are outside the crash model.
    ///
    /// # Errors
    /// [`Error::Locked`] if somebody has it, with the process id as far as it could be learned;
    /// [`Error::Resource`], [`Error::Io`]. A full disk is no error once the lock file exists. A lock file
    /// that is a symbolic link is [`Error::Io`].
    pub fn try_lock(&self, name: &str) -> Result<Lock> {
        let mode = self.inner.modes.file;
        self.lock_by(name, |owner| self.inner.backend.try_lock(name, owner, mode))
    }

    /// Locks the directory for reading: as long as any reader has it nobody can
    /// [lock it for writing](Dir::try_lock), and nobody can have it beside a writer. Makes no file and
    /// writes none, so it needs no right to write, and works on a file system that is mounted read-only.
    ///
    /// What [`try_lock`](Dir::try_lock) says of forks and of NFS holds here too.
    ///
    /// # Errors
    /// [`Error::Locked`] if a writer has it; [`Error::Resource`], [`Error::Io`].
    pub fn try_lock_shared(&self, name: &str) -> Result<Lock> {
        self.lock_by(name, |owner| {
            self.inner.backend.try_lock_shared(name, owner)
        })
    }

    fn lock_by(
        &self,
        name: &str,
        lock: impl Fn(Process) -> io::Result<LockAttempt>,
    ) -> Result<Lock> {
        let path = self.checked_new(Op::Lock, name)?;
        let owner = Process::current()?;
        match retry_interrupted(|| lock(owner)) {
            Ok(LockAttempt::Taken(held)) => Ok(Lock::new(held, owner, path)),
            Ok(LockAttempt::Held { pid }) => Err(Error::Locked { path, pid }),
            Err(source) => Err(Error::refusal(Op::Lock, &path, None, source)),
        }
    }
}

/// Repeats `call` while a signal interrupts it.
fn retry(call: &mut impl FnMut() -> Result<()>) -> Result<()> {
    loop {
        match call() {
            Err(error) if error.is_interrupted() => {}
            other => return other,
        }
    }
}
