//! Background work: the index, the interval of [`SyncMode::Batch`], projections, and telling what nobody waits
//! for.

use std::sync::Arc;

#[cfg(doc)]
use durable_io::SyncMode;
use durable_io::engine::{Step, Worker};

use crate::error::{Error, Result};
use crate::store::Store;

impl Store {
    /// Runs one step of background work, if there is any; returns whether there was.
    pub(crate) fn run_one_step(&self) -> Result<bool> {
        self.check()?;
        self.conclude_submitted();
        // A deadline does not wait for other work.
        if self.sync_if_due()? || self.run_logs()? {
            self.conclude_submitted();
            return Ok(true);
        }
        if self.project_once()? {
            return Ok(true);
        }
        self.index_work.run_once(|| self.index_step())
    }

    fn run_logs(&self) -> Result<bool> {
        let ran = self.log.run_background();
        let ran = ran.map_err(|error| self.note(error.into()))?;
        let marks = self.health.lock(&self.marks);
        let marks_ran = marks.log().map_or(Ok(false), wal::Wal::run_background);
        Ok(marks_ran.map_err(|error| self.note(error.into()))? || ran)
    }

    /// Learns what has become of appends that nobody may wait for.
    pub(crate) fn conclude_submitted(&self) {
        loop {
            let front = self.health.lock(&self.head).in_flight.front().cloned();
            let result = front.as_ref().and_then(|pending| pending.ticket.poll());
            let (Some(pending), Some(result)) = (front, result) else {
                return;
            };
            // Whoever submitted it is told by its ticket.
            drop(self.conclude(&pending, result.map_err(Error::from)));
        }
    }

    fn sync_if_due(&self) -> Result<bool> {
        let is_due = self.sync_due_in().is_some_and(|wait| wait.is_zero());
        if is_due {
            // Durable: what was acknowledged an interval ago. That is all a power loss may take.
            self.sync_log()?;
        }
        Ok(is_due)
    }

    /// Keeps the interval, and waits for what nobody waits for.
    fn log_step(&self) -> Result<Step> {
        let front = self.health.lock(&self.head).in_flight.front().cloned();
        if let Some(pending) = front {
            // Whoever submitted it is told by its ticket.
            drop(self.wait(&pending));
            return Ok(Step::Done);
        }
        if self.sync_if_due()? {
            return Ok(Step::Done);
        }
        Ok(self.sync_due_in().map_or(Step::Idle, Step::Wait))
    }

    fn index_step(&self) -> Result<Step> {
        let did = self.index_once()?;
        Ok(if did { Step::Done } else { Step::Idle })
    }
}

/// The background threads; stopped and joined when dropped.
#[derive(Debug)]
pub(crate) struct Workers {
    _log: Worker,
    _index: Worker,
}

impl Workers {
    pub(crate) fn start(store: &Arc<Store>) -> Result<Self> {
        let shared = Arc::clone(store);
        let log = store
            .log_work
            .start("event-store", move || shared.log_step())?;
        let shared = Arc::clone(store);
        let index = store
            .index_work
            .start("event-store-index", move || shared.index_step())?;
        store.index_work.notify();
        Ok(Self {
            _log: log,
            _index: index,
        })
    }
}
