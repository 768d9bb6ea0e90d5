//! The one error of this crate: what was asked, of which file, where, and what the kernel answered.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
    /// Remove a name.
    Remove,
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
    /// full in the middle of a write is this error, of kind `StorageFull`: bytes may be missing.)
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
    /// The disk (or the quota) is full. Nothing was written and nothing is poisoned; freeing space
    /// and trying again is safe.
    #[error("no space left on the device to {op} {}{}", path.display(), At(*offset))]
    NoSpace {
        /// What was asked.
        op: Op,
        /// For which file or directory.
        path: PathBuf,
        /// At which byte of the file, for allocations.
        offset: Option<u64>,
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

    /// Like [`Error::io`], for calls that change nothing when the disk is full.
    pub(crate) fn io_or_no_space(
        op: Op,
        path: &Path,
        offset: Option<u64>,
        source: io::Error,
    ) -> Self {
        if is_no_space(&source) {
            Self::NoSpace {
                op,
                path: path.to_owned(),
                offset,
            }
        } else {
            Self::io(op, path, offset, source)
        }
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
        self.has_kind(io::ErrorKind::PermissionDenied)
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
