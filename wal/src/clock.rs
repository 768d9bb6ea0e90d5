//! [`Clock`]: when groups are written ([format], section 5).
//!
//! [format]: crate::format

use std::sync::atomic::{AtomicU64, Ordering};

use durable_io::Disk;

/// The time of the disk's machine, in milliseconds since the Unix epoch, which never goes back: not in one
/// handle, and not from one that the log had before, whatever the machine says.
#[derive(Debug)]
pub(crate) struct Clock {
    disk: Disk,
    /// What it said last.
    last: AtomicU64,
}

impl Clock {
    /// One that was at `last` before.
    pub(crate) fn new(disk: &Disk, last: u64) -> Self {
        Self {
            disk: disk.clone(),
            last: AtomicU64::new(last),
        }
    }

    /// What time it is.
    pub(crate) fn tick(&self) -> u64 {
        let now = millis(self.disk.unix_time());
        self.last.fetch_max(now, Ordering::AcqRel).max(now)
    }

    /// What it said last.
    pub(crate) fn last(&self) -> u64 {
        self.last.load(Ordering::Acquire)
    }
}

/// `time` in whole milliseconds.
pub(crate) fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).expect("no machine is older than 584 million years")
}
