//! Plain numbers: what recovery did, what a handle has done, how large a store is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use wal::Lsn;

use crate::error::Error;

/// What opening a store found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// True if there was no store and one was created.
    pub created: bool,
    /// Tables of the store.
    pub tables: u64,
    /// Records of the log that were read into memtables again.
    pub replayed_records: u64,
    /// Their bytes.
    pub replayed_bytes: u64,
    /// Records that were in tables already; passed over.
    pub passed_records: u64,
    /// Records of keyspaces that are gone; passed over.
    pub gone_records: u64,
    /// Memtables that were flushed meanwhile.
    pub flushes: u64,
    /// Files removed: what a flush or a compaction left that was cut short by a crash.
    pub removed_files: u64,
    /// Edits of the manifest, of several records, that a crash or a full disk cut short; they count for nothing.
    pub cut_edits: u64,
    /// Bytes of a torn tail of the log that were cut off: something that was never acknowledged as
    /// durable. 0 after a clean end.
    pub torn_bytes: u64,
}

/// How far an opening has come ([`Options::progress`](crate::Options::progress)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Records of the log that are read.
    pub records_done: u64,
    /// All that are to be read.
    pub records: u64,
}

/// How long writers were held up, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Delays {
    /// Writes that were held up.
    pub writes: u64,
    /// For how long together, because memtables waited for their flush.
    pub memory: Duration,
    /// For how long together, because tables waited to be merged.
    pub debt: Duration,
    /// For how long together, because an opening would have had to replay too much.
    pub replay: Duration,
}

/// What a handle has done since it was opened, and how large the store is.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Operations that were written.
    pub operations: u64,
    /// The last version that is acknowledged, and the last that is durable.
    pub last_version: Lsn,
    /// See `last_version`.
    pub durable_version: Lsn,
    /// Syncs of the log that made operations durable.
    pub log_syncs: u64,
    /// Bytes of the log on the disk.
    pub log_bytes: u64,
    /// Bytes of the manifest on the disk.
    pub manifest_bytes: u64,
    /// Tables.
    pub tables: u64,
    /// Their size in bytes; they are mapped, not read into memory.
    pub table_bytes: u64,
    /// The most sorted runs that a read has to look into, of any keyspace.
    pub runs: u64,
    /// Bytes of memory in memtables.
    pub memtable_bytes: u64,
    /// Of these, in memtables that wait for their flush.
    pub frozen_bytes: u64,
    /// Bytes of memory in the cache of decompressed blocks.
    pub cache_bytes: u64,
    /// Bytes of memory in range tombstones and other things that are known of open tables, about.
    pub table_memory_bytes: u64,
    /// Bytes of memory in memtables and tables that are no part of the store any more, but held by readers.
    pub pinned_bytes: u64,
    /// Snapshots that are open.
    pub snapshots: u64,
    /// The version of the oldest of them.
    pub oldest_snapshot: Option<u64>,
    /// Flushes done, and bytes that they wrote.
    pub flushes: u64,
    /// See `flushes`.
    pub flushed_bytes: u64,
    /// Compactions done.
    pub compactions: u64,
    /// Bytes that they read.
    pub compacted_bytes: u64,
    /// Bytes that they wrote.
    pub written_bytes: u64,
    /// Files that could not be removed; the next open does it.
    pub unremoved_files: u64,
    /// How long writers were held up, and why.
    pub delays: Delays,
    /// What keeps flushes from getting on, if anything does. They are tried again.
    pub flush_trouble: Option<String>,
    /// What keeps compactions from getting on.
    pub compaction_trouble: Option<String>,
    /// A damaged table that compactions leave alone.
    pub damage: Option<Error>,
}

/// What [`verify`](crate::Lsm::verify) read and found.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Verified {
    /// Tables.
    pub tables: u64,
    /// Entries of tables that are right.
    pub entries: u64,
    /// Records of the log.
    pub records: u64,
    /// Edits of the manifest.
    pub edits: u64,
    /// Bytes read, of every kind.
    pub bytes: u64,
    /// Every damage: [`Error::Corrupt`] each.
    pub damage: Vec<Error>,
}

impl Verified {
    /// True if nothing is damaged.
    pub fn is_whole(&self) -> bool {
        self.damage.is_empty()
    }
}

/// What a compaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CompactReport {
    /// Tables that were merged, moved or dropped.
    pub inputs: u64,
    /// Their size, in bytes.
    pub input_bytes: u64,
    /// Tables that were written instead.
    pub outputs: u64,
    /// Their size, in bytes.
    pub output_bytes: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    flushes: AtomicU64,
    flushed: AtomicU64,
    compactions: AtomicU64,
    compacted: AtomicU64,
    written: AtomicU64,
    pub(crate) unremoved: AtomicU64,
}

impl Counters {
    pub(crate) fn count_flush(&self, bytes: u64) {
        self.flushes.fetch_add(1, Ordering::Relaxed);
        self.flushed.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn flushes(&self) -> u64 {
        self.flushes.load(Ordering::Relaxed)
    }

    pub(crate) fn count_compaction(&self, report: &CompactReport) {
        self.compactions.fetch_add(1, Ordering::Relaxed);
        self.compacted
            .fetch_add(report.input_bytes, Ordering::Relaxed);
        self.written
            .fetch_add(report.output_bytes, Ordering::Relaxed);
    }

    pub(crate) fn fill(&self, stats: &mut Stats) {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        stats.flushes = load(&self.flushes);
        stats.flushed_bytes = load(&self.flushed);
        stats.compactions = load(&self.compactions);
        stats.compacted_bytes = load(&self.compacted);
        stats.written_bytes = load(&self.written);
        stats.unremoved_files = load(&self.unremoved);
    }
}
