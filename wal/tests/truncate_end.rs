//! Truncating the end of a log, at every place of every kind of group.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use std::path::Path;

use durable_io::sim::{Fault, FaultKind, SimDisk, World};
use tempfile::TempDir;
use wal::{Corruption, Error, Lsn, Options, Ticket, Wal};

#[path = "support/files.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod files;

use files::{dir, fast_dir, options, read, restore, segment, settle, snapshot, write};

/// The payload of record `lsn`, as the log `life` wrote it.
fn payload(lsn: u64, life: u8) -> Vec<u8> {
    // The lengths of the records of `fixture`: groups that fill a segment exactly, batches, tickets,
    // and a segment that ends a few bytes after its last group.
    let len = match lsn {
        1..=4 => 456,
        16 => 952,
        17 => 928,
        _ => 20,
    };
    let mut bytes = vec![u8::try_from(lsn).unwrap(); len];
    bytes[0] = life;
    bytes
}

/// Appends `lsns` as one batch.
fn batch(log: &Wal, lsns: std::ops::Range<u64>, life: u8) {
    let ticket = submit(log, lsns.clone(), life);
    assert_eq!(
        ticket.wait().unwrap().lsns(),
        Lsn(lsns.start)..Lsn(lsns.end)
    );
}

fn submit(log: &Wal, lsns: std::ops::Range<u64>, life: u8) -> Ticket {
    let payloads: Vec<_> = lsns.map(|lsn| payload(lsn, life)).collect();
    let slices: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
    log.submit(&slices).unwrap()
}

const LAST: u64 = 22;

/// Records 1 to `LAST` in four segments, which begin with 1, 5, 16 and 18.
fn fill(log: &Wal) {
    for lsn in 1..=4 {
        batch(log, lsn..lsn + 1, 0);
    }
    batch(log, 5..10, 0);
    let tickets = [10..12, 12..13, 13..15].map(|lsns| submit(log, lsns, 0));
    assert!(
        tickets
            .map(|ticket| ticket.wait().is_ok())
            .iter()
            .all(|&ok| ok)
    );
    batch(log, 15..16, 0);
    log.rotate().unwrap();
    for lsn in 16..=18 {
        batch(log, lsn..lsn + 1, 0);
    }
    batch(log, 19..21, 0);
    batch(log, 21..23, 0);
}

/// Every way to begin: nothing truncated, inside a segment, at its end, inside a group of tickets,
/// in the last segment.
const LOWS: [u64; 7] = [1, 3, 5, 7, 13, 17, 20];

fn fixture(low: u64) -> TempDir {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    fill(&log);
    log.truncate_before(Lsn(low)).unwrap();
    log.checkpoint(Lsn(14)).unwrap();
    assert_eq!(log.stats().rotation_count, 3);
    dir
}

/// The records, each with the life that wrote it.
fn lives(log: &Wal) -> Vec<(u64, u8)> {
    let records = log.records(Lsn(0)).map(|record| {
        let record = record.unwrap();
        let life = record.payload[0];
        assert_eq!(record.payload, payload(record.lsn.0, life));
        (record.lsn.0, life)
    });
    records.collect()
}

/// What `lives` should say of a log of `low..next` whose records from `kept_end` on are of `life`.
fn expected(low: u64, kept_end: u64, next: u64, life: u8) -> Vec<(u64, u8)> {
    let of = |lsn| (lsn, if lsn < kept_end { 0 } else { life });
    (low..next).map(of).collect()
}

/// Appends the records `next..next + 12`, over several segments.
fn append_on(log: &Wal, next: u64, life: u8) {
    for lsn in next..next + 12 {
        batch(log, lsn..lsn + 1, life);
        if lsn % 5 == 0 {
            log.rotate().unwrap();
        }
    }
}

#[test]
fn a_log_is_truncated_after_any_record_and_continues_there() {
    for low in LOWS {
        let fixture = fixture(low);
        let files = snapshot(fixture.path());
        for last in 0..=LAST + 1 {
            for reopens in [false, true] {
                restore(fixture.path(), &files);
                let what = format!("low {low}, truncated after {last}, reopens {reopens}");
                truncate_and_continue(fixture.path(), low, last, reopens, &what);
            }
        }
    }
}

fn truncate_and_continue(path: &Path, low: u64, last: u64, reopens: bool, what: &str) {
    let kept_end = (last + 1).clamp(low, LAST + 1);
    let mut log = options()
        .open(path)
        .unwrap_or_else(|e| panic!("{what}: {e}"));
    if last.is_multiple_of(2) {
        settle(&log);
    }
    log.truncate_after(Lsn(last))
        .unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_eq!(log.bounds(), Lsn(low)..Lsn(kept_end), "{what}");
    assert_eq!(log.checkpointed(), Lsn(14.min(kept_end - 1)), "{what}");
    assert_eq!(lives(&log), expected(low, kept_end, kept_end, 1), "{what}");
    log.verify().unwrap_or_else(|e| panic!("{what}: {e}"));
    // Once more changes nothing.
    log.truncate_after(Lsn(last)).unwrap();
    assert_eq!(log.bounds(), Lsn(low)..Lsn(kept_end), "{what}");
    if reopens {
        drop(log);
        log = options()
            .open(path)
            .unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(lives(&log), expected(low, kept_end, kept_end, 1), "{what}");
    }
    append_on(&log, kept_end, 1);
    assert_eq!(
        lives(&log),
        expected(low, kept_end, kept_end + 12, 1),
        "{what}"
    );
    log.verify().unwrap_or_else(|e| panic!("{what}: {e}"));
    drop(log);
    let log = options()
        .open(path)
        .unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_eq!(
        lives(&log),
        expected(low, kept_end, kept_end + 12, 1),
        "{what}"
    );
    assert_eq!(log.checkpointed(), Lsn(14.min(kept_end - 1)), "{what}");
    // A second truncation, into what was written after the first one, or before it.
    let again = if last.is_multiple_of(3) {
        kept_end + 4
    } else {
        kept_end.saturating_sub(2)
    };
    let end = (again + 1).max(low);
    log.truncate_after(Lsn(again))
        .unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_eq!(lives(&log), expected(low, kept_end, end, 1), "{what}");
    log.close().unwrap();
    let log = options().repair(path).unwrap();
    assert_eq!(log.recovery().dropped, None, "{what}");
    assert_eq!(lives(&log), expected(low, kept_end, end, 1), "{what}");
    log.verify().unwrap_or_else(|e| panic!("{what}: {e}"));
}

#[test]
fn a_log_of_one_segment_is_truncated_empty_and_filled_again_and_again() {
    let dir = fast_dir();
    let mut log = options().open(dir.path()).unwrap();
    for life in 0..20 {
        batch(&log, 1..4, life);
        batch(&log, 4..5, life);
        log.truncate_after(Lsn(0)).unwrap();
        assert_eq!(log.append(b"a record").unwrap().lsn(), Lsn(1));
        log.truncate_after(Lsn(0)).unwrap();
        if life.is_multiple_of(2) {
            drop(log);
            log = options().open(dir.path()).unwrap();
        }
        assert_eq!(log.bounds(), Lsn(1)..Lsn(1));
    }
}

#[test]
fn the_size_of_the_log_is_what_is_left() {
    let fixture = fixture(1);
    let log = options().open(fixture.path()).unwrap();
    settle(&log);
    assert_eq!(log.stats().segment_count, 5);
    log.truncate_after(Lsn(2)).unwrap();
    assert_eq!(log.stats().segment_count, 1);
    settle(&log);
    assert_eq!(log.stats().segment_count, 2);
    assert_eq!(
        snapshot(fixture.path()).len(),
        3,
        "two segments and the superblock"
    );
}

#[test]
fn the_checkpoint_moves_back_with_the_end_and_not_forward_again() {
    let fixture = fixture(3);
    let log = options().open(fixture.path()).unwrap();
    log.truncate_after(Lsn(8)).unwrap();
    append_on(&log, 9, 1);
    assert_eq!(log.checkpointed(), Lsn(8));
    assert_eq!(log.replay().next().unwrap().unwrap().lsn, Lsn(9));
}

#[test]
fn what_is_being_read_ends_with_truncated_once() {
    let fixture = fixture(1);
    let log = options().open(fixture.path()).unwrap();
    let mut before = log.records(Lsn(1));
    let mut read_to_its_end = log.records(Lsn(20));
    assert_eq!(before.next().unwrap().unwrap().lsn, Lsn(1));
    assert_eq!(read_to_its_end.by_ref().count(), 3);
    log.truncate_after(Lsn(10)).unwrap();
    assert!(matches!(before.next(), Some(Err(Error::Truncated))));
    assert!(before.next().is_none(), "nothing follows an error");
    assert!(read_to_its_end.next().is_none(), "it has ended");
    assert_eq!(log.records(Lsn(1)).count(), 10);
}

#[test]
fn damage_at_the_place_of_the_truncation_is_reported_and_changes_nothing() {
    let fixture = fixture(1);
    let mut bytes = read(fixture.path(), &segment(2));
    bytes[64 + 32 + 8] ^= 1;
    write(fixture.path(), &segment(2), &bytes);
    let log = options().open(fixture.path()).unwrap();
    let before = snapshot(fixture.path());
    let refused = log.truncate_after(Lsn(7)).unwrap_err();
    assert!(matches!(refused, Error::Corrupt { .. }), "{refused}");
    assert_eq!(snapshot(fixture.path()), before);
    assert_eq!(log.append(b"goes on").unwrap().lsn(), Lsn(LAST + 1));
    assert_eq!(log.records(Lsn(16)).count(), 8);
}

fn on(sim: &SimDisk) -> Options {
    options().disk(sim.disk())
}

/// The machine after the `at`th call of a truncation failed, and all after it.
fn interrupted(low: u64, last: u64, at: u64, stage: usize) -> (SimDisk, bool) {
    let sim = SimDisk::new();
    let log = on(&sim).open("/wal").unwrap();
    fill(&log);
    log.sync().unwrap();
    log.truncate_before(Lsn(low)).unwrap();
    // A preallocated segment that is not there, half made, or ready.
    for _ in 0..stage {
        log.run_background().unwrap();
    }
    sim.inject(Fault {
        call: sim.calls() + at,
        kind: FaultKind::Errno(5),
        sticky: true,
    });
    let is_done = log.truncate_after(Lsn(last)).is_ok();
    if !is_done {
        assert!(log.append(b"none").is_err(), "it is poisoned");
    }
    (sim, is_done)
}

/// Opens what is left, which must be all or what the truncation left, and appends; twice.
fn check_crash(world: World, low: u64, last: u64, is_done: bool, what: &str) {
    let sim = SimDisk::boot(world);
    let log = on(&sim)
        .open("/wal")
        .unwrap_or_else(|e| panic!("{what}: {e}"));
    let kept_end = (last + 1).max(low);
    let next = log.bounds().end.0;
    assert!(
        next == kept_end || (next == LAST + 1 && !is_done),
        "{what}: {next}"
    );
    assert_eq!(lives(&log), expected(low, next, next, 0), "{what}");
    log.verify().unwrap_or_else(|e| panic!("{what}: {e}"));
    drop(log);
    // What was shown holds, also over a power loss.
    let sim = SimDisk::boot(sim.world().lose_unsynced());
    let log = on(&sim)
        .open("/wal")
        .unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_eq!(log.bounds(), Lsn(low)..Lsn(next), "{what}");
    append_on(&log, next, 1);
    log.sync().unwrap();
    let sim = SimDisk::boot(sim.world().lose_unsynced());
    let log = on(&sim)
        .open("/wal")
        .unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_eq!(lives(&log), expected(low, next, next + 12, 1), "{what}");
    log.verify().unwrap_or_else(|e| panic!("{what}: {e}"));
}

#[test]
fn a_truncation_that_was_interrupted_anywhere_has_happened_or_has_not() {
    for (low, last) in [
        (1, 0),
        (1, 2),
        (1, 4),
        (3, 0),
        (1, 7),
        (7, 11),
        (1, 15),
        (1, 21),
    ] {
        for stage in 0..3 {
            for at in 0.. {
                let (sim, is_done) = interrupted(low, last, at, stage);
                let what =
                    format!("low {low}, truncated after {last}, call {at}, next segment {stage}");
                check_crash(sim.world().lose_unsynced(), low, last, is_done, &what);
                check_crash(sim.world().keep_unsynced(), low, last, is_done, &what);
                if is_done {
                    assert!(at > 5, "a truncation takes more than {at} calls");
                    break;
                }
            }
        }
    }
}

/// A preallocated segment of which a full disk took only a part was left behind when the segments below it went.
#[test]
fn a_preallocated_segment_that_a_full_disk_left_incomplete_is_removed_by_the_truncation() {
    let sim = SimDisk::new();
    let log = on(&sim).open("/wal").unwrap();
    fill(&log);
    log.sync().unwrap();
    sim.set_budget(Some(sim.used_bytes() + 1024));
    settle(&log);
    sim.set_budget(None);
    let names = || {
        let files = sim.files().into_iter().map(|(name, _)| name);
        files
            .filter(|name| name.contains(".wal"))
            .collect::<Vec<_>>()
    };
    assert_eq!(names().len(), 5, "an incomplete fifth one");
    log.truncate_after(Lsn(2)).unwrap();
    assert_eq!(names().len(), 1);
    check_crash(
        sim.world().lose_unsynced(),
        1,
        2,
        true,
        "left by a full disk",
    );
}

#[test]
fn a_truncation_works_on_a_full_disk() {
    let sim = SimDisk::new();
    let log = on(&sim).open("/wal").unwrap();
    fill(&log);
    sim.set_budget(Some(0));
    log.truncate_after(Lsn(11)).unwrap();
    assert_eq!(log.bounds(), Lsn(1)..Lsn(12));
    check_crash(sim.world().lose_unsynced(), 1, 11, true, "on a full disk");
}

/// The files of a log of which the superblock says that it is to be truncated after record 11, in segment 2,
/// and nothing of that is done yet.
fn pending() -> TempDir {
    for at in 0.. {
        let (sim, is_done) = interrupted(1, 11, at, 0);
        assert!(!is_done);
        let superblock = sim.world().file_bytes("/wal/mark").unwrap();
        // The truncation segment of the newer slot.
        if [72, 4096 + 72].iter().any(|&at| superblock[at] != 0) {
            let dir = fast_dir();
            for (name, _) in sim.files().iter().filter(|(name, _)| name != "/wal/lock") {
                let bytes = sim.world().file_bytes(name).unwrap();
                write(dir.path(), name.strip_prefix("/wal/").unwrap(), &bytes);
            }
            return dir;
        }
    }
    unreachable!()
}

#[test]
fn open_and_repair_finish_a_truncation() {
    for repairs in [false, true] {
        let dir = pending();
        let log = if repairs {
            options().repair(dir.path()).unwrap()
        } else {
            options().open(dir.path()).unwrap()
        };
        assert_eq!(log.recovery().dropped, None);
        assert_eq!(lives(&log), expected(1, 12, 12, 0));
        append_on(&log, 12, 1);
        log.verify().unwrap();
    }
}

#[test]
fn a_truncation_that_cannot_be_finished_is_damage_which_repair_drops() {
    let flipped = |path: &Path| {
        let mut bytes = read(path, &segment(2));
        bytes[0] ^= 1;
        write(path, &segment(2), &bytes);
    };
    let missing = |path: &Path| dir(path).remove(&segment(2)).unwrap();
    for what in ["flipped", "missing"] {
        let dir = pending();
        if what == "flipped" {
            flipped(dir.path());
        } else {
            missing(dir.path());
        }
        let before = snapshot(dir.path());
        let refused = options().open(dir.path()).unwrap_err();
        assert!(
            matches!(refused, Error::Corrupt { .. }),
            "{what}: {refused}"
        );
        if what == "missing" {
            let Error::Corrupt { reason, .. } = refused else {
                panic!()
            };
            assert_eq!(reason, Corruption::MissingSegment { number: 2 });
        }
        assert_eq!(snapshot(dir.path()), before, "{what}");
        let log = options()
            .repair(dir.path())
            .unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(lives(&log), expected(1, 5, 5, 0), "{what}");
        assert!(log.recovery().dropped.is_some(), "{what}");
        append_on(&log, 5, 1);
        drop(log);
        let log = options().open(dir.path()).unwrap();
        assert_eq!(lives(&log), expected(1, 5, 17, 1), "{what}");
    }
}

#[test]
fn a_truncation_in_a_segment_that_is_too_short_is_finished_by_repair() {
    let dir = pending();
    let bytes = read(dir.path(), &segment(2));
    let used = bytes.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    write(dir.path(), &segment(2), &bytes[..used]);
    let refused = options().open(dir.path()).unwrap_err();
    assert!(matches!(refused, Error::Corrupt { .. }), "{refused}");
    let log = options().repair(dir.path()).unwrap();
    assert_eq!(lives(&log), expected(1, 12, 12, 0));
    append_on(&log, 12, 1);
    log.verify().unwrap();
}
