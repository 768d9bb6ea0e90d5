//! Plain numbers: what recovery did, how large a store is, what a verification found, why space is
//! not given back.

use std::time::Duration;

use crate::error::Error;

/// What opening a store found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Recovery {
    /// True if there was no store and one was created.
    pub created: bool,
    /// Bytes behind the last whole group of the active file that were zeroed: something that was never
    /// acknowledged as durable. 0 after a clean end.
    pub torn_bytes: u64,
    /// Data files of the store.
    pub data_files: u64,
    /// Sealed data files whose hint was valid, so that they were not read.
    pub hinted_files: u64,
    /// Records that filled the index.
    pub records: u64,
    /// Keys of the store.
    pub keys: u64,
    /// Files removed: what a rotation or a merge left that was cut short by a crash.
    pub removed_files: u64,
    /// True if the manifest alone proves everything in the active file durable: what a clean
    /// [`close`](crate::Bitcask::close) leaves, or a merge behind which nothing was written.
    pub closed: bool,
}

/// How far an opening has come ([`Options::progress`](crate::Options::progress)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Sealed data files that are in the index.
    pub files_done: u64,
    /// All of them.
    pub files: u64,
}

/// What a handle has done since it was opened, and how large the store is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Stats {
    /// Keys of the store.
    pub keys: u64,
    /// Bytes of memory that the index takes; divided by `keys`, the bytes per key.
    pub index_bytes: u64,
    /// Bytes of memory, about and without keys, for what changed since the snapshots that are open were taken,
    /// once for each key and snapshot, and for what is not durable yet. Not in `index_bytes`.
    pub change_bytes: u64,
    /// The [version](crate::Snapshot::version) of the oldest snapshot or iterator that is open; after a failure
    /// that of the last durable state, which readers are shown.
    pub oldest_snapshot: Option<u64>,
    /// The time since it was taken, or the first of those of its version.
    pub oldest_snapshot_age: Option<Duration>,
    /// Bytes of disk in data files that merges removed and that snapshots, iterators or values still hold.
    pub removed_bytes: u64,
    /// Data files, the active one among them.
    pub data_files: u64,
    /// Bytes of their groups.
    pub data_bytes: u64,
    /// Of these, in records that were superseded.
    pub dead_bytes: u64,
    /// Of these, in tombstones.
    pub tombstone_bytes: u64,
    /// Puts, deletions and batches that were acknowledged.
    pub writes: u64,
    /// Of these, how many are not durable yet.
    pub unsynced_writes: u64,
    /// Groups written: each is one write call.
    pub groups: u64,
    /// Syncs that made groups durable.
    pub syncs: u64,
    /// Rotations to a new data file.
    pub rotations: u64,
    /// Merges done.
    pub merges: u64,
    /// Bytes of groups that merges gave back.
    pub reclaimed_bytes: u64,
    /// Steps of background work that failed one after the other, without changing anything: for want of
    /// space or of a descriptor, for instance. It is tried again, with a delay; 0 when it gets on.
    /// [`Bitcask::trouble`](crate::Bitcask::trouble) says why.
    pub background_failures: u32,
}

/// What a merge did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct MergeReport {
    /// Data files that went.
    pub inputs: u64,
    /// Data files that were written instead.
    pub outputs: u64,
    /// Bytes of groups read.
    pub read_bytes: u64,
    /// Bytes of groups written.
    pub written_bytes: u64,
    /// Tombstones that went because no older file can hold their key.
    pub dropped_tombstones: u64,
}

/// What [`verify`](crate::Bitcask::verify) read and found.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Verified {
    /// Data files.
    pub data_files: u64,
    /// Groups that are right.
    pub groups: u64,
    /// Records that are right.
    pub records: u64,
    /// Hints that are there.
    pub hints: u64,
    /// Bytes read, of every kind.
    pub bytes: u64,
    /// Every damage: [`Error::Corrupt`] each, with the key whose newest record it is, where that is known; or
    /// [`Error::Disk`] for what cannot be read.
    pub damage: Vec<Error>,
}

impl Verified {
    /// True if nothing is damaged.
    pub fn is_whole(&self) -> bool {
        self.damage.is_empty()
    }
}

/// One data file's use of space ([`explain_space`](crate::Bitcask::explain_space)).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileSpace {
    /// The number in its name.
    pub number: u64,
    /// Bytes of its groups.
    pub bytes: u64,
    /// Of these, in records that are their key's newest, and in headers.
    pub live_bytes: u64,
    /// Of these, in records that were superseded.
    pub dead_bytes: u64,
    /// Of these, in tombstones.
    pub tombstone_bytes: u64,
    /// Why it is merged, or not.
    pub why: Why,
}

/// Why a data file is merged, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Why {
    /// It is written to; a rotation ends that.
    Active,
    /// A merge reads it now.
    Merging,
    /// Part of it could not be read, so it is left alone.
    Damaged,
    /// Nothing in it is dead.
    AllLive,
    /// Its dead part is below the policy's thresholds.
    BelowThreshold,
    /// Its tombstones are needed until the older file with this number goes.
    TombstonesNeeded {
        /// The number of the oldest file.
        older: u64,
    },
    /// The next merge takes it.
    Due,
}
