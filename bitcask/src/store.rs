//! The open store behind the handle: what is shared between callers and the background threads.
//!
//! Locks, in the order in which they may be taken: `merge`, `writer`, `manifest`, `sync_turn`, then
//! `files`, `reserve` or that of the bell, then `view`, then `undo` or `snapshots`, then a shard of
//! the index. The first four are held across I/O, and say why where they are taken.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use durable_io::{Barrier, Dir, Disk, File, GroupCommit, Lock, Site, SyncMode, Synced};

use crate::background::Bell;
use crate::batch::{Item, Op};
use crate::data_file::DataFile;
use crate::error::{Error, Result};
use crate::keydir::{Change, Files, Found, Keydir, Old};
use crate::manifest::Manifest;
use crate::merge::Merging;
use crate::policy::MergePolicy;
use crate::record::Kind;
use crate::reserve::Reserve;
use crate::stats::Stats;
use crate::writer::Writer;

/// The results of one commit, one per item: whether it was done, or its expectation was not met.
pub(crate) type Results = Arc<[Result<bool>]>;

/// What does not change while a store is open.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) sync_mode: SyncMode,
    pub(crate) data_file_size: u64,
    /// The active file is zeroed ahead, and mapped, in pieces of this size.
    pub(crate) window: u64,
    pub(crate) policy: MergePolicy,
    /// The background merges without being asked.
    pub(crate) auto_merge: bool,
    pub(crate) store_id: u64,
}

#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) disk: Disk,
    pub(crate) dir: Dir,
    pub(crate) settings: Settings,
    pub(crate) keydir: Keydir,
    pub(crate) queue: GroupCommit<Item, Results>,
    pub(crate) merge: Mutex<Merging>,
    pub(crate) writer: Mutex<Writer>,
    pub(crate) manifest: Mutex<Manifest>,
    sync_turn: Mutex<()>,
    files: Mutex<Arc<Files>>,
    pub(crate) reserve: Mutex<Reserve>,
    view: Mutex<View>,
    durable: Durable,
    /// Changes that are published and not durable, oldest first: with them, what was durable can be
    /// shown after a failure.
    undo: Mutex<VecDeque<Undo>>,
    /// The versions at which snapshots are open, and how many of each.
    snapshots: Mutex<BTreeMap<u64, usize>>,
    pub(crate) bell: Bell,
    pub(crate) counters: Counters,
    poison: OnceLock<Arc<durable_io::Error>>,
    /// After a failure: the last durable version, which is what readers get.
    last_good: OnceLock<u64>,
    lock: Mutex<Option<Lock>>,
}

/// What readers may see. Held while a group is published, so that nobody takes a snapshot of a part.
#[derive(Debug)]
pub(crate) struct View {
    /// Counts published records.
    pub(crate) version: u64,
    /// What is published is in this file, or in sealed ones.
    active: File,
    number: u64,
    end: u64,
    /// Acknowledged writes of this handle.
    writes: u64,
    /// When the oldest write was acknowledged that no sync has begun to cover; only in
    /// [`SyncMode::Batch`].
    waiting_since: Option<Duration>,
}

/// What had been written when a sync was about to begin: captured before the call, because what is
/// written while it runs is not covered.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) file: File,
    pub(crate) number: u64,
    pub(crate) end: u64,
    /// The last version published by then.
    pub(crate) version: u64,
    /// Writes by then, acknowledged or about to be.
    pub(crate) writes: u64,
}

/// How far the active file, and with it the store, is durable. Only a sync that returned moves it.
#[derive(Debug, Default)]
struct Durable {
    position: Mutex<(u64, u64)>,
    writes: AtomicU64,
}

impl Durable {
    /// On the proof that a sync of its file returned.
    fn advance(&self, written: &Written, proof: Synced) {
        drop(proof);
        let mut position = lock(&self.position);
        *position = (*position).max((written.number, written.end));
        self.writes.fetch_max(written.writes, Ordering::SeqCst);
    }
}

/// How a record is published.
struct Publication {
    version: u64,
    has_snapshots: bool,
    keeps_undo: bool,
}

#[derive(Debug)]
struct Undo {
    hash: u64,
    version: u64,
    change: Change,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) groups: AtomicU64,
    pub(crate) syncs: AtomicU64,
    pub(crate) rotations: AtomicU64,
    pub(crate) merges: AtomicU64,
    pub(crate) reclaimed: AtomicU64,
}

pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

/// Takes a lock. No invariant spans a panic: the code under these locks does not panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What opening a store gives.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) disk: Disk,
    pub(crate) dir: Dir,
    pub(crate) lock: Option<Lock>,
    pub(crate) settings: Settings,
    pub(crate) gathers: bool,
    pub(crate) keydir: Keydir,
    pub(crate) manifest: Manifest,
    pub(crate) files: Arc<Files>,
    pub(crate) writer: Writer,
    pub(crate) reserve: Reserve,
}

impl Store {
    pub(crate) fn new(opened: Opened) -> Self {
        let (number, end) = opened.writer.position();
        let view = View {
            version: 0,
            active: opened.writer.file().clone(),
            number,
            end,
            writes: 0,
            waiting_since: None,
        };
        Self {
            disk: opened.disk,
            dir: opened.dir,
            settings: opened.settings,
            keydir: opened.keydir,
            queue: GroupCommit::new().gather(opened.gathers),
            merge: Mutex::default(),
            writer: Mutex::new(opened.writer),
            manifest: Mutex::new(opened.manifest),
            sync_turn: Mutex::new(()),
            files: Mutex::new(opened.files),
            reserve: Mutex::new(opened.reserve),
            view: Mutex::new(view),
            // Opening made all of it durable.
            durable: Durable {
                position: Mutex::new((number, end)),
                writes: AtomicU64::new(0),
            },
            undo: Mutex::default(),
            snapshots: Mutex::default(),
            bell: Bell::default(),
            counters: Counters::default(),
            poison: OnceLock::new(),
            last_good: OnceLock::new(),
            lock: Mutex::new(opened.lock),
        }
    }

    /// Lets another handle open the store: nothing may be written any more.
    pub(crate) fn unlock(&self) {
        *lock(&self.lock) = None;
    }

    pub(crate) fn view(&self) -> MutexGuard<'_, View> {
        lock(&self.view)
    }

    /// [`Error::Poisoned`] after a failure.
    pub(crate) fn check_healthy(&self) -> Result<()> {
        match self.poison.get() {
            Some(source) => Err(Error::Poisoned {
                source: Arc::clone(source),
            }),
            None => Ok(()),
        }
    }

    pub(crate) fn is_poisoned(&self) -> bool {
        self.poison.get().is_some()
    }

    /// Records the failure that ends this handle's writing; the first one stays. From then on readers
    /// get what is durable: the kernel may have dropped the rest.
    pub(crate) fn poison(&self, error: durable_io::Error) -> Error {
        self.poison.get_or_init(|| Arc::new(error.clone()));
        let view = self.view();
        let mut undo = lock(&self.undo);
        if self.last_good.get().is_none() {
            let oldest = undo.front().map_or(view.version, |undo| undo.version - 1);
            for Undo {
                hash,
                version,
                change,
            } in undo.drain(..)
            {
                self.keydir.note(hash, version, change);
            }
            // The changes are kept for it as long as the store is open.
            *lock(&self.snapshots).entry(oldest).or_default() += 1;
            self.last_good.get_or_init(|| oldest);
        }
        Error::Disk(error)
    }

    /// Like [`poison`](Store::poison), except for a full disk, which changes nothing.
    pub(crate) fn poison_unless_full(&self, error: durable_io::Error) -> Error {
        if matches!(error, durable_io::Error::NoSpace { .. }) {
            return Error::Disk(error);
        }
        self.poison(error)
    }

    // ---- files

    pub(crate) fn files(&self) -> Arc<Files> {
        Arc::clone(&lock(&self.files))
    }

    /// Changes the table of files, for everybody.
    pub(crate) fn change_files<T>(&self, change: impl FnOnce(&mut Files) -> T) -> T {
        let mut files = lock(&self.files);
        let mut changed = Files::clone(&files);
        let result = change(&mut changed);
        *files = Arc::new(changed);
        self.keydir.set_files(&files);
        result
    }

    // ---- reading

    /// The record of `key`.
    pub(crate) fn find(&self, key: &[u8]) -> Result<Option<Found>> {
        let hash = self.keydir.hasher.hash(key);
        if let Some(&version) = self.last_good.get() {
            return self.find_at(hash, key, version);
        }
        let found = self.keydir.spots(hash).find(key);
        match (&found, self.last_good.get()) {
            // The failure came in between, and the kernel has dropped what was found.
            (Err(Error::Corrupt { .. }), Some(&version)) => self.find_at(hash, key, version),
            _ => found,
        }
    }

    /// The record that `key` had at `version`.
    pub(crate) fn find_at(&self, hash: u64, key: &[u8], version: u64) -> Result<Option<Found>> {
        let (changes, spots) = self.keydir.at_version(hash, version);
        for change in changes {
            // The first change of the key after that version says what was before.
            if *change.key == *key {
                return change.old.map_or(Ok(None), |spot| spot.read(key));
            }
        }
        spots.find(key)
    }

    // ---- snapshots

    /// The version that readers see now; held until [`release`](Store::release).
    pub(crate) fn hold_version(&self) -> u64 {
        let view = self.view();
        let version = self.last_good.get().copied().unwrap_or(view.version);
        *lock(&self.snapshots).entry(version).or_default() += 1;
        version
    }

    pub(crate) fn release(&self, version: u64) {
        let mut snapshots = lock(&self.snapshots);
        if let Some(count) = snapshots.get_mut(&version) {
            *count -= 1;
            if *count == 0 {
                snapshots.remove(&version);
            }
        }
        let oldest = snapshots.keys().next().copied();
        // Under the lock, so that no snapshot of an older version comes in between.
        if oldest.is_none_or(|oldest| oldest > version) {
            self.keydir.forget(oldest.unwrap_or(u64::MAX));
        }
    }

    // ---- publishing

    /// Shows readers the items that were written up to `written`, in their order.
    ///
    /// # Errors
    /// [`Error::Poisoned`], if they are not durable; nothing is shown. [`Error::Disk`] if what stands
    /// in their places cannot be read any more, which poisons the store.
    pub(crate) fn publish(&self, items: &[Item], written: &Written) -> Result<()> {
        let mut view = self.view();
        let is_durable = *lock(&self.durable.position) >= (written.number, written.end);
        if !is_durable {
            self.check_healthy()?;
        }
        let has_snapshots = !lock(&self.snapshots).is_empty();
        for item in items.iter().filter(|item| item.is_written()) {
            for op in item.ops() {
                view.version += 1;
                let publication = Publication {
                    version: view.version,
                    has_snapshots,
                    keeps_undo: !is_durable,
                };
                let published = self.publish_one(item, op, &publication);
                if let Err(error) = published {
                    drop(view);
                    return Err(match error {
                        Error::Disk(error) => self.poison(error),
                        other => other,
                    });
                }
            }
        }
        view.writes = written.writes;
        view.number = written.number;
        view.end = written.end;
        view.active = written.file.clone();
        let mut begins_to_wait = false;
        if is_durable {
            view.waiting_since = None;
        } else if matches!(self.settings.sync_mode, SyncMode::Batch { .. })
            && view.waiting_since.is_none()
        {
            view.waiting_since = Some(self.disk.now());
            begins_to_wait = true;
        }
        drop(view);
        if begins_to_wait {
            self.bell.ring_for_sync();
        }
        Ok(())
    }

    /// Points the index to the record of `op`.
    fn publish_one(&self, item: &Item, op: &Op, publication: &Publication) -> Result<()> {
        let (hash, version) = (op.hash, publication.version);
        let Some(spot) = item.spot(op) else {
            return Ok(());
        };
        let key = item.key(op);
        let new = (op.kind == Kind::Put).then(|| spot.loc());
        let mut superseded = op.superseded.clone();
        let mut is_compared = false;
        loop {
            let old = match &superseded {
                Some(superseded) => Old::At(superseded.spot.loc()),
                None if is_compared => Old::Absent,
                None => Old::Unknown,
            };
            let change = || Change {
                old: superseded.as_ref().map(|old| old.spot.clone()),
                new: new.map(|_| (spot.file.id, spot.offset)),
                key: key.into(),
            };
            let noted = publication.has_snapshots.then(|| (version, change()));
            if self.keydir.replace(hash, old, new, noted) {
                if publication.keeps_undo {
                    let change = change();
                    lock(&self.undo).push_back(Undo {
                        hash,
                        version,
                        change,
                    });
                }
                break;
            }
            // A merge has moved it, or the same commit has changed the key before.
            superseded = self.superseded(hash, key)?;
            is_compared = true;
        }
        if let Some(superseded) = superseded {
            add(&superseded.spot.file.counts.dead, superseded.size);
        }
        if op.kind == Kind::Delete {
            add(&spot.file.counts.tombstones, Item::tombstone_size(op));
        }
        Ok(())
    }

    /// Records that are published and not durable.
    pub(crate) fn unsynced_records(&self) -> usize {
        lock(&self.undo).len()
    }

    // ---- durability

    /// Where the active file is durable, for the header of the next group in file `number`.
    pub(crate) fn durable_end(&self, number: u64) -> Option<u64> {
        let (durable_number, end) = *lock(&self.durable.position);
        (durable_number == number).then_some(end)
    }

    pub(crate) fn durable_writes(&self) -> u64 {
        self.durable.writes.load(Ordering::SeqCst)
    }

    /// Makes everything acknowledged so far durable.
    #[track_caller]
    pub(crate) fn sync(&self) -> Result<()> {
        let site = Site::new(std::panic::Location::caller(), Barrier::Data, "");
        self.sync_written(site, || {
            let mut view = self.view();
            // What is acknowledged from now on waits for the next sync.
            view.waiting_since = None;
            Written {
                file: view.active.clone(),
                number: view.number,
                end: view.end,
                version: view.version,
                writes: view.writes,
            }
        })
    }

    /// Syncs what `capture` says was written, unless it is durable already, and moves the watermark.
    pub(crate) fn sync_written(&self, site: Site, capture: impl FnOnce() -> Written) -> Result<()> {
        // Held across the sync: a failed one is told to one caller only, so nobody may be in another
        // one that would then succeed without the pages.
        let _turn = lock(&self.sync_turn);
        self.check_healthy()?;
        let written = capture();
        if *lock(&self.durable.position) >= (written.number, written.end) {
            return Ok(());
        }
        add(&self.counters.syncs, 1);
        // Durable: the groups up to `written`. Only now may they be acknowledged as durable, stated
        // as such in later headers and in the manifest, or be followed by another file.
        match written.file.sync_data_at(site) {
            Ok(proof) => self.durable.advance(&written, proof),
            Err(error) => return Err(self.poison(error)),
        }
        let mut undo = lock(&self.undo);
        while undo
            .front()
            .is_some_and(|undo| undo.version <= written.version)
        {
            undo.pop_front();
        }
        if undo.is_empty() {
            undo.shrink_to(64);
        }
        Ok(())
    }

    /// How long until the interval of [`SyncMode::Batch`] is over; `None` if nothing waits for it.
    pub(crate) fn sync_due_in(&self) -> Option<Duration> {
        let SyncMode::Batch { interval, .. } = self.settings.sync_mode else {
            return None;
        };
        let since = self.view().waiting_since?;
        let due = since.saturating_add(interval);
        Some(due.saturating_sub(self.disk.now()))
    }

    /// Makes everything durable and says so in the manifest.
    pub(crate) fn seal(&self) -> Result<()> {
        // Held across I/O: nothing may be written between the sync and the manifest.
        let writer = lock(&self.writer);
        self.check_healthy()?;
        // Durable: everything. Only now may the manifest state it as its witness.
        self.sync()?;
        let (number, end) = writer.position();
        // Held across I/O: manifests are written one at a time.
        let mut manifest = lock(&self.manifest);
        let mut sealed = manifest.clone();
        match sealed.files.last_mut() {
            Some(active) if active.number == number && active.end != end => active.end = end,
            _ => return Ok(()),
        }
        match self.replace_manifest(&mut manifest, sealed) {
            // A full disk: all is durable, only the witness is older.
            Err(error) if error.is_no_space() => Ok(()),
            other => other,
        }
    }

    /// Replaces the manifest, durably.
    pub(crate) fn replace_manifest(&self, manifest: &mut Manifest, new: Manifest) -> Result<()> {
        new.write(&self.dir)
            .map_err(|error| self.poison_unless_full(error))?;
        *manifest = new;
        Ok(())
    }

    pub(crate) fn stats(&self) -> Stats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        let undo = self.unsynced_records() as u64;
        let writes = self.view().writes;
        let mut stats = Stats {
            keys: self.keydir.keys(),
            index_bytes: self.keydir.bytes(),
            change_bytes: self.keydir.change_bytes() + undo * crate::keydir::CHANGE_SIZE,
            writes,
            unsynced_writes: writes.saturating_sub(self.durable_writes()),
            groups: load(&counters.groups),
            syncs: load(&counters.syncs),
            rotations: load(&counters.rotations),
            merges: load(&counters.merges),
            reclaimed_bytes: load(&counters.reclaimed),
            ..Stats::default()
        };
        for file in self.files().in_order() {
            stats.data_files += 1;
            stats.data_bytes += file.group_bytes();
            stats.dead_bytes += load(&file.counts.dead);
            stats.tombstone_bytes += load(&file.counts.tombstones);
        }
        stats
    }
}

impl DataFile {
    /// Bytes of its groups.
    pub(crate) fn group_bytes(&self) -> u64 {
        self.end().saturating_sub(crate::data_file::FIRST_GROUP)
    }
}
