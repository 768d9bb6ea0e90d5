//! Back-pressure: writers go as fast as what they write can be flushed and merged, and never further
//! than the bounds of memory and replay.
//!
//! Below half of the bound of memory nobody is held up. Above, a bucket of tokens, one for each byte,
//! fills with the rate at which flushes and merges work off what is due; the nearer the bound, the
//! slower. So a writer is delayed a little and often, not long and seldom. At the bound it waits for the
//! flush that makes room, or does it itself where there is no thread that would.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use durable_io::engine::{Health, Signal};

use crate::error::Result;
use crate::options::Options;
use crate::stats::Delays;
use crate::store::{Catalog, Store};
use crate::tree::Tree;

/// Bytes in tables of a level that wait to be merged count from here on, as a multiple of the size of
/// all memtables that may be flushed meanwhile.
const DEBT_RUNS: u64 = 12;
/// The fewest bytes in a second that writers are let go on with.
const LEAST_RATE: f64 = 1e6;
/// The longest a writer is delayed at once, below the bound.
const LONGEST: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(crate) struct Throttle {
    /// What memtables may take together, in bytes.
    memtables: u64,
    replay_limit: u64,
    memtable_size: u64,
    /// Bytes of log since the store was opened, those that were replayed included.
    logged: AtomicU64,
    /// Those from here on are needed, about.
    needed_from: AtomicU64,
    /// How many there were at some versions, ascending.
    samples: Mutex<VecDeque<(u64, u64)>>,
    bucket: Mutex<Bucket>,
    /// Somebody waits for room at it.
    pub(crate) room: Arc<Signal>,
    delays: Counted,
}

#[derive(Debug)]
struct Bucket {
    /// Bytes that may be written now; below zero, they are owed.
    tokens: f64,
    filled: Option<Instant>,
    /// Bytes in a second that the background works off, as measured.
    rate: f64,
}

#[derive(Debug, Default)]
struct Counted {
    writes: AtomicU64,
    memory_nanos: AtomicU64,
    debt_nanos: AtomicU64,
}

/// Why writers are held up.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cause {
    Memory,
    Debt,
}

impl Throttle {
    pub(crate) fn new(options: &Options, health: &Arc<Health>) -> Self {
        let room = Arc::new(Signal::new());
        health.wakes(&room);
        Self {
            memtables: options.memory - options.block_cache,
            replay_limit: options.replay_limit,
            memtable_size: options.memtable_size,
            logged: AtomicU64::new(0),
            needed_from: AtomicU64::new(0),
            samples: Mutex::default(),
            bucket: Mutex::new(Bucket {
                tokens: 0.0,
                filled: None,
                rate: 100e6,
            }),
            room,
            delays: Counted::default(),
        }
    }

    /// Counts `bytes` of log, up to `version`; true if the log that must be replayed is too long.
    pub(crate) fn note_logged(&self, bytes: u64, version: u64) -> bool {
        let before = self.logged.fetch_add(bytes, Ordering::Relaxed);
        let logged = before + bytes;
        let step = (self.replay_limit / 64).max(1);
        if before / step != logged / step
            && let Ok(mut samples) = self.samples.lock()
            && samples.back().is_none_or(|(last, _)| *last < version)
        {
            samples.push_back((version, logged));
        }
        self.is_replay_too_long()
    }

    fn is_replay_too_long(&self) -> bool {
        let logged = self.logged.load(Ordering::Relaxed);
        logged.saturating_sub(self.needed_from.load(Ordering::Relaxed)) > self.replay_limit
    }

    /// Counts what a flush has worked off in `time`, and that the log up to `floor` is not needed.
    pub(crate) fn note_flushed(&self, bytes: u64, time: Duration, floor: u64) {
        if let Ok(mut samples) = self.samples.lock() {
            while let Some(&(version, logged)) = samples.front()
                && version <= floor
            {
                self.needed_from.store(logged, Ordering::Relaxed);
                samples.pop_front();
            }
        }
        self.note_worked_off(bytes, time);
        self.room.wake();
    }

    /// Counts what the background has worked off.
    pub(crate) fn note_worked_off(&self, bytes: u64, time: Duration) {
        let seconds = time.as_secs_f64();
        if bytes > 0 && seconds > 0.0 {
            #[expect(clippy::cast_precision_loss, reason = "a rate need not be exact")]
            let rate = bytes as f64 / seconds;
            if let Ok(mut bucket) = self.bucket.lock() {
                bucket.rate = bucket.rate * 0.75 + rate * 0.25;
            }
        }
    }

    /// The keyspace whose memtable is to be flushed although it is not full: the one that holds the log
    /// back, if that is too long; the largest, if all together take too much memory.
    pub(crate) fn most_due<'a>(&self, catalog: &'a Catalog) -> Option<&'a Tree> {
        let trees = || catalog.trees.iter().map(|tree| &**tree);
        if self.is_replay_too_long() {
            let frozen = trees().any(|tree| !tree.peek().frozen.is_empty());
            let oldest = trees()
                .filter_map(|tree| Some((tree.peek().active.first_version()?, tree)))
                .min_by_key(|(first, _)| *first);
            // One that waits for its flush already may be what holds it back.
            if !frozen {
                return oldest.map(|(_, tree)| tree);
            }
        }
        let (active, frozen) = memtable_bytes(catalog);
        if active + frozen + self.memtable_size > self.memtables && active > frozen {
            return trees().max_by_key(|tree| tree.peek().active.bytes());
        }
        None
    }

    pub(crate) fn delays(&self) -> Delays {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Delays {
            writes: load(&self.delays.writes),
            memory: Duration::from_nanos(load(&self.delays.memory_nanos)),
            debt: Duration::from_nanos(load(&self.delays.debt_nanos)),
        }
    }

    fn count(&self, cause: Cause, time: Duration) {
        let counter = match cause {
            Cause::Memory => &self.delays.memory_nanos,
            Cause::Debt => &self.delays.debt_nanos,
        };
        let nanos = u64::try_from(time.as_nanos()).expect("no write waits for centuries");
        counter.fetch_add(nanos, Ordering::Relaxed);
        self.delays.writes.fetch_add(1, Ordering::Relaxed);
    }

    /// How long a write of `bytes` is to wait, when things stand at `pressure`, from 0 to 1.
    fn delay(&self, bytes: u64, pressure: f64) -> Duration {
        let Ok(mut bucket) = self.bucket.lock() else {
            return Duration::ZERO;
        };
        let now = Instant::now();
        // At no pressure twice what is worked off, at the bound a tenth of it.
        let rate = (bucket.rate * (2.0 - 1.9 * pressure)).max(LEAST_RATE);
        let since = bucket.filled.map_or(Duration::ZERO, |filled| now - filled);
        bucket.filled = Some(now);
        #[expect(clippy::cast_precision_loss, reason = "a delay need not be exact")]
        let bytes = bytes as f64;
        // A burst of what comes in 5 ms.
        bucket.tokens = (bucket.tokens + since.as_secs_f64() * rate).min(rate / 200.0) - bytes;
        if bucket.tokens >= 0.0 {
            return Duration::ZERO;
        }
        Duration::from_secs_f64(-bucket.tokens / rate).min(LONGEST)
    }
}

/// Bytes of memory in active memtables, and in those that wait for their flush.
pub(crate) fn memtable_bytes(catalog: &Catalog) -> (u64, u64) {
    let trees = catalog.trees.iter().map(|tree| tree.memtable_bytes());
    trees.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
}

impl Store {
    /// Waits until there is room for a write of `bytes`, if it has to.
    pub(crate) fn make_room(&self, bytes: u64) -> Result<()> {
        let bound = self.throttle.memtables;
        let catalog = self.catalog_full();
        let (active, frozen) = memtable_bytes(&catalog);
        let memory = active + frozen;
        if memory.saturating_add(bytes) > bound && frozen > 0 {
            return self.wait_for_room(bytes);
        }
        if self.is_inline() {
            return Ok(());
        }
        let debt = self.debt(&catalog);
        let (memory, debt) = (share(frozen, bound), debt);
        let (pressure, cause) = if memory >= debt {
            (memory, Cause::Memory)
        } else {
            (debt, Cause::Debt)
        };
        if pressure > 0.5 {
            let delay = self.throttle.delay(bytes, (pressure * 2.0 - 1.0).min(1.0));
            if !delay.is_zero() {
                // Nobody wakes it but a failure or room.
                let health = &self.health;
                let is_over = || health.is_poisoned();
                self.throttle.room.wait_until(is_over, Some(delay));
                self.throttle.count(cause, delay);
            }
        }
        Ok(())
    }

    /// How much of what may wait to be merged does: from 0 to 1, or more.
    fn debt(&self, catalog: &Catalog) -> f64 {
        if !self.options.auto_compact {
            return 0.0;
        }
        let runs = catalog.trees.iter().map(|tree| {
            let state = tree.peek();
            let new = state.levels.runs.iter();
            new.filter(|run| run.tables.first().is_some_and(|live| live.meta.level == 0))
                .count()
        });
        share(runs.max().unwrap_or(0) as u64, DEBT_RUNS * 2)
    }

    /// At the bound of memory: waits for a flush, or does it.
    fn wait_for_room(&self, bytes: u64) -> Result<()> {
        let begin = Instant::now();
        let is_over = || {
            let (active, frozen) = memtable_bytes(&self.catalog());
            frozen == 0 || (active + frozen).saturating_add(bytes) <= self.throttle.memtables
        };
        if self.is_inline() {
            while !is_over() && self.flush_one()? {}
        } else {
            self.flushes.ring();
            let stuck = || self.flushes.trouble().is_some();
            let ended = || is_over() || self.health.is_poisoned() || stuck();
            self.throttle.room.wait_until(ended, None);
            self.throttle.count(Cause::Memory, begin.elapsed());
            if !is_over() && stuck() {
                // What keeps the flush from getting on, a full disk, say, is what keeps this from it.
                self.flush_one()?;
            }
        }
        self.check_healthy()
    }
}

fn share(part: u64, whole: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a share need not be exact")]
    let share = part as f64 / whole.max(1) as f64;
    share
}
