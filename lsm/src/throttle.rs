//! Back-pressure: writers go as fast as what they write can be flushed and merged.
//!
//! A bucket of tokens, one for each byte, fills with the rate at which flushes and merges work off what is
//! due; the nearer the bounds, the slower. So a writer is delayed a little and often, not long and seldom.
//! When anybody is delayed, and what happens at the bounds, is in `room.rs`.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use durable_io::engine::{Health, Signal};

use crate::cause::Cause;
use crate::options::Options;
use crate::stats::Delays;

/// The fewest bytes in a second that writers are let go on with.
const LEAST_RATE: f64 = 1e6;
/// The longest a writer is delayed at once, below the bound.
pub(crate) const LONGEST: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(crate) struct Throttle {
    replay_limit: u64,
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
    /// When, by the disk's clock.
    filled: Option<Duration>,
    /// Bytes in a second that the background works off, as measured.
    rate: f64,
}

#[derive(Debug, Default)]
struct Counted {
    writes: AtomicU64,
    memory_nanos: AtomicU64,
    debt_nanos: AtomicU64,
    replay_nanos: AtomicU64,
}

impl Throttle {
    pub(crate) fn new(options: &Options, health: &Arc<Health>) -> Self {
        let room = Arc::new(Signal::new());
        health.wakes(&room);
        Self {
            replay_limit: options.replay_limit,
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

    /// Counts `bytes` of log, up to `version`; true if what must be replayed is to become less.
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
        self.is_replay_long()
    }

    /// True if half of what an opening may replay is reached: what is flushed then is in tables before the
    /// rest is.
    pub(crate) fn is_replay_long(&self) -> bool {
        self.to_replay() > self.replay_limit / 2
    }

    /// True if an opening would replay more than it may, with `bytes` more.
    pub(crate) fn is_replay_over(&self, bytes: u64) -> bool {
        self.to_replay().saturating_add(bytes) > self.replay_limit
    }

    /// The most bytes that an opening would replay now.
    fn to_replay(&self) -> u64 {
        let logged = self.logged.load(Ordering::Relaxed);
        logged.saturating_sub(self.needed_from.load(Ordering::Relaxed))
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

    pub(crate) fn delays(&self) -> Delays {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Delays {
            writes: load(&self.delays.writes),
            memory: Duration::from_nanos(load(&self.delays.memory_nanos)),
            debt: Duration::from_nanos(load(&self.delays.debt_nanos)),
            replay: Duration::from_nanos(load(&self.delays.replay_nanos)),
        }
    }

    pub(crate) fn count(&self, cause: Cause, time: Duration) {
        let counter = match cause {
            Cause::Memory => &self.delays.memory_nanos,
            Cause::Debt => &self.delays.debt_nanos,
            Cause::Replay => &self.delays.replay_nanos,
        };
        let nanos = u64::try_from(time.as_nanos()).expect("no write waits for centuries");
        counter.fetch_add(nanos, Ordering::Relaxed);
        self.delays.writes.fetch_add(1, Ordering::Relaxed);
    }

    /// How long a write of `bytes` is to wait, when things stand at `pressure`, from 0 to 1, and the disk's
    /// clock at `now`.
    pub(crate) fn delay(&self, now: Duration, bytes: u64, pressure: f64) -> Duration {
        self.take(now, bytes, pressure, true)
    }

    /// The same for one who does not wait: if it would have to, it writes nothing, and takes nothing.
    pub(crate) fn delay_if_written(&self, now: Duration, bytes: u64, pressure: f64) -> Duration {
        self.take(now, bytes, pressure, false)
    }

    fn take(&self, now: Duration, bytes: u64, pressure: f64, waits: bool) -> Duration {
        let Ok(mut bucket) = self.bucket.lock() else {
            return Duration::ZERO;
        };
        // At no pressure twice what is worked off, at the bound a tenth of it.
        let rate = (bucket.rate * (2.0 - 1.9 * pressure)).max(LEAST_RATE);
        let since = bucket
            .filled
            .map_or(Duration::ZERO, |filled| now.saturating_sub(filled));
        bucket.filled = Some(now);
        #[expect(clippy::cast_precision_loss, reason = "a delay need not be exact")]
        let bytes = bytes as f64;
        // A burst of what comes in 5 ms.
        bucket.tokens = (bucket.tokens + since.as_secs_f64() * rate).min(rate / 200.0) - bytes;
        if bucket.tokens >= 0.0 {
            return Duration::ZERO;
        }
        let delay = Duration::from_secs_f64(-bucket.tokens / rate).min(LONGEST);
        if !waits {
            bucket.tokens += bytes;
        }
        delay
    }
}

#[cfg(test)]
mod tests {
    use durable_io::sim::SimDisk;

    use super::*;

    /// How long it takes to write `writes` times 1000 bytes at `pressure`, if every delay is waited for, and
    /// the longest of them.
    fn time(writes: u32, pressure: f64) -> (Duration, Duration) {
        let sim = SimDisk::new();
        let disk = sim.disk();
        let throttle = Throttle::new(&Options::new(), &Health::new());
        let mut longest = Duration::ZERO;
        for _ in 0..writes {
            let delay = throttle.delay(disk.now(), 1000, pressure);
            longest = longest.max(delay);
            sim.advance(delay);
        }
        (disk.now(), longest)
    }

    #[test]
    fn writers_go_at_the_rate_that_the_pressure_leaves_and_no_delay_is_long() {
        let mut last = Duration::ZERO;
        for (pressure, rate) in [(0.0, 200e6), (0.5, 105e6), (0.9, 29e6), (1.0, 10e6)] {
            let (took, longest) = time(100_000, pressure);
            let expected = 100_000.0 * 1000.0 / rate;
            let is_near = (took.as_secs_f64() / expected - 1.0).abs() < 0.05;
            assert!(is_near, "{took:?} at {pressure}, not {expected} s");
            assert!(took > last && longest < LONGEST, "{longest:?}");
            last = took;
        }
    }

    #[test]
    fn one_large_write_is_not_held_up_for_longer_than_the_bound() {
        let throttle = Throttle::new(&Options::new(), &Health::new());
        for _ in 0..3 {
            assert_eq!(throttle.delay(Duration::ZERO, 1 << 30, 1.0), LONGEST);
        }
    }

    #[test]
    fn who_does_not_wait_takes_nothing_unless_it_is_there() {
        let throttle = Throttle::new(&Options::new(), &Health::new());
        let now = Duration::from_secs(1);
        // 5 ms of 200 MB in a second are there.
        throttle.delay(Duration::ZERO, 0, 0.0);
        assert_eq!(throttle.delay_if_written(now, 600_000, 0.0), Duration::ZERO);
        let delay = Duration::from_millis(1);
        for _ in 0..3 {
            assert_eq!(throttle.delay_if_written(now, 600_000, 0.0), delay);
        }
        assert_eq!(throttle.delay_if_written(now, 400_000, 0.0), Duration::ZERO);
        // And then comes as much as time brings.
        assert_eq!(
            throttle.delay_if_written(now + delay, 200_000, 0.0),
            Duration::ZERO
        );
    }

    #[test]
    fn time_in_which_nobody_writes_is_not_saved_up() {
        let throttle = Throttle::new(&Options::new(), &Health::new());
        throttle.delay(Duration::ZERO, 1000, 0.0);
        // A burst of 5 ms, at 200 MB in a second.
        let hour = Duration::from_secs(3600);
        assert_eq!(throttle.delay(hour, 1_000_000, 0.0), Duration::ZERO);
        assert_eq!(
            throttle.delay(hour, 1_000_000, 0.0),
            Duration::from_millis(5)
        );
    }
}
