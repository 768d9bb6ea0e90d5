//! Opening: what the root names counts, and the rest is removed ([format], section 5).
//!
//! [format]: crate::format

use std::collections::BTreeMap;
use std::path::Path;

use durable_io::engine::{StoreDir, open_store};
use durable_io::{Dir, made_durable};
use lsm::{BackupOptions, KeyspaceOptions, Lsm};

use super::KEYSPACE;
use super::applied::Applied;
use super::changes::Open;
use super::names;
use super::options::Options;
use super::root::{Root, SnapshotEntry};
use super::state_machine::Recovery;
use crate::error::{Corruption, Error, Result};

pub(super) struct Opened {
    pub(super) dir: StoreDir,
    pub(super) root: Root,
    pub(super) store: Open,
    pub(super) applied: Applied,
    pub(super) next: u64,
    pub(super) recovery: Recovery,
}

pub(super) fn open(options: &Options, path: &Path) -> Result<Opened> {
    // Durable: the directory's own name. Only now may anything in it be relied on.
    // Redundant: the store is a directory in it, and making that syncs this name, too.
    let dir = open_store(&options.disk, path, names::LOCK)?;
    // Durable: the root, which a killed process may have replaced and not synced. Only now may anything that it
    // does not name be removed.
    dir.dir().sync()?;
    let mut recovery = Recovery::default();
    let found = Root::read(dir.dir())?;
    recovery.created = found.is_none();
    let mut root = found.map_or_else(|| create(options, dir.dir()), Ok)?;
    let mut next = root.snapshot.as_ref().map_or(0, |entry| entry.number);
    next = next.max(root.store) + 1;
    for name in our_names(dir.dir())? {
        next = next.max(names::number(&name).map_or(0, |number| number + 1));
        if !root.names(&name) {
            remove(dir.dir(), &name)?;
            recovery.removed += 1;
        }
    }
    let mut found = find_store(options, path, &dir, &root)?;
    if found.is_none() {
        let entry = root.snapshot.clone();
        let entry = entry.expect("only where there is a snapshot a store is missing");
        let old = names::store(root.store);
        found = Some(restore(options, path, &entry, next)?);
        root = root.next(next, entry);
        // Durable: that the store which was made of the snapshot counts. Only now may the old one go.
        root.write(dir.dir())?;
        remove(dir.dir(), &old)?;
        next += 1;
        recovery.installed = true;
    }
    let (store, applied) = found.expect("it was there, or made");
    Ok(Opened {
        dir,
        root,
        store,
        applied,
        next,
        recovery,
    })
}

/// The first root of a directory in which nothing is.
fn create(options: &Options, dir: &Dir) -> Result<Root> {
    if our_names(dir)?
        .iter()
        .any(|name| names::number(name).is_some())
    {
        let root = dir.path().join(names::ROOT);
        return Err(Error::corrupt(&root, Corruption::RootLost));
    }
    let root = Root::first(options.disk.unique_id()?);
    // Durable: the root. Only now may there be a store, which without it would be taken for a left-over.
    root.write(dir)?;
    Ok(root)
}

fn our_names(dir: &Dir) -> Result<Vec<String>> {
    let names = dir.list()?.into_iter().map(|entry| entry.name);
    Ok(names.filter(|name| names::is_ours(name)).collect())
}

/// The store that `root` names; `None` if it is not there, or older than the snapshot.
fn find_store(
    options: &Options,
    path: &Path,
    dir: &StoreDir,
    root: &Root,
) -> Result<Option<(Open, Applied)>> {
    let is_there = match dir.dir().open_dir(&names::store(root.store)) {
        Ok(_) => true,
        Err(error) if error.is_not_found() => false,
        Err(error) => return Err(error.into()),
    };
    // Without a snapshot nothing was purged: all entries are there, and are applied again.
    if !is_there && root.snapshot.is_some() {
        return Ok(None);
    }
    let (store, applied) = open_machine(options, path, root.store)?;
    let snapshot = root.snapshot.as_ref();
    let is_older = snapshot.is_some_and(|entry| applied.index() < entry.state.index());
    Ok((!is_older).then_some((store, applied)))
}

/// Opens store `number`, and reads what was applied to it.
pub(super) fn open_machine(options: &Options, path: &Path, number: u64) -> Result<(Open, Applied)> {
    let path = path.join(names::store(number));
    let store = options.of_store().open(&path)?;
    let own = keyspace(&store, KEYSPACE, &KeyspaceOptions::new())?;
    let mut keyspaces = BTreeMap::new();
    for (name, options) in &options.keyspaces {
        keyspaces.insert(name.clone(), keyspace(&store, name, options)?);
    }
    let applied = Applied::read(&store.snapshot()?.view(&own)?, &path)?;
    let open = Open {
        number,
        store,
        own,
        keyspaces,
    };
    Ok((open, applied))
}

fn keyspace(store: &Lsm, name: &str, options: &KeyspaceOptions) -> Result<lsm::Keyspace> {
    match store.keyspace(name) {
        Err(lsm::Error::NoKeyspace { .. }) => Ok(store.create_keyspace(name, options)?),
        other => Ok(other?),
    }
}

/// Makes store `number` of the snapshot `entry`, whose every byte is checked.
fn restore(
    options: &Options,
    path: &Path,
    entry: &SnapshotEntry,
    number: u64,
) -> Result<(Open, Applied)> {
    let snapshot = path.join(names::snapshot(entry.number));
    // If it is missing it must not be made.
    options.disk.open_dir(&snapshot)?;
    let store = options.of_store().open(&snapshot)?;
    check_whole(&store)?;
    // Durable: all of the new store. Only now may a root name it.
    made_durable(|| store.backup(path.join(names::store(number)), &BackupOptions::new()))?;
    store.close()?;
    let (open, applied) = open_machine(options, path, number)?;
    if applied != entry.state {
        return Err(Error::corrupt(&snapshot, Corruption::OtherSnapshot));
    }
    Ok((open, applied))
}

/// Reads and checks every byte of `store`.
pub(super) fn check_whole(store: &Lsm) -> Result<()> {
    match store.verify()?.damage.into_iter().next() {
        None => Ok(()),
        Some(damage) => Err(damage.into()),
    }
}

/// Removes the file `name`, or the directory with all that is in it. A crash may bring back any of it.
pub(super) fn remove(dir: &Dir, name: &str) -> Result<()> {
    match dir.open_dir(name) {
        Ok(within) => {
            for entry in within.list()? {
                remove(&within, &entry.name)?;
            }
            Ok(dir.remove_dir(name)?)
        }
        Err(error) if error.is_not_found() => Ok(()),
        Err(_no_directory) => Ok(dir.remove(name)?),
    }
}
