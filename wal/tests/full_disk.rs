//! A full disk that copies on write: the zeros of a segment are no space there, so a group can be refused
//! in the middle of its write.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use std::ops::Range;

use durable_io::sim::SimDisk;
use wal::{Background, Error, Lsn, Options, SyncMode, Wal};

/// A record that is the first group of a segment fills its first two sectors, and moves the edge of the zeros.
const FIRST: &[u8] = &[b'f'; 1024 - 64 - 32 - 8];
/// One that begins the next group fills the next sector.
const WITH_HEADER: usize = 512 - 32 - 8;
/// And another one of that group the one after it.
const A_SECTOR: usize = 512 - 8;

fn open(sim: &SimDisk) -> Wal {
    let options = Options::new()
        .segment_size(4096)
        .sync(SyncMode::Manual)
        .background(Background::Inline)
        .disk(sim.disk());
    options.open("/wal").unwrap()
}

fn is_full<T: std::fmt::Debug>(result: Result<T, Error>) -> bool {
    let full = result.unwrap_err();
    matches!(full, Error::Disk(durable_io::Error::NoSpace { .. }))
}

/// A log on a disk that copies on write, which had space for the first sector of a batch of two.
fn refused() -> (SimDisk, Wal) {
    let sim = SimDisk::new();
    sim.copy_on_write();
    let log = open(&sim);
    log.append(FIRST).unwrap();
    log.sync().unwrap();
    sim.set_budget(Some(sim.used_bytes() + 512));
    assert!(is_full(batch(&log, b'r')));
    assert_eq!(stands_at(&sim, 1535), b'r', "a part of it was written");
    sim.set_budget(None);
    (sim, log)
}

fn batch(log: &Wal, byte: u8) -> Result<wal::Appended, Error> {
    log.append_batch(&[&[byte; WITH_HEADER], &[byte; A_SECTOR]])
}

fn stands_at(sim: &SimDisk, offset: u64) -> u8 {
    let dir = sim.disk().open_dir("/wal").unwrap();
    let mut byte = [0];
    let file = dir.open_read_only("0000000000000001.wal").unwrap();
    file.read_exact_at(&mut byte, offset).unwrap();
    byte[0]
}

fn payloads(log: &Wal) -> Vec<Vec<u8>> {
    let records = log.records(Lsn(1));
    records.map(|record| record.unwrap().payload).collect()
}

#[test]
fn a_refused_group_is_gone_when_the_log_goes_on_and_after_a_crash_is_a_torn_tail() {
    let (sim, log) = refused();
    assert_eq!(payloads(&log), [FIRST]);
    let reopened = open(&SimDisk::boot(sim.world().keep_unsynced()));
    assert_eq!(payloads(&reopened), [FIRST]);
    // One that is shorter, and does not cover it.
    log.append(b"next").unwrap();
    log.sync().unwrap();
    assert_eq!(stands_at(&sim, 1535), 0);
    drop(log);
    assert_eq!(payloads(&open(&sim)), [FIRST, b"next"]);
}

/// The next group has the same header, and its records are where those of the refused one would: a power
/// loss that keeps one sector of each would make a batch of both.
#[test]
fn no_power_loss_mixes_a_refused_group_with_the_next_one() {
    let (sim, log) = refused();
    batch(&log, b'a').unwrap();
    let states = sim.world().crash_states(1 << 12).unwrap();
    assert!(states.len() > 3, "{}", states.len());
    for state in states {
        let found = payloads(&open(&SimDisk::boot(state)));
        let first_bytes: Vec<u8> = found.iter().map(|payload| payload[0]).collect();
        assert!(
            [&b"f"[..], b"faa"].contains(&&*first_bytes),
            "{first_bytes:?}"
        );
    }
}

#[test]
fn a_segment_is_not_left_with_a_part_of_a_refused_group() {
    let (sim, log) = refused();
    log.rotate().unwrap();
    log.append(b"second").unwrap();
    log.sync().unwrap();
    drop(log);
    assert_eq!(payloads(&open(&sim)), [FIRST, b"second"]);
}

#[test]
fn records_are_given_up_and_marked_where_there_is_no_space_or_nothing_changes() {
    let sim = SimDisk::new();
    sim.copy_on_write();
    let log = open(&sim);
    for _ in 0..3 {
        log.append(&[7; 700]).unwrap();
    }
    log.sync().unwrap();
    for units in 0..12 {
        sim.set_budget(Some(sim.used_bytes() + units * 512));
        let Range { start, end } = log.bounds();
        let last = Lsn(end.0 - 2);
        let calls = [log.checkpoint(Lsn(units)), log.truncate_after(last)];
        for call in calls {
            assert!(call.is_ok() || is_full(call));
        }
        sim.set_budget(None);
        log.append(&[7; 700]).unwrap();
        log.sync().unwrap();
        assert_eq!(log.bounds().start, start);
    }
    let end = log.bounds().end;
    drop(log);
    assert_eq!(open(&sim).bounds().end, end);
}
