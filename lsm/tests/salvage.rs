//! Whatever is damaged, every key is given out that can be read, and where something newer may be lost it says so.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use durable_io::sim::SimDisk;
use durable_io::testing::simulated::{files, spoilt, used, without};
use lsm::{Corruption, Error, KeyspaceOptions, Options, Salvaged};
use rand::RngExt;
use support::{seeded, small};

const STORE: &str = "/store";

/// A keyspace by its id, and a key.
type Place = (u32, Vec<u8>);

/// What a store holds, and all that it ever held.
#[derive(Default)]
struct Model {
    now: BTreeMap<Place, Vec<u8>>,
    ever: BTreeSet<(Place, Vec<u8>)>,
}

impl Model {
    fn put(&mut self, id: u32, key: &[u8], value: &[u8]) {
        let place = (id, key.to_vec());
        self.now.insert(place.clone(), value.to_vec());
        self.ever.insert((place, value.to_vec()));
    }
}

fn options(disk: &SimDisk) -> Options {
    small()
        .disk(disk.disk())
        .auto_compact(false)
        .keyspace("default", KeyspaceOptions::new().block_size(256))
        .memtable_size(1 << 20)
        .memory(4 << 20)
}

/// Two keyspaces in several tables that overlap, one of them compacted; deletions of keys and of a range; the last
/// operations in the log alone.
fn fixture(is_closed: bool) -> (SimDisk, Model) {
    let disk = SimDisk::new();
    let db = options(&disk).open(STORE).unwrap();
    let made = KeyspaceOptions::new().block_size(256);
    let users = db.create_keyspace("users", &made).unwrap();
    let mut model = Model::default();
    for round in 0..4_u8 {
        for n in (0..160_u8).filter(|n| n % 4 >= round) {
            let (key, value) = ([b'k', n / 16, n], [n ^ round; 24]);
            users.put(&key, &value).unwrap();
            model.put(1, &key, &value);
            if n % 3 == 0 {
                db.put(&key, &value).unwrap();
                model.put(0, &key, &value);
            }
        }
        for n in (0..20).map(|n| n * 8 + round) {
            users.delete(&[b'k', n / 16, n]).unwrap();
            model.now.remove(&(1, vec![b'k', n / 16, n]));
        }
        if round == 2 {
            users.delete_range(b"k\x03", b"k\x04").unwrap();
            model
                .now
                .retain(|(id, key), _| *id != 1 || !key.starts_with(b"k\x03"));
        }
        match round {
            1 => drop(db.compact(..).unwrap()),
            3 => {}
            _ => db.flush_all().unwrap(),
        }
    }
    if is_closed {
        db.close().unwrap();
    } else {
        drop(db);
    }
    (SimDisk::boot(disk.world().keep_unsynced()), model)
}

struct Left {
    keys: BTreeMap<Place, Salvaged>,
    errors: Vec<Error>,
}

fn salvage(disk: &SimDisk) -> Left {
    let before = files(disk);
    let mut left = Left {
        keys: BTreeMap::new(),
        errors: Vec::new(),
    };
    let salvage = options(disk).salvage(STORE).unwrap();
    let mut last = None;
    for item in salvage {
        match item {
            Ok(salvaged) => {
                let place = (salvaged.keyspace.id, salvaged.key.clone());
                assert!(last < Some(place.clone()), "keys come in their order");
                last = Some(place.clone());
                left.keys.insert(place, salvaged);
            }
            Err(error) => left.errors.push(error),
        }
    }
    assert!(before == files(disk), "nothing is changed");
    left
}

impl Left {
    /// What is given out is right, or has a warning; what is missing is named. How many keys are missing, and how
    /// many may be older.
    fn check(&self, model: &Model, what: &str) -> (usize, usize) {
        let mut older = 0;
        for (place, salvaged) in &self.keys {
            let value = &salvaged.value;
            if salvaged.may_be_older {
                older += 1;
                let was = model.ever.contains(&(place.clone(), value.clone()));
                assert!(was, "{what}: {salvaged:?} never was");
            } else {
                let now = model.now.get(place);
                assert_eq!(now, Some(value), "{what}: {place:?}, {:?}", self.errors);
            }
        }
        let missing = model.now.keys();
        let missing = missing.filter(|place| !self.keys.contains_key(*place));
        let missing: Vec<_> = missing.collect();
        for place in &missing {
            let is_named = self.errors.iter().any(|error| match error {
                Error::Lost(lost) => lost.keyspace.id == place.0 && lost.keys.contains(&place.1),
                Error::Corrupt { reason, .. } => !matches!(reason, Corruption::Table(_)),
                Error::Disk(_) => true,
                _ => false,
            });
            assert!(is_named, "{what}: {place:?} is missing: {:?}", self.errors);
        }
        (missing.len(), older)
    }
}

#[test]
fn an_undamaged_store_is_given_out_whole() {
    let (disk, model) = fixture(true);
    let left = salvage(&disk);
    assert!(left.errors.is_empty(), "{:?}", left.errors);
    assert_eq!(left.check(&model, "undamaged"), (0, 0));
    assert_eq!(left.keys.len(), model.now.len());
    let one = options(&disk).salvage(STORE).unwrap();
    let names = one.keyspaces().iter().map(|one| one.name.as_deref());
    assert_eq!(names.collect::<Vec<_>>(), [Some("default"), Some("users")]);
    // By several at once, and not beside a writer.
    drop(options(&disk).salvage(STORE).unwrap());
    assert!(options(&disk).open(STORE).is_err());
    drop(one);
    let db = options(&disk).open(STORE).unwrap();
    assert!(matches!(
        options(&disk).salvage(STORE),
        Err(Error::Disk(durable_io::Error::Locked { .. }))
    ));
    drop(db);
}

#[test]
fn each_damaged_place_costs_what_was_there_and_warns_of_it() {
    let (_, mut rng) = seeded(1);
    let (disk, model) = fixture(true);
    let (mut missing, mut older, mut cases) = (0, 0, 0);
    for (path, bytes) in files(&disk) {
        let mut at = rng.random_range(0..60);
        let is_table = path.contains("/tables/");
        while at < used(&bytes) {
            let range = at..used(&bytes).min(at + 60);
            let what = format!("bytes {range:?} of {path}");
            let left = salvage(&spoilt(&disk, &path, range));
            let found = left.check(&model, &what);
            if is_table {
                // Some blocks of some 250 bytes.
                assert!(found.0 < 20 && found.1 < 20, "{what}: {found:?}");
            }
            (missing, older, cases) = (missing + found.0, older + found.1, cases + 1);
            at += 60;
        }
    }
    assert!(
        missing > 100 && older > 500 && cases > 300,
        "{missing} {older} {cases}"
    );
}

/// Also of a store that was not closed: nothing but what is there says how far its log went.
#[test]
fn a_file_that_is_missing_or_cannot_be_opened_takes_no_other_with_it() {
    for is_closed in [true, false] {
        let (disk, model) = fixture(is_closed);
        for (path, _) in files(&disk) {
            let gone = salvage(&without(&disk, &path));
            let found = gone.check(&model, &format!("{path} is gone"));
            let forbidden = SimDisk::boot(disk.world());
            forbidden.forbid(&path);
            let closed = salvage(&forbidden);
            closed.check(&model, &format!("{path} is closed to us"));
            assert!(!closed.errors.is_empty(), "{path}");
            if path.contains("/tables/") {
                assert!(found.0 < model.now.len(), "{path}: {found:?}");
                assert!(gone.errors.iter().any(is_missing_table), "{path}");
            }
        }
    }
}

fn is_missing_table(error: &Error) -> bool {
    let Error::Lost(lost) = error else {
        return false;
    };
    matches!(
        lost.source,
        Error::Corrupt {
            reason: Corruption::MissingTable,
            ..
        }
    )
}

#[test]
fn sectors_that_cannot_be_read_are_no_more_than_damage() {
    for is_closed in [true, false] {
        let (disk, model) = fixture(is_closed);
        for (path, bytes) in files(&disk) {
            for start in (0..used(&bytes) as u64).step_by(512) {
                let spoiled = SimDisk::boot(disk.world());
                spoiled.spoil(&path, start..start + 512);
                let left = salvage(&spoiled);
                left.check(&model, &format!("byte {start} of {path} cannot be read"));
            }
        }
    }
}

#[test]
fn without_the_manifest_tables_say_whose_they_are() {
    let (disk, model) = fixture(true);
    let manifests = files(&disk).into_iter();
    let manifests = manifests.filter(|(path, _)| path.contains("/manifest/"));
    let mut left_over = SimDisk::boot(disk.world());
    for (path, _) in manifests {
        left_over = without(&left_over, &path);
    }
    let left = salvage(&left_over);
    let all = options(&left_over).salvage(STORE).unwrap();
    let ids: Vec<_> = all.keyspaces().iter().map(|one| one.id).collect();
    assert_eq!(ids, [0, 1]);
    assert!(all.keyspaces().iter().all(|one| one.name.is_none()));
    let (missing, older) = left.check(&model, "without the manifest");
    assert_eq!(missing, 0);
    assert_eq!(older, left.keys.len(), "every key may be older");
    // Nothing was damaged, so nothing is.
    for (place, salvaged) in &left.keys {
        assert_eq!(model.now.get(place), Some(&salvaged.value));
    }
}

#[test]
fn several_damaged_places_at_once() {
    let (_, mut rng) = seeded(2);
    let (disk, model) = fixture(true);
    let files = files(&disk);
    for _ in 0..150 {
        let mut damaged = SimDisk::boot(disk.world());
        for _ in 0..rng.random_range(2..8) {
            let (path, bytes) = &files[rng.random_range(0..files.len())];
            let end = used(bytes);
            if end == 0 || damaged.world().file_bytes(path).is_none() {
                continue;
            }
            damaged = if rng.random_range(0..12) == 0 {
                without(&damaged, path)
            } else {
                let start = rng.random_range(0..end);
                let len = rng.random_range(1..400);
                spoilt(&damaged, path, start..end.min(start + len))
            };
        }
        salvage(&damaged).check(&model, "several places");
    }
}
