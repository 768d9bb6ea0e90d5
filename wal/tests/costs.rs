//! What each operation costs in writes and syncs, as README.md and the documentation say: counted on
//! the simulated disk.

#![allow(clippy::unwrap_used, reason = "test")]

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use durable_io::sim::SimDisk;
#[path = "support/files.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod files;

use files::fast_dir;
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
fn make_preallocated(log: &Wal) {
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
    // Zeros and header, bytes and name; and the superblock names it, in a slot, twice, and its copy.
    assert_eq!(machine.cost(|| log.rotate()), costs(5, 2, 1, 0));
    log.append(b"two").unwrap();
    make_preallocated(&log);
    assert_eq!(machine.cost(|| log.rotate()), costs(0, 0, 0, 0));
}

/// Bytes of the disk that the files in `dir` take.
fn disk_usage(dir: &Path) -> u64 {
    let files = files::dir(dir).list().unwrap().into_iter();
    let blocks = files.map(|file| dir.join(file.name).metadata().unwrap().blocks());
    blocks.sum::<u64>() * 512
}

#[test]
fn a_log_with_few_records_takes_little_of_the_disk() {
    let dir = fast_dir();
    let log = Options::new().background(Background::Inline);
    let log = log.open(dir.path()).unwrap();
    make_preallocated(&log);
    assert_eq!(log.segment_size(), 64 << 20);
    let few = (1 << 20) + (64 << 10);
    assert!(disk_usage(dir.path()) <= few, "{}", disk_usage(dir.path()));
    for _ in 0..10 {
        log.append(b"a record").unwrap();
        make_preallocated(&log);
    }
    let few = few + (1 << 20);
    assert!(disk_usage(dir.path()) <= few, "{}", disk_usage(dir.path()));
    // Half a segment later the next one is ready, and takes one step, too.
    for _ in 0..33 {
        log.append(&vec![7; 1 << 20]).unwrap();
        make_preallocated(&log);
    }
    assert_eq!(log.stats().segment_count, 2);
    let (used, taken) = (33 << 20, disk_usage(dir.path()));
    assert!((used..=used + (4 << 20)).contains(&taken), "{taken}");
    log.close().unwrap();
}

#[test]
fn a_checkpoint_and_a_truncation_are_one_durable_write_and_two_that_are_not() {
    for (mode, syncs) in [(SyncMode::Always, 1), (SyncMode::Manual, 2)] {
        let machine = Machine::new(mode);
        let log = machine.open();
        for _ in 0..3 {
            log.append(b"one").unwrap();
            log.rotate().unwrap();
        }
        log.append(b"not durable").unwrap();
        let checkpoint = machine.cost(|| log.checkpoint(Lsn(2)));
        assert_eq!(checkpoint, costs(3, syncs, 0, 0));
        log.append(b"not durable").unwrap();
        let truncation = machine.cost(|| log.truncate_before(Lsn(3)));
        assert_eq!(truncation, costs(3, syncs, 0, 2));
        make_preallocated(&log);
        log.append(b"not durable").unwrap();
        // Segment 4 and the one made ready go; segment 3 has nothing after the truncation.
        let truncated = machine.cost(|| log.truncate_after(Lsn(3)));
        assert_eq!(truncated, costs(5, 2 + syncs, 2, 2));
    }
}

#[test]
fn opening_takes_five_syncs_and_closing_one() {
    let machine = Machine::new(SyncMode::Always);
    let (created, log) = machine.count(|| machine.open());
    assert_eq!(created, costs(4, 3, 3, 0));
    log.append(b"one").unwrap();
    make_preallocated(&log);
    assert_eq!(machine.cost(|| log.close()), costs(2, 1, 0, 0));
    // Both slots of the superblock, and the header of the segment made ready.
    let (opened, log) = machine.count(|| machine.open());
    assert_eq!(opened, costs(3, 3, 2, 0));
    drop(log);
}
