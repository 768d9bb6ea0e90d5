//! A segmented write-ahead log: an ordered, durable sequence of records.
//!
//! ```
//! use wal::{Lsn, Options};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("log");
//! let log = Options::new().segment_size(1 << 20).open(&path)?;
//! let first = log.append(b"put apple 3")?; // where it is, for an index
//! let both = log.append_batch(&[b"put pear 1", b"delete apple"])?; // all or nothing
//! assert_eq!((first.lsn(), both.lsns()), (Lsn(1), Lsn(2)..Lsn(4)));
//! assert_eq!(log.read(first)?.payload, b"put apple 3");
//!
//! for record in log.records(Lsn(2)) {
//!     let record = record?; // checked, or an error that names file and byte
//!     println!("{}: {}", record.lsn, String::from_utf8_lossy(&record.payload));
//! }
//! log.checkpoint(Lsn(2))?; // applied elsewhere, up to here
//! assert_eq!(log.replay().count(), 1); // what is not
//! log.truncate_before(Lsn(3))?; // and these records are not needed any more
//!
//! let ticket = log.submit(&[b"put fig 2"])?; // does not wait: many can be in flight
//! assert_eq!(ticket.wait()?.lsns(), Lsn(4)..Lsn(5));
//! log.close()?;
//! # Ok(())
//! # }
//! ```
//!
//! # What it promises
//!
//! [`SyncMode`] says when an append returns, and so what a crash may take back:
//!
//! | mode | an append returns when | `kill -9` loses | power loss loses |
//! |---|---|---|---|
//! | [`Always`](SyncMode::Always) (default) | it is on stable storage | nothing | nothing |
//! | [`Batch`](SyncMode::Batch) | the kernel has it | nothing | fewer than `writes` appends, none older than `interval` |
//! | [`Manual`](SyncMode::Manual) | the kernel has it | nothing | the appends since the last [`Wal::sync`] |
//!
//! - What is lost is always a suffix: never a hole, and never half a batch.
//! - What [`Wal::truncate_before`] and [`Wal::truncate_after`] gave up never comes back, and nothing
//!   else is lost with it. A [`checkpoint`](Wal::checkpoint) never moves back, except with the end of the
//!   log.
//! - Positions ([`Lsn`]) have no gap. One that was durable is never given again, except for those that
//!   [`Wal::truncate_after`] gave up, that [`Options::repair`] dropped, or of which it found nothing,
//!   neither a record nor the superblock. One that a crash took back is given again.
//! - Each group has a time, and times never decrease ([`Wal::segments`]).
//! - Every byte is checked before it is believed. A torn tail is zeroed; the loss of durable records is
//!   [`Error::Corrupt`], which names them. When it can go unnoticed is said in [`mod@format`],
//!   section 8; after a clean [`Wal::close`] it cannot.
//! - Opening runs the same recovery after a close, a kill and a power loss.
//! - After a failed write or sync the handle is [`Error::Poisoned`]: it acknowledges nothing more,
//!   durable records can still be read, and opening it again recovers.
//!
//! # What it does not do
//!
//! No compression, no encryption, no writing from two processes; another one can [watch](Options::watch).
//!
//! # Threads
//!
//! One, named `wal`, makes the next segment ready. In [`SyncMode::Batch`] one named `wal-sync` keeps the
//! interval. One named `wal-commit` is started by the first [`Wal::submit`] or [`Wal::submit_then`]. With
//! [`Background::Inline`] there is none of them: see [`Wal::run_background`].
//!
//! # What it assumes of the disk
//!
//! A sync that returned success is durable; a crash may drop, reorder or tear any write that was not
//! synced, in units of a sector of at least 512 bytes; bytes outside a written range do not change;
//! a rename is atomic.

mod background;
mod batch;
mod clock;
mod commit;
mod create;
mod delivery;
mod directory_scan;
mod dump;
mod edge;
mod epochs;
mod error;
mod expectation;
mod follow;
mod frame;
mod item;
mod judge;
mod limits;
mod location;
mod log;
mod lookup;
mod lsn;
mod names;
mod open_files;
mod opening;
mod options;
mod preallocated;
mod reader;
mod records;
mod recover;
mod repair;
mod replay;
mod results;
mod retention;
mod rotate;
mod salvage;
mod scan;
mod segment;
mod slot;
mod source;
mod stats;
#[cfg(feature = "stream")]
mod stream;
mod submit;
mod superblock;
mod ticket;
mod torn_write;
mod truncate;
mod truncate_end;
mod wal;
mod walk;
mod watch;
mod writer;

#[doc = include_str!("../FORMAT.md")]
pub mod format {}

pub use batch::Batch;
pub use dump::{Detail, dump};
pub use durable_io::engine::{
    Failure, InvalidOption, NoOutput, NoThread, Poisoned, UnsupportedVersion,
};
pub use durable_io::{Background, Disk, SyncMode};
pub use error::{Corruption, Error, Result};
pub use expectation::Expectation;
pub use follow::{Follow, FollowHandle};
pub use limits::{
    DEFAULT_OPEN_SEGMENTS, DEFAULT_SEGMENT_SIZE, DEFAULT_ZERO_STEP, MAX_BATCH_SIZE, MAX_IN_FLIGHT,
    MAX_NOTE_SIZE, MAX_RECORD_SIZE, MAX_SEGMENT_SIZE, MIN_SEGMENT_SIZE, SEGMENT_ALIGN,
    max_batch_size, max_record_size,
};
pub use location::{Appended, Location};
pub use lsn::{Lsn, Record};
pub use opening::Opening;
pub use options::Options;
pub use records::Records;
pub use retention::SegmentInfo;
pub use salvage::Salvage;
pub use stats::{Recovery, Stats, Tail, Verified};
#[cfg(feature = "stream")]
pub use stream::RecordStream;
pub use ticket::Ticket;
pub use wal::Wal;
pub use watch::Watch;

/// Compiles the examples of the read-me.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
