//! [`Options`]: how a store is opened.

use std::path::Path;

use durable_io::engine::InvalidOption;
use durable_io::{Background, Disk, SyncMode};

use crate::clock::Clock;
use crate::error::Result;
use crate::event_store::EventStore;
use crate::limits::{DEFAULT_INDEX_INTERVAL, DEFAULT_SEGMENT_SIZE, MAX_INDEX_INTERVAL};
use crate::recover::{Request, recover};

/// How a store is opened: `Options::new().sync(..).open("store")`.
#[derive(Clone, Debug, Default)]
pub struct Options {
    sync: SyncMode,
    segment_size: Option<u64>,
    index_interval: Option<u64>,
    reserve: Option<u64>,
    background: Background,
    clock: Clock,
    pub(crate) disk: Disk,
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

    /// Bytes of a segment of the log: a multiple of 512, from [`wal::MIN_SEGMENT_SIZE`] to
    /// [`wal::MAX_SEGMENT_SIZE`]. It bounds the largest append. A store keeps the size that it was created
    /// with; opening it with another one is an error. Default:
    /// [`DEFAULT_SEGMENT_SIZE`](crate::DEFAULT_SEGMENT_SIZE).
    #[must_use]
    pub fn segment_size(mut self, bytes: u64) -> Self {
        self.segment_size = Some(bytes);
        self
    }

    /// How many bytes of the log are kept in memory before they get a part of the index: from 1 to
    /// [`MAX_INDEX_INTERVAL`](crate::MAX_INDEX_INTERVAL). It bounds the store's memory, to some four times
    /// of it where events have a few hundred bytes and to more where they are smaller, and what opening
    /// reads; an append waits for the index rather than go beyond four times the interval, and 64 KiB. Default:
    /// [`DEFAULT_INDEX_INTERVAL`](crate::DEFAULT_INDEX_INTERVAL).
    #[must_use]
    pub fn index_interval(mut self, bytes: u64) -> Self {
        self.index_interval = Some(bytes);
        self
    }

    /// How many bytes are held back on the disk, so that streams can be ended and subscriptions can
    /// acknowledge when it is full. Default: two segments.
    #[must_use]
    pub fn reserve(mut self, bytes: u64) -> Self {
        self.reserve = Some(bytes);
        self
    }

    /// Who does the background work. Default: [`Background::Threads`]: two, named `event-store` and
    /// `event-store-index`, beside those of the log.
    #[must_use]
    pub fn background(mut self, background: Background) -> Self {
        self.background = background;
        self
    }

    /// What time it is, in microseconds since the Unix epoch: the timestamp of events. It is asked once for
    /// each append. Default: the system's clock.
    #[must_use]
    pub fn clock(mut self, now: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        self.clock = Clock::new(now);
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
    /// When this returns, the store and every event in it survive power loss, whatever the mode.
    ///
    /// # Cost
    /// Opens the log, as [`wal::Options::open`] says, reads the list of the index and the first block of
    /// each part, and the events that no part covers. The size of the store does not matter.
    ///
    /// # Errors
    /// [`Corrupt`](crate::Error::Corrupt) if durable events are lost or damaged, as far as opening looks: the
    /// others are checked when they are read, or by [`EventStore::verify`]. A part of the index that is lost
    /// is no error. [`Disk`](crate::Error::Disk) with [`Locked`](durable_io::Error::Locked) if the store is
    /// open already, in any process. [`UnsupportedVersion`](crate::Error::UnsupportedVersion),
    /// [`InvalidOption`](crate::Error::InvalidOption), [`Disk`](crate::Error::Disk),
    /// [`Thread`](crate::Error::Thread). After an error the store is as it was, and can be opened again.
    pub fn open(self, dir: impl AsRef<Path>) -> Result<EventStore> {
        let index_interval = self.index_interval.unwrap_or(DEFAULT_INDEX_INTERVAL);
        let rule = "it is from 1 byte to 8 MiB";
        let within = 1..=MAX_INDEX_INTERVAL;
        InvalidOption::unless_within("index_interval", index_interval, within, rule)?;
        self.sync.validate()?;
        let segment_size = self.segment_size.unwrap_or(DEFAULT_SEGMENT_SIZE);
        let background = self.background;
        let recovered = recover(&Request {
            sync: self.sync,
            segment_size,
            index_interval,
            reserve: self.reserve.unwrap_or(2 * segment_size),
            background,
            clock: self.clock,
            disk: self.disk,
            path: dir.as_ref().to_owned(),
        })?;
        EventStore::start(recovered, background)
    }
}
