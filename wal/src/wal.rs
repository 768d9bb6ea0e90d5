//! [`Wal`]: the handle.

use std::ops::Range;
use std::sync::Arc;

use durable_io::{Background, Disk, Lock, SyncMode};

use crate::background::Worker;
use crate::error::Result;
use crate::frame::Item;
use crate::limits::{max_batch_size, max_record_size};
use crate::log::Log;
use crate::lsn::Lsn;
use crate::records::{Records, Snapshot};
use crate::recover::Recovered;
use crate::stats::{Recovery, Stats, Verified};
use crate::writer::too_large;

/// An open log. Made by [`Options::open`](crate::Options::open).
///
/// `Send + Sync`; every method takes `&self`. Share it in an [`Arc`].
///
/// # Drop
/// Dropping it joins the background thread and releases the lock. It syncs nothing: what a mode
/// acknowledges without a sync stays as safe as that mode says. [`close`](Wal::close) makes
/// everything durable, and says whether that worked.
#[derive(Debug)]
pub struct Wal {
    /// Before `log`: the thread is joined before the lock can be released.
    worker: Option<Worker>,
    log: Arc<Log>,
    recovery: Recovery,
}

impl Wal {
    pub(crate) fn start(
        disk: Disk,
        lock: Lock,
        sync: SyncMode,
        background: Background,
        recovered: Recovered,
    ) -> Result<Self> {
        let recovery = recovered.recovery.clone();
        let log = Arc::new(Log::new(disk, lock, sync, recovered));
        log.bell.ask_for_spare();
        let worker = match background {
            Background::Threads => Some(Worker::start(&log)?),
            Background::Inline => None,
        };
        Ok(Self {
            worker,
            log,
            recovery,
        })
    }

    /// Appends `payload` as one record and returns its position.
    ///
    /// Concurrent callers share one write and one sync.
    ///
    /// # Durability
    /// As the [`SyncMode`] says; under [`SyncMode::Always`] the record survives power loss once this
    /// returns.
    ///
    /// # Cost
    /// One copy of the payload, one write, and in `Always` one `fdatasync`, both shared.
    ///
    /// # Errors
    /// [`Error::TooLarge`](crate::Error::TooLarge): nothing was written.
    /// [`Error::Disk`](crate::Error::Disk) with [`NoSpace`](durable_io::Error::NoSpace) if the next
    /// segment cannot be made: nothing was written, and a later append may succeed. Any other
    /// `Error::Disk`: the log is poisoned, and the record may or may not survive.
    /// [`Error::Poisoned`](crate::Error::Poisoned): nothing was written.
    pub fn append(&self, payload: &[u8]) -> Result<Lsn> {
        let size = self.log.segment_size;
        let item = Item::new(&[payload], max_batch_size(size))
            .map_err(|_size| too_large("record", payload.len() as u64, max_record_size(size)))?;
        self.log.append(item)
    }

    /// Appends `payloads` as one record each, all or nothing, and returns their positions. After any
    /// crash either all of them are there or none. An empty batch writes nothing.
    ///
    /// # Durability
    /// As [`append`](Wal::append).
    ///
    /// # Cost
    /// As [`append`](Wal::append), once for the whole batch.
    ///
    /// # Errors
    /// As [`append`](Wal::append). A batch must fit into one segment.
    pub fn append_batch(&self, payloads: &[&[u8]]) -> Result<Range<Lsn>> {
        if payloads.is_empty() {
            let (_, next) = self.log.bounds();
            return Ok(next..next);
        }
        let limit = max_batch_size(self.log.segment_size);
        let item = Item::new(payloads, limit).map_err(|size| too_large("batch", size, limit))?;
        let count = item.count();
        let first = self.log.append(item)?;
        Ok(first..first.plus(count))
    }

    /// Makes everything acknowledged so far durable, and returns the last durable position;
    /// `Lsn(0)` if there never was a record.
    ///
    /// # Cost
    /// One `fdatasync`, or nothing if everything is durable already. Appends go on meanwhile.
    ///
    /// # Errors
    /// [`Error::Disk`](crate::Error::Disk): the log is poisoned; what was not durable may or may not
    /// survive. [`Error::Poisoned`](crate::Error::Poisoned).
    pub fn sync(&self) -> Result<Lsn> {
        // Durable: everything acknowledged. Only now may the caller rely on it.
        self.log.sync()
    }

    /// Continues in the next segment, so that truncation can give back the space of this one. Does
    /// nothing if the active segment holds no record.
    ///
    /// # Cost
    /// One `fdatasync` if something is not durable; the making of a segment if none is ready yet.
    ///
    /// # Errors
    /// As [`append`](Wal::append).
    pub fn rotate(&self) -> Result<()> {
        self.log.rotate()
    }

    /// The records from `from` on, or from the first retained one if that is later: all that was
    /// acknowledged when this was called.
    ///
    /// After a failure (see [`Error::Poisoned`](crate::Error::Poisoned)) only durable records are
    /// read: the kernel may have dropped the others.
    ///
    /// # Cost
    /// None now. Sealed segments are mapped when they are reached; the active one is read through a
    /// buffer of 256 KiB, or of one record if that is larger.
    ///
    /// # Errors
    /// The items are [`Error::Corrupt`](crate::Error::Corrupt) or
    /// [`Error::Disk`](crate::Error::Disk); nothing follows an error.
    pub fn records(&self, from: Lsn) -> Records {
        let (snapshot, low, segments) = self.snapshot();
        let from = from.max(low);
        let at = segments
            .partition_point(|segment| segment.first_lsn <= from)
            .saturating_sub(1);
        Records::new(
            snapshot,
            segments.get(at..).unwrap_or_default().to_vec(),
            from,
        )
    }

    fn snapshot(&self) -> (Snapshot, Lsn, Vec<Arc<crate::segment::Segment>>) {
        let log = &self.log;
        let view = log.view();
        let end = log.end_of(&view);
        let snapshot = Snapshot {
            log_id: log.id,
            epochs: log.epochs,
            segment_size: log.segment_size,
            low: view.low,
            end,
        };
        (snapshot, view.low, view.segments.clone())
    }

    /// The first retained position, and the one that the next record will get. After a failure (see
    /// [`Error::Poisoned`](crate::Error::Poisoned)), the one after the last durable record.
    pub fn bounds(&self) -> Range<Lsn> {
        let (low, next) = self.log.bounds();
        low..next
    }

    /// Gives up every record below `lsn`: the log then begins exactly there, or at its end if that
    /// is earlier. Positions are not given again.
    ///
    /// Works on a full disk.
    ///
    /// # Durability
    /// When this returns, no crash brings the records back.
    ///
    /// # Cost
    /// One durable write of 64 bytes; unlinks the segments that hold nothing else; a sync before if
    /// what is given up is not durable yet.
    ///
    /// # Errors
    /// [`Error::Disk`](crate::Error::Disk): if the mark could not be written, the log is poisoned
    /// and the records may or may not be back after reopening. If only a file could not be removed,
    /// they are given up, and the next open removes it.
    /// [`Error::Poisoned`](crate::Error::Poisoned): nothing was changed.
    pub fn truncate_before(&self, lsn: Lsn) -> Result<()> {
        self.log.truncate_before(lsn)
    }

    /// What opening the log found and did.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Reads and checks every byte of every retained segment: headers, every record, and that unused
    /// bytes are zero. Appends go on meanwhile; of the active segment, what was acknowledged when
    /// this was called is checked.
    ///
    /// # Cost
    /// Reads the whole log; constant memory beside the maps.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt) for the first damage,
    /// [`Error::Disk`](crate::Error::Disk). Nothing is changed.
    pub fn verify(&self) -> Result<Verified> {
        let (snapshot, _, segments) = self.snapshot();
        let mut verified = Verified::default();
        let after = segments
            .iter()
            .skip(1)
            .map(|next| Some(next.first_lsn))
            .chain([None]);
        for (segment, after) in segments.iter().zip(after) {
            snapshot.verify(segment, after, &mut verified)?;
        }
        Ok(verified)
    }

    /// What this handle has done since it was opened, and how large the log is. Cheap.
    pub fn stats(&self) -> Stats {
        self.log.stats()
    }

    /// Under [`Background::Inline`], runs one step of queued background work and returns true, or
    /// returns false if none is queued. Under [`Background::Threads`], false.
    ///
    /// # Errors
    /// [`Error::Disk`](crate::Error::Disk): the log is poisoned. A full disk is no error here: the
    /// append that needs the space reports it.
    pub fn run_background(&self) -> Result<bool> {
        if self.worker.is_some() {
            return Ok(false);
        }
        self.log.run_one_step()
    }

    /// Makes everything durable, states so in the mark file, so that any later loss will be noticed,
    /// joins the background thread and releases the lock.
    ///
    /// # Errors
    /// [`Error::Disk`](crate::Error::Disk), [`Error::Poisoned`](crate::Error::Poisoned): the handle
    /// is gone, the lock is released, and what was not durable may or may not survive.
    pub fn close(mut self) -> Result<()> {
        // Joined first: nothing is written behind the last sync.
        self.worker = None;
        self.log.seal()
    }
}
