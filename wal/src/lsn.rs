//! [`Lsn`] and [`Record`]: what a log is made of.

use std::fmt;

/// The position of a record in its log: 1, 2, 3, … without a gap. `Lsn(0)` is before the first
/// record. A position is given again only if its record was taken back: by
/// [`Wal::truncate_after`](crate::Wal::truncate_after), by a repair, or by a crash before it was
/// durable.
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
    #[must_use]
    pub const fn next(self) -> Self {
        self.plus(1)
    }

    /// The position before this one; of `Lsn(0)`, itself.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// `count` positions on. A log of 2^64 records cannot exist; numbers read from a disk are
    /// bounded when they are decoded.
    pub(crate) const fn plus(self, count: u64) -> Self {
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
