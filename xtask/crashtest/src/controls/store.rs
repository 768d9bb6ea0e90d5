//! The store of the control engines: an append-only list of values in a snapshot and a log, correct
//! or with one planted bug.
//!
//! `snapshot` holds the values up to the last checkpoint and the number of the live log; `log-N`
//! holds the values since. A log's number is never used twice for a log that held anything.

use std::path::Path;

use durable_io::checksum::{Place, checksum, checksum_at};
use durable_io::codec::{Decoder, Encoder};
use durable_io::sim::Outcome;
use durable_io::{Dir, Disk, File};

const SNAPSHOT: &str = "snapshot";
const TEMP: &str = "snapshot.tmp";

/// One planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Nothing is ever synced.
    SyncNothing,
    /// Files are synced, their names are not.
    NeverSyncDirectory,
    /// The snapshot gets its name first and is synced then.
    RenameBeforeSync,
    /// `append` returns after the write; the next one syncs.
    AcknowledgeBeforeSync,
    /// `open` leaves the torn tail of the log where it is and appends after it.
    TornTailStands,
    /// `checkpoint` empties the one log and writes it anew.
    TruncateInPlace,
    /// Replay believes a record's length and does not look at its checksum.
    ReplayByLength,
}

impl Flaw {
    pub(crate) const ALL: [Self; 7] = [
        Self::SyncNothing,
        Self::NeverSyncDirectory,
        Self::RenameBeforeSync,
        Self::AcknowledgeBeforeSync,
        Self::TornTailStands,
        Self::TruncateInPlace,
        Self::ReplayByLength,
    ];

    /// The engine's short name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SyncNothing => "ctl-nosync",
            Self::NeverSyncDirectory => "ctl-nodirsync",
            Self::RenameBeforeSync => "ctl-nosnapsync",
            Self::AcknowledgeBeforeSync => "ctl-earlyack",
            Self::TornTailStands => "ctl-torntail",
            Self::TruncateInPlace => "ctl-inplace",
            Self::ReplayByLength => "ctl-bylength",
        }
    }

    /// "The control engine …".
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::SyncNothing => "that never syncs",
            Self::NeverSyncDirectory => "that never syncs a directory",
            Self::RenameBeforeSync => "that renames a file before it syncs it",
            Self::AcknowledgeBeforeSync => "that acknowledges before it syncs",
            Self::TornTailStands => "that appends after a torn tail",
            Self::TruncateInPlace => "that rewrites its log in place",
            Self::ReplayByLength => "that replays records by their length alone",
        }
    }
}

/// The store's directory. Every barrier goes through it, so that a flaw can leave it out.
struct Home {
    dir: Dir,
    flaw: Option<Flaw>,
}

impl Home {
    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    #[track_caller]
    fn sync_file(&self, file: &File) -> Outcome<()> {
        if !self.has(Flaw::SyncNothing) {
            drop(file.sync_data()?);
        }
        Ok(())
    }

    #[track_caller]
    fn sync_names(&self) -> Outcome<()> {
        if !self.has(Flaw::SyncNothing) && !self.has(Flaw::NeverSyncDirectory) {
            self.dir.sync()?;
        }
        Ok(())
    }

    /// Makes the empty log `number`. It has no bytes, so its name is all that must be durable.
    fn create_log(&self, number: u64) -> Outcome<File> {
        let log = self.dir.create_new(&log_name(number))?;
        // Durable: the log's name. Only now may a snapshot name it.
        self.sync_names()?;
        Ok(log)
    }

    fn replace_snapshot(&self, log: u64, values: &[Vec<u8>]) -> Outcome<()> {
        let temp = self.dir.create_new(TEMP)?;
        temp.write_all_at(&encode_snapshot(log, values), 0)?;
        if self.has(Flaw::RenameBeforeSync) {
            self.dir.rename(TEMP, SNAPSHOT)?;
            self.sync_file(&temp)?;
        } else {
            // Durable: the snapshot's bytes. Only now may its name point at them.
            self.sync_file(&temp)?;
            self.dir.rename(TEMP, SNAPSHOT)?;
        }
        // Durable: the snapshot's name. Only now may the log before it go, or a new one be used.
        self.sync_names()
    }

    /// Removes every file but `kept`. A removal that a crash takes back is done again by the next
    /// open, so it need not be durable.
    fn remove_others(&self, kept: &[&str]) -> Outcome<()> {
        for entry in self.dir.list()? {
            if !kept.contains(&entry.name.as_str()) {
                self.dir.remove(&entry.name)?;
            }
        }
        Ok(())
    }
}

/// The open store.
pub(crate) struct Store {
    home: Home,
    /// The number of the live log.
    number: u64,
    log: File,
    /// Where the next record goes.
    end: u64,
    values: Vec<Vec<u8>>,
}

impl Store {
    /// Opens the store in the directory `path`, or creates it.
    pub(crate) fn open(disk: &Disk, path: &Path, flaw: Option<Flaw>) -> Outcome<Self> {
        let dir = disk.create_dir(path)?;
        let home = Home { dir, flaw };
        // Durable: the names as they are, since a process that died may not have synced the last
        // ones. Only now may anything be answered from the files after them.
        home.sync_names()?;
        match home.dir.open(SNAPSHOT) {
            Ok(snapshot) => Self::recover(home, &snapshot),
            Err(error) if error.is_not_found() => Self::create(home),
            Err(error) => Err(error.into()),
        }
    }

    fn create(home: Home) -> Outcome<Self> {
        home.remove_others(&[])?;
        let log = home.create_log(0)?;
        // The snapshot comes last: where it is, the store is complete.
        home.replace_snapshot(0, &[])?;
        Ok(Self {
            home,
            number: 0,
            log,
            end: 0,
            values: Vec::new(),
        })
    }

    fn recover(home: Home, snapshot: &File) -> Outcome<Self> {
        let (number, mut values) =
            decode_snapshot(&read(snapshot)?).ok_or("the snapshot is damaged")?;
        let log = home.dir.open(&log_name(number))?;
        let bytes = read(&log)?;
        let len = bytes.len() as u64;
        let checks = !home.has(Flaw::ReplayByLength);
        let mut end = 0;
        while let Some(value) = decode_record(&bytes, number, end, checks) {
            end += record_len(value);
            values.push(value.to_vec());
        }
        if home.has(Flaw::TornTailStands) {
            end = len;
        } else if end < len {
            log.set_len(end)?;
        }
        // Written again: if a sync of the last process failed, the page cache shows records that are
        // clean and not on the disk, which no other sync would bring there.
        let kept = usize::try_from(end)?.min(bytes.len());
        let (kept, _) = bytes.split_at(kept);
        log.write_all_at(kept, 0)?;
        // Durable: the truncation, and the records, since a process that died may not have synced the last
        // one. Only now may they be answered, and new ones appended.
        home.sync_file(&log)?;
        home.remove_others(&[SNAPSHOT, &log_name(number)])?;
        Ok(Self {
            home,
            number,
            log,
            end,
            values,
        })
    }

    pub(crate) fn values(&self) -> &[Vec<u8>] {
        &self.values
    }

    pub(crate) fn append(&mut self, value: Vec<u8>) -> Outcome<()> {
        let record = encode_record(self.number, self.end, &value);
        if self.home.has(Flaw::AcknowledgeBeforeSync) {
            self.home.sync_file(&self.log)?;
            self.log.write_all_at(&record, self.end)?;
        } else {
            self.log.write_all_at(&record, self.end)?;
            // Durable: the record. Only now may it be acknowledged.
            self.home.sync_file(&self.log)?;
        }
        self.end += record.len() as u64;
        self.values.push(value);
        Ok(())
    }

    /// Moves every value to the snapshot and begins a new log.
    pub(crate) fn checkpoint(&mut self) -> Outcome<()> {
        if self.home.has(Flaw::TruncateInPlace) {
            return self.rewrite_log();
        }
        let old = log_name(self.number);
        let log = self.home.create_log(self.number + 1)?;
        self.home.replace_snapshot(self.number + 1, &self.values)?;
        self.home.dir.remove(&old)?;
        self.number += 1;
        self.log = log;
        self.end = 0;
        Ok(())
    }

    /// What [`Flaw::TruncateInPlace`] takes for a checkpoint.
    fn rewrite_log(&mut self) -> Outcome<()> {
        self.log.set_len(0)?;
        let mut bytes = Vec::new();
        for value in &self.values {
            let at = bytes.len() as u64;
            bytes.extend(encode_record(self.number, at, value));
        }
        self.log.write_all_at(&bytes, 0)?;
        self.end = bytes.len() as u64;
        self.home.sync_file(&self.log)
    }
}

fn log_name(number: u64) -> String {
    format!("log-{number}")
}

fn read(file: &File) -> Outcome<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(file.len()?)?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Length and checksum.
const HEADER: usize = 12;

fn record_len(value: &[u8]) -> u64 {
    (HEADER + value.len()) as u64
}

/// A checksum of a log's number, the offset, the length, and the value.
fn record_checksum(number: u64, offset: u64, value: &[u8]) -> u32 {
    let mut covered = Encoder::with_capacity(8 + value.len());
    covered.u64(value.len() as u64).bytes(value);
    let place = Place {
        id: 0,
        number,
        offset,
    };
    checksum_at(place, covered.as_slice())
}

fn encode_record(number: u64, offset: u64, value: &[u8]) -> Vec<u8> {
    let mut record = Encoder::with_capacity(HEADER + value.len());
    record
        .u64(value.len() as u64)
        .u32(record_checksum(number, offset, value))
        .bytes(value);
    record.into_vec()
}

/// The value of the record at `offset`; `None` where the log ends or is torn.
fn decode_record(log: &[u8], number: u64, offset: u64, checks: bool) -> Option<&[u8]> {
    let mut decoder = Decoder::new(log.get(usize::try_from(offset).ok()?..)?);
    let len = usize::try_from(decoder.u64()?).ok()?;
    let sum = decoder.u32()?;
    let value = decoder.bytes(len)?;
    // No value is empty: a length of 0 is where nothing was ever written.
    let holds = len > 0 && (!checks || sum == record_checksum(number, offset, value));
    holds.then_some(value)
}

fn encode_snapshot(log: u64, values: &[Vec<u8>]) -> Vec<u8> {
    let mut snapshot = Encoder::default();
    snapshot.u64(log).u64(values.len() as u64);
    for value in values {
        snapshot.u64(value.len() as u64).bytes(value);
    }
    let sum = checksum(snapshot.as_slice());
    snapshot.u32(sum);
    snapshot.into_vec()
}

/// The number of the live log and the values; `None` if the checksum does not hold.
fn decode_snapshot(bytes: &[u8]) -> Option<(u64, Vec<Vec<u8>>)> {
    let (body, sum) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
    if Decoder::new(sum).u32()? != checksum(body) {
        return None;
    }
    let mut decoder = Decoder::new(body);
    let log = decoder.u64()?;
    let count = decoder.u64()?;
    let mut values = Vec::new();
    for _ in 0..count {
        let len = usize::try_from(decoder.u64()?).ok()?;
        values.push(decoder.bytes(len)?.to_vec());
    }
    Some((log, values))
}
