//! The store of `examples/key_value` on the simulated disk: every short sequence of its operations,
//! ended at every moment in every way; and the same store with bugs, which must be found.

#![allow(clippy::unwrap_used, reason = "test")]

#[path = "../examples/key_value/store.rs"]
mod store;

use std::path::Path;

use durable_io::sim::{
    Bound, Exploration, Explorer, Keep, Outcome, Start, StartStep, Subject, Survives,
};
use wal::{Background, Disk, Lsn, Options, SyncMode};

use store::{KeyValue, Map};

/// How a snapshot is taken: rightly, or with a bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Snapshot {
    Right,
    /// The log forgets before the snapshot is durable.
    TruncatesFirst,
    /// The snapshot carries the position of a record that a crash may take back.
    CoversWhatIsNotDurable,
}

#[derive(Clone, Copy, Debug)]
struct KeyValueSubject {
    mode: SyncMode,
    snapshot: Snapshot,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    /// Put a value under `a`: the first, or another one.
    Put,
    /// Put a value over two sectors under `b`: a second one goes to another segment.
    PutLarge,
    /// Delete `a`, which may not be there.
    Delete,
    Snapshot,
    Sync,
}

impl KeyValueSubject {
    fn right(mode: SyncMode) -> Self {
        Self {
            mode,
            snapshot: Snapshot::Right,
        }
    }

    fn take_snapshot(self, store: &mut KeyValue) -> Outcome<()> {
        let last = Lsn(store.log.bounds().end.0 - 1);
        match self.snapshot {
            Snapshot::Right => store.snapshot(),
            Snapshot::TruncatesFirst => {
                store.log.truncate_before(Lsn(last.0 + 1))?;
                store.save(last)
            }
            Snapshot::CoversWhatIsNotDurable => {
                store.save(last)?;
                store.log.checkpoint(last)?;
                Ok(store.log.truncate_before(Lsn(last.0 + 1))?)
            }
        }
    }
}

/// What operation `n` puts: its number, `len` bytes of it.
fn value(n: u64, len: usize) -> Vec<u8> {
    n.to_le_bytes().iter().copied().cycle().take(len).collect()
}

impl Subject for KeyValueSubject {
    type Op = Op;
    type State = Map;
    type Store = KeyValue;

    fn operations(&self) -> Vec<Op> {
        let always = [Op::Put, Op::PutLarge, Op::Delete, Op::Snapshot];
        let sync = (self.mode == SyncMode::Manual).then_some(Op::Sync);
        always.into_iter().chain(sync).collect()
    }

    fn starts(&self) -> Vec<Start<Op>> {
        use StartStep::{CrashDuring, Do};
        vec![
            Start {
                name: "a snapshot, and records behind it",
                script: vec![Do(Op::PutLarge), Do(Op::Snapshot), Do(Op::Put)],
            },
            Start {
                name: "a second snapshot that was interrupted",
                script: vec![
                    Do(Op::Put),
                    Do(Op::Snapshot),
                    Do(Op::PutLarge),
                    CrashDuring(Op::Snapshot, Keep::Everything),
                ],
            },
        ]
    }

    fn empty(&self) -> Map {
        Map::new()
    }

    fn open(&self, disk: &Disk) -> Outcome<KeyValue> {
        let options = Options::new()
            .sync(self.mode)
            .segment_size(1024)
            .background(Background::Inline);
        KeyValue::open(disk, Path::new("/store"), options)
    }

    fn apply(&self, store: &mut KeyValue, op: &Op, n: u64) -> Outcome<Survives> {
        match op {
            Op::Put => store.put(b"a", &value(n, 20))?,
            Op::PutLarge => store.put(b"b", &value(n, 500))?,
            Op::Delete => store.delete(b"a")?,
            Op::Snapshot => self.take_snapshot(store)?,
            Op::Sync => drop(store.log.sync()?),
        }
        let is_barrier = matches!(op, Op::Snapshot | Op::Sync);
        Ok(match self.mode {
            SyncMode::Manual if !is_barrier => Survives::ProcessDeath,
            _ => Survives::PowerLoss,
        })
    }

    fn observe(&self, store: &mut KeyValue) -> Outcome<Map> {
        for key in [b"a", b"b", b"c"] {
            let listed = store.map().get(key.as_slice()).map(Vec::as_slice);
            if store.get(key) != listed {
                return Err(format!("two answers for {key:?}").into());
            }
        }
        Ok(store.map().clone())
    }

    fn model(&self, before: &Map, op: &Op, n: u64) -> Map {
        let mut after = before.clone();
        match op {
            Op::Put => drop(after.insert(b"a".to_vec(), value(n, 20))),
            Op::PutLarge => drop(after.insert(b"b".to_vec(), value(n, 500))),
            Op::Delete => drop(after.remove(b"a".as_slice())),
            Op::Snapshot | Op::Sync => {}
        }
        after
    }

    fn continuation(&self, interrupted: &Op) -> Vec<Op> {
        vec![*interrupted, Op::Snapshot, Op::Put]
    }
}

fn explore(subject: KeyValueSubject, bound: &Bound) -> Exploration {
    Explorer::new(&subject).explore(bound, &|_counts| {})
}

/// Every single operation, ended by a single power loss: enough for the bugs here.
fn one_power_loss() -> Bound {
    Bound {
        process_deaths: false,
        nested: false,
        threads: 1,
        ..Bound::of_length(1)
    }
}

#[track_caller]
fn assert_holds(subject: KeyValueSubject, bound: &Bound) {
    let explored = explore(subject, bound);
    if let Some(found) = &explored.counterexample {
        panic!("{subject:?}:\n{found}");
    }
    let counts = explored.counts;
    assert_eq!(counts.sampled_points, 0, "{counts:?}");
    assert!(counts.unique_states > 1000, "{counts:?}");
}

#[test]
fn no_crash_loses_a_change_or_brings_one_back() {
    assert_holds(
        KeyValueSubject::right(SyncMode::Always),
        &Bound::of_length(2),
    );
}

#[test]
fn without_a_sync_for_each_change_only_the_last_ones_are_lost() {
    // Crashes during recovery are the same in every mode.
    let bound = Bound {
        nested: false,
        ..Bound::of_length(2)
    };
    assert_holds(KeyValueSubject::right(SyncMode::Manual), &bound);
}

#[test]
fn a_log_that_forgets_before_the_snapshot_is_durable_is_found() {
    let buggy = KeyValueSubject {
        mode: SyncMode::Always,
        snapshot: Snapshot::TruncatesFirst,
    };
    assert!(explore(buggy, &one_power_loss()).counterexample.is_some());
}

#[test]
fn a_snapshot_of_what_a_crash_may_take_back_is_found() {
    let mut buggy = KeyValueSubject {
        mode: SyncMode::Manual,
        snapshot: Snapshot::CoversWhatIsNotDurable,
    };
    assert!(explore(buggy, &one_power_loss()).counterexample.is_some());
    // Where every append is durable there is nothing to take back.
    buggy.mode = SyncMode::Always;
    assert!(explore(buggy, &one_power_loss()).counterexample.is_none());
}

/// Those that the store takes itself: of the snapshot's bytes, and of its name.
#[test]
fn each_sync_of_the_store_is_needed() {
    let subject = KeyValueSubject::right(SyncMode::Always);
    let sites = explore(subject, &one_power_loss()).sites;
    let of_the_store = sites.keys().filter(|site| site.file.ends_with("store.rs"));
    let mut needed = 0;
    for site in of_the_store {
        let explorer = Explorer::new(&subject).without(&[*site]);
        let explored = explorer.explore(&one_power_loss(), &|_counts| {});
        assert!(explored.counterexample.is_some(), "not needed: {site:?}");
        needed += 1;
    }
    assert_eq!(needed, 2);
}
