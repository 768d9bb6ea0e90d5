//! [`Options`]: how a table is made.

use durable_io::engine::InvalidOption;

use crate::compression::Compression;
use crate::error::{Error, Result};
use crate::limits::{
    DEFAULT_BLOCK_SIZE, DEFAULT_PARTITION_KEYS, MAX_BLOCK_SIZE, MAX_FILTER_BITS, MAX_KEY_SIZE,
    MAX_PROPERTIES_SIZE, MIN_BLOCK_SIZE,
};

const DEFAULT_RESTART_INTERVAL: u32 = 4;
const DEFAULT_FILTER_BITS: u32 = 10;

/// How a table is made: `Options::new().block_size(..).create(&dir, "table")`. A reader needs
/// none of it: the table says how it was made.
///
/// ```
/// use sstable::{BlockCache, Compression, Options, Table};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let temp = tempfile::tempdir()?;
/// # let dir = durable_io::Disk::os().create_dir(temp.path().join("tables"))?;
/// let options = Options::new()
///     .compression(Compression::Lz4)
///     .block_size(16 << 10) // compresses better
///     .property("made by", "the nightly job");
/// let mut writer = options.create(&dir, "t")?;
/// for n in 0..10_000_u32 {
///     writer.put(&n.to_be_bytes(), b"the same everywhere")?;
/// }
/// let info = writer.finish()?;
/// assert!(info.file_bytes < 10_000 * 19);
/// let table = Table::open(&dir, "t", &BlockCache::new(1 << 20))?;
/// assert_eq!(table.properties().user(b"made by"), Some(&b"the nightly job"[..]));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) block_size: usize,
    pub(crate) restart_interval: u32,
    pub(crate) hash_index: bool,
    pub(crate) filter_bits: u32,
    pub(crate) filter_prefix: usize,
    pub(crate) partition_keys: u32,
    pub(crate) compression: Compression,
    pub(crate) properties: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            block_size: DEFAULT_BLOCK_SIZE,
            restart_interval: DEFAULT_RESTART_INTERVAL,
            hash_index: true,
            filter_bits: DEFAULT_FILTER_BITS,
            filter_prefix: 0,
            partition_keys: DEFAULT_PARTITION_KEYS,
            compression: Compression::None,
            properties: Vec::new(),
        }
    }
}

impl Options {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The size of a data block before it is compressed, in bytes: from [`MIN_BLOCK_SIZE`] to
    /// [`MAX_BLOCK_SIZE`]. An entry that is larger gets a block of its own. Larger blocks compress
    /// better and make a smaller index; smaller ones are cheaper to decompress for one key. Default:
    /// 4096.
    #[must_use]
    pub fn block_size(mut self, bytes: usize) -> Self {
        self.block_size = bytes;
        self
    }

    /// After how many entries a key is stored whole again, and can be searched for; at least 1. More
    /// makes smaller tables. Default: 4.
    #[must_use]
    pub fn restart_interval(mut self, entries: u32) -> Self {
        self.restart_interval = entries;
        self
    }

    /// Whether blocks have a hash index, of 4/3 bytes for each key, which makes point reads cheaper.
    /// Default: true.
    #[must_use]
    pub fn hash_index(mut self, is_wanted: bool) -> Self {
        self.hash_index = is_wanted;
        self
    }

    /// The size of the filter, in bits for each key, up to [`MAX_FILTER_BITS`]; 0 for none. With 10, one
    /// of about 100 keys that are not there is looked for in a block. Default: 10.
    #[must_use]
    pub fn filter_bits(mut self, bits: u32) -> Self {
        self.filter_bits = bits;
        self
    }

    /// Adds the first `bytes` bytes of each key that is as long to the filter, so that
    /// [`Table::scan_prefix`](crate::Table::scan_prefix) of a prefix that is at least as long need not
    /// look for what is not there; 0 for none. Default: 0.
    #[must_use]
    pub fn filter_prefix(mut self, bytes: usize) -> Self {
        self.filter_prefix = bytes;
        self
    }

    /// After how many entries, at least 1, a partition of index and filter ends, at the next end of a
    /// block. The writer keeps one partition in memory, of about 8 bytes for each key and 40 for each
    /// block. Default: 65,536.
    #[must_use]
    pub fn partition_keys(mut self, entries: u32) -> Self {
        self.partition_keys = entries;
        self
    }

    /// How data blocks are compressed. Default: [`Compression::None`].
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Something that the table shall say about itself:
    /// [`Properties::user`](crate::Properties::user). All of them together have at most
    /// [`MAX_PROPERTIES_SIZE`] bytes. Default: none.
    #[must_use]
    pub fn property(mut self, name: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        self.properties.push((name.into(), value.into()));
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        InvalidOption::unless_within(
            "block_size",
            self.block_size as u64,
            MIN_BLOCK_SIZE as u64..=MAX_BLOCK_SIZE as u64,
            "it is from 64 bytes to 1 MiB",
        )?;
        InvalidOption::unless_within(
            "restart_interval",
            self.restart_interval.into(),
            1..=u64::MAX,
            "it is at least 1 entry",
        )?;
        InvalidOption::unless_within(
            "filter_bits",
            self.filter_bits.into(),
            0..=MAX_FILTER_BITS.into(),
            "it is at most 32 for each key",
        )?;
        InvalidOption::unless_within(
            "filter_prefix",
            self.filter_prefix as u64,
            0..=MAX_KEY_SIZE as u64,
            "it is at most 65,535 bytes",
        )?;
        InvalidOption::unless_within(
            "partition_keys",
            self.partition_keys.into(),
            1..=u64::MAX,
            "it is at least 1 entry",
        )?;
        let pairs = self.properties.iter();
        let size: usize = pairs
            .map(|(name, value)| name.len() + value.len() + 8)
            .sum();
        if size > MAX_PROPERTIES_SIZE {
            return Err(Error::TooLarge {
                what: "the sum of all properties",
                size: size as u64,
                limit: MAX_PROPERTIES_SIZE as u64,
            });
        }
        Ok(())
    }
}
