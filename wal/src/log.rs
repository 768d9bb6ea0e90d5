//! The open log behind the handle: what is shared between callers and the background thread.
//!
//! Locks, in the order in which they may be taken: `mark`, `writer`, `spare`, `sync_turn`, then that of
//! the bell or of the watermark, then `view`. The first four are held across I/O, and say why where
//! they are taken.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use durable_io::{Disk, GroupCommit, Lock, Site, SyncMode};

use crate::background::Bell;
use crate::error::{Error, Result};
use crate::frame::{Epochs, Item};
use crate::lsn::Lsn;
use crate::mark::{MARK_SIZE, Mark, MarkFile};
use crate::records::{Cuts, Records, Snapshot};
use crate::recover::Recovered;
use crate::results::{Results, Tally};
use crate::segment::Segment;
use crate::spare::Spare;
use crate::stats::Stats;
use crate::watermark::{Watermark, Written};
use crate::writer::Writer;

#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) disk: Disk,
    pub(crate) sync_mode: SyncMode,
    /// The log's id.
    pub(crate) id: u64,
    pub(crate) segment_size: u64,
    pub(crate) queue: GroupCommit<Item, Results>,
    pub(crate) writer: Mutex<Writer>,
    pub(crate) spare: Mutex<Spare>,
    pub(crate) mark: Mutex<MarkFile>,
    pub(crate) sync_turn: Mutex<()>,
    view: Mutex<View>,
    pub(crate) watermark: Watermark,
    pub(crate) bell: Bell,
    pub(crate) cuts: Cuts,
    poison: OnceLock<Arc<durable_io::Error>>,
    pub(crate) counters: Counters,
    /// Bytes of what was submitted and is not committed yet.
    pub(crate) submitted: AtomicU64,
    pub(crate) dir: durable_io::Dir,
    lock: Mutex<Option<Lock>>,
}

/// What readers may see: only what was acknowledged. Never locked across I/O.
#[derive(Debug)]
pub(crate) struct View {
    /// The retained segments; the last one is the active one.
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) low: Lsn,
    /// The record after the last acknowledged one.
    pub(crate) next: Lsn,
    pub(crate) epochs: Epochs,
    /// The last record that the user says is applied elsewhere.
    pub(crate) checkpoint: Lsn,
    /// What this handle has acknowledged.
    pub(crate) appended: Tally,
    /// When the oldest append was acknowledged that no sync has begun to cover; only in
    /// [`SyncMode::Batch`].
    pub(crate) waiting_since: Option<Duration>,
}

impl View {
    /// The index of the segment that holds `lsn`, or will; `None` if it is below all of them.
    pub(crate) fn segment_of(&self, lsn: Lsn) -> Option<usize> {
        let after = self
            .segments
            .partition_point(|segment| segment.first_lsn <= lsn);
        after.checked_sub(1)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) groups: AtomicU64,
    pub(crate) syncs: AtomicU64,
    pub(crate) rotations: AtomicU64,
    /// The highest segment number on the disk.
    pub(crate) top: AtomicU64,
}

pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

/// Takes a lock. No invariant spans a panic: the code under these locks does not panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Log {
    pub(crate) fn new(
        disk: Disk,
        lock: Lock,
        sync_mode: SyncMode,
        gathers: bool,
        recovered: Recovered,
    ) -> Self {
        let Recovered {
            log_id,
            epochs,
            segment_size,
            segments,
            active,
            low,
            next,
            ..
        } = recovered;
        let top = recovered.spare.number() - u64::from(!recovered.spare.is_on_disk());
        let counters = Counters {
            top: AtomicU64::new(top),
            ..Counters::default()
        };
        Self {
            dir: recovered.spare.dir().clone(),
            disk,
            sync_mode,
            id: log_id,
            segment_size,
            queue: GroupCommit::new().gather(gathers),
            writer: Mutex::new(Writer::new(active, recovered.offset, next, epochs, 0)),
            spare: Mutex::new(recovered.spare),
            cuts: Cuts::default(),
            submitted: AtomicU64::new(0),
            sync_turn: Mutex::new(()),
            view: Mutex::new(View {
                segments,
                low,
                next,
                epochs,
                checkpoint: recovered.mark.mark().checkpoint,
                appended: Tally::default(),
                waiting_since: None,
            }),
            mark: Mutex::new(recovered.mark),
            watermark: Watermark::new(next.previous()),
            bell: Bell::default(),
            poison: OnceLock::new(),
            counters,
            lock: Mutex::new(Some(lock)),
        }
    }

    /// Lets another handle open the log: nothing may be written any more.
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

    /// Records the failure that ends this handle's writing; the first one stays.
    pub(crate) fn poison(&self, error: durable_io::Error) -> Error {
        self.poison.get_or_init(|| Arc::new(error.clone()));
        self.watermark.end();
        Error::Disk(error)
    }

    /// Like [`poison`](Log::poison), except for a full disk, which changes nothing.
    pub(crate) fn poison_unless_full(&self, error: durable_io::Error) -> Error {
        if matches!(error, durable_io::Error::NoSpace { .. }) {
            return Error::Disk(error);
        }
        self.poison(error)
    }

    /// Makes everything acknowledged so far durable.
    #[track_caller]
    pub(crate) fn sync(&self) -> Result<Lsn> {
        let site = Site::new(
            std::panic::Location::caller(),
            durable_io::Barrier::Data,
            "",
        );
        self.sync_written(site, || {
            let mut view = self.view();
            // What is acknowledged from now on waits for the next sync.
            view.waiting_since = None;
            let last = view.next.previous();
            Some(Written {
                segment: Arc::clone(view.segments.last()?),
                last,
                writes: view.appended.writes,
            })
        })?;
        Ok(self.watermark.last())
    }

    /// Syncs what `capture` says was written, unless it is durable already, and moves the watermark.
    pub(crate) fn sync_written(
        &self,
        site: Site,
        capture: impl FnOnce() -> Option<Written>,
    ) -> Result<()> {
        // Held across the sync: a failed one is told to one caller only, so nobody may be in another
        // one that would then succeed without the pages.
        let _turn = lock(&self.sync_turn);
        self.check_healthy()?;
        let Some(written) = capture() else {
            return Ok(());
        };
        if written.last <= self.watermark.last() {
            return Ok(());
        }
        add(&self.counters.syncs, 1);
        // Durable: the groups up to `written`. Only now may they be acknowledged as durable, stated
        // as such in later headers and in the mark, or be followed by a segment.
        match written.segment.file.sync_data_at(site) {
            Ok(proof) => self.watermark.advance(&written, proof),
            Err(error) => return Err(self.poison(error)),
        }
        Ok(())
    }

    /// First retained record and the one after the last that can be read.
    pub(crate) fn bounds(&self) -> (Lsn, Lsn) {
        let view = self.view();
        (view.low, self.end_of(&view))
    }

    /// The record after the last acknowledged one; after a failure, after the last durable one: the
    /// kernel may have dropped the others.
    pub(crate) fn end_of(&self, view: &View) -> Lsn {
        if self.is_poisoned() {
            self.durable_end(view)
        } else {
            view.next
        }
    }

    /// The record after the last durable one that readers may see.
    pub(crate) fn durable_end(&self, view: &View) -> Lsn {
        self.watermark.last().next().min(view.next)
    }

    /// What there is to read below `end`.
    pub(crate) fn snapshot(&self, view: &View, end: Lsn) -> Snapshot {
        Snapshot {
            cut: self.cuts.load(Ordering::Acquire),
            cuts: Arc::clone(&self.cuts),
            log_id: self.id,
            epochs: view.epochs,
            segment_size: self.segment_size,
            low: view.low,
            end,
        }
    }

    /// The records from `from` on, all that can be read.
    pub(crate) fn records(&self, from: Lsn) -> Records {
        let view = self.view();
        self.records_below(&view, from, self.end_of(&view))
    }

    /// The durable records from `from` on.
    pub(crate) fn durable_records(&self, from: Lsn) -> Records {
        let view = self.view();
        self.records_below(&view, from, self.durable_end(&view))
    }

    fn records_below(&self, view: &View, from: Lsn, end: Lsn) -> Records {
        let from = from.max(view.low);
        let at = view.segment_of(from).unwrap_or(0);
        let segments = view.segments.iter().skip(at).cloned().collect();
        Records::new(self.snapshot(view, end), segments, from)
    }

    /// Makes everything durable and says so in the mark.
    pub(crate) fn seal(&self) -> Result<()> {
        self.check_healthy()?;
        // Durable: everything. Only now may the mark state it as its witness.
        let durable = self.sync()?;
        // Held across I/O: see `truncate_before`.
        let mut mark = lock(&self.mark);
        let sealed = Mark {
            durable,
            ..*mark.mark()
        };
        mark.seal(sealed).map_err(|error| self.poison(error))
    }

    pub(crate) fn stats(&self) -> Stats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        let view = self.view();
        let lowest = view.segments.first().map_or(0, |segment| segment.number);
        let segment_count = (load(&counters.top) + 1).saturating_sub(lowest);
        Stats {
            appended_records: view.appended.records,
            appended_bytes: view.appended.bytes,
            group_count: load(&counters.groups),
            sync_count: load(&counters.syncs),
            rotation_count: load(&counters.rotations),
            segment_count,
            disk_bytes: segment_count * self.segment_size + MARK_SIZE as u64,
            durable_lsn: self.watermark.last(),
            last_lsn: view.next.previous(),
        }
    }
}
