//! Times of groups, and what is given up because it is too much or too old.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use std::time::Duration;

use durable_io::sim::SimDisk;
use wal::{Lsn, Options, Wal};

#[path = "support/files.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod files;

use files::{SEGMENT, options};

fn on(sim: &SimDisk) -> Options {
    options().disk(sim.disk())
}

const SECOND: Duration = Duration::from_secs(1);

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A record each second, four to a segment: record `n` at `n` seconds.
fn filled(sim: &SimDisk, count: u8) -> Wal {
    let log = on(sim).open("/log").unwrap();
    for n in 1..=count {
        sim.advance(SECOND);
        log.append(&[n; 400]).unwrap();
    }
    log
}

/// The time of each record.
fn times(log: &Wal) -> Vec<Option<Duration>> {
    let mut records = log.records(Lsn(0));
    let mut times = Vec::new();
    while records.read().unwrap().is_some() {
        times.push(records.time());
    }
    times
}

#[test]
fn segments_list_their_records_their_size_and_when_they_were_last_written() {
    let sim = SimDisk::new();
    let log = filled(&sim, 10);
    let check = |log: &Wal, low: u64| {
        let listed: Vec<_> = log.segments().unwrap();
        let listed = listed
            .into_iter()
            .map(|s| (s.lsns, s.bytes, s.newest.unwrap()));
        let expected = [
            (Lsn(low)..Lsn(5), SEGMENT, seconds(4)),
            (Lsn(5)..Lsn(9), SEGMENT, seconds(8)),
            (Lsn(9)..Lsn(11), SEGMENT, seconds(10)),
        ];
        assert!(listed.eq(expected));
    };
    check(&log, 1);
    log.truncate_before(Lsn(3)).unwrap();
    check(&log, 3);
    log.close().unwrap();
    let log = on(&sim).open("/log").unwrap();
    check(&log, 3);
    assert_eq!(
        times(&log),
        (3..11).map(|n| Some(seconds(n))).collect::<Vec<_>>()
    );
}

#[test]
fn the_first_record_since_a_time_is_found() {
    let sim = SimDisk::new();
    drop(filled(&sim, 40));
    let log = on(&sim).open("/log").unwrap();
    let check = |time, lsn| assert_eq!(log.first_since(time).unwrap(), Lsn(lsn), "{time:?}");
    for n in 1..=40 {
        check(seconds(n), n);
        check(seconds(n).saturating_sub(Duration::from_millis(1)), n);
        check(seconds(n).saturating_sub(Duration::from_nanos(1)), n);
        check(seconds(n) + Duration::from_nanos(1), n + 1);
    }
    check(Duration::ZERO, 1);
    check(Duration::MAX, 41);
    log.truncate_before(Lsn(7)).unwrap();
    assert_eq!(log.first_since(seconds(3)).unwrap(), Lsn(7));
    log.truncate_before(Lsn(41)).unwrap();
    assert_eq!(log.first_since(seconds(3)).unwrap(), Lsn(41));
}

#[test]
fn a_time_is_found_in_a_large_segment_with_little_read() {
    let sim = SimDisk::new();
    let log = on(&sim).segment_size(8 << 20).open("/log").unwrap();
    for _ in 0..6000 {
        sim.advance(SECOND);
        log.append(&[7; 1000]).unwrap();
    }
    for n in [1, 2, 17, 3000, 5998, 6000] {
        sim.start_trace();
        assert_eq!(log.first_since(seconds(n)).unwrap(), Lsn(n));
        let calls = sim.trace();
        let reads = calls.iter().filter(|call| call.op == "read");
        let read: u64 = reads.map(|call| call.len).sum();
        assert!(read <= 96 << 10, "{n}: {read} bytes");
    }
}

#[test]
fn the_oldest_segments_go_until_the_log_is_small_enough() {
    let sim = SimDisk::new();
    let log = filled(&sim, 18);
    assert_eq!(log.retain_bytes(5 * SEGMENT).unwrap(), Lsn(1));
    assert_eq!(log.retain_bytes(4 * SEGMENT).unwrap(), Lsn(5));
    assert_eq!(log.retain_bytes(3 * SEGMENT - 1).unwrap(), Lsn(13));
    assert_eq!(
        log.retain_bytes(0).unwrap(),
        Lsn(17),
        "what is being written stays"
    );
    assert_eq!(log.bounds(), Lsn(17)..Lsn(19));
}

#[test]
fn segments_that_are_too_old_go() {
    let sim = SimDisk::new();
    drop(filled(&sim, 18));
    let log = on(&sim).open("/log").unwrap();
    assert_eq!(log.retain_since(seconds(4)).unwrap(), Lsn(1));
    assert_eq!(log.retain_since(seconds(5)).unwrap(), Lsn(5));
    assert_eq!(log.retain_since(seconds(12)).unwrap(), Lsn(9));
    assert_eq!(log.retain_since(Duration::MAX).unwrap(), Lsn(17));
    log.rotate().unwrap();
    assert_eq!(log.retain_since(Duration::MAX).unwrap(), Lsn(19));
    assert!(log.bounds().is_empty());
}

/// What the machine says after a reboot: less than before.
fn reset(sim: &SimDisk) -> SimDisk {
    let booted = SimDisk::boot(sim.world().keep_unsynced());
    booted.set_unix_time(Duration::ZERO);
    booted
}

#[test]
fn times_never_decrease_whatever_the_machine_says() {
    let sim = SimDisk::new();
    let log = filled(&sim, 6);
    log.sync().unwrap();
    sim.set_unix_time(seconds(3));
    log.append(b"at 3 seconds, says the machine").unwrap();
    drop(log);
    let sim = reset(&sim);
    let log = on(&sim).open("/log").unwrap();
    log.append(b"at 0 seconds, says the machine").unwrap();
    let mut expected: Vec<_> = (1..7).map(|n| Some(seconds(n))).collect();
    expected.extend([Some(seconds(6)); 2]);
    assert_eq!(times(&log), expected);
    // Also when no group is left that would tell.
    log.rotate().unwrap();
    log.truncate_before(Lsn(9)).unwrap();
    drop(log);
    let sim = reset(&sim);
    let log = on(&sim).open("/log").unwrap();
    log.append(b"at 0 seconds, says the machine").unwrap();
    assert_eq!(times(&log), [Some(seconds(6))]);
    log.truncate_after(Lsn(0)).unwrap();
    log.close().unwrap();
    let log = on(&reset(&sim)).open("/log").unwrap();
    log.append(b"at 0 seconds, says the machine").unwrap();
    assert_eq!(times(&log), [Some(seconds(6))]);
}
