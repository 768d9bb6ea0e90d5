//! A toy store: a log of records in one file. It is right as [`LogSubject::new`] makes it, and wrong
//! in one way for each of the other values of its fields.

use std::error::Error;

use durable_io::checksum::{Place, checksum_at};
use durable_io::sim::{Outcome, Subject, Survives};
use durable_io::{Barrier, Dir, Disk, File, GroupCommit, Result, Site};

/// A record spans two sectors, and shares one of them with the next.
pub const RECORD: usize = 600;

/// What an append does after it has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Append {
    /// Sync.
    Syncs,
    /// Nothing.
    DoesNotSync,
    /// Sync, but not from the fourth record on.
    ForgetsFromTheFourth,
    /// Sync, but not after each fourth record.
    ForgetsEachFourth,
    /// Sync twice: either alone would do.
    SyncsTwice,
    /// Sync before it writes, which is of no use, and after.
    SyncsBeforeAndAfter,
    /// Sync, and do as if it had succeeded.
    SwallowsErrors,
    /// Sync the file and the directory.
    SyncsNames,
    /// Write with `write_durable_at` instead.
    WritesDurably,
    /// Write and sync as a group of one.
    Groups,
}

/// What opening does with bytes after the last whole record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// Cut them off.
    Truncate,
    /// Refuse to open.
    Refused,
    /// Leave them where they are, and append after them.
    Left,
    /// Remove the file and write it anew.
    Rewritten,
    /// The same after the last barrier, so that the next append makes it durable.
    RewrittenLast,
}

/// What opening does with the records it found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// Write them once more (after a failed sync the page cache may be all that holds them, and take
    /// them for clean), and sync them.
    WritesAgainAndSyncs,
    /// Sync them.
    Syncs,
    /// Nothing.
    Believes,
    /// The right thing, and another file each time.
    LeavesTraces,
}

/// The store under judgement.
#[derive(Clone, Copy, Debug)]
pub struct LogSubject {
    pub append: Append,
    pub tail: Tail,
    pub recovery: Recovery,
    /// What an acknowledged append is promised to survive.
    pub survives: Survives,
}

/// The only operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendOne;

/// The barriers by name.
pub fn site(step: &'static str) -> Site {
    Site {
        file: file!(),
        line: 1,
        column: 1,
        barrier: if step == "open names" {
            Barrier::Dir
        } else {
            Barrier::Data
        },
        step,
    }
}

impl LogSubject {
    /// The one that keeps every promise.
    pub fn new() -> Self {
        Self {
            append: Append::Syncs,
            tail: Tail::Truncate,
            recovery: Recovery::WritesAgainAndSyncs,
            survives: Survives::PowerLoss,
        }
    }

    /// The right one but for how it appends.
    pub fn appending(append: Append) -> Self {
        Self {
            append,
            ..Self::new()
        }
    }

    /// The right one but for what it does with what it finds.
    pub fn recovering(recovery: Recovery) -> Self {
        Self {
            recovery,
            ..Self::new()
        }
    }

    /// The right one but for what it does with a torn tail.
    pub fn with_tail(tail: Tail) -> Self {
        Self {
            tail,
            ..Self::new()
        }
    }
}

pub struct Log {
    dir: Dir,
    file: File,
    end: u64,
    records: Vec<u64>,
    queue: GroupCommit<Vec<u8>, Result<()>>,
}

fn record(n: u64, offset: u64) -> Vec<u8> {
    let mut bytes = n.to_le_bytes().to_vec();
    bytes.resize(RECORD - 4, b'a' + u8::try_from(n % 26).unwrap());
    bytes.extend(sum(&bytes, offset).to_le_bytes());
    bytes
}

fn sum(bytes: &[u8], offset: u64) -> u32 {
    let place = Place {
        id: 0,
        number: 0,
        offset,
    };
    checksum_at(place, bytes)
}

/// The numbers of the whole records from the start on.
fn parse(bytes: &[u8]) -> Vec<u64> {
    let mut records = Vec::new();
    for (nth, bytes) in bytes.chunks_exact(RECORD).enumerate() {
        let (body, check) = bytes.split_last_chunk().unwrap();
        if u32::from_le_bytes(*check) != sum(body, (nth * RECORD) as u64) {
            break;
        }
        records.push(u64::from_le_bytes(*body.first_chunk().unwrap()));
    }
    records
}

fn read(file: &File) -> Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(file.len()?).unwrap()];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

impl LogSubject {
    fn open(self, disk: &Disk) -> std::result::Result<Log, Box<dyn Error + Send + Sync>> {
        let dir = disk.create_dir("/store")?;
        let mut file = match dir.open("log") {
            Err(error) if error.is_not_found() => dir.create_new("log")?,
            other => other?,
        };
        let bytes = read(&file)?;
        let records = parse(&bytes);
        let mut end = (records.len() * RECORD) as u64;
        if bytes.len() as u64 > end {
            match self.tail {
                Tail::Truncate => file.set_len(end)?,
                Tail::Refused => return Err("a torn tail".into()),
                Tail::Left => end = bytes.len() as u64,
                Tail::Rewritten => {
                    dir.remove("log")?;
                    dir.sync()?;
                    file = dir.create_new("log")?;
                    write_records(&file, &records)?;
                }
                Tail::RewrittenLast => {}
            }
        }
        if !matches!(self.recovery, Recovery::Syncs | Recovery::Believes) {
            write_records(&file, &records)?;
        }
        if self.recovery != Recovery::Believes {
            drop(file.sync_data_at(site("open file"))?);
        }
        dir.sync_at(site("open names"))?;
        if self.tail == Tail::RewrittenLast && bytes.len() as u64 > end {
            dir.remove("log")?;
            file = dir.create_new("log")?;
            write_records(&file, &records)?;
        }
        if self.recovery == Recovery::LeavesTraces {
            let nth = dir.list()?.len();
            dir.create_new(&format!("opened {nth}"))?;
        }
        Ok(Log {
            dir,
            file,
            end,
            records,
            queue: GroupCommit::new(),
        })
    }
}

fn write_records(file: &File, records: &[u64]) -> Result<()> {
    for (nth, n) in records.iter().enumerate() {
        let offset = (nth * RECORD) as u64;
        file.write_all_at(&record(*n, offset), offset)?;
    }
    Ok(())
}

impl Log {
    fn append(&mut self, how: Append, n: u64) -> Result<()> {
        let bytes = record(n, self.end);
        // A full disk is met here.
        self.file.allocate(self.end, RECORD as u64)?;
        if how == Append::SyncsBeforeAndAfter {
            drop(self.file.sync_data_at(site("before"))?);
        }
        let (file, end, queue) = (&self.file, self.end, &self.queue);
        match how {
            Append::WritesDurably => drop(file.write_durable_at(&bytes, end)?),
            Append::Groups => {
                let lead = |items: &mut [Vec<u8>]| {
                    file.write_all_at(&items.concat(), end)?;
                    file.sync_data_at(queue.site()).map(drop)
                };
                queue.commit(bytes, lead).0?;
            }
            _ => file.write_all_at(&bytes, end)?,
        }
        match how {
            Append::DoesNotSync | Append::WritesDurably | Append::Groups => {}
            Append::ForgetsFromTheFourth if self.records.len() >= 3 => {}
            Append::ForgetsEachFourth if self.records.len() % 4 == 3 => {}
            Append::SwallowsErrors => drop(file.sync_data_at(site("append"))),
            _ => drop(file.sync_data_at(site("append"))?),
        }
        match how {
            Append::SyncsTwice => drop(file.sync_data_at(site("again"))?),
            Append::SyncsNames => self.dir.sync()?,
            _ => {}
        }
        self.end += RECORD as u64;
        self.records.push(n);
        Ok(())
    }

    /// What the file holds of what was appended.
    fn observe(&self) -> Result<Vec<u64>> {
        if self.end != (self.records.len() * RECORD) as u64 {
            // Appended after a torn tail: only this process knows where.
            return Ok(self.records.clone());
        }
        let mut bytes = read(&self.file)?;
        bytes.truncate(usize::try_from(self.end).unwrap());
        Ok(parse(&bytes))
    }
}

impl Subject for LogSubject {
    type Op = AppendOne;
    type State = Vec<u64>;
    type Store = Log;

    fn operations(&self) -> Vec<AppendOne> {
        vec![AppendOne]
    }

    fn empty(&self) -> Vec<u64> {
        Vec::new()
    }

    fn open(&self, disk: &Disk) -> Outcome<Log> {
        Self::open(*self, disk)
    }

    fn apply(&self, store: &mut Log, _op: &AppendOne, n: u64) -> Outcome<Survives> {
        store.append(self.append, n)?;
        Ok(self.survives)
    }

    fn observe(&self, store: &mut Log) -> Outcome<Vec<u64>> {
        Ok(store.observe()?)
    }

    fn model(&self, before: &Vec<u64>, _op: &AppendOne, n: u64) -> Vec<u64> {
        [before.as_slice(), &[n]].concat()
    }
}
