//! [`Snapshot`] and [`View`]: the store, or a keyspace, as it was at one moment.

use std::ops::{Deref, RangeBounds};
use std::sync::Arc;

use durable_io::engine::StoreDir;

use crate::error::{Error, Result};
use crate::keyspace::Keyspace;
use crate::read;
use crate::scan::{Scan, prefix_range};
use crate::store::{Catalog, Store};
use crate::tree::DEFAULT_SLOT;
use crate::tree::Tree;
use crate::value::Value;

/// A version that is held: compactions keep what it sees.
#[derive(Debug)]
struct Held {
    /// `None`: the store was opened for reading only.
    store: Option<Arc<Store>>,
    version: u64,
    catalog: Arc<Catalog>,
    /// Of a store that was opened for reading only.
    _lock: Option<StoreDir>,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(store) = &self.store {
            store.release(self.version);
        }
    }
}

/// The store as it was at one moment, across all keyspaces: to read while others write. It derefs to the
/// [`View`] of the default keyspace.
///
/// Cheap to take and to clone. While it is there, what it sees is kept in memory and on the disk, also of
/// keyspaces that are cleared or dropped.
#[derive(Clone, Debug)]
pub struct Snapshot {
    view: View,
}

impl Keyspace {
    /// The whole store as it is now: one moment across all keyspaces, to read while others write.
    ///
    /// # Cost
    /// A lock for a moment, now and when it is dropped; then whatever it sees is kept.
    ///
    /// # Errors
    /// [`Error::Closed`](crate::Error::Closed).
    pub fn snapshot(&self) -> Result<Snapshot> {
        Snapshot::new(self.store())
    }
}

impl Snapshot {
    pub(crate) fn new(store: &Arc<Store>) -> Result<Self> {
        store.check_open()?;
        let (version, catalog) = store.hold();
        Self::of(Held {
            store: Some(Arc::clone(store)),
            version,
            catalog,
            _lock: None,
        })
    }

    /// Of a store that nobody else has open, and that is not written to.
    pub(crate) fn read_only(version: u64, catalog: Catalog, lock: StoreDir) -> Result<Self> {
        Self::of(Held {
            store: None,
            version,
            catalog: Arc::new(catalog),
            _lock: Some(lock),
        })
    }

    fn of(held: Held) -> Result<Self> {
        let tree = Arc::clone(held.catalog.find(DEFAULT_SLOT)?);
        let view = View {
            held: Arc::new(held),
            tree,
        };
        Ok(Self { view })
    }

    /// What it sees of `keyspace`.
    ///
    /// # Errors
    /// [`Error::Dropped`](crate::Error::Dropped) if there was none at that moment.
    pub fn view(&self, keyspace: &Keyspace) -> Result<View> {
        let held = &self.view.held;
        Ok(View {
            tree: Arc::clone(held.catalog.find(keyspace.slot())?),
            held: Arc::clone(held),
        })
    }

    /// What it sees of the keyspace that had `name` at that moment.
    ///
    /// # Errors
    /// [`Error::NoKeyspace`](crate::Error::NoKeyspace).
    pub fn keyspace(&self, name: &str) -> Result<View> {
        let held = &self.view.held;
        let tree = held.catalog.named(name).ok_or_else(|| Error::NoKeyspace {
            name: name.to_owned(),
        })?;
        Ok(View {
            tree: Arc::clone(tree),
            held: Arc::clone(held),
        })
    }

    /// The names of all keyspaces at that moment, in order.
    pub fn list_keyspaces(&self) -> Vec<String> {
        self.view.held.catalog.names()
    }

    /// The version of the newest operation that it sees: of two snapshots the one with more is newer.
    pub fn version(&self) -> u64 {
        self.view.held.version
    }
}

impl Deref for Snapshot {
    type Target = View;

    fn deref(&self) -> &View {
        &self.view
    }
}

/// A keyspace as it was at one moment.
#[derive(Clone, Debug)]
pub struct View {
    held: Arc<Held>,
    tree: Arc<Tree>,
}

impl View {
    fn check(&self) -> Result<()> {
        match &self.held.store {
            Some(store) => store.check_readable(self.held.version),
            None => Ok(()),
        }
    }

    /// The value that `key` had; `None` if it was absent.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt), [`Error::Disk`](crate::Error::Disk);
    /// [`Error::Poisoned`](crate::Error::Poisoned) if a write or sync has failed meanwhile, and what is
    /// seen is newer than what was durable by then.
    pub fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        self.check()?;
        read::find(&self.tree.peek(), key, self.held.version)
    }

    /// True if `key` was there.
    ///
    /// # Errors
    /// As [`get`](View::get).
    pub fn contains(&self, key: &[u8]) -> Result<bool> {
        Ok(self.get(key)?.is_some())
    }

    /// The values that `keys` had, in their order.
    ///
    /// # Errors
    /// As [`get`](View::get).
    pub fn multi_get<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Value>>> {
        self.check()?;
        read::find_all(&self.tree.peek(), keys, self.held.version)
    }

    /// The keys of `range` with their values, in order, from either end.
    pub fn scan<'k>(&self, range: impl RangeBounds<&'k [u8]>) -> Scan {
        let held = &self.held;
        Scan::new(held.store.as_ref(), self.tree.state(), held.version, range)
    }

    /// The keys that begin with `prefix`.
    pub fn scan_prefix(&self, prefix: &[u8]) -> Scan {
        let (start, end) = prefix_range(prefix);
        self.scan((start, end.as_ref().map(Vec::as_slice)))
    }

    /// The first key, and its value.
    ///
    /// # Errors
    /// As [`get`](View::get).
    pub fn first(&self) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        self.scan(..).next().transpose()
    }

    /// The last key, and its value.
    ///
    /// # Errors
    /// As [`get`](View::get).
    pub fn last(&self) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        self.scan(..).next_back().transpose()
    }

    /// True if there was no key.
    ///
    /// # Errors
    /// As [`get`](View::get).
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.scan(..).read()?.is_none())
    }
}
