//! Flushes: memtables become tables, and the log before them is given up.
//!
//! The order on the disk: the table's bytes, its name, the log up to the last record in it, the edit; and
//! only then the log is retired.

use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use durable_io::engine::Step;
use durable_io::made_durable;
use sstable::compaction::{Action, Compaction, Job, Retention, TableMeta};
use sstable::{Properties, Source, Table, TableInfo, union};
use wal::Lsn;

use crate::cursor::AnyCursor;
use crate::error::{Corruption, Error, Result};
use crate::levels::LiveTable;
use crate::manifest::{Change, TableEntry};
use crate::memtable::MemtableCursor;
use crate::names;
use crate::store::Store;
use crate::tree::{Frozen, Tree};

/// The property of a table that says which store it is of, and which edit of the manifest was durable
/// when it was begun.
pub(crate) const PROPERTY: &[u8] = b"lsm";
/// The property of a table that says for which keyspace it was made: it is asked for when the manifest is lost.
const KEYSPACE_PROPERTY: &[u8] = b"lsm keyspace";

impl Store {
    /// Brings everything that was written to the keyspace of `slot`, or to all, into tables.
    pub(crate) fn flush(&self, slot: Option<u64>) -> Result<()> {
        self.check_healthy()?;
        let catalog = self.catalog_full();
        let trees: Vec<Arc<Tree>> = match slot {
            Some(slot) => vec![Arc::clone(catalog.find(slot)?)],
            None => catalog.trees.clone(),
        };
        for tree in &trees {
            self.freeze(tree);
        }
        for tree in &trees {
            while self.flush_tree(tree)? {}
        }
        Ok(())
    }

    /// One step of background work.
    pub(crate) fn flush_step(&self) -> Result<Step> {
        self.check_healthy()?;
        Ok(if self.flush_one()? {
            Step::Done
        } else {
            Step::Idle
        })
    }

    /// Flushes the memtable that has waited for it the longest; false if there is none.
    pub(crate) fn flush_one(&self) -> Result<bool> {
        let catalog = self.catalog_full();
        let waiting = catalog.trees.iter().filter_map(|tree| {
            let bound = tree.peek().frozen.last()?.bound;
            Some((bound, tree))
        });
        match waiting.min_by_key(|(bound, tree)| (*bound, tree.id)) {
            Some((_, tree)) => self.flush_tree(tree),
            None => Ok(false),
        }
    }

    /// Flushes the oldest memtable of `tree`; false if there is none, or the keyspace is gone.
    fn flush_tree(&self, tree: &Tree) -> Result<bool> {
        // Held across I/O: memtables become tables in their order.
        let flushing = self.health.lock(&self.flushing);
        self.flush_oldest(tree, &flushing)
    }

    /// The same, for whoever has the turn.
    pub(crate) fn flush_oldest(&self, tree: &Tree, _turn: &MutexGuard<'_, ()>) -> Result<bool> {
        self.check_healthy()?;
        let Some(frozen) = tree.peek().frozen.last().cloned() else {
            return Ok(false);
        };
        let begin = self.disk.now();
        let tables = self.with_reserve(|| self.write_memtable(tree, &frozen))?;
        if !self.with_reserve(|| self.publish_flush(tree, &frozen, &tables))? {
            // The keyspace is gone.
            self.remove_tables(tables.iter().map(|live| live.entry.number));
            return Ok(false);
        }
        let floor = self.retire_log()?;
        let time = self.disk.now().saturating_sub(begin);
        self.count_flush(&frozen, &tables, time, floor);
        self.compactions.notify();
        self.hold_reserve()?;
        Ok(true)
    }

    /// Writes what `frozen` has, durably: mostly one table, or none if nothing of it is seen any more.
    fn write_memtable(&self, tree: &Tree, frozen: &Frozen) -> Result<Vec<Arc<LiveTable>>> {
        let state = tree.state();
        let older = state.levels.tables.iter();
        let job = Job {
            action: Action::Merge,
            inputs: Vec::new(),
            input_bytes: frozen.table.bytes(),
            output_level: 0,
            // Newer than all others: numbers grow.
            output_run: self.next_table.load(std::sync::atomic::Ordering::Relaxed),
            output_bytes: u64::MAX,
            older: union(older.map(|live| live.meta.range.clone()).collect()),
        };
        let source = Source {
            cursor: AnyCursor::Memtable(MemtableCursor::new(&frozen.table)),
            range_tombstones: frozen.table.range_tombstones(),
        };
        self.merge(tree, &job, vec![source], |_| {})
    }

    /// Does the work of `job`: its outputs are durable then, and count for nothing yet.
    pub(crate) fn merge(
        &self,
        tree: &Tree,
        job: &Job,
        sources: Vec<Source<AnyCursor>>,
        mut progress: impl FnMut(u64),
    ) -> Result<Vec<Arc<LiveTable>>> {
        let generation = self.health.lock(&self.manifest).generation();
        let witness = [self.id, generation.0].map(u64::to_le_bytes);
        let options = tree
            .options
            .table()
            .property(PROPERTY, witness.as_flattened())
            .property(KEYSPACE_PROPERTY, tree.id.to_le_bytes());
        let mut numbers = Vec::new();
        let name = || {
            let number = self.new_table_number();
            numbers.push(number);
            names::table(number)
        };
        let is_stopped = || self.check_healthy().is_err();
        let compaction = Compaction::new(options)
            .retention(Retention::new().snapshots(self.snapshot_versions()))
            .progress(|so_far| {
                progress(so_far.bytes_written);
                if is_stopped() {
                    return std::ops::ControlFlow::Break(());
                }
                std::ops::ControlFlow::Continue(())
            });
        // Durable: the outputs, with their names. Only now may the manifest name them.
        let outputs = made_durable(|| compaction.run(job, sources, &self.tables, name))
            .map_err(|error| self.note(error.into()))?;
        let infos = outputs.into_iter().map(|(_, info)| info);
        let opened = numbers.iter().zip(infos).map(|(&number, info)| {
            let (level, run) = (job.output_level, job.output_run);
            self.open_table(entry(number, level, run, &info))
        });
        opened
            .collect::<Result<Vec<_>>>()
            .inspect_err(|_| self.remove_tables(numbers.iter().copied()))
    }

    /// Opens the table that the manifest names so, or will.
    pub(crate) fn open_table(&self, entry: TableEntry) -> Result<Arc<LiveTable>> {
        open_table(&self.tables, &self.cache, self.id, entry).map(|(live, _)| live)
    }

    /// Puts `tables` in the place of the oldest memtable of `tree`, durably; false if the keyspace is gone.
    fn publish_flush(
        &self,
        tree: &Tree,
        frozen: &Frozen,
        tables: &[Arc<LiveTable>],
    ) -> Result<bool> {
        // Durable: the log up to the last record in the tables, at least. Only now may an edit imply it:
        // else a power loss could take records back that later ones in tables came after.
        let durable = made_durable(|| self.log.sync()).map_err(|error| self.note(error.into()))?;
        // Held across I/O: edits are made one at a time.
        let mut manifest = self.health.lock(&self.manifest);
        self.check_healthy()?;
        if !self.catalog().has(tree) {
            return Ok(false);
        }
        let (id, lsn) = (tree.id, frozen.bound);
        debug_assert!(lsn <= durable, "what is frozen was acknowledged");
        let mut changes = vec![self.numbers(&manifest)];
        changes.extend(tables.iter().map(|live| Change::Add {
            id,
            table: live.entry.clone(),
        }));
        changes.push(Change::Flushed { id, lsn });
        let flushed = |other: &Tree| {
            if other.id != id {
                return other.first_unflushed();
            }
            let state = other.peek();
            let rest = state
                .frozen
                .iter()
                .rev()
                .skip(1)
                .map(|frozen| &frozen.table);
            let rest = rest.chain(std::iter::once(&state.active));
            rest.filter_map(|table| table.first_version()).min()
        };
        let floor = self.floor(durable, flushed).max(manifest.root().floor);
        changes.push(Change::Floor(floor));
        // Durable: the edit. Only now may the log up to the floor go, and the memtable.
        manifest
            .commit(&changes)
            .map_err(|error| self.note(error))?;
        tree.change(|state| {
            state.frozen.pop();
            state.levels = Arc::new(state.levels.replaced(&[], tables));
        });
        self.pinned.add(&frozen.table, frozen.table.bytes());
        Ok(true)
    }

    /// Gives up the part of the log that the manifest says is needed no more; the last record of it.
    pub(crate) fn retire_log(&self) -> Result<Lsn> {
        let floor = self.health.lock(&self.manifest).root().floor;
        // Durable: where the log begins. Only now may segments before it go.
        made_durable(|| self.log.truncate_before(floor.next()))
            .map_err(|error| self.note(error.into()))?;
        Ok(floor)
    }

    fn count_flush(&self, frozen: &Frozen, tables: &[Arc<LiveTable>], time: Duration, floor: Lsn) {
        let bytes = tables.iter().map(|live| live.entry.bytes).sum();
        self.counters.count_flush(bytes);
        self.throttle
            .note_flushed(frozen.table.bytes(), time, floor.0);
    }
}

/// How the manifest names the table `info`.
fn entry(number: u64, level: u32, run: u64, info: &TableInfo) -> TableEntry {
    TableEntry {
        number,
        level,
        run,
        file_id: info.file_id,
        bytes: info.file_bytes,
        checksum: info.checksum,
    }
}

/// Opens a table; with the edit that was durable when it was begun.
pub(crate) fn open_table(
    dir: &durable_io::Dir,
    cache: &sstable::BlockCache,
    store_id: u64,
    entry: TableEntry,
) -> Result<(Arc<LiveTable>, Lsn)> {
    let name = names::table(entry.number);
    let path = dir.path().join(&name);
    let table = Table::open(dir, &name, cache).map_err(|error| match error {
        sstable::Error::Disk(error) if error.is_not_found() => {
            Error::corrupt(&path, Corruption::MissingTable)
        }
        error => error.into(),
    })?;
    let witness = witness(table.properties()).filter(|(id, _)| *id == store_id);
    let is_right = table.file_id() == entry.file_id && table.file_bytes() == entry.bytes;
    let Some((_, generation)) = witness.filter(|_| is_right) else {
        return Err(Error::corrupt(&path, Corruption::ForeignTable));
    };
    let properties = table.properties();
    let meta = TableMeta {
        id: entry.number,
        level: entry.level,
        run: entry.run,
        bytes: entry.bytes,
        tombstones: properties
            .tombstones
            .saturating_add(properties.range_tombstones),
        range: sstable::KeyRange {
            first: properties.first.clone(),
            last: properties.last.clone(),
        },
        is_due: false,
    };
    let live = LiveTable { entry, meta, table };
    Ok((Arc::new(live), generation))
}

/// What a table says of its maker: the store, and the edit that was durable when it was begun.
pub(crate) fn witness(table: &Properties) -> Option<(u64, Lsn)> {
    let bytes = table.user(PROPERTY)?;
    let mut rest = durable_io::codec::Decoder::new(bytes);
    let witness = (rest.u64()?, Lsn(rest.u64()?));
    rest.rest().is_empty().then_some(witness)
}

/// The id of the keyspace that a table was made for, as it says itself; those of older versions do not.
pub(crate) fn made_for(table: &Properties) -> Option<u32> {
    let bytes = table.user(KEYSPACE_PROPERTY)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Background, KeyspaceOptions, Options};

    #[test]
    fn a_flush_of_a_keyspace_that_is_dropped_meanwhile_comes_to_an_end() {
        let temp = tempfile::tempdir().expect("a directory");
        let options = Options::new().background(Background::Inline).reserve(0);
        let (store, _) = crate::open::open(options, temp.path()).expect("a new store");
        let slot = store.create_keyspace("gone", &KeyspaceOptions::new());
        let slot = slot.expect("a new keyspace");
        let mut batch = crate::Batch::new();
        batch.push(slot, crate::record::Action::Put, b"key", b"value");
        store.write(batch).expect("a write");
        let tree = Arc::clone(store.catalog().find(slot).expect("it is there"));
        store.freeze(&tree);
        store.drop_keyspace("gone").expect("it is dropped");
        // Whoever flushes goes on as long as there is more.
        assert!(!store.flush_tree(&tree).expect("nothing is wrong"));
        assert_eq!(store.tables.list().expect("a list").len(), 0);
    }
}
