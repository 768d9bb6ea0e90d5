//! This workspace's LSM-tree.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use lsm::{Batch, Lsm, Options, SyncMode};

use crate::contender::{Contender, Role, Unit};
use crate::keys::{Numbers, batches, key, value};
use crate::measure::{Rate, closed_loop, float};
use crate::scheduler::involuntary_switches;
use crate::stores::{self, KeyValue, keys, sync_mode};
use crate::variable;

/// How many keys are asked for together, and how many rows are read behind a seek.
const MANY: u64 = 100;

pub(crate) fn contenders() -> Vec<Contender> {
    let mut all = stores::contenders::<Lsm>(Role::Own);
    let of_tables = |what: &str, run: fn(&Lsm, &mut Numbers) -> anyhow::Result<u64>| {
        own(what, Unit::Operations, move |dir, time| {
            let store = filled(dir)?;
            let rate = closed_loop(1, time, |thread| {
                let mut numbers = Numbers::below(keys()?, thread);
                let store = &store;
                Ok(move || run(store, &mut numbers))
            })?;
            store.close()?;
            Ok(rate)
        })
    };
    all.push(of_tables("multi_get of 100, 100 B", multi_get));
    all.push(of_tables("get with a fresh snapshot, 100 B", snapshot_get));
    all.push(of_tables("seek and 100 rows, 100 B", seek));
    all.push(of_tables("scan forward, 100 B", |store, _| {
        scan(store, false)
    }));
    all.push(of_tables("scan backward, 100 B", |store, _| {
        scan(store, true)
    }));
    all.push(own("reopen after a kill, 100 B", Unit::Operations, reopen));
    all
}

impl KeyValue for Lsm {
    const NAME: &str = "lsm";

    fn open(dir: &Path, is_durable: bool) -> anyhow::Result<Self> {
        let mode = sync_mode(is_durable);
        Ok(Options::new().sync(mode).open(dir)?)
    }

    fn load(&self, count: u64, value: &[u8]) -> anyhow::Result<()> {
        for numbers in batches(count) {
            let batch = numbers.fold(Batch::new(), |batch, number| batch.put(&key(number), value));
            self.write(batch)?;
        }
        Ok(())
    }

    fn put(&self, key: &[u8], value: &[u8]) -> anyhow::Result<()> {
        Ok(lsm::Keyspace::put(self, key, value)?)
    }

    type Reader<'a> = ();

    fn reader(&self) -> anyhow::Result<()> {
        Ok(())
    }

    fn get(&self, _reader: &(), key: &[u8], see: impl FnOnce(&[u8])) -> anyhow::Result<()> {
        if let Some(value) = lsm::Keyspace::get(self, key)? {
            see(&value);
        }
        Ok(())
    }

    fn close(self) -> anyhow::Result<()> {
        Ok(Lsm::close(&self)?)
    }
}

fn own(
    what: &str,
    unit: Unit,
    run: impl Fn(&Path, Duration) -> anyhow::Result<Rate> + 'static,
) -> Contender {
    Contender {
        workload: format!("store: {what}"),
        name: "lsm".to_owned(),
        role: Role::Own,
        unit,
        floor: String::new(),
        real_time: false,
        run: Box::new(run),
    }
}

/// A store with everything in tables.
fn filled(dir: &Path) -> anyhow::Result<Lsm> {
    let store = Options::new().sync(SyncMode::Manual).open(dir)?;
    store.load(keys()?, &value())?;
    store.compact(..)?;
    Ok(store)
}

fn multi_get(store: &Lsm, numbers: &mut Numbers) -> anyhow::Result<u64> {
    let wanted: Vec<_> = (0..MANY).map(|_| key(numbers.next())).collect();
    let values = store.multi_get(&wanted)?;
    anyhow::ensure!(values.iter().all(Option::is_some), "a key is absent");
    black_box(values);
    Ok(MANY)
}

fn snapshot_get(store: &Lsm, numbers: &mut Numbers) -> anyhow::Result<u64> {
    for _ in 0..MANY {
        let value = store.snapshot()?.get(&key(numbers.next()))?;
        anyhow::ensure!(value.is_some(), "a key is absent");
        black_box(value);
    }
    Ok(MANY)
}

fn seek(store: &Lsm, numbers: &mut Numbers) -> anyhow::Result<u64> {
    let from = key(numbers.next());
    let mut scan = store.scan(&from[..]..)?;
    for _ in 0..MANY {
        let Some(row) = scan.read()? else {
            break;
        };
        black_box(row);
    }
    Ok(1)
}

fn scan(store: &Lsm, is_backward: bool) -> anyhow::Result<u64> {
    let mut scan = store.scan(..)?;
    let mut rows = 0;
    loop {
        let row = if is_backward {
            scan.read_back()?
        } else {
            scan.read()?
        };
        if row.is_none() {
            break;
        }
        black_box(row);
        rows += 1;
    }
    Ok(rows)
}

/// Keys per second, of the opening alone, of a store that was not closed: what is in no table is read
/// from the log.
fn reopen(dir: &Path, time: Duration) -> anyhow::Result<Rate> {
    let count = variable("BENCH_REOPEN_KEYS", 1_000_000)?;
    let open = || Options::new().sync(SyncMode::Manual).open(dir);
    let store = open()?;
    store.load(count, &value())?;
    drop(store);
    // Once unmeasured, as everywhere.
    drop(open()?);
    let before = involuntary_switches()?;
    let (mut opened, mut took) = (0, Duration::ZERO);
    while took < time {
        let start = Instant::now();
        let store = open()?;
        took += start.elapsed();
        opened += count;
        drop(store);
    }
    Ok(Rate {
        per_second: float(opened) / took.as_secs_f64(),
        involuntary_switches: involuntary_switches()? - before,
    })
}
