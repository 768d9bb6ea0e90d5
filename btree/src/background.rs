//! Background work: checkpoints.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use durable_io::engine::{Step, Work, Worker};

use crate::error::{Error, Result};
use crate::store::Store;

/// Checkpoints that are asked for.
#[derive(Debug)]
pub(crate) struct Background {
    work: Arc<Work>,
    is_wanted: AtomicBool,
}

impl Background {
    pub(crate) fn new(work: Arc<Work>) -> Self {
        Self {
            work,
            is_wanted: AtomicBool::new(false),
        }
    }

    pub(crate) fn ask_for_checkpoint(&self) {
        self.is_wanted.store(true, Ordering::SeqCst);
        self.work.ring();
    }
}

impl Store {
    /// Runs one step of background work, if there is any; returns whether there was.
    pub(crate) fn run_one_step(&self) -> Result<bool> {
        if self.log.run_background()? {
            return Ok(true);
        }
        self.background.work.run_once(|| self.work_once())
    }

    /// Goes on with a checkpoint that was begun, or begins one that is wanted.
    fn work_once(&self) -> Result<Step> {
        if self.checkpoint_step(false)? {
            return Ok(Step::Done);
        }
        let is_wanted = &self.background.is_wanted;
        if !is_wanted.swap(false, Ordering::SeqCst) {
            return Ok(Step::Idle);
        }
        match self.checkpoint_step(true) {
            Ok(true) => Ok(Step::Done),
            Ok(false) => Ok(Step::Idle),
            Err(error) => {
                // It is tried again.
                is_wanted.store(true, Ordering::SeqCst);
                match error {
                    // Whoever asks for a step in the middle of a transaction asks again after it.
                    Error::StillOpen => Ok(Step::Idle),
                    error => Err(error),
                }
            }
        }
    }

    /// Starts the thread that works.
    pub(crate) fn start(self: &Arc<Self>) -> Result<Worker> {
        let store = Arc::clone(self);
        let work = move || store.work_once();
        Ok(self.background.work.start("btree", work)?)
    }

    /// Why the last attempt at a checkpoint failed, if it did.
    pub(crate) fn trouble(&self) -> Option<durable_io::engine::Trouble> {
        self.background.work.trouble()
    }
}
