//! A log that is damaged on purpose, and repaired: the repair must survive every crash too.

use durable_io::codec::Decoder;
use durable_io::sim::{Outcome, Start, StartStep, Subject, Survives};
use durable_io::{Background, Dir, Disk, SyncMode};

use super::subject::{DIR, Op as LogOp, SEGMENT_SIZE, State, Store, WalSubject, lengths, payload};

/// The log in `SyncMode::Always`, always opened by `Options::repair`, which must leave alone what a
/// mere crash left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RepairSubject;

const LOG: WalSubject = WalSubject {
    mode: SyncMode::Always,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Log(LogOp),
    /// The process dies, a byte of the newest record changes, and the log is repaired.
    DamageNewest,
    /// The same in the oldest record: all of them are lost.
    DamageOldest,
    /// The same in the header of the oldest segment: the log must begin anew in another one.
    DamageHeader,
}

fn repair(disk: &Disk) -> Outcome<Store> {
    let wal = wal::Options::new()
        .segment_size(SEGMENT_SIZE)
        .background(Background::Inline)
        .disk(disk.clone())
        .repair(DIR)?;
    Ok(Store {
        disk: disk.clone(),
        mode: LOG.mode,
        wal: Some(wal),
        unsynced: Vec::new(),
    })
}

/// Changes one byte of the file in the log's directory at which `find` points, durably.
fn damage(disk: &Disk, find: impl Fn(&[u8]) -> Option<usize>) -> Outcome<()> {
    let dir = disk.open_dir(DIR)?;
    for name in segments(&dir)? {
        let file = dir.open(&name)?;
        let mut bytes = vec![0; usize::try_from(file.len()?)?];
        let read = file.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        let Some(at) = find(&bytes) else { continue };
        let changed = bytes.get(at).map_or(0, |byte| byte ^ 1);
        file.write_all_at(&[changed], at as u64)?;
        drop(file.sync_data()?);
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
    let mut windows = bytes.windows(16);
    windows.position(|window| {
        let mut decoder = Decoder::new(window);
        let head = (decoder.u64(), decoder.u32(), decoder.u32());
        matches!(head, (Some(found), Some(0), Some(len))
            if found == n && window == payload(n, 0, len as usize).get(..16).unwrap_or_default()
                && matches!(len, 20 | 1100))
    })
}

impl Subject for RepairSubject {
    type Op = Op;
    type State = State;
    type Store = Store;

    fn operations(&self) -> Vec<Op> {
        vec![
            Op::Log(LogOp::AppendSmall),
            Op::Log(LogOp::AppendLarge),
            Op::Log(LogOp::Rotate),
            Op::Log(LogOp::Truncate),
            Op::DamageNewest,
            Op::DamageOldest,
            Op::DamageHeader,
        ]
    }

    fn starts(&self) -> Vec<Start<Op>> {
        let ops = [
            LogOp::AppendSmall,
            LogOp::Rotate,
            LogOp::AppendLarge,
            LogOp::Rotate,
            LogOp::AppendSmall,
        ];
        vec![Start {
            name: "three segments",
            script: ops.map(|op| StartStep::Do(Op::Log(op))).into(),
        }]
    }

    fn empty(&self) -> State {
        LOG.empty()
    }

    fn open(&self, disk: &Disk) -> Outcome<Store> {
        repair(disk)
    }

    fn apply(&self, store: &mut Store, op: &Op, n: u64) -> Outcome<Survives> {
        if let Op::Log(op) = op {
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
            (_, Some((written_by, _))) => {
                damage(&store.disk, |bytes| position(bytes, *written_by))?;
            }
            (_, None) => {}
        }
        *store = repair(&store.disk)?;
        Ok(Survives::PowerLoss)
    }

    fn observe(&self, store: &mut Store) -> Outcome<State> {
        LOG.observe(store)
    }

    fn model(&self, before: &State, op: &Op, n: u64) -> State {
        let mut after = before.clone();
        match op {
            Op::Log(op) => return LOG.model(before, op, n),
            Op::DamageNewest => drop(after.records.pop()),
            Op::DamageOldest | Op::DamageHeader => after.records.clear(),
        }
        after
    }

    fn matches(&self, expected: &State, observed: &State) -> bool {
        // What a repair drops, the mark has to give up too.
        expected.first == observed.first && expected.records == observed.records
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
            Op::DamageNewest | Op::DamageOldest | Op::DamageHeader => "repair".to_owned(),
        }
    }
}
