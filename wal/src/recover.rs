//! Opening a log: what is whole, what is torn, what is damaged ([format], section 8).
//!
//! Reading comes first and decides; nothing is changed before the verdict.
//!
//! [format]: crate::format

use std::ops::Range;
use std::sync::Arc;

use durable_io::engine::{InvalidOption, Progress};
use durable_io::{Dir, Disk};

use crate::cut;
use crate::error::{Corruption, Result};
use crate::frame::Epochs;
use crate::limits::DEFAULT_SEGMENT_SIZE;
use crate::lsn::Lsn;
use crate::mark::{Mark, MarkFile, mark_lost};
use crate::names;
use crate::replay::Replay;
use crate::scan::Behind;
use crate::segment::{FIRST_GROUP, Segment, SegmentHeader, write_blank};
use crate::source::Unreadable;
use crate::spare::Spare;
use crate::stats::{Recovery, Tail};
use crate::survey::{ANY_EPOCH, Listing, Loaded, Survey, log_id_of, survey};
use crate::tear;
use crate::truncate::remove_all;

/// A log, recovered and durable, ready to be written to.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) log_id: u64,
    pub(crate) epochs: Epochs,
    pub(crate) segment_size: u64,
    /// The retained segments; the last one is the active one.
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) active: Arc<Segment>,
    /// Where the next group goes in the active one.
    pub(crate) offset: u64,
    pub(crate) low: Lsn,
    pub(crate) next: Lsn,
    pub(crate) spare: Spare,
    pub(crate) mark: MarkFile,
    pub(crate) recovery: Recovery,
    /// Segments that are given up, but could not be removed.
    pub(crate) dead: Vec<u64>,
}

/// How a log is opened, as far as recovery is concerned.
#[derive(Debug)]
pub(crate) struct How {
    /// The segment size that was asked for.
    pub(crate) segment_size: Option<u64>,
    /// The first record of a log that is created.
    pub(crate) first_lsn: Lsn,
    /// A tail that no power cut leaves on a disk with atomic sectors is refused.
    pub(crate) suspects: bool,
    /// How far ahead of the appends a segment gets space and zeros.
    pub(crate) zero_step: u64,
    pub(crate) progress: Progress<(u64, u64)>,
}

/// Creates or recovers the log in `dir`, which is locked, and shows its records to `replay`. `None` if
/// that wanted to stop: nothing was changed.
pub(crate) fn recover(
    disk: &Disk,
    dir: &Dir,
    how: &How,
    mut replay: Option<&mut Replay<'_>>,
) -> Result<Option<Recovered>> {
    let mut listing = Listing::read(dir)?;
    let mut found = MarkFile::open(dir, Unreadable::Fails)?;
    let created = found.is_none();
    if created {
        let size = how.segment_size.unwrap_or(DEFAULT_SEGMENT_SIZE);
        create(disk, dir, &listing, size, how)?;
        listing = Listing::read(dir)?;
        found = MarkFile::open(dir, Unreadable::Fails)?;
    }
    let mut mark = found.ok_or_else(|| mark_lost(&dir.path().join(names::MARK)))?;
    if cut::finish(dir, &listing, &mut mark, false)? {
        listing = Listing::read(dir)?;
    }
    let mut survey = survey(dir, &listing, &mark, &how.progress)?;
    survey.active.is_new = created;
    if let Some(size) = how.segment_size.filter(|&size| size != survey.header.size) {
        return Err(InvalidOption {
            option: "segment_size",
            value: size,
            rule: "a log keeps the segment size it was created with",
        }
        .into());
    }
    if let Some(replay) = &mut replay {
        replay.begin(mark.mark());
        replay.sealed(&survey, mark.mark())?;
    }
    let judged = judge(&mut survey, &mark, replay.as_deref_mut())?;
    if replay.is_some_and(|replay| replay.has_stopped()) {
        return Ok(None);
    }
    if how.suspects {
        check_tail(&mut survey.active, &judged, mark.mark())?;
    }
    if !created {
        // Durable: the names as they were listed. Only now may they be relied on: a killed process
        // may have left a new segment, or a removed one, in the page cache only.
        dir.sync()?;
        mark.settle()?;
    }
    let (removed_files, dead) = remove_dead(dir, &listing, mark.mark().low_segment);
    clean(&mut survey, &judged, &mut mark)?;
    let recovery = Recovery {
        tail: judged.tail(),
        records: judged.last.next().0.saturating_sub(mark.mark().low.0),
        first_lsn: mark.mark().low,
        last_lsn: judged.last,
        durable_at_open: judged.last,
        marked: mark.mark().durable,
        removed_files,
        created,
        dropped: None,
        given_up: None,
        set_aside: Vec::new(),
    };
    let recovered = finish(dir, survey, &judged, mark, recovery);
    Ok(Some(Recovered { dead, ..recovered }))
}

/// What opening a log would do.
#[derive(Debug)]
pub(crate) enum Outlook {
    /// There is none, or one whose creation was cut short.
    Create,
    /// A cut is to be finished first; what that leaves is not known before it is done.
    FinishCut,
    /// There is one, with these records.
    Recover { records: Range<Lsn>, tail: Tail },
}

/// What opening the log in `dir` would do, without doing it: nothing is changed.
///
/// # Errors
/// What opening it would say.
pub(crate) fn foresee(dir: &Dir) -> Result<Outlook> {
    let listing = Listing::read(dir)?;
    let Some(file) = MarkFile::open(dir, Unreadable::Fails)? else {
        check_unmarked(dir, &listing)?;
        return Ok(Outlook::Create);
    };
    if file.mark().cut.is_some() {
        return Ok(Outlook::FinishCut);
    }
    let mut survey = survey(dir, &listing, &file, &Progress::default())?;
    let judged = judge(&mut survey, &file, None)?;
    Ok(Outlook::Recover {
        records: file.mark().low..judged.last.next(),
        tail: judged.tail(),
    })
}

/// Makes a new log: there is no mark, so either there never was one or its creation was cut short.
fn create(disk: &Disk, dir: &Dir, listing: &Listing, size: u64, how: &How) -> Result<()> {
    check_unmarked(dir, listing)?;
    let first = how.first_lsn;
    // What a creation that was cut short left: gone, with the sync below, before this one writes its mark.
    listing.remove_temps(dir)?;
    let log_id = disk.unique_id()?;
    let header = SegmentHeader {
        log_id,
        number: 1,
        size,
    };
    let file = write_blank(dir, &header, how.zero_step)?;
    // Durable: the first segment. Only now may a mark exist: recovery takes an incomplete active
    // segment beside a mark for damage.
    drop(file.sync_data()?);
    // Durable: its name. Only now may a mark exist: recovery takes a missing segment for a loss.
    dir.sync()?;
    let epochs = Epochs {
        current: 1,
        first_lsn: first,
        segment: 0,
    };
    let mark = Mark {
        log_id,
        durable: first.previous(),
        low_segment: 1,
        low: first,
        epochs,
        checkpoint: Lsn(0),
        cut: None,
        newest: 1,
    };
    // Durable: the mark, by both barriers of the procedure. Only now does the log exist, and a group
    // without a mark is a loss of the mark.
    Ok(MarkFile::create(dir, &mark, 0)?)
}

/// Refuses a log that had a mark.
fn check_unmarked(dir: &Dir, listing: &Listing) -> Result<()> {
    for &number in &listing.segments {
        // The mark is created before the first append and the second segment, so it was there.
        if number != 1 || holds_group(dir, number)? {
            return Err(mark_lost(&dir.path().join(names::MARK)));
        }
    }
    Ok(())
}

fn holds_group(dir: &Dir, number: u64) -> Result<bool> {
    let Some(log_id) = log_id_of(dir, number)? else {
        return Ok(false);
    };
    let mut loaded = Loaded::open(dir, number, (log_id, ANY_EPOCH), Unreadable::Fails)?;
    Ok(loaded.behind(FIRST_GROUP)?.groups)
}

/// Removes what the mark has given up, and what replacements left; returns how many files went, and which
/// segments did not: they are in nobody's way.
fn remove_dead(dir: &Dir, listing: &Listing, low_segment: u64) -> (u64, Vec<u64>) {
    // No directory sync here: what comes back after a crash is removed by the next open.
    let dead = listing.segments.iter().copied();
    let dead: Vec<u64> = dead.take_while(|&number| number < low_segment).collect();
    let mut removed = dead.len() as u64;
    let left = remove_all(dir, dead);
    removed -= left.len() as u64;
    let temps = listing.temps.iter().filter(|name| dir.remove(name).is_ok());
    removed += temps.count() as u64;
    (
        removed,
        left.into_iter().map(|(number, _)| number).collect(),
    )
}

/// Where a log ends.
#[derive(Debug)]
struct Judged {
    /// The last record.
    last: Lsn,
    /// Where the next group goes in the active segment.
    cut: u64,
    /// What stands at the cut is no group.
    is_bad: bool,
    /// Where the first group begins that no witness proves durable.
    unproven: Option<u64>,
    /// The end of what is not zero behind the cut in the active segment.
    nonzero_end: Option<u64>,
    /// What stands in the later segments, in their order.
    later: Vec<Behind>,
}

impl Judged {
    /// What stands behind the last record.
    fn tail(&self) -> Tail {
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

fn judge(survey: &mut Survey, mark: &MarkFile, replay: Option<&mut Replay<'_>>) -> Result<Judged> {
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
fn check_tail(active: &mut Loaded, judged: &Judged, mark: &Mark) -> Result<()> {
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

/// Makes durable what was read, and zeroes what is behind the cut.
fn clean(survey: &mut Survey, judged: &Judged, mark: &mut MarkFile) -> Result<()> {
    write_again(&mut survey.active, judged)?;
    // Durable: the records that were read, which a killed process may have left in the page cache
    // only. Only now may a mark or a watermark claim them.
    drop(survey.active.file.sync_data()?);
    if let Some(spare) = survey.later.first() {
        // Written again for the same reason, before the sync below.
        let header = SegmentHeader {
            number: spare.number,
            ..survey.header
        };
        spare.file.write_all_at(&header.encode(), 0)?;
    }
    for later in &survey.later {
        // Durable: a whole segment, which a killed process may have left in the page cache only. Only
        // now may the next one be made: one that is not whole below another one is a loss.
        drop(later.file.sync_data()?);
    }
    let newest = survey.later.first().unwrap_or(&survey.active).number;
    let old = Mark {
        newest: newest.max(mark.mark().newest),
        ..*mark.mark()
    };
    if judged.tail() == Tail::Clean {
        // Durable, by the barrier in it, unless the mark says so: which segments are complete. Only now
        // may a group be written to them: the loss of a newest segment must be seen.
        mark.seal(old)?;
    } else {
        let epochs = Epochs::begin(old.epochs.current, judged.last, survey.active.number)?;
        // Durable, by the barrier in it: a new epoch. Only now may the tail be zeroed: if the sync of
        // the zeros fails, the next open may see them in the page cache although the disk has groups
        // there, which must not follow a new one.
        mark.seal(Mark {
            durable: judged.last,
            epochs,
            ..old
        })?;
        zero(&survey.active, judged.cut, judged.nonzero_end)?;
        for (later, found) in survey.later.iter().zip(&judged.later) {
            zero(later, FIRST_GROUP, found.nonzero_end)?;
        }
    }
    Ok(())
}

/// Zeroes a segment from byte `from` on to `end`, if it is not zero there.
fn zero(segment: &Loaded, from: u64, end: Option<u64>) -> Result<()> {
    if let Some(end) = end {
        segment.file.write_zeros(from, end - from)?;
        // Durable: zeros. Only now may a group be written there: where sectors are atomic, it is taken
        // for damaged rather than torn if none of them shows what was there before.
        drop(segment.file.sync_data()?);
    }
    Ok(())
}

/// Writes the groups again that nothing proves durable. A sync is not enough: one that failed in an
/// earlier process may have left pages that show what the disk does not have and count as written.
fn write_again(active: &mut Loaded, judged: &Judged) -> Result<()> {
    let Some(from) = judged.unproven else {
        return Ok(());
    };
    let (_, source) = active.reader.parts();
    Ok(source.copy_to(&active.file, from..judged.cut)?)
}

fn finish(
    dir: &Dir,
    survey: Survey,
    judged: &Judged,
    mark: MarkFile,
    recovery: Recovery,
) -> Recovered {
    let Survey {
        sealed,
        active,
        later,
        incomplete,
        header,
    } = survey;
    let next = judged.last.next();
    let first_lsn = match active.first_lsn() {
        _ if judged.cut == FIRST_GROUP => next,
        Some(first_lsn) => first_lsn,
        // The first group is damaged, and the first retained record stands behind it; so the segment
        // begins at least one record before that, and whoever reads all of it meets the damage.
        None => mark.mark().low.previous(),
    };
    let number = active.number;
    let spare_header = |number| SegmentHeader { number, ..header };
    let spare = match (incomplete, later.into_iter().next()) {
        (Some(top), _) => Spare::absent(dir.clone(), spare_header(top)),
        (None, Some(top)) => Spare::ready(dir.clone(), spare_header(top.number), top.file),
        (None, None) => Spare::absent(dir.clone(), spare_header(number + 1)),
    };
    let active = Arc::new(Segment {
        number,
        first_lsn,
        file: active.file,
    });
    let mut segments: Vec<_> = sealed.into_iter().rev().collect();
    segments.push(Arc::clone(&active));
    let &Mark {
        log_id,
        low,
        epochs,
        ..
    } = mark.mark();
    Recovered {
        log_id,
        epochs,
        segment_size: header.size,
        segments,
        active,
        offset: judged.cut,
        low,
        next,
        spare,
        mark,
        recovery,
        dead: Vec::new(),
    }
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
