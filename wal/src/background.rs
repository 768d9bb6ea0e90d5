//! Background work: making the next segment ready, and keeping the interval of [`SyncMode::Batch`].

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use durable_io::SyncMode;

use crate::error::{Error, Result};
use crate::log::{Log, lock};

/// Tells the background that there is something to do.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    wanted: Mutex<Wanted>,
    rung: Condvar,
}

#[derive(Debug, Default)]
struct Wanted {
    spare: bool,
    stop: bool,
}

impl Bell {
    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        lock(&self.wanted)
    }

    /// Asks for the next segment.
    pub(crate) fn ask_for_spare(&self) {
        self.wanted().spare = true;
        self.rung.notify_one();
    }

    /// Says that an append waits for its sync. The lock is taken so that a thread that has just
    /// found nothing to wait for is already waiting for this.
    pub(crate) fn ring(&self) {
        drop(self.wanted());
        self.rung.notify_one();
    }

    fn stop(&self) {
        self.wanted().stop = true;
        self.rung.notify_one();
    }
}

impl Log {
    /// Runs one step of background work, if there is any; returns whether there was.
    pub(crate) fn run_one_step(&self) -> Result<bool> {
        self.check_healthy()?;
        if self.sync_due_in().is_some_and(|wait| wait.is_zero()) {
            // Durable: what was acknowledged an interval ago. That is all a power loss may take.
            self.sync()?;
            return Ok(true);
        }
        if !self.bell.wanted().spare {
            return Ok(false);
        }
        self.step_spare()?;
        Ok(true)
    }

    /// How long until the interval is over; `None` if nothing waits for it.
    fn sync_due_in(&self) -> Option<Duration> {
        let SyncMode::Batch { interval, .. } = self.sync_mode else {
            return None;
        };
        let since = self.view().waiting_since?;
        Some(
            since
                .saturating_add(interval)
                .saturating_sub(self.disk.now()),
        )
    }

    fn step_spare(&self) -> Result<()> {
        // Held across I/O: a rotation that needs the spare waits for the step and takes the rest.
        let mut spare = lock(&self.spare);
        let stepped = spare.step();
        if stepped.is_ok() && spare.is_on_disk() {
            self.counters
                .top
                .fetch_max(spare.number(), std::sync::atomic::Ordering::Relaxed);
        }
        if stepped.is_err() || spare.is_ready() {
            // A full disk is not tried again here: the rotation that needs the segment does.
            self.bell.wanted().spare = false;
        }
        match stepped {
            Err(durable_io::Error::NoSpace { .. }) | Ok(()) => Ok(()),
            Err(error) => Err(self.poison(error)),
        }
    }

    /// The thread: steps until it is told to stop or the log is poisoned.
    fn run(&self) {
        loop {
            // An error has poisoned the log, which is how the next caller learns of it.
            while !self.bell.wanted().stop && self.run_one_step().unwrap_or(false) {}
            let wanted = self.bell.wanted();
            if wanted.stop || self.is_poisoned() {
                return;
            }
            if wanted.spare {
                continue;
            }
            // Asked under the bell's lock, so that no ring is missed.
            match self.sync_due_in() {
                Some(wait) => drop(self.bell.rung.wait_timeout(wanted, wait)),
                None => drop(
                    self.bell
                        .rung
                        .wait(wanted)
                        .unwrap_or_else(PoisonError::into_inner),
                ),
            }
        }
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<Option<JoinHandle<()>>> {
    let thread = thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map_err(|source| Error::Thread {
            source: Arc::new(source),
        })?;
    Ok(Some(thread))
}

/// The thread that commits what nobody waits for; stopped, when all is committed, and joined when
/// dropped. Not the background thread, which may be busy with a segment.
#[derive(Debug)]
pub(crate) struct Committer {
    log: Arc<Log>,
    thread: Option<JoinHandle<()>>,
}

impl Committer {
    pub(crate) fn start(log: &Arc<Log>) -> Result<Self> {
        let shared = Arc::clone(log);
        let serve = move || {
            while shared.queue.wait_for_group() {
                shared.commit_submitted();
            }
        };
        Ok(Self {
            log: Arc::clone(log),
            thread: spawn("wal-commit", serve)?,
        })
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.log.queue.stop();
        // The handle may be dropped by the last callback that held it, in that thread: it then ends
        // when the callback returns.
        let is_other = |thread: &JoinHandle<()>| thread.thread().id() != thread::current().id();
        if let Some(thread) = self.thread.take().filter(is_other) {
            // As below.
            drop(thread.join());
        }
    }
}

/// The background thread; stopped and joined when dropped.
#[derive(Debug)]
pub(crate) struct Worker {
    log: Arc<Log>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    pub(crate) fn start(log: &Arc<Log>) -> Result<Self> {
        let shared = Arc::clone(log);
        Ok(Self {
            log: Arc::clone(log),
            thread: spawn("wal", move || shared.run())?,
        })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.log.bell.stop();
        if let Some(thread) = self.thread.take() {
            // The thread does not panic; if it did, there would be nothing left to save here.
            drop(thread.join());
        }
    }
}
