//! The limits of a log, each with its reason.

use crate::frame::SEGMENT_HEADER_SIZE;
use crate::frame::{GROUP_HEADER_SIZE, RECORD_HEADER_SIZE};

/// The segment size of a log that is created without [`Options::segment_size`], in bytes: 64 MiB.
/// Large enough that rotation is rare, small enough that truncation gives space back soon.
///
/// [`Options::segment_size`]: crate::Options::segment_size
pub const DEFAULT_SEGMENT_SIZE: u64 = 64 << 20;

/// The smallest segment size, in bytes. Two sectors: a segment must hold more than its header.
pub const MIN_SEGMENT_SIZE: u64 = 1024;

/// The largest segment size, in bytes: lengths inside a segment are 32-bit numbers.
pub const MAX_SEGMENT_SIZE: u64 = (1 << 32) - SEGMENT_ALIGN;

/// Segment sizes are multiples of this, in bytes: the smallest sector of a disk.
pub const SEGMENT_ALIGN: u64 = 512;

/// The largest batch, in bytes: the sum over its records of 8 bytes and the payload. A batch lies in one
/// segment, which makes it atomic; one that is too large for the usual ones gets one of its own size.
pub const MAX_BATCH_SIZE: u64 = max_batch_size(MAX_SEGMENT_SIZE);

/// The largest record, in bytes: alone it is a batch.
pub const MAX_RECORD_SIZE: u64 = max_record_size(MAX_SEGMENT_SIZE);

/// The longest note that [`Wal::checkpoint_with`](crate::Wal::checkpoint_with) and
/// [`Wal::truncate_before_with`](crate::Wal::truncate_before_with) write, in bytes: with it the slot of the
/// superblock stays inside one sector, and room for what later versions may have to say there.
pub const MAX_NOTE_SIZE: usize = 256;

/// The most that is in flight at a time by [`Wal::submit`](crate::Wal::submit), in bytes: 16 MiB, and
/// one batch of each thread that waits because of it. It bounds the memory that a thread takes which submits
/// faster than the disk.
pub const MAX_IN_FLIGHT: u64 = 16 << 20;

/// The most calls whose records share a group: with its header as many slices as one system call takes,
/// so that no power loss comes between two writes of a group.
pub(crate) const GROUP_ITEMS_MAX: usize = 1023;

/// How far ahead of the appends a segment is given space and zeros, in bytes, without
/// [`Options::zero_step`]: 1 MiB. Large enough that the metadata of it is written rarely, small enough
/// that nobody waits for it long.
///
/// [`Options::zero_step`]: crate::Options::zero_step
pub const DEFAULT_ZERO_STEP: u64 = 1 << 20;

/// How many sealed segments of a log are open at once, if it is opened without
/// [`Options::open_segments`](crate::Options::open_segments): 2 GiB of segments of the default size, and few
/// of the 1024 files that a process may usually open.
pub const DEFAULT_OPEN_SEGMENTS: usize = 32;

/// What a segment of `segment_size` bytes spends before the first byte of its first group's records.
const OVERHEAD: u64 = (SEGMENT_HEADER_SIZE + GROUP_HEADER_SIZE) as u64;

/// The largest record that goes into a segment of `segment_size` bytes, in bytes. A larger one gets a segment of
/// its own.
pub const fn max_record_size(segment_size: u64) -> u64 {
    max_batch_size(segment_size).saturating_sub(RECORD_HEADER_SIZE as u64)
}

/// The largest batch that goes into a segment of `segment_size` bytes: the sum over its records of 8 bytes and
/// the payload. A larger one gets a segment of its own.
pub const fn max_batch_size(segment_size: u64) -> u64 {
    segment_size.saturating_sub(OVERHEAD)
}

const _: () = assert!(MIN_SEGMENT_SIZE > OVERHEAD + RECORD_HEADER_SIZE as u64);
const _: () = assert!(DEFAULT_SEGMENT_SIZE.is_multiple_of(SEGMENT_ALIGN));
const _: () = assert!(MAX_SEGMENT_SIZE <= u32::MAX as u64);
