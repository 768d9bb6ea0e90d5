//! [`Writer`]: where the next group is written, and what was written before it.

use std::sync::Arc;

use durable_io::{File, engine};

use crate::epochs::Epochs;
use crate::expectation::Expectation;
use crate::frame::GROUP_HEADER_SIZE;
use crate::item::Item;
use crate::limits::GROUP_ITEMS_MAX;
use crate::lsn::Lsn;
use crate::open_files::Segment;
use crate::segment::FIRST_GROUP;

const GROUP_HEADER: u64 = GROUP_HEADER_SIZE as u64;

/// Where the next group is written.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) active: Arc<Segment>,
    pub(crate) offset: u64,
    pub(crate) next: Lsn,
    pub(crate) epochs: Epochs,
    /// Where the bytes end that a write left after `offset` which the disk had no space for; 0 if there
    /// are none.
    pub(crate) left_over: u64,
    /// Appends written so far, whole calls.
    pub(crate) writes: u64,
    /// How often an append was refused, or the end of the log truncated.
    pub(crate) refusals: u64,
}

impl Writer {
    pub(crate) fn new(active: Arc<Segment>, offset: u64, next: Lsn, epochs: Epochs) -> Self {
        Self {
            active,
            offset,
            next,
            epochs,
            left_over: 0,
            writes: 0,
            refusals: 0,
        }
    }

    /// Continues after a truncation of the log's end: at `offset` of `active`.
    pub(crate) fn truncate(
        &mut self,
        active: Arc<Segment>,
        offset: u64,
        next: Lsn,
        epochs: Epochs,
    ) {
        *self = Self {
            active,
            offset,
            next,
            epochs,
            left_over: 0,
            writes: self.writes,
            // What was built on a record that is truncated is refused.
            refusals: self.refusals + 1,
        };
    }

    /// What an append gets now.
    pub(crate) fn expectation(&self) -> Expectation {
        Expectation {
            lsn: self.next,
            refusals: self.refusals,
        }
    }

    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Where the bytes of the active segment end that may not be zero.
    pub(crate) fn used(&self) -> u64 {
        self.offset.max(self.left_over)
    }

    pub(crate) fn active(&self) -> &Arc<Segment> {
        &self.active
    }

    /// The next record.
    pub(crate) fn next(&self) -> Lsn {
        self.next
    }

    /// Continues in `segment`, which is empty; returns the one before.
    pub(crate) fn go_on_in(&mut self, segment: &Arc<Segment>) -> Arc<Segment> {
        self.offset = FIRST_GROUP;
        std::mem::replace(&mut self.active, Arc::clone(segment))
    }

    /// Of the active segment.
    pub(crate) fn number(&self) -> u64 {
        self.active.number
    }

    /// Bytes of the active segment.
    pub(crate) fn size(&self) -> u64 {
        self.active.header.size
    }

    pub(crate) fn written(&self) -> Written {
        Written {
            file: self.active.held(),
            last: self.next.previous(),
            writes: self.writes,
            is_cleared: false,
        }
    }

    /// How many of `items`, from the first on, go into one group in the active segment: those that fit, up to
    /// one that is to be refused.
    pub(crate) fn fitting(&self, items: &[Item]) -> usize {
        let mut room = self.size().saturating_sub(self.offset + GROUP_HEADER);
        let mut found = self.expectation();
        let fits = |item: &&Item| match room.checked_sub(item.size()) {
            Some(left) if !item.is_sync() && item.accepts(found) => {
                room = left;
                found = found.after(item.count());
                true
            }
            _ => false,
        };
        items.iter().take(GROUP_ITEMS_MAX).take_while(fits).count()
    }
}

/// What had been written when a sync was about to begin.
#[derive(Debug)]
pub(crate) struct Written {
    /// The segment to sync; those before it were synced when they were left.
    pub(crate) file: File,
    /// The last record.
    pub(crate) last: Lsn,
    /// Appends so far, whole calls.
    pub(crate) writes: u64,
    /// After them zeros were written over what was there.
    pub(crate) is_cleared: bool,
}

impl engine::Written for Written {
    fn file(&self) -> &File {
        &self.file
    }

    fn position(&self) -> u64 {
        self.last.0
    }

    fn writes(&self) -> u64 {
        self.writes
    }

    fn has_more(&self) -> bool {
        self.is_cleared
    }
}
