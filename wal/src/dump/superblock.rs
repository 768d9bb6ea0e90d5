//! The part of a dump that shows the superblock.

use crate::epochs::Epochs;
use crate::error::{Corruption, Result};
use crate::frame::{GroupHeader, place};
use crate::names;
use crate::slot::{Slot, Superblock, TailTruncation, merge, slot_offset};
use crate::source::Unreadable;
use crate::superblock::read_slots;
use crate::truncate_end::ANY_LAYOUT;

use super::Dump;
use super::text::{Lsns, Newer};

impl Dump<'_> {
    /// Shows the superblock, and keeps what it says.
    pub(super) fn superblock(&mut self) -> Result<()> {
        let file = match self.dir.open(names::SUPERBLOCK) {
            Err(error) if error.is_not_found() => {
                return self.line(format_args!("\nsuperblock: mark is missing"));
            }
            Err(error) => {
                self.line(format_args!("\nsuperblock: mark"))?;
                return Err(error.into());
            }
            Ok(file) => file,
        };
        self.line(format_args!("\nsuperblock: mark, {} bytes", file.len()?))?;
        let slots = read_slots(&file, Unreadable::IsDamage)?;
        let merged = merge(&slots);
        for (slot, at) in slots.iter().zip([slot_offset(0), slot_offset(1)]) {
            match slot {
                Slot::Valid {
                    sequence,
                    superblock,
                } => {
                    let holds = merged
                        .as_ref()
                        .is_some_and(|(newest, ..)| newest == sequence);
                    self.slot(at, *sequence, superblock, holds)?;
                }
                Slot::Invalid(reason) => self.damage(at, format_args!("void slot: {reason}"))?,
                Slot::Newer(version) => self.damage(at, Newer(*version))?,
            }
        }
        match merged {
            None if slots.iter().any(|slot| matches!(slot, Slot::Newer(_))) => {}
            None => self.damage(0, Corruption::SuperblockLost)?,
            Some((_, superblock, is_settled)) => {
                if !is_settled {
                    let durable = superblock.durable;
                    self.line(format_args!(
                        "  the slots differ; durable LSN {durable} holds"
                    ))?;
                }
                self.superblock = Some(superblock);
            }
        }
        Ok(())
    }

    fn slot(&mut self, at: u64, sequence: u64, superblock: &Superblock, holds: bool) -> Result<()> {
        let holds = if holds { ", holds" } else { "" };
        let Superblock {
            log_id,
            durable,
            low_segment,
            low,
            epochs,
            checkpoint,
            truncation,
            newest,
            time,
            note,
        } = superblock;
        let Epochs {
            current,
            first_lsn,
            segment,
        } = epochs;
        self.line(format_args!(
            "  {at}: slot, sequence {sequence}{holds}; log id {log_id:016x}"
        ))?;
        self.line(format_args!(
            "    durable LSN {durable}, low segment {low_segment}, low LSN {low}, \
             epoch {current} from LSN {first_lsn}, older ones up to segment {segment}, \
             checkpoint {checkpoint}, newest segment {newest}, time {time}"
        ))?;
        if !note.is_empty() {
            let len = note.len();
            self.line(format_args!(
                "    note, {len} bytes: {}",
                note.escape_ascii()
            ))?;
        }
        truncation.map_or(Ok(()), |truncation| self.truncation(&truncation, *log_id))
    }

    fn truncation(&mut self, truncation: &TailTruncation, log_id: u64) -> Result<()> {
        let TailTruncation {
            segment,
            offset,
            header,
        } = truncation;
        let place = place(log_id, *segment, *offset);
        match GroupHeader::decode(header, place, u64::MAX, ANY_LAYOUT) {
            Some(group) => self.line(format_args!(
                "    a truncation is to be finished: of segment {segment}, at {offset}, where {} stay",
                Lsns(&group)
            )),
            None => self.line(format_args!(
                "    a truncation is to be finished: of segment {segment}, at {offset}"
            )),
        }
    }
}
