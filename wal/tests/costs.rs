//! What each operation costs in writes and syncs, as README.md and the documentation say: counted on
//! the simulated disk.

#![allow(clippy::unwrap_used, reason = "test")]

use durable_io::sim::SimDisk;
use wal::{Background, Lsn, Options, SyncMode, Wal};

/// What some calls cost, counted in calls of the system.
#[derive(Debug, PartialEq, Eq)]
struct Cost {
    writes: usize,
    /// Of files, or of what a write wrote.
    file_syncs: usize,
    directory_syncs: usize,
    removals: usize,
}

fn costs(writes: usize, file_syncs: usize, directory_syncs: usize, removals: usize) -> Cost {
    Cost {
        writes,
        file_syncs,
        directory_syncs,
        removals,
    }
}

struct Machine {
    sim: SimDisk,
    mode: SyncMode,
}

impl Machine {
    fn new(mode: SyncMode) -> Self {
        let sim = SimDisk::new();
        Self { sim, mode }
    }

    fn open(&self) -> Wal {
        Options::new()
            .segment_size(2048)
            .sync(self.mode)
            .background(Background::Inline)
            .disk(self.sim.disk())
            .open("/wal")
            .unwrap()
    }

    /// What `call` costs, and what it returns.
    fn count<T>(&self, call: impl FnOnce() -> T) -> (Cost, T) {
        self.sim.start_trace();
        let returned = call();
        let calls = self.sim.trace();
        let count = |ops: &[&str]| calls.iter().filter(|call| ops.contains(&call.op)).count();
        let cost = costs(
            count(&["write", "write_durable"]),
            count(&["sync_data", "sync_all", "write_durable"]),
            count(&["sync_dir"]),
            count(&["remove"]),
        );
        (cost, returned)
    }

    fn cost<T>(&self, call: impl FnOnce() -> wal::Result<T>) -> Cost {
        let (cost, returned) = self.count(call);
        drop(returned.unwrap());
        cost
    }
}

/// The next segment is made, as the background does it.
fn make_spare(log: &Wal) {
    while log.run_background().unwrap() {}
}

#[test]
fn an_append_is_one_write_and_a_sync_if_the_mode_says_so() {
    for (mode, syncs) in [(SyncMode::Always, 1), (SyncMode::Manual, 0)] {
        let machine = Machine::new(mode);
        let log = machine.open();
        let append = machine.cost(|| log.append(b"one"));
        assert_eq!(append, costs(1, syncs, 0, 0));
        let batch = machine.cost(|| log.append_batch(&[b"one", b"two", b"three"]));
        assert_eq!(batch, costs(1, syncs, 0, 0));
        // Five appends in flight: one write and one sync for all of them.
        let submitted = machine.cost(|| {
            let tickets: Vec<_> = (0..5).map(|_| log.submit(&[b"one"]).unwrap()).collect();
            tickets.into_iter().try_for_each(|t| t.wait().map(drop))
        });
        assert_eq!(submitted, costs(1, syncs, 0, 0));
        assert_eq!(machine.cost(|| log.sync()), costs(0, 1 - syncs, 0, 0));
        assert_eq!(machine.cost(|| log.sync()), costs(0, 0, 0, 0));
    }
}

#[test]
fn a_rotation_costs_a_segment_unless_one_is_ready() {
    let machine = Machine::new(SyncMode::Always);
    let log = machine.open();
    log.append(b"one").unwrap();
    // Zeros and header; bytes and name.
    assert_eq!(machine.cost(|| log.rotate()), costs(2, 1, 1, 0));
    log.append(b"two").unwrap();
    make_spare(&log);
    assert_eq!(machine.cost(|| log.rotate()), costs(0, 0, 0, 0));
}

#[test]
fn a_checkpoint_and_a_truncation_are_one_durable_write_and_its_copy() {
    for (mode, syncs) in [(SyncMode::Always, 1), (SyncMode::Manual, 2)] {
        let machine = Machine::new(mode);
        let log = machine.open();
        for _ in 0..3 {
            log.append(b"one").unwrap();
            log.rotate().unwrap();
        }
        log.append(b"not durable").unwrap();
        let checkpoint = machine.cost(|| log.checkpoint(Lsn(2)));
        assert_eq!(checkpoint, costs(2, syncs, 0, 0));
        log.append(b"not durable").unwrap();
        let truncation = machine.cost(|| log.truncate_before(Lsn(3)));
        assert_eq!(truncation, costs(2, syncs, 0, 2));
        make_spare(&log);
        log.append(b"not durable").unwrap();
        // Segment 4 and the one made ready go; the cut of segment 3 writes zeros.
        let cut = machine.cost(|| log.truncate_after(Lsn(3)));
        assert_eq!(cut, costs(5, 2 + syncs, 2, 2));
    }
}

#[test]
fn opening_takes_five_syncs_and_closing_one() {
    let machine = Machine::new(SyncMode::Always);
    let (created, log) = machine.count(|| machine.open());
    assert_eq!(created, costs(4, 3, 3, 0));
    log.append(b"one").unwrap();
    make_spare(&log);
    assert_eq!(machine.cost(|| log.close()), costs(2, 1, 0, 0));
    // Both slots of the mark, and the header of the segment made ready.
    let (opened, log) = machine.count(|| machine.open());
    assert_eq!(opened, costs(3, 3, 2, 0));
    drop(log);
}
