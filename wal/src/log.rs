//! The open log behind the handle: what is shared between callers and the background thread.
//!
//! Locks, in the order in which they may be taken: `writer`, `preallocated`, `superblock`, the edge's, the turn of the
//! gate, then `view`. The first five are held across I/O, and say why where they are taken.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use durable_io::engine::{Health, StoreDir, SyncGate, Work};
use durable_io::{Barrier, Dir, Disk, GroupCommit, Site, SyncMode};

use crate::clock::Clock;
use crate::delivery::Delivery;
use crate::edge::{self, Edge};
use crate::epochs::Epochs;
use crate::error::{Error, Result};
use crate::expectation::Expectation;
use crate::item::Item;
use crate::lsn::Lsn;
use crate::open_files::Segment;
use crate::preallocated::PreallocatedSegment;
use crate::records::{CLOSED, Records, Snapshot, Truncations};
use crate::writer::Written;

use crate::results::{Results, Tally};
use crate::slot::SUPERBLOCK_SIZE;
use crate::stats::{Recovery, Stats};
use crate::superblock::SuperblockFile;
use crate::writer::Writer;

/// A log, recovered and durable, ready to be written to.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) log_id: u64,
    pub(crate) epochs: Epochs,
    pub(crate) segment_size: u64,
    /// No group was written later; 0 if that is not known.
    pub(crate) time: u64,
    /// The retained segments; the last one is the active one.
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) active: Arc<Segment>,
    /// Where the next group is written in the active one.
    pub(crate) offset: u64,
    pub(crate) low: Lsn,
    pub(crate) next: Lsn,
    pub(crate) preallocated: PreallocatedSegment,
    pub(crate) superblock: SuperblockFile,
    pub(crate) recovery: Recovery,
    /// Segments that are given up, but could not be removed.
    pub(crate) dead: Vec<u64>,
}

#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) store_dir: StoreDir,
    pub(crate) health: Arc<Health>,
    pub(crate) gate: SyncGate,
    /// The log's id.
    pub(crate) id: u64,
    pub(crate) segment_size: u64,
    pub(crate) queue: GroupCommit<Item, Results>,
    pub(crate) writer: Mutex<Writer>,
    pub(crate) preallocated: Mutex<PreallocatedSegment>,
    pub(crate) superblock: Mutex<SuperblockFile>,
    view: Mutex<View>,
    pub(crate) truncations: Truncations,
    pub(crate) edge: Edge,
    /// Bytes that a segment gets of space and zeros at once.
    pub(crate) zero_step: u64,
    pub(crate) clock: Clock,
    /// What is made ready ahead of the writer: the edge, and the next segment if that is wanted.
    pub(crate) making: Arc<Work>,
    pub(crate) wants_preallocated: AtomicBool,
    /// The segment after which a next one was asked for last.
    pub(crate) preallocated_after: AtomicU64,
    pub(crate) counters: Counters,
    /// Bytes of what was submitted and is not committed yet.
    pub(crate) submitted: AtomicU64,
    pub(crate) delivery: Delivery,
    /// Nothing new is begun.
    is_closing: AtomicBool,
    /// Set with every lock held under which something is written, so that whoever gets one later sees it.
    is_closed: AtomicBool,
}

/// What readers may see: only what was acknowledged. Never locked across I/O.
#[derive(Debug)]
pub(crate) struct View {
    /// The retained segments; the last one is the active one.
    pub(crate) segments: Vec<Arc<Segment>>,
    /// Segments that are given up, but could not be removed.
    pub(crate) dead: Vec<u64>,
    pub(crate) low: Lsn,
    /// The record after the last acknowledged one.
    pub(crate) next: Lsn,
    /// How often an append was refused, or the end of the log truncated.
    pub(crate) refusals: u64,
    pub(crate) epochs: Epochs,
    /// The last record that the user says is applied elsewhere.
    pub(crate) checkpoint: Lsn,
    /// What the user wrote into the superblock beside that.
    pub(crate) note: Arc<[u8]>,
    /// What this handle has acknowledged.
    pub(crate) appended: Tally,
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
    pub(crate) rotations: AtomicU64,
    /// The highest segment number on the disk.
    pub(crate) top: AtomicU64,
}

pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

impl Log {
    pub(crate) fn new(
        disk: &Disk,
        store_dir: StoreDir,
        sync_mode: SyncMode,
        gathers: bool,
        zero_step: u64,
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
        let top = recovered.preallocated.number() - u64::from(!recovered.preallocated.is_on_disk());
        let counters = Counters {
            top: AtomicU64::new(top),
            ..Counters::default()
        };
        let health = Health::new();
        let zero_step = zero_step.min(segment_size);
        let (file, offset) = (active.held(), recovered.offset);
        let size = active.header.size;
        Self {
            store_dir,
            gate: SyncGate::new(sync_mode, disk, &health, next.previous().0),
            making: Work::new(disk, &health),
            clock: Clock::new(disk, recovered.time),
            wants_preallocated: AtomicBool::new(false),
            preallocated_after: AtomicU64::new(0),
            health,
            id: log_id,
            segment_size,
            queue: GroupCommit::new().gather(gathers),
            writer: Mutex::new(Writer::new(active, offset, next, epochs)),
            preallocated: Mutex::new(recovered.preallocated),
            truncations: Truncations::default(),
            edge: Edge::new(file, edge::rounded_up(offset), offset, size, zero_step),
            zero_step,
            submitted: AtomicU64::new(0),
            delivery: Delivery::default(),
            is_closing: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            view: Mutex::new(View {
                segments,
                dead: recovered.dead,
                low,
                next,
                refusals: 0,
                epochs,
                checkpoint: recovered.superblock.current().checkpoint,
                note: Arc::clone(&recovered.superblock.current().note),
                appended: Tally::default(),
            }),
            superblock: Mutex::new(recovered.superblock),
            counters,
        }
    }

    pub(crate) fn dir(&self) -> &Dir {
        self.store_dir.dir()
    }

    pub(crate) fn view(&self) -> MutexGuard<'_, View> {
        self.health.lock(&self.view)
    }

    /// The last durable record.
    pub(crate) fn durable(&self) -> Lsn {
        Lsn(self.gate.position())
    }

    /// [`Error::Closed`] when the log is closed, [`Error::Poisoned`] after a failure.
    pub(crate) fn check_healthy(&self) -> Result<()> {
        if self.is_closed.load(Ordering::SeqCst) {
            return Err(Error::Closed);
        }
        Ok(self.health.check()?)
    }

    /// [`Error::Closed`] when the log is closed, or about to be.
    pub(crate) fn check_open(&self) -> Result<()> {
        if self.is_closing.load(Ordering::SeqCst) {
            return Err(Error::Closed);
        }
        Ok(())
    }

    /// Says that nothing new is to be begun.
    pub(crate) fn begin_close(&self) -> Result<()> {
        if self.is_closing.swap(true, Ordering::SeqCst) {
            return Err(Error::Closed);
        }
        Ok(())
    }

    pub(crate) fn is_poisoned(&self) -> bool {
        self.health.is_poisoned()
    }

    /// Records the failure that ends this handle's writing; the first one stays.
    pub(crate) fn poison(&self, error: durable_io::Error) -> Error {
        Error::Disk(self.health.poison(error))
    }

    /// Like [`poison`](Log::poison), except for a full disk, which changes nothing that counts.
    pub(crate) fn poison_unless_full(&self, error: durable_io::Error) -> Error {
        Error::Disk(self.health.note(error))
    }

    /// Makes everything acknowledged so far durable.
    #[track_caller]
    pub(crate) fn sync(&self) -> Result<Lsn> {
        let site = Site::new(std::panic::Location::caller(), Barrier::Data, "");
        self.sync_written(site, || {
            let view = self.view();
            let active = view.segments.last();
            Written {
                file: active.expect("a log has an active segment").held(),
                last: view.next.previous(),
                writes: view.appended.writes,
                is_cleared: false,
            }
        })?;
        Ok(self.durable())
    }

    /// As [`sync`](Log::sync), together with what was submitted lazily.
    pub(crate) fn make_all_durable(&self) -> Result<Lsn> {
        if !self.queue.has_lazy() {
            // Durable: everything acknowledged. Only now may the caller rely on it.
            return self.sync();
        }
        self.append(Item::sync())?;
        Ok(self.durable())
    }

    /// Syncs what `capture` says was written, unless it is durable already, and moves the watermark.
    pub(crate) fn sync_written(&self, site: Site, capture: impl FnOnce() -> Written) -> Result<()> {
        // Durable, by the barrier in it: the groups up to what was captured. Only now may they be
        // acknowledged as durable, stated as such in later headers and in the superblock, or be followed by a
        // segment.
        self.gate.sync_written(site, capture, |_covered| {})
    }

    /// What an append gets now.
    pub(crate) fn expectation(&self) -> Expectation {
        let view = self.view();
        Expectation {
            lsn: view.next,
            refusals: view.refusals,
        }
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
        self.durable().next().min(view.next)
    }

    /// What there is to read below `end`.
    pub(crate) fn snapshot(&self, view: &View, end: Lsn) -> Snapshot {
        let truncations_seen = match self.check_open() {
            Ok(()) => self.truncations.load(Ordering::Acquire),
            Err(_) => CLOSED,
        };
        Snapshot {
            truncations_seen,
            truncations: Arc::clone(&self.truncations),
            log_id: self.id,
            epochs: view.epochs,
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

    /// Makes everything durable, says so in the superblock, and lets nothing be written any more.
    pub(crate) fn close(&self) -> Result<()> {
        // All held across I/O: nothing is written after the last sync.
        let writer = self.health.lock(&self.writer);
        let preallocated = self.health.lock(&self.preallocated);
        let mut superblock = self.health.lock(&self.superblock);
        let edge = self.edge.hold(&self.health);
        let sealed = self.seal(&mut superblock, &writer);
        self.shut();
        drop((writer, preallocated, superblock, edge));
        self.store_dir.unlock();
        sealed
    }

    fn seal(&self, superblock: &mut SuperblockFile, writer: &Writer) -> Result<()> {
        self.check_healthy()?;
        let site = Site::new(std::panic::Location::caller(), Barrier::Data, "close");
        // Durable: everything. Only now may the superblock state it as its witness.
        self.sync_written(site, || writer.written())?;
        let mut sealed = superblock.current().clone();
        let durable = self.durable();
        if sealed.durable != durable {
            sealed.durable = durable;
            // Without a new group the time alone is nothing that is worth a sync.
            sealed.time = self.clock.last();
        }
        superblock
            .seal(sealed)
            .map_err(|error| self.poison_unless_full(error))
    }

    /// Says that the log is closed: to whoever writes, reads or waits.
    fn shut(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        self.gate.moved().wake();
        let active = self.view().segments.last().cloned();
        active.inspect(|active| active.files().close_all());
    }

    /// The end of a handle that was not closed, when nothing is in flight any more.
    pub(crate) fn let_go(&self) {
        if self.begin_close().is_ok() {
            self.shut();
            self.store_dir.unlock();
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        let view = self.view();
        let lowest = view.segments.first().map_or(0, |segment| segment.number);
        let dead_segments = view.dead.len() as u64;
        let segment_count = (load(&counters.top) + 1).saturating_sub(lowest) + dead_segments;
        let retained = view.segments.iter().map(|segment| segment.header.size);
        let (retained, others) = (
            retained.sum::<u64>(),
            segment_count - view.segments.len() as u64,
        );
        Stats {
            appended_records: view.appended.records,
            appended_bytes: view.appended.bytes,
            group_count: load(&counters.groups),
            sync_count: self.gate.syncs(),
            rotation_count: load(&counters.rotations),
            callback_panics: self.delivery.panics(),
            segment_count,
            dead_segments,
            disk_bytes: retained + others * self.segment_size + SUPERBLOCK_SIZE as u64,
            durable_lsn: self.durable(),
            last_lsn: view.next.previous(),
        }
    }
}
