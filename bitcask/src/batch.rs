//! [`Batch`]: several changes that happen together; and how it waits for its commit.

use std::sync::Arc;

use durable_io::engine::Value;

use crate::error::{Error, Result};
use crate::keydir::{Hasher, Spot};
use crate::limits::{MAX_BATCH_SIZE, MAX_KEY_SIZE};
use crate::record::{Kind, RECORD_HEADER_SIZE, bind_record, encode_record};

const IN_BATCH: &str = "a change is within the bytes of its batch";

/// Changes that happen together: after any crash all of them are there, or none.
///
/// ```
/// let batch = bitcask::Batch::new().put(b"apple", b"3").delete(b"pear");
/// assert_eq!(batch.len(), 2);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Whole records, without their checks.
    bytes: Vec<u8>,
    ops: Vec<Op>,
    /// The length of the longest key.
    longest_key: usize,
}

/// One record of a batch.
#[derive(Clone, Debug)]
pub(crate) struct Op {
    pub(crate) kind: Kind,
    /// Where its record begins.
    at: usize,
    key_len: usize,
    /// The checksum of key and value.
    body: u32,
    /// The hash of the key; known once the batch is an [`Item`].
    pub(crate) hash: u64,
    /// The record that it supersedes, as it was before the commit.
    pub(crate) superseded: Option<Superseded>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds: `key` has the value `value` from then on. Of several changes of one key the last one
    /// counts.
    #[must_use]
    pub fn put(mut self, key: &[u8], value: &[u8]) -> Self {
        self.push(Kind::Put, key, value);
        self
    }

    /// Adds: `key` is absent from then on.
    #[must_use]
    pub fn delete(mut self, key: &[u8]) -> Self {
        self.push(Kind::Delete, key, &[]);
        self
    }

    pub(crate) fn push(&mut self, kind: Kind, key: &[u8], value: &[u8]) {
        self.longest_key = self.longest_key.max(key.len());
        let at = self.bytes.len();
        let size = RECORD_HEADER_SIZE + key.len() + value.len();
        self.bytes.reserve(size);
        let body = encode_record(&mut self.bytes, kind, key, value);
        let key_len = key.len();
        self.ops.push(Op {
            kind,
            at,
            key_len,
            body,
            hash: 0,
            superseded: None,
        });
    }

    /// How many changes it has.
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// True if it has no change.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Its size, which must not be above [`MAX_BATCH_SIZE`]: bytes of keys and values, and 12 for each change.
    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }
}

/// A batch on its way to the disk.
#[derive(Debug)]
pub(crate) struct Item {
    batch: Batch,
    /// It is done only if its one key is like that.
    pub(crate) expected: Option<Expected>,
    /// Where it was written.
    written: Option<Spot>,
}

/// A record that a new one supersedes.
#[derive(Clone, Debug)]
pub(crate) struct Superseded {
    pub(crate) spot: Spot,
    /// Bytes of the record.
    pub(crate) size: u64,
}

impl Item {
    /// # Errors
    /// [`Error::TooLarge`].
    pub(crate) fn new(mut batch: Batch, hasher: &Hasher) -> Result<Self> {
        let limits = [
            ("key", batch.longest_key as u64, MAX_KEY_SIZE as u64),
            ("batch", batch.size(), MAX_BATCH_SIZE),
        ];
        for (what, size, limit) in limits {
            if size > limit {
                return Err(Error::TooLarge { what, size, limit });
            }
        }
        let Batch { bytes, ops, .. } = &mut batch;
        for op in ops {
            op.hash = hasher.hash(op.key(bytes));
        }
        Ok(Self {
            batch,
            expected: None,
            written: None,
        })
    }

    /// Bytes of its records.
    pub(crate) fn size(&self) -> u64 {
        self.batch.size()
    }

    pub(crate) fn count(&self) -> usize {
        self.batch.len()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.batch.bytes
    }

    /// True if it only deletes: then it may use the space that is held back.
    pub(crate) fn frees(&self) -> bool {
        self.batch.ops.iter().all(|op| op.kind == Kind::Delete)
    }

    /// The item will stand at `spot`: gives every record its check.
    pub(crate) fn bind(&mut self, spot: Spot) {
        for op in &self.batch.ops {
            let place = spot.file.place(spot.offset + op.at as u64);
            let record = self.batch.bytes.get_mut(op.at..).expect(IN_BATCH);
            bind_record(record, place, op.body);
        }
        self.written = Some(spot);
    }

    /// Nothing of it was written.
    pub(crate) fn unbind(&mut self) {
        self.written = None;
    }

    pub(crate) fn is_written(&self) -> bool {
        self.written.is_some()
    }

    /// Its changes.
    pub(crate) fn ops(&self) -> &[Op] {
        &self.batch.ops
    }

    pub(crate) fn key(&self, op: &Op) -> &[u8] {
        op.key(&self.batch.bytes)
    }

    /// Asks `find`, with hash and key, for the record that each of its changes supersedes.
    ///
    /// # Errors
    /// The first one of `find`.
    pub(crate) fn note_superseded(
        &mut self,
        find: impl Fn(u64, &[u8]) -> Result<Option<Superseded>>,
    ) -> Result<()> {
        let Batch { bytes, ops, .. } = &mut self.batch;
        for op in ops {
            op.superseded = find(op.hash, op.key(bytes))?;
        }
        Ok(())
    }

    /// The value of `op`; `None` if it deletes.
    pub(crate) fn value(&self, op: &Op) -> Option<&[u8]> {
        let value = op.at + RECORD_HEADER_SIZE + op.key_len;
        let end = self.batch.ops.iter().map(|op| op.at).find(|&at| at > op.at);
        let end = end.unwrap_or(self.bytes().len());
        (op.kind == Kind::Put).then(|| self.bytes().get(value..end).expect(IN_BATCH))
    }

    /// Where the record of `op` was written.
    pub(crate) fn spot(&self, op: &Op) -> Option<Spot> {
        let spot = self.written.clone()?;
        let offset = spot.offset + op.at as u64;
        Some(Spot { offset, ..spot })
    }

    /// Bytes of the record of `op`, which deletes.
    pub(crate) fn tombstone_size(op: &Op) -> u64 {
        (RECORD_HEADER_SIZE + op.key_len) as u64
    }
}

impl Op {
    /// Its key, in the bytes of its batch.
    fn key<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let start = self.at + RECORD_HEADER_SIZE;
        bytes.get(start..start + self.key_len).expect(IN_BATCH)
    }
}

/// The value that a key must have; `None` if it must be absent.
#[derive(Clone, Debug)]
pub(crate) struct Expected(pub(crate) Option<Value>);

/// What becomes of an item.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Done,
    /// It was not done: its key has this value, which is not the expected one.
    Found(Option<Value>),
}

/// The results of one commit, one per item.
pub(crate) type Results = Arc<[Result<Answer>]>;
