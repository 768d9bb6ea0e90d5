//! What can be believed of a damaged store becomes a new one, and the damaged one stays as it is.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use std::collections::BTreeMap;
use std::io::ErrorKind;

use bitcask::{Background, Bitcask, Corruption, Error, Options, RepairOptions, Repaired};
use durable_io::sim::SimDisk;
use durable_io::testing::simulated::{files, spoilt, without};

const STORE: &str = "/store";
const NEW: &str = "/new/store";

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

fn options(disk: &SimDisk) -> Options {
    Options::new()
        .auto_merge(false)
        .reserve(0)
        .background(Background::Inline)
        .disk(disk.disk())
}

fn value(n: u8) -> Vec<u8> {
    vec![n; 40]
}

/// Keys 0 to 49 in an older data file, and 0 to 9 once more in the newer one, of which key 5 has the newest value.
fn fixture() -> SimDisk {
    let disk = SimDisk::new();
    let store = options(&disk).open(STORE).unwrap();
    for n in 0..50 {
        store.put(&[n], &value(n)).unwrap();
    }
    store.rotate().unwrap();
    while store.run_background().unwrap() {}
    for n in (0..10).filter(|n| *n != 5) {
        store.put(&[n], &value(n + 100)).unwrap();
    }
    store.put(&[5], b"the newest value of key 5").unwrap();
    store.put(&[60], &value(60)).unwrap();
    store.close().unwrap();
    SimDisk::boot(disk.world().keep_unsynced())
}

fn all() -> Map {
    let mut all: Map = (0..50).map(|n| (vec![n], value(n))).collect();
    all.extend((0..10).map(|n| (vec![n], value(n + 100))));
    all.insert(vec![5], b"the newest value of key 5".to_vec());
    all.insert(vec![60], value(60));
    all
}

/// Repairs the store on `disk`, which must stay as it is; what the new one says, and holds after a power loss.
fn repair(disk: &SimDisk, how: &RepairOptions) -> (Repaired, Map) {
    let before = files(disk);
    let repaired = options(disk).repair(STORE, NEW, how).unwrap();
    let mut after = files(disk);
    after.retain(|(path, _)| !path.starts_with("/new/"));
    assert!(before == after, "nothing is changed");
    let disk = SimDisk::boot(disk.world().lose_unsynced());
    let store: Bitcask = options(&disk).open(NEW).unwrap();
    assert!(store.verify().unwrap().is_whole());
    let contents = store.fold(Map::new(), |mut contents, key, value| {
        contents.insert(key.to_vec(), value.to_vec());
        contents
    });
    (repaired, contents.unwrap())
}

/// Where `bytes` are: a file and an offset.
fn find(disk: &SimDisk, bytes: &[u8]) -> (String, usize) {
    let is_data = |path: &str| path.strip_suffix(".data").is_some();
    let files = files(disk).into_iter().filter(|(path, _)| is_data(path));
    let mut places = files.filter_map(|(path, found)| {
        let at = found
            .windows(bytes.len())
            .position(|found| found == bytes)?;
        Some((path, at))
    });
    places.next().unwrap()
}

#[test]
fn an_undamaged_store_is_taken_whole() {
    let (repaired, contents) = repair(&fixture(), &RepairOptions::new());
    assert_eq!(
        (repaired.taken, repaired.left_out, repaired.error_count),
        (51, 0, 0)
    );
    assert_eq!(contents, all());
}

/// The older version of a key whose newest one is damaged is no certain value.
#[test]
fn an_older_value_does_not_come_back_as_if_it_were_the_newest() {
    let disk = fixture();
    let (path, at) = find(&disk, b"the newest value of key 5");
    let disk = spoilt(&disk, &path, at..at + 1);
    let again = SimDisk::boot(disk.world());
    let (repaired, contents) = repair(&disk, &RepairOptions::new());
    assert_eq!(contents.get(&[5][..]), None);
    assert_eq!(
        contents[&[60][..]],
        value(60),
        "what is written behind it is certain"
    );
    assert!(repaired.left_out >= 1 && repaired.older == 0);
    assert!(contents.iter().all(|(key, value)| all()[key] == *value));
    let (repaired, contents) = repair(&again, &RepairOptions::new().take_older());
    assert_eq!(contents[&[5][..]], value(5), "who asks for it gets it");
    assert!(repaired.left_out == 0 && repaired.older >= 1);
    assert_eq!(contents.len(), 51);
}

#[test]
fn a_damaged_record_that_a_hint_knows_costs_its_key_alone() {
    let disk = fixture();
    let (path, at) = find(&disk, &value(30));
    let (repaired, contents) = repair(&spoilt(&disk, &path, at..at + 1), &RepairOptions::new());
    let mut expected = all();
    expected.remove(&[30][..]);
    assert_eq!(contents, expected);
    assert_eq!(
        (repaired.taken, repaired.left_out, repaired.error_count),
        (50, 0, 1)
    );
}

#[test]
fn a_sector_that_cannot_be_read_is_no_more_than_damage() {
    let disk = fixture();
    let (path, at) = find(&disk, &value(30));
    let sector = at as u64 / 512 * 512;
    disk.spoil(&path, sector..sector + 512);
    let (repaired, contents) = repair(&disk, &RepairOptions::new());
    assert!(
        repaired.error_count > 0 && repaired.taken > 25,
        "{repaired:?}"
    );
    assert_eq!(contents.get(&[30][..]), None);
    assert!(contents.iter().all(|(key, value)| all()[key] == *value));
}

#[test]
fn without_the_manifest_nothing_is_certain_and_all_can_be_taken() {
    let disk = without(&fixture(), "/store/manifest");
    let again = SimDisk::boot(disk.world());
    let (repaired, contents) = repair(&disk, &RepairOptions::new());
    assert_eq!((repaired.taken, repaired.left_out), (0, 51));
    assert!(contents.is_empty());
    let (repaired, contents) = repair(&again, &RepairOptions::new().take_older());
    assert_eq!((repaired.taken, repaired.older), (51, 51));
    assert_eq!(contents, all());
    let is_lost = |error: &Error| {
        matches!(
            error,
            Error::Corrupt {
                reason: Corruption::ManifestLost,
                ..
            }
        )
    };
    assert!(repaired.errors.iter().any(is_lost), "{:?}", repaired.errors);
}

#[test]
fn what_is_in_the_way_is_not_touched() {
    let disk = fixture();
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
