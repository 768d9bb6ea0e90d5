//! Background work: hints, merges, and the interval of [`SyncMode::Batch`].

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use durable_io::SyncMode;

use crate::error::{Error, Result};
use crate::store::{Store, lock};

/// Tells the background that there is something to do.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    wanted: Mutex<Wanted>,
    /// For hints and merges, and for syncs: each has a thread that waits.
    work: Condvar,
    sync: Condvar,
}

#[derive(Debug, Default)]
struct Wanted {
    /// Data files, by number, that want a hint.
    hints: VecDeque<u64>,
    /// The policy is to be asked, or a merge goes on.
    merge: bool,
    stop: bool,
}

impl Bell {
    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        lock(&self.wanted)
    }

    /// Asks for the hint of data file `number`, which was sealed, and for a look at the policy.
    pub(crate) fn ask_for_hint(&self, number: u64) {
        let mut wanted = self.wanted();
        wanted.hints.push_back(number);
        wanted.merge = true;
        drop(wanted);
        self.work.notify_one();
    }

    /// Asks for a look at the policy.
    pub(crate) fn ask_for_merge(&self) {
        self.wanted().merge = true;
        self.work.notify_one();
    }

    /// Says that a write waits for its sync. The lock is taken so that a thread that has just found
    /// nothing to wait for is already waiting for this.
    pub(crate) fn ring_for_sync(&self) {
        drop(self.wanted());
        self.sync.notify_one();
    }

    fn stop(&self) {
        self.wanted().stop = true;
        self.work.notify_one();
        self.sync.notify_one();
    }
}

impl Store {
    /// Runs one step of background work, if there is any; returns whether there was.
    pub(crate) fn run_one_step(&self) -> Result<bool> {
        self.check_healthy()?;
        Ok(self.sync_if_due()? || self.work_once()?.is_some())
    }

    fn sync_if_due(&self) -> Result<bool> {
        let is_due = self.sync_due_in().is_some_and(|wait| wait.is_zero());
        if is_due {
            // Durable: what was acknowledged an interval ago. That is all a power loss may take.
            self.sync()?;
        }
        Ok(is_due)
    }

    /// Writes a hint or does a step of a merge; the bytes it moved, or `None` if nothing is wanted.
    fn work_once(&self) -> Result<Option<u64>> {
        let (hint, merge) = {
            let mut wanted = self.bell.wanted();
            (wanted.hints.pop_front(), wanted.merge)
        };
        if let Some(number) = hint {
            self.write_hint(number);
            return Ok(Some(0));
        }
        if !merge || !self.settings.auto_merge {
            return Ok(None);
        }
        let stepped = match self.merge_step(true) {
            Ok(stepped) => stepped,
            Err(error) => {
                self.bell.wanted().merge = false;
                return match error {
                    // It is looked at again when the next file is sealed.
                    error if error.is_no_space() => Ok(None),
                    Error::Corrupt { .. } => Ok(None),
                    // Nobody else would learn of it.
                    Error::Disk(error) => Err(self.poison(error)),
                    other => Err(other),
                };
            }
        };
        if stepped.is_none() {
            self.bell.wanted().merge = false;
        }
        Ok(stepped)
    }

    /// The thread that works: until it is told to stop or the store is poisoned.
    fn work(&self, rate: Option<u64>) {
        loop {
            // An error has poisoned the store, which is how the next caller learns of it.
            let moved = self.work_once().unwrap_or_default();
            let wanted = self.bell.wanted();
            if wanted.stop || self.is_poisoned() {
                return;
            }
            match (moved, rate) {
                (Some(0), _) | (Some(_), None) => {}
                // At most this many bytes in a second.
                (Some(bytes), Some(rate)) => {
                    let pause = Duration::from_nanos(bytes.saturating_mul(1_000_000_000) / rate);
                    drop(self.bell.work.wait_timeout(wanted, pause));
                }
                (None, _)
                    if !wanted.hints.is_empty() || wanted.merge && self.settings.auto_merge => {}
                (None, _) => {
                    let woken = self.bell.work.wait(wanted);
                    drop(woken.unwrap_or_else(PoisonError::into_inner));
                }
            }
        }
    }

    /// The thread that keeps the interval.
    fn keep_interval(&self) {
        loop {
            let synced = self.sync_if_due();
            let wanted = self.bell.wanted();
            if wanted.stop || synced.is_err() || self.is_poisoned() {
                return;
            }
            // Asked under the bell's lock, so that no ring is missed.
            if let Some(wait) = self.sync_due_in() {
                drop(self.bell.sync.wait_timeout(wanted, wait));
            } else {
                let woken = self.bell.sync.wait(wanted);
                drop(woken.unwrap_or_else(PoisonError::into_inner));
            }
        }
    }
}

/// The background threads; stopped and joined when dropped.
#[derive(Debug)]
pub(crate) struct Workers {
    store: Arc<Store>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts the threads; merges move at most `rate` bytes in a second.
    pub(crate) fn start(store: &Arc<Store>, rate: Option<u64>) -> Result<Self> {
        let mut workers = Self {
            store: Arc::clone(store),
            threads: Vec::new(),
        };
        let shared = Arc::clone(store);
        workers.spawn("bitcask", move || shared.work(rate))?;
        if matches!(store.settings.sync_mode, SyncMode::Batch { .. }) {
            let shared = Arc::clone(store);
            workers.spawn("bitcask-sync", move || shared.keep_interval())?;
        }
        Ok(workers)
    }

    fn spawn(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<()> {
        let thread = thread::Builder::new().name(name.to_owned()).spawn(run);
        let thread = thread.map_err(|source| Error::Thread {
            source: Arc::new(source),
        })?;
        self.threads.push(thread);
        Ok(())
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.store.bell.stop();
        for thread in self.threads.drain(..) {
            // The threads do not panic; if one did, there would be nothing left to save here.
            drop(thread.join());
        }
    }
}
