//! Sorted tables as a key-value store: the set of their own example. Every operation becomes a table, and
//! compactions keep them few.

use std::path::Path;

use durable_io::Disk;
use sstable::Options;
use sstable::compaction::Leveled;

use super::{Engine, Outcome, Store};
use crate::crashtest::judge::Contents;
use crate::crashtest::table_set::{Changes, TableSet};

/// So many new tables are merged.
const NEW_TABLES: usize = 4;
/// Small, so that levels have several tables, and there is more than one level.
const TABLE_BYTES: u64 = 8 << 10;

#[derive(Debug)]
pub(crate) struct SstableStore;

struct Opened(TableSet);

impl Engine for SstableStore {
    fn open(&self, dir: &Path) -> Outcome<Box<dyn Store>> {
        let strategy = Leveled::new()
            .new_runs(NEW_TABLES)
            .levels(4)
            .fanout(4)
            .base_bytes(TABLE_BYTES)
            .table_bytes(TABLE_BYTES);
        let path = dir.join("store");
        let set = TableSet::open(&Disk::os(), &path, Options::new(), strategy.into())?;
        Ok(Box::new(Opened(set)))
    }

    /// A table and a manifest for each operation.
    fn weight(&self) -> u64 {
        8
    }
}

impl Opened {
    fn write(&mut self, key: &[u8], value: Option<&[u8]>) -> Outcome<()> {
        let mut changes = Changes::default();
        let value = value.map(<[u8]>::to_vec);
        changes.entries.insert(key.to_vec(), value);
        self.0.write(&changes)?;
        self.0.compact()?;
        Ok(())
    }
}

impl Store for Opened {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Outcome<()> {
        self.write(key, Some(value))
    }

    fn delete(&mut self, key: &[u8]) -> Outcome<()> {
        self.write(key, None)
    }

    fn dump(&mut self) -> Outcome<Contents> {
        self.0.contents()
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        Ok(())
    }
}
