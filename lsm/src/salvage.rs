//! [`Salvage`]: everything that can still be read of a damaged store.

mod log;
mod manifest;
mod merge;
mod tables;

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::vec;

use durable_io::engine::{LostKeys, StoreDir};

use crate::error::{Error, Result};
use crate::names;
use crate::names::log_path;
use crate::names::manifest_path;
use crate::open::open_tables;
use crate::options::{KeyspaceOptions, Options};
use crate::salvaged_keyspace::SalvagedKeyspace;

use merge::Merged;

/// A key of a damaged store, and its newest value that can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Salvaged {
    /// The keyspace that it is in.
    pub keyspace: SalvagedKeyspace,
    /// The key.
    pub key: Vec<u8>,
    /// The newest value that can be read.
    pub value: Vec<u8>,
    /// True if something newer that is lost may have been a change of this key: then this is perhaps an older
    /// value, or the key was deleted.
    pub may_be_older: bool,
}

/// What can be read of a store, whatever is damaged: the keys of one keyspace after the other, in order, each with its
/// newest value that can be read. Made by [`Options::salvage`].
///
/// What is wrong is an error before the keys that it concerns. An [`Error::Lost`] says of which keyspace, and between
/// which keys, something cannot be read; an [`Error::Corrupt`] with
/// [`LostRecords`](wal::Corruption::LostRecords) which operations of the log, whatever their keys were. Any other is of
/// something by which nothing is lost, or by which nothing says what is: then every key may be older.
#[derive(Debug)]
pub struct Salvage {
    told: VecDeque<Error>,
    all: Vec<SalvagedKeyspace>,
    options: BTreeMap<u32, KeyspaceOptions>,
    rest: vec::IntoIter<Merged>,
    keyspace: Option<Merged>,
    /// A key that comes when everything is told.
    ready: Option<Salvaged>,
    /// Nobody may write meanwhile.
    _locked: StoreDir,
}

/// Something that is lost, as far as it may have been newer than what is left.
#[derive(Clone, Debug)]
struct Newer {
    keys: LostKeys,
    /// No version of it was larger.
    version: u64,
    /// Where it was: the log is 0, and older tables have larger numbers.
    rank: usize,
}

impl Options {
    /// Reads what is left of the store in `dir`, whatever is damaged, and changes nothing: for a store that
    /// [`open`](Options::open) refuses. Of the options nothing but the disk counts.
    ///
    /// Every block of a table and every record of the log that passes its check is there, also behind damage and
    /// beside places and files that cannot be read. Where something is lost, an older value of a key may show, or a key
    /// that was deleted: [`Salvaged::may_be_older`] says so, of each key that the lost place may have had.
    ///
    /// What a crash can have left is taken for that: of a store that was not closed, damage at the very end of the log
    /// looks like an operation that was never acknowledged.
    ///
    /// Without the last edits of the manifest, nothing says which tables were the store: then all that are there are
    /// given out, by the keyspace that each says it was made for, and every key may be older. A table that was made
    /// before tables said so is given out only if an edit that can be read names it.
    ///
    /// # Cost
    /// Reads the manifest, the log, and both ends of each table now; the rest of the tables once, as the keys are
    /// asked for. In memory are the operations of the log that are in no table, the range tombstones, and a block
    /// of each sorted run, of which each has one open file.
    ///
    /// # Errors
    /// [`Error::Disk`] with [`Locked`](durable_io::Error::Locked) if the store is open, in any process, or if
    /// the directory cannot be read. All else is an item of [`Salvage`].
    pub fn salvage(self, dir: impl AsRef<Path>) -> Result<Salvage> {
        let path = dir.as_ref();
        let locked = StoreDir::open_shared(&self.disk, path, names::LOCK)?;
        Salvage::open(&self, path, locked)
    }
}

impl Salvage {
    fn open(options: &Options, path: &Path, locked: StoreDir) -> Result<Self> {
        let disk = &options.disk;
        let mut told = VecDeque::new();
        let mut manifest = manifest::read(disk, &manifest_path(path), &mut told)?;
        let tables = open_tables(disk, path).unwrap_or_else(|error| {
            told.push_back(error);
            None
        });
        let tables = tables::look(tables, path, &mut manifest, &mut told);
        let log = log::read(disk, &log_path(path), &manifest, &mut told)?;
        let keyspaces = merge::keyspaces(&manifest, tables, log);
        Ok(Self {
            told,
            options: manifest.options,
            all: keyspaces.iter().map(|one| one.keyspace.clone()).collect(),
            rest: keyspaces.into_iter(),
            keyspace: None,
            ready: None,
            _locked: locked,
        })
    }

    /// The keyspaces that something is known of, in the order in which their keys come. Those whose manifest is
    /// lost, and that have neither a table nor a record of the log, are not among them.
    pub fn keyspaces(&self) -> &[SalvagedKeyspace] {
        &self.all
    }

    /// What the tables of keyspace `id` are like, if that is known.
    pub(crate) fn options(&self, id: u32) -> Option<&KeyspaceOptions> {
        self.options.get(&id)
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
            let Some(keyspace) = &mut self.keyspace else {
                self.keyspace = Some(self.rest.next()?);
                continue;
            };
            match keyspace.next(&mut self.told) {
                Some(salvaged) => self.ready = Some(salvaged),
                None => self.keyspace = None,
            }
        }
    }
}
