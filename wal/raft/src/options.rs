//! [`Options`]: how a store is opened.

use std::path::Path;

use durable_io::engine::InvalidOption;
use durable_io::{Background, Disk};

use crate::error::Result;
use crate::limits::{DEFAULT_CACHE, DEFAULT_SEGMENT_SIZE};
use crate::log_store::LogStore;
use crate::recover::{Request, recover};

/// How a store is opened: `Options::new().cache(..).open("raft")`.
///
/// There is no mode in which less is durable: a node that forgets a vote or an entry which it has acknowledged
/// breaks the promises of all of them.
#[derive(Clone, Debug, Default)]
pub struct Options {
    segment_size: Option<u64>,
    cache: Option<u64>,
    reserve: Option<u64>,
    background: Background,
    pub(crate) disk: Disk,
}

impl Options {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes of a segment of the log: a multiple of 512, from [`MIN_SEGMENT_SIZE`](crate::MIN_SEGMENT_SIZE) to
    /// [`wal::MAX_SEGMENT_SIZE`]. Space is given back in whole segments; an entry that is larger is stored in
    /// parts. A store keeps the size that it was created with; asking for another one is an error. Default:
    /// that of the store, or [`DEFAULT_SEGMENT_SIZE`](crate::DEFAULT_SEGMENT_SIZE) if it is created.
    #[must_use]
    pub fn segment_size(mut self, bytes: u64) -> Self {
        self.segment_size = Some(bytes);
        self
    }

    /// Bytes of recent entries that are kept in memory, over all groups; what is not there is read from the log.
    /// Default: [`DEFAULT_CACHE`](crate::DEFAULT_CACHE).
    #[must_use]
    pub fn cache(mut self, bytes: u64) -> Self {
        self.cache = Some(bytes);
        self
    }

    /// How many bytes are held back on the disk, so that votes, truncations and purges work when it is full.
    /// Default: two segments.
    #[must_use]
    pub fn reserve(mut self, bytes: u64) -> Self {
        self.reserve = Some(bytes);
        self
    }

    /// Who does the background work. Default: [`Background::Threads`]: two, named `raft-sync`, which syncs and
    /// calls back, and `raft-move`, which gives back the log's front; beside that of the log.
    #[must_use]
    pub fn background(mut self, background: Background) -> Self {
        self.background = background;
        self
    }

    /// The disk that the store is on. Default: [`Disk::os`].
    #[must_use]
    pub fn disk(mut self, disk: Disk) -> Self {
        self.disk = disk;
        self
    }

    /// Opens the store in the directory `dir`; creates both if they are missing.
    ///
    /// # Durability
    /// When this returns, the store and everything in it survive power loss.
    ///
    /// # Cost
    /// Reads the log, which holds about twice what counts at most.
    ///
    /// # Errors
    /// [`Corrupt`](crate::Error::Corrupt) if what was durable is lost or damaged. [`Disk`](crate::Error::Disk)
    /// with [`Locked`](durable_io::Error::Locked) if the store is open already, in any process.
    /// [`UnsupportedVersion`](crate::Error::UnsupportedVersion),
    /// [`InvalidOption`](crate::Error::InvalidOption), [`Disk`](crate::Error::Disk),
    /// [`Thread`](crate::Error::Thread). After an error the store is as it was, and can be opened again.
    pub fn open(self, dir: impl AsRef<Path>) -> Result<LogStore> {
        let size = self.segment_size.unwrap_or(DEFAULT_SEGMENT_SIZE);
        let limit = i64::MAX.unsigned_abs();
        let reserve = self.reserve.unwrap_or_else(|| 2 * size.min(limit / 2));
        InvalidOption::unless_within("reserve", reserve, 0..=limit, "it is below 2^63 bytes")?;
        let background = self.background;
        let recovered = recover(&Request {
            segment_size: self.segment_size,
            cache: self.cache.unwrap_or(DEFAULT_CACHE),
            reserve,
            background,
            disk: self.disk,
            path: dir.as_ref().to_owned(),
        })?;
        LogStore::start(recovered, background)
    }
}
