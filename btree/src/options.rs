//! [`Options`]: how a store is opened.

use std::time::Duration;

use durable_io::engine::{InvalidOption, Progress};
use durable_io::{Background, Disk, SyncMode};

use crate::error::{Error, Result};
use crate::limits::{DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE, MIN_CACHE_PAGES, MIN_PAGE_SIZE};
use crate::meta::is_page_size;
use crate::space::Growth;
use crate::store::Settings;

/// How a store is opened: `Options::new().sync(..).open("store")`.
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) sync: SyncMode,
    pub(crate) page_size: Option<u32>,
    pub(crate) cache_size: u64,
    pub(crate) large_transaction: u64,
    pub(crate) checkpoint_after: u64,
    pub(crate) log_segment_size: Option<u64>,
    pub(crate) growth: u64,
    pub(crate) reserve: u64,
    pub(crate) reader_lease: Option<Duration>,
    pub(crate) background: Background,
    pub(crate) disk: Disk,
    pub(crate) progress: Progress<(u64, u64)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sync: SyncMode::Always,
            page_size: None,
            cache_size: 256 << 20,
            large_transaction: 4 << 20,
            checkpoint_after: 12 << 20,
            log_segment_size: None,
            growth: 64 << 10,
            reserve: 256 << 10,
            reader_lease: None,
            background: Background::Threads,
            disk: Disk::os(),
            progress: Progress::default(),
        }
    }
}

/// The size of the log's segments in a store that is created without another one.
pub(crate) const DEFAULT_LOG_SEGMENT_SIZE: u64 = 8 << 20;

impl Options {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// When a commit returns. Default: [`SyncMode::Always`].
    #[must_use]
    pub fn sync(mut self, mode: SyncMode) -> Self {
        self.sync = mode;
        self
    }

    /// Bytes of a page: a power of two from [`MIN_PAGE_SIZE`] to [`MAX_PAGE_SIZE`]. A store keeps the
    /// size it was created with; asking for another one is an error. Default: that of the store, or
    /// [`DEFAULT_PAGE_SIZE`] if it is created.
    #[must_use]
    pub fn page_size(mut self, bytes: u32) -> Self {
        self.page_size = Some(bytes);
        self
    }

    /// Bytes of pages that are kept in memory at most, apart from what readers and savepoints hold:
    /// half of it for pages that are in the file, half for those that are not yet. Default: 256 MiB.
    #[must_use]
    pub fn cache_size(mut self, bytes: u64) -> Self {
        self.cache_size = bytes;
        self
    }

    /// A transaction with more bytes of changes than this is committed by a checkpoint instead of a
    /// record of the log; so is one that does not fit into a segment of the log. Default: 4 MiB.
    #[must_use]
    pub fn large_transaction(mut self, bytes: u64) -> Self {
        self.large_transaction = bytes;
        self
    }

    /// A checkpoint is due when the log holds this many bytes of records. Opening applies at most
    /// twice as many. Default: 12 MiB.
    #[must_use]
    pub fn checkpoint_after(mut self, bytes: u64) -> Self {
        self.checkpoint_after = bytes;
        self
    }

    /// Bytes of a segment of the log, as [`wal::Options::segment_size`]. Default: that of the store, or
    /// 8 MiB if it is created.
    #[must_use]
    pub fn log_segment_size(mut self, bytes: u64) -> Self {
        self.log_segment_size = Some(bytes);
        self
    }

    /// Bytes by which the page file grows at least; it grows by an eighth if that is more. As much is left of
    /// free pages at its end when a checkpoint cuts it. Default: 64 KiB.
    #[must_use]
    pub fn growth(mut self, bytes: u64) -> Self {
        self.growth = bytes;
        self
    }

    /// Bytes of the page file that are kept free for what makes others free: deletions and checkpoints
    /// on a full disk. Default: 256 KiB.
    #[must_use]
    pub fn reserve(mut self, bytes: u64) -> Self {
        self.reserve = bytes;
        self
    }

    /// How long a reader may hold pages that nobody else needs: then a checkpoint gives its state
    /// up, and it answers [`Error::LeaseEnded`], instead of a file that grows as long as somebody
    /// has forgotten a [`ReadTxn`](crate::ReadTxn) or a range. The time counts, by the disk's
    /// clock, from the next commit behind the state. A [`backup`](crate::Btree::backup) and
    /// [`verify`](crate::Btree::verify) may take longer. Default: none, for ever.
    #[must_use]
    pub fn reader_lease(mut self, time: Duration) -> Self {
        self.reader_lease = Some(time);
        self
    }

    /// Who writes checkpoints. Default: [`Background::Threads`]: one thread, named `btree`, beside
    /// that of the log. It also writes one, and makes the page file shorter if more than an eighth of it is
    /// free, when nobody has committed for a while.
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

    /// Calls `call`, in the thread that opens, with the number of records of the log that were applied
    /// and the number of all. It must not panic. Default: nobody is told.
    #[must_use]
    pub fn progress(mut self, call: impl Fn(u64, u64) + Send + Sync + 'static) -> Self {
        self.progress = Progress::new(move |(done, all)| call(done, all));
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        self.sync.validate()?;
        if let Some(value) = self.page_size.filter(|&size| !is_page_size(size)) {
            const _: () = assert!(MIN_PAGE_SIZE == 512 && MAX_PAGE_SIZE == 32768);
            return Err(refuse_page_size(
                value,
                "it is a power of two, from 512 to 32768 bytes",
            ));
        }
        for (option, value, least) in [
            ("checkpoint_after", self.checkpoint_after, 1),
            ("large_transaction", self.large_transaction, 1),
            ("cache_size", self.cache_size, 0),
            ("growth", self.growth, 0),
            ("reserve", self.reserve, 0),
        ] {
            let rule = "it is at most 1 TiB, and not 0 where there must be some";
            InvalidOption::unless_within(option, value, least..=1 << 40, rule)?;
        }
        Ok(())
    }

    pub(crate) fn page_size_of_new(&self) -> u32 {
        self.page_size.unwrap_or(DEFAULT_PAGE_SIZE)
    }

    fn cache_pages(&self, page_size: u32) -> usize {
        let pages = self.cache_size / u64::from(page_size);
        let pages = usize::try_from(pages).expect("at most 1 TiB of pages of 512 bytes");
        pages.max(MIN_CACHE_PAGES)
    }

    /// Pages of the file that are kept in memory.
    pub(crate) fn clean_pages(&self, page_size: u32) -> usize {
        self.cache_pages(page_size) / 2
    }

    pub(crate) fn settings(&self, page_size: u32) -> Settings {
        let large = usize::try_from(self.large_transaction).expect("at most 1 TiB");
        Settings {
            sync: self.sync,
            reader_lease: self.reader_lease,
            large,
            log_bytes: self.checkpoint_after,
            dirty_pages: self.cache_pages(page_size) / 4,
        }
    }

    pub(crate) fn growth_in_pages(&self, page_size: u32) -> Growth {
        let pages = |bytes: u64| {
            let pages = bytes.div_ceil(page_size.into()).min(1 << 24);
            u32::try_from(pages).expect("at most 2^24")
        };
        Growth {
            step: pages(self.growth).max(1),
            // As much as one deletion in a deep tree takes, with its checkpoint.
            reserve: pages(self.reserve).max(16),
        }
    }
}

pub(crate) fn refuse_page_size(value: u32, rule: &'static str) -> Error {
    let refused = InvalidOption {
        option: "page_size",
        value: value.into(),
        rule,
    };
    refused.into()
}
