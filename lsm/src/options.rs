//! [`Options`] and [`KeyspaceOptions`]: how a store is opened, and what its keyspaces are like.

use std::collections::BTreeMap;

use durable_io::codec::{Decoder, Encoder};
use durable_io::engine::{self, InvalidOption};
use durable_io::{Background, Disk, SyncMode};
use sstable::compaction::{self, LazyLeveled, Leveled};
use sstable::{Compression, MAX_BLOCK_SIZE, MAX_FILTER_BITS, MIN_BLOCK_SIZE};

use crate::error::{Error, Result};
use crate::limits::{
    LAST_LEVEL, MAX_MANIFEST_SEGMENT_SIZE, MAX_NAME_SIZE, MIN_MANIFEST_SEGMENT_SIZE,
    MIN_MEMTABLE_SIZE,
};
use crate::stats::Progress;

/// How the tables of a keyspace are kept in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Strategy {
    /// The last level is one sorted run, the levels above have several: what is written often is
    /// rewritten seldom. The default.
    #[default]
    LazyLeveled,
    /// Each level is one sorted run: fewer places to look, more to rewrite.
    Leveled,
}

/// What the tables of a keyspace are like. They are kept with the keyspace; changing them changes new
/// tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyspaceOptions {
    /// Its code in the manifest.
    compression: u32,
    block_size: u32,
    filter_bits: u32,
    strategy: Strategy,
}

impl Default for KeyspaceOptions {
    fn default() -> Self {
        Self {
            compression: RAW,
            block_size: 4096,
            filter_bits: 10,
            strategy: Strategy::default(),
        }
    }
}

/// Codes in the manifest.
const RAW: u32 = 0;
const LZ4: u32 = 1;
const ZSTD: u32 = 2;

impl KeyspaceOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// How blocks are compressed. Default: [`Compression::None`].
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = match compression {
            Compression::None => RAW,
            Compression::Lz4 => LZ4,
            _ => ZSTD,
        };
        self
    }

    /// The size of a data block before it is compressed, in bytes. Default: 4096.
    #[must_use]
    pub fn block_size(mut self, bytes: u32) -> Self {
        self.block_size = bytes;
        self
    }

    /// The size of the filters, in bits for each key; 0 for none. Default: 10, with which one of about
    /// 100 keys that are not there is looked for on the disk.
    #[must_use]
    pub fn filter_bits(mut self, bits: u32) -> Self {
        self.filter_bits = bits;
        self
    }

    /// How tables are kept in order. Default: [`Strategy::LazyLeveled`].
    #[must_use]
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        let (least, most) = (MIN_BLOCK_SIZE as u64, MAX_BLOCK_SIZE as u64);
        let block = u64::from(self.block_size);
        InvalidOption::unless_within(
            "block_size",
            block,
            least..=most,
            "it is from 64 bytes to 1 MiB",
        )?;
        let filter = u64::from(self.filter_bits);
        let most = u64::from(MAX_FILTER_BITS);
        InvalidOption::unless_within(
            "filter_bits",
            filter,
            0..=most,
            "it is at most 32 for each key",
        )?;
        Ok(())
    }

    pub(crate) fn encode(&self, out: &mut Encoder) {
        let strategy = match self.strategy {
            Strategy::LazyLeveled => 0,
            Strategy::Leveled => 1,
        };
        out.u32(self.compression)
            .u32(self.block_size)
            .u32(self.filter_bits)
            .u32(strategy);
    }

    pub(crate) fn decode(rest: &mut Decoder<'_>) -> Option<Self> {
        let options = Self {
            compression: Some(rest.u32()?).filter(|code| *code <= ZSTD)?,
            block_size: rest.u32()?,
            filter_bits: rest.u32()?,
            strategy: match rest.u32()? {
                0 => Strategy::LazyLeveled,
                1 => Strategy::Leveled,
                _ => return None,
            },
        };
        options.check().is_ok().then_some(options)
    }

    /// True for a compression that a program may have been built without.
    pub(crate) fn needs_zstd(&self) -> bool {
        self.compression == ZSTD
    }

    /// True if this program can make such tables.
    pub(crate) fn is_supported(&self) -> bool {
        cfg!(feature = "zstd") || !self.needs_zstd()
    }

    /// How a table is made.
    pub(crate) fn table(&self) -> sstable::Options {
        let compression = match self.compression {
            RAW => Compression::None,
            #[cfg(feature = "zstd")]
            ZSTD => Compression::Zstd,
            _ => Compression::Lz4,
        };
        sstable::Options::new()
            .compression(compression)
            .block_size(self.block_size as usize)
            .filter_bits(self.filter_bits)
    }

    /// What is planned, with tables of about `table_size` bytes.
    pub(crate) fn plan(&self, table_size: u64) -> compaction::Strategy {
        let (levels, base) = (LAST_LEVEL + 1, table_size.saturating_mul(8));
        match self.strategy {
            Strategy::LazyLeveled => LazyLeveled::new()
                .levels(levels)
                .base_bytes(base)
                .table_bytes(table_size)
                .into(),
            Strategy::Leveled => Leveled::new()
                .levels(levels)
                .base_bytes(base)
                .table_bytes(table_size)
                .into(),
        }
    }
}

/// How a store is opened: `Options::new().sync(..).open("store")`.
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) sync: SyncMode,
    pub(crate) background: Background,
    pub(crate) disk: Disk,
    pub(crate) progress: engine::Progress<Progress>,
    pub(crate) keyspaces: BTreeMap<String, KeyspaceOptions>,
    pub(crate) memtable_size: u64,
    pub(crate) memory: u64,
    pub(crate) block_cache: u64,
    pub(crate) replay_limit: u64,
    pub(crate) table_size: u64,
    pub(crate) background_rate: Option<u64>,
    pub(crate) reserve: Option<u64>,
    pub(crate) log_segment_size: Option<u64>,
    pub(crate) manifest_segment_size: Option<u64>,
    pub(crate) auto_compact: bool,
    pub(crate) reclaim_percent: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sync: SyncMode::default(),
            background: Background::default(),
            disk: Disk::default(),
            progress: engine::Progress::default(),
            keyspaces: BTreeMap::new(),
            memtable_size: 16 << 20,
            memory: 256 << 20,
            block_cache: 32 << 20,
            replay_limit: 128 << 20,
            table_size: 32 << 20,
            background_rate: None,
            reserve: None,
            log_segment_size: None,
            manifest_segment_size: None,
            auto_compact: true,
            reclaim_percent: 25,
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

    /// Who flushes and compacts. Default: [`Background::Threads`]: threads named `lsm-flush` and
    /// `lsm-compact`, beside those of the log.
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

    /// Calls `tell` now and then while the store is being opened, from the opening thread. It must not
    /// panic. Default: nobody is told.
    #[must_use]
    pub fn progress(mut self, tell: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        self.progress = engine::Progress::new(tell);
        self
    }

    /// What the tables of keyspace `name` are like from now on, if there is such a keyspace; `"default"`
    /// is the one that every store has. Default: as they were.
    #[must_use]
    pub fn keyspace(mut self, name: &str, options: KeyspaceOptions) -> Self {
        self.keyspaces.insert(name.to_owned(), options);
        self
    }

    /// The size at which a memtable is flushed, in bytes of memory. Each keyspace that is written to has
    /// one; [`memory`](Options::memory) bounds them together. Default: 16 MiB.
    #[must_use]
    pub fn memtable_size(mut self, bytes: u64) -> Self {
        self.memtable_size = bytes;
        self
    }

    /// The most memory for everything that is kept: memtables, the block cache, what is known of open tables,
    /// and what readers hold of memtables and tables that are no part of the store any more. A write that
    /// would go beyond it waits for a flush; if a flush would give hardly anything back, it is refused, with
    /// [`Error::MemoryFull`]. What is known of tables is estimated; beside it, buffers of flushes and
    /// compactions take up to about 16 MiB. Default: 256 MiB.
    #[must_use]
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = bytes;
        self
    }

    /// The size of the cache of decompressed blocks, in bytes; part of [`memory`](Options::memory).
    /// Blocks that are not compressed are lent from the mapped file and need none. Default: 32 MiB.
    #[must_use]
    pub fn block_cache(mut self, bytes: u64) -> Self {
        self.block_cache = bytes;
        self
    }

    /// The most bytes of operations that an opening has to read again. When there is half as much, the
    /// keyspace that holds the oldest of them is flushed; at the limit, writers wait for that. Default: 128
    /// MiB.
    #[must_use]
    pub fn replay_limit(mut self, bytes: u64) -> Self {
        self.replay_limit = bytes;
        self
    }

    /// At about which size a table ends and the next one begins, in bytes. Default: 32 MiB.
    #[must_use]
    pub fn table_size(mut self, bytes: u64) -> Self {
        self.table_size = bytes;
        self
    }

    /// The most that background compactions write, in bytes in a second; flushes are not held up.
    /// Default: no limit.
    #[must_use]
    pub fn background_rate(mut self, bytes: u64) -> Self {
        self.background_rate = Some(bytes);
        self
    }

    /// Disk space that is held back for flushes, compactions and deletions on a full disk, in bytes; 0
    /// for none. Default: one memtable and one table.
    #[must_use]
    pub fn reserve(mut self, bytes: u64) -> Self {
        self.reserve = Some(bytes);
        self
    }

    /// The segment size of the log, in bytes: see [`wal::Options::segment_size`]. A store keeps the one
    /// that it was created with; asking for another one is an error. Default:
    /// [`DEFAULT_LOG_SEGMENT_SIZE`](crate::DEFAULT_LOG_SEGMENT_SIZE).
    #[must_use]
    pub fn log_segment_size(mut self, bytes: u64) -> Self {
        self.log_segment_size = Some(bytes);
        self
    }

    /// The segment size of the manifest, in bytes: from
    /// [`MIN_MANIFEST_SEGMENT_SIZE`](crate::MIN_MANIFEST_SEGMENT_SIZE) to
    /// [`MAX_MANIFEST_SEGMENT_SIZE`](crate::MAX_MANIFEST_SEGMENT_SIZE). A store keeps the one that it was
    /// created with. Default: 256 KiB.
    #[must_use]
    pub fn manifest_segment_size(mut self, bytes: u64) -> Self {
        self.manifest_segment_size = Some(bytes);
        self
    }

    /// Whether the background compacts by itself; if not, only [`Lsm::compact`](crate::Keyspace::compact)
    /// does. Default: true.
    #[must_use]
    pub fn auto_compact(mut self, compacts: bool) -> Self {
        self.auto_compact = compacts;
        self
    }

    /// When tables are merged for the space that deleted keys take, although no level is due: when of a hundred
    /// bytes that the merge has to read so many go. That is estimated, from the deletions in a table, the ranges
    /// that it deletes, and the older tables that it overlaps. What a snapshot sees as it was waits until that one
    /// ends. At least 1; above 100 it never happens. Default: 25.
    #[must_use]
    pub fn reclaim_percent(mut self, percent: u32) -> Self {
        self.reclaim_percent = percent;
        self
    }

    pub(crate) fn reserve_size(&self) -> u64 {
        let default = self.memtable_size.saturating_add(self.table_size);
        self.reserve.unwrap_or(default)
    }

    pub(crate) fn check(&self) -> Result<()> {
        let rule = "it is at least 256 bytes";
        InvalidOption::unless_within(
            "memtable_size",
            self.memtable_size,
            MIN_MEMTABLE_SIZE..=u64::MAX,
            rule,
        )?;
        InvalidOption::unless_within(
            "table_size",
            self.table_size,
            1..=u64::MAX,
            "it is at least 1 byte",
        )?;
        let rule = "it is at least twice memtable_size, and block_cache";
        let least = self.memtable_size.saturating_mul(2);
        let least = least.saturating_add(self.block_cache);
        InvalidOption::unless_within("memory", self.memory, least..=u64::MAX, rule)?;
        if let Some(rate) = self.background_rate {
            InvalidOption::unless_within(
                "background_rate",
                rate,
                1..=u64::MAX,
                "it is at least 1 byte",
            )?;
        }
        InvalidOption::unless_within(
            "reclaim_percent",
            self.reclaim_percent.into(),
            1..=u64::MAX,
            "it is at least 1 of a hundred bytes",
        )?;
        if let Some(size) = self.manifest_segment_size {
            const _: () = assert!(MIN_MANIFEST_SEGMENT_SIZE == 1024);
            let range = MIN_MANIFEST_SEGMENT_SIZE..=MAX_MANIFEST_SEGMENT_SIZE;
            InvalidOption::unless_within(
                "manifest_segment_size",
                size,
                range,
                "it is from 1 KiB to 1 MiB",
            )?;
        }
        self.sync.validate()?;
        self.keyspaces.values().try_for_each(KeyspaceOptions::check)
    }
}

/// A name that a keyspace can have.
pub(crate) fn check_name(name: &str) -> Result<()> {
    if name.len() > MAX_NAME_SIZE {
        return Err(Error::TooLarge {
            what: "the name of a keyspace",
            size: name.len() as u64,
            limit: MAX_NAME_SIZE as u64,
        });
    }
    Ok(())
}
