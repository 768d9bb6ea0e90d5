//! The one error of this crate.

use std::path::{Path, PathBuf};

use durable_io::engine::{InvalidOption, NoOutput, NoThread, Poisoned, UnsupportedVersion};
use wal::Lsn;

/// The version of the records' format.
const FORMAT_VERSION: u32 = 1;

/// The result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong with a store.
///
/// Errors are `Clone`, because one failed sync answers everybody who waited for it.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such group, or the handle is one of a group that was destroyed; one that was created later
    /// under the same id is another one. Nothing was written.
    #[error("there is no group {group}")]
    NoGroup {
        /// Its id.
        group: u64,
    },
    /// The group is there already. Nothing was written.
    #[error("there is a group {group} already")]
    GroupExists {
        /// Its id.
        group: u64,
    },
    /// An entry that is appended does not follow the last one. Nothing was written.
    #[error("entry {found} was appended to group {group} in the place of {expected}")]
    Gap {
        /// The group.
        group: u64,
        /// The index that must follow.
        expected: u64,
        /// That of the entry.
        found: u64,
    },
    /// Entries up to `committed` were said to be committed, and others that may not be removed any more. Nothing was
    /// written.
    #[error("group {group} cannot be truncated from {index} on: it is committed up to {kept}")]
    Committed {
        /// The group.
        group: u64,
        /// The first entry that was to be removed.
        index: u64,
        /// The last one that stays.
        kept: u64,
    },
    /// A point after the last entry cannot be committed. Nothing was written.
    #[error("index {index} of group {group} cannot be committed: it is after the last entry")]
    Beyond {
        /// The group.
        group: u64,
        /// The point's.
        index: u64,
    },
    /// Something is over its limit. Nothing was written.
    #[error("{what} of {size} bytes is over the limit of {limit} bytes")]
    TooLarge {
        /// What.
        what: &'static str,
        /// Its size, in bytes.
        size: u64,
        /// The largest size, in bytes.
        limit: u64,
    },
    /// The disk refused a call, is full, or somebody else has the store open. After a failed write or sync the
    /// store is poisoned; a full disk poisons nothing.
    #[error(transparent)]
    Disk(#[from] durable_io::Error),
    /// What is on the disk is not what was written there.
    #[error("{} is damaged at byte {offset}: {reason}", path.display())]
    Corrupt {
        /// The damaged file, or the log's directory.
        path: PathBuf,
        /// The first byte in it that cannot be believed.
        offset: u64,
        /// What is wrong there.
        reason: Corruption,
    },
    /// An earlier write or sync failed, so nobody knows what of it is on the disk. Reads of what is durable go
    /// on; reopen the store to recover.
    #[error(transparent)]
    Poisoned(#[from] Poisoned),
    /// The store was closed.
    #[error("the store is closed; open it again")]
    Closed,
    /// The store was written by a newer version of this crate, or of `wal`.
    #[error(transparent)]
    UnsupportedVersion(#[from] UnsupportedVersion),
    /// An option has a value that the store cannot work with. Nothing was changed.
    #[error(transparent)]
    InvalidOption(#[from] InvalidOption),
    /// The system refused a thread. Nothing was changed.
    #[error(transparent)]
    Thread(#[from] NoThread),
    /// An entry was to be applied to a state machine that has applied it, or a later one. Nothing was written.
    #[cfg(feature = "state-machine")]
    #[error("entry {index} cannot be applied: entry {last} was applied before")]
    Applied {
        /// The index of the entry.
        index: u64,
        /// That of the last one that was applied.
        last: u64,
    },
    /// A snapshot was to be installed in a state machine that has applied entries which are not in it. Nothing was
    /// changed.
    #[cfg(feature = "state-machine")]
    #[error("a snapshot up to {index:?} cannot be installed: entry {last:?} was applied before")]
    OldSnapshot {
        /// The index of its last entry.
        index: Option<u64>,
        /// That of the last one that was applied.
        last: Option<u64>,
    },
    /// The log was to be purged up to an entry that the state machine does not hold durably, and which no
    /// installation will bring. Nothing was purged.
    #[cfg(all(feature = "openraft", feature = "state-machine"))]
    #[error("the log cannot be purged up to {index}: the state machine does not hold it")]
    NotHeld {
        /// Up to where.
        index: u64,
    },
    /// The store of a state machine is damaged, or refused something for a reason of its own.
    #[cfg(feature = "state-machine")]
    #[error(transparent)]
    State(lsm::Error),
    /// A vote, a point or an entry cannot be encoded as CBOR, or what is stored is none of the type that is asked
    /// for: a type of the user has changed. Nothing was written.
    #[cfg(feature = "openraft")]
    #[error("a value and its CBOR do not fit: {0}")]
    Codec(String),
    /// What a [`dump`](crate::dump()) is written to has failed.
    #[error(transparent)]
    Output(#[from] NoOutput),
    /// The log refused something for another reason.
    #[error(transparent)]
    Log(wal::Error),
}

impl Error {
    pub(crate) fn corrupt(path: &Path, reason: Corruption) -> Self {
        Self::Corrupt {
            path: path.to_owned(),
            offset: 0,
            reason,
        }
    }

    pub(crate) fn newer(path: &Path) -> Self {
        Self::UnsupportedVersion(UnsupportedVersion {
            path: path.to_owned(),
            version: FORMAT_VERSION + 1,
            supported: FORMAT_VERSION,
        })
    }

    /// Refuses `size` bytes of `what` above `limit`.
    pub(crate) fn unless_within(what: &'static str, size: usize, limit: usize) -> Result<()> {
        if size <= limit {
            return Ok(());
        }
        Err(Self::TooLarge {
            what,
            size: size as u64,
            limit: limit as u64,
        })
    }

    /// True if the disk is full: nothing was changed, and the same call may succeed when there is space.
    pub fn is_no_space(&self) -> bool {
        matches!(self, Self::Disk(durable_io::Error::NoSpace { .. }))
    }

    /// True if what was to be read is not where it was: it was moved, or given up.
    pub(crate) fn is_moved(&self) -> bool {
        matches!(self, Self::Log(wal::Error::Truncated))
    }
}

impl From<wal::Error> for Error {
    fn from(error: wal::Error) -> Self {
        match error {
            wal::Error::Disk(error) => Self::Disk(error),
            wal::Error::Corrupt {
                path,
                offset,
                reason,
            } => Self::Corrupt {
                path,
                offset,
                reason: Corruption::Log(reason),
            },
            wal::Error::Closed => Self::Closed,
            wal::Error::Poisoned(poisoned) => Self::Poisoned(poisoned),
            wal::Error::UnsupportedVersion(error) => Self::UnsupportedVersion(error),
            wal::Error::InvalidOption(error) => Self::InvalidOption(error),
            wal::Error::Thread(error) => Self::Thread(error),
            other => Self::Log(other),
        }
    }
}

#[cfg(feature = "state-machine")]
impl From<lsm::Error> for Error {
    fn from(error: lsm::Error) -> Self {
        match error {
            lsm::Error::Disk(error) => Self::Disk(error),
            lsm::Error::Closed => Self::Closed,
            lsm::Error::Poisoned(poisoned) => Self::Poisoned(poisoned),
            lsm::Error::UnsupportedVersion(error) => Self::UnsupportedVersion(error),
            lsm::Error::InvalidOption(error) => Self::InvalidOption(error),
            lsm::Error::Thread(error) => Self::Thread(error),
            other => Self::State(other),
        }
    }
}

/// What is wrong with a damaged store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Corruption {
    /// The log is damaged.
    #[error("{0}")]
    Log(wal::Corruption),
    /// A record of the log is whole, but nothing that this crate writes.
    #[error("record {lsn} is none of a Raft log")]
    Record {
        /// The record.
        lsn: Lsn,
    },
    /// A record belongs to a group that was never created, or to an earlier one under the same id.
    #[error("record {lsn} belongs to no group that can be there")]
    Group {
        /// The record, or one of the group.
        lsn: Lsn,
    },
    /// An entry between the first and the last one of a group is missing.
    #[error("entry {index} of group {group} is missing")]
    Hole {
        /// The group.
        group: u64,
        /// The entry.
        index: u64,
    },
    /// The log holds something else than what was written there.
    #[error("record {lsn} is not entry {index} of group {group}")]
    Entry {
        /// The group.
        group: u64,
        /// The entry.
        index: u64,
        /// The record.
        lsn: Lsn,
    },
    /// The root of a state machine is none.
    #[cfg(feature = "state-machine")]
    #[error("it is no root of a state machine")]
    Root,
    /// The root of a state machine is lost: there are directories that only one with a root has.
    #[cfg(feature = "state-machine")]
    #[error("the root of the state machine is lost")]
    RootLost,
    /// What was applied last to a store cannot be read in it.
    #[cfg(feature = "state-machine")]
    #[error("it does not say what was applied last")]
    Applied,
    /// A byte of a snapshot that was received is not the one that was sent. The offset is that in the stream.
    #[cfg(feature = "state-machine")]
    #[error("what was received is no snapshot")]
    Received,
    /// A snapshot is whole, and is not the one that it is said to be.
    #[cfg(feature = "state-machine")]
    #[error("it is another snapshot than was expected")]
    OtherSnapshot,
}
