//! Opening: what a crash may have left becomes a store again, and what no crash leaves is refused.
//!
//! Everything that says something about the store is read before anything is changed: the manifest, the
//! log, every table that the manifest names, and those that it does not name. Each can be all right and still
//! be of another moment than the others; what is refused stays as it was.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use durable_io::engine::open_store;
use durable_io::{Dir, Disk, made_durable};
use sstable::{BlockCache, Table};
use wal::{Lsn, Opening};

use crate::error::{Corruption, Error, Result};
use crate::flush::{open_table, witness};
use crate::levels::Levels;
use crate::limits::{DEFAULT_KEYSPACE, DEFAULT_LOG_SEGMENT_SIZE};
use crate::manifest::{Change, KeyspaceEntry, Looked, Manifest, Root};
use crate::names;
use crate::names::log_path;
use crate::names::manifest_path;
use crate::names::mark;
use crate::names::tables_path;
use crate::options::{KeyspaceOptions, Options};
use crate::replay::{Known, check_records, replay};
use crate::stats::Recovery;
use crate::store::{Catalog, Opened, Store, new_slot};
use crate::tree::DEFAULT_SLOT;
use crate::tree::Tree;

/// Opens the store in `path`, or creates it.
pub(crate) fn open(mut options: Options, path: &Path) -> Result<(Arc<Store>, Recovery)> {
    let disk = options.disk.clone();
    // Durable: the directory's own name. Only now may anything in it be relied on.
    // Redundant: the first directory that is made in it, that of the tables, syncs this name too, before
    // there is anything that counts. It is here because the lock must be there before.
    let dir = open_store(&disk, path, names::LOCK)?;
    let cache = BlockCache::new(options.block_cache);
    let found = Found::look(&mut options, path, &cache)?;
    // Everything was read, and is right: only from here on anything is changed.
    // Durable: the directory of the tables. Only now may a table be named.
    // Redundant: the directory of the log is made behind it, in the same one, and that syncs both names.
    let tables = disk.create_dir(tables_path(path))?;
    // Durable: what is in the log, also what a killed process had written and not synced. Only now may
    // anything be concluded from it.
    let log = made_durable(|| found.log.open())?;
    // Durable: the edits, also those that a killed process had not synced. Only now may anything be
    // done on their word.
    let edits = made_durable(|| found.edits.open())?;
    let mut manifest = Manifest::new(edits, found.root);
    if found.is_new {
        // Durable: the first edit, and the log before it. Only now is there a store.
        manifest.create()?;
    }
    let torn_bytes = match log.recovery().tail {
        wal::Tail::Torn { bytes } => bytes,
        _ => 0,
    };
    let mut recovery = Recovery {
        created: found.is_new,
        torn_bytes,
        cut_edits: found.cut_edits,
        tables: found
            .catalog
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
        next_table: manifest.root().next_table.max(found.highest_table + 1),
        manifest,
        catalog: found.catalog,
        cache,
        options,
    });
    replay(&store, &mut recovery)?;
    for name in found.orphans {
        store.tables.remove(&name)?;
        recovery.removed_files += 1;
    }
    change_options(&store)?;
    store.retire_log()?;
    store.hold_reserve()?;
    Ok((Arc::new(store), recovery))
}

/// What there is of a store. It belongs together, and nothing was changed.
struct Found {
    log: Opening,
    edits: Opening,
    cut_edits: u64,
    root: Root,
    /// There was no store.
    is_new: bool,
    catalog: Catalog,
    /// Files to be removed.
    orphans: Vec<String>,
    highest_table: u64,
}

impl Found {
    fn look(options: &mut Options, path: &Path, cache: &BlockCache) -> Result<Self> {
        let log = log_options(options).look(log_path(path))?;
        let manifest = manifest_path(path);
        let Looked {
            edits,
            root,
            cut_edits,
        } = Manifest::look(options, &manifest)?;
        if log.is_new() && !edits.is_new() {
            // The log of a store is made, durably, before its manifest.
            return Err(Error::corrupt(&mark(&log_path(path)), Corruption::LogLost));
        }
        let tables = open_tables(&options.disk, path)?;
        let listing = tables.as_ref().map_or(Ok(Vec::new()), list)?;
        let is_new = root.is_none();
        let root = match root {
            Some(root) => root,
            None if log.bounds() == (Lsn(1)..Lsn(1))
                && !listing.iter().any(|file| !file.is_temp) =>
            {
                new_root(options)?
            }
            None => return Err(Error::corrupt(&mark(&manifest), Corruption::ManifestLost)),
        };
        let bounds = log.bounds();
        check_bounds(bounds.start, bounds.end.previous(), &root, path)?;
        let generation = edits.bounds().end.previous();
        let catalog = Catalog {
            trees: trees(&root, tables.as_ref(), path, cache, generation)?,
        };
        check_records(&log, &Known::new(&root, &catalog), root.floor, path)?;
        Ok(Self {
            orphans: match &tables {
                Some(tables) => orphans(&listing, &root, tables, generation)?,
                None => Vec::new(),
            },
            highest_table: listing.iter().map(|file| file.number).max().unwrap_or(0),
            log,
            edits,
            cut_edits,
            root,
            is_new,
            catalog,
        })
    }
}

/// How the log of a store with `options` is opened, or created.
pub(crate) fn log_options(options: &Options) -> wal::Options {
    let log = wal::Options::new()
        .sync(options.sync)
        .background(options.background)
        .disk(options.disk.clone())
        .new_segment_size(DEFAULT_LOG_SEGMENT_SIZE);
    match options.log_segment_size {
        Some(size) => log.segment_size(size),
        None => log,
    }
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

/// The directory of the tables of the store in `path`; `None` if a crash came before it was made, or it is lost.
pub(crate) fn open_tables(disk: &Disk, path: &Path) -> Result<Option<Dir>> {
    match disk.open_dir(tables_path(path)) {
        Err(error) if error.is_not_found() => Ok(None),
        tables => Ok(Some(tables?)),
    }
}

/// A file in the directory of the tables.
pub(crate) struct Listed {
    name: String,
    pub(crate) number: u64,
    pub(crate) is_temp: bool,
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

/// The keyspaces of the store in `path`, with their tables, which are in the directory `tables`, open.
pub(crate) fn trees(
    root: &Root,
    tables: Option<&Dir>,
    path: &Path,
    cache: &BlockCache,
    generation: Lsn,
) -> Result<Vec<Arc<Tree>>> {
    let path_of = |number| tables_path(path).join(names::table(number));
    let mut trees = Vec::new();
    for (&id, keyspace) in &root.keyspaces {
        let mut open = Vec::new();
        for entry in keyspace.tables.values() {
            let missing = || Error::corrupt(&path_of(entry.number), Corruption::MissingTable);
            let tables = tables.ok_or_else(missing)?;
            let (live, made) = open_table(tables, cache, root.store_id, entry.clone())?;
            check_generation(generation, made, tables)?;
            open.push(live);
        }
        let levels = Levels::new(open);
        if let Some(live) = levels.tangle() {
            return Err(Error::corrupt(
                &path_of(live.entry.number),
                Corruption::Overlap,
            ));
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
        if let Some((store, made)) = witness(table.properties())
            && store == root.store_id
        {
            check_generation(generation, made, tables)?;
            orphans.push(file.name.clone());
        }
    }
    Ok(orphans)
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
