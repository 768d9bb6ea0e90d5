//! [`Lsn`] and [`Record`]: what a log is made of.

use std::fmt;

/// The position of a record in its log: 1, 2, 3, … without a gap, never given twice. `Lsn(0)` stands
/// before the first record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Lsn(pub u64);

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Lsn {
    /// The position after this one.
    pub(crate) fn next(self) -> Self {
        self.plus(1)
    }

    /// The position before this one; of `Lsn(0)`, itself.
    pub(crate) fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// `count` positions on. A log of 2^64 records cannot exist; numbers read from a disk are
    /// bounded when they are decoded.
    pub(crate) fn plus(self, count: u64) -> Self {
        Self(self.0.saturating_add(count))
    }
}

/// One record, as [`Records`](crate::Records) gives it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// Its position.
    pub lsn: Lsn,
    /// What was appended.
    pub payload: Vec<u8>,
}
