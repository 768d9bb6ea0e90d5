//! Repair: the log is cut at its first damage, says so, and goes on.

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
            log.append(&[u8::try_from(next).unwrap(); 400]).unwrap(),
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
fn the_log_is_cut_before_any_damaged_record() {
    let fixture = fixture();
    let files = snapshot(fixture.path());
    for lsn in 1..=18 {
        restore(fixture.path(), &files);
        damage(fixture.path(), lsn);
        // Damage below the first retained record takes the rest of its segment with it, and what is
        // retained begins in there.
        let kept = if lsn < 3 { 3..3 } else { 3..lsn };
        let dropped = kept.end..19;
        check(
            fixture.path(),
            kept,
            Some(dropped),
            &format!("record {lsn}"),
        );
    }
}

#[test]
fn a_missing_segment_cuts_the_log() {
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
fn a_segment_without_a_header_cuts_the_log() {
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
fn a_lost_mark_is_made_again_from_the_segments() {
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
                reason: Corruption::MarkLost,
                ..
            })
        ));
        // What was truncated, but whose segment is still there, is back.
        check(fixture.path(), 1..19, Some(19..19), "the mark is lost");
    }
}

#[test]
fn what_a_cut_removed_never_comes_back() {
    let fixture = fixture();
    let before = snapshot(fixture.path());
    damage(fixture.path(), 6);
    drop(options().repair(fixture.path()).unwrap());
    let mark = read(fixture.path(), "mark");
    // The new mark was durable and nothing else: every byte behind the cut is as it was.
    restore(fixture.path(), &before);
    damage(fixture.path(), 6);
    write(fixture.path(), "mark", &mark);
    let log = options().open(fixture.path()).unwrap();
    assert_eq!(lsns(&log), [3, 4, 5]);
    for lsn in 6..10_u8 {
        assert_eq!(log.append(&[lsn; 400]).unwrap(), Lsn(u64::from(lsn)));
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
    let mark = read(fixture.path(), "mark");
    // Any of the segments above the cut may be gone.
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
        write(fixture.path(), "mark", &mark);
        let log = options().repair(fixture.path()).unwrap();
        assert_eq!(lsns(&log), [3, 4, 5], "{gone:#b}");
        drop(log);
        let log = options().open(fixture.path()).unwrap();
        assert_eq!(log.append(&[6; 400]).unwrap(), Lsn(6));
    }
}
