//! This workspace's hash-indexed store.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use bitcask::{Background, Batch, Bitcask, Options, SyncMode};

use crate::allocator::Count;
use crate::contender::{Contender, Role, Unit};
use crate::keys::{BATCH, Key, Numbers, batches, key, value};
use crate::measure::{Rate, float};
use crate::rounds::variable;
use crate::scheduler::involuntary_switches;
use crate::stores::{self, KeyValue, Kind, keys, once, sync_mode};

pub(crate) fn contenders() -> Vec<Contender> {
    let mut all = stores::contenders::<Bitcask>(Kind::Hash, Role::Own);
    all.push(own(
        "reopen, 100 B",
        "with hints",
        Unit::Operations,
        |dir, time| reopen(dir, time, true),
    ));
    all.push(own(
        "reopen, 100 B",
        "without hints",
        Unit::Operations,
        |dir, time| reopen(dir, time, false),
    ));
    all.push(own(
        "merge, half of it dead",
        "",
        Unit::Bytes,
        |dir, _time| merge(dir),
    ));
    for (what, permille) in [("median get", 500), ("99th percentile get", 990)] {
        for (name, merges) in [("idle", false), ("beside merges", true)] {
            all.push(own(what, name, Unit::Nanoseconds, move |dir, time| {
                latency(dir, time, merges, permille)
            }));
        }
    }
    all.push(own(
        "index, most memory of any size",
        "",
        Unit::BytesPerKey,
        |dir, _time| memory(dir),
    ));
    all
}

impl KeyValue for Bitcask {
    const NAME: &str = "bitcask";

    fn open(dir: &Path, is_durable: bool) -> anyhow::Result<Self> {
        let mode = sync_mode(is_durable);
        Ok(Options::new().sync(mode).open(dir)?)
    }

    fn load(&self, count: u64, key: fn(u64) -> Key, value: &[u8]) -> anyhow::Result<()> {
        for numbers in batches(count) {
            let batch = numbers.fold(Batch::new(), |batch, number| batch.put(&key(number), value));
            self.write(batch)?;
        }
        Ok(())
    }

    fn put(&self, key: &[u8], value: &[u8]) -> anyhow::Result<()> {
        Ok(self.put(key, value)?)
    }

    type Reader<'a> = ();

    fn reader(&self) -> anyhow::Result<()> {
        Ok(())
    }

    fn get(&self, _reader: &(), key: &[u8], see: impl FnOnce(&[u8])) -> anyhow::Result<()> {
        if let Some(value) = self.get(key)? {
            see(&value);
        }
        Ok(())
    }

    fn close(self) -> anyhow::Result<()> {
        Ok(Bitcask::close(&self)?)
    }
}

fn own(
    what: &str,
    name: &str,
    unit: Unit,
    run: impl Fn(&Path, Duration) -> anyhow::Result<Rate> + 'static,
) -> Contender {
    Contender {
        workload: format!("store: {what}"),
        name: if name.is_empty() {
            "bitcask".to_owned()
        } else {
            format!("bitcask, {name}")
        },
        role: Role::Own,
        unit,
        floor: String::new(),
        real_time: false,
        run: Box::new(run),
    }
}

/// A store that merges only when it is told to, with what its background has to do done by the caller.
fn quiet() -> Options {
    Options::new()
        .sync(SyncMode::Manual)
        .background(Background::Inline)
        .auto_merge(false)
}

/// Keys per second, of the opening alone.
fn reopen(dir: &Path, time: Duration, hinted: bool) -> anyhow::Result<Rate> {
    let count = variable("BENCH_REOPEN_KEYS", 1_000_000)?;
    let store = quiet().open(dir)?;
    store.load(count, key, &value())?;
    store.rotate()?;
    while hinted && store.run_background()? {}
    store.close()?;
    let threads = thread::available_parallelism()?.get();
    let open = || {
        let start = Instant::now();
        let store = quiet().open_threads(threads).open(dir)?;
        let took = start.elapsed();
        let found = (store.recovery().keys, store.recovery().hinted_files > 0);
        anyhow::ensure!(found == (count, hinted), "opened {found:?}");
        store.close()?;
        Ok(took)
    };
    // Once unmeasured, as everywhere.
    open()?;
    let before = involuntary_switches()?;
    let (mut opened, mut took) = (0, Duration::ZERO);
    while took < time {
        took += open()?;
        opened += count;
    }
    Ok(Rate {
        per_second: float(opened) / took.as_secs_f64(),
        involuntary_switches: involuntary_switches()? - before,
    })
}

/// A store in several files, of which half of the records are dead.
fn half_dead(dir: &Path) -> anyhow::Result<Bitcask> {
    let (count, value) = (keys()?, value());
    let store = quiet().data_file_size(8 << 20).open(dir)?;
    store.load(count, key, &value)?;
    // Every other key once more, so that each old file has as much to give back.
    let mut batch = Batch::new();
    for number in (0..count).step_by(2) {
        batch = batch.put(&key(number), &value);
        if batch.len() == BATCH {
            store.write(std::mem::take(&mut batch))?;
        }
    }
    store.write(batch)?;
    store.rotate()?;
    store.sync()?;
    Ok(store)
}

/// Bytes read per second.
fn merge(dir: &Path) -> anyhow::Result<Rate> {
    let store = half_dead(dir)?;
    let rate = once(|| Ok(store.merge()?.read_bytes))?;
    store.close()?;
    Ok(rate)
}

/// What `permille` of all gets of one thread stay below, in nanoseconds.
fn latency(dir: &Path, time: Duration, merges: bool, permille: usize) -> anyhow::Result<Rate> {
    let store = half_dead(dir)?;
    let before = involuntary_switches()?;
    let stop = AtomicBool::new(false);
    let mut took = thread::scope(|scope| {
        let merger = scope.spawn(|| {
            while merges && !stop.load(Ordering::Relaxed) {
                make_work(&store)?;
                store.merge()?;
            }
            anyhow::Ok(())
        });
        let took = timed_gets(&store, time);
        stop.store(true, Ordering::Relaxed);
        merger
            .join()
            .map_err(|_panic| anyhow!("the merger panicked"))??;
        took
    })?;
    store.close()?;
    took.sort_unstable();
    let at = took.len() * permille / 1000;
    let nanoseconds = *took.get(at).context("no get")?;
    Ok(Rate {
        per_second: float(nanoseconds),
        involuntary_switches: involuntary_switches()? - before,
    })
}

/// Makes some of every file dead.
fn make_work(store: &Bitcask) -> anyhow::Result<()> {
    let (count, value) = (keys()?, value());
    let mut numbers = Numbers::below(count, 99);
    let mut batch = Batch::new();
    for _ in 0..count / 10 {
        batch = batch.put(&key(numbers.next()), &value);
    }
    store.write(batch)?;
    Ok(store.rotate()?)
}

fn timed_gets(store: &Bitcask, time: Duration) -> anyhow::Result<Vec<u64>> {
    let mut numbers = Numbers::below(keys()?, 0);
    let mut took = Vec::new();
    let start = Instant::now();
    while start.elapsed() < time {
        let key = key(numbers.next());
        let begin = Instant::now();
        let value = store.get(&key)?;
        let nanoseconds = begin.elapsed().as_nanos();
        anyhow::ensure!(value.is_some(), "a key is absent");
        took.push(u64::try_from(nanoseconds)?);
    }
    Ok(took)
}

/// The most memory for a key that a store takes while it grows from a hundred thousand keys to
/// `BENCH_MEMORY_KEYS`.
fn memory(dir: &Path) -> anyhow::Result<Rate> {
    const FIRST: u64 = 100_000;
    let most = variable("BENCH_MEMORY_KEYS", 1_000_000)?;
    let counted = Count::start();
    let store = quiet().open(dir)?;
    let mut highest = 0.0_f64;
    for first in (0..most).step_by(100) {
        let numbers = first..most.min(first + 100);
        let stored = numbers.end;
        let batch = numbers.fold(Batch::new(), |batch, number| batch.put(&key(number), b""));
        store.write(batch)?;
        if stored >= FIRST {
            if store.stats().unsynced_writes > 0 {
                // What is remembered of unsynced writes is no part of the index.
                store.sync()?;
            }
            highest = highest.max(float(counted.bytes()) / float(stored));
        }
    }
    store.close()?;
    Ok(Rate {
        per_second: highest,
        involuntary_switches: 0,
    })
}
