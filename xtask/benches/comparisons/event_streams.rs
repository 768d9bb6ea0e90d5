//! This workspace's event store.

use std::hint::black_box;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};

use event_store::{
    Append, Condition, EventStore, Expected, NewEvent, Options, Position, Query, Subscribe, Version,
};

use crate::allocator::Count;
use crate::contender::{Contender, Role, Unit};
use crate::events::{self, EventLog, Fact};
use crate::keys::value;
use crate::measure::{Rate, float};
use crate::ordered::figure;
use crate::rounds::variable;
use crate::stores::sync_mode;

/// Events that are delivered, of which the median is taken.
const DELIVERED: u128 = 1000;
/// Longer than any delivery takes.
const SOON: Duration = Duration::from_secs(60);

pub(crate) fn contenders() -> Vec<Contender> {
    let mut all = events::contenders::<EventStore>(Role::Own);
    all.push(own(
        "from append to delivery, durable",
        Unit::Nanoseconds,
        delivery,
    ));
    all.push(own(
        "memory of a stream of a million",
        Unit::BytesPerKey,
        memory,
    ));
    all
}

/// What no other store is asked for.
fn own(what: &str, unit: Unit, run: fn(&Path) -> anyhow::Result<Rate>) -> Contender {
    Contender {
        workload: format!("events: {what}, 100 B"),
        name: EventStore::NAME.to_owned(),
        role: Role::Own,
        unit,
        floor: String::new(),
        real_time: false,
        run: Box::new(move |dir, _time| run(dir)),
    }
}

/// Nanoseconds from the call of an append until a subscription has the event, at the median.
fn delivery(dir: &Path) -> anyhow::Result<Rate> {
    let store = <EventStore as EventLog>::open(dir, true)?;
    let mut subscription = store.subscribe(Subscribe::new())?;
    let (payload, mut took) = (value(), Vec::new());
    for id in 1..=DELIVERED {
        let fact = Fact {
            id,
            stream: "orders",
            tag: "customer:1",
            payload: &payload,
        };
        let start = Instant::now();
        // The subscriber waits already when the event comes.
        let delivered = thread::scope(|scope| {
            let waits = scope.spawn(|| {
                subscription
                    .next(SOON)
                    .map(|event| (event, start.elapsed()))
            });
            EventLog::append(&store, &[fact])?;
            let delivered = waits
                .join()
                .map_err(|_panic| anyhow!("the subscriber panicked"))?;
            anyhow::Ok(delivered?)
        })?;
        anyhow::ensure!(delivered.0.is_some(), "event {id} does not come");
        took.push(delivered.1.as_nanos());
    }
    took.sort_unstable();
    let median = took.get(took.len() / 2).context("no event")?;
    store.close()?;
    Ok(figure(float(u64::try_from(*median)?)))
}

/// Bytes of memory for each stream of a store that has a million, while it is open.
fn memory(dir: &Path) -> anyhow::Result<Rate> {
    let streams = variable("BENCH_MEMORY_KEYS", 1_000_000)?;
    let counted = Count::start();
    let store = <EventStore as EventLog>::open(dir, false)?;
    // The names that are made for it are gone when it is counted.
    events::load(&store, streams, 1)?;
    let bytes = counted.bytes();
    store.close()?;
    Ok(figure(float(bytes) / float(streams)))
}

/// `facts`, which are all of one stream.
fn add<'a>(append: Append<'a>, facts: &[Fact<'a>]) -> Append<'a> {
    let stream = facts.first().map_or("", |fact| fact.stream);
    let event = |fact: &Fact<'a>| {
        NewEvent::new("Placed", fact.payload)
            .id(fact.id)
            .tag(fact.tag)
    };
    append.stream(stream, Expected::Any, facts.iter().map(event))
}

/// How many events there are; each is looked at.
fn count(
    events: impl Iterator<Item = event_store::Result<event_store::Event>>,
) -> anyhow::Result<u64> {
    let mut read = 0;
    for event in events {
        black_box(event?.payload().last());
        read += 1;
    }
    Ok(read)
}

impl EventLog for EventStore {
    const NAME: &str = "event-store";

    fn open(dir: &Path, is_durable: bool) -> anyhow::Result<Self> {
        let mode = sync_mode(is_durable);
        Ok(Options::new().sync(mode).open(dir)?)
    }

    fn append(&self, facts: &[Fact<'_>]) -> anyhow::Result<()> {
        let streams = facts.chunk_by(|one, other| one.stream == other.stream);
        self.write(&streams.fold(Append::new(), add))?;
        Ok(())
    }

    fn append_if(&self, fact: &Fact<'_>, seen: u64) -> anyhow::Result<u64> {
        let query = Query::new().tags([fact.tag]);
        let append = add(Append::new(), std::slice::from_ref(fact))
            .condition(Condition::new(query, Position(seen)));
        Ok(self.write(&append)?.positions.start.0)
    }

    type Reader<'a> = ();

    fn reader(&self) -> anyhow::Result<()> {
        // Readers are given what is durable.
        self.sync()?;
        Ok(())
    }

    fn read_all(&self, _reader: &()) -> anyhow::Result<u64> {
        count(EventStore::read_all(self, Position(1)))
    }

    fn read_stream(&self, _reader: &(), stream: &str) -> anyhow::Result<u64> {
        count(EventStore::read_stream(self, stream, Version(1)))
    }

    fn read_tag(&self, _reader: &(), tag: &str) -> anyhow::Result<u64> {
        count(EventStore::query(
            self,
            Query::new().tags([tag]),
            Position(1),
        ))
    }

    fn close(self) -> anyhow::Result<()> {
        Ok(EventStore::close(self)?)
    }
}
