//! What each call does, apart from crashes and damage.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use wal::{
    Background, DEFAULT_SEGMENT_SIZE, Error, InvalidOption, Lsn, MAX_BATCH_SIZE, MAX_SEGMENT_SIZE,
    Options, SyncMode, Tail, max_record_size,
};

#[path = "support/files.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod files;

use files::{SEGMENT, dir, fast_dir, options, payloads, segment, settle, write};

#[test]
fn an_empty_log_says_that_it_was_created() {
    let dir = fast_dir();
    let path = dir.path().join("a").join("b");
    let log = options().open(&path).unwrap();
    assert!(log.recovery().created);
    assert_eq!(log.bounds(), Lsn(1)..Lsn(1));
    assert_eq!(log.records(Lsn(0)).count(), 0);
    assert_eq!(log.sync().unwrap(), Lsn(0));
    log.close().unwrap();
    let log = options().open(&path).unwrap();
    assert!(!log.recovery().created);
    assert_eq!(
        (log.recovery().records, log.recovery().tail),
        (0, Tail::Clean)
    );
}

#[test]
fn an_empty_batch_writes_nothing() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    log.append(b"one").unwrap();
    assert_eq!(log.append_batch(&[]).unwrap().lsns(), Lsn(2)..Lsn(2));
    assert_eq!(log.stats().group_count, 1);
}

#[test]
fn what_no_segment_can_hold_is_refused_and_nothing_written() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    let limit = max_record_size(SEGMENT);
    let largest = vec![7; usize::try_from(limit).unwrap()];
    assert_eq!(log.append(&largest).unwrap().lsn(), Lsn(1));
    // Never joined: the sizes alone say that it is too much.
    let chunk = vec![0; 64 << 20];
    let Err(Error::TooLarge { what, size, limit }) = log.append_batch(&[chunk.as_slice(); 64])
    else {
        panic!()
    };
    assert_eq!((what, limit), ("batch", log.max_batch_size()));
    assert_eq!((size, limit), ((64 << 20) * 64 + 64 * 8, MAX_BATCH_SIZE));
    assert_eq!(
        log.append(&largest).unwrap().lsn(),
        Lsn(2),
        "nothing was written"
    );
    drop(log);
    assert_eq!(
        payloads(&options().open(dir.path()).unwrap()).unwrap(),
        [largest.clone(), largest]
    );
}

#[test]
fn records_begin_at_the_requested_position() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    for n in 0..40_u8 {
        log.append_batch(&[&[n; 50], &[n; 60]]).unwrap();
    }
    log.truncate_before(Lsn(8)).unwrap();
    for from in 0..=82 {
        let lsns: Vec<u64> = log
            .records(Lsn(from))
            .map(|record| record.unwrap().lsn.0)
            .collect();
        assert_eq!(lsns, (from.max(8)..81).collect::<Vec<_>>(), "from {from}");
    }
}

#[test]
fn truncation_does_not_disturb_an_iterator() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    for n in 0..40_u8 {
        log.append(&[n; 200]).unwrap();
    }
    let records = log.records(Lsn(1));
    log.truncate_before(Lsn(39)).unwrap();
    log.append(b"later").unwrap();
    log.close().unwrap();
    let payloads: Vec<_> = records.map(|record| record.unwrap().payload).collect();
    assert_eq!(
        payloads,
        (0..40_u8).map(|n| vec![n; 200]).collect::<Vec<_>>()
    );
}

#[test]
fn a_rotation_needs_a_record_in_the_segment() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    log.rotate().unwrap();
    assert_eq!(log.stats().rotation_count, 0);
    log.append(b"one").unwrap();
    log.rotate().unwrap();
    log.rotate().unwrap();
    assert_eq!(log.stats().rotation_count, 1);
    log.append(b"two").unwrap();
    drop(log);
    let log = options().open(dir.path()).unwrap();
    assert_eq!(payloads(&log).unwrap(), [b"one", b"two"]);
}

#[test]
fn the_background_makes_the_next_segment_in_two_steps() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    assert_eq!(log.stats().segment_count, 1);
    // The rest of the active segment first.
    assert!(log.run_background().unwrap());
    assert_eq!(log.stats().segment_count, 1);
    assert!(log.run_background().unwrap());
    assert_eq!(log.stats().segment_count, 2);
    assert!(log.run_background().unwrap());
    assert!(!log.run_background().unwrap());
    log.append(b"one").unwrap();
    log.rotate().unwrap();
    assert!(log.run_background().unwrap(), "the one after it");
}

#[test]
fn a_threaded_log_leaves_the_background_to_its_thread() {
    let dir = fast_dir();
    let log = options()
        .background(Background::Threads)
        .open(dir.path())
        .unwrap();
    assert!(!log.run_background().unwrap());
    log.close().unwrap();
}

#[test]
fn a_full_batch_syncs_itself() {
    let dir = fast_dir();
    let mode = SyncMode::Batch {
        writes: 3,
        interval: Duration::from_secs(3600),
    };
    let log = options().sync(mode).open(dir.path()).unwrap();
    let durable: Vec<u64> = (0..7)
        .map(|_| {
            log.append_batch(&[b"a", b"b"]).unwrap();
            log.stats().durable_lsn.0
        })
        .collect();
    assert_eq!(durable, [0, 0, 6, 6, 6, 12, 12], "a batch is one write");
    assert_eq!(log.sync().unwrap(), Lsn(14));
}

#[test]
fn the_interval_syncs_what_waits() {
    let dir = fast_dir();
    let mode = SyncMode::Batch {
        writes: 1000,
        interval: Duration::ZERO,
    };
    let log = options().sync(mode).open(dir.path()).unwrap();
    settle(&log);
    log.append(b"one").unwrap();
    assert_eq!(log.stats().durable_lsn, Lsn(0));
    assert!(log.run_background().unwrap());
    assert_eq!(log.stats().durable_lsn, Lsn(1));
    assert!(!log.run_background().unwrap());
}

#[test]
fn the_thread_syncs_what_waits() {
    let dir = fast_dir();
    let mode = SyncMode::Batch {
        writes: 1000,
        interval: Duration::from_millis(1),
    };
    let log = options()
        .sync(mode)
        .background(Background::Threads)
        .open(dir.path())
        .unwrap();
    for n in 1..=20 {
        assert_eq!(log.append(b"one").unwrap().lsn(), Lsn(n));
        // Ends if the thread wakes for every append that waits.
        while log.stats().durable_lsn < Lsn(n) {
            std::thread::yield_now();
        }
    }
}

#[test]
fn closing_proves_everything_durable() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    log.append_batch(&[b"a", b"b", b"c"]).unwrap();
    log.close().unwrap();
    let log = options().open(dir.path()).unwrap();
    assert_eq!(log.recovery().durable_in_superblock, Lsn(3));
    assert_eq!(log.recovery().durable_at_open, Lsn(3));
}

#[test]
fn a_log_keeps_its_segment_size() {
    let dir = fast_dir();
    options().open(dir.path()).unwrap().close().unwrap();
    let other = options().segment_size(4096).open(dir.path());
    assert!(matches!(
        other,
        Err(Error::InvalidOption(InvalidOption {
            option: "segment_size",
            value: 4096,
            ..
        }))
    ));
    let log = Options::new()
        .background(Background::Inline)
        .open(dir.path())
        .unwrap();
    assert!(log.stats().disk_bytes < DEFAULT_SEGMENT_SIZE);
}

#[test]
fn impossible_options_are_refused() {
    let dir = fast_dir();
    for size in [0, 512, 1025, MAX_SEGMENT_SIZE + 512, u64::MAX] {
        let opened = Options::new().segment_size(size).open(dir.path());
        assert!(matches!(opened, Err(Error::InvalidOption { .. })), "{size}");
    }
    let mode = SyncMode::Batch {
        writes: 0,
        interval: Duration::ZERO,
    };
    let opened = Options::new().sync(mode).open(dir.path());
    assert!(matches!(
        opened,
        Err(Error::InvalidOption(InvalidOption {
            option: "writes",
            ..
        }))
    ));
}

#[test]
fn files_of_others_are_left_alone() {
    let path = fast_dir();
    write(path.path(), "notes.txt", b"mine");
    write(path.path(), "1.wal", b"not a segment of ours");
    write(path.path(), "mark.tmp", b"half a ma");
    let log = options().open(path.path()).unwrap();
    log.append(b"one").unwrap();
    log.close().unwrap();
    write(path.path(), "mark.tmp", b"half a ma");
    let log = options().open(path.path()).unwrap();
    assert_eq!(log.recovery().removed_files, 1);
    drop(log);
    let mut names: Vec<_> = dir(path.path())
        .list()
        .unwrap()
        .into_iter()
        .map(|entry| entry.name)
        .collect();
    names.sort();
    assert_eq!(names, [&segment(1), "1.wal", "lock", "mark", "notes.txt"]);
}

#[test]
fn verify_counts_what_it_read() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    log.append_batch(&[b"a", b"b"]).unwrap();
    log.rotate().unwrap();
    log.append(b"c").unwrap();
    let verified = log.verify().unwrap();
    assert_eq!(
        (verified.segments, verified.groups, verified.records),
        (2, 2, 3)
    );
    assert_eq!(verified.bytes, SEGMENT + 64 + 48);
}

#[test]
fn an_open_reports_its_progress() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    for _ in 0..20 {
        log.append(&[7; 400]).unwrap();
    }
    log.close().unwrap();
    let reported = Arc::new(Mutex::new(Vec::new()));
    let telling = || {
        let reported = Arc::clone(&reported);
        options().progress(move |done, all| reported.lock().unwrap().push((done, all)))
    };
    let log = telling().open(dir.path()).unwrap();
    let segments = log.stats().segment_count;
    let once: Vec<_> = (0..=segments).map(|done| (done, segments)).collect();
    assert_eq!(*reported.lock().unwrap(), once);
    assert!(segments > 4);
    drop(log);
    reported.lock().unwrap().clear();
    drop(telling().repair(dir.path()).unwrap());
    assert_eq!(*reported.lock().unwrap(), once.repeat(2));
}
