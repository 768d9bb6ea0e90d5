//! Reading single records by where they are.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use std::time::Duration;

use wal::{Corruption, Error, Location, Lsn, Wal};

#[path = "support/files.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod files;

use files::{fast_dir, options, segment, snapshot, write};

fn payload(lsn: u64) -> Vec<u8> {
    vec![u8::try_from(lsn).unwrap(); usize::try_from(lsn * 7 % 300).unwrap()]
}

/// Appends up to record `last`, in batches of up to three.
fn append(log: &Wal, last: u64) {
    while log.bounds().end <= Lsn(last) {
        let next = log.bounds().end.0;
        let batch: Vec<_> = (next..=last).take(3).map(payload).collect();
        let batch: Vec<_> = batch.iter().map(Vec::as_slice).collect();
        log.append_batch(&batch).unwrap();
    }
}

fn locations(log: &Wal) -> Vec<Location> {
    let mut records = log.records(Lsn(1));
    assert_eq!(records.location(), None);
    let mut all = Vec::new();
    while records.read().unwrap().is_some() {
        all.push(records.location().unwrap());
    }
    all
}

#[test]
fn every_record_is_read_at_its_location_also_after_reopening() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    append(&log, 100);
    let all = locations(&log);
    assert_eq!(all.len(), 100);
    log.sync().unwrap();
    let mut follow = log.follow(Lsn(1));
    for location in &all {
        follow.next(Duration::ZERO).unwrap().unwrap();
        assert_eq!(follow.location(), Some(*location));
    }
    log.close().unwrap();
    let log = options().open(dir.path()).unwrap();
    for (location, lsn) in all.iter().zip(1..) {
        let location = Location::from_bytes(&location.to_bytes());
        let record = log.read(location).unwrap();
        assert_eq!((record.lsn, location.lsn()), (Lsn(lsn), Lsn(lsn)));
        assert_eq!(record.payload, payload(lsn));
    }
}

#[test]
fn what_was_truncated_at_either_end_is_reported() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    append(&log, 60);
    let all = locations(&log);
    log.truncate_after(Lsn(39)).unwrap();
    // The same numbers again, with other payloads; what is read must be the new or nothing.
    for _ in 40..=60 {
        log.append(b"new").unwrap();
    }
    log.truncate_before(Lsn(20)).unwrap();
    for (location, lsn) in all.iter().zip(1..) {
        match log.read(*location) {
            Ok(record) => assert_eq!(
                (record.payload, (20..40).contains(&lsn)),
                (payload(lsn), true)
            ),
            Err(Error::Truncated) => assert!(!(20..40).contains(&lsn), "{lsn}"),
            // Something else is there now.
            Err(Error::Corrupt { .. }) => assert!(lsn >= 40, "{lsn}"),
            Err(error) => panic!("{lsn}: {error}"),
        }
    }
    for location in locations(&log)
        .iter()
        .filter(|location| location.lsn() >= Lsn(40))
    {
        assert_eq!(log.read(*location).unwrap().payload, b"new");
    }
}

#[test]
fn damage_and_a_made_up_location_are_reported() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    append(&log, 5);
    let location = locations(&log)[3];
    log.close().unwrap();
    let files = snapshot(dir.path());
    let bytes = location.to_bytes();
    let log = options().open(dir.path()).unwrap();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut wrong = bytes;
            wrong[at] ^= 1 << bit;
            let wrong = Location::from_bytes(&wrong);
            let refuses = |read: &wal::Result<_>| {
                matches!(read, Err(Error::Corrupt { .. } | Error::Truncated))
            };
            let read = log.read(wrong);
            // Where the group begins is not asked for a single record.
            assert_eq!(refuses(&read), at < 28, "byte {at}: {read:?}");
            let run = log.records_at(wrong);
            let first = run.and_then(|mut run| run.next().expect("there is one"));
            assert!(refuses(&first), "byte {at}: {first:?}");
        }
    }
    let name = segment(1);
    let (_, whole) = files.iter().find(|(file, _)| *file == name).unwrap();
    let offset = u32::from_le_bytes(bytes[16..20].try_into().unwrap()) as usize;
    for at in offset..offset + 8 + payload(4).len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        write(dir.path(), &name, &damaged);
        assert!(matches!(
            log.read(location),
            Err(Error::Corrupt { offset: at, reason: Corruption::Checksum, .. }) if at == offset as u64
        ));
    }
    write(dir.path(), &name, whole);
    assert_eq!(log.read(location).unwrap().payload, payload(4));
}

/// Every record of a batch has its place, as the append said it.
#[test]
fn an_append_returns_where_its_records_are() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    let single = log.append(&payload(1)).unwrap();
    let lsns = [2, 3, 4, 5];
    let batch = lsns.map(payload);
    let slices = batch.each_ref().map(Vec::as_slice);
    let submitted = log.submit(&slices).unwrap().wait().unwrap();
    let appended: Vec<_> = [single]
        .into_iter()
        .chain(submitted.locations(batch.iter().map(Vec::len)))
        .collect();
    assert_eq!(appended, locations(&log));
    for (location, lsn) in appended.iter().zip(1..) {
        let run = log.records_at(*location).unwrap();
        let run: Vec<_> = run.map(|record| record.unwrap().payload).collect();
        assert!(run.into_iter().eq((lsn..=5).map(payload)), "from {lsn}");
    }
    let nothing = log.append_batch(&[]).unwrap();
    assert_eq!((nothing.first(), nothing.lsns().is_empty()), (None, true));
}
