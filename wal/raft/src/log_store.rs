//! [`LogStore`]: the handle.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use durable_io::Background;
use durable_io::engine::Worker;

use crate::error::{Error, Result};
use crate::group::Group;
use crate::mover::start_mover;
use crate::recover::Recovered;
use crate::stats::{Recovery, Stats, Verified};
use crate::store::Store;
use crate::waiting::Caller;
use crate::write::Name;

/// An open store: the logs of any number of Raft groups. Made by [`Options::open`](crate::Options::open).
///
/// `Send + Sync`; every method takes `&self`. Share it in an [`Arc`].
///
/// # Drop
/// Dropping it joins its threads. It syncs nothing; callbacks that still wait get
/// [`Error::Closed`]. [`close`](LogStore::close) makes everything durable, and says whether that worked. A
/// [`Group`] that lives on holds the store's lock, unless the store was closed.
#[derive(Debug)]
pub struct LogStore {
    threads: Mutex<Option<Threads>>,
    background: Background,
    store: Arc<Store>,
    recovery: Recovery,
}

#[derive(Debug)]
struct Threads {
    _mover: Worker,
    _caller: Caller,
}

impl LogStore {
    pub(crate) fn start(recovered: Recovered, background: Background) -> Result<Self> {
        let store = Arc::new(recovered.store);
        let threads = match background {
            Background::Inline => None,
            Background::Threads => Some(Threads {
                _mover: start_mover(&store)?,
                _caller: Caller::start(&store)?,
            }),
        };
        Ok(Self {
            threads: Mutex::new(threads),
            background,
            store,
            recovery: recovered.recovery,
        })
    }

    /// Creates the group `id`: without a vote and without entries.
    ///
    /// # Durability
    /// When this returns, the group survives power loss.
    ///
    /// # Errors
    /// [`Error::GroupExists`]; [`Error::Disk`], with [`NoSpace`](durable_io::Error::NoSpace) if the disk is full:
    /// nothing was written; [`Error::Poisoned`], [`Error::Closed`].
    pub fn create(&self, id: u64) -> Result<Group> {
        let name = self.store.create(id)?;
        Ok(Group::new(&self.store, name))
    }

    /// The group `id`.
    ///
    /// # Errors
    /// [`Error::NoGroup`], [`Error::Closed`].
    pub fn group(&self, id: u64) -> Result<Group> {
        let state = self.store.view()?;
        let group = state.groups.get(&id).ok_or(Error::NoGroup { group: id })?;
        let incarnation = group.incarnation;
        let name = Name {
            group: id,
            incarnation,
        };
        Ok(Group::new(&self.store, name))
    }

    /// The ids of all groups, ascending.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn groups(&self) -> Result<Vec<u64>> {
        Ok(self.store.view()?.groups.keys().copied().collect())
    }

    /// Destroys the group `id`: its vote, its entries, and all else. A group that is created under this id later
    /// is another one, and handles of this one do not reach it.
    ///
    /// Works on a full disk, as far as [`Options::reserve`](crate::Options::reserve) reaches.
    ///
    /// # Durability
    /// When this returns, no crash brings it back.
    ///
    /// # Errors
    /// [`Error::NoGroup`], [`Error::Disk`], [`Error::Poisoned`], [`Error::Closed`].
    pub fn destroy(&self, id: u64) -> Result<()> {
        self.store.destroy(id)
    }

    /// Makes everything durable that was written before.
    ///
    /// # Errors
    /// [`Error::Disk`]: the store is poisoned. [`Error::Poisoned`], [`Error::Closed`].
    pub fn sync(&self) -> Result<()> {
        self.store.check()?;
        self.store.wait_until_durable(self.store.written())
    }

    /// Gives back all of the log's front that is due: what [`Background::Threads`] do by themselves.
    ///
    /// Works on a full disk, as far as [`Options::reserve`](crate::Options::reserve) reaches.
    ///
    /// # Cost
    /// Reads the front, and writes what of it still counts: less than what it gives back, over time.
    ///
    /// # Errors
    /// [`Error::Disk`], [`Error::Corrupt`], [`Error::Poisoned`], [`Error::Closed`].
    pub fn compact(&self) -> Result<()> {
        while self.store.move_start()? {}
        Ok(())
    }

    /// What opening the store found and did.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Reads and checks everything: each byte of the log, and each entry of each group as it is read by users.
    /// Writing continues meanwhile, giving back does not.
    ///
    /// # Errors
    /// [`Error::Disk`] if something cannot be read, [`Error::Closed`]. Damage is no error here: it is in
    /// [`Verified::damage`].
    pub fn verify(&self) -> Result<Verified> {
        self.store.verify()
    }

    /// What this handle has done since it was opened, and how large the store is. Cheap.
    pub fn stats(&self) -> Stats {
        self.store.stats()
    }

    /// Under [`Background::Inline`], runs one step of background work and returns true, or returns false if there
    /// is none. Under [`Background::Threads`], false.
    ///
    /// # Errors
    /// Whatever poisons the store. What failed and left it whole, such as for want of space, is
    /// [`Stats::trouble`], and is tried again after a while.
    pub fn run_background(&self) -> Result<bool> {
        if self.background == Background::Threads {
            return Ok(false);
        }
        self.store.run_one_step()
    }

    /// Makes everything durable, calls back whoever waits, states in the log that it is complete, so that any
    /// later loss will be noticed, joins the threads and releases the lock. Every later call is answered with
    /// [`Error::Closed`].
    ///
    /// # Errors
    /// [`Error::Disk`], [`Error::Poisoned`]: the store is closed, the lock is released, and what was not durable
    /// may or may not survive. [`Error::Closed`]: it was closed before.
    pub fn close(&self) -> Result<()> {
        if self.store.is_closed.swap(true, Ordering::SeqCst) {
            return Err(Error::Closed);
        }
        self.join();
        while self.store.answer_waiting() {}
        let closed = self.store.log.close();
        self.store.dir.unlock();
        Ok(closed?)
    }

    fn join(&self) {
        // Taken out first: a callback may close the store, and is in one of the threads.
        let threads = self.store.health().lock(&self.threads).take();
        drop(threads);
    }
}

impl Drop for LogStore {
    fn drop(&mut self) {
        if !self.store.is_closed.swap(true, Ordering::SeqCst) {
            self.join();
            self.store.dismiss_waiting();
            self.store.dir.unlock();
        }
    }
}
