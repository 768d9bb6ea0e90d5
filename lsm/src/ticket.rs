//! [`Ticket`]: a write that is not waited for yet.

use std::sync::{Arc, OnceLock};

use durable_io::engine::Signal;
use wal::Appended;

use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::store::Store;
use crate::tree::Tree;

/// A write in flight, from [`Lsm::submit`](crate::Lsm::submit). Dropping it changes nothing: the write
/// goes on.
#[derive(Debug)]
#[must_use = "without waiting nobody knows whether the write succeeded"]
pub struct Ticket {
    store: Arc<Store>,
    outcome: Arc<Outcome>,
}

/// What becomes of a write.
#[derive(Debug, Default)]
struct Outcome {
    /// The last version of the batch.
    result: OnceLock<Result<u64>>,
    known: Signal,
}

/// A batch on its way through the log, inside the gate.
struct InFlight {
    store: Arc<Store>,
    outcome: Arc<Outcome>,
    batch: Arc<Batch>,
    trees: Vec<Arc<Tree>>,
}

impl InFlight {
    fn end(&self, result: Result<u64>) {
        self.outcome.result.get_or_init(|| result);
        self.outcome.known.wake();
    }

    fn appended(&self, appended: wal::Result<Appended>) -> Result<u64> {
        let versions = self.store.note_appended(appended)?;
        let last = versions.end - 1;
        self.store.publish(&self.batch, &self.trees, versions);
        Ok(last)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.outcome.result.get().is_none() {
            // It was refused before it was in flight, or a panic has poisoned the store.
            let error = self.store.check_healthy().err();
            self.end(Err(error.unwrap_or(Error::Closed)));
        }
        self.store.gate.leave();
    }
}

impl Ticket {
    /// The result of the write if it has been acknowledged or has failed, and `None` if it is still in
    /// flight. Cheap: no lock, no system call.
    ///
    /// # Errors
    /// As [`Keyspace::put`](crate::Keyspace::put).
    pub fn poll(&self) -> Option<Result<()>> {
        match self.outcome.result.get()? {
            Ok(last) if self.store.sequence.visible() < *last => None,
            Ok(_) => Some(Ok(())),
            Err(error) => Some(Err(error.clone())),
        }
    }

    /// Waits until the write is acknowledged, as the [`SyncMode`](crate::SyncMode) says, and visible.
    ///
    /// # Errors
    /// As [`Keyspace::put`](crate::Keyspace::put).
    pub fn wait(self) -> Result<()> {
        let outcome = &self.outcome;
        while outcome.result.get().is_none() && self.store.help() {}
        let is_known = || outcome.result.get().is_some();
        outcome.known.wait_until(is_known, None);
        let last = outcome.result.get().expect("it was waited for").clone()?;
        self.store.wait_until_visible(last)
    }
}

impl Store {
    /// Begins to do all of `batch`.
    pub(crate) fn submit(self: &Arc<Self>, mut batch: Batch) -> Result<Ticket> {
        batch.check()?;
        self.check_healthy()?;
        let outcome = Arc::new(Outcome::default());
        let ticket = Ticket {
            store: Arc::clone(self),
            outcome: Arc::clone(&outcome),
        };
        if batch.is_empty() {
            outcome.result.get_or_init(|| Ok(0));
            return Ok(ticket);
        }
        self.make_room(batch.byte_len() as u64)?;
        self.freeze_due();
        self.gate.enter();
        let mut in_flight = InFlight {
            store: Arc::clone(self),
            outcome,
            batch: Arc::default(),
            trees: Vec::new(),
        };
        in_flight.trees = self.resolve(&mut batch)?;
        let batch = Arc::new(batch);
        in_flight.batch = Arc::clone(&batch);
        let payloads: Vec<&[u8]> = batch.payloads().collect();
        let done = move |appended| {
            let result = in_flight.appended(appended);
            in_flight.end(result);
        };
        // Durable, as the mode says, when `done` is called. Only now may anybody see it.
        self.log.submit_then(&payloads, done)?;
        Ok(ticket)
    }
}
