//! The journal of fsys: an append goes to the kernel, and `sync_through` makes it durable, together with those of
//! others.

use std::path::Path;

use fsys::JournalHandle;

use super::Peer;

pub(super) struct Log(JournalHandle);

impl Peer for Log {
    const NAME: &str = "fsys' journal";

    fn open(dir: &Path) -> anyhow::Result<Self> {
        let files = fsys::builder().build()?;
        Ok(Self(files.journal(dir.join("journal"))?))
    }

    fn append(&self, _thread: usize, record: &[u8]) -> anyhow::Result<()> {
        let lsn = self.0.append(record)?;
        Ok(self.0.sync_through(lsn)?)
    }

    fn close(self) -> anyhow::Result<()> {
        Ok(self.0.close()?)
    }
}
