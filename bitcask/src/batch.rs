//! [`Batch`]: several changes that happen together; and how it waits for its commit.

use crate::error::{Error, Result};
use crate::keydir::{Hasher, Spot};
use crate::limits::{MAX_BATCH_SIZE, MAX_KEY_SIZE};
use crate::record::{Kind, RECORD_HEADER_SIZE, bind_record, encode_record};

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

/// The value that a key must have; `None` if it must be absent.
#[derive(Clone, Debug)]
pub(crate) struct Expected(pub(crate) Option<Vec<u8>>);

/// A batch on its way to the disk.
#[derive(Debug)]
pub(crate) struct Item {
    batch: Batch,
    hashes: Vec<u64>,
    /// It is done only if its one key is like that.
    pub(crate) expected: Option<Expected>,
    /// For each of its changes the record that it supersedes, as it was before the commit.
    pub(crate) superseded: Vec<Option<Superseded>>,
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
    pub(crate) fn new(batch: Batch, hasher: &Hasher) -> Result<Self> {
        let limits = [
            ("key", batch.longest_key as u64, MAX_KEY_SIZE as u64),
            ("batch", batch.size(), MAX_BATCH_SIZE),
        ];
        for (what, size, limit) in limits {
            if size > limit {
                return Err(Error::TooLarge { what, size, limit });
            }
        }
        let hashes = batch.ops.iter().map(|op| hasher.hash(batch.key(op)));
        let hashes = hashes.collect();
        Ok(Self {
            batch,
            hashes,
            expected: None,
            superseded: Vec::new(),
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
            let record = self.batch.bytes.get_mut(op.at..).unwrap_or_default();
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

    /// Its changes, with the hash of the key.
    pub(crate) fn ops(&self) -> impl DoubleEndedIterator<Item = (u64, &Op)> {
        self.hashes.iter().copied().zip(&self.batch.ops)
    }

    pub(crate) fn key(&self, op: &Op) -> &[u8] {
        self.batch.key(op)
    }

    /// The hash and the key that the item is bound to, and the value that it expects.
    pub(crate) fn condition(&self) -> Option<(u64, Vec<u8>, Expected)> {
        let expected = self.expected.clone()?;
        let (hash, op) = self.ops().next()?;
        Some((hash, self.key(op).to_vec(), expected))
    }

    /// The value of `op`; `None` if it deletes.
    pub(crate) fn value(&self, op: &Op) -> Option<&[u8]> {
        let value = op.at + RECORD_HEADER_SIZE + op.key_len;
        let end = self.batch.ops.iter().map(|op| op.at).find(|&at| at > op.at);
        let end = end.unwrap_or(self.batch.bytes.len());
        (op.kind == Kind::Put).then(|| self.batch.bytes.get(value..end).unwrap_or_default())
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

impl Batch {
    fn key(&self, op: &Op) -> &[u8] {
        let start = op.at + RECORD_HEADER_SIZE;
        let key = self.bytes.get(start..start + op.key_len);
        key.unwrap_or_default()
    }
}
