//! The few bytes that a caller writes together with the log's front.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use durable_io::sim::{Fault, FaultKind, SimDisk, World};
use wal::{Error, Lsn, MAX_NOTE_SIZE, Options, Wal};

#[path = "support/files.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod files;

use files::{dir, fast_dir, options, read, segment, settle, snapshot, write};

/// Where the second slot of the superblock begins.
const SLOT: usize = 4096;

fn on(sim: &SimDisk) -> Options {
    options().disk(sim.disk())
}

fn append(log: &Wal, count: u64) {
    for _ in 0..count {
        log.append(&[7; 100]).unwrap();
    }
}

#[test]
fn a_note_stays_until_another_one_takes_its_place() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    assert_eq!((&*log.note(), &*log.recovery().note), (&b""[..], &b""[..]));
    append(&log, 40);
    log.checkpoint_with(Lsn(5), b"term 7").unwrap();
    let keepers: [&dyn Fn(&Wal); 6] = [
        &|log| append(log, 40),
        &|log| log.rotate().unwrap(),
        &|log| log.checkpoint(Lsn(9)).unwrap(),
        &|log| log.truncate_before(Lsn(20)).unwrap(),
        &|log| log.truncate_after(Lsn(70)).unwrap(),
        &|log| settle(log),
    ];
    for keep in keepers {
        keep(&log);
        assert_eq!(&*log.note(), b"term 7");
    }
    log.close().unwrap();
    let log = options().open(dir.path()).unwrap();
    assert_eq!(log.recovery().note, b"term 7");
    log.truncate_before_with(Lsn(30), b"").unwrap();
    assert_eq!(&*log.note(), b"");
    assert_eq!(log.bounds(), Lsn(30)..Lsn(71));
}

#[test]
fn a_note_can_be_all_that_changes() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    append(&log, 5);
    log.checkpoint(Lsn(3)).unwrap();
    log.checkpoint_with(Lsn(0), &[1; MAX_NOTE_SIZE]).unwrap();
    assert_eq!((log.checkpointed(), &*log.note()), (Lsn(3), &[1; 256][..]));
    log.truncate_before_with(Lsn(0), &[2; MAX_NOTE_SIZE])
        .unwrap();
    assert_eq!(
        (log.bounds(), &*log.note()),
        (Lsn(1)..Lsn(6), &[2; 256][..])
    );
    let before = snapshot(dir.path());
    log.truncate_before_with(Lsn(1), &[2; MAX_NOTE_SIZE])
        .unwrap();
    log.checkpoint_with(Lsn(2), &[2; MAX_NOTE_SIZE]).unwrap();
    assert_eq!(snapshot(dir.path()), before, "nothing changes");
    drop(log);
    let log = options().open(dir.path()).unwrap();
    assert_eq!((log.checkpointed(), &*log.note()), (Lsn(3), &[2; 256][..]));
}

#[test]
fn a_note_that_is_too_long_is_refused_and_changes_nothing() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    append(&log, 5);
    let before = snapshot(dir.path());
    let long = [0; MAX_NOTE_SIZE + 1];
    for refused in [
        log.checkpoint_with(Lsn(3), &long),
        log.truncate_before_with(Lsn(3), &long),
    ] {
        let Err(Error::TooLarge { what, size, limit }) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!((what, size, limit), ("note", 257, 256));
    }
    assert_eq!(snapshot(dir.path()), before);
    assert_eq!((log.checkpointed(), log.bounds().start), (Lsn(0), Lsn(1)));
}

/// A log whose checkpoint and note change together, while every call from `at` on fails; and whether
/// that was acknowledged.
fn interrupted(at: u64) -> (World, bool) {
    let sim = SimDisk::new();
    let log = on(&sim).open("/wal").unwrap();
    append(&log, 5);
    log.checkpoint_with(Lsn(3), &[3; 200]).unwrap();
    append(&log, 5);
    sim.inject(Fault {
        call: sim.calls() + at,
        kind: FaultKind::Errno(5),
        sticky: true,
    });
    let is_done = log.checkpoint_with(Lsn(8), &[8; 201]).is_ok();
    (sim.world(), is_done)
}

#[test]
fn a_note_and_the_checkpoint_beside_it_are_both_there_or_neither() {
    let mut seen = [false; 2];
    for at in 0.. {
        let (world, is_done) = interrupted(at);
        for left in [world.lose_unsynced(), world.keep_unsynced()] {
            let log = on(&SimDisk::boot(left)).open("/wal").unwrap();
            let found = (log.checkpointed(), log.note().to_vec());
            let is_new = found == (Lsn(8), vec![8; 201]);
            assert!(
                is_new || !is_done && found == (Lsn(3), vec![3; 200]),
                "{at}"
            );
            seen[usize::from(is_new)] = true;
        }
        if is_done {
            break;
        }
    }
    assert_eq!(seen, [true; 2]);
}

#[test]
fn a_slot_with_a_damaged_note_is_void_and_the_other_one_holds_with_its_own() {
    let sim = SimDisk::new();
    let log = on(&sim).open("/wal").unwrap();
    append(&log, 5);
    log.checkpoint_with(Lsn(3), b"old").unwrap();
    // So the two slots differ, and the first one is the newer: the power goes before the copy is durable.
    drop(on(&sim).open("/wal"));
    log.checkpoint_with(Lsn(4), b"new").unwrap();
    let world = sim.world().lose_unsynced();
    let mut notes = Vec::new();
    for at in [140, SLOT as u64 + 140] {
        let flip = durable_io::sim::Damage::Flip {
            offset: at,
            mask: 1,
        };
        let damaged = world.damaged("/wal/mark", flip).unwrap();
        let log = on(&SimDisk::boot(damaged)).open("/wal").unwrap();
        notes.push((log.checkpointed(), log.note().to_vec()));
    }
    notes.sort();
    assert_eq!(
        notes,
        [(Lsn(3), b"old".to_vec()), (Lsn(4), b"new".to_vec())]
    );
}

#[test]
fn a_repair_keeps_the_note_unless_the_superblock_is_lost() {
    let fixture = fast_dir();
    let log = options().open(fixture.path()).unwrap();
    append(&log, 40);
    log.checkpoint_with(Lsn(5), b"term 7").unwrap();
    log.close().unwrap();
    let mut bytes = read(fixture.path(), &segment(2));
    bytes[200] ^= 1;
    write(fixture.path(), &segment(2), &bytes);
    let log = options().repair(fixture.path()).unwrap();
    assert!(log.recovery().dropped.is_some());
    assert_eq!(
        (&*log.note(), &*log.recovery().note),
        (&b"term 7"[..], &b"term 7"[..])
    );
    drop(log);
    dir(fixture.path()).remove("mark").unwrap();
    let log = options().repair(fixture.path()).unwrap();
    assert_eq!(&*log.note(), b"");
}
