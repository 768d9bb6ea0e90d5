//! The open store behind the handle: what is shared between callers and the background threads.
//!
//! Locks, in the order in which they may be taken: `merge`, `writer`, `manifest`, the turn of the gate,
//! then `files`, `reserve` or what is wanted of the background, then `view`, then those of the history,
//! then a shard of the index. The first four are held across I/O, and say why where they are taken.

mod background;
mod commit;
mod merge;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use durable_io::engine::{Health, Reserve, StoreDir, SyncGate, Work};
use durable_io::{Barrier, Dir, Disk, File, GroupCommit, Site, SyncMode};

use crate::batch::{Item, Op, Results};
use crate::data_file::{Counts, DataFile};
use crate::error::{Error, Result};
use crate::history::{History, Undo};
use crate::keydir::{Change, Files, Keydir, Noted, Old};
use crate::manifest::Manifest;
use crate::policy::MergePolicy;
use crate::record::Kind;
use crate::reserve::Frees;
use crate::stats::Stats;
use crate::writer::{Writer, Written};
use background::Tidying;
use merge::Merging;

/// What does not change while a store is open, and whether it is: every call reads that, so it is apart from
/// what is written often.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) data_file_size: u64,
    /// The active file is zeroed ahead, and mapped, in pieces of this size.
    pub(crate) window: u64,
    pub(crate) policy: MergePolicy,
    /// The background merges without being asked.
    pub(crate) auto_merge: bool,
    pub(crate) store_id: u64,
    pub(crate) is_closed: AtomicBool,
}

#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) disk: Disk,
    pub(crate) home: StoreDir,
    pub(crate) settings: Settings,
    pub(crate) health: Arc<Health>,
    pub(crate) gate: SyncGate,
    pub(crate) tidying: Tidying,
    pub(crate) keydir: Keydir,
    pub(crate) history: History,
    pub(crate) queue: GroupCommit<Item, Results>,
    pub(crate) merge: Mutex<Merging>,
    pub(crate) writer: Mutex<Writer>,
    pub(crate) manifest: Mutex<Manifest>,
    files: Mutex<Arc<Files>>,
    /// Files that merges removed and that somebody may still read, by the counts that each has, active and
    /// sealed; and their bytes.
    removed: Mutex<Vec<(Weak<Counts>, u64)>>,
    pub(crate) reserve: Mutex<Reserve>,
    view: Mutex<View>,
    /// The number of the file that was synced last, and how far it is durable. Only a sync that returned
    /// moves it.
    durable: Mutex<(u64, u64)>,
    pub(crate) counters: Counters,
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
}

/// How a record is published.
struct Publication {
    version: u64,
    newest_snapshot: Option<u64>,
    keeps_undo: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) groups: AtomicU64,
    pub(crate) rotations: AtomicU64,
    pub(crate) merges: AtomicU64,
    pub(crate) reclaimed: AtomicU64,
}

pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

/// What opening a store gives.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) disk: Disk,
    pub(crate) home: StoreDir,
    pub(crate) settings: Settings,
    pub(crate) sync_mode: SyncMode,
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
        };
        let health = Health::new();
        let disk = opened.disk;
        Self {
            home: opened.home,
            settings: opened.settings,
            // Opening made all of it durable.
            gate: SyncGate::new(opened.sync_mode, &disk, &health, 0),
            durable: Mutex::new((number, end)),
            tidying: Tidying::new(Work::new(&disk, &health)),
            keydir: opened.keydir,
            history: History::new(&health),
            queue: GroupCommit::new().gather(opened.gathers),
            merge: Mutex::default(),
            writer: Mutex::new(opened.writer),
            manifest: Mutex::new(opened.manifest),
            files: Mutex::new(opened.files),
            removed: Mutex::default(),
            reserve: Mutex::new(opened.reserve),
            view: Mutex::new(view),
            counters: Counters::default(),
            disk,
            health,
        }
    }

    pub(crate) fn dir(&self) -> &Dir {
        self.home.dir()
    }

    pub(crate) fn view(&self) -> MutexGuard<'_, View> {
        self.health.lock(&self.view)
    }

    /// [`Error::Closed`] when the store is closed, or about to be.
    pub(crate) fn check_open(&self) -> Result<()> {
        if self.settings.is_closed.load(Ordering::SeqCst) {
            return Err(Error::Closed);
        }
        Ok(())
    }

    /// [`Error::Closed`], or [`Error::Poisoned`] after a failure.
    pub(crate) fn check_healthy(&self) -> Result<()> {
        self.check_open()?;
        Ok(self.health.check()?)
    }

    /// Records the failure that ends this handle's writing; the first one stays.
    pub(crate) fn poison(&self, error: durable_io::Error) -> Error {
        Error::Disk(self.health.poison(error))
    }

    /// Like [`poison`](Store::poison), except for what changed nothing.
    pub(crate) fn note(&self, error: durable_io::Error) -> Error {
        Error::Disk(self.health.note(error))
    }

    /// After a failure, the version that readers get: what is durable, since the kernel may have dropped
    /// the rest.
    pub(crate) fn last_good(&self) -> Option<u64> {
        if !self.health.is_poisoned() {
            return None;
        }
        if self.history.last_good().is_none() {
            let view = self.view();
            let now = self.disk.now();
            self.history.go_back(view.version, now, &self.keydir);
        }
        self.history.last_good()
    }

    // ---- files

    pub(crate) fn files(&self) -> Arc<Files> {
        Arc::clone(&self.health.lock(&self.files))
    }

    /// Changes the table of files, for everybody.
    pub(crate) fn change_files<T>(&self, change: impl FnOnce(&mut Files) -> T) -> T {
        let mut files = self.health.lock(&self.files);
        let mut changed = Files::clone(&files);
        let result = change(&mut changed);
        *files = Arc::new(changed);
        self.keydir.set_files(&files);
        result
    }

    /// `file` is removed from the disk, whose space it takes as long as it is read.
    pub(crate) fn note_removed(&self, file: &Arc<DataFile>) {
        let mut removed = self.health.lock(&self.removed);
        removed.retain(|(file, _)| file.strong_count() > 0);
        removed.push((Arc::downgrade(&file.counts), file.end()));
    }

    /// Bytes of removed files that are still read.
    fn removed_bytes(&self) -> u64 {
        let removed = self.health.lock(&self.removed);
        let held = removed.iter().filter(|(file, _)| file.strong_count() > 0);
        held.map(|(_, bytes)| bytes).sum()
    }

    // ---- snapshots

    /// The version that readers see now; held until [`release`](Store::release).
    pub(crate) fn hold_version(&self) -> u64 {
        self.last_good();
        let view = self.view();
        self.history.hold(view.version, self.disk.now())
    }

    pub(crate) fn release(&self, version: u64) {
        self.history.release(version, &self.keydir);
    }

    // ---- publishing

    /// Shows readers the items that were written up to `written`, in their order.
    ///
    /// # Errors
    /// [`Error::Poisoned`], if they are not durable; nothing is shown. [`Error::Disk`] if what stands
    /// in their places cannot be read any more, which poisons the store.
    pub(crate) fn publish(&self, items: &[Item], written: &Written) -> Result<()> {
        let mut view = self.view();
        let is_durable = self.gate.position() >= written.writes;
        if !is_durable {
            // Also while it is being closed, which waits for what is written.
            self.health.check()?;
        }
        let newest_snapshot = self.history.newest_snapshot();
        let changes = self.keydir.change_count();
        for item in items.iter().filter(|item| item.is_written()) {
            for op in item.ops() {
                view.version += 1;
                let publication = Publication {
                    version: view.version,
                    newest_snapshot,
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
        if let Some(newest) = newest_snapshot {
            let noted = self.keydir.change_count().saturating_sub(changes);
            self.history.count_changes(newest, noted);
        }
        view.writes = written.writes;
        view.number = written.number;
        view.end = written.end;
        view.active = written.file.clone();
        drop(view);
        self.gate.acknowledged(written.writes);
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
            let noted = publication.newest_snapshot.map(|newest_snapshot| Noted {
                version,
                key,
                newest_snapshot,
                change: &change,
            });
            if self.keydir.replace(hash, old, new, noted) {
                if publication.keeps_undo {
                    let change = change();
                    self.history.keep(Undo {
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

    // ---- durability

    /// Where the active file is durable, for the header of the next group in file `number`.
    pub(crate) fn durable_end(&self, number: u64) -> Option<u64> {
        let (durable_number, end) = *self.health.lock(&self.durable);
        (durable_number == number).then_some(end)
    }

    /// Makes everything acknowledged so far durable.
    #[track_caller]
    pub(crate) fn sync(&self) -> Result<()> {
        let site = Site::new(std::panic::Location::caller(), Barrier::Data, "");
        self.sync_written(site, || {
            let view = self.view();
            Written {
                file: view.active.clone(),
                number: view.number,
                end: view.end,
                version: view.version,
                writes: view.writes,
                is_cleared: false,
            }
        })
    }

    /// Syncs what `capture` says was written, unless it is durable already, and moves the watermark.
    pub(crate) fn sync_written(&self, site: Site, capture: impl FnOnce() -> Written) -> Result<()> {
        // Durable, by the barrier in it: the groups up to what was captured. Only now may they be
        // acknowledged as durable, stated as such in later headers and in the manifest, or be followed by
        // another file.
        self.gate.sync_written(site, capture, |covered| {
            let mut durable = self.health.lock(&self.durable);
            *durable = (*durable).max((covered.number, covered.end));
            self.history.note_durable(covered.version);
        })
    }

    /// Replaces the manifest, durably.
    pub(crate) fn replace_manifest(
        &self,
        manifest: &mut Manifest,
        mut new: Manifest,
    ) -> Result<()> {
        new.generation = manifest.generation + 1;
        new.write(self.dir()).map_err(|error| self.note(error))?;
        *manifest = new;
        Ok(())
    }

    pub(crate) fn stats(&self) -> Stats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        let undo = self.history.unsynced_records() as u64;
        let writes = self.view().writes;
        let oldest = self.history.oldest_snapshot();
        let mut stats = Stats {
            oldest_snapshot: oldest.map(|(version, _)| version),
            oldest_snapshot_age: oldest.map(|(_, since)| self.disk.now().saturating_sub(since)),
            removed_bytes: self.removed_bytes(),
            keys: self.keydir.keys(),
            index_bytes: self.keydir.bytes(),
            change_bytes: self.keydir.change_bytes() + undo * crate::keydir::CHANGE_SIZE,
            writes,
            unsynced_writes: writes.saturating_sub(self.gate.writes()),
            groups: load(&counters.groups),
            syncs: self.gate.syncs(),
            rotations: load(&counters.rotations),
            merges: load(&counters.merges),
            reclaimed_bytes: load(&counters.reclaimed),
            background_failures: self.tidying.work.trouble().map_or(0, |it| it.attempts),
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
        self.end().saturating_sub(crate::record::FIRST_GROUP)
    }
}

impl Store {
    /// Does `work`; if the disk is full, again with more and more of the space that is held back, as
    /// far as what it `frees` allows.
    pub(crate) fn with_reserve<T>(
        &self,
        frees: Frees,
        mut work: impl FnMut() -> Result<T>,
    ) -> Result<T> {
        loop {
            match work() {
                Err(error) if error.is_no_space() => {
                    let released = frees.take_from(&mut self.health.lock(&self.reserve));
                    if !released.map_err(|error| self.note(error))? {
                        return Err(error);
                    }
                }
                other => return other,
            }
        }
    }
}
