//! okaywal: its log manager keeps nothing, so that its segments are recycled as they fill. It has no
//! append without a sync, and is read as a whole only when it recovers.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use okaywal::{Configuration, Entry, EntryId, LogManager, LogVoid, SegmentReader, WriteAheadLog};

use super::Peer;
use crate::measure::{REPLAYED, Rate, closed_loop, record};

pub(super) struct Log(WriteAheadLog);

impl Peer for Log {
    const NAME: &str = "okaywal";

    fn open(dir: &Path) -> anyhow::Result<Self> {
        Ok(Self(Configuration::default_for(dir).open(LogVoid)?))
    }

    fn append(&self, _thread: usize, record: &[u8]) -> anyhow::Result<()> {
        let mut entry = self.0.begin_entry()?;
        entry.write_chunk(record)?;
        entry.commit()?;
        Ok(())
    }

    fn close(self) -> anyhow::Result<()> {
        Ok(self.0.shutdown()?)
    }
}

/// Adds up the bytes that recovery gives it.
#[derive(Debug, Default)]
struct Counter(Arc<AtomicU64>);

impl LogManager for Counter {
    fn recover(&mut self, entry: &mut Entry<'_>) -> io::Result<()> {
        let chunks = entry.read_all_chunks()?.unwrap_or_default();
        let bytes = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        self.0.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    fn checkpoint_to(
        &mut self,
        _last: EntryId,
        _entries: &mut SegmentReader,
        _log: &WriteAheadLog,
    ) -> io::Result<()> {
        Ok(())
    }
}

pub(super) fn replay(dir: &Path, time: Duration, size: usize) -> anyhow::Result<Rate> {
    /// As many as this workspace's log is given at once.
    const ENTRY_SIZE: usize = 64 << 10;
    // Nothing may be recycled.
    let configuration = Configuration::default_for(dir)
        .preallocate_bytes(u32::try_from(REPLAYED * 2)?)
        .checkpoint_after_bytes(u64::MAX);
    let log = configuration.clone().open(LogVoid)?;
    let record = record(size);
    for _ in 0..REPLAYED / ENTRY_SIZE {
        let mut entry = log.begin_entry()?;
        for _ in 0..ENTRY_SIZE / size {
            entry.write_chunk(&record)?;
        }
        entry.commit()?;
    }
    log.shutdown()?;
    closed_loop(1, time, |_thread| {
        let configuration = configuration.clone();
        Ok(move || {
            let counter = Counter::default();
            let bytes = Arc::clone(&counter.0);
            configuration.clone().open(counter)?.shutdown()?;
            let bytes = bytes.load(Ordering::Relaxed);
            anyhow::ensure!(bytes == REPLAYED as u64, "{bytes} bytes were replayed");
            Ok(bytes)
        })
    })
}
