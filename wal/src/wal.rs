//! [`Wal`]: the handle.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use durable_io::Background;
use durable_io::engine::{Health, Worker};

use crate::background::Committer;
use crate::error::Result;
use crate::follow::Follow;
use crate::limits::MAX_BATCH_SIZE;
use crate::location::Location;
use crate::log::Log;
use crate::lsn::{Lsn, Record};
use crate::records::Records;
use crate::stats::{Recovery, Stats, Verified};

/// An open log. Made by [`Options::open`](crate::Options::open).
///
/// `Send + Sync`; every method takes `&self`. Share it in an [`Arc`].
///
/// # Drop
/// Dropping it commits what is in flight, joins its threads and releases the lock. It syncs nothing
/// else: what a mode acknowledges without a sync stays as safe as that mode says.
/// [`close`](Wal::close) makes everything durable, and says whether that worked.
#[derive(Debug)]
pub struct Wal {
    workers: Mutex<Vec<Worker>>,
    /// Started by the first append that is not waited for.
    pub(crate) committer: Mutex<Option<Committer>>,
    pub(crate) background: Background,
    pub(crate) log: Arc<Log>,
    recovery: Recovery,
}

impl Wal {
    pub(crate) fn start(log: Log, background: Background, recovery: Recovery) -> Result<Self> {
        let log = Arc::new(log);
        log.prepare(&log.health.lock(&log.writer));
        let workers = match background {
            Background::Threads => log.start_workers()?,
            Background::Inline => Vec::new(),
        };
        Ok(Self {
            workers: Mutex::new(workers),
            committer: Mutex::new(None),
            background,
            log,
            recovery,
        })
    }

    /// Makes everything acknowledged so far durable, with what was [lazily](Wal::submit_lazy) submitted, and
    /// returns the last durable position; `Lsn(0)` if there never was a record.
    ///
    /// # Cost
    /// One `fdatasync`, or nothing if everything is durable already. Appends continue meanwhile.
    ///
    /// # Errors
    /// [`Error::Disk`](crate::Error::Disk): the log is poisoned; what was not durable may or may not
    /// survive. [`Error::Poisoned`](crate::Error::Poisoned).
    pub fn sync(&self) -> Result<Lsn> {
        self.log.check_open()?;
        // Durable: everything acknowledged, and what rides on it. Only now may the caller rely on it.
        self.log.make_all_durable()
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
    /// None now. The first one is found with at most 64 KiB read, and the group that holds it. Segments are
    /// read one after the other, through a buffer of 256 KiB, or of one record if that is larger.
    ///
    /// # Errors
    /// The items are [`Error::Corrupt`](crate::Error::Corrupt) or
    /// [`Error::Disk`](crate::Error::Disk), or [`Error::Truncated`](crate::Error::Truncated) if
    /// [`truncate_after`](Wal::truncate_after) was called meanwhile, or if
    /// [`truncate_before`](Wal::truncate_before) removed a segment that was to be read and not open
    /// ([`Options::open_segments`](crate::Options::open_segments)); nothing follows an error.
    pub fn records(&self, from: Lsn) -> Records {
        self.log.records(from)
    }

    /// The record at `location`, checked: for a store that keeps an index of the log.
    ///
    /// # Cost
    /// One read of the record's size.
    ///
    /// # Errors
    /// [`Error::Truncated`](crate::Error::Truncated): the record was given up, or is not acknowledged.
    /// [`Error::Corrupt`](crate::Error::Corrupt): it is damaged, or the location is not one of this
    /// log. [`Error::Disk`](crate::Error::Disk).
    pub fn read(&self, location: Location) -> Result<Record> {
        self.log.read(location)
    }

    /// The records from the one at `location` on: all that was acknowledged when this was called. As
    /// [`records`](Wal::records), without looking for where it begins.
    ///
    /// # Cost
    /// One read of the header of the record's group, of 4 KiB; then as [`records`](Wal::records).
    ///
    /// # Errors
    /// As [`read`](Wal::read); and the items' are those of [`records`](Wal::records).
    pub fn records_at(&self, location: Location) -> Result<Records> {
        self.log.records_at(location)
    }

    /// The records that are not marked as applied elsewhere: those after the
    /// [`checkpointed`](Wal::checkpointed) one. As [`records`](Wal::records).
    ///
    /// What a store has applied can be ahead of the checkpoint, if a crash came between the two: it
    /// must pass over what it has, or apply records so that twice does not matter.
    pub fn replay(&self) -> Records {
        self.records(self.checkpointed().next())
    }

    /// Reads durable records from `from` on, or from the first retained one if that is later, and
    /// waits for more: for replication, and for stores that apply the log as it grows. What it gives
    /// out no crash takes back.
    pub fn follow(&self, from: Lsn) -> Follow {
        Follow::new(&self.log, from)
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
    /// Works on a full disk, if its file system writes in place; where it copies on write, the disk needs
    /// space for as much as is changed, or the answer is [`NoSpace`](durable_io::Error::NoSpace) and nothing
    /// was changed.
    ///
    /// # Durability
    /// When this returns, no crash brings the records back.
    ///
    /// # Cost
    /// A write of 140 bytes and the note, once more durably, and a copy of it; unlinks the segments that hold
    /// nothing else; a sync before if something is not durable yet.
    ///
    /// # Errors
    /// [`Error::Disk`](crate::Error::Disk): if the superblock could not be written, the log is poisoned
    /// and the records may or may not be back after reopening. If only a file could not be removed,
    /// they are given up, all other files are removed, and the next truncation or open tries again
    /// ([`Stats::dead_segments`]).
    /// [`Error::Poisoned`](crate::Error::Poisoned): nothing was changed.
    pub fn truncate_before(&self, lsn: Lsn) -> Result<()> {
        self.log.truncate_before(lsn, None)
    }

    /// [`truncate_before`](Wal::truncate_before), and writes `note` together with that: a few bytes of the
    /// caller's that must outlive the log's front, such as a position and a vote of a consensus group. It takes
    /// the place of the [`note`](Wal::note) before. With `Lsn(0)` it is written and nothing given up.
    ///
    /// # Durability
    /// When this returns, the new note and the new front are there; after a crash before that, both or neither.
    ///
    /// # Cost
    /// As [`truncate_before`](Wal::truncate_before); nothing if neither changes.
    ///
    /// # Errors
    /// As [`truncate_before`](Wal::truncate_before); and [`Error::TooLarge`](crate::Error::TooLarge) above
    /// [`MAX_NOTE_SIZE`](crate::MAX_NOTE_SIZE) bytes: nothing was changed.
    pub fn truncate_before_with(&self, lsn: Lsn, note: &[u8]) -> Result<()> {
        self.log.truncate_before(lsn, Some(note))
    }

    /// Gives up every record above `lsn`, and the next one gets the position after it; does nothing
    /// if there is none. With an `lsn` below the first retained one the log is empty. For logs in which
    /// what was appended can still be overruled, as in a consensus group.
    ///
    /// The checkpoint moves back with the end of the log. [`Records`] that are being read end with
    /// [`Error::Truncated`](crate::Error::Truncated).
    ///
    /// Works on a full disk, if its file system writes in place; where it copies on write, the disk needs
    /// space for as much as is changed, or the answer is [`NoSpace`](durable_io::Error::NoSpace) and nothing
    /// was changed.
    ///
    /// # Durability
    /// When this returns, everything up to `lsn` is durable, and no crash brings a later record back.
    ///
    /// # Cost
    /// Two durable writes and a sync, and one directory sync for each segment that is removed. Finds `lsn` as
    /// [`records`](Wal::records) does. Zeroes what was used of the segment with `lsn`. Appends wait.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt) if the place of `lsn` cannot be read,
    /// [`Error::Poisoned`](crate::Error::Poisoned): nothing was changed.
    /// [`Error::Disk`](crate::Error::Disk): the log is poisoned, and the records may or may not be
    /// back after reopening, all of them.
    pub fn truncate_after(&self, lsn: Lsn) -> Result<()> {
        self.log.truncate_after(lsn)
    }

    /// Marks every record up to `lsn`, or to the end of the log if that is earlier, as applied
    /// elsewhere: [`replay`](Wal::replay) begins after it. Does nothing if it was there already. The
    /// records stay until [`truncate_before`](Wal::truncate_before).
    ///
    /// Works on a full disk, if its file system writes in place; where it copies on write, the disk needs
    /// space for a block, or the answer is [`NoSpace`](durable_io::Error::NoSpace) and nothing was changed.
    ///
    /// # Durability
    /// When this returns, no crash takes the checkpoint back, nor a record below it.
    ///
    /// # Cost
    /// A write of 140 bytes and the note, once more durably, and a copy of it; a sync before if something is
    /// not durable yet.
    ///
    /// # Errors
    /// [`Error::Disk`](crate::Error::Disk): the log is poisoned, and the checkpoint may or may not have
    /// moved. [`Error::Poisoned`](crate::Error::Poisoned): nothing was changed.
    pub fn checkpoint(&self, lsn: Lsn) -> Result<()> {
        self.log.checkpoint(lsn, None)
    }

    /// [`checkpoint`](Wal::checkpoint), and writes `note` together with that, as
    /// [`truncate_before_with`](Wal::truncate_before_with) does. With `Lsn(0)` the note alone changes.
    ///
    /// # Durability
    /// When this returns, the new note and the new checkpoint are there; after a crash before that, both or
    /// neither.
    ///
    /// # Cost
    /// As [`checkpoint`](Wal::checkpoint); nothing if neither changes.
    ///
    /// # Errors
    /// As [`checkpoint`](Wal::checkpoint); and [`Error::TooLarge`](crate::Error::TooLarge) above
    /// [`MAX_NOTE_SIZE`](crate::MAX_NOTE_SIZE) bytes: nothing was changed.
    pub fn checkpoint_with(&self, lsn: Lsn, note: &[u8]) -> Result<()> {
        self.log.checkpoint(lsn, Some(note))
    }

    /// The bytes that [`checkpoint_with`](Wal::checkpoint_with) or
    /// [`truncate_before_with`](Wal::truncate_before_with) wrote last; empty if there are none, and if a
    /// repair found no superblock. Everything else leaves them as they are.
    pub fn note(&self) -> Arc<[u8]> {
        Arc::clone(&self.log.view().note)
    }

    /// The last record that is marked as applied elsewhere; `Lsn(0)` if none ever was.
    pub fn checkpointed(&self) -> Lsn {
        self.log.view().checkpoint
    }

    /// Whether the log may still be written, to be shared with what is built on it: what poisons the one
    /// poisons the other.
    pub fn health(&self) -> &Arc<Health> {
        &self.log.health
    }

    /// What opening the log found and did.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Reads and checks every byte of every retained segment: headers, every record, and that unused
    /// bytes are zero. Appends continue meanwhile; of the active segment, what was acknowledged when
    /// this was called is checked.
    ///
    /// # Cost
    /// Reads the whole log; constant memory beside the maps.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt) for the first damage,
    /// [`Error::Disk`](crate::Error::Disk). Nothing is changed.
    pub fn verify(&self) -> Result<Verified> {
        loop {
            self.log.check_open()?;
            let (snapshot, segments) = {
                let view = self.log.view();
                let end = self.log.end_of(&view);
                (self.log.snapshot(&view, end), view.segments.clone())
            };
            let verified = snapshot.verify_all(&segments);
            // A truncation wrote to what was being read: again.
            if !snapshot.is_truncated() {
                return verified;
            }
        }
    }

    /// The last durable record; `Lsn(0)` if there never was one. Cheap.
    pub fn durable_lsn(&self) -> Lsn {
        self.log.durable()
    }

    /// Bytes of a segment of this log, unless it was made for one batch that is larger.
    pub fn segment_size(&self) -> u64 {
        self.log.segment_size
    }

    /// The largest batch that this log takes: the sum over its records of 8 bytes and the payload. It does not
    /// depend on the size of segments: see [`MAX_BATCH_SIZE`].
    pub fn max_batch_size(&self) -> u64 {
        MAX_BATCH_SIZE
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
        if self.background == Background::Threads {
            return Ok(false);
        }
        Ok(self.log.commit_submitted() || self.log.run_one_step()?)
    }

    /// Makes everything durable, states so in the superblock, so that any later loss will be noticed,
    /// joins the threads and releases the lock. What is in flight is committed before; what other
    /// threads begin meanwhile is done, or answered with [`Error::Closed`](crate::Error::Closed), as is
    /// every later call.
    ///
    /// # Cost
    /// One sync and two writes of 140 bytes and the note, and one sync more if something is not durable yet.
    ///
    /// # Errors
    /// [`Error::Disk`](crate::Error::Disk), [`Error::Poisoned`](crate::Error::Poisoned): the log is
    /// closed, the lock is released, and what was not durable may or may not survive; with
    /// [`NoSpace`](durable_io::Error::NoSpace) everything is durable, and only the superblock does not say so.
    /// [`Error::Closed`](crate::Error::Closed): it was closed before.
    pub fn close(&self) -> Result<()> {
        self.log.begin_close()?;
        // Joined first: what is in flight is committed.
        self.settle();
        let closed = self.log.close();
        // What came meanwhile is answered.
        self.settle();
        closed
    }

    /// Commits what is in flight and joins the threads.
    fn settle(&self) {
        let health = &self.log.health;
        // Taken out first: a callback that the thread calls may submit, and so take the lock.
        let workers = std::mem::take(&mut *health.lock(&self.workers));
        drop(workers);
        let committer = health.lock(&self.committer).take();
        drop(committer);
        // From now on what is lazy is not.
        self.log.queue.stop();
        // Also what a thread commits that waits for a ticket.
        while self.log.commit_submitted() || self.log.queue.wait_for_leader() {}
        self.log.delivery.wait();
    }
}

impl Drop for Wal {
    fn drop(&mut self) {
        self.settle();
        // Only now: nothing is written any more. Not left to the last reference, which a thread that
        // has just waited for a ticket may hold for a moment.
        self.log.let_go();
    }
}
