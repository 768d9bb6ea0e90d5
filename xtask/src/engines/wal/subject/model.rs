//! What a user sees of a log, and how each letter changes that.

use super::alphabet::{CHAIN_FIRST, Op, index, lengths};

/// What a user sees of a log: which records are there, by the operation that wrote them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) first: u64,
    /// Operation and index within its batch, from `first` on.
    pub(crate) records: Vec<(u64, usize)>,
    /// At least this much is proven durable by the superblock alone.
    pub(crate) durable_in_superblock: u64,
    pub(crate) checkpoint: u64,
    /// The operation that wrote the note that is beside that.
    pub(crate) note: Option<u64>,
}

impl State {
    /// The newest record; the one before the first if there is none.
    pub(super) fn last(&self) -> u64 {
        self.first + self.records.len() as u64 - 1
    }

    /// Of a log without records.
    pub(super) fn empty() -> Self {
        Self {
            first: 1,
            records: Vec::new(),
            durable_in_superblock: 0,
            checkpoint: 0,
            note: None,
        }
    }

    /// What operation `n`, which is `op`, makes of it.
    pub(super) fn after(&self, op: Op, n: u64) -> Self {
        let mut after = self.clone();
        let is_built_on_nothing = op == Op::ChainSecond
            && self
                .records
                .last()
                .is_none_or(|(_, index)| *index != CHAIN_FIRST);
        if !is_built_on_nothing {
            let indices = (0..lengths(op).len()).map(|i| index(op, i));
            after.records.extend(indices.map(|index| (n, index)));
        }
        match op {
            Op::Truncate if !after.records.is_empty() => {
                after.first += after.records.len() as u64 - 1;
                after.records.drain(..after.records.len() - 1);
            }
            Op::Empty => {
                after.note = Some(n);
                after.first += after.records.len() as u64;
                after.records.clear();
            }
            Op::Checkpoint => {
                after.checkpoint = after.last();
                after.note = Some(n);
            }
            Op::TruncateNewest | Op::TruncateAll => {
                let left = if op == Op::TruncateAll {
                    0
                } else {
                    after.records.len().saturating_sub(1)
                };
                after.records.truncate(left);
                after.checkpoint = after.checkpoint.min(after.last());
                after.durable_in_superblock = after.durable_in_superblock.min(after.last());
            }
            // A clean close leaves a superblock that covers everything.
            Op::Close => after.durable_in_superblock = after.last(),
            _ => {}
        }
        after
    }

    /// True if it may be seen where `expected` is.
    pub(super) fn is(&self, expected: &Self) -> bool {
        let same = expected.first == self.first
            && expected.records == self.records
            && expected.checkpoint == self.checkpoint
            && expected.note == self.note;
        same && self.durable_in_superblock >= expected.durable_in_superblock
    }
}
