//! Stores with the mistakes that Raft storages are known for. The judge must find each of them.

use durable_io::Disk;
use durable_io::sim::{Bound, Explorer, Outcome, Start, Subject, Survives};
use durable_raft::Change;

use super::live::{Store, group};
use super::state::{FIRST, State, entries, observe, vote};
use super::{Alphabet, Op, RaftSubject};

/// What is done wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    /// A vote is acknowledged when the kernel has it.
    VoteUnsynced,
    /// The callback of an append runs before the flush.
    CallbackBeforeFlush,
    /// A truncation is acknowledged when the kernel has it.
    TruncationUnsynced,
    /// The vote is in a file of its own, which is emptied and written again, and synced.
    StateFileInPlace,
}

/// The store with a flaw, or without.
#[derive(Debug)]
struct Liar(Option<Flaw>);

const HONEST: RaftSubject = RaftSubject {
    alphabet: Alphabet::Groups,
    reserve: 0,
};

/// Does `change` to the first group, and says at once that it is durable.
fn lie(store: &mut Store, change: Change<'_>) -> Outcome<Survives> {
    group(store.store()?, FIRST)?.submit(change, drop)?;
    Ok(Survives::PowerLoss)
}

fn write_in_place(disk: &Disk, n: u64) -> Outcome<Survives> {
    let dir = disk.open_dir("/data")?;
    let file = match dir.open("vote") {
        Err(error) if error.is_not_found() => dir.create_new("vote")?,
        file => file?,
    };
    dir.sync()?;
    file.set_len(0)?;
    file.write_all_at(&n.to_le_bytes(), 0)?;
    drop(file.sync_all()?);
    Ok(Survives::PowerLoss)
}

fn read_in_place(disk: &Disk) -> Outcome<Option<u64>> {
    let dir = disk.open_dir("/data")?;
    let file = match dir.open("vote") {
        Err(error) if error.is_not_found() => return Ok(None),
        file => file?,
    };
    let mut bytes = [0; 8];
    if file.len()? != 8 {
        return Err("the file with the vote is torn".into());
    }
    file.read_exact_at(&mut bytes, 0)?;
    Ok(Some(u64::from_le_bytes(bytes)))
}

impl Subject for Liar {
    type Op = Op;
    type State = State;
    type Store = Store;

    fn operations(&self) -> Vec<Op> {
        vec![Op::Vote, Op::Append, Op::Truncate]
    }

    fn starts(&self) -> Vec<Start<Op>> {
        Vec::new()
    }

    fn empty(&self) -> State {
        HONEST.empty()
    }

    fn open(&self, disk: &Disk) -> Outcome<Store> {
        HONEST.open(disk)
    }

    fn apply(&self, store: &mut Store, op: &Op, n: u64) -> Outcome<Survives> {
        let first = observe(store.store()?)?.group(FIRST);
        match (self.0, op) {
            (Some(Flaw::VoteUnsynced), Op::Vote) => lie(store, Change::Vote(&vote(n))),
            (Some(Flaw::CallbackBeforeFlush), Op::Append) => {
                let entries = entries(*op, n, FIRST, first.last());
                lie(store, Change::Append(&entries))
            }
            (Some(Flaw::TruncationUnsynced), Op::Truncate) if first.conflict().is_some() => {
                let index = first.conflict().ok_or("there is one")?;
                lie(store, Change::Truncate(index))
            }
            (Some(Flaw::StateFileInPlace), Op::Vote) => write_in_place(&store.disk, n),
            _ => HONEST.apply(store, op, n),
        }
    }

    fn observe(&self, store: &mut Store) -> Outcome<State> {
        let state = HONEST.observe(store)?;
        if self.0 != Some(Flaw::StateFileInPlace) {
            return Ok(state);
        }
        Ok(match read_in_place(&store.disk)? {
            Some(n) => state.after(Op::Vote, n),
            None => state,
        })
    }

    fn model(&self, before: &State, op: &Op, n: u64) -> State {
        HONEST.model(before, op, n)
    }

    fn continuation(&self, interrupted: &Op) -> Vec<Op> {
        vec![*interrupted]
    }
}

#[test]
fn each_known_mistake_is_found_and_the_operation_is_named() {
    let explore = |flaw| {
        let bound = Bound {
            threads: 1,
            ..Bound::of_length(2)
        };
        let explored = Explorer::new(&Liar(flaw)).explore(&bound, &|_| {});
        explored.counterexample.map(|example| example.to_string())
    };
    assert_eq!(explore(None), None);
    let flaws = [
        (Flaw::VoteUnsynced, Op::Vote),
        (Flaw::CallbackBeforeFlush, Op::Append),
        (Flaw::TruncationUnsynced, Op::Truncate),
        (Flaw::StateFileInPlace, Op::Vote),
    ];
    for (flaw, op) in flaws {
        let report = explore(Some(flaw)).unwrap_or_else(|| panic!("{flaw:?} was not found"));
        assert!(report.contains(&format!("{op:?}")), "{flaw:?}: {report}");
    }
}
