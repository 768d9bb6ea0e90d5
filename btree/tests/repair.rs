//! What can be believed of a damaged store becomes a new one, and the damaged one stays as it is.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use std::collections::BTreeMap;
use std::io::ErrorKind;

use btree::{Background, Btree, Corruption, Error, Options, RepairOptions, Repaired};
use durable_io::sim::SimDisk;
use durable_io::testing::simulated::{files, spoilt, without};

const STORE: &str = "/store";
const NEW: &str = "/new/store";
const PAGES: &str = "/store/pages";
const PAGE: usize = 512;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

fn options(disk: &SimDisk) -> Options {
    Options::new()
        .log_segment_size(16 << 10)
        .background(Background::Inline)
        .disk(disk.disk())
}

fn value(n: u8) -> Vec<u8> {
    vec![n; 40]
}

fn put(store: &Btree, table: &str, keys: std::ops::Range<u8>) {
    let mut write = store.begin_write().unwrap();
    let mut open = write.create_table(table).unwrap();
    for n in keys {
        open.put(&[n], &value(n)).unwrap();
    }
    write.commit().unwrap();
}

/// Keys 0 to 99 of the tables `a` and `b` in pages, 100 to 109 in the log alone.
fn fixture() -> SimDisk {
    let disk = SimDisk::new();
    let store = options(&disk).page_size(512).open(STORE).unwrap();
    put(&store, "a", 0..100);
    put(&store, "b", 0..100);
    store.checkpoint().unwrap();
    put(&store, "a", 100..110);
    put(&store, "b", 100..110);
    drop(store);
    SimDisk::boot(disk.world().keep_unsynced())
}

/// Repairs the store on `disk`, which must stay as it is; what the new one says, and it itself after a power loss.
fn repair(disk: &SimDisk, how: &RepairOptions) -> (Repaired, Btree) {
    let before = files(disk);
    let repaired = options(disk).repair(STORE, NEW, how).unwrap();
    let mut after = files(disk);
    after.retain(|(path, _)| !path.starts_with("/new/"));
    assert!(before == after, "nothing is changed");
    let disk = SimDisk::boot(disk.world().lose_unsynced());
    // The page size is that of the damaged store, if a slot says so.
    let store = options(&disk).open(NEW).unwrap();
    store.verify().unwrap();
    (repaired, store)
}

fn contents(store: &Btree, table: &str) -> Map {
    let read = store.begin_read();
    let table = read.table(table).unwrap();
    let own = |entry: btree::Result<(Vec<u8>, btree::Value)>| {
        let (key, value) = entry.unwrap();
        (key, value.into_vec())
    };
    table.range(..).map(own).collect()
}

fn entries(keys: std::ops::Range<u8>) -> Map {
    keys.map(|n| (vec![n], value(n))).collect()
}

/// The disk with the first leaf damaged that has `key`, with its value.
fn without_leaf(disk: &SimDisk, key: u8) -> SimDisk {
    let (_, bytes) = files(disk)
        .into_iter()
        .find(|(path, _)| path == PAGES)
        .unwrap();
    let at = bytes
        .windows(40)
        .position(|bytes| bytes == value(key))
        .unwrap();
    spoilt(disk, PAGES, at..at + 1)
}

#[test]
fn an_undamaged_store_is_taken_whole_with_tables_and_page_size() {
    let disk = fixture();
    let (repaired, store) = repair(&disk, &RepairOptions::new());
    assert_eq!((repaired.taken, repaired.left_out), (220, 0));
    assert_eq!(repaired.error_count, 0, "{:?}", repaired.errors);
    assert_eq!(store.begin_read().tables().unwrap(), ["a", "b"]);
    assert_eq!(contents(&store, "a"), entries(0..110));
    assert_eq!(contents(&store, "b"), entries(0..110));
    store.close().unwrap();
    let again = options(&SimDisk::boot(disk.world()))
        .page_size(512)
        .open(NEW);
    again.unwrap().close().unwrap();
}

#[test]
fn a_damaged_page_costs_its_entries_and_no_other() {
    let disk = without_leaf(&fixture(), 50);
    let (repaired, store) = repair(&disk, &RepairOptions::new());
    let [Error::Lost(lost)] = &repaired.errors[..] else {
        panic!("{:?}", repaired.errors);
    };
    assert!(lost.keys.contains(&[50]));
    let (a, b) = (contents(&store, "a"), contents(&store, "b"));
    let table = lost.table.as_ref().and_then(|table| table.name.as_deref());
    let (hurt, whole) = if table == Some("a") { (a, b) } else { (b, a) };
    assert_eq!(whole, entries(0..110));
    let expected: Map = entries(0..110);
    let left = expected
        .into_iter()
        .filter(|(key, _)| !lost.keys.contains(key));
    assert_eq!(hurt, left.collect());
    assert_eq!(repaired.taken, (hurt.len() + whole.len()) as u64);
    assert!(hurt.len() > 90);
}

#[test]
fn a_sector_that_cannot_be_read_is_no_more_than_damage() {
    let disk = fixture();
    let damaged = without_leaf(&disk, 50);
    let (_, was) = files(&disk)
        .into_iter()
        .find(|(path, _)| path == PAGES)
        .unwrap();
    let (_, is) = files(&damaged)
        .into_iter()
        .find(|(path, _)| path == PAGES)
        .unwrap();
    let at = (0..was.len()).find(|&at| was[at] != is[at]).unwrap() / PAGE * PAGE;
    disk.spoil(PAGES, at as u64..(at + PAGE) as u64);
    let (repaired, store) = repair(&disk, &RepairOptions::new());
    assert!(repaired.taken > 200 && repaired.taken < 220);
    assert_eq!(repaired.error_count, 1, "{:?}", repaired.errors);
    assert!(
        contents(&store, "a")
            .iter()
            .all(|(key, found)| *found == value(key[0]))
    );
}

#[test]
fn one_damaged_slot_costs_nothing_and_both_leave_what_the_log_has() {
    let disk = spoilt(&fixture(), PAGES, 0..100);
    let again = SimDisk::boot(disk.world());
    let (repaired, _) = repair(&disk, &RepairOptions::new());
    assert_eq!((repaired.taken, repaired.left_out), (220, 0));
    let mut disk = again;
    for at in (0..4096 * 2).step_by(PAGE) {
        disk = spoilt(&disk, PAGES, at..at + 100);
    }
    let again = SimDisk::boot(disk.world());
    let (repaired, store) = repair(&disk, &RepairOptions::new());
    assert_eq!((repaired.taken, repaired.left_out), (0, 20));
    let are_lost = |error: &Error| {
        matches!(
            error,
            Error::Corrupt {
                reason: Corruption::Slots,
                ..
            }
        )
    };
    assert!(
        repaired.errors.iter().any(are_lost),
        "{:?}",
        repaired.errors
    );
    let tables = store.begin_read().tables().unwrap();
    assert!(
        tables.iter().all(|name| name.starts_with("lost table ")),
        "{tables:?}"
    );
    let (repaired, store) = repair(&again, &RepairOptions::new().take_older());
    assert_eq!((repaired.taken, repaired.older), (20, 20));
    assert_eq!(contents(&store, &tables[0]), entries(100..110));
}

#[test]
fn a_lost_log_makes_what_is_in_pages_uncertain() {
    let mut disk = fixture();
    for (path, _) in files(&disk) {
        if path.contains("/log/") {
            disk = without(&disk, &path);
        }
    }
    let again = SimDisk::boot(disk.world());
    let (repaired, store) = repair(&disk, &RepairOptions::new());
    assert_eq!((repaired.taken, repaired.left_out), (0, 200));
    assert!(contents(&store, "a").is_empty());
    let (repaired, store) = repair(&again, &RepairOptions::new().take_older());
    assert_eq!((repaired.taken, repaired.older), (200, 200));
    assert_eq!(contents(&store, "b"), entries(0..100));
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
