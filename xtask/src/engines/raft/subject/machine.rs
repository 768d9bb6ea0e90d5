//! A log and a state machine on one disk. After a crash there is everything that was agreed on: the entries, or what
//! they did. And what was purged is never more than what the state machine or its snapshot holds.

mod live;

use crashtest::{AnyTrial, Trial};
use durable_io::Disk;
use durable_io::sim::{Keep, Outcome, Start, StartStep, Subject, Survives};

use live::Node;

/// What is done to a node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MachineSubject(&'static [Op]);

/// Each of a node's many files is written in several sectors: so instants are sampled, and no recovery is cut off.
/// Where the process dies comes first: there the absence of more barriers is seen at once.
pub(crate) fn trials() -> [AnyTrial; 2] {
    [
        Trial::new("raft machine killed", MachineSubject(SWITCHES))
            .unit(4096)
            .lengths(1, 1)
            .without_nested()
            .sampled_above(12)
            .whole_up_to(64)
            .shallow_removal(1)
            .boxed(),
        Trial::new("raft machine", MachineSubject(ALL))
            .unit(4096)
            .lengths(1, 1)
            .without_process_deaths()
            .without_nested()
            .sampled_above(32)
            .whole_up_to(64)
            .shallow_removal(1)
            .faulted(FAULTED)
            .boxed(),
    ]
}

/// Everything that is done to one.
const ALL: &[Op] = &[
    Op::Propose,
    Op::Build,
    Op::Purge,
    Op::PurgeApplied,
    Op::Install,
    Op::LoseStore,
    Op::Background,
    Op::Close,
];

/// Every call of this fails.
const FAULTED: &[Op] = &[
    Op::Propose,
    Op::Build,
    Op::Propose,
    Op::PurgeApplied,
    Op::Install,
    Op::Propose,
    Op::LoseStore,
];

/// What replaces the root, and is tried with the death of the process behind each call.
const SWITCHES: &[Op] = &[Op::Build];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// An entry is appended, durably, and applied.
    Propose,
    /// A snapshot is built.
    Build,
    /// The log is purged up to the snapshot.
    Purge,
    /// What was applied is made durable, and the log is purged up to there.
    PurgeApplied,
    /// A snapshot of another node, which has more entries, is installed.
    Install,
    /// If a snapshot has what was purged, the store is moved away, and the state machine opened again.
    LoseStore,
    /// All background work that is due.
    Background,
    /// Close; the next operation opens again.
    Close,
}

/// Up to which entry there is what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// In the log, if nothing was installed since.
    log: u64,
    purged: u64,
    snapshot: u64,
}

/// So many entries more has the other node.
const AHEAD: u64 = 3;

impl State {
    /// The last entry that was agreed on.
    fn last(self) -> u64 {
        self.log.max(self.snapshot)
    }

    /// The state in which the log goes on behind what was installed.
    fn continued(self) -> Self {
        if self.log >= self.last() {
            return self;
        }
        Self {
            log: self.last(),
            purged: self.last(),
            ..self
        }
    }

    fn purged_up_to(self, index: u64) -> Self {
        Self {
            purged: self.purged.max(index),
            log: self.log.max(index),
            ..self
        }
    }

    fn after(self, op: Op) -> Self {
        match op {
            Op::Propose => {
                let ready = self.continued();
                let log = ready.log + 1;
                Self { log, ..ready }
            }
            Op::Build => Self {
                snapshot: self.last(),
                ..self
            },
            Op::Purge => self.purged_up_to(self.snapshot),
            Op::PurgeApplied => self.purged_up_to(self.last()),
            Op::Install => Self {
                snapshot: self.last() + AHEAD,
                ..self
            },
            Op::LoseStore | Op::Background | Op::Close => self,
        }
    }
}

impl Subject for MachineSubject {
    type Op = Op;
    type State = State;
    type Store = Node;

    fn operations(&self) -> Vec<Op> {
        self.0.to_vec()
    }

    fn starts(&self) -> Vec<Start<Op>> {
        use StartStep::{CrashDuring, Do};
        let done = |ops: &[Op]| ops.iter().copied().map(Do).collect::<Vec<_>>();
        if self.0 == SWITCHES {
            // Each call is a moment at which the process dies, and each death has moments of its own: few do.
            return vec![Start {
                name: "an entry that is applied",
                script: done(&[Op::Propose]),
            }];
        }
        vec![
            Start {
                name: "entries behind a snapshot",
                script: done(&[Op::Propose, Op::Propose, Op::Build, Op::Purge, Op::Propose]),
            },
            Start {
                name: "an installation half done",
                script: [
                    done(&[Op::Propose, Op::Build]),
                    vec![CrashDuring(Op::Install, Keep::Everything)],
                ]
                .concat(),
            },
            Start {
                name: "installed, and not purged",
                script: done(&[Op::Propose, Op::Install]),
            },
        ]
    }

    fn empty(&self) -> State {
        State::default()
    }

    fn open(&self, disk: &Disk) -> Outcome<Node> {
        Node::open(disk)
    }

    fn apply(&self, node: &mut Node, op: &Op, _n: u64) -> Outcome<Survives> {
        node.apply(*op)
    }

    fn observe(&self, node: &mut Node) -> Outcome<State> {
        node.observe()
    }

    fn model(&self, before: &State, op: &Op, _n: u64) -> State {
        before.after(*op)
    }

    fn partly(&self, before: &State, op: &Op, _n: u64) -> Vec<State> {
        // The purge of what was installed comes first.
        let continued = before.continued();
        let is_one = *op == Op::Propose && continued != *before;
        is_one.then_some(continued).into_iter().collect()
    }

    fn continuation(&self, interrupted: &Op) -> Vec<Op> {
        vec![*interrupted, Op::Propose, Op::Build, Op::Purge]
    }
}
