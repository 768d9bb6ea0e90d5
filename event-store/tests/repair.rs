//! The events of a damaged store that can be believed become a new one, and the damaged one stays as it is.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use std::io::ErrorKind;

use durable_io::sim::SimDisk;
use durable_io::testing::simulated::{files, spoilt};
use event_store::{
    Append, Background, Corruption, Error, Event, EventStore, Expected, NewEvent, Options,
    Position, RepairOptions, Repaired, Subscribe, Version,
};

const STORE: &str = "/store";
const NEW: &str = "/new/store";

fn options(disk: &SimDisk) -> Options {
    Options::new()
        .segment_size(8192)
        .index_interval(4000)
        .reserve(0)
        .background(Background::Inline)
        .clock(|| 7)
        .disk(disk.disk())
}

/// 60 appends of two events to two streams each, the last of which ends a stream; a reader that has all, and one that
/// has the first.
fn fixture() -> (SimDisk, Vec<Event>) {
    let disk = SimDisk::new();
    let store = options(&disk).open(STORE).unwrap();
    for n in 0..60_u64 {
        let payload = format!("payload of append {n}");
        let event = |id: u64| {
            let event = NewEvent::new("Kind", payload.as_bytes())
                .metadata(b"meta")
                .tag("tag");
            event.id(u128::from(n * 2 + id + 1))
        };
        let stream = format!("s-{}", n % 5);
        let append = Append::new()
            .stream(&stream, Expected::Any, [event(0)])
            .stream("all", Expected::Any, [event(1)])
            .source("queue", n + 1);
        store.write(&append).unwrap();
        while store.run_background().unwrap() {}
    }
    store.tombstone("s-0", Expected::Any).unwrap();
    for (name, count) in [("first", 1), ("whole", 121)] {
        let mut reader = store.subscribe(Subscribe::new().named(name)).unwrap();
        for _ in 0..count {
            reader.try_next().unwrap().unwrap();
        }
        reader.acknowledge().unwrap();
    }
    let events: Vec<Event> = store.read_all(Position(1)).map(Result::unwrap).collect();
    store.close().unwrap();
    assert_eq!(events.len(), 121);
    (SimDisk::boot(disk.world().keep_unsynced()), events)
}

/// Repairs the store on `disk`, which must stay as it is; what the new one says, and it itself after a power loss.
fn repair(disk: &SimDisk) -> (Repaired, EventStore) {
    let before = files(disk);
    let repaired = options(disk)
        .repair(STORE, NEW, &RepairOptions::new())
        .unwrap();
    let mut after = files(disk);
    after.retain(|(path, _)| !path.starts_with("/new/"));
    assert!(before == after, "nothing is changed");
    let disk = SimDisk::boot(disk.world().lose_unsynced());
    let store = options(&disk).open(NEW).unwrap();
    let damage = store.verify().unwrap().damage;
    assert!(damage.is_empty(), "{damage:?}");
    (repaired, store)
}

fn read(store: &EventStore) -> Vec<Event> {
    store.read_all(Position(1)).map(Result::unwrap).collect()
}

/// All that an event says, but for its place; a tombstone has an id of its own.
fn says(event: &Event) -> String {
    let id = (!event.is_tombstone()).then(|| event.id());
    let tags: Vec<_> = event.tags().collect();
    let names = (event.stream(), event.kind(), tags);
    let bytes = (event.metadata(), event.payload());
    format!("{id:?} {names:?} {bytes:?} {}", event.timestamp_micros())
}

/// Where `text` is in the log of events: a file and an offset.
fn find(disk: &SimDisk, text: &str) -> (String, usize) {
    let files = files(disk)
        .into_iter()
        .filter(|(path, _)| path.contains("/events/"));
    let mut places = files.filter_map(|(path, bytes)| {
        let at = bytes
            .windows(text.len())
            .position(|found| found == text.as_bytes())?;
        Some((path, at))
    });
    places.next().unwrap()
}

#[test]
fn an_undamaged_store_is_taken_whole_with_places_and_readers() {
    let (disk, events) = fixture();
    let (repaired, store) = repair(&disk);
    assert_eq!((repaired.taken, repaired.error_count), (121, 0));
    let found = read(&store);
    for (found, event) in found.iter().zip(&events) {
        assert_eq!(says(found), says(event));
        assert_eq!(
            (found.position(), found.version()),
            (event.position(), event.version())
        );
        assert_eq!(
            (found.source(), found.previous()),
            (event.source(), event.previous())
        );
    }
    assert_eq!(found.len(), events.len());
    assert!(store.stream_info("s-0").unwrap().unwrap().is_ended);
    assert_eq!(store.source_position("queue").unwrap(), Some(60));
    let mut reader = store.subscribe(Subscribe::new().named("first")).unwrap();
    assert_eq!(reader.try_next().unwrap().unwrap().position(), Position(2));
}

/// Ways to lose what is in the middle: a byte that is wrong, or a sector that cannot be read.
fn damaged() -> [SimDisk; 2] {
    let (disk, _) = fixture();
    let (path, at) = find(&disk, "payload of append 30");
    let wrong = spoilt(&disk, &path, at..at + 1);
    let sector = at as u64 / 512 * 512;
    disk.spoil(&path, sector..sector + 512);
    [wrong, disk]
}

#[test]
fn what_comes_after_a_damaged_event_is_taken_and_moves_up() {
    let (_, events) = fixture();
    for disk in damaged() {
        let (repaired, store) = repair(&disk);
        let mut missing = Vec::new();
        for error in &repaired.errors {
            if let Error::Corrupt {
                reason: Corruption::MissingEvents { first, last },
                ..
            } = error
            {
                missing.push(first.0..=last.0);
            }
        }
        let is_missing = |at: u64| missing.iter().any(|range| range.contains(&at));
        assert!(is_missing(61) || is_missing(62), "{:?}", repaired.errors);
        let left: Vec<_> = events
            .iter()
            .filter(|event| !is_missing(event.position().0))
            .collect();
        let found = read(&store);
        assert_eq!(found.len(), left.len());
        assert_eq!(repaired.taken, left.len() as u64);
        for (at, (found, event)) in (1..).zip(found.iter().zip(left)) {
            assert_eq!(says(found), says(event));
            assert_eq!(found.position(), Position(at));
        }
        let versions = store
            .read_stream("all", Version(1))
            .map(|event| event.unwrap().version().0);
        let versions: Vec<u64> = versions.collect();
        assert!(versions.iter().copied().eq(1..=versions.len() as u64));
    }
}

#[test]
fn a_reader_that_had_come_further_has_diverged() {
    let (_, events) = fixture();
    for disk in damaged() {
        let (_, store) = repair(&disk);
        let first = store.subscribe(Subscribe::new().named("first")).unwrap();
        drop(first);
        let refused = store.subscribe(Subscribe::new().named("whole"));
        assert!(
            matches!(refused, Err(Error::Diverged { .. })),
            "{refused:?}"
        );
        // One that has kept position and id, of an event that has another place now.
        let event = &events[100];
        let after = Subscribe::new().after_event(event.position(), event.id());
        let refused = store.subscribe(after);
        assert!(
            matches!(refused, Err(Error::Diverged { .. })),
            "{refused:?}"
        );
    }
}

#[test]
fn what_is_in_the_way_is_not_touched() {
    let (disk, _) = fixture();
    disk.disk()
        .create_dir(NEW)
        .unwrap()
        .create_new("mine")
        .unwrap();
    let before = files(&disk);
    for into in [NEW, STORE] {
        let refused = options(&disk).repair(STORE, into, &RepairOptions::new());
        let Err(Error::Disk(durable_io::Error::Io { source, .. })) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(source.kind(), ErrorKind::DirectoryNotEmpty);
    }
    assert!(before == files(&disk));
}
