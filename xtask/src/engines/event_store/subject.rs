//! The event store in each `SyncMode`: its alphabets, its starting states and its model.

use std::time::Duration;

use crashtest::content::identify;
use durable_io::sim::{Keep, Outcome, Start, StartStep, Subject, Survives};
use durable_io::{Background, Disk, SyncMode};
use event_store::{
    Condition, Error, Event, EventStore, Expected, NewEvent, Options, Position, Query, Subscribe,
    Version,
};

use super::records::{append, drafts, records};

const DIR: &str = "/events";
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
    /// Two appends in flight, the second built on the first, and the first once more meanwhile.
    InFlight,
    /// End a stream, or try to append to it when it was.
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
    /// One part of the index goes, one is cut short, and a third is written over, durably.
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
    /// At least the events up to here are in the parts that the list names.
    indexed: u64,
    /// Some of these parts were lost when the judge opened the store: no crash may do that.
    is_lost: bool,
}

pub(crate) struct Store {
    disk: Disk,
    subject: EventSubject,
    open: Option<EventStore>,
    /// Some of the index was lost when the judge opened the store, and was not made again since.
    is_lost: bool,
    /// The last event of each append that the store does not call durable yet.
    unsynced: Vec<Position>,
}

impl EventSubject {
    fn open_store(self, disk: &Disk) -> Outcome<EventStore> {
        let store = Options::new()
            .sync(self.sync)
            .segment_size(SEGMENT_SIZE)
            .index_interval(1)
            .reserve(self.reserve)
            .clock(|| 7)
            .background(Background::Inline)
            .disk(disk.clone())
            .open(DIR)?;
        Ok(store)
    }
}

impl Store {
    /// The open store; a closed one is opened again.
    fn store(&mut self) -> Outcome<&EventStore> {
        let is_closed = self.open.is_none();
        let store = match self.open.take() {
            Some(store) => store,
            None => self.subject.open_store(&self.disk)?,
        };
        let store = self.open.insert(store);
        // Only a read that failed may lose what was not lost before.
        if is_closed && !self.is_lost && store.recovery().lost_parts > 0 {
            return Err("parts of the index were lost".into());
        }
        Ok(store)
    }

    /// What the operation just acknowledged is promised: the store's own watermark says so, and every crash
    /// checks whether it speaks the truth. The mode's words bound how far it may lag.
    fn promise(&mut self, op: Op) -> Outcome<Survives> {
        let stats = self.store()?.stats();
        if self.unsynced.last().copied().unwrap_or_default() < stats.last {
            self.unsynced.push(stats.last);
        }
        self.unsynced.retain(|last| *last > stats.durable);
        let allowed = match self.subject.sync {
            SyncMode::Always => 0,
            // The interval is over when the background looks.
            SyncMode::Batch { .. } if op == Op::Background => 0,
            SyncMode::Batch { writes, .. } => writes as usize - 1,
            SyncMode::Manual if matches!(op, Op::Sync | Op::Index) => 0,
            SyncMode::Manual => usize::MAX,
        };
        let unsynced = self.unsynced.len();
        if unsynced > allowed {
            return Err(format!("{unsynced} appends are not durable after {op:?}").into());
        }
        Ok(if unsynced == 0 {
            Survives::PowerLoss
        } else {
            Survives::ProcessDeath
        })
    }

    fn write(&mut self, op: Op, n: u64) -> Outcome<()> {
        let drafts = drafts(op, n);
        let store = self.store()?;
        let append = append(&drafts, Expected::Any);
        if op == Op::Conditional {
            let everything = Condition::new(Query::new(), Position(0));
            let refused = store.write(&append.clone().condition(everything));
            let is_empty = store.stats().last == Position(0);
            match refused {
                Err(Error::ConditionFailed {
                    position: Position(1),
                }) => {}
                Ok(_) if is_empty => return Err("an append left no event".into()),
                // To an empty store it was no condition.
                Ok(_) => return Ok(()),
                Err(other) => return Err(other.into()),
            }
            let seen = store.stats().last;
            let tagged = Query::new().tags(["c"]);
            store.write(&append.condition(Condition::new(tagged, seen)))?;
            return Ok(());
        }
        let appended = store.write(&append)?;
        if appended.was_there {
            return Err("a new append was there already".into());
        }
        Ok(())
    }

    fn in_flight(&mut self, n: u64) -> Outcome<()> {
        let drafts = drafts(Op::InFlight, n);
        let (first, second) = drafts.split_at(1);
        let store = self.store()?;
        let info = store.stream_info("s-2")?;
        let version = info.map_or(Version(0), |info| info.version);
        let one = store.submit(&append(first, Expected::Exactly(version)))?;
        let next = Expected::Exactly(version.next());
        let other = store.submit(&append(second, next))?;
        // Its answer rests on what is in flight.
        let again = store.write(&append(first, Expected::NoStream));
        let one = one.wait()?;
        let again = again?;
        if !again.was_there || again.positions != one.positions {
            return Err(format!("a retry of {one:?} was {again:?}").into());
        }
        other.wait()?;
        Ok(())
    }

    /// The last append once more, whatever it was, with an expectation that is not met.
    fn retry(&mut self) -> Outcome<()> {
        let store = self.store()?;
        // Also what is not durable yet.
        let mut last: Option<Event> = None;
        for name in store.streams() {
            let event = store.last_event(&name?)?;
            let is_later = |event: &Event| {
                !event.is_tombstone()
                    && last
                        .as_ref()
                        .is_none_or(|last| last.position() < event.position())
            };
            last = event.filter(is_later).or(last);
        }
        let Some(last) = last else {
            return Ok(());
        };
        let Some((n, _)) = identify(last.payload()) else {
            return Err("an event that nobody wrote".into());
        };
        let drafts = match last.kind() {
            "Append" => drafts(Op::Append, n),
            "AppendNew" => drafts(Op::AppendNew, n),
            "AppendTwo" => drafts(Op::AppendTwo, n),
            "Conditional" => drafts(Op::Conditional, n),
            _ => drafts(Op::InFlight, n).split_off(1),
        };
        let again = store.write(&append(&drafts, Expected::NoStream))?;
        if !again.was_there || again.positions.end != last.position().next() {
            return Err(format!("a retry of {last:?} was {again:?}").into());
        }
        if let (first @ [_], [_, ..]) = drafts.split_at(1) {
            match store.write(&append(first, Expected::Any)) {
                Err(Error::IdConflict { .. }) => {}
                other => return Err(format!("half an append once more was {other:?}").into()),
            }
        }
        Ok(())
    }

    fn acknowledge(&mut self) -> Outcome<()> {
        let store = self.store()?;
        let before = store.subscriptions().first().map_or(0, |(_, at)| at.0);
        let mut reader = store.subscribe(Subscribe::new().named(READER))?;
        let mut expected = before;
        // What is not durable yet is given to no reader.
        for end in [store.stats().durable, store.sync()?] {
            while expected < end.0 {
                expected += 1;
                let event = reader.try_next()?;
                if event.as_ref().map(|event| event.position().0) != Some(expected) {
                    return Err(format!("{event:?} came instead of {expected}").into());
                }
            }
            if let Some(event) = reader.try_next()? {
                return Err(format!("{event:?} came, but {end} is the last durable one").into());
            }
        }
        reader.acknowledge()?;
        Ok(())
    }

    fn index(&mut self) -> Outcome<()> {
        let store = self.store()?;
        while store.run_background()? {}
        // What went wrong and spoils nothing is no error there: it is put off.
        if let Some(trouble) = store.stats().index_trouble {
            return Err(format!("the index is not kept: {trouble:?}").into());
        }
        self.is_lost = false;
        Ok(())
    }

    fn spoil_index(&mut self) -> Outcome<()> {
        // Whoever has it open has it mapped: nobody may cut that short.
        self.open = None;
        self.is_lost = true;
        let dir = self.disk.open_dir(DIR)?;
        let mut names: Vec<String> = dir.list()?.into_iter().map(|entry| entry.name).collect();
        names.retain(|name| name.strip_suffix(".part").is_some());
        names.sort_unstable();
        for (nth, name) in names.iter().enumerate() {
            let file = dir.open(name)?;
            match (nth, names.first()) {
                (0, _) => file.set_len(700)?,
                (1, _) => dir.remove(name)?,
                (_, Some(other)) => {
                    let mut bytes = [0; 600];
                    let read = dir.open(other)?.read_at(&mut bytes, 0)?;
                    file.write_all_at(bytes.get(..read).unwrap_or_default(), 0)?;
                }
                (_, None) => {}
            }
            drop(file.sync_data()?);
        }
        dir.sync()?;
        Ok(())
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
        };
        match self.sync {
            SyncMode::Always => {}
            SyncMode::Batch { .. } => ops.extend([Op::Sync, Op::Background]),
            SyncMode::Manual => ops.push(Op::Sync),
        }
        ops
    }

    fn starts(&self) -> Vec<Start<Op>> {
        use StartStep::{CutDuring, Do, Kill};
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
                script: with(vec![CutDuring(Op::AppendTwo, Keep::Everything)]),
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
            Op::Tombstone => {
                let store = store.store()?;
                store.tombstone("ended", Expected::Any)?;
                match store.append("ended", Expected::Any, [NewEvent::new("Late", b"")]) {
                    Err(Error::StreamEnded { .. }) => {}
                    other => return Err(format!("an ended stream took {other:?}").into()),
                }
            }
            Op::Index => store.index()?,
            Op::Background => drop(store.store()?.run_background()?),
            Op::Sync => drop(store.store()?.sync()?),
            Op::Acknowledge => store.acknowledge()?,
            Op::Forget => store.store()?.forget_subscription(READER)?,
            Op::SpoilIndex => store.spoil_index()?,
        }
        store.promise(*op)
    }

    fn observe(&self, store: &mut Store) -> Outcome<State> {
        let is_lost = store.is_lost;
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
            indexed: before.last.0.saturating_sub(before.unindexed_events),
            records,
            reader,
            is_lost,
        })
    }

    fn model(&self, before: &State, op: &Op, n: u64) -> State {
        let mut after = before.clone();
        let events = (0..drafts(*op, n).len()).map(|index| Record::Event(n, index));
        after.records.extend(events);
        let last = after.records.len() as u64;
        match op {
            Op::Tombstone if !before.records.contains(&Record::Tombstone) => {
                after.records.push(Record::Tombstone);
            }
            Op::Index => (after.indexed, after.is_lost) = (last, false),
            Op::SpoilIndex => after.is_lost = true,
            Op::Acknowledge if last > 0 => after.reader = Some(last),
            Op::Forget => after.reader = None,
            _ => {}
        }
        after
    }

    fn matches(&self, expected: &State, observed: &State) -> bool {
        expected.records == observed.records
            && expected.reader == observed.reader
            && expected.indexed <= observed.indexed
            && (expected.is_lost || !observed.is_lost)
    }

    fn continuation(&self, interrupted: &Op) -> Vec<Op> {
        // As much as was lost, so that a left-over of it would fit behind; then over the border, and
        // through the index.
        let writes = !drafts(*interrupted, 0).is_empty() || *interrupted == Op::Acknowledge;
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
            Op::SpoilIndex => "spoil",
        }
        .to_owned()
    }
}
