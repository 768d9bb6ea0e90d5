//! `RocksDB`: `SstFileWriter`; and, since the binding has no `SstFileReader`, the table ingested into an
//! empty database, a proxy. With a hash index in each block (off by default, and faster).

use std::path::Path;

use rust_rocksdb::{
    BlockBasedOptions, BottommostLevelCompaction, Cache, CompactOptions, DB, DBCompressionType,
    DataBlockIndexType, Options, SstFileWriter,
};

use crate::contender::{Contender, Role};
use crate::tables::{self, BLOCK_SIZE, CACHE_SIZE, Packing, Pairs, SortedTable};

const NAME: &str = "RocksDB, proxy";

pub(super) fn contenders() -> Vec<Contender> {
    let mut all = Vec::new();
    for packing in [Packing::None, Packing::Lz4] {
        let name = "RocksDB, SstFileWriter";
        all.push(tables::builds(
            Role::Peer,
            name,
            packing,
            |dir, pairs, packing| build(&dir.join("table"), pairs, &options(packing)),
        ));
        all.extend(tables::reads::<DB>(Role::Peer, packing));
        all.push(tables::merges(Role::Peer, NAME, packing, ingested, merge));
    }
    all
}

fn options(packing: Packing) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_size(BLOCK_SIZE);
    table.set_bloom_filter(10.0, false);
    table.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
    table.set_block_cache(&Cache::new_hyper_clock_cache(CACHE_SIZE, 0));
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_block_based_table_factory(&table);
    options.set_compression_type(match packing {
        Packing::None => DBCompressionType::None,
        Packing::Lz4 => DBCompressionType::Lz4,
    });
    // Nothing is merged before it is asked for, and then everything at once.
    options.set_disable_auto_compactions(true);
    options.set_num_levels(2);
    options
}

fn build(path: &Path, pairs: &Pairs, options: &Options) -> anyhow::Result<()> {
    let mut writer = SstFileWriter::create(options);
    writer.open(path)?;
    for key in &pairs.keys {
        writer.put(key, &pairs.value)?;
    }
    Ok(writer.finish()?)
}

/// A database with a table for each of `dealt`.
fn ingested(dir: &Path, dealt: &[Pairs], packing: Packing) -> anyhow::Result<DB> {
    let options = options(packing);
    let database = DB::open(&options, dir.join("database"))?;
    for pairs in dealt {
        let path = dir.join("table");
        build(&path, pairs, &options)?;
        database.ingest_external_file(vec![path])?;
    }
    let tables = database.live_files()?.len();
    anyhow::ensure!(tables == dealt.len(), "{tables} tables");
    Ok(database)
}

fn merge(database: &DB) -> anyhow::Result<usize> {
    let mut options = CompactOptions::default();
    options.set_bottommost_level_compaction(BottommostLevelCompaction::ForceOptimized);
    database.compact_range_opt(None::<&[u8]>, None::<&[u8]>, &options);
    Ok(database.live_files()?.len())
}

impl SortedTable for DB {
    const NAME: &str = NAME;

    fn make(dir: &Path, pairs: &Pairs, packing: Packing) -> anyhow::Result<Self> {
        ingested(dir, std::slice::from_ref(pairs), packing)
    }

    fn get(&self, key: &[u8], see: impl FnOnce(&[u8])) -> anyhow::Result<()> {
        if let Some(value) = self.get_pinned(key)? {
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
        let mut pairs = self.raw_iterator();
        pairs.seek(start);
        let mut left = limit;
        while left > 0
            && let Some((key, value)) = pairs.item()
        {
            see(key, value);
            pairs.next();
            left -= 1;
        }
        Ok(pairs.status()?)
    }
}
