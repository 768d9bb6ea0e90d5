//! [`Epochs`]: what separates bytes written before a truncation of the log's end from bytes written after it ([format],
//! section 6).
//!
//! [format]: crate::format

use crate::error::{Error, Result};
use crate::frame::GroupHeader;
use crate::lsn::Lsn;

/// Which epochs are good where ([format], section 6): what separates bytes written before a truncation from
/// bytes written after it.
///
/// [format]: crate::format
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Epochs {
    /// The epoch in which the log is written now.
    pub(crate) current: u32,
    /// The first record of that epoch: where the last truncation was.
    pub(crate) first_lsn: Lsn,
    /// The last segment that may hold groups of earlier epochs. The numbers above it are given again
    /// after a truncation, and a new file can show what was in an old one.
    pub(crate) segment: u64,
}

impl Epochs {
    /// The epoch that begins after record `last`, above `highest`; up to `segment` there may be groups of
    /// earlier ones.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if there is no higher number.
    pub(crate) fn begin(highest: u32, last: Lsn, segment: u64) -> Result<Self> {
        let current = highest.checked_add(1).ok_or(Error::TooLarge {
            what: "number of truncations",
            size: u64::from(u32::MAX),
            limit: u64::from(u32::MAX) - 1,
        })?;
        Ok(Self {
            current,
            first_lsn: last.next(),
            segment,
        })
    }

    /// True if a group of segment `number` may follow one of epoch `previous` (0 for none).
    pub(crate) fn accept(&self, group: &GroupHeader, number: u64, previous: u32) -> bool {
        if group.first_lsn >= self.first_lsn {
            group.epoch == self.current
        } else {
            number <= self.segment && group.epoch < self.current && group.epoch >= previous
        }
    }

    /// True for a group of segment `number` that a truncation removed.
    pub(crate) fn is_stale(&self, group: &GroupHeader, number: u64) -> bool {
        group.epoch < self.current && (group.first_lsn >= self.first_lsn || number > self.segment)
    }
}

/// Epochs under which every group counts: for a log whose superblock is not to be had.
pub(crate) const ANY_EPOCH: Epochs = Epochs {
    current: u32::MAX,
    first_lsn: Lsn(u64::MAX),
    segment: u64::MAX,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::tests::header;

    #[test]
    fn a_truncation_separates_the_epochs() {
        let epochs = Epochs {
            current: 3,
            first_lsn: Lsn(10),
            segment: 4,
        };
        let cases = [
            (header(3, 10), 0, true, false),
            (header(2, 10), 0, false, true),
            (header(4, 10), 0, false, false),
            (header(2, 9), 0, true, false),
            (header(3, 9), 0, false, false),
            (header(1, 9), 2, false, false),
        ];
        for (group, previous, accepted, stale) in cases {
            assert_eq!(epochs.accept(&group, 4, previous), accepted, "{group:?}");
            assert_eq!(epochs.is_stale(&group, 4), stale, "{group:?}");
            // After the segment of the truncation there is nothing older.
            let is_current = group == header(3, 10);
            assert_eq!(epochs.accept(&group, 5, previous), is_current, "{group:?}");
            assert_eq!(epochs.is_stale(&group, 5), group.epoch < 3, "{group:?}");
        }
    }
}
