//! The next segment, made ready before it is needed, in short steps: a simulator can interleave them with
//! everything else, and nobody waits for more than one of them ([format], section 7).
//!
//! [format]: crate::format

use durable_io::{Dir, File};

use crate::segment::{SegmentHeader, begin_blank, fill_blank};

/// How far the next segment is.
#[derive(Debug)]
enum Stage {
    /// Not there, or incomplete.
    Absent,
    /// Zeros up to `filled`; not durable.
    Filling { file: File, filled: u64 },
    /// Written, but not durable.
    Written(File),
    /// Bytes and name are durable: it may be written to.
    Ready(File),
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
            stage: Stage::Ready(file),
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

    /// Takes one step; does nothing if the spare is ready.
    ///
    /// # Errors
    /// [`durable_io::Error::NoSpace`]: nothing has changed, and the step can be taken again. Others:
    /// the log must not go on.
    pub(crate) fn step(&mut self) -> durable_io::Result<()> {
        match &self.stage {
            Stage::Absent => self.fill(begin_blank(&self.dir, &self.header)?, 0)?,
            Stage::Filling { file, filled } => self.fill(file.clone(), *filled)?,
            Stage::Written(file) => {
                let file = file.clone();
                // Durable: the zeros and the header. Only now may a group be written into it:
                // recovery takes the zeros behind a group for the end of the log.
                drop(file.sync_data()?);
                // Durable: the name. Only now may a group be written into it, or the next spare be
                // created: recovery takes a missing segment below another one for a loss.
                self.dir.sync()?;
                self.stage = Stage::Ready(file);
            }
            Stage::Ready(_) => {}
        }
        Ok(())
    }

    /// Writes the next zeros, and the header when they are all there.
    fn fill(&mut self, file: File, filled: u64) -> durable_io::Result<()> {
        let filled = fill_blank(&file, &self.header, filled)?;
        self.stage = if filled == self.header.size {
            Stage::Written(file)
        } else {
            Stage::Filling { file, filled }
        };
        Ok(())
    }

    /// Segment `number`, ready to be written to; takes the steps that are left. Then the next
    /// spare, if that was this one, is absent.
    ///
    /// # Errors
    /// As [`step`](Spare::step).
    pub(crate) fn take(&mut self, number: u64) -> durable_io::Result<File> {
        if number < self.header.number {
            // Left by a recovery, which made sure of it.
            return self.dir.open(&crate::names::segment(number));
        }
        loop {
            if let Stage::Ready(file) = &self.stage {
                let file = file.clone();
                self.header.number += 1;
                self.stage = Stage::Absent;
                return Ok(file);
            }
            self.step()?;
        }
    }
}
