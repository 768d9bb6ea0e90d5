//! Defects that logs of this kind have had; each must stay out.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use wal::{Corruption, Error, Lsn, SyncMode, Wal};

#[path = "support/files.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod files;

use files::{fast_dir, options, payloads, read, restore, segment, snapshot, write};

/// Appends records `from..to`, each holding its own number, one segment for every four.
fn fill(log: &Wal, from: u64, to: u64) {
    for lsn in from..to {
        assert_eq!(log.append(&lsn.to_le_bytes()).unwrap().lsn(), Lsn(lsn));
        if lsn.is_multiple_of(4) {
            log.rotate().unwrap();
        }
    }
}

fn numbers(log: &Wal) -> Vec<u64> {
    let number = |payload: Vec<u8>| u64::from_le_bytes(payload.try_into().unwrap());
    payloads(log).unwrap().into_iter().map(number).collect()
}

/// Truncation rewrote the log's files in place: a crash lost the records to be kept, too.
#[test]
fn d07_truncation_keeps_every_record_from_its_bound_on() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    fill(&log, 1, 15);
    log.sync().unwrap();
    let before = snapshot(dir.path());
    log.truncate_before(Lsn(10)).unwrap();
    assert_eq!(numbers(&log), (10..15).collect::<Vec<_>>());
    drop(log);
    let after = snapshot(dir.path());
    // Nothing that was kept has changed, and only whole segments are gone.
    for (name, bytes) in after.iter().filter(|(name, _)| name != "mark") {
        assert!(
            before
                .iter()
                .any(|(old, same)| old == name && same == bytes),
            "{name}"
        );
    }
    // A crash before the superblock was written leaves all, a crash after it only what is above.
    restore(dir.path(), &before);
    assert_eq!(
        numbers(&options().open(dir.path()).unwrap()),
        (1..15).collect::<Vec<_>>()
    );
    restore(dir.path(), &before);
    write(
        dir.path(),
        "mark",
        &after.iter().find(|(name, _)| name == "mark").unwrap().1,
    );
    assert_eq!(
        numbers(&options().open(dir.path()).unwrap()),
        (10..15).collect::<Vec<_>>()
    );
}

/// Truncation was not durable: what had been given up was replayed again after a crash.
#[test]
fn d08_what_was_truncated_never_comes_back() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    fill(&log, 1, 15);
    let before = snapshot(dir.path());
    log.truncate_before(Lsn(10)).unwrap();
    drop(log);
    // The unlinked names come back: nothing had synced the directory.
    for (name, bytes) in before.iter().filter(|(name, _)| name != "mark") {
        write(dir.path(), name, bytes);
    }
    let log = options().open(dir.path()).unwrap();
    assert_eq!(log.recovery().removed_files, 2);
    assert_eq!(log.bounds(), Lsn(10)..Lsn(15));
    assert_eq!(numbers(&log), (10..15).collect::<Vec<_>>());
    log.truncate_before(Lsn(99)).unwrap();
    assert_eq!(log.bounds(), Lsn(15)..Lsn(15));
    drop(log);
    let log = options().open(dir.path()).unwrap();
    assert_eq!(
        log.bounds(),
        Lsn(15)..Lsn(15),
        "positions go on after truncation to empty"
    );
    assert_eq!(log.append(b"next").unwrap().lsn(), Lsn(15));
}

/// The checksum left out the sequence number and the lengths.
#[test]
fn d15_every_bit_of_a_header_is_covered() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    log.append(b"first").unwrap();
    log.append(b"second").unwrap();
    log.close().unwrap();
    let files = snapshot(dir.path());
    let bytes = read(dir.path(), &segment(1));
    // Segment header; group header and record header of the first record.
    for bit in 0..(64 + 32 + 8) * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        restore(dir.path(), &files);
        write(dir.path(), &segment(1), &changed);
        let opened = options().open(dir.path());
        assert!(
            matches!(opened, Err(Error::Corrupt { .. })),
            "bit {bit}: {opened:?}"
        );
    }
}

/// Any bad record was the end of the log: valid, acknowledged records after it were dropped without
/// a word.
#[test]
fn d17_damage_before_valid_records_is_reported() {
    let dir = fast_dir();
    let log = options().sync(SyncMode::Always).open(dir.path()).unwrap();
    fill(&log, 1, 8);
    drop(log);
    // Record 6: the second in the second segment, whose groups are 32 + 8 + 8 bytes.
    let mut bytes = read(dir.path(), &segment(2));
    bytes[64 + 48 + 32 + 8] ^= 1;
    write(dir.path(), &segment(2), &bytes);
    let damaged = snapshot(dir.path());
    let Err(Error::Corrupt {
        path,
        offset,
        reason,
    }) = options().open(dir.path())
    else {
        panic!()
    };
    assert_eq!(path, dir.path().join(segment(2)));
    assert_eq!(offset, 64 + 48 + 32);
    // Nothing was synced after record 7, so its header vouches for 6 only.
    assert_eq!(
        reason,
        Corruption::LostRecords {
            first: Lsn(6),
            last: Lsn(6)
        }
    );
    assert_eq!(
        snapshot(dir.path()),
        damaged,
        "a refused open changes nothing"
    );

    let log = options().repair(dir.path()).unwrap();
    assert_eq!(
        log.recovery().dropped,
        Some(Lsn(6)..Lsn(8)),
        "what the repair could see"
    );
    assert_eq!(numbers(&log), (1..6).collect::<Vec<_>>());
    assert_eq!(log.append(b"after it").unwrap().lsn(), Lsn(6));
    log.close().unwrap();
    let log = options().open(dir.path()).unwrap();
    assert_eq!(log.recovery().dropped, None);
    assert_eq!(log.recovery().records, 6);
    log.verify().unwrap();
}

#[test]
fn d17_damage_in_a_sealed_segment_ends_the_records_with_an_error() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    fill(&log, 1, 8);
    log.close().unwrap();
    let mut bytes = read(dir.path(), &segment(1));
    bytes[64 + 48 + 32 + 8] ^= 1;
    write(dir.path(), &segment(1), &bytes);
    let log = options().open(dir.path()).unwrap();
    let mut records = log.records(Lsn(1));
    assert_eq!(records.next().unwrap().unwrap().lsn, Lsn(1));
    let error = records.next().unwrap().unwrap_err();
    let Error::Corrupt {
        path,
        offset,
        reason,
    } = error
    else {
        panic!("{error}")
    };
    assert_eq!((path, offset), (dir.path().join(segment(1)), 64 + 48 + 32));
    assert_eq!(reason, Corruption::Checksum);
    assert!(records.next().is_none(), "nothing follows an error");
    assert_eq!(
        log.records(Lsn(5)).count(),
        3,
        "what is not damaged can be read"
    );
    drop(log);
    let log = options().repair(dir.path()).unwrap();
    assert_eq!(log.recovery().dropped, Some(Lsn(2)..Lsn(8)));
    assert_eq!(numbers(&log), [1]);
}

/// Two handles could open one log.
#[test]
fn d29_a_second_opener_is_locked_out() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    let second = options().open(dir.path());
    let Err(Error::Disk(durable_io::Error::Locked { path, pid })) = second else {
        panic!()
    };
    assert_eq!(path, dir.path().join("lock"));
    assert_eq!(pid, Some(std::process::id()));
    let records = log.records(Lsn(0));
    drop(log);
    options().open(dir.path()).unwrap().close().unwrap();
    drop(records);
}
