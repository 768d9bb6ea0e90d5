//! [`Batch`]: operations that are done together.

use crate::error::{Error, Result};
use crate::keyspace::Keyspace;
use crate::limits::{MAX_BATCH_RANGES, MAX_KEY_SIZE};
use crate::record::{Action, HEADER_SIZE, Record};
use crate::tree::DEFAULT_SLOT;

/// Operations that are done together, on one or several keyspaces: after any crash all of them are there
/// or none, and readers see all of them or none. They count in their order: a
/// [`delete_range`](Batch::delete_range) hides what stands before it in the same batch, and not what
/// stands behind it.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The records, one behind the other, each with 0 for the id of its keyspace.
    bytes: Vec<u8>,
    operations: Vec<Operation>,
    /// What is wrong with one of them.
    refused: Option<Error>,
    ranges: usize,
    puts: usize,
}

/// Where an operation stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operation {
    /// Where its record ends in the bytes of the batch.
    pub(crate) end: usize,
    /// The slot of its keyspace.
    pub(crate) slot: u64,
}

impl Batch {
    /// A batch of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives `key` the value `value`, in the default keyspace.
    #[must_use]
    pub fn put(mut self, key: &[u8], value: &[u8]) -> Self {
        self.push(DEFAULT_SLOT, Action::Put, key, value);
        self
    }

    /// Makes `key` absent, in the default keyspace.
    #[must_use]
    pub fn delete(mut self, key: &[u8]) -> Self {
        self.push(DEFAULT_SLOT, Action::Delete, key, &[]);
        self
    }

    /// Makes all keys from `start` to `end`, which is excluded, absent, in the default keyspace.
    #[must_use]
    pub fn delete_range(mut self, start: &[u8], end: &[u8]) -> Self {
        self.push(DEFAULT_SLOT, Action::DeleteRange, start, end);
        self
    }

    /// Like [`put`](Batch::put), in `keyspace`.
    #[must_use]
    pub fn put_in(mut self, keyspace: &Keyspace, key: &[u8], value: &[u8]) -> Self {
        self.push(keyspace.slot(), Action::Put, key, value);
        self
    }

    /// Like [`delete`](Batch::delete), in `keyspace`.
    #[must_use]
    pub fn delete_in(mut self, keyspace: &Keyspace, key: &[u8]) -> Self {
        self.push(keyspace.slot(), Action::Delete, key, &[]);
        self
    }

    /// Like [`delete_range`](Batch::delete_range), in `keyspace`.
    #[must_use]
    pub fn delete_range_in(mut self, keyspace: &Keyspace, start: &[u8], end: &[u8]) -> Self {
        self.push(keyspace.slot(), Action::DeleteRange, start, end);
        self
    }

    /// How many operations it has.
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// True if it has none.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// Adds an operation; an empty range is left out.
    pub(crate) fn push(&mut self, slot: u64, action: Action, key: &[u8], value: &[u8]) {
        let is_range = action == Action::DeleteRange;
        let size = if is_range {
            key.len().max(value.len())
        } else {
            key.len()
        };
        if size > MAX_KEY_SIZE {
            self.refuse("a key", size, MAX_KEY_SIZE);
            return;
        }
        if value.len() > sstable::MAX_VALUE_SIZE {
            self.refuse("a value", value.len(), sstable::MAX_VALUE_SIZE);
            return;
        }
        if is_range {
            if key >= value {
                return;
            }
            self.ranges += 1;
            if self.ranges > MAX_BATCH_RANGES {
                let what = "the number of ranges in a batch";
                self.refuse(what, self.ranges, MAX_BATCH_RANGES);
                return;
            }
        }
        self.puts += usize::from(action == Action::Put);
        self.bytes.reserve(HEADER_SIZE + key.len() + value.len());
        let record = Record {
            keyspace: 0,
            action,
            key,
            value,
        };
        record.encode(&mut self.bytes);
        self.operations.push(Operation {
            end: self.bytes.len(),
            slot,
        });
    }

    fn refuse(&mut self, what: &'static str, size: usize, limit: usize) {
        self.refused.get_or_insert(Error::TooLarge {
            what,
            size: size as u64,
            limit: limit as u64,
        });
    }

    /// The error of an operation that is over a limit.
    pub(crate) fn check(&self) -> Result<()> {
        self.refused.clone().map_or(Ok(()), Err)
    }

    /// True if it gives space back in the end, and takes little before.
    pub(crate) fn only_deletes(&self) -> bool {
        self.puts == 0
    }

    pub(crate) fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// Puts the ids of the keyspaces into the records.
    pub(crate) fn set_keyspaces(&mut self, ids: &[u32]) {
        let mut start = 0;
        for (operation, id) in self.operations.iter().zip(ids) {
            if let Some(payload) = self.bytes.get_mut(start..operation.end) {
                crate::record::set_keyspace(payload, *id);
            }
            start = operation.end;
        }
    }

    /// The records, in order.
    pub(crate) fn payloads(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.operations.iter().map(|op| op.end));
        starts
            .zip(&self.operations)
            .filter_map(|(start, operation)| self.bytes.get(start..operation.end))
    }
}
