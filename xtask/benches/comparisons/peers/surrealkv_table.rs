//! `SurrealKV`'s table, a proxy: through its engine, with two levels; the memtable is flushed and compacted
//! into the last one, where a table may have 64 MiB. It has no LZ4, no way to write a table alone, and does
//! not say how many it has.

use std::path::Path;

use surrealkv::{
    CompactRangeOptions, CompressionType, LSMIterator as _, Mode, Options, Tree, TreeBuilder,
};
use tokio::runtime::{Builder, Runtime};

use crate::contender::{Contender, Role};
use crate::keys::BATCH;
use crate::tables::{self, BLOCK_SIZE, CACHE_SIZE, Packing, Pairs, SortedTable};

const NAME: &str = "SurrealKV, proxy";
const FILES_MAX: usize = 100;

pub(super) struct Engine {
    tree: Tree,
    runtime: Runtime,
}

pub(super) fn contenders() -> Vec<Contender> {
    let mut all = tables::reads::<Engine>(Role::Peer, Packing::None);
    all.push(tables::merges(
        Role::Peer,
        NAME,
        Packing::None,
        Engine::prepare,
        |engine| engine.compact(None).map(|()| 1),
    ));
    all
}

impl Engine {
    fn open(dir: &Path) -> anyhow::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        let mut options = Options::new()
            .with_path(dir.to_owned())
            .with_block_size(BLOCK_SIZE)
            .with_compression_per_level(vec![CompressionType::None])
            .with_block_cache_capacity(CACHE_SIZE as u64)
            .with_level_count(2)
            // Nothing is merged before it is asked for.
            .with_l0_stall_threshold(FILES_MAX);
        options.level0_max_files = FILES_MAX;
        let entered = runtime.enter();
        let tree = TreeBuilder::with_options(options).build()?;
        drop(entered);
        Ok(Self { tree, runtime })
    }

    fn load(&self, pairs: &Pairs) -> anyhow::Result<()> {
        for keys in pairs.keys.chunks(BATCH) {
            let mut transaction = self.tree.begin()?;
            for key in keys {
                transaction.set(key.as_slice(), pairs.value.as_slice())?;
            }
            self.runtime.block_on(transaction.commit())?;
        }
        Ok(())
    }

    /// Flushes the memtable, and merges all tables into `level`, or the last one.
    fn compact(&self, level: Option<u8>) -> anyhow::Result<()> {
        let options = CompactRangeOptions {
            target_level: level,
            rewrite_bottommost: false,
            ..CompactRangeOptions::default()
        };
        Ok(self.tree.compact_range(None, None, &options)?)
    }

    fn prepare(dir: &Path, dealt: &[Pairs], _packing: Packing) -> anyhow::Result<Self> {
        let engine = Self::open(dir)?;
        for pairs in dealt {
            engine.load(pairs)?;
            engine.compact(Some(0))?;
        }
        Ok(engine)
    }
}

impl SortedTable for Engine {
    const NAME: &str = NAME;

    fn make(dir: &Path, pairs: &Pairs, _packing: Packing) -> anyhow::Result<Self> {
        let engine = Self::open(dir)?;
        engine.load(pairs)?;
        engine.compact(None)?;
        Ok(engine)
    }

    fn get(&self, key: &[u8], see: impl FnOnce(&[u8])) -> anyhow::Result<()> {
        let transaction = self.tree.begin_with_mode(Mode::ReadOnly)?;
        if let Some(value) = transaction.get(key)? {
            see(&value);
        }
        Ok(())
    }

    fn rows(
        &self,
        start: &[u8],
        limit: u64,
        mut see: impl FnMut(&[u8], &[u8]),
    ) -> anyhow::Result<()> {
        let transaction = self.tree.begin_with_mode(Mode::ReadOnly)?;
        let mut pairs = transaction.scan(start..)?;
        let mut left = limit;
        let mut is_valid = pairs.seek_first()?;
        while is_valid && left > 0 {
            see(pairs.key().user_key(), &pairs.value_ref()?);
            is_valid = pairs.next()?;
            left -= 1;
        }
        Ok(())
    }

    fn close(self) -> anyhow::Result<()> {
        Ok(self.runtime.block_on(self.tree.close())?)
    }
}
