//! Threads that append at the same time: one order, no gap, nothing shared by two.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use wal::{Background, Lsn, Options, Stats, SyncMode, Wal};

#[path = "support/files.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod files;

use files::fast_dir;

const THREADS: u64 = 8;
const CALLS: u64 = 200;

fn options(sync: SyncMode) -> Options {
    Options::new()
        .segment_size(4096)
        .background(Background::Threads)
        .sync(sync)
}

/// What a call appends: its thread, its number in the thread, and its number in the batch.
fn payload(thread: u64, call: u64, part: u64) -> Vec<u8> {
    [thread, call, part].map(u64::to_le_bytes).concat()
}

fn decode(payload: &[u8]) -> [u64; 3] {
    [0, 8, 16].map(|at| u64::from_le_bytes(payload[at..at + 8].try_into().unwrap()))
}

/// Every third call appends a batch of three.
fn parts(call: u64) -> u64 {
    if call.is_multiple_of(3) { 3 } else { 1 }
}

/// All threads append; returns each record's LSN as it was acknowledged.
fn append_everything(log: &Wal) -> Vec<(u64, [u64; 3])> {
    let start = Barrier::new(usize::try_from(THREADS).unwrap());
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    let mut acknowledged = Vec::new();
                    for call in 0..CALLS {
                        let batch: Vec<_> = (0..parts(call))
                            .map(|part| payload(thread, call, part))
                            .collect();
                        let slices: Vec<&[u8]> = batch.iter().map(Vec::as_slice).collect();
                        let range = log.append_batch(&slices).unwrap().lsns();
                        assert_eq!(range.end.0 - range.start.0, parts(call));
                        assert!(log.bounds().end >= range.end, "acknowledged means visible");
                        for part in 0..parts(call) {
                            acknowledged.push((range.start.0 + part, [thread, call, part]));
                        }
                    }
                    acknowledged
                })
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    })
}

fn check(log: &Wal, mut acknowledged: Vec<(u64, [u64; 3])>) {
    acknowledged.sort_unstable();
    let lsns: Vec<u64> = acknowledged.iter().map(|(lsn, _)| *lsn).collect();
    assert_eq!(
        lsns,
        (1..=lsns.len() as u64).collect::<Vec<_>>(),
        "dense, and none given twice"
    );
    let read: Vec<_> = log
        .records(Lsn(0))
        .map(|record| record.unwrap())
        .map(|record| (record.lsn.0, decode(&record.payload)))
        .collect();
    assert_eq!(read, acknowledged);
    for thread in 0..THREADS {
        let own: Vec<_> = read
            .iter()
            .map(|(_, id)| id)
            .filter(|id| id[0] == thread)
            .collect();
        assert!(
            own.is_sorted(),
            "the records of thread {thread} are in its order"
        );
    }
    for pair in read.windows(2) {
        let (before, after) = (pair[0].1, pair[1].1);
        let is_inside = after[2] > 0;
        assert!(
            !is_inside || before[..2] == after[..2],
            "a batch is not interrupted"
        );
    }
}

fn run(sync: SyncMode) -> Stats {
    let dir = fast_dir();
    let log = options(sync).open(dir.path()).unwrap();
    let acknowledged = append_everything(&log);
    check(&log, acknowledged.clone());
    log.verify().unwrap();
    let stats = log.stats();
    log.close().unwrap();
    let log = options(sync).open(dir.path()).unwrap();
    check(&log, acknowledged);
    stats
}

#[test]
fn concurrent_appends_are_one_dense_order_in_always() {
    let stats = run(SyncMode::Always);
    assert_eq!(stats.durable_lsn, stats.last_lsn);
}

#[test]
fn concurrent_appends_are_one_dense_order_in_batch() {
    run(SyncMode::Batch {
        writes: 16,
        interval: Duration::from_millis(1),
    });
}

#[test]
fn concurrent_appends_are_one_dense_order_in_manual() {
    run(SyncMode::Manual);
}

#[test]
fn concurrent_appends_share_syncs() {
    // On the disk of the tests' directory, whose syncs take their time.
    let dir = tempfile::tempdir().unwrap();
    let log = options(SyncMode::Always)
        .segment_size(1 << 20)
        .open(dir.path())
        .unwrap();
    append_everything(&log);
    let stats = log.stats();
    assert!(
        stats.sync_count < THREADS * CALLS,
        "{} syncs",
        stats.sync_count
    );
    assert!(
        stats.group_count < THREADS * CALLS,
        "{} groups",
        stats.group_count
    );
}

#[test]
fn readers_and_truncation_go_on_beside_writers() {
    let dir = fast_dir();
    // A segment that is not open could not be read after the truncation.
    let log = options(SyncMode::Manual)
        .open_segments(usize::MAX)
        .open(dir.path())
        .unwrap();
    thread::scope(|scope| {
        scope.spawn(|| append_everything(&log));
        for _ in 0..50 {
            let bounds = log.bounds();
            let records = log.records(Lsn(0));
            log.truncate_before(Lsn(bounds.end.0 / 2)).unwrap();
            let lsns: Vec<u64> = records.map(|record| record.unwrap().lsn.0).collect();
            assert!(lsns.first().is_none_or(|&first| first == bounds.start.0));
            assert!(lsns.windows(2).all(|pair| pair[0] + 1 == pair[1]));
            log.sync().unwrap();
            log.verify().unwrap();
        }
    });
}

#[test]
fn a_handle_is_shared_between_threads() {
    fn is_shared<T: Send + Sync + 'static>() {}
    is_shared::<Wal>();
}
