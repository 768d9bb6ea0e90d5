//! The limits of a store, each with its reason.

/// Bytes of the longest head: that of a part of an entry.
pub(crate) const HEADER_SIZE: usize = 1 + 4 * 8 + 4;

/// The largest entry, in bytes: 64 MiB. One is held in memory whole when it is read, and when it is moved; one
/// that is larger than a segment is stored in parts.
pub const MAX_ENTRY_SIZE: usize = 64 << 20;

/// The most bytes that go with a vote or a [`LogPoint`](crate::LogPoint), beside term and index: 256. They are
/// kept in memory for each group.
pub const MAX_LEADER_SIZE: usize = 256;

/// The largest membership that is applied to a state machine, in bytes: 1 MiB. It is in the file that is replaced
/// with each snapshot.
#[cfg(feature = "state-machine")]
pub const MAX_MEMBERSHIP_SIZE: usize = 1 << 20;

/// The longest id of a snapshot, in bytes: 1 KiB, for the same reason.
#[cfg(feature = "state-machine")]
pub const MAX_SNAPSHOT_ID_SIZE: usize = 1 << 10;

/// Bytes of a segment of a store that is created without
/// [`Options::segment_size`](crate::Options::segment_size): 16 MiB. The log gives space back in whole segments.
pub const DEFAULT_SEGMENT_SIZE: u64 = 16 << 20;

/// The smallest segment, in bytes: it holds the largest vote, and some of an entry.
pub const MIN_SEGMENT_SIZE: u64 = wal::MIN_SEGMENT_SIZE;

/// Bytes of recent entries kept in memory without [`Options::cache`](crate::Options::cache): 16 MiB, over all
/// groups.
pub const DEFAULT_CACHE: u64 = 16 << 20;

const _: () =
    assert!(wal::max_record_size(MIN_SEGMENT_SIZE) > HEADER_SIZE as u64 + MAX_LEADER_SIZE as u64);
