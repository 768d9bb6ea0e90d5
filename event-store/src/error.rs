//! The one error of this crate.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use durable_io::engine::{InvalidOption, NoOutput, NoThread, Poisoned, UnsupportedVersion};

use crate::ids::{EventId, Position, Version};

/// The result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong with a store.
///
/// Errors are `Clone`, because one failed sync answers every writer that waited for it.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A stream is not where the append expected it. Nothing was written, and the events that say so
    /// are as safe as an acknowledged append.
    #[error("stream {stream} is at version {actual}, not {expected}")]
    WrongVersion {
        /// The stream.
        stream: String,
        /// What was expected, in words.
        expected: String,
        /// Its version; 0 if it has no event.
        actual: Version,
    },
    /// An event that a condition excludes was appended. Nothing was written, and that event is as safe
    /// as an acknowledged append.
    #[error("a condition failed: the event at position {position} matches")]
    ConditionFailed {
        /// The first event that matches.
        position: Position,
    },
    /// The stream was ended by a tombstone. Nothing was written.
    #[error("stream {stream} was ended at position {position}")]
    StreamEnded {
        /// The stream.
        stream: String,
        /// The place of its tombstone.
        position: Position,
    },
    /// Events with these ids are there already, but not as one append with the same events in the same
    /// order and streams. Nothing was written.
    #[error("event id {id} is taken by another event or append")]
    IdConflict {
        /// The first id that is taken.
        id: EventId,
    },
    /// An append says that it comes from a place in its source that was recorded before, or from one
    /// before that. Nothing was written.
    #[error("position {position} of source {source_name} is not after the recorded {recorded}")]
    SourceNotNewer {
        /// The source.
        source_name: String,
        /// What the append says.
        position: u64,
        /// What was recorded last.
        recorded: u64,
    },
    /// What was asked for is nothing that a store can do. Nothing was written.
    #[error("{what} cannot be used: {rule}")]
    Invalid {
        /// What.
        what: &'static str,
        /// What is allowed.
        rule: &'static str,
    },
    /// A name, an event or an append is over its limit. Nothing was written.
    #[error(
        "{what} of {size}{} is over the limit of {limit}{}",
        unit(what),
        unit(what)
    )]
    TooLarge {
        /// What.
        what: &'static str,
        /// Its size, in bytes or as a number of things.
        size: u64,
        /// The largest size.
        limit: u64,
    },
    /// The log does not hold the event that a reader has seen at `position`: it ends before it, or
    /// another event is there, as after a repair or in a copy that was restored. What the reader has
    /// derived from the log does not fit it any more.
    #[error(
        "the log does not hold the event that was read at position {position}: it was repaired or restored; begin again"
    )]
    Diverged {
        /// The reader's position.
        position: Position,
    },
    /// A projection does not continue: what it does with an event failed or panicked. Its state may be half
    /// changed, and is shown to nobody; it was last saved before that event.
    #[error(
        "projection {name} has stopped at the event at position {position}; mend it and register it again"
    )]
    Stopped {
        /// The projection.
        name: String,
        /// The event.
        position: Position,
        /// What it failed with.
        #[source]
        reason: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The directory is a backup that was not finished: it is tried again, or thrown away. Nothing was changed.
    #[error("the backup in {} was not finished; make it again", path.display())]
    Unfinished {
        /// The directory.
        path: PathBuf,
    },
    /// The append was built on one that the log has refused since (a full disk), so it was refused with it.
    /// Nothing was written, and the store is as it was before both; decide again.
    #[error("the append was built on one that the log refused; decide again")]
    Refused,
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
    },
    /// An earlier write or sync failed, so nobody knows what of it is on the disk. Reads of durable
    /// events continue; reopen the store to recover.
    #[error(transparent)]
    Poisoned(#[from] Poisoned),
    /// The store was closed.
    #[error("the store is closed; open it again")]
    Closed,
    /// The file was written by a newer version of this crate.
    #[error(transparent)]
    UnsupportedVersion(#[from] UnsupportedVersion),
    /// An option has a value that the store cannot work with. Nothing was changed.
    #[error(transparent)]
    InvalidOption(#[from] InvalidOption),
    /// The system refused a thread. Nothing was changed.
    #[error(transparent)]
    Thread(#[from] NoThread),
    /// The text of a [`dump()`](crate::dump()) or of an export could not be written to its output.
    #[error(transparent)]
    Output(#[from] NoOutput),
    /// A line that was to be imported cannot be read, or says no event.
    #[error("line {number} is no event")]
    Line {
        /// Counted from 1.
        number: u64,
        /// What is wrong.
        #[source]
        reason: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// One of the two logs refused something for another reason.
    #[error(transparent)]
    Log(wal::Error),
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
        }
    }

    pub(crate) fn too_large(what: &'static str, size: u64, limit: u64) -> Self {
        Self::TooLarge { what, size, limit }
    }

    /// True if the disk is full: nothing was changed, and the same call may succeed when there is
    /// space.
    pub fn is_no_space(&self) -> bool {
        matches!(self, Self::Disk(durable_io::Error::NoSpace { .. }))
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
            wal::Error::Refused { .. } => Self::Refused,
            wal::Error::Closed => Self::Closed,
            wal::Error::Poisoned(poisoned) => Self::Poisoned(poisoned),
            wal::Error::TooLarge { what, size, limit } => Self::TooLarge { what, size, limit },
            wal::Error::UnsupportedVersion(error) => Self::UnsupportedVersion(error),
            wal::Error::InvalidOption(error) => Self::InvalidOption(error),
            wal::Error::Thread(error) => Self::Thread(error),
            other => Self::Log(other),
        }
    }
}

/// What is wrong with a damaged file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Corruption {
    /// One of the two logs is damaged.
    #[error("{0}")]
    Log(wal::Corruption),
    /// A record of a log is whole, but nothing that this crate writes.
    #[error("the record at position {position} is no event")]
    Record {
        /// The record.
        position: Position,
    },
    /// An event contradicts the one before it in its stream.
    #[error("the event at position {position} does not follow the one before it in its stream")]
    Order {
        /// The event.
        position: Position,
    },
    /// The list of index parts names events that the log does not hold: durable events are lost.
    #[error("events up to {listed} were durable, but the log ends at {last}")]
    LostEvents {
        /// The last event that the list names.
        listed: Position,
        /// The last event of the log.
        last: Position,
    },
    /// Events cannot be read: something written after them is still there, or says that they were. An item of a
    /// [`Salvage`](crate::Salvage).
    #[error("the events at positions {first} to {last} are missing")]
    MissingEvents {
        /// The first of them.
        first: Position,
        /// The last one.
        last: Position,
    },
    /// A checksum does not match.
    #[error("a checksum does not match")]
    Checksum,
    /// A length does not fit what holds it.
    #[error("a length does not fit")]
    Length,
    /// A file does not begin as its kind does.
    #[error("it does not begin as such a file does")]
    Magic,
    /// A part of the index is not the one that the list names.
    #[error("it is not the part that the list names")]
    ForeignPart,
    /// A part of the index does not say what the log says of an event.
    #[error("the index does not say what the log says of position {position}")]
    Index {
        /// The event.
        position: Position,
    },
}
