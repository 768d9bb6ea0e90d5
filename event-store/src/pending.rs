//! An append that went to the log and is not concluded yet.

use std::ops::Range;

use wal::Expectation;

use crate::append::Appended;
use crate::ids::{Position, Version};

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
