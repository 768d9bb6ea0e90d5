//! A file that cannot be removed, or is gone already, keeps no other one, and is counted.

#![allow(clippy::unwrap_used, reason = "test")]

use durable_io::Background;
use durable_io::sim::{Fault, FaultKind, SimDisk};
use wal::{Lsn, Options, Wal};

const EIO: i32 = 5;

fn options(sim: &SimDisk) -> Options {
    let options = Options::new().background(Background::Inline);
    options.segment_size(1024).disk(sim.disk())
}

/// A segment for every two of 40 records.
fn fixture(sim: &SimDisk) -> Wal {
    let log = options(sim).open("/log").unwrap();
    for _ in 0..40 {
        log.append(&[7; 400]).unwrap();
    }
    log
}

fn segments(sim: &SimDisk) -> u64 {
    let files = sim.files().into_iter();
    files.filter(|(path, _)| path.contains(".wal")).count() as u64
}

fn fail_call(sim: &SimDisk, nth: u64) {
    sim.inject(Fault {
        call: sim.calls() + nth,
        kind: FaultKind::Errno(EIO),
        sticky: false,
    });
}

#[test]
fn a_segment_that_is_gone_already_is_no_failure() {
    let sim = SimDisk::new();
    let log = fixture(&sim);
    let dir = sim.disk().open_dir("/log").unwrap();
    dir.remove("0000000000000002.wal").unwrap();
    dir.remove("0000000000000005.wal").unwrap();
    log.truncate_before(Lsn(38)).unwrap();
    assert_eq!(log.stats().segment_count, segments(&sim));
    assert_eq!(log.stats().dead_segments, 0);
}

/// Whichever removal fails: the others are done, and it is tried again by the next truncation, or by the next open.
#[test]
fn a_removal_that_fails_keeps_no_other_file() {
    let mut failed = 0;
    for nth in 0..25 {
        for is_reopened in [false, true] {
            let sim = SimDisk::new();
            let log = fixture(&sim);
            fail_call(&sim, nth);
            let truncated = log.truncate_before(Lsn(38));
            sim.clear_fault();
            if log.append(&[7; 400]).is_err() {
                continue; // The superblock could not be written.
            }
            failed += u64::from(truncated.is_err());
            assert_eq!(log.bounds().start, Lsn(38));
            let stats = log.stats();
            assert_eq!(stats.dead_segments, u64::from(truncated.is_err()));
            assert_eq!(stats.segment_count, segments(&sim), "call {nth}");
            let log = if is_reopened {
                drop(log);
                options(&sim).open("/log").unwrap()
            } else {
                log.truncate_before(Lsn(39)).unwrap();
                log
            };
            assert_eq!(log.stats().dead_segments, 0);
            assert_eq!(log.stats().segment_count, segments(&sim), "call {nth}");
        }
    }
    assert!(failed > 30, "{failed}");
}

#[test]
fn a_log_opens_although_what_it_gave_up_cannot_be_removed() {
    let sim = SimDisk::new();
    let log = fixture(&sim);
    let before = sim.world();
    log.truncate_before(Lsn(38)).unwrap();
    drop(log);
    // A power loss took the removals back, and there is a left-over of a repair.
    let sim = SimDisk::boot(before);
    let log = options(&sim).open("/log").unwrap();
    fail_call(&sim, 6);
    log.truncate_before(Lsn(38)).unwrap_err();
    drop(log);
    let dir = sim.disk().open_dir("/log").unwrap();
    dir.create_new("0000000000000003.wal.tmp").unwrap();
    let there = sim.world();
    let mut unremoved = 0;
    for nth in 0..60 {
        let sim = SimDisk::boot(there.clone());
        sim.start_trace();
        fail_call(&sim, nth);
        let opened = options(&sim).open("/log");
        sim.clear_fault();
        let calls = sim.trace();
        let index = usize::try_from(nth).unwrap();
        if calls.get(index).is_none_or(|call| call.op != "remove") {
            continue;
        }
        let log = opened.unwrap();
        unremoved += 1;
        // The left-over, if it is that which stays, is no segment.
        assert_eq!(
            log.stats().segment_count,
            segments(&sim) - 1 + log.stats().dead_segments
        );
    }
    assert_eq!(unremoved, 2);
}
