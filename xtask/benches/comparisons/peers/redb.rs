//! redb: a cache of 1 GiB; one write transaction at a time, one sync for each; a read transaction for
//! each get.

use std::path::Path;

use redb::{Database, Durability, ReadableDatabase as _, TableDefinition};

use crate::keys::key;
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

    fn load(&self, count: u64, value: &[u8]) -> anyhow::Result<()> {
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
