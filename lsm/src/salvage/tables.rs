//! The tables that are there, and what of them is known before their blocks are read.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::path::Path;

use durable_io::Dir;
use durable_io::engine::LostKeys;
use sstable::{RangeTombstone, Table};
use wal::Lsn;

use crate::error::{Corruption, Error, Lost};
use crate::flush::{made_for, witness};
use crate::manifest::{Root, TableEntry};
use crate::names;
use crate::names::manifest_path;
use crate::names::mark;
use crate::names::tables_path;
use crate::open::list;
use crate::salvage::Newer;
use crate::salvage::manifest::Edits;

/// A table that something can be read of.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) dir: Dir,
    pub(super) name: String,
    /// As the manifest has it.
    pub(super) file_id: Option<u64>,
    /// Its first key, and where it ends; `None` if that is lost.
    pub(super) range: Option<(Vec<u8>, Bound<Vec<u8>>)>,
    /// No version in it is larger.
    pub(super) newest: u64,
    /// Tables with a larger one are older.
    pub(super) rank: usize,
}

impl Found {
    /// The keys that it has something of.
    pub(super) fn keys(&self) -> LostKeys {
        let keys = |(first, last): (Vec<u8>, _)| LostKeys {
            first: Bound::Included(first),
            last,
        };
        self.range.clone().map_or(LostKeys::ALL, keys)
    }
}

/// What the tables of a keyspace are.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) found: Vec<Found>,
    pub(super) range_tombstones: Vec<RangeTombstone>,
    pub(super) lost: Vec<Newer>,
}

/// What a table says of itself.
struct Looked {
    found: Found,
    range_tombstones: Vec<RangeTombstone>,
    /// The file's own id, the store that it is of, and the edit that was durable when it was begun.
    id: Option<u64>,
    witness: Option<(u64, Lsn)>,
    keyspace: Option<u32>,
}

/// Looks at every table in the directory `tables`; by keyspace, those that count. If one of them is newer than
/// the manifest, that is not whole.
pub(super) fn look(
    tables: Option<Dir>,
    path: &Path,
    manifest: &mut Edits,
    told: &mut VecDeque<Error>,
) -> BTreeMap<u32, Tables> {
    let named = entries(manifest.root.as_ref());
    let mut looked = BTreeMap::new();
    if let Some(dir) = tables {
        let listing = list(&dir).unwrap_or_else(|error| {
            told.push_back(error);
            Vec::new()
        });
        let numbers = listing.iter().filter(|file| !file.is_temp);
        let numbers = numbers.map(|file| file.number);
        for number in numbers.chain(named.keys().copied()) {
            let entry = named.get(&number).map(|(_, entry)| entry);
            looked
                .entry(number)
                .or_insert_with(|| look_at(&dir, number, entry));
        }
    }
    let seen = looked
        .values()
        .filter_map(|table| table.as_ref().ok()?.witness);
    if let Some(root) = manifest.whole() {
        let of_store = seen.filter(|(store, _)| *store == root.store_id);
        let seen = of_store.map(|(_, made)| made).max();
        if let Some(seen) = seen.filter(|seen| *seen > manifest.generation) {
            let last = manifest.generation;
            let reason = Corruption::ManifestOlder { last, seen };
            told.push_back(Error::corrupt(&mark(&manifest_path(path)), reason));
            manifest.is_whole = false;
        }
    }
    match manifest.whole() {
        Some(root) => of_root(root, looked, path, manifest, told),
        None => of_all(&named, looked, path, manifest, told),
    }
}

/// The tables that `root` names, by number, with their keyspaces.
fn entries(root: Option<&Root>) -> BTreeMap<u64, (u32, TableEntry)> {
    let keyspaces = root.into_iter().flat_map(|root| &root.keyspaces);
    let entries = keyspaces.flat_map(|(&id, keyspace)| {
        let tables = keyspace.tables.values();
        tables.map(move |entry| (entry.number, (id, entry.clone())))
    });
    entries.collect()
}

fn look_at(dir: &Dir, number: u64, entry: Option<&TableEntry>) -> sstable::Result<Looked> {
    let name = names::table(number);
    let file_id = entry.map(|entry| entry.file_id);
    let salvage = match file_id {
        Some(id) => Table::salvage_as(dir, &name, id)?,
        None => Table::salvage(dir, &name)?,
    };
    let properties = salvage.properties();
    let found = Found {
        dir: dir.clone(),
        name,
        file_id,
        range: properties.map(|all| (all.first.clone(), all.last.clone())),
        newest: properties.map_or(u64::MAX, |all| all.newest_version),
        rank: 0,
    };
    Ok(Looked {
        found,
        range_tombstones: salvage.range_tombstones().to_vec(),
        id: salvage.file_id(),
        witness: properties.and_then(witness),
        keyspace: properties.and_then(made_for),
    })
}

/// The tables of a store whose manifest is whole: those that it names.
fn of_root(
    root: &Root,
    mut looked: BTreeMap<u64, sstable::Result<Looked>>,
    path: &Path,
    manifest: &Edits,
    told: &mut VecDeque<Error>,
) -> BTreeMap<u32, Tables> {
    let mut all = BTreeMap::new();
    for (&id, keyspace) in &root.keyspaces {
        let mut tables = Tables::default();
        let mut entries: Vec<_> = keyspace.tables.values().collect();
        entries.sort_by_key(|entry| (entry.level, Reverse(entry.run)));
        for (nth, entry) in entries.into_iter().enumerate() {
            let rank = nth + 1;
            match right(entry, looked.remove(&entry.number), root, path) {
                Ok(mut looked) => {
                    looked.found.rank = rank;
                    looked.found.newest = looked.found.newest.min(keyspace.flushed.0);
                    tables.found.push(looked.found);
                    tables.range_tombstones.extend(looked.range_tombstones);
                }
                Err(source) => {
                    told.push_back(Error::Lost(Box::new(Lost {
                        keyspace: manifest.keyspace(id),
                        what: "entries",
                        keys: LostKeys::ALL,
                        source,
                    })));
                    tables.lost.push(Newer {
                        keys: LostKeys::ALL,
                        version: keyspace.flushed.0,
                        rank,
                    });
                }
            }
        }
        all.insert(id, tables);
    }
    all
}

/// The table `entry`, if `looked` is that.
fn right(
    entry: &TableEntry,
    looked: Option<sstable::Result<Looked>>,
    root: &Root,
    path: &Path,
) -> Result<Looked, Error> {
    let wrong = |reason| {
        let path = tables_path(path).join(names::table(entry.number));
        Error::corrupt(&path, reason)
    };
    let looked = match looked {
        None => return Err(wrong(Corruption::MissingTable)),
        Some(Err(sstable::Error::Disk(error))) if error.is_not_found() => {
            return Err(wrong(Corruption::MissingTable));
        }
        Some(looked) => looked?,
    };
    let is_of_store = looked
        .witness
        .is_none_or(|(store, _)| store == root.store_id);
    if looked.id == Some(entry.file_id) && is_of_store {
        Ok(looked)
    } else {
        Err(wrong(Corruption::ForeignTable))
    }
}

/// The tables of a store of which no manifest says everything: all that there are, by what each says itself, or by
/// what the edits say that can be read.
fn of_all(
    named: &BTreeMap<u64, (u32, TableEntry)>,
    looked: BTreeMap<u64, sstable::Result<Looked>>,
    path: &Path,
    manifest: &Edits,
    told: &mut VecDeque<Error>,
) -> BTreeMap<u32, Tables> {
    let store = manifest.root.as_ref().map(|root| root.store_id);
    let mut all: BTreeMap<u32, Tables> = BTreeMap::new();
    for (number, looked) in looked {
        let looked = match looked {
            Ok(looked) => looked,
            // Given up since, as nothing says any more.
            Err(sstable::Error::Disk(error)) if error.is_not_found() => continue,
            Err(error) => {
                told.push_back(error.into());
                continue;
            }
        };
        let is_foreign = looked.witness.zip(store);
        if is_foreign.is_some_and(|((of, _), store)| of != store) {
            continue;
        }
        let id = named.get(&number).map(|(id, _)| *id).or(looked.keyspace);
        let Some(id) = id else {
            let path = tables_path(path).join(names::table(number));
            told.push_back(Error::corrupt(&path, Corruption::NobodysTable));
            continue;
        };
        let tables = all.entry(id).or_default();
        tables.found.push(looked.found);
        tables.range_tombstones.extend(looked.range_tombstones);
    }
    all
}
