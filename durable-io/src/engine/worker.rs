//! [`Work`] and [`Worker`]: background work in steps, by a thread of its own or by whoever asks.

use std::error;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::{Failure, Health, Signal};
use crate::disk::Disk;

/// How long a step that failed without changing anything is not tried again, at first; twice as long
/// each further time.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(30);

/// What a step of background work did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A part of it; there may be more to do at once.
    Done,
    /// Nothing was to be done, or nothing is left.
    Idle,
    /// Nothing is to be done before this time is over, unless the work is notified.
    Wait(Duration),
}

/// What keeps background work from getting on: it is tried again. For an engine's `stats()`.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// Why the last attempt failed.
    pub error: Arc<dyn error::Error + Send + Sync>,
    /// How many attempts have failed, one after the other.
    pub attempts: u32,
    /// When the next one is due, by [`Disk::now`].
    pub next: Duration,
}

/// One kind of background work: when it is due, and what becomes of its errors. What is to be done is the
/// engine's own state; after it has changed that, it [notifies](Work::notify) it.
#[derive(Debug)]
pub struct Work {
    disk: Disk,
    health: Arc<Health>,
    state: Mutex<State>,
    signal: Arc<Signal>,
}

#[derive(Debug, Default)]
struct State {
    is_notified: bool,
    is_stopped: bool,
    trouble: Option<Trouble>,
}

impl Work {
    /// Work of a handle, on whose disk time passes.
    pub fn new(disk: &Disk, health: &Arc<Health>) -> Arc<Self> {
        let signal = Arc::new(Signal::new());
        health.wakes(&signal);
        Arc::new(Self {
            disk: disk.clone(),
            health: Arc::clone(health),
            state: Mutex::default(),
            signal,
        })
    }

    /// Says that there is something to do.
    pub fn notify(&self) {
        self.state().is_notified = true;
        self.signal.wake();
    }

    /// True when the work is to end: a step that takes long looks now and then, and returns.
    pub fn is_stopped(&self) -> bool {
        self.state().is_stopped
    }

    /// What keeps the work from getting on, if anything does.
    pub fn trouble(&self) -> Option<Trouble> {
        self.state().trouble.clone()
    }

    /// Takes one step, for an engine's `run_background` under
    /// [`Background::Inline`](crate::Background::Inline); returns whether there was something to do. A
    /// step that failed without poisoning the handle is [`trouble`](Work::trouble), no error, and is not
    /// tried again for a while.
    ///
    /// # Errors
    /// That of the step, if it has poisoned the handle.
    pub fn run_once<E>(&self, step: impl FnOnce() -> Result<Step, E>) -> Result<bool, E>
    where
        E: error::Error + Clone + Send + Sync + 'static,
    {
        if self.delay().is_some() {
            return Ok(false);
        }
        match step() {
            Ok(did) => {
                self.state().trouble = None;
                Ok(did == Step::Done)
            }
            Err(error) if self.health.is_poisoned() => Err(error),
            Err(error) => {
                self.put_off(error);
                Ok(true)
            }
        }
    }

    /// Starts a thread called `name` that takes steps until the [`Worker`] is dropped or the handle is
    /// poisoned. A panic poisons the handle.
    ///
    /// # Errors
    /// [`NoThread`]: the system has none to give.
    pub fn start<E>(
        self: &Arc<Self>,
        name: &str,
        mut step: impl FnMut() -> Result<Step, E> + Send + 'static,
    ) -> Result<Worker, NoThread>
    where
        E: error::Error + Clone + Send + Sync + 'static,
    {
        let work = Arc::clone(self);
        let thread = Thread::spawn(name, &self.health, move || work.run(&mut step))?;
        Ok(Worker {
            work: Arc::clone(self),
            _thread: thread,
        })
    }

    fn run<E>(&self, step: &mut impl FnMut() -> Result<Step, E>)
    where
        E: error::Error + Clone + Send + Sync + 'static,
    {
        loop {
            let mut state = self.state();
            if state.is_stopped || self.health.is_poisoned() {
                return;
            }
            // Before the step looks at what is to be done, so that what comes later notifies again.
            state.is_notified = false;
            drop(state);
            let wait = match self.delay() {
                Some(delay) => Some(delay),
                None => match step() {
                    Ok(did) => {
                        self.state().trouble = None;
                        match did {
                            Step::Done => continue,
                            Step::Idle => None,
                            Step::Wait(time) => Some(time),
                        }
                    }
                    // An error that poisons is how the next caller learns of it.
                    Err(error) => Some(self.put_off(error)),
                },
            };
            let is_over = || {
                let state = self.state();
                state.is_notified || state.is_stopped || self.health.is_poisoned()
            };
            self.signal.wait_until(is_over, wait);
        }
    }

    /// How long the next attempt is not due yet.
    fn delay(&self) -> Option<Duration> {
        let next = self.state().trouble.as_ref()?.next;
        next.checked_sub(self.disk.now()).filter(|d| !d.is_zero())
    }

    fn put_off<E: error::Error + Send + Sync + 'static>(&self, error: E) -> Duration {
        let mut state = self.state();
        let failed = state.trouble.as_ref().map_or(0, |trouble| trouble.attempts);
        let delay = FIRST_DELAY * 2_u32.saturating_pow(failed.min(16));
        let delay = delay.min(LONGEST_DELAY);
        state.trouble = Some(Trouble {
            error: Arc::new(error),
            attempts: failed.saturating_add(1),
            next: self.disk.now().saturating_add(delay),
        });
        delay
    }

    fn stop(&self) {
        self.state().is_stopped = true;
        self.signal.wake();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock can panic half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread of some [`Work`]; stopped and joined when dropped.
#[derive(Debug)]
pub struct Worker {
    work: Arc<Work>,
    _thread: Thread,
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.work.stop();
    }
}

/// The system refused a thread. Nothing was changed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cannot start the thread {name}")]
pub struct NoThread {
    /// What it would have been called.
    pub name: String,
    /// What the system answered.
    pub source: Arc<io::Error>,
}

/// A thread of an engine, joined when dropped; unless it is dropped by itself, it then ends when it has
/// done what it is about.
#[derive(Debug)]
pub struct Thread {
    handle: Option<JoinHandle<()>>,
}

impl Thread {
    /// Starts a thread called `name`. If `run` panics that poisons the handle that `health` is of.
    ///
    /// # Errors
    /// [`NoThread`].
    pub fn spawn(
        name: &str,
        health: &Arc<Health>,
        run: impl FnOnce() + Send + 'static,
    ) -> Result<Self, NoThread> {
        let health = Arc::clone(health);
        let watched = move || {
            // What the panic left is protected by the locks of the handle, which is not written to any more.
            if panic::catch_unwind(AssertUnwindSafe(run)).is_err() {
                health.poison(Failure::Panic);
            }
        };
        let spawned = thread::Builder::new().name(name.to_owned()).spawn(watched);
        let handle = spawned.map_err(|source| NoThread {
            name: name.to_owned(),
            source: Arc::new(source),
        })?;
        Ok(Self {
            handle: Some(handle),
        })
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        let is_other = |thread: &JoinHandle<()>| thread.thread().id() != thread::current().id();
        if let Some(thread) = self.handle.take().filter(is_other) {
            // It has said of a panic all that there is to say.
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod tests;
