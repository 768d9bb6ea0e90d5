//! The part of a dump that shows the mark.

use crate::cut::ANY_LAYOUT;
use crate::error::{Corruption, Result};
use crate::frame::{Epochs, GroupHeader, place};
use crate::mark::read_slots;
use crate::names;
use crate::slot::{Cut, Mark, Slot, merge, slot_offset};
use crate::source::Unreadable;

use super::Dump;
use super::text::{Lsns, Newer};

impl Dump<'_> {
    /// Shows the mark, and keeps what it says.
    pub(super) fn mark(&mut self) -> Result<()> {
        let file = match self.dir.open(names::MARK) {
            Err(error) if error.is_not_found() => {
                return self.line(format_args!("\nmark: there is none"));
            }
            Err(error) => {
                self.line(format_args!("\nmark"))?;
                return Err(error.into());
            }
            Ok(file) => file,
        };
        self.line(format_args!("\nmark: {} bytes", file.len()?))?;
        let slots = read_slots(&file, Unreadable::IsDamage)?;
        let merged = merge(&slots);
        for (slot, at) in slots.iter().zip([slot_offset(0), slot_offset(1)]) {
            match slot {
                Slot::Valid { sequence, mark } => {
                    let holds = merged
                        .as_ref()
                        .is_some_and(|(newest, ..)| newest == sequence);
                    self.slot(at, *sequence, mark, holds)?;
                }
                Slot::Invalid(why) => self.damage(at, format_args!("void slot: {why}"))?,
                Slot::Newer(version) => self.damage(at, Newer(*version))?,
            }
        }
        match merged {
            None if slots.iter().any(|slot| matches!(slot, Slot::Newer(_))) => {}
            None => self.damage(0, Corruption::MarkLost)?,
            Some((_, mark, is_settled)) => {
                if !is_settled {
                    let durable = mark.durable;
                    self.line(format_args!(
                        "  the slots differ; durable LSN {durable} holds"
                    ))?;
                }
                self.mark = Some(mark);
            }
        }
        Ok(())
    }

    fn slot(&mut self, at: u64, sequence: u64, mark: &Mark, holds: bool) -> Result<()> {
        let holds = if holds { ", holds" } else { "" };
        let Mark {
            log_id,
            durable,
            low_segment,
            low,
            epochs,
            checkpoint,
            cut,
            newest,
            time,
            note,
        } = mark;
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
        cut.map_or(Ok(()), |cut| self.cut(&cut, *log_id))
    }

    fn cut(&mut self, cut: &Cut, log_id: u64) -> Result<()> {
        let Cut {
            segment,
            offset,
            header,
        } = cut;
        let place = place(log_id, *segment, *offset);
        match GroupHeader::decode(header, place, u64::MAX, ANY_LAYOUT) {
            Some(group) => self.line(format_args!(
                "    a cut is to be finished: of segment {segment}, at {offset}, where {} stay",
                Lsns(&group)
            )),
            None => self.line(format_args!(
                "    a cut is to be finished: of segment {segment}, at {offset}"
            )),
        }
    }
}
