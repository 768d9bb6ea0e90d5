//! Batches that no usual segment can hold: each gets one of its own size.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use std::time::Duration;

use durable_io::sim::{Fault, FaultKind, SimDisk, World};
use wal::{Error, Lsn, Options, SyncMode, Wal};

#[path = "support/files.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod files;

use files::{SEGMENT, fast_dir, options, payloads, read, segment, settle, write};

fn on(sim: &SimDisk) -> Options {
    options().sync(SyncMode::Always).disk(sim.disk())
}

/// Two records that together, and one of them alone, are larger than a segment.
fn large(n: u8) -> [Vec<u8>; 2] {
    [vec![n; 5000], vec![n + 1; 300]]
}

fn append_large(log: &Wal, n: u8) -> wal::Result<()> {
    let [first, second] = large(n);
    log.append_batch(&[&first, &second]).map(drop)
}

/// Bytes of the files of the segments.
fn sizes(log: &Wal) -> Vec<u64> {
    let segments = log.segments().unwrap();
    segments.into_iter().map(|segment| segment.bytes).collect()
}

/// 64 + 32 + 2 * 8 + 5300 bytes, in whole sectors.
const OWN: u64 = 5632;

#[test]
fn a_large_batch_gets_a_segment_of_its_own_and_the_next_append_a_usual_one() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    log.append(b"small").unwrap();
    settle(&log);
    append_large(&log, 10).unwrap();
    assert_eq!(log.append(&[3; 300]).unwrap().lsn(), Lsn(4));
    assert_eq!(sizes(&log), [SEGMENT, OWN, SEGMENT]);
    assert_eq!(log.stats().rotation_count, 2);
    log.verify().unwrap();
    log.close().unwrap();
    let log = options().open(dir.path()).unwrap();
    let [first, second] = large(10);
    let all = [b"small".to_vec(), first.clone(), second, vec![3; 300]];
    assert_eq!(payloads(&log).unwrap(), all);
    let mut records = log.records(Lsn(2));
    records.next().unwrap().unwrap();
    let location = records.location().unwrap();
    assert_eq!(log.read(location).unwrap().payload, first);
    assert_eq!(log.records_at(location).unwrap().count(), 3);
    assert_eq!(log.stats().disk_bytes, 2 * SEGMENT + OWN + 4608);
    // Half of the batch, and then all of what follows.
    log.truncate_after(Lsn(2)).unwrap();
    log.append(b"new").unwrap();
    log.verify().unwrap();
    assert_eq!(
        payloads(&log).unwrap(),
        [&all[..2], &[b"new".to_vec()]].concat()
    );
    log.truncate_before(Lsn(3)).unwrap();
    assert_eq!(sizes(&log).len(), 1);
}

#[test]
fn a_segment_without_a_group_gives_way_to_a_larger_one() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    let mut follow = log.follow(Lsn(1));
    let mut next = || {
        follow
            .next(Duration::ZERO)
            .unwrap()
            .map(|record| record.lsn.0)
    };
    assert_eq!(next(), None);
    append_large(&log, 10).unwrap();
    log.sync().unwrap();
    assert_eq!((next(), next(), next()), (Some(1), Some(2), None));
    assert_eq!(sizes(&log), [OWN]);
    log.rotate().unwrap();
    assert_eq!(next(), None);
    let before = log.records(Lsn(1));
    append_large(&log, 20).unwrap();
    log.sync().unwrap();
    assert_eq!((next(), next(), next()), (Some(3), Some(4), None));
    assert_eq!(before.count(), 2, "what was there when they were asked for");
    log.truncate_after(Lsn(0)).unwrap();
    append_large(&log, 30).unwrap();
    drop(log);
    let log = options().open(dir.path()).unwrap();
    assert_eq!(payloads(&log).unwrap(), large(30));
    log.verify().unwrap();
}

/// A log to which a large batch is added while every call from `at` on fails; and whether that was acknowledged.
fn interrupted(at: u64) -> (World, bool) {
    let sim = SimDisk::new();
    let log = on(&sim).open("/log").unwrap();
    log.append(b"small").unwrap();
    settle(&log);
    sim.inject(Fault {
        call: sim.calls() + at,
        kind: FaultKind::Errno(5),
        sticky: true,
    });
    let is_done = append_large(&log, 10).is_ok();
    (sim.world(), is_done)
}

/// How many records of the large batch are there; it is a panic if it is not all or none.
fn count_of_large(world: World) -> usize {
    let log = on(&SimDisk::boot(world)).open("/log").unwrap();
    let all = payloads(&log).unwrap();
    log.verify().unwrap();
    let large = large(10);
    let found = all.iter().filter(|payload| large.contains(payload)).count();
    assert!(found == 0 || all[1..3] == large, "{found} records");
    assert_eq!(all[0], b"small");
    append_large(&log, 40).unwrap();
    log.verify().unwrap();
    found
}

#[test]
fn interrupted_anywhere_a_large_batch_is_there_as_a_whole_or_not_at_all() {
    let mut seen = [false; 3];
    for at in 0.. {
        let (world, is_done) = interrupted(at);
        for left in [world.lose_unsynced(), world.keep_unsynced()] {
            let found = count_of_large(left);
            assert!(
                found == 2 || !is_done,
                "call {at}: an acknowledged batch is lost"
            );
            seen[found] = true;
        }
        if is_done {
            break;
        }
    }
    assert_eq!(seen, [true, false, true]);
}

#[test]
fn a_full_disk_refuses_a_large_batch_and_nothing_has_changed() {
    let sim = SimDisk::new();
    let log = on(&sim).open("/log").unwrap();
    log.append(b"small").unwrap();
    settle(&log);
    let used = sim.used_bytes();
    let mut is_done = false;
    for room in (0..).step_by(256) {
        sim.set_budget(Some(used + room));
        match append_large(&log, 10) {
            Ok(()) => is_done = true,
            Err(error) => assert!(error.is_no_space(), "{error}"),
        }
        let taken = if is_done { sim.used_bytes() } else { used };
        assert_eq!(sim.used_bytes(), taken, "nothing is left over");
        if is_done {
            break;
        }
        assert!(room < 3 * OWN);
    }
    sim.set_budget(None);
    log.append(b"more").unwrap();
    assert_eq!(log.bounds(), Lsn(1)..Lsn(5));
    log.verify().unwrap();
}

#[test]
fn a_segment_whose_batch_a_crash_took_is_used_for_what_comes() {
    let mut seen = false;
    for at in 0.. {
        let (world, is_done) = interrupted(at);
        let log = on(&SimDisk::boot(world.lose_unsynced()))
            .open("/log")
            .unwrap();
        let is_lost = log.bounds().end == Lsn(2);
        for n in 0..20 {
            log.append(&[n; 300]).unwrap();
        }
        seen |= is_lost && sizes(&log)[1] == OWN;
        log.verify().unwrap();
        if is_done {
            break;
        }
    }
    assert!(seen);
}

/// The superblock names it before the batch goes into it, as it does any other.
#[test]
fn the_loss_of_a_large_batch_is_seen_before_its_segment_has_a_successor() {
    let dir = fast_dir();
    let options = options().sync(SyncMode::Always);
    let log = options.clone().open(dir.path()).unwrap();
    log.append(b"small").unwrap();
    append_large(&log, 10).unwrap();
    // Killed: no close writes a superblock, and the background had no turn.
    drop(log);
    files::dir(dir.path()).remove(&segment(2)).unwrap();
    let opened = options.open(dir.path());
    assert!(matches!(opened, Err(Error::Corrupt { .. })), "{opened:?}");
}

#[test]
fn damage_of_a_large_batch_is_met_and_repaired() {
    let fixture = fast_dir();
    let log = options().open(fixture.path()).unwrap();
    log.append(b"small").unwrap();
    append_large(&log, 10).unwrap();
    log.append(b"behind").unwrap();
    log.close().unwrap();
    let whole = read(fixture.path(), &segment(2));
    assert_eq!(whole.len() as u64, OWN);
    for at in [50, 70, 3000, 5400] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        write(fixture.path(), &segment(2), &bytes);
        let verified = options().open(fixture.path()).and_then(|log| log.verify());
        assert!(matches!(verified, Err(Error::Corrupt { .. })), "byte {at}");
        let records = options().salvage(fixture.path()).unwrap();
        let found = records.flatten().count();
        assert!(found >= 2, "byte {at}: {found} records");
    }
    // Too short: what is missing is zeros.
    write(fixture.path(), &segment(2), &whole[..5600]);
    let log = options().repair(fixture.path()).unwrap();
    assert_eq!(log.recovery().dropped, Some(Lsn(5)..Lsn(5)), "no record");
    assert_eq!(
        (sizes(&log), log.bounds()),
        (vec![SEGMENT, OWN], Lsn(1)..Lsn(5))
    );
    drop(log);
    let mut bytes = whole.clone();
    bytes[3000] ^= 1;
    write(fixture.path(), &segment(2), &bytes);
    let log = options().repair(fixture.path()).unwrap();
    assert_eq!(log.recovery().dropped, Some(Lsn(2)..Lsn(5)));
    append_large(&log, 50).unwrap();
    log.verify().unwrap();
}
