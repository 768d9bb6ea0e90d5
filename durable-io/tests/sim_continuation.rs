//! Two moments that leave the same disk are one only if they have the same future: if the store continues
//! in the same way, and if what it then writes can show the same former contents. And then they are one.
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

/// A store of one value; `Idle` does nothing.
struct Idler {
    letters: Vec<Letter>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Letter {
    Set,
    Idle,
}

impl Subject for Idler {
    type Op = Letter;
    type State = Vec<u8>;
    type Store = Dir;

    fn operations(&self) -> Vec<Letter> {
        self.letters.clone()
    }

    fn empty(&self) -> Vec<u8> {
        Vec::new()
    }

    fn open(&self, disk: &Disk) -> Outcome<Dir> {
        let dir = disk.create_dir("/store")?;
        if !dir.list()?.iter().any(|entry| entry.name == "state") {
            replace_file(&dir, "state", b"")?;
        }
        dir.sync()?;
        Ok(dir)
    }

    fn apply(&self, dir: &mut Dir, op: &Letter, n: u64) -> Outcome<Survives> {
        if *op == Letter::Set {
            replace_file(dir, "state", &n.to_le_bytes())?;
        }
        Ok(Survives::PowerLoss)
    }

    fn observe(&self, dir: &mut Dir) -> Outcome<Vec<u8>> {
        let mut bytes = vec![0; 8];
        let read = dir.open("state")?.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    fn model(&self, before: &Vec<u8>, op: &Letter, n: u64) -> Vec<u8> {
        match op {
            Letter::Set => n.to_le_bytes().to_vec(),
            Letter::Idle => before.clone(),
        }
    }

    fn continuation(&self, _interrupted: &Letter) -> Vec<Letter> {
        vec![Letter::Set]
    }
}

#[test]
fn an_operation_that_changes_nothing_adds_no_state() {
    let letters = |letters: &[Letter]| Idler {
        letters: letters.to_vec(),
    };
    let without = passes(&letters(&[Letter::Set]), &bound(3)).counts;
    let with = passes(&letters(&[Letter::Set, Letter::Idle]), &bound(3)).counts;
    // But one: the process dies after it was opened and idle.
    assert_eq!(with.images, without.images + 1);
    assert_eq!(with.unique_states, without.unique_states + 1);
    assert!(with.workloads > without.workloads);
}
