//! Every state that a power loss at the end of a program can leave, as the explorer shows them to a
//! store that opens.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use durable_io::sim::{Bound, Outcome, Start, StartStep, Subject, Survives};
use durable_io::{Dir, Disk, Result};

use super::picture;

/// The pictures of all states after `program`, which runs on an empty disk that tears at `unit`.
pub fn crash_states_torn_at(
    unit: usize,
    program: impl Fn(&Dir) -> Result<()> + Sync,
) -> BTreeSet<String> {
    let subject = Collector {
        program,
        collects: AtomicBool::new(false),
        pictures: Mutex::default(),
    };
    let bound = Bound {
        unit,
        process_deaths: false,
        nested: false,
        ..super::bound(1)
    };
    let explored = super::passes(&subject, &bound);
    assert_eq!(explored.counts.sampled_points, 0, "too many to enumerate");
    subject
        .pictures
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
}

/// [`crash_states_torn_at`] 512 bytes.
pub fn crash_states(program: impl Fn(&Dir) -> Result<()> + Sync) -> BTreeSet<String> {
    crash_states_torn_at(512, program)
}

/// A subject that takes whatever it finds, and remembers it.
struct Collector<P> {
    program: P,
    /// True once the program has run and nothing more happened, so that whatever is opened from
    /// then on is what a crash left.
    collects: AtomicBool,
    pictures: Mutex<BTreeSet<String>>,
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Run,
    Nothing,
}

struct Store {
    root: Dir,
    has_run: bool,
}

impl<P: Fn(&Dir) -> Result<()> + Sync> Subject for Collector<P> {
    type Op = Op;
    /// How many operations were done, so that no two moments are the same.
    type State = u64;
    type Store = Store;

    fn operations(&self) -> Vec<Op> {
        vec![Op::Nothing]
    }

    fn starts(&self) -> Vec<Start<Op>> {
        vec![Start {
            name: "program",
            script: vec![StartStep::Do(Op::Run)],
        }]
    }

    fn empty(&self) -> u64 {
        0
    }

    fn open(&self, disk: &Disk) -> Outcome<Store> {
        if self.collects.load(Ordering::Relaxed) {
            let mut pictures = self.pictures.lock().unwrap();
            pictures.insert(picture::of_disk(disk));
        }
        Ok(Store {
            root: disk.open_dir("/")?,
            has_run: false,
        })
    }

    fn apply(&self, store: &mut Store, op: &Op, _n: u64) -> Outcome<Survives> {
        match op {
            Op::Run => {
                (self.program)(&store.root)?;
                store.has_run = true;
            }
            // The last workload of the exploration, and the only one of this kind.
            Op::Nothing if store.has_run => self.collects.store(true, Ordering::Relaxed),
            Op::Nothing => {}
        }
        Ok(Survives::ProcessDeath)
    }

    fn observe(&self, _store: &mut Store) -> Outcome<u64> {
        Ok(0)
    }

    fn model(&self, before: &u64, _op: &Op, _n: u64) -> u64 {
        before + 1
    }

    /// Whatever is there is as good as anything else.
    fn matches(&self, _expected: &u64, _observed: &u64) -> bool {
        true
    }

    /// Nothing, so that every disk that is opened is one that the crash left.
    fn continuation(&self, _interrupted: &Op) -> Vec<Op> {
        Vec::new()
    }
}
