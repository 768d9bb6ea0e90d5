//! The limits of a table, each with its reason.

/// The longest key, in bytes: keys are compared on every access.
pub const MAX_KEY_SIZE: usize = 65_535;

/// The longest value, in bytes: 1 GiB. Lengths in a block are 32-bit numbers, and a block holds at least
/// one entry.
pub const MAX_VALUE_SIZE: usize = 1 << 30;

/// The smallest size at which a block ends, in bytes.
pub const MIN_BLOCK_SIZE: usize = 64;

/// The largest size at which a block ends, in bytes: 1 MiB. An entry that is larger has a block of its
/// own.
pub const MAX_BLOCK_SIZE: usize = 1 << 20;

/// The size of a data block of a table that is made without
/// [`Options::block_size`](crate::Options::block_size), in bytes.
pub const DEFAULT_BLOCK_SIZE: usize = 4096;

/// The most bits for each key that a filter can have: more would make no fewer false answers.
pub const MAX_FILTER_BITS: u32 = 32;

/// The most bytes of user-defined properties, with 8 bytes for each: 1 MiB. They are read when a table is
/// opened.
pub const MAX_PROPERTIES_SIZE: usize = 1 << 20;

/// The most bytes of range tombstones in a table, with 16 bytes for each fragment: 64 MiB. They are in
/// memory while a table is open.
pub const MAX_RANGE_TOMBSTONES_SIZE: usize = 64 << 20;

/// After so many entries a partition of index and filter ends, in a table that is made without
/// [`Options::partition_keys`](crate::Options::partition_keys).
pub const DEFAULT_PARTITION_KEYS: u32 = 65_536;

/// An index partition ends when it has so many bytes, whatever it has of keys: 1 MiB.
pub(crate) const PARTITION_INDEX_SIZE: usize = 1 << 20;
