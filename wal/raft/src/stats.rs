//! Plain numbers: what opening found, what a handle has done, what a verification read.

use durable_io::engine::Trouble;

use crate::error::Error;

/// What opening a store found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// True if there was no store and one was created.
    pub created: bool,
    /// Groups.
    pub groups: u64,
    /// Entries of all groups.
    pub entries: u64,
    /// Records that were read: those that count, and those that do not any more.
    pub records: u64,
    /// True if a crash left something after the last record, which was zeroed.
    pub torn_tail: bool,
}

/// What a handle has done since it was opened, and how large the store is.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Groups.
    pub groups: u64,
    /// Entries of all groups.
    pub entries: u64,
    /// Bytes of the log's records that count: entries, votes, and what else is known of each group.
    pub live_bytes: u64,
    /// Bytes of all of the log's records.
    pub held_bytes: u64,
    /// Bytes of the files of the log: segments of one size, whose last two take less of the disk.
    pub disk_bytes: u64,
    /// Segments of the log, with the one that is made ready.
    pub segments: u64,
    /// Bytes held back for a full disk.
    pub reserve_bytes: u64,
    /// Bytes of entries in memory.
    pub cache_bytes: u64,
    /// Syncs of the log that made records durable.
    pub syncs: u64,
    /// Records that were appended again, so that the log's front could go.
    pub moved_records: u64,
    /// Bytes of callers in them.
    pub moved_bytes: u64,
    /// The last record of the log that is durable, and the last one.
    pub durable_record: u64,
    /// The last record of the log.
    pub last_record: u64,
    /// What keeps the log's front from being given back, if anything does; it is tried again.
    pub trouble: Option<Trouble>,
}

/// What [`LogStore::verify`](crate::LogStore::verify) read.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Verified {
    /// Bytes of the log.
    pub bytes: u64,
    /// Records of the log.
    pub records: u64,
    /// Entries that were read.
    pub entries: u64,
    /// What is wrong; empty if nothing is.
    pub damage: Vec<Error>,
}
