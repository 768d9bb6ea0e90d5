//! The limits of a store, each with its reason.

/// The largest key, in bytes: that of a table.
pub const MAX_KEY_SIZE: usize = sstable::MAX_KEY_SIZE;

/// The longest name of a keyspace, in bytes: names are in the manifest, and in error messages.
pub const MAX_NAME_SIZE: usize = 255;

/// The name of the keyspace that every store has.
pub const DEFAULT_KEYSPACE: &str = "default";

/// The segment size of the log of a store that is created without
/// [`Options::log_segment_size`](crate::Options::log_segment_size), in bytes: 8 MiB. The log takes
/// and gives back disk space in this unit.
pub const DEFAULT_LOG_SEGMENT_SIZE: u64 = 8 << 20;

/// The largest segment of the manifest, in bytes, and the one of a store that is created without
/// [`Options::manifest_segment_size`](crate::Options::manifest_segment_size): 1 MiB.
pub const MAX_MANIFEST_SEGMENT_SIZE: u64 = 1 << 20;

/// The smallest segment of the manifest, in bytes: the creation of a keyspace with the longest name must
/// fit into one.
pub const MIN_MANIFEST_SEGMENT_SIZE: u64 = 1024;

/// The smallest memtable, in bytes.
pub const MIN_MEMTABLE_SIZE: u64 = 256;

/// A memtable is flushed when it has so many range tombstones: each read looks at them, and of `n` that
/// overlap each other there can be `n²` fragments.
pub const MAX_MEMTABLE_RANGES: usize = 256;

/// A batch is refused if one of its range tombstones would make a memtable have more than this.
pub(crate) const MAX_BATCH_RANGES: usize = MAX_MEMTABLE_RANGES;

/// The last level of tables; there are as many above.
pub(crate) const LAST_LEVEL: u32 = 6;
