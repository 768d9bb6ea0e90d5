//! Giving records up, at either end, and marking them as applied elsewhere.

use std::collections::VecDeque;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use durable_io::{Barrier, Dir, Site};

use crate::directory_scan::DirEntries;
use crate::edge;
use crate::epochs::Epochs;
use crate::error::{Error, Result};
use crate::frame::align_group;
use crate::limits::MAX_NOTE_SIZE;
use crate::log::Log;
use crate::lsn::Lsn;
use crate::names;
use crate::open_files::Segment;
use crate::preallocated::PreallocatedSegment;
use crate::scan;
use crate::slot::Superblock;
use crate::truncate_end;

/// With so much free space beside what it writes, no truncation of the end meets a full disk, whoever else
/// writes meanwhile.
const PLENTY: u64 = 64 << 20;

impl Log {
    /// Gives up the records below `lsn`, and writes `note` beside that, if it is given.
    pub(crate) fn truncate_before(&self, lsn: Lsn, note: Option<&[u8]>) -> Result<()> {
        // Held across I/O: superblocks are written one at a time, in the order of their sequence.
        let mut superblock = self.health.lock(&self.superblock);
        // First: after a failure the bounds are narrower, and nothing to do would be no answer.
        self.check_healthy()?;
        let old = superblock.current().clone();
        let (_, next) = self.bounds();
        let target = lsn.min(next).max(old.low);
        let note = new_note(&old, note)?;
        if target == old.low && note.is_none() {
            return Ok(());
        }
        self.sync_before_superblock(next)?;
        let segment = self.segment_of(target);
        let (segment, _) = segment.expect("what is retained, and the end, is in a segment");
        let low_segment = segment.number;
        let new = Superblock {
            durable: self.durable(),
            time: self.clock.last(),
            low_segment,
            low: target,
            note: note.unwrap_or_else(|| Arc::clone(&old.note)),
            ..old
        };
        let note = Arc::clone(&new.note);
        superblock
            .advance(new)
            .map_err(|error| self.poison_unless_full(error))?;
        let dead = {
            let mut view = self.view();
            view.note = note;
            view.low = target;
            let retained = view
                .segments
                .partition_point(|segment| segment.number < low_segment);
            let segments = view.segments.drain(..retained);
            let give_up = |segment: Arc<Segment>| {
                segment.give_up();
                segment.number
            };
            let mut dead: Vec<u64> = segments.map(give_up).collect();
            // What an earlier call could not remove, too.
            dead.append(&mut view.dead);
            dead
        };
        // No directory sync: the superblock is durable, so a name that comes back is removed by the next open.
        let left = remove_all(self.dir(), dead);
        let failed = left.first().map(|(_, error)| error.clone());
        self.view().dead = left.into_iter().map(|(number, _)| number).collect();
        failed.map_or(Ok(()), |error| Err(Error::Disk(error)))
    }

    /// Marks the records up to `lsn` as applied elsewhere, and writes `note` beside that, if it is given.
    pub(crate) fn checkpoint(&self, lsn: Lsn, note: Option<&[u8]>) -> Result<()> {
        // Held across I/O: as above.
        let mut superblock = self.health.lock(&self.superblock);
        // First: after a failure the bounds are narrower, and nothing to do would be no answer.
        self.check_healthy()?;
        let old = superblock.current().clone();
        let (_, next) = self.bounds();
        let checkpoint = lsn.min(next.previous()).max(old.checkpoint);
        let note = new_note(&old, note)?;
        if checkpoint == old.checkpoint && note.is_none() {
            return Ok(());
        }
        self.sync_before_superblock(next)?;
        let new = Superblock {
            durable: self.durable(),
            time: self.clock.last(),
            checkpoint,
            note: note.unwrap_or_else(|| Arc::clone(&old.note)),
            ..old
        };
        let note = Arc::clone(&new.note);
        superblock
            .advance(new)
            .map_err(|error| self.poison_unless_full(error))?;
        let mut view = self.view();
        view.checkpoint = checkpoint;
        view.note = note;
        Ok(())
    }

    fn sync_before_superblock(&self, next: Lsn) -> Result<()> {
        if next.previous() > self.durable() {
            // Durable: all that was acknowledged before. Only now may the superblock change: what a power
            // loss takes back is a suffix of everything that was done, so it may not take an append
            // and leave the superblock that came after it.
            self.sync()?;
        }
        Ok(())
    }

    /// Gives up the records above `lsn`.
    pub(crate) fn truncate_after(&self, lsn: Lsn) -> Result<()> {
        // All held across I/O: no superblock and no group is written, and no segment made, while the end
        // of the log moves.
        let mut writer = self.health.lock(&self.writer);
        let mut preallocated = self.health.lock(&self.preallocated);
        let mut superblock = self.health.lock(&self.superblock);
        self.check_healthy()?;
        let old = superblock.current().clone();
        let last = lsn.max(old.low.previous());
        let written = writer.written();
        if last >= written.last {
            return Ok(());
        }
        let site = Site::new(Location::caller(), Barrier::Data, "truncate");
        // Durable: everything. Only now may the superblock change, for the reason above; and it states that
        // what stays is durable.
        self.sync_written(site, || written)?;
        // Held across I/O: a sync that began before must not move the watermark afterwards.
        let _turn = self.gate.turn();
        let Some((active, is_active)) = self.segment_of(last.max(old.low)) else {
            return Ok(());
        };
        let snapshot = {
            let view = self.view();
            self.snapshot(&view, view.next)
        };
        let after = if is_active {
            snapshot.end
        } else {
            self.first_after(active.number)
        };
        let mut reader = snapshot.retained(&active, last, after)?;
        let truncation = truncate_end::plan(&mut reader, last.next())?;
        let epochs = Epochs::begin(old.epochs.current, last, active.number)?;
        let kept_end = truncate_end::end(&truncation, self.id);
        let mut above = Vec::new();
        let mut newest = old.newest;
        let mut used = writer.used();
        if !is_active {
            // What a segment that was left has not used may be a hole, and zeros need space there.
            let remainder = scan::remainder(&mut reader, align_group(kept_end))?;
            used = remainder.nonzero_end.unwrap_or(align_group(kept_end));
            newest = active.number;
            // As listed, and not as known: a full disk may have left a preallocated segment that is not complete.
            above = DirEntries::read(self.dir())?.segments;
            above.retain(|&number| number > active.number);
        }
        // It will be written to.
        let file = active.hold()?;
        let new = Superblock {
            durable: last,
            time: self.clock.last(),
            epochs,
            checkpoint: old.checkpoint.min(last),
            truncation: Some(truncation),
            newest,
            ..old
        };
        let range = truncation.offset..used.max(kept_end);
        if self.dir().free_space()? < range.end - range.start + PLENTY {
            // A full disk is met here, where nothing has changed.
            truncate_end::claim(&file, range)
                .and_then(|()| superblock.claim())
                .map_err(|error| self.poison_unless_full(error))?;
        }
        // Durable, by the barrier in it: the truncation. Only now may any of it be done, and from now on
        // recovery does the rest.
        superblock
            .advance(new.clone())
            .map_err(|error| self.poison_unless_full(error))?;
        self.show_truncation(&new);
        let applied = truncate_end::apply(self.dir(), &truncation, self.id, &file, used, &above);
        self.truncations.fetch_add(1, Ordering::AcqRel);
        applied.map_err(|error| self.poison(error))?;
        superblock
            .seal(Superblock {
                truncation: None,
                ..new
            })
            .map_err(|error| self.poison(error))?;
        if !is_active {
            self.counters.top.store(active.number, Ordering::Relaxed);
            *preallocated = PreallocatedSegment::absent(
                self.dir().clone(),
                preallocated.header(active.number + 1),
                VecDeque::new(),
            );
            let edge = edge::rounded_up(used.max(kept_end));
            self.edge.begin(
                &self.health,
                (file, active.header.size),
                edge,
                align_group(kept_end),
            );
            self.preallocated_after.store(0, Ordering::Relaxed);
        }
        writer.truncate(active, align_group(kept_end), last.next(), epochs);
        self.view().refusals = writer.expectation().refusals();
        self.prepare(&writer);
        Ok(())
    }

    /// The segment that holds `lsn`, or will, and whether it is the active one.
    fn segment_of(&self, lsn: Lsn) -> Option<(Arc<Segment>, bool)> {
        let view = self.view();
        let at = view.segment_of(lsn)?;
        Some((
            view.segments.get(at).cloned()?,
            at + 1 == view.segments.len(),
        ))
    }

    /// The first record after the sealed segment `number`.
    fn first_after(&self, number: u64) -> Lsn {
        let view = self.view();
        let mut segments = view.segments.iter();
        let next = segments.find(|segment| segment.number > number);
        next.expect("after a sealed segment there is another one")
            .first_lsn
    }

    /// Shows readers the new end that `superblock` holds.
    fn show_truncation(&self, superblock: &Superblock) {
        self.gate.truncate(superblock.durable.0);
        {
            let mut view = self.view();
            view.next = superblock.durable.next();
            view.epochs = superblock.epochs;
            view.checkpoint = superblock.checkpoint;
            view.segments
                .retain(|segment| segment.number <= superblock.epochs.segment);
            // Together with the view: whoever sees the log of before also sees that this began, and
            // whoever sees that it began is not to read what is written now.
            self.truncations.fetch_add(1, Ordering::AcqRel);
        }
        // Those who wait for what comes after the old end.
        self.gate.moved().wake();
    }
}

/// `note`, if it is given, and another one than that in `old`.
fn new_note(old: &Superblock, note: Option<&[u8]>) -> Result<Option<Arc<[u8]>>> {
    let too_large = |size| Error::TooLarge {
        what: "note",
        size: size as u64,
        limit: MAX_NOTE_SIZE as u64,
    };
    match note {
        Some(note) if note.len() > MAX_NOTE_SIZE => Err(too_large(note.len())),
        Some(note) if *note != *old.note => Ok(Some(note.into())),
        _ => Ok(None),
    }
}

/// Removes the segments `numbers`; returns those that it could not, and why. One that is gone is no failure.
pub(crate) fn remove_all(
    dir: &Dir,
    numbers: impl IntoIterator<Item = u64>,
) -> Vec<(u64, durable_io::Error)> {
    let failed = |number| match dir.remove(&names::segment(number)) {
        Err(error) if !error.is_not_found() => Some((number, error)),
        _ => None,
    };
    numbers.into_iter().filter_map(failed).collect()
}
