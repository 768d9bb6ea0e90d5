//! The set of tables of `examples/table_set` on the simulated disk: every short sequence of its
//! operations, ended at every moment in every way; and each sync left out, which must be found.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

#[path = "../examples/table_set/manifest.rs"]
mod manifest;
#[path = "../examples/table_set/set.rs"]
mod set;

use std::collections::BTreeSet;
use std::path::Path;

use durable_io::sim::{
    Bound, Exploration, Explorer, Keep, Outcome, Start, StartStep, Subject, Survives,
};
use durable_io::{Disk, Site};
use sstable::Options;
use sstable::compaction::{Leveled, Strategy};

use set::{Changes, Map, TableSet, file_name};

/// The set, from so many of the starting states.
#[derive(Clone, Copy, Debug)]
struct SetSubject {
    starts: usize,
}

const ALL: SetSubject = SetSubject { starts: 3 };

/// For what takes long.
const CUT_SHORT: SetSubject = SetSubject { starts: 1 };

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    /// Put a value under `a`.
    Put,
    /// Put values over two sectors under `b` and `d`.
    PutTwo,
    /// Delete `a`, which may not be there.
    Delete,
    /// Delete what is from `b` to `c`, and put `c`.
    DeleteRange,
    /// Everything that the strategy asks for.
    Compact,
}

/// What operation `n` puts: its number, `len` bytes of it.
fn value(n: u64, len: usize) -> Vec<u8> {
    n.to_le_bytes().iter().copied().cycle().take(len).collect()
}

fn changes(op: Op, n: u64) -> Changes {
    let mut changes = Changes::default();
    let mut put = |key: &[u8], value| changes.entries.insert(key.to_vec(), value);
    match op {
        Op::Put => drop(put(b"a", Some(value(n, 20)))),
        Op::PutTwo => {
            put(b"b", Some(value(n, 500)));
            put(b"d", Some(value(n + 1, 500)));
        }
        Op::Delete => drop(put(b"a", None)),
        Op::DeleteRange => {
            put(b"c", Some(value(n, 30)));
            changes.ranges.push((b"b".to_vec(), b"d".to_vec()));
        }
        Op::Compact => {}
    }
    changes
}

/// Two new tables are merged; each output has one key; a level holds almost nothing.
fn strategy() -> Strategy {
    let leveled = Leveled::new().levels(3).new_runs(2).base_bytes(4000);
    leveled.fanout(2).table_bytes(600).into()
}

impl Subject for SetSubject {
    type Op = Op;
    type State = Map;
    type Store = (TableSet, Disk);

    fn operations(&self) -> Vec<Op> {
        vec![
            Op::Put,
            Op::PutTwo,
            Op::Delete,
            Op::DeleteRange,
            Op::Compact,
        ]
    }

    fn starts(&self) -> Vec<Start<Op>> {
        use StartStep::{CrashDuring, Do};
        let two_levels = [Op::PutTwo, Op::Put, Op::Compact, Op::DeleteRange].map(Do);
        let tombstone = [Op::Put, Op::PutTwo, Op::Compact, Op::Delete, Op::PutTwo].map(Do);
        let cut = [
            Do(Op::Put),
            Do(Op::PutTwo),
            CrashDuring(Op::Compact, Keep::Everything),
        ];
        let mut starts = vec![
            Start {
                name: "a compaction that was cut short",
                script: cut.to_vec(),
            },
            Start {
                name: "two levels that overlap",
                script: two_levels.to_vec(),
            },
            Start {
                name: "a tombstone over an older value",
                script: tombstone.to_vec(),
            },
        ];
        starts.truncate(self.starts);
        starts
    }

    fn empty(&self) -> Map {
        Map::new()
    }

    fn open(&self, disk: &Disk) -> Outcome<(TableSet, Disk)> {
        let set = TableSet::open(disk, Path::new("/set"), Options::new(), strategy())?;
        let listed = disk.open_dir("/set")?.list()?.into_iter();
        let listed: BTreeSet<String> = listed.map(|entry| entry.name).collect();
        let mut expected: BTreeSet<String> = set.numbers().map(file_name).collect();
        let others = ["LOCK", "manifest"].map(str::to_owned);
        expected.extend(others.into_iter().filter(|name| listed.contains(name)));
        if listed != expected {
            return Err(format!("{expected:?} are the set, {listed:?} are there").into());
        }
        Ok((set, disk.clone()))
    }

    fn apply(&self, (set, _): &mut (TableSet, Disk), op: &Op, n: u64) -> Outcome<Survives> {
        match op {
            Op::Compact => drop(set.compact()?),
            op => set.write(&changes(*op, n))?,
        }
        Ok(Survives::PowerLoss)
    }

    fn observe(&self, (set, _): &mut (TableSet, Disk)) -> Outcome<Map> {
        set.contents()
    }

    fn model(&self, before: &Map, op: &Op, n: u64) -> Map {
        let mut after = before.clone();
        let changes = changes(*op, n);
        for (start, end) in &changes.ranges {
            after.retain(|key, _| key < start || key >= end);
        }
        for (key, value) in changes.entries {
            match value {
                Some(value) => drop(after.insert(key, value)),
                None => drop(after.remove(&key)),
            }
        }
        after
    }

    fn continuation(&self, interrupted: &Op) -> Vec<Op> {
        vec![*interrupted, Op::Put, Op::Compact]
    }
}

/// Each operation once, from each start. A new table has so many sectors that only some of the states are
/// looked at in which a power cut leaves them; an unfinished table has another name anyway.
fn bound(process_deaths: bool) -> Bound {
    Bound {
        states_per_point: 40,
        process_deaths,
        nested: false,
        ..Bound::of_length(1)
    }
}

fn explore(subject: SetSubject, bound: &Bound, without: &[Site]) -> Exploration {
    let explorer = Explorer::new(&subject).without(without);
    explorer.explore(bound, &|_counts| {})
}

#[test]
fn no_crash_loses_a_change_or_brings_one_back() {
    // Also the death of the process, a new one on what the kernel still has, and then a power cut.
    for (subject, process_deaths) in [(ALL, false), (CUT_SHORT, true)] {
        let explored = explore(subject, &bound(process_deaths), &[]);
        if let Some(found) = &explored.counterexample {
            panic!("{found}");
        }
    }
}

/// Those that the set takes itself, and those of the tables.
#[test]
fn each_sync_of_the_set_is_needed() {
    let sites = explore(ALL, &bound(false), &[]).sites;
    let mut needed = 0;
    for site in sites.into_keys() {
        let found = |subject, process_deaths| {
            let explored = explore(subject, &bound(process_deaths), &[site]);
            explored.counterexample.is_some()
        };
        assert!(
            found(ALL, false) || found(CUT_SHORT, true),
            "not needed: {site:?}"
        );
        needed += 1;
    }
    // Directory, its names at open, two of the tables and two of the manifest.
    assert_eq!(needed, 6);
}
