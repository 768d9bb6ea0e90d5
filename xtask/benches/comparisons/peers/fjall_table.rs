//! fjall's table, a proxy: through its engine, ingested and then compacted into one table. Index and
//! filter pinned and in one piece, with a hash index in each block (off by default, and faster).

use std::path::Path;
use std::sync::Arc;

use fjall::compaction::Leveled;
use fjall::config::{
    BlockSizePolicy, CompressionPolicy, HashRatioPolicy, PartitioningPolicy, PinningPolicy,
};
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions};

use crate::contender::{Contender, Role};
use crate::tables::{self, BLOCK_SIZE, CACHE_SIZE, Packing, Pairs, SortedTable};

const NAME: &str = "fjall, proxy";

pub(super) struct Engine {
    _database: Database,
    entries: Keyspace,
}

pub(super) fn contenders() -> Vec<Contender> {
    let mut all = Vec::new();
    for packing in [Packing::None, Packing::Lz4] {
        all.push(tables::builds(
            Role::Peer,
            NAME,
            packing,
            |dir, pairs, packing| Engine::open(dir, packing)?.ingest(pairs),
        ));
        all.extend(tables::reads::<Engine>(Role::Peer, packing));
        all.push(tables::merges(
            Role::Peer,
            NAME,
            packing,
            Engine::prepare,
            Engine::merge,
        ));
    }
    all
}

impl Engine {
    fn open(dir: &Path, packing: Packing) -> anyhow::Result<Self> {
        let compression = CompressionPolicy::all(match packing {
            Packing::None => CompressionType::None,
            Packing::Lz4 => CompressionType::Lz4,
        });
        let block_size = BlockSizePolicy::all(u32::try_from(BLOCK_SIZE)?);
        let database = Database::builder(dir)
            .cache_size(CACHE_SIZE as u64)
            .open()?;
        let entries = database.keyspace("entries", || {
            KeyspaceCreateOptions::default()
                .data_block_size_policy(block_size)
                .data_block_compression_policy(compression)
                .data_block_hash_ratio_policy(HashRatioPolicy::all(1.33))
                .index_block_pinning_policy(PinningPolicy::all(true))
                .filter_block_pinning_policy(PinningPolicy::all(true))
                .index_block_partitioning_policy(PartitioningPolicy::all(false))
                .filter_block_partitioning_policy(PartitioningPolicy::all(false))
                // Nothing is merged before it is asked for.
                .compaction_strategy(Arc::new(Leveled::default().with_l0_threshold(u8::MAX)))
        })?;
        Ok(Self {
            _database: database,
            entries,
        })
    }

    fn ingest(&self, pairs: &Pairs) -> anyhow::Result<()> {
        let mut ingestion = self.entries.start_ingestion()?;
        for key in &pairs.keys {
            ingestion.write(key, pairs.value.as_slice())?;
        }
        Ok(ingestion.finish()?)
    }

    fn prepare(dir: &Path, dealt: &[Pairs], packing: Packing) -> anyhow::Result<Self> {
        let engine = Self::open(dir, packing)?;
        for pairs in dealt {
            engine.ingest(pairs)?;
        }
        let tables = engine.entries.table_count();
        anyhow::ensure!(tables == dealt.len(), "{tables} tables");
        Ok(engine)
    }

    fn merge(&self) -> anyhow::Result<usize> {
        self.entries.major_compact()?;
        Ok(self.entries.table_count())
    }
}

impl SortedTable for Engine {
    const NAME: &str = NAME;

    fn make(dir: &Path, pairs: &Pairs, packing: Packing) -> anyhow::Result<Self> {
        let engine = Self::open(dir, packing)?;
        engine.ingest(pairs)?;
        let tables = engine.merge()?;
        anyhow::ensure!(tables == 1, "{tables} tables");
        Ok(engine)
    }

    fn get(&self, key: &[u8], see: impl FnOnce(&[u8])) -> anyhow::Result<()> {
        if let Some(value) = self.entries.get(key)? {
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
        let limit = usize::try_from(limit)?;
        for pair in self.entries.range(start..).take(limit) {
            let (key, value) = pair.into_inner()?;
            see(&key, &value);
        }
        Ok(())
    }
}
