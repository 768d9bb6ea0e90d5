//! The mark file: what is retained, which epoch is written, and how far the log was durable
//! ([format], section 4).
//!
//! Two slots in two sectors are written in turn, so a torn write leaves the other one. As soon as
//! one is durable the other is made equal to it (without a sync), so that damage of one slot costs
//! nothing after a clean close.
//!
//! [format]: crate::format

use std::path::Path;

use durable_io::checksum::checksum_at;
use durable_io::codec::{Decoder, Encoder};
use durable_io::engine::UnsupportedVersion;
use durable_io::{Dir, File, replace_file_with};

use crate::error::{Corruption, Error, Result};
use crate::frame::{Epochs, GROUP_ALIGN, GROUP_HEADER_SIZE, place};
use crate::limits::MAX_SEGMENT_SIZE;
use crate::lsn::Lsn;
use crate::names;
use crate::segment::FIRST_GROUP;
use crate::source::Unreadable;

/// The version of slots that this crate writes, and the newest that it reads. Version 1 does not name the
/// newest segment.
pub(crate) const VERSION: u32 = 2;

/// Bytes of the mark file: the second slot ends with its sector.
pub(crate) const MARK_SIZE: usize = SLOT_STRIDE + 512;
/// From one slot to the other: far enough for the largest sector.
const SLOT_STRIDE: usize = 4096;
/// Bytes of a slot that mean something.
pub(crate) const SLOT_SIZE: usize = 128;

/// What a slot says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
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
    pub(crate) cut: Option<Cut>,
    /// Segments up to here are complete, and there; 0 if that is not known.
    pub(crate) newest: u64,
}

/// How a log is cut at its end: everything behind `segment` goes, and in it everything from `offset`
/// on gives way to `header`, the records that it holds, and zeros. Written down before it is done,
/// since a group that loses only some of its records cannot be changed in one atomic step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// That of the mark's epochs.
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    /// The header of a group of which only the first records stay; zeros if whole groups go.
    pub(crate) header: [u8; GROUP_HEADER_SIZE],
}

impl Cut {
    /// True if a group may begin there in some segment.
    fn is_in_a_segment(&self) -> bool {
        (FIRST_GROUP..=MAX_SEGMENT_SIZE).contains(&self.offset)
            && self.offset.is_multiple_of(GROUP_ALIGN)
    }
}

/// No log writes as many slots; it bounds what is added to a sequence that was read.
const MAX_SEQUENCE: u64 = 1 << 62;

/// One slot as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    Valid {
        sequence: u64,
        mark: Mark,
    },
    /// Void, and why.
    Invalid(&'static str),
    Newer(u32),
}

const TOO_SHORT: Slot = Slot::Invalid("the file ends before it does");
const UNREADABLE: Slot = Slot::Invalid("it cannot be read");

impl Mark {
    /// True if record `lsn`, of a group of `epoch`, was cut off together with the rest of its group.
    pub(crate) fn has_cut(&self, lsn: Lsn, epoch: u32) -> bool {
        epoch < self.epochs.current && lsn >= self.epochs.first_lsn
    }

    /// The bytes of the slot that `sequence` goes to.
    pub(crate) fn encode(&self, sequence: u64) -> Vec<u8> {
        let mut body = Encoder::with_capacity(SLOT_SIZE);
        body.u32(VERSION)
            .u64(self.log_id)
            .u64(sequence)
            .u64(self.durable.0)
            .u64(self.low_segment)
            .u64(self.low.0)
            .u32(self.epochs.current)
            .u32(0)
            .u64(self.epochs.first_lsn.0)
            .u64(self.checkpoint.0)
            .u64(self.epochs.segment)
            .u64(self.cut.map_or(0, |cut| cut.offset))
            .bytes(&self.cut.map_or([0; GROUP_HEADER_SIZE], |cut| cut.header))
            .u64(self.newest);
        let check = checksum_at(
            place(self.log_id, 0, slot_offset(sequence)),
            body.as_slice(),
        );
        let mut slot = Encoder::with_capacity(SLOT_SIZE);
        slot.u32(check).bytes(body.as_slice());
        slot.into_vec()
    }
}

impl Slot {
    /// The slot whose bytes are `bytes`, found at `offset`.
    pub(crate) fn decode(bytes: &[u8], offset: u64) -> Self {
        Self::decode_whole(bytes, offset).unwrap_or(TOO_SHORT)
    }

    /// `None` if `bytes` are too few.
    fn decode_whole(bytes: &[u8], offset: u64) -> Option<Self> {
        let mut decoder = Decoder::new(bytes.get(..SLOT_SIZE)?);
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
        let padding = decoder.u32()?;
        let first_lsn = Lsn(decoder.u64()?);
        let checkpoint = Lsn(decoder.u64()?);
        let epochs = Epochs {
            current,
            first_lsn,
            segment: decoder.u64()?,
        };
        let cut = Cut {
            segment: epochs.segment,
            offset: decoder.u64()?,
            header: decoder.bytes(GROUP_HEADER_SIZE)?.try_into().ok()?,
        };
        let newest = decoder.u64()?;
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
            (
                padding == 0 && (version > 1 || newest == 0),
                "its unused bytes are not zero",
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
                cut.offset == 0 || (cut.segment >= low_segment && cut.is_in_a_segment()),
                "its cut is where no group begins",
            ),
        ];
        if let Some((_, why)) = rules.iter().find(|(holds, _)| !holds) {
            return Some(Self::Invalid(why));
        }
        let mark = Mark {
            log_id,
            durable,
            low_segment,
            low,
            epochs,
            checkpoint,
            cut: (cut.offset > 0).then_some(cut),
            newest,
        };
        Some(Self::Valid { sequence, mark })
    }
}

/// Where the slot of `sequence` stands in the file.
pub(crate) fn slot_offset(sequence: u64) -> u64 {
    (sequence % 2) * SLOT_STRIDE as u64
}

/// Both slots of the mark file `file`, in their order there, each read on its own.
pub(crate) fn read_slots(file: &File, unreadable: Unreadable) -> durable_io::Result<[Slot; 2]> {
    let read = |at: usize| {
        let mut bytes = [0; SLOT_SIZE];
        match file.read_at(&mut bytes, at as u64) {
            Ok(read) => Ok(Slot::decode(bytes.split_at(read).0, at as u64)),
            Err(error) if unreadable == Unreadable::IsDamage && error.is_unreadable() => {
                Ok(UNREADABLE)
            }
            Err(error) => Err(error),
        }
    };
    Ok([read(0)?, read(SLOT_STRIDE)?])
}

/// What both slots together say: the sequence and the mark that hold, and whether both slots say the
/// same. `None` if neither is valid.
pub(crate) fn merge(slots: &[Slot; 2]) -> Option<(u64, Mark, bool)> {
    let valid = |slot: &Slot| match *slot {
        Slot::Valid { sequence, mark } => Some((sequence, mark)),
        Slot::Invalid(_) | Slot::Newer(_) => None,
    };
    let [even, odd] = slots.each_ref().map(valid);
    let (newer, older) = if odd.map(|s| s.0) > even.map(|s| s.0) {
        (odd, even)
    } else {
        (even, odd)
    };
    let (sequence, mut mark) = newer?;
    let settled = older.is_some_and(|(_, older)| older == mark);
    // A durable LSN stays durable, so the higher claim holds; but not across a cut, which took
    // records back.
    if let Some((_, older)) = older.filter(|(_, older)| older.epochs == mark.epochs) {
        mark.durable = mark.durable.max(older.durable);
    }
    Some((sequence, mark, settled))
}

/// The mark file, open.
#[derive(Debug)]
pub(crate) struct MarkFile {
    file: File,
    sequence: u64,
    mark: Mark,
    /// Both slots hold `mark`, durably.
    settled: bool,
    /// Both slots could be read, whatever they hold.
    is_readable: bool,
}

impl MarkFile {
    /// Writes a mark file with `mark` in both slots, durably, in place of any that stood there, whose
    /// sequence was `before`: 0 if there was none.
    #[track_caller]
    pub(crate) fn create(dir: &Dir, mark: &Mark, before: u64) -> durable_io::Result<()> {
        replace_file_with(dir, names::MARK, |file| {
            // A full disk is met here, before the file counts for anything.
            file.allocate(0, MARK_SIZE as u64)?;
            for sequence in [before + 1, before + 2] {
                file.write_all_at(&mark.encode(sequence), slot_offset(sequence))?;
            }
            Ok(())
        })
    }

    /// Opens and reads the mark file; `None` if there is none.
    ///
    /// # Errors
    /// [`Corruption::MarkLost`] if no slot is valid, [`Error::UnsupportedVersion`], [`Error::Disk`].
    pub(crate) fn open(dir: &Dir, unreadable: Unreadable) -> Result<Option<Self>> {
        let file = match dir.open(names::MARK) {
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) if unreadable == Unreadable::IsDamage && error.is_unreadable() => {
                return Err(mark_lost(&dir.path().join(names::MARK)));
            }
            other => other?,
        };
        let slots = read_slots(&file, unreadable)?;
        for slot in slots {
            if let Slot::Newer(version) = slot {
                let path = file.path().to_owned();
                return Err(UnsupportedVersion {
                    path,
                    version,
                    supported: VERSION,
                }
                .into());
            }
        }
        let Some((sequence, mark, settled)) = merge(&slots) else {
            return Err(mark_lost(file.path()));
        };
        Ok(Some(Self {
            file,
            sequence,
            mark,
            settled,
            is_readable: !slots.contains(&UNREADABLE),
        }))
    }

    pub(crate) fn is_readable(&self) -> bool {
        self.is_readable
    }

    pub(crate) fn mark(&self) -> &Mark {
        &self.mark
    }

    /// The sequence of the newest slot that can be read.
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    /// After an open: makes both slots equal, and durable what was read: a killed process may have
    /// left it in the page cache only. Written again and not just synced, since a sync that failed
    /// in an earlier process may have left pages that show what the disk does not have and that no
    /// later sync writes.
    pub(crate) fn settle(&mut self) -> durable_io::Result<()> {
        if !self.settled {
            self.sequence += 1;
        }
        self.claim()?;
        // Durable: the mark as it was read. Only now may segments below it be unlinked, and its first
        // record be shown: a crash must not bring back what was given up.
        drop(self.file.sync_data()?);
        self.settled = true;
        Ok(())
    }

    /// Writes the mark to both slots, which change nothing else. Where a file system copies on write they
    /// then have space for what is written before the next sync.
    pub(crate) fn claim(&self) -> durable_io::Result<()> {
        for sequence in [self.sequence - 1, self.sequence] {
            let bytes = self.mark.encode(sequence);
            self.file.write_all_at(&bytes, slot_offset(sequence))?;
        }
        Ok(())
    }

    /// Moves the mark to `mark`, durably.
    pub(crate) fn advance(&mut self, mark: Mark) -> durable_io::Result<()> {
        // Not over the only slot that is durable: the newest one is a copy that may not be.
        let sequence = self.sequence + if self.settled { 1 } else { 2 };
        let bytes = mark.encode(sequence);
        // First to the kernel alone: where a file system copies on write a full disk is met here. The slot is
        // the one that counts for nothing, so nothing has changed.
        self.file.write_all_at(&bytes, slot_offset(sequence))?;
        self.sequence = sequence;
        self.mark = mark;
        // Durable: what is given up. Only now may segments be unlinked: a recovery that still
        // believed the old mark would miss them.
        drop(
            self.file
                .write_durable_at(&bytes, slot_offset(self.sequence))?,
        );
        // No sync of the copy: until it is durable the first slot speaks for itself. So it does if there
        // is no space for one.
        self.settled = false;
        match self.write_next() {
            Err(error) if error.is_no_space() => Ok(()),
            other => other,
        }
    }

    /// Moves the mark to `mark`, which takes nothing back that the last one said, in both slots,
    /// durably: for the end of a handle's life, and of a cut.
    pub(crate) fn seal(&mut self, mark: Mark) -> durable_io::Result<()> {
        if self.settled && self.mark == mark {
            return Ok(());
        }
        self.mark = mark;
        self.settled = false;
        self.write_next()?;
        self.write_next()?;
        // Durable: the witness of the last records. Only now may `close` say that any later loss of
        // them will be seen.
        drop(self.file.sync_data()?);
        self.settled = true;
        Ok(())
    }

    fn write_next(&mut self) -> durable_io::Result<()> {
        self.sequence += 1;
        self.file
            .write_all_at(&self.mark.encode(self.sequence), slot_offset(self.sequence))
    }
}

/// The error that says that the mark file at `path` is lost.
pub(crate) fn mark_lost(path: &Path) -> Error {
    Error::Corrupt {
        path: path.to_owned(),
        offset: 0,
        reason: Corruption::MarkLost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRONG_CHECK: Slot = Slot::Invalid("its check does not match");

    fn mark(durable: u64, low: u64, epoch: u32) -> Mark {
        let epochs = Epochs {
            current: epoch,
            first_lsn: Lsn(1),
            segment: 2,
        };
        Mark {
            log_id: 7,
            durable: Lsn(durable),
            low_segment: 1,
            low: Lsn(low),
            epochs,
            checkpoint: Lsn(3),
            cut: None,
            newest: 2,
        }
    }

    fn slot(sequence: u64, mark: Mark) -> Slot {
        Slot::Valid { sequence, mark }
    }

    #[test]
    fn a_slot_is_read_back_only_at_its_place() {
        let bytes = mark(9, 5, 1).encode(3);
        assert_eq!(bytes.len(), SLOT_SIZE);
        assert_eq!(Slot::decode(&bytes, 4096), slot(3, mark(9, 5, 1)));
        assert_eq!(Slot::decode(&bytes, 0), WRONG_CHECK);
    }

    #[test]
    fn a_cut_is_read_back() {
        let cut = Some(Cut {
            segment: 2,
            offset: 64,
            header: [7; GROUP_HEADER_SIZE],
        });
        let mark = Mark {
            cut,
            ..mark(9, 5, 1)
        };
        assert_eq!(Slot::decode(&mark.encode(2), 0), slot(2, mark));
    }

    #[test]
    fn every_flipped_bit_of_a_slot_is_seen() {
        for bit in 0..SLOT_SIZE * 8 {
            let mut bytes = mark(9, 5, 1).encode(2);
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Slot::decode(&bytes, 0), WRONG_CHECK, "bit {bit}");
        }
    }

    #[test]
    fn the_higher_sequence_says_what_is_retained_and_the_higher_claim_what_is_durable() {
        let merged = merge(&[slot(4, mark(9, 5, 1)), slot(3, mark(10, 2, 1))]);
        assert_eq!(merged, Some((4, mark(10, 5, 1), false)));
    }

    #[test]
    fn a_claim_from_before_a_cut_counts_for_nothing() {
        let merged = merge(&[slot(4, mark(9, 5, 2)), slot(3, mark(10, 5, 1))]);
        assert_eq!(merged, Some((4, mark(9, 5, 2), false)));
    }

    #[test]
    fn one_slot_is_enough() {
        assert_eq!(
            merge(&[WRONG_CHECK, slot(3, mark(9, 5, 1))]),
            Some((3, mark(9, 5, 1), false))
        );
        assert_eq!(merge(&[WRONG_CHECK, WRONG_CHECK]), None);
    }
}
