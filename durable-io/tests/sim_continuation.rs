//! Two moments that leave the same disk are one only if they have the same future: if the store goes on
//! in the same way, and if what it then writes can show the same former contents.
#![allow(clippy::unwrap_used, reason = "test")]

mod support;

use durable_io::sim::{Outcome, Subject, Survives};
use durable_io::{Dir, Disk, replace_file};
use support::{bound, explore, passes};

/// A store with two kinds of maintenance that do the same to the disk and to what a user sees. In
/// one of them, after a recovery, it loses its mind.
struct Maintained {
    is_wrong: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Flush,
    Compact,
}

struct Store {
    dir: Dir,
    was_recovered: bool,
    is_sane: bool,
}

impl Subject for Maintained {
    type Op = Op;
    type State = bool;
    type Store = Store;

    fn operations(&self) -> Vec<Op> {
        vec![Op::Flush, Op::Compact]
    }

    fn empty(&self) -> bool {
        true
    }

    fn open(&self, disk: &Disk) -> Outcome<Store> {
        let dir = disk.create_dir("/store")?;
        let was_recovered = dir.list()?.iter().any(|entry| entry.name == "state");
        dir.sync()?;
        Ok(Store {
            dir,
            was_recovered,
            is_sane: true,
        })
    }

    fn apply(&self, store: &mut Store, op: &Op, _n: u64) -> Outcome<Survives> {
        replace_file(&store.dir, "state", b"maintained")?;
        if self.is_wrong && store.was_recovered && *op == Op::Compact {
            store.is_sane = false;
        }
        Ok(Survives::PowerLoss)
    }

    fn observe(&self, store: &mut Store) -> Outcome<bool> {
        Ok(store.is_sane)
    }

    fn model(&self, before: &bool, _op: &Op, _n: u64) -> bool {
        *before
    }

    /// One row of the table for both.
    fn label(&self, _op: &Op) -> String {
        "maintenance".to_owned()
    }
}

#[test]
fn two_operations_of_one_label_are_both_gone_on_with() {
    passes(&Maintained { is_wrong: false }, &bound(1));
    let wrong = explore(&Maintained { is_wrong: true }, &bound(1));
    assert!(wrong.counterexample.is_some(), "{:?}", wrong.counts);
}
