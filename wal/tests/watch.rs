//! Reading a log that somebody else writes, without its lock.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use wal::{Corruption, Error, Lsn, Wal, Watch};

#[path = "support/files.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod files;

use files::{fast_dir, options, read, segment, settle, write};

fn watch(path: &Path, from: u64) -> Watch {
    options().watch(path, Lsn(from)).unwrap()
}

fn append(log: &Wal, lsns: std::ops::Range<u64>) {
    for lsn in lsns {
        log.append(&lsn.to_le_bytes().repeat(30)).unwrap();
    }
}

/// What can be read by now.
fn ready(watch: &mut Watch) -> Vec<u64> {
    std::iter::from_fn(|| watch.next_record().unwrap())
        .map(|record| {
            assert_eq!(record.payload, record.lsn.0.to_le_bytes().repeat(30));
            record.lsn.0
        })
        .collect()
}

#[test]
fn what_another_handle_writes_is_seen_as_it_comes() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    let mut watched = watch(dir.path(), 1);
    let mut end = 1;
    assert_eq!(ready(&mut watched), [0; 0]);
    for count in [1, 2, 20, 3, 40] {
        append(&log, end..end + count);
        assert_eq!(ready(&mut watched), (end..end + count).collect::<Vec<_>>());
        assert_eq!(ready(&mut watched), [0; 0]);
        end += count;
        settle(&log);
        log.rotate().unwrap();
        assert_eq!(ready(&mut watched), [0; 0]);
    }
    assert_eq!(watched.position(), Lsn(end));
    // Inside of a segment, of one that was truncated, and after everything is closed.
    assert_eq!(
        ready(&mut watch(dir.path(), 30)),
        (30..end).collect::<Vec<_>>()
    );
    log.truncate_before(Lsn(20)).unwrap();
    assert_eq!(
        ready(&mut watch(dir.path(), 0)),
        (20..end).collect::<Vec<_>>()
    );
    log.close().unwrap();
    assert_eq!(
        ready(&mut watch(dir.path(), 0)),
        (20..end).collect::<Vec<_>>()
    );
}

#[test]
fn a_segment_that_gives_way_to_a_larger_one_is_followed() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    let mut watched = watch(dir.path(), 1);
    assert_eq!(watched.next_record().unwrap(), None);
    for lsn in [1, 2] {
        log.append(&[7; 5000]).unwrap();
        assert_eq!(watched.next_record().unwrap().unwrap().lsn, Lsn(lsn));
        log.rotate().unwrap();
        assert_eq!(watched.next_record().unwrap(), None);
    }
}

#[test]
fn truncations_end_it_if_they_take_what_was_or_would_be_read() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    append(&log, 1..30);
    let mut late = watch(dir.path(), 5);
    let mut ahead = watch(dir.path(), 1);
    assert_eq!(ready(&mut ahead).len(), 29);
    let mut before = watch(dir.path(), 11);
    assert_eq!(before.next_record().unwrap().unwrap().lsn, Lsn(11));
    log.truncate_after(Lsn(20)).unwrap();
    assert!(matches!(ahead.next_record(), Err(Error::Truncated)));
    assert!(
        matches!(ahead.next_record(), Err(Error::Truncated)),
        "it stays so"
    );
    assert_eq!(ready(&mut before), (12..21).collect::<Vec<_>>());
    append(&log, 21..25);
    assert_eq!(ready(&mut before), [21, 22, 23, 24]);
    log.truncate_before(Lsn(10)).unwrap();
    assert!(matches!(late.next_record(), Err(Error::Truncated)));
}

/// A truncation that goes through a batch, when it was written down and not done yet.
#[test]
fn records_that_are_being_truncated_are_not_given_out() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    let payloads = [1, 2, 3_u64].map(|lsn| lsn.to_le_bytes().repeat(30));
    log.append_batch(&payloads.each_ref().map(Vec::as_slice))
        .unwrap();
    log.sync().unwrap();
    let before = read(dir.path(), &segment(1));
    log.truncate_after(Lsn(2)).unwrap();
    let after = read(dir.path(), &segment(1));
    write(dir.path(), &segment(1), &before);
    let mut watched = watch(dir.path(), 1);
    assert_eq!(ready(&mut watched), [1, 2]);
    write(dir.path(), &segment(1), &after);
    append(&log, 3..5);
    assert_eq!(ready(&mut watched), [3, 4]);
}

#[test]
fn half_a_group_is_waited_for_and_only_a_durable_one_is_damage() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    append(&log, 1..4);
    let before = read(dir.path(), &segment(1));
    append(&log, 4..5);
    let whole = read(dir.path(), &segment(1));
    let at = before
        .iter()
        .zip(&whole)
        .position(|(old, new)| old != new)
        .unwrap();
    let mut watched = watch(dir.path(), 1);
    for len in [0, 1, 31, 32, 40, 200, 272] {
        let torn = [&whole[..at + len], &before[at + len..]].concat();
        write(dir.path(), &segment(1), &torn);
        assert!(
            ready(&mut watched)
                .iter()
                .eq([1, 2, 3].iter().filter(|_| len == 0)),
            "{len}"
        );
    }
    write(dir.path(), &segment(1), &whole);
    assert_eq!(ready(&mut watched), [4]);
    append(&log, 5..6);
    log.close().unwrap();
    let mut torn = read(dir.path(), &segment(1));
    torn[at + 300] ^= 1;
    write(dir.path(), &segment(1), &torn);
    for _ in 0..2 {
        let Err(Error::Corrupt { reason, .. }) = watched.next_record() else {
            panic!("record 5 is damaged, and the superblock says that it was durable");
        };
        let (first, last) = (Lsn(5), Lsn(5));
        assert_eq!(reason, Corruption::LostRecords { first, last });
    }
}

#[test]
fn a_busy_writer_is_followed_to_its_end() {
    const COUNT: u64 = 3000;
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            append(&log, 1..COUNT + 1);
            is_done.store(true, Ordering::SeqCst);
        });
        let mut watched = watch(dir.path(), 1);
        let mut seen = Vec::new();
        loop {
            // Before the look: what is there then is seen.
            let is_last = is_done.load(Ordering::SeqCst);
            seen.extend(ready(&mut watched));
            if is_last {
                break;
            }
        }
        assert!(seen.into_iter().eq(1..=COUNT));
    });
}
