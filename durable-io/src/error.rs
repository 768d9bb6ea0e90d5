//! The one error of this crate: what was asked, of which file, where, and what the kernel answered.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;

/// The result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What was asked of the disk when it failed. Printed in lower case by `Display`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Op {
    /// Open an existing file.
    Open,
    /// Open an existing directory.
    OpenDir,
    /// Create a file that must not exist.
    Create,
    /// Create a directory.
    CreateDir,
    /// Give a file another name.
    Rename,
    /// Give a file a second name.
    Link,
    /// Remove a file's name.
    Remove,
    /// Remove an empty directory.
    RemoveDir,
    /// List a directory.
    List,
    /// Read bytes.
    Read,
    /// Write bytes.
    Write,
    /// Change the length of a file.
    SetLen,
    /// Reserve space for a file.
    Allocate,
    /// Ask for the length of a file.
    Len,
    /// Make a file's or a directory's changes durable.
    Sync,
    /// Map bytes into memory.
    Map,
    /// Take a lock.
    Lock,
    /// Ask for the free space.
    FreeSpace,
    /// Start a thread.
    StartThread,
    /// Ask to be notified of forks ([`Process::current`](crate::Process::current)).
    WatchForks,
}

impl Op {
    /// True if it changes nothing on the disk, however it ends.
    fn only_looks(self) -> bool {
        match self {
            Self::Open
            | Self::OpenDir
            | Self::List
            | Self::Read
            | Self::Len
            | Self::Map
            | Self::Lock
            | Self::FreeSpace
            | Self::StartThread
            | Self::WatchForks => true,
            Self::Create
            | Self::CreateDir
            | Self::Rename
            | Self::Link
            | Self::Remove
            | Self::RemoveDir
            | Self::Write
            | Self::SetLen
            | Self::Allocate
            | Self::Sync => false,
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::OpenDir => "open directory",
            Self::Create => "create",
            Self::CreateDir => "create directory",
            Self::Rename => "rename",
            Self::Link => "link",
            Self::Remove => "remove",
            Self::RemoveDir => "remove directory",
            Self::List => "list",
            Self::Read => "read",
            Self::Write => "write",
            Self::SetLen => "set length of",
            Self::Allocate => "allocate space for",
            Self::Len => "get length of",
            Self::Sync => "sync",
            Self::Map => "map",
            Self::Lock => "lock",
            Self::FreeSpace => "get free space of",
            Self::StartThread => "start thread",
            Self::WatchForks => "watch forks of",
        })
    }
}

/// What the system had none of, or would not give ([`Error::Resource`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Resource {
    /// A file descriptor: this process has as many as it may (`EMFILE`; `ulimit -n`).
    Descriptor,
    /// An open file: the whole system has as many as it may (`ENFILE`).
    OpenFile,
    /// Memory, or room for one more map (`ENOMEM`).
    Memory,
    /// A thread: there are as many as the user or the system may have (`EAGAIN`; `ulimit -u`).
    Thread,
    /// Length: the file would be longer than the file system or the process may make one (`EFBIG`;
    /// `ulimit -f`).
    FileSize,
    /// A name: the file has as many as it may (`EMLINK`).
    Links,
    /// A lock: the system has no more, or its lock server does not answer (`ENOLCK`).
    Locks,
    /// The permission: this user may not (`EACCES`, `EPERM`).
    Permission,
    /// A file system that can be written to: this one is mounted read-only (`EROFS`).
    WritableFileSystem,
    /// A free moment: somebody else is at it (`EAGAIN`, `EBUSY`).
    Turn,
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Descriptor => "this process has as many open files as it may",
            Self::OpenFile => "the system has as many open files as it may",
            Self::Memory => "there is not enough memory",
            Self::Thread => "there are as many threads as there may be",
            Self::FileSize => "the file would be longer than it may be",
            Self::Links => "the file has as many names as it may",
            Self::Locks => "the system gives no lock",
            Self::Permission => "the permission is missing",
            Self::WritableFileSystem => "the file system is read-only",
            Self::Turn => "it is in use, for now",
        })
    }
}

impl Resource {
    /// What was missing for `op`, if `error` says that something was.
    fn missing(op: Op, error: &io::Error) -> Option<Self> {
        let errno = error.raw_os_error().map(Errno::from_raw_os_error);
        Some(match (errno, error.kind()) {
            (Some(Errno::MFILE), _) => Self::Descriptor,
            (Some(Errno::NFILE), _) => Self::OpenFile,
            (Some(Errno::NOLCK), _) => Self::Locks,
            (_, io::ErrorKind::OutOfMemory) => Self::Memory,
            (_, io::ErrorKind::WouldBlock) if op == Op::StartThread => Self::Thread,
            (_, io::ErrorKind::WouldBlock | io::ErrorKind::ResourceBusy) => Self::Turn,
            (_, io::ErrorKind::FileTooLarge) => Self::FileSize,
            (_, io::ErrorKind::TooManyLinks) => Self::Links,
            (_, io::ErrorKind::PermissionDenied) => Self::Permission,
            (_, io::ErrorKind::ReadOnlyFilesystem) => Self::WritableFileSystem,
            _ => return None,
        })
    }
}

/// Everything that can go wrong between an engine and its disk.
///
/// Errors are `Clone`, because one failed sync answers every writer that waited for it.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel refused a call. After a failed write or sync the file is poisoned. (A disk that is
    /// full in a sync, or in a write that syncs, is this error, of kind `StorageFull`.)
    #[error("cannot {op} {}{}", path.display(), At(*offset))]
    Io {
        /// What was asked.
        op: Op,
        /// Of which file or directory.
        path: PathBuf,
        /// At which byte of the file, for reads, writes, allocations and maps.
        offset: Option<u64>,
        /// What the kernel answered.
        source: Arc<io::Error>,
    },
    /// An earlier write or sync of this file (or an earlier sync of this directory) failed, so
    /// nobody knows what of it is on the disk. Reopen the store: recovery finds out.
    #[error("{} is poisoned by an earlier failed write or sync; reopen the store to recover", path.display())]
    Poisoned {
        /// The file or directory whose write or sync failed.
        path: PathBuf,
    },
    /// Somebody else has the lock.
    #[error("{} is locked{}", path.display(), ByPid(*pid))]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// The process that holds it, as far as it could be learned.
        pid: Option<u32>,
    },
    /// The disk (or the quota) is full. Nothing is poisoned; freeing space and trying again is safe. Of a
    /// write the first bytes may have been written, of its range and nowhere else; of all other calls
    /// nothing has happened.
    #[error("no space left on the device to {op} {}{}", path.display(), At(*offset))]
    NoSpace {
        /// What was asked.
        op: Op,
        /// For which file or directory.
        path: PathBuf,
        /// At which byte of the file, for writes and allocations.
        offset: Option<u64>,
    },
    /// The system refused the call for want of something. Nothing has changed (but for an empty file
    /// that may be where one was to be created) and nothing is poisoned: the same call may succeed
    /// on the same handle as soon as there is what was missing.
    #[error("cannot {op} {}{}: {resource}", path.display(), At(*offset))]
    Resource {
        /// What was asked.
        op: Op,
        /// Of which file or directory; for a thread, its name.
        path: PathBuf,
        /// At which byte of the file, for reads, allocations and maps.
        offset: Option<u64>,
        /// What was missing.
        resource: Resource,
        /// What the kernel answered.
        source: Arc<io::Error>,
    },
    /// The call would have changed bytes that this process has mapped ([`File::map`](crate::File::map)),
    /// by whatever handle or name of the file. Nothing has changed, and nothing is poisoned.
    #[error("cannot {op} {}{}: these bytes are mapped, and so never change", path.display(), At(Some(*offset)))]
    Mapped {
        /// What was asked.
        op: Op,
        /// Of which file.
        path: PathBuf,
        /// The first byte that was to be changed.
        offset: u64,
    },
    /// This process is a forked copy of the one that opened this, and may not use it: nothing was done.
    /// A process that wants to use it opens it anew, when its parent has closed it.
    #[error("{} belongs to the process that opened it, and this is a forked copy", path.display())]
    Forked {
        /// What was opened.
        path: PathBuf,
    },
}

struct At(Option<u64>);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(offset) => write!(f, " at byte {offset}"),
            None => Ok(()),
        }
    }
}

struct ByPid(Option<u32>);

impl fmt::Display for ByPid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(pid) => write!(f, " by process {pid}"),
            None => f.write_str(" by another process"),
        }
    }
}

impl Error {
    pub(crate) fn io(op: Op, path: &Path, offset: Option<u64>, source: io::Error) -> Self {
        Self::Io {
            op,
            path: path.to_owned(),
            offset,
            source: Arc::new(source),
        }
    }

    /// The error of a call that changes nothing outside its range when the disk is full, or nothing when
    /// something is missing: every call but those that sync.
    pub(crate) fn refusal(op: Op, path: &Path, offset: Option<u64>, source: io::Error) -> Self {
        let path = path.to_owned();
        if is_no_space(&source) {
            return Self::NoSpace { op, path, offset };
        }
        match Resource::missing(op, &source) {
            Some(resource) => Self::Resource {
                op,
                path,
                offset,
                resource,
                source: Arc::new(source),
            },
            None => Self::Io {
                op,
                path,
                offset,
                source: Arc::new(source),
            },
        }
    }

    /// The error of a thread called `name` that could not be started.
    pub fn thread(name: &str, source: io::Error) -> Self {
        Self::refusal(Op::StartThread, Path::new(name), None, source)
    }

    /// True if the call that failed has changed nothing, so that what it was a part of may be given up,
    /// or tried again, on the same handles: a full disk, a missing resource, a lock that is held, and
    /// whatever befalls a call that only looks. Left behind may be an empty file under a name that was to
    /// be created, zeros after a file's end, or, of a write that met a full disk, its first bytes: who
    /// writes into a file that counts covers these before anything else.
    ///
    /// False if anything may have changed, or is poisoned by an earlier failure: only a new opening
    /// finds out what is there.
    pub fn changed_nothing(&self) -> bool {
        match self {
            Self::NoSpace { .. }
            | Self::Resource { .. }
            | Self::Locked { .. }
            | Self::Mapped { .. }
            | Self::Forked { .. } => true,
            // An argument that cannot be is refused before anything else, except that bytes of a write
            // may be written by then.
            Self::Io { op, source, .. } => {
                let is_argument = source.kind() == io::ErrorKind::InvalidInput;
                op.only_looks() || is_argument && !matches!(op, Op::Write | Op::Sync)
            }
            Self::Poisoned { .. } => false,
        }
    }

    /// What was missing, if the call failed for want of something other than space.
    pub fn resource(&self) -> Option<Resource> {
        match self {
            Self::Resource { resource, .. } => Some(*resource),
            _ => None,
        }
    }

    /// True if bytes that are there cannot be had, however often one asks: the disk has lost them, or they
    /// are not this user's to read. Whoever reads around damage takes it for damage. A missing file is not
    /// meant, nor the want of anything that may be there the next time.
    pub fn is_unreadable(&self) -> bool {
        match self {
            Self::Io { op, source, .. } => {
                let is_other = matches!(
                    source.kind(),
                    io::ErrorKind::NotFound
                        | io::ErrorKind::InvalidInput
                        | io::ErrorKind::UnexpectedEof
                        | io::ErrorKind::Interrupted
                );
                matches!(op, Op::Open | Op::Read | Op::Len) && !is_other
            }
            Self::Resource { op, .. } => {
                matches!(op, Op::Open | Op::Read) && self.is_permission_denied()
            }
            _ => false,
        }
    }

    /// True if the disk (or the quota) is full.
    pub fn is_no_space(&self) -> bool {
        matches!(self, Self::NoSpace { .. })
    }

    /// True if somebody else has the lock.
    pub fn is_locked(&self) -> bool {
        matches!(self, Self::Locked { .. })
    }

    /// True if the call failed because a name or directory does not exist.
    pub fn is_not_found(&self) -> bool {
        self.has_kind(io::ErrorKind::NotFound)
    }

    /// True if the call failed because a name exists already.
    pub fn is_already_exists(&self) -> bool {
        self.has_kind(io::ErrorKind::AlreadyExists)
    }

    pub(crate) fn is_permission_denied(&self) -> bool {
        self.resource() == Some(Resource::Permission)
    }

    pub(crate) fn is_interrupted(&self) -> bool {
        self.has_kind(io::ErrorKind::Interrupted)
    }

    fn has_kind(&self, kind: io::ErrorKind) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == kind)
    }
}

pub(crate) fn is_no_space(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
