//! An LSM-tree: sorted keys with values on disk, in keyspaces that are written together, with snapshots
//! and range deletes.
//!
//! ```
//! use lsm::{Batch, KeyspaceOptions, Options};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let temp = tempfile::tempdir()?;
//! # let path = temp.path().join("fruit");
//! let db = Options::new().open(&path)?;
//! db.put(b"apple", b"3")?; // on stable storage when it returns
//! assert_eq!(db.get(b"apple")?.as_deref(), Some(&b"3"[..]));
//!
//! let by_colour = db.create_keyspace("by colour", &KeyspaceOptions::new())?;
//! db.write(Batch::new().put(b"fig", b"7").put_in(&by_colour, b"violet/fig", b""))?; // both or none
//!
//! let snapshot = db.snapshot()?; // one moment across all keyspaces
//! db.delete_range(b"a", b"c")?; // costs the same however many keys there are
//! assert_eq!(db.scan(..)?.count(), 1);
//! assert_eq!(snapshot.scan(..).count(), 2);
//!
//! let mut rows = by_colour.scan_prefix(b"violet/")?;
//! while let Some((key, value)) = rows.read()? {
//!     println!("{} = {}", key.escape_ascii(), value.escape_ascii()); // lent, nothing is copied
//! }
//! db.close()?;
//! # Ok(())
//! # }
//! ```
//!
//! # What it promises
//!
//! [`SyncMode`] says when a write returns, and so what a crash may take back:
//!
//! | mode | a write returns when | `kill -9` loses | power loss loses |
//! |---|---|---|---|
//! | [`Always`](SyncMode::Always) (default) | it is on stable storage | nothing | nothing |
//! | [`Batch`](SyncMode::Batch) | the kernel has it | nothing | fewer than `writes` writes, none older than `interval` |
//! | [`Manual`](SyncMode::Manual) | the kernel has it | nothing | the writes since the last [`Lsm::sync`] |
//!
//! - What is lost is always a suffix of everything that was done, in all keyspaces together: never a hole,
//!   never half a batch, never a deleted key back. Creating, clearing and dropping a keyspace is durable
//!   when it returns, in every mode, and so is everything before it.
//! - A batch is seen whole or not at all, and so is a snapshot. What is acknowledged is seen by every later
//!   read, also while it goes from memory into tables. Under `Batch` and `Manual` a read may show what a
//!   power loss can still take back.
//! - Every byte is checked before it is believed. Damage is [`Error::Corrupt`], which names file and byte;
//!   whatever does not depend on that place stays readable. When the loss of acknowledged data can go
//!   unnoticed is said in [`mod@format`], section 7.
//! - Opening runs the same recovery after a close, a kill and a power loss, and reads at most about
//!   [`Options::replay_limit`] bytes of the log. It says what it did: [`Lsm::recovery`].
//! - After a failed write or sync the handle is [`Error::Poisoned`]: it acknowledges nothing more; reads
//!   answer as of the last durable moment. A full disk poisons nothing: the write is refused, and
//!   [`Options::reserve`] is there so that deleting, dropping and compacting still work.
//! - Writers are slowed down before they must be stopped, and [`Lsm::stats`] says for how long, and why;
//!   [`Lsm::try_write`] answers instead of waiting.
//! - What is deleted gives its space back without a call, when that is worth the merge
//!   ([`Options::reclaim_percent`]); [`Lsm::explain_space`] says what does, and what waits for a snapshot.
//!
//! # What it does not do
//!
//! No transactions: who reads, and writes what depends on it, needs a lock of his own around both. No
//! merge operators, no expiry, no encryption, no reading beside a writer in another process.
//!
//! # Threads
//!
//! `lsm-flush` and `lsm-compact`, and those of the log ([`wal`]). With [`Background::Inline`] there is none:
//! see [`Lsm::run_background`]. [`Lsm::close`] joins them.
//!
//! # What it assumes of the disk
//!
//! A sync that returned success is durable; a crash may drop, reorder or tear any write that was not
//! synced, in units of a sector of at least 512 bytes; bytes outside a written range do not change; a
//! rename is atomic. Tables are mapped: a disk that cannot read one of their pages ends the process with a
//! signal.
//!
//! # Features
//!
//! `zstd`: [`Compression`] has `Zstd`, which needs a C compiler.
//!
//! Source: O'Neil and others, "The log-structured merge-tree", 1996; the layout of levels follows Dayan and
//! Idreos, "Dostoevsky", 2018. It differs in versions that are positions in the log.

mod backup;
mod batch;
mod cause;
mod compact;
mod covered;
mod cursor;
mod dump;
mod error;
mod flush;
mod gate;
mod keyspace;
mod keyspaces;
mod levels;
mod limits;
mod lsm;
mod manifest;
mod memtable;
mod names;
mod open;
mod options;
mod pinned;
mod read;
mod read_only;
mod reclaim;
mod record;
mod repair;
mod replay;
mod reserve;
mod room;
mod salvage;
mod salvaged_keyspace;
mod scan;
mod sequence;
mod snapshot;
mod space;
mod stats;
mod store;
mod throttle;
mod ticket;
mod tree;
mod value;
mod verify;
mod write;

#[doc = include_str!("../FORMAT.md")]
pub mod format {}

#[doc = include_str!("../OPERATIONS.md")]
pub mod operations {}

pub use batch::Batch;
pub use cause::Cause as DelayCause;
pub use dump::{Detail, dump};
pub use durable_io::engine::{BackupOptions, BackupReport, LostKeys, RepairOptions};
pub use durable_io::{Background, Disk, SyncMode};
pub use error::{Corruption, Error, Lost, Result};
pub use keyspace::Keyspace;
pub use limits::{
    DEFAULT_KEYSPACE, DEFAULT_LOG_SEGMENT_SIZE, MAX_KEY_SIZE, MAX_MANIFEST_SEGMENT_SIZE,
    MAX_MEMTABLE_RANGES, MAX_NAME_SIZE, MIN_MANIFEST_SEGMENT_SIZE, MIN_MEMTABLE_SIZE,
};
pub use lsm::Lsm;
pub use options::{KeyspaceOptions, Options, Strategy};
pub use repair::Repaired;
pub use salvage::{Salvage, Salvaged};
pub use salvaged_keyspace::SalvagedKeyspace;
pub use scan::{Keys, Scan};
pub use snapshot::{Snapshot, View};
pub use space::{KeyspaceSpace, LevelSpace};
pub use sstable::Compression;
pub use stats::{CompactReport, Delays, Progress, Recovery, Stats, Verified};
pub use ticket::Ticket;
pub use value::Value;
pub use wal::Lsn;

/// Compiles the examples of the read-me.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
