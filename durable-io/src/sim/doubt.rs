//! [`Doubt`]: why an exploration that found nothing may have proven nothing.

use std::fmt;

/// Why an exploration that found nothing may have proven nothing. `Display` says what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Doubt {
    /// The store made no call to the simulated disk.
    NoCalls,
    /// It made some, and none that writes.
    NoWrites,
    /// [`Subject::operations`](super::Subject::operations) is empty.
    NoOperations,
    /// A [`StartStep::CrashDuring`](super::StartStep::CrashDuring) of the start of this name ends an operation that has no
    /// barrier: the power failed after the whole operation.
    CrashWithoutBarrier(&'static str),
    /// The time of the [`Bound`](super::Bound) ran out before every sequence was tried.
    OutOfTime,
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCalls => f.write_str(
                "the store made no call to the simulated disk: it uses std::fs, or another disk than the one that \
                 Subject::open is given",
            ),
            Self::NoWrites => f.write_str(
                "the store wrote nothing to the simulated disk, so no crash could take anything",
            ),
            Self::NoOperations => f.write_str(
                "Subject::operations is empty: nothing was done but to open the store",
            ),
            Self::CrashWithoutBarrier(start) => write!(
                f,
                "the start {start:?} ends an operation that has no barrier: the power fails after all of it, which \
                 may not be the state that the start is named for"
            ),
            Self::OutOfTime => f.write_str(
                "the time ran out before every sequence was tried: shorten the bound, or give it more time",
            ),
        }
    }
}
