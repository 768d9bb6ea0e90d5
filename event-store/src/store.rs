//! The open store behind the handle: what is shared between callers and the background threads.
//!
//! Locks, in the order in which they may be taken: that of a projection's state, then `marks` or `indexer`, then
//! `reserve`, then `head`, then that of the bell, of the signal or of the list of projections. The first ones are
//! held across I/O, and say why where they are taken.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::Duration;

use durable_io::engine::{Health, Reserve, Signal, StoreDir, Work};
use durable_io::{Background, Disk, Op, SyncMode, made_durable};
use wal::{Expectation, Wal};

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::ids::{EventId, Position};
use crate::list::Indexer;
use crate::marks::Marks;
use crate::pending::Pending;
use crate::projection::Run;
use crate::stats::ProjectionStats;
use crate::tail::Tail;
use crate::term::Key;
use crate::view::{Miss, Slot, View};

/// What does not change while a store is open.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) sync_mode: SyncMode,
    pub(crate) index_interval: u64,
    pub(crate) segment_size: u64,
    pub(crate) clock: Clock,
    pub(crate) background: Background,
    pub(crate) key: Key,
}

#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) disk: Disk,
    pub(crate) dir: StoreDir,
    pub(crate) settings: Settings,
    /// Events and tombstones, one record each: the position of an event is that of its record.
    pub(crate) log: Wal,
    pub(crate) head: Mutex<Head>,
    pub(crate) indexer: Mutex<Indexer>,
    pub(crate) marks: Mutex<Marks>,
    pub(crate) reserve: Mutex<Reserve>,
    pub(crate) health: Arc<Health>,
    pub(crate) is_closed: AtomicBool,
    /// Where those wait who wait for events.
    pub(crate) moved: Arc<Signal>,
    /// Tasks that wait for events.
    pub(crate) wakers: Mutex<Vec<Waker>>,
    /// Those at work, in the order in which they were begun.
    pub(crate) projections: Mutex<Vec<Arc<dyn Runs>>>,
    /// The interval of [`SyncMode::Batch`], and appends that nobody waits for.
    pub(crate) log_work: Arc<Work>,
    pub(crate) index_work: Arc<Work>,
    pub(crate) ids: Ids,
    pub(crate) counters: Counters,
}

/// A projection, whatever its state is: what the store does with it.
pub(crate) trait Runs: fmt::Debug + Send + Sync {
    fn name(&self) -> &str;
    fn run(&self) -> Run;
    /// Adds every event that is durable. What it fails with is returned to whoever asks, and in the statistics.
    fn run_inline(&self, store: &Store);
    /// Wakes its thread.
    fn notify(&self);
    /// In place of its thread; true if there was something to do.
    fn run_once(&self, store: &Store) -> Result<bool>;
    /// Ends its thread, and waits until it has.
    fn stop(&self, store: &Store);
    fn stats(&self, store: &Store) -> ProjectionStats;
}

/// What an append is decided by: everything that was accepted, durable or in flight. Whoever holds it is
/// the only one who appends.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) slots: Vec<Slot>,
    pub(crate) tail: Tail,
    /// Appends that are not known to be acknowledged, in the order of the log.
    pub(crate) in_flight: VecDeque<Arc<Pending>>,
    /// What the next append is built on: all those in flight, and how often the log had refused one. One
    /// that is refused takes with it all that were built on it.
    pub(crate) expectation: Expectation,
    /// When the oldest append was acknowledged that no sync has begun to cover; only in
    /// [`SyncMode::Batch`].
    pub(crate) waiting_since: Option<Duration>,
}

impl Head {
    pub(crate) fn view<'a>(&'a self, log: &'a Wal, key: Key) -> View<'a> {
        View {
            log,
            key,
            slots: &self.slots,
            tail: &self.tail,
            scans: false,
        }
    }

    /// Forgets what is acknowledged, or has failed.
    pub(crate) fn settle(&mut self) {
        while self
            .in_flight
            .front()
            .is_some_and(|pending| pending.is_over())
        {
            self.in_flight.pop_front();
        }
    }
}

/// Ids for events that were given none: a random number for each opening, and a count.
#[derive(Debug)]
pub(crate) struct Ids {
    opening: u64,
    count: AtomicU64,
}

impl Ids {
    pub(crate) fn new(opening: u64) -> Self {
        Self {
            opening,
            count: AtomicU64::new(0),
        }
    }

    pub(crate) fn draw(&self) -> EventId {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        EventId::from(u128::from(self.opening) << 64 | u128::from(count))
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) appends: AtomicU64,
    pub(crate) events: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) repeated: AtomicU64,
    pub(crate) parts_built: AtomicU64,
    pub(crate) parts_merged: AtomicU64,
    pub(crate) parts_restored: AtomicU64,
}

pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

impl Store {
    /// Whether writing may continue.
    ///
    /// # Errors
    /// [`Error::Poisoned`] after a failure, [`Error::Closed`] after the end.
    pub(crate) fn check(&self) -> Result<()> {
        self.check_open()?;
        Ok(self.health.check()?)
    }

    /// [`Error::Closed`] after the end.
    pub(crate) fn check_open(&self) -> Result<()> {
        if self.is_closed.load(Ordering::SeqCst) {
            return Err(Error::Closed);
        }
        Ok(())
    }

    /// Ends all writing if `error` is one after which nobody knows what is on the disk: a failed write or
    /// sync. A full disk, or a file that could not be opened or read, changes nothing.
    pub(crate) fn note(&self, error: Error) -> Error {
        let is_fatal = |op: Op| matches!(op, Op::Write | Op::Sync | Op::SetLen | Op::Rename);
        match &error {
            Error::Disk(source @ durable_io::Error::Poisoned { .. }) => {
                self.health.poison(source.clone());
            }
            Error::Disk(source @ durable_io::Error::Io { op, .. }) if is_fatal(*op) => {
                self.health.poison(source.clone());
            }
            Error::Poisoned(poisoned) => drop(self.health.poison(poisoned.clone())),
            _ => {}
        }
        error
    }

    /// Tells those who wait for events that there may be some.
    pub(crate) fn wake(&self) {
        self.moved.wake();
        let wakers = std::mem::take(&mut *self.health.lock(&self.wakers));
        wakers.into_iter().for_each(Waker::wake);
        self.notify_projections();
    }

    /// Asks `question` of the index; a part that it needs and that is lost is made again first. Where that
    /// cannot be, since nothing may be written any more or the disk is full, the log is read instead.
    pub(crate) fn with_view<T>(
        &self,
        question: impl Fn(&View<'_>) -> Result<T, Miss>,
    ) -> Result<T> {
        let mut scans = false;
        loop {
            let answer = {
                let head = self.health.lock(&self.head);
                let view = head.view(&self.log, self.settings.key);
                question(&View { scans, ..view })
            };
            match answer {
                Ok(answer) => return Ok(answer),
                Err(Miss::Failed(error)) => return Err(error),
                Err(Miss::Lost(number)) => match self.restore(number) {
                    Err(error) if scans => return Err(error),
                    restored => scans = restored.is_err(),
                },
            }
        }
    }

    /// The position after the last acknowledged event; after a failure, after the last durable one.
    pub(crate) fn acknowledged_end(&self) -> Position {
        Position(self.log.bounds().end.0)
    }

    /// The position after the last durable event.
    pub(crate) fn durable_end(&self) -> Position {
        let durable = self.log.stats().durable_lsn.next();
        Position(durable.min(self.log.bounds().end).0)
    }

    /// Makes everything acknowledged durable.
    pub(crate) fn sync_log(&self) -> Result<Position> {
        self.health.lock(&self.head).waiting_since = None;
        // Durable: what is acknowledged and only in the kernel's memory. The caller says so next, or names it in
        // the index.
        let durable = made_durable(|| self.log.sync()).map_err(|error| self.note(error.into()));
        self.wake();
        Ok(Position(durable?.0))
    }

    /// How long until the interval of [`SyncMode::Batch`] is over; `None` if nothing waits for it.
    pub(crate) fn sync_due_in(&self) -> Option<Duration> {
        let SyncMode::Batch { interval, .. } = self.settings.sync_mode else {
            return None;
        };
        let due = self
            .health
            .lock(&self.head)
            .waiting_since?
            .saturating_add(interval);
        Some(due.saturating_sub(self.disk.now()))
    }
}
