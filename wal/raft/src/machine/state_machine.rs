//! [`StateMachine`]: the handle.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use durable_io::engine::{Health, StoreDir};
use durable_io::made_durable;

use super::applied::Applied;
use super::changes::{Changes, Open};
use super::names;
use super::opening::{Opened, open};
use super::options::Options;
use super::root::Root;
use crate::error::{Error, Result};
use crate::limits::{MAX_LEADER_SIZE, MAX_MEMBERSHIP_SIZE};
use crate::types::LogPoint;

/// An open state machine. Made by [`Options::open`].
///
/// `Send + Sync`, and cheap to clone: clones are the same. Dropping the last one syncs nothing: what was applied
/// last may be taken back by a power loss, and is applied again. A reader that lives on holds the store's lock.
#[derive(Clone, Debug)]
pub struct StateMachine {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) options: Options,
    pub(super) path: PathBuf,
    pub(super) dir: StoreDir,
    pub(super) health: Arc<Health>,
    is_closed: AtomicBool,
    /// What is built or installed goes one after the other. Taken before all other locks.
    pub(super) snapshots: Mutex<()>,
    /// The last entry that was applied, and the membership: entries are applied one after the other. Taken before
    /// `root`.
    pub(super) applied: Mutex<Applied>,
    /// Taken before `current`.
    pub(super) root: Mutex<Root>,
    /// The store that the root names.
    pub(super) current: Mutex<Arc<Open>>,
    /// The number of the next directory or file.
    next: AtomicU64,
    recovery: Recovery,
    pub(super) built: AtomicU64,
    pub(super) installed: AtomicU64,
}

/// What opening a state machine found and did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// True if there was none.
    pub created: bool,
    /// True if the store was older than the snapshot, or was not there, and the snapshot was installed.
    pub installed: bool,
    /// How many files and directories a crash had left, which are removed now.
    pub removed: u64,
}

/// What a state machine has done since it was opened, and how large it is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// The index of the last entry that was applied.
    pub applied: Option<u64>,
    /// That of the last entry in the snapshot, which is on stable storage.
    pub snapshot: Option<u64>,
    /// How often a snapshot has taken the place of another, over all time.
    pub generation: u64,
    /// How many snapshots were built.
    pub built: u64,
    /// How many snapshots of other nodes were installed.
    pub installed: u64,
    /// Those of the store.
    pub store: lsm::Stats,
}

impl StateMachine {
    pub(super) fn open(options: Options, path: &Path) -> Result<Self> {
        let Opened {
            dir,
            root,
            store,
            applied,
            next,
            recovery,
        } = open(&options, path)?;
        let inner = Arc::new(Inner {
            options,
            path: path.to_owned(),
            dir,
            health: Health::new(),
            is_closed: AtomicBool::new(false),
            snapshots: Mutex::new(()),
            applied: Mutex::new(applied),
            root: Mutex::new(root),
            current: Mutex::new(Arc::new(store)),
            next: AtomicU64::new(next),
            recovery,
            built: AtomicU64::new(0),
            installed: AtomicU64::new(0),
        });
        Ok(Self { inner })
    }

    pub(super) fn check(&self) -> Result<()> {
        self.check_open()?;
        Ok(self.inner.health.check()?)
    }

    /// For reads, which go on after a failure: the store that counted before it is whole.
    pub(super) fn check_open(&self) -> Result<()> {
        if self.inner.is_closed.load(Ordering::SeqCst) {
            return Err(Error::Closed);
        }
        Ok(())
    }

    /// The store that counts now.
    pub(super) fn current(&self) -> Arc<Open> {
        Arc::clone(&self.inner.health.lock(&self.inner.current))
    }

    /// A number that no directory and no file has.
    pub(super) fn next_number(&self) -> u64 {
        self.inner.next.fetch_add(1, Ordering::SeqCst)
    }

    /// Applies the entry at `point`: what `change` does, and that this was the last entry, in one atomic batch. A
    /// `membership` that comes with the entry becomes that of the store; its bytes are the caller's. What `change`
    /// returns is returned.
    ///
    /// Entries are applied in the order of their indexes; there may be gaps.
    ///
    /// # Durability
    /// None: nothing is synced. It is durable with the next snapshot, or [`sync`](StateMachine::sync).
    ///
    /// # Cost
    /// That of `change`, and one write to the page cache. Readers do not wait; other entries and installations do.
    ///
    /// # Errors
    /// What `change` returns. [`Error::Applied`] if this entry or a later one was applied before;
    /// [`Error::TooLarge`]: a leader above [`MAX_LEADER_SIZE`] bytes, a membership above
    /// [`MAX_MEMBERSHIP_SIZE`]. In all these cases nothing was written. [`Error::Poisoned`], [`Error::Closed`],
    /// [`Error::Disk`], [`Error::State`]: those of [`lsm::Lsm::write`].
    pub fn apply<T>(
        &self,
        point: &LogPoint,
        membership: Option<&[u8]>,
        change: impl FnOnce(&mut Changes<'_>) -> Result<T>,
    ) -> Result<T> {
        Error::unless_within("a leader", point.leader.len(), MAX_LEADER_SIZE)?;
        let size = membership.map_or(0, <[u8]>::len);
        Error::unless_within("a membership", size, MAX_MEMBERSHIP_SIZE)?;
        let mut applied = self.inner.health.lock(&self.inner.applied);
        self.check()?;
        if applied.index() >= Some(point.index)
            // After a failure the store shows less: then writing to it says why.
            && let Some(last) = self.applied()?.index().filter(|last| *last >= point.index)
        {
            let index = point.index;
            return Err(Error::Applied { index, last });
        }
        let open = self.current();
        let mut changes = Changes::new(&open);
        let answer = change(&mut changes)?;
        open.store.write(changes.finish(point, membership))?;
        applied.last = Some(point.clone());
        if let Some(membership) = membership {
            applied.membership = Some(membership.to_vec());
        }
        Ok(answer)
    }

    /// Up to where entries were applied, and the membership, as the store says that [`read`](StateMachine::read)
    /// shows: after a failure that is what is durable, and entries that were applied last may be missing.
    ///
    /// # Cost
    /// Two lookups.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::State`]; [`Error::Corrupt`] if it is damaged.
    pub fn applied(&self) -> Result<Applied> {
        self.check_open()?;
        let open = self.current();
        let path = self.inner.path.join(names::store(open.number));
        Applied::read(&open.store.snapshot()?.view(&open.own)?, &path)
    }

    /// The store as it is now, to read; its keyspace [`KEYSPACE`](super::KEYSPACE) is the state machine's. What an
    /// installation brings is not seen by it. Let it go soon: it keeps disk space.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::State`].
    pub fn read(&self) -> Result<lsm::Snapshot> {
        self.check_open()?;
        Ok(self.current().store.snapshot()?)
    }

    /// Makes everything that was applied durable.
    ///
    /// # Errors
    /// Those of [`lsm::Lsm::sync`]; [`Error::Poisoned`], [`Error::Closed`].
    pub fn sync(&self) -> Result<()> {
        self.check()?;
        let open = self.current();
        // Durable: everything that was applied. Only now may the log be purged of it.
        made_durable(|| open.store.sync())?;
        Ok(())
    }

    /// True if all entries up to `index` were applied and survive power loss from now on, or are in the snapshot:
    /// then the log may be purged up to there. Does not say so of what an installation that goes on will bring.
    ///
    /// # Cost
    /// A sync, if the snapshot does not have them. Waits for the switch of an installation.
    ///
    /// # Errors
    /// As [`sync`](StateMachine::sync).
    pub fn make_durable_up_to(&self, index: u64) -> Result<bool> {
        let stats = self.stats();
        if stats.snapshot >= Some(index) {
            return Ok(true);
        }
        if stats.applied < Some(index) {
            return Ok(false);
        }
        self.sync()?;
        Ok(true)
    }

    /// Reads and checks every byte of the store; applying goes on meanwhile.
    ///
    /// # Errors
    /// Those of [`lsm::Lsm::verify`]; [`Error::Closed`].
    pub fn verify(&self) -> Result<lsm::Verified> {
        self.check_open()?;
        Ok(self.current().store.verify()?)
    }

    #[cfg(feature = "openraft")]
    pub(crate) fn is_inline(&self) -> bool {
        self.inner.options.background == durable_io::Background::Inline
    }

    /// What opening it found and did.
    pub fn recovery(&self) -> Recovery {
        self.inner.recovery
    }

    /// What it has done since it was opened, and how large it is. Waits for an installation to end.
    pub fn stats(&self) -> Stats {
        let inner = &self.inner;
        let applied = inner.health.lock(&inner.applied).index();
        let (snapshot, generation) = {
            let root = inner.health.lock(&inner.root);
            let snapshot = root.snapshot.as_ref();
            (
                snapshot.and_then(|entry| entry.state.index()),
                root.generation,
            )
        };
        Stats {
            applied,
            snapshot,
            generation,
            built: inner.built.load(Ordering::Relaxed),
            installed: inner.installed.load(Ordering::Relaxed),
            store: self.current().store.stats(),
        }
    }

    /// Under [`Background::Inline`](crate::Background::Inline), runs one step of the store's background work and returns true, or returns false if
    /// there is none.
    ///
    /// # Errors
    /// Those of [`lsm::Lsm::run_background`]; [`Error::Poisoned`], [`Error::Closed`].
    pub fn run_background(&self) -> Result<bool> {
        self.check()?;
        Ok(self.current().store.run_background()?)
    }

    /// Makes everything durable, and releases the lock. Every later call of every clone is answered with
    /// [`Error::Closed`].
    ///
    /// # Errors
    /// Those of [`lsm::Lsm::close`]: the lock is released, and what was not durable may or may not survive.
    /// [`Error::Closed`]: it was closed before.
    pub fn close(&self) -> Result<()> {
        let inner = &self.inner;
        let _alone = inner.health.lock(&inner.snapshots);
        let _applied = inner.health.lock(&inner.applied);
        if inner.is_closed.swap(true, Ordering::SeqCst) {
            return Err(Error::Closed);
        }
        let closed = self.current().store.close();
        inner.dir.unlock();
        Ok(closed?)
    }
}
