//! Opening a log: what is whole, what is torn, what is damaged ([format], section 8).
//!
//! Reading comes first and decides; nothing is changed before the verdict.
//!
//! [format]: crate::format

use std::ops::Range;
use std::sync::Arc;

use durable_io::engine::{InvalidOption, Progress};
use durable_io::{Dir, Disk};

use crate::create::{check_unmarked, create};
use crate::cut;
use crate::error::Result;
use crate::frame::Epochs;
use crate::judge::{Judged, check_tail, judge};
use crate::lsn::Lsn;
use crate::mark::{MarkFile, mark_lost};
use crate::names;
use crate::open_files::Segment;
use crate::records::{Records, Snapshot};
use crate::replay::Replay;
use crate::segment::{FIRST_GROUP, SegmentHeader};
use crate::slot::Mark;
use crate::source::Unreadable;
use crate::spare::{Ready, Spare};
use crate::stats::{Recovery, Tail};
use crate::survey::{Listing, Loaded, Survey, survey};
use crate::truncate::remove_all;

/// A log, recovered and durable, ready to be written to.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) log_id: u64,
    pub(crate) epochs: Epochs,
    pub(crate) segment_size: u64,
    /// No group was written later; 0 if that is not known.
    pub(crate) time: u64,
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
    /// That of a log that is created.
    pub(crate) new_size: u64,
    /// The first record of a log that is created.
    pub(crate) first_lsn: Lsn,
    /// A tail that no power cut leaves on a disk with atomic sectors is refused.
    pub(crate) suspects: bool,
    /// How far ahead of the appends a segment gets space and zeros.
    pub(crate) zero_step: u64,
    /// How many sealed segments are open at once.
    pub(crate) open_segments: usize,
    pub(crate) progress: Progress<(u64, u64)>,
}

/// What there is of a log, and the verdict on it.
#[derive(Debug)]
pub(crate) struct Found {
    listing: Listing,
    mark: MarkFile,
    survey: Survey,
    judged: Judged,
}

impl Found {
    /// The first record, and the one behind the last.
    pub(crate) fn bounds(&self) -> Range<Lsn> {
        self.mark.mark().low..self.judged.last.next()
    }

    /// What stands behind the last record.
    pub(crate) fn tail(&self) -> Tail {
        self.judged.tail()
    }

    /// The records from `from` on.
    pub(crate) fn records(&self, from: Lsn) -> Records {
        let bounds = self.bounds();
        let snapshot = Snapshot::at_open(self.mark.mark(), bounds.end);
        let from = from.max(bounds.start);
        let mut segments = retained(&self.survey, &self.judged, self.mark.mark().low);
        let after = segments.partition_point(|segment| segment.first_lsn <= from);
        segments.drain(..after.saturating_sub(1));
        Records::new(snapshot, segments.into(), from)
    }
}

/// Looks at the log in `dir`, which is locked, judges it, and shows its records to `replay`. `None` if
/// there is none, or one whose creation was cut short. Nothing is changed, but by the end of a cut of
/// the log that was promised.
pub(crate) fn look(dir: &Dir, how: &How, replay: Option<&mut Replay<'_>>) -> Result<Option<Found>> {
    let mut listing = Listing::read(dir)?;
    let Some(mut mark) = MarkFile::open(dir, Unreadable::Fails)? else {
        check_unmarked(dir, &listing)?;
        return Ok(None);
    };
    if cut::finish(dir, &listing, &mut mark, false)? {
        listing = Listing::read(dir)?;
    }
    let survey = survey(dir, &listing, &mark, how.open_segments, &how.progress)?;
    examine(listing, mark, survey, how, replay).map(Some)
}

/// The log that was just created in `dir`: there is nothing to be read.
fn look_at_new(dir: &Dir, how: &How) -> Result<Found> {
    let listing = Listing::read(dir)?;
    let mark = MarkFile::open(dir, Unreadable::Fails)?
        .ok_or_else(|| mark_lost(&dir.path().join(names::MARK)))?;
    let mut survey = survey(dir, &listing, &mark, how.open_segments, &how.progress)?;
    survey.active.is_new = true;
    examine(listing, mark, survey, how, None)
}

/// The verdict on what was surveyed.
fn examine(
    listing: Listing,
    mark: MarkFile,
    mut survey: Survey,
    how: &How,
    mut replay: Option<&mut Replay<'_>>,
) -> Result<Found> {
    if let Some(size) = how.segment_size.filter(|&size| size != survey.usual) {
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
    let judged = judge(&mut survey, &mark, replay)?;
    if how.suspects {
        check_tail(&mut survey.active, &judged, mark.mark())?;
    }
    Ok(Found {
        listing,
        mark,
        survey,
        judged,
    })
}

/// Makes what was `found` a log that is durable and ready to be written to; creates one if there was none.
pub(crate) fn settle(disk: &Disk, dir: &Dir, how: &How, found: Option<Found>) -> Result<Recovered> {
    let created = found.is_none();
    let Found {
        listing,
        mut mark,
        mut survey,
        judged,
    } = if let Some(mut found) = found {
        // Durable: the names as they were listed. Only now may they be relied on: a killed process
        // may have left a new segment, or a removed one, in the page cache only.
        dir.sync()?;
        found.mark.settle()?;
        found
    } else {
        create(disk, dir, how)?;
        look_at_new(dir, how)?
    };
    let (removed_files, dead) = remove_dead(dir, &listing, mark.mark().low_segment);
    clean(&mut survey, &judged, &mut mark)?;
    let recovery = Recovery {
        tail: judged.tail(),
        records: judged.last.next().0.saturating_sub(mark.mark().low.0),
        first_lsn: mark.mark().low,
        last_lsn: judged.last,
        durable_at_open: judged.last,
        marked: mark.mark().durable,
        note: mark.mark().note.to_vec(),
        removed_files,
        created,
        dropped: None,
        given_up: None,
        set_aside: Vec::new(),
    };
    let recovered = finish(dir, survey, &judged, mark, recovery);
    Ok(Recovered { dead, ..recovered })
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
    let mut survey = survey(dir, &listing, &file, 0, &Progress::default())?;
    let judged = judge(&mut survey, &file, None)?;
    Ok(Outlook::Recover {
        records: file.mark().low..judged.last.next(),
        tail: judged.tail(),
    })
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

/// Makes durable what was read, and zeroes what is behind the cut.
fn clean(survey: &mut Survey, judged: &Judged, mark: &mut MarkFile) -> Result<()> {
    write_again(&mut survey.active, judged)?;
    // Durable: the records that were read, which a killed process may have left in the page cache
    // only. Only now may a mark or a watermark claim them.
    drop(survey.active.file.sync_data()?);
    if let Some(spare) = survey.later.first() {
        // Written again for the same reason, before the sync below.
        spare.file.write_all_at(&spare.whole().encode(), 0)?;
    }
    for later in &survey.later {
        // Durable: a whole segment, which a killed process may have left in the page cache only. Only
        // now may the next one be made: one that is not whole below another one is a loss.
        drop(later.file.sync_data()?);
    }
    let newest = survey.later.first().unwrap_or(&survey.active).number;
    let old = Mark {
        newest: newest.max(mark.mark().newest),
        ..mark.mark().clone()
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

/// The retained segments, ascending; the last one is the active one.
fn retained(survey: &Survey, judged: &Judged, low: Lsn) -> Vec<Arc<Segment>> {
    let active = &survey.active;
    let first_lsn = match active.first_lsn() {
        _ if judged.cut == FIRST_GROUP => judged.last.next(),
        Some(first_lsn) => first_lsn,
        // The first group is damaged, and the first retained record stands behind it; so the segment
        // begins at least one record before that, and whoever reads all of it meets the damage.
        None => low.previous(),
    };
    let file = active.file.clone();
    let active = Segment::active(&survey.files, active.whole(), first_lsn, file);
    active.has_newest(judged.time);
    let sealed = survey.sealed.iter().rev().cloned();
    sealed.chain([active]).collect()
}

fn finish(
    dir: &Dir,
    survey: Survey,
    judged: &Judged,
    mark: MarkFile,
    recovery: Recovery,
) -> Recovered {
    let segments = retained(&survey, judged, mark.mark().low);
    let active = segments.last().cloned();
    let active = active.expect("the active segment is retained");
    let Survey {
        later,
        incomplete,
        usual,
        time,
        ..
    } = survey;
    let top = later.first().map_or(active.number, |top| top.number);
    let header = SegmentHeader {
        number: incomplete.unwrap_or(top + 1),
        size: usual,
        usual,
        ..active.header
    };
    let found = later.into_iter().rev();
    let found = found.map(|later| Ready::found(later.file.clone(), later.whole()));
    let spare = Spare::absent(dir.clone(), header, found.collect());
    let &Mark {
        log_id,
        low,
        epochs,
        ..
    } = mark.mark();
    Recovered {
        log_id,
        epochs,
        segment_size: usual,
        time: time.max(judged.begun).max(mark.mark().time),
        segments,
        active,
        offset: judged.cut,
        low,
        next: judged.last.next(),
        spare,
        mark,
        recovery,
        dead: Vec::new(),
    }
}
