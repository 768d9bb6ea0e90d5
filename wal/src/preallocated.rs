//! The next segment, made ready before it is needed, in short steps: a simulator can interleave them with
//! everything else, and nobody waits for more than one of them ([format], section 7).
//!
//! [format]: crate::format

use std::collections::VecDeque;

use durable_io::{Dir, File};

use crate::clock::Clock;
use crate::edge;
use crate::frame::Layout;
use crate::segment::{FIRST_GROUP, SegmentHeader, write_blank};

/// How far the next segment is.
#[derive(Debug)]
enum Stage {
    /// Not there, or incomplete.
    Absent,
    /// Written, but not durable.
    Written(File),
    /// Bytes and name are durable, and the superblock names it: it may be written to.
    Ready(Ready),
}

/// A segment that may be written to.
#[derive(Clone, Debug)]
pub(crate) struct Ready {
    pub(crate) file: File,
    pub(crate) header: SegmentHeader,
    /// How far it has space and zeros.
    pub(crate) edge: u64,
}

impl Ready {
    /// One that recovery found complete, which a power loss may have left without its zeros.
    pub(crate) fn found(file: File, header: SegmentHeader) -> Self {
        let edge = edge::rounded_up(FIRST_GROUP);
        Self { file, header, edge }
    }
}

/// The segment with the highest number, not written to yet. At most one is being made at any time;
/// those between it and the active one (left by a recovery) are ready.
#[derive(Debug)]
pub(crate) struct PreallocatedSegment {
    dir: Dir,
    header: SegmentHeader,
    stage: Stage,
    /// Those below it, ascending, that a recovery has found complete and made durable.
    found: VecDeque<Ready>,
}

impl PreallocatedSegment {
    /// A preallocated segment of which nothing can be believed to be there; `header` says what it will be,
    /// but for its time. Those in `found` are below it.
    pub(crate) fn absent(dir: Dir, header: SegmentHeader, found: VecDeque<Ready>) -> Self {
        Self {
            dir,
            header,
            stage: Stage::Absent,
            found,
        }
    }

    /// What the header will say of a segment `number` of the usual size, but for its time.
    pub(crate) fn header(&self, number: u64) -> SegmentHeader {
        SegmentHeader {
            number,
            ..self.header
        }
    }

    pub(crate) fn number(&self) -> u64 {
        self.header.number
    }

    /// True if a file of this number may be on the disk.
    pub(crate) fn is_on_disk(&self) -> bool {
        !matches!(self.stage, Stage::Absent)
    }

    pub(crate) fn is_ready(&self) -> bool {
        !self.found.is_empty() || matches!(self.stage, Stage::Ready(_))
    }

    /// Takes one step; does nothing if one is ready. It gets `filled` bytes of space and zeros, and the time of
    /// `clock`; `name` makes the superblock name it as the newest segment, durably.
    ///
    /// # Errors
    /// [`durable_io::Error::NoSpace`]: nothing has changed, and the step can be taken again. Others:
    /// the log must not continue.
    pub(crate) fn step(
        &mut self,
        filled: u64,
        clock: &Clock,
        name: &dyn Fn(u64) -> durable_io::Result<()>,
    ) -> durable_io::Result<()> {
        if self.is_ready() {
            return Ok(());
        }
        match &self.stage {
            Stage::Absent => {
                let since = clock.tick();
                self.header.layout = Layout::Timed { since };
                self.stage = Stage::Written(write_blank(&self.dir, &self.header, filled)?);
            }
            Stage::Written(file) => {
                let file = file.clone();
                // Durable: the header, and zeros after it. Only now may a group be written into it:
                // recovery takes the zeros after a group for the end of the log.
                drop(file.sync_data()?);
                // Durable: the name. Only now may a group be written into it, or the next preallocated segment be
                // created: recovery takes a missing segment below another one for a loss.
                self.dir.sync()?;
                // Only now: what the superblock names is complete.
                name(self.header.number)?;
                let (header, edge) = (self.header, filled.min(self.header.size));
                self.stage = Stage::Ready(Ready { file, header, edge });
            }
            Stage::Ready(_) => {}
        }
        Ok(())
    }

    /// Segment `number`, ready to be written to; takes the steps that are left. Then the next
    /// preallocated segment, if that was this one, is absent.
    ///
    /// # Errors
    /// As [`step`](PreallocatedSegment::step).
    pub(crate) fn take(
        &mut self,
        number: u64,
        filled: u64,
        clock: &Clock,
        name: &dyn Fn(u64) -> durable_io::Result<()>,
    ) -> durable_io::Result<Ready> {
        if let Some(ready) = self.take_found(number) {
            return Ok(ready);
        }
        loop {
            if let Stage::Ready(ready) = &self.stage {
                let ready = ready.clone();
                self.pass(number);
                return Ok(ready);
            }
            self.step(filled, clock, name)?;
        }
    }

    /// Forgets what it knows of segment `number`, the next one: another one has taken its place.
    pub(crate) fn give_way(&mut self, number: u64) {
        if self.take_found(number).is_none() {
            self.pass(number);
        }
    }

    fn take_found(&mut self, number: u64) -> Option<Ready> {
        let is_next = self
            .found
            .front()
            .is_some_and(|ready| ready.header.number == number);
        is_next.then(|| self.found.pop_front())?
    }

    /// Continues to the segment after `number`, which is absent.
    fn pass(&mut self, number: u64) {
        self.header.number = number + 1;
        self.stage = Stage::Absent;
    }
}
