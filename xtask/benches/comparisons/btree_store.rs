//! This workspace's B+tree.

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use btree::{Btree, Options, OwnedTable, Value};

use crate::contender::{Contender, Role, Unit};
use crate::keys::{Key, in_order, value};
use crate::measure::Rate;
use crate::ordered::{self, Ordered};
use crate::stores::{self, KeyValue, Kind, sync_mode};

const TABLE: &str = "entries";

/// With a transaction for each get.
pub(crate) struct Store(Btree);

/// With one transaction for all gets of a thread.
struct InsideTransaction(Store);

pub(crate) fn contenders() -> Vec<Contender> {
    let mut all = ordered::contenders::<Store>(Kind::Btree, Role::Own);
    for threads in [1, 2] {
        let inside = stores::gets::<InsideTransaction>;
        all.push(inside(Kind::Btree, Role::Own, threads, true, false));
    }
    all.push(Contender {
        workload: format!("{}: load in order, 100 B", Kind::Btree.prefix()),
        name: "btree, bulk_load".to_owned(),
        role: Role::Own,
        unit: Unit::Operations,
        floor: String::new(),
        real_time: false,
        run: Box::new(bulk_load),
    });
    all
}

fn bulk_load(dir: &Path, _time: Duration) -> anyhow::Result<Rate> {
    let (store, count, value) = (Store::open(dir, false)?, stores::keys()?, value());
    let entries = (0..count).map(|number| (in_order(number), &value));
    let rate = stores::once(|| {
        let mut write = store.0.begin_write()?;
        let loaded = write.table(TABLE)?.bulk_load(entries)?;
        write.commit()?;
        Ok(loaded)
    })?;
    store.close()?;
    Ok(rate)
}

impl KeyValue for Store {
    const NAME: &str = "btree, a transaction per get";

    fn open(dir: &Path, is_durable: bool) -> anyhow::Result<Self> {
        let mode = sync_mode(is_durable);
        let store = Options::new().sync(mode).open(dir)?;
        if store.begin_read().tables()?.is_empty() {
            let mut write = store.begin_write()?;
            write.create_table(TABLE)?;
            write.commit()?;
        }
        Ok(Self(store))
    }

    fn load(&self, count: u64, key: fn(u64) -> Key, value: &[u8]) -> anyhow::Result<()> {
        let mut write = self.0.begin_write()?;
        let mut table = write.table(TABLE)?;
        for number in 0..count {
            table.put(&key(number), value)?;
        }
        Ok(write.commit()?)
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

    fn load(&self, count: u64, key: fn(u64) -> Key, value: &[u8]) -> anyhow::Result<()> {
        self.0.load(count, key, value)
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

impl Ordered for Store {
    const SHORT: &str = "btree";

    type View<'a> = OwnedTable;

    fn view(&self) -> anyhow::Result<OwnedTable> {
        Ok(self.0.begin_read().into_table(TABLE)?)
    }

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

    fn read_back(table: &OwnedTable) -> anyhow::Result<u64> {
        let mut entries = table.table().range(..);
        let mut count = 0;
        while let Some((_, value)) = entries.advance_back()? {
            black_box(value.last());
            count += 1;
        }
        Ok(count)
    }

    fn get_many(table: &OwnedTable, keys: &[Key]) -> anyhow::Result<u64> {
        let keys: Vec<_> = keys.iter().map(|key| &key[..]).collect();
        let values = table.table().get_many(&keys)?;
        let see = |value: &&Value| {
            black_box(value.last());
        };
        Ok(values.iter().flatten().inspect(see).count() as u64)
    }
}
