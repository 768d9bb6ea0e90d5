//! [`Replay`]: handing out the records while a log is opened, so that they are read once.

use std::fmt;
use std::ops::ControlFlow;

use crate::directory_scan::DirectoryScan;
use crate::error::Result;
use crate::location::Location;
use crate::lsn::Lsn;
use crate::records::{Records, Snapshot};
use crate::slot::Superblock;

/// Who is shown the records, and from which one on.
pub(crate) struct Replay<'a> {
    from: Lsn,
    show: &'a mut dyn FnMut(Location, &[u8]) -> ControlFlow<()>,
    has_stopped: bool,
}

impl<'a> Replay<'a> {
    pub(crate) fn new(
        from: Lsn,
        show: &'a mut dyn FnMut(Location, &[u8]) -> ControlFlow<()>,
    ) -> Self {
        Self {
            from,
            show,
            has_stopped: false,
        }
    }

    /// True if it is to see a group that ends with `last`.
    pub(crate) fn wants(&self, last: Lsn) -> bool {
        !self.has_stopped && last >= self.from
    }

    /// Shows a record that was checked, if it is to be seen; the records come in order.
    pub(crate) fn show(&mut self, location: Location, payload: &[u8]) {
        if self.wants(location.lsn()) {
            self.has_stopped = (self.show)(location, payload).is_break();
        }
    }

    /// Passes over what was truncated.
    pub(crate) fn begin(&mut self, superblock: &Superblock) {
        self.from = self.from.max(superblock.low);
    }

    /// Shows the records of the sealed segments. Those of the active one are shown while it is judged.
    pub(crate) fn sealed(
        &mut self,
        scanned: &DirectoryScan,
        superblock: &Superblock,
    ) -> Result<()> {
        // With sealed segments the active one begins with a group.
        let Some(end) = scanned.active.first_lsn() else {
            return Ok(());
        };
        let snapshot = Snapshot::at_open(superblock, end);
        // Descending: those up to the one that holds the first record.
        let below = scanned
            .sealed
            .iter()
            .position(|segment| segment.first_lsn <= self.from);
        let count = below.map_or(scanned.sealed.len(), |at| at + 1);
        let segments = scanned.sealed.iter().take(count).rev().cloned();
        let mut records = Records::new(snapshot, segments.collect(), self.from);
        while !self.has_stopped
            && let Some((location, payload)) = records.read()?
        {
            self.show(location, payload);
        }
        Ok(())
    }
}

impl fmt::Debug for Replay<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay")
            .field("from", &self.from)
            .field("has_stopped", &self.has_stopped)
            .finish_non_exhaustive()
    }
}
