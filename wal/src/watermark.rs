//! How far the log is durable. Only a sync that returned moves it up.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use durable_io::Synced;

use crate::log::lock;
use crate::lsn::Lsn;
use crate::segment::Segment;

/// What had been written when a sync was about to begin: captured before the call, because what is
/// written while it runs is not covered.
#[derive(Debug)]
pub(crate) struct Written {
    /// The segment to sync; those before it were synced when they were left.
    pub(crate) segment: Arc<Segment>,
    /// The last record.
    pub(crate) last: Lsn,
    /// Appends so far, whole calls.
    pub(crate) writes: u64,
}

/// The last durable record, and those who wait for the next one.
#[derive(Debug, Default)]
pub(crate) struct Watermark {
    last: AtomicU64,
    writes: AtomicU64,
    waiters: AtomicUsize,
    /// It will not move any more.
    has_ended: AtomicBool,
    turn: Mutex<()>,
    moved: Condvar,
}

impl Watermark {
    /// After a recovery, which made everything up to `last` durable.
    pub(crate) fn new(last: Lsn) -> Self {
        Self {
            last: AtomicU64::new(last.0),
            ..Self::default()
        }
    }

    pub(crate) fn last(&self) -> Lsn {
        Lsn(self.last.load(Ordering::SeqCst))
    }

    /// Appends of this handle that are durable.
    pub(crate) fn writes(&self) -> u64 {
        self.writes.load(Ordering::SeqCst)
    }

    /// Moves to `written`, on the proof that a sync of its segment returned.
    pub(crate) fn advance(&self, written: &Written, proof: Synced) {
        drop(proof);
        self.writes.fetch_max(written.writes, Ordering::SeqCst);
        self.last.fetch_max(written.last.0, Ordering::SeqCst);
        self.wake();
    }

    /// Moves back to `last`: what was behind it was cut off, durably, and no sync is running.
    pub(crate) fn cut(&self, last: Lsn) {
        self.last.store(last.0, Ordering::SeqCst);
    }

    /// True if it will not reach `lsn` any more.
    pub(crate) fn ends_before(&self, lsn: Lsn) -> bool {
        self.has_ended.load(Ordering::SeqCst) && self.last() < lsn
    }

    /// Tells all who wait that it will not move any more.
    pub(crate) fn end(&self) {
        self.has_ended.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// Makes those who wait look again.
    pub(crate) fn wake(&self) {
        // Who counts itself after this sees what has changed; who did before is waiting, or about to,
        // with the lock held.
        if self.waiters.load(Ordering::SeqCst) > 0 {
            drop(lock(&self.turn));
            self.moved.notify_all();
        }
    }

    /// Waits until `is_over`, for at most `timeout`; returns whether it is. It is asked again after
    /// each [`wake`](Watermark::wake), and may lock the view.
    pub(crate) fn wait_until(&self, is_over: impl Fn() -> bool, timeout: Duration) -> bool {
        if timeout.is_zero() || is_over() {
            return is_over();
        }
        let begin = Instant::now();
        self.waiters.fetch_add(1, Ordering::SeqCst);
        let mut turn = lock(&self.turn);
        let mut over = is_over();
        while !over {
            let left = timeout.saturating_sub(begin.elapsed());
            if left.is_zero() {
                break;
            }
            let waited = self.moved.wait_timeout(turn, left);
            turn = waited.unwrap_or_else(PoisonError::into_inner).0;
            over = is_over();
        }
        drop(turn);
        self.waiters.fetch_sub(1, Ordering::SeqCst);
        over
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::thread;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn whoever_waits_sees_every_change_that_is_followed_by_a_wake() {
        for _ in 0..2000 {
            let watermark = &Watermark::new(Lsn(1));
            let flags = &[const { AtomicBool::new(false) }; 2];
            thread::scope(|scope| {
                for flag in flags {
                    let is_over = || flag.load(Ordering::SeqCst);
                    scope.spawn(move || assert!(watermark.wait_until(is_over, LONG)));
                }
                for flag in flags {
                    flag.store(true, Ordering::SeqCst);
                    watermark.wake();
                }
            });
        }
    }

    #[test]
    fn without_time_nobody_waits() {
        let watermark = Watermark::new(Lsn(1));
        assert!(!watermark.wait_until(|| false, Duration::ZERO));
        assert!(watermark.wait_until(|| true, Duration::ZERO));
    }

    #[test]
    fn what_is_durable_already_is_not_what_the_end_takes() {
        let watermark = Watermark::new(Lsn(5));
        assert!(!watermark.ends_before(Lsn(6)));
        watermark.end();
        assert!(watermark.ends_before(Lsn(6)));
        assert!(!watermark.ends_before(Lsn(5)));
    }
}
