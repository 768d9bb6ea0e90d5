//! The store in each `SyncMode`: its alphabets and their starting states.

mod backups;
mod probes;
mod salvage;
mod starts;
mod state;
mod transaction;
pub(super) mod trials;

use std::time::Duration;

use btree::{Btree, Durability, Options, ReadTxn, RepairOptions};
use durable_io::sim::{Outcome, Start, Subject, Survives};
use durable_io::{Background, Disk, SyncMode};

use crate::engines::backups::path;
pub(super) use probes::PROBES;
pub(super) use salvage::salvage;
use state::{State, state_of, state_of_write};
use transaction::{abandon, transaction};

/// Two directories that opening has to make: no other opening syncs the name of the upper one.
const DIR: &str = "/stores/btree";

/// What a `Batch` store under test is opened with: the second unsynced commit syncs, and so does the
/// next background step after a single one, whose interval is over at once.
const BATCH: SyncMode = SyncMode::Batch {
    writes: 2,
    interval: Duration::ZERO,
};

/// Bytes of pages that one step of making the file shorter writes: less than a walk needs.
const SHRINK_STEP: u64 = 24 << 9;

/// The store in one [`SyncMode`], with one of its alphabets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BtreeSubject {
    pub(crate) sync: SyncMode,
    pub(crate) alphabet: Alphabet,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alphabet {
    /// Data and background.
    Data,
    /// Tables and readers, with puts.
    Tables,
    /// What comes to each barrier of the engine, and little else: it is small enough for every run.
    Barriers,
    /// Backups of stores that go on, repairs, and tables that are filled in order.
    Backup,
    /// The steps of a checkpoint: what a death of the process leaves between the two meta slots.
    Slots,
    /// Next to nothing, so that every sector of a checkpoint can be kept or lost alone.
    Sectors,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// Put 20 bytes.
    Put,
    /// Put a value that has pages of its own.
    PutLarge,
    /// Put so many entries that leaves are split.
    Split,
    /// Delete them, so that leaves are merged, until none is left.
    Merge,
    /// One transaction over two tables.
    TwoTables,
    /// A savepoint, and what is rolled back to it.
    Savepoint,
    /// A commit that does not wait for the log: the next one begins before this one is durable.
    Buffered,
    /// One step of background work: of a checkpoint that is due, or the interval's sync.
    Background,
    /// Background work until a checkpoint that is due has begun.
    Begin,
    /// A whole checkpoint.
    Checkpoint,
    /// A part of making the file shorter.
    Shrink,
    /// A transaction that is too large for the log.
    Large,
    Sync,
    /// Close; the next operation opens again.
    Close,
    /// Drop the second table, or make it and fill it with little.
    DropTable,
    /// Rename the first table, and back.
    Rename,
    /// Delete a range across pages.
    DeleteRange,
    /// Fill a table up to three levels of pages.
    Fill,
    /// Fill a table with large values, and delete every other one: free pages far apart.
    Holes,
    /// A transaction that is larger than memory, and taken back.
    Abort,
    /// Make the file as short as it can be.
    Compact,
    /// Empty the second table and fill it in the order of the keys, with more pages than stay in memory.
    Load,
    /// Make a backup in a new directory.
    Backup,
    /// Close, and make a new store of what is left, which is all.
    Repair,
    /// Open a reader, or look whether the one that is open shows what it must, and close it.
    Reader,
}

/// Everything once: the run that faults are injected into.
const FAULTED: &[Op] = &[
    Op::Put,
    Op::Split,
    Op::Background,
    Op::TwoTables,
    Op::Background,
    Op::Savepoint,
    Op::Checkpoint,
    Op::PutLarge,
    Op::Merge,
    Op::Large,
    Op::Rename,
    Op::DeleteRange,
    Op::Buffered,
    Op::Close,
    Op::DropTable,
    Op::Put,
    Op::Shrink,
    Op::Sync,
];

pub(crate) struct Store {
    disk: Disk,
    subject: BtreeSubject,
    /// Before the store, so that it is dropped first.
    reader: Option<(ReadTxn, State)>,
    /// A buffered commit was the last one: readers see it after the next durable one, even if something else has
    /// synced the log meanwhile.
    is_buffered: bool,
    open: Option<Btree>,
}

fn options(mode: SyncMode, disk: &Disk) -> Options {
    Options::new()
        .sync(mode)
        .page_size(512)
        .cache_size(64 << 10)
        .log_segment_size(2048)
        .large_transaction(700)
        .checkpoint_after(600)
        .growth(8 << 9)
        .reserve(16 << 9)
        .background(Background::Inline)
        .disk(disk.clone())
}

impl Store {
    /// The open store; a closed one is opened again.
    fn store(&mut self) -> Outcome<&Btree> {
        let store = match self.open.take() {
            Some(store) => store,
            None => options(self.subject.sync, &self.disk).open(DIR)?,
        };
        Ok(self.open.insert(store))
    }

    /// What the operation just acknowledged is promised: the store's own count says so, and every crash
    /// checks whether it speaks the truth. The mode's words bound how far it may lag.
    fn promise(&mut self, op: Op) -> Outcome<Survives> {
        let unsynced = self.store()?.stats().unsynced_commits;
        let allowed = match self.subject.sync {
            SyncMode::Always if op == Op::Buffered => u64::MAX,
            // What the last buffered commit left is not what these wait for.
            SyncMode::Always if is_idle(op) => u64::MAX,
            SyncMode::Always => 0,
            SyncMode::Batch { .. } if op == Op::Background => 0,
            SyncMode::Batch { writes, .. } => u64::from(writes) - 1,
            SyncMode::Manual if op == Op::Sync => 0,
            SyncMode::Manual => u64::MAX,
        };
        if unsynced > allowed {
            return Err(format!("{unsynced} commits are not durable after {op:?}").into());
        }
        Ok(if unsynced == 0 {
            Survives::PowerLoss
        } else {
            Survives::ProcessDeath
        })
    }

    fn toggle_reader(&mut self) -> Outcome<()> {
        if let Some((reader, expected)) = self.reader.take() {
            let seen = state_of(&reader)?;
            if seen != expected {
                return Err(format!("a reader of {expected:?} shows {seen:?}").into());
            }
        } else {
            let reader = self.store()?.begin_read();
            let state = state_of(&reader)?;
            // A copy that ends takes nothing from the one that stays.
            drop(reader.clone());
            self.reader = Some((reader, state));
        }
        Ok(())
    }
}

fn is_idle(op: Op) -> bool {
    matches!(
        op,
        Op::Background
            | Op::Begin
            | Op::Reader
            | Op::Shrink
            | Op::Compact
            | Op::Abort
            | Op::Backup
            | Op::Repair
    )
}

impl Subject for BtreeSubject {
    type Op = Op;
    type State = State;
    type Store = Store;

    fn operations(&self) -> Vec<Op> {
        let mut ops = match self.alphabet {
            Alphabet::Slots => return vec![Op::Background, Op::Abort],
            Alphabet::Sectors => return vec![Op::Put, Op::Checkpoint],
            Alphabet::Barriers => {
                let checkpoints = [Op::Large, Op::Checkpoint, Op::Shrink];
                return [vec![Op::Put, Op::Buffered], checkpoints.to_vec()].concat();
            }
            Alphabet::Backup => vec![
                Op::Put,
                Op::PutLarge,
                Op::TwoTables,
                Op::DropTable,
                Op::Checkpoint,
                Op::Compact,
                Op::Load,
                Op::Backup,
                Op::Repair,
            ],
            Alphabet::Data => vec![
                Op::Put,
                Op::Split,
                Op::Merge,
                Op::TwoTables,
                Op::Savepoint,
                Op::Background,
                Op::Checkpoint,
                Op::Large,
                Op::Close,
            ],
            Alphabet::Tables => vec![
                Op::Put,
                Op::PutLarge,
                Op::DropTable,
                Op::Rename,
                Op::DeleteRange,
                Op::Reader,
                Op::Checkpoint,
                Op::Shrink,
                Op::Compact,
                Op::Abort,
            ],
        };
        ops.push(match (self.sync, self.alphabet) {
            (SyncMode::Always, Alphabet::Data) => Op::Buffered,
            (SyncMode::Always, Alphabet::Tables) => Op::Background,
            _ => Op::Sync,
        });
        ops
    }

    fn starts(&self) -> Vec<Start<Op>> {
        starts::of(self.alphabet)
    }

    fn empty(&self) -> State {
        State::default()
    }

    fn open(&self, disk: &Disk) -> Outcome<Store> {
        let left = probes::left(disk);
        let store = options(self.sync, disk).open(DIR)?;
        probes::note(left, store.recovery());
        Ok(Store {
            disk: disk.clone(),
            subject: *self,
            reader: None,
            is_buffered: false,
            open: Some(store),
        })
    }

    fn apply(&self, store: &mut Store, op: &Op, n: u64) -> Outcome<Survives> {
        match op {
            Op::Close => {
                store.reader = None;
                // The store is opened by whatever comes next, so that a crash can come before.
                if let Some(store) = store.open.take() {
                    store.close()?;
                }
                return Ok(Survives::PowerLoss);
            }
            Op::Reader => store.toggle_reader()?,
            Op::Background => drop(store.store()?.run_background()?),
            Op::Begin => {
                let store = store.store()?;
                // The log's own work comes first.
                while store.stats().dirty_pages > 0 && store.run_background()? {}
            }
            Op::Checkpoint => store.store()?.checkpoint()?,
            Op::Shrink => drop(store.store()?.shrink(SHRINK_STEP)?),
            Op::Compact => drop(store.store()?.compact()?),
            Op::Abort => abandon(store.store()?.begin_write()?, n)?,
            Op::Backup => drop(store.store()?.backup(path(n))?),
            Op::Repair => {
                if let Some(store) = store.open.take() {
                    store.close()?;
                }
                let options = options(self.sync, &store.disk);
                options.repair(DIR, path(n), &RepairOptions::new())?;
            }
            Op::Sync => store.store()?.sync()?,
            _ => {
                let mut write = store.store()?.begin_write()?;
                transaction(&mut write, *op, n)?;
                if *op == Op::Buffered {
                    write.commit_with(Durability::Buffered)?;
                } else {
                    write.commit()?;
                }
            }
        }
        if !is_idle(*op) {
            store.is_buffered = *op == Op::Buffered;
        }
        store.promise(*op)
    }

    fn observe(&self, store: &mut Store) -> Outcome<State> {
        let is_buffered = store.is_buffered;
        let disk = store.disk.clone();
        let store = store.store()?;
        match store.verify() {
            // What is shown then is what was durable.
            Ok(_) | Err(btree::Error::Poisoned { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let is_unsynced = store.stats().unsynced_commits > 0;
        if self.sync == SyncMode::Always && (is_unsynced || is_buffered) {
            // What is committed and not durable is seen by writers only.
            if let Ok(mut write) = store.begin_write() {
                let state = state_of_write(&mut write)?;
                if is_unsynced && state_of(&store.begin_read())? == state {
                    return Err("a reader sees what a loss of power may take back".into());
                }
                return Ok(state);
            }
        }
        let mut state = state_of(&store.begin_read())?;
        if self.alphabet == Alphabet::Backup {
            state.backups = backups::all(&disk)?;
        }
        Ok(state)
    }

    fn model(&self, before: &State, op: &Op, n: u64) -> State {
        state::after(before, *op, n)
    }

    fn continuation(&self, interrupted: &Op) -> Vec<Op> {
        if matches!(self.alphabet, Alphabet::Slots | Alphabet::Sectors) {
            // Of each of these, every moment is one at which power is lost.
            return vec![Op::Put];
        }
        // As much as was lost, so that a left-over of it would fit in its place; then through a checkpoint.
        let writes = !matches!(
            interrupted,
            Op::Background
                | Op::Begin
                | Op::Checkpoint
                | Op::Shrink
                | Op::Compact
                | Op::Abort
                | Op::Sync
                | Op::Close
                | Op::Reader
                | Op::Backup
                | Op::Repair
                | Op::Buffered
        );
        let again = if writes { *interrupted } else { Op::Put };
        let mut ops = vec![again, Op::Checkpoint, Op::Put];
        if self.sync != SyncMode::Always {
            ops.push(Op::Sync);
        }
        ops
    }

    fn label(&self, op: &Op) -> String {
        match op {
            Op::Background | Op::Begin | Op::Checkpoint => "checkpoint",
            Op::Shrink | Op::Compact => "shrink",
            Op::Large | Op::Load => "large commit",
            Op::Sync => "sync",
            Op::Close => "close",
            Op::Reader => "reader",
            Op::Backup => "backup",
            Op::Repair => "repair",
            _ => "commit",
        }
        .to_owned()
    }
}
