//! `SurrealKV`: no compression, a cache of 1 GiB, zeros ahead in its log (off by default, and faster);
//! tokio with two workers, each thread waits for its own commit.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use surrealkv::{
    CompressionType, Durability, LSMIterator as _, Mode, Options, Transaction, Tree, TreeBuilder,
};
use tokio::runtime::{Builder, Runtime};

use crate::keys::{Key, batches};
use crate::ordered::Ordered;
use crate::stores::KeyValue;

pub(super) struct Store {
    tree: Arc<Tree>,
    runtime: Runtime,
    durability: Durability,
}

impl KeyValue for Store {
    const NAME: &str = "SurrealKV";

    fn open(dir: &Path, is_durable: bool) -> anyhow::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        let options = Options::new()
            .with_path(dir.to_owned())
            .with_compression_per_level(vec![CompressionType::None])
            .with_block_cache_capacity(1 << 30)
            .with_wal_preallocation(true);
        let entered = runtime.enter();
        let tree = TreeBuilder::with_options(options).build()?;
        drop(entered);
        Ok(Self {
            tree: Arc::new(tree),
            runtime,
            durability: if is_durable {
                Durability::Immediate
            } else {
                Durability::Eventual
            },
        })
    }

    fn load(&self, count: u64, key: fn(u64) -> Key, value: &[u8]) -> anyhow::Result<()> {
        for numbers in batches(count) {
            let mut transaction = self.tree.begin()?;
            for number in numbers {
                transaction.set(key(number).as_slice(), value)?;
            }
            self.runtime.block_on(transaction.commit())?;
        }
        Ok(())
    }

    fn put(&self, key: &[u8], value: &[u8]) -> anyhow::Result<()> {
        let mut transaction = self.tree.begin_with_mode(Mode::WriteOnly)?;
        transaction.set_durability(self.durability);
        transaction.set(key, value)?;
        Ok(self.runtime.block_on(transaction.commit())?)
    }

    type Reader<'a> = ();

    fn reader(&self) -> anyhow::Result<()> {
        Ok(())
    }

    fn get(&self, _reader: &(), key: &[u8], see: impl FnOnce(&[u8])) -> anyhow::Result<()> {
        let transaction = self.tree.begin_with_mode(Mode::ReadOnly)?;
        if let Some(value) = transaction.get(key)? {
            see(&value);
        }
        Ok(())
    }

    fn close(self) -> anyhow::Result<()> {
        Ok(self.runtime.block_on(self.tree.close())?)
    }
}

impl Ordered for Store {
    const SHORT: &str = "SurrealKV";

    type View<'a> = Transaction;

    fn view(&self) -> anyhow::Result<Transaction> {
        Ok(self.tree.begin_with_mode(Mode::ReadOnly)?)
    }

    fn read_on(view: &Transaction, from: &[u8], most: u64) -> anyhow::Result<u64> {
        let mut entries = view.scan(from..)?;
        let (mut count, mut is_there) = (0, entries.seek_first()?);
        while is_there && count < most {
            black_box(entries.value_ref()?.last());
            count += 1;
            is_there = entries.next()?;
        }
        Ok(count)
    }

    fn read_back(view: &Transaction) -> anyhow::Result<u64> {
        let mut entries = view.iter()?;
        let (mut count, mut is_there) = (0, entries.seek_last()?);
        while is_there {
            black_box(entries.value_ref()?.last());
            count += 1;
            is_there = entries.prev()?;
        }
        Ok(count)
    }

    fn get_many(view: &Transaction, keys: &[Key]) -> anyhow::Result<u64> {
        let mut found = 0;
        for key in keys {
            found += u64::from(black_box(view.get(key.as_slice())?).is_some());
        }
        Ok(found)
    }
}
