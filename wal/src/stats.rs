//! Plain numbers: what recovery did, what a handle has done, what a verification read.

use std::ops::Range;

use crate::lsn::Lsn;

/// What followed the last whole group when the log was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Tail {
    /// Nothing: zeros.
    Clean,
    /// Part of something that was never acknowledged as durable; it was zeroed.
    Torn {
        /// Bytes from the end of the log to the last one that was not zero.
        bytes: u64,
    },
}

/// What opening a log found and did.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Recovery {
    /// What followed the last whole group.
    pub tail: Tail,
    /// Records in the log when it was open.
    pub records: u64,
    /// The first retained record, or the one that will be.
    pub first_lsn: Lsn,
    /// The last record; the one before the first if there is none.
    pub last_lsn: Lsn,
    /// The last durable record when it was open: all that was recovered is durable. `Lsn(0)` if the
    /// log never had one.
    pub durable_at_open: Lsn,
    /// The highest record that the superblock proved to have been durable. Loss of a record above it
    /// is seen only if something written after it is still there.
    pub durable_in_superblock: Lsn,
    /// The note that the superblock held: see [`Wal::note`](crate::Wal::note).
    pub note: Vec<u8>,
    /// Files removed: dead segments and left-overs of a crash.
    pub removed_files: u64,
    /// True if there was no log and one was created.
    pub created: bool,
    /// By [`Options::repair`](crate::Options::repair) only: the records that it truncated, as far as
    /// their numbers are known; empty if it had to truncate but no record is missing; `None` if nothing
    /// had to be truncated.
    pub dropped: Option<Range<Lsn>>,
    /// By [`Options::repair`](crate::Options::repair) only: the retained records up to the checkpoint, if
    /// one of them was damaged. They were applied elsewhere, and the log begins after them.
    pub given_up: Option<Range<Lsn>>,
    /// By [`Options::repair`](crate::Options::repair) only: the files in the log's directory that keep what
    /// was in the segments that were removed, and after the new end. They are the user's, to look into or to remove.
    pub set_aside: Vec<String>,
}

/// What a handle has done since it was opened, and how large the log is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Stats {
    /// Records appended.
    pub appended_records: u64,
    /// Bytes of payload appended.
    pub appended_bytes: u64,
    /// Groups written: each is one write.
    pub group_count: u64,
    /// Syncs of segments that made records durable.
    pub sync_count: u64,
    /// Rotations to another segment.
    pub rotation_count: u64,
    /// Callbacks that panicked: the panic was caught, and harmed nobody else.
    pub callback_panics: u64,
    /// Segments on the disk, with those made ready for use and the dead ones.
    pub segment_count: u64,
    /// Segments that are given up, but could not be removed: the next truncation and the next open try again.
    pub dead_segments: u64,
    /// Bytes of the files of the log; a preallocated segment, and a dead one, counts as one of the usual
    /// size. The newest two segments take less of the disk: of what is not used yet, only one step ahead has
    /// blocks ([`Options::zero_step`](crate::Options::zero_step)).
    pub disk_bytes: u64,
    /// The last durable record.
    pub durable_lsn: Lsn,
    /// The last acknowledged record.
    pub last_lsn: Lsn,
}

/// What [`Wal::verify`](crate::Wal::verify) read and found to be right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Verified {
    /// Segments.
    pub segments: u64,
    /// Groups.
    pub groups: u64,
    /// Records, with those in retained segments that are truncated already.
    pub records: u64,
    /// Bytes read, of every kind.
    pub bytes: u64,
}
