//! The limits of a store, each with its reason.

/// The longest name of a stream, a type, a tag, a source or a subscription, in bytes. They are compared
/// and copied on every append.
pub const MAX_NAME_SIZE: usize = 1024;

/// The most tags of an event. Each is a posting in the index.
pub const MAX_TAGS: usize = 64;

/// The most events of one append. It bounds how long others wait for one.
pub const MAX_EVENTS: usize = 65_536;

/// The segment size of the log of a store that is created without
/// [`Options::segment_size`](crate::Options::segment_size), in bytes: 16 MiB. It bounds the largest
/// append, and what opening reads.
pub const DEFAULT_SEGMENT_SIZE: u64 = 16 << 20;

/// How many bytes of the log are in memory before they get a part of the index, if the store is opened
/// without [`Options::index_interval`](crate::Options::index_interval): 8 MiB.
pub const DEFAULT_INDEX_INTERVAL: u64 = 8 << 20;

/// The largest value of [`Options::index_interval`](crate::Options::index_interval), in bytes: what an
/// opening has to read.
pub const MAX_INDEX_INTERVAL: u64 = 8 << 20;

/// How many bytes of the log may be in memory, for an index interval of `interval`, before an append waits
/// for the index: four intervals, and for tiny ones 64 KiB.
pub(crate) const fn tail_bound(interval: u64) -> u64 {
    let intervals = interval * 4;
    if intervals < 64 << 10 {
        64 << 10
    } else {
        intervals
    }
}

/// The most named subscriptions: their checkpoints are written together now and then.
pub const MAX_SUBSCRIPTIONS: usize = 1024;

/// The most projections whose state is saved: each can be as large as a segment, and is written anew now and
/// then.
pub const MAX_PROJECTIONS: usize = 1024;

/// The most streams whose state is saved: their places are in memory. Beyond that the one that was saved first
/// is forgotten, and its stream is read from the beginning.
pub const MAX_SNAPSHOTS: usize = 65_536;

/// The most events in one part of the index: their places in it are 32-bit numbers.
pub(crate) const MAX_PART_EVENTS: u64 = 1 << 30;
