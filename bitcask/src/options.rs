//! [`Options`]: how a store is opened.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use durable_io::engine::{self, InvalidOption, Reserve, StoreDir, open_store};
use durable_io::{Background, Disk, SyncMode};

use crate::bitcask::Bitcask;
use crate::error::{Error, Result};
use crate::limits::{DEFAULT_DATA_FILE_SIZE, MAX_DATA_FILE_SIZE, MIN_DATA_FILE_SIZE};
use crate::load::Request;
use crate::names;
use crate::policy::MergePolicy;
use crate::recover::recover;
use crate::salvage::Salvage;
use crate::snapshot::Snapshot;
use crate::stats::{Progress, Recovery};
use crate::store::{Opened, Settings, Store};

/// The active file is zeroed ahead, and mapped, in pieces of at most this size, in bytes.
const LARGEST_WINDOW: u64 = 1 << 20;
const SMALLEST_WINDOW: u64 = 512;
const DEFAULT_RESERVE: u64 = 4 << 20;
/// More threads do not open a store faster.
const MOST_THREADS: usize = 16;

/// How a store is opened: `Options::new().sync(..).open("store")`.
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) sync: SyncMode,
    memory_limit: Option<u64>,
    policy: MergePolicy,
    auto_merge: bool,
    background: Background,
    pub(crate) disk: Disk,
    progress: engine::Progress<Progress>,
    data_file_size: u64,
    merge_rate: Option<u64>,
    reserve: u64,
    gathers: bool,
    threads: Option<usize>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sync: SyncMode::default(),
            memory_limit: None,
            policy: MergePolicy::default(),
            auto_merge: true,
            background: Background::default(),
            disk: Disk::default(),
            progress: engine::Progress::default(),
            data_file_size: DEFAULT_DATA_FILE_SIZE,
            merge_rate: None,
            reserve: DEFAULT_RESERVE,
            gathers: true,
            threads: None,
        }
    }
}

impl Options {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// When a write is acknowledged. Default: [`SyncMode::Always`].
    #[must_use]
    pub fn sync(mut self, mode: SyncMode) -> Self {
        self.sync = mode;
        self
    }

    /// The most memory that the index may take, in bytes: opening and writing fail with
    /// [`Error::MemoryLimit`] rather than go beyond. What
    /// [`Stats::change_bytes`](crate::Stats::change_bytes) counts is not part of it. Default: none.
    #[must_use]
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.memory_limit = Some(bytes);
        self
    }

    /// When the background merges, and what. Default: [`MergePolicy::default`].
    #[must_use]
    pub fn merge_policy(mut self, policy: MergePolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Whether the background merges by itself; if not, only [`Bitcask::merge`] does. Default: true.
    #[must_use]
    pub fn auto_merge(mut self, merges: bool) -> Self {
        self.auto_merge = merges;
        self
    }

    /// Who writes hints, merges, and keeps the interval of [`SyncMode::Batch`]. Default:
    /// [`Background::Threads`]: a thread named `bitcask`, and in `Batch` one named `bitcask-sync`.
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

    /// Calls `tell` now and then while the store is being opened, from the opening thread. Default:
    /// nobody is told.
    #[must_use]
    pub fn progress(mut self, tell: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        self.progress = engine::Progress::new(tell);
        self
    }

    /// The size at which the store goes on in another data file, in bytes: from
    /// [`MIN_DATA_FILE_SIZE`] to [`MAX_DATA_FILE_SIZE`]. A batch that is larger gets a file of its own
    /// size. It can be another one at each opening. Default: [`DEFAULT_DATA_FILE_SIZE`].
    #[must_use]
    pub fn data_file_size(mut self, bytes: u64) -> Self {
        self.data_file_size = bytes;
        self
    }

    /// The most that background merges read, in bytes in a second. [`Bitcask::merge`] is not held up.
    /// Default: no limit.
    #[must_use]
    pub fn merge_rate(mut self, bytes: u64) -> Self {
        self.merge_rate = Some(bytes);
        self
    }

    /// Disk space that is held back for deletions and merges on a full disk, in bytes; 0 for none.
    /// Default: 4 MiB.
    #[must_use]
    pub fn reserve(mut self, bytes: u64) -> Self {
        self.reserve = bytes;
        self
    }

    /// Whether concurrent writes wait briefly for company: see
    /// [`GroupCommit::gather`](durable_io::GroupCommit::gather). Default: true.
    #[must_use]
    pub fn gather(mut self, gathers: bool) -> Self {
        self.gathers = gathers;
        self
    }

    /// How many threads fill the index while the store is being opened, at most 16. Default: as many
    /// as the machine has processors; one under [`Background::Inline`].
    #[must_use]
    pub fn open_threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// Opens the store in the directory `dir`; creates both if they are missing. What a crash left
    /// torn is zeroed; damage is an error, and nothing is changed.
    ///
    /// # Durability
    /// When this returns, the directory, the store and everything read survive power loss, whatever
    /// the mode.
    ///
    /// # Cost
    /// Reads the hints, the active file, and sealed files without a hint; zeroes up to 1 MiB behind
    /// the last record; syncs the directory and its parent, and the active file. Holds one descriptor,
    /// and one map for each sealed file.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if acknowledged data is lost or damaged, as far as opening looks: sealed
    /// files with a hint are checked when they are read, or by [`Bitcask::verify`]. [`Error::Disk`] with
    /// [`Locked`](durable_io::Error::Locked) if the store is open already, in any process.
    /// [`Error::MemoryLimit`], [`Error::UnsupportedVersion`], [`Error::InvalidOption`],
    /// [`Error::Disk`], [`Error::Thread`]. After an error the store is as it was, and can be opened
    /// again.
    pub fn open(self, dir: impl AsRef<Path>) -> Result<Bitcask> {
        self.check()?;
        // Durable: the directory's own name. Only now may anything in it be relied on.
        let store_dir = open_store(&self.disk, dir, names::LOCK)?;
        let (background, rate) = (self.background, self.merge_rate);
        let (store, recovery) = self.open_in(store_dir, false)?;
        Bitcask::start(store, background, rate, recovery)
    }

    /// Reads the store in `dir` as it is now, and changes nothing; also while another process has it
    /// open. It gives a [`Snapshot`]: what that one writes later is not seen. Call this again to see it.
    ///
    /// It needs no right to write, neither to the directory nor to the files, takes no lock, and works on
    /// a file system that is mounted read-only.
    ///
    /// Of a store that is being written to, the newest writes may be ones that are not acknowledged
    /// yet, and that a power loss can still take back.
    ///
    /// # Cost
    /// As [`open`](Options::open), without the syncs.
    ///
    /// # Errors
    /// As [`open`](Options::open), without `Locked`. A directory without a store is
    /// [`Error::Corrupt`], a missing one [`Error::Disk`].
    pub fn open_read_only(self, dir: impl AsRef<Path>) -> Result<Snapshot> {
        self.check()?;
        let path = dir.as_ref();
        loop {
            let store_dir = StoreDir::open_read_only(&self.disk, path)?;
            let dir = store_dir.dir().clone();
            let before = crate::manifest::Manifest::read(&dir)?;
            let missing = match self.clone().open_in(store_dir, true) {
                Ok((store, _)) => return Ok(Snapshot::new(&Arc::new(store))),
                Err(error @ Error::Corrupt { .. }) => error,
                Err(error) => return Err(error),
            };
            // A merge or rotation beside us may have replaced what the manifest named.
            if crate::manifest::Manifest::read(&dir)? == before {
                return Err(missing);
            }
        }
    }

    /// Reads what is left of the store in `dir`, whatever is damaged, and changes nothing: for a store that
    /// [`open`](Options::open) refuses. Every record that passes its check is there, also behind damage and
    /// beside places that cannot be read.
    ///
    /// Where a record is lost, an older value of its key may show, or a key that was deleted:
    /// [`Salvaged::may_be_older`](crate::Salvaged::may_be_older) says so. Without a manifest, or with an older
    /// one, it is so for all, since nothing says in which order the files are.
    ///
    /// # Cost
    /// Reads every file once, and every value once more as it is asked for. Memory for every key.
    ///
    /// # Errors
    /// [`Error::Disk`] with [`Locked`](durable_io::Error::Locked) if the store is open, in any process, or if
    /// the directory cannot be read. All else is an item of [`Salvage`].
    pub fn salvage(self, dir: impl AsRef<Path>) -> Result<Salvage> {
        Salvage::open(StoreDir::open_shared(&self.disk, dir, names::LOCK)?)
    }

    fn open_in(self, store_dir: StoreDir, is_read_only: bool) -> Result<(Store, Recovery)> {
        let dir = store_dir.dir();
        let window = (self.data_file_size / 4).clamp(SMALLEST_WINDOW, LARGEST_WINDOW);
        let window = window / SMALLEST_WINDOW * SMALLEST_WINDOW;
        let request = Request {
            is_read_only,
            window,
            data_file_size: self.data_file_size,
            memory_limit: self.memory_limit,
            threads: self.threads(),
            progress: self.progress,
        };
        let recovered = recover(&self.disk, dir, &request)?;
        let mut reserve = Reserve::new(dir.clone(), names::RESERVE, self.reserve);
        if !is_read_only {
            reserve.hold()?;
        }
        let settings = Settings {
            data_file_size: self.data_file_size,
            window,
            policy: self.policy.of_store(self.data_file_size),
            auto_merge: self.auto_merge,
            store_id: recovered.manifest.store_id,
            is_closed: AtomicBool::new(false),
        };
        let store = Store::new(Opened {
            disk: self.disk,
            home: store_dir,
            settings,
            sync_mode: self.sync,
            gathers: self.gathers,
            keydir: recovered.keydir,
            manifest: recovered.manifest,
            files: recovered.files,
            writer: recovered.writer,
            reserve,
        });
        for number in recovered.hintless {
            store.ask_for_hint(number);
        }
        store.ask_for_merge();
        Ok((store, recovered.recovery))
    }

    fn threads(&self) -> usize {
        let default = match self.background {
            Background::Inline => 1,
            Background::Threads => std::thread::available_parallelism().map_or(1, usize::from),
        };
        self.threads.unwrap_or(default).clamp(1, MOST_THREADS)
    }

    fn check(&self) -> Result<()> {
        InvalidOption::unless_within(
            "data_file_size",
            self.data_file_size,
            MIN_DATA_FILE_SIZE..=MAX_DATA_FILE_SIZE,
            "it is from 1024 bytes to 1 TiB",
        )?;
        if let Some(rate) = self.merge_rate {
            let rule = "it is at least 1 byte in a second";
            InvalidOption::unless_within("merge_rate", rate, 1..=u64::MAX, rule)?;
        }
        self.sync.validate()?;
        Ok(())
    }
}
