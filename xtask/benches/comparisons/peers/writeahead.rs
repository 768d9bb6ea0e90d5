//! writeahead: one thread writes and syncs for all; a caller awaits its answer, here by blocking.

use std::cell::RefCell;
use std::path::Path;

use anyhow::Context as _;
use tokio::runtime::{Builder, Runtime};
use writeahead::{SimpleFile, WriteAhead, WriteAheadOptions, WriteHandle};

use super::Peer;

thread_local! {
    /// A thread that appends waits in its own.
    static WAITS: RefCell<Option<Runtime>> = const { RefCell::new(None) };
}

pub(super) struct Log {
    log: WriteAhead<SimpleFile>,
    handle: WriteHandle,
}

impl Peer for Log {
    const NAME: &str = "writeahead";

    fn open(dir: &Path) -> anyhow::Result<Self> {
        let mut log = WriteAhead::with_options(WriteAheadOptions {
            log_dir: dir.join("log"),
            ..WriteAheadOptions::default()
        });
        log.start()?;
        let handle = log.writer()?;
        Ok(Self { log, handle })
    }

    fn append(&self, _thread: usize, record: &[u8]) -> anyhow::Result<()> {
        WAITS.with_borrow_mut(|runtime| {
            if runtime.is_none() {
                *runtime = Some(Builder::new_current_thread().build()?);
            }
            let runtime = runtime.as_ref().context("it was just made")?;
            runtime.block_on(self.handle.write(record.to_vec()))?;
            Ok(())
        })
    }

    fn close(self) -> anyhow::Result<()> {
        drop(self.handle);
        drop(self.log);
        Ok(())
    }
}
