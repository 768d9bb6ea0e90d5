//! [`Expectation`]: what an append is built on.

use std::fmt;

use crate::lsn::Lsn;

/// The state of a log that an append is built on: the position that it must get, and how often an append
/// had been refused when that was learned.
///
/// A full disk refuses an append without poisoning the log, and a smaller one after it may fit. If that
/// one was built on the first, as the next transaction of a tree is, the log would hold the second
/// without the first. The position alone does not tell: an unrelated append may get it. So an append by
/// [`Wal::submit_at`](crate::Wal::submit_at) is written only if it gets this position and nothing was
/// refused, and no end of the log truncated, since this was learned; and whatever was built on an append
/// that is refused is refused, too.
///
/// It belongs to the handle that it is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Expectation {
    pub(crate) lsn: Lsn,
    pub(crate) refusals: u64,
}

impl Expectation {
    /// The position that the first record is to get.
    pub fn lsn(&self) -> Lsn {
        self.lsn
    }

    /// How often an append had been refused, or the end of the log truncated, by the handle.
    pub fn refusals(&self) -> u64 {
        self.refusals
    }

    /// What to expect after an append of `records` records that was submitted with this expectation,
    /// whether or not it is acknowledged yet.
    #[must_use]
    pub fn after(self, records: u64) -> Self {
        Self {
            lsn: self.lsn.plus(records),
            ..self
        }
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "position {} after {} refusals", self.lsn, self.refusals)
    }
}
