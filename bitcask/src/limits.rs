//! The limits of a store, each with its reason.

/// The size at which a store goes on in another data file, in bytes, if it is opened without
/// [`Options::data_file_size`](crate::Options::data_file_size): 128 MiB. Large enough that rotation is
/// rare, small enough that a merge needs little space at a time.
pub const DEFAULT_DATA_FILE_SIZE: u64 = 128 << 20;

/// The smallest value of [`Options::data_file_size`](crate::Options::data_file_size), in bytes.
pub const MIN_DATA_FILE_SIZE: u64 = 1024;

/// The largest value of [`Options::data_file_size`](crate::Options::data_file_size), in bytes: 1 TiB. An
/// index entry has 44 bits for an offset, and the last batch may go beyond the size.
pub const MAX_DATA_FILE_SIZE: u64 = 1 << 40;

/// The longest key, in bytes: its length is a 16-bit number, and keys are compared on every access.
pub const MAX_KEY_SIZE: usize = 65_535;

/// The largest batch, in bytes, with 12 bytes for each record; so the largest value is this, less 12
/// and the key. Lengths in a group are 32-bit numbers.
pub const MAX_BATCH_SIZE: u64 = (1 << 32) - 256;

/// The most data files that a store can have: an index entry has 20 bits for the file.
pub const MAX_DATA_FILES: u32 = (1 << 20) - 1;

/// In [`SyncMode::Batch`](crate::SyncMode::Batch) and [`SyncMode::Manual`](crate::SyncMode::Manual) the
/// write that makes this many unsynced records syncs by itself. For each of them the store remembers
/// what was there before (about 50 bytes), to show durable data only after a failed sync.
pub const MAX_UNSYNCED: usize = 8192;
