//! This workspace's sorted table.

use std::path::Path;

use durable_io::{Dir, Disk};
use sstable::compaction::{Action, Compaction, Job};
use sstable::{BlockCache, Compression, Cursor, Entry, Kind, Options, Source, Table, Visible};

use crate::contender::{Contender, Role};
use crate::tables::{self, BLOCK_SIZE, CACHE_SIZE, Packing, Pairs, SortedTable};

const NAME: &str = "sstable";

pub(crate) fn contenders() -> Vec<Contender> {
    let mut all = Vec::new();
    for packing in [Packing::None, Packing::Lz4] {
        all.push(tables::builds(
            Role::Own,
            NAME,
            packing,
            |dir, pairs, packing| build(&Disk::os().open_dir(dir)?, "table", pairs, packing),
        ));
        all.extend(tables::reads::<Table>(Role::Own, packing));
        all.push(tables::seeks::<Seen>(Role::Own, packing));
        all.push(tables::scans::<Seen>(Role::Own, packing));
        all.push(tables::merges(
            Role::Own,
            NAME,
            packing,
            Merged::prepare,
            Merged::merge,
        ));
    }
    all
}

fn options(packing: Packing) -> Options {
    Options::new()
        .block_size(BLOCK_SIZE)
        .compression(match packing {
            Packing::None => Compression::None,
            Packing::Lz4 => Compression::Lz4,
        })
}

fn build(dir: &Dir, name: &str, pairs: &Pairs, packing: Packing) -> anyhow::Result<()> {
    let mut writer = options(packing).create(dir, name)?;
    for key in &pairs.keys {
        writer.add(Entry {
            key,
            version: 0,
            kind: Kind::Put,
            value: &pairs.value,
        })?;
    }
    writer.finish()?;
    Ok(())
}

fn rows(
    mut cursor: impl Cursor,
    start: &[u8],
    limit: u64,
    mut see: impl FnMut(&[u8], &[u8]),
) -> anyhow::Result<()> {
    cursor.seek(start, u64::MAX)?;
    let mut left = limit;
    while left > 0
        && let Some(entry) = cursor.entry()
    {
        see(entry.key, entry.value);
        cursor.advance()?;
        left -= 1;
    }
    Ok(())
}

impl SortedTable for Table {
    const NAME: &str = NAME;

    fn make(dir: &Path, pairs: &Pairs, packing: Packing) -> anyhow::Result<Self> {
        let dir = Disk::os().open_dir(dir)?;
        build(&dir, "table", pairs, packing)?;
        Ok(Table::open(
            &dir,
            "table",
            &BlockCache::new(CACHE_SIZE as u64),
        )?)
    }

    fn get(&self, key: &[u8], see: impl FnOnce(&[u8])) -> anyhow::Result<()> {
        if let Some(value) = self.get(key)? {
            see(&value);
        }
        Ok(())
    }

    fn rows(&self, start: &[u8], limit: u64, see: impl FnMut(&[u8], &[u8])) -> anyhow::Result<()> {
        rows(self.cursor(), start, limit, see)
    }
}

/// A table as a reader of a store sees it: without old versions and what is deleted, as the peers that
/// are engines show theirs.
struct Seen(Table);

impl SortedTable for Seen {
    const NAME: &str = "sstable, what a reader sees";

    fn make(dir: &Path, pairs: &Pairs, packing: Packing) -> anyhow::Result<Self> {
        Table::make(dir, pairs, packing).map(Self)
    }

    fn get(&self, key: &[u8], see: impl FnOnce(&[u8])) -> anyhow::Result<()> {
        SortedTable::get(&self.0, key, see)
    }

    fn rows(&self, start: &[u8], limit: u64, see: impl FnMut(&[u8], &[u8])) -> anyhow::Result<()> {
        let visible = Visible::new(vec![Source::of(&self.0)], u64::MAX);
        rows(visible, start, limit, see)
    }
}

struct Merged {
    dir: Dir,
    tables: Vec<Table>,
    packing: Packing,
}

impl Merged {
    fn prepare(dir: &Path, dealt: &[Pairs], packing: Packing) -> anyhow::Result<Self> {
        let dir = Disk::os().open_dir(dir)?;
        let cache = BlockCache::new(CACHE_SIZE as u64);
        let mut tables = Vec::new();
        for (number, pairs) in dealt.iter().enumerate() {
            let name = number.to_string();
            build(&dir, &name, pairs, packing)?;
            tables.push(Table::open(&dir, &name, &cache)?);
        }
        Ok(Self {
            dir,
            tables,
            packing,
        })
    }

    fn merge(&self) -> anyhow::Result<usize> {
        let job = Job {
            action: Action::Merge,
            inputs: (0..self.tables.len() as u64).collect(),
            input_bytes: self.tables.iter().map(Table::file_bytes).sum(),
            output_level: 1,
            output_run: 0,
            output_bytes: u64::MAX,
            older: Vec::new(),
        };
        let sources = self.tables.iter().map(Source::of).collect();
        let name = || "merged".to_owned();
        let compaction = Compaction::new(options(self.packing));
        let outputs = compaction.run(&job, sources, &self.dir, name)?;
        Ok(outputs.len())
    }
}
