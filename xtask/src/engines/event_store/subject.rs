//! The event store in each `SyncMode`: its alphabets, its starting states and its model.

mod backup;
mod chores;
mod live;
mod projection;
mod records;
mod salvage;
mod trials;

use std::collections::BTreeMap;
use std::time::Duration;

use durable_io::sim::{Keep, Outcome, Start, StartStep, Subject, Survives};
use durable_io::{Background, Disk, SyncMode};
use event_store::{EventStore, Options};

pub(super) use chores::{Total, acknowledge, check_marks, check_total, total};
use live::Store;
use projection::STREAM;
pub(super) use projection::save;
use records::{LATE, count_in, drafts, records};
pub(super) use trials::trials;

pub(super) use salvage::salvage;

/// Its parent is missing, too: the log, which is a directory in it, makes only the name in that durable.
const DIR: &str = "/data/events";
/// Small enough that a few appends fill a segment.
const SEGMENT_SIZE: u64 = 2048;
/// The name of the reader.
const READER: &str = "reader";

/// The store in one [`SyncMode`], with so many bytes held back for a full disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventSubject {
    pub(crate) sync: SyncMode,
    pub(crate) alphabet: Alphabet,
    pub(crate) reserve: u64,
}

/// What is done to a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alphabet {
    /// Appending, and the index.
    Data,
    /// What readers acknowledge, mixed with appends.
    Readers,
    /// What projections save, mixed with appends.
    Projections,
    /// As little as reaches every sync: few states, so that each can be left out in the short run.
    Syncs,
    /// The same of a backup and a repair.
    Backup,
}

/// What a `Batch` store under test is opened with: the second unsynced append syncs, and so does the next
/// background step after a single one, whose interval is over at once.
pub(crate) const BATCH: SyncMode = SyncMode::Batch {
    writes: 2,
    interval: Duration::ZERO,
};

/// Everything once: the runs that faults are injected into.
pub(crate) const FAULTED: &[Op] = &[
    Op::Append,
    Op::AppendNew,
    Op::Acknowledge,
    Op::Index,
    Op::InFlight,
    Op::Tombstone,
    Op::AppendTwo,
    Op::Retry,
    Op::Index,
    Op::Conditional,
    Op::Close,
    Op::Append,
    Op::Acknowledge,
    Op::Sync,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// An event to a stream that may exist.
    Append,
    /// An event over three sectors to a new stream.
    AppendNew,
    /// Three events to two streams.
    AppendTwo,
    /// A condition that is not met, and then one that is.
    Conditional,
    /// The last append once more.
    Retry,
    /// Two appends in flight, a large one and a small one built on it, and an answer that rests on them: to
    /// the first once more, to a wrong version, to a condition that is not met.
    InFlight,
    /// An event, and the end of its stream; or an append to it when it was ended.
    Tombstone,
    /// All work on the index that is due: every event gets a part of its own, and four are merged.
    Index,
    /// One step of background work.
    Background,
    Sync,
    /// Close; the next operation opens again.
    Close,
    /// A reader reads everything and acknowledges it.
    Acknowledge,
    /// The reader is forgotten.
    Forget,
    /// An event that a projection has before the append returns.
    Project,
    /// A projection takes what there is, and is saved.
    Save,
    /// The state of a stream is saved.
    SaveStream,
    /// Whatever was saved is forgotten.
    ForgetStates,
    /// A backup is made, or brought up to date.
    Backup,
    /// Close, and make a new store of what is left, which is all.
    Repair,
    /// One part of the index is removed, one is shortened, and a third is written over, durably.
    SpoilIndex,
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Record {
    /// An event: the operation that wrote it, and its index there.
    Event(u64, usize),
    Tombstone,
}

/// What a user sees of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// By position.
    records: Vec<Record>,
    /// What the reader has acknowledged.
    reader: Option<u64>,
    /// Up to which position a projection was saved, and up to which version its stream.
    saved: [u64; 2],
    /// The last event of the backup.
    backup: Option<u64>,
    /// The last event of each new store, by the operation that made it of this one.
    repairs: BTreeMap<u64, u64>,
    /// Events of that stream; known to the model alone.
    in_stream: u64,
    /// At least the events up to here are in the parts that the list names.
    indexed: u64,
    /// Some of these parts were lost when the judge opened the store: no crash may do that.
    is_lost: bool,
}

impl EventSubject {
    fn options(self, disk: &Disk) -> Options {
        Options::new()
            .sync(self.sync)
            .segment_size(SEGMENT_SIZE)
            .index_interval(1)
            .reserve(self.reserve)
            .clock(|| 7)
            .background(Background::Inline)
            .disk(disk.clone())
    }

    fn open_store(self, disk: &Disk) -> Outcome<EventStore> {
        Ok(self.options(disk).open(DIR)?)
    }

    /// True if the tombstone comes with an event before it: where it must not need the reserve.
    fn ends_with_event(self, before: &State) -> bool {
        self.reserve == 0 && !before.records.contains(&Record::Tombstone)
    }
}

impl Subject for EventSubject {
    type Op = Op;
    type State = State;
    type Store = Store;

    fn operations(&self) -> Vec<Op> {
        let mut ops = match self.alphabet {
            Alphabet::Data => vec![
                Op::Append,
                Op::AppendNew,
                Op::AppendTwo,
                Op::Conditional,
                Op::Retry,
                Op::InFlight,
                Op::Tombstone,
                Op::Index,
                Op::Close,
            ],
            Alphabet::Readers => vec![
                Op::Append,
                Op::AppendTwo,
                Op::Acknowledge,
                Op::Forget,
                Op::Index,
                Op::Close,
            ],
            Alphabet::Projections => vec![
                Op::Append,
                Op::AppendTwo,
                Op::Project,
                Op::Save,
                Op::SaveStream,
                Op::ForgetStates,
                Op::Backup,
                Op::Close,
            ],
            Alphabet::Syncs => vec![Op::Append, Op::Index],
            Alphabet::Backup => vec![Op::Append, Op::Backup, Op::Repair],
        };
        match self.sync {
            SyncMode::Always => {}
            SyncMode::Batch { .. } => ops.extend([Op::Sync, Op::Background]),
            SyncMode::Manual => ops.push(Op::Sync),
        }
        if self.sync != SyncMode::Always {
            // Nobody may ask for that: what it has seen could be lost.
            ops.retain(|op| *op != Op::Project);
        }
        ops
    }

    fn starts(&self) -> Vec<Start<Op>> {
        use StartStep::{CrashDuring, Do, Kill};
        let due = || vec![Do(Op::Append), Do(Op::AppendTwo), Do(Op::AppendNew)];
        let with = |more: Vec<StartStep<Op>>| [due(), more].concat();
        if self.alphabet == Alphabet::Readers {
            let many = [Op::Append, Op::Acknowledge].repeat(16);
            return vec![
                Start {
                    name: "a reader behind",
                    script: [vec![Do(Op::Append), Do(Op::Acknowledge)], due()].concat(),
                },
                Start {
                    name: "a reader who has acknowledged often",
                    script: many.into_iter().map(Do).collect(),
                },
            ];
        }
        if self.alphabet == Alphabet::Projections {
            // The last one writes the log of states anew.
            let many = [Op::Append, Op::Save].repeat(17);
            return vec![
                Start {
                    name: "a projection behind",
                    // The last one is of the stream whose state is saved.
                    script: [
                        Op::Append,
                        Op::Save,
                        Op::AppendNew,
                        Op::AppendTwo,
                        Op::Append,
                    ]
                    .map(Do)
                    .into(),
                },
                Start {
                    name: "a projection that was saved often",
                    script: many.into_iter().map(Do).collect(),
                },
            ];
        }
        if self.alphabet == Alphabet::Backup {
            return vec![Start {
                name: "a backup behind",
                script: [Op::Append, Op::Acknowledge, Op::Backup, Op::Append]
                    .map(Do)
                    .into(),
            }];
        }
        if self.alphabet == Alphabet::Syncs {
            return vec![Start {
                name: "an index due",
                script: vec![Do(Op::Append)],
            }];
        }
        let index = || vec![Do(Op::Index)];
        vec![
            Start {
                name: "an index due",
                script: due(),
            },
            Start {
                name: "a merge due with the next part",
                script: vec![Do(Op::AppendTwo), Do(Op::Index)],
            },
            Start {
                name: "an index missing, stale and torn",
                script: with([index(), vec![Do(Op::SpoilIndex), Kill]].concat()),
            },
            Start {
                name: "a retry pending",
                script: with(vec![CrashDuring(Op::AppendTwo, Keep::Everything)]),
            },
        ]
    }

    fn empty(&self) -> State {
        State::default()
    }

    fn open(&self, disk: &Disk) -> Outcome<Store> {
        let store = self.open_store(disk)?;
        Ok(Store {
            disk: disk.clone(),
            subject: *self,
            is_lost: store.recovery().lost_parts > 0,
            open: Some(store),
            unsynced: Vec::new(),
        })
    }

    fn apply(&self, store: &mut Store, op: &Op, n: u64) -> Outcome<Survives> {
        if matches!(op, Op::Forget | Op::ForgetStates | Op::Backup | Op::Repair) {
            // What is done to a log of its own, while what came before could be lost, is no state of the model.
            store.store()?.sync()?;
        }
        match op {
            Op::Close => {
                // The store is opened by whatever comes next, so that a crash can come before.
                if let Some(store) = store.open.take() {
                    store.close()?;
                }
                store.unsynced.clear();
                return Ok(Survives::PowerLoss);
            }
            Op::Append | Op::AppendNew | Op::AppendTwo | Op::Conditional => store.write(*op, n)?,
            Op::InFlight => store.in_flight(n)?,
            Op::Retry => store.retry()?,
            Op::Tombstone => store.end(n)?,
            Op::Index => store.index()?,
            Op::Background => drop(store.store()?.run_background()?),
            Op::Sync => drop(store.store()?.sync()?),
            Op::Acknowledge => store.acknowledge()?,
            Op::Forget => store.store()?.forget_subscription(READER)?,
            Op::Project => projection::inline(store.store()?, n)?,
            Op::Save => save(store.store()?)?,
            Op::SaveStream => projection::save_stream(store.store()?)?,
            Op::ForgetStates => store.store()?.forget_projection(projection::NAME)?,
            Op::Backup => backup::make(store.store()?)?,
            Op::Repair => backup::repair(store, n)?,
            Op::SpoilIndex => store.spoil_index()?,
        }
        store.promise(*op)
    }

    fn observe(&self, store: &mut Store) -> Outcome<State> {
        let is_lost = store.is_lost;
        let disk = store.disk.clone();
        let store = store.store()?;
        // Before anything was asked: that makes parts again.
        let before = store.stats();
        let records = records(store)?;
        let verified = store.verify()?;
        if let Some(damage) = verified.damage.first()
            && before.lost_parts == 0
        {
            return Err(format!("verify says: {damage}").into());
        }
        let reader = store.subscriptions().first().map(|(_, at)| at.0);
        Ok(State {
            // Not what the events in memory leave: a poisoned store keeps some there that it shows nobody.
            indexed: before.indexed.0,
            records,
            reader,
            saved: projection::saved(store)?,
            backup: backup::last(&disk, store)?,
            repairs: backup::repairs(&disk, store)?,
            in_stream: 0,
            is_lost,
        })
    }

    fn model(&self, before: &State, op: &Op, n: u64) -> State {
        let mut after = before.clone();
        let ends = *op == Op::Tombstone;
        if !ends || self.ends_with_event(before) {
            let events = (0..drafts(*op, n).len()).map(|index| Record::Event(n, index));
            after.records.extend(events);
        }
        after.in_stream += count_in(STREAM, *op, n);
        let last = after.records.len() as u64;
        match op {
            Op::Tombstone if !before.records.contains(&Record::Tombstone) => {
                after.records.push(Record::Tombstone);
            }
            Op::Index => (after.indexed, after.is_lost) = (last, false),
            Op::SpoilIndex => after.is_lost = true,
            Op::Acknowledge if last > 0 => after.reader = Some(last),
            Op::Forget => after.reader = None,
            Op::Save => after.saved[0] = last,
            Op::SaveStream => after.saved[1] = after.in_stream,
            Op::ForgetStates => after.saved = [0, 0],
            Op::Backup => after.backup = Some(last),
            Op::Repair => drop(after.repairs.insert(n, last)),
            _ => {}
        }
        after
    }

    fn partly(&self, before: &State, op: &Op, n: u64) -> Vec<State> {
        let one = |record| {
            let mut after = before.clone();
            after.records.push(record);
            after
        };
        match op {
            // The second is built on the first, which may be alone. If there was no space for them, what came too
            // late did not.
            Op::InFlight => [0, LATE].map(|index| one(Record::Event(n, index))).into(),
            Op::Tombstone if self.ends_with_event(before) => vec![one(Record::Event(n, 0))],
            _ => Vec::new(),
        }
    }

    fn matches(&self, expected: &State, observed: &State) -> bool {
        expected.records == observed.records
            && expected.reader == observed.reader
            && expected.saved == observed.saved
            // One that is brought up to date may have some of it already.
            && expected.backup.is_some() == observed.backup.is_some()
            && expected.backup <= observed.backup
            && expected.repairs == observed.repairs
            && expected.indexed <= observed.indexed
            && (expected.is_lost || !observed.is_lost)
    }

    fn matches_without_caches(&self, expected: &State, observed: &State) -> bool {
        expected.records == observed.records && expected.reader == observed.reader
    }

    fn continuation(&self, interrupted: &Op) -> Vec<Op> {
        // As much as was lost, so that a left-over of it would fit in its place; then over the border, and
        // through the index.
        let marks = [Op::Acknowledge, Op::Save, Op::SaveStream];
        let writes = !drafts(*interrupted, 0).is_empty() || marks.contains(interrupted);
        let again = if writes { *interrupted } else { Op::Append };
        let mut ops = vec![again, Op::Retry, Op::Index, Op::AppendNew];
        if self.sync != SyncMode::Always {
            ops.push(Op::Sync);
        }
        ops
    }

    fn label(&self, op: &Op) -> String {
        match op {
            Op::Append | Op::AppendNew | Op::AppendTwo | Op::Conditional => "append",
            Op::Retry => "retry",
            Op::InFlight => "submit",
            Op::Tombstone => "tombstone",
            Op::Index | Op::Background => "index",
            Op::Sync => "sync",
            Op::Close => "close",
            Op::Acknowledge | Op::Forget => "acknowledge",
            Op::Project | Op::Save | Op::SaveStream | Op::ForgetStates => "project",
            Op::Backup => "backup",
            Op::Repair => "repair",
            Op::SpoilIndex => "spoil",
        }
        .to_owned()
    }
}
