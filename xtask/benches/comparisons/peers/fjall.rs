//! fjall: a cache of 1 GiB, no compression; durable is `SyncData` with each batch.

use std::hint::black_box;
use std::path::Path;

use fjall::config::CompressionPolicy;
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use crate::keys::{Key, batches};
use crate::ordered::Ordered;
use crate::stores::KeyValue;

pub(super) struct Store {
    database: Database,
    entries: Keyspace,
    durability: Option<PersistMode>,
}

impl KeyValue for Store {
    const NAME: &str = "fjall";

    fn open(dir: &Path, is_durable: bool) -> anyhow::Result<Self> {
        let database = Database::builder(dir)
            .cache_size(1 << 30)
            .journal_compression(CompressionType::None)
            .open()?;
        let entries = database.keyspace("entries", || {
            KeyspaceCreateOptions::default()
                .data_block_compression_policy(CompressionPolicy::disabled())
        })?;
        Ok(Self {
            database,
            entries,
            durability: is_durable.then_some(PersistMode::SyncData),
        })
    }

    fn load(&self, count: u64, key: fn(u64) -> Key, value: &[u8]) -> anyhow::Result<()> {
        for numbers in batches(count) {
            let mut batch = self.database.batch();
            for number in numbers {
                batch.insert(&self.entries, key(number), value);
            }
            batch.commit()?;
        }
        Ok(())
    }

    fn put(&self, key: &[u8], value: &[u8]) -> anyhow::Result<()> {
        let mut batch = self.database.batch().durability(self.durability);
        batch.insert(&self.entries, key, value);
        Ok(batch.commit()?)
    }

    type Reader<'a> = ();

    fn reader(&self) -> anyhow::Result<()> {
        Ok(())
    }

    fn get(&self, _reader: &(), key: &[u8], see: impl FnOnce(&[u8])) -> anyhow::Result<()> {
        if let Some(value) = self.entries.get(key)? {
            see(&value);
        }
        Ok(())
    }
}

impl Ordered for Store {
    const SHORT: &str = "fjall";

    type View<'a> = &'a Keyspace;

    fn view(&self) -> anyhow::Result<&Keyspace> {
        Ok(&self.entries)
    }

    fn read_on(entries: &&Keyspace, from: &[u8], most: u64) -> anyhow::Result<u64> {
        let mut count = 0;
        for entry in entries.range(from..).take(usize::try_from(most)?) {
            black_box(entry.into_inner()?.1.last());
            count += 1;
        }
        Ok(count)
    }

    fn read_back(entries: &&Keyspace) -> anyhow::Result<u64> {
        let mut count = 0;
        for entry in entries.iter().rev() {
            black_box(entry.into_inner()?.1.last());
            count += 1;
        }
        Ok(count)
    }

    fn get_many(entries: &&Keyspace, keys: &[Key]) -> anyhow::Result<u64> {
        let mut found = 0;
        for key in keys {
            found += u64::from(black_box(entries.get(key)?).is_some());
        }
        Ok(found)
    }
}
