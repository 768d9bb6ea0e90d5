//! Repair: the log is truncated at its first damage, says so, and continues.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use std::ops::Range;
use std::path::Path;

use tempfile::TempDir;
use wal::{Corruption, Error, Lsn};

#[path = "support/files.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod files;

use files::{dir, fast_dir, options, read, restore, segment, settle, snapshot, write};

/// Four records of 400 bytes to a segment; the records below 3 are truncated, 18 is the last.
fn fixture() -> TempDir {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    for lsn in 1..=18_u8 {
        log.append(&[lsn; 400]).unwrap();
    }
    log.truncate_before(Lsn(3)).unwrap();
    settle(&log);
    log.close().unwrap();
    dir
}

/// The offset of the payload of record `lsn` in its segment.
fn payload_at(lsn: u64) -> usize {
    64 + usize::try_from((lsn - 1) % 4).unwrap() * 440 + 40
}

fn damage(path: &Path, lsn: u64) {
    let name = segment((lsn - 1) / 4 + 1);
    let mut bytes = read(path, &name);
    bytes[payload_at(lsn)] ^= 1;
    write(path, &name, &bytes);
}

fn lsns(log: &wal::Wal) -> Vec<u64> {
    let lsn = |record: wal::Record| {
        assert!(
            record
                .payload
                .iter()
                .all(|&byte| u64::from(byte) == record.lsn.0)
        );
        record.lsn.0
    };
    log.records(Lsn(0))
        .map(|record| lsn(record.unwrap()))
        .collect()
}

/// Repairs the log, which then holds `kept` and lost `dropped`, appends, and opens it again.
fn check(path: &Path, kept: Range<u64>, dropped: Option<Range<u64>>, what: &str) {
    let log = options()
        .repair(path)
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    let dropped = dropped.map(|range| Lsn(range.start)..Lsn(range.end));
    assert_eq!(log.recovery().dropped, dropped, "{what}");
    assert_eq!(lsns(&log), kept.clone().collect::<Vec<_>>(), "{what}");
    let mut next = kept.end;
    for _ in 0..9 {
        assert_eq!(
            log.append(&[u8::try_from(next).unwrap(); 400])
                .unwrap()
                .lsn(),
            Lsn(next),
            "{what}"
        );
        next += 1;
    }
    log.verify().unwrap();
    drop(log);
    let log = options()
        .open(path)
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(lsns(&log), (kept.start..next).collect::<Vec<_>>(), "{what}");
    drop(log);
    let log = options().repair(path).unwrap();
    assert_eq!(
        log.recovery().dropped,
        None,
        "{what}: there is nothing left to repair"
    );
}

#[test]
fn a_log_without_damage_is_left_as_it_is() {
    let dir = fixture();
    let before = snapshot(dir.path());
    let log = options().repair(dir.path()).unwrap();
    assert_eq!(log.recovery().dropped, None);
    assert_eq!(lsns(&log), (3..19).collect::<Vec<_>>());
    drop(log);
    assert_eq!(snapshot(dir.path()), before);
}

#[test]
fn the_log_is_truncated_before_any_damaged_record() {
    let fixture = fixture();
    let files = snapshot(fixture.path());
    for lsn in 3..=18 {
        restore(fixture.path(), &files);
        damage(fixture.path(), lsn);
        let what = format!("record {lsn}");
        check(fixture.path(), 3..lsn, Some(lsn..19), &what);
    }
}

#[test]
fn a_segment_that_is_too_short_gives_its_whole_groups() {
    let fixture = fixture();
    let files = snapshot(fixture.path());
    for number in 1..=5 {
        for len in [64, 65, 96, 300, 503, 504, 944, 1000, 1384, 1823, 1824, 2047] {
            restore(fixture.path(), &files);
            let bytes = read(fixture.path(), &segment(number));
            write(fixture.path(), &segment(number), &bytes[..len]);
            let what = format!("segment {number} of {len} bytes");
            let opened = options().open(fixture.path());
            assert!(matches!(opened, Err(Error::Corrupt { .. })), "{what}");
            drop(opened);
            let first = number * 4 - 3;
            let in_segment = if number == 5 { 2 } else { 4 };
            let whole = (len as u64 - 64) / 440;
            // If no group is damaged, nothing is lost: the rest was zeros.
            let end = if whole < in_segment {
                (first + whole).max(3)
            } else {
                19
            };
            check(fixture.path(), 3..end, Some(end..19), &what);
        }
    }
}

#[test]
fn a_missing_segment_ends_the_log() {
    let fixture = fixture();
    let files = snapshot(fixture.path());
    for number in 1..=5 {
        restore(fixture.path(), &files);
        dir(fixture.path()).remove(&segment(number)).unwrap();
        let opened = options().open(fixture.path());
        let Err(Error::Corrupt { reason, .. }) = opened else {
            panic!("{opened:?}")
        };
        assert_eq!(reason, Corruption::MissingSegment { number });
        let end = (number * 4 - 3).max(3);
        check(
            fixture.path(),
            3..end,
            Some(end..19),
            &format!("segment {number}"),
        );
    }
}

#[test]
fn a_segment_without_a_header_ends_the_log() {
    let fixture = fixture();
    let files = snapshot(fixture.path());
    for number in 1..=5 {
        restore(fixture.path(), &files);
        let mut bytes = read(fixture.path(), &segment(number));
        bytes[20] ^= 1;
        write(fixture.path(), &segment(number), &bytes);
        let end = (number * 4 - 3).max(3);
        check(
            fixture.path(),
            3..end,
            Some(end..19),
            &format!("segment {number}"),
        );
    }
}

#[test]
fn a_lost_superblock_is_made_again_from_the_segments() {
    let fixture = fixture();
    let files = snapshot(fixture.path());
    for is_removed in [true, false] {
        restore(fixture.path(), &files);
        if is_removed {
            dir(fixture.path()).remove("mark").unwrap();
        } else {
            write(fixture.path(), "mark", &[0; 64]);
        }
        let opened = options().open(fixture.path());
        assert!(matches!(
            opened,
            Err(Error::Corrupt {
                reason: Corruption::SuperblockLost,
                ..
            })
        ));
        // What was truncated, but whose segment is still there, is back.
        check(fixture.path(), 1..19, Some(19..19), "no superblock");
    }
}

#[test]
fn a_segment_that_is_too_long_is_truncated_to_its_size() {
    let fixture = fixture();
    let files = snapshot(fixture.path());
    for number in 1..=5 {
        restore(fixture.path(), &files);
        let mut bytes = read(fixture.path(), &segment(number));
        bytes.extend([7; 100]);
        write(fixture.path(), &segment(number), &bytes);
        let what = format!("segment {number}");
        check(fixture.path(), 3..19, Some(19..19), &what);
    }
}

#[test]
fn a_lost_superblock_and_a_segment_that_is_too_short() {
    let fixture = fixture();
    let bytes = read(fixture.path(), &segment(1));
    write(fixture.path(), &segment(1), &bytes[..1000]);
    dir(fixture.path()).remove("mark").unwrap();
    check(fixture.path(), 1..3, Some(3..19), "both");
}

#[test]
fn without_a_superblock_and_a_record_positions_begin_again() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    log.append(b"given up").unwrap();
    log.rotate().unwrap();
    log.truncate_before(Lsn(9)).unwrap();
    settle(&log);
    log.close().unwrap();
    let files = snapshot(dir.path());
    for is_removed in [true, false] {
        restore(dir.path(), &files);
        if is_removed {
            files::dir(dir.path()).remove("mark").unwrap();
        } else {
            write(dir.path(), "mark", &[0; 64]);
        }
        let before = snapshot(dir.path());
        let Err(Error::Corrupt { reason, .. }) = options().open(dir.path()) else {
            panic!("a new log is made in the place of one whose superblock is lost")
        };
        assert_eq!(reason, Corruption::SuperblockLost);
        assert_eq!(snapshot(dir.path()), before);
        check(dir.path(), 1..1, Some(1..1), "nothing is left");
    }
}

#[test]
fn a_new_superblock_wins_over_every_slot_of_the_old_one() {
    let fixture = fixture();
    let old = read(fixture.path(), "mark");
    damage(fixture.path(), 6);
    drop(options().repair(fixture.path()).unwrap());
    let files = snapshot(fixture.path());
    for slot in [0..64, 4096..4160] {
        restore(fixture.path(), &files);
        let mut superblock = read(fixture.path(), "mark");
        superblock[slot.clone()].copy_from_slice(&old[slot.clone()]);
        write(fixture.path(), "mark", &superblock);
        let log = options().open(fixture.path()).unwrap();
        assert_eq!(lsns(&log), [3, 4, 5], "slot {slot:?} shows what it was");
    }
}

/// The log opens with records `kept`, of which none is damaged, and a repair leaves them all.
fn check_kept(path: &Path, kept: Range<u64>, what: &str) {
    for is_repair in [false, true] {
        let opened = if is_repair {
            options().repair(path)
        } else {
            options().open(path)
        };
        let log = opened.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(log.recovery().dropped, None, "{what}");
        assert_eq!(lsns(&log), kept.clone().collect::<Vec<_>>(), "{what}");
        assert_eq!(log.bounds(), Lsn(kept.start)..Lsn(kept.end), "{what}");
        let from = log.records(Lsn(kept.start + 1)).map(|r| r.unwrap().lsn.0);
        assert!(from.eq(kept.clone().skip(1)), "{what}");
    }
    let log = options().open(path).unwrap();
    let next = u8::try_from(kept.end).unwrap();
    assert_eq!(
        log.append(&[next; 400]).unwrap().lsn(),
        Lsn(kept.end),
        "{what}"
    );
    drop(log);
    let log = options().open(path).unwrap();
    assert_eq!(lsns(&log), (kept.start..=kept.end).collect::<Vec<_>>());
}

/// Flips a byte here and there in `range` of the segment `number`, one at a time; sets all to zero.
fn each_damage(path: &Path, number: u64, range: Range<usize>, check: impl Fn(&str)) {
    let files = snapshot(path);
    let whole = read(path, &segment(number));
    for at in range.clone().step_by(13) {
        restore(path, &files);
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        write(path, &segment(number), &bytes);
        check(&format!("segment {number}, byte {at}"));
    }
    restore(path, &files);
    let mut bytes = whole;
    bytes[range].fill(0);
    write(path, &segment(number), &bytes);
    check(&format!("segment {number}, zeros"));
    restore(path, &files);
}

#[test]
fn damage_of_truncated_records_does_not_matter() {
    // In a sealed segment.
    let dir = fixture();
    each_damage(dir.path(), 1, 64..944, |what| {
        let verified = options().open(dir.path()).unwrap().verify();
        assert!(matches!(verified, Err(Error::Corrupt { .. })), "{what}");
        check_kept(dir.path(), 3..19, what);
    });
    // In the active one.
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    for lsn in 1..=4_u8 {
        log.append(&[lsn; 400]).unwrap();
    }
    log.truncate_before(Lsn(3)).unwrap();
    log.close().unwrap();
    each_damage(dir.path(), 1, 64..944, |what| {
        check_kept(dir.path(), 3..5, what);
    });
}

#[test]
fn damage_in_a_segment_of_truncated_records_only_does_not_matter() {
    // All are given up, and the segment is still the active one.
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    for lsn in 1..=2_u8 {
        log.append(&[lsn; 400]).unwrap();
    }
    log.truncate_before(Lsn(9)).unwrap();
    log.rotate().unwrap();
    log.close().unwrap();
    each_damage(dir.path(), 1, 64..944, |what| {
        check_kept(dir.path(), 3..3, what);
    });
    // It is sealed, and the superblock has not moved since.
    let log = options().open(dir.path()).unwrap();
    log.rotate().unwrap();
    log.append(&[3; 400]).unwrap();
    log.close().unwrap();
    each_damage(dir.path(), 1, 64..944, |what| {
        check_kept(dir.path(), 3..4, what);
    });
}

#[test]
fn verify_says_the_same_of_truncated_records_whatever_follows_them() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    log.append(&[1; 400]).unwrap();
    log.append(&[2; 400]).unwrap();
    log.truncate_before(Lsn(3)).unwrap();
    log.close().unwrap();
    each_damage(dir.path(), 1, 64..944, |what| {
        let log = options().open(dir.path()).unwrap();
        let before = log.verify().is_ok();
        log.append(&[3; 400]).unwrap();
        assert_eq!(log.verify().is_ok(), before, "{what}");
    });
}

#[test]
fn unused_bytes_are_zeroed_again() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    for _ in 0..2 {
        for lsn in 1..=3 {
            log.append(&[lsn; 5]).unwrap();
        }
        log.rotate().unwrap();
    }
    log.append(&[7; 5]).unwrap();
    log.append(&[8; 5]).unwrap();
    log.close().unwrap();
    let files = snapshot(dir.path());
    // Between two groups of 32 + 8 + 5 bytes; after the last one of a sealed segment.
    for (number, at) in [(1, 109), (1, 111), (2, 158), (2, 300), (2, 2047), (3, 110)] {
        restore(dir.path(), &files);
        let mut bytes = read(dir.path(), &segment(number));
        bytes[at] = 1;
        write(dir.path(), &segment(number), &bytes);
        let verified = options().open(dir.path()).unwrap().verify();
        let Err(Error::Corrupt { reason, .. }) = verified else {
            panic!("segment {number}, byte {at}: {verified:?}")
        };
        assert_eq!(reason, Corruption::NotZero);
        let log = options().repair(dir.path()).unwrap();
        assert_eq!(log.recovery().dropped, None);
        log.verify().unwrap();
        drop(log);
        let now = snapshot(dir.path());
        let same = now
            .iter()
            .zip(&files)
            .all(|(now, old)| now == old || now.0 == "mark");
        assert!(same, "segment {number}, byte {at}: only that is changed");
    }
}

#[test]
fn an_open_that_refuses_changes_nothing() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    for lsn in 1..=18_u8 {
        log.append(&[lsn; 400]).unwrap();
    }
    let before = snapshot(dir.path());
    let old = read(dir.path(), "mark");
    log.truncate_before(Lsn(6)).unwrap();
    drop(log);
    // A power loss took the second slot and the removal of the first segment back.
    let mut superblock = read(dir.path(), "mark");
    let sequence = |at: usize| superblock[at + 16];
    let unsynced = if sequence(0) > sequence(4096) {
        0
    } else {
        4096
    };
    superblock[unsynced..unsynced + 64].copy_from_slice(&old[unsynced..unsynced + 64]);
    write(dir.path(), "mark", &superblock);
    write(dir.path(), &segment(1), &before[0].1);
    write(dir.path(), "mark.tmp", b"left over");
    damage(dir.path(), 18);
    let damaged = snapshot(dir.path());
    let opened = options().open(dir.path());
    let Err(Error::Corrupt { reason, .. }) = opened else {
        panic!("{opened:?}")
    };
    let (first, last) = (Lsn(18), Lsn(18));
    assert_eq!(reason, Corruption::LostRecords { first, last });
    assert_eq!(snapshot(dir.path()), damaged);
}

#[test]
fn what_a_truncation_removed_never_comes_back() {
    let fixture = fixture();
    let before = snapshot(fixture.path());
    damage(fixture.path(), 6);
    drop(options().repair(fixture.path()).unwrap());
    let superblock = read(fixture.path(), "mark");
    // The new superblock was durable and nothing else: every byte after the new end is as it was.
    restore(fixture.path(), &before);
    damage(fixture.path(), 6);
    write(fixture.path(), "mark", &superblock);
    let log = options().open(fixture.path()).unwrap();
    assert_eq!(lsns(&log), [3, 4, 5]);
    for lsn in 6..10_u8 {
        assert_eq!(log.append(&[lsn; 400]).unwrap().lsn(), Lsn(u64::from(lsn)));
    }
    drop(log);
    let log = options().open(fixture.path()).unwrap();
    assert_eq!(lsns(&log), (3..10).collect::<Vec<_>>());
    log.verify().unwrap();
}

#[test]
fn a_repair_can_be_repeated_whatever_it_had_removed() {
    let fixture = fixture();
    let before = snapshot(fixture.path());
    damage(fixture.path(), 6);
    drop(options().repair(fixture.path()).unwrap());
    let superblock = read(fixture.path(), "mark");
    // Any of the segments above the new end may be gone.
    for gone in 0..16_u32 {
        let is_there =
            |name: &str| (0..4).all(|bit| gone & (1 << bit) == 0 || name != segment(bit + 3));
        let files: Vec<_> = before
            .iter()
            .filter(|(name, _)| is_there(name))
            .cloned()
            .collect();
        restore(fixture.path(), &files);
        damage(fixture.path(), 6);
        write(fixture.path(), "mark", &superblock);
        let log = options().repair(fixture.path()).unwrap();
        assert_eq!(lsns(&log), [3, 4, 5], "{gone:#b}");
        drop(log);
        let log = options().open(fixture.path()).unwrap();
        assert_eq!(log.append(&[6; 400]).unwrap().lsn(), Lsn(6));
    }
}
