//! How far the log is durable. Only a sync that returned moves it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use durable_io::Synced;

use crate::lsn::Lsn;
use crate::segment::Segment;

/// What had been written when a sync was about to begin: captured before the call, because what is
/// written while it runs is not covered.
#[derive(Debug)]
pub(crate) struct Written {
    /// The segment to sync; those before it were synced when they were left.
    pub(crate) segment: Arc<Segment>,
    /// The last record.
    pub(crate) last: Lsn,
    /// Appends so far, whole calls.
    pub(crate) writes: u64,
}

/// The last durable record.
#[derive(Debug)]
pub(crate) struct Watermark {
    last: AtomicU64,
    writes: AtomicU64,
}

impl Watermark {
    /// After a recovery: `proof` is of the sync that covered all that was recovered.
    pub(crate) fn new(last: Lsn) -> Self {
        Self {
            last: AtomicU64::new(last.0),
            writes: AtomicU64::new(0),
        }
    }

    pub(crate) fn last(&self) -> Lsn {
        Lsn(self.last.load(Ordering::Acquire))
    }

    /// Appends of this handle that are durable.
    pub(crate) fn writes(&self) -> u64 {
        self.writes.load(Ordering::Acquire)
    }

    /// Moves to `written`, on the proof that a sync of its segment returned.
    pub(crate) fn advance(&self, written: &Written, proof: Synced) {
        drop(proof);
        self.writes.fetch_max(written.writes, Ordering::AcqRel);
        self.last.fetch_max(written.last.0, Ordering::AcqRel);
    }
}
