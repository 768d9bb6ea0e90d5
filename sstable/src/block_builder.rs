//! [`BlockBuilder`]: entries on their way into a data block ([format], section 5).
//!
//! [format]: crate::format

use crate::block::{BUCKET_EMPTY, BUCKET_SHARED, MOST_BUCKET_RESTARTS, TRAILER_SIZE, VERSION_FLAG};
use crate::entry::Entry;
use crate::frame::BLOCK_HEADER_SIZE;
use crate::head::{common, head};
use crate::varint;

/// A data block that is being filled.
#[derive(Debug)]
pub(crate) struct BlockBuilder {
    /// Room for the block's header, then entries.
    bytes: Vec<u8>,
    restarts: Vec<Restart>,
    /// The hash of each key that is in the block, with the restart interval that it begins in.
    hashes: Vec<(u32, u8)>,
    last_key: Vec<u8>,
    last_version: u64,
    base_version: u64,
    count: u32,
    interval: u32,
    has_hash_index: bool,
}

#[derive(Debug)]
struct Restart {
    offset: u32,
    key: std::ops::Range<usize>,
}

impl BlockBuilder {
    /// An empty block with a restart every `interval` entries.
    pub(crate) fn new(interval: u32, has_hash_index: bool) -> Self {
        Self {
            bytes: vec![0; BLOCK_HEADER_SIZE],
            restarts: Vec::new(),
            hashes: Vec::new(),
            last_key: Vec::new(),
            last_version: 0,
            base_version: 0,
            count: 0,
            interval,
            has_hash_index,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    pub(crate) fn last_key(&self) -> &[u8] {
        &self.last_key
    }

    pub(crate) fn last_version(&self) -> u64 {
        self.last_version
    }

    /// The size that the block would have with one more entry of `key` and `value` bytes, header
    /// included, in bytes; not below the true one if keys share nothing.
    pub(crate) fn size_with(&self, key: usize, value: usize) -> usize {
        let tail = (self.restarts.len() + 1) * 12 + (self.hashes.len() + 1) * 4 / 3;
        self.bytes.len() + key + value + 8 + tail + TRAILER_SIZE
    }

    /// Appends `entry`, which must be behind the last one; `hash` is its key's.
    pub(crate) fn add(&mut self, entry: &Entry<'_>, hash: u32) {
        let offset = self.bytes.len() - BLOCK_HEADER_SIZE;
        let offset = u32::try_from(offset).expect("a block ends when it has 1 MiB");
        let is_restart = self.count.is_multiple_of(self.interval);
        let is_first = self.count == 0;
        if is_first {
            self.base_version = entry.version;
        }
        let shared = if is_first {
            0
        } else {
            common(&self.last_key, entry.key)
        };
        let is_same_key = !is_first && shared == entry.key.len() && shared == self.last_key.len();
        let stored_shared = if is_restart { 0 } else { shared };
        let (_, suffix) = entry.key.split_at(stored_shared);
        self.put_head(entry, stored_shared, suffix.len());
        let key_at = self.bytes.len();
        self.bytes.extend_from_slice(suffix);
        self.bytes.extend_from_slice(entry.value);
        if is_restart {
            let key = key_at..key_at + suffix.len();
            self.restarts.push(Restart { offset, key });
        }
        if self.has_hash_index && !is_same_key {
            // With too many restarts there is no hash index at all: see `finish`.
            let restart = u8::try_from(self.restarts.len() - 1).unwrap_or(BUCKET_SHARED);
            self.hashes.push((hash, restart));
        }
        self.last_key.truncate(shared);
        let (_, new) = entry.key.split_at(shared);
        self.last_key.extend_from_slice(new);
        self.last_version = entry.version;
        self.count += 1;
    }

    /// Tag, lengths and version.
    #[inline]
    fn put_head(&mut self, entry: &Entry<'_>, shared: usize, unshared: usize) {
        let difference = entry.version.wrapping_sub(self.base_version);
        let flag = if difference == 0 { 0 } else { VERSION_FLAG };
        self.bytes.push(entry.kind.code() | flag);
        let lengths = [shared, unshared, entry.value.len()];
        for length in lengths {
            varint::push(&mut self.bytes, length as u64);
        }
        if difference != 0 {
            let value = varint::zigzag(difference.cast_signed());
            varint::push(&mut self.bytes, value);
        }
    }

    /// Ends the block: appends what searches need. Returns room for a header, and the payload.
    pub(crate) fn finish(&mut self) -> &mut Vec<u8> {
        let key = |restart: &Restart| {
            let key = self.bytes.get(restart.key.clone());
            key.expect("the key of a restart is in the block")
        };
        let first = self.restarts.first();
        let first = first.expect("a block that ends has an entry");
        let prefix = common(key(first), &self.last_key);
        let behind_prefix = |restart| {
            let suffix = key(restart).get(prefix..);
            suffix.expect("what the first and the last key have in common, all between have")
        };
        let heads = self
            .restarts
            .iter()
            .map(|restart| head(behind_prefix(restart)));
        let heads: Vec<u64> = heads.collect();
        for head in heads {
            self.bytes.extend_from_slice(&head.to_le_bytes());
        }
        // What a point read needs stands together: in one or two lines of the processor's cache.
        for restart in &self.restarts {
            self.bytes.extend_from_slice(&restart.offset.to_le_bytes());
        }
        let buckets = self.push_buckets();
        let restarts = u32::try_from(self.restarts.len()).expect("each has an entry");
        let prefix = u16::try_from(prefix).expect("a key has at most 65,535 bytes");
        self.bytes
            .extend_from_slice(&self.base_version.to_le_bytes());
        self.bytes.extend_from_slice(&restarts.to_le_bytes());
        self.bytes.extend_from_slice(&buckets.to_le_bytes());
        self.bytes.extend_from_slice(&prefix.to_le_bytes());
        &mut self.bytes
    }

    /// Appends the hash index, unless the block is too large for one, and returns its buckets.
    fn push_buckets(&mut self) -> u16 {
        if !self.has_hash_index || self.restarts.len() > MOST_BUCKET_RESTARTS {
            return 0;
        }
        let Ok(buckets) = u16::try_from(self.hashes.len() * 4 / 3 + 1) else {
            return 0;
        };
        let start = self.bytes.len();
        self.bytes
            .resize(start + usize::from(buckets), BUCKET_EMPTY);
        let (_, index) = self.bytes.split_at_mut(start);
        for &(hash, restart) in &self.hashes {
            let bucket = index.get_mut(crate::block::bucket(hash, buckets));
            let bucket = bucket.expect("every hash has a bucket");
            *bucket = match *bucket {
                BUCKET_EMPTY => restart,
                same if same == restart => restart,
                _ => BUCKET_SHARED,
            };
        }
        buckets
    }

    /// Empties the builder for the next block.
    pub(crate) fn clear(&mut self) {
        self.bytes.truncate(BLOCK_HEADER_SIZE);
        self.restarts.clear();
        self.hashes.clear();
        self.last_key.clear();
        self.count = 0;
    }
}
