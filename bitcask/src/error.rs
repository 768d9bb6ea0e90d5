//! The one error of this crate.

use std::path::{Path, PathBuf};

use durable_io::engine::{InvalidOption, NoOutput, NoThread, Poisoned, UnsupportedVersion};

/// The result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong with a store.
///
/// Errors are `Clone`, because one failed sync answers every writer that waited for it.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The disk refused a call, is full, or somebody else has the store open. After a failed write or
    /// sync the store is poisoned; a full disk poisons nothing.
    #[error(transparent)]
    Disk(#[from] durable_io::Error),
    /// What is on the disk is not what was written there.
    #[error("{} is damaged at byte {offset}: {reason}", path.display())]
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// The first byte in it that cannot be believed.
        offset: u64,
        /// What is wrong there.
        reason: Corruption,
        /// The key whose record this is, where its bytes still have the hash that the index or the hint has
        /// for it. Writing the key again heals it.
        key: Option<Box<[u8]>>,
    },
    /// An earlier write or sync failed, so nobody knows what of it is on the disk. Reads of durable
    /// data go on; reopen the store to recover.
    #[error(transparent)]
    Poisoned(#[from] Poisoned),
    /// The store was closed by this handle. Nothing was changed.
    #[error("the store is closed")]
    Closed,
    /// A key or a batch, or the number of data files, is over its limit. Nothing was written.
    #[error(
        "a {what} of {size}{} is over the limit of {limit}{}",
        unit(what),
        unit(what)
    )]
    TooLarge {
        /// `"key"`, `"batch"` or `"number of data files"`.
        what: &'static str,
        /// Its size, in bytes; of a batch, with 12 bytes for each record.
        size: u64,
        /// The largest size.
        limit: u64,
    },
    /// The index would grow past [`Options::memory_limit`](crate::Options::memory_limit). By a write:
    /// nothing was written; overwriting and deleting still work. By opening: the store is as it was.
    #[error(
        "the index needs {needed} bytes of memory; `memory_limit` is {limit} bytes: raise it, or delete keys"
    )]
    MemoryLimit {
        /// What the index would take, in bytes.
        needed: u64,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The file was written by a newer version of this crate.
    #[error(transparent)]
    UnsupportedVersion(#[from] UnsupportedVersion),
    /// An option has a value that the store cannot work with. Nothing was changed.
    #[error(transparent)]
    InvalidOption(#[from] InvalidOption),
    /// The system refused a thread for the background work. The store was not opened.
    #[error(transparent)]
    Thread(#[from] NoThread),
    /// The text of [`dump()`](crate::dump()) could not be written to where it goes.
    #[error(transparent)]
    Output(#[from] NoOutput),
}

/// Bytes, unless `what` is a number of things.
fn unit(what: &str) -> &'static str {
    if what.contains("number") {
        ""
    } else {
        " bytes"
    }
}

impl Error {
    pub(crate) fn corrupt(path: &Path, offset: u64, reason: Corruption) -> Self {
        Self::Corrupt {
            path: path.to_owned(),
            offset,
            reason,
            key: None,
        }
    }

    /// This damage, as that of a record of `key`.
    pub(crate) fn of_key(mut self, its: Option<Vec<u8>>) -> Self {
        if let Self::Corrupt { key, .. } = &mut self {
            *key = its.map(Vec::into_boxed_slice);
        }
        self
    }

    /// True if what failed has changed nothing, so that it may be tried again.
    pub(crate) fn changed_nothing(&self) -> bool {
        matches!(self, Self::Disk(error) if error.changed_nothing())
    }

    /// True for what a retry on a disk with more space may not meet.
    pub(crate) fn is_no_space(&self) -> bool {
        matches!(self, Self::Disk(durable_io::Error::NoSpace { .. }))
    }
}

/// What is wrong with a damaged file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Corruption {
    /// A checksum does not match its bytes.
    #[error("a checksum does not match")]
    Checksum,
    /// A length does not fit what holds it: a file that is too short, a record beyond its group.
    #[error("a length does not fit")]
    Length,
    /// A file does not begin as its kind does.
    #[error("it does not begin as such a file does")]
    Magic,
    /// The file belongs to another store, or to another life of its number.
    #[error("it belongs to another store")]
    ForeignFile,
    /// A record is neither a put nor a deletion, or a data file was made by neither a write nor a merge.
    #[error("its kind is unknown")]
    Kind,
    /// Bytes that must be zero are not.
    #[error("bytes that must be zero are not")]
    NotZero,
    /// The numbers in the manifest contradict each other.
    #[error("its numbers contradict each other")]
    Order,
    /// The manifest is lost: there are data files that only a store with a manifest has.
    #[error("the manifest is lost")]
    ManifestLost,
    /// A data file says that there was a newer manifest: this one is an old copy, or it was copied before
    /// that file. Nothing was removed: the right manifest brings everything back.
    #[error("the manifest is older than data file {file:016x}, which it does not name")]
    OldManifest {
        /// The number in the name of the data file.
        file: u64,
    },
    /// A file that the manifest names is missing.
    #[error("the file is missing")]
    MissingFile,
    /// The groups of the active file end too early: something says that those up to `durable` were
    /// durable.
    #[error("durable groups between here and byte {durable} are lost")]
    LostGroups {
        /// Groups below this offset were durable.
        durable: u64,
    },
    /// The digest over a file's groups is not what the manifest says.
    #[error("its groups are not those that the manifest names")]
    Digest,
    /// The hint does not match its checks; it is not used.
    #[error("the hint does not match its checks")]
    Hint,
}
