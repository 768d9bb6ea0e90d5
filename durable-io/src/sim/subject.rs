//! [`Subject`]: what the explorer must know of a store to judge it.

use std::error::Error;
use std::fmt::Debug;
use std::hash::Hash;

use crate::disk::Disk;

/// What a store answers, with whatever error type it has.
pub type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// What an acknowledged operation has been promised to survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Survives {
    /// The loss of power: this operation and every one before it.
    PowerLoss,
    /// The death of the process, since the kernel has it (`SyncMode::Batch` and `Manual`).
    ProcessDeath,
}

/// A store under judgement: how to open it, what can be done with it, and what it should then hold.
///
/// The judge runs operations, ends the run at every moment at which it could end, opens the store
/// again, and compares what it observes with the model: after a crash the state must be the one
/// after some number of operations between the last that was promised to survive and the last that
/// was begun. Nothing in between, nothing older, nothing else.
///
/// Operation number `n` must be a pure function of the operation and `n`, so that the model can say
/// what it wrote and every value says where it came from. An operation that the model says changes
/// nothing leaves its number to the next one.
pub trait Subject: Sync {
    /// One operation of the alphabet.
    type Op: Clone + Debug + Sync;
    /// What the store holds, as a user sees it.
    type State: Clone + PartialEq + Hash + Debug;
    /// The opened store. Dropping it is the death of the process: it must make nothing durable.
    type Store;

    /// The alphabet: every operation worth trying, about eight of them.
    fn operations(&self) -> Vec<Self::Op>;

    /// Named states to start from, beside the empty disk. Four letters from an empty disk never
    /// reach the interesting places.
    ///
    /// ```
    /// use durable_io::sim::{Keep, Start, StartStep};
    ///
    /// #[derive(Clone, Debug)]
    /// enum Op { Append, Checkpoint }
    ///
    /// // The body of `starts` of a log that has just been cut off in the middle of a checkpoint.
    /// let starts: Vec<Start<Op>> = vec![Start {
    ///     name: "checkpoint cut",
    ///     script: vec![
    ///         StartStep::Do(Op::Append),
    ///         StartStep::CrashDuring(Op::Checkpoint, Keep::Everything),
    ///     ],
    /// }];
    /// # assert_eq!(starts[0].script.len(), 2);
    /// ```
    fn starts(&self) -> Vec<Start<Self::Op>> {
        Vec::new()
    }

    /// What a store on an empty disk holds.
    fn empty(&self) -> Self::State;

    /// Opens the store, creating it if there is none. It must not start threads.
    ///
    /// # Errors
    /// Whatever the store returns. On a state that a crash left, any error is a violation.
    fn open(&self, disk: &Disk) -> Outcome<Self::Store>;

    /// Does operation number `n`; `Ok` acknowledges it.
    ///
    /// # Errors
    /// Whatever the store returns. Without an injected fault, any error is a violation.
    fn apply(&self, store: &mut Self::Store, op: &Self::Op, n: u64) -> Outcome<Survives>;

    /// What the store holds now, read through its public interface.
    ///
    /// # Errors
    /// Whatever the store returns.
    fn observe(&self, store: &mut Self::Store) -> Outcome<Self::State>;

    /// What a store that held `before` holds after operation number `n`.
    fn model(&self, before: &Self::State, op: &Self::Op, n: u64) -> Self::State;

    /// True if `observed` is what the model calls `expected`. Override it only where a state has
    /// a part that may be better than promised.
    fn matches(&self, expected: &Self::State, observed: &Self::State) -> bool {
        expected == observed
    }

    /// As [`matches`](Subject::matches), of a store of which a part cannot be read: what it can make again
    /// may be lost.
    fn matches_without_caches(&self, expected: &Self::State, observed: &Self::State) -> bool {
        self.matches(expected, observed)
    }

    /// What operation `n`, ended in the middle by a crash, or refused there by a full disk, may have done, beside
    /// nothing and all, the least first: where it is several writes of which each is alone.
    fn partly(&self, _before: &Self::State, _op: &Self::Op, _n: u64) -> Vec<Self::State> {
        Vec::new()
    }

    /// True if `op` must not stop half-way: then whatever fails in it may poison the store, a full disk too.
    fn may_poison(&self, _op: &Self::Op) -> bool {
        false
    }

    /// What is done after each recovery, to see that the store can be written and that what it then
    /// acknowledges survives: by default the operation that the crash interrupted, once more. It
    /// should write as much as the interrupted one, then rotate or flush.
    fn continuation(&self, interrupted: &Self::Op) -> Vec<Self::Op> {
        vec![interrupted.clone()]
    }

    /// The row of the audit table to which an operation's barriers belong: operations that differ only in what they
    /// write have the same.
    ///
    /// ```
    /// #[derive(Debug)]
    /// enum Op { Append(usize), Checkpoint }
    ///
    /// fn label(op: &Op) -> String {
    ///     match op {
    ///         Op::Append(_) => "append".to_owned(),
    ///         Op::Checkpoint => "checkpoint".to_owned(),
    ///     }
    /// }
    /// # assert_eq!(label(&Op::Append(20)), label(&Op::Append(700)));
    /// # assert_eq!(label(&Op::Checkpoint), "checkpoint");
    /// ```
    fn label(&self, op: &Self::Op) -> String {
        format!("{op:?}")
    }
}

/// A named state to start from: what is done, and what goes wrong, on the way there.
#[derive(Clone, Debug)]
pub struct Start<Op> {
    /// The name in reports.
    pub name: &'static str,
    /// The way there from an empty disk.
    pub script: Vec<StartStep<Op>>,
}

/// One step on the way to a [`Start`].
#[derive(Clone, Debug)]
pub enum StartStep<Op> {
    /// Do this.
    Do(Op),
    /// Begin this; the power fails just before its first barrier takes effect; and the store is
    /// opened again.
    CrashDuring(Op, Keep),
    /// The process dies after the last step, and the store is opened again.
    Kill,
}

/// What of the pending effects a [`StartStep::CrashDuring`] leaves on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// None of them.
    Nothing,
    /// All of them.
    Everything,
    /// All but those of the `n`th sector, size or name that has any, counted from 0.
    AllBut(usize),
}
