//! Asking the engine: everything that a user can see of a log, as plain values.

use std::ops::Range;

use durable_io::sim::{SimDisk, World};
use wal::{Error, Lsn, Verified, Wal};

use super::DIR;
use super::logs::options;

/// What is appended to a log after damage, to see whether it goes on.
pub(super) const PROBE: &[u8] = b"written after the damage";

/// An error of the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// The error that is promised for damage.
    Damage {
        /// The file's name; `None` if it is not in the log's directory.
        file: Option<String>,
        /// `None` if the error has no place.
        offset: Option<u64>,
        text: String,
    },
    /// Any other.
    Other(String),
}

impl From<Error> for Told {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        let (path, offset) = match &error {
            Error::Corrupt { path, offset, .. } => (path, Some(*offset)),
            Error::UnsupportedVersion { path, .. } => (path, None),
            _ => return Self::Other(format!("{text} ({error:?})")),
        };
        let name = path.strip_prefix(DIR).ok().and_then(|name| name.to_str());
        Self::Damage {
            file: name.map(str::to_owned),
            offset,
            text,
        }
    }
}

/// What an open log says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) bounds: Range<u64>,
    pub(super) records: Vec<(u64, Vec<u8>)>,
    /// The error that ended the records, if one did.
    pub(super) broken: Option<Told>,
    pub(super) verified: Result<Verified, Told>,
}

impl Answer {
    /// True if nothing was complained of.
    pub(super) fn is_quiet(&self) -> bool {
        self.broken.is_none() && self.verified.is_ok()
    }
}

/// What a log says after it was closed and opened again, and then once more with one more record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Later {
    pub(super) reopened: Answer,
    pub(super) appended: Answer,
}

/// What a log says after a repair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Repaired {
    pub(super) answer: Answer,
    /// What the repair says it cut off.
    pub(super) dropped: Option<Range<u64>>,
    /// After an ordinary open.
    pub(super) later: Result<Later, Told>,
}

/// Everything that is seen of one damaged log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It cannot be opened.
    Refused {
        told: Told,
        /// The files that the attempt changed.
        touched: Vec<String>,
        repaired: Result<Repaired, Told>,
    },
    /// It opens, and reading or verifying it complains.
    Complained {
        answer: Answer,
        /// The newest record, asked for alone.
        newest: Option<Vec<u8>>,
        repaired: Result<Repaired, Told>,
    },
    /// It opens, and nothing complains.
    Quiet {
        answer: Answer,
        later: Result<Later, Told>,
    },
}

/// Opens the log on `world` and asks it everything.
pub(super) fn see(world: &World) -> Seen {
    let disk = SimDisk::boot(world.clone());
    match options(&disk).open(DIR) {
        Err(error) => Seen::Refused {
            told: error.into(),
            touched: touched(world, &disk),
            repaired: repair(&disk),
        },
        Ok(log) => {
            let answer = ask(&log);
            if answer.is_quiet() {
                let later = go_on(&disk, log);
                Seen::Quiet { answer, later }
            } else {
                let newest = log.records(Lsn(answer.bounds.end.saturating_sub(1))).next();
                let newest = newest.and_then(Result::ok).map(|record| record.payload);
                drop(log);
                let repaired = repair(&disk);
                Seen::Complained {
                    answer,
                    newest,
                    repaired,
                }
            }
        }
    }
}

/// What the undamaged log on `world` answers.
pub(super) fn undamaged(world: &World) -> wal::Result<Answer> {
    let disk = SimDisk::boot(world.clone());
    Ok(ask(&options(&disk).open(DIR)?))
}

fn ask(log: &Wal) -> Answer {
    let bounds = log.bounds();
    let mut records = Vec::new();
    let mut broken = None;
    for record in log.records(Lsn(0)) {
        match record {
            Ok(record) => records.push((record.lsn.0, record.payload)),
            Err(error) => broken = Some(error.into()),
        }
    }
    Answer {
        bounds: bounds.start.0..bounds.end.0,
        records,
        broken,
        verified: log.verify().map_err(Told::from),
    }
}

fn go_on(disk: &SimDisk, log: Wal) -> Result<Later, Told> {
    log.close()?;
    let log = options(disk).open(DIR)?;
    let reopened = ask(&log);
    log.append(PROBE)?;
    // Not closed: the next open has to find the record by itself.
    drop(log);
    let appended = ask(&options(disk).open(DIR)?);
    Ok(Later { reopened, appended })
}

fn repair(disk: &SimDisk) -> Result<Repaired, Told> {
    let log = options(disk).repair(DIR)?;
    let answer = ask(&log);
    let dropped = log.recovery().dropped.as_ref();
    let dropped = dropped.map(|range| range.start.0..range.end.0);
    let later = go_on(disk, log);
    Ok(Repaired {
        answer,
        dropped,
        later,
    })
}

/// The files that are not on `disk` as they are on `world`.
fn touched(world: &World, disk: &SimDisk) -> Vec<String> {
    let now = disk.world();
    let mut files = disk.files();
    files.extend(SimDisk::boot(world.clone()).files());
    files.sort();
    files.dedup_by(|a, b| a.0 == b.0);
    files
        .into_iter()
        .map(|(path, _)| path)
        .filter(|path| world.file_bytes(path) != now.file_bytes(path))
        .collect()
}
