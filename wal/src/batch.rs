//! [`Batch`]: records that are put together before they are appended.

use durable_io::checksum::checksum;

use crate::expectation::Expectation;
use crate::frame::{GROUP_HEADER_SIZE, RECORD_HEADER_SIZE};
use crate::limits::MAX_SEGMENT_SIZE;

/// Records to append together, all or nothing, as [`Wal::append_batch`](crate::Wal::append_batch) does; for
/// payloads that are in several places, and so need not be joined before: a header and a body, say.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let log = wal::Options::new().segment_size(1 << 20).open(dir.path().join("log"))?;
/// let mut batch = wal::Batch::new();
/// batch.push(b"a whole payload");
/// batch.push_parts(&[b"a header, ", b"and a body"]);
/// let appended = log.write(batch)?;
/// let second = log.records(appended.lsns().start.next()).next().expect("there are two")?;
/// assert_eq!(second.payload, b"a header, and a body");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Batch {
    /// Room for a group header, and the records.
    pub(crate) bytes: Vec<u8>,
    pub(crate) count: u32,
    /// Bytes of the records, also of those that no segment holds.
    size: u64,
    pub(crate) expected: Option<Expectation>,
}

impl Batch {
    /// One without records.
    pub fn new() -> Self {
        Self::with_capacity(0)
    }

    /// One without records, with memory for records of `size` bytes: of each 8 and those of its
    /// payload.
    pub(crate) fn with_capacity(size: usize) -> Self {
        let mut bytes = Vec::with_capacity(GROUP_HEADER_SIZE + size);
        bytes.extend_from_slice(&[0; GROUP_HEADER_SIZE]);
        Self {
            bytes,
            count: 0,
            size: 0,
            expected: None,
        }
    }

    /// Adds a record.
    ///
    /// # Cost
    /// One copy, and one pass for the checksum.
    pub fn push(&mut self, payload: &[u8]) {
        self.push_parts(&[payload]);
    }

    /// Adds one record, whose payload is `parts`, one after the other.
    ///
    /// # Cost
    /// As [`push`](Batch::push).
    pub fn push_parts(&mut self, parts: &[&[u8]]) {
        let add = |sum: u64, part: &&[u8]| sum.saturating_add(part.len() as u64);
        let len = parts.iter().fold(0, add);
        let record = len.saturating_add(RECORD_HEADER_SIZE as u64);
        self.size = self.size.saturating_add(record);
        // What no segment holds is refused when it is appended, and not copied before.
        let Some(len) = u32::try_from(len)
            .ok()
            .filter(|_| self.size <= MAX_SEGMENT_SIZE)
        else {
            return;
        };
        self.count += 1;
        self.bytes.extend_from_slice(&len.to_le_bytes());
        let check_at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        let (header, payload) = self.bytes.split_at_mut(check_at + 4);
        let check = checksum(payload).to_le_bytes();
        header
            .last_chunk_mut::<4>()
            .expect("the place of the check")
            .copy_from_slice(&check);
    }

    /// Appends it only if the log is as `expected`, as [`Wal::submit_at`](crate::Wal::submit_at) does.
    #[must_use]
    pub fn at(mut self, expected: Expectation) -> Self {
        self.expected = Some(expected);
        self
    }

    /// Bytes of the records: of each 8 and those of its payload. A log takes up to
    /// [`Wal::max_batch_size`](crate::Wal::max_batch_size).
    pub fn size(&self) -> u64 {
        self.size
    }

    /// True if it has no records.
    pub fn is_empty(&self) -> bool {
        self.size == 0
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}
