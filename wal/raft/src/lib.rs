//! A Raft log store: votes, entries, truncations and purges of any number of groups, in one log.
//!
//! ```
//! use durable_raft::{Change, Entry, LogPoint, Options, Vote};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("raft");
//! let store = Options::new().segment_size(1 << 20).open(&path)?;
//! let group = store.create(1)?;
//! group.save_vote(&Vote { term: 1, leader: b"node 1".to_vec() })?; // on stable storage when it returns
//! let entry = |index: u64, data: &[u8]| Entry { index, term: 1, data: data.to_vec() };
//! group.append(&[entry(1, b"put apple 3"), entry(2, b"put pear 1")])?; // so are these
//!
//! let (called, durable) = std::sync::mpsc::channel();
//! let third = [entry(3, b"delete apple")];
//! group.submit(Change::Append(&third), move |result| called.send(result).unwrap())?;
//! assert_eq!(group.entries(2..9)?.len(), 2); // it can be read, and replicated
//! durable.recv()??; // and now it is durable
//!
//! group.truncate(3)?; // another leader's entry takes its place
//! group.purge(&LogPoint { index: 1, term: 1, leader: Vec::new() })?; // a snapshot has it
//! assert_eq!(group.state()?.first, Some(2));
//! store.close()?;
//! # Ok(())
//! # }
//! ```
//!
//! # What it promises
//!
//! - A vote, an append, a truncation, a purge, the creation and the destruction of a group are durable when the
//!   call returns, or when the callback says so; never before. There is no weaker mode.
//! - All that is done is in one order, over all groups. What a crash takes back is the end of that order: never a
//!   vote without the truncation before it, never a hole, never half an entry.
//! - What was given up does not come back, and a destroyed group never does, under its id or another.
//! - Whatever came together shares one sync, whichever groups it is of.
//! - Every byte is checked before it is believed. Damage is [`Error::Corrupt`]; see [`wal`] for what is named.
//! - After a failed write or sync the store is [`Error::Poisoned`] and acknowledges nothing more; it shows what
//!   is durable, and opening it again recovers.
//! - A full disk is an error before anything changes. Votes, truncations, purges and the destruction of groups
//!   work on it, from [`Options::reserve`].
//!
//! # Space
//!
//! The log of a group that never purges keeps no other from giving its space back: what still counts is appended
//! again, and the front of the log is removed. It takes about twice what counts, and three segments
//! ([`Options::segment_size`]). In memory are the place of each entry, some 60 bytes, and recent entries
//! ([`Options::cache`]).
//!
//! # What it assumes of the disk
//!
//! What [`wal`] assumes.

mod cache;
mod dump;
mod error;
mod group;
mod group_state;
mod limits;
mod log_store;
#[cfg(feature = "state-machine")]
pub mod machine;
mod mover;
mod names;
#[cfg(feature = "openraft")]
pub mod openraft09;
mod options;
mod read;
mod read_only;
mod record;
mod recover;
mod state;
mod stats;
mod store;
mod types;
mod verify;
mod waiting;
mod write;

#[doc = include_str!("../FORMAT.md")]
pub mod format {}

pub use dump::{Detail, dump};
pub use durable_io::engine::{
    Failure, InvalidOption, NoOutput, NoThread, Poisoned, Trouble, UnsupportedVersion,
};
pub use durable_io::{Background, Disk};
pub use error::{Corruption, Error, Result};
pub use group::Group;
pub use limits::{
    DEFAULT_CACHE, DEFAULT_SEGMENT_SIZE, MAX_ENTRY_SIZE, MAX_LEADER_SIZE, MIN_SEGMENT_SIZE,
};
#[cfg(feature = "state-machine")]
pub use limits::{MAX_MEMBERSHIP_SIZE, MAX_SNAPSHOT_ID_SIZE};
pub use log_store::LogStore;
pub use options::Options;
pub use read_only::ReadOnly;
pub use stats::{Recovery, Stats, Verified};
pub use types::{Change, Entry, LogPoint, LogState, Vote};
pub use wal::Lsn;

/// Compiles the examples of the read-me.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
