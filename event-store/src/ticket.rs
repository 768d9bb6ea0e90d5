//! [`Ticket`]: an append that is not waited for yet.

use std::sync::Arc;

use crate::append::Appended;
use crate::error::{Error, Result};
use crate::pending::Pending;
use crate::store::Store;

/// An append in flight, from [`EventStore::submit`](crate::EventStore::submit). Dropping it changes
/// nothing: the append continues.
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
