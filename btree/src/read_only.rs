//! Reading a store without writing anything.

use std::path::Path;
use std::sync::Arc;

use arc_swap::Guard;
use durable_io::Disk;
use durable_io::engine::StoreDir;
use wal::{Lsn, Record, Salvage};

use crate::error::{Corruption, Error, Result};
use crate::meta::{self, FIRST_GENERATION, Slot};
use crate::names;
use crate::options::Options;
use crate::pager::Pager;
use crate::read_txn::ReadTxn;
use crate::recover::{Replay, backed_pages, check_page_size, check_range, writer_of};

impl Options {
    /// Reads the store in `dir` as it is now, and changes nothing: what [`open`](Options::open) would show,
    /// with every transaction that is whole in the log. It makes no file, not even a lock, and works on a
    /// file system that is mounted read-only. No writer can open the store as long as the state, a copy of
    /// it, or a range in it lives; other readers can.
    ///
    /// After the death of a process, what it shows may not be on the disk yet, and a loss of power may take
    /// the last transactions back: only opening for writing makes them durable.
    ///
    /// # Cost
    /// As [`open`](Options::open), without the syncs. What the log holds since the last checkpoint is
    /// applied in memory, and the pages that this changes stay there.
    ///
    /// # Errors
    /// As [`open`](Options::open). [`Error::Disk`] with [`Locked`](durable_io::Error::Locked) while the
    /// store is open for writing, in any process. A directory without a store is [`Error::Corrupt`], a
    /// missing one [`Error::Disk`].
    pub fn open_read_only(self, dir: impl AsRef<Path>) -> Result<ReadTxn> {
        self.check()?;
        let path = dir.as_ref();
        let lock = StoreDir::open_shared(&self.disk, path, names::LOCK)?;
        let file = match lock.dir().open_read_only(names::PAGES) {
            Err(error) if error.is_not_found() => {
                return Err(Error::corrupt(
                    &path.join(names::PAGES),
                    0,
                    Corruption::PagesLost,
                ));
            }
            file => file?,
        };
        let (slot, _) = meta::read(&file)?;
        check_page_size(&self, &slot)?;
        backed_pages(&file, &slot)?;
        let clean = self.clean_pages(slot.page_size);
        let mut pager = Pager::new(file, slot.page_size, slot.store_id, clean);
        pager.hold(lock);
        let pager = Arc::new(pager);
        // In memory there is room for every page that a number is left for.
        let (root, writer) = writer_of(&self, &pager, &slot, u32::MAX)?;
        let log_path = path.join(names::LOG);
        let mut replay = Replay::new(writer, usize::MAX, (&slot, &log_path))?;
        let mut log = Log::open(&self.disk, &log_path, &slot)?;
        let first = log.next_lsn();
        while let Some(record) = log.next().transpose()? {
            if record.lsn > slot.lsn {
                replay.apply(record.lsn, &record.payload)?;
            }
        }
        check_range(&slot, first..log.next_lsn(), &log_path)?;
        let writer = replay.end(self.disk.now())?;
        drop(root);
        Ok(ReadTxn::new(Guard::from_inner(writer.ledger.head)))
    }
}

/// The records of the log; none if a crash came before there was one.
enum Log {
    None,
    Some(Box<Salvage>),
}

impl Log {
    /// The log in `path`. Of a store without a checkpoint, a crash may have come before the log's mark, and
    /// so before any record.
    fn open(disk: &Disk, path: &Path, slot: &Slot) -> Result<Self> {
        let is_first = slot.generation == FIRST_GENERATION;
        let is_unmarked = || -> Result<bool> {
            let listed = disk.open_dir(path)?.list()?;
            Ok(!listed.iter().any(|entry| entry.name == "mark"))
        };
        match wal::Options::new().disk(disk.clone()).salvage(path) {
            Ok(salvage) if salvage.has_superblock() => Ok(Self::Some(Box::new(salvage))),
            Err(wal::Error::Disk(error)) if error.is_not_found() => Ok(Self::None),
            // What stands in a segment then is what a crash left of another file.
            Ok(_)
            | Err(wal::Error::Corrupt {
                reason: wal::Corruption::SuperblockLost,
                ..
            }) if is_first && is_unmarked()? => Ok(Self::None),
            // Nothing says whether the last records are missing.
            Ok(_) => Err(Error::Log(wal::Error::Corrupt {
                path: path.join("mark"),
                offset: 0,
                reason: wal::Corruption::SuperblockLost,
            })),
            Err(error) => Err(error.into()),
        }
    }

    /// What comes next, if nothing is missing before it.
    fn next_lsn(&self) -> Lsn {
        match self {
            Self::None => Lsn(1),
            Self::Some(salvage) => salvage.next_lsn(),
        }
    }

    fn next(&mut self) -> Option<wal::Result<Record>> {
        match self {
            Self::None => None,
            Self::Some(salvage) => salvage.next(),
        }
    }
}
