//! What becomes of the items of one commit.

use std::ops::{AddAssign, Range};
use std::sync::Arc;

use crate::error::Result;
use crate::frame::Item;
use crate::lsn::Lsn;

/// For each item of a commit its first LSN, or its error. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) enum Results {
    /// Most commits of a thread that is alone; nothing is allocated for them.
    One(Result<Lsn>),
    Many(Arc<[Result<Lsn>]>),
}

impl Results {
    /// What `result` says of each of `items`, which it is asked in their order.
    pub(crate) fn of(items: &[Item], mut result: impl FnMut(&Item) -> Result<Lsn>) -> Self {
        match items {
            [only] => Self::One(result(only)),
            _ => Self::Many(items.iter().map(result).collect()),
        }
    }

    /// The first LSN of item `index`.
    pub(crate) fn first(&self, index: usize) -> Result<Lsn> {
        let own = match self {
            Self::One(result) => Some(result),
            Self::Many(results) => results.get(index),
        };
        own.cloned()
            .expect("the leader gives one result for each item")
    }

    /// The LSNs of item `index`, which has `count` records.
    pub(crate) fn range(&self, index: usize, count: u64) -> Result<Range<Lsn>> {
        let first = self.first(index)?;
        Ok(first..first.plus(count))
    }
}

/// What was acknowledged.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// Whole calls.
    pub(crate) writes: u64,
    pub(crate) records: u64,
    /// Of payload.
    pub(crate) bytes: u64,
}

impl Tally {
    pub(crate) fn of(items: &[Item]) -> Self {
        items.iter().fold(Self::default(), |sum, item| Self {
            writes: sum.writes + 1,
            records: sum.records + item.count(),
            bytes: sum.bytes + item.payload_bytes(),
        })
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.writes += other.writes;
        self.records += other.records;
        self.bytes += other.bytes;
    }
}
