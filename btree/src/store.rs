//! [`Store`]: the open store behind the handle.
//!
//! Locks, in the order in which they may be taken: the turn to write (held by a write transaction, as
//! long as its user likes), `checkpoints` (held across I/O), `publishing`. None of them is needed to
//! read, unless the store is poisoned.

mod background;
pub(crate) mod checkpoint;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use durable_io::engine::{StoreDir, Work as Jobs};
use durable_io::{Disk, GroupCommit, SyncMode};
use wal::{Lsn, Wal};

use crate::error::{Error, Result};
use crate::pager::Pager;
use crate::root::Root;
use crate::space::Space;
use crate::stats::Stats;
use crate::turn::{Turn, Writer};
use crate::work::Work;
use background::Background;
use checkpoint::Checkpoints;

/// What does not change while a store is open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) sync: SyncMode,
    /// So long a reader may hold pages that nobody else needs.
    pub(crate) reader_lease: Option<Duration>,
    /// A transaction with more bytes of changes is committed by a checkpoint.
    pub(crate) large: usize,
    /// A checkpoint is due when the log holds so many bytes more than the last one.
    pub(crate) log_bytes: u64,
    /// A checkpoint is due when so many pages are dirty; a transaction keeps half as many in memory.
    pub(crate) dirty_pages: usize,
}

#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) disk: Disk,
    pub(crate) settings: Settings,
    pub(crate) pager: Arc<Pager>,
    pub(crate) log: Wal,
    pub(crate) turn: Turn,
    pub(crate) checkpoints: Mutex<Checkpoints>,
    /// The last committed state.
    committed: Mutex<Arc<Root>>,
    /// What new readers see. A change of it costs more with each thread that reads, which a lock does not.
    published: ArcSwap<Root>,
    publishing: Mutex<Publishing>,
    /// Commits that wait for the log share its syncs.
    syncs: GroupCommit<(), Result<()>>,
    /// Versions whose lease does not end, since the store itself reads them: some more than once.
    kept: Mutex<Vec<u64>>,
    /// Of the meta slots, when both were durable.
    pub(crate) generation: AtomicU64,
    pub(crate) background: Background,
    pub(crate) counters: Counters,
    dir: StoreDir,
}

/// A state that the store reads itself.
#[derive(Debug)]
pub(crate) struct Kept<'a> {
    store: &'a Store,
    version: u64,
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        let mut kept = self.store.lock(&self.store.kept);
        let at = kept.iter().position(|version| *version == self.version);
        kept.swap_remove(at.expect("it is there until now"));
    }
}

#[derive(Debug)]
struct Publishing {
    /// The last state that is durable.
    durable: Arc<Root>,
    /// In `Batch`: a state that is to be the next durable one, when the log says so.
    next: Option<Arc<Root>>,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) commits: AtomicU64,
    pub(crate) large_commits: AtomicU64,
    pub(crate) checkpoints: AtomicU64,
    pub(crate) pages_written: AtomicU64,
    /// To make the file shorter.
    pub(crate) pages_moved: AtomicU64,
    /// Bytes of records, since the store was opened and with those it found.
    pub(crate) logged: AtomicU64,
    /// States that were given up under their readers.
    pub(crate) leases_ended: AtomicU64,
    /// How many of them the last checkpoint made needless.
    pub(crate) checkpointed: AtomicU64,
}

pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

pub(crate) fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// What opening gives.
pub(crate) struct Parts {
    pub(crate) disk: Disk,
    pub(crate) settings: Settings,
    pub(crate) pager: Arc<Pager>,
    pub(crate) log: Wal,
    pub(crate) writer: Writer,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) dir: StoreDir,
}

impl Store {
    pub(crate) fn new(parts: Parts) -> Self {
        let head = Arc::clone(&parts.writer.ledger.head);
        parts.pager.health.set_durable(head.version);
        let generation = parts.checkpoints.generation();
        let jobs = Jobs::new(&parts.disk, parts.pager.health.shared());
        let background = Background::new(jobs);
        Self {
            disk: parts.disk,
            settings: parts.settings,
            pager: parts.pager,
            log: parts.log,
            turn: Turn::new(parts.writer),
            checkpoints: Mutex::new(parts.checkpoints),
            committed: Mutex::new(Arc::clone(&head)),
            published: ArcSwap::new(Arc::clone(&head)),
            publishing: Mutex::new(Publishing {
                durable: head,
                next: None,
            }),
            // Durable: every record that was appended before. Only now may the states that they lead to be
            // shown, and their commits be acknowledged.
            syncs: GroupCommit::new(),
            kept: Mutex::default(),
            generation: AtomicU64::new(generation),
            background,
            counters: Counters::default(),
            dir: parts.dir,
        }
    }

    /// Takes a lock; a panic under one poisons the handle.
    pub(crate) fn lock<'a, T>(&self, mutex: &'a Mutex<T>) -> MutexGuard<'a, T> {
        self.pager.health.shared().lock(mutex)
    }

    /// Lets another handle open the store: nothing may be written any more.
    pub(crate) fn unlock(&self) {
        self.dir.unlock();
    }

    // ---- reading

    /// What a new reader sees. Takes no lock and writes nothing that other readers write.
    #[inline]
    pub(crate) fn snapshot(&self) -> Guard<Arc<Root>> {
        if self.pager.health.is_poisoned() {
            self.learn_durable();
            return Guard::from_inner(self.durable());
        }
        self.published.load()
    }

    fn durable(&self) -> Arc<Root> {
        Arc::clone(&self.lock(&self.publishing).durable)
    }

    /// Lets nobody end the lease of `root`, as long as the result lives.
    pub(crate) fn keep(&self, root: &Arc<Root>) -> Kept<'_> {
        self.lock(&self.kept).push(root.version);
        Kept {
            store: self,
            version: root.version,
        }
    }

    /// Ends the leases that are over, of all states but that of the slots, `slots`, and those that are needed.
    pub(crate) fn end_leases(&self, space: &mut Space, slots: u64) {
        let Some(lease) = self.settings.reader_lease else {
            return;
        };
        let mut needed = self.lock(&self.kept).clone();
        needed.extend([slots, self.lock(&self.committed).version]);
        let publishing = self.lock(&self.publishing);
        needed.extend(publishing.next.iter().map(|next| next.version));
        needed.extend([publishing.durable.version, self.published.load().version]);
        let limit = self.disk.now().saturating_sub(lease);
        let ended = space.end_leases(&self.pager, limit, &needed);
        add(&self.counters.leases_ended, ended);
    }

    // ---- writing

    /// Begins a write transaction, when it is this one's turn; `None` if that takes longer than
    /// `timeout`.
    pub(crate) fn begin(&self, timeout: Option<Duration>) -> Result<Work> {
        self.pager.health.check()?;
        let mut writer = self.turn.take(timeout)?;
        if let Err(error) = self.pager.health.check() {
            self.turn.give(writer);
            return Err(error);
        }
        writer.space.settle(&self.pager);
        let memory = self.settings.dirty_pages / 2;
        Ok(Work::new(&self.pager, writer, memory, self.settings.large))
    }

    /// Ends a write transaction without a trace.
    pub(crate) fn abort(&self, work: Work) {
        self.turn.give(work.undo());
    }

    /// Commits a write transaction; returns when it is as safe as `sync` says.
    pub(crate) fn commit(&self, mut work: Work, is_durable: bool) -> Result<()> {
        if let Err(error) = work.finish() {
            self.abort(work);
            return Err(error);
        }
        if work.changes.is_empty() && !work.is_large() {
            // It saw the last committed state: what it tells its user must be as durable as that.
            let head = Arc::clone(&work.ledger.head);
            self.abort(work);
            return self.acknowledge(&head, is_durable);
        }
        add(&self.counters.commits, 1);
        if work.is_large() {
            return self.commit_by_checkpoint(work);
        }
        let generation = self.generation.load(Ordering::Acquire);
        let record = work.take_changes().into_record(generation);
        match self.log.append(&record) {
            Ok(record_at) => {
                add(&self.counters.logged, record.len() as u64);
                let head = self.publish(work, record_at.lsn());
                self.acknowledge(&head, is_durable)
            }
            Err(error) => {
                let error = Error::from(error);
                // There may be room for pages where there is none for the log; then the log becomes
                // shorter, too.
                let does_not_fit = matches!(error, Error::Log(wal::Error::TooLarge { .. }));
                if error.is_no_space() || does_not_fit {
                    return self.commit_by_checkpoint(work);
                }
                self.abort(work);
                Err(self.pager.health.note(error))
            }
        }
    }

    /// Makes the state that `work` leaves the last committed one, and lets the next writer begin.
    pub(crate) fn publish(&self, work: Work, lsn: Lsn) -> Arc<Root> {
        let writer = work.publish(lsn, self.disk.now());
        let head = Arc::clone(&writer.ledger.head);
        self.end_turn(writer);
        head
    }

    /// Lets the next writer begin, behind a commit.
    pub(crate) fn end_turn(&self, writer: Writer) {
        *self.lock(&self.committed) = Arc::clone(&writer.ledger.head);
        let is_due = self.is_checkpoint_due(writer.ledger.dirty.len());
        let is_short = writer.space.is_short() && writer.space.buried_pages() > 0;
        self.turn.give(writer);
        if is_due || is_short {
            self.background.ask_for_checkpoint();
        } else {
            self.background.end_rest();
        }
    }

    fn acknowledge(&self, root: &Arc<Root>, is_durable: bool) -> Result<()> {
        let result = if is_durable {
            self.make_durable(root)
        } else {
            self.show(root);
            Ok(())
        };
        self.hold_the_bounds()?;
        result
    }

    /// Makes a state that is in the log durable, and shows it.
    fn make_durable(&self, root: &Arc<Root>) -> Result<()> {
        if root.version > self.pager.health.durable() {
            let site = self.syncs.site();
            let sync = |_: &mut [()]| {
                let synced = site.within(|| Wal::sync(&self.log));
                synced.map(drop).map_err(Error::from)
            };
            self.syncs
                .commit((), sync)
                .0
                .map_err(|error| self.pager.health.poison(error))?;
        }
        self.set_durable(root);
        if self.settings.sync != SyncMode::Always {
            self.show(root);
        }
        self.pager.health.check()
    }

    /// Notes that `root` is durable, unless a newer one is.
    pub(crate) fn set_durable(&self, root: &Arc<Root>) {
        let mut publishing = self.lock(&self.publishing);
        drop(publishing.next.take_if(|next| next.version <= root.version));
        if root.version > publishing.durable.version {
            publishing.durable = Arc::clone(root);
            self.pager.health.set_durable(root.version);
            if self.settings.sync == SyncMode::Always {
                self.published.store(Arc::clone(root));
            }
        }
    }

    /// Shows a committed state to new readers, in `Batch` and `Manual`. In `Always` they see what is
    /// durable.
    pub(crate) fn show(&self, root: &Arc<Root>) {
        if self.settings.sync == SyncMode::Always {
            return;
        }
        {
            let mut publishing = self.lock(&self.publishing);
            if root.version > self.published.load().version {
                self.published.store(Arc::clone(root));
            }
            // Its pages are pinned until then. Without syncs of the log's own that may take long, and the
            // next checkpoint or sync says which state is durable.
            let is_synced_soon = matches!(self.settings.sync, SyncMode::Batch { .. });
            let is_newer = root.version > publishing.durable.version;
            if is_synced_soon && publishing.next.is_none() && is_newer {
                publishing.next = Some(Arc::clone(root));
            }
        }
        self.learn_durable();
    }

    /// In `Batch` the log may have been synced by others.
    fn learn_durable(&self) {
        let candidate = {
            let mut publishing = self.lock(&self.publishing);
            let next = &mut publishing.next;
            next.take_if(|root| root.lsn <= self.log.stats().durable_lsn)
        };
        if let Some(root) = candidate {
            self.set_durable(&root);
        }
    }

    /// Makes everything committed so far durable.
    pub(crate) fn make_all_durable(&self) -> Result<()> {
        self.pager.health.check()?;
        let head = Arc::clone(&self.lock(&self.committed));
        self.make_durable(&head)
    }

    /// The last committed state, which is durable when this returns, and whose lease does not end.
    pub(crate) fn keep_last_durable(&self) -> Result<(Arc<Root>, Kept<'_>)> {
        self.pager.health.check()?;
        let (head, kept) = {
            // While it is the last one nobody ends its lease.
            let committed = self.lock(&self.committed);
            (Arc::clone(&committed), self.keep(&committed))
        };
        self.make_durable(&head)?;
        Ok((head, kept))
    }

    // ---- checkpoints

    fn log_bytes(&self) -> u64 {
        load(&self.counters.logged) - load(&self.counters.checkpointed)
    }

    /// Bytes of records that opening would have to apply.
    pub(crate) fn pending_log_bytes(&self) -> u64 {
        self.log_bytes()
    }

    fn is_checkpoint_due(&self, dirty: usize) -> bool {
        self.log_bytes() >= self.settings.log_bytes || dirty >= self.settings.dirty_pages
    }

    /// Bounds the log, the dirty pages and the pages that only the meta slots pin, if the background
    /// did not come to it.
    fn hold_the_bounds(&self) -> Result<()> {
        let over = self.turn.peek(|writer| {
            writer.ledger.dirty.len() >= 2 * self.settings.dirty_pages
                || writer.space.is_short() && writer.space.buried_pages() > 0
        });
        if over != Some(true) && self.log_bytes() < 2 * self.settings.log_bytes {
            return Ok(());
        }
        match self.checkpoint() {
            // What was committed stands; there is no room for more.
            Err(error) if error.is_no_space() => Ok(()),
            other => other,
        }
    }

    /// What the free space is like, unless it is somebody's turn to write.
    pub(crate) fn add_space(&self, stats: &mut Stats) {
        let slots = self.lock(&self.checkpoints).version();
        let known = [
            slots,
            self.lock(&self.committed).version,
            self.durable().version,
            self.published.load().version,
        ];
        self.turn.peek(|writer| {
            writer.space.settle(&self.pager);
            let space = &writer.space;
            stats.file_bytes = self.pager.offset(space.backed());
            stats.pages = (space.end() - space.first()).into();
            stats.free_pages = space.free_pages() as u64;
            stats.pinned_pages = space.buried_pages() as u64;
            stats.dirty_pages = writer.ledger.dirty.len() as u64;
            if let Some((version, since)) = space.oldest_pin(&known) {
                stats.oldest_reader_age = Some(self.disk.now().saturating_sub(since));
                stats.oldest_reader_pages = space.pinned_by(version) as u64;
            }
        });
    }
}
