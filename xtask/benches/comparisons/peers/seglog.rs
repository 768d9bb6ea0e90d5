//! seglog: one writer, here behind a mutex, and one segment of a given size. A commit is a marker and
//! a sync.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use seglog::read::Reader;
use seglog::write::Writer;

use super::Peer;
use crate::measure::{REPLAYED, Rate, closed_loop, record};

const NAME: &str = "segment";
const SEGMENT_SIZE: usize = 512 << 20;

pub(super) struct Log(Mutex<Writer<0>>);

impl Log {
    fn with<T>(
        &self,
        call: impl FnOnce(&mut Writer<0>) -> Result<T, seglog::write::WriteError>,
    ) -> anyhow::Result<T> {
        let mut writer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(call(&mut writer)?)
    }

    pub(super) fn append_flushed(&self, record: &[u8]) -> anyhow::Result<()> {
        self.with(|writer| {
            writer.append_data(record)?;
            writer.flush_writer()
        })
    }

    pub(super) fn append_buffered(&self, record: &[u8]) -> anyhow::Result<()> {
        self.with(|writer| writer.append_data(record).map(|_place| ()))
    }
}

impl Peer for Log {
    const NAME: &str = "seglog";

    fn open(dir: &Path) -> anyhow::Result<Self> {
        let writer = Writer::create(dir.join(NAME), SEGMENT_SIZE, 0)?;
        Ok(Self(Mutex::new(writer)))
    }

    fn append(&self, _thread: usize, record: &[u8]) -> anyhow::Result<()> {
        self.with(|writer| {
            let (position, _) = writer.append_data(record)?;
            writer.commit(position).map(|_end| ())
        })
    }
}

pub(super) fn replay(dir: &Path, time: Duration, size: usize) -> anyhow::Result<Rate> {
    let log = Log::open(dir)?;
    let record = record(size);
    for _ in 0..REPLAYED / size {
        log.append_buffered(&record)?;
    }
    let end = log.with(|writer| {
        writer.commit(0)?;
        Ok(writer.flushed_offset())
    })?;
    closed_loop(1, time, |_thread| {
        let mut reader = Reader::<0>::open(dir.join(NAME), Some(end.clone()))?;
        Ok(move || {
            let mut bytes = 0;
            let mut records = reader.iter(0);
            while let Some(record) = records.next_record()? {
                // Given to the user as this workspace's log does: owned.
                bytes += record.data.into_owned().len() as u64;
            }
            anyhow::ensure!(bytes == REPLAYED as u64, "{bytes} bytes were replayed");
            Ok(bytes)
        })
    })
}
