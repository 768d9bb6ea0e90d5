//! The checkpoint: up to where the log is applied elsewhere.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use std::ops::Range;
use std::path::Path;

use durable_io::sim::{Fault, FaultKind, SimDisk, World};
use wal::{Error, Lsn, Options, Wal};

#[path = "support/files.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod files;

use files::{
    checkpointed, damage, dir, fast_dir, options, read, restore, segment, snapshot, write,
};

fn on(sim: &SimDisk) -> Options {
    options().disk(sim.disk())
}

fn append(log: &Wal, count: u64) {
    for _ in 0..count {
        log.append(&[7; 100]).unwrap();
    }
}

fn replayed(log: &Wal) -> Vec<u64> {
    log.replay().map(|record| record.unwrap().lsn.0).collect()
}

#[test]
fn replay_begins_after_the_checkpoint() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    assert_eq!(log.checkpointed(), Lsn(0));
    append(&log, 30);
    assert_eq!(replayed(&log), (1..31).collect::<Vec<_>>());
    log.checkpoint(Lsn(12)).unwrap();
    assert_eq!(log.checkpointed(), Lsn(12));
    assert_eq!(replayed(&log), (13..31).collect::<Vec<_>>());
    assert_eq!(log.bounds(), Lsn(1)..Lsn(31), "the records stay");
    log.close().unwrap();
    let log = options().open(dir.path()).unwrap();
    assert_eq!(log.checkpointed(), Lsn(12));
    assert_eq!(replayed(&log), (13..31).collect::<Vec<_>>());
}

#[test]
fn a_checkpoint_only_moves_forward_and_not_beyond_the_end() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    log.checkpoint(Lsn(9)).unwrap();
    assert_eq!(log.checkpointed(), Lsn(0), "there is no record");
    append(&log, 5);
    log.checkpoint(Lsn(3)).unwrap();
    let before = snapshot(dir.path());
    for lsn in 0..=3 {
        log.checkpoint(Lsn(lsn)).unwrap();
    }
    assert_eq!(snapshot(dir.path()), before);
    assert_eq!(log.checkpointed(), Lsn(3));
    log.checkpoint(Lsn(99)).unwrap();
    assert_eq!(log.checkpointed(), Lsn(5));
    assert_eq!(replayed(&log), []);
    append(&log, 1);
    assert_eq!(replayed(&log), [6]);
}

#[test]
fn a_checkpoint_and_a_truncation_do_not_disturb_each_other() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    append(&log, 40);
    log.checkpoint(Lsn(10)).unwrap();
    log.truncate_before(Lsn(20)).unwrap();
    assert_eq!(log.checkpointed(), Lsn(10));
    assert_eq!(replayed(&log), (20..41).collect::<Vec<_>>());
    // Below the first record: it says less than the truncation, but it is what was said.
    log.checkpoint(Lsn(15)).unwrap();
    assert_eq!(log.checkpointed(), Lsn(15));
    log.checkpoint(Lsn(30)).unwrap();
    log.truncate_before(Lsn(99)).unwrap();
    drop(log);
    let log = options().open(dir.path()).unwrap();
    assert_eq!(
        (log.checkpointed(), log.bounds()),
        (Lsn(30), Lsn(41)..Lsn(41))
    );
    assert_eq!(replayed(&log), []);
    log.truncate_after(Lsn(0)).unwrap();
    assert_eq!(log.checkpointed(), Lsn(30), "nothing was truncated");
}

#[test]
fn what_is_marked_survives_a_power_loss_with_the_records_below_it() {
    let sim = SimDisk::new();
    let log = on(&sim).open("/wal").unwrap();
    append(&log, 6);
    log.checkpoint(Lsn(4)).unwrap();
    append(&log, 5);
    let log = on(&SimDisk::boot(sim.world().lose_unsynced()))
        .open("/wal")
        .unwrap();
    assert_eq!((log.checkpointed(), log.bounds()), (Lsn(4), Lsn(1)..Lsn(7)));
}

/// A log whose checkpoint moves from 3 to 8, while every call from `at` on fails.
fn interrupted(at: u64) -> (World, World, bool) {
    let sim = SimDisk::new();
    let log = on(&sim).open("/wal").unwrap();
    append(&log, 5);
    log.checkpoint(Lsn(3)).unwrap();
    append(&log, 5);
    sim.inject(Fault {
        call: sim.calls() + at,
        kind: FaultKind::Errno(5),
        sticky: true,
    });
    let done = log.checkpoint(Lsn(8));
    if done.is_err() {
        assert!(matches!(
            log.checkpoint(Lsn(9)),
            Err(Error::Poisoned { .. })
        ));
        assert_eq!(log.checkpointed(), Lsn(3));
    }
    (
        sim.world().lose_unsynced(),
        sim.world().keep_unsynced(),
        done.is_ok(),
    )
}

#[test]
fn a_checkpoint_that_was_interrupted_anywhere_is_the_old_or_the_new_one() {
    for at in 0.. {
        let (lost, kept, is_done) = interrupted(at);
        for world in [lost, kept] {
            let log = on(&SimDisk::boot(world)).open("/wal").unwrap();
            let found = log.checkpointed().0;
            assert!(found == 8 || (found == 3 && !is_done), "call {at}: {found}");
            assert!(log.bounds().end.0 > found);
        }
        if is_done {
            assert!(at > 2, "a checkpoint takes more than {at} calls");
            break;
        }
    }
}

#[test]
fn a_checkpoint_works_on_a_full_disk() {
    let sim = SimDisk::new();
    let log = on(&sim).open("/wal").unwrap();
    append(&log, 5);
    sim.set_budget(Some(0));
    log.checkpoint(Lsn(4)).unwrap();
    let log = on(&SimDisk::boot(sim.world().lose_unsynced()))
        .open("/wal")
        .unwrap();
    assert_eq!(log.checkpointed(), Lsn(4));
}

#[test]
fn a_repair_of_damage_below_the_checkpoint_leaves_it_there() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    append(&log, 10);
    log.checkpoint(Lsn(8)).unwrap();
    log.close().unwrap();
    // A group is 32 + 8 + 100 bytes, padded to 144; this is the payload of record 5.
    let mut bytes = read(dir.path(), &segment(1));
    bytes[64 + 4 * 144 + 40] ^= 1;
    write(dir.path(), &segment(1), &bytes);
    let log = options().repair(dir.path()).unwrap();
    // It is applied, as are all up to the checkpoint; those after it are not.
    assert_eq!(
        (log.checkpointed(), log.bounds()),
        (Lsn(8), Lsn(9)..Lsn(11))
    );
}

/// Repairs the log, which then holds `kept`, also when it is opened again, with what is written after it.
fn check_repaired(path: &Path, kept: Range<u64>, given_up: Option<Range<u64>>, what: &str) {
    let lsns = |range: Range<u64>| Lsn(range.start)..Lsn(range.end);
    let log = options().repair(path).unwrap();
    let recovery = log.recovery().clone();
    assert_eq!(recovery.given_up, given_up.map(lsns), "{what}");
    let dropped = (kept.end < 19).then(|| lsns(kept.end..19));
    assert_eq!(recovery.dropped, dropped, "{what}");
    assert_eq!(log.bounds(), lsns(kept.clone()), "{what}");
    let next = u8::try_from(kept.end).unwrap();
    assert_eq!(log.append(&[next; 400]).unwrap().lsn(), Lsn(kept.end));
    drop(log);
    let log = options().open(path).unwrap();
    let read = log.records(Lsn(0)).map(|record| record.unwrap().lsn.0);
    assert!(read.eq(kept.start..=kept.end), "{what}");
    drop(log);
    let recovery = options().repair(path).unwrap().recovery().clone();
    assert_eq!(
        (recovery.dropped, recovery.given_up),
        (None, None),
        "{what}"
    );
}

#[test]
fn damage_of_what_is_applied_takes_nothing_that_is_not() {
    for checkpoint in 1..=18 {
        let dir = checkpointed(checkpoint);
        let files = snapshot(dir.path());
        for lsn in 1..=18 {
            restore(dir.path(), &files);
            damage(dir.path(), lsn);
            let what = format!("checkpoint {checkpoint}, damage of {lsn}");
            if lsn <= checkpoint {
                let given_up = Some(1..checkpoint + 1);
                check_repaired(dir.path(), checkpoint + 1..19, given_up, &what);
            } else {
                check_repaired(dir.path(), 1..lsn, None, &what);
            }
        }
    }
}

#[test]
fn damage_on_both_sides_of_the_checkpoint_leaves_what_is_between() {
    let dir = checkpointed(7);
    let files = snapshot(dir.path());
    for lsn in 8..=18 {
        restore(dir.path(), &files);
        damage(dir.path(), 3);
        damage(dir.path(), lsn);
        check_repaired(dir.path(), 8..lsn, Some(1..8), &format!("damage of {lsn}"));
    }
}

#[test]
fn segments_that_are_gone_take_only_what_was_in_them() {
    let files = |checkpoint| snapshot(checkpointed(checkpoint).path());
    let fixture = checkpointed(7);
    // The first one holds nothing that is not applied; the second one holds the first record that is not.
    for (gone, kept) in [(1, 8..19), (2, 8..8), (3, 1..9)] {
        restore(fixture.path(), &files(7));
        dir(fixture.path()).remove(&segment(gone)).unwrap();
        let given_up = (gone < 3).then_some(1..8);
        check_repaired(fixture.path(), kept, given_up, &format!("segment {gone}"));
    }
}
