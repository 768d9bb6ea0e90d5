//! What becomes of the items of one commit.

use std::ops::AddAssign;
use std::sync::Arc;

use crate::error::Result;
use crate::item::Item;
use crate::location::{Appended, Location};

/// For each item of a commit where its first record is, or its error. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) enum Results {
    /// Most commits of a thread that is alone; nothing is allocated for them.
    One(Result<Location>),
    Many(Arc<[Result<Location>]>),
}

impl Results {
    /// What `result` says of each of `items`, which it is asked in their order.
    pub(crate) fn of(items: &[Item], mut result: impl FnMut(&Item) -> Result<Location>) -> Self {
        match items {
            [only] => Self::One(result(only)),
            _ => Self::Many(items.iter().map(result).collect()),
        }
    }

    /// Where the first record of item `index` is.
    pub(crate) fn first(&self, index: usize) -> Result<Location> {
        let own = match self {
            Self::One(result) => Some(result),
            Self::Many(results) => results.get(index),
        };
        own.cloned()
            .expect("the leader gives one result for each item")
    }

    /// Where item `index` is, which has `count` records.
    pub(crate) fn appended(&self, index: usize, count: u64) -> Result<Appended> {
        Ok(Appended::new(self.first(index)?, count))
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
    pub(crate) fn add(&mut self, item: &Item) {
        self.writes += u64::from(!item.is_sync());
        self.records += item.count();
        self.bytes += item.payload_bytes();
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.writes += other.writes;
        self.records += other.records;
        self.bytes += other.bytes;
    }
}
