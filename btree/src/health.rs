//! [`Health`]: whether the handle still writes, and what may still be read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use durable_io::engine::{self, Failure};

use crate::error::{Error, Result};

/// The health of the handle, and the last state that is durable.
#[derive(Debug)]
pub(crate) struct Health {
    health: Arc<engine::Health>,
    /// The last version that is durable. In a place of its own: it changes with every commit, and
    /// readers look at what is beside it.
    durable: Box<AtomicU64>,
}

impl Health {
    pub(crate) fn new() -> Self {
        Self {
            health: engine::Health::new(),
            durable: Box::default(),
        }
    }

    pub(crate) fn shared(&self) -> &Arc<engine::Health> {
        &self.health
    }

    #[inline]
    pub(crate) fn is_poisoned(&self) -> bool {
        self.health.is_poisoned()
    }

    pub(crate) fn check(&self) -> Result<()> {
        Ok(self.health.check()?)
    }

    /// Whether a reader at `version` may go on: after a failure only what is durable is shown.
    #[inline]
    pub(crate) fn check_read(&self, version: u64) -> Result<()> {
        if self.is_poisoned() && version > self.durable() {
            return self.check();
        }
        Ok(())
    }

    /// The last version that is durable.
    pub(crate) fn durable(&self) -> u64 {
        self.durable.load(Ordering::SeqCst)
    }

    /// Version `version` is durable.
    pub(crate) fn set_durable(&self, version: u64) {
        self.durable.fetch_max(version, Ordering::SeqCst);
    }

    /// Ends all writing: what failed must not stop half-way.
    pub(crate) fn poison(&self, error: Error) -> Error {
        self.health.poison(failure(&error));
        error
    }

    /// As [`poison`](Health::poison), except for what changed nothing that counts, as a full disk.
    pub(crate) fn note(&self, error: Error) -> Error {
        match &error {
            Error::Disk(cause) | Error::Log(wal::Error::Disk(cause)) if cause.changed_nothing() => {
                error
            }
            _ => self.poison(error),
        }
    }
}

/// What of `error` is told to those who come later.
fn failure(error: &Error) -> Failure {
    match error {
        Error::Disk(error) | Error::Log(wal::Error::Disk(error)) => error.clone().into(),
        Error::Poisoned(poisoned) => poisoned.clone().into(),
        // The log is poisoned itself, or damaged: it says so to whoever asks it.
        _ => durable_io::Error::Poisoned {
            path: crate::names::LOG.into(),
        }
        .into(),
    }
}
