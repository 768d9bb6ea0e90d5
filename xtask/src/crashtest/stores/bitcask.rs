//! The hash-indexed store, which merges now and then.

use std::path::Path;

use bitcask::{Bitcask, MergePolicy, Options};
use durable_io::Background;

use super::{Engine, Outcome, Store};
use crate::crashtest::judge::Contents;

/// Small, so that the store goes on in another file every dozen operations.
const DATA_FILE_SIZE: u64 = 16 << 10;

#[derive(Debug)]
pub(crate) struct BitcaskStore;

struct Opened(Bitcask);

impl Engine for BitcaskStore {
    fn open(&self, dir: &Path) -> Outcome<Box<dyn Store>> {
        let policy = MergePolicy::new()
            .trigger_dead_percent(40)
            .threshold_dead_percent(20);
        // Inline: what is recorded is the same in every run.
        let options = Options::new()
            .data_file_size(DATA_FILE_SIZE)
            .reserve(64 << 10)
            .merge_policy(policy)
            .background(Background::Inline);
        Ok(Box::new(Opened(options.open(dir.join("store"))?)))
    }
}

impl Opened {
    /// Writes hints and merges, if one is due.
    fn work(&self) -> Outcome<()> {
        while self.0.run_background()? {}
        Ok(())
    }
}

impl Store for Opened {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Outcome<()> {
        self.0.put(key, value)?;
        self.work()
    }

    fn delete(&mut self, key: &[u8]) -> Outcome<()> {
        self.0.delete(key)?;
        self.work()
    }

    fn dump(&mut self) -> Outcome<Contents> {
        let contents = Contents::new();
        Ok(self.0.fold(contents, |mut contents, key, value| {
            contents.insert(key.to_vec(), value.to_vec());
            contents
        })?)
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        Ok(self.0.close()?)
    }
}
