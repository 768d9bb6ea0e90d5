//! [`Options`]: how a log is opened.

use std::ops::ControlFlow;
use std::path::Path;

use durable_io::engine::{InvalidOption, Progress, StoreDir};
use durable_io::{Background, Disk, SyncMode};

use crate::create::How;
use crate::error::{Error, Result};
use crate::limits::{
    DEFAULT_OPEN_SEGMENTS, DEFAULT_SEGMENT_SIZE, DEFAULT_ZERO_STEP, MAX_SEGMENT_SIZE,
    MIN_SEGMENT_SIZE, SEGMENT_ALIGN,
};
use crate::location::Location;
use crate::lsn::Lsn;
use crate::names;
use crate::opening::Opening;
use crate::recover::look;
use crate::repair::{Repaired, repair};
use crate::replay::Replay;
use crate::salvage::Salvage;
use crate::segment::is_segment_size;
use crate::wal::Wal;
use crate::watch::Watch;

/// No log has as many records: what is after it can be counted.
const MAX_FIRST_LSN: u64 = 1 << 62;

/// How a log is opened: `Options::new().sync(..).open("log")`.
#[derive(Clone, Debug, Default)]
pub struct Options {
    sync: SyncMode,
    segment_size: Option<u64>,
    new_segment_size: Option<u64>,
    zero_step: Option<u64>,
    first_lsn: Option<Lsn>,
    open_segments: Option<usize>,
    background: Background,
    disk: Disk,
    leaves_early: bool,
    atomic_sectors: bool,
    progress: Progress<(u64, u64)>,
}

impl Options {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// When an append is acknowledged. Default: [`SyncMode::Always`].
    #[must_use]
    pub fn sync(mut self, mode: SyncMode) -> Self {
        self.sync = mode;
        self
    }

    /// Bytes of a segment file: a multiple of 512, from [`MIN_SEGMENT_SIZE`] to
    /// [`MAX_SEGMENT_SIZE`]. Truncation gives space back in whole segments, and a batch that is larger gets a
    /// segment of its own, which has to be made first. A log keeps the size it was created with; asking for
    /// another one is an error. Default: that of the log, or [`DEFAULT_SEGMENT_SIZE`] if it is created.
    #[must_use]
    pub fn segment_size(mut self, bytes: u64) -> Self {
        self.segment_size = Some(bytes);
        self
    }

    /// Bytes of a segment file of a log that is created, if [`segment_size`](Options::segment_size) says
    /// nothing; one that is there keeps its own. Default: [`DEFAULT_SEGMENT_SIZE`].
    #[must_use]
    pub fn new_segment_size(mut self, bytes: u64) -> Self {
        self.new_segment_size = Some(bytes);
        self
    }

    /// How far ahead of the appends a segment is given space and zeros, and how much of it at once, in
    /// bytes: a multiple of 512, not 0. A log takes about so much more of the disk than its records, until
    /// its segment is full. A larger step spares metadata; a smaller one space, and time for whoever
    /// appends faster than it is made ready. It is no property of the log. Default: [`DEFAULT_ZERO_STEP`].
    #[must_use]
    pub fn zero_step(mut self, bytes: u64) -> Self {
        self.zero_step = Some(bytes);
        self
    }

    /// The position of the first record of a log that is created; one that is there is not changed. For a
    /// log of a copy of a store, whose positions must be above those that the copy holds. Not 0, and below
    /// 2^62. Default: `Lsn(1)`.
    #[must_use]
    pub fn first_lsn(mut self, lsn: Lsn) -> Self {
        self.first_lsn = Some(lsn);
        self
    }

    /// How many sealed segments have their file open at once, at most; the others are opened when something in
    /// them is read. Beside these a log has about five files open, and one for each segment that is being read.
    /// More saves calls to whoever reads here and there in a long log. Default:
    /// [`DEFAULT_OPEN_SEGMENTS`].
    #[must_use]
    pub fn open_segments(mut self, segments: usize) -> Self {
        self.open_segments = Some(segments);
        self
    }

    /// Whether concurrent appends wait briefly for company. The one that commits a group lets other
    /// threads run, for at most half the time that the last commit took, until as many have come as may
    /// be about to: those that the last group woke. Where that is in vain it is tried rarely. A thread
    /// that appends alone never waits. Default: true.
    #[must_use]
    pub fn gather(mut self, gathers: bool) -> Self {
        self.leaves_early = !gathers;
        self
    }

    /// Who makes the next segment ready and, in [`SyncMode::Batch`], keeps the interval. Default:
    /// [`Background::Threads`]: a thread named `wal`, and in `Batch` one named `wal-sync`.
    #[must_use]
    pub fn background(mut self, background: Background) -> Self {
        self.background = background;
        self
    }

    /// Declares that a power loss leaves of each sector of 512 bytes the old content or the new one, and
    /// that a write which is interrupted by a kill ends at the end of a sector. Then a torn group shows
    /// zeros in some sector, and [`open`](Options::open) refuses a last group that is not whole and
    /// shows none as [`Corruption::Suspected`](crate::Corruption::Suspected): it may have been
    /// acknowledged. [`salvage`](Options::salvage) reads what is left of it, [`repair`](Options::repair)
    /// truncates it. Default: false; such a group is taken for a torn one, unless a witness says more.
    #[must_use]
    pub fn atomic_sectors(mut self, are_atomic: bool) -> Self {
        self.atomic_sectors = are_atomic;
        self
    }

    /// Calls `call`, in the thread that opens, with the number of segments that opening has looked at
    /// and the number of all: of a long log with many, most of the time goes into that. A
    /// [`repair`](Options::repair) goes through them twice, and reads them the first time. It must not
    /// panic. Default: no reports.
    #[must_use]
    pub fn progress(mut self, call: impl Fn(u64, u64) + Send + Sync + 'static) -> Self {
        self.progress = Progress::new(move |(done, all)| call(done, all));
        self
    }

    /// The disk that the log is on. Default: [`Disk::os`].
    #[must_use]
    pub fn disk(mut self, disk: Disk) -> Self {
        self.disk = disk;
        self
    }

    /// Opens the log in the directory `dir`; creates both if they are missing. What a crash left
    /// torn is zeroed; damage is an error, and nothing is changed.
    ///
    /// # Durability
    /// When this returns, the directory, the log and every record in it survive power loss,
    /// whatever the mode.
    ///
    /// # Cost
    /// Reads the active segment, and one block of each other one. Syncs the directory and its parent,
    /// the superblock, the active segment and the one made ready for after it. Creation: writes the zeros of one
    /// [`zero_step`](Options::zero_step). Descriptors: see [`open_segments`](Options::open_segments).
    ///
    /// # Errors
    /// [`Error::Corrupt`] if durable records are lost or damaged, as far as opening looks: sealed
    /// segments are checked when they are read, or by [`Wal::verify`]. [`Error::Disk`] with
    /// [`Locked`](durable_io::Error::Locked) if the log is open already, in any process.
    /// [`Error::UnsupportedVersion`], [`Error::InvalidOption`], [`Error::Disk`],
    /// [`Error::Thread`]. After an error the log is as it was, and can be opened again.
    pub fn open(self, dir: impl AsRef<Path>) -> Result<Wal> {
        self.look(dir)?.open()
    }

    /// Looks at the log in `dir`, and judges it, as [`open`](Options::open) does, before it changes
    /// anything: for a store that has to compare the log with what it keeps elsewhere, and refuses both
    /// as they were if they do not belong together. [`Opening::open`] continues.
    ///
    /// Makes the lock's file, if there is a directory without it, and finishes a truncation that was
    /// interrupted; nothing else.
    ///
    /// # Cost
    /// Reads what [`open`](Options::open) reads.
    ///
    /// # Errors
    /// As [`open`](Options::open).
    pub fn look(self, dir: impl AsRef<Path>) -> Result<Opening> {
        self.look_with(dir.as_ref(), false, None)
    }

    /// Opens the log in `dir` like [`open`](Options::open), and shows `visit` every record from `from` on,
    /// or from the first retained one if that is later, while it is read anyway: for a store that
    /// rebuilds what it keeps in memory. Nothing is read twice.
    ///
    /// `visit` sees records in order, each checked, with where it is, and only those of whole groups.
    /// What it saw counts only if this succeeds. If it fails, its error is returned, and the log is
    /// as it was, but for a truncation that had to be finished.
    ///
    /// # Cost
    /// As [`open`](Options::open); and reads the segments after the one with `from`, and that one. A group
    /// is held in memory.
    ///
    /// # Errors
    /// As [`open`](Options::open), and as reading the records ([`Wal::records`]).
    pub fn open_and_replay<E: From<Error>>(
        self,
        dir: impl AsRef<Path>,
        from: Lsn,
        mut visit: impl FnMut(Location, &[u8]) -> Result<(), E>,
    ) -> Result<Wal, E> {
        let mut failed = None;
        let mut show = |location: Location, payload: &[u8]| match visit(location, payload) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        };
        let replay = &mut Replay::new(from, &mut show);
        let looked = self.look_with(dir.as_ref(), false, Some(replay));
        match failed {
            Some(error) => Err(error),
            None => Ok(looked?.open()?),
        }
    }

    /// Opens the log in `dir` like [`open`](Options::open), and reads all of it first: if something
    /// is damaged, the log is truncated there. [`Wal::recovery`] says which records were `dropped`. What cannot be
    /// read (`EIO`), or not be opened (`EACCES`), is damaged.
    ///
    /// Damage below the checkpoint takes nothing that is after it: the records up to the checkpoint, which are
    /// applied elsewhere, are `given_up`, and the log begins after them. What is truncated and given up is
    /// `set_aside`, in files of the log's directory that are yours: remove them when they are of no use.
    ///
    /// Damage that costs no record is mended: unused bytes that are not zero, a segment file that ends too early.
    /// Damage of truncated records is left alone; it is removed with its segment. If the superblock is lost, the
    /// checkpoint is, too; a store that keeps its own position in the log must look whether it is still
    /// within [`Wal::bounds`].
    ///
    /// If the superblock is lost, it is made again from the segments; records that were truncated, but
    /// not yet removed with their segment, are then back. If no record is left either, nothing says
    /// which positions were given: the log then begins at 1 again, and `dropped` is `1..1`.
    ///
    /// # Cost
    /// Reads every byte of the log, twice if something below the checkpoint is damaged. The segment with the
    /// new end is copied.
    ///
    /// # Errors
    /// As [`open`](Options::open), but never [`Error::Corrupt`] for damage that a truncation takes away. A
    /// repair that was interrupted, by an error or a crash, can be repeated.
    pub fn repair(self, dir: impl AsRef<Path>) -> Result<Wal> {
        self.look_with(dir.as_ref(), true, None)?.open()
    }

    /// Reads everything that can be read of the log in `dir`, whatever is damaged, and changes nothing,
    /// not even a lock's file; it works on a file system that is mounted read-only. For a log that
    /// [`open`](Options::open) refuses, before [`repair`](Options::repair) truncates it. Others may do so at the same
    /// time.
    ///
    /// Records of a group whose header is damaged cannot be read; all others can, one by one. If the
    /// superblock is lost ([`Salvage::has_superblock`]), records that were truncated, but not yet removed with their
    /// segment, come back, and nothing may say of the last ones that they are missing. A place that cannot be
    /// read, and a segment that cannot be opened, takes no other with it.
    ///
    /// # Cost
    /// Reads every segment twice, as the records are asked for.
    ///
    /// # Errors
    /// [`Error::Disk`] with [`Locked`](durable_io::Error::Locked) if the log is open, in any process;
    /// [`Error::Corrupt`] if there is neither a superblock nor a record; [`Error::UnsupportedVersion`].
    pub fn salvage(self, dir: impl AsRef<Path>) -> Result<Salvage> {
        Salvage::open(StoreDir::open_shared(&self.disk, dir, names::LOCK)?)
    }

    /// Reads the records of the log in `dir` from `from` on, or from the first retained one if that is later, while
    /// another process may be writing it: nothing is locked and nothing changed. In the process that has the log
    /// open, [`Wal::follow`] is the better way: it waits, and gives out what is durable only.
    ///
    /// # Errors
    /// [`Error::Disk`], [`Error::UnsupportedVersion`]; [`Error::Corrupt`] if the superblock cannot be read.
    pub fn watch(self, dir: impl AsRef<Path>, from: Lsn) -> Result<Watch> {
        Watch::open(self.disk.open_dir(dir.as_ref())?, from)
    }

    fn look_with(
        self,
        path: &Path,
        repairing: bool,
        replay: Option<&mut Replay<'_>>,
    ) -> Result<Opening> {
        self.check()?;
        let dir = match StoreDir::open(&self.disk, path, names::LOCK) {
            Err(error) if error.is_not_found() => None,
            dir => Some(dir?),
        };
        let new_size = self.segment_size.or(self.new_segment_size);
        let new_size = new_size.unwrap_or(DEFAULT_SEGMENT_SIZE);
        let zero_step = self.zero_step.unwrap_or(DEFAULT_ZERO_STEP);
        let repaired = match &dir {
            Some(dir) if repairing => repair(dir.dir(), new_size, zero_step, &self.progress)?,
            _ => Repaired::default(),
        };
        let how = How {
            segment_size: self.segment_size,
            new_size,
            first_lsn: self.first_lsn.unwrap_or(Lsn(1)),
            suspects: self.atomic_sectors && !repairing,
            zero_step,
            open_segments: self.open_segments.unwrap_or(DEFAULT_OPEN_SEGMENTS),
            progress: self.progress,
        };
        let found = match &dir {
            Some(dir) => look(dir.dir(), &how, replay)?,
            None => None,
        };
        Ok(Opening {
            disk: self.disk,
            path: path.to_owned(),
            dir,
            how,
            sync: self.sync,
            background: self.background,
            gathers: !self.leaves_early,
            found,
            repaired,
        })
    }

    fn check(&self) -> Result<()> {
        let mut sizes = self.segment_size.into_iter().chain(self.new_segment_size);
        if let Some(value) = sizes.find(|&size| !is_segment_size(size)) {
            const _: () = assert!(MIN_SEGMENT_SIZE == 1024 && MAX_SEGMENT_SIZE == 4_294_966_784);
            return Err(InvalidOption {
                option: "segment_size",
                value,
                rule: "it is a multiple of 512, from 1024 to 4294966784 bytes",
            }
            .into());
        }
        let is_step = |step: u64| step > 0 && step.is_multiple_of(SEGMENT_ALIGN);
        if let Some(value) = self.zero_step.filter(|&step| !is_step(step)) {
            return Err(InvalidOption {
                option: "zero_step",
                value,
                rule: "it is a multiple of 512 bytes, and not 0",
            }
            .into());
        }
        let is_lsn = |lsn: Lsn| (1..MAX_FIRST_LSN).contains(&lsn.0);
        if let Some(lsn) = self.first_lsn.filter(|&lsn| !is_lsn(lsn)) {
            return Err(InvalidOption {
                option: "first_lsn",
                value: lsn.0,
                rule: "it is from 1 to 2^62 - 1",
            }
            .into());
        }
        self.sync.validate()?;
        Ok(())
    }
}
