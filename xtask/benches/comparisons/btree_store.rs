//! This workspace's B+tree.

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use btree::{Btree, Options, OwnedTable, SyncMode};

use crate::contender::{Contender, Role, Unit};
use crate::keys::{Numbers, batches, key, value};
use crate::measure::{Rate, closed_loop, float};
use crate::scheduler::involuntary_switches;
use crate::stores::{self, KeyValue, keys, once, sync_mode};

const TABLE: &str = "entries";

/// With a transaction for each get.
pub(crate) struct Store(Btree);

/// With one transaction for all gets of a thread.
struct InsideTransaction(Store);

pub(crate) fn contenders() -> Vec<Contender> {
    let mut all = stores::contenders::<Store>(Role::Own);
    for threads in [1, 2] {
        all.push(stores::gets::<InsideTransaction>(
            Role::Own,
            threads,
            true,
            false,
        ));
    }
    all.push(own("get_many of 100", get_many));
    all.push(own("full scan", scan));
    all.push(own("seek and 100 entries", seek));
    all.push(own("load in order", |dir, _time| load_in_order(dir)));
    all.push(own("put without sync", put));
    all.push(own("reopen, closed", |dir, time| reopen(dir, time, true)));
    all.push(own("reopen, killed", |dir, time| reopen(dir, time, false)));
    all
}

impl KeyValue for Store {
    const NAME: &str = "btree, a transaction per get";

    fn open(dir: &Path, is_durable: bool) -> anyhow::Result<Self> {
        let mode = sync_mode(is_durable);
        let store = Options::new().sync(mode).open(dir)?;
        let mut write = store.begin_write()?;
        write.create_table(TABLE)?;
        write.commit()?;
        Ok(Self(store))
    }

    fn load(&self, count: u64, value: &[u8]) -> anyhow::Result<()> {
        for numbers in batches(count) {
            let mut write = self.0.begin_write()?;
            let mut table = write.table(TABLE)?;
            for number in numbers {
                table.put(&key(number), value)?;
            }
            write.commit()?;
        }
        Ok(())
    }

    fn put(&self, key: &[u8], value: &[u8]) -> anyhow::Result<()> {
        let mut write = self.0.begin_write()?;
        write.table(TABLE)?.put(key, value)?;
        Ok(write.commit()?)
    }

    type Reader<'a> = ();

    fn reader(&self) -> anyhow::Result<()> {
        Ok(())
    }

    fn get(&self, _reader: &(), key: &[u8], see: impl FnOnce(&[u8])) -> anyhow::Result<()> {
        let read = self.0.begin_read();
        if let Some(value) = read.table(TABLE)?.get(key)? {
            see(&value);
        }
        Ok(())
    }

    fn close(self) -> anyhow::Result<()> {
        Ok(self.0.close()?)
    }
}

impl KeyValue for InsideTransaction {
    const NAME: &str = "btree, inside one transaction";

    fn open(dir: &Path, is_durable: bool) -> anyhow::Result<Self> {
        Store::open(dir, is_durable).map(Self)
    }

    fn load(&self, count: u64, value: &[u8]) -> anyhow::Result<()> {
        self.0.load(count, value)
    }

    fn put(&self, key: &[u8], value: &[u8]) -> anyhow::Result<()> {
        self.0.put(key, value)
    }

    type Reader<'a> = OwnedTable;

    fn reader(&self) -> anyhow::Result<OwnedTable> {
        Ok(self.0.0.begin_read().into_table(TABLE)?)
    }

    fn get(&self, table: &OwnedTable, key: &[u8], see: impl FnOnce(&[u8])) -> anyhow::Result<()> {
        if let Some(value) = table.table().get(key)? {
            see(&value);
        }
        Ok(())
    }

    fn close(self) -> anyhow::Result<()> {
        KeyValue::close(self.0)
    }
}

fn own(what: &str, run: impl Fn(&Path, Duration) -> anyhow::Result<Rate> + 'static) -> Contender {
    Contender {
        workload: format!("store: {what}, 100 B"),
        name: "btree".to_owned(),
        role: Role::Own,
        unit: Unit::Operations,
        floor: String::new(),
        real_time: false,
        run: Box::new(run),
    }
}

fn loaded(dir: &Path) -> anyhow::Result<(Store, u64)> {
    let store = Store::open(dir, false)?;
    let count = keys()?;
    store.load(count, &value())?;
    Ok((store, count))
}

fn get_many(dir: &Path, time: Duration) -> anyhow::Result<Rate> {
    let (store, count) = loaded(dir)?;
    let rate = closed_loop(1, time, |thread| {
        let table = store.0.begin_read().into_table(TABLE)?;
        let mut numbers = Numbers::below(count, thread);
        Ok(move || {
            let keys: Vec<_> = (0..100).map(|_| key(numbers.next())).collect();
            let keys: Vec<_> = keys.iter().map(|key| &key[..]).collect();
            for value in table.table().get_many(&keys)? {
                anyhow::ensure!(value.is_some(), "a key is missing");
                black_box(value);
            }
            Ok(100)
        })
    })?;
    KeyValue::close(store)?;
    Ok(rate)
}

/// Reads entries from `from` on, at most `most`; returns how many there were.
fn read_on(table: &OwnedTable, from: &[u8], most: u64) -> anyhow::Result<u64> {
    let mut entries = table.table().range(from..);
    let mut count = 0;
    while count < most
        && let Some((_, value)) = entries.advance()?
    {
        black_box(value.last());
        count += 1;
    }
    Ok(count)
}

fn scan(dir: &Path, time: Duration) -> anyhow::Result<Rate> {
    let (store, count) = loaded(dir)?;
    let rate = closed_loop(1, time, |_thread| {
        let table = store.0.begin_read().into_table(TABLE)?;
        Ok(move || {
            let read = read_on(&table, b"", u64::MAX)?;
            anyhow::ensure!(read == count, "{read} of {count} entries");
            Ok(read)
        })
    })?;
    KeyValue::close(store)?;
    Ok(rate)
}

fn seek(dir: &Path, time: Duration) -> anyhow::Result<Rate> {
    let (store, count) = loaded(dir)?;
    let rate = closed_loop(1, time, |thread| {
        let table = store.0.begin_read().into_table(TABLE)?;
        let mut numbers = Numbers::below(count, thread);
        Ok(move || {
            black_box(read_on(&table, &key(numbers.next()), 100)?);
            Ok(1)
        })
    })?;
    KeyValue::close(store)?;
    Ok(rate)
}

fn load_in_order(dir: &Path) -> anyhow::Result<Rate> {
    let store = Store::open(dir, false)?;
    let (count, value) = (keys()?, value());
    let rate = once(|| {
        let mut write = store.0.begin_write()?;
        let mut table = write.table(TABLE)?;
        for number in 0..count {
            table.put(format!("{number:016}").as_bytes(), &value)?;
        }
        write.commit()?;
        Ok(count)
    })?;
    KeyValue::close(store)?;
    Ok(rate)
}

fn put(dir: &Path, time: Duration) -> anyhow::Result<Rate> {
    let store = Store::open(dir, false)?;
    let value = value();
    let rate = closed_loop(1, time, |thread| {
        let (store, value) = (&store, value.as_slice());
        let mut numbers = Numbers::below(1_000_000, thread);
        Ok(move || {
            store.put(&key(numbers.next()), value)?;
            Ok(1)
        })
    })?;
    KeyValue::close(store)?;
    Ok(rate)
}

/// Openings of a store that was closed, or dropped with a log to apply.
fn reopen(dir: &Path, time: Duration, closes: bool) -> anyhow::Result<Rate> {
    let (store, _) = loaded(dir)?;
    if closes {
        KeyValue::close(store)?;
    } else {
        drop(store);
    }
    let before = involuntary_switches()?;
    let start = std::time::Instant::now();
    let mut opened = 0;
    while opened == 0 || start.elapsed() < time {
        drop(Options::new().sync(SyncMode::Manual).open(dir)?);
        opened += 1;
    }
    Ok(Rate {
        per_second: float(opened) / start.elapsed().as_secs_f64(),
        involuntary_switches: involuntary_switches()? - before,
    })
}
