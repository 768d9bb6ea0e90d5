//! [`Signal`]: where threads sleep, and tasks are suspended, until something that they look at has changed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

/// Threads and tasks wait at it for a condition over state that lies elsewhere (atomics, or protected by locks of its
/// own); whoever changes that state calls [`wake`](Signal::wake) afterwards. While nobody waits that
/// costs one load.
#[derive(Debug, Default)]
pub struct Signal {
    waiters: AtomicUsize,
    /// How often those who waited were woken.
    woken: Mutex<u64>,
    changed: Condvar,
    /// Tasks that wait, each counted among the waiters.
    wakers: Mutex<Vec<Waker>>,
}

impl Signal {
    /// A signal at which nobody waits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes those who wait look again.
    pub fn wake(&self) {
        // Who counts itself after this sees what has changed; who did before sees that it is woken.
        if self.waiters.load(Ordering::SeqCst) > 0 {
            *self.woken() += 1;
            self.changed.notify_all();
            let wakers = std::mem::take(&mut *self.wakers());
            self.waiters.fetch_sub(wakers.len(), Ordering::SeqCst);
            wakers.into_iter().for_each(Waker::wake);
        }
    }

    /// Has `waker` woken by the next [`wake`](Signal::wake), once. Whoever waits looks again after this.
    pub fn register(&self, waker: &Waker) {
        let mut wakers = self.wakers();
        if !wakers.iter().any(|other| other.will_wake(waker)) {
            wakers.push(waker.clone());
            // With the lock held: a wake takes as many as are counted.
            self.waiters.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn wakers(&self) -> MutexGuard<'_, Vec<Waker>> {
        // No code but ours runs under this lock, except for that of a waker that is cloned.
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `is_over`, for at most `timeout`, or without a bound if that is `None`; returns
    /// whether it is. It is asked again after each [`wake`](Signal::wake), with no lock held.
    pub fn wait_until(&self, is_over: impl Fn() -> bool, timeout: Option<Duration>) -> bool {
        if is_over() {
            return true;
        }
        if timeout.is_some_and(|timeout| timeout.is_zero()) {
            return false;
        }
        let begin = Instant::now();
        let _counted = Counted::among(&self.waiters);
        loop {
            let seen = *self.woken();
            if is_over() {
                return true;
            }
            let mut woken = self.woken();
            while *woken == seen {
                woken = match timeout.map(|timeout| timeout.saturating_sub(begin.elapsed())) {
                    None => {
                        let woken = self.changed.wait(woken);
                        woken.unwrap_or_else(PoisonError::into_inner)
                    }
                    Some(left) if left.is_zero() => return false,
                    Some(left) => {
                        let woken = self.changed.wait_timeout(woken, left);
                        woken.unwrap_or_else(PoisonError::into_inner).0
                    }
                };
            }
        }
    }

    fn woken(&self) -> MutexGuard<'_, u64> {
        // Nothing under this lock can panic.
        self.woken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of those who wait, also while its condition panics.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn among(waiters: &'a AtomicUsize) -> Self {
        waiters.fetch_add(1, Ordering::SeqCst);
        Self(waiters)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::task::Wake;
    use std::thread;

    use super::*;

    const LONG: Option<Duration> = Some(Duration::from_secs(60));

    #[test]
    fn whoever_waits_sees_every_change_that_is_followed_by_a_wake() {
        for n in 0..2000 {
            let signal = &Signal::new();
            let flags = &[const { AtomicBool::new(false) }; 2];
            let timeout = if n % 2 == 0 { LONG } else { None };
            thread::scope(|scope| {
                for flag in flags {
                    let is_over = || flag.load(Ordering::SeqCst);
                    scope.spawn(move || assert!(signal.wait_until(is_over, timeout)));
                }
                for flag in flags {
                    flag.store(true, Ordering::SeqCst);
                    signal.wake();
                }
            });
        }
    }

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_task_is_woken_once_for_each_time_it_registers() {
        let signal = Signal::new();
        let counters = [(); 2].map(|()| Arc::new(Counter::default()));
        let wakers = counters
            .each_ref()
            .map(|counter| Arc::clone(counter).into());
        let woken = || {
            counters
                .each_ref()
                .map(|counter| counter.0.load(Ordering::SeqCst))
        };
        let [first, second]: &[Waker; 2] = &wakers;
        signal.wake();
        for waker in [first, second, first] {
            signal.register(waker);
        }
        assert_eq!(woken(), [0, 0]);
        signal.wake();
        assert_eq!(woken(), [1, 1]);
        signal.wake();
        signal.register(second);
        signal.wake();
        assert_eq!(woken(), [1, 2]);
        assert_eq!(signal.waiters.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn without_time_nobody_waits() {
        let signal = Signal::new();
        assert!(!signal.wait_until(|| false, Some(Duration::ZERO)));
        assert!(signal.wait_until(|| true, Some(Duration::ZERO)));
        assert!(!signal.wait_until(|| false, Some(Duration::from_millis(1))));
    }
}
