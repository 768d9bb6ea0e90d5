//! The records of the log: encoding and decoding ([format], section 2). Pure.
//!
//! [format]: crate::format

use durable_io::codec::{Decoder, Encoder};

use crate::limits::{HEADER_SIZE, MAX_LEADER_SIZE};

const CREATED: u8 = 1;
const DESTROYED: u8 = 2;
const VOTE: u8 = 3;
const ENTRY: u8 = 4;
const PART: u8 = 5;
const LAST: u8 = 6;
const TRUNCATED: u8 = 7;
const PURGED: u8 = 8;
const COMMITTED: u8 = 9;
const UNCOMMITTED: u8 = 10;

/// A kind that is none, since the log's checksums say that it was written so, is of a later version.
const FIRST_UNKNOWN: u8 = 11;

/// One record: what happened to which group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) group: u64,
    /// Which of the groups that had this id one after the other: the LSN of its first record.
    pub(crate) incarnation: u64,
    pub(crate) event: Event<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event<'a> {
    /// The group is there.
    Created,
    /// It is gone, with everything of it before.
    Destroyed,
    Vote {
        term: u64,
        leader: &'a [u8],
    },
    Entry {
        index: u64,
        term: u64,
        data: &'a [u8],
    },
    /// Part `nth` of an entry that one record does not hold; more follow.
    Part {
        index: u64,
        term: u64,
        nth: u32,
        data: &'a [u8],
    },
    /// The last part: with it the entry is there.
    Last {
        index: u64,
        term: u64,
        nth: u32,
        data: &'a [u8],
    },
    /// The entries from this index on are gone.
    Truncated(u64),
    /// The entries up to this one are gone.
    Purged {
        index: u64,
        term: u64,
        leader: &'a [u8],
    },
    Committed {
        index: u64,
        term: u64,
        leader: &'a [u8],
    },
    Uncommitted,
}

impl<'a> Record<'a> {
    /// The bytes before [`tail`](Record::tail).
    pub(crate) fn header(&self) -> Vec<u8> {
        let mut out = Encoder::with_capacity(HEADER_SIZE);
        let kind = match self.event {
            Event::Created => CREATED,
            Event::Destroyed => DESTROYED,
            Event::Vote { .. } => VOTE,
            Event::Entry { .. } => ENTRY,
            Event::Part { .. } => PART,
            Event::Last { .. } => LAST,
            Event::Truncated(_) => TRUNCATED,
            Event::Purged { .. } => PURGED,
            Event::Committed { .. } => COMMITTED,
            Event::Uncommitted => UNCOMMITTED,
        };
        out.bytes(&[kind]).u64(self.group).u64(self.incarnation);
        match self.event {
            Event::Created | Event::Destroyed | Event::Uncommitted => {}
            Event::Vote { term: number, .. } | Event::Truncated(number) => {
                out.u64(number);
            }
            Event::Entry { index, term, .. }
            | Event::Purged { index, term, .. }
            | Event::Committed { index, term, .. } => {
                out.u64(index).u64(term);
            }
            Event::Part {
                index, term, nth, ..
            }
            | Event::Last {
                index, term, nth, ..
            } => {
                out.u64(index).u64(term).u32(nth);
            }
        }
        out.into_vec()
    }

    /// What follows the header: the caller's bytes.
    pub(crate) fn tail(&self) -> &'a [u8] {
        match self.event {
            Event::Created | Event::Destroyed | Event::Uncommitted | Event::Truncated(_) => &[],
            Event::Vote { leader, .. }
            | Event::Purged { leader, .. }
            | Event::Committed { leader, .. } => leader,
            Event::Entry { data, .. } | Event::Part { data, .. } | Event::Last { data, .. } => data,
        }
    }

    /// True if `payload` is a record of a later version of this crate.
    pub(crate) fn is_newer(payload: &[u8]) -> bool {
        payload.first().is_some_and(|kind| *kind >= FIRST_UNKNOWN)
    }

    /// The record that `payload` is; `None` if it is nothing that this crate writes.
    pub(crate) fn decode(payload: &'a [u8]) -> Option<Self> {
        let mut input = Decoder::new(payload);
        let [kind] = *input.bytes(1)? else {
            return None;
        };
        let (group, incarnation) = (input.u64()?, input.u64()?);
        let event = match kind {
            CREATED => Event::Created,
            DESTROYED => Event::Destroyed,
            UNCOMMITTED => Event::Uncommitted,
            TRUNCATED => Event::Truncated(input.u64()?),
            VOTE => Event::Vote {
                term: input.u64()?,
                leader: leader(&mut input)?,
            },
            ENTRY => Event::Entry {
                index: input.u64()?,
                term: input.u64()?,
                data: rest(&mut input)?,
            },
            PART => Event::Part {
                index: input.u64()?,
                term: input.u64()?,
                nth: input.u32()?,
                data: rest(&mut input)?,
            },
            LAST => Event::Last {
                index: input.u64()?,
                term: input.u64()?,
                nth: input.u32()?,
                data: rest(&mut input)?,
            },
            PURGED => Event::Purged {
                index: input.u64()?,
                term: input.u64()?,
                leader: leader(&mut input)?,
            },
            COMMITTED => Event::Committed {
                index: input.u64()?,
                term: input.u64()?,
                leader: leader(&mut input)?,
            },
            _ => return None,
        };
        input.rest().is_empty().then_some(Self {
            group,
            incarnation,
            event,
        })
    }
}

fn rest<'a>(input: &mut Decoder<'a>) -> Option<&'a [u8]> {
    input.bytes(input.rest().len())
}

fn leader<'a>(input: &mut Decoder<'a>) -> Option<&'a [u8]> {
    rest(input).filter(|leader| leader.len() <= MAX_LEADER_SIZE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_is_read_as_it_was_written_and_no_shorter_one_is() {
        let (index, term, nth, data) = (7, 3, 1, &b"data"[..]);
        let leader = data;
        for event in [
            Event::Created,
            Event::Destroyed,
            Event::Vote { term, leader },
            Event::Entry { index, term, data },
            Event::Part {
                index,
                term,
                nth,
                data,
            },
            Event::Last {
                index,
                term,
                nth,
                data,
            },
            Event::Truncated(index),
            Event::Purged {
                index,
                term,
                leader,
            },
            Event::Committed {
                index,
                term,
                leader,
            },
            Event::Uncommitted,
        ] {
            let record = Record {
                group: 5,
                incarnation: 9,
                event,
            };
            let header = record.header();
            assert!(header.len() <= HEADER_SIZE);
            let bytes = [&header, record.tail()].concat();
            assert_eq!(Record::decode(&bytes), Some(record));
            for len in 0..header.len() {
                assert_eq!(Record::decode(&bytes[..len]), None, "{event:?} of {len}");
            }
        }
    }

    #[test]
    fn what_no_record_is_is_none() {
        let header = |kind: u8| [&[kind][..], &[0; 16]].concat();
        assert_eq!(Record::decode(&header(0)), None);
        assert_eq!(Record::decode(&header(11)), None);
        assert_eq!(
            Record::decode(&[header(CREATED), vec![0]].concat()),
            None,
            "more than it is"
        );
        let long = [header(VOTE), vec![0; 8 + MAX_LEADER_SIZE + 1]].concat();
        assert_eq!(Record::decode(&long), None);
    }
}
