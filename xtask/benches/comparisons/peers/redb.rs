//! redb: a cache of 1 GiB; one write transaction at a time, one sync for each; a read transaction for
//! each get.

use std::hint::black_box;
use std::path::Path;

use redb::{
    Database, Durability, ReadOnlyTable, ReadableDatabase as _, ReadableTable as _, TableDefinition,
};

use crate::keys::Key;
use crate::ordered::Ordered;
use crate::stores::KeyValue;

const ENTRIES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("entries");

pub(super) struct Store {
    database: Database,
    durability: Durability,
}

impl Store {
    fn write<'a>(&self, entries: impl Iterator<Item = (Vec<u8>, &'a [u8])>) -> anyhow::Result<()> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(self.durability)?;
        let mut table = transaction.open_table(ENTRIES)?;
        for (key, value) in entries {
            table.insert(key.as_slice(), value)?;
        }
        drop(table);
        Ok(transaction.commit()?)
    }
}

impl KeyValue for Store {
    const NAME: &str = "redb";

    fn open(dir: &Path, is_durable: bool) -> anyhow::Result<Self> {
        let mut builder = Database::builder();
        builder.set_cache_size(1 << 30);
        let store = Self {
            database: builder.create(dir.join("file"))?,
            durability: if is_durable {
                Durability::Immediate
            } else {
                Durability::None
            },
        };
        // Makes the table.
        store.write(std::iter::empty())?;
        Ok(store)
    }

    fn load(&self, count: u64, key: fn(u64) -> Key, value: &[u8]) -> anyhow::Result<()> {
        self.write((0..count).map(|number| (key(number).to_vec(), value)))
    }

    fn put(&self, key: &[u8], value: &[u8]) -> anyhow::Result<()> {
        self.write(std::iter::once((key.to_vec(), value)))
    }

    type Reader<'a> = ();

    fn reader(&self) -> anyhow::Result<()> {
        Ok(())
    }

    fn get(&self, _reader: &(), key: &[u8], see: impl FnOnce(&[u8])) -> anyhow::Result<()> {
        let table = self.database.begin_read()?.open_table(ENTRIES)?;
        if let Some(value) = table.get(key)? {
            see(value.value());
        }
        Ok(())
    }
}

impl Ordered for Store {
    const SHORT: &str = "redb";

    type View<'a> = ReadOnlyTable<&'static [u8], &'static [u8]>;

    fn view(&self) -> anyhow::Result<Self::View<'_>> {
        Ok(self.database.begin_read()?.open_table(ENTRIES)?)
    }

    fn read_on(table: &Self::View<'_>, from: &[u8], most: u64) -> anyhow::Result<u64> {
        let mut count = 0;
        for entry in table.range(from..)?.take(usize::try_from(most)?) {
            black_box(entry?.1.value().last());
            count += 1;
        }
        Ok(count)
    }

    fn read_back(table: &Self::View<'_>) -> anyhow::Result<u64> {
        let mut count = 0;
        for entry in table.iter()?.rev() {
            black_box(entry?.1.value().last());
            count += 1;
        }
        Ok(count)
    }

    fn get_many(table: &Self::View<'_>, keys: &[Key]) -> anyhow::Result<u64> {
        let mut found = 0;
        for key in keys {
            let value = table.get(key.as_slice())?;
            found += u64::from(black_box(value).is_some());
        }
        Ok(found)
    }
}
