//! Plain numbers: what opening did, what a handle has done, what a verification read.

use std::time::Duration;

/// What opening a store found and did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Recovery {
    /// There was no store and one was created.
    pub created: bool,
    /// Records of the log that were applied.
    pub replayed_records: u64,
    /// Their bytes.
    pub replayed_bytes: u64,
    /// A crash had come between the two meta slots, or one of them was damaged: it was written again.
    pub repaired_slot: bool,
    /// Bytes of a torn tail of the log that were cut off: something that was never acknowledged as durable.
    pub torn_bytes: u64,
    /// Records of the log that the trees of the meta slots hold: a crash had come before they were given up.
    pub needless_records: u64,
}

/// What a handle has done since it was opened, and how large the store is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Stats {
    /// Transactions committed that changed something.
    pub commits: u64,
    /// Of these, how many were committed by a checkpoint.
    pub large_commits: u64,
    /// Checkpoints.
    pub checkpoints: u64,
    /// Pages written by them.
    pub pages_written: u64,
    /// Pages copied to make the file shorter.
    pub pages_moved: u64,
    /// Pages read from the file.
    pub pages_read: u64,
    /// Bytes of records that opening would have to apply.
    pub log_bytes: u64,
    /// Commits that a power loss may still take back.
    pub unsynced_commits: u64,
    /// Bytes of the log's files.
    pub log_disk_bytes: u64,
    /// Syncs of the log.
    pub log_syncs: u64,
    /// Bytes of a page.
    pub page_size: u64,
    /// Bytes of the page file.
    pub file_bytes: u64,
    /// Pages in it that were ever used, without the meta slots.
    pub pages: u64,
    /// Pages that are free.
    pub free_pages: u64,
    /// Pages that are not part of the last state, but of one that somebody may still read: open readers,
    /// and the meta slots until the next checkpoint.
    pub pinned_pages: u64,
    /// Pages in memory that are not in the file yet.
    pub dirty_pages: u64,
    /// Pages in memory that are in the file, too.
    pub cached_pages: u64,
    /// How old the oldest state is that an open reader has, by the disk's clock; `None` if no reader has
    /// an older state than the last ones.
    pub oldest_reader_age: Option<Duration>,
    /// Pages that this reader alone may be pinning.
    pub oldest_reader_pages: u64,
    /// States that were given up under their readers: [`Options::reader_lease`](crate::Options::reader_lease).
    pub leases_ended: u64,
}

/// What [`Btree::shrink`](crate::Btree::shrink) or [`Btree::compact`](crate::Btree::compact) did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Shrunk {
    /// Bytes of the pages that were copied.
    pub moved_bytes: u64,
    /// Bytes by which the page file is shorter now.
    pub returned_bytes: u64,
    /// The work has come to its end: another call begins anew.
    pub is_done: bool,
}

/// What a [backup](crate::Btree::backup) holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Backup {
    /// Tables.
    pub tables: u64,
    /// Entries in them.
    pub entries: u64,
    /// Bytes of its page file, as far as that is used.
    pub bytes: u64,
}

/// What [`Btree::verify`](crate::Btree::verify) read and found to be right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Verified {
    /// Tables.
    pub tables: u64,
    /// Entries in them.
    pub entries: u64,
    /// Pages that they and the catalog are made of, with those of large values.
    pub tree_pages: u64,
    /// Pages of the list of free pages.
    pub free_list_pages: u64,
    /// Pages that are free, or will be when nobody reads older states any more.
    pub unused_pages: u64,
    /// Bytes used in leaves and branches, of 1000 that they have.
    pub fill_permille: u64,
    /// What the log said of itself.
    pub log_records: u64,
}
