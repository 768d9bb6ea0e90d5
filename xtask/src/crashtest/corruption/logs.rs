//! The logs that are damaged: written by the engine on a simulated disk, with a note of everything
//! that was appended.

use durable_io::sim::{Damage, SimDisk, World};
use durable_io::{Background, SyncMode};
use wal::{Lsn, Options, Wal};

use super::DIR;
use super::changes::Target;
use super::facts::Facts;

/// As in the layer `sim`: small, so that every byte of a log of some segments can be changed.
const SEGMENT_SIZE: u64 = 2048;

/// The options of every open and repair of the layer.
pub(super) fn options(disk: &SimDisk) -> Options {
    Options::new()
        .segment_size(SEGMENT_SIZE)
        .background(Background::Inline)
        .disk(disk.disk())
}

/// A log to be damaged.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) facts: Facts,
    /// The disk it is on; everything there is durable.
    pub(super) world: World,
    /// The disk at earlier instants: where a lost write comes from.
    pub(super) earlier: Vec<World>,
}

impl Log {
    /// Calls `with` with the log as something to be damaged.
    pub(super) fn target<T>(&self, with: impl FnOnce(&Target<'_>) -> T) -> T {
        with(&Target {
            name: self.facts.name,
            files: &self.facts.files,
            world: &self.world,
            earlier: &self.earlier,
            is_used: &|file, at| self.facts.is_used(file, at),
        })
    }
}

/// A log that is being written.
struct Scribe {
    disk: SimDisk,
    wal: Wal,
    /// What was appended, from record 1 on, except for what a repair cut off.
    payloads: Vec<Vec<u8>>,
    earlier: Vec<World>,
}

/// How a log was left.
enum End {
    /// Closed: the mark covers every record.
    Close,
    /// The process died: the page cache has everything, the mark is behind.
    Kill,
    /// The machine died: only what was synced is there, so not the second copy of the mark.
    PowerLoss,
}

impl Scribe {
    fn new(mode: SyncMode) -> wal::Result<Self> {
        let disk = SimDisk::new();
        let wal = options(&disk).sync(mode).open(DIR)?;
        Ok(Self {
            disk,
            wal,
            payloads: Vec::new(),
            earlier: Vec::new(),
        })
    }

    /// Appends one batch: a record for each length.
    fn append(&mut self, lengths: &[usize]) -> wal::Result<()> {
        let start = self.payloads.len();
        for &len in lengths {
            self.payloads.push(payload(self.payloads.len() + 1, len));
        }
        let batch: Vec<&[u8]> = self
            .payloads
            .iter()
            .skip(start)
            .map(Vec::as_slice)
            .collect();
        self.wal.append_batch(&batch)?;
        self.remember();
        Ok(())
    }

    fn rotate(&mut self) -> wal::Result<()> {
        self.wal.rotate()?;
        self.remember();
        Ok(())
    }

    fn truncate_before(&mut self, lsn: u64) -> wal::Result<()> {
        self.wal.truncate_before(Lsn(lsn))?;
        self.remember();
        Ok(())
    }

    fn truncate_after(&mut self, lsn: usize) -> wal::Result<()> {
        self.wal.truncate_after(Lsn(lsn as u64))?;
        self.payloads.truncate(lsn);
        self.remember();
        Ok(())
    }

    /// Makes the spare.
    fn settle(&mut self) -> wal::Result<()> {
        while self.wal.run_background()? {}
        self.remember();
        Ok(())
    }

    fn remember(&mut self) {
        self.earlier.push(self.disk.world());
    }

    fn end(self, name: &'static str, end: &End) -> wal::Result<Log> {
        let low = self.wal.bounds().start.0;
        let world = match end {
            End::Close => {
                self.wal.close()?;
                self.disk.world()
            }
            // The handle is dropped after that.
            End::Kill => self.disk.world(),
            End::PowerLoss => self.disk.world().lose_unsynced(),
        };
        let world = world.keep_unsynced();
        Ok(Log {
            facts: Facts::new(name, &world, low, self.payloads),
            world,
            earlier: self.earlier,
        })
    }
}

/// The bytes of record `lsn`. Every fifth is zeros: what zeroing leaves must not pass for a record,
/// and a record of zeros must.
pub(super) fn payload(lsn: usize, len: usize) -> Vec<u8> {
    if lsn.is_multiple_of(5) {
        return vec![0; len];
    }
    let mut word = lsn as u64 + 1;
    let mut next = || {
        word = word
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .rotate_left(17)
            .wrapping_add(lsn as u64);
        word.to_le_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}

/// Every log of the layer.
pub(super) fn all() -> wal::Result<Vec<Log>> {
    Ok(vec![
        long("closed", &End::Close)?,
        long("killed", &End::Kill)?,
        created()?,
        short()?,
        unsynced()?,
        repaired()?,
        cut()?,
        emptied()?,
        truncated_at_power_loss()?,
    ])
}

/// Three segments and a spare. The log begins in the middle of a batch of its lowest segment, and
/// the mark was written last when the active one had one group.
fn long(name: &'static str, end: &End) -> wal::Result<Log> {
    let mut log = Scribe::new(SyncMode::Always)?;
    log.append(&[300])?;
    log.rotate()?;
    log.append(&[20])?;
    log.append(&[0, 21, 16])?;
    log.append(&[1100])?;
    log.rotate()?;
    log.append(&[380, 376])?;
    log.append(&[33])?;
    log.append(&[7])?;
    log.rotate()?;
    log.append(&[45])?;
    log.settle()?;
    log.truncate_before(4)?;
    log.append(&[12, 0, 60])?;
    log.append(&[700])?;
    log.append(&[20])?;
    log.append(&[21])?;
    log.end(name, end)
}

/// A log that was just created and closed.
pub(super) fn created() -> wal::Result<Log> {
    let mut log = Scribe::new(SyncMode::Always)?;
    log.settle()?;
    log.end("created", &End::Close)
}

/// One segment, which begins with truncated records; the process died before it made a spare, and
/// the mark was written last by the truncation.
pub(super) fn short() -> wal::Result<Log> {
    let mut log = Scribe::new(SyncMode::Always)?;
    log.append(&[20])?;
    log.append(&[9, 30, 16])?;
    log.truncate_before(3)?;
    log.append(&[600])?;
    log.append(&[15])?;
    log.append(&[24])?;
    log.end("short", &End::Kill)
}

/// Acknowledged without a sync: the headers of these groups say nothing about each other.
fn unsynced() -> wal::Result<Log> {
    let mut log = Scribe::new(SyncMode::Manual)?;
    log.append(&[20])?;
    log.append(&[100])?;
    log.wal.sync()?;
    log.append(&[500])?;
    log.append(&[31])?;
    log.rotate()?;
    log.settle()?;
    log.append(&[40])?;
    log.append(&[8, 8])?;
    log.wal.sync()?;
    log.append(&[600])?;
    log.append(&[17])?;
    log.append(&[18])?;
    log.end("unsynced", &End::Kill)
}

/// A log that a repair cut once: two epochs.
fn repaired() -> wal::Result<Log> {
    let mut log = Scribe::new(SyncMode::Always)?;
    for len in [20, 100, 600] {
        log.append(&[len])?;
    }
    log.rotate()?;
    log.append(&[50])?;
    let path = format!("{DIR}/{:016x}.wal", 1);
    let flip = Damage::Flip {
        offset: 500,
        mask: 1,
    };
    let world = log.disk.world();
    drop(log.wal);
    let disk = SimDisk::boot(world.damaged(&path, flip).unwrap_or(world));
    let wal = options(&disk).repair(DIR)?;
    let kept = usize::try_from(wal.bounds().end.0).unwrap_or(usize::MAX);
    log.payloads.truncate(kept - 1);
    let mut log = Scribe { disk, wal, ..log };
    log.append(&[70])?;
    log.rotate()?;
    log.append(&[25])?;
    log.append(&[26])?;
    log.end("repaired", &End::Kill)
}

/// A log whose end was cut off twice: inside a batch of a sealed segment, and behind a whole group.
fn cut() -> wal::Result<Log> {
    let mut log = Scribe::new(SyncMode::Always)?;
    log.append(&[20])?;
    log.append(&[30, 300, 50])?;
    log.rotate()?;
    log.append(&[60])?;
    log.settle()?;
    log.wal.checkpoint(Lsn(2))?;
    log.truncate_after(3)?;
    log.append(&[35, 600])?;
    log.append(&[40])?;
    log.append(&[41])?;
    log.truncate_after(6)?;
    log.append(&[50])?;
    log.append(&[22])?;
    log.end("cut", &End::Kill)
}

/// A log that had records and gave all of them up: no group is left.
fn emptied() -> wal::Result<Log> {
    let mut log = Scribe::new(SyncMode::Always)?;
    log.append(&[20])?;
    log.append(&[30, 40])?;
    log.rotate()?;
    log.truncate_before(4)?;
    log.settle()?;
    log.end("emptied", &End::Close)
}

/// The two copies of the mark differ: the machine died after a truncation.
fn truncated_at_power_loss() -> wal::Result<Log> {
    let mut log = Scribe::new(SyncMode::Always)?;
    log.append(&[20])?;
    log.append(&[300])?;
    log.rotate()?;
    log.append(&[30])?;
    log.append(&[10, 40])?;
    log.truncate_before(3)?;
    log.append(&[50])?;
    log.end("power loss", &End::PowerLoss)
}
