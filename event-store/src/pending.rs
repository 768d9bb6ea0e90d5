//! [`Ticket`]: an append that is not waited for yet.

use std::ops::Range;
use std::sync::Arc;

use wal::Expectation;

use crate::append::Appended;
use crate::error::{Error, Result};
use crate::event::{Position, Version};
use crate::store::Store;

/// An append that went to the log.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) ticket: wal::Ticket,
    pub(crate) positions: Range<Position>,
    pub(crate) versions: Vec<Version>,
    /// What it was built on.
    pub(crate) expectation: Expectation,
}

impl Pending {
    /// True if it is acknowledged or has failed.
    pub(crate) fn is_over(&self) -> bool {
        self.ticket.poll().is_some()
    }

    pub(crate) fn appended(&self) -> Appended {
        Appended {
            positions: self.positions.clone(),
            versions: self.versions.clone(),
            was_there: false,
        }
    }
}

/// An append in flight, from [`EventStore::submit`](crate::EventStore::submit). Dropping it changes
/// nothing: the append goes on.
#[derive(Debug)]
#[must_use = "without waiting nobody knows whether the append succeeded"]
pub struct Ticket {
    store: Arc<Store>,
    answer: Answer,
}

/// What becomes of an append.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It was there, or was refused; and that is as safe as the mode says.
    Known(Appended),
    /// It went to the log.
    InFlight(Arc<Pending>),
}

impl Ticket {
    pub(crate) fn new(store: Arc<Store>, answer: Answer) -> Self {
        Self { store, answer }
    }

    /// What the append did if it has been acknowledged, its error if it failed, and `None` if it is still
    /// in flight.
    ///
    /// # Errors
    /// As [`EventStore::write`](crate::EventStore::write).
    pub fn poll(&self) -> Option<Result<Appended>> {
        match &self.answer {
            Answer::Known(appended) => {
                self.store.project_inline();
                Some(Ok(appended.clone()))
            }
            Answer::InFlight(pending) => {
                let result = pending.ticket.poll()?;
                Some(self.store.conclude(pending, result.map_err(Error::from)))
            }
        }
    }

    /// Waits until the append is acknowledged, as the [`SyncMode`](crate::SyncMode) says.
    ///
    /// # Errors
    /// As [`EventStore::write`](crate::EventStore::write).
    pub fn wait(self) -> Result<Appended> {
        match &self.answer {
            Answer::Known(appended) => {
                self.store.project_inline();
                Ok(appended.clone())
            }
            Answer::InFlight(pending) => self.store.wait(pending),
        }
    }
}
