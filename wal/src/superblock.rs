//! The superblock, file `mark`: what is retained, which epoch is written, and how far the log was durable
//! ([format], section 4).
//!
//! Two slots in two sectors are written in turn, so a torn write leaves the other one. As soon as
//! one is durable the other is made equal to it (without a sync), so that damage of one slot costs
//! nothing after a clean close.
//!
//! [format]: crate::format

use std::path::Path;

use durable_io::engine::UnsupportedVersion;
use durable_io::{Dir, File, replace_file_with};

use crate::error::{Corruption, Error, Result};
use crate::names;
use crate::slot::{
    SLOT_ROOM, SLOT_STRIDE, SUPERBLOCK_SIZE, Slot, Superblock, UNREADABLE, VERSION, merge,
    slot_offset,
};
use crate::source::Unreadable;

/// Both slots of the superblock `file`, in their order there, each read on its own.
pub(crate) fn read_slots(file: &File, unreadable: Unreadable) -> durable_io::Result<[Slot; 2]> {
    let read = |at: usize| {
        let mut bytes = [0; SLOT_ROOM];
        match file.read_at(&mut bytes, at as u64) {
            Ok(read) => Ok(Slot::decode(bytes.split_at(read).0, at as u64)),
            Err(error) if unreadable == Unreadable::IsDamage && error.is_unreadable() => {
                Ok(UNREADABLE)
            }
            Err(error) => Err(error),
        }
    };
    Ok([read(0)?, read(SLOT_STRIDE)?])
}

/// Refuses slots of a newer version.
fn check_version(file: &File, slots: &[Slot; 2]) -> Result<()> {
    for slot in slots {
        if let &Slot::Newer(version) = slot {
            let path = file.path().to_owned();
            return Err(UnsupportedVersion {
                path,
                version,
                supported: VERSION,
            }
            .into());
        }
    }
    Ok(())
}

/// How often a superblock is read before it is lost: one of its slots may be being written.
const READS: usize = 3;

/// What the superblock in `dir` says, which may be being written.
pub(crate) fn read_superblock(dir: &Dir) -> Result<Superblock> {
    let file = dir.open(names::SUPERBLOCK)?;
    for _ in 0..READS {
        let slots = read_slots(&file, Unreadable::Fails)?;
        check_version(&file, &slots)?;
        if let Some((_, superblock, _)) = merge(&slots) {
            return Ok(superblock);
        }
    }
    Err(superblock_lost(file.path()))
}

/// The superblock, open.
#[derive(Debug)]
pub(crate) struct SuperblockFile {
    file: File,
    sequence: u64,
    superblock: Superblock,
    /// Both slots hold `superblock`, durably.
    settled: bool,
    /// Both slots could be read, whatever they hold.
    is_readable: bool,
}

impl SuperblockFile {
    /// Writes a new file with `superblock` in both slots, durably, in place of any that was there, whose
    /// sequence was `before`: 0 if there was none.
    #[track_caller]
    pub(crate) fn create(
        dir: &Dir,
        superblock: &Superblock,
        before: u64,
    ) -> durable_io::Result<()> {
        replace_file_with(dir, names::SUPERBLOCK, |file| {
            // A full disk is met here, before the file counts for anything.
            file.allocate(0, SUPERBLOCK_SIZE as u64)?;
            for sequence in [before + 1, before + 2] {
                file.write_all_at(&superblock.encode(sequence), slot_offset(sequence))?;
            }
            Ok(())
        })
    }

    /// Opens and reads the superblock; `None` if there is none.
    ///
    /// # Errors
    /// [`Corruption::SuperblockLost`] if no slot is valid, [`Error::UnsupportedVersion`], [`Error::Disk`].
    pub(crate) fn open(dir: &Dir, unreadable: Unreadable) -> Result<Option<Self>> {
        let file = match dir.open(names::SUPERBLOCK) {
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) if unreadable == Unreadable::IsDamage && error.is_unreadable() => {
                return Err(superblock_lost(&dir.path().join(names::SUPERBLOCK)));
            }
            other => other?,
        };
        let slots = read_slots(&file, unreadable)?;
        check_version(&file, &slots)?;
        let Some((sequence, superblock, settled)) = merge(&slots) else {
            return Err(superblock_lost(file.path()));
        };
        Ok(Some(Self {
            file,
            sequence,
            superblock,
            settled,
            is_readable: !slots.contains(&UNREADABLE),
        }))
    }

    pub(crate) fn is_readable(&self) -> bool {
        self.is_readable
    }

    pub(crate) fn current(&self) -> &Superblock {
        &self.superblock
    }

    /// The sequence of the newest slot that can be read.
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    /// After an open: makes both slots equal, and durable what was read: a killed process may have
    /// left it in the page cache only. Written again and not just synced, since a sync that failed
    /// in an earlier process may have left pages that show what the disk does not have and that no
    /// later sync writes.
    pub(crate) fn settle(&mut self) -> durable_io::Result<()> {
        if !self.settled {
            self.sequence += 1;
        }
        self.claim()?;
        // Durable: the superblock as it was read. Only now may segments below its first one be unlinked, and its first
        // record be shown: a crash must not bring back what was given up.
        drop(self.file.sync_data()?);
        self.settled = true;
        Ok(())
    }

    /// Writes the superblock to both slots, which change nothing else. Where a file system copies on write they
    /// then have space for what is written before the next sync.
    pub(crate) fn claim(&self) -> durable_io::Result<()> {
        for sequence in [self.sequence - 1, self.sequence] {
            let bytes = self.superblock.encode(sequence);
            self.file.write_all_at(&bytes, slot_offset(sequence))?;
        }
        Ok(())
    }

    /// Writes `superblock` to the older slot, durably.
    pub(crate) fn advance(&mut self, superblock: Superblock) -> durable_io::Result<()> {
        // Not over the only slot that is durable: the newest one is a copy that may not be.
        let sequence = self.sequence + if self.settled { 1 } else { 2 };
        let bytes = superblock.encode(sequence);
        // First to the kernel alone: where a file system copies on write a full disk is met here. The slot is
        // the one that counts for nothing, so nothing has changed.
        self.file.write_all_at(&bytes, slot_offset(sequence))?;
        self.sequence = sequence;
        self.superblock = superblock;
        // Durable: what is given up. Only now may segments be unlinked: a recovery that still
        // believed the old superblock would miss them.
        drop(
            self.file
                .write_durable_at(&bytes, slot_offset(self.sequence))?,
        );
        // No sync of the copy: until it is durable the first slot speaks for itself. So it does if there
        // is no space for one.
        self.settled = false;
        match self.write_next() {
            Err(error) if error.is_no_space() => Ok(()),
            other => other,
        }
    }

    /// Writes `superblock`, which takes nothing back that the last one said, in both slots,
    /// durably: for the end of a handle's life, and of a truncation.
    pub(crate) fn seal(&mut self, superblock: Superblock) -> durable_io::Result<()> {
        if self.settled && self.superblock == superblock {
            return Ok(());
        }
        self.superblock = superblock;
        self.settled = false;
        self.write_next()?;
        self.write_next()?;
        // Durable: the witness of the last records. Only now may `close` say that any later loss of
        // them will be seen.
        drop(self.file.sync_data()?);
        self.settled = true;
        Ok(())
    }

    fn write_next(&mut self) -> durable_io::Result<()> {
        self.sequence += 1;
        self.file.write_all_at(
            &self.superblock.encode(self.sequence),
            slot_offset(self.sequence),
        )
    }
}

/// The error that says that the superblock at `path` is lost.
pub(crate) fn superblock_lost(path: &Path) -> Error {
    Error::Corrupt {
        path: path.to_owned(),
        offset: 0,
        reason: Corruption::SuperblockLost,
    }
}
