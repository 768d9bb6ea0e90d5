//! [`Writer`]: where the next group goes, and what has been written before it.

use std::sync::Arc;

use durable_io::{File, engine};

use crate::data_file::DataFile;

/// Where the next group goes.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) file: File,
    pub(crate) active: Arc<DataFile>,
    pub(crate) offset: u64,
    /// The file is zeros from `offset` up to here.
    pub(crate) zeroed: u64,
    /// Up to here, that is, but for what a write left behind `offset` which the disk had no space for: it
    /// ends here; 0 if there is none.
    pub(crate) left_over: u64,
    pub(crate) digest: u32,
    /// Writes so far: puts, deletions and batches.
    pub(crate) writes: u64,
}

impl Writer {
    pub(crate) fn new(file: File, active: Arc<DataFile>, zeroed: u64, digest: u32) -> Self {
        let offset = active.end();
        Self {
            file,
            active,
            offset,
            zeroed,
            left_over: 0,
            digest,
            writes: 0,
        }
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// The number of the active file, and where its groups end.
    pub(crate) fn position(&self) -> (u64, u64) {
        (self.active.number, self.offset)
    }

    /// What has been written, when `version` was the last one published.
    pub(crate) fn written(&self, version: u64) -> Written {
        Written {
            file: self.file.clone(),
            number: self.active.number,
            end: self.offset,
            version,
            writes: self.writes,
            is_cleared: false,
        }
    }
}

/// What had been written when a sync was about to begin.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) file: File,
    pub(crate) number: u64,
    pub(crate) end: u64,
    /// The last version published by then.
    pub(crate) version: u64,
    /// Writes by then, acknowledged or about to be.
    pub(crate) writes: u64,
    /// Behind them zeros were written over what was there.
    pub(crate) is_cleared: bool,
}

impl engine::Written for Written {
    fn file(&self) -> &File {
        &self.file
    }

    /// Every group has a write.
    fn position(&self) -> u64 {
        self.writes
    }

    fn writes(&self) -> u64 {
        self.writes
    }

    fn has_more(&self) -> bool {
        self.is_cleared
    }
}
