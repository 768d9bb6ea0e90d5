//! Background work: making the next segment ready, keeping the interval of
//! [`SyncMode::Batch`](crate::SyncMode), and committing what nobody waits for.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use durable_io::SyncMode;
use durable_io::engine::{Step, Thread, Worker};

use crate::error::Result;
use crate::log::Log;
use crate::slot::Superblock;
use crate::writer::Writer;

impl Log {
    /// Asks for what the writer, which is held, will need soon: the edge of its segment one step further,
    /// and the next segment when half of this one is used.
    pub(crate) fn prepare(&self, writer: &Writer) {
        let (offset, number) = (writer.offset(), writer.number());
        let wants_edge = self.edge.has_used(offset);
        let left = writer.size().saturating_sub(offset);
        let is_late = left <= (self.segment_size / 2).max(self.zero_step);
        // Asked for once: the rotation that needs the segment gets the error of a full disk, if it is still full.
        let wants_preallocated =
            is_late && self.preallocated_after.fetch_max(number, Ordering::Relaxed) < number;
        if wants_preallocated {
            self.wants_preallocated.store(true, Ordering::SeqCst);
        }
        if wants_edge || wants_preallocated {
            self.making.notify();
        }
    }

    /// Makes the superblock name segment `number` as the newest one, durably: the loss of it will be seen.
    pub(crate) fn name_newest(&self, number: u64) -> durable_io::Result<()> {
        // Held across I/O: superblocks are written one at a time, in the order of their sequence.
        let mut superblock = self.health.lock(&self.superblock);
        // One that is named already was replaced, in one step.
        if number <= superblock.current().newest {
            return Ok(());
        }
        let new = Superblock {
            durable: self.durable(),
            time: self.clock.last(),
            newest: number,
            ..superblock.current().clone()
        };
        // Whatever failed but for want of space: which slot is durable is not known any more.
        superblock
            .advance(new)
            .map_err(|error| self.health.note(error))
    }

    /// Runs one step of background work, if there is any; returns whether there was.
    pub(crate) fn run_one_step(&self) -> Result<bool> {
        self.check_healthy()?;
        let has_synced = self.gate.interval().run_once(|| self.sync_if_due())?;
        Ok(has_synced || self.making.run_once(|| self.step_ahead())?)
    }

    fn sync_if_due(&self) -> Result<Step> {
        self.gate.keep_interval(|| {
            // Durable: what was acknowledged an interval ago. That is all a power loss may take.
            self.make_all_durable().map(drop)
        })
    }

    fn step_ahead(&self) -> Result<Step> {
        if !self.edge.is_wanted() {
            return self.step_preallocated();
        }
        // Held across I/O: an append that needs the edge waits for the step.
        let file = self.edge.hold(&self.health);
        self.check_healthy()?;
        match self.edge.step(&file) {
            Ok(_) => Ok(Step::Done),
            Err(error) => self.refused(error),
        }
    }

    /// What a step is that failed by `error`: done, if that changed nothing. It is not tried again here:
    /// the append that needs it does.
    fn refused(&self, error: durable_io::Error) -> Result<Step> {
        let error = self.poison_unless_full(error);
        if self.is_poisoned() {
            return Err(error);
        }
        Ok(Step::Done)
    }

    fn step_preallocated(&self) -> Result<Step> {
        if !self.wants_preallocated.load(Ordering::SeqCst) {
            return Ok(Step::Idle);
        }
        // Held across I/O: a rotation that needs the preallocated segment waits for the step and takes the rest.
        let mut preallocated = self.health.lock(&self.preallocated);
        self.check_healthy()?;
        let stepped = preallocated.step(self.zero_step, &self.clock, &|number| {
            self.name_newest(number)
        });
        if stepped.is_ok() && preallocated.is_on_disk() {
            let top = &self.counters.top;
            top.fetch_max(preallocated.number(), Ordering::Relaxed);
        }
        if stepped.is_err() || preallocated.is_ready() {
            self.wants_preallocated.store(false, Ordering::SeqCst);
        }
        match stepped {
            Ok(()) => Ok(Step::Done),
            Err(error) => self.refused(error),
        }
    }

    /// Starts the threads: one that makes segments and, where there is an interval, one that keeps it.
    pub(crate) fn start_workers(self: &Arc<Self>) -> Result<Vec<Worker>> {
        let log = Arc::clone(self);
        let mut workers = vec![self.making.start("wal", move || log.step_ahead())?];
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
