//! The log in each `SyncMode`: what each letter of its alphabet does to it, and what is seen of it then.

mod alphabet;
mod chain;
mod model;
pub(super) mod repair;
pub(super) mod script;
mod starts;
pub(super) mod trials;
mod watched;

use std::time::Duration;

use durable_io::sim::{Outcome, Start, Subject, Survives};
use durable_io::{Disk, SyncMode};
use wal::{Expectation, Lsn, Wal, Watch};

use crashtest::content::{identify, payload};

pub(super) use alphabet::{Alphabet, FAULTED, FAULTED_ENDS, FAULTED_LARGE};
pub(crate) use alphabet::{Op, lengths};
use chain::{begin_chain, go_on_with_chain};
pub(crate) use model::State;

/// Small enough that four operations fill and rotate segments.
pub(crate) const SEGMENT_SIZE: u64 = 2048;
pub(crate) const DIR: &str = "/wal";

/// The log in one [`SyncMode`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct WalSubject {
    pub(crate) mode: SyncMode,
    pub(crate) alphabet: Alphabet,
}

/// What a `Batch` log under test is opened with: the second unsynced write syncs, and so does the next
/// background step after a single one, whose interval is over at once.
pub(crate) const BATCH: SyncMode = SyncMode::Batch {
    writes: 2,
    interval: Duration::ZERO,
};

pub(crate) struct Store {
    pub(crate) disk: Disk,
    pub(crate) subject: WalSubject,
    pub(crate) wal: Option<Wal>,
    /// The last record of each write that the log does not call durable yet.
    pub(crate) unsynced: Vec<Lsn>,
    /// What the next of a chain that this handle has begun is built on.
    pub(crate) chain: Option<Expectation>,
    /// Another process that reads along.
    pub(crate) watch: Option<Watch>,
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

/// What operation `n` writes beside a checkpoint or a truncation: of a length that is never the same twice in
/// a row.
fn note(n: u64) -> Vec<u8> {
    let len = if n.is_multiple_of(2) {
        40
    } else {
        wal::MAX_NOTE_SIZE
    };
    payload(n, 0, len)
}

/// The operation that wrote `note`, if there is one.
fn read_note(note: &[u8]) -> Outcome<Option<u64>> {
    if note.is_empty() {
        return Ok(None);
    }
    let written = identify(note).ok_or("the note holds bytes nobody wrote")?;
    Ok(Some(written.0))
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
        self.alphabet.letters()
    }

    fn starts(&self) -> Vec<Start<Op>> {
        starts::starts(self.alphabet)
    }

    fn empty(&self) -> State {
        State::empty()
    }

    fn open(&self, disk: &Disk) -> Outcome<Store> {
        let wal = self.open_wal(disk)?;
        Ok(Store {
            disk: disk.clone(),
            subject: *self,
            wal: Some(wal),
            unsynced: Vec::new(),
            chain: None,
            watch: None,
        })
    }

    fn apply(&self, store: &mut Store, op: &Op, n: u64) -> Outcome<Survives> {
        let payloads: Vec<Vec<u8>> = lengths(*op)
            .iter()
            .enumerate()
            .map(|(i, len)| payload(n, alphabet::index(*op, i), *len))
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
                watched::watch_on(store)?;
                return store.promise(*op);
            }
            (Op::ChainSecond, [second]) => {
                go_on_with_chain(store, second)?;
                watched::watch_on(store)?;
                return store.promise(*op);
            }
            _ => {}
        }
        let wal = store.wal()?;
        match (op, payloads.as_slice()) {
            (Op::AppendSmall | Op::AppendLarge, [payload]) => {
                wal.append(payload)?;
            }
            (Op::AppendBatch | Op::AppendHuge, payloads) => {
                let payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
                wal.append_batch(&payloads)?;
            }
            (Op::Submit, payloads) => {
                let [lazy, second] = payloads else {
                    return Err("there are two".into());
                };
                let tickets = [wal.submit_lazy(&[lazy])?, wal.submit(&[second])?];
                for ticket in tickets.into_iter().rev() {
                    ticket.wait()?;
                }
            }
            (Op::Rotate, _) => wal.rotate()?,
            (Op::Empty, _) => {
                wal.truncate_before_with(wal.bounds().end, &note(n))?;
                // What the chain is built on stood in the log, and was given up: the log would go on with it.
                store.chain = None;
            }
            (Op::Checkpoint, _) => {
                wal.checkpoint_with(Lsn(wal.bounds().end.0 - 1), &note(n))?;
            }
            // Of an empty log this is below the first record, too.
            (Op::TruncateNewest, _) => {
                wal.truncate_after(Lsn(wal.bounds().end.0.saturating_sub(2)))?;
            }
            (Op::TruncateAll, _) => wal.truncate_after(Lsn(0))?,
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
        if self.alphabet != Alphabet::Log {
            watched::watch_on(store)?;
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
        if self.alphabet == Alphabet::Truncation {
            follow(wal, bounds.start, &records)?;
        }
        Ok(State {
            first: bounds.start.0,
            records,
            durable_in_superblock: wal.recovery().durable_in_superblock.0,
            checkpoint: wal.checkpointed().0,
            note: read_note(&wal.note())?,
        })
    }

    fn model(&self, before: &State, op: &Op, n: u64) -> State {
        before.after(*op, n)
    }

    fn matches(&self, expected: &State, observed: &State) -> bool {
        observed.is(expected)
    }

    fn may_poison(&self, op: &Op) -> bool {
        matches!(op, Op::TruncateNewest | Op::TruncateAll)
    }

    fn continuation(&self, interrupted: &Op) -> Vec<Op> {
        // As much as was lost, so that a left-over of it would fit in its place; then over the border.
        let again = if lengths(*interrupted).is_empty() {
            Op::AppendSmall
        } else {
            *interrupted
        };
        // The preallocated segment of the next segment is made in between.
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
        op.label().to_owned()
    }
}
