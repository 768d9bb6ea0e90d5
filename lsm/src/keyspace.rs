//! [`Keyspace`]: a handle of one keyspace, and what all keyspaces share.

use std::ops::RangeBounds;
use std::sync::Arc;

use crate::error::Result;
use crate::read;
use crate::scan::{Scan, prefix_range};
use crate::stats::CompactReport;
use crate::store::Store;
use crate::value::Value;

/// A keyspace of an open store: its keys are its own, and are written together with those of the others.
///
/// `Send + Sync` and cheap to clone; every method takes `&self`. It stays the same keyspace when that is
/// [cleared](Keyspace::clear); after a drop it answers [`Error::Dropped`](crate::Error::Dropped), and when
/// the store is closed, [`Error::Closed`](crate::Error::Closed).
#[derive(Clone, Debug)]
pub struct Keyspace {
    store: Arc<Store>,
    slot: u64,
}

impl Keyspace {
    pub(crate) fn new(store: &Arc<Store>, slot: u64) -> Self {
        Self {
            store: Arc::clone(store),
            slot,
        }
    }

    pub(crate) fn slot(&self) -> u64 {
        self.slot
    }

    pub(crate) fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Its name.
    ///
    /// # Errors
    /// [`Error::Dropped`](crate::Error::Dropped).
    pub fn name(&self) -> Result<String> {
        Ok(self.store.catalog().find(self.slot)?.name.clone())
    }

    /// The value of `key`; `None` if it is absent.
    ///
    /// What is acknowledged is seen by every later call, of every thread. Under
    /// [`Batch`](crate::SyncMode::Batch) and [`Manual`](crate::SyncMode::Manual) it may be one that a power
    /// loss can still take back.
    ///
    /// # Cost
    /// A look into each memtable, and into one table of each sorted run whose filter does not deny it. No
    /// lock is held meanwhile.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt), [`Error::Disk`](crate::Error::Disk),
    /// [`Error::Dropped`](crate::Error::Dropped), [`Error::Closed`](crate::Error::Closed).
    pub fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        self.store.check_open()?;
        let catalog = self.store.catalog();
        // First the state, then the version: nothing of what that state has at this version goes.
        let state = catalog.find(self.slot)?.peek();
        read::find(&state, key, self.store.visible())
    }

    /// True if `key` is there.
    ///
    /// # Errors
    /// As [`get`](Keyspace::get).
    pub fn contains(&self, key: &[u8]) -> Result<bool> {
        Ok(self.get(key)?.is_some())
    }

    /// The values of `keys`, in their order, as of one moment.
    ///
    /// # Cost
    /// As [`get`](Keyspace::get) for each, but keys that are near to each other are looked for together.
    ///
    /// # Errors
    /// As [`get`](Keyspace::get).
    pub fn multi_get<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Value>>> {
        self.snapshot()?.view(self)?.multi_get(keys)
    }

    /// The keys of `range` with their values, in order, from either end, as of now.
    ///
    /// # Cost
    /// A row costs a step in one of the sources and a few comparisons; nothing is allocated for it by
    /// [`Scan::read`].
    ///
    /// # Errors
    /// [`Error::Dropped`](crate::Error::Dropped), [`Error::Closed`](crate::Error::Closed).
    pub fn scan<'k>(&self, range: impl RangeBounds<&'k [u8]>) -> Result<Scan> {
        Ok(self.snapshot()?.view(self)?.scan(range))
    }

    /// The keys that begin with `prefix`, with their values.
    ///
    /// # Errors
    /// As [`scan`](Keyspace::scan).
    pub fn scan_prefix(&self, prefix: &[u8]) -> Result<Scan> {
        let (start, end) = prefix_range(prefix);
        self.scan((start, end.as_ref().map(Vec::as_slice)))
    }

    /// The first key, and its value.
    ///
    /// # Errors
    /// As [`get`](Keyspace::get).
    pub fn first(&self) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        self.snapshot()?.view(self)?.first()
    }

    /// The last key, and its value.
    ///
    /// # Errors
    /// As [`get`](Keyspace::get).
    pub fn last(&self) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        self.snapshot()?.view(self)?.last()
    }

    /// True if there is no key.
    ///
    /// # Errors
    /// As [`get`](Keyspace::get).
    pub fn is_empty(&self) -> Result<bool> {
        self.snapshot()?.view(self)?.is_empty()
    }

    /// About how many bytes the keys of `range` take: in the blocks of tables, what is deleted or overwritten and
    /// not merged yet included, and in memtables. For what it would cost to scan or to copy, or what a
    /// [`delete_range`](Keyspace::delete_range) will give back.
    ///
    /// # Cost
    /// Two searches in the index of each table; no block of a table is read. The entries of the range that are in
    /// memtables are counted.
    ///
    /// # Errors
    /// As [`get`](Keyspace::get).
    pub fn approximate_bytes<'k>(&self, range: impl RangeBounds<&'k [u8]>) -> Result<u64> {
        self.store.approximate_bytes(self.slot, range)
    }

    /// Removes all keys, in one step, and gives their space back.
    ///
    /// Works on a full disk. Snapshots that are open go on seeing what was there.
    ///
    /// # Durability
    /// When this returns, no crash brings a key back, in no mode; and everything written before survives,
    /// in all keyspaces.
    ///
    /// # Cost
    /// A sync of the log if something is not durable, and a durable edit of the manifest. Writers wait.
    ///
    /// # Errors
    /// As [`put`](Keyspace::put).
    pub fn clear(&self) -> Result<()> {
        self.store.clear(self.slot)
    }

    /// Brings everything that was written to this keyspace into tables.
    ///
    /// # Durability
    /// When this returns, it survives power loss, in every mode.
    ///
    /// # Cost
    /// Writes a table, with two syncs, and a durable edit of the manifest; and a sync of the log if
    /// something is not durable.
    ///
    /// # Errors
    /// As [`put`](Keyspace::put). After a full disk it is in the log and in memory as before.
    pub fn flush(&self) -> Result<()> {
        self.store.flush(Some(self.slot))
    }

    /// Flushes, and merges all tables that overlap `range` into one sorted run: what was deleted or
    /// overwritten there, and no snapshot sees, gives its space back.
    ///
    /// # Durability
    /// After a crash each merge is done or not; no key changes.
    ///
    /// # Cost
    /// Reads and writes all of these tables.
    ///
    /// # Errors
    /// As [`put`](Keyspace::put); [`Error::Corrupt`](crate::Error::Corrupt): a table is damaged, and all
    /// are left as they are.
    pub fn compact<'k>(&self, range: impl RangeBounds<&'k [u8]>) -> Result<CompactReport> {
        self.flush()?;
        self.store.compact_range(self.slot, range)
    }
}
