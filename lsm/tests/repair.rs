//! What can be believed of a damaged store becomes a new one, and the damaged one stays as it is.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

mod support;

use std::io::ErrorKind;

use durable_io::sim::SimDisk;
use durable_io::testing::simulated::{files, spoilt, without};
use lsm::{Compression, Corruption, Error, KeyspaceOptions, Lsm, Options, RepairOptions, Repaired};
use support::{Map, small};

const STORE: &str = "/store";
const NEW: &str = "/new/store";

fn options(disk: &SimDisk) -> Options {
    small().disk(disk.disk()).auto_compact(false)
}

fn value(n: u8) -> Vec<u8> {
    vec![n; 40]
}

/// Keys 0 to 99 in tables of the keyspaces `default` and `users`, and 100 to 109 in the log alone.
fn fixture() -> SimDisk {
    let disk = SimDisk::new();
    let db = options(&disk).open(STORE).unwrap();
    let users = KeyspaceOptions::new()
        .block_size(512)
        .compression(Compression::Lz4);
    let users = db.create_keyspace("users", &users).unwrap();
    for n in 0..110 {
        if n == 100 {
            db.flush_all().unwrap();
        }
        db.put(&[n], &value(n)).unwrap();
        users.put(&[n], &value(n)).unwrap();
    }
    db.close().unwrap();
    SimDisk::boot(disk.world().keep_unsynced())
}

/// Repairs the store on `disk`, which must stay as it is; what the new one says, and it itself after a power loss.
fn repair(disk: &SimDisk, how: &RepairOptions) -> (Repaired, Lsm) {
    let before = files(disk);
    let repaired = options(disk).repair(STORE, NEW, how).unwrap();
    let mut after = files(disk);
    after.retain(|(path, _)| !path.starts_with("/new/"));
    assert!(before == after, "nothing is changed");
    let disk = SimDisk::boot(disk.world().lose_unsynced());
    let db = options(&disk).open(NEW).unwrap();
    assert!(db.verify().unwrap().damage.is_empty());
    (repaired, db)
}

fn contents(db: &Lsm, keyspace: &str) -> Map {
    let keyspace = db.keyspace(keyspace).unwrap();
    keyspace
        .scan(..)
        .unwrap()
        .map(|entry| entry.unwrap())
        .collect()
}

fn all() -> Map {
    (0..110).map(|n| (vec![n], value(n))).collect()
}

/// The path of the table that has most bytes, or of another file whose path has `part` in it.
fn find(disk: &SimDisk, part: &str) -> String {
    let files = files(disk)
        .into_iter()
        .filter(|(path, _)| path.contains(part));
    files.max_by_key(|(_, bytes)| bytes.len()).unwrap().0
}

#[test]
fn an_undamaged_store_is_taken_whole_with_keyspaces_and_their_options() {
    let disk = fixture();
    let (repaired, db) = repair(&disk, &RepairOptions::new());
    assert_eq!((repaired.taken, repaired.left_out), (220, 0));
    assert_eq!(repaired.error_count, 0, "{:?}", repaired.errors);
    for name in ["default", "users"] {
        assert_eq!(contents(&db, name), all(), "{name}");
    }
    db.flush_all().unwrap();
    let bytes = db.explain_space();
    let bytes = bytes
        .iter()
        .map(|one| one.levels[0].bytes)
        .collect::<Vec<_>>();
    assert!(
        bytes[1] * 5 < bytes[0] * 4,
        "only one is compressed: {bytes:?}"
    );
}

#[test]
fn a_damaged_block_costs_its_keys_and_no_other() {
    let disk = fixture();
    let table = find(&disk, "/tables/");
    let (repaired, db) = repair(&spoilt(&disk, &table, 400..410), &RepairOptions::new());
    assert!(
        matches!(repaired.errors[..], [Error::Lost(_)]),
        "{:?}",
        repaired.errors
    );
    let left = [contents(&db, "default"), contents(&db, "users")];
    assert!(
        left.iter()
            .flatten()
            .all(|(key, found)| *found == value(key[0]))
    );
    let count = left.iter().map(Map::len).sum::<usize>() as u64;
    assert_eq!((repaired.taken, repaired.older), (count, 0));
    assert!((100..220).contains(&count), "{count}");
}

#[test]
fn a_sector_that_cannot_be_read_is_no_more_than_damage() {
    let disk = fixture();
    disk.spoil(&find(&disk, "/tables/"), 0..512);
    let (repaired, db) = repair(&disk, &RepairOptions::new());
    assert!(repaired.error_count > 0 && repaired.taken > 100);
    let left = contents(&db, "users");
    assert!(left.iter().all(|(key, found)| *found == value(key[0])));
}

#[test]
fn without_the_manifest_nothing_is_certain_and_all_can_be_taken() {
    let mut disk = fixture();
    for (path, _) in files(&disk) {
        if path.contains("/manifest/") {
            disk = without(&disk, &path);
        }
    }
    let again = SimDisk::boot(disk.world());
    let (repaired, db) = repair(&disk, &RepairOptions::new());
    assert_eq!((repaired.taken, repaired.left_out), (0, 220));
    assert!(contents(&db, "default").is_empty());
    let (repaired, db) = repair(&again, &RepairOptions::new().take_older());
    assert_eq!(
        (repaired.taken, repaired.older, repaired.left_out),
        (220, 220, 0)
    );
    let lost = repaired.errors.iter().any(|error| {
        matches!(
            error,
            Error::Corrupt {
                reason: Corruption::ManifestLost,
                ..
            }
        )
    });
    assert!(lost, "{:?}", repaired.errors);
    assert_eq!(contents(&db, "default"), all());
    assert_eq!(contents(&db, "lost keyspace 1"), all());
}

/// Without the log, older values of the tables may be all that is left of a key.
#[test]
fn a_lost_log_makes_what_is_in_tables_uncertain() {
    let mut disk = fixture();
    for (path, _) in files(&disk) {
        if path.contains("/log/") {
            disk = without(&disk, &path);
        }
    }
    let again = SimDisk::boot(disk.world());
    let (repaired, db) = repair(&disk, &RepairOptions::new());
    assert_eq!((repaired.taken, repaired.left_out), (0, 200));
    assert!(contents(&db, "users").is_empty());
    let (repaired, _) = repair(&again, &RepairOptions::new().take_older());
    assert_eq!((repaired.taken, repaired.older), (200, 200));
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

#[test]
fn a_full_disk_leaves_no_new_store_behind() {
    let disk = fixture();
    let before = files(&disk);
    disk.set_budget(Some(100 << 10));
    let refused = options(&disk).repair(STORE, NEW, &RepairOptions::new());
    let Err(Error::Disk(durable_io::Error::NoSpace { .. })) = refused else {
        panic!("{refused:?}");
    };
    assert!(before == files(&disk));
    assert!(disk.disk().open_dir(NEW).unwrap_err().is_not_found());
}
