//! [`Btree`]: the handle.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use durable_io::Background;
use durable_io::engine::{Trouble, Worker};

use crate::error::{Error, Result};
use crate::options::Options;
use crate::read_txn::ReadTxn;
use crate::recover::recover;
use crate::stats::{Backup, Recovery, Shrunk, Stats, Verified};
use crate::store::{Store, load};
use crate::write_txn::WriteTxn;

/// An open store. Made by [`Options::open`](crate::Options::open).
///
/// `Send + Sync`; every method takes `&self`. Share it in an [`Arc`].
///
/// # Drop
/// Dropping it joins its threads and releases the lock; it syncs nothing. [`close`](Btree::close) makes
/// everything durable, and says whether that worked.
#[derive(Debug)]
pub struct Btree {
    worker: Option<Worker>,
    store: Arc<Store>,
    recovery: Recovery,
}

impl Options {
    /// Opens the store in the directory `dir`; creates both if they are missing.
    ///
    /// # Durability
    /// When this returns, everything that it shows survives power loss, whatever the mode.
    ///
    /// # Cost
    /// Reads the meta slots, the list of free pages (8 bytes for each run of them), and the log since
    /// the last checkpoint, and applies it: never the whole store. Three syncs, and those of the log.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if something is lost or damaged, as far as opening looks: pages are checked
    /// when they are read, or by [`Btree::verify`]. [`Error::Disk`] with
    /// [`Locked`](durable_io::Error::Locked) if the store is open already, in any process.
    /// [`Error::UnsupportedVersion`], [`Error::InvalidOption`], [`Error::Disk`], [`Error::Log`],
    /// [`Error::NoThread`]. After an error the store can be opened again.
    pub fn open(self, dir: impl AsRef<Path>) -> Result<Btree> {
        self.check()?;
        let background = self.background;
        let (store, recovery) = recover(self, dir.as_ref())?;
        Btree::start(store, background, recovery)
    }
}

impl Btree {
    pub(crate) fn start(store: Store, background: Background, recovery: Recovery) -> Result<Self> {
        let store = Arc::new(store);
        let worker = match background {
            Background::Threads => Some(store.start()?),
            Background::Inline => None,
        };
        Ok(Self {
            worker,
            store,
            recovery,
        })
    }

    /// Begins to read: the last durable state in [`SyncMode::Always`](crate::SyncMode::Always), the last
    /// committed one in the other modes. After a failure, the last durable one.
    ///
    /// # Cost
    /// Some nanoseconds: no lock, no allocation. It never waits.
    #[inline]
    pub fn begin_read(&self) -> ReadTxn {
        ReadTxn::new(self.store.snapshot())
    }

    /// Begins a write transaction; waits until no other one is open.
    ///
    /// # Errors
    /// [`Error::StillOpen`] if this thread has begun the one that is open, wherever that is now: it would
    /// wait for itself. [`Error::Poisoned`].
    pub fn begin_write(&self) -> Result<WriteTxn<'_>> {
        Ok(WriteTxn::new(&self.store, self.store.begin(None)?))
    }

    /// As [`begin_write`](Btree::begin_write), but waits no longer than `timeout`, whoever has begun the one
    /// that is open.
    ///
    /// # Errors
    /// [`Error::Busy`] if the time is over; [`Error::Poisoned`].
    pub fn try_begin_write(&self, timeout: Duration) -> Result<WriteTxn<'_>> {
        Ok(WriteTxn::new(&self.store, self.store.begin(Some(timeout))?))
    }

    /// Makes everything committed so far durable.
    ///
    /// # Errors
    /// [`Error::Log`]: the store is poisoned; what was not durable may or may not survive.
    /// [`Error::Poisoned`].
    pub fn sync(&self) -> Result<()> {
        self.store.make_all_durable()
    }

    /// Writes everything committed so far to the page file, and gives up the records of the log that
    /// hold it. This is done in the background when it is due.
    ///
    /// Waits until no write transaction is open, and then goes on beside others.
    ///
    /// # Cost
    /// Writes the pages that have changed since the last checkpoint, and 8 bytes for each run of free
    /// pages. Four syncs, and those of the log.
    ///
    /// # Errors
    /// [`is_no_space`](Error::is_no_space): nothing was changed. [`Error::StillOpen`], as
    /// [`begin_write`](Btree::begin_write): nothing was changed, but what an earlier checkpoint had left
    /// unfinished. Any other: the store is poisoned.
    pub fn checkpoint(&self) -> Result<()> {
        self.store.checkpoint()
    }

    /// Makes the page file shorter, beside readers and writers: fills leaves, moves pages from the file's end
    /// to free places, writes a checkpoint, and cuts off what is free at the end then. About `budget` bytes
    /// of pages are written at most; the next call goes on where this one ended.
    ///
    /// Pages that open readers need stay where they are: what lies before the last one of them stays, too.
    /// Nothing that anybody reads changes. A power loss takes back at most the work.
    ///
    /// # Cost
    /// Together, the calls until [`Shrunk::is_done`] read every page three times, and write about as many as
    /// the file is too long, and the leaves that have room for an eighth more. A write transaction waits for
    /// some 16 pages at most. Each call writes at least one [`checkpoint`](Btree::checkpoint).
    ///
    /// # Errors
    /// As [`checkpoint`](Btree::checkpoint), and [`Error::Corrupt`] if a page is damaged. Works on a full disk,
    /// within [`Options::reserve`](crate::Options::reserve); with less, [`is_no_space`](Error::is_no_space).
    pub fn shrink(&self, budget: u64) -> Result<Shrunk> {
        self.store.shrink(budget)
    }

    /// Makes the page file as short as it can be: [`shrink`](Btree::shrink) without a budget, from the
    /// beginning. Entries that are put then split leaves at first.
    ///
    /// # Errors
    /// As [`shrink`](Btree::shrink).
    pub fn compact(&self) -> Result<Shrunk> {
        self.store.compact()
    }

    /// Makes a backup of the store, as it is at one moment during this call, in the directory `dir` on the same
    /// [disk](crate::Options::disk), which is created with its parents and must be empty. The backup is a store like
    /// any other: [`open_read_only`](crate::Options::open_read_only) reads it, [`open`](crate::Options::open) goes on
    /// with it. It holds everything that was committed before the call, in every mode. Reads and commits go on
    /// meanwhile; it waits for no write transaction.
    ///
    /// Every page is checked and copied, one behind the other: what is free in the store takes no space in the backup.
    /// Nothing is shared with the store, since pages are written in place.
    ///
    /// # Durability
    /// When this returns, the backup survives power loss, also if the store's own directory is lost. A crash before
    /// that leaves a directory that is no store: it is empty, or opening it is [`Error::Corrupt`] with
    /// [`PagesLost`](crate::Corruption::PagesLost). It can be removed.
    ///
    /// # Cost
    /// Reads every page of the state that is not in memory, keeps none of them there, and writes it once; some
    /// syncs. As an open reader, it holds the pages of its state meanwhile.
    ///
    /// # Errors
    /// [`Error::Disk`] with [`Locked`](durable_io::Error::Locked) if `dir` is this store or another one that is open;
    /// also if it is not empty (`DirectoryNotEmpty`), or if the disk is full
    /// ([`is_no_space`](Error::is_no_space)): of a backup that was begun, a directory is left that is no store.
    /// [`Error::Corrupt`] if a page is damaged. [`Error::Log`], [`Error::Poisoned`] as [`sync`](Btree::sync). None of
    /// the others changes this store.
    pub fn backup(&self, dir: impl AsRef<Path>) -> Result<Backup> {
        self.store.backup(dir.as_ref())
    }

    /// What opening the store found and did.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Reads and checks everything: every page of every table, that each page of the file has exactly one
    /// owner, both meta slots and the log. Waits until no write transaction is open to begin; reads and
    /// commits go on meanwhile.
    ///
    /// # Errors
    /// [`Error::Corrupt`] or [`Error::Log`] for the first damage; [`Error::Disk`], [`Error::Poisoned`];
    /// [`Error::StillOpen`], as [`begin_write`](Btree::begin_write). Nothing is changed.
    pub fn verify(&self) -> Result<Verified> {
        self.store.verify()
    }

    /// What this handle has done since it was opened, and how large the store is. Cheap; of what belongs to
    /// the free space, nothing is told while a write transaction is open.
    pub fn stats(&self) -> Stats {
        let store = &self.store;
        let counters = &store.counters;
        let log = store.log.stats();
        let mut stats = Stats {
            commits: load(&counters.commits),
            large_commits: load(&counters.large_commits),
            checkpoints: load(&counters.checkpoints),
            pages_written: load(&counters.pages_written),
            pages_moved: load(&counters.pages_moved),
            leases_ended: load(&counters.leases_ended),
            pages_read: load(&store.pager.reads),
            log_bytes: store.pending_log_bytes(),
            unsynced_commits: log.last_lsn.0 - log.durable_lsn.0,
            log_disk_bytes: log.disk_bytes,
            log_syncs: log.sync_count,
            page_size: store.pager.page_size as u64,
            cached_pages: store.pager.resident() as u64,
            ..Stats::default()
        };
        store.add_space(&mut stats);
        stats
    }

    /// Why the last attempt to write a checkpoint in the background failed, if it did; it is tried again.
    pub fn trouble(&self) -> Option<Trouble> {
        self.store.trouble()
    }

    /// Under [`Background::Inline`], runs one step of queued background work and returns true, or
    /// returns false if none is queued, or if it would wait for a write transaction of this thread. Under
    /// [`Background::Threads`], false.
    ///
    /// # Errors
    /// As [`checkpoint`](Btree::checkpoint), but a full disk is no error here.
    pub fn run_background(&self) -> Result<bool> {
        if self.worker.is_some() {
            return Ok(false);
        }
        self.store.pager.health.check()?;
        self.store.run_one_step()
    }

    /// Makes everything durable, writes a checkpoint if there is space, joins the threads and releases
    /// the lock.
    ///
    /// # Errors
    /// [`Error::Log`], [`Error::Disk`], [`Error::Poisoned`]: the handle is gone, the lock is released,
    /// and what was not durable may or may not survive. [`Error::StillOpen`] if a write transaction was
    /// leaked: everything committed is durable, and there is no checkpoint.
    pub fn close(mut self) -> Result<()> {
        // Joined first: nothing is written behind the last sync.
        self.worker = None;
        self.store.make_all_durable()?;
        // None can be open, since each borrows the handle; one that was leaked never ends.
        if self.store.turn.peek(|_| ()).is_none() {
            return Err(Error::StillOpen);
        }
        match self.store.checkpoint() {
            // All of it is durable in the log.
            Err(error) if error.is_no_space() => Ok(()),
            other => other,
        }
    }
}

impl Drop for Btree {
    fn drop(&mut self) {
        self.worker = None;
        // Only now: nothing is written any more.
        self.store.unlock();
    }
}
