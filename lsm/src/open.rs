//! Opening: what a crash may have left becomes a store again, and what no crash leaves is refused.
//!
//! Everything that says something about the store is read before anything is removed: the manifest, the
//! log, every table that the manifest names, and those that it does not name.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use durable_io::engine::{StoreDir, open_store};
use durable_io::{Dir, made_durable};
use sstable::{BlockCache, Table};
use wal::{Lsn, Wal};

use crate::batch::DEFAULT_SLOT;
use crate::error::{Corruption, Error, Result};
use crate::flush::{open_table, witness};
use crate::levels::Levels;
use crate::limits::{DEFAULT_KEYSPACE, DEFAULT_LOG_SEGMENT_SIZE};
use crate::manifest::{Change, KeyspaceEntry, Manifest, Root};
use crate::names;
use crate::options::{KeyspaceOptions, Options};
use crate::record::Record;
use crate::stats::{Progress, Recovery};
use crate::store::{Catalog, Opened, Store, log_path, manifest_path, mark, new_slot, tables_path};
use crate::tree::Tree;
use crate::write::insert;

/// The segment size of a manifest that is created without another one.
const MANIFEST_SEGMENT_SIZE: u64 = 256 << 10;

/// Opens the store in `path`, or creates it.
pub(crate) fn open(mut options: Options, path: &Path) -> Result<(Arc<Store>, Recovery)> {
    let disk = options.disk.clone();
    // Durable: the directory's own name. Only now may anything in it be relied on.
    // Redundant: the first directory that is made in it, that of the log, syncs this name too, before there
    // is anything that counts. It is here because the lock must be there before.
    let dir = open_store(&disk, path, names::LOCK)?;
    let has = Has::look(&dir)?;
    has.check(path)?;
    // Durable: the directory of the tables. Only now may a table be named.
    // Redundant: the directory of the log is made behind it, in the same one, and that syncs both names.
    let tables = disk.create_dir(tables_path(path))?;
    let (log, torn_bytes) = open_log(&options, path, has.log)?;
    let segment_size = options.manifest_segment_size;
    let segment_size = segment_size.or((!has.manifest).then_some(MANIFEST_SEGMENT_SIZE));
    let manifest = manifest_path(path);
    let (edits, root) = Manifest::open(&disk, &manifest, segment_size)?;
    let listing = list(&tables)?;
    let created = root.is_none();
    let root = match root {
        Some(root) => root,
        None if log.bounds() == (Lsn(1)..Lsn(1)) && !listing.iter().any(|file| !file.is_temp) => {
            new_root(&mut options)?
        }
        None => return Err(Error::corrupt(&mark(&manifest), Corruption::ManifestLost)),
    };
    check_range(&log, &root, path)?;
    let cache = BlockCache::new(options.block_cache);
    let generation = edits.bounds().end.previous();
    let catalog = Catalog {
        trees: trees(&root, &tables, &cache, generation)?,
    };
    let orphans = orphans(&listing, &root, &tables, generation)?;
    let highest = listing.iter().map(|file| file.number).max().unwrap_or(0);
    let mut manifest = Manifest::new(edits, root);
    if created {
        // Durable: the first edit, and the log before it. Only now is there a store.
        manifest.create()?;
    }
    let mut recovery = Recovery {
        created,
        torn_bytes,
        tables: catalog
            .trees
            .iter()
            .map(|tree| tree.state().levels.tables.len() as u64)
            .sum(),
        ..Recovery::default()
    };
    let store = Store::new(Opened {
        path: path.to_owned(),
        dir,
        tables,
        log,
        next_table: manifest.root().next_table.max(highest + 1),
        manifest,
        catalog,
        cache,
        options,
    });
    replay(&store, &mut recovery)?;
    // Everything was read, and is right: what a crash left unfinished may go.
    for name in orphans {
        store.tables.remove(&name)?;
        recovery.removed_files += 1;
    }
    change_options(&store)?;
    store.retire_log()?;
    store.hold_reserve()?;
    Ok((Arc::new(store), recovery))
}

/// Which parts of a store are there.
struct Has {
    log: bool,
    manifest: bool,
}

impl Has {
    fn look(dir: &StoreDir) -> Result<Self> {
        let has = |name: &str| -> Result<bool> {
            let dir = match dir.dir().open_dir(name) {
                Err(error) if error.is_not_found() => return Ok(false),
                other => other?,
            };
            let listed = dir.list()?;
            Ok(listed
                .iter()
                .any(|entry| entry.name == "mark" || entry.name.strip_suffix(".wal").is_some()))
        };
        Ok(Self {
            log: has(names::LOG)?,
            manifest: has(names::MANIFEST)?,
        })
    }

    /// The log of a store is made, durably, before its manifest.
    fn check(&self, path: &Path) -> Result<()> {
        if self.manifest && !self.log {
            return Err(Error::corrupt(&mark(&log_path(path)), Corruption::LogLost));
        }
        Ok(())
    }
}

fn open_log(options: &Options, path: &Path, is_there: bool) -> Result<(Wal, u64)> {
    let mut log = wal::Options::new()
        .sync(options.sync)
        .background(options.background)
        .disk(options.disk.clone());
    let size = options.log_segment_size;
    if let Some(size) = size.or((!is_there).then_some(DEFAULT_LOG_SEGMENT_SIZE)) {
        log = log.segment_size(size);
    }
    // Durable: what is in the log, also what a killed process had written and not synced. Only now may
    // anything be concluded from it.
    let log = made_durable(|| log.open(log_path(path)))?;
    let torn = match log.recovery().tail {
        wal::Tail::Torn { bytes } => bytes,
        _ => 0,
    };
    Ok((log, torn))
}

/// What a store begins with.
fn new_root(options: &mut Options) -> Result<Root> {
    let wanted = options.keyspaces.get(DEFAULT_KEYSPACE);
    let default = KeyspaceEntry {
        name: DEFAULT_KEYSPACE.to_owned(),
        options: wanted.map_or_else(KeyspaceOptions::new, KeyspaceOptions::clone),
        flushed: Lsn(0),
        tables: BTreeMap::new(),
    };
    Ok(Root {
        store_id: options.disk.unique_id()?,
        next_keyspace: 1,
        next_table: 1,
        floor: Lsn(0),
        keyspaces: BTreeMap::from([(0, default)]),
    })
}

/// The log has everything that is in no table, and everything that the manifest knows of.
pub(crate) fn check_bounds(first: Lsn, last: Lsn, root: &Root, path: &Path) -> Result<()> {
    let (floor, seen) = (root.floor, root.seen());
    if first.previous() <= floor && seen <= last {
        return Ok(());
    }
    let reason = Corruption::LogRange {
        first,
        last,
        floor,
        seen,
    };
    Err(Error::corrupt(&mark(&log_path(path)), reason))
}

fn check_range(log: &Wal, root: &Root, path: &Path) -> Result<()> {
    let bounds = log.bounds();
    check_bounds(bounds.start, bounds.end.previous(), root, path)
}

/// A file in the directory of the tables.
pub(crate) struct Listed {
    name: String,
    number: u64,
    is_temp: bool,
}

pub(crate) fn list(tables: &Dir) -> Result<Vec<Listed>> {
    let mut listing: Vec<Listed> = Vec::new();
    for entry in tables.list()? {
        if let Some((number, is_temp)) = names::parse_table(&entry.name) {
            let name = entry.name;
            listing.push(Listed {
                name,
                number,
                is_temp,
            });
        }
    }
    listing.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(listing)
}

/// The keyspaces, with their tables open.
pub(crate) fn trees(
    root: &Root,
    tables: &Dir,
    cache: &BlockCache,
    generation: Lsn,
) -> Result<Vec<Arc<Tree>>> {
    let mut trees = Vec::new();
    for (&id, keyspace) in &root.keyspaces {
        let mut open = Vec::new();
        for entry in keyspace.tables.values() {
            let (live, made) = open_table(tables, cache, root.store_id, entry.clone())?;
            check_generation(generation, made, tables)?;
            open.push(live);
        }
        let levels = Levels::new(open);
        if let Some(live) = levels.tangle() {
            let path = tables.path().join(names::table(live.entry.number));
            return Err(Error::corrupt(&path, Corruption::Overlap));
        }
        let slot = if keyspace.name == DEFAULT_KEYSPACE {
            DEFAULT_SLOT
        } else {
            new_slot()
        };
        let (name, options) = (keyspace.name.clone(), keyspace.options.clone());
        trees.push(Arc::new(Tree::new(id, slot, name, options, levels)));
    }
    trees.sort_by_key(|tree| tree.slot);
    Ok(trees)
}

/// No table was written when a later edit was durable than there is.
fn check_generation(last: Lsn, seen: Lsn, tables: &Dir) -> Result<()> {
    if seen > last {
        let reason = Corruption::ManifestOlder { last, seen };
        let store = tables.path().parent().unwrap_or(tables.path());
        return Err(Error::corrupt(&mark(&manifest_path(store)), reason));
    }
    Ok(())
}

/// The names of those files that a crash left, or the removal of which it undid. Only what says that it
/// is of this store is: a file that cannot be read, or that somebody else put there, is left alone.
fn orphans(listing: &[Listed], root: &Root, tables: &Dir, generation: Lsn) -> Result<Vec<String>> {
    let mut orphans = Vec::new();
    let cache = BlockCache::new(0);
    for file in listing {
        let mut keyspaces = root.keyspaces.values();
        let is_named = keyspaces.any(|keyspace| keyspace.tables.contains_key(&file.number));
        if file.is_temp {
            orphans.push(file.name.clone());
            continue;
        }
        if is_named {
            continue;
        }
        let table = match Table::open(tables, &file.name, &cache) {
            Ok(table) => table,
            Err(sstable::Error::Disk(error)) => return Err(error.into()),
            Err(_) => continue,
        };
        if let Some((store, made)) = witness(&table)
            && store == root.store_id
        {
            check_generation(generation, made, tables)?;
            orphans.push(file.name.clone());
        }
    }
    Ok(orphans)
}

/// Reads the log into the memtables, from the first record on that may be in no table.
fn replay(store: &Store, recovery: &mut Recovery) -> Result<()> {
    let (floor, known) = {
        let manifest = store.health.lock(&store.manifest);
        (
            manifest.root().floor,
            Known::new(manifest.root(), &store.catalog()),
        )
    };
    let bounds = store.log.bounds();
    let mut records = store.log.records(floor.next());
    let total = bounds.end.0.saturating_sub(floor.0 + 1);
    let mut done = 0;
    while let Some((location, payload)) = records.read()? {
        let lsn = location.lsn();
        done += 1;
        match known.find(lsn, payload, &store.log_path())? {
            Whose::Tree(tree, record) => {
                insert(&tree.peek(), &record, payload, lsn.0);
                recovery.replayed_records += 1;
                recovery.replayed_bytes += payload.len() as u64;
                store.throttle.note_logged(payload.len() as u64, lsn.0);
                if tree.peek().active.bytes() >= store.options.memtable_size {
                    store
                        .sequence
                        .publish(&(store.sequence.visible() + 1..lsn.0 + 1));
                    tree.freeze(lsn);
                    recovery.flushes += flush(store)?;
                }
            }
            Whose::InTables => recovery.passed_records += 1,
            Whose::Gone => recovery.gone_records += 1,
        }
        if done % 4096 == 0 {
            let (records_done, records) = (done, total);
            store.options.progress.tell(Progress {
                records_done,
                records,
            });
        }
    }
    let visible = store.sequence.visible();
    if visible + 1 < bounds.end.0 {
        store.sequence.publish(&(visible + 1..bounds.end.0));
    }
    Ok(())
}

/// Flushes what was frozen; without space for that, it stays in memory. How many were.
fn flush(store: &Store) -> Result<u64> {
    let before = store.counters.flushes();
    match store.flush_one() {
        Err(error) if error.is_no_space() => {}
        other => drop(other?),
    }
    Ok(store.counters.flushes() - before)
}

/// What is to be done with a record of the log.
pub(crate) enum Whose<'a, 'r> {
    /// It is to be read into the memtable of its keyspace.
    Tree(&'a Tree, Record<'r>),
    /// It is in a table.
    InTables,
    /// Its keyspace is gone.
    Gone,
}

/// Whose the records of the log are.
pub(crate) struct Known {
    /// By id, and up to where everything is in tables.
    trees: BTreeMap<u32, (Arc<Tree>, Lsn)>,
    next_id: u32,
}

impl Known {
    pub(crate) fn new(root: &Root, catalog: &Catalog) -> Self {
        let trees = catalog.trees.iter().filter_map(|tree| {
            let flushed = root.keyspaces.get(&tree.id)?.flushed;
            Some((tree.id, (Arc::clone(tree), flushed)))
        });
        Self {
            trees: trees.collect(),
            next_id: root.next_keyspace,
        }
    }

    /// Whose the record is that is `payload`.
    pub(crate) fn find<'r>(
        &self,
        lsn: Lsn,
        payload: &'r [u8],
        path: &Path,
    ) -> Result<Whose<'_, 'r>> {
        let Some(record) = Record::decode(payload) else {
            return Err(Error::corrupt(&mark(path), Corruption::Record { lsn }));
        };
        let id = record.keyspace;
        match self.trees.get(&id) {
            Some((tree, flushed)) if lsn > *flushed => Ok(Whose::Tree(tree, record)),
            Some(_) => Ok(Whose::InTables),
            None if id < self.next_id => Ok(Whose::Gone),
            None => Err(Error::corrupt(
                &mark(path),
                Corruption::UnknownKeyspace { lsn, id },
            )),
        }
    }
}

/// Keeps the options of keyspaces that were given otherwise.
fn change_options(store: &Store) -> Result<()> {
    let wanted = &store.options.keyspaces;
    let mut manifest = store.health.lock(&store.manifest);
    let mut catalog = Catalog::clone(&store.catalog());
    let mut changes = Vec::new();
    for tree in &mut catalog.trees {
        let options: Option<&KeyspaceOptions> = wanted.get(&tree.name);
        let Some(options) = options.filter(|options| **options != tree.options) else {
            continue;
        };
        let (id, options) = (tree.id, options.clone());
        changes.push(Change::Options {
            id,
            options: options.clone(),
        });
        *tree = Arc::new(tree.with_options(options));
    }
    if !changes.is_empty() {
        // Durable: the edit. Only now are they the keyspaces' options.
        manifest.commit(&changes)?;
        store.set_catalog(catalog);
    }
    Ok(())
}
