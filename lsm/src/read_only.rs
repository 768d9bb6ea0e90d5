//! Reading a store without writing anything.

use std::path::Path;

use durable_io::Disk;
use durable_io::engine::StoreDir;
use sstable::BlockCache;
use wal::{Lsn, Record};

use crate::error::{Corruption, Error, Result};
use crate::manifest::{Fold, Root};
use crate::names;
use crate::names::log_path;
use crate::names::manifest_path;
use crate::names::mark;
use crate::open::{check_bounds, open_tables, trees};
use crate::options::Options;
use crate::replay::{Known, Whose};
use crate::snapshot::Snapshot;
use crate::store::Catalog;
use crate::write::insert;

impl Options {
    /// Reads the store in `dir` as it is now, and changes nothing: what a crash left is not cleaned up, and not even
    /// the lock's file is made. It works on files that may only be read, and beside other readers.
    ///
    /// # Cost
    /// Reads the manifest, the log, and the ends of all tables; what is in no table is held in memory.
    ///
    /// # Errors
    /// As [`open`](Options::open). [`Error::Disk`] with [`Locked`](durable_io::Error::Locked) while the
    /// store is open, in any process. A directory without a store is [`Error::Corrupt`], a missing one
    /// [`Error::Disk`].
    pub fn open_read_only(self, dir: impl AsRef<Path>) -> Result<Snapshot> {
        self.check()?;
        let path = dir.as_ref();
        let lock = StoreDir::open_shared(&self.disk, path, names::LOCK)?;
        let (root, generation) = read_manifest(&self.disk, &manifest_path(path))?;
        let tables = open_tables(&self.disk, path)?;
        let cache = BlockCache::new(self.block_cache);
        let catalog = Catalog {
            trees: trees(&root, tables.as_ref(), path, &cache, generation)?,
        };
        let version = replay(&self.disk, path, &root, &catalog)?;
        Snapshot::read_only(version, catalog, lock)
    }
}

/// What the edits of the manifest in `path` make, and the last one.
pub(crate) fn read_manifest(disk: &Disk, path: &Path) -> Result<(Root, Lsn)> {
    let mut fold = Fold::new(path.to_owned());
    let mut last = Lsn(0);
    for record in read_log(disk, path, Corruption::ManifestLost)? {
        let Record { lsn, payload } = record?;
        fold.add(lsn, &payload)?;
        last = lsn;
    }
    let root = fold.end()?;
    let root = root.ok_or_else(|| Error::corrupt(&mark(path), Corruption::ManifestLost))?;
    Ok((root, last))
}

/// The records of the log in `path`. Without its mark, which is made before anything counts, it is `lost`: what
/// stands there can be less than there was, or what a crash left of another file.
fn read_log(disk: &Disk, path: &Path, lost: Corruption) -> Result<wal::Salvage> {
    match wal::Options::new().disk(disk.clone()).salvage(path) {
        Ok(records) if records.has_superblock() => Ok(records),
        Ok(_)
        | Err(wal::Error::Corrupt {
            reason: wal::Corruption::SuperblockLost,
            ..
        }) => Err(Error::corrupt(&mark(path), lost)),
        Err(error) => Err(error.into()),
    }
}

/// Reads the log into the memtables; the last version in it.
fn replay(disk: &Disk, path: &Path, root: &Root, catalog: &Catalog) -> Result<u64> {
    let path = &log_path(path);
    let known = Known::new(root, catalog);
    let (mut first, mut last) = (None, root.floor);
    for record in read_log(disk, path, Corruption::LogLost)? {
        let Record { lsn, payload } = record?;
        first.get_or_insert(lsn);
        last = lsn;
        if lsn <= root.floor {
            continue;
        }
        if let Whose::Tree(tree, record) = known.find(lsn, &payload, path)? {
            insert(&tree.peek(), &record, &payload, lsn.0);
        }
    }
    check_bounds(first.unwrap_or(last.next()), last, root, path)?;
    Ok(last.0)
}
