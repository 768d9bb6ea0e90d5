//! The write-ahead log as a key-value store: that of its own example, which takes a snapshot and
//! cuts the log now and then.

#[path = "../../../../wal/examples/key_value/store.rs"]
mod key_value;

use std::path::Path;

use durable_io::{Background, Disk};
use wal::Options;

use super::{Engine, Outcome, Store};
use crate::crashtest::judge::Contents;
use key_value::KeyValue;

/// Small, so that the log rotates every dozen operations.
const SEGMENT_SIZE: u64 = 16 << 10;
/// A snapshot is taken after so many operations.
const SNAPSHOT_EVERY: u64 = 40;

#[derive(Debug)]
pub(crate) struct WalStore;

struct Opened {
    store: KeyValue,
    operations: u64,
}

impl Engine for WalStore {
    fn open(&self, dir: &Path) -> Outcome<Box<dyn Store>> {
        // Inline: what is recorded is the same in every run.
        let options = Options::new()
            .segment_size(SEGMENT_SIZE)
            .background(Background::Inline);
        let store = KeyValue::open(&Disk::os(), &dir.join("store"), options)?;
        let operations = 0;
        Ok(Box::new(Opened { store, operations }))
    }
}

impl Opened {
    fn count(&mut self) -> Outcome<()> {
        self.operations += 1;
        if self.operations.is_multiple_of(SNAPSHOT_EVERY) {
            self.store.snapshot()?;
        }
        while self.store.log.run_background()? {}
        Ok(())
    }
}

impl Store for Opened {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Outcome<()> {
        self.store.put(key, value)?;
        self.count()
    }

    fn delete(&mut self, key: &[u8]) -> Outcome<()> {
        self.store.delete(key)?;
        self.count()
    }

    fn dump(&mut self) -> Outcome<Contents> {
        let keys = self.store.map().keys();
        let pairs = keys.filter_map(|key| Some((key.clone(), self.store.get(key)?.to_vec())));
        Ok(pairs.collect())
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        Ok(self.store.log.close()?)
    }
}
