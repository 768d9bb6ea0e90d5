//! This workspace's LSM-tree.

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use lsm::{Batch, Lsm, Options, Snapshot, Value};

use crate::contender::{Contender, Role, Unit};
use crate::keys::{Key, Numbers, batches, key};
use crate::measure::{Rate, closed_loop};
use crate::ordered::{self, Ordered};
use crate::stores::{KeyValue, Kind, sync_mode};

pub(crate) fn contenders() -> Vec<Contender> {
    let mut all = ordered::contenders::<Lsm>(Kind::Lsm, Role::Own);
    all.push(Contender {
        workload: "lsm: get with a fresh snapshot, 100 B".to_owned(),
        name: "lsm".to_owned(),
        role: Role::Own,
        unit: Unit::Operations,
        floor: String::new(),
        real_time: false,
        run: Box::new(snapshot_get),
    });
    all
}

impl KeyValue for Lsm {
    const NAME: &str = "lsm";

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

impl Ordered for Lsm {
    const SHORT: &str = "lsm";

    type View<'a> = (&'a Lsm, Snapshot);

    fn view(&self) -> anyhow::Result<(&Lsm, Snapshot)> {
        Ok((self, self.snapshot()?))
    }

    fn read_on((_, snapshot): &(&Lsm, Snapshot), from: &[u8], most: u64) -> anyhow::Result<u64> {
        let mut scan = snapshot.scan(from..);
        let mut count = 0;
        while count < most
            && let Some((_, value)) = scan.read()?
        {
            black_box(value.last());
            count += 1;
        }
        Ok(count)
    }

    fn read_back((_, snapshot): &(&Lsm, Snapshot)) -> anyhow::Result<u64> {
        let mut scan = snapshot.scan(..);
        let mut count = 0;
        while let Some((_, value)) = scan.read_back()? {
            black_box(value.last());
            count += 1;
        }
        Ok(count)
    }

    fn get_many((store, _): &(&Lsm, Snapshot), keys: &[Key]) -> anyhow::Result<u64> {
        let values = store.multi_get(keys)?;
        let see = |value: &&Value| {
            black_box(value.last());
        };
        Ok(values.iter().flatten().inspect(see).count() as u64)
    }
}

fn snapshot_get(dir: &Path, time: Duration) -> anyhow::Result<Rate> {
    let (store, count) = ordered::loaded::<Lsm>(dir)?;
    let rate = closed_loop(1, time, |thread| {
        let (store, mut numbers) = (&store, Numbers::below(count, thread));
        Ok(move || {
            let value = store.snapshot()?.get(&key(numbers.next()))?;
            anyhow::ensure!(value.is_some(), "a key is absent");
            black_box(value);
            Ok(1)
        })
    })?;
    store.close()?;
    Ok(rate)
}
