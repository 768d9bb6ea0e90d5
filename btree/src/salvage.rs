//! [`Salvage`]: everything that can still be read of a damaged store.

mod log;
mod pages;
mod walk;

use std::collections::{BTreeMap, VecDeque, btree_map};
use std::path::Path;
use std::sync::Arc;

use durable_io::engine::StoreDir;

use crate::catalog::TableEntry;
use crate::error::{Error, Lost, Result};
use crate::names;
use crate::options::Options;
use crate::pager::Pager;
use crate::salvaged_table::SalvagedTable;

use log::{Changed, Log};
use walk::{Entry, Walk};

/// A key of a damaged store, and its newest value that can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Salvaged {
    /// The table that it is in.
    pub table: SalvagedTable,
    /// The key.
    pub key: Vec<u8>,
    /// The newest value that can be read.
    pub value: Vec<u8>,
    /// True if a transaction that is lost may have changed the key later: then this is perhaps an older value, or
    /// the key was deleted.
    pub may_be_older: bool,
}

/// What can be read of a store, whatever is damaged: the entries of one table after the other, in order. Made by
/// [`Options::salvage`].
///
/// What is wrong is an error before the entries that it concerns. An [`Error::Lost`] says of which table, and between
/// which keys, entries cannot be read; the entries behind them follow. An [`Error::Log`] with
/// [`LostRecords`](wal::Corruption::LostRecords) says which transactions cannot, whatever they changed. Any other is of
/// something by which nothing is lost, or by which nothing says what is: then every entry may be older.
#[derive(Debug)]
pub struct Salvage {
    told: VecDeque<Error>,
    /// `None` if neither slot can be read, or the page file itself.
    pager: Option<Pager>,
    all: Vec<SalvagedTable>,
    rest: btree_map::IntoIter<u64, Known>,
    table: Option<Merged>,
    /// What comes when everything is told.
    ready: Option<Salvaged>,
    /// What was not changed behind this record may be older; 0 if nothing is lost.
    lost: u64,
    /// Nobody may write meanwhile.
    _locked: StoreDir,
}

/// What is known of a table: what the last checkpoint has, and what was changed since.
#[derive(Debug, Default)]
struct Known {
    name: Option<Arc<str>>,
    entry: Option<TableEntry>,
    changed: Changed,
}

/// A table that is being given out.
#[derive(Debug)]
struct Merged {
    table: SalvagedTable,
    walk: Walk,
    /// The next entry of the tree.
    next: Option<Entry>,
    changed: Changed,
}

impl Options {
    /// Reads what is left of the store in `dir`, whatever is damaged, and changes nothing: for a store that
    /// [`open`](Options::open) refuses, or that has damaged pages. Of the options nothing but the disk counts.
    ///
    /// Every page that is right and that the newer slot leads to is read, beside those that cannot be; and every
    /// transaction of the log behind that. If the slots differ, as a crash in a checkpoint leaves them, and the tree of
    /// the newer one is damaged, the older one and the log say the same. A page that cannot be read takes the entries
    /// below it with it: its branch says which keys those are. A part of the catalog takes the tables that it names.
    ///
    /// What a crash can have left is taken for that: of a store that was not closed, damage at the very end of the log
    /// looks like a transaction that was never acknowledged.
    ///
    /// If neither slot can be read, nothing of the page file can be given out: every check of a page depends on the
    /// store's id, which the slots have, and no page says of which table it is. The transactions in the log remain, by
    /// the ids of their tables.
    ///
    /// # Cost
    /// Reads the slots, the catalog and the log now, and the pages of each table once, as its entries are asked for; if the
    /// slots differ, all pages of the newer one before. In memory are the transactions of the log since the last
    /// checkpoint, the names of the tables, and the pages from a root to a leaf.
    ///
    /// # Errors
    /// [`Error::Disk`] with [`Locked`](durable_io::Error::Locked) if the store is open for writing, in any process, or
    /// if the directory cannot be read; [`Error::UnsupportedVersion`]. All else is an item of [`Salvage`].
    pub fn salvage(self, dir: impl AsRef<Path>) -> Result<Salvage> {
        let path = dir.as_ref();
        let locked = StoreDir::open_shared(&self.disk, path, names::LOCK)?;
        let mut told = VecDeque::new();
        let found = pages::find(locked.dir(), &mut told)?;
        let mut tables = BTreeMap::new();
        if let Some((slot, pager)) = &found {
            pages::read_catalog(pager, slot, &mut tables, &mut told);
        }
        let slot = found.as_ref().map(|(slot, _)| *slot);
        let log = Log::read(&self.disk, &path.join(names::LOG), slot, tables, &mut told)?;
        let named = |(id, known): (&u64, &Known)| SalvagedTable {
            id: *id,
            name: known.name.clone(),
        };
        Ok(Salvage {
            told,
            pager: found.map(|(_, pager)| pager),
            all: log.tables.iter().map(named).collect(),
            rest: log.tables.into_iter(),
            table: None,
            ready: None,
            lost: log.lost,
            _locked: locked,
        })
    }
}

impl Salvage {
    /// The tables that something is known of, in the order in which their entries come.
    pub fn tables(&self) -> &[SalvagedTable] {
        &self.all
    }

    /// Bytes of a page, if a slot says so.
    pub(crate) fn page_size(&self) -> Option<u32> {
        let pager = self.pager.as_ref()?;
        u32::try_from(pager.page_size).ok()
    }

    /// Begins the next table; false if there is none.
    fn enter_table(&mut self) -> bool {
        let Some((id, known)) = self.rest.next() else {
            return false;
        };
        let name = known.name;
        let mut table = Merged {
            table: SalvagedTable { id, name },
            walk: Walk::new(known.entry.and_then(|entry| entry.tree.root)),
            next: None,
            changed: known.changed,
        };
        table.advance(self.pager.as_ref(), &mut self.told);
        self.table = Some(table);
        true
    }
}

impl Merged {
    /// Goes to the next entry of the tree that was not changed since; what is lost before it is told.
    fn advance(&mut self, pager: Option<&Pager>, told: &mut VecDeque<Error>) {
        self.next = None;
        let Some(pager) = pager else {
            return;
        };
        while let Some(item) = self.walk.next(pager) {
            match item {
                Ok(entry) => {
                    if !self.changed.hides(&entry.key) {
                        self.next = Some(entry);
                        return;
                    }
                }
                Err(missing) => told.push_back(Error::Lost(Box::new(Lost {
                    table: Some(self.table.clone()),
                    what: "entries",
                    keys: missing.keys,
                    source: missing.source,
                }))),
            }
        }
    }

    /// The next entry, of the tree or of the log.
    fn next(
        &mut self,
        pager: Option<&Pager>,
        lost: u64,
        told: &mut VecDeque<Error>,
    ) -> Option<Salvaged> {
        loop {
            let of_tree = self.next.as_ref().map(|entry| &*entry.key);
            let (entry, lsn) = if let Some(changed) = self.changed.next_before(of_tree) {
                let (key, lsn, value) = changed;
                (value.map(|value| Entry { key, value }), lsn)
            } else {
                let entry = self.next.take()?;
                self.advance(pager, told);
                (Some(entry), 0)
            };
            if let Some(Entry { key, value }) = entry {
                return Some(Salvaged {
                    table: self.table.clone(),
                    key,
                    value,
                    may_be_older: lost > lsn,
                });
            }
        }
    }
}

impl Iterator for Salvage {
    type Item = Result<Salvaged>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(error) = self.told.pop_front() {
                return Some(Err(error));
            }
            if let Some(salvaged) = self.ready.take() {
                return Some(Ok(salvaged));
            }
            let Some(table) = &mut self.table else {
                if !self.enter_table() {
                    return None;
                }
                continue;
            };
            match table.next(self.pager.as_ref(), self.lost, &mut self.told) {
                Some(salvaged) => self.ready = Some(salvaged),
                None => self.table = None,
            }
        }
    }
}
