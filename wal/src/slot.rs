//! The slots of the superblock as bytes ([format], section 4). Pure: no I/O.
//!
//! [format]: crate::format

use std::sync::Arc;

use durable_io::checksum::checksum_at;
use durable_io::codec::{Decoder, Encoder};

use crate::epochs::Epochs;
use crate::frame::{GROUP_ALIGN, GROUP_HEADER_SIZE, place};
use crate::limits::{MAX_NOTE_SIZE, MAX_SEGMENT_SIZE};
use crate::lsn::Lsn;
use crate::segment::FIRST_GROUP;

/// The version of slots that this crate writes, and the newest that it reads. Version 1 does not name the
/// newest segment, and up to version 2 there is no note.
pub(crate) const VERSION: u32 = 3;

/// Bytes of the superblock: the second slot ends with its sector.
pub(crate) const SUPERBLOCK_SIZE: usize = SLOT_STRIDE + SLOT_ROOM;
/// From one slot to the other: far enough for the largest sector.
pub(crate) const SLOT_STRIDE: usize = 4096;
/// Bytes that a slot may have: those of the smallest sector.
pub(crate) const SLOT_ROOM: usize = 512;
/// Bytes of a slot before the time and the note.
const FIXED_SIZE: usize = 128;
/// Bytes of a slot before the note: after the time is its length.
const BEFORE_NOTE: usize = FIXED_SIZE + 8 + 4;
const _: () = assert!(BEFORE_NOTE + MAX_NOTE_SIZE <= SLOT_ROOM);

/// What a slot says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Superblock {
    pub(crate) log_id: u64,
    /// Everything up to here is durable.
    pub(crate) durable: Lsn,
    /// The segment that holds `low`; those below it are dead.
    pub(crate) low_segment: u64,
    /// The first retained record.
    pub(crate) low: Lsn,
    pub(crate) epochs: Epochs,
    /// Everything up to here is applied elsewhere, says the user.
    pub(crate) checkpoint: Lsn,
    /// What the truncation that began the epoch has still to do.
    pub(crate) truncation: Option<TailTruncation>,
    /// Segments up to here are complete, and there; 0 if that is not known.
    pub(crate) newest: u64,
    /// No group was written later before this was: milliseconds since the Unix epoch.
    pub(crate) time: u64,
    /// What the user wrote beside that.
    pub(crate) note: Arc<[u8]>,
}

/// How the end of a log is truncated: every segment after `segment` is removed, and in it everything
/// from `offset` on is replaced by `header`, the records that it holds, and zeros. Written down before it is done,
/// since a group that loses only some of its records cannot be changed in one atomic step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TailTruncation {
    /// That of the superblock's epochs.
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    /// The header of a group of which only the first records stay; zeros if whole groups go.
    pub(crate) header: [u8; GROUP_HEADER_SIZE],
}

impl TailTruncation {
    /// True if a group may begin there in some segment.
    fn is_in_a_segment(&self) -> bool {
        (FIRST_GROUP..=MAX_SEGMENT_SIZE).contains(&self.offset)
            && self.offset.is_multiple_of(GROUP_ALIGN)
    }
}

/// No log writes as many slots; it bounds what is added to a sequence that was read.
const MAX_SEQUENCE: u64 = 1 << 62;

/// One slot as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    Valid {
        sequence: u64,
        superblock: Superblock,
    },
    /// Void, and why.
    Invalid(&'static str),
    Newer(u32),
}

const TOO_SHORT: Slot = Slot::Invalid("the file ends before it does");
pub(crate) const UNREADABLE: Slot = Slot::Invalid("it cannot be read");

impl Superblock {
    /// True if record `lsn`, of a group of `epoch`, was truncated together with the rest of its group.
    pub(crate) fn has_truncated(&self, lsn: Lsn, epoch: u32) -> bool {
        epoch < self.epochs.current && lsn >= self.epochs.first_lsn
    }

    /// The bytes of the slot for `sequence`.
    pub(crate) fn encode(&self, sequence: u64) -> Vec<u8> {
        let at = slot_offset(sequence);
        let mut tail = Encoder::with_capacity(BEFORE_NOTE - FIXED_SIZE + self.note.len());
        let len = u32::try_from(self.note.len()).expect("a note fits into its slot");
        tail.u64(self.time).u32(len).bytes(&self.note);
        let mut body = Encoder::with_capacity(FIXED_SIZE);
        body.u32(VERSION)
            .u64(self.log_id)
            .u64(sequence)
            .u64(self.durable.0)
            .u64(self.low_segment)
            .u64(self.low.0)
            .u32(self.epochs.current)
            .u32(tail_check(self.log_id, at, tail.as_slice()))
            .u64(self.epochs.first_lsn.0)
            .u64(self.checkpoint.0)
            .u64(self.epochs.segment)
            .u64(self.truncation.map_or(0, |truncation| truncation.offset))
            .bytes(
                &self
                    .truncation
                    .map_or([0; GROUP_HEADER_SIZE], |truncation| truncation.header),
            )
            .u64(self.newest);
        let check = checksum_at(place(self.log_id, 0, at), body.as_slice());
        let mut slot = Encoder::with_capacity(BEFORE_NOTE + self.note.len());
        slot.u32(check)
            .bytes(body.as_slice())
            .bytes(tail.as_slice());
        slot.into_vec()
    }
}

/// The check of `tail`, the time and the note of the slot at `offset`. The check of the slot covers it: so that
/// has the same bytes in every version.
fn tail_check(log_id: u64, offset: u64, tail: &[u8]) -> u32 {
    checksum_at(place(log_id, 0, offset + FIXED_SIZE as u64), tail)
}

/// The time and the note in `tail`, of the slot at `offset`; `None` if its check is not `check`.
fn decode_tail(tail: &[u8], (log_id, offset): (u64, u64), check: u32) -> Option<(u64, Arc<[u8]>)> {
    let mut decoder = Decoder::new(tail);
    let time = decoder.u64()?;
    let len = decoder.u32()? as usize;
    let tail = tail.get(..(BEFORE_NOTE - FIXED_SIZE).checked_add(len)?)?;
    (tail_check(log_id, offset, tail) == check)
        .then(|| (time, tail.split_at(BEFORE_NOTE - FIXED_SIZE).1.into()))
}

impl Slot {
    /// The slot whose bytes are `bytes`, found at `offset`.
    pub(crate) fn decode(bytes: &[u8], offset: u64) -> Self {
        Self::decode_whole(bytes, offset).unwrap_or(TOO_SHORT)
    }

    /// `None` if `bytes` are too few.
    fn decode_whole(bytes: &[u8], offset: u64) -> Option<Self> {
        let (fixed, tail) = bytes.split_at_checked(FIXED_SIZE)?;
        let mut decoder = Decoder::new(fixed);
        let check = decoder.u32()?;
        let body = decoder.rest();
        let version = decoder.u32()?;
        let log_id = decoder.u64()?;
        if checksum_at(place(log_id, 0, offset), body) != check {
            return Some(Self::Invalid("its check does not match"));
        }
        if version > VERSION {
            return Some(Self::Newer(version));
        }
        let sequence = decoder.u64()?;
        let durable = Lsn(decoder.u64()?);
        let low_segment = decoder.u64()?;
        let low = Lsn(decoder.u64()?);
        let current = decoder.u32()?;
        let check = decoder.u32()?;
        let first_lsn = Lsn(decoder.u64()?);
        let checkpoint = Lsn(decoder.u64()?);
        let epochs = Epochs {
            current,
            first_lsn,
            segment: decoder.u64()?,
        };
        let truncation = TailTruncation {
            segment: epochs.segment,
            offset: decoder.u64()?,
            header: decoder.bytes(GROUP_HEADER_SIZE)?.try_into().ok()?,
        };
        let newest = decoder.u64()?;
        // What an older version left behind its slot is no part of it.
        let tail = if version > 2 {
            decode_tail(tail, (log_id, offset), check)
        } else {
            (check == 0).then(|| (0, Arc::from([])))
        };
        let rules = [
            (version > 0, "its version is 0"),
            (
                slot_offset(sequence) == offset,
                "its sequence belongs to the other slot",
            ),
            (low_segment > 0, "its low segment is 0"),
            (low.0 > 0, "its low LSN is 0"),
            (
                durable >= low.previous(),
                "its durable LSN is below the low one",
            ),
            (current > 0, "its epoch is 0"),
            (version > 1 || newest == 0, "its unused bytes are not zero"),
            (
                tail.is_some(),
                "the check of its time and note does not match",
            ),
            (
                newest == 0 || newest >= low_segment,
                "its newest segment is below the low one",
            ),
            (
                checkpoint <= durable,
                "its checkpoint is above the durable LSN",
            ),
            (sequence < MAX_SEQUENCE, "its sequence is too high"),
            (
                truncation.offset == 0
                    || (truncation.segment >= low_segment && truncation.is_in_a_segment()),
                "its truncation is where no group begins",
            ),
        ];
        if let Some((_, reason)) = rules.iter().find(|(holds, _)| !holds) {
            return Some(Self::Invalid(reason));
        }
        let (time, note) = tail?;
        let superblock = Superblock {
            log_id,
            durable,
            low_segment,
            low,
            epochs,
            checkpoint,
            truncation: (truncation.offset > 0).then_some(truncation),
            newest,
            time,
            note,
        };
        Some(Self::Valid {
            sequence,
            superblock,
        })
    }
}

/// Where the slot of `sequence` is in the file.
pub(crate) fn slot_offset(sequence: u64) -> u64 {
    (sequence % 2) * SLOT_STRIDE as u64
}

/// What both slots together say: the sequence and the superblock that hold, and whether both slots say the
/// same. `None` if neither is valid.
pub(crate) fn merge(slots: &[Slot; 2]) -> Option<(u64, Superblock, bool)> {
    let valid = |slot: &Slot| match slot {
        Slot::Valid {
            sequence,
            superblock,
        } => Some((*sequence, superblock.clone())),
        Slot::Invalid(_) | Slot::Newer(_) => None,
    };
    let [even, odd] = slots.each_ref().map(valid);
    let sequence = |slot: &Option<(u64, Superblock)>| slot.as_ref().map(|slot| slot.0);
    let (newer, older) = if sequence(&odd) > sequence(&even) {
        (odd, even)
    } else {
        (even, odd)
    };
    let (sequence, mut superblock) = newer?;
    let settled = older
        .as_ref()
        .is_some_and(|(_, older)| *older == superblock);
    // A durable LSN stays durable, so the higher claim holds; but not across a truncation, which took
    // records back.
    if let Some((_, older)) = older.filter(|(_, older)| older.epochs == superblock.epochs) {
        superblock.durable = superblock.durable.max(older.durable);
    }
    Some((sequence, superblock, settled))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRONG_CHECK: Slot = Slot::Invalid("its check does not match");

    fn superblock(durable: u64, low: u64, epoch: u32) -> Superblock {
        let epochs = Epochs {
            current: epoch,
            first_lsn: Lsn(1),
            segment: 2,
        };
        Superblock {
            log_id: 7,
            durable: Lsn(durable),
            low_segment: 1,
            low: Lsn(low),
            epochs,
            checkpoint: Lsn(3),
            truncation: None,
            newest: 2,
            time: 99,
            note: Arc::from(*b"vote"),
        }
    }

    fn slot(sequence: u64, superblock: Superblock) -> Slot {
        Slot::Valid {
            sequence,
            superblock,
        }
    }

    #[test]
    fn a_slot_is_read_back_only_at_its_place() {
        let bytes = superblock(9, 5, 1).encode(3);
        assert_eq!(bytes.len(), BEFORE_NOTE + 4);
        assert_eq!(Slot::decode(&bytes, 4096), slot(3, superblock(9, 5, 1)));
        assert_eq!(Slot::decode(&bytes, 0), WRONG_CHECK);
    }

    #[test]
    fn a_truncation_is_read_back() {
        let truncation = Some(TailTruncation {
            segment: 2,
            offset: 64,
            header: [7; GROUP_HEADER_SIZE],
        });
        let superblock = Superblock {
            truncation,
            ..superblock(9, 5, 1)
        };
        assert_eq!(Slot::decode(&superblock.encode(2), 0), slot(2, superblock));
    }

    #[test]
    fn every_flipped_bit_of_a_slot_is_seen() {
        for bit in 0..(BEFORE_NOTE + 4) * 8 {
            let mut bytes = superblock(9, 5, 1).encode(2);
            bytes[bit / 8] ^= 1 << (bit % 8);
            let wrong = if bit / 8 < FIXED_SIZE {
                WRONG_CHECK
            } else {
                Slot::Invalid("the check of its time and note does not match")
            };
            assert_eq!(Slot::decode(&bytes, 0), wrong, "bit {bit}");
        }
    }

    #[test]
    fn what_follows_a_note_is_no_part_of_it() {
        let mut bytes = superblock(9, 5, 1).encode(2);
        bytes.resize(SLOT_ROOM, 0xFF);
        assert_eq!(Slot::decode(&bytes, 0), slot(2, superblock(9, 5, 1)));
    }

    #[test]
    fn the_higher_sequence_says_what_is_retained_and_the_higher_claim_what_is_durable() {
        let merged = merge(&[slot(4, superblock(9, 5, 1)), slot(3, superblock(10, 2, 1))]);
        assert_eq!(merged, Some((4, superblock(10, 5, 1), false)));
    }

    #[test]
    fn a_claim_from_before_a_truncation_counts_for_nothing() {
        let merged = merge(&[slot(4, superblock(9, 5, 2)), slot(3, superblock(10, 5, 1))]);
        assert_eq!(merged, Some((4, superblock(9, 5, 2), false)));
    }

    #[test]
    fn one_slot_is_enough() {
        assert_eq!(
            merge(&[WRONG_CHECK, slot(3, superblock(9, 5, 1))]),
            Some((3, superblock(9, 5, 1), false))
        );
        assert_eq!(merge(&[WRONG_CHECK, WRONG_CHECK]), None);
    }
}
