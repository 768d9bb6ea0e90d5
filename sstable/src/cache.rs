//! [`BlockCache`]: decompressed blocks, shared by tables.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::Weighter;
use quick_cache::sync::Cache;

/// What a block takes beside its bytes: an entry of the cache and a count of references.
const OVERHEAD: u64 = 100;
/// For a guess of how many blocks will be in it.
const USUAL_BLOCK: u64 = 4096;

/// Decompressed blocks, shared by all tables that are opened with it. The least useful go first when
/// there are too many.
///
/// Cheap to clone; clones are the same cache. Blocks that are not compressed are lent from the mapped
/// file and need none. What it holds of a table that was closed goes in time.
///
/// ```
/// let cache = sstable::BlockCache::new(64 << 20); // bytes; one for all tables of a store
/// assert_eq!(cache.bytes(), 0); // of these, so many are in use
/// ```
#[derive(Clone)]
pub struct BlockCache {
    inner: Arc<Inner>,
}

struct Inner {
    blocks: Cache<(u64, u64), Arc<[u8]>, Bytes>,
    capacity: u64,
    next_table: AtomicU64,
}

#[derive(Clone)]
struct Bytes;

impl Weighter<(u64, u64), Arc<[u8]>> for Bytes {
    fn weight(&self, _key: &(u64, u64), block: &Arc<[u8]>) -> u64 {
        block.len() as u64 + OVERHEAD
    }
}

impl fmt::Debug for BlockCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockCache")
            .field("bytes", &self.bytes())
            .field("capacity", &self.inner.capacity)
            .finish_non_exhaustive()
    }
}

impl BlockCache {
    /// A cache of at most `capacity` bytes; 0 for one that keeps nothing.
    pub fn new(capacity: u64) -> Self {
        let blocks = (capacity / USUAL_BLOCK).min(usize::MAX as u64);
        let blocks = usize::try_from(blocks).expect("it is at most the largest one");
        Self {
            inner: Arc::new(Inner {
                blocks: Cache::with_weighter(blocks, capacity, Bytes),
                capacity,
                next_table: AtomicU64::new(0),
            }),
        }
    }

    /// How much it holds, in bytes.
    pub fn bytes(&self) -> u64 {
        self.inner.blocks.weight()
    }

    /// A number that no other table in this cache has. (Not the file's id: a copy of a file has the
    /// same, and may be damaged.)
    pub(crate) fn new_table(&self) -> u64 {
        self.inner.next_table.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn get(&self, table: u64, offset: u64) -> Option<Arc<[u8]>> {
        self.inner.blocks.get(&(table, offset))
    }

    pub(crate) fn insert(&self, table: u64, offset: u64, block: &Arc<[u8]>) {
        self.inner.blocks.insert((table, offset), Arc::clone(block));
    }
}
