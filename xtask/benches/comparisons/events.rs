//! What every event store is asked to do, this workspace's and others.

use std::path::Path;
use std::time::Duration;

use crate::contender::{Contender, Role, Unit, durable_floor};
use crate::keys::{Numbers, VALUE_SIZE, value};
use crate::measure::{Rate, THREADS, closed_loop};
use crate::stores::keys;

/// Events of each stream of a store that is read.
const STREAM: u64 = 20;
/// The size of the raw record beside which a durable append stands.
const FLOOR_SIZE: usize = 128;

/// An event that is to be appended.
pub(crate) struct Fact<'a> {
    pub(crate) id: u128,
    pub(crate) stream: &'a str,
    pub(crate) tag: &'a str,
    pub(crate) payload: &'a [u8],
}

/// An event store, open.
pub(crate) trait EventLog: Sized + Sync + 'static {
    const NAME: &str;

    /// Opens the store in `dir`; `is_durable` says whether appends are durable when they return.
    fn open(dir: &Path, is_durable: bool) -> anyhow::Result<Self>;

    /// Appends all of `facts` together, each to a stream of its own.
    fn append(&self, facts: &[Fact<'_>]) -> anyhow::Result<()>;

    /// Appends `fact` if no event with its tag stands behind position `seen`; returns its own position.
    fn append_if(&self, fact: &Fact<'_>, seen: u64) -> anyhow::Result<u64>;

    /// What one thread reads with.
    type Reader<'a>;

    fn reader(&self) -> anyhow::Result<Self::Reader<'_>>;

    /// Reads every event; returns how many there are.
    fn read_all(&self, reader: &Self::Reader<'_>) -> anyhow::Result<u64>;

    /// Reads every event of `stream`; returns how many there are.
    fn read_stream(&self, reader: &Self::Reader<'_>, stream: &str) -> anyhow::Result<u64>;

    fn close(self) -> anyhow::Result<()>;
}

/// Everything that `S` is measured in.
pub(crate) fn contenders<S: EventLog>(role: Role) -> Vec<Contender> {
    let mut all = Vec::new();
    for threads in THREADS {
        all.push(Contender {
            floor: durable_floor(FLOOR_SIZE, false),
            ..contender::<S>(role, "durable append", threads, appends::<S>)
        });
    }
    for threads in THREADS {
        all.push(Contender {
            floor: durable_floor(FLOOR_SIZE, false),
            ..contender::<S>(
                role,
                "durable conditional append",
                threads,
                conditional::<S>,
            )
        });
    }
    all.push(contender::<S>(
        role,
        "catch-up read",
        1,
        |dir, _threads, time| {
            let (store, count) = loaded::<S>(dir)?;
            read(store, time, move |store, reader, _numbers| {
                let read = store.read_all(reader)?;
                anyhow::ensure!(read == count, "{read} of {count} events");
                Ok(read)
            })
        },
    ));
    all.push(contender::<S>(
        role,
        "stream of 20 events",
        1,
        |dir, _threads, time| {
            let (store, _) = loaded::<S>(dir)?;
            read(store, time, |store, reader, numbers| {
                let read = store.read_stream(reader, &stream(numbers.next()))?;
                anyhow::ensure!(read == STREAM, "{read} events of a stream");
                Ok(1)
            })
        },
    ));
    all.push(contender::<S>(
        role,
        "reopen and read one stream",
        1,
        reopen::<S>,
    ));
    all
}

fn contender<S: EventLog>(
    role: Role,
    what: &str,
    threads: usize,
    run: impl Fn(&Path, usize, Duration) -> anyhow::Result<Rate> + 'static,
) -> Contender {
    let plural = if threads == 1 { "" } else { "s" };
    Contender {
        workload: format!("events: {what}, {VALUE_SIZE} B, {threads} thread{plural}"),
        name: S::NAME.to_owned(),
        role,
        unit: Unit::Operations,
        floor: String::new(),
        real_time: false,
        run: Box::new(move |dir, time| run(dir, threads, time)),
    }
}

fn stream(number: u64) -> String {
    format!("order-{number}")
}

const IDS: &str = "ids do not end";

/// Ids, each for one event of one thread.
fn ids(thread: usize) -> impl Iterator<Item = u128> {
    (1..).map(move |count: u128| (thread as u128) << 64 | count)
}

fn appends<S: EventLog>(dir: &Path, threads: usize, time: Duration) -> anyhow::Result<Rate> {
    each_appends::<S>(dir, threads, time, |store, fact, seen| {
        store.append(&[fact])?;
        Ok(seen)
    })
}

/// Each thread has a tag of its own, so every condition is met.
fn conditional<S: EventLog>(dir: &Path, threads: usize, time: Duration) -> anyhow::Result<Rate> {
    each_appends::<S>(dir, threads, time, |store, fact, seen| {
        store.append_if(&fact, seen)
    })
}

/// Each thread appends to a stream of its own; `append` gets the position that it answered last, and answers
/// its own.
fn each_appends<S: EventLog>(
    dir: &Path,
    threads: usize,
    time: Duration,
    append: impl Fn(&S, Fact<'_>, u64) -> anyhow::Result<u64> + Sync,
) -> anyhow::Result<Rate> {
    let store = S::open(dir, true)?;
    let payload = value();
    let rate = closed_loop(threads, time, |thread| {
        let (store, append, payload) = (&store, &append, payload.as_slice());
        let (stream, tag) = (stream(thread as u64), format!("customer:{thread}"));
        let (mut ids, mut seen) = (ids(thread), 0);
        Ok(move || {
            let fact = Fact {
                id: ids.next().expect(IDS),
                stream: &stream,
                tag: &tag,
                payload,
            };
            seen = append(store, fact, seen)?;
            Ok(1)
        })
    })?;
    store.close()?;
    Ok(rate)
}

/// A store of so many events, in streams of [`STREAM`] that are mixed with each other.
fn loaded<S: EventLog>(dir: &Path) -> anyhow::Result<(S, u64)> {
    let store = S::open(dir, false)?;
    let (streams, payload) = (streams()?, value());
    let names: Vec<String> = (0..streams).map(stream).collect();
    let mut ids = ids(0);
    for _ in 0..STREAM {
        for names in names.chunks(100) {
            let facts = names.iter().map(|stream| Fact {
                id: ids.next().expect(IDS),
                stream,
                tag: stream,
                payload: &payload,
            });
            store.append(&facts.collect::<Vec<_>>())?;
        }
    }
    Ok((store, streams * STREAM))
}

fn streams() -> anyhow::Result<u64> {
    Ok(keys()?.div_ceil(STREAM))
}

fn read<S: EventLog>(
    store: S,
    time: Duration,
    run: impl Fn(&S, &S::Reader<'_>, &mut Numbers) -> anyhow::Result<u64> + Sync,
) -> anyhow::Result<Rate> {
    let rate = closed_loop(1, time, |thread| {
        let (store, run, reader) = (&store, &run, store.reader()?);
        let mut numbers = Numbers::below(streams()?, thread);
        Ok(move || run(store, &reader, &mut numbers))
    })?;
    store.close()?;
    Ok(rate)
}

/// Openings of a store that was closed, each with the first read.
fn reopen<S: EventLog>(dir: &Path, _threads: usize, time: Duration) -> anyhow::Result<Rate> {
    let (store, _) = loaded::<S>(dir)?;
    store.close()?;
    closed_loop(1, time, |thread| {
        let mut numbers = Numbers::below(streams()?, thread);
        Ok(move || {
            let store = S::open(dir, false)?;
            let read = store.read_stream(&store.reader()?, &stream(numbers.next()))?;
            anyhow::ensure!(read == STREAM, "{read} events of a stream");
            store.close()?;
            Ok(1)
        })
    })
}
