//! The store in each `SyncMode`: its alphabets, its starting states and its model.

mod backups;
mod probes;
mod salvage;
mod starts;
mod state;
pub(crate) mod trials;

use std::collections::BTreeMap;
use std::time::Duration;

use crashtest::content::{identify, payload};
use durable_io::sim::{Outcome, Start, Subject, Survives};
use durable_io::{Background, Disk, SyncMode};
use lsm::{
    BackupOptions, Batch, Keyspace, KeyspaceOptions, Lsm, Options, RepairOptions, Snapshot,
    Strategy,
};

use crate::engines::backups::path;
pub(crate) use probes::PROBES;
pub(crate) use state::State;
use state::{Entries, contents};

pub(super) use salvage::salvage;

const DIR: &str = "/lsm";
const OTHER: &str = "other";
const DEFAULT: &str = "default";
const KEYS: [&str; 3] = ["a", "b", "c"];

/// What a `Batch` store under test is opened with: the second unsynced write syncs, and so does the
/// next background step after a single one, whose interval is over at once.
pub(crate) const BATCH: SyncMode = SyncMode::Batch {
    writes: 2,
    interval: Duration::ZERO,
};

/// Everything once: the runs that faults are injected into.
pub(crate) const FAULTED: &[Op] = &[
    Op::Put("a"),
    Op::PutLarge("b"),
    Op::DropOrCreate,
    Op::Batch,
    Op::Flush,
    Op::Snapshot,
    Op::Delete("a"),
    Op::DeleteRange("a", "c"),
    Op::PutLarge("c"),
    Op::Background,
    Op::Snapshot,
    Op::Compact,
    Op::DropOrCreate,
    Op::Put("a"),
    Op::Clear,
    Op::Close,
    Op::Put("c"),
    Op::Sync,
];

/// Which operations are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alphabet {
    /// What changes data, and what the background does with it.
    Data,
    /// What else there is, mixed with puts.
    Rest,
    /// What is in the log alone, so that it can be torn anywhere.
    Log,
    /// What is in the manifest, of a store with names so long that a snapshot of it has several parts.
    Manifest,
    /// Backups, of stores that continue, and repairs.
    Backup,
}

/// The store in one [`SyncMode`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct LsmSubject {
    pub(crate) mode: SyncMode,
    pub(crate) alphabet: Alphabet,
    /// So many bytes are held back for a full disk.
    pub(crate) reserve: u64,
}

type Key = &'static str;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// Put 20 bytes.
    Put(Key),
    /// Put a value over two sectors, of which two fill a memtable.
    PutLarge(Key),
    Delete(Key),
    /// Delete the keys from the first to the second.
    DeleteRange(Key, Key),
    /// Put `b` and, if there is the other keyspace, `a` in that, as one batch.
    Batch,
    Flush,
    /// One step of background work: a segment made ready, a flush, a compaction, the interval's sync.
    Background,
    /// Merge everything.
    Compact,
    /// Drop the other keyspace, or create it if there is none.
    DropOrCreate,
    Clear,
    /// Take a snapshot, or look whether the one that was taken shows what it must, and drop it.
    Snapshot,
    /// Make a backup in a new directory, of links.
    Backup,
    /// Make one of copies.
    BackupCopied,
    /// Close, and make a new store of what is left, which is all.
    Repair,
    Sync,
    /// Close; the next operation opens again.
    Close,
}

pub(crate) struct Opened {
    disk: Disk,
    subject: LsmSubject,
    /// Before the store, so that it is dropped first.
    snapshot: Option<(Snapshot, State)>,
    open: Option<Lsm>,
}

impl LsmSubject {
    pub(crate) const fn new(mode: SyncMode, alphabet: Alphabet, reserve: u64) -> Self {
        Self {
            mode,
            alphabet,
            reserve,
        }
    }

    fn options(self, disk: &Disk) -> Options {
        Options::new()
            .sync(self.mode)
            .background(Background::Inline)
            .disk(disk.clone())
            .keyspace(DEFAULT, tables())
            .memtable_size(1300)
            .memory(1 << 20)
            .block_cache(4 << 10)
            .table_size(1024)
            .log_segment_size(2048)
            .manifest_segment_size(1024)
            .reserve(self.reserve)
    }

    fn open_store(self, disk: &Disk) -> Outcome<Lsm> {
        let left = probes::left(disk);
        let store = self.options(disk).open(DIR)?;
        probes::note(left, store.recovery());
        if self.alphabet == Alphabet::Manifest {
            probes::make_manifest_long(&store)?;
        }
        let tables = disk.open_dir("/lsm/tables")?.list()?.len() as u64;
        let named = store.stats().tables;
        if tables != named {
            return Err(format!("{tables} files of tables after opening, {named} in use").into());
        }
        Ok(store)
    }
}

fn tables() -> KeyspaceOptions {
    let options = KeyspaceOptions::new().strategy(Strategy::Leveled);
    options.block_size(512).filter_bits(0)
}

impl Opened {
    /// The open store; a closed one is opened again.
    fn store(&mut self) -> Outcome<&Lsm> {
        let store = match self.open.take() {
            Some(store) => store,
            None => self.subject.open_store(&self.disk)?,
        };
        Ok(self.open.insert(store))
    }

    /// What the operation just acknowledged is promised: the store's own count says so, and every
    /// crash checks whether it speaks the truth. The mode's words bound how far it may lag.
    fn promise(&mut self, op: Op) -> Outcome<Survives> {
        let stats = self.store()?.stats();
        let unsynced = stats.last_version.0 - stats.durable_version.0;
        let allowed = match self.subject.mode {
            SyncMode::Always => 0,
            // Each write is at most two operations.
            SyncMode::Batch { writes, .. } => (u64::from(writes) - 1) * 2,
            SyncMode::Manual
                if matches!(op, Op::Sync | Op::Flush | Op::DropOrCreate | Op::Clear) =>
            {
                0
            }
            SyncMode::Manual => u64::MAX,
        };
        if unsynced > allowed {
            return Err(format!("{unsynced} operations are not durable after {op:?}").into());
        }
        Ok(if unsynced == 0 {
            Survives::PowerLoss
        } else {
            Survives::ProcessDeath
        })
    }

    fn toggle_snapshot(&mut self) -> Outcome<()> {
        if let Some((snapshot, expected)) = self.snapshot.take() {
            let seen = contents(&snapshot)?;
            if seen != expected {
                return Err(format!("a snapshot of {expected:?} shows {seen:?}").into());
            }
        } else {
            let snapshot = self.store()?.snapshot()?;
            let state = contents(&snapshot)?;
            self.snapshot = Some((snapshot, state));
        }
        Ok(())
    }

    fn apply(&mut self, op: Op, n: u64) -> Outcome<()> {
        let store = self.store()?;
        match op {
            Op::Put(key) | Op::PutLarge(key) => {
                store.put(key.as_bytes(), &payload(n, 0, len(op)))?;
            }
            Op::Delete(key) => store.delete(key.as_bytes())?,
            Op::DeleteRange(start, end) => store.delete_range(start.as_bytes(), end.as_bytes())?,
            Op::Batch => {
                let batch = Batch::new().put(b"b", &payload(n, 0, len(op)));
                let other = other(store)?;
                store.write(match &other {
                    Some(other) => batch.put_in(other, b"a", &payload(n, 1, len(op))),
                    None => batch,
                })?;
            }
            Op::Flush => store.flush_all()?,
            Op::Background => drop(store.run_background()?),
            Op::Compact => drop(store.compact(..)?),
            Op::DropOrCreate => match other(store)? {
                Some(_) => store.drop_keyspace(OTHER)?,
                None => drop(store.create_keyspace(OTHER, &tables())?),
            },
            Op::Clear => store.clear()?,
            Op::Snapshot => self.toggle_snapshot()?,
            Op::Backup => {
                store.backup(path(n), &BackupOptions::new())?;
            }
            Op::BackupCopied => {
                store.backup(path(n), &BackupOptions::new().copied())?;
            }
            Op::Repair => {
                if let Some(store) = self.open.take() {
                    store.close()?;
                }
                let options = self.subject.options(&self.disk);
                options.repair(DIR, path(n), &RepairOptions::new())?;
            }
            Op::Sync => store.sync()?,
            Op::Close => {
                // The store is opened by whatever comes next, so that a crash can come before.
                if let Some(store) = self.open.take() {
                    store.close()?;
                }
            }
        }
        Ok(())
    }
}

fn other(store: &Lsm) -> Outcome<Option<Keyspace>> {
    match store.keyspace(OTHER) {
        Err(lsm::Error::NoKeyspace { .. }) => Ok(None),
        other => Ok(Some(other?)),
    }
}

/// How long the values are that an operation puts.
fn len(op: Op) -> usize {
    match op {
        Op::PutLarge(_) => 600,
        Op::Batch => 300,
        _ => 20,
    }
}

impl Subject for LsmSubject {
    type Op = Op;
    type State = State;
    type Store = Opened;

    fn operations(&self) -> Vec<Op> {
        let mut ops = match self.alphabet {
            Alphabet::Data => vec![
                Op::Put("a"),
                Op::PutLarge("b"),
                Op::Delete("a"),
                Op::DeleteRange("a", "c"),
                Op::Batch,
                Op::Flush,
                Op::Background,
                Op::DropOrCreate,
                Op::Close,
            ],
            Alphabet::Rest => vec![
                Op::Put("a"),
                Op::PutLarge("b"),
                Op::Snapshot,
                Op::Clear,
                Op::Compact,
                Op::DropOrCreate,
            ],
            Alphabet::Log => vec![
                Op::Put("a"),
                Op::PutLarge("b"),
                Op::Delete("a"),
                Op::Batch,
                Op::DropOrCreate,
                Op::Close,
            ],
            Alphabet::Manifest => vec![Op::Put("a"), Op::Flush, Op::DropOrCreate],
            Alphabet::Backup => vec![
                Op::Put("a"),
                Op::Batch,
                Op::Compact,
                Op::DropOrCreate,
                Op::Backup,
                Op::BackupCopied,
                Op::Repair,
            ],
        };
        if self.mode != SyncMode::Always {
            ops.push(Op::Sync);
        }
        ops
    }

    fn starts(&self) -> Vec<Start<Op>> {
        starts::of(self.alphabet, self.mode)
    }

    fn empty(&self) -> State {
        State::default()
    }

    fn open(&self, disk: &Disk) -> Outcome<Opened> {
        let store = self.open_store(disk)?;
        Ok(Opened {
            disk: disk.clone(),
            subject: *self,
            snapshot: None,
            open: Some(store),
        })
    }

    fn apply(&self, store: &mut Opened, op: &Op, n: u64) -> Outcome<Survives> {
        store.apply(*op, n)?;
        if *op == Op::Close {
            return Ok(Survives::PowerLoss);
        }
        store.promise(*op)
    }

    fn observe(&self, store: &mut Opened) -> Outcome<State> {
        let disk = store.disk.clone();
        let store = store.store()?;
        let mut state = contents(&store.snapshot()?)?;
        for key in KEYS {
            let found = store
                .get(key.as_bytes())?
                .and_then(|value| identify(&value));
            if found != state.default.get(key).copied() {
                return Err(format!("key {key} is {found:?}, in a snapshot {state:?}").into());
            }
        }
        if self.alphabet == Alphabet::Backup {
            state.backups = backups::all(&disk)?;
        }
        Ok(state)
    }

    fn model(&self, before: &State, op: &Op, n: u64) -> State {
        let mut after = before.clone();
        match *op {
            Op::Put(key) | Op::PutLarge(key) => {
                after.default.insert(key.to_owned(), (n, 0));
            }
            Op::Delete(key) => drop(after.default.remove(key)),
            Op::DeleteRange(start, end) => {
                let is_in = |key: &str| (start..end).contains(&key);
                after.default.retain(|key, _| !is_in(key));
            }
            Op::Batch => {
                after.default.insert("b".to_owned(), (n, 0));
                if let Some(other) = &mut after.other {
                    other.insert("a".to_owned(), (n, 1));
                }
            }
            Op::DropOrCreate => {
                after.other = match after.other {
                    Some(_) => None,
                    None => Some(Entries::new()),
                };
            }
            Op::Clear => after.default.clear(),
            Op::Backup | Op::BackupCopied | Op::Repair => {
                let moment = State {
                    backups: BTreeMap::new(),
                    ..before.clone()
                };
                after.backups.insert(n, moment);
            }
            _ => {}
        }
        after
    }

    fn continuation(&self, interrupted: &Op) -> Vec<Op> {
        // As much as was lost, so that a left-over of it would fit in its place; then into tables, and through
        // a merge.
        let again = match interrupted {
            Op::Flush
            | Op::Background
            | Op::Compact
            | Op::Snapshot
            | Op::Backup
            | Op::BackupCopied
            | Op::Repair
            | Op::Sync
            | Op::Close => Op::Put("a"),
            other => *other,
        };
        let mut ops = vec![again, Op::Compact, Op::Put("c")];
        if self.mode != SyncMode::Always {
            ops.push(Op::Sync);
        }
        ops
    }

    fn label(&self, op: &Op) -> String {
        match op {
            Op::Put(_) | Op::PutLarge(_) | Op::Delete(_) | Op::DeleteRange(..) => "put",
            Op::Batch => "batch",
            Op::Flush => "flush",
            Op::Background => "background",
            Op::Compact => "compaction",
            Op::DropOrCreate | Op::Clear => "keyspace",
            Op::Snapshot => "snapshot",
            Op::Backup | Op::BackupCopied => "backup",
            Op::Repair => "repair",
            Op::Sync => "sync",
            Op::Close => "close",
        }
        .to_owned()
    }
}
