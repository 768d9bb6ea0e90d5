//! Immutable sorted tables: many keys in one checksummed file that is written once, in order, and then
//! read in every way.
//!
//! ```
//! use durable_io::Disk;
//! use sstable::{BlockCache, Cursor, Options, Table};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let temp = tempfile::tempdir()?;
//! # let path = temp.path().join("tables");
//! let dir = Disk::os().create_dir(&path)?;
//! let mut writer = Options::new().create(&dir, "fruit")?;
//! for (key, value) in [("apple", "3"), ("fig", "7"), ("pear", "1")] {
//!     writer.put(key.as_bytes(), value.as_bytes())?;
//! }
//! let info = writer.finish()?; // on stable storage, name and all
//!
//! let table = Table::open(&dir, "fruit", &BlockCache::new(8 << 20))?;
//! assert_eq!(table.get(b"fig")?.as_deref(), Some(&b"7"[..]));
//! assert_eq!(table.get(b"grape")?, None);
//! let (key, value) = table.scan(&b"b"[..]..).next_back().ok_or("there are two")??;
//! assert_eq!((&key[..], &value[..]), (&b"pear"[..], &b"1"[..]));
//!
//! let mut cursor = table.cursor(); // copies nothing
//! cursor.seek(b"b", u64::MAX)?;
//! assert_eq!(cursor.entry().map(|entry| entry.value), Some(&b"7"[..]));
//! assert_eq!(table.verify()?.checksum, info.checksum);
//! # Ok(())
//! # }
//! ```
//!
//! # What a table holds
//!
//! Entries: a key, a version, and a value or a deletion. They are in one order, keys bytewise ascending, the
//! versions of one key descending; a table without versions has 0 everywhere. And range tombstones, which hide
//! what is older in a range of keys. [`Table::get`] and [`Table::scan`] show what all of them leave,
//! [`Table::find`] and [`Table::cursor`] each entry.
//!
//! # Many tables
//!
//! [`Visible`] shows what a reader at some version sees of several tables, or of other sorted runs, from either
//! end; [`Merge`] all entries of them. [`mod@compaction`] says which tables should be merged, as a pure function,
//! and merges them: it drops what no reader can see any more. `examples/table_set` is a durable set of tables,
//! with a manifest, of 300 lines.
//!
//! # Durability
//!
//! - [`Writer::finish`] makes the bytes durable, then gives the file its name, then makes the name durable.
//!   When it returns, the table survives power loss. A crash before that leaves the name as it was, or the
//!   whole table; and perhaps a temporary file ([`Temp`](durable_io::Temp)), which counts for nothing.
//! - After an error of `finish`, or if the writer is dropped, there is no table and no other file. (If the last
//!   sync, that of the directory, fails, the whole table may have its name, and a crash may take it back.)
//! - A table never changes. It may be unlinked while it is open: the map keeps it.
//! - No sync is tried twice.
//!
//! # Damage
//!
//! Every byte that is read is covered by a checksum bound to the file and its place, and is checked before it
//! is believed: a data block when it is first used. Damage is [`Error::Corrupt`], which names file and byte.
//! Header and footer, index, range tombstones and properties are there twice; a damaged filter is not asked:
//! then the answers are exact, and [`Table::damage`] tells. [`Table::verify`] reads and cross-checks
//! everything, [`Table::salvage`] gives what is left of a table that [`Table::open`] refuses, and names the keys of
//! which something is lost. When damage can go unnoticed is said in [`mod@format`], section 11.
//!
//! # What it assumes of the disk
//!
//! A sync that returned success is durable; bytes outside a written range do not change; a rename is atomic.
//! Tables are mapped: a disk that cannot read one of their pages ends the process with a signal. Nobody else
//! writes to a table that is open.
//!
//! # Features
//!
//! `zstd`: [`Compression`] has `Zstd`, which needs a C compiler. A table that is compressed so is otherwise
//! [`Error::UnsupportedCompression`].
//!
//! Source: the block format goes back to `LevelDB`'s `table_format.md`, the hash index in blocks to `RocksDB`.
//! It differs in versions as numbers of their own, in heads, in the copies, and in checksums that know their
//! place.

mod block;
mod block_builder;
mod bounds;
mod cache;
pub mod compaction;
mod compression;
mod covering;
mod cursor;
mod dump;
mod entry;
mod error;
mod filter;
mod finder;
mod footer;
mod fragmenter;
mod fragments;
mod frame;
mod head;
mod key_range;
mod limits;
mod loser_tree;
mod merge;
mod options;
mod output;
mod partition;
mod properties;
mod reader;
mod repair;
mod salvage;
mod scan;
mod search;
mod separators;
mod source;
mod table;
mod table_cursor;
mod table_info;
mod varint;
mod verify;
mod visible;
mod writer;

#[doc = include_str!("../FORMAT.md")]
pub mod format {}

pub use cache::BlockCache;
pub use compression::Compression;
pub use cursor::Cursor;
pub use dump::{Detail, dump};
pub use durable_io::engine::{
    InvalidOption, LostKeys, NoOutput, RepairOptions, UnsupportedVersion, Value,
};
pub use entry::{Entry, Kind, RangeTombstone, compare};
pub use error::{Corruption, Error, Lost, Result};
pub use fragmenter::fragment;
pub use fragments::covering;
pub use key_range::{KeyRange, union};
pub use limits::{
    DEFAULT_BLOCK_SIZE, DEFAULT_PARTITION_KEYS, MAX_BLOCK_SIZE, MAX_FILTER_BITS, MAX_KEY_SIZE,
    MAX_PROPERTIES_SIZE, MAX_RANGE_TOMBSTONES_SIZE, MAX_VALUE_SIZE, MIN_BLOCK_SIZE,
};
pub use merge::{Merge, Source};
pub use options::Options;
pub use properties::Properties;
pub use repair::Repaired;
pub use salvage::{Salvage, Salvaged};
pub use scan::Scan;
pub use search::Found;
pub use source::Reads;
pub use table::Table;
pub use table_cursor::TableCursor;
pub use table_info::TableInfo;
pub use verify::Verified;
pub use visible::Visible;
pub use writer::Writer;

/// Compiles the examples of the read-me.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
