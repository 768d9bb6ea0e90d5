//! Small logs to be damaged, each written by the engine, as its script says.

use crashtest::{Held, Outcome, Root, Setting, Specimen, files};
use durable_io::SyncMode;
use durable_io::sim::{Damage, SimDisk, World};
use wal::{Lsn, Wal};

use super::records::key;
use crate::engines::log_probe::{LogProbe, SuperblockSlot};

const DIR: &str = "/wal";
/// Small, so that every byte of a log of some segments can be changed.
const SEGMENT_SIZE: u64 = 2048;

/// How a log was left.
#[derive(Clone, Copy)]
enum End {
    /// Closed: the superblock covers every record.
    Close,
    /// The process died: the page cache has everything, the superblock is behind.
    Kill,
    /// The machine died: only what was synced is there, so not the second copy of the superblock.
    PowerLoss,
}

/// Three segments and a preallocated segment. The log begins in the middle of a batch of its lowest segment, and
/// the superblock was written last when the active one had one group.
const LONG: &str = "append 300, rotate, append 20, append 0+21+16, append 1100, rotate, append 380+376, \
    append 33, append 7, rotate, append 45, settle, truncate before 4, append 12+0+60, append 700, \
    append 20, append 21";

/// Names, scripts and ends: an `append` is of one batch, a record for each length.
const LOGS: [(&str, &str, End); 10] = [
    ("closed", LONG, End::Close),
    ("killed", LONG, End::Kill),
    ("created", "settle", End::Close),
    // One segment, which begins with truncated records; the process died before it made a preallocated segment, and the
    // superblock was written last by the truncation.
    (
        "short",
        "append 20, append 9+30+16, truncate before 3, append 600, append 15, append 24",
        End::Kill,
    ),
    // Acknowledged without a sync: the headers of these groups say nothing about each other.
    (
        "unsynced",
        "append 20, append 100, sync, append 500, append 31, rotate, settle, append 40, append 8+8, sync, \
         append 600, append 17, append 18",
        End::Kill,
    ),
    // A repair cut it once: two epochs.
    (
        "repaired",
        "append 20, append 100, append 600, rotate, append 50, repair, append 70, rotate, append 25, \
         append 26",
        End::Kill,
    ),
    // Its end was truncated twice: inside a batch of a sealed segment, and after a whole group.
    (
        "truncated",
        "append 20, append 30+300+50, rotate, append 60, settle, checkpoint 2, truncate after 3, \
         append 35+600, append 40, append 41, truncate after 6, append 50, append 22",
        End::Kill,
    ),
    // A batch is larger than a segment.
    ("large", "append 20, append 1940+9, append 7", End::Kill),
    // It had records and gave all of them up: no group is left.
    (
        "emptied",
        "append 20, append 30+40, rotate, truncate before 4, settle",
        End::Close,
    ),
    // The two copies of the superblock differ: the machine died after a truncation.
    (
        "power loss",
        "append 20, append 300, rotate, append 30, append 10+40, truncate before 3, append 50",
        End::PowerLoss,
    ),
];

/// Every log of the layer.
pub(super) fn all() -> Outcome<Vec<Specimen>> {
    let log = |(name, script, end)| LogWriter::new(name, script)?.end(name, end);
    LOGS.into_iter().map(log).collect()
}

/// A log that is being written.
struct LogWriter {
    disk: SimDisk,
    wal: Wal,
    /// What was appended, from record 1 on, except for what a repair truncated.
    payloads: Vec<Vec<u8>>,
    earlier: Vec<World>,
}

fn setting(disk: &SimDisk, sync: SyncMode) -> Setting {
    Setting {
        sync,
        ..Setting::new(disk.disk(), DIR, SEGMENT_SIZE)
    }
}

impl LogWriter {
    fn new(name: &str, script: &str) -> Outcome<Self> {
        let sync = if name == "unsynced" {
            SyncMode::Manual
        } else {
            SyncMode::Always
        };
        let disk = SimDisk::new();
        let wal = super::options(&setting(&disk, sync)).open(DIR)?;
        let mut writer = Self {
            disk,
            wal,
            payloads: Vec::new(),
            earlier: Vec::new(),
        };
        for step in script.split(", ") {
            writer = writer.step(step)?;
        }
        Ok(writer)
    }

    fn step(mut self, step: &str) -> Outcome<Self> {
        let (words, number) = step.rsplit_once(' ').unwrap_or((step, ""));
        match words {
            "append" => {
                let start = self.payloads.len();
                for len in number.split('+') {
                    let payload = payload(self.payloads.len() + 1, len.parse()?);
                    self.payloads.push(payload);
                }
                let batch = self.payloads.iter().skip(start).map(Vec::as_slice);
                self.wal.append_batch(&batch.collect::<Vec<_>>())?;
            }
            "rotate" => self.wal.rotate()?,
            "truncate before" => self.wal.truncate_before(Lsn(number.parse()?))?,
            "truncate after" => {
                self.wal.truncate_after(Lsn(number.parse()?))?;
                self.payloads.truncate(number.parse()?);
            }
            "checkpoint" => {
                return self
                    .wal
                    .checkpoint_with(Lsn(number.parse()?), b"vote")
                    .map(|()| self)
                    .map_err(Into::into);
            }
            "sync" => return self.wal.sync().map(|_| self).map_err(Into::into),
            // Makes the preallocated segment.
            "settle" => while self.wal.run_background()? {},
            _ => return self.repair(),
        }
        self.earlier.push(self.disk.world());
        Ok(self)
    }

    /// Damages the first segment, durably, and repairs the log.
    fn repair(self) -> Outcome<Self> {
        let path = format!("{DIR}/{:016x}.wal", 1);
        let (offset, mask) = (500, 1);
        let world = self.disk.world();
        drop(self.wal);
        let damaged = world.damaged(&path, Damage::Flip { offset, mask });
        let disk = SimDisk::boot(damaged.ok_or("there is no segment 1")?);
        let wal = super::options(&setting(&disk, SyncMode::Always)).repair(DIR)?;
        let mut payloads = self.payloads;
        payloads.truncate(usize::try_from(wal.bounds().end.0 - 1)?);
        let earlier = self.earlier;
        Ok(Self {
            disk,
            wal,
            payloads,
            earlier,
        })
    }

    fn end(self, name: &'static str, end: End) -> Outcome<Specimen> {
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
        Ok(specimen(name, &world, self.earlier, low, &self.payloads))
    }
}

/// The bytes of record `lsn`. Every fifth is zeros: what zeroing leaves must not pass for a record,
/// and a record of zeros must.
fn payload(lsn: usize, len: usize) -> Vec<u8> {
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

/// The log on `world`, which begins at record `low`; `payloads` are those of record 1 and all after it.
fn specimen(
    name: &'static str,
    world: &World,
    earlier: Vec<World>,
    low: u64,
    payloads: &[Vec<u8>],
) -> Specimen {
    let last = payloads.len() as u64;
    let probe = LogProbe::of(files(DIR, &world.keep_unsynced()), low);
    let history = |low| history(low, payloads);
    let root = |slot: SuperblockSlot| Root {
        span: slot.span,
        witness: slot.witness,
        history: history(slot.low),
    };
    // Without a superblock nothing says where the log began, and without a group they begin again.
    let mut rootless = history(probe.first.unwrap_or(last + 1));
    rootless.extend(probe.pieces.is_empty().then(|| Held {
        step: last,
        contents: [].into(),
        next: key(1),
    }));
    let roots = probe.slots.into_iter().map(root).collect();
    Specimen::new(name, DIR, world, earlier, roots)
        .pieces(probe.pieces)
        .rootless(rootless)
        .used(probe.used)
        .given_up(probe.given_up)
        .reads_up_to_damage()
}

/// What a log holds that begins at record `low`, with each record as the last one.
fn history(low: u64, payloads: &[Vec<u8>]) -> Vec<Held> {
    let held = |last: u64| {
        let records = (1..)
            .zip(payloads)
            .filter(|(lsn, _)| (low..=last).contains(lsn));
        Held {
            step: last,
            contents: records
                .map(|(lsn, bytes)| (key(lsn), bytes.clone()))
                .collect(),
            next: key(last + 1),
        }
    };
    (low - 1..=payloads.len() as u64).map(held).collect()
}
