//! Background work: hints, merges, and the interval of [`SyncMode::Batch`].

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use durable_io::SyncMode;
use durable_io::engine::{Step, Work, Worker};

use crate::error::{Error, Result};
use crate::store::Store;

/// Hints and merges: what is to be done, and its bell.
#[derive(Debug)]
pub(crate) struct Tidying {
    pub(crate) work: Arc<Work>,
    wanted: Mutex<Wanted>,
}

#[derive(Debug, Default)]
struct Wanted {
    /// Data files, by number, that want a hint.
    hints: VecDeque<u64>,
    /// The policy is to be asked, or a merge goes on.
    merge: bool,
}

impl Tidying {
    pub(crate) fn new(work: Arc<Work>) -> Self {
        Self {
            work,
            wanted: Mutex::default(),
        }
    }
}

impl Store {
    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.health.lock(&self.tidying.wanted)
    }

    /// Asks for the hint of data file `number`, which was sealed, and for a look at the policy.
    pub(crate) fn ask_for_hint(&self, number: u64) {
        let mut wanted = self.wanted();
        wanted.hints.push_back(number);
        wanted.merge = true;
        drop(wanted);
        self.tidying.work.notify();
    }

    /// Asks for a look at the policy.
    pub(crate) fn ask_for_merge(&self) {
        self.wanted().merge = true;
        self.tidying.work.notify();
    }

    /// Runs one step of background work, if there is any; returns whether there was.
    pub(crate) fn run_one_step(&self) -> Result<bool> {
        self.check_healthy()?;
        let has_synced = self.gate.interval().run_once(|| self.sync_if_due())?;
        // Nobody waits here for what a rate allows.
        Ok(has_synced || self.tidying.work.run_once(|| self.tidy(None))?)
    }

    fn sync_if_due(&self) -> Result<Step> {
        self.gate.keep_interval(|| {
            // Durable: what was acknowledged an interval ago. That is all a power loss may take.
            self.sync()
        })
    }

    /// Writes a hint or does a step of a merge, which reads at most `rate` bytes in a second.
    fn tidy(&self, rate: Option<u64>) -> Result<Step> {
        let (hint, merge) = {
            let mut wanted = self.wanted();
            (wanted.hints.pop_front(), wanted.merge)
        };
        if let Some(number) = hint {
            self.write_hint(number);
            return Ok(Step::Done);
        }
        if !merge || !self.settings.auto_merge {
            return Ok(Step::Idle);
        }
        let stepped = match self.merge_step(true) {
            Ok(stepped) => stepped,
            Err(error) => {
                return match error {
                    // It is looked at again when the next file is sealed.
                    Error::Corrupt { .. } => {
                        self.wanted().merge = false;
                        Ok(Step::Idle)
                    }
                    // Nobody else would learn of it. What changed nothing is tried again.
                    Error::Disk(error) => Err(Error::Disk(self.health.note(error))),
                    other => Err(other),
                };
            }
        };
        Ok(match (stepped, rate) {
            (None, _) => {
                self.wanted().merge = false;
                Step::Idle
            }
            (Some(bytes @ 1..), Some(rate)) => {
                let pause = bytes.saturating_mul(1_000_000_000) / rate;
                Step::Wait(Duration::from_nanos(pause))
            }
            (Some(_), _) => Step::Done,
        })
    }

    /// Starts the threads: one that writes hints and merges and, where there is an interval, one that
    /// keeps it. Merges read at most `rate` bytes in a second.
    pub(crate) fn start_workers(self: &Arc<Self>, rate: Option<u64>) -> Result<Vec<Worker>> {
        let store = Arc::clone(self);
        let work = &self.tidying.work;
        let mut workers = vec![work.start("bitcask", move || store.tidy(rate))?];
        if matches!(self.gate.mode(), SyncMode::Batch { .. }) {
            let store = Arc::clone(self);
            let interval = self.gate.interval();
            workers.push(interval.start("bitcask-sync", move || store.sync_if_due())?);
        }
        Ok(workers)
    }
}
