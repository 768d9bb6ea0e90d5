//! Going on in another segment: in the next one, or in one that is made for a single large batch
//! ([format], section 7).
//!
//! [format]: crate::format

use std::sync::Arc;
use std::sync::atomic::Ordering;

use durable_io::{Barrier, Site};

use crate::error::Result;
use crate::frame::{GROUP_HEADER_SIZE, Layout};
use crate::limits::SEGMENT_ALIGN;
use crate::log::{Log, add};
use crate::preallocated::Ready;
use crate::segment::{FIRST_GROUP, SegmentHeader, put_blank};
use crate::writer::Writer;

impl Log {
    /// Continues in the next segment, unless nothing was written to this one.
    pub(crate) fn rotate(&self) -> Result<()> {
        // Held across I/O: no group may be written while the log changes segments.
        let mut writer = self.health.lock(&self.writer);
        self.check_healthy()?;
        if writer.offset() == FIRST_GROUP {
            return Ok(());
        }
        self.clear(&mut writer)?;
        self.rotate_with(&mut writer, None)
    }

    /// Makes room for a group with `bytes` of records, which the active segment does not have.
    pub(crate) fn make_room(&self, writer: &mut Writer, bytes: u64) -> Result<()> {
        let needed = FIRST_GROUP + GROUP_HEADER_SIZE as u64 + bytes;
        let own = (needed > self.segment_size).then(|| needed.next_multiple_of(SEGMENT_ALIGN));
        match own {
            // A segment without a group cannot be left: recovery takes it for damaged.
            Some(size) if writer.offset() == FIRST_GROUP => self.enlarge(writer, size),
            own => self.rotate_with(writer, own),
        }
    }

    /// Continues in the next segment, which is made for `own` bytes if these are given.
    fn rotate_with(&self, writer: &mut Writer, own: Option<u64>) -> Result<()> {
        let number = writer.number() + 1;
        // The next one comes first: if there is no space for it, nothing has changed. The lock of the
        // preallocated segment is held across I/O, so that only one thread makes it.
        let ready = {
            let mut preallocated = self.health.lock(&self.preallocated);
            let ready = match own {
                Some(size) => {
                    let ready = self.make_own(writer, number, size)?;
                    preallocated.give_way(number);
                    self.name_newest(number).map(|()| ready)
                }
                None => preallocated.take(number, self.zero_step, &self.clock, &|number| {
                    self.name_newest(number)
                }),
            };
            let ready = ready.map_err(|error| self.poison_unless_full(error))?;
            self.counters.top.fetch_max(number, Ordering::Relaxed);
            ready
        };
        // Durable: the segment that is left. Only now may a group be written to the next one:
        // recovery takes a segment that is not the active one for whole.
        let site = Site::new(std::panic::Location::caller(), Barrier::Data, "seal");
        self.sync_written(site, || writer.written())?;
        let segment = writer.active().next(writer.next(), &ready);
        let end = (ready.file, ready.header.size);
        self.edge.begin(&self.health, end, ready.edge, FIRST_GROUP);
        let sealed = writer.go_on_in(&segment);
        self.view().segments.push(segment);
        // Only now: nobody takes it for the active one any more.
        sealed.seal();
        add(&self.counters.rotations, 1);
        self.prepare(writer);
        Ok(())
    }

    /// Continues in a segment of `size` bytes in the place of the active one, which is empty.
    fn enlarge(&self, writer: &mut Writer, size: u64) -> Result<()> {
        let ready = self.make_own(writer, writer.number(), size)?;
        let segment = writer.active().next(writer.next(), &ready);
        let end = (ready.file, ready.header.size);
        self.edge.begin(&self.health, end, ready.edge, FIRST_GROUP);
        writer.go_on_in(&segment);
        let mut view = self.view();
        let active = view.segments.last_mut();
        *active.expect("a log has an active segment") = Arc::clone(&segment);
        Ok(())
    }

    /// Makes segment `number` for a batch that needs `size` bytes, in the place of an empty one that may be
    /// there. All of it is reserved: the batch meets no full disk.
    fn make_own(&self, writer: &Writer, number: u64, size: u64) -> Result<Ready> {
        let since = self.clock.tick();
        let header = SegmentHeader {
            number,
            size,
            layout: Layout::Timed { since },
            ..writer.active().header
        };
        let file = put_blank(self.dir(), &header);
        Ok(Ready {
            file: file.map_err(|error| self.poison_unless_full(error))?,
            header,
            edge: size,
        })
    }
}
