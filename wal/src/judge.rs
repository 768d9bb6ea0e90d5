//! The verdict on a log: where it ends, and whether what follows that is torn or damaged
//! ([format], section 8, steps 4 to 6).
//!
//! [format]: crate::format

use crate::directory_scan::{DirectoryScan, OpenedSegment};
use crate::error::{Corruption, Result};
use crate::lsn::Lsn;
use crate::replay::Replay;
use crate::scan::Remainder;
use crate::segment::FIRST_GROUP;
use crate::slot::Superblock;
use crate::stats::Tail;
use crate::superblock::{SuperblockFile, superblock_lost};
use crate::torn_write;

/// Where a log ends.
#[derive(Debug)]
pub(crate) struct Judged {
    /// The last record.
    pub(crate) last: Lsn,
    /// Where the next group is written in the active segment.
    pub(crate) end: u64,
    /// What follows the last group is no group.
    pub(crate) is_bad: bool,
    /// Where the first group begins that no witness proves durable.
    pub(crate) unproven: Option<u64>,
    /// The end of what is not zero after the last group of the active segment.
    pub(crate) nonzero_end: Option<u64>,
    /// When the last whole group of the active segment was written; 0 if that is not known.
    pub(crate) time: u64,
    /// When the last one was, whole or not.
    pub(crate) begun: u64,
    /// What is in the later segments, in their order.
    pub(crate) later: Vec<Remainder>,
}

impl Judged {
    /// What follows the last record.
    pub(crate) fn tail(&self) -> Tail {
        let bytes_after = |end: Option<u64>, from| end.map_or(0, |end| end.saturating_sub(from));
        let later = self.later.iter();
        let bytes = bytes_after(self.nonzero_end, self.end)
            + later
                .map(|found| bytes_after(found.nonzero_end, FIRST_GROUP))
                .sum::<u64>();
        if bytes > 0 {
            Tail::Torn { bytes }
        } else {
            Tail::Clean
        }
    }
}

/// Judges what was surveyed, and shows the records of the active segment to `replay`.
pub(crate) fn judge(
    scanned: &mut DirectoryScan,
    superblock: &SuperblockFile,
    replay: Option<&mut Replay<'_>>,
) -> Result<Judged> {
    let &Superblock {
        low,
        low_segment,
        epochs,
        durable,
        ..
    } = superblock.current();
    let active = &mut scanned.active;
    if let Some(found) = active
        .first_lsn()
        .filter(|&first| active.number == low_segment && first > low)
    {
        let reason = Corruption::Order {
            expected: low,
            found,
        };
        return Err(active.reader.identity().corrupt(FIRST_GROUP, reason));
    }
    let prefix = active.valid_prefix(superblock.current(), replay)?;
    // Without a first group the active segment is the lowest one, and the log is empty.
    let last = prefix
        .last
        .map_or(low.previous(), |last| last.max(low.previous()));
    let mut remainder = active.remainder(prefix.end)?;
    let mut later = Vec::new();
    for segment in &mut scanned.later {
        let found = segment.remainder(FIRST_GROUP)?;
        remainder.add(&found);
        later.push(found);
    }
    if remainder.epoch > epochs.current {
        // An epoch begins only when the superblock that says so is durable.
        return Err(superblock_lost(superblock.path()));
    }
    let witness = remainder.durable.max(durable);
    match verdict(last, witness) {
        None => {
            let unproven = prefix.unproven.start(witness);
            Ok(Judged {
                last,
                end: prefix.end,
                time: prefix.time,
                begun: prefix.begun,
                is_bad: prefix.bad.is_some(),
                unproven,
                nonzero_end: remainder.nonzero_end,
                later,
            })
        }
        Some(reason) => {
            let (offset, at) = match prefix.bad {
                Some((offset, _)) => (offset, &scanned.active),
                None => first_unclean(scanned, &later).unwrap_or((prefix.end, &scanned.active)),
            };
            Err(at.reader.identity().corrupt(offset, reason))
        }
    }
}

/// Torn or damaged: the one rule. `last` is the last record that can be read, `durable` the highest
/// that any readable witness says was durable. A crash takes only what was not durable, so a witness
/// above `last` proves a loss; without one, what is missing was never acknowledged as durable.
fn verdict(last: Lsn, durable: Lsn) -> Option<Corruption> {
    (durable > last).then(|| Corruption::LostRecords {
        first: last.next(),
        last: durable,
    })
}

/// Refuses what no power loss leaves after the last record of the active segment, if sectors are atomic.
/// Those above it may never have been made whole: a new file can show what was in a removed one.
pub(crate) fn check_tail(
    active: &mut OpenedSegment,
    judged: &Judged,
    superblock: &Superblock,
) -> Result<()> {
    // What follows a truncation is damaged, or stale. It is zeroed before anything is written there.
    let is_truncated_end =
        superblock.epochs.segment > 0 && judged.last.next() == superblock.epochs.first_lsn;
    // Nothing of it can be read, which is so also if what was truncated is damaged.
    let is_unread = judged.end == FIRST_GROUP
        && active.number == superblock.low_segment
        && superblock.low > Lsn(1);
    let may_be_damage = judged.is_bad && !is_truncated_end && !is_unread;
    if may_be_damage && !torn_write::is_possible(&mut active.reader, judged.end)? {
        let identity = active.reader.identity();
        return Err(identity.corrupt(judged.end, Corruption::Suspected));
    }
    Ok(())
}

/// The lowest segment above the active one that has something in it: if the active one ends in
/// zeros, that is where the loss is.
fn first_unclean<'a>(
    scanned: &'a DirectoryScan,
    later: &[Remainder],
) -> Option<(u64, &'a OpenedSegment)> {
    let mut ascending = scanned.later.iter().zip(later).rev();
    let (opened, _) = ascending.find(|(_, found)| found.nonzero_end.is_some())?;
    Some((FIRST_GROUP, opened))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_witness_above_the_last_record_proves_a_loss() {
        assert_eq!(verdict(Lsn(5), Lsn(0)), None);
        assert_eq!(verdict(Lsn(5), Lsn(5)), None);
        let lost = Corruption::LostRecords {
            first: Lsn(6),
            last: Lsn(7),
        };
        assert_eq!(verdict(Lsn(5), Lsn(7)), Some(lost));
    }
}
