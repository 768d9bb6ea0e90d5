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
    /// [`Error::Io`]; [`Error::is_not_found`] tells a missing file from the rest.
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
            Err(source) => Err(Error::io(Op::Open, &path, None, source)),
        }
    }

    /// Creates the file `name`, which must not exist. Its name is durable only after
    /// [`sync`](Dir::sync).
    ///
    /// # Errors
    /// [`Error::Io`] (see [`Error::is_already_exists`]), [`Error::NoSpace`], [`Error::Poisoned`].
    pub fn create_new(&self, name: &str) -> Result<File> {
        let path = self.checked(Op::Create, name)?;
        self.inner.latch.check(&self.inner.path)?;
        match retry_interrupted(|| self.inner.backend.create_new(name)) {
            Ok(backend) => Ok(File::new(backend, path)),
            Err(source) => Err(Error::io_or_no_space(Op::Create, &path, None, source)),
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
        self.checked(Op::Rename, to)?;
        self.change(Op::Rename, from, |backend| backend.rename(from, to))
    }

    /// Gives the file `from` the second name `to`, which must not exist; durable after
    /// [`sync`](Dir::sync).
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::NoSpace`], [`Error::Poisoned`].
    pub fn link(&self, from: &str, to: &str) -> Result<()> {
        self.checked(Op::Link, from)?;
        self.change(Op::Link, to, |backend| backend.link(from, to))
    }

    /// Removes the file name `name`; a crash may bring it back until [`sync`](Dir::sync). Open
    /// files and maps of it stay good.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::NoSpace`] (some file systems need space to remove),
    /// [`Error::Poisoned`].
    pub fn remove(&self, name: &str) -> Result<()> {
        self.change(Op::Remove, name, |backend| backend.remove(name))
    }

    fn change(
        &self,
        op: Op,
        name: &str,
        call: impl FnOnce(&dyn DirBackend) -> io::Result<()>,
    ) -> Result<()> {
        let path = self.checked(op, name)?;
        self.inner.latch.check(&self.inner.path)?;
        // Not repeated when interrupted: a change may have happened although it reports an error,
        // and a second rename of it would then fail with "not found".
        call(&*self.inner.backend).map_err(|source| Error::io_or_no_space(op, &path, None, source))
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
            .map_err(|source| Error::io(Op::List, &self.inner.path, None, source))
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
            .map_err(|source| Error::io(Op::FreeSpace, &self.inner.path, None, source))
    }

    /// Takes the lock file `name`, creating it if need be. The lock ends when the value is dropped
    /// or the process dies; the file stays. It excludes other processes and other `try_lock` calls
    /// of this process alike. Locks are outside the crash model, and do not hold between machines
    /// that share a network file system which ignores `flock`.
    ///
    /// # Errors
    /// [`Error::Locked`] if somebody has it, with the process id as far as it could be learned;
    /// [`Error::Io`]. A full disk is no error once the lock file stands.
    pub fn try_lock(&self, name: &str) -> Result<Lock> {
        let path = self.checked(Op::Lock, name)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replace::{create_durably, remove_durably, replace_file};
    use crate::scripted::{
        Answer::{All, Fail},
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
        assert_eq!(script.calls(), ["sync_dir"]);
        clone.list().unwrap();
    }

    #[test]
    fn an_interrupted_change_is_reported_and_not_repeated() {
        let script = Script::new(&[Fail(io::ErrorKind::Interrupted)]);
        script.dir().rename("a", "b").unwrap_err();
        assert_eq!(script.calls(), ["rename a b"]);
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
                dir.remove(name),
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
