//! A transactional B+tree: one log record in a shared sync per commit, snapshots that block nobody,
//! checksums everywhere, and an opening that does not depend on the size of the store.
//!
//! ```
//! use btree::Options;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("store");
//! let store = Options::new().open(&path)?;
//!
//! let mut write = store.begin_write()?;
//! let mut fruit = write.create_table("fruit")?;
//! fruit.put(b"apple", b"3")?;
//! fruit.put(b"pear", b"1")?;
//! write.commit()?; // all of it, on stable storage when it returns
//!
//! let read = store.begin_read(); // this state, whatever others do
//! let fruit = read.table("fruit")?;
//! assert_eq!(fruit.get(b"apple")?.as_deref(), Some(&b"3"[..]));
//! for entry in fruit.range(&b"a"[..]..&b"q"[..]).rev() {
//!     let (key, value) = entry?;
//!     println!("{}: {}", String::from_utf8_lossy(&key), String::from_utf8_lossy(&value));
//! }
//!
//! let mut write = store.begin_write()?;
//! let savepoint = write.savepoint()?;
//! write.table("fruit")?.delete_range(..)?;
//! write.rollback_to(&savepoint)?;
//! write.rename_table("fruit", "basket")?;
//! write.commit()?;
//! assert_eq!(read.tables()?, ["fruit"]);
//! assert_eq!(store.begin_read().tables()?, ["basket"]);
//! store.close()?;
//! # Ok(())
//! # }
//! ```
//!
//! # What it promises
//!
//! [`SyncMode`] says when a commit returns, and so what a crash may take back:
//!
//! | mode | a commit returns when | `kill -9` loses | power loss loses |
//! |---|---|---|---|
//! | [`Always`](SyncMode::Always) (default) | it is on stable storage | nothing | nothing |
//! | [`Batch`](SyncMode::Batch) | the kernel has it | nothing | fewer than `writes` commits, none older than `interval` |
//! | [`Manual`](SyncMode::Manual) | the kernel has it | nothing | the commits since the last [`Btree::sync`] |
//!
//! - What is lost is always a suffix of the commits: never a hole, never half a transaction.
//! - A transaction may choose for itself: [`WriteTxn::commit_with`].
//! - Readers see one state, which was committed as a whole; in `Always` only what is durable.
//! - Every byte is checked before it is believed. Damage is [`Error::Corrupt`], which names file and
//!   byte; what does not lie behind the damaged page can still be read.
//! - Opening runs the same recovery after a close, a kill and a power loss. It costs what the log holds
//!   since the last checkpoint, not what the store holds.
//! - After a failed write or sync the handle is [`Error::Poisoned`]: it acknowledges nothing more, reads
//!   show what is durable, and opening it again recovers.
//! - The page file becomes shorter when it holds less: [`Btree::shrink`], [`Btree::compact`], and by itself
//!   when nobody has committed for a while.
//! - [`Btree::backup`] makes a store of its own of one moment, while everybody reads and writes on.
//! - A full disk is an error before anything is changed; deletions and checkpoints work on it, within
//!   [`Options::reserve`].
//!
//! # Limits
//!
//! One writer at a time. Keys and table names: [`max_key_size`], 2008 bytes with the default page size.
//! Values: [`MAX_VALUE_SIZE`]. A transaction is as large as the disk allows. One process at a time, or several that only read:
//! [`Options::open_read_only`].
//!
//! # Threads
//!
//! One, named `btree`, writes checkpoints, also when nobody has committed for a while, and makes the page file
//! shorter then, beside that of the [`wal`]. With [`Background::Inline`] there
//! is none: see [`Btree::run_background`].
//!
//! # What it assumes of the disk
//!
//! A sync that returned success is durable; a crash may drop, reorder or tear any write that was not
//! synced, in units of a sector of at least 512 bytes; bytes outside a written range do not change;
//! a rename is atomic.

mod backup;
mod balance;
mod btree;
mod bulk_load;
mod catalog;
mod draft;
mod dump;
mod edit;
mod error;
mod free_list;
mod health;
mod limits;
mod lookup;
mod meta;
mod names;
mod node;
mod options;
mod overflow;
mod pack;
mod page;
mod page_table;
mod pager;
mod range;
mod read_only;
mod read_txn;
mod record;
mod recover;
mod remove_range;
mod repair;
mod root;
mod salvage;
mod salvaged_table;
mod shrink;
mod shrinking;
mod space;
mod stats;
mod store;
mod turn;
mod value;
mod verify;
mod work;
mod write_txn;

#[doc = include_str!("../FORMAT.md")]
pub mod format {}

pub use btree::Btree;
pub use dump::{Detail, dump};
pub use durable_io::engine::{
    InvalidOption, LostKeys, NoOutput, NoThread, Poisoned, RepairOptions, Trouble,
    UnsupportedVersion,
};
pub use durable_io::{Background, Disk, SyncMode};
pub use error::{Corruption, Error, Lost, Result};
pub use limits::{DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE, MAX_VALUE_SIZE, MIN_PAGE_SIZE, max_key_size};
pub use options::Options;
pub use range::Range;
pub use read_txn::{OwnedTable, ReadTxn, Table};
pub use repair::Repaired;
pub use salvage::{Salvage, Salvaged};
pub use salvaged_table::SalvagedTable;
pub use stats::{Backup, Recovery, Shrunk, Stats, Verified};
pub use value::Value;
pub use write_txn::{Durability, Savepoint, TableMut, WriteTxn};

/// Compiles the examples of the read-me.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
