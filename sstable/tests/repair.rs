//! What can be believed of a damaged table becomes a new one, and the damaged one stays as it is.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use std::io::ErrorKind;

use durable_io::Dir;
use durable_io::sim::SimDisk;
use durable_io::testing::simulated::{files, overwritten, spoilt, used};
use sstable::{
    BlockCache, Cursor, Entry, Error, Kind, Options, RangeTombstone, RepairOptions, Repaired, Table,
};

const TABLES: &str = "/tables";
const DAMAGED: &str = "/tables/damaged";

/// Key, version, kind, value.
type Owned = (Vec<u8>, u64, Kind, Vec<u8>);

fn options() -> Options {
    Options::new().block_size(200).partition_keys(40)
}

fn entries() -> Vec<Owned> {
    let mut entries = Vec::new();
    for n in 0..120_u8 {
        let key = vec![b'k', n];
        if n % 5 == 0 {
            entries.push((key.clone(), 9, Kind::Delete, Vec::new()));
        } else {
            entries.push((key.clone(), 9, Kind::Put, vec![n; 30]));
        }
        entries.push((key, 3, Kind::Put, vec![n + 100; 20]));
    }
    entries
}

fn dir(disk: &SimDisk) -> Dir {
    disk.disk().open_dir(TABLES).unwrap()
}

/// Two versions of each of 120 keys, some of them deletions, and a range tombstone; and what the table says of itself.
fn fixture() -> SimDisk {
    let disk = SimDisk::new();
    let dir = disk.disk().create_dir(TABLES).unwrap();
    let options = options().property("maker", "test");
    let mut writer = options.create(&dir, "damaged").unwrap();
    for (key, version, kind, value) in &entries() {
        let (key, version, kind) = (&key[..], *version, *kind);
        let entry = Entry {
            key,
            version,
            kind,
            value,
        };
        writer.add(entry).unwrap();
    }
    let tombstone = RangeTombstone {
        start: b"k\x10".to_vec(),
        end: b"k\x14".to_vec(),
        version: 5,
    };
    writer.add_range_tombstone(&tombstone).unwrap();
    writer.finish().unwrap();
    SimDisk::boot(disk.world().keep_unsynced())
}

fn repair(disk: &SimDisk, how: &RepairOptions) -> sstable::Result<Repaired> {
    let damaged = Table::salvage(&dir(disk), "damaged")?;
    options().repair(damaged, &dir(disk), "new", how)
}

/// What the new table holds after a power loss; it must be all right, and the damaged one as it was before.
fn made(disk: &SimDisk, before: &[(String, Vec<u8>)]) -> (Table, Vec<Owned>) {
    let mut after = files(disk);
    after.retain(|(path, _)| path == DAMAGED);
    assert!(before == after, "nothing is changed");
    let disk = SimDisk::boot(disk.world().lose_unsynced());
    let table = Table::open(&dir(&disk), "new", &BlockCache::new(0)).unwrap();
    table.verify().unwrap();
    let mut cursor = table.cursor();
    let mut all = Vec::new();
    cursor.seek_to_first().unwrap();
    while let Some(entry) = cursor.entry() {
        let (key, value) = (entry.key.to_vec(), entry.value.to_vec());
        all.push((key, entry.version, entry.kind, value));
        cursor.advance().unwrap();
    }
    (table, all)
}

#[test]
fn an_undamaged_table_is_taken_whole() {
    let disk = fixture();
    let before = files(&disk);
    let repaired = repair(&disk, &RepairOptions::new()).unwrap();
    assert_eq!(
        (repaired.taken, repaired.left_out, repaired.error_count),
        (240, 0, 0)
    );
    let (table, all) = made(&disk, &before);
    assert_eq!(all, entries());
    assert_eq!(
        table.properties().user,
        [(b"maker".to_vec(), b"test".to_vec())]
    );
    assert_eq!(table.range_tombstones().len(), 1);
}

/// A value of which a newer version, or a deletion, may be lost is not there as if it were the newest.
#[test]
fn each_damaged_place_costs_what_was_there_and_nothing_old_comes_back() {
    let whole = fixture();
    let (_, bytes) = files(&whole).into_iter().next().unwrap();
    let (mut taken, mut left_out, mut cases) = (0, 0, 0);
    for at in (0..used(&bytes)).step_by(37) {
        let disk = spoilt(&whole, DAMAGED, at..used(&bytes).min(at + 5));
        let before = files(&disk);
        let repaired = repair(&disk, &RepairOptions::new()).unwrap();
        let (_, all) = made(&disk, &before);
        assert_eq!(repaired.taken, all.len() as u64);
        let mut expected = entries().into_iter();
        assert!(
            all.iter()
                .all(|entry| expected.any(|other| other == *entry)),
            "byte {at}"
        );
        for (key, version, kind, _) in &all {
            // The newer version is there, unless this is it, or nothing but a deletion.
            let is_there = all
                .iter()
                .any(|(other, version, ..)| other == key && *version == 9);
            assert!(
                *version == 9 || is_there || *kind == Kind::Delete,
                "byte {at}: {key:?}"
            );
        }
        (taken, left_out) = (taken + repaired.taken, left_out + repaired.left_out);
        cases += 1;
    }
    assert!(
        cases > 100 && taken > cases * 220 && left_out > 10,
        "{cases} {taken} {left_out}"
    );
}

#[test]
fn who_asks_for_older_values_gets_them() {
    let whole = fixture();
    let (_, bytes) = files(&whole).into_iter().next().unwrap();
    let mut older = 0;
    for at in (0..used(&bytes)).step_by(37) {
        let disk = spoilt(&whole, DAMAGED, at..used(&bytes).min(at + 5));
        let before = files(&disk);
        let repaired = repair(&disk, &RepairOptions::new().take_older()).unwrap();
        let (_, all) = made(&disk, &before);
        assert_eq!((repaired.taken, repaired.left_out), (all.len() as u64, 0));
        older += repaired.older;
    }
    assert!(older > 10);
}

#[test]
fn a_sector_that_cannot_be_read_is_no_more_than_damage() {
    let disk = fixture();
    let before = files(&disk);
    disk.spoil(DAMAGED, 512..1024);
    let repaired = repair(&disk, &RepairOptions::new()).unwrap();
    assert!(repaired.taken > 180 && repaired.taken < 240, "{repaired:?}");
    assert!(repaired.error_count > 0);
    let (_, all) = made(&disk, &before);
    let mut expected = entries().into_iter();
    assert!(
        all.iter()
            .all(|entry| expected.any(|other| other == *entry))
    );
}

#[test]
fn what_is_in_the_way_is_not_touched_and_of_nothing_there_is_no_table() {
    let disk = fixture();
    let file = dir(&disk).create_new("new").unwrap();
    file.write_all_at(b"mine", 0).unwrap();
    let before = files(&disk);
    let refused = repair(&disk, &RepairOptions::new());
    let Err(Error::Disk(durable_io::Error::Io { source, .. })) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(source.kind(), ErrorKind::AlreadyExists);
    assert!(before == files(&disk));
    let disk = fixture();
    let (_, bytes) = files(&disk).into_iter().next().unwrap();
    let disk = overwritten(&disk, DAMAGED, 0, &vec![0; bytes.len()]);
    let refused = repair(&disk, &RepairOptions::new());
    assert!(matches!(refused, Err(Error::Empty)), "{refused:?}");
    assert_eq!(files(&disk).len(), 1);
}
