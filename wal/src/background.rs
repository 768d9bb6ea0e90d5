//! Background work: making the next segment ready, keeping the interval of
//! [`SyncMode::Batch`](crate::SyncMode), and committing what nobody waits for.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use durable_io::SyncMode;
use durable_io::engine::{Step, Thread, Worker};

use crate::error::Result;
use crate::log::Log;

impl Log {
    /// Asks for the next segment.
    pub(crate) fn ask_for_spare(&self) {
        self.wants_spare.store(true, Ordering::SeqCst);
        self.making.ring();
    }

    /// Runs one step of background work, if there is any; returns whether there was.
    pub(crate) fn run_one_step(&self) -> Result<bool> {
        self.check_healthy()?;
        let has_synced = self.gate.interval().run_once(|| self.sync_if_due())?;
        Ok(has_synced || self.making.run_once(|| self.step_spare())?)
    }

    fn sync_if_due(&self) -> Result<Step> {
        self.gate.keep_interval(|| {
            // Durable: what was acknowledged an interval ago. That is all a power loss may take.
            self.sync().map(drop)
        })
    }

    fn step_spare(&self) -> Result<Step> {
        if !self.wants_spare.load(Ordering::SeqCst) {
            return Ok(Step::Idle);
        }
        // Held across I/O: a rotation that needs the spare waits for the step and takes the rest.
        let mut spare = self.health.lock(&self.spare);
        self.check_healthy()?;
        let stepped = spare.step();
        if stepped.is_ok() && spare.is_on_disk() {
            let top = &self.counters.top;
            top.fetch_max(spare.number(), Ordering::Relaxed);
        }
        if stepped.is_err() || spare.is_ready() {
            // A full disk is not tried again here: the rotation that needs the segment does.
            self.wants_spare.store(false, Ordering::SeqCst);
        }
        match stepped {
            Err(durable_io::Error::NoSpace { .. }) | Ok(()) => Ok(Step::Done),
            Err(error) => Err(self.poison(error)),
        }
    }

    /// Starts the threads: one that makes segments and, where there is an interval, one that keeps it.
    pub(crate) fn start_workers(self: &Arc<Self>) -> Result<Vec<Worker>> {
        let log = Arc::clone(self);
        let mut workers = vec![self.making.start("wal", move || log.step_spare())?];
        if matches!(self.gate.mode(), SyncMode::Batch { .. }) {
            let log = Arc::clone(self);
            let interval = self.gate.interval();
            workers.push(interval.start("wal-sync", move || log.sync_if_due())?);
        }
        Ok(workers)
    }
}

/// The thread that commits what nobody waits for; stopped, when all is committed, and joined when
/// dropped; unless the last callback that held the handle drops it, in that thread: it then ends when
/// the callback returns.
#[derive(Debug)]
pub(crate) struct Committer {
    log: Arc<Log>,
    _thread: Thread,
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
            _thread: Thread::spawn("wal-commit", &log.health, serve)?,
        })
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.log.queue.stop();
    }
}
