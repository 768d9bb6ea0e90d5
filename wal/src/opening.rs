//! [`Opening`]: a log between the verdict on it and the first change.

use std::ops::Range;
use std::path::{Path, PathBuf};

use durable_io::engine::StoreDir;
use durable_io::{Background, Disk, SyncMode};

use crate::create::How;
use crate::error::Result;
use crate::log::Log;
use crate::lsn::Lsn;
use crate::names;
use crate::records::Records;
use crate::recover::{Found, look, settle};
use crate::repair::Repaired;
use crate::stats::Tail;
use crate::wal::Wal;

/// A log that is locked, read and judged, and as it was. Made by [`Options::look`](crate::Options::look).
///
/// What it shows, a power loss may still take back: only [`open`](Opening::open) makes it durable.
///
/// # Drop
/// Dropping it leaves the log as it was, for others to open.
#[derive(Debug)]
pub struct Opening {
    pub(crate) disk: Disk,
    pub(crate) path: PathBuf,
    /// `None` if there is no directory.
    pub(crate) dir: Option<StoreDir>,
    pub(crate) how: How,
    pub(crate) sync: SyncMode,
    pub(crate) background: Background,
    pub(crate) gathers: bool,
    /// `None` if the log is to be created.
    pub(crate) found: Option<Found>,
    /// What a repair took away.
    pub(crate) repaired: Repaired,
}

impl Opening {
    /// True if there is no log, or one whose creation was interrupted.
    pub fn is_new(&self) -> bool {
        self.found.is_none()
    }

    /// The first retained position, and the one that the next record will get.
    pub fn bounds(&self) -> Range<Lsn> {
        match &self.found {
            Some(found) => found.bounds(),
            None => self.how.first_lsn..self.how.first_lsn,
        }
    }

    /// What follows the last record, and is zeroed by [`open`](Opening::open).
    pub fn tail(&self) -> Tail {
        self.found.as_ref().map_or(Tail::Clean, Found::tail)
    }

    /// The records from `from` on, or from the first retained one if that is later. They can be read as
    /// long as nobody has opened the log and written to it.
    ///
    /// # Cost
    /// As that of [`Wal::records`].
    ///
    /// # Errors
    /// The items are as those of [`Wal::records`].
    pub fn records(&self, from: Lsn) -> Records {
        match &self.found {
            Some(found) => found.records(from),
            None => Records::none(self.how.first_lsn),
        }
    }

    /// Zeroes what is torn, makes what is there durable, and opens it; creates the log if there is none.
    ///
    /// # Durability
    /// As [`Options::open`](crate::Options::open).
    ///
    /// # Errors
    /// [`Error::Disk`](crate::Error::Disk), also with [`Locked`](durable_io::Error::Locked) if somebody
    /// else has just made a log there; [`Error::Thread`](crate::Error::Thread).
    pub fn open(self) -> Result<Wal> {
        // Durable: the directory's own name. Only now may anything in it be relied on.
        self.disk.create_dir(&self.path)?;
        let dir = match self.dir {
            Some(dir) => dir,
            None => lock_new(&self.disk, &self.path, &self.how)?,
        };
        let mut recovered = settle(&self.disk, dir.dir(), &self.how, self.found)?;
        recovered.recovery.dropped = self.repaired.dropped;
        recovered.recovery.given_up = self.repaired.given_up;
        recovered.recovery.set_aside = self.repaired.set_aside;
        let recovery = recovered.recovery.clone();
        let zero_step = self.how.zero_step;
        let log = Log::new(
            &self.disk,
            dir,
            self.sync,
            self.gathers,
            zero_step,
            recovered,
        );
        Wal::start(log, self.background, recovery)
    }
}

/// Locks the directory `path`, which was not there when it was looked at.
fn lock_new(disk: &Disk, path: &Path, how: &How) -> Result<StoreDir> {
    let dir = StoreDir::open(disk, path, names::LOCK)?;
    if look(dir.dir(), how, None)?.is_some() {
        // Of somebody who was faster, and is gone again: what was seen of the log is not true any more.
        return Err(durable_io::Error::Locked {
            path: path.join(names::LOCK),
            pid: None,
        }
        .into());
    }
    Ok(dir)
}
