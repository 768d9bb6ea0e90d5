//! The verdict on a log: where it ends, and whether what stands behind that is torn or damaged
//! ([format], section 8, steps 4 to 6).
//!
//! [format]: crate::format

use crate::error::{Corruption, Result};
use crate::lsn::Lsn;
use crate::mark::{MarkFile, mark_lost};
use crate::replay::Replay;
use crate::scan::Behind;
use crate::segment::FIRST_GROUP;
use crate::slot::Mark;
use crate::stats::Tail;
use crate::survey::{Loaded, Survey};
use crate::tear;

/// Where a log ends.
#[derive(Debug)]
pub(crate) struct Judged {
    /// The last record.
    pub(crate) last: Lsn,
    /// Where the next group goes in the active segment.
    pub(crate) cut: u64,
    /// What stands at the cut is no group.
    pub(crate) is_bad: bool,
    /// Where the first group begins that no witness proves durable.
    pub(crate) unproven: Option<u64>,
    /// The end of what is not zero behind the cut in the active segment.
    pub(crate) nonzero_end: Option<u64>,
    /// When the last whole group of the active segment was written; 0 if that is not known.
    pub(crate) time: u64,
    /// When the last one was, whole or not.
    pub(crate) begun: u64,
    /// What stands in the later segments, in their order.
    pub(crate) later: Vec<Behind>,
}

impl Judged {
    /// What stands behind the last record.
    pub(crate) fn tail(&self) -> Tail {
        let behind = |end: Option<u64>, from| end.map_or(0, |end| end.saturating_sub(from));
        let later = self.later.iter();
        let bytes = behind(self.nonzero_end, self.cut)
            + later
                .map(|found| behind(found.nonzero_end, FIRST_GROUP))
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
    survey: &mut Survey,
    mark: &MarkFile,
    replay: Option<&mut Replay<'_>>,
) -> Result<Judged> {
    let &Mark {
        low,
        low_segment,
        epochs,
        durable,
        ..
    } = mark.mark();
    let active = &mut survey.active;
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
    let front = active.front(mark.mark(), replay)?;
    // Without a first group the active segment is the lowest one, and the log is empty.
    let last = front
        .last
        .map_or(low.previous(), |last| last.max(low.previous()));
    let mut behind = active.behind(front.cut)?;
    let mut later = Vec::new();
    for segment in &mut survey.later {
        let found = segment.behind(FIRST_GROUP)?;
        behind.add(&found);
        later.push(found);
    }
    if behind.epoch > epochs.current {
        // An epoch begins only when the mark that says so is durable.
        return Err(mark_lost(mark.path()));
    }
    let witness = behind.durable.max(durable);
    match verdict(last, witness) {
        None => {
            let unproven = front.unproven.start(witness);
            Ok(Judged {
                last,
                cut: front.cut,
                time: front.time,
                begun: front.begun,
                is_bad: front.bad.is_some(),
                unproven,
                nonzero_end: behind.nonzero_end,
                later,
            })
        }
        Some(reason) => {
            let (offset, at) = match front.bad {
                Some((offset, _)) => (offset, &survey.active),
                None => first_unclean(survey, &later).unwrap_or((front.cut, &survey.active)),
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

/// Refuses what no power cut leaves behind the last record of the active segment, if sectors are atomic.
/// Those above it may never have been made whole: a new file can show what stood in a removed one.
pub(crate) fn check_tail(active: &mut Loaded, judged: &Judged, mark: &Mark) -> Result<()> {
    // What a cut left behind is damaged, or stale. It is zeroed before anything is written there.
    let is_cut = mark.epochs.segment > 0 && judged.last.next() == mark.epochs.first_lsn;
    // Nothing of it can be read, which is so also if what was truncated is damaged.
    let is_unread =
        judged.cut == FIRST_GROUP && active.number == mark.low_segment && mark.low > Lsn(1);
    let may_be_damage = judged.is_bad && !is_cut && !is_unread;
    if may_be_damage && !tear::is_possible(&mut active.reader, judged.cut)? {
        let identity = active.reader.identity();
        return Err(identity.corrupt(judged.cut, Corruption::Suspected));
    }
    Ok(())
}

/// The lowest segment above the active one that has something in it: if the active one ends in
/// zeros, that is where the loss is.
fn first_unclean<'a>(survey: &'a Survey, later: &[Behind]) -> Option<(u64, &'a Loaded)> {
    let mut ascending = survey.later.iter().zip(later).rev();
    let (loaded, _) = ascending.find(|(_, found)| found.nonzero_end.is_some())?;
    Some((FIRST_GROUP, loaded))
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
