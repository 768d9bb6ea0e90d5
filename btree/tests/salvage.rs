//! Whatever is damaged, every entry is given out that can be read, and the keys of every other one are named.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use btree::{Background, Btree, Corruption, Error, Options, Salvaged};
use durable_io::sim::SimDisk;
use durable_io::testing::simulated::{files, overwritten, spoilt, used, without};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const STORE: &str = "/store";
const PAGES: &str = "/store/pages";

/// A table by its id, and a key.
type Place = (u64, Vec<u8>);

/// What a store holds, and all that it ever held.
#[derive(Clone, Default)]
struct Model {
    now: BTreeMap<Place, Vec<u8>>,
    ever: BTreeSet<(Place, Vec<u8>)>,
    /// What it held after each transaction: the last ones may be gone from the end of a log that was not closed.
    states: Vec<BTreeMap<Place, Vec<u8>>>,
}

impl Model {
    fn put(&mut self, table: u64, key: &[u8], value: &[u8]) {
        let place = (table, key.to_vec());
        self.now.insert(place.clone(), value.to_vec());
        self.ever.insert((place, value.to_vec()));
    }
}

fn options(disk: &SimDisk) -> Options {
    Options::new()
        .page_size(512)
        .log_segment_size(16 << 10)
        .background(Background::Inline)
        .disk(disk.disk())
}

/// Puts every `nth` of some keys, with a value of `salt`; some values have pages of their own.
fn put(store: &Btree, model: &mut Model, table: u64, nth: usize, salt: u8) {
    let mut write = store.begin_write().unwrap();
    let name = ["a", "b", "c"][usize::try_from(table).unwrap()];
    let mut open = write.create_table(name).unwrap();
    for n in (0..120_u8).step_by(nth) {
        let len = if n % 40 == 7 { 1500 } else { 20 };
        let (key, value) = ([b'k', n / 16, n], vec![n ^ salt; len]);
        open.put(&key, &value).unwrap();
        model.put(table, &key, &value);
    }
    write.commit().unwrap();
    model.states.push(model.now.clone());
}

/// Three tables, one of them made after the last checkpoint; since that, puts, deletions, and a range that is gone.
fn fixture() -> (SimDisk, Model) {
    let disk = SimDisk::new();
    let store = options(&disk).open(STORE).unwrap();
    let mut model = Model::default();
    put(&store, &mut model, 0, 1, 1);
    put(&store, &mut model, 1, 3, 2);
    store.checkpoint().unwrap();
    put(&store, &mut model, 2, 11, 3);
    put(&store, &mut model, 0, 5, 4);
    let mut write = store.begin_write().unwrap();
    let mut open = write.create_table("a").unwrap();
    open.delete_range(&b"k\x02"[..]..&b"k\x03"[..]).unwrap();
    model
        .now
        .retain(|(id, key), _| *id != 0 || !key.starts_with(b"k\x02"));
    for key in [b"k\0\x08", b"k\x01\x10", b"k\x04\x41"] {
        open.delete(key).unwrap();
        model.now.remove(&(0, key.to_vec()));
    }
    open.put(b"k\x02\x21", b"back").unwrap();
    model.put(0, b"k\x02\x21", b"back");
    write.commit().unwrap();
    model.states.push(model.now.clone());
    put(&store, &mut model, 1, 17, 5);
    drop(store);
    (SimDisk::boot(disk.world().keep_unsynced()), model)
}

struct Left {
    entries: BTreeMap<Place, Salvaged>,
    errors: Vec<Error>,
}

fn salvage(disk: &SimDisk) -> Left {
    let before = files(disk);
    let mut left = Left {
        entries: BTreeMap::new(),
        errors: Vec::new(),
    };
    let mut last = None;
    for item in options(disk).salvage(STORE).unwrap() {
        match item {
            Ok(salvaged) => {
                let place = (salvaged.table.id, salvaged.key.clone());
                assert!(last < Some(place.clone()), "entries come in their order");
                last = Some(place.clone());
                left.entries.insert(place, salvaged);
            }
            Err(error) => left.errors.push(error),
        }
    }
    assert!(before == files(disk), "nothing is changed");
    left
}

impl Left {
    /// What is given out is right, or has a warning; what is missing is named. How many are missing, and how many
    /// may be older.
    fn check(&self, model: &Model, what: &str) -> (usize, usize) {
        let missing = self.against(model, &model.now);
        missing.unwrap_or_else(|wrong| panic!("{what}: {wrong}: {:?}", self.errors))
    }

    /// As [`check`](Self::check); but the last transactions may be missing, as if a crash had come before them.
    fn check_torn(&self, model: &Model, what: &str) -> (usize, usize) {
        let states = model.states.iter().rev();
        let mut found = states.filter_map(|now| self.against(model, now).ok());
        found.next().unwrap_or_else(|| self.check(model, what))
    }

    fn against(
        &self,
        model: &Model,
        now: &BTreeMap<Place, Vec<u8>>,
    ) -> Result<(usize, usize), String> {
        let mut older = 0;
        for (place, salvaged) in &self.entries {
            let value = &salvaged.value;
            if salvaged.may_be_older {
                older += 1;
                if !model.ever.contains(&(place.clone(), value.clone())) {
                    return Err(format!("{salvaged:?} never was"));
                }
            } else if now.get(place) != Some(value) {
                return Err(format!("{salvaged:?} is not {:?}", now.get(place)));
            }
        }
        let missing = now.keys();
        let missing: Vec<_> = missing
            .filter(|place| !self.entries.contains_key(*place))
            .collect();
        match missing.iter().find(|place| !self.names(place)) {
            Some(place) => Err(format!("{place:?} is missing")),
            None => Ok((missing.len(), older)),
        }
    }

    /// True if an error says that the entry may be lost.
    fn names(&self, (table, key): &Place) -> bool {
        self.errors.iter().any(|error| match error {
            Error::Lost(lost) => match &lost.table {
                Some(of) => of.id == *table && lost.keys.contains(key),
                None => lost.keys.contains(&[b'a' + u8::try_from(*table).unwrap()]),
            },
            Error::Corrupt { reason, .. } => {
                matches!(reason, Corruption::Slots | Corruption::PagesLost)
            }
            Error::Log(_) | Error::Disk(_) => true,
            _ => false,
        })
    }
}

#[test]
fn an_undamaged_store_is_given_out_whole() {
    let (disk, model) = fixture();
    let left = salvage(&disk);
    assert!(left.errors.is_empty(), "{:?}", left.errors);
    assert_eq!(left.check(&model, "undamaged"), (0, 0));
    assert_eq!(left.entries.len(), model.now.len());
    let one = options(&disk).salvage(STORE).unwrap();
    let names = one.tables().iter().map(|table| table.name.as_deref());
    assert_eq!(names.collect::<Vec<_>>(), [Some("a"), Some("b"), Some("c")]);
    // By several at once, and not beside a writer.
    drop(options(&disk).salvage(STORE).unwrap());
    assert!(options(&disk).open(STORE).is_err());
    drop(one);
    let store = options(&disk).open(STORE).unwrap();
    assert!(matches!(
        options(&disk).salvage(STORE),
        Err(Error::Disk(durable_io::Error::Locked { .. }))
    ));
    // What opening has made of it is the same.
    store.close().unwrap();
    let left = salvage(&disk);
    assert!(left.errors.is_empty(), "{:?}", left.errors);
    assert_eq!(left.check(&model, "closed"), (0, 0));
}

#[test]
fn a_store_without_anything_has_nothing() {
    let disk = SimDisk::new();
    drop(options(&disk).open(STORE).unwrap());
    let left = salvage(&SimDisk::boot(disk.world().keep_unsynced()));
    assert!(left.errors.is_empty() && left.entries.is_empty());
}

#[test]
fn each_damaged_place_costs_what_was_there_and_names_it() {
    let mut rng = StdRng::seed_from_u64(support::seed());
    let (disk, model) = fixture();
    let (mut few, mut older, mut cases) = (0, 0, 0);
    for (path, bytes) in files(&disk) {
        let mut at = rng.random_range(0..90);
        while at < used(&bytes) {
            let range = at..used(&bytes).min(at + 90);
            let what = format!("bytes {range:?} of {path}");
            let left = salvage(&spoilt(&disk, &path, range));
            let found = if path == PAGES {
                let found = left.check(&model, &what);
                assert_eq!(found.1, 0, "{what}: pages have no older entries");
                found
            } else {
                left.check_torn(&model, &what)
            };
            few += usize::from((1..30).contains(&found.0));
            (older, cases) = (older + found.1, cases + 1);
            at += 90;
        }
    }
    assert!(
        few > 50 && older > 500 && cases > 200,
        "{few} {older} {cases}"
    );
}

#[test]
fn either_slot_is_enough() {
    let (disk, model) = fixture();
    for slot in [0, 4096] {
        let left = salvage(&spoilt(&disk, PAGES, slot..slot + 1024));
        assert_eq!(left.check(&model, "one slot"), (0, 0));
        assert_eq!(left.errors.len(), 1, "{:?}", left.errors);
    }
    // Without both, the log remains.
    let damaged = spoilt(&spoilt(&disk, PAGES, 0..1024), PAGES, 4096..5120);
    let left = salvage(&damaged);
    let (missing, older) = left.check(&model, "no slot");
    assert!(missing > 100 && older == left.entries.len() && older > 30);
}

/// A crash between the two slots leaves the second one as it was; both lead to a tree.
#[test]
fn where_the_newer_tree_is_damaged_the_older_one_and_the_log_say_the_same() {
    let (disk, model) = fixture();
    let before = disk.world().file_bytes(PAGES).unwrap();
    let store = options(&disk).open(STORE).unwrap();
    let log: Vec<_> = files(&disk)
        .into_iter()
        .filter(|(path, _)| path.contains("/log/"))
        .collect();
    store.checkpoint().unwrap();
    drop(store);
    let mut crashed = SimDisk::boot(disk.world().keep_unsynced());
    crashed = overwritten(&crashed, PAGES, 4096, &before[4096..5120]);
    for (path, bytes) in log {
        crashed = overwritten(&crashed, &path, 0, &bytes);
    }
    let left = salvage(&crashed);
    assert!(left.errors.is_empty(), "{:?}", left.errors);
    assert_eq!(left.check(&model, "two slots"), (0, 0));
    // Every page that the checkpoint has written.
    let after = crashed.world().file_bytes(PAGES).unwrap();
    let mut damaged = SimDisk::boot(crashed.world());
    let mut pages = 0;
    for at in (8192..after.len()).step_by(512) {
        if before.get(at..at + 512) != Some(&after[at..at + 512]) {
            damaged = spoilt(&damaged, PAGES, at..at + 512);
            pages += 1;
        }
    }
    assert!(pages > 5, "{pages}");
    let left = salvage(&damaged);
    assert!(left.errors.is_empty(), "{:?}", left.errors);
    assert_eq!(left.check(&model, "the older tree"), (0, 0));
}

#[test]
fn sectors_and_files_that_cannot_be_read_are_no_more_than_damage() {
    let (disk, model) = fixture();
    for (path, bytes) in files(&disk) {
        for start in (0..used(&bytes) as u64).step_by(512) {
            let spoiled = SimDisk::boot(disk.world());
            spoiled.spoil(&path, start..start + 512);
            let left = salvage(&spoiled);
            left.check(&model, &format!("byte {start} of {path} cannot be read"));
        }
        let forbidden = SimDisk::boot(disk.world());
        forbidden.forbid(&path);
        let closed = salvage(&forbidden);
        closed.check(&model, &format!("{path} is closed to us"));
        assert!(!closed.errors.is_empty(), "{path}");
        salvage(&without(&disk, &path)).check(&model, &format!("{path} is gone"));
    }
}

#[test]
fn several_damaged_places_at_once() {
    let mut rng = StdRng::seed_from_u64(support::seed());
    let (disk, model) = fixture();
    let files = files(&disk);
    for _ in 0..200 {
        let mut damaged = SimDisk::boot(disk.world());
        for _ in 0..rng.random_range(2..8) {
            let (path, bytes) = &files[rng.random_range(0..files.len())];
            let start = rng.random_range(0..used(bytes));
            let len = rng.random_range(1..400);
            damaged = spoilt(&damaged, path, start..used(bytes).min(start + len));
        }
        salvage(&damaged).check_torn(&model, "several places");
    }
}
