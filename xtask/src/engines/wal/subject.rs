//! The log in each `SyncMode`: its alphabet, its starting states and its model.

mod chain;
pub(super) mod repair;
pub(super) mod script;

use std::time::Duration;

use durable_io::sim::{Keep, Outcome, Start, StartStep, Subject, Survives};
use durable_io::{Disk, SyncMode};
use wal::{Expectation, Lsn, Wal};

use crashtest::content::{identify, payload};

use chain::{CHAIN_FIRST, begin_chain, go_on_with_chain};

/// Small enough that four operations fill and rotate segments.
pub(crate) const SEGMENT_SIZE: u64 = 2048;
pub(crate) const DIR: &str = "/wal";

/// The log in one [`SyncMode`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct WalSubject {
    pub(crate) mode: SyncMode,
    pub(crate) alphabet: Alphabet,
}

/// What is done to a log. Two alphabets, since the number of sequences is that of the letters to the
/// power of the length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alphabet {
    /// Writing and giving up the oldest.
    Log,
    /// Giving up the newest, checkpoints, and appends in flight.
    Cut,
}

/// What a `Batch` log under test is opened with: the second unsynced write syncs, and so does the next
/// background step after a single one, whose interval is over at once.
pub(crate) const BATCH: SyncMode = SyncMode::Batch {
    writes: 2,
    interval: Duration::ZERO,
};

/// Everything once: the runs that faults are injected into.
pub(crate) const FAULTED: &[Op] = &[
    Op::AppendSmall,
    Op::AppendLarge,
    Op::AppendBatch,
    Op::Background,
    Op::Rotate,
    Op::AppendSmall,
    Op::Truncate,
    Op::Close,
    Op::AppendSmall,
    Op::Sync,
];
pub(crate) const FAULTED_CUTS: &[Op] = &[
    Op::AppendBatch,
    Op::Checkpoint,
    Op::CutNewest,
    Op::Rotate,
    Op::Submit,
    Op::AppendBatch,
    Op::Close,
    Op::CutNewest,
    Op::CutAll,
    Op::Submit,
    Op::AppendLarge,
    // Does not fit into what is left of the segment, while the one that is built on it does: the disk is
    // full at every size, so also exactly between the two.
    Op::ChainFirst,
    Op::ChainSecond,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// Append 20 bytes.
    AppendSmall,
    /// Append a record over three sectors.
    AppendLarge,
    /// Append two records as one batch, which together span two sectors.
    AppendBatch,
    /// Submit two records, and wait for the second: one group of two appends.
    Submit,
    /// Submit a record over three sectors, for the next letter to be built on.
    ChainFirst,
    /// Append a small record, if what it is built on is there: the last of these.
    ChainSecond,
    Rotate,
    /// Give up every record but the newest.
    Truncate,
    /// Give up every record, from the oldest on.
    Empty,
    /// Mark every record as applied.
    Checkpoint,
    /// Give up the newest record, which may be half a batch or half a group.
    CutNewest,
    /// Give up every record, from the newest on.
    CutAll,
    Sync,
    /// Close; the next operation opens again.
    Close,
    /// One step of background work: making the next segment.
    Background,
}

/// What a user sees of a log: which records are there, by the operation that wrote them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) first: u64,
    /// Operation and index within its batch, from `first` on.
    pub(crate) records: Vec<(u64, usize)>,
    /// At least this much is proven durable by the mark alone.
    pub(crate) marked: u64,
    pub(crate) checkpoint: u64,
}

impl State {
    /// The newest record; the one before the first if there is none.
    fn last(&self) -> u64 {
        self.first + self.records.len() as u64 - 1
    }
}

pub(crate) struct Store {
    pub(crate) disk: Disk,
    pub(crate) subject: WalSubject,
    pub(crate) wal: Option<Wal>,
    /// The last record of each write that the log does not call durable yet.
    pub(crate) unsynced: Vec<Lsn>,
    /// What the next of a chain that this handle has begun is built on.
    pub(crate) chain: Option<Expectation>,
}

impl WalSubject {
    fn open_wal(self, disk: &Disk) -> wal::Result<Wal> {
        // As the simulated disk's are: no crash may look like damage by the stricter rule either.
        let options = repair::options(disk).atomic_sectors(true);
        options.sync(self.mode).open(DIR)
    }
}

impl Store {
    /// The open log; a closed one is opened again.
    fn wal(&mut self) -> Outcome<&Wal> {
        let wal = if let Some(wal) = self.wal.take() {
            wal
        } else {
            self.chain = None;
            self.subject.open_wal(&self.disk)?
        };
        Ok(self.wal.insert(wal))
    }

    /// What the operation just acknowledged is promised: the log's own watermark says so, and every
    /// crash checks whether it speaks the truth. The mode's words bound how far it may lag.
    fn promise(&mut self, op: Op) -> Outcome<Survives> {
        let stats = self.wal()?.stats();
        // What was given up is promised to nobody.
        self.unsynced.retain(|last| *last <= stats.last_lsn);
        if self
            .unsynced
            .last()
            .is_none_or(|last| *last < stats.last_lsn)
        {
            self.unsynced.push(stats.last_lsn);
        }
        self.unsynced.retain(|last| *last > stats.durable_lsn);
        let allowed = match self.subject.mode {
            SyncMode::Always => 0,
            // The interval is over when the background looks.
            SyncMode::Batch { .. } if op == Op::Background => 0,
            SyncMode::Batch { writes, .. } => writes as usize - 1,
            SyncMode::Manual => usize::MAX,
        };
        let unsynced = self.unsynced.len();
        if unsynced > allowed {
            return Err(format!("{unsynced} writes are not durable after {op:?}").into());
        }
        let all = stats.durable_lsn >= stats.last_lsn;
        Ok(if all {
            Survives::PowerLoss
        } else {
            Survives::ProcessDeath
        })
    }
}

/// The records that operation `n` writes: their lengths.
pub(crate) fn lengths(op: Op) -> &'static [usize] {
    match op {
        Op::AppendSmall | Op::ChainSecond => &[20],
        Op::AppendLarge | Op::ChainFirst => &[1100],
        Op::AppendBatch => &[380, 376],
        Op::Submit => &[20, 20],
        _ => &[],
    }
}

/// The index that the `i`th record of an operation carries.
fn index(op: Op, i: usize) -> usize {
    if op == Op::ChainFirst { CHAIN_FIRST } else { i }
}

/// A reader that waits must see the durable ones among `records`, from `first` on, and no other.
fn follow(wal: &Wal, first: Lsn, records: &[(u64, usize)]) -> Outcome<()> {
    let mut follow = wal.follow(Lsn(0));
    let mut seen = Vec::new();
    loop {
        match follow.next(Duration::ZERO) {
            Ok(Some(record)) => seen.extend(identify(&record.payload)),
            // After a failure it says so, when it has given out every durable record.
            Ok(None) | Err(wal::Error::Poisoned { .. }) => break,
            Err(error) => return Err(error.into()),
        }
    }
    let durable = wal.stats().durable_lsn.0 + 1 - first.0;
    if Some(seen.as_slice()) != records.get(..usize::try_from(durable)?) {
        return Err(format!("{durable} records are durable, but {} follow", seen.len()).into());
    }
    Ok(())
}

impl Subject for WalSubject {
    type Op = Op;
    type State = State;
    type Store = Store;

    fn operations(&self) -> Vec<Op> {
        match self.alphabet {
            Alphabet::Log => vec![
                Op::AppendSmall,
                Op::AppendLarge,
                Op::AppendBatch,
                Op::Rotate,
                Op::Truncate,
                Op::Sync,
                Op::Close,
                Op::Background,
            ],
            Alphabet::Cut => vec![
                Op::AppendBatch,
                Op::Submit,
                Op::ChainFirst,
                Op::ChainSecond,
                Op::Rotate,
                Op::Empty,
                Op::Checkpoint,
                Op::CutNewest,
                Op::CutAll,
                Op::Close,
            ],
        }
    }

    fn starts(&self) -> Vec<Start<Op>> {
        use StartStep::{CutDuring, Do};
        if self.alphabet == Alphabet::Cut {
            let scripts: [(_, &[Op]); 4] = [
                ("just checkpointed", &[Op::AppendBatch, Op::Checkpoint]),
                ("truncated to empty", &[Op::AppendBatch, Op::Empty]),
                (
                    "two segments, the newer one cut",
                    &[Op::AppendBatch, Op::Rotate, Op::Submit, Op::CutNewest],
                ),
                (
                    "a segment with records cut off",
                    &[
                        Op::AppendBatch,
                        Op::Rotate,
                        Op::Submit,
                        Op::CutNewest,
                        Op::CutNewest,
                    ],
                ),
            ];
            let start = |(name, ops): (_, &[Op])| Start {
                name,
                script: ops.iter().copied().map(Do).collect(),
            };
            return scripts.into_iter().map(start).collect();
        }
        vec![
            Start {
                name: "two segments, the older one dead",
                script: vec![
                    Do(Op::AppendLarge),
                    Do(Op::Rotate),
                    Do(Op::AppendSmall),
                    Do(Op::Truncate),
                ],
            },
            Start {
                name: "a batch torn at a segment's end",
                script: vec![
                    Do(Op::AppendLarge),
                    CutDuring(Op::AppendBatch, Keep::AllBut(0)),
                ],
            },
            Start {
                name: "after a recovery that cut a tail",
                script: vec![
                    Do(Op::AppendSmall),
                    CutDuring(Op::AppendLarge, Keep::AllBut(1)),
                ],
            },
        ]
    }

    fn empty(&self) -> State {
        State {
            first: 1,
            records: Vec::new(),
            marked: 0,
            checkpoint: 0,
        }
    }

    fn open(&self, disk: &Disk) -> Outcome<Store> {
        let wal = self.open_wal(disk)?;
        Ok(Store {
            disk: disk.clone(),
            subject: *self,
            wal: Some(wal),
            unsynced: Vec::new(),
            chain: None,
        })
    }

    fn apply(&self, store: &mut Store, op: &Op, n: u64) -> Outcome<Survives> {
        let payloads: Vec<Vec<u8>> = lengths(*op)
            .iter()
            .enumerate()
            .map(|(i, len)| payload(n, index(*op, i), *len))
            .collect();
        if *op == Op::Close {
            // The log is opened by whatever comes next, so that a crash can come before.
            if let Some(wal) = store.wal.take() {
                wal.close()?;
            }
            store.unsynced.clear();
            return Ok(Survives::PowerLoss);
        }
        match (op, payloads.as_slice()) {
            (Op::ChainFirst, [first]) => {
                begin_chain(store, first)?;
                return store.promise(*op);
            }
            (Op::ChainSecond, [second]) => {
                go_on_with_chain(store, second)?;
                return store.promise(*op);
            }
            // What a chain was built on may be gone.
            (Op::CutNewest | Op::CutAll, _) => store.chain = None,
            _ => {}
        }
        let wal = store.wal()?;
        match (op, payloads.as_slice()) {
            (Op::AppendSmall | Op::AppendLarge, [payload]) => {
                wal.append(payload)?;
            }
            (Op::AppendBatch, payloads) => {
                let payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
                wal.append_batch(&payloads)?;
            }
            (Op::Submit, payloads) => {
                let submit = |payload: &Vec<u8>| wal.submit(&[payload]);
                let tickets = payloads.iter().map(submit).collect::<Result<Vec<_>, _>>()?;
                for ticket in tickets.into_iter().rev() {
                    ticket.wait()?;
                }
            }
            (Op::Rotate, _) => wal.rotate()?,
            (Op::Empty, _) => wal.truncate_before(wal.bounds().end)?,
            (Op::Checkpoint, _) => wal.checkpoint(Lsn(wal.bounds().end.0 - 1))?,
            // Of an empty log this is below the first record, too.
            (Op::CutNewest, _) => wal.truncate_after(Lsn(wal.bounds().end.0.saturating_sub(2)))?,
            (Op::CutAll, _) => wal.truncate_after(Lsn(0))?,
            (Op::Truncate, _) => wal.truncate_before(Lsn(wal.bounds().end.0 - 1))?,
            (Op::Sync, _) => {
                wal.sync()?;
            }
            (Op::Background, _) => {
                wal.run_background()?;
            }
            (
                Op::AppendSmall | Op::AppendLarge | Op::ChainFirst | Op::ChainSecond | Op::Close,
                _,
            ) => {}
        }
        store.promise(*op)
    }

    fn observe(&self, store: &mut Store) -> Outcome<State> {
        let wal = store.wal()?;
        let bounds = wal.bounds();
        let mut records = Vec::new();
        for record in wal.records(Lsn(0)) {
            let record = record?;
            let expected = bounds.start.0 + records.len() as u64;
            if record.lsn.0 != expected {
                return Err(format!("record {} where {expected} should be", record.lsn.0).into());
            }
            let written = identify(&record.payload)
                .ok_or_else(|| format!("record {expected} holds bytes nobody wrote"))?;
            records.push(written);
        }
        if bounds.end.0 != bounds.start.0 + records.len() as u64 {
            return Err(format!("bounds {bounds:?}, but {} records", records.len()).into());
        }
        if self.alphabet == Alphabet::Cut {
            follow(wal, bounds.start, &records)?;
        }
        Ok(State {
            first: bounds.start.0,
            records,
            marked: wal.recovery().marked.0,
            checkpoint: wal.checkpointed().0,
        })
    }

    fn model(&self, before: &State, op: &Op, n: u64) -> State {
        let mut after = before.clone();
        let is_built_on_nothing = *op == Op::ChainSecond
            && before
                .records
                .last()
                .is_none_or(|(_, index)| *index != CHAIN_FIRST);
        if !is_built_on_nothing {
            let indices = (0..lengths(*op).len()).map(|i| index(*op, i));
            after.records.extend(indices.map(|index| (n, index)));
        }
        match op {
            Op::Truncate if !after.records.is_empty() => {
                after.first += after.records.len() as u64 - 1;
                after.records.drain(..after.records.len() - 1);
            }
            Op::Empty => {
                after.first += after.records.len() as u64;
                after.records.clear();
            }
            Op::Checkpoint => after.checkpoint = after.last(),
            Op::CutNewest | Op::CutAll => {
                let left = if *op == Op::CutAll {
                    0
                } else {
                    after.records.len().saturating_sub(1)
                };
                after.records.truncate(left);
                after.checkpoint = after.checkpoint.min(after.last());
                after.marked = after.marked.min(after.last());
            }
            // A clean close leaves a mark that covers everything.
            Op::Close => after.marked = after.last(),
            _ => {}
        }
        after
    }

    fn matches(&self, expected: &State, observed: &State) -> bool {
        let same = expected.first == observed.first
            && expected.records == observed.records
            && expected.checkpoint == observed.checkpoint;
        same && observed.marked >= expected.marked
    }

    fn may_poison(&self, op: &Op) -> bool {
        matches!(op, Op::CutNewest | Op::CutAll)
    }

    fn continuation(&self, interrupted: &Op) -> Vec<Op> {
        // As much as was lost, so that a left-over of it would fit behind; then over the border.
        let again = if lengths(*interrupted).is_empty() {
            Op::AppendSmall
        } else {
            *interrupted
        };
        // The spare of the next segment is made in between.
        let mut ops = vec![
            again,
            Op::Rotate,
            Op::Background,
            Op::Background,
            Op::AppendSmall,
        ];
        if self.mode != SyncMode::Always {
            ops.push(Op::Sync);
        }
        ops
    }

    fn label(&self, op: &Op) -> String {
        match op {
            Op::AppendSmall | Op::AppendLarge | Op::AppendBatch => "append",
            Op::Submit => "submit",
            Op::ChainFirst | Op::ChainSecond => "chain",
            Op::Rotate => "rotate",
            Op::Truncate | Op::Empty => "truncate",
            Op::Checkpoint => "checkpoint",
            Op::CutNewest | Op::CutAll => "cut",
            Op::Sync => "sync",
            Op::Close => "close",
            Op::Background => "background",
        }
        .to_owned()
    }
}
