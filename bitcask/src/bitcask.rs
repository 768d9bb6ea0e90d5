//! [`Bitcask`]: the handle.

use std::path::Path;
use std::sync::{Arc, Mutex};

use durable_io::Background;
use durable_io::engine::{BackupOptions, BackupReport, Trouble, Value, Worker};

use crate::batch::{Answer, Batch};
use crate::error::Result;
use crate::keydir::Found;
use crate::record::Kind;
use crate::snapshot::{Keys, Snapshot};
use crate::stats::{FileSpace, MergeReport, Recovery, Stats, Verified};
use crate::store::Store;

/// An open store. Made by [`Options::open`](crate::Options::open).
///
/// `Send + Sync`; every method takes `&self`. Share it in an [`Arc`]. Once it is closed, every call that can fail
/// answers [`Error::Closed`](crate::Error::Closed); snapshots and iterators that are open can still be read.
///
/// # Drop
/// Dropping it joins its threads and releases the lock. It syncs nothing: what a mode acknowledges
/// without a sync stays as safe as that mode says. [`close`](Bitcask::close) makes everything durable,
/// and says whether that worked.
#[derive(Debug)]
pub struct Bitcask {
    background: Background,
    /// None under [`Background::Inline`].
    workers: Mutex<Vec<Worker>>,
    store: Arc<Store>,
    recovery: Recovery,
}

impl Bitcask {
    pub(crate) fn start(
        store: Store,
        background: Background,
        merge_rate: Option<u64>,
        recovery: Recovery,
    ) -> Result<Self> {
        let store = Arc::new(store);
        let workers = match background {
            Background::Threads => store.start_workers(merge_rate)?,
            Background::Inline => Vec::new(),
        };
        Ok(Self {
            background,
            workers: Mutex::new(workers),
            store,
            recovery,
        })
    }

    #[cfg(test)]
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// The value of `key`; `None` if it is absent.
    ///
    /// Under [`Batch`](crate::SyncMode::Batch) and [`Manual`](crate::SyncMode::Manual) it may be one
    /// that a power loss can still take back.
    ///
    /// # Cost
    /// One probe of the index and one record, whose checksum is checked; one more record for each key
    /// that shares 38 bits of hash with this one.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt) if the record is damaged,
    /// [`Error::Disk`](crate::Error::Disk) if it cannot be read; [`Error::Closed`](crate::Error::Closed).
    pub fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        self.store.check_open()?;
        Ok(self.store.find(key)?.and_then(Found::into_value))
    }

    /// The values of `keys`, in their order; `None` for each that is absent. A key may be there more than once.
    ///
    /// Each is as a [`get`](Bitcask::get) during the call would find it: not all of them need to be of one moment.
    /// [`Snapshot::get_many`] gives them so.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let store = bitcask::Options::new().open(dir.path())?;
    /// store.put(b"apple", b"3")?;
    /// store.put(b"pear", b"1")?;
    /// let found = store.get_many(&[b"pear".as_slice(), b"fig", b"apple"])?;
    /// let found: Vec<Option<&[u8]>> = found.iter().map(|value| value.as_deref()).collect();
    /// assert_eq!(found, [Some(&b"1"[..]), None, Some(&b"3"[..])]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cost
    /// For each key that of a [`get`](Bitcask::get), but for the waiting for memory: that of up to 64 keys is waited
    /// for at once, first for the slots of the index, then for the records. Writers of these keys wait while the
    /// slots are read. A table of the keys is sorted.
    ///
    /// # Errors
    /// As [`get`](Bitcask::get), the first that is met: damage of one key withholds the others, which `get` gives.
    pub fn get_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Value>>> {
        self.store.check_open()?;
        self.store.find_many(keys, None)
    }

    /// True if `key` is there.
    ///
    /// # Cost
    /// As [`get`](Bitcask::get): the key is on the disk.
    ///
    /// # Errors
    /// As [`get`](Bitcask::get).
    pub fn contains(&self, key: &[u8]) -> Result<bool> {
        self.store.check_open()?;
        Ok(self.store.find(key)?.is_some())
    }

    /// Gives `key` the value `value`. Any bytes will do for both, none at all too.
    ///
    /// Concurrent callers share one write and one sync.
    ///
    /// # Durability
    /// As the [`SyncMode`](crate::SyncMode) says; under [`Always`](crate::SyncMode::Always) the value
    /// survives power loss once this returns.
    ///
    /// # Cost
    /// One copy of key and value, one write, and in `Always` one `fdatasync`, both shared.
    ///
    /// # Errors
    /// [`Error::TooLarge`](crate::Error::TooLarge), [`Error::MemoryLimit`](crate::Error::MemoryLimit):
    /// nothing was written. [`Error::Disk`](crate::Error::Disk) with
    /// [`NoSpace`](durable_io::Error::NoSpace) or [`Resource`](durable_io::Error::Resource): nothing was
    /// written, and a later write may succeed.
    /// Any other `Error::Disk`: the store is poisoned, and the value may or may not survive.
    /// [`Error::Poisoned`](crate::Error::Poisoned): the same. [`Error::Closed`](crate::Error::Closed): nothing was
    /// written.
    pub fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.commit_one(Kind::Put, key, value)
    }

    /// Makes `key` absent. That it is absent already is no error.
    ///
    /// Works on a full disk, as far as [`Options::reserve`](crate::Options::reserve) reaches.
    ///
    /// # Durability, cost
    /// As [`put`](Bitcask::put).
    ///
    /// # Errors
    /// As [`put`](Bitcask::put).
    pub fn delete(&self, key: &[u8]) -> Result<()> {
        self.commit_one(Kind::Delete, key, &[])
    }

    fn commit_one(&self, kind: Kind, key: &[u8], value: &[u8]) -> Result<()> {
        let mut batch = Batch::new();
        batch.push(kind, key, value);
        self.store.commit(batch, None).map(drop)
    }

    /// Does all changes of `batch`, or none: after any crash all of them are there or none is. A
    /// concurrent [`get`](Bitcask::get) may see one before the other; a [`snapshot`](Bitcask::snapshot)
    /// does not. An empty batch writes nothing.
    ///
    /// # Durability, cost
    /// As [`put`](Bitcask::put), once for the whole batch.
    ///
    /// # Errors
    /// As [`put`](Bitcask::put).
    pub fn write(&self, batch: Batch) -> Result<()> {
        self.store.commit(batch, None).map(drop)
    }

    /// If `key` has the value `expected` (`None`: is absent), gives it the value `new` (`None`: makes it absent),
    /// and returns `Ok(())`; else nothing was written, and it returns `Err` with the value that the key has, `None`
    /// if it is absent. Nothing comes in between.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let store = bitcask::Options::new().open(dir.path())?;
    /// // Who comes first gets the lock.
    /// assert!(store.compare_and_set(b"lock", None, Some(b"alice"))?.is_ok());
    /// match store.compare_and_set(b"lock", None, Some(b"bob"))? {
    ///     Ok(()) => unreachable!("alice has it"),
    ///     Err(found) => assert_eq!(found.as_deref(), Some(&b"alice"[..])),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Durability, cost
    /// As [`put`](Bitcask::put), and a read of the key.
    ///
    /// # Errors
    /// As [`put`](Bitcask::put) and [`get`](Bitcask::get).
    pub fn compare_and_set(
        &self,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<Result<(), Option<Value>>> {
        let expected = expected.map(|value| Value::from(value.to_vec()));
        Ok(match self.store.commit_if(key, expected, new)? {
            Answer::Done => Ok(()),
            Answer::Found(found) => Err(found),
        })
    }

    /// Gives `key` the value that `change` makes of the one that it has (`None`: is absent, or shall be), and
    /// returns the one that it had. No other write of the key comes in between.
    ///
    /// `change` is called without a lock, and again with the newer value if another writer was faster: it should do
    /// nothing but compute. Among several that update one key, one gets on with each group that is written. If it
    /// returns what is there, nothing is written.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let store = bitcask::Options::new().open(dir.path())?;
    /// let append = |old: Option<&[u8]>| Some([old.unwrap_or(b""), b"!"].concat());
    /// assert_eq!(store.update(b"shout", append)?, None);
    /// assert_eq!(store.update(b"shout", append)?.as_deref(), Some(&b"!"[..]));
    /// assert_eq!(store.get(b"shout")?.as_deref(), Some(&b"!!"[..]));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Durability
    /// As [`put`](Bitcask::put).
    ///
    /// # Cost
    /// A [`get`](Bitcask::get), and a [`compare_and_set`](Bitcask::compare_and_set) for each call of `change`.
    ///
    /// # Errors
    /// As [`put`](Bitcask::put) and [`get`](Bitcask::get).
    pub fn update<V: AsRef<[u8]>>(
        &self,
        key: &[u8],
        change: impl FnMut(Option<&[u8]>) -> Option<V>,
    ) -> Result<Option<Value>> {
        self.store.update(key, change)
    }

    /// The store as it is now, to read while others write.
    ///
    /// # Cost
    /// None now; then memory for each key that changes, once, and the data files that have its records, until
    /// it is dropped ([`Stats::change_bytes`], [`Stats::removed_bytes`]). Dropping it may go through all
    /// changes that are kept for others.
    ///
    /// # Errors
    /// [`Error::Closed`](crate::Error::Closed).
    pub fn snapshot(&self) -> Result<Snapshot> {
        self.store.check_open()?;
        Ok(Snapshot::new(&self.store))
    }

    /// Every key, in no order, as of now. [`Snapshot::entries`] gives the values, too.
    ///
    /// # Errors
    /// [`Error::Closed`](crate::Error::Closed). The items are errors as those of [`get`](Bitcask::get); reading goes
    /// on behind one.
    pub fn keys(&self) -> Result<Keys> {
        Ok(self.snapshot()?.keys())
    }

    /// Calls `f` with every key and value as of now, in no order, and what it returned before; `init`
    /// at first.
    ///
    /// # Errors
    /// As [`get`](Bitcask::get): the first one ends it. [`Snapshot::entries`] goes on behind it.
    pub fn fold<T>(&self, init: T, f: impl FnMut(T, &[u8], &[u8]) -> T) -> Result<T> {
        self.snapshot()?.fold(init, f)
    }

    /// Makes everything acknowledged so far durable.
    ///
    /// # Cost
    /// One `fdatasync`, or nothing if everything is durable already. Writes go on meanwhile.
    ///
    /// # Errors
    /// [`Error::Disk`](crate::Error::Disk): the store is poisoned; what was not durable may or may not
    /// survive. [`Error::Poisoned`](crate::Error::Poisoned), [`Error::Closed`](crate::Error::Closed).
    pub fn sync(&self) -> Result<()> {
        self.store.check_open()?;
        // Durable: everything acknowledged. Only now may the caller rely on it.
        self.store.sync()
    }

    /// Goes on in another data file, so that a merge can take this one. Does nothing if nothing was
    /// written to it.
    ///
    /// # Cost
    /// A file of up to 1 MiB, and five syncs.
    ///
    /// # Errors
    /// As [`put`](Bitcask::put).
    pub fn rotate(&self) -> Result<()> {
        self.store.rotate()
    }

    /// Rewrites every sealed data file that has something to give back, and small ones together; a
    /// merge that is going on is finished first. Reads and writes go on: what is sealed meanwhile is not
    /// for this call, so that it returns beside any writers, and what it has written it does not merge again.
    ///
    /// Works on a full disk, as far as [`Options::reserve`](crate::Options::reserve) reaches: it needs
    /// space for what is live in one data file at a time.
    ///
    /// # Durability
    /// After a crash each file is either as before or merged; no key changes.
    ///
    /// # Cost
    /// Reads those files, writes what is live of them, and four syncs for each file written. Memory:
    /// 24 bytes for each record of one data file.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt): a file is damaged; it is left as it is.
    /// [`Error::Disk`](crate::Error::Disk) with [`NoSpace`](durable_io::Error::NoSpace): the files that
    /// are not merged yet stay as they are. Any other `Error::Disk`: the store is poisoned.
    /// [`Error::Poisoned`](crate::Error::Poisoned). [`Error::Closed`](crate::Error::Closed), also if it is closed
    /// meanwhile: then each file is as before or merged.
    pub fn merge(&self) -> Result<MergeReport> {
        self.store.merge_all()
    }

    /// Makes a backup of the store, as it is at one moment during this call, in the directory `dir`, which is
    /// created with its parents and must be empty. The backup is a store like any other:
    /// [`open_read_only`](crate::Options::open_read_only) reads it, [`open`](crate::Options::open) goes on with
    /// it. Reads and writes go on meanwhile.
    ///
    /// Data files get one more name in it where the file system allows that, since nobody writes to a sealed
    /// one again: then a backup takes no space until files are merged. A link is no second copy; see
    /// [`BackupOptions`], also for backups on another disk that copy only what is new.
    ///
    /// # Durability
    /// When this returns, the backup survives power loss, also if the store's own directory is lost. A crash
    /// before that leaves a directory that is no store: opening it is
    /// [`Error::Corrupt`](crate::Error::Corrupt), and it can be removed.
    ///
    /// # Cost
    /// A [`rotate`](Bitcask::rotate), a link for each data file and each hint, and a few syncs; where files
    /// cannot be linked, reading and writing them once, and reading the copy. A merge waits until it is done.
    ///
    /// # Errors
    /// [`Error::Disk`](crate::Error::Disk), also if the directory is not empty (`DirectoryNotEmpty`);
    /// [`Error::Corrupt`](crate::Error::Corrupt) if a file that is copied is damaged, or if there is no whole
    /// backup where one was named. The store is poisoned only if its rotation failed as a write does.
    pub fn backup(&self, dir: impl AsRef<Path>, options: &BackupOptions) -> Result<BackupReport> {
        self.store.backup(dir.as_ref(), options)
    }

    /// What opening the store found and did.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Reads and checks every byte of every file: the manifest, every group and record, and the hints.
    /// Writes go on meanwhile; of the active file, what was written when this was called is checked.
    ///
    /// # Cost
    /// Reads the whole store. A merge waits until it is done.
    ///
    /// # Errors
    /// [`Error::Disk`](crate::Error::Disk) if the system refuses a descriptor or memory;
    /// [`Error::Closed`](crate::Error::Closed). Damage is no error
    /// here, nor is a place that cannot be read: all of it is in [`Verified::damage`].
    pub fn verify(&self) -> Result<Verified> {
        self.store.verify()
    }

    /// How each data file uses its space, oldest first, and why it is merged or not.
    pub fn explain_space(&self) -> Vec<FileSpace> {
        self.store.explain_space()
    }

    /// What this handle has done since it was opened, and how large the store is.
    ///
    /// # Cost
    /// A few locks, and a look at each data file's counters.
    pub fn stats(&self) -> Stats {
        self.store.stats()
    }

    /// Why background work does not get on, if it does not: what failed last without changing anything, and
    /// when it is tried again.
    pub fn trouble(&self) -> Option<Trouble> {
        self.store.tidying.work.trouble()
    }

    /// Under [`Background::Inline`], runs one step of background work and returns true, or returns
    /// false if there is none. Under [`Background::Threads`], false.
    ///
    /// # Errors
    /// [`Error::Disk`](crate::Error::Disk), [`Error::Poisoned`](crate::Error::Poisoned): the store is
    /// poisoned. Damage is no error here: [`merge`](Bitcask::merge) reports it. Nor is what changed
    /// nothing: [`trouble`](Bitcask::trouble).
    pub fn run_background(&self) -> Result<bool> {
        if self.background == Background::Threads {
            self.store.check_open()?;
            return Ok(false);
        }
        self.store.run_one_step()
    }

    /// Makes everything durable, states so in the manifest, so that any later loss will be noticed,
    /// joins the threads and releases the lock. What other threads begin meanwhile is done, or answered with
    /// [`Error::Closed`](crate::Error::Closed), as is every later call that can fail. Snapshots, iterators and values
    /// that are open can still be read; so the memory and the maps of the store go with the handle and the last of
    /// these.
    ///
    /// # Cost
    /// A sync if something is not durable, and two if something was written since the last close. It waits for a step
    /// of a merge, a [`verify`](Bitcask::verify) or a [`backup`](Bitcask::backup) that is going on.
    ///
    /// # Errors
    /// [`Error::Disk`](crate::Error::Disk), [`Error::Poisoned`](crate::Error::Poisoned): the store is
    /// closed, the lock is released, and what was not durable may or may not survive.
    /// [`Error::Closed`](crate::Error::Closed): it was closed before.
    pub fn close(&self) -> Result<()> {
        self.store.begin_close()?;
        self.stop_workers();
        self.store.close()
    }

    fn stop_workers(&self) {
        // Taken out first: joining them is nothing to hold a lock for.
        let workers = std::mem::take(&mut *self.store.health.lock(&self.workers));
        drop(workers);
    }
}

impl Drop for Bitcask {
    fn drop(&mut self) {
        self.stop_workers();
        self.store.home.unlock();
    }
}
