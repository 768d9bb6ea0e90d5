//! The control engines: a harness that misses a planted bug, or accuses the correct engine, is
//! broken, whatever it says of the others.

pub(crate) mod key_value;
mod store;

use std::path::Path;

use durable_io::Disk;
use durable_io::sim::{
    Bound, Counterexample, Explorer, Keep, Outcome, Start, StartStep, Subject, Survives,
};

use crate::Context;
use crate::progress::Progress;
use crate::report::Controls;
pub(crate) use store::Flaw;
use store::Store;

/// Where the store is on the simulated disk.
const DIR: &str = "/control";
/// Every sequence of up to this many operations is tried on each engine.
const LENGTH: usize = 3;
const FULL_LENGTH: usize = 4;

/// Judges the correct engine and every planted one.
pub(crate) fn run(context: &Context<'_>) -> Controls {
    let length = if context.full { FULL_LENGTH } else { LENGTH };
    let engines = [None].into_iter().chain(Flaw::ALL.map(Some));
    let progress = Progress::new("controls", Some(engines.clone().count() as u64));
    let mut controls = Controls::default();
    for flaw in engines {
        let finding = wrong(flaw, length);
        controls.judged += 1;
        controls.wrong += u64::from(finding.is_some());
        controls.findings.extend(finding);
        progress.inc(1);
    }
    progress.finish(&controls.summary());
    controls
}

/// What is wrong with the judgement of the engine with `flaw`, if anything is.
fn wrong(flaw: Option<Flaw>, length: usize) -> Option<String> {
    match (flaw, counterexample(Control::new(flaw), &bound(length))) {
        (Some(flaw), None) => Some(format!(
            "the control engine {} was not caught within {length} operations",
            flaw.words()
        )),
        (None, Some(example)) => Some(format!(
            "the correct control engine was accused:\n{example}"
        )),
        (Some(_), Some(_)) | (None, None) => None,
    }
}

/// On one thread: on more, whoever is faster decides which of two crashes is shown.
fn bound(length: usize) -> Bound {
    Bound {
        threads: 1,
        ..Bound::of_length(length)
    }
}

fn counterexample(control: Control, bound: &Bound) -> Option<Counterexample> {
    let found = Explorer::new(&control).explore(bound, &|_counts| {});
    found.counterexample
}

/// The control engine, correct or with one planted bug.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Control {
    flaw: Option<Flaw>,
    /// Whether the store is used after each recovery. If not, what the crash itself leaves must
    /// show the bug.
    goes_on: bool,
}

impl Control {
    /// The control engine with `flaw`.
    pub(crate) fn new(flaw: Option<Flaw>) -> Self {
        Self {
            flaw,
            goes_on: true,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// Append 20 bytes.
    AppendSmall,
    /// Append a value over two sectors or three.
    AppendLarge,
    Checkpoint,
    /// Close and open again.
    Reopen,
}

impl Op {
    /// How many bytes it appends.
    fn size(self) -> Option<usize> {
        match self {
            Self::AppendSmall => Some(20),
            Self::AppendLarge => Some(700),
            Self::Checkpoint | Self::Reopen => None,
        }
    }
}

/// The operation that wrote a value, and its size.
type Written = (u64, usize);

/// An open store, and the disk to open it on again.
pub(crate) struct Opened {
    disk: Disk,
    store: Store,
}

/// A value's bytes: the operation's number, then a pattern of number and size.
fn value((n, size): Written) -> Vec<u8> {
    let mut bytes = n.to_le_bytes().to_vec();
    let mut word = n.wrapping_mul(31).wrapping_add(size as u64) | 1;
    while bytes.len() < size {
        word = word.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(17) | 1;
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// What wrote `bytes`, if these are exactly what it wrote.
fn identify(bytes: &[u8]) -> Option<Written> {
    let n = durable_io::codec::Decoder::new(bytes).u64()?;
    let written = (n, bytes.len());
    (value(written) == bytes).then_some(written)
}

impl Subject for Control {
    type Op = Op;
    type State = Vec<Written>;
    type Store = Opened;

    fn operations(&self) -> Vec<Op> {
        vec![Op::AppendSmall, Op::AppendLarge, Op::Checkpoint, Op::Reopen]
    }

    fn starts(&self) -> Vec<Start<Op>> {
        use StartStep::{CrashDuring, Do};
        vec![
            Start {
                name: "after a checkpoint",
                script: vec![Do(Op::AppendLarge), Do(Op::Checkpoint)],
            },
            Start {
                name: "after a recovery that met a torn tail",
                script: vec![
                    Do(Op::AppendSmall),
                    // All but the last sector of the record.
                    CrashDuring(Op::AppendLarge, Keep::AllBut(2)),
                ],
            },
        ]
    }

    fn empty(&self) -> Vec<Written> {
        Vec::new()
    }

    fn open(&self, disk: &Disk) -> Outcome<Opened> {
        let store = Store::open(disk, Path::new(DIR), self.flaw)?;
        let disk = disk.clone();
        Ok(Opened { disk, store })
    }

    fn apply(&self, opened: &mut Opened, op: &Op, n: u64) -> Outcome<Survives> {
        match (op, op.size()) {
            (_, Some(size)) => opened.store.append(value((n, size)))?,
            (Op::Checkpoint, _) => opened.store.checkpoint()?,
            _ => opened.store = Store::open(&opened.disk, Path::new(DIR), self.flaw)?,
        }
        Ok(Survives::PowerLoss)
    }

    fn observe(&self, opened: &mut Opened) -> Outcome<Vec<Written>> {
        let values = opened.store.values().iter().enumerate();
        values
            .map(|(nth, bytes)| {
                identify(bytes).ok_or_else(|| format!("value {nth} is not what was written").into())
            })
            .collect()
    }

    fn model(&self, before: &Vec<Written>, op: &Op, n: u64) -> Vec<Written> {
        let mut after = before.clone();
        after.extend(op.size().map(|size| (n, size)));
        after
    }

    fn continuation(&self, interrupted: &Op) -> Vec<Op> {
        match interrupted {
            _ if !self.goes_on => Vec::new(),
            // As much as was lost, and one more. No checkpoint: it would save in the snapshot what
            // the log has lost.
            Op::AppendSmall | Op::AppendLarge => vec![*interrupted, Op::AppendSmall],
            Op::Checkpoint | Op::Reopen => vec![Op::AppendSmall, Op::Checkpoint, Op::AppendSmall],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACKNOWLEDGED: &str = "what was acknowledged is there, whole, and nothing else";
    const OPENS: &str = "open succeeds on every state a crash can leave";
    const READS: &str = "every read after recovery succeeds";

    fn control(flaw: Option<Flaw>, goes_on: bool) -> Control {
        Control { flaw, goes_on }
    }

    /// Asserts that `flaw`, and nothing else, is caught: by everything that the explorer does, and
    /// by one power loss alone, which then is `during` an operation and breaks `promise`.
    #[track_caller]
    fn assert_caught(flaw: Flaw, during: &str, promise: &str, detail: &str) {
        let power_loss = Bound {
            process_deaths: false,
            nested: false,
            ..bound(2)
        };
        for (goes_on, bound) in [(true, bound(2)), (false, power_loss)] {
            let planted = control(Some(flaw), goes_on);
            let example = counterexample(planted, &bound).expect("a planted bug is caught");
            let again = Explorer::new(&planted).replay(&example.tape);
            let again = again.expect("a tape breaks the same promise when it is replayed");
            assert_eq!(again.to_string(), example.to_string());
            let correct = control(None, goes_on);
            let innocent = Explorer::new(&correct).replay(&example.tape);
            assert!(innocent.is_none(), "{}", innocent.unwrap());
            if !goes_on {
                let during = format!("the power fails during {during},");
                assert!(example.to_string().contains(&during), "{example}");
                assert_eq!(example.promise, promise, "{example}");
                assert!(example.detail.contains(detail), "{example}");
            }
        }
    }

    #[test]
    fn the_correct_control_is_not_accused() {
        let accused = counterexample(control(None, true), &bound(3));
        assert!(accused.is_none(), "{}", accused.unwrap());
    }

    #[test]
    fn a_store_that_never_syncs_is_caught() {
        let detail = "the snapshot is damaged";
        assert_caught(Flaw::SyncNothing, "AppendLarge", OPENS, detail);
    }

    #[test]
    fn a_store_that_never_syncs_a_directory_is_caught() {
        let detail = "cannot open /control/log-0";
        assert_caught(Flaw::NeverSyncDirectory, "AppendLarge", OPENS, detail);
    }

    #[test]
    fn a_rename_before_the_sync_is_caught() {
        let detail = "the snapshot is damaged";
        assert_caught(Flaw::RenameBeforeSync, "open", OPENS, detail);
    }

    #[test]
    fn an_acknowledgement_before_the_sync_is_caught() {
        let flaw = Flaw::AcknowledgeBeforeSync;
        assert_caught(flaw, "AppendLarge", ACKNOWLEDGED, "found []");
    }

    #[test]
    fn a_torn_tail_that_stands_is_caught() {
        // The record after the tail, of operation 2, is lost.
        let detail = "expected [(0, 20), (2, 20)]\n   found [(0, 20)]";
        assert_caught(Flaw::TornTailStands, "AppendSmall", ACKNOWLEDGED, detail);
    }

    #[test]
    fn a_log_rewritten_in_place_is_caught() {
        let flaw = Flaw::TruncateInPlace;
        assert_caught(flaw, "Checkpoint", ACKNOWLEDGED, "found []");
    }

    #[test]
    fn a_replay_by_length_alone_is_caught() {
        let detail = "value 0 is not what was written";
        assert_caught(Flaw::ReplayByLength, "AppendLarge", READS, detail);
    }
}
