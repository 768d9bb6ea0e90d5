//! The layout of an index part ([format], section 4): blocks with a checksum each; pure.
//!
//! [format]: crate::format

use durable_io::checksum::checksum_at;
use durable_io::codec::{Decoder, Encoder, put};

use crate::ids::{EventId, Position};
use crate::list::Entry;
use crate::term::{Term, halves};

/// Bytes of a block: a sector, so that a torn part is torn between blocks.
pub(crate) const BLOCK: usize = 512;
/// Where its checksum is.
const CHECK: usize = BLOCK - 4;

const MAGIC: &[u8; 8] = b"evstpart";
/// The format version that this crate writes, and the newest that it reads.
pub(crate) const VERSION: u32 = 1;

/// The bytes of the block at `offset` of the part, with its checksum.
pub(crate) fn seal(entry: &Entry, offset: u64, block: &mut [u8]) {
    let covered = block.get(..CHECK).expect("a block is whole");
    let check = checksum_at(entry.place(offset), covered);
    put(block, CHECK, &check.to_le_bytes());
}

/// True if the block at `offset` of the part is the one that was written there.
pub(crate) fn is_sealed(entry: &Entry, offset: u64, block: &[u8]) -> bool {
    // What is too short has no checksum.
    block
        .split_at_checked(CHECK)
        .is_some_and(|(covered, check)| {
            Decoder::new(check).u32() == Some(checksum_at(entry.place(offset), covered))
        })
}

/// Equal entries in successive blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Section {
    /// Its first block.
    pub(crate) block: u64,
    /// Bytes of an entry.
    pub(crate) size: usize,
    pub(crate) entries: u64,
}

impl Section {
    fn per_block(&self) -> u64 {
        (CHECK / self.size) as u64
    }

    pub(crate) fn blocks(&self) -> u64 {
        self.entries.div_ceil(self.per_block())
    }

    /// The block of entry `nth`, and where it is in it.
    pub(crate) fn place(&self, nth: u64) -> (u64, usize) {
        let per = self.per_block();
        let within = usize::try_from(nth % per).unwrap_or(0) * self.size;
        (self.block + nth / per, within)
    }

    /// How many entries fit into a block.
    pub(crate) fn fits(&self) -> usize {
        CHECK / self.size
    }
}

/// What the first block of a part says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) entry: Entry,
    /// The id of the last event: whether the log still holds what the part covers.
    pub(crate) last_id: EventId,
    /// What its events take in the log.
    pub(crate) log_bytes: u64,
    /// Terms, numbers in the lists of their events, and runs of places.
    pub(crate) terms: u64,
    pub(crate) postings: u64,
    pub(crate) runs: u64,
}

/// Where everything is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sections {
    pub(crate) filter: Section,
    pub(crate) terms: Section,
    pub(crate) postings: Section,
    pub(crate) places: Section,
    pub(crate) runs: Section,
    /// Blocks of the whole part.
    pub(crate) blocks: u64,
}

pub(crate) const LINE_SIZE: usize = 64;
pub(crate) const TERM_SIZE: usize = 24;
pub(crate) const POSTING_SIZE: usize = 4;
pub(crate) const PLACE_SIZE: usize = 12;
pub(crate) const RUN_SIZE: usize = 24;

impl Header {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::with_capacity(BLOCK);
        let entry = &self.entry;
        out.bytes(MAGIC).u32(VERSION).u32(0);
        out.u64(entry.id).u64(entry.number);
        out.u64(entry.first.0)
            .u64(entry.last.0)
            .bytes(&self.last_id.0);
        out.u64(self.log_bytes).u64(self.terms).u64(self.postings);
        out.u64(self.runs);
        let mut block = out.into_vec();
        block.resize(BLOCK, 0);
        seal(entry, 0, &mut block);
        block
    }

    /// The header in `block`, which is that of the part that `entry` names.
    pub(crate) fn decode(block: &[u8], entry: &Entry) -> Option<Self> {
        if !is_sealed(entry, 0, block) {
            return None;
        }
        let mut decoder = Decoder::new(block);
        if decoder.bytes(8)? != MAGIC || decoder.u32()? != VERSION || decoder.u32()? != 0 {
            return None;
        }
        let (id, number) = (decoder.u64()?, decoder.u64()?);
        let found = Entry {
            number,
            id,
            first: Position(decoder.u64()?),
            last: Position(decoder.u64()?),
        };
        let header = Self {
            entry: found,
            last_id: EventId(decoder.bytes(16)?.try_into().ok()?),
            log_bytes: decoder.u64()?,
            terms: decoder.u64()?,
            postings: decoder.u64()?,
            runs: decoder.u64()?,
        };
        let limit = u64::from(u32::MAX);
        let is_sound = header.terms <= limit && header.postings <= limit && header.runs <= limit;
        (found == *entry && is_sound).then_some(header)
    }

    pub(crate) fn sections(&self) -> Sections {
        let mut block = 1;
        let mut section = |size, entries| {
            let section = Section {
                block,
                size,
                entries,
            };
            block += section.blocks();
            section
        };
        Sections {
            filter: section(LINE_SIZE, filter_lines(self.terms)),
            terms: section(TERM_SIZE, self.terms),
            postings: section(POSTING_SIZE, self.postings),
            places: section(PLACE_SIZE, self.entry.events()),
            runs: section(RUN_SIZE, self.runs),
            blocks: block,
        }
    }
}

/// What the directory of a part says of a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) term: Term,
    /// The only event, from the first of the part on; or where the list begins among the postings.
    pub(crate) start: u32,
    pub(crate) count: u32,
    /// The list begins with the version of the first event.
    pub(crate) is_stream: bool,
    /// The last event is a tombstone.
    pub(crate) is_ended: bool,
}

/// The bits of a count that say so.
const STREAM: u32 = 1 << 31;
const ENDED: u32 = 1 << 30;

impl Listed {
    /// True if `start` is the only event.
    pub(crate) fn is_inline(&self) -> bool {
        self.count == 1 && !self.is_stream
    }

    /// How many numbers it has among the postings.
    pub(crate) fn postings(&self) -> u64 {
        if self.is_inline() {
            return 0;
        }
        u64::from(self.count) + if self.is_stream { VERSION_POSTINGS } else { 0 }
    }

    pub(crate) fn encode(&self) -> [u8; TERM_SIZE] {
        let mut out = [0; TERM_SIZE];
        put(&mut out, 0, &self.term.to_le_bytes());
        put(&mut out, 16, &self.start.to_le_bytes());
        let stream = if self.is_stream { STREAM } else { 0 };
        let ended = if self.is_ended { ENDED } else { 0 };
        put(&mut out, 20, &(self.count | stream | ended).to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut decoder = Decoder::new(bytes);
        let term = Term::from_le_bytes(decoder.bytes(16)?.try_into().ok()?);
        let (start, count) = (decoder.u32()?, decoder.u32()?);
        Some(Self {
            term,
            start,
            count: count & !(STREAM | ENDED),
            is_stream: count & STREAM != 0,
            is_ended: count & ENDED != 0,
        })
    }
}

/// How many numbers a version takes among the postings.
pub(crate) const VERSION_POSTINGS: u64 = 2;

/// Ten bits for each term.
pub(crate) fn filter_lines(terms: u64) -> u64 {
    (terms * 10).div_ceil(LINE_SIZE as u64 * 8).max(1)
}

/// The line of `term` among `lines`; in the order of the terms.
pub(crate) fn filter_line(term: Term, lines: u64) -> u64 {
    let (high, _) = halves(term);
    halves(u128::from(high) * u128::from(lines)).0
}

/// The bits of `term` in its line.
pub(crate) fn filter_bits(term: Term) -> impl Iterator<Item = usize> {
    const PROBES: u32 = 6;
    let (_, low) = halves(term);
    (0..PROBES).map(move |probe| usize::try_from(low >> (probe * 9) & 511).unwrap_or(0))
}

/// Where an event is in its segment: its record, the length of its payload, and the group that it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Where {
    pub(crate) offset: u32,
    pub(crate) len: u32,
    pub(crate) group: u32,
}

impl Where {
    pub(crate) fn encode(&self) -> [u8; PLACE_SIZE] {
        let mut out = [0; PLACE_SIZE];
        let all = [self.offset, self.len, self.group].map(u32::to_le_bytes);
        put(&mut out, 0, all.as_flattened());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut decoder = Decoder::new(bytes);
        Some(Self {
            offset: decoder.u32()?,
            len: decoder.u32()?,
            group: decoder.u32()?,
        })
    }
}

/// The place of successive events: the segment of the log, and the epoch that their records have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) first: Position,
    pub(crate) segment: u64,
    pub(crate) epoch: u32,
}

impl Run {
    pub(crate) fn encode(&self) -> [u8; RUN_SIZE] {
        let mut out = [0; RUN_SIZE];
        put(&mut out, 0, &self.first.0.to_le_bytes());
        put(&mut out, 8, &self.segment.to_le_bytes());
        put(&mut out, 16, &self.epoch.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut decoder = Decoder::new(bytes);
        Some(Self {
            first: Position(decoder.u64()?),
            segment: decoder.u64()?,
            epoch: decoder.u32()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            entry: Entry {
                number: 3,
                id: 9,
                first: Position(11),
                last: Position(20),
            },
            last_id: EventId([5; 16]),
            log_bytes: 1000,
            terms: 40,
            postings: 60,
            runs: 1,
        }
    }

    #[test]
    fn d16_every_flipped_bit_of_a_header_is_seen() {
        let header = header();
        let block = header.encode();
        assert_eq!(Header::decode(&block, &header.entry), Some(header));
        for bit in 0..block.len() * 8 {
            let mut changed = block.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&changed, &header.entry), None, "bit {bit}");
        }
        let other = Entry {
            id: 8,
            ..header.entry
        };
        assert_eq!(Header::decode(&block, &other), None);
    }

    #[test]
    fn sections_follow_each_other_and_entries_stay_within_blocks() {
        let sections = header().sections();
        let all = [
            sections.filter,
            sections.terms,
            sections.postings,
            sections.places,
            sections.runs,
        ];
        let mut next = 1;
        for section in all {
            assert_eq!(section.block, next);
            next += section.blocks();
            for nth in 0..section.entries {
                let (block, within) = section.place(nth);
                assert!(block < next && within + section.size <= CHECK);
            }
        }
        assert_eq!(next, sections.blocks);
    }

    #[test]
    fn a_term_keeps_its_line_and_lines_keep_the_order() {
        let terms: Vec<Term> = (0..1000).map(|n| n * (Term::MAX / 1000)).collect();
        let lines = filter_lines(1000);
        assert!(terms.is_sorted_by_key(|term| filter_line(*term, lines)));
        assert!(terms.iter().all(|term| filter_line(*term, lines) < lines));
        assert_eq!(filter_line(Term::MAX, lines), lines - 1);
    }
}
