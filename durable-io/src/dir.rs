//! [`Dir`]: a held directory. Names are relative to it, so it can always be synced.

use std::fmt;
use std::io;
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::backend::{DirBackend, FileBackend, LockAttempt};
use crate::error::{Error, Op, Result};
use crate::file::{File, retry_interrupted};
use crate::latch::Latch;
use crate::lock::Lock;
use crate::process::Process;
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
/// Names are single components. The empty name, `.`, `..`, and a name with `/` or a zero byte in it
/// are refused with [`Error::Io`] of kind `InvalidInput`, so that a name read from a damaged file
/// cannot lead out of the directory.
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
        f.debug_struct("Dir")
            .field("path", &self.inner.path)
            .finish_non_exhaustive()
    }
}

impl Dir {
    pub(crate) fn new(backend: Arc<dyn DirBackend>, path: PathBuf) -> Self {
        Self {
            inner: Arc::new(Inner {
                backend,
                path,
                latch: Latch::default(),
            }),
        }
    }

    /// The path by which the directory was opened, for messages.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Opens the file `name` for reading and writing.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::is_not_found`] tells a missing file from the rest. [`Error::Resource`].
    pub fn open(&self, name: &str) -> Result<File> {
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
        let path = self.checked(Op::Create, name)?;
        self.inner.latch.check(&self.inner.path)?;
        match retry_interrupted(|| self.inner.backend.create_new(name)) {
            Ok(backend) => Ok(File::new(backend, path)),
            Err(source) => Err(Error::refusal(Op::Create, &path, None, source)),
        }
    }

    /// Opens the directory `name` below this one.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open_dir(&self, name: &str) -> Result<Self> {
        let path = self.checked(Op::OpenDir, name)?;
        match retry_interrupted(|| self.inner.backend.open_dir(name)) {
            Ok(backend) => Ok(Self::new(backend, path)),
            Err(source) => Err(Error::refusal(Op::OpenDir, &path, None, source)),
        }
    }

    /// Creates the directory `name` below this one; durable after [`sync`](Dir::sync).
    ///
    /// # Errors
    /// [`Error::Io`] (see [`Error::is_already_exists`]), [`Error::NoSpace`], [`Error::Resource`],
    /// [`Error::Poisoned`].
    pub fn create_dir(&self, name: &str) -> Result<()> {
        self.change(Op::CreateDir, name, |backend| backend.create_dir(name))
    }

    /// Renames `from` to `to`, replacing `to` if it exists, in one atomic step; durable after
    /// [`sync`](Dir::sync).
    ///
    /// # Errors
    /// [`Error::NoSpace`], [`Error::Resource`], [`Error::Poisoned`]: nothing changed. [`Error::Io`]:
    /// either name may stand.
    pub fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.checked(Op::Rename, to)?;
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
    /// It excludes every other `try_lock` in the directory, of whatever name, by this process and by
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
    /// [`Error::Resource`], [`Error::Io`]. A full disk is no error once the lock file stands. A lock file that is a symbolic
    /// link is [`Error::Io`].
    pub fn try_lock(&self, name: &str) -> Result<Lock> {
        let path = self.checked(Op::Lock, name)?;
        let owner = Process::current()?;
        match retry_interrupted(|| self.inner.backend.try_lock(name, owner)) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replace::{create_durably, remove_durably, replace_file};
    use crate::scripted::{
        Answer::{self, All, Fail},
        Script,
    };

    fn is_poisoned<T>(result: Result<T>) -> bool {
        matches!(result.err(), Some(Error::Poisoned { .. }))
    }

    #[test]
    fn d30_a_failed_directory_sync_is_never_tried_again() {
        let script = Script::new(&[Fail(io::ErrorKind::Interrupted)]);
        let dir = script.dir();
        let clone = dir.clone();
        dir.sync().unwrap_err();
        assert!(is_poisoned(clone.sync()));
        assert!(is_poisoned(clone.create_new("a")));
        assert!(is_poisoned(clone.create_dir("a")));
        assert!(is_poisoned(clone.rename("a", "b")));
        assert!(is_poisoned(clone.link("a", "b")));
        assert!(is_poisoned(clone.remove("a")));
        assert!(is_poisoned(clone.remove_dir("a")));
        let healthy = Script::new(&[]).dir();
        assert!(is_poisoned(healthy.link_into("a", &clone, "b")));
        assert_eq!(script.calls(), ["sync_dir"]);
        clone.list().unwrap();
    }

    #[test]
    fn an_interrupted_change_is_repeated_and_never_called_done_for_what_is_missing_then() {
        let interrupted = Fail(io::ErrorKind::Interrupted);
        let rename = |answers: &[Answer]| {
            let script = Script::new(answers);
            let result = script.dir().rename("a", "b");
            (result, script.calls().len())
        };
        assert!(matches!(
            rename(&[interrupted, interrupted, All]),
            (Ok(()), 3)
        ));
        let full = [interrupted, Fail(io::ErrorKind::StorageFull)];
        assert!(matches!(rename(&full), (Err(Error::NoSpace { .. }), 2)));
        // It may have been done before it was interrupted.
        let (result, calls) = rename(&[interrupted, Fail(io::ErrorKind::NotFound)]);
        let error = result.unwrap_err();
        assert!(error.is_interrupted() && !error.changed_nothing() && calls == 2);
    }

    #[test]
    fn what_changes_nothing_is_repeated_when_interrupted() {
        let interrupted = Fail(io::ErrorKind::Interrupted);
        let script = Script::new(&[interrupted, interrupted, All, interrupted, All]);
        let dir = script.dir();
        dir.list().unwrap();
        dir.open_dir("a").unwrap();
        let expected = ["list", "list", "list", "open_dir a", "open_dir a"];
        assert_eq!(script.calls(), expected);
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_refused_before_the_kernel_is_asked() {
        let script = Script::new(&[]);
        let dir = script.dir();
        for name in ["", ".", "..", "/", "a/b", "/etc/passwd", "a\0b"] {
            let refused = [
                dir.open(name).map(drop),
                dir.create_new(name).map(drop),
                dir.open_dir(name).map(drop),
                dir.create_dir(name),
                dir.rename(name, "a"),
                dir.rename("a", name),
                dir.link(name, "a"),
                dir.link("a", name),
                dir.link_into(name, &dir, "a"),
                dir.link_into("a", &dir, name),
                dir.remove(name),
                dir.remove_dir(name),
                dir.try_lock(name).map(drop),
            ];
            for result in refused {
                let Err(Error::Io { source, .. }) = result else {
                    panic!("{name:?} was accepted");
                };
                assert_eq!(source.kind(), io::ErrorKind::InvalidInput, "{name:?}");
            }
        }
        assert_eq!(script.calls(), [""; 0]);
    }

    #[test]
    fn the_procedures_take_their_barriers_in_order() {
        let script = Script::new(&[]);
        let dir = script.dir();
        replace_file(&dir, "a", b"x").unwrap();
        assert_eq!(
            script.calls(),
            ["create a.tmp", "rename a.tmp a", "sync_dir name"]
        );
        create_durably::<Error>(&dir, "b", |file| file.write_all_at(b"x", 0)).unwrap();
        assert_eq!(script.calls(), ["create b", "sync_dir name"]);
        remove_durably(&dir, "b").unwrap();
        assert_eq!(script.calls(), ["remove b", "sync_dir name"]);
    }

    #[test]
    fn d38_a_replacement_that_fails_at_the_rename_removes_its_temporary_file() {
        let script = Script::new(&[All, Fail(io::ErrorKind::Other)]);
        replace_file(&script.dir(), "a", b"x").unwrap_err();
        assert_eq!(
            script.calls(),
            ["create a.tmp", "rename a.tmp a", "remove a.tmp"]
        );
    }
}
