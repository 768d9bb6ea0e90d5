//! The one error of this crate.

use std::path::PathBuf;

use durable_io::engine::{InvalidOption, NoOutput, NoThread, Poisoned, UnsupportedVersion};

use crate::expectation::Expectation;
use crate::limits::MAX_IN_FLIGHT;
use crate::lsn::Lsn;

/// The result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong with a log.
///
/// Errors are `Clone`, because one failed sync answers every writer that waited for it.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The disk refused a call, is full, or somebody else has the log open. After a failed write or
    /// sync the log is poisoned.
    #[error(transparent)]
    Disk(#[from] durable_io::Error),
    /// What is on the disk is not what was written there. [`Options::repair`](crate::Options::repair)
    /// truncates the log at the damage.
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
    /// records continue; reopen the log to recover.
    #[error(transparent)]
    Poisoned(#[from] Poisoned),
    /// The append was built on a state of the log that is no more: it would have got another position,
    /// or an append was refused, or the end of the log truncated, since. Nothing was written, and what
    /// was built on it is refused, too. See [`Wal::submit_at`](crate::Wal::submit_at).
    #[error(
        "the append was built on {expected}, but the log is at {found}; decide again on the log as it is"
    )]
    Refused {
        /// What the append was built on.
        expected: Expectation,
        /// What it would have got.
        found: Expectation,
    },
    /// [`MAX_IN_FLIGHT`](crate::MAX_IN_FLIGHT) bytes are in flight, and the call does not wait. Nothing
    /// was submitted.
    #[error(
        "{} bytes are in flight, which is the limit; wait for a ticket and try again",
        MAX_IN_FLIGHT
    )]
    Full,
    /// The log was closed by this handle. Nothing was changed.
    #[error("the log is closed; open it again")]
    Closed,
    /// [`FollowHandle::cancel`](crate::FollowHandle::cancel) was called. Nothing was changed.
    #[error("following the log was cancelled")]
    Cancelled,
    /// What was to be read next was given up in the meantime: by
    /// [`Wal::truncate_after`](crate::Wal::truncate_after), or, for [`Follow`](crate::Follow), by
    /// [`Wal::truncate_before`](crate::Wal::truncate_before). Read again from a position in
    /// [`Wal::bounds`](crate::Wal::bounds).
    #[error(
        "what was to be read next was truncated in the meantime; read again from a position that is retained"
    )]
    Truncated,
    /// A record or batch does not fit into any segment, or a note into its slot. Nothing was written.
    #[error("a {what} of {size} bytes is over the limit of {limit} bytes")]
    TooLarge {
        /// `"record"`, `"batch"` or `"note"`.
        what: &'static str,
        /// Its size in bytes; of a batch, with 8 bytes for each record.
        size: u64,
        /// The largest size, in bytes.
        limit: u64,
    },
    /// The file was written by a newer version of this crate.
    #[error(transparent)]
    UnsupportedVersion(#[from] UnsupportedVersion),
    /// An option has a value that the log cannot work with. Nothing was changed.
    #[error(transparent)]
    InvalidOption(#[from] InvalidOption),
    /// The system refused a thread for the background work. The log was not opened, or nothing was
    /// submitted.
    #[error(transparent)]
    Thread(#[from] NoThread),
    /// The text of [`dump()`](crate::dump()) could not be written to its output.
    #[error(transparent)]
    Output(#[from] NoOutput),
}

impl Error {
    /// True if the disk, or a quota on it, is full. Nothing was changed, and the call may succeed
    /// when there is space.
    pub fn is_no_space(&self) -> bool {
        matches!(self, Self::Disk(durable_io::Error::NoSpace { .. }))
    }

    /// True if it is a place that cannot be read, which is damage to whoever reads around that.
    pub(crate) fn is_unreadable(&self) -> bool {
        matches!(self, Self::Disk(error) if error.is_unreadable())
    }

    /// True if somebody else has the log open, in this process or in another one.
    pub fn is_locked(&self) -> bool {
        matches!(self, Self::Disk(durable_io::Error::Locked { .. }))
    }
}

/// What is wrong with a damaged file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Corruption {
    /// A checksum does not match its bytes.
    #[error("a checksum does not match")]
    Checksum,
    /// A length does not fit what holds it: a file of the wrong size, a group beyond its segment, a
    /// record beyond its group.
    #[error("a length does not fit into what holds it")]
    Length,
    /// A segment does not begin as segments do.
    #[error("it does not begin as a segment does")]
    Magic,
    /// The file belongs to another log.
    #[error("it belongs to another log")]
    ForeignLog,
    /// A valid group is where another one belongs.
    #[error("found the group of record {found} instead of that of record {expected}")]
    Order {
        /// The record that should follow.
        expected: Lsn,
        /// The first record of the group that is there.
        found: Lsn,
    },
    /// Bytes that are never written are not zero. No record is lost by that;
    /// [`Options::repair`](crate::Options::repair) zeroes them.
    #[error("unused bytes are not zero")]
    NotZero,
    /// A segment is missing.
    #[error("segment {number} is missing")]
    MissingSegment {
        /// Its number.
        number: u64,
    },
    /// Durable records cannot be read: something written after they were durable is still there.
    #[error("the durable records {first} to {last} are lost")]
    LostRecords {
        /// The first of them.
        first: Lsn,
        /// The last that is known to have been durable.
        last: Lsn,
    },
    /// What follows the last record is no torn write, by the rule of
    /// [`Options::atomic_sectors`](crate::Options::atomic_sectors): the records of the last group may
    /// have been durable.
    #[error("what follows the last record is no torn write: durable records may be lost")]
    Suspected,
    /// The superblock is missing, unreadable or older than the log.
    #[error("the superblock is missing, unreadable or older than the log")]
    SuperblockLost,
}
