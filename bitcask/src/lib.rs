//! A hash-indexed log store: one probe of an index in memory and one record on the disk for each
//! read, one append for each write; keys stay on the disk.
//!
//! ```
//! use bitcask::{Batch, Options};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("store");
//! let store = Options::new().open(&path)?;
//! store.put(b"apple", b"3")?; // on stable storage when it returns
//! store.write(Batch::new().put(b"pear", b"1").delete(b"fig"))?; // all or nothing
//! assert_eq!(store.get(b"apple")?.as_deref(), Some(&b"3"[..]));
//! assert_eq!(store.get(b"fig")?, None);
//!
//! let before = store.snapshot()?;
//! assert!(store.compare_and_set(b"apple", Some(b"3"), Some(b"4"))?.is_ok());
//! store.delete(b"pear")?;
//! assert!(before.contains(b"pear")?);
//! assert_eq!(before.get(b"apple")?.as_deref(), Some(&b"3"[..]));
//!
//! for key in store.keys()? {
//!     println!("{}", String::from_utf8_lossy(&key?)); // in no order
//! }
//! store.close()?;
//! # Ok(())
//! # }
//! ```
//!
//! # What it is for
//!
//! Many keys, read and written one by one, with the index in memory: at most 26 bytes for each key,
//! however long the keys are. There is no order: no range, no scan, no prefix. Take a B-tree if you
//! need one.
//!
//! # What it promises
//!
//! [`SyncMode`] says when a write returns, and so what a crash may take back:
//!
//! | mode | a write returns when | `kill -9` loses | power loss loses |
//! |---|---|---|---|
//! | [`Always`](SyncMode::Always) (default) | it is on stable storage | nothing | nothing |
//! | [`Batch`](SyncMode::Batch) | the kernel has it | nothing | fewer than `writes` writes, none older than `interval` |
//! | [`Manual`](SyncMode::Manual) | the kernel has it | nothing | the writes since the last [`Bitcask::sync`], at most [`MAX_UNSYNCED`] records |
//!
//! - What is lost is always a suffix: never a hole, never half a batch, never a deleted key back; also
//!   across a merge.
//! - Every byte is checked before it is believed. A torn tail is cut; damage is
//!   [`Error::Corrupt`], which names file and byte. When it can go unnoticed is said in
//!   [`mod@format`], section 9; after a clean [`Bitcask::close`] it cannot.
//! - Opening runs the same recovery after a close, a kill and a power loss.
//! - After a failed write or sync the handle is [`Error::Poisoned`]: it acknowledges nothing more,
//!   reads show what is durable, and opening it again recovers.
//! - A full disk is an error before anything is written; deletions and merges work on it, within
//!   [`Options::reserve`].
//!
//! # Threads
//!
//! One, named `bitcask`, writes hints and merges; under [`SyncMode::Batch`] a second one, named
//! `bitcask-sync`, keeps the interval. With [`Background::Inline`] there is none: see
//! [`Bitcask::run_background`].
//!
//! # What it assumes of the disk
//!
//! A sync that returned success is durable; a crash may drop, reorder or tear any write that was not
//! synced, in units of a sector of at least 512 bytes; bytes outside a written range do not change;
//! a rename is atomic. Sealed data files are mapped: a disk that cannot read one of their pages ends
//! the process with a signal.
//!
//! Source: Sheehy and Smith, "Bitcask: A Log-Structured Hash Table for Fast Key/Value Data", 2010. It
//! differs in the manifest, in groups, in the index (no keys in it), and in tombstones, which go as
//! soon as nothing needs them.

mod backup;
mod batch;
mod bitcask;
mod close;
mod damaged;
mod data_file;
mod dump;
mod error;
mod file_header;
mod hint;
mod history;
mod keydir;
mod limits;
mod load;
mod manifest;
mod names;
mod options;
mod orphans;
mod policy;
mod read;
mod record;
mod recover;
mod repair;
mod reserve;
mod salvage;
mod scan;
mod snapshot;
mod space;
mod stats;
mod store;
mod table;
mod verify;
mod walk;
mod writer;

#[doc = include_str!("../FORMAT.md")]
pub mod format {}

pub use batch::Batch;
pub use bitcask::Bitcask;
pub use dump::{Detail, dump};
pub use durable_io::engine::{
    BackupOptions, BackupReport, Failure, InvalidOption, NoOutput, NoThread, Poisoned,
    RepairOptions, Trouble, UnsupportedVersion, Value,
};
pub use durable_io::{Background, Disk, SyncMode};
pub use error::{Corruption, Error, Result};
pub use limits::{
    DEFAULT_DATA_FILE_SIZE, MAX_BATCH_SIZE, MAX_DATA_FILE_SIZE, MAX_DATA_FILES, MAX_KEY_SIZE,
    MAX_UNSYNCED, MIN_DATA_FILE_SIZE,
};
pub use options::Options;
pub use policy::MergePolicy;
pub use repair::Repaired;
pub use salvage::{Salvage, Salvaged};
pub use snapshot::{Entries, Keys, Snapshot};
pub use stats::{FileSpace, MergeReport, Progress, Recovery, Stats, Verified, Why};

/// Compiles the examples of the read-me.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
