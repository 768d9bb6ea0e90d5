//! [`Item`]: what one call appends.

use durable_io::codec::put;

use crate::batch::Batch;
use crate::delivery::Callback;
use crate::error::{Error, Result};
use crate::expectation::Expectation;
use crate::frame::{
    GROUP_HEADER_SIZE, RECORD_HEADER_SIZE, decode_record_header, place, record_check,
};
use crate::location::Location;
use crate::lsn::Lsn;

/// The invariant of an item's bytes.
const ROOM_FOR_HEADER: &str = "an item begins with room for a group header";

/// What one call appends: its records as bytes, with the payload's checksum where the record's check
/// will be. The expensive part, computed before any lock is taken.
#[derive(Debug)]
pub(crate) struct Item {
    /// Room for a group header, and the records.
    bytes: Vec<u8>,
    count: u32,
    is_submitted: bool,
    callback: Option<Callback>,
    /// What it is built on.
    expected: Option<Expectation>,
    /// What became of it; `None` before it was its turn.
    outcome: Option<Result<Location>>,
}

impl Item {
    /// The item that appends `payloads`, or their size if it is larger than `limit` bytes.
    pub(crate) fn new(payloads: &[&[u8]], limit: u64) -> Result<Self, u64> {
        let headers = payloads.len() as u64 * RECORD_HEADER_SIZE as u64;
        let size = payloads.iter().fold(headers, |size, payload| {
            size.saturating_add(payload.len() as u64)
        });
        // Before anything is copied.
        if size > limit {
            return Err(size);
        }
        let capacity = usize::try_from(size).expect("the payloads are in memory");
        let mut batch = Batch::with_capacity(capacity);
        for payload in payloads {
            batch.push(payload);
        }
        Self::of(batch, limit)
    }

    /// The item that appends `batch`, or its size if that is above `limit`, which is no more than a
    /// segment has.
    pub(crate) fn of(batch: Batch, limit: u64) -> Result<Self, u64> {
        if batch.size() > limit {
            return Err(batch.size());
        }
        Ok(Self {
            bytes: batch.bytes,
            count: batch.count,
            is_submitted: false,
            callback: None,
            expected: batch.expected,
            outcome: None,
        })
    }

    /// One without records, which asks for a sync of what comes before it.
    pub(crate) fn sync() -> Self {
        Self::of(Batch::new(), 0).expect("it has no bytes")
    }

    /// True if it has no records.
    pub(crate) fn is_sync(&self) -> bool {
        self.count == 0
    }

    /// There is nothing to write of it, and `next` is the next record.
    pub(crate) fn pass(&mut self, next: Lsn) {
        self.outcome = Some(Ok(Location::nothing(next)));
    }

    /// It was not written.
    pub(crate) fn fail(&mut self, error: Error) {
        self.outcome = Some(Err(error));
    }

    /// Nobody waits for it.
    pub(crate) fn submitted(mut self) -> Self {
        self.is_submitted = true;
        self
    }

    pub(crate) fn is_submitted(&self) -> bool {
        self.is_submitted
    }

    pub(crate) fn with_callback(mut self, callback: Callback) -> Self {
        self.callback = Some(callback);
        self
    }

    pub(crate) fn at(mut self, expected: Expectation) -> Self {
        self.expected = Some(expected);
        self
    }

    /// True if it may be written when `found` is what an append gets now.
    pub(crate) fn accepts(&self, found: Expectation) -> bool {
        self.expected.is_none_or(|expected| expected == found)
    }

    /// Refuses it, since `found` is not what it was built on; returns whether it was built on a state
    /// that differs from `found` by its position only.
    pub(crate) fn refuse(&mut self, found: Expectation) -> bool {
        let expected = self
            .expected
            .expect("only what expects something is refused");
        self.outcome = Some(Err(Error::Refused { expected, found }));
        expected.refusals == found.refusals
    }

    pub(crate) fn take_callback(&mut self) -> Option<Callback> {
        self.callback.take()
    }

    /// Where its first record was written, or why it was not; `None` before that is known.
    pub(crate) fn outcome(&self) -> Option<&Result<Location>> {
        self.outcome.as_ref()
    }

    /// The records.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(GROUP_HEADER_SIZE..).expect(ROOM_FOR_HEADER)
    }

    /// The group that holds this item only.
    pub(crate) fn group(&mut self, header: &[u8; GROUP_HEADER_SIZE]) -> &[u8] {
        put(&mut self.bytes, 0, header);
        &self.bytes
    }

    /// Bytes of the records.
    pub(crate) fn size(&self) -> u64 {
        self.bytes().len() as u64
    }

    pub(crate) fn count(&self) -> u64 {
        u64::from(self.count)
    }

    /// Bytes of payload alone.
    pub(crate) fn payload_bytes(&self) -> u64 {
        self.size() - self.count() * RECORD_HEADER_SIZE as u64
    }

    /// Puts the checks in, now that it is known where the first record goes.
    pub(crate) fn bind(&mut self, log_id: u64, mut first: Location) {
        const WHOLE: &str = "an item has whole records";
        let records = self.bytes.get_mut(GROUP_HEADER_SIZE..);
        let mut rest = records.expect(ROOM_FOR_HEADER);
        (first.len, _) = decode_record_header(rest).expect(WHOLE);
        let mut at = first;
        while !rest.is_empty() {
            let (header, after) = rest.split_at_mut(RECORD_HEADER_SIZE);
            let (len, payload_sum) = decode_record_header(header).expect(WHOLE);
            at.len = len;
            let place = place(log_id, at.segment, u64::from(at.offset));
            let check = record_check(place, at.epoch, at.lsn, len, payload_sum);
            put(header, 4, &check.to_le_bytes());
            let (_payload, next) = after.split_at_mut(len as usize);
            rest = next;
            at = at.following(0);
        }
        self.outcome = Some(Ok(first));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_above_the_limit_is_refused_with_its_size() {
        assert_eq!(Item::new(&[b"abc", b""], 18).err(), Some(19));
        assert_eq!(
            Item::new(&[b"abc", b""], 19)
                .map(|item| item.payload_bytes())
                .ok(),
            Some(3)
        );
    }
}
