//! What every event store is asked to do, this workspace's and others.

#![expect(clippy::disallowed_methods, reason = "a directory of peers")]

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::contender::{Contender, Role, Unit, durable_floor};
use crate::keys::{Numbers, VALUE_SIZE, value};
use crate::measure::{Rate, THREADS, closed_loop};
use crate::ordered::open_copies;
use crate::rounds::variable;
use crate::stores::keys;

/// Events of each stream of a store that is read.
const STREAM: u64 = 20;
/// The same, of longer ones.
const LONG_STREAM: u64 = 100;
/// Events that are appended together.
const BATCH: usize = 10;
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

    /// Appends all of `facts` together, those of one stream behind each other.
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

    /// Reads every event with `tag`; returns how many there are.
    fn read_tag(&self, reader: &Self::Reader<'_>, tag: &str) -> anyhow::Result<u64>;

    fn close(self) -> anyhow::Result<()>;
}

/// Everything that `S` is measured in.
pub(crate) fn contenders<S: EventLog>(role: Role) -> Vec<Contender> {
    let mut all = Vec::new();
    let mut durable = |what, run: Run| {
        for threads in THREADS {
            all.push(Contender {
                floor: durable_floor(FLOOR_SIZE, false),
                ..contender::<S>(role, what, threads, run)
            });
        }
    };
    durable("durable append", appends::<S>);
    durable("durable conditional append", conditional::<S>);
    let one = |what, run: Run| contender::<S>(role, what, 1, run);
    all.push(one("durable append of 10 events", batches::<S>));
    all.push(one("catch-up read", |dir, _threads, time| {
        let (store, count) = loaded::<S>(dir, STREAM)?;
        read(store, STREAM, time, move |store, reader, _number| {
            let read = store.read_all(reader)?;
            anyhow::ensure!(read == count, "{read} of {count} events");
            Ok(read)
        })
    }));
    all.push(one("stream of 20 events", streams_of::<S, STREAM>));
    all.push(one("stream of 100 events", streams_of::<S, LONG_STREAM>));
    all.push(one("20 events with a tag", |dir, _threads, time| {
        let (store, _) = loaded::<S>(dir, STREAM)?;
        read(store, STREAM, time, |store, reader, number| {
            let read = store.read_tag(reader, &tag(number))?;
            anyhow::ensure!(read == STREAM, "{read} events with a tag");
            Ok(1)
        })
    }));
    for (what, is_closed) in [
        ("opening after close", true),
        ("opening after a kill", false),
    ] {
        all.push(Contender {
            workload: format!("events: {what}, {VALUE_SIZE} B"),
            unit: Unit::Nanoseconds,
            run: Box::new(move |dir, time| reopen::<S>(dir, time, is_closed)),
            ..contender::<S>(role, what, 1, appends::<S>)
        });
    }
    all
}

type Run = fn(&Path, usize, Duration) -> anyhow::Result<Rate>;

fn contender<S: EventLog>(role: Role, what: &str, threads: usize, run: Run) -> Contender {
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

pub(crate) fn stream(number: u64) -> String {
    format!("order-{number}")
}

fn tag(number: u64) -> String {
    format!("customer:{number}")
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

/// Ten events of one stream at a time.
fn batches<S: EventLog>(dir: &Path, threads: usize, time: Duration) -> anyhow::Result<Rate> {
    let store = S::open(dir, true)?;
    let payload = value();
    let rate = closed_loop(threads, time, |thread| {
        let (store, payload) = (&store, payload.as_slice());
        let (stream, tag) = (stream(thread as u64), tag(thread as u64));
        let mut ids = ids(thread);
        Ok(move || {
            let facts = ids.by_ref().take(BATCH).map(|id| Fact {
                id,
                stream: &stream,
                tag: &tag,
                payload,
            });
            store.append(&facts.collect::<Vec<_>>())?;
            Ok(BATCH as u64)
        })
    })?;
    store.close()?;
    Ok(rate)
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
        let (stream, tag) = (stream(thread as u64), tag(thread as u64));
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

/// A store of `BENCH_KEYS` events, in streams of `length` that are mixed with each other; and how many they are.
fn loaded<S: EventLog>(dir: &Path, length: u64) -> anyhow::Result<(S, u64)> {
    let store = S::open(dir, false)?;
    let streams = streams(length)?;
    load(&store, streams, length)?;
    Ok((store, streams * length))
}

/// Appends `length` events to each of `streams`, to one after the other.
pub(crate) fn load<S: EventLog>(store: &S, streams: u64, length: u64) -> anyhow::Result<()> {
    let payload = value();
    let names: Vec<_> = (0..streams).map(|n| (stream(n), tag(n))).collect();
    let mut ids = ids(0);
    for _ in 0..length {
        for names in names.chunks(100) {
            let facts = names.iter().map(|(stream, tag)| Fact {
                id: ids.next().expect(IDS),
                stream,
                tag,
                payload: &payload,
            });
            store.append(&facts.collect::<Vec<_>>())?;
        }
    }
    Ok(())
}

fn streams(length: u64) -> anyhow::Result<u64> {
    Ok(keys()?.div_ceil(length))
}

fn streams_of<S: EventLog, const LENGTH: u64>(
    dir: &Path,
    _threads: usize,
    time: Duration,
) -> anyhow::Result<Rate> {
    let (store, _) = loaded::<S>(dir, LENGTH)?;
    read(store, LENGTH, time, |store, reader, number| {
        let read = store.read_stream(reader, &stream(number))?;
        anyhow::ensure!(read == LENGTH, "{read} events of a stream");
        Ok(1)
    })
}

/// Reads with `run` again and again, each time what has another number.
fn read<S: EventLog>(
    store: S,
    length: u64,
    time: Duration,
    run: impl Fn(&S, &S::Reader<'_>, u64) -> anyhow::Result<u64> + Sync,
) -> anyhow::Result<Rate> {
    let rate = closed_loop(1, time, |thread| {
        let (store, run, reader) = (&store, &run, store.reader()?);
        let mut numbers = Numbers::below(streams(length)?, thread);
        Ok(move || run(store, &reader, numbers.next()))
    })?;
    store.close()?;
    Ok(rate)
}

/// Nanoseconds of opening a copy of a store of `BENCH_REOPEN_KEYS` events, until the first stream is read.
fn reopen<S: EventLog>(dir: &Path, time: Duration, is_closed: bool) -> anyhow::Result<Rate> {
    let (live, copy) = (dir.join("live"), dir.join("copy"));
    fs::create_dir(&live)?;
    let store = S::open(&live, true)?;
    let events: u64 = variable("BENCH_REOPEN_KEYS", 1_000_000)?;
    load(&store, events.div_ceil(STREAM), STREAM)?;
    let in_use = if is_closed {
        store.close()?;
        None
    } else {
        Some(store)
    };
    let took = open_copies(&live, &copy, time, || {
        let store = S::open(&copy, false)?;
        let read = store.read_stream(&store.reader()?, &stream(0))?;
        anyhow::ensure!(read == STREAM, "{read} events of a stream");
        Ok(store)
    })?;
    if let Some(store) = in_use {
        store.close()?;
    }
    Ok(took)
}
