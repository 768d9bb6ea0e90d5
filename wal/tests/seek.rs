//! Where reading begins is found without reading what is before it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use durable_io::sim::SimDisk;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use wal::{Lsn, Wal};

#[path = "support/files.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod files;

use files::{fast_dir, options, read, segment, settle, write};

const SEGMENT: u64 = 2 << 20;
const MOST: u64 = 64 << 10;

/// Appends records of `len` bytes, each with its position in front, until `segments` are full.
fn fill(log: &Wal, segments: u64, mut len: impl FnMut() -> usize) {
    while log.stats().rotation_count < segments {
        let lsn = log.bounds().end.0;
        let mut payload = lsn.to_le_bytes().to_vec();
        payload.resize(8 + len(), 7);
        log.append(&payload).unwrap();
    }
}

fn check(log: &Wal, from: u64) {
    let mut records = log.records(Lsn(from));
    for lsn in (from..log.bounds().end.0).take(3) {
        let (location, payload) = records.read().unwrap().unwrap();
        assert_eq!(location.lsn(), Lsn(lsn));
        assert_eq!(payload[..8], lsn.to_le_bytes());
    }
}

/// Bytes that `call` reads of segments.
fn bytes_read(sim: &SimDisk, call: impl FnOnce()) -> u64 {
    sim.start_trace();
    call();
    let calls = sim.trace();
    let reads = calls.iter().filter(|call| call.op == "read");
    reads.map(|call| call.len).sum()
}

#[test]
fn the_last_records_of_a_full_segment_are_found_with_64_kib() {
    for len in [100, 3000] {
        let sim = SimDisk::new();
        let log = options().segment_size(SEGMENT).disk(sim.disk());
        let log = log.open("/wal").unwrap();
        fill(&log, 2, || len);
        settle(&log);
        let full = log.bounds().end.0 - 2;
        let first = full / 2 + 1;
        for from in [first - 10, first - 300, full - 10, full, 5] {
            let bytes = bytes_read(&sim, || check(&log, from));
            assert!(
                bytes <= MOST,
                "{bytes} bytes for records of {len} from {from}"
            );
        }
        let truncate = |lsn| bytes_read(&sim, || log.truncate_after(Lsn(lsn)).unwrap());
        for last in [full - 10, first - 10, first - 400] {
            let bytes = truncate(last);
            assert!(bytes <= MOST, "{bytes} bytes to truncate after {last}");
            assert_eq!(log.bounds().end, Lsn(last + 1));
        }
    }
}

/// Every record is found, whatever the sizes of those before it.
#[test]
fn every_record_is_found_among_those_of_very_different_sizes() {
    let seed = std::env::var("SEED").map_or(1, |seed| seed.parse().unwrap());
    let mut rng = StdRng::seed_from_u64(seed);
    for most in [20_u32, 300, 5000, 200_000] {
        let dir = fast_dir();
        let log = options().segment_size(1 << 20).open(dir.path()).unwrap();
        let mut is_small = false;
        fill(&log, 2, || {
            // Runs of small and of large ones.
            is_small ^= rng.random_range(0..50) == 0;
            let most = if is_small { most.min(10) } else { most };
            rng.random_range(0..=most) as usize
        });
        let end = log.bounds().end.0;
        for _ in 0..300 {
            let from = rng.random_range(1..end);
            assert_eq!(
                log.records(Lsn(from)).next().unwrap().unwrap().lsn,
                Lsn(from),
                "SEED={seed}"
            );
            check(&log, from);
        }
        log.truncate_before(Lsn(end / 3)).unwrap();
        for from in [1, end / 3, end / 3 + 1, end / 2, end - 1] {
            check(&log, from.max(end / 3));
        }
        log.truncate_after(Lsn(end / 2)).unwrap();
        assert_eq!(log.append(b"behind it").unwrap().lsn(), Lsn(end / 2 + 1));
        log.verify().unwrap();
    }
}

/// A payload that holds a copy of what is elsewhere in the log is not taken for it.
#[test]
fn a_copy_of_a_group_in_a_payload_is_not_a_group() {
    let dir = fast_dir();
    let log = options().segment_size(1 << 20).open(dir.path()).unwrap();
    for _ in 0..3000 {
        log.append(b"one of many").unwrap();
    }
    let copy = read(dir.path(), &segment(1))[..100_000].to_vec();
    for shift in 0..8 {
        log.append(&copy[shift..]).unwrap();
    }
    let end = log.bounds().end.0;
    for from in (1..end).step_by(97).chain(end - 9..end) {
        assert_eq!(
            log.records(Lsn(from)).next().unwrap().unwrap().lsn,
            Lsn(from)
        );
    }
}

/// Damage before the first record that is asked for is nothing to it.
#[test]
fn damage_before_where_reading_begins_does_not_matter() {
    let dir = fast_dir();
    let log = options().segment_size(1 << 20).open(dir.path()).unwrap();
    fill(&log, 1, || 100);
    let end = log.bounds().end.0;
    let mut bytes = read(dir.path(), &segment(1));
    bytes[5000] ^= 1;
    write(dir.path(), &segment(1), &bytes);
    assert!(log.records(Lsn(1)).any(|record| record.is_err()));
    check(&log, end / 2);
    assert!(log.records(Lsn(end / 2)).all(|record| record.is_ok()));
}
