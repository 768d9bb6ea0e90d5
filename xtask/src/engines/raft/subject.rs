//! The Raft log store: its alphabets, its starting states and its model. All that is done is in one order, over
//! all groups and whatever it is; so after a crash the state is one of those that there were, whole.

#[cfg(test)]
mod liars;
mod live;
pub(crate) mod machine;
mod state;

use durable_io::sim::{Keep, Outcome, Start, StartStep, Subject, Survives};
use durable_io::{Background, Disk};
use durable_raft::{LogStore, Options};

use live::Store;
pub(crate) use state::State;

/// Its parent is missing, too: the log, which is a directory in it, makes only the name in that durable.
const DIR: &str = "/data/raft";
/// Small enough that a few appends fill a segment.
const SEGMENT_SIZE: u64 = 2048;

/// The store, with so many bytes held back for a full disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RaftSubject {
    pub(crate) alphabet: Alphabet,
    pub(crate) reserve: u64,
}

/// What is done to a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alphabet {
    /// Everything, to two groups.
    Groups,
    /// Entries larger than a segment.
    Large,
}

/// Everything once: the runs that faults are injected into.
pub(crate) const FAULTED: &[Op] = &[
    Op::Vote,
    Op::Append,
    Op::AppendMany,
    Op::Other,
    Op::Later,
    Op::Truncate,
    Op::Commit,
    Op::Purge,
    Op::AppendMany,
    Op::Background,
    Op::Close,
    Op::Append,
    Op::Purge,
    Op::Background,
    Op::Destroy,
    Op::Other,
    Op::Large,
    Op::Purge,
    Op::Background,
    Op::Vote,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// Save a vote of the first group.
    Vote,
    /// An entry of the first group, which a callback acknowledges.
    Append,
    /// Three entries over several sectors.
    AppendMany,
    /// An entry larger than a segment.
    Large,
    /// An entry of the second group, which is created if it is not there.
    Other,
    /// The same, and nobody waits.
    Later,
    /// The last two entries of the first group are overruled, if they are not committed.
    Truncate,
    /// All entries of the first group but the last one go.
    Purge,
    /// All of the first group is committed.
    Commit,
    /// The second group is destroyed.
    Destroy,
    /// All background work that is due.
    Background,
    /// Close; the next operation opens again.
    Close,
}

impl RaftSubject {
    fn open_store(self, disk: &Disk) -> Outcome<LogStore> {
        let store = Options::new()
            .segment_size(SEGMENT_SIZE)
            // Of recent entries some are read from memory, and some from the log.
            .cache(300)
            .reserve(self.reserve)
            .background(Background::Inline)
            .disk(disk.clone())
            .open(DIR)?;
        Ok(store)
    }
}

impl Subject for RaftSubject {
    type Op = Op;
    type State = State;
    type Store = Store;

    fn operations(&self) -> Vec<Op> {
        match self.alphabet {
            Alphabet::Groups => vec![
                Op::Vote,
                Op::Append,
                Op::AppendMany,
                Op::Other,
                Op::Later,
                Op::Truncate,
                Op::Purge,
                Op::Commit,
                Op::Destroy,
                Op::Background,
                Op::Close,
            ],
            Alphabet::Large => vec![
                Op::Large,
                Op::Other,
                Op::Truncate,
                Op::Purge,
                Op::Background,
            ],
        }
    }

    fn starts(&self) -> Vec<Start<Op>> {
        use StartStep::{CrashDuring, Do};
        if self.alphabet == Alphabet::Large {
            return vec![Start {
                name: "a large entry to be moved",
                script: [Op::Large, Op::Destroy].into_iter().map(Do).collect(),
            }];
        }
        let done = |ops: &[Op]| ops.iter().copied().map(Do).collect::<Vec<_>>();
        let slow = [&[Op::Other][..], &[Op::AppendMany, Op::Purge].repeat(4)].concat();
        vec![
            Start {
                name: "a purge half done",
                script: [
                    done(&[Op::AppendMany, Op::AppendMany, Op::Append]),
                    vec![CrashDuring(Op::Purge, Keep::Everything)],
                ]
                .concat(),
            },
            Start {
                name: "a conflict just truncated",
                script: done(&[Op::Append, Op::Vote, Op::AppendMany, Op::Truncate]),
            },
            Start {
                name: "a slow group to be moved",
                script: done(&slow),
            },
            Start {
                name: "a slow group moved half",
                script: [
                    done(&slow),
                    vec![CrashDuring(Op::Background, Keep::Everything)],
                ]
                .concat(),
            },
        ]
    }

    fn empty(&self) -> State {
        State::default()
    }

    fn open(&self, disk: &Disk) -> Outcome<Store> {
        Ok(Store {
            disk: disk.clone(),
            subject: *self,
            open: Some(self.open_store(disk)?),
        })
    }

    fn apply(&self, store: &mut Store, op: &Op, n: u64) -> Outcome<Survives> {
        store.apply(*op, n)
    }

    fn observe(&self, store: &mut Store) -> Outcome<State> {
        state::observe(store.store()?)
    }

    fn model(&self, before: &State, op: &Op, n: u64) -> State {
        before.after(*op, n)
    }

    fn continuation(&self, interrupted: &Op) -> Vec<Op> {
        // As much as was lost, so that a left-over of it would fit in its place; then over the border, and the front
        // is given back.
        vec![
            *interrupted,
            Op::AppendMany,
            Op::Purge,
            Op::Background,
            Op::Vote,
        ]
    }

    fn label(&self, op: &Op) -> String {
        match op {
            Op::Vote => "vote",
            Op::Append | Op::AppendMany | Op::Large | Op::Later => "append",
            Op::Other => "create",
            Op::Truncate => "truncate",
            Op::Purge => "purge",
            Op::Commit => "commit",
            Op::Destroy => "destroy",
            Op::Background => "move",
            Op::Close => "close",
        }
        .to_owned()
    }
}
