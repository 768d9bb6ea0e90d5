//! A set of tables: its alphabet, its starting states and its model.
//!
//! What a compaction does is three operations, so that writes come in between: its work, the edit that
//! makes it count, and the removal of its inputs.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound as Edge;
use std::path::Path;

use durable_io::Disk;
use durable_io::sim::{Keep, Outcome, Start, StartStep, Subject, Survives};
use sstable::compaction::{Action, Job, Leveled, Strategy, plan};
use sstable::{BlockCache, KeyRange, Options, Table, TableCursor, Visible};

use super::set::{Changes, Edit, TableSet, file_name};
use crashtest::content::{identify, payload};

const DIR: &str = "/tables";

/// The set of tables of the crate's example.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SetSubject;

/// Everything once: the run that faults are injected into.
pub(crate) const FAULTED: &[Op] = &[
    Op::PutTwo,
    Op::Put,
    Op::Scan,
    Op::Work,
    Op::DeleteRange,
    Op::Publish,
    Op::DropInputs,
    Op::Scan,
    Op::Delete,
    Op::MergeTwo,
    Op::Put,
    Op::Work,
    Op::Publish,
    Op::Reopen,
    Op::PutTwo,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// A new table: a value under `a`.
    Put,
    /// A new table: values under `b` and `d`.
    PutTwo,
    /// A new table: a tombstone of `a`.
    Delete,
    /// A new table: a range tombstone from `b` to before `d`, and `c`.
    DeleteRange,
    /// The two newest tables become one, where they are: work, edit and removal.
    MergeTwo,
    /// The work of the first job of the plan. Its outputs count for nothing yet.
    Work,
    /// The edit that puts the outputs of that job in the place of its inputs.
    Publish,
    /// The inputs of that job go.
    DropInputs,
    /// A scan begins; or the one that has begun continues to its end, and must show what it must.
    Scan,
    /// The set is opened again.
    Reopen,
    /// Everything that the strategy asks for.
    Compact,
}

/// What a user sees: the operation that wrote each key's value, and its index there.
type State = BTreeMap<String, (u64, usize)>;

/// A job on its way.
#[derive(Debug)]
enum Pending {
    Done(Job, Edit),
    Published(Edit),
}

pub(crate) struct Store {
    disk: Disk,
    /// `None` when it could not be opened again.
    set: Option<TableSet>,
    pending: Option<Pending>,
    scan: Option<(Visible<TableCursor>, State)>,
}

/// Without filters and hash indexes, which a crash does not see, and with small values a table has three
/// sectors: one with header, data and index, one with more of that, one with the second copies.
fn options() -> Options {
    Options::new().filter_bits(0).hash_index(false)
}

/// Two new tables are merged; an output has one or two keys; a level holds almost nothing.
fn strategy() -> Strategy {
    let leveled = Leveled::new().levels(3).new_runs(2).base_bytes(3000);
    leveled.fanout(2).table_bytes(270).into()
}

fn open(disk: &Disk) -> Outcome<TableSet> {
    let set = TableSet::open(disk, Path::new(DIR), options(), strategy())?;
    let listed = disk.open_dir(DIR)?.list()?.into_iter();
    let mut listed: BTreeSet<String> = listed.map(|entry| entry.name).collect();
    listed.retain(|name| name != "LOCK" && name != "manifest");
    let named: BTreeSet<String> = set.numbers().map(file_name).collect();
    if listed != named {
        return Err(format!("{named:?} are the set, {listed:?} are there").into());
    }
    Ok(set)
}

/// What operation `n` changes.
fn changes(op: Op, n: u64) -> Changes {
    let mut changes = Changes::default();
    let mut put = |key: &str, value| drop(changes.entries.insert(key.into(), value));
    match op {
        Op::Put => put("a", Some(payload(n, 0, 20))),
        Op::PutTwo => {
            put("b", Some(payload(n, 0, 20)));
            put("d", Some(payload(n, 1, 20)));
        }
        Op::Delete => put("a", None),
        Op::DeleteRange => {
            put("c", Some(payload(n, 0, 20)));
            changes.ranges.push(("b".into(), "d".into()));
        }
        _ => {}
    }
    changes
}

/// The state that `pairs` are.
fn state(pairs: impl Iterator<Item = sstable::Result<(Vec<u8>, Vec<u8>)>>) -> Outcome<State> {
    let mut state = State::new();
    for pair in pairs {
        let (key, value) = pair?;
        let key = String::from_utf8(key)?;
        let Some(written) = identify(&value) else {
            return Err(format!("key {key} has a value that nobody wrote").into());
        };
        if state.insert(key.clone(), written).is_some() {
            return Err(format!("key {key} is there twice").into());
        }
    }
    Ok(state)
}

impl Store {
    /// The open set; a closed one is opened again.
    fn set(&mut self) -> Outcome<&mut TableSet> {
        let set = match self.set.take() {
            Some(set) => set,
            None => open(&self.disk)?,
        };
        Ok(self.set.insert(set))
    }

    /// The two newest tables, as a job, if both are new and nothing else is done to them.
    fn merge_of_two(&mut self) -> Outcome<Option<Job>> {
        let busy = match &self.pending {
            Some(Pending::Done(job, _)) => job.inputs.clone(),
            _ => Vec::new(),
        };
        let mut metas = self.set()?.metas();
        metas.retain(|meta| meta.level == 0 && !busy.contains(&meta.id));
        metas.sort_by_key(|meta| std::cmp::Reverse(meta.run));
        let [newest, second, ..] = metas.as_slice() else {
            return Ok(None);
        };
        let inputs = vec![newest.id, second.id];
        let all = self.set()?.metas();
        let others = all.iter().filter(|meta| !inputs.contains(&meta.id));
        let first = others.map(|meta| &meta.range.first).min();
        // No more tombstones may go than those that are before all other tables.
        let older = first.map(|first| KeyRange {
            first: first.clone(),
            last: Edge::Unbounded,
        });
        Ok(Some(Job {
            action: Action::Merge,
            inputs,
            input_bytes: newest.bytes + second.bytes,
            output_level: 0,
            output_run: newest.run,
            output_bytes: u64::MAX,
            older: older.into_iter().collect(),
        }))
    }

    /// The work of the first job of the plan, if none is on its way.
    fn work(&mut self) -> Outcome<()> {
        if self.pending.is_some() {
            return Ok(());
        }
        let set = self.set()?;
        let job = plan(&set.metas(), &strategy()).into_iter().next();
        if let Some(job) = job {
            let edit = set.run(&job)?;
            self.pending = Some(Pending::Done(job, edit));
        }
        Ok(())
    }

    fn toggle_scan(&mut self) -> Outcome<()> {
        if let Some((scan, expected)) = self.scan.take() {
            let seen = state(scan)?;
            if seen != expected {
                return Err(format!("a scan of {expected:?} shows {seen:?}").into());
            }
            return Ok(());
        }
        let mut scan = self.set()?.scan()?;
        let mut expected = state(self.set()?.scan()?)?;
        // It is on its way.
        if scan.next().transpose()?.is_some() {
            expected.pop_first();
        }
        self.scan = Some((scan, expected));
        Ok(())
    }
}

impl Subject for SetSubject {
    type Op = Op;
    type State = State;
    type Store = Store;

    fn operations(&self) -> Vec<Op> {
        vec![
            Op::Put,
            Op::PutTwo,
            Op::Delete,
            Op::DeleteRange,
            Op::MergeTwo,
            Op::Work,
            Op::Publish,
            Op::DropInputs,
            Op::Scan,
            Op::Reopen,
        ]
    }

    fn starts(&self) -> Vec<Start<Op>> {
        use StartStep::{CrashDuring, Do, Kill};
        let due = [Op::PutTwo, Op::Put, Op::Compact, Op::DeleteRange, Op::Put];
        let with = |more: Vec<StartStep<Op>>| {
            let due = due.into_iter().map(Do);
            due.chain(more).collect::<Vec<_>>()
        };
        let start = |name, ops: &[Op]| Start {
            name,
            script: ops.iter().copied().map(Do).collect(),
        };
        vec![
            start("two levels that overlap, and a compaction is due", &due),
            start(
                "a tombstone over an older value",
                &[Op::Put, Op::PutTwo, Op::Compact, Op::Delete],
            ),
            start(
                "a range tombstone over older values",
                &[Op::PutTwo, Op::Put, Op::Compact, Op::DeleteRange],
            ),
            Start {
                name: "a job done, and not named",
                script: with(vec![Do(Op::Work)]),
            },
            Start {
                name: "a job that a crash interrupted in its edit",
                script: with(vec![
                    Do(Op::Work),
                    CrashDuring(Op::Publish, Keep::Everything),
                ]),
            },
            Start {
                name: "a job that counts, and a crash that kept its inputs",
                script: with(vec![Do(Op::Work), Do(Op::Publish), Kill]),
            },
        ]
    }

    fn empty(&self) -> State {
        State::new()
    }

    fn open(&self, disk: &Disk) -> Outcome<Store> {
        Ok(Store {
            disk: disk.clone(),
            set: Some(open(disk)?),
            pending: None,
            scan: None,
        })
    }

    fn apply(&self, store: &mut Store, op: &Op, n: u64) -> Outcome<Survives> {
        match op {
            Op::Put | Op::PutTwo | Op::Delete | Op::DeleteRange => {
                store.set()?.write(&changes(*op, n))?;
            }
            Op::MergeTwo => {
                if let Some(job) = store.merge_of_two()? {
                    let set = store.set()?;
                    let edit = set.run(&job)?;
                    set.publish(&edit)?;
                    set.remove_inputs(&edit)?;
                }
            }
            Op::Work => store.work()?,
            Op::Publish => match store.pending.take() {
                Some(Pending::Done(_, edit)) => {
                    store.set()?.publish(&edit)?;
                    store.pending = Some(Pending::Published(edit));
                }
                other => store.pending = other,
            },
            Op::DropInputs => match store.pending.take() {
                Some(Pending::Published(edit)) => store.set()?.remove_inputs(&edit)?,
                other => store.pending = other,
            },
            Op::Scan => store.toggle_scan()?,
            Op::Reopen => {
                (store.set, store.pending) = (None, None);
                store.set()?;
            }
            Op::Compact => drop(store.set()?.compact()?),
        }
        Ok(Survives::PowerLoss)
    }

    fn observe(&self, store: &mut Store) -> Outcome<State> {
        let numbers: Vec<u64> = store.set()?.numbers().collect();
        let dir = store.disk.open_dir(DIR)?;
        for number in numbers {
            // Every way of reading agrees with every other.
            let table = Table::open(&dir, &file_name(number), &BlockCache::new(0))?;
            let verified = table.verify()?;
            if let Some(damage) = verified.damage.into_iter().next() {
                return Err(damage.into());
            }
        }
        state(store.set()?.scan()?)
    }

    fn model(&self, before: &State, op: &Op, n: u64) -> State {
        let mut after = before.clone();
        let Changes { entries, ranges } = changes(*op, n);
        for (start, end) in &ranges {
            after.retain(|key, _| key.as_bytes() < &start[..] || key.as_bytes() >= &end[..]);
        }
        for (key, value) in entries {
            let key = String::from_utf8_lossy(&key).into_owned();
            match value.as_deref().and_then(identify) {
                Some(written) => drop(after.insert(key, written)),
                None => drop(after.remove(&key)),
            }
        }
        after
    }

    fn continuation(&self, interrupted: &Op) -> Vec<Op> {
        let is_write = matches!(
            interrupted,
            Op::Put | Op::PutTwo | Op::Delete | Op::DeleteRange
        );
        let again = if is_write { *interrupted } else { Op::Put };
        vec![again, Op::MergeTwo]
    }

    fn label(&self, op: &Op) -> String {
        match op {
            Op::Put | Op::PutTwo | Op::Delete | Op::DeleteRange => "build",
            Op::MergeTwo => "merge two",
            Op::Work | Op::Compact => "compaction",
            Op::Publish => "publish",
            Op::DropInputs => "drop inputs",
            Op::Scan => "scan",
            Op::Reopen => "reopen",
        }
        .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use durable_io::sim::{Bound, Explorer};

    #[test]
    fn a_set_of_tables_survives_every_single_operation() {
        let bound = Bound {
            process_deaths: false,
            ..Bound::of_length(1)
        };
        let explored = Explorer::new(&SetSubject).explore(&bound, &|_| {});
        if let Some(example) = explored.counterexample {
            panic!("{example}");
        }
        let counts = explored.counts;
        assert!(counts.unique_states > 1000, "{counts:?}");
        assert_eq!(counts.sampled_points, 0);
    }
}
