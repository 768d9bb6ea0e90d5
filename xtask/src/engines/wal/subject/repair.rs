//! A log that is damaged on purpose, and repaired: the repair must survive every crash too.

use durable_io::sim::{Outcome, Start, StartStep, Subject, Survives};
use durable_io::{Background, Dir, Disk, SyncMode};

use super::{Alphabet, DIR, Op as LogOp, SEGMENT_SIZE, State, Store, WalSubject, lengths};
use crashtest::content::payload;

/// The log in `SyncMode::Always`, verified when it is opened, and repaired if it is damaged. What a mere crash left must
/// open without: a state's `durable_in_superblock` tells whether a repair was needed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RepairSubject;

const LOG: WalSubject = WalSubject {
    mode: SyncMode::Always,
    alphabet: Alphabet::Log,
};

/// Bytes that [`Op::ShortenOldest`] takes.
const SHORTENED_BY: u64 = 512;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Log(LogOp),
    /// The process dies, a byte of the newest record changes, and the log is repaired.
    DamageNewest,
    /// The same in the oldest record: all of them are lost.
    DamageOldest,
    /// The same in the header of the oldest segment: the log must begin anew in another one.
    DamageHeader,
    /// The process dies, the oldest segment loses its last bytes, and the log is repaired: nothing
    /// is lost.
    ShortenOldest,
}

pub(super) fn options(disk: &Disk) -> wal::Options {
    wal::Options::new()
        .segment_size(SEGMENT_SIZE)
        .zero_step(SEGMENT_SIZE / 2)
        .background(Background::Inline)
        .disk(disk.clone())
}

fn open(disk: &Disk) -> Outcome<(Store, bool)> {
    let whole = options(disk)
        .open(DIR)
        .and_then(|wal| wal.verify().map(|_| wal));
    match whole {
        Ok(wal) => Ok((store(disk, wal), false)),
        Err(wal::Error::Corrupt { .. }) => Ok((store(disk, options(disk).repair(DIR)?), true)),
        Err(error) => Err(error.into()),
    }
}

fn store(disk: &Disk, wal: wal::Wal) -> Store {
    Store {
        disk: disk.clone(),
        subject: LOG,
        wal: Some(wal),
        unsynced: Vec::new(),
        chain: None,
        watch: None,
    }
}

/// Changes, durably, the oldest segment in which `find` finds something: the byte there, or the
/// length if that is beyond.
fn damage(disk: &Disk, find: impl Fn(&[u8]) -> Option<usize>) -> Outcome<()> {
    let dir = disk.open_dir(DIR)?;
    for name in segments(&dir)? {
        let file = dir.open(&name)?;
        let mut bytes = vec![0; usize::try_from(file.len()?)?];
        let read = file.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        let Some(at) = find(&bytes) else { continue };
        // In one step each, as far as that goes: damage of a disk is not taken back by a power loss.
        if let Some(byte) = bytes.get(at) {
            drop(file.write_durable_at(&[byte ^ 1], at as u64)?);
        } else {
            file.set_len(bytes.len() as u64 - SHORTENED_BY)?;
            drop(file.sync_data()?);
        }
        return Ok(());
    }
    Ok(())
}

/// The names of the segments, oldest first.
fn segments(dir: &Dir) -> Outcome<Vec<String>> {
    let mut names: Vec<String> = dir.list()?.into_iter().map(|entry| entry.name).collect();
    names.retain(|name| name.strip_suffix(".wal").is_some());
    names.sort_unstable();
    Ok(names)
}

/// Where the record is that operation `n` wrote.
fn position(bytes: &[u8], n: u64) -> Option<usize> {
    let lengths = [LogOp::AppendSmall, LogOp::AppendLarge].map(lengths);
    let starts = lengths.concat().into_iter().filter_map(|len| {
        let record = payload(n, 0, len);
        bytes
            .windows(len)
            .position(|window| window == record.as_slice())
    });
    starts.min()
}

impl Subject for RepairSubject {
    type Op = Op;
    type State = State;
    /// The log, and whether it was repaired when it was last opened.
    type Store = (Store, bool);

    fn operations(&self) -> Vec<Op> {
        vec![
            Op::Log(LogOp::AppendSmall),
            Op::Log(LogOp::AppendLarge),
            Op::Log(LogOp::Rotate),
            Op::Log(LogOp::Truncate),
            Op::DamageNewest,
            Op::DamageOldest,
            Op::DamageHeader,
            Op::ShortenOldest,
        ]
    }

    fn starts(&self) -> Vec<Start<Op>> {
        let ops = [LogOp::AppendLarge, LogOp::Rotate, LogOp::AppendSmall];
        vec![Start {
            name: "two segments",
            script: ops.map(|op| StartStep::Do(Op::Log(op))).into(),
        }]
    }

    fn empty(&self) -> State {
        LOG.empty()
    }

    fn open(&self, disk: &Disk) -> Outcome<Self::Store> {
        open(disk)
    }

    fn apply(&self, (store, repaired): &mut Self::Store, op: &Op, n: u64) -> Outcome<Survives> {
        if let Op::Log(op) = op {
            *repaired = false;
            return LOG.apply(store, op, n);
        }
        let records = LOG.observe(store)?.records;
        store.wal = None;
        let record = match op {
            Op::DamageNewest => records.last(),
            _ => records.first(),
        };
        match (op, record) {
            (Op::DamageHeader, _) => damage(&store.disk, |_| Some(16))?,
            (Op::ShortenOldest, _) => damage(&store.disk, |bytes| Some(bytes.len()))?,
            (_, Some((written_by, _))) => {
                damage(&store.disk, |bytes| position(bytes, *written_by))?;
            }
            (_, None) => {}
        }
        (*store, *repaired) = open(&store.disk)?;
        Ok(Survives::PowerLoss)
    }

    fn observe(&self, (store, repaired): &mut Self::Store) -> Outcome<State> {
        let durable_in_superblock = u64::from(*repaired);
        Ok(State {
            durable_in_superblock,
            ..LOG.observe(store)?
        })
    }

    fn model(&self, before: &State, op: &Op, n: u64) -> State {
        if let Op::Log(op) = op {
            let after = LOG.model(before, op, n);
            return State {
                durable_in_superblock: 0,
                ..after
            };
        }
        // From here on, and until something else is done, a repair may be needed.
        let mut after = before.clone();
        after.durable_in_superblock = 1;
        match op {
            Op::Log(_) | Op::ShortenOldest => {}
            Op::DamageNewest => drop(after.records.pop()),
            Op::DamageOldest | Op::DamageHeader => after.records.clear(),
        }
        after
    }

    fn matches(&self, expected: &State, observed: &State) -> bool {
        let same = expected.first == observed.first && expected.records == observed.records;
        same && observed.durable_in_superblock <= expected.durable_in_superblock
    }

    fn continuation(&self, interrupted: &Op) -> Vec<Op> {
        let again = match interrupted {
            Op::Log(op) if !lengths(*op).is_empty() => *op,
            _ => LogOp::AppendSmall,
        };
        [again, LogOp::Rotate, LogOp::AppendSmall]
            .map(Op::Log)
            .into()
    }

    fn label(&self, op: &Op) -> String {
        match op {
            Op::Log(op) => LOG.label(op),
            Op::DamageNewest | Op::DamageOldest | Op::DamageHeader | Op::ShortenOldest => {
                "repair".to_owned()
            }
        }
    }
}
