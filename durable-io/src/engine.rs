//! The skeleton of a storage engine: what every engine on this disk does in the same way, written once.
//!
//! How an engine is put together from it:
//!
//! - `Options::open` refuses values beyond their limits ([`InvalidOption`], [`SyncMode::validate`]), then
//!   calls [`open_store`]: the directory is durable with its parents, and locked. Salvage, repair and dump
//!   take [`StoreDir::open`], readers [`StoreDir::open_shared`] or, beside a writer,
//!   [`StoreDir::open_read_only`], which write nothing.
//! - Its files begin with a header of a [`Format`]: magic, version, ids, bound to its place.
//! - What callers and threads share is one struct, in an `Arc`, with a [`Health`] in it. A failed call that
//!   may have changed something goes through [`Health::note`]; what must not stop half-way, through
//!   [`Health::poison`]. What could panic half-way for several callers runs in [`Health::catch`]: the leader
//!   of a group. Locks are taken by [`Health::lock`], and then [`Health::check`] says whether
//!   writing may continue.
//! - An engine that syncs files of its own has a [`SyncGate`]: `Log::sync` is
//!   [`SyncGate::sync_written`] of what the engine captures as [`Written`]; a commit asks
//!   [`SyncGate::must_sync`], and says [`SyncGate::acknowledged`] when it has shown its writes to readers.
//!   Concurrent writers come together in a [`GroupCommit`](crate::GroupCommit). An engine on a log
//!   leaves all that to the log.
//! - Background work is a [`Work`] for each kind of it and a function of the engine that takes one
//!   [`Step`]. [`Background::Threads`](crate::Background): [`Work::start`], and in
//!   [`SyncMode::Batch`](crate::SyncMode) a second thread for [`SyncGate::interval`], so that no deadline
//!   waits for a flush or a merge. `Inline`: `run_background` calls [`Work::run_once`], the interval
//!   first. A step returns its error as it is: one that has poisoned the handle ends the work, any other
//!   is tried again with a delay, and is [`Work::trouble`] until then, for `stats()`.
//! - The handle holds the [`Worker`]s and the shared struct. Its `close` joins them, makes everything
//!   durable, says so where the engine keeps its witness, and unlocks; its `Drop` joins and unlocks.
//! - What must work on a full disk continues from a [`Reserve`].
//! - A backup takes files that are never written again by [`take_file`], into an
//!   [`open_empty_store`]; what is written in place is made anew, the root last.
//! - A salvage reads [around](read_around) what cannot be read, believes only what its check holds for, and names
//!   what is lost: positions, or [`LostKeys`]. Damage is an item of it, not its end.
//! - A repair makes a new store of what a salvage gives, by [`create_whole`], and says as [`Repaired`] what became of it.
//! - Values are [`Value`]s; callbacks [`Progress`]; dumps are written to a [`Text`].
//! - Its one `Error` has, beside what is its own, `Disk(#[from] durable_io::Error)`, `Corrupt { path, offset,
//!   reason }`, `TooLarge { what, size, limit }`, and, each `#[error(transparent)]` and `#[from]`:
//!   [`Poisoned`], [`InvalidOption`], [`UnsupportedVersion`], [`NoThread`], [`NoOutput`].
//!
//! [`SyncMode::validate`]: crate::SyncMode::validate
//!
//! ```
//! use std::sync::{Arc, Mutex};
//!
//! use durable_io::engine::{Health, Poisoned, Step, StoreDir, Work, open_store};
//! use durable_io::{Background, Disk};
//!
//! #[derive(Clone, Debug, thiserror::Error)]
//! enum Error {
//!     #[error(transparent)]
//!     Disk(#[from] durable_io::Error),
//!     #[error(transparent)]
//!     Poisoned(#[from] Poisoned),
//! }
//!
//! /// What the callers and the thread share: a list of files that are to be removed.
//! struct Store {
//!     dir: StoreDir,
//!     health: Arc<Health>,
//!     removal: Arc<Work>,
//!     dead: Mutex<Vec<String>>,
//! }
//!
//! impl Store {
//!     fn give_up(&self, name: &str) -> Result<(), Error> {
//!         self.health.lock(&self.dead).push(name.to_owned());
//!         self.health.check()?;
//!         self.removal.notify();
//!         Ok(())
//!     }
//!
//!     /// One step of background work.
//!     fn remove_one(&self) -> Result<Step, Error> {
//!         let mut dead = self.health.lock(&self.dead);
//!         self.health.check()?;
//!         let Some(name) = dead.last() else {
//!             return Ok(Step::Idle);
//!         };
//!         let removed = self.dir.dir().remove(name);
//!         removed.map_err(|error| self.health.note(error))?;
//!         dead.pop();
//!         Ok(Step::Done)
//!     }
//! }
//!
//! # let temp = tempfile::tempdir().unwrap();
//! # let path = temp.path().join("store");
//! let disk = Disk::os();
//! let dir = open_store(&disk, &path, "lock")?;
//! dir.dir().create_new("old")?;
//! let health = Health::new();
//! let removal = Work::new(&disk, &health);
//! let store = Arc::new(Store { dir, health, removal, dead: Mutex::default() });
//!
//! store.give_up("old")?;
//! while store.removal.run_once(|| store.remove_one())? {} // under `Background::Inline`
//! assert_eq!(store.dir.dir().list()?.len(), 1); // the lock
//!
//! let shared = Arc::clone(&store);
//! let worker = store.removal.start("example", move || shared.remove_one()); // under `Threads`
//! drop(worker); // stops and joins the thread
//! # Ok::<(), Error>(())
//! ```

mod backup;
mod contents;
mod gate;
mod header;
mod health;
mod holes;
mod lost;
mod open;
mod options;
mod prefetch;
mod progress;
mod repair;
mod reserve;
mod signal;
mod text;
mod value;
mod worker;

pub use backup::{Backup, BackupOptions, BackupReport, Taken, open_empty_store, take_file};
pub use contents::Contents;
pub use gate::{SyncGate, Written};
pub use header::{BadHeader, Format, UnsupportedVersion};
pub use health::{Failure, Health, Poisoned};
pub use holes::{Hole, read_around};
pub use lost::LostKeys;
pub use open::{StoreDir, open_store};
pub use options::InvalidOption;
pub use prefetch::prefetch;
pub use progress::Progress;
pub use repair::{RepairOptions, Repaired, create_whole};
pub use reserve::Reserve;
pub use signal::Signal;
pub use text::{Chain, NoOutput, Shown, Text};
pub use value::{Lender, Value};
pub use worker::{NoThread, Step, Thread, Trouble, Work, Worker};
