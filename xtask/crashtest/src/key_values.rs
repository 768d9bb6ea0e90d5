//! Any engine as a subject of the simulated disk, through the one trait: an alphabet that every key-value
//! store has. What an engine can do beyond that needs a subject of its own.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use durable_io::sim::{Outcome, Subject, Survives};
use durable_io::{Disk, SyncMode};

use crate::content::{identify, payload};
use crate::engine::{Change, Engine, Setting, Store};

/// Small enough that a few operations fill what the engine fills.
const SIZE: u64 = 2048;

/// An engine in one [`SyncMode`], as a plain key-value store.
#[derive(Clone, Copy, Debug)]
pub struct KeyValues {
    engine: &'static dyn Engine,
    sync: SyncMode,
}

impl KeyValues {
    /// What a store in `SyncMode::Batch` is opened with: the second unsynced write syncs, and so does the
    /// next step in the background after a single one, whose interval is over at once.
    pub const BATCH: SyncMode = SyncMode::Batch {
        writes: 2,
        interval: Duration::ZERO,
    };

    /// `engine` in the mode `sync`.
    pub const fn new(engine: &'static dyn Engine, sync: SyncMode) -> Self {
        Self { engine, sync }
    }
}

type Key = &'static str;
const KEYS: [Key; 3] = ["a", "b", "c"];

/// What is done to a key-value store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Put 20 bytes.
    Put(Key),
    /// Put a value over three sectors.
    PutLarge(Key),
    /// Delete a key.
    Delete(Key),
    /// Put two keys and delete a third, in one step over two sectors.
    Batch,
    /// One step of background work.
    Maintain,
    /// Make everything durable.
    Sync,
    /// Close; the next operation opens again.
    Close,
}

impl Op {
    /// Everything once, and what is due in the background in between: a run to inject faults into.
    pub const FAULTED: &'static [Self] = &[
        Self::Put("a"),
        Self::PutLarge("b"),
        Self::Maintain,
        Self::Batch,
        Self::Maintain,
        Self::Delete("a"),
        Self::PutLarge("c"),
        Self::Maintain,
        Self::Close,
        Self::Put("b"),
        Self::Maintain,
        Self::Sync,
    ];

    /// What it changes: keys, and the lengths of their values.
    fn changes(self) -> Vec<(Key, Option<usize>)> {
        match self {
            Self::Put(key) => vec![(key, Some(20))],
            Self::PutLarge(key) => vec![(key, Some(1100))],
            Self::Delete(key) => vec![(key, None)],
            Self::Batch => vec![("a", Some(340)), ("c", Some(330)), ("b", None)],
            Self::Maintain | Self::Sync | Self::Close => Vec::new(),
        }
    }
}

/// What a user sees: the operation that wrote each key's value, and its index in the batch.
type State = BTreeMap<String, (u64, usize)>;

/// A store, which may be closed.
pub struct Opened {
    disk: Disk,
    store: Option<Box<dyn Store>>,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").finish_non_exhaustive()
    }
}

impl Opened {
    /// The open store; a closed one is opened again.
    fn store(&mut self, subject: KeyValues) -> Outcome<&dyn Store> {
        let store = match self.store.take() {
            Some(store) => store,
            None => subject.open_store(&self.disk)?,
        };
        Ok(&**self.store.insert(store))
    }
}

impl KeyValues {
    fn open_store(self, disk: &Disk) -> Outcome<Box<dyn Store>> {
        let dir = format!("/{}", self.engine.name());
        self.engine.open(&Setting {
            sync: self.sync,
            ..Setting::new(disk.clone(), dir, SIZE)
        })
    }

    /// How many writes need not be durable when `op` is acknowledged: the mode's words say so.
    fn allowed(self, op: Op) -> u64 {
        match self.sync {
            SyncMode::Always => 0,
            // The interval is over when the background looks.
            SyncMode::Batch { .. } if op == Op::Maintain => 0,
            SyncMode::Batch { writes, .. } => u64::from(writes) - 1,
            SyncMode::Manual if op == Op::Sync => 0,
            SyncMode::Manual => u64::MAX,
        }
    }
}

impl Subject for KeyValues {
    type Op = Op;
    type State = State;
    type Store = Opened;

    fn operations(&self) -> Vec<Op> {
        let mut ops = vec![
            Op::Put("a"),
            Op::PutLarge("b"),
            Op::Delete("a"),
            Op::Batch,
            Op::Maintain,
            Op::Close,
        ];
        if self.sync != SyncMode::Always {
            ops.push(Op::Sync);
        }
        ops
    }

    fn empty(&self) -> State {
        State::new()
    }

    fn open(&self, disk: &Disk) -> Outcome<Opened> {
        Ok(Opened {
            disk: disk.clone(),
            store: Some(self.open_store(disk)?),
        })
    }

    fn apply(&self, opened: &mut Opened, op: &Op, n: u64) -> Outcome<Survives> {
        if *op == Op::Close {
            // The store is opened by whatever comes next, so that a crash can come before.
            if let Some(store) = opened.store.take() {
                store.close()?;
            }
            return Ok(Survives::PowerLoss);
        }
        let store = opened.store(*self)?;
        let changes = op.changes().into_iter().enumerate();
        let changes: Vec<Change> = changes
            .map(|(nth, (key, len))| (key.into(), len.map(|len| payload(n, nth, len))))
            .collect();
        match op {
            Op::Maintain => drop(store.maintain()?),
            Op::Sync => store.sync()?,
            _ => store.apply(&changes)?,
        }
        // The store's own count is what it promises, and every crash checks whether it speaks the truth.
        let unsynced = store.unsynced();
        if unsynced > self.allowed(*op) {
            return Err(format!("{unsynced} writes are not durable after {op:?}").into());
        }
        Ok(if unsynced == 0 {
            Survives::PowerLoss
        } else {
            Survives::ProcessDeath
        })
    }

    fn observe(&self, opened: &mut Opened) -> Outcome<State> {
        let contents = opened.store(*self)?.dump()?;
        let entry = |(key, value): (Vec<u8>, Vec<u8>)| {
            let key = String::from_utf8(key)?;
            match identify(&value) {
                Some(written) if KEYS.contains(&key.as_str()) => Ok((key, written)),
                _ => Err(format!("key {key} has a value that nobody wrote").into()),
            }
        };
        contents.into_iter().map(entry).collect()
    }

    fn model(&self, before: &State, op: &Op, n: u64) -> State {
        let mut after = before.clone();
        for (nth, (key, len)) in op.changes().into_iter().enumerate() {
            match len {
                Some(_) => drop(after.insert(key.to_owned(), (n, nth))),
                None => drop(after.remove(key)),
            }
        }
        after
    }

    fn continuation(&self, interrupted: &Op) -> Vec<Op> {
        // As much as was lost, so that a left-over of it would fit in its place; then over the border.
        let again = if interrupted.changes().is_empty() {
            Op::Put("a")
        } else {
            *interrupted
        };
        let mut ops = vec![again, Op::PutLarge("c"), Op::Maintain, Op::Put("c")];
        if self.sync != SyncMode::Always {
            ops.push(Op::Sync);
        }
        ops
    }

    fn label(&self, op: &Op) -> String {
        match op {
            Op::Put(_) | Op::PutLarge(_) | Op::Delete(_) => "put",
            Op::Batch => "batch",
            Op::Maintain => "background",
            Op::Sync => "sync",
            Op::Close => "close",
        }
        .to_owned()
    }
}
