//! [`ReadTxn`] and [`Table`]: reading a committed state.

use std::fmt;
use std::ops::RangeBounds;
use std::sync::Arc;

use sdd::Guard;

use crate::catalog::{NamedTable, TableEntry};
use crate::error::{Corruption, Error, Result};
use crate::lookup::{find, find_many};
use crate::node::Ref;
use crate::range::{Range, Source, value_at};
use crate::root::{Root, Tree};
use crate::value::Value;
use crate::work::list;

/// A committed state of the store, from [`Btree::begin_read`](crate::Btree::begin_read). It never changes,
/// blocks nobody, and can be kept and sent to other threads; as long as it lives, the pages that it
/// reaches are used for nothing else, unless [`Options::reader_lease`](crate::Options::reader_lease) says how long.
pub struct ReadTxn(arc_swap::Guard<Arc<Root>>);

impl ReadTxn {
    #[inline]
    pub(crate) fn new(root: arc_swap::Guard<Arc<Root>>) -> Self {
        Self(root)
    }

    /// The table `name`.
    ///
    /// # Cost
    /// One lookup in the catalog.
    ///
    /// # Errors
    /// [`Error::NoTable`]; and as [`Table::get`].
    pub fn table(&self, name: &str) -> Result<Table<'_>> {
        let root = &*self.0;
        let entry = match root.catalog.root {
            Some(catalog) => Reader { root }.get(catalog, name.as_bytes())?,
            None => None,
        };
        let entry = entry.ok_or_else(|| Error::NoTable {
            name: name.to_owned(),
        })?;
        let entry = TableEntry::decode(&entry).ok_or_else(|| corrupt_catalog(root))?;
        Ok(Table {
            root,
            tree: entry.tree,
        })
    }

    /// The table `name`, together with the state: for who keeps it.
    ///
    /// # Errors
    /// As [`table`](ReadTxn::table).
    pub fn into_table(self, name: &str) -> Result<OwnedTable> {
        let tree = self.table(name)?.tree;
        Ok(OwnedTable { txn: self, tree })
    }

    /// The names of all tables, in order.
    ///
    /// # Errors
    /// As [`Table::get`].
    pub fn tables(&self) -> Result<Vec<String>> {
        let root = &*self.0;
        let tables = list(Source::Root(Arc::clone(root)), root.catalog)?;
        let tables = tables.ok_or_else(|| corrupt_catalog(root))?;
        Ok(names(tables))
    }
}

fn corrupt_catalog(root: &Root) -> Error {
    let page = root.catalog.root.map_or(0, |root| root.page);
    root.pager.corrupt(page, Corruption::Record)
}

pub(crate) fn names(tables: Vec<NamedTable>) -> Vec<String> {
    let names = tables.into_iter().map(|(name, _)| name);
    names
        .map(|name| String::from_utf8_lossy(&name).into_owned())
        .collect()
}

impl Clone for ReadTxn {
    /// The same state.
    fn clone(&self) -> Self {
        Self(arc_swap::Guard::from_inner(Arc::clone(&self.0)))
    }
}

impl fmt::Debug for ReadTxn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadTxn")
            .field("version", &self.0.version)
            .finish_non_exhaustive()
    }
}

/// Reads pages of a root.
#[derive(Clone, Copy)]
struct Reader<'t> {
    root: &'t Arc<Root>,
}

impl Reader<'_> {
    #[inline]
    fn get(self, tree: Ref, key: &[u8]) -> Result<Option<Value>> {
        let pager = &self.root.pager;
        self.root.read(|| {
            let guard = Guard::new();
            let found = find(pager, |r| pager.view_node(r, &guard), tree, key)?;
            found
                .map(|(page, index)| value_at(pager, |r| pager.view(r, &guard), &page, index))
                .transpose()
        })
    }
}

/// A table in a [`ReadTxn`].
#[derive(Clone, Copy)]
pub struct Table<'t> {
    root: &'t Arc<Root>,
    tree: Tree,
}

impl Table<'_> {
    /// The value of `key`.
    ///
    /// # Cost
    /// One page for each level of the tree; none is read from the file if they are in memory, and then
    /// no lock is taken, and only the value is copied. One over a quarter of a page is put together from
    /// pages of its own.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if a page on the way is damaged; other keys may still be read.
    /// [`Error::Disk`]. [`Error::Poisoned`] if a write or sync failed before this state was durable.
    /// [`Error::LeaseEnded`] if the state was held for longer than
    /// [`Options::reader_lease`](crate::Options::reader_lease) allows.
    #[inline]
    pub fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        match self.tree.root {
            Some(root) => Reader { root: self.root }.get(root, key),
            None => Ok(None),
        }
    }

    /// The values of `keys`, in their order.
    ///
    /// # Cost
    /// Less than a [`get`](Table::get) of each: those of one page share the way to it, and pages are waited for
    /// together.
    ///
    /// # Errors
    /// As [`get`](Table::get).
    pub fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<Option<Value>>> {
        let mut values: Vec<_> = keys.iter().map(|_| None).collect();
        let Some(root) = self.tree.root else {
            return Ok(values);
        };
        let pager = &self.root.pager;
        let guard = &Guard::new();
        self.root.read(|| {
            find_many((pager, guard), root, keys, |place, page, index| {
                let value = value_at(pager, |r| pager.view(r, guard), page, index)?;
                *values.get_mut(place).expect("a place for each key") = Some(value);
                Ok(())
            })
        })?;
        Ok(values)
    }

    /// The entries whose keys lie in `range`, in order.
    ///
    /// # Errors
    /// None here; the items of the [`Range`].
    pub fn range<'k>(&self, range: impl RangeBounds<&'k [u8]>) -> Range<'static> {
        let source = Source::Root(Arc::clone(self.root));
        Range::new(source, self.tree.root, &range)
    }

    /// The entry with the smallest key.
    ///
    /// # Errors
    /// As [`get`](Table::get).
    pub fn first(&self) -> Result<Option<(Vec<u8>, Value)>> {
        self.range(..).next().transpose()
    }

    /// The entry with the largest key.
    ///
    /// # Errors
    /// As [`get`](Table::get).
    pub fn last(&self) -> Result<Option<(Vec<u8>, Value)>> {
        self.range(..).next_back().transpose()
    }

    /// How many entries there are. Costs nothing.
    pub fn len(&self) -> u64 {
        self.tree.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.tree.len == 0
    }
}

/// A table in a [`ReadTxn`] of its own, from [`ReadTxn::into_table`].
#[derive(Clone, Debug)]
pub struct OwnedTable {
    txn: ReadTxn,
    tree: Tree,
}

impl OwnedTable {
    /// The table, to read. Costs nothing.
    #[inline]
    pub fn table(&self) -> Table<'_> {
        Table {
            root: &self.txn.0,
            tree: self.tree,
        }
    }
}

impl fmt::Debug for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("len", &self.tree.len)
            .finish_non_exhaustive()
    }
}
