//! Replay: the records of the log that are in no table become memtables again.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use wal::{Lsn, Opening};

use crate::error::{Corruption, Error, Result};
use crate::manifest::Root;
use crate::names::log_path;
use crate::names::mark;
use crate::record::Record;
use crate::stats::{Progress, Recovery};
use crate::store::{Catalog, Store};
use crate::tree::Tree;
use crate::write::insert;

/// Whether every record behind `floor` can be read, and is an operation of a keyspace that there is or was:
/// the replay may have to flush, and so to change the store, before it has read all of them.
pub(crate) fn check_records(log: &Opening, known: &Known, floor: Lsn, path: &Path) -> Result<()> {
    let path = log_path(path);
    let mut records = log.records(floor.next());
    while let Some((location, payload)) = records.read()? {
        known.find(location.lsn(), payload, &path)?;
    }
    Ok(())
}

/// Reads the log into the memtables, from the first record on that may be in no table.
pub(crate) fn replay(store: &Store, recovery: &mut Recovery) -> Result<()> {
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
            store.options.progress.report(Progress {
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
