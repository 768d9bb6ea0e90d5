//! [`Replay`]: handing out the records while a log is opened, so that they are read once.

use std::fmt;
use std::ops::ControlFlow;

use crate::location::Location;
use crate::lsn::Lsn;
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

    /// The first record that is to be seen.
    pub(crate) fn from(&self) -> Lsn {
        self.from
    }

    /// True if nothing more is to be seen.
    pub(crate) fn has_stopped(&self) -> bool {
        self.has_stopped
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
}

impl fmt::Debug for Replay<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay")
            .field("from", &self.from)
            .field("has_stopped", &self.has_stopped)
            .finish_non_exhaustive()
    }
}
