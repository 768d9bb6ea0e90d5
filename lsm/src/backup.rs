//! Backups: the store as it is at one moment, in a directory of its own.
//!
//! Tables, which are written once, get one more name there or are copied; the log and the manifest, which
//! are written in place, are made anew. The order on the disk: the tables' bytes, their names, the log, and
//! only then the manifest, without which the directory is no store.

use std::collections::BTreeMap;
use std::path::Path;

use durable_io::engine::{Backup, BackupOptions, BackupReport, Taken, open_empty_store, take_file};
use durable_io::{Background, Dir, SyncMode, made_durable};
use sstable::BlockCache;
use wal::Lsn;

use crate::error::{Corruption, Error, Result};
use crate::flush::open_table;
use crate::manifest::{Manifest, Root, TableEntry};
use crate::names;
use crate::names::log_path;
use crate::names::manifest_path;
use crate::names::tables_path;
use crate::open::{log_options, open_tables};
use crate::read_only::read_manifest;
use crate::store::{Catalog, Store};

/// The store as it is at one moment: everything up to its version is in tables that stay where they are, and
/// nothing else is.
struct Moment<'a> {
    root: Root,
    /// The last edit of the manifest.
    generation: Lsn,
    _kept: Kept<'a>,
}

/// No table is removed while this is there.
struct Kept<'a>(&'a Store);

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        self.0.end_keeping();
    }
}

impl Store {
    /// Makes a backup in the directory `path`.
    pub(crate) fn backup(&self, path: &Path, options: &BackupOptions) -> Result<BackupReport> {
        self.check_healthy()?;
        // Durable: the directory's own name. Only now may anything in it be relied on.
        // Redundant: the directory of the tables is made in it, and that syncs this name too.
        let _target = open_empty_store(&self.disk, path, names::LOCK)?;
        let previous = options
            .previous()
            .map(|path| self.previous(path))
            .transpose()?;
        let moment = self.moment()?;
        let version = moment.root.floor;
        // Durable: the directory of the tables. Only now may one be named.
        // Redundant: the directory of the log is made behind it, in the same one, and that syncs both names.
        let tables_dir = self.disk.create_dir(tables_path(path))?;
        let mut backup = Backup::new(options);
        for keyspace in moment.root.keyspaces.values() {
            for entry in keyspace.tables.values() {
                let previous = previous
                    .as_ref()
                    .and_then(|previous| previous.find(entry, self.id));
                let name = names::table(entry.number);
                // Durable: the bytes, if it is copied. Only now may the manifest name it.
                let taken = take_file(&mut backup, &self.tables, &name, &tables_dir, previous)?;
                check(taken, entry, &self.tables.path().join(&name))?;
            }
        }
        // Durable: the names of the tables. Only now may the manifest name them.
        tables_dir.sync()?;
        let log = log_options(&self.options)
            .sync(SyncMode::Always)
            .background(Background::Inline)
            .first_lsn(version.next());
        // Durable: a log that begins behind the tables. Only now may there be a store that needs it.
        made_durable(|| log.open(log_path(path))?.close())?;
        // Durable: the manifest, with the first edit. Only now is there a store.
        made_durable(|| Manifest::copy(&self.options, path, moment.root, moment.generation))?;
        Ok(backup.report())
    }

    /// Brings everything up to now into tables, and keeps these.
    fn moment(&self) -> Result<Moment<'_>> {
        loop {
            // Held across I/O: what is written behind the moment gets into no table meanwhile.
            let flushing = self.health.lock(&self.flushing);
            let (version, catalog) = self.freeze_all();
            for tree in &catalog.trees {
                let is_due = || {
                    let state = tree.peek();
                    state
                        .frozen
                        .last()
                        .is_some_and(|frozen| frozen.bound <= version)
                };
                while is_due() && self.flush_oldest(tree, &flushing)? {}
            }
            let manifest = self.health.lock(&self.manifest);
            self.check_healthy()?;
            let mut root = manifest.root().clone();
            if !is_of(&root, &catalog) {
                // One was created, cleared or dropped meanwhile, perhaps after writes that are not in tables.
                continue;
            }
            // The floor is above it if all that came after was of a keyspace that is gone by now.
            root.floor = root.floor.max(version);
            for keyspace in root.keyspaces.values_mut() {
                keyspace.flushed = root.floor;
            }
            return Ok(Moment {
                root,
                generation: manifest.generation(),
                _kept: self.keep_tables(),
            });
        }
    }

    fn keep_tables(&self) -> Kept<'_> {
        self.begin_keeping();
        Kept(self)
    }

    /// The tables of the backup in `path`, and the directory that they are in.
    fn previous(&self, path: &Path) -> Result<Previous> {
        let (root, _) = read_manifest(&self.disk, &manifest_path(path))?;
        let dir = open_tables(&self.disk, path)?;
        let keyspaces = root.keyspaces.into_values();
        let tables = keyspaces.flat_map(|keyspace| keyspace.tables).collect();
        Ok(Previous {
            tables: if root.store_id == self.id {
                tables
            } else {
                BTreeMap::new()
            },
            dir,
        })
    }
}

/// A table that was copied must be the one that was written.
fn check(taken: Taken, entry: &TableEntry, path: &Path) -> Result<()> {
    match taken {
        Taken::Copied { bytes, checksum } if (bytes, checksum) != (entry.bytes, entry.checksum) => {
            Err(Error::corrupt(path, Corruption::ForeignTable))
        }
        _ => Ok(()),
    }
}

/// An earlier backup.
struct Previous {
    /// By number.
    tables: BTreeMap<u64, TableEntry>,
    dir: Option<Dir>,
}

impl Previous {
    /// Where it has the very table `entry` of the store `store_id`: by what is in it, not by its name.
    fn find(&self, entry: &TableEntry, store_id: u64) -> Option<&Dir> {
        let dir = self.dir.as_ref()?;
        let known = self.tables.get(&entry.number)?;
        let is_same = (known.file_id, known.bytes, known.checksum)
            == (entry.file_id, entry.bytes, entry.checksum);
        let is_there = open_table(dir, &BlockCache::new(0), store_id, entry.clone()).is_ok();
        (is_same && is_there).then_some(dir)
    }
}

/// True if the keyspaces of `root` are those of `catalog`.
fn is_of(root: &Root, catalog: &Catalog) -> bool {
    let mut ids: Vec<u32> = catalog.trees.iter().map(|tree| tree.id).collect();
    ids.sort_unstable();
    root.keyspaces.keys().copied().eq(ids)
}
