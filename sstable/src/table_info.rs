//! [`TableInfo`]: what is known of a finished table.

use std::ops::Bound;

/// What is known of a table when it is finished: for the manifest that names it, for the choice of what
/// to compact, and for tools that copy it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableInfo {
    /// The random id of the file, which all its checksums are bound to.
    pub file_id: u64,
    /// The size of the file, in bytes.
    pub file_bytes: u64,
    /// How many entries it has, deletions included.
    pub entries: u64,
    /// How many of them are deletions.
    pub tombstones: u64,
    /// How many fragments of range tombstones it has.
    pub range_tombstones: u64,
    /// The smallest key that an entry has or a range tombstone deletes.
    pub first: Vec<u8>,
    /// The largest key of an entry, included; or the end of a range tombstone, excluded, if that is
    /// beyond.
    pub last: Bound<Vec<u8>>,
    /// The smallest version of an entry or a range tombstone.
    pub oldest_version: u64,
    /// The largest version of an entry or a range tombstone.
    pub newest_version: u64,
    /// The CRC-32 (IEEE) of the whole file.
    pub checksum: u32,
}
