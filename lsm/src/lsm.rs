//! [`Lsm`]: the handle.

use std::ops::Deref;
use std::path::Path;
use std::sync::{Arc, Mutex};

use durable_io::engine::{BackupOptions, BackupReport, Worker};
use durable_io::made_durable;

use crate::batch::Batch;
use crate::error::Result;
use crate::keyspace::Keyspace;
use crate::open;
use crate::options::{KeyspaceOptions, Options};
use crate::space::KeyspaceSpace;
use crate::stats::{Recovery, Stats, Verified};
use crate::store::Store;
use crate::ticket::Ticket;
use crate::tree::DEFAULT_SLOT;

/// An open store. Made by [`Options::open`](crate::Options::open). It derefs to its default
/// [`Keyspace`], so that a store with one keyspace needs no other.
///
/// `Send + Sync`; every method takes `&self`. Share it in an [`Arc`].
///
/// # Drop
/// Dropping it joins its threads. It syncs nothing: what a mode acknowledges without a sync stays as safe
/// as that mode says. The lock is released when its keyspaces, snapshots and scans are dropped, too.
/// [`close`](Lsm::close) makes everything durable, says whether that worked, and releases the lock.
#[derive(Debug)]
pub struct Lsm {
    workers: Mutex<Vec<Worker>>,
    default: Keyspace,
    recovery: Recovery,
}

impl Deref for Lsm {
    type Target = Keyspace;

    fn deref(&self) -> &Keyspace {
        &self.default
    }
}

impl Options {
    /// Opens the store in the directory `dir`; creates both if they are missing. What a crash left torn
    /// is cut, and what it left unfinished is removed; damage is an error, and nothing is removed.
    ///
    /// # Durability
    /// When this returns, the directory, the store and everything read survive power loss, whatever the
    /// mode.
    ///
    /// # Cost
    /// Reads the manifest, the ends of all tables, and that part of the log which is in no table: at most
    /// [`replay_limit`](Options::replay_limit), twice.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt) if acknowledged data is lost or damaged, as far as
    /// opening looks. [`Error::Disk`](crate::Error::Disk) with
    /// [`Locked`](durable_io::Error::Locked) if the store is open already, in any process.
    /// [`Error::UnsupportedVersion`](crate::Error::UnsupportedVersion),
    /// [`Error::InvalidOption`](crate::Error::InvalidOption), [`Error::Disk`](crate::Error::Disk),
    /// [`Error::Thread`](crate::Error::Thread). After an error the store is as it was, and can be
    /// opened again.
    pub fn open(self, dir: impl AsRef<Path>) -> Result<Lsm> {
        self.check()?;
        Lsm::open(self, dir.as_ref())
    }
}

impl Lsm {
    pub(crate) fn open(options: Options, path: &Path) -> Result<Self> {
        let (store, recovery) = open::open(options, path)?;
        let mut workers = Vec::new();
        if !store.is_inline() {
            let shared = Arc::clone(&store);
            let flush = move || shared.flush_step();
            workers.push(store.flushes.start("lsm-flush", flush)?);
            let shared = Arc::clone(&store);
            let compact = move || shared.compact_step();
            workers.push(store.compactions.start("lsm-compact", compact)?);
        }
        Ok(Self {
            workers: Mutex::new(workers),
            default: Keyspace::new(&store, DEFAULT_SLOT),
            recovery,
        })
    }

    fn store(&self) -> &Arc<Store> {
        Keyspace::store(&self.default)
    }

    /// Does all operations of `batch`, in all of its keyspaces, or none: after any crash all of them are
    /// there or none is, and no reader sees a part. An empty batch writes nothing.
    ///
    /// # Durability, cost
    /// As [`put`](Keyspace::put), once for the whole batch.
    ///
    /// # Errors
    /// As [`put`](Keyspace::put). A batch with an operation on a keyspace that was dropped is refused as a
    /// whole.
    pub fn write(&self, batch: Batch) -> Result<()> {
        self.store().write(batch)
    }

    /// Like [`write`](Lsm::write), but where that would be delayed, because the background does not get on as fast as
    /// the writers, it writes nothing and says so: for a caller who has something else to do meanwhile, or a
    /// client to send away. It waits for its own sync, as the mode says.
    ///
    /// ```
    /// use lsm::{Batch, Error, Options};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// let db = Options::new().open(dir.path().join("store"))?;
    /// let batch = Batch::new().put(b"key", b"value");
    /// match db.try_write(batch) {
    ///     Ok(()) => println!("written"),
    ///     Err(Error::WouldDelay { cause, .. }) => println!("later: {cause}"),
    ///     Err(error) => return Err(error.into()),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cost
    /// As [`write`](Lsm::write). At the bound of memory it begins the flush that would make room, and waits for those
    /// who are writing.
    ///
    /// # Errors
    /// [`Error::WouldDelay`](crate::Error::WouldDelay); else as [`write`](Lsm::write).
    pub fn try_write(&self, batch: Batch) -> Result<()> {
        self.store().try_write(batch)
    }

    /// Like [`write`](Lsm::write), without waiting: the ticket tells when it is acknowledged. One thread
    /// can so keep many writes in flight, and they share syncs like those of many threads. Those of one
    /// thread are done in the order of its calls.
    ///
    /// # Cost
    /// As [`write`](Lsm::write). The first call starts a thread of the log, named `wal-commit`; under
    /// [`Background::Inline`](crate::Background::Inline) what is in flight is written by
    /// [`Ticket::wait`], by a write that waits, or by [`run_background`](Lsm::run_background). If many
    /// bytes are in flight, this waits until some are acknowledged.
    ///
    /// # Errors
    /// As [`write`](Lsm::write), if it is refused at once; all others come with the ticket.
    pub fn submit(&self, batch: Batch) -> Result<Ticket> {
        self.store().submit(batch)
    }

    /// Like [`write`](Lsm::write), and durable in every mode: when it returns, the batch, and everything
    /// acknowledged before, survives power loss.
    ///
    /// # Errors
    /// As [`write`](Lsm::write).
    pub fn write_durable(&self, batch: Batch) -> Result<()> {
        self.write(batch)?;
        self.sync()
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
        let store = self.store();
        store.check_healthy()?;
        // Durable: everything acknowledged. Only now may the caller rely on it.
        made_durable(|| store.log.sync()).map_err(|error| store.note(error.into()))?;
        Ok(())
    }

    /// Brings everything that was written to any keyspace into tables, so that the next opening reads
    /// nothing of the log.
    ///
    /// # Durability, cost
    /// As [`Keyspace::flush`], for each of them.
    ///
    /// # Errors
    /// As [`Keyspace::flush`].
    pub fn flush_all(&self) -> Result<()> {
        self.store().flush(None)
    }

    /// A handle of the keyspace `name`.
    ///
    /// # Errors
    /// [`Error::NoKeyspace`](crate::Error::NoKeyspace).
    pub fn keyspace(&self, name: &str) -> Result<Keyspace> {
        self.store().check_open()?;
        let slot = self.store().slot_of(name)?;
        Ok(Keyspace::new(self.store(), slot))
    }

    /// Creates the keyspace `name`, which has no keys.
    ///
    /// # Durability
    /// When this returns, it survives power loss, in every mode; and so does everything that was written
    /// before.
    ///
    /// # Cost
    /// A durable edit of the manifest, and a sync of the log if something is not durable. Writers wait.
    ///
    /// # Errors
    /// [`Error::KeyspaceExists`](crate::Error::KeyspaceExists),
    /// [`Error::TooLarge`](crate::Error::TooLarge) for the name,
    /// [`Error::InvalidOption`](crate::Error::InvalidOption); else as [`put`](Keyspace::put).
    pub fn create_keyspace(&self, name: &str, options: &KeyspaceOptions) -> Result<Keyspace> {
        let slot = self.store().create_keyspace(name, options)?;
        Ok(Keyspace::new(self.store(), slot))
    }

    /// Drops the keyspace `name` with all of its keys, and gives their space back. Handles of it answer
    /// [`Error::Dropped`](crate::Error::Dropped); snapshots that are open go on seeing it.
    ///
    /// Works on a full disk.
    ///
    /// # Durability, cost
    /// As [`create_keyspace`](Lsm::create_keyspace).
    ///
    /// # Errors
    /// [`Error::NoKeyspace`](crate::Error::NoKeyspace),
    /// [`Error::DefaultKeyspace`](crate::Error::DefaultKeyspace); else as [`put`](Keyspace::put).
    pub fn drop_keyspace(&self, name: &str) -> Result<()> {
        self.store().drop_keyspace(name)
    }

    /// The names of all keyspaces, in order.
    pub fn list_keyspaces(&self) -> Vec<String> {
        self.store().catalog().names()
    }

    /// Makes a backup of the store, as it is at one moment during this call, in the directory `dir`, which is
    /// created with its parents and must be empty. The backup is a store like any other:
    /// [`open_read_only`](Options::open_read_only) reads it, [`open`](Options::open) goes on with it. Reads and
    /// writes go on meanwhile.
    ///
    /// Tables get one more name in it where the file system allows that, since nobody writes a table again:
    /// then a backup takes no space until tables are merged. A link is no second copy; see [`BackupOptions`],
    /// also for backups on another disk that copy only what is new.
    ///
    /// # Durability
    /// When this returns, the backup survives power loss, also if the store's own directory is lost. A crash
    /// before that leaves a directory that is no store: opening it is
    /// [`Error::Corrupt`](crate::Error::Corrupt), and it can be removed.
    ///
    /// # Cost
    /// A flush of every keyspace, a link for each table, and a few syncs; where tables cannot be linked,
    /// reading and writing them once. What compactions give up stays on the disk until this returns.
    ///
    /// # Errors
    /// [`Error::Disk`](crate::Error::Disk), also if the directory is not empty (`DirectoryNotEmpty`);
    /// [`Error::Corrupt`](crate::Error::Corrupt) if a table that is copied is not what was written, or if there
    /// is no whole backup where one was named. The store is poisoned only if its own flush failed as a write
    /// does.
    pub fn backup(&self, dir: impl AsRef<Path>, options: &BackupOptions) -> Result<BackupReport> {
        self.store().backup(dir.as_ref(), options)
    }

    /// What opening the store found and did.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Reads and checks everything: every byte of every table, against its own checks and against the
    /// manifest's; the log; the manifest; that the tables of a run do not overlap. Writes go on meanwhile.
    ///
    /// # Cost
    /// Reads the whole store. Compactions wait until it is done.
    ///
    /// # Errors
    /// [`Error::Disk`](crate::Error::Disk) if something cannot be read. Damage is no error here: all of it
    /// is in [`Verified::damage`].
    pub fn verify(&self) -> Result<Verified> {
        self.store().check_open()?;
        self.store().verify()
    }

    /// How each keyspace uses space, level by level: what is in tables, how much of that is deletions, which of it
    /// goes next, and which waits for a snapshot to end.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let db = lsm::Options::new().open(dir.path().join("store"))?;
    /// # db.put(b"key", b"value")?;
    /// # db.flush()?;
    /// for keyspace in db.explain_space() {
    ///     for level in &keyspace.levels {
    ///         println!(
    ///             "{}, level {}: {} bytes in {} tables, of which {} wait for a snapshot",
    ///             keyspace.name, level.level, level.bytes, level.tables, level.held_bytes,
    ///         );
    ///     }
    /// }
    /// # assert_eq!(db.explain_space()[0].levels[0].entries, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cost
    /// That of a plan of compactions: a few numbers of each table, and for each range of keys that is deleted and not
    /// merged yet two searches in the index of each older table that it overlaps.
    pub fn explain_space(&self) -> Vec<KeyspaceSpace> {
        self.store().explain_space()
    }

    /// What this handle has done since it was opened, and how large the store is.
    ///
    /// # Cost
    /// A few locks, and a look at each table's numbers.
    pub fn stats(&self) -> Stats {
        self.store().stats()
    }

    /// Under [`Background::Inline`](crate::Background::Inline), runs one step of background work and
    /// returns true, or returns false if there is none: the interval's sync, a segment of the log that is
    /// made ready, a flush, a compaction. Under [`Background::Threads`](crate::Background::Threads), false.
    ///
    /// # Errors
    /// [`Error::Disk`](crate::Error::Disk): the store is poisoned. Neither a full disk nor damage is an
    /// error here: [`stats`](Lsm::stats) shows them.
    pub fn run_background(&self) -> Result<bool> {
        let store = self.store();
        store.check_healthy()?;
        if !store.is_inline() {
            return Ok(false);
        }
        let log = store.log.run_background();
        if log.map_err(|error| store.note(error.into()))? {
            return Ok(true);
        }
        Ok(store.flushes.run_once(|| store.flush_step())?
            || store.compactions.run_once(|| store.compact_step())?)
    }

    /// Makes everything durable, states so in the log, so that any later loss will be noticed, joins the
    /// threads and releases the lock. Nothing is flushed: the next opening reads what is in no table from
    /// the log. Later calls of every handle answer [`Error::Closed`](crate::Error::Closed), and so does a
    /// second one of this.
    ///
    /// # Cost
    /// A sync if something is not durable, and a few durable writes. A compaction that is going on is
    /// stopped, and begun anew after the next opening.
    ///
    /// # Errors
    /// [`Error::Disk`](crate::Error::Disk), [`Error::Poisoned`](crate::Error::Poisoned): the lock is
    /// released, and what was not durable may or may not survive.
    pub fn close(&self) -> Result<()> {
        let store = self.store();
        store.check_open()?;
        if !store.begin_close() {
            return Err(crate::error::Error::Closed);
        }
        // First: nothing is written behind the last sync.
        store.health.lock(&self.workers).clear();
        drop(store.gate.close(|| store.help()));
        // Durable: everything, and the statement that it is. Only now may the caller be told so.
        let log = made_durable(|| store.log.close());
        let manifest = store.health.lock(&store.manifest).close();
        store.unlock();
        log?;
        manifest
    }
}

impl Store {
    pub(crate) fn stats(&self) -> Stats {
        let catalog = self.catalog();
        let used = self.used(&catalog);
        let log = self.log.stats();
        let versions = self.snapshot_versions();
        let trouble = |work: &durable_io::engine::Work| Some(work.trouble()?.error.to_string());
        let mut stats = Stats {
            operations: log.appended_records,
            last_version: log.last_lsn,
            durable_version: log.durable_lsn,
            log_syncs: log.sync_count,
            log_bytes: log.disk_bytes,
            memtable_bytes: used.active + used.frozen,
            frozen_bytes: used.frozen,
            table_memory_bytes: used.tables,
            pinned_bytes: used.pinned,
            cache_bytes: self.cache.bytes(),
            snapshots: versions.len() as u64,
            oldest_snapshot: versions.first().copied(),
            delays: self.throttle.delays(),
            flush_trouble: trouble(&self.flushes),
            compaction_trouble: trouble(&self.compactions),
            ..Stats::default()
        };
        for tree in &catalog.trees {
            let state = tree.peek();
            stats.runs = stats.runs.max(state.levels.runs.len() as u64);
            stats.tables += state.levels.tables.len() as u64;
            stats.table_bytes += state.levels.bytes();
        }
        self.counters.fill(&mut stats);
        // Not waited for: a compaction holds the lock, and then there is nothing new to tell.
        if let Ok(aside) = self.compacting.try_lock() {
            stats.damage.clone_from(&aside.damage);
        }
        if let Ok(manifest) = self.manifest.try_lock() {
            stats.manifest_bytes = manifest.log().stats().disk_bytes;
        }
        stats
    }
}
