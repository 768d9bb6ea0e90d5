//! raft-engine: a raft group per thread, since the entries of one group must come in order. Without
//! compression in the replay, where batches are large enough for it.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use protobuf::well_known_types::BytesValue;
use raft_engine::{Config, Engine, LogBatch, MessageExt, ReadableSize};

use super::Peer;
use crate::measure::{REPLAYED, Rate, THREADS_MAX, closed_loop, record};

const GROUPS: usize = THREADS_MAX;

pub(super) struct Log {
    engine: Engine,
    /// The last index of each group.
    last: [AtomicU64; GROUPS],
}

/// An entry is a record whose first eight bytes are its index.
struct Indexed;

impl MessageExt for Indexed {
    type Entry = BytesValue;

    fn index(entry: &BytesValue) -> u64 {
        let index = entry.value.first_chunk().copied();
        index.map_or(0, u64::from_le_bytes)
    }
}

impl Log {
    pub(super) fn append_unsynced(&self, record: &[u8]) -> anyhow::Result<()> {
        self.write(0, record, 1, false)
    }

    /// Appends `count` copies of `record` as one batch of group `group`.
    fn write(&self, group: usize, record: &[u8], count: usize, sync: bool) -> anyhow::Result<()> {
        let last = self.last.get(group).context("too many threads")?;
        let entries = (0..count).map(|_| {
            let index = last.fetch_add(1, Ordering::Relaxed) + 1;
            let mut entry = BytesValue::new();
            entry.value = record.to_vec();
            if let Some(head) = entry.value.first_chunk_mut() {
                *head = index.to_le_bytes();
            }
            entry
        });
        let mut batch = LogBatch::default();
        batch.add_entries::<Indexed>(group as u64, &entries.collect::<Vec<_>>())?;
        self.engine.write(&mut batch, sync)?;
        Ok(())
    }
}

fn open(config: Config) -> anyhow::Result<Log> {
    Ok(Log {
        engine: Engine::open(config)?,
        last: Default::default(),
    })
}

fn config(dir: &Path) -> anyhow::Result<Config> {
    Ok(Config {
        dir: dir.to_str().context("a path in UTF-8")?.to_owned(),
        ..Config::default()
    })
}

impl Peer for Log {
    const NAME: &str = "raft-engine";

    fn open(dir: &Path) -> anyhow::Result<Self> {
        open(config(dir)?)
    }

    fn append(&self, thread: usize, record: &[u8]) -> anyhow::Result<()> {
        self.write(thread, record, 1, true)
    }
}

pub(super) fn replay(dir: &Path, time: Duration, size: usize) -> anyhow::Result<Rate> {
    const BATCH_SIZE: usize = 64 << 10;
    let log = open(Config {
        batch_compression_threshold: ReadableSize(0),
        ..config(dir)?
    })?;
    let record = record(size);
    for _ in 0..REPLAYED / BATCH_SIZE {
        log.write(0, &record, BATCH_SIZE / size, false)?;
    }
    log.engine.sync()?;
    closed_loop(1, time, |_thread| {
        let engine = &log.engine;
        Ok(move || {
            let mut bytes = 0;
            let end = (REPLAYED / size) as u64 + 1;
            for first in (1..end).step_by(BATCH_SIZE / size) {
                let next = end.min(first + (BATCH_SIZE / size) as u64);
                let mut entries = Vec::new();
                engine.fetch_entries_to::<Indexed>(0, first, next, None, &mut entries)?;
                bytes += entries
                    .iter()
                    .map(|entry| entry.value.len() as u64)
                    .sum::<u64>();
            }
            anyhow::ensure!(bytes == REPLAYED as u64, "{bytes} bytes were replayed");
            Ok(bytes)
        })
    })
}
