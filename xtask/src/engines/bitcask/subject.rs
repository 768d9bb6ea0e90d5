//! The store in each `SyncMode`: its alphabets, its starting states and its model.

mod backups;
mod salvage;
#[cfg(test)]
mod tests;
pub(crate) mod trials;

use std::collections::BTreeMap;
use std::time::Duration;

use bitcask::{Batch, Bitcask, MergePolicy, Options, Snapshot, Value};
use durable_io::sim::{Keep, Outcome, Start, StartStep, Subject, Survives};
use durable_io::{Background, Disk, SyncMode};

use crashtest::content::{identify, payload};

pub(super) use salvage::salvage;

const DIR: &str = "/bitcask";
/// Small enough that a few records fill a data file.
const DATA_FILE_SIZE: u64 = 4096;
const KEYS: [&str; 3] = ["a", "b", "c"];

/// The store in one [`SyncMode`], with so many bytes held back for a full disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BitcaskSubject {
    pub(crate) sync: SyncMode,
    pub(crate) reserve: u64,
    /// Backups and repairs are made, with less of all else.
    pub(crate) backs_up: bool,
}

/// What a `Batch` store under test is opened with: the second unsynced write syncs, and so does the
/// next background step after a single one, whose interval is over at once.
pub(crate) const BATCH: SyncMode = SyncMode::Batch {
    writes: 2,
    interval: Duration::ZERO,
};

type Key = &'static str;

/// Everything once: the run that faults are injected into.
pub(crate) const FAULTED: &[Op] = &[
    Op::Put("a"),
    Op::PutLarge("b"),
    Op::Rotate,
    Op::Background,
    Op::Snapshot,
    Op::Batch,
    Op::Delete("a"),
    Op::Put("c"),
    Op::Rotate,
    Op::Merge,
    Op::CompareAndSet("b"),
    Op::Close,
    Op::Put("a"),
    Op::Sync,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// Put 20 bytes.
    Put(Key),
    /// Put a value over three sectors.
    PutLarge(Key),
    Delete(Key),
    /// Put keys `a` and `c` as one batch over two sectors.
    Batch,
    /// Replace the value by another one, whatever it is, by a comparison or an update; and before it, in
    /// vain, a value that nobody wrote.
    CompareAndSet(Key),
    Rotate,
    /// One step of background work: a hint, a step of a merge that is due, or the interval's sync.
    Background,
    /// A whole merge.
    Merge,
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
    /// One hint is removed, one shortened, and the others get each other's content, durably.
    SpoilHints,
}

/// What a user sees.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct State {
    entries: Entries,
    /// The manifest alone proves all of it durable: at least after a clean close.
    is_closed: bool,
    /// What is in each backup, by the operation that made it.
    backups: BTreeMap<u64, Entries>,
}

/// The operation that wrote each key's value, and its index in the batch.
type Entries = BTreeMap<String, (u64, usize)>;

pub(crate) struct Store {
    disk: Disk,
    subject: BitcaskSubject,
    /// Before the store, so that it is dropped first.
    snapshot: Option<(Snapshot, State)>,
    open: Option<Bitcask>,
}

impl BitcaskSubject {
    fn options(self, disk: &Disk) -> Options {
        // Only a file that is dead to a good part is worth a merge, so that older ones stay.
        let policy = MergePolicy::new()
            .trigger_dead_percent(30)
            .threshold_dead_percent(30)
            .small_file_size(0);
        Options::new()
            .sync(self.sync)
            .data_file_size(DATA_FILE_SIZE)
            .reserve(self.reserve)
            .merge_policy(policy)
            .background(Background::Inline)
            .disk(disk.clone())
    }

    fn open_store(self, disk: &Disk) -> Outcome<Bitcask> {
        let store = self.options(disk).open(DIR)?;
        let listed = disk.open_dir(DIR)?.list()?;
        let data_files = listed
            .iter()
            .filter(|entry| entry.name.strip_suffix(".data").is_some())
            .count();
        let named = store.recovery().data_files;
        if data_files as u64 != named {
            return Err(format!("{data_files} data files after opening, {named} in use").into());
        }
        Ok(store)
    }
}

impl Store {
    /// The open store; a closed one is opened again.
    fn store(&mut self) -> Outcome<&Bitcask> {
        let store = match self.open.take() {
            Some(store) => store,
            None => self.subject.open_store(&self.disk)?,
        };
        Ok(self.open.insert(store))
    }

    /// What the operation just acknowledged is promised: the store's own count says so, and every
    /// crash checks whether it speaks the truth. The mode's words bound how far it may lag.
    fn promise(&mut self, op: Op) -> Outcome<Survives> {
        let unsynced = self.store()?.stats().unsynced_writes;
        let allowed = match self.subject.sync {
            SyncMode::Always => 0,
            // The interval is over when the background looks.
            SyncMode::Batch { .. } if op == Op::Background => 0,
            SyncMode::Batch { writes, .. } => u64::from(writes) - 1,
            SyncMode::Manual if op == Op::Sync => 0,
            SyncMode::Manual => u64::MAX,
        };
        if unsynced > allowed {
            return Err(format!("{unsynced} writes are not durable after {op:?}").into());
        }
        Ok(if unsynced == 0 {
            Survives::PowerLoss
        } else {
            Survives::ProcessDeath
        })
    }

    fn spoil_hints(&self) -> Outcome<()> {
        let dir = self.disk.open_dir(DIR)?;
        let mut names: Vec<String> = dir.list()?.into_iter().map(|entry| entry.name).collect();
        names.retain(|name| name.strip_suffix(".hint").is_some());
        names.sort_unstable();
        for (nth, name) in names.iter().enumerate() {
            let file = dir.open(name)?;
            match (nth, names.first()) {
                (0, _) => file.set_len(70)?,
                (1, _) => dir.remove(name)?,
                (_, Some(other)) => {
                    let mut bytes = [0; 70];
                    let read = dir.open(other)?.read_at(&mut bytes, 0)?;
                    let read = bytes.get(..read).expect("no more than fits is read");
                    file.write_all_at(read, 0)?;
                }
                (_, None) => {}
            }
            drop(file.sync_data()?);
        }
        dir.sync()?;
        Ok(())
    }

    fn toggle_snapshot(&mut self) -> Outcome<()> {
        if let Some((snapshot, expected)) = self.snapshot.take() {
            let seen = entries(&snapshot)?;
            check_gets(|key| snapshot.get(key), &seen)?;
            if seen != expected.entries {
                return Err(format!("a snapshot of {expected:?} shows {seen:?}").into());
            }
        } else {
            let snapshot = self.store()?.snapshot()?;
            let entries = entries(&snapshot)?;
            let state = State {
                entries,
                ..State::default()
            };
            self.snapshot = Some((snapshot, state));
        }
        Ok(())
    }
}

/// Everything in a snapshot.
fn entries(snapshot: &Snapshot) -> Outcome<Entries> {
    let mut entries = BTreeMap::new();
    for entry in snapshot.entries() {
        let (key, value) = entry?;
        let key = String::from_utf8(key)?;
        let Some(written) = identify(&value) else {
            return Err(format!("key {key} has a value that nobody wrote").into());
        };
        if entries.insert(key.clone(), written).is_some() {
            return Err(format!("key {key} is there twice").into());
        }
    }
    Ok(entries)
}

/// `get` must give what `entries` hold.
fn check_gets(
    get: impl Fn(&[u8]) -> bitcask::Result<Option<Value>>,
    entries: &Entries,
) -> Outcome<()> {
    for key in KEYS {
        let found = get(key.as_bytes())?;
        let found = found.and_then(|value| identify(&value));
        if found != entries.get(key).copied() {
            return Err(format!("key {key} is {found:?}, in the iterator {entries:?}").into());
        }
    }
    Ok(())
}

/// What operation `op` puts: keys and the lengths of their values.
fn puts(op: Op) -> Vec<(Key, usize)> {
    match op {
        Op::Put(key) => vec![(key, 20)],
        Op::PutLarge(key) => vec![(key, 1100)],
        Op::CompareAndSet(key) => vec![(key, 24)],
        Op::Batch => vec![("a", 340), ("c", 330)],
        _ => Vec::new(),
    }
}

impl Subject for BitcaskSubject {
    type Op = Op;
    type State = State;
    type Store = Store;

    fn operations(&self) -> Vec<Op> {
        if self.backs_up {
            return backups::OPERATIONS.to_vec();
        }
        let mut ops = vec![
            Op::Put("a"),
            Op::PutLarge("b"),
            Op::Delete("a"),
            Op::Batch,
            Op::CompareAndSet("a"),
            Op::Rotate,
            Op::Background,
            Op::Merge,
            Op::Snapshot,
            Op::Close,
        ];
        if self.sync != SyncMode::Always {
            ops.push(Op::Sync);
        }
        ops
    }

    fn starts(&self) -> Vec<Start<Op>> {
        use StartStep::{CrashDuring, Do, Kill};
        // The older file stays, since most of it lives; the newer one goes, but its tombstone of `a`
        // must not.
        let due = [
            Op::PutLarge("b"),
            Op::Put("a"),
            Op::Rotate,
            Op::Delete("a"),
            Op::Put("c"),
            Op::Put("c"),
            Op::Rotate,
        ];
        let due = || due.into_iter().map(Do).collect::<Vec<_>>();
        let with = |more: Vec<StartStep<Op>>| [due(), more].concat();
        let background = |times| vec![Do(Op::Background); times];
        let mut starts = vec![
            Start {
                name: "a merge is due, and a tombstone in it needed",
                script: due(),
            },
            Start {
                name: "a merge half done",
                script: with(background(3)),
            },
            Start {
                name: "a merge interrupted before its output was whole",
                script: with(
                    [
                        background(3),
                        vec![CrashDuring(Op::Background, Keep::Everything)],
                    ]
                    .concat(),
                ),
            },
            Start {
                name: "a merge interrupted before it counted",
                script: with(
                    [
                        background(4),
                        vec![CrashDuring(Op::Background, Keep::Everything)],
                    ]
                    .concat(),
                ),
            },
            Start {
                name: "hints missing, stale and torn",
                script: with(
                    [
                        vec![Do(Op::Put("a")), Do(Op::Rotate)],
                        background(3),
                        vec![Do(Op::SpoilHints), Kill],
                    ]
                    .concat(),
                ),
            },
        ];
        if self.backs_up {
            starts.truncate(2);
        } else if self.sync != SyncMode::Always {
            starts.push(Start {
                name: "a merge about to count, and a write that is not durable",
                script: with([background(4), vec![Do(Op::Put("a"))]].concat()),
            });
        }
        starts
    }

    fn empty(&self) -> State {
        State::default()
    }

    fn open(&self, disk: &Disk) -> Outcome<Store> {
        let store = self.open_store(disk)?;
        Ok(Store {
            disk: disk.clone(),
            subject: *self,
            snapshot: None,
            open: Some(store),
        })
    }

    fn apply(&self, store: &mut Store, op: &Op, n: u64) -> Outcome<Survives> {
        let puts = puts(*op);
        let values = puts.iter().enumerate();
        let values: Vec<_> = values
            .map(|(i, &(key, len))| (key, payload(n, i, len)))
            .collect();
        match (op, values.as_slice()) {
            (Op::Close, _) => {
                // The store is opened by whatever comes next, so that a crash can come before.
                if let Some(open) = store.open.take() {
                    open.close()?;
                    // On a full disk all is durable, and only the witness may be an older one.
                    if store.disk.open_dir(DIR)?.free_space()? < DATA_FILE_SIZE {
                        return Err("there may have been no space for the witness".into());
                    }
                }
                return Ok(Survives::PowerLoss);
            }
            (Op::SpoilHints, _) => store.spoil_hints()?,
            (Op::Snapshot, _) => store.toggle_snapshot()?,
            (Op::Backup | Op::BackupCopied | Op::Repair, _) => backups::make(store, *op, n)?,
            (Op::CompareAndSet(_), [(key, value)]) => {
                let store = store.store()?;
                let (key, nobodys) = (key.as_bytes(), payload(n, 7, 24));
                let current = store.get(key)?;
                let refused = store.compare_and_set(key, Some(&nobodys), None)?;
                let is_done = if n.is_multiple_of(2) {
                    store.update(key, |_| Some(value))? == current
                } else {
                    let done = store.compare_and_set(key, current.as_deref(), Some(value))?;
                    done.is_ok()
                };
                if refused != Err(current) || !is_done {
                    return Err("a comparison went wrong".into());
                }
            }
            (_, [(key, value)]) => store.store()?.put(key.as_bytes(), value)?,
            (Op::Delete(key), _) => store.store()?.delete(key.as_bytes())?,
            (Op::Rotate, _) => store.store()?.rotate()?,
            (Op::Background, _) => drop(store.store()?.run_background()?),
            (Op::Merge, _) => drop(store.store()?.merge()?),
            (Op::Sync, _) => store.store()?.sync()?,
            (_, values) => {
                let add =
                    |batch: Batch, (key, value): &(Key, Vec<u8>)| batch.put(key.as_bytes(), value);
                let batch = values.iter().fold(Batch::new(), add);
                store.store()?.write(batch)?;
            }
        }
        store.promise(*op)
    }

    fn observe(&self, store: &mut Store) -> Outcome<State> {
        let backups = if self.backs_up {
            backups::all(&store.disk)?
        } else {
            BTreeMap::new()
        };
        let store = store.store()?;
        let entries = entries(&store.snapshot()?)?;
        let keys = store.stats().keys;
        check_gets(|key| store.get(key), &entries)?;
        // After a failure the index may be ahead of what readers are shown.
        let is_healthy = store.write(Batch::new()).is_ok();
        if is_healthy && keys != entries.len() as u64 {
            return Err(format!("{keys} keys counted, but {}", entries.len()).into());
        }
        Ok(State {
            entries,
            is_closed: store.recovery().closed,
            backups,
        })
    }

    fn model(&self, before: &State, op: &Op, n: u64) -> State {
        let mut after = before.clone();
        after.is_closed = *op == Op::Close;
        for (index, (key, _)) in puts(*op).into_iter().enumerate() {
            after.entries.insert(key.to_owned(), (n, index));
        }
        match op {
            Op::Delete(key) => drop(after.entries.remove(*key)),
            Op::Backup | Op::BackupCopied | Op::Repair => {
                after.backups.insert(n, before.entries.clone());
            }
            _ => {}
        }
        after
    }

    fn matches(&self, expected: &State, observed: &State) -> bool {
        (&expected.entries, &expected.backups) == (&observed.entries, &observed.backups)
            && observed.is_closed >= expected.is_closed
    }

    fn continuation(&self, interrupted: &Op) -> Vec<Op> {
        // As much as was lost, so that a left-over of it would fit in its place; then over the border, and
        // through a merge.
        let writes = !puts(*interrupted).is_empty() || matches!(interrupted, Op::Delete(_));
        let again = if writes { *interrupted } else { Op::Put("a") };
        let mut ops = vec![again, Op::Rotate, Op::Merge, Op::Put("c")];
        if self.sync != SyncMode::Always {
            ops.push(Op::Sync);
        }
        ops
    }

    fn label(&self, op: &Op) -> String {
        match op {
            Op::Put(_) | Op::PutLarge(_) | Op::Delete(_) | Op::CompareAndSet(_) => "put",
            Op::Batch => "batch",
            Op::Rotate => "rotate",
            Op::Background | Op::Merge => "merge",
            Op::Snapshot => "snapshot",
            Op::Backup | Op::BackupCopied => "backup",
            Op::Repair => "repair",
            Op::Sync => "sync",
            Op::Close => "close",
            Op::SpoilHints => "spoil",
        }
        .to_owned()
    }
}
