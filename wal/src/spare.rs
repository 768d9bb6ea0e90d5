//! The next segment, made ready before it is needed, in short steps: a simulator can interleave them with
//! everything else, and nobody waits for more than one of them ([format], section 7).
//!
//! [format]: crate::format

use durable_io::{Dir, File};

use crate::edge;
use crate::segment::{FIRST_GROUP, SegmentHeader, write_blank};

/// How far the next segment is.
#[derive(Debug)]
enum Stage {
    /// Not there, or incomplete.
    Absent,
    /// Written, but not durable.
    Written(File),
    /// Bytes and name are durable, and the mark names it: it may be written to.
    Ready(Ready),
}

/// A segment that may be written to.
#[derive(Clone, Debug)]
pub(crate) struct Ready {
    pub(crate) file: File,
    /// How far it has space and zeros.
    pub(crate) edge: u64,
}

impl Ready {
    /// One that recovery found complete, which a power loss may have left without its zeros.
    fn found(file: File) -> Self {
        let edge = edge::behind(FIRST_GROUP);
        Self { file, edge }
    }
}

/// The segment with the highest number, not written to yet. At most one is being made at any time;
/// those between it and the active one (left by a recovery) are ready.
#[derive(Debug)]
pub(crate) struct Spare {
    dir: Dir,
    header: SegmentHeader,
    stage: Stage,
}

impl Spare {
    /// A spare of which nothing can be believed to be there; `header` says what it will be.
    pub(crate) fn absent(dir: Dir, header: SegmentHeader) -> Self {
        Self {
            dir,
            header,
            stage: Stage::Absent,
        }
    }

    /// A spare that recovery found complete, and made durable.
    pub(crate) fn ready(dir: Dir, header: SegmentHeader, file: File) -> Self {
        Self {
            dir,
            header,
            stage: Stage::Ready(Ready::found(file)),
        }
    }

    /// What the header of segment `number` says.
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
        matches!(self.stage, Stage::Ready(_))
    }

    /// Takes one step; does nothing if the spare is ready. It gets `filled` bytes of space and zeros;
    /// `name` makes the mark name it as the newest segment, durably.
    ///
    /// # Errors
    /// [`durable_io::Error::NoSpace`]: nothing has changed, and the step can be taken again. Others:
    /// the log must not go on.
    pub(crate) fn step(
        &mut self,
        filled: u64,
        name: &dyn Fn(u64) -> durable_io::Result<()>,
    ) -> durable_io::Result<()> {
        match &self.stage {
            Stage::Absent => {
                self.stage = Stage::Written(write_blank(&self.dir, &self.header, filled)?);
            }
            Stage::Written(file) => {
                let file = file.clone();
                // Durable: the header, and zeros behind it. Only now may a group be written into it:
                // recovery takes the zeros behind a group for the end of the log.
                drop(file.sync_data()?);
                // Durable: the name. Only now may a group be written into it, or the next spare be
                // created: recovery takes a missing segment below another one for a loss.
                self.dir.sync()?;
                // Only now: what the mark names is complete.
                name(self.header.number)?;
                let edge = filled.min(self.header.size);
                self.stage = Stage::Ready(Ready { file, edge });
            }
            Stage::Ready(_) => {}
        }
        Ok(())
    }

    /// Segment `number`, ready to be written to; takes the steps that are left. Then the next
    /// spare, if that was this one, is absent.
    ///
    /// # Errors
    /// As [`step`](Spare::step).
    pub(crate) fn take(
        &mut self,
        number: u64,
        filled: u64,
        name: &dyn Fn(u64) -> durable_io::Result<()>,
    ) -> durable_io::Result<Ready> {
        if number < self.header.number {
            // Left by a recovery, which made sure of it.
            let file = self.dir.open(&crate::names::segment(number))?;
            return Ok(Ready::found(file));
        }
        loop {
            if let Stage::Ready(ready) = &self.stage {
                let ready = ready.clone();
                self.header.number += 1;
                self.stage = Stage::Absent;
                return Ok(ready);
            }
            self.step(filled, name)?;
        }
    }
}
