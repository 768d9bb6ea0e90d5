//! Whatever is damaged, every record is given out that can be read, and every other one is named.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use std::path::Path;

use tempfile::TempDir;
use wal::{Corruption, Error, Lsn};

#[path = "support/files.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod files;

use files::{fast_dir, options, read, restore, segment, settle, snapshot, write};

/// Groups of three records of 100 bytes, five groups to a segment; the records below 3 are truncated.
const LAST: u64 = 36;

fn payload(lsn: u64) -> Vec<u8> {
    vec![u8::try_from(lsn).unwrap(); 100]
}

fn fixture() -> TempDir {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    for group in 0..LAST / 3 {
        let records: Vec<_> = (1..=3).map(|n| payload(group * 3 + n)).collect();
        let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
        log.append_batch(&records).unwrap();
    }
    log.truncate_before(Lsn(3)).unwrap();
    settle(&log);
    log.close().unwrap();
    dir
}

/// The records that are given out, and those that are named as lost.
fn salvage(path: &Path, what: &str) -> (Vec<u64>, Vec<u64>) {
    let before = snapshot(path);
    let (mut read, mut lost) = (Vec::new(), Vec::new());
    let mut next = 3;
    for record in options().salvage(path).unwrap() {
        match record {
            Ok(record) => {
                assert_eq!(record.lsn.0, next, "{what}");
                assert_eq!(record.payload, payload(next), "{what}");
                read.push(next);
                next += 1;
            }
            Err(Error::Corrupt {
                reason: Corruption::LostRecords { first, last },
                ..
            }) => {
                assert_eq!(first.0, next, "{what}");
                lost.extend(first.0..=last.0);
                next = last.0 + 1;
            }
            Err(error) => panic!("{what}: {error}"),
        }
    }
    assert_eq!(next, LAST + 1, "{what}: every record is given out or named");
    assert_eq!(snapshot(path), before, "{what}: nothing is changed");
    (read, lost)
}

/// The records of which byte `at` of segment `number` holds something: the record itself, the rest of
/// its group if it is of a length, the group if it is of its header; none elsewhere.
fn at_stake(number: u64, at: usize) -> Vec<u64> {
    const RECORD: usize = 108;
    const GROUP: usize = 32 + 3 * RECORD + 4;
    let Some(in_groups) = at.checked_sub(64).filter(|&at| at < 5 * GROUP) else {
        return Vec::new();
    };
    let first = (number - 1) * 15 + (in_groups / GROUP) as u64 * 3 + 1;
    let records = match (in_groups % GROUP).checked_sub(32) {
        None => 0..3,
        Some(at) if at >= 3 * RECORD => 0..0,
        Some(at) if at % RECORD < 4 => at / RECORD..3,
        Some(at) => at / RECORD..at / RECORD + 1,
    };
    records
        .map(|record| first + record as u64)
        .filter(|lsn| (3..=LAST).contains(lsn))
        .collect()
}

#[test]
fn an_undamaged_log_is_given_out_whole() {
    let dir = fixture();
    let (read, lost) = salvage(dir.path(), "undamaged");
    assert_eq!((read.len(), lost.len()), (34, 0));
    // By several at once.
    let both = [(), ()].map(|()| options().salvage(dir.path()).unwrap());
    assert!(both.iter().all(wal::Salvage::has_superblock));
    assert!(options().open(dir.path()).is_err());
    for one in both {
        assert_eq!(one.count(), 34);
    }
}

#[test]
fn no_changed_byte_withholds_a_record_that_can_be_read() {
    let dir = fixture();
    let files = snapshot(dir.path());
    let mut losses = 0;
    for number in 1..=3 {
        let whole = read(dir.path(), &segment(number));
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            write(dir.path(), &segment(number), &bytes);
            let (_, lost) = salvage(dir.path(), &format!("byte {at} of segment {number}"));
            let allowed = at_stake(number, at);
            assert!(
                lost.iter().all(|lsn| allowed.contains(lsn)),
                "byte {at} of segment {number}: {lost:?} lost, {allowed:?} at stake"
            );
            losses += lost.len();
        }
        restore(dir.path(), &files);
    }
    assert!(losses > 3000, "{losses}");
}

#[test]
fn a_missing_segment_and_a_lost_superblock_cost_only_what_was_in_them() {
    let dir = fixture();
    let files = snapshot(dir.path());
    let remove = |name: &str| files::dir(dir.path()).remove(name).unwrap();
    remove(&segment(2));
    let (read, lost) = salvage(dir.path(), "segment 2 is missing");
    assert_eq!(lost, (16..=30).collect::<Vec<_>>());
    assert_eq!(read.len(), 19);
    restore(dir.path(), &files);

    // Without the superblock what was truncated is back, where its segment is still there.
    remove("mark");
    let records = options().salvage(dir.path()).unwrap();
    assert!(!records.has_superblock());
    let records: Vec<_> = records.map(|record| record.unwrap().lsn.0).collect();
    assert_eq!(records, (1..=LAST).collect::<Vec<_>>());
}

#[test]
fn a_log_that_is_open_or_not_there_is_an_error() {
    let dir = fixture();
    let log = options().open(dir.path()).unwrap();
    assert!(matches!(
        options().salvage(dir.path()),
        Err(Error::Disk(durable_io::Error::Locked { .. }))
    ));
    drop(log);
    assert!(options().salvage(dir.path().join("nothing")).is_err());
}
