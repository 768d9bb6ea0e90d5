//! Starting states: what is done on the way to them is done, and what goes wrong there goes wrong.
#![allow(clippy::unwrap_used, reason = "test")]

mod support;

use std::collections::BTreeSet;
use std::sync::Mutex;

use durable_io::sim::{Keep, Outcome, Start, StartStep, Subject, Survives};
use durable_io::{Dir, Disk};
use support::picture::{of_file, set};
use support::{bound, passes};

/// A file of two durable sectors of O, of which `Write` makes Ns that it then syncs.
struct Sectors {
    script: Vec<StartStep<Op>>,
    /// What is there when `Look` is done.
    looked: Mutex<BTreeSet<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Write,
    WriteUnsynced,
    Look,
}

impl Subject for Sectors {
    type Op = Op;
    type State = ();
    type Store = Dir;

    fn operations(&self) -> Vec<Op> {
        vec![Op::Look]
    }

    fn starts(&self) -> Vec<Start<Op>> {
        vec![Start {
            name: "scripted",
            script: self.script.clone(),
        }]
    }

    fn empty(&self) {}

    fn open(&self, disk: &Disk) -> Outcome<Dir> {
        let dir = disk.open_dir("/")?;
        if dir.list()?.is_empty() {
            let file = dir.create_new("file")?;
            file.write_all_at(&[b'O'; 1024], 0)?;
            drop(file.sync_data()?);
            dir.sync()?;
        }
        Ok(dir)
    }

    fn apply(&self, dir: &mut Dir, op: &Op, _n: u64) -> Outcome<Survives> {
        let file = dir.open("file")?;
        match op {
            Op::Look => {
                let seen = of_file(dir, "file");
                self.looked.lock().unwrap().insert(seen);
            }
            Op::Write => {
                file.write_all_at(&[b'N'; 1024], 0)?;
                drop(file.sync_data()?);
                // Not done any more when the power fails at the first barrier.
                file.write_all_at(&[b'X'; 512], 0)?;
                drop(file.sync_data()?);
            }
            Op::WriteUnsynced => file.write_all_at(&[b'N'; 1024], 0)?,
        }
        Ok(Survives::PowerLoss)
    }

    fn observe(&self, _dir: &mut Dir) -> Outcome<()> {
        Ok(())
    }

    fn model(&self, _before: &(), _op: &Op, _n: u64) {}

    fn continuation(&self, _interrupted: &Op) -> Vec<Op> {
        Vec::new()
    }
}

/// What a store finds after `script`, and on an empty disk.
fn found_after(script: &[StartStep<Op>]) -> BTreeSet<String> {
    let subject = Sectors {
        script: script.to_vec(),
        looked: Mutex::default(),
    };
    let explored = passes(&subject, &bound(1));
    let starts: Vec<&str> = explored.by_start.keys().copied().collect();
    assert_eq!(starts, ["empty", "scripted"]);
    assert_eq!(explored.counts.workloads, 4);
    subject.looked.into_inner().unwrap()
}

#[test]
fn a_power_loss_in_a_start_comes_before_the_first_barrier_and_keeps_what_the_step_says() {
    let keeps = [
        (Keep::Nothing, "1024 OO"),
        (Keep::Everything, "1024 NN"),
        (Keep::AllBut(0), "1024 ON"),
        (Keep::AllBut(1), "1024 NO"),
        (Keep::AllBut(2), "1024 NN"),
    ];
    for (keep, left) in keeps {
        let found = found_after(&[StartStep::CrashDuring(Op::Write, keep)]);
        assert_eq!(found, set(&["1024 OO", left]), "{keep:?}");
    }
}

#[test]
fn the_death_of_the_process_on_the_way_loses_nothing() {
    let found = found_after(&[StartStep::Do(Op::WriteUnsynced), StartStep::Kill]);
    assert_eq!(found, set(&["1024 OO", "1024 NN"]));
}

#[test]
fn what_a_dead_process_wrote_is_still_pending_when_the_power_fails_later() {
    let found = found_after(&[
        StartStep::Do(Op::WriteUnsynced),
        StartStep::Kill,
        StartStep::CrashDuring(Op::WriteUnsynced, Keep::AllBut(1)),
    ]);
    assert_eq!(found, set(&["1024 OO", "1024 NO"]));
}

#[test]
fn a_start_is_done_before_each_of_its_workloads() {
    let found = found_after(&[StartStep::Do(Op::Write)]);
    assert_eq!(found, set(&["1024 OO", "1024 XN"]));
}
