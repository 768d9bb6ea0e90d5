//! The open store behind the handles: what is shared between callers and the background threads.
//!
//! Locks, in the order in which they may be taken: `flushing` or `compacting`, `manifest`, the gate,
//! `snapshots` or `removals`. The first three are held across I/O. Readers take none of these but `snapshots`, for a
//! moment; writers only pass the gate.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use arc_swap::ArcSwap;
use durable_io::engine::{Health, Reserve, StoreDir, Work};
use durable_io::{Background, Dir, Disk};
use sstable::BlockCache;
use wal::{Lsn, Wal};

use crate::names::log_path;
use crate::tree::DEFAULT_SLOT;

use crate::error::{Error, Result};
use crate::gate::Gate;
use crate::manifest::Manifest;
use crate::options::Options;
use crate::pinned::Pinned;
use crate::sequence::Sequence;
use crate::stats::Counters;
use crate::throttle::Throttle;
use crate::tree::Tree;

/// The keyspaces. Never changed: another one takes its place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Catalog {
    /// In the order of their slots.
    pub(crate) trees: Vec<Arc<Tree>>,
}

impl Catalog {
    /// The keyspace of `slot`.
    #[inline]
    pub(crate) fn find(&self, slot: u64) -> Result<&Arc<Tree>> {
        let at = self.trees.binary_search_by_key(&slot, |tree| tree.slot);
        at.ok()
            .and_then(|at| self.trees.get(at))
            .ok_or(Error::Dropped)
    }

    pub(crate) fn named(&self, name: &str) -> Option<&Arc<Tree>> {
        self.trees.iter().find(|tree| tree.name == name)
    }

    /// All names, in order.
    pub(crate) fn names(&self) -> Vec<String> {
        let names = self.trees.iter().map(|tree| tree.name.clone());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    /// True if `tree` is one of them, and not an earlier life of one.
    pub(crate) fn has(&self, tree: &Tree) -> bool {
        self.trees.iter().any(|other| other.id == tree.id)
    }
}

/// Tables that are to be removed.
#[derive(Debug, Default)]
struct Removals {
    /// How many backups take tables by their names.
    backups: usize,
    /// What is removed after them.
    waiting: Vec<u64>,
}

/// A slot that no other keyspace has, in whatever store.
pub(crate) fn new_slot() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(DEFAULT_SLOT + 1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Tables that are not compacted, because one of them is damaged; and the damage.
#[derive(Debug, Default)]
pub(crate) struct Aside {
    pub(crate) tables: BTreeSet<u64>,
    pub(crate) damage: Option<Error>,
}

#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) disk: Disk,
    pub(crate) path: PathBuf,
    dir: StoreDir,
    /// The directory of the tables.
    pub(crate) tables: Dir,
    pub(crate) options: Options,
    pub(crate) id: u64,
    pub(crate) health: Arc<Health>,
    pub(crate) log: Wal,
    pub(crate) manifest: Mutex<Manifest>,
    catalog: ArcSwap<Catalog>,
    pub(crate) gate: Gate,
    pub(crate) sequence: Sequence,
    /// After a failure: the last durable version, which is what readers get.
    last_good: OnceLock<u64>,
    /// The versions at which snapshots are open, and how many of each.
    snapshots: Mutex<BTreeMap<u64, usize>>,
    pub(crate) cache: BlockCache,
    pub(crate) next_table: AtomicU64,
    removals: Mutex<Removals>,
    /// One at a time flushes, and one compacts.
    pub(crate) flushing: Mutex<()>,
    pub(crate) compacting: Mutex<Aside>,
    pub(crate) flushes: Arc<Work>,
    pub(crate) compactions: Arc<Work>,
    pub(crate) throttle: Throttle,
    pub(crate) pinned: Pinned,
    pub(crate) reserve: Mutex<Reserve>,
    pub(crate) counters: Counters,
    is_closed: AtomicBool,
    /// Tables give no space back because of a snapshot: when the oldest one ends, it is looked again.
    pub(crate) waits_for_snapshot: AtomicBool,
}

/// What opening has found.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) path: PathBuf,
    pub(crate) dir: StoreDir,
    pub(crate) tables: Dir,
    pub(crate) options: Options,
    pub(crate) log: Wal,
    pub(crate) manifest: Manifest,
    pub(crate) catalog: Catalog,
    pub(crate) cache: BlockCache,
    pub(crate) next_table: u64,
}

impl Store {
    pub(crate) fn new(opened: Opened) -> Self {
        let disk = opened.options.disk.clone();
        // One for both: what poisons the log poisons the store, and the reverse.
        let health = Arc::clone(opened.log.health());
        Self {
            path: opened.path,
            tables: opened.tables,
            id: opened.manifest.root().store_id,
            // Everything in the log is durable, and about to be inserted.
            sequence: Sequence::new(opened.log.bounds().end.previous().0),
            log: opened.log,
            manifest: Mutex::new(opened.manifest),
            catalog: ArcSwap::from_pointee(opened.catalog),
            gate: Gate::default(),
            last_good: OnceLock::new(),
            snapshots: Mutex::default(),
            cache: opened.cache,
            next_table: AtomicU64::new(opened.next_table),
            removals: Mutex::default(),
            flushing: Mutex::default(),
            compacting: Mutex::default(),
            flushes: Work::new(&disk, &health),
            compactions: Work::new(&disk, &health),
            throttle: Throttle::new(&opened.options, &health),
            pinned: Pinned::default(),
            reserve: Mutex::new(Reserve::new(
                opened.dir.dir().clone(),
                crate::names::RESERVE,
                opened.options.reserve_size(),
            )),
            counters: Counters::default(),
            is_closed: AtomicBool::new(false),
            waits_for_snapshot: AtomicBool::new(false),
            options: opened.options,
            dir: opened.dir,
            health,
            disk,
        }
    }

    pub(crate) fn is_inline(&self) -> bool {
        self.options.background == Background::Inline
    }

    // ---- health

    /// Whether something may be written.
    pub(crate) fn check_healthy(&self) -> Result<()> {
        self.check_open()?;
        Ok(self.health.check()?)
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        if self.is_closed.load(Ordering::SeqCst) {
            return Err(Error::Closed);
        }
        Ok(())
    }

    /// True if this is the call that closed it.
    pub(crate) fn begin_close(&self) -> bool {
        !self.is_closed.swap(true, Ordering::SeqCst)
    }

    /// Lets another handle open the store: nothing may be written any more.
    pub(crate) fn unlock(&self) {
        self.dir.unlock();
    }

    /// Notes that a call failed, of the log, the manifest or a table: unless it changed nothing, that ends
    /// all writing, and those who wait are woken.
    pub(crate) fn note(&self, error: Error) -> Error {
        match error {
            Error::Disk(error) => Error::Disk(self.health.note(error)),
            Error::Poisoned(poisoned) => {
                self.health.poison(poisoned.clone());
                Error::Poisoned(poisoned)
            }
            other => other,
        }
    }

    // ---- what is visible

    /// The newest version that readers may see; after a failure, the last durable one: the kernel may
    /// have dropped what came later.
    #[inline]
    pub(crate) fn visible(&self) -> u64 {
        let visible = self.sequence.visible();
        if self.health.is_poisoned() {
            return visible.min(self.last_good());
        }
        visible
    }

    #[cold]
    fn last_good(&self) -> u64 {
        *self
            .last_good
            .get_or_init(|| self.log.stats().durable_lsn.0)
    }

    /// Whether a reader at `version` may go on.
    #[inline]
    pub(crate) fn check_readable(&self, version: u64) -> Result<()> {
        match self.health.check() {
            Err(poisoned) if version > self.last_good() => Err(poisoned.into()),
            _ => Ok(()),
        }
    }

    // ---- keyspaces and snapshots

    #[inline]
    pub(crate) fn catalog(&self) -> arc_swap::Guard<Arc<Catalog>> {
        self.catalog.load()
    }

    pub(crate) fn catalog_full(&self) -> Arc<Catalog> {
        self.catalog.load_full()
    }

    /// Puts another catalog in place. The gate is closed, so that whatever is written is in the one or in
    /// the other.
    pub(crate) fn set_catalog(&self, catalog: Catalog) {
        // So that a snapshot has a version and a catalog of one moment.
        let _snapshots = self.snapshots();
        self.catalog.store(Arc::new(catalog));
    }

    fn snapshots(&self) -> MutexGuard<'_, BTreeMap<u64, usize>> {
        self.health.lock(&self.snapshots)
    }

    /// What readers see now; held until [`release`](Store::release).
    pub(crate) fn hold(&self) -> (u64, Arc<Catalog>) {
        let mut snapshots = self.snapshots();
        let version = self.visible();
        *snapshots.entry(version).or_default() += 1;
        (version, self.catalog.load_full())
    }

    pub(crate) fn release(&self, version: u64) {
        let mut snapshots = self.snapshots();
        if let Some(count) = snapshots.get_mut(&version) {
            *count -= 1;
            if *count == 0 {
                let was_oldest = snapshots
                    .first_key_value()
                    .is_some_and(|(&oldest, _)| oldest == version);
                snapshots.remove(&version);
                drop(snapshots);
                if was_oldest && self.waits_for_snapshot.swap(false, Ordering::SeqCst) {
                    self.compactions.notify();
                }
            }
        }
    }

    /// The versions at which snapshots are open. Whoever merges tables keeps what they see; one that is
    /// taken later sees everything that is in tables by then.
    pub(crate) fn snapshot_versions(&self) -> Vec<u64> {
        self.snapshots().keys().copied().collect()
    }

    // ---- tables

    /// A number for a table that no other file has.
    pub(crate) fn new_table_number(&self) -> u64 {
        self.next_table.fetch_add(1, Ordering::Relaxed)
    }

    /// Removes tables that no durable edit names any more: at once, or when no backup needs their names. A
    /// reader that has one open keeps it.
    pub(crate) fn remove_tables(&self, numbers: impl IntoIterator<Item = u64>) {
        let mut removals = self.health.lock(&self.removals);
        if removals.backups > 0 {
            removals.waiting.extend(numbers);
            return;
        }
        drop(removals);
        for number in numbers {
            // No directory sync: the edit is durable, so a name that comes back is removed by the next
            // open. So is one that cannot be removed now.
            if self.tables.remove(&crate::names::table(number)).is_err() {
                self.counters.unremoved.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// From now on no table is removed. The caller has the manifest, and knows which tables there are.
    pub(crate) fn begin_keeping(&self) {
        self.health.lock(&self.removals).backups += 1;
    }

    /// Removes what was to be removed meanwhile, unless another backup goes on.
    pub(crate) fn end_keeping(&self) {
        let mut removals = self.health.lock(&self.removals);
        removals.backups -= 1;
        if removals.backups == 0 {
            let waiting = std::mem::take(&mut removals.waiting);
            drop(removals);
            self.remove_tables(waiting);
        }
    }

    /// Every record up to this one is in tables, or of a keyspace that is gone. `unflushed` says of each
    /// keyspace which version is the first that is not; `durable` is what the edit may imply.
    pub(crate) fn floor(&self, durable: Lsn, unflushed: impl Fn(&Tree) -> Option<u64>) -> Lsn {
        // First: what is visible now is in a memtable or in a table by the time that is looked at.
        let visible = self.sequence.visible().min(durable.0);
        let catalog = self.catalog();
        let firsts = catalog.trees.iter().filter_map(|tree| unflushed(tree));
        let first = firsts.min().map_or(u64::MAX, |first| first - 1);
        Lsn(visible.min(first))
    }

    /// Where the log is.
    pub(crate) fn log_path(&self) -> PathBuf {
        log_path(&self.path)
    }
}
