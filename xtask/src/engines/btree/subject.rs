//! The store in each `SyncMode`: its alphabets, their starting states and their model.

use std::collections::BTreeMap;
use std::time::Duration;

use btree::{Btree, Durability, Options, ReadTxn, TableMut, WriteTxn};
use durable_io::sim::{Keep, Outcome, Start, StartStep, Subject, Survives};
use durable_io::{Background, Disk, SyncMode};

use crashtest::content::{identify, payload};

const DIR: &str = "/btree";

/// What a `Batch` store under test is opened with: the second unsynced commit syncs, and so does the
/// next background step after a single one, whose interval is over at once.
pub(crate) const BATCH: SyncMode = SyncMode::Batch {
    writes: 2,
    interval: Duration::ZERO,
};

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
    /// The steps of a checkpoint: what a death of the process leaves between the two meta slots.
    Slots,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// Put 20 bytes.
    Put,
    /// Put a value that has pages of its own.
    PutLarge,
    /// Put so many entries that leaves are split.
    Split,
    /// Delete most of them, so that leaves are merged.
    Merge,
    /// One transaction over two tables.
    TwoTables,
    /// A savepoint, and what is rolled back to it.
    Savepoint,
    /// A commit that does not wait for the log: the next one begins before this one is durable.
    Buffered,
    /// One step of background work: of a checkpoint that is due, or the interval's sync.
    Background,
    /// A whole checkpoint.
    Checkpoint,
    /// A transaction that is too large for the log.
    Large,
    Sync,
    /// Close; the next operation opens again.
    Close,
    /// Drop the second table, or make it.
    DropTable,
    /// Rename the first table, and back.
    Rename,
    /// Delete a range across pages.
    DeleteRange,
    /// Fill a table up to three levels of pages.
    Fill,
    /// Open a reader, or look whether the one that is open shows what it must, and close it.
    Reader,
}

/// Everything once: the run that faults are injected into.
pub(crate) const FAULTED: &[Op] = &[
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
    Op::Sync,
];

/// What a user sees: for each table and key, the operation that wrote the value, and its index in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct State {
    tables: BTreeMap<String, BTreeMap<String, (u64, usize)>>,
}

pub(crate) struct Store {
    disk: Disk,
    subject: BtreeSubject,
    /// Before the store, so that it is dropped first.
    reader: Option<(ReadTxn, State)>,
    open: Option<Btree>,
}

const FIRST: &str = "first";
const SECOND: &str = "second";
const RENAMED: &str = "renamed";
/// Entries of [`Op::Split`]: more than a leaf holds.
const MANY: usize = 5;
const MANY_SIZE: usize = 64;

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

fn many(index: usize) -> String {
    format!("many{index:02}")
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
            self.reader = Some((reader, state));
        }
        Ok(())
    }
}

fn is_idle(op: Op) -> bool {
    matches!(op, Op::Background | Op::Reader)
}

/// Everything that a reader sees.
fn state_of(reader: &ReadTxn) -> Outcome<State> {
    let mut state = State::default();
    for name in reader.tables()? {
        let table = reader.table(&name)?;
        let mut entries = BTreeMap::new();
        for entry in table.range(..) {
            let (key, value) = entry?;
            let Some(written) = identify(&value) else {
                return Err(format!("key {key:?} has a value that nobody wrote").into());
            };
            if table.get(&key)?.as_deref() != Some(&*value) {
                return Err(format!("key {key:?} has two values").into());
            }
            entries.insert(String::from_utf8(key)?, written);
        }
        let mut backwards: Vec<_> = table.range(..).rev().collect::<Result<_, _>>()?;
        backwards.reverse();
        let keys = backwards.iter().map(|(key, _)| key.as_slice());
        if !keys.eq(entries.keys().map(String::as_bytes)) || table.len() != entries.len() as u64 {
            return Err(format!("table {name} is not the same backwards, or counted").into());
        }
        state.tables.insert(name, entries);
    }
    Ok(state)
}

/// What operation `op` puts: tables, keys and the lengths of their values.
fn puts(op: Op) -> Vec<(&'static str, String, usize)> {
    let one = |key: &str, len| vec![(FIRST, key.to_owned(), len)];
    match op {
        Op::Put => one("a", 20),
        Op::PutLarge => one("large", 520),
        Op::Split => (0..MANY).map(|i| (FIRST, many(i), MANY_SIZE)).collect(),
        Op::Large => (0..7).map(|i| (FIRST, many(2 * i), 96)).collect(),
        Op::TwoTables => vec![
            (FIRST, "both".to_owned(), 24),
            (SECOND, "both".to_owned(), 25),
        ],
        Op::Savepoint => one("saved", 30),
        Op::Buffered => one("b", 21),
        Op::Fill => (0..80)
            .map(|i| (FIRST, format!("fill{i:03}"), 90))
            .collect(),
        _ => Vec::new(),
    }
}

/// The keys of the first table that it deletes.
fn deletes(op: Op) -> Vec<String> {
    match op {
        Op::Merge => (0..MANY).filter(|i| i % 3 != 0).map(many).collect(),
        _ => Vec::new(),
    }
}

fn rename(name: &str) -> &'static str {
    if name == FIRST { RENAMED } else { FIRST }
}

/// The first table has one of two names.
fn first_name(write: &mut WriteTxn<'_>) -> Outcome<&'static str> {
    let is_renamed = write.tables()?.iter().any(|name| name == RENAMED);
    Ok(if is_renamed { RENAMED } else { FIRST })
}

fn put(write: &mut WriteTxn<'_>, op: Op, n: u64) -> Outcome<()> {
    let first = first_name(write)?;
    for (index, (table, key, len)) in puts(op).into_iter().enumerate() {
        let table = if table == FIRST { first } else { table };
        let mut table: TableMut<'_> = write.create_table(table)?;
        table.put(key.as_bytes(), &payload(n, index, len))?;
    }
    let deleted = deletes(op);
    if !deleted.is_empty() {
        let mut table = write.create_table(first)?;
        for key in deleted {
            table.delete(key.as_bytes())?;
        }
    }
    Ok(())
}

fn transaction(write: &mut WriteTxn<'_>, op: Op, n: u64) -> Outcome<()> {
    match op {
        Op::Savepoint => {
            put(write, op, n)?;
            let savepoint = write.savepoint()?;
            let first = first_name(write)?;
            let mut table = write.table(first)?;
            table.put(b"saved", &payload(n, 7, 40))?;
            table.put(b"unsaved", &payload(n, 8, 400))?;
            table.delete_range(..&b"many"[..])?;
            write.rollback_to(&savepoint)?;
        }
        Op::DropTable => {
            if !write.drop_table(SECOND)? {
                write.create_table(SECOND)?;
            }
        }
        Op::Rename => {
            let first = first_name(write)?;
            write.create_table(first)?;
            write.rename_table(first, rename(first))?;
        }
        Op::DeleteRange => {
            let first = first_name(write)?;
            let mut table = write.create_table(first)?;
            table.delete_range(many(1).as_bytes()..=many(8).as_bytes())?;
        }
        _ => put(write, op, n)?,
    }
    Ok(())
}

impl Subject for BtreeSubject {
    type Op = Op;
    type State = State;
    type Store = Store;

    fn operations(&self) -> Vec<Op> {
        let mut ops = match self.alphabet {
            Alphabet::Slots => return vec![Op::Background],
            Alphabet::Barriers => {
                return vec![Op::Put, Op::Buffered, Op::Large, Op::Checkpoint];
            }
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
        use StartStep::{CutDuring, Do, Kill};
        let levels = || vec![Do(Op::Fill)];
        let with = |more: Vec<StartStep<Op>>| [levels(), more].concat();
        // So much that a checkpoint is due, and begun.
        let log = || vec![Do(Op::Split), Do(Op::TwoTables), Do(Op::Split)];
        let half = || [log(), vec![Do(Op::Background)]].concat();
        match self.alphabet {
            Alphabet::Slots => vec![Start {
                name: "pages are written, the slots are not",
                script: [half(), vec![Do(Op::Background)]].concat(),
            }],
            Alphabet::Barriers => vec![Start {
                name: "a checkpoint in the middle",
                script: half(),
            }],
            Alphabet::Data => vec![
                Start {
                    name: "a checkpoint in the middle",
                    script: half(),
                },
                Start {
                    name: "a checkpoint cut off before it counted",
                    script: [
                        half(),
                        vec![
                            Do(Op::Background),
                            CutDuring(Op::Background, Keep::Everything),
                        ],
                    ]
                    .concat(),
                },
            ],
            Alphabet::Tables => vec![
                Start {
                    name: "three levels",
                    script: levels(),
                },
                Start {
                    name: "many free pages",
                    script: with(vec![Do(Op::DeleteRange), Do(Op::Merge), Do(Op::Checkpoint)]),
                },
                Start {
                    name: "a reader pins an old root",
                    script: with(vec![
                        Do(Op::TwoTables),
                        Do(Op::Reader),
                        Do(Op::Merge),
                        Do(Op::Checkpoint),
                    ]),
                },
                Start {
                    name: "killed, with a log to apply",
                    script: vec![Do(Op::Split), Do(Op::TwoTables), Kill],
                },
            ],
        }
    }

    fn empty(&self) -> State {
        State::default()
    }

    fn open(&self, disk: &Disk) -> Outcome<Store> {
        let store = options(self.sync, disk).open(DIR)?;
        Ok(Store {
            disk: disk.clone(),
            subject: *self,
            reader: None,
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
            Op::Checkpoint => store.store()?.checkpoint()?,
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
        store.promise(*op)
    }

    fn observe(&self, store: &mut Store) -> Outcome<State> {
        let store = store.store()?;
        match store.verify() {
            // What is shown then is what was durable.
            Ok(_) | Err(btree::Error::Poisoned { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        if self.sync == SyncMode::Always && store.stats().unsynced_commits > 0 {
            // What is committed and not durable is seen by writers only.
            if let Ok(mut write) = store.begin_write() {
                return state_of_write(&mut write);
            }
        }
        state_of(&store.begin_read())
    }

    fn model(&self, before: &State, op: &Op, n: u64) -> State {
        let mut after = before.clone();
        let tables = &mut after.tables;
        let is_renamed = tables.contains_key(RENAMED);
        let first = if is_renamed { RENAMED } else { FIRST };
        for (index, (table, key, _)) in puts(*op).into_iter().enumerate() {
            let table = if table == FIRST { first } else { table };
            let table = tables.entry(table.to_owned()).or_default();
            table.insert(key, (n, index));
        }
        match op {
            Op::Merge => {
                let table = tables.entry(first.to_owned()).or_default();
                for key in deletes(*op) {
                    table.remove(&key);
                }
            }
            Op::DeleteRange => {
                let table = tables.entry(first.to_owned()).or_default();
                table.retain(|key, _| !(many(1)..=many(8)).contains(key));
            }
            Op::DropTable if tables.remove(SECOND).is_some() => {}
            Op::DropTable => drop(tables.insert(SECOND.to_owned(), BTreeMap::new())),
            Op::Rename => {
                let table = tables.remove(first).unwrap_or_default();
                tables.insert(rename(first).to_owned(), table);
            }
            _ => {}
        }
        after
    }

    fn continuation(&self, interrupted: &Op) -> Vec<Op> {
        if self.alphabet == Alphabet::Slots {
            // Of each of these, every moment is one at which power is lost.
            return vec![Op::Put];
        }
        // As much as was lost, so that a left-over of it would fit behind; then through a checkpoint.
        let writes = !matches!(
            interrupted,
            Op::Background | Op::Checkpoint | Op::Sync | Op::Close | Op::Reader | Op::Buffered
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
            Op::Background | Op::Checkpoint => "checkpoint",
            Op::Large => "large commit",
            Op::Sync => "sync",
            Op::Close => "close",
            Op::Reader => "reader",
            _ => "commit",
        }
        .to_owned()
    }
}

/// Everything that a write transaction sees.
fn state_of_write(write: &mut WriteTxn<'_>) -> Outcome<State> {
    let mut state = State::default();
    for name in write.tables()? {
        let table = write.table(&name)?;
        let mut entries = BTreeMap::new();
        for entry in table.range(..) {
            let (key, value) = entry?;
            let Some(written) = identify(&value) else {
                return Err(format!("key {key:?} has a value that nobody wrote").into());
            };
            entries.insert(String::from_utf8(key)?, written);
        }
        state.tables.insert(name, entries);
    }
    Ok(state)
}
