//! Whoever only reads asks for no more than that: media that are read-only, files of other users.

#![allow(clippy::unwrap_used, reason = "test")]

use durable_io::Disk;
use durable_io::sim::SimDisk;
use wal::{Background, Detail, Options};

/// The calls that change nothing and need no right to.
const LOOKING: [&str; 6] = [
    "open_dir",
    "open_read_only",
    "list",
    "len",
    "read",
    "lock_shared",
];

fn options(disk: &Disk) -> Options {
    let options = Options::new().background(Background::Inline);
    options.segment_size(1024).disk(disk.clone())
}

/// The calls by which `read` reads a log of some segments, cleanly closed, or else left by a crash.
fn calls(is_closed: bool, read: impl FnOnce(&Disk)) -> Vec<&'static str> {
    let sim = SimDisk::new();
    let log = options(&sim.disk()).open("/log").unwrap();
    for _ in 0..10 {
        log.append(&[7; 400]).unwrap();
    }
    if is_closed {
        log.close().unwrap();
    }
    let sim = SimDisk::boot(sim.world());
    sim.start_trace();
    read(&sim.disk());
    sim.trace().into_iter().map(|call| call.op).collect()
}

fn only_looks(read: impl Fn(&Disk)) {
    for is_closed in [true, false] {
        let calls = calls(is_closed, &read);
        assert!(calls.len() > 10);
        let others: Vec<_> = calls.iter().filter(|op| !LOOKING.contains(op)).collect();
        assert!(others.is_empty(), "{others:?}");
    }
}

#[test]
fn a_salvage_only_looks() {
    only_looks(|disk| {
        assert_eq!(options(disk).salvage("/log").unwrap().flatten().count(), 10);
    });
}

#[test]
fn a_dump_only_looks() {
    only_looks(|disk| {
        let mut text = Vec::new();
        wal::dump(disk, "/log", Detail::Records, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(
            text.contains("\nopen: clean; LSN 1 up to 11, exclusive"),
            "{text}"
        );
    });
}
