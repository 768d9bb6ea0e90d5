//! A place that cannot be read is damage of that place: everything else is given out, and a repair mends it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use std::collections::BTreeSet;
use std::ops::Range;

use durable_io::sim::SimDisk;
use durable_io::{Background, Disk};
use wal::{Corruption, Error, Location, Lsn, Options, Wal};

/// A page of the system's cache, which is read as a whole.
const PAGE: u64 = 4096;
const SEGMENT: u64 = 4 * PAGE;
const LAST: u64 = 60;

fn options(disk: &Disk) -> Options {
    let options = Options::new().background(Background::Inline);
    options.segment_size(SEGMENT).disk(disk.clone())
}

fn payload(lsn: u64) -> Vec<u8> {
    vec![u8::try_from(lsn).unwrap(); 700]
}

fn path(number: u64) -> String {
    format!("/log/{number:016x}.wal")
}

/// A log of some segments, closed, and where its records are.
fn fixture() -> (SimDisk, Vec<Location>) {
    let sim = SimDisk::new();
    let log = options(&sim.disk()).open("/log").unwrap();
    let places = (1..=LAST).map(|lsn| log.append(&payload(lsn)).unwrap());
    let places = places.collect();
    log.close().unwrap();
    (SimDisk::boot(sim.world()), places)
}

/// The segment of a record, and its bytes and those of the header of its group.
fn place(location: &Location) -> (u64, [Range<u64>; 2]) {
    let bytes = location.to_bytes();
    let small = |at: usize| u64::from(u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()));
    let segment = u64::from_le_bytes(bytes[8..16].try_into().unwrap());
    let (offset, len, group) = (small(16), small(20), small(28));
    (segment, [group..group + 32, offset..offset + 8 + len])
}

/// The records of which no byte is in `bad` of segment `number`.
fn whole(places: &[Location], number: u64, bad: &Range<u64>) -> BTreeSet<u64> {
    let is_whole = |location: &&Location| {
        let (segment, ranges) = place(location);
        let touches = |range: &Range<u64>| range.start < bad.end && bad.start < range.end;
        segment != number || !ranges.iter().any(touches)
    };
    places
        .iter()
        .filter(is_whole)
        .map(|location| location.lsn().0)
        .collect()
}

/// What a salvage gives out, what it names as lost, and how often it says that something cannot be read.
fn salvage(disk: &Disk) -> (BTreeSet<u64>, BTreeSet<u64>, usize) {
    let (mut read, mut lost, mut unread) = (BTreeSet::new(), BTreeSet::new(), 0);
    for item in options(disk).salvage("/log").unwrap() {
        match item {
            Ok(record) => {
                assert_eq!(record.payload, payload(record.lsn.0));
                assert!(read.insert(record.lsn.0));
            }
            Err(Error::Corrupt {
                reason: Corruption::LostRecords { first, last },
                ..
            }) => lost.extend(first.0..=last.0),
            Err(Error::Disk(error)) if error.is_unreadable() => unread += 1,
            Err(error) => panic!("{error}"),
        }
    }
    (read, lost, unread)
}

fn lsns(log: &Wal) -> BTreeSet<u64> {
    log.records(Lsn(0))
        .map(|record| record.unwrap().lsn.0)
        .collect()
}

/// Every record in `read` can be salvaged, and a repair keeps those up to the first other one, for good.
fn check(sim: &SimDisk, read: &BTreeSet<u64>, unread: usize, what: &str) {
    let lost: BTreeSet<u64> = (1..=LAST).filter(|lsn| !read.contains(lsn)).collect();
    let salvaged = salvage(&sim.disk());
    assert_eq!(salvaged, (read.clone(), lost.clone(), unread), "{what}");
    let end = lost.first().copied().unwrap_or(LAST + 1);
    let log = options(&sim.disk()).repair("/log").unwrap();
    let dropped = Some(Lsn(end)..Lsn(LAST + 1));
    assert_eq!(log.recovery().dropped, dropped, "{what}");
    drop(log);
    for next in [end, end + 1] {
        let log = options(&sim.disk()).open("/log").unwrap();
        assert_eq!(lsns(&log), (1..next).collect(), "{what}");
        log.verify().unwrap();
        assert_eq!(log.append(&payload(next)).unwrap().lsn(), Lsn(next));
    }
}

#[test]
fn a_page_that_cannot_be_read_takes_no_other_record_with_it() {
    let (sim, places) = fixture();
    for number in 1..=3 {
        for page in 0..SEGMENT / PAGE {
            let sim = SimDisk::boot(sim.world());
            let bad = page * PAGE..(page + 1) * PAGE;
            // One sector of it.
            let sector = bad.start + 1024..bad.start + 1536;
            sim.spoil(&path(number), sector);
            assert!(matches!(
                options(&sim.disk()).open("/log").and_then(|log| log.verify()),
                Err(Error::Disk(error)) if error.is_unreadable()
            ));
            let what = format!("segment {number}, page {page}");
            check(&sim, &whole(&places, number, &bad), 1, &what);
        }
    }
}

#[test]
fn a_segment_that_cannot_be_opened_takes_no_other_with_it() {
    let (sim, places) = fixture();
    let last = place(places.last().unwrap()).0;
    for number in 1..=last {
        let sim = SimDisk::boot(sim.world());
        sim.forbid(&path(number));
        let what = format!("segment {number}");
        check(&sim, &whole(&places, number, &(0..SEGMENT)), 1, &what);
    }
}

/// Of a log that was not closed nothing says what was after a place at its end.
#[test]
fn a_hidden_end_is_reported() {
    let sim = SimDisk::new();
    let log = options(&sim.disk()).open("/log").unwrap();
    let mut last = None;
    while last.is_none_or(|location| place(&location).0 < 3) {
        last = Some(log.append(&payload(1)).unwrap());
    }
    drop(log);
    let world = sim.world();
    let is_hidden = |spoil: &dyn Fn(&SimDisk)| {
        let sim = SimDisk::boot(world.clone());
        spoil(&sim);
        let mut records = options(&sim.disk()).salvage("/log").unwrap();
        records.by_ref().for_each(drop);
        records.is_end_hidden()
    };
    assert!(!is_hidden(&|_| {}));
    assert!(is_hidden(&|sim| sim.spoil(&path(3), 600..601)));
    assert!(is_hidden(&|sim| sim.forbid(&path(3))));
    assert!(!is_hidden(&|sim| sim.spoil(&path(2), 600..601)));
    assert!(!is_hidden(&|sim| sim.forbid(&path(2))));
    let remove = |sim: &SimDisk, number| {
        let dir = sim.disk().open_dir("/log").unwrap();
        for file in dir.list().unwrap() {
            if file.name >= format!("{number:016x}.wal") && !["lock", "mark"].contains(&&*file.name)
            {
                dir.remove(&file.name).unwrap();
            }
        }
    };
    assert!(is_hidden(&|sim| remove(sim, 1)));
    assert!(is_hidden(&|sim| remove(sim, 2)));
}

#[test]
fn a_superblock_that_cannot_be_read_is_a_lost_one() {
    let (sim, _) = fixture();
    let all: BTreeSet<u64> = (1..=LAST).collect();
    for slots in [vec![0], vec![4096], vec![0, 4096]] {
        let sim = SimDisk::boot(sim.world());
        for &slot in &slots {
            sim.spoil("/log/mark", slot..slot + 128);
        }
        options(&sim.disk()).open("/log").unwrap_err();
        check(&sim, &all, 0, &format!("slots at {slots:?}"));
    }
    sim.forbid("/log/mark");
    check(&sim, &all, 0, "no permission");
}

#[test]
fn a_dump_shows_what_can_be_read_and_names_the_rest() {
    let (sim, places) = fixture();
    sim.spoil(&path(2), PAGE + 1024..PAGE + 1536);
    sim.spoil("/log/mark", 0..128);
    sim.forbid(&path(3));
    let mut text = Vec::new();
    wal::dump(&sim.disk(), "/log", wal::Detail::Records, &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("! 0: void slot: it cannot be read"), "{text}");
    assert!(
        text.contains("! 4096: 4096 bytes count as zeros; cannot read"),
        "{text}"
    );
    assert!(
        text.contains("0003.wal: the permission is missing"),
        "{text}"
    );
    let whole = whole(&places, 2, &(PAGE..2 * PAGE));
    let third = places.iter().filter(|location| place(location).0 == 3);
    let third: BTreeSet<u64> = third.map(|location| location.lsn().0).collect();
    // After a damaged record the dump continues at the next group.
    for lsn in whole.difference(&third) {
        assert!(
            text.contains(&format!(": LSN {lsn}, 700 bytes")),
            "{lsn}\n{text}"
        );
    }
}

/// What is missing for a moment is no damage: a repair must not truncate anything for it.
#[test]
fn a_want_of_descriptors_repairs_nothing() {
    const EMFILE: i32 = 24;
    let (sim, _) = fixture();
    for nth in 0..30 {
        let sim = SimDisk::boot(sim.world());
        sim.inject(durable_io::sim::Fault {
            call: nth,
            kind: durable_io::sim::FaultKind::Errno(EMFILE),
            sticky: false,
        });
        let repaired = options(&sim.disk()).repair("/log");
        sim.clear_fault();
        assert!(repaired.is_err() || repaired.is_ok_and(|log| log.recovery().dropped.is_none()));
        let log = options(&sim.disk()).open("/log").unwrap();
        assert_eq!(lsns(&log).len() as u64, LAST);
    }
}
