//! What every store of keys and values is asked to do, this workspace's and others.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use durable_io::SyncMode;

use crate::contender::{Contender, Role, Unit, durable_floor, suffix};
use crate::keys::{Key, Numbers, VALUE_SIZE, key, value};
use crate::measure::{Rate, THREADS, closed_loop, float};
use crate::rounds::variable;
use crate::scheduler::involuntary_switches;

/// Gets between two looks at the clock.
const GETS: u64 = 64;
/// The size of the raw record beside which a durable put stands: key, value and a little more.
const FLOOR_SIZE: usize = 128;

/// A store, open.
pub(crate) trait KeyValue: Sized + Sync + 'static {
    const NAME: &str;

    /// Opens the store in `dir`; `is_durable` says whether puts are durable when they return.
    fn open(dir: &Path, is_durable: bool) -> anyhow::Result<Self>;

    /// Puts the keys of all numbers below `count`, in the way that is fast.
    fn load(&self, count: u64, key: fn(u64) -> Key, value: &[u8]) -> anyhow::Result<()>;

    fn put(&self, key: &[u8], value: &[u8]) -> anyhow::Result<()>;

    /// What one thread reads with.
    type Reader<'a>;

    fn reader(&self) -> anyhow::Result<Self::Reader<'_>>;

    /// Calls `see` with the value of `key` if it is there.
    fn get(
        &self,
        reader: &Self::Reader<'_>,
        key: &[u8],
        see: impl FnOnce(&[u8]),
    ) -> anyhow::Result<()>;

    fn close(self) -> anyhow::Result<()> {
        Ok(())
    }
}

/// How a store of this workspace is opened whose writes are, or are not, to be durable when they return.
pub(crate) fn sync_mode(is_durable: bool) -> SyncMode {
    if is_durable {
        SyncMode::Always
    } else {
        SyncMode::Manual
    }
}

/// How many keys a store has that is read: `BENCH_KEYS`.
pub(crate) fn keys() -> anyhow::Result<u64> {
    variable("BENCH_KEYS", 200_000)
}

/// The stores that are compared with each other.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// The hash-indexed one, beside every peer.
    Hash,
    Lsm,
    Btree,
}

impl Kind {
    /// What the names of its workloads begin with.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::Hash => "store",
            Self::Lsm => "lsm",
            Self::Btree => "btree",
        }
    }
}

/// Everything that `S` is measured in.
pub(crate) fn contenders<S: KeyValue>(kind: Kind, role: Role) -> Vec<Contender> {
    let mut all = Vec::new();
    for real_time in [false, true] {
        for threads in [1, 2] {
            all.push(gets::<S>(kind, role, threads, true, real_time));
        }
        for threads in THREADS {
            all.push(puts::<S>(kind, role, threads, real_time));
        }
    }
    all.push(gets::<S>(kind, role, 1, false, false));
    all.push(loads::<S>(kind, role));
    all
}

pub(crate) fn gets<S: KeyValue>(
    kind: Kind,
    role: Role,
    threads: usize,
    hit: bool,
    real_time: bool,
) -> Contender {
    let what = if hit { "hot get, 100 B" } else { "get, absent" };
    let run = move |dir: &Path, time| {
        let store = S::open(dir, false)?;
        let count = keys()?;
        store.load(count, key, &value())?;
        let first_absent = if hit { 0 } else { count };
        let rate = closed_loop(threads, time, |thread| {
            let (store, reader) = (&store, store.reader()?);
            let mut numbers = Numbers::below(count, thread);
            Ok(move || {
                let mut found = 0;
                for _ in 0..GETS {
                    let key = key(first_absent + numbers.next());
                    store.get(&reader, &key, |value| {
                        assert_eq!(value.len(), VALUE_SIZE);
                        // Not only where it is.
                        black_box(value.last());
                        found += 1;
                    })?;
                }
                let expected = if hit { GETS } else { 0 };
                anyhow::ensure!(found == expected, "{found} of {expected} keys are there");
                Ok(GETS)
            })
        })?;
        store.close()?;
        Ok(rate)
    };
    contender::<S>(kind, role, what, threads, real_time, run)
}

fn puts<S: KeyValue>(kind: Kind, role: Role, threads: usize, real_time: bool) -> Contender {
    let run = move |dir: &Path, time| {
        let store = S::open(dir, true)?;
        let value = value();
        let rate = closed_loop(threads, time, |thread| {
            let (store, value) = (&store, value.as_slice());
            // Each thread has keys of its own.
            let mut number = (thread as u64) << 32;
            Ok(move || {
                store.put(&key(number), value)?;
                number += 1;
                Ok(1)
            })
        })?;
        store.close()?;
        Ok(rate)
    };
    Contender {
        floor: durable_floor(FLOOR_SIZE, real_time),
        ..contender::<S>(kind, role, "durable put, 100 B", threads, real_time, run)
    }
}

fn loads<S: KeyValue>(kind: Kind, role: Role) -> Contender {
    contender::<S>(
        kind,
        role,
        "load without sync, 100 B",
        1,
        false,
        |dir, _time| {
            let store = S::open(dir, false)?;
            let (count, value) = (keys()?, value());
            let rate = once(|| store.load(count, key, &value).map(|()| count))?;
            store.close()?;
            Ok(rate)
        },
    )
}

/// How fast `work` is, once. It returns how much it did.
pub(crate) fn once(work: impl FnOnce() -> anyhow::Result<u64>) -> anyhow::Result<Rate> {
    let before = involuntary_switches()?;
    let start = Instant::now();
    let done = work()?;
    Ok(Rate {
        per_second: float(done) / start.elapsed().as_secs_f64(),
        involuntary_switches: involuntary_switches()? - before,
    })
}

fn contender<S: KeyValue>(
    kind: Kind,
    role: Role,
    what: &str,
    threads: usize,
    real_time: bool,
    run: impl Fn(&Path, Duration) -> anyhow::Result<Rate> + 'static,
) -> Contender {
    let plural = if threads == 1 { "" } else { "s" };
    Contender {
        workload: format!(
            "{}: {what}, {threads} thread{plural}{}",
            kind.prefix(),
            suffix(real_time)
        ),
        name: S::NAME.to_owned(),
        role,
        unit: Unit::Operations,
        floor: String::new(),
        real_time,
        run: Box::new(run),
    }
}
