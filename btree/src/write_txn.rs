//! [`WriteTxn`], [`TableMut`] and [`Savepoint`]: changing the store.

use std::fmt;
use std::ops::RangeBounds;

use crate::error::{Error, Result};
use crate::range::{Range, owned};
use crate::read_txn::names;
use crate::store::Store;
use crate::value::Value;
use crate::work::{Saved, Work};
use durable_io::SyncMode;

/// When a single commit returns; see [`WriteTxn::commit_with`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Durability {
    /// It survives power loss.
    Durable,
    /// The kernel has it: it survives the death of the process, and power loss after a later durable
    /// commit or [`Btree::sync`](crate::Btree::sync). In a store of [`SyncMode::Always`] new readers do
    /// not see it before that; the next write transaction does.
    Buffered,
}

/// A write transaction, from [`Btree::begin_write`](crate::Btree::begin_write). There is one at a time. It
/// sees the last committed state, and what it has changed itself; nobody else sees that before it
/// commits.
///
/// What it reads may be committed and not durable yet: it is when its own commit returns, also if it
/// has changed nothing. After [`abort`](WriteTxn::abort), or when it is dropped, a power loss may take
/// that back; [`abort_durable`](WriteTxn::abort_durable) waits.
///
/// After an error of a call that changes something the transaction can only be aborted, or rolled back
/// to a savepoint: [`Error::Failed`]. An error that says that something does not fit its limit changes
/// nothing.
pub struct WriteTxn<'s> {
    store: &'s Store,
    /// `None` when it has ended.
    work: Option<Work>,
    /// The serial numbers of the savepoints that can be returned to.
    savepoints: Vec<u64>,
    next_savepoint: u64,
}

/// A state of a [`WriteTxn`] that it can be [rolled back](WriteTxn::rollback_to) to.
#[derive(Clone, Debug)]
pub struct Savepoint {
    transaction: u64,
    serial: u64,
    saved: Saved,
}

impl<'s> WriteTxn<'s> {
    pub(crate) fn new(store: &'s Store, work: Work) -> Self {
        Self {
            store,
            work: Some(work),
            savepoints: Vec::new(),
            next_savepoint: 0,
        }
    }

    fn work(&mut self) -> &mut Work {
        self.work.as_mut().expect("it has not ended")
    }

    /// The table `name`.
    ///
    /// # Errors
    /// [`Error::NoTable`]; and as [`TableMut::get`].
    pub fn table(&mut self, name: &str) -> Result<TableMut<'_>> {
        let id = self.id_of(name)?;
        Ok(TableMut {
            work: self.work(),
            id,
        })
    }

    fn id_of(&mut self, name: &str) -> Result<u64> {
        let id = self.work().table(name.as_bytes())?;
        id.ok_or_else(|| Error::NoTable {
            name: name.to_owned(),
        })
    }

    /// The table `name`, which is created if there is none.
    ///
    /// # Errors
    /// As [`TableMut::put`].
    pub fn create_table(&mut self, name: &str) -> Result<TableMut<'_>> {
        let work = self.work();
        let id = match work.table(name.as_bytes())? {
            Some(id) => id,
            None => work.create(name.as_bytes(), None)?,
        };
        Ok(TableMut { work, id })
    }

    /// Removes the table `name` with everything in it; returns whether it was there.
    ///
    /// # Cost
    /// Reads every page of the table.
    ///
    /// # Errors
    /// As [`TableMut::put`].
    pub fn drop_table(&mut self, name: &str) -> Result<bool> {
        let work = self.work();
        match work.table(name.as_bytes())? {
            Some(id) => work.drop_table(id).map(|()| true),
            None => Ok(false),
        }
    }

    /// Gives the table `from` the name `to`.
    ///
    /// # Errors
    /// [`Error::NoTable`], [`Error::TableExists`]: nothing was changed. And as [`TableMut::put`].
    pub fn rename_table(&mut self, from: &str, to: &str) -> Result<()> {
        let id = self.id_of(from)?;
        let work = self.work();
        if work.table(to.as_bytes())?.is_some() {
            return Err(Error::TableExists {
                name: to.to_owned(),
            });
        }
        work.rename(id, to.as_bytes())
    }

    /// The names of all tables, in order.
    ///
    /// # Errors
    /// As [`TableMut::get`].
    pub fn tables(&mut self) -> Result<Vec<String>> {
        self.work().tables().map(names)
    }

    /// Notes the state of the transaction. Savepoints nest.
    ///
    /// # Cost
    /// Pages that were changed before are copied when they are changed again.
    ///
    /// # Errors
    /// As [`TableMut::put`].
    pub fn savepoint(&mut self) -> Result<Savepoint> {
        let saved = self.work().save()?;
        let serial = self.next_savepoint;
        self.next_savepoint += 1;
        self.savepoints.push(serial);
        Ok(Savepoint {
            transaction: self.work().draft.first_version(),
            serial,
            saved,
        })
    }

    /// Takes back everything since `savepoint`, which can be returned to again; later ones cannot.
    ///
    /// # Errors
    /// [`Error::NoSavepoint`] if it is not of this transaction, or was taken back itself.
    pub fn rollback_to(&mut self, savepoint: &Savepoint) -> Result<()> {
        let is_mine = savepoint.transaction == self.work().draft.first_version();
        let found = self
            .savepoints
            .iter()
            .position(|&serial| serial == savepoint.serial);
        let at = found.filter(|_| is_mine).ok_or(Error::NoSavepoint)?;
        self.savepoints.truncate(at + 1);
        self.work().restore(savepoint.saved);
        Ok(())
    }

    /// Commits, as the store's [`SyncMode`] says.
    ///
    /// # Durability
    /// In [`SyncMode::Always`], everything that the transaction changed and saw survives power loss once
    /// this returns; in the other modes, the death of the process. All of it or nothing, in any case.
    ///
    /// # Cost
    /// One write of the changes to the log and, in `Always`, one `fdatasync`, shared with concurrent
    /// commits. The next write transaction can begin before the sync. A transaction over
    /// [`Options::large_transaction`](crate::Options::large_transaction) writes its pages instead, and
    /// takes four syncs.
    ///
    /// # Errors
    /// [`Error::Disk`] or [`Error::Log`] for which [`is_no_space`](Error::is_no_space) is true, and
    /// [`Error::Failed`]: nothing was changed. Any other: the store is poisoned, and the transaction may
    /// or may not survive.
    pub fn commit(self) -> Result<()> {
        let durability = match self.store.settings.sync {
            SyncMode::Always => Durability::Durable,
            _ => Durability::Buffered,
        };
        self.commit_with(durability)
    }

    /// Commits, with a durability of its own.
    ///
    /// # Errors
    /// As [`commit`](WriteTxn::commit).
    pub fn commit_with(mut self, durability: Durability) -> Result<()> {
        let work = self.work.take().expect("it has not ended");
        self.store.commit(work, durability == Durability::Durable)
    }

    /// Takes back everything. The same as dropping it, but says so.
    pub fn abort(self) {
        drop(self);
    }

    /// Takes back everything, and waits until what the transaction saw is durable.
    ///
    /// # Errors
    /// As [`Btree::sync`](crate::Btree::sync).
    pub fn abort_durable(mut self) -> Result<()> {
        let work = self.work.take().expect("it has not ended");
        self.store.abort(work);
        self.store.make_all_durable()
    }
}

impl Drop for WriteTxn<'_> {
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            if std::thread::panicking() {
                // It may have been in the middle of an edit.
                self.store.pager.health.poison(Error::Failed);
            }
            self.store.abort(work);
        }
    }
}

impl fmt::Debug for WriteTxn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteTxn")
            .field("savepoints", &self.savepoints)
            .finish_non_exhaustive()
    }
}

/// A table in a [`WriteTxn`].
pub struct TableMut<'t> {
    work: &'t mut Work,
    id: u64,
}

impl TableMut<'_> {
    /// The value of `key`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if a page on the way is damaged. [`Error::Disk`]. [`Error::Failed`] after an
    /// error of a call that changes something.
    pub fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        self.work.get(self.id, key)
    }

    /// The values of `keys`, in their order.
    ///
    /// # Errors
    /// As [`get`](TableMut::get).
    pub fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<Option<Value>>> {
        keys.iter().map(|key| self.get(key)).collect()
    }

    /// Makes `value` the value of `key`.
    ///
    /// # Errors
    /// [`Error::TooLarge`]: nothing was changed. [`Error::Disk`] for which
    /// [`is_no_space`](Error::is_no_space) is true: the disk is full, and the transaction can only be
    /// aborted. [`Error::Corrupt`], [`Error::Disk`], [`Error::Failed`].
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.work.put(self.id, key, value)
    }

    /// Fills the table, which is empty, with `entries`, whose keys are in order; returns how many there were. Before
    /// and after it the transaction may do anything else, and it commits or aborts as a whole.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let store = btree::Options::new().open(dir.path().join("store"))?;
    /// let mut write = store.begin_write()?;
    /// let squares = (0..100_000_u64).map(|n| (format!("{n:06}"), (n * n).to_string()));
    /// write.create_table("squares")?.bulk_load(squares)?;
    /// write.commit()?;
    /// # store.close()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cost
    /// Nothing is read or searched: pages are made one after the other, as full as they get. Memory as that of any
    /// transaction: what is more than the [cache](crate::Options::cache_size) can hold is written meanwhile. Entries
    /// that are put between these later split full leaves.
    ///
    /// # Errors
    /// [`Error::NotEmpty`]: nothing was changed. [`Error::OutOfOrder`] if a key is not above the one before. That,
    /// [`Error::TooLarge`] and the errors of [`put`](TableMut::put) leave a transaction that can only be aborted, or
    /// rolled back to a savepoint; so does a panic of `entries`.
    pub fn bulk_load<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &mut self,
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> Result<u64> {
        self.work.bulk_load(self.id, entries)
    }

    /// Deletes `key`, if it is there. Works on a full disk, within
    /// [`Options::reserve`](crate::Options::reserve).
    ///
    /// # Errors
    /// As [`put`](TableMut::put).
    pub fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.work.delete(self.id, key).map(drop)
    }

    /// Deletes every key in `range`; returns how many there were. Works on a full disk, as
    /// [`delete`](TableMut::delete).
    ///
    /// # Cost
    /// Reads the pages that go, and changes only those at the two ends of the range. One change in the
    /// log.
    ///
    /// # Errors
    /// As [`put`](TableMut::put).
    pub fn delete_range<'k>(&mut self, range: impl RangeBounds<&'k [u8]>) -> Result<u64> {
        let (low, high) = (owned(range.start_bound()), owned(range.end_bound()));
        let low = low.as_ref().map(Vec::as_slice);
        let high = high.as_ref().map(Vec::as_slice);
        self.work.delete_range(self.id, (low, high))
    }

    /// The entries whose keys lie in `range`, in order.
    pub fn range<'k>(&self, range: impl RangeBounds<&'k [u8]>) -> Range<'_> {
        self.work.range(self.id, &range)
    }

    /// The entry with the smallest key.
    ///
    /// # Errors
    /// As [`get`](TableMut::get).
    pub fn first(&self) -> Result<Option<(Vec<u8>, Value)>> {
        self.range(..).next().transpose()
    }

    /// The entry with the largest key.
    ///
    /// # Errors
    /// As [`get`](TableMut::get).
    pub fn last(&self) -> Result<Option<(Vec<u8>, Value)>> {
        self.range(..).next_back().transpose()
    }

    /// Deletes the entry with the smallest key, and returns it.
    ///
    /// # Errors
    /// As [`put`](TableMut::put).
    pub fn pop_first(&mut self) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        let entry = self.first()?;
        self.pop(entry)
    }

    /// Deletes the entry with the largest key, and returns it.
    ///
    /// # Errors
    /// As [`put`](TableMut::put).
    pub fn pop_last(&mut self) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        let entry = self.last()?;
        self.pop(entry)
    }

    fn pop(&mut self, entry: Option<(Vec<u8>, Value)>) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        let Some((key, value)) = entry else {
            return Ok(None);
        };
        let value = value.into_vec();
        self.work.delete(self.id, &key)?;
        Ok(Some((key, value)))
    }

    /// How many entries there are. Costs nothing.
    pub fn len(&self) -> u64 {
        self.work.len(self.id)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for TableMut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableMut")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}
