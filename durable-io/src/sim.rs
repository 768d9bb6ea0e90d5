//! The simulated disk: every state that a crash may legally leave, and a judge that tries them all.
//!
//! A store needs no change to be judged: it takes a [`Disk`](crate::Disk) from its caller, and the one
//! it gets here records what is done to it. You describe the store in a [`Subject`] (how to open it,
//! what can be done with it, what it should then hold), and an [`Explorer`] runs every short sequence
//! of operations, ends each at every moment in every way, opens what is left, and compares.
//!
//! ```
//! use durable_io::sim::{Bound, Explorer, Outcome, Subject, Survives};
//! use durable_io::{Dir, Disk, replace_file};
//!
//! /// A store of one number, which forgets nothing: it replaces a file as a whole.
//! struct Number;
//!
//! impl Subject for Number {
//!     type Op = u8;
//!     type State = u8;
//!     type Store = Dir;
//!
//!     fn operations(&self) -> Vec<u8> {
//!         vec![1, 2]
//!     }
//!     fn empty(&self) -> u8 {
//!         0
//!     }
//!     fn open(&self, disk: &Disk) -> Outcome<Dir> {
//!         let dir = disk.create_dir("/number")?;
//!         dir.sync()?; // a name that a killed process left in the page cache is answered from below
//!         Ok(dir)
//!     }
//!     fn apply(&self, dir: &mut Dir, number: &u8, _n: u64) -> Outcome<Survives> {
//!         replace_file(dir, "number", &[*number])?;
//!         Ok(Survives::PowerLoss)
//!     }
//!     fn observe(&self, dir: &mut Dir) -> Outcome<u8> {
//!         let mut byte = [0];
//!         match dir.open("number") {
//!             Ok(file) => file.read_exact_at(&mut byte, 0)?,
//!             Err(error) if error.is_not_found() => {}
//!             Err(error) => return Err(error.into()),
//!         }
//!         Ok(byte[0])
//!     }
//!     fn model(&self, _before: &u8, number: &u8, _n: u64) -> u8 {
//!         *number
//!     }
//! }
//!
//! let explored = Explorer::new(&Number).explore(&Bound::of_length(2), &|_counts| {});
//! assert!(explored.counterexample.is_none());
//! assert!(explored.counts.unique_states > 50);
//! ```
//!
//! `examples/prove_your_own_store` is a store with a bug in it, and shows what is printed then. In a `#[test]`,
//! [`check`] is all that is needed.
//!
//! # The model
//!
//! Every call appends *effects* to the disk: a sector's new content, a file's new length, a name added
//! or removed. A barrier makes some of them durable: [`File::sync_data`](crate::File::sync_data) those
//! of the file (not its name), [`Dir::sync`](crate::Dir::sync) those of the directory's names,
//! [`File::write_durable_at`](crate::File::write_durable_at) those of the written range. What a power
//! loss leaves is the durable state and any part of the rest in which
//!
//! - the effects on one sector, on one length, on one name, are kept from the oldest on (a *chain*);
//!   different chains are free of each other, so a length may be there without the data, a second
//!   sector without the first, a name without the file's content;
//! - a write that makes a file longer does so page by page;
//! - a rename never loses both names, unless the new one is removed afterwards;
//! - what was never written inside a file's length shows zeros, garbage, or the former content of a
//!   removed or truncated file at that place.
//!
//! The unit of tearing is 512 or 4096 bytes ([`Bound::unit`]). The death of a process loses nothing,
//! but what it leaves in the page cache is not durable: a store that is opened then, answers, continues,
//! and only then loses power is tried as well. So are crashes during recovery, and after each crash
//! the store must take what it is given, keep it over one more power loss, and show the same when it
//! is opened twice.
//!
//! # What else it does
//!
//! - [`Explorer::remove_barriers`]: is each sync needed? Each is switched off, and something must break.
//! - [`inject_everywhere`], [`fill_the_disk`]: errors of every kind at every call, failed syncs as real
//!   kernels fail them, a full disk of every size.
//! - [`spoil_everywhere`]: every sector that cannot be read.
//! - [`World::damaged`]: bytes changed without the engine's knowledge.
//! - [`SimDisk::spoil`] and [`SimDisk::forbid`]: bytes that cannot be read, files that may not be opened.
//! - [`SimDisk`] alone, for tests by hand: what is there after
//!   [`World::lose_unsynced`] is what was durable.
//! - [`Profile`]: what ext4, XFS and btrfs promise beyond the model, for
//!   [`World::crash_states`] of a disk made by [`SimDisk::with_profile`].
//! - [`Volume`]: the same disk behind a mounted file system, for stores that make system calls of
//!   their own.
//! - A violation is a [`Counterexample`]: shrunk, reported in one screen, and kept as a [`Tape`] to replay.
//!
//! # What it does not model
//!
//! Sectors that tear inside, or that lose bytes beside the written ones; locks and `close`; writable
//! maps.
//! Threads are real if a store starts them; then a run is not repeatable, so [`Subject::open`] must not.

mod backend;
mod bad_sectors;
mod barriers;
mod chain;
mod check;
mod crash;
mod damage;
mod disk;
mod doubt;
mod explore;
mod fault;
mod hash;
mod inject;
mod order;
mod profile;
mod report;
mod run;
mod sample;
mod shrink;
mod subject;
mod tape;
mod unreadable;
mod volume;
mod world;

pub use bad_sectors::spoil_everywhere;
pub use barriers::{Removal, RemovalVerdict};
pub use check::check;
pub use damage::Damage;
pub use disk::{Call, SimDisk};
pub use doubt::Doubt;
pub use explore::{Bound, Counts, Exploration, Explorer};
pub use fault::{Fault, FaultKind, ShortBy, SyncFailure};
pub use inject::{Injection, fill_the_disk, inject_everywhere};
pub use profile::{Profile, SyncCommits};
pub use report::Counterexample;
pub use subject::{Keep, Outcome, Start, StartStep, Subject, Survives};
pub use tape::Tape;
pub use volume::{Attributes, Volume};
pub use world::World;
