//! Whatever is damaged, every event is given out that can be read, and the positions of every other one are named.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use durable_io::sim::SimDisk;
use durable_io::testing::simulated::{files, spoilt, used, without};
use event_store::{
    Background, Corruption, Error, Event, Expected, NewEvent, Options, Position, Subscribe,
    SyncMode,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const STORE: &str = "/store";

fn options(disk: &SimDisk) -> Options {
    Options::new()
        .segment_size(8192)
        .index_interval(4000)
        .reserve(0)
        .background(Background::Inline)
        .sync(SyncMode::Always)
        .clock(|| 7)
        .disk(disk.disk())
}

/// Some hundred events of several streams in several segments, with a reader.
fn fixture(is_closed: bool) -> (SimDisk, Vec<Event>) {
    let disk = SimDisk::new();
    let store = options(&disk).open(STORE).unwrap();
    let mut id = 0_u128;
    for n in 0..80_u8 {
        let payload = vec![n; 30 + usize::from(n)];
        let events: Vec<NewEvent<'_>> = (0..=n % 5)
            .map(|_| {
                id += 1;
                NewEvent::new("Added", &payload).id(id)
            })
            .collect();
        let stream = format!("s-{}", n % 7);
        store.append(&stream, Expected::Any, events).unwrap();
        while store.run_background().unwrap() {}
    }
    let mut reader = store.subscribe(Subscribe::new().named("billing")).unwrap();
    let event = reader.try_next().unwrap().unwrap();
    reader.acknowledge_up_to(&event).unwrap();
    drop(reader);
    let events: Vec<Event> = store.read_all(Position(1)).map(Result::unwrap).collect();
    if is_closed {
        store.close().unwrap();
    } else {
        drop(store);
    }
    assert!(events.len() > 200);
    (SimDisk::boot(disk.world().keep_unsynced()), events)
}

struct Left {
    events: Vec<Event>,
    missing: Vec<(u64, u64)>,
    errors: Vec<Error>,
}

fn salvage(disk: &SimDisk) -> Left {
    let before = files(disk);
    let mut left = Left {
        events: Vec::new(),
        missing: Vec::new(),
        errors: Vec::new(),
    };
    let mut next = 1;
    for item in options(disk).salvage(STORE).unwrap() {
        match item {
            Ok(event) => {
                assert_eq!(event.position().0, next, "every other one is named before");
                next += 1;
                left.events.push(event);
            }
            Err(Error::Corrupt {
                reason: Corruption::MissingEvents { first, last },
                ..
            }) => {
                assert_eq!(first.0, next);
                left.missing.push((first.0, last.0));
                next = last.0 + 1;
            }
            Err(error) => left.errors.push(error),
        }
    }
    assert!(before == files(disk), "nothing is changed");
    left
}

impl Left {
    /// Every event is given out, or its position is named; or an error says that the end is lost, if `is_torn` does
    /// not say that it may be missing. How many are missing.
    fn check(&self, all: &[Event], is_torn: bool, what: &str) -> usize {
        for event in &self.events {
            assert_eq!(all.get(index(event)), Some(event), "{what}");
        }
        let named: u64 = self
            .missing
            .iter()
            .map(|(first, last)| last + 1 - first)
            .sum();
        let rest = all.len() - self.events.len() - usize::try_from(named).unwrap();
        let is_reported = is_torn || !self.errors.is_empty();
        assert!(rest == 0 || is_reported, "{what}: {rest} are missing");
        all.len() - self.events.len()
    }
}

fn index(event: &Event) -> usize {
    usize::try_from(event.position().0 - 1).unwrap()
}

#[test]
fn an_undamaged_store_is_given_out_whole() {
    for is_closed in [true, false] {
        let (disk, all) = fixture(is_closed);
        let left = salvage(&disk);
        assert!(left.errors.is_empty(), "{:?}", left.errors);
        assert!(left.missing.is_empty());
        assert_eq!(left.events, all);
        let one = options(&disk).salvage(STORE).unwrap();
        assert_eq!(one.subscriptions(), [("billing".to_owned(), Position(1))]);
        // By several at once, and not beside a writer.
        drop(options(&disk).salvage(STORE).unwrap());
        assert!(options(&disk).open(STORE).is_err());
        drop(one);
        let store = options(&disk).open(STORE).unwrap();
        assert!(matches!(
            options(&disk).salvage(STORE),
            Err(Error::Disk(durable_io::Error::Locked { .. }))
        ));
        drop(store);
    }
}

#[test]
fn each_damaged_place_costs_what_was_there_and_names_it() {
    let seed = std::env::var("SEED").map_or(1, |seed| seed.parse().unwrap());
    let mut rng = StdRng::seed_from_u64(seed);
    let (disk, all) = fixture(true);
    let (mut missing, mut cases) = (0, 0);
    for (path, bytes) in files(&disk) {
        let mut at = rng.random_range(0..150);
        while at < used(&bytes) {
            let range = at..used(&bytes).min(at + 100);
            let what = format!("bytes {range:?} of {path}");
            let left = salvage(&spoilt(&disk, &path, range));
            let found = left.check(&all, false, &what);
            // Two appends, if a group lost its header.
            assert!(found <= 10, "{what}: {found}");
            assert!(found == 0 || path.contains("/events/"), "{what}");
            (missing, cases) = (missing + found, cases + 1);
            at += 150;
        }
    }
    assert!(missing > 200 && cases > 200, "{missing} {cases}");
}

/// Also of a store that was not closed: then an error says that nobody knows how far it went.
#[test]
fn files_and_sectors_that_cannot_be_read_take_no_other_with_them() {
    for is_closed in [true, false] {
        let (disk, all) = fixture(is_closed);
        for (path, bytes) in files(&disk) {
            removed_or_closed(&disk, &all, &path);
            for start in (0..used(&bytes) as u64).step_by(512) {
                let spoiled = SimDisk::boot(disk.world());
                spoiled.spoil(&path, start..start + 512);
                let what = format!("byte {start} of {path} cannot be read");
                let found = salvage(&spoiled).check(&all, false, &what);
                assert!(found < all.len() / 2, "{what}: {found}");
            }
        }
    }
}

fn removed_or_closed(disk: &SimDisk, all: &[Event], path: &str) {
    let gone = salvage(&without(disk, path));
    let found = gone.check(all, false, &format!("{path} is gone"));
    let forbidden = SimDisk::boot(disk.world());
    forbidden.forbid(path);
    let closed = salvage(&forbidden);
    let same = closed.check(all, false, &format!("{path} is closed to us"));
    assert_eq!(found, same, "{path}");
    assert!(found < all.len() / 2, "{path}: {found}");
}

#[test]
fn several_damaged_places_at_once() {
    let seed = std::env::var("SEED").map_or(1, |seed| seed.parse().unwrap());
    let mut rng = StdRng::seed_from_u64(seed);
    for is_closed in [true, false] {
        let (disk, all) = fixture(is_closed);
        let files = files(&disk);
        for _ in 0..100 {
            let mut damaged = SimDisk::boot(disk.world());
            for _ in 0..rng.random_range(2..8) {
                let (path, bytes) = &files[rng.random_range(0..files.len())];
                let end = used(bytes);
                if end > 0 {
                    let start = rng.random_range(0..end);
                    let len = rng.random_range(1..400);
                    damaged = spoilt(&damaged, path, start..end.min(start + len));
                }
            }
            salvage(&damaged).check(&all, true, "several places");
        }
    }
}
