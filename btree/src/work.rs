//! [`Work`]: what a write transaction has done so far, to tables by their names or ids.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use wal::Lsn;

use crate::catalog::{NamedTable, TableEntry};
use crate::draft::{Draft, Point};
use crate::error::{Corruption, Error, Result};
use crate::limits::{MAX_VALUE_SIZE, max_key_size};
use crate::lookup::find;
use crate::range::{Range, Source, value_at};
use crate::record::{Change, Changes};
use crate::remove_range::Bounds;
use crate::root::{Root, State, Tree};
use crate::turn::{Ledger, Writer};
use crate::value::Value;

/// A table that the transaction has looked at.
#[derive(Debug)]
struct Open {
    name: Vec<u8>,
    tree: Tree,
    /// What the catalog says.
    saved: Tree,
}

#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) draft: Draft,
    pub(crate) ledger: Ledger,
    state: State,
    open: BTreeMap<u64, Open>,
    ids: BTreeMap<Vec<u8>, u64>,
    pub(crate) changes: Changes,
    /// The changes are too many for the log.
    is_large: bool,
    limit: usize,
    /// A call failed half-way.
    pub(crate) has_failed: bool,
}

/// A state of a transaction that can be returned to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Saved {
    point: Point,
    state: State,
    changes: usize,
}

impl Work {
    pub(crate) fn new(
        pager: &Arc<crate::pager::Pager>,
        writer: Writer,
        memory: usize,
        limit: usize,
    ) -> Self {
        let Writer { space, mut ledger } = writer;
        let version = ledger.take_version();
        Self {
            state: ledger.head.state(),
            draft: Draft::new(Arc::clone(pager), space, ledger.base, version, memory),
            changes: Changes::new(pager.store_id),
            ledger,
            open: BTreeMap::new(),
            ids: BTreeMap::new(),
            is_large: false,
            limit,
            has_failed: false,
        }
    }

    /// Only a checkpoint can commit it.
    pub(crate) fn is_large(&self) -> bool {
        self.is_large || self.draft.has_spilled()
    }

    /// The changes, for the log.
    pub(crate) fn take_changes(&mut self) -> Changes {
        let empty = Changes::new(self.draft.pager.store_id);
        std::mem::replace(&mut self.changes, empty)
    }

    pub(crate) fn note(&mut self, change: Change<'_>) {
        if self.is_large {
            return;
        }
        self.changes.push(change);
        if self.changes.len() > self.limit {
            self.is_large = true;
            drop(self.take_changes());
        }
    }

    /// Runs `edit`; if it fails, the transaction can only be aborted or rolled back.
    pub(crate) fn edit<T>(&mut self, edit: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.has_failed {
            return Err(Error::Failed);
        }
        // Also if it panics, in an iterator of the caller's.
        self.has_failed = true;
        let result = edit(self);
        self.has_failed = result.is_err();
        result
    }

    fn check_readable(&self) -> Result<()> {
        if self.has_failed {
            return Err(Error::Failed);
        }
        Ok(())
    }

    // ---- tables

    fn corrupt_catalog(&self) -> Error {
        let page = self.state.catalog.root.map_or(0, |root| root.page);
        self.draft.pager.corrupt(page, Corruption::Record)
    }

    /// The id of the table `name`.
    pub(crate) fn table(&mut self, name: &[u8]) -> Result<Option<u64>> {
        self.check_readable()?;
        if let Some(&id) = self.ids.get(name) {
            return Ok(Some(id));
        }
        let Some(value) = self.read(self.state.catalog, name)? else {
            return Ok(None);
        };
        let entry = TableEntry::decode(&value).ok_or_else(|| self.corrupt_catalog())?;
        self.remember(name, entry);
        Ok(Some(entry.id))
    }

    fn remember(&mut self, name: &[u8], TableEntry { id, tree }: TableEntry) {
        self.ids.insert(name.to_vec(), id);
        let open = Open {
            name: name.to_vec(),
            tree,
            saved: tree,
        };
        self.open.insert(id, open);
    }

    pub(crate) fn tree(&self, id: u64) -> Tree {
        self.open.get(&id).expect("tables are opened first").tree
    }

    pub(crate) fn set_tree(&mut self, id: u64, tree: Tree) {
        let open = self.open.get_mut(&id);
        open.expect("tables are opened first").tree = tree;
    }

    /// The name of the table `id`.
    pub(crate) fn name_of(&self, id: u64) -> String {
        let open = self.open.get(&id).expect("tables are opened first");
        String::from_utf8_lossy(&open.name).into_owned()
    }

    pub(crate) fn check_key(&self, what: &'static str, key: &[u8]) -> Result<()> {
        let page_size = u32::try_from(self.draft.pager.page_size).expect("at most 32 KiB");
        let limit = max_key_size(page_size);
        check_size(what, key.len() as u64, limit as u64)
    }

    /// Creates the table `name`, which must not exist, with a new id, or with the one that a record of
    /// the log says.
    pub(crate) fn create(&mut self, name: &[u8], id: Option<u64>) -> Result<u64> {
        self.check_key("table name", name)?;
        self.draft.begin_to_grow();
        self.edit(|work| {
            let id = id.unwrap_or(work.state.next_table);
            work.state.next_table = id + 1;
            let tree = Tree::default();
            work.put_entry(name, TableEntry { id, tree })?;
            work.remember(name, TableEntry { id, tree });
            work.note(Change::Create { table: id, name });
            Ok(id)
        })
    }

    fn put_entry(&mut self, name: &[u8], entry: TableEntry) -> Result<()> {
        let mut catalog = self.state.catalog;
        self.draft.put(&mut catalog, name, &entry.encode())?;
        self.state.catalog = catalog;
        Ok(())
    }

    /// Removes the table `id` with everything in it.
    pub(crate) fn drop_table(&mut self, id: u64) -> Result<()> {
        self.edit(|work| {
            let open = work.open.remove(&id).expect("tables are opened first");
            work.ids.remove(&open.name);
            if let Some(root) = open.tree.root {
                let mut count = 0;
                work.draft.drop_subtree(root, u8::MAX, &mut count)?;
            }
            let mut catalog = work.state.catalog;
            work.draft.delete(&mut catalog, &open.name)?;
            work.state.catalog = catalog;
            work.note(Change::Drop { table: id });
            Ok(())
        })
    }

    /// Gives the table `id` the name `name`, which no other table has.
    pub(crate) fn rename(&mut self, id: u64, name: &[u8]) -> Result<()> {
        self.check_key("table name", name)?;
        self.draft.begin_to_grow();
        self.edit(|work| {
            let open = work.open.get_mut(&id).expect("tables are opened first");
            let old = std::mem::replace(&mut open.name, name.to_vec());
            open.saved = open.tree;
            let tree = open.tree;
            work.ids.remove(&old);
            work.ids.insert(name.to_vec(), id);
            let mut catalog = work.state.catalog;
            work.draft.delete(&mut catalog, &old)?;
            work.state.catalog = catalog;
            work.put_entry(name, TableEntry { id, tree })?;
            work.note(Change::Rename { table: id, name });
            Ok(())
        })
    }

    /// The names of all tables, with what the catalog says of them.
    pub(crate) fn tables(&mut self) -> Result<Vec<NamedTable>> {
        self.finish()?;
        let source = Source::Draft(&self.draft);
        list(source, self.state.catalog)?.ok_or_else(|| self.corrupt_catalog())
    }

    // ---- entries

    fn read(&self, tree: Tree, key: &[u8]) -> Result<Option<Value>> {
        let Some(root) = tree.root else {
            return Ok(None);
        };
        let draft = &self.draft;
        let found = find(&draft.pager, |r| draft.view_node(r), root, key)?;
        found
            .map(|(page, index)| value_at(&draft.pager, |r| draft.view(r), &page, index))
            .transpose()
    }

    pub(crate) fn get(&self, table: u64, key: &[u8]) -> Result<Option<Value>> {
        self.check_readable()?;
        self.read(self.tree(table), key)
    }

    pub(crate) fn len(&self, table: u64) -> u64 {
        self.tree(table).len
    }

    pub(crate) fn put(&mut self, table: u64, key: &[u8], value: &[u8]) -> Result<()> {
        self.check_key("key", key)?;
        check_size("value", value.len() as u64, MAX_VALUE_SIZE)?;
        self.draft.begin_to_grow();
        self.edit(|work| {
            let mut tree = work.tree(table);
            work.draft.put(&mut tree, key, value)?;
            work.set_tree(table, tree);
            work.note(Change::Put { table, key, value });
            Ok(())
        })
    }

    /// Deletes `key`; returns whether it was there.
    pub(crate) fn delete(&mut self, table: u64, key: &[u8]) -> Result<bool> {
        self.edit(|work| {
            let mut tree = work.tree(table);
            let was_there = work.draft.delete(&mut tree, key)?;
            if was_there {
                work.set_tree(table, tree);
                work.note(Change::Delete { table, key });
            }
            Ok(was_there)
        })
    }

    /// Deletes the keys in a range; returns how many there were.
    pub(crate) fn delete_range(&mut self, table: u64, bounds: Bounds<'_>) -> Result<u64> {
        self.edit(|work| {
            let mut tree = work.tree(table);
            let removed = work.draft.delete_range(&mut tree, bounds)?;
            work.set_tree(table, tree);
            if removed > 0 {
                work.note(Change::DeleteRange { table, bounds });
            }
            Ok(removed)
        })
    }

    pub(crate) fn range<'k>(
        &self,
        table: u64,
        range: &impl std::ops::RangeBounds<&'k [u8]>,
    ) -> Range<'_> {
        let root = self.tree(table).root;
        Range::new(Source::Draft(&self.draft), root, range)
    }

    // ---- savepoints and the end

    /// Writes to the catalog what has changed in the tables.
    pub(crate) fn finish(&mut self) -> Result<()> {
        self.edit(|work| {
            let changed: Vec<_> = work
                .open
                .iter_mut()
                .filter(|(_, open)| open.tree != open.saved)
                .map(|(&id, open)| {
                    open.saved = open.tree;
                    (
                        open.name.clone(),
                        TableEntry {
                            id,
                            tree: open.tree,
                        },
                    )
                })
                .collect();
            changed
                .into_iter()
                .try_for_each(|(name, entry)| work.put_entry(&name, entry))
        })
    }

    pub(crate) fn save(&mut self) -> Result<Saved> {
        self.finish()?;
        let point = self.edit(|work| work.draft.freeze())?;
        Ok(Saved {
            point,
            state: self.state,
            changes: self.changes.len(),
        })
    }

    /// Returns to what there was at a savepoint.
    pub(crate) fn restore(&mut self, saved: Saved) {
        self.draft.restore(saved.point);
        self.state = saved.state;
        self.open.clear();
        self.ids.clear();
        if !self.is_large {
            self.changes.truncate(saved.changes);
        }
        self.has_failed = false;
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// The catalog has another place.
    pub(crate) fn set_catalog(&mut self, catalog: Tree) {
        self.state.catalog = catalog;
    }

    pub(crate) fn undo(mut self) -> Writer {
        self.draft.undo();
        self.ledger.pass(self.draft.version());
        Writer {
            space: self.draft.space,
            ledger: self.ledger,
        }
    }

    /// Makes its state, which record `lsn` of the log leads to, the last committed one.
    pub(crate) fn publish(mut self, lsn: Lsn, now: Duration) -> Writer {
        let mut ledger = self.ledger;
        let version = self.draft.version();
        ledger.pass(version);
        let lease = self.draft.publish(&mut ledger.dirty, now);
        let mut space = self.draft.space;
        let pager = &self.draft.pager;
        let at = (version, lsn);
        let released = Arc::clone(space.released());
        ledger.head = Arc::new(Root::new(at, self.state, pager, (lease, released)));
        space.settle(pager);
        Writer { space, ledger }
    }

    // ---- replaying

    /// Does what a record of the log says.
    pub(crate) fn apply(&mut self, change: Change<'_>) -> Result<()> {
        let known = |work: &Self, table| {
            let is_known = work.open.contains_key(&table);
            is_known
                .then_some(table)
                .ok_or_else(|| work.corrupt_catalog())
        };
        match change {
            Change::Put { table, key, value } => {
                let table = known(self, table)?;
                self.put(table, key, value)
            }
            Change::Delete { table, key } => {
                let table = known(self, table)?;
                self.delete(table, key).map(drop)
            }
            Change::DeleteRange { table, bounds } => {
                let table = known(self, table)?;
                self.delete_range(table, bounds).map(drop)
            }
            Change::Create { table, name } => self.create(name, Some(table)).map(drop),
            Change::Drop { table } => {
                let table = known(self, table)?;
                self.drop_table(table)
            }
            Change::Rename { table, name } => {
                let table = known(self, table)?;
                self.rename(table, name)
            }
        }
    }

    /// Opens every table: records name them by their ids.
    pub(crate) fn open_all(&mut self) -> Result<()> {
        for (name, entry) in self.tables()? {
            self.remember(&name, entry);
        }
        Ok(())
    }

    /// What was applied need not be written to the log again.
    pub(crate) fn forget_changes(&mut self) {
        drop(self.take_changes());
        self.is_large = false;
    }
}

pub(crate) fn check_size(what: &'static str, size: u64, limit: u64) -> Result<()> {
    if size > limit {
        return Err(Error::TooLarge { what, size, limit });
    }
    Ok(())
}

/// The entries of a catalog; `None` if one of them is none.
pub(crate) fn list(source: Source<'_>, catalog: Tree) -> Result<Option<Vec<NamedTable>>> {
    let everything = (Bound::<&[u8]>::Unbounded, Bound::Unbounded);
    let mut tables = Vec::new();
    for entry in Range::new(source, catalog.root, &everything) {
        let (name, value) = entry?;
        match TableEntry::decode(&value) {
            Some(entry) => tables.push((name, entry)),
            None => return Ok(None),
        }
    }
    Ok(Some(tables))
}
