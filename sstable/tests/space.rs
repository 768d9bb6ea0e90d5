//! How much of a table a range of keys takes.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use std::ops::Bound;

use durable_io::Disk;
use sstable::{BlockCache, Options, RangeTombstone, Table};

const KEYS: u32 = 20_000;

fn key(n: u32) -> Vec<u8> {
    format!("{n:08}").into_bytes()
}

/// Every second key, in several partitions.
fn table() -> (tempfile::TempDir, Table) {
    let temp = tempfile::tempdir().unwrap();
    let dir = Disk::os().create_dir(temp.path().join("tables")).unwrap();
    let options = Options::new().partition_keys(3000);
    let mut writer = options.create(&dir, "t").unwrap();
    for n in 0..KEYS {
        writer.put(&key(2 * n + 2), &[7; 100]).unwrap();
    }
    let range = RangeTombstone {
        start: key(2 * KEYS + 100),
        end: key(2 * KEYS + 200),
        version: 0,
    };
    writer.add_range_tombstone(&range).unwrap();
    writer.finish().unwrap();
    let table = Table::open(&dir, "t", &BlockCache::new(0)).unwrap();
    (temp, table)
}

fn bytes(table: &Table, start: u32, end: u32) -> u64 {
    let (start, end) = (key(start), key(end));
    table.approximate_bytes(&start[..]..&end[..]).unwrap()
}

#[test]
fn a_range_takes_its_share_of_the_file_and_no_more_than_two_blocks_else() {
    let (_temp, table) = table();
    let whole = table.file_bytes();
    assert_eq!(table.approximate_bytes(..).unwrap(), whole);
    let block = 4200;
    for (from, to) in [
        (0, 0),
        (0, 1),
        (7, 8),
        (500, 501),
        (100, 9000),
        (1, 19_999),
        (19_999, 20_000),
    ] {
        let found = bytes(&table, 2 * from + 2, 2 * to + 2);
        let share = u64::from(to - from) * whole / u64::from(KEYS);
        let slack = 2 * block + share / 50;
        assert!(
            found.abs_diff(share) <= slack,
            "{from}..{to}: {found}, not {share}"
        );
        // Never less than the values there.
        assert!(found >= u64::from(to - from) * 100, "{from}..{to}: {found}");
    }
    // Between two keys there is a block that would have one.
    assert!(bytes(&table, 2001, 2002) <= 2 * block);
}

#[test]
fn what_is_before_and_behind_all_keys_takes_nothing() {
    let (_temp, table) = table();
    assert_eq!(bytes(&table, 0, 1), 0);
    assert_eq!(bytes(&table, 0, 2), 0, "the first key is excluded");
    let (start, end) = (key(0), key(2));
    let first = table.approximate_bytes(&start[..]..=&end[..]).unwrap();
    assert!(first > 0 && first < 5000, "{first}");
    let behind = key(2 * KEYS + 300);
    let from = (Bound::Included(&behind[..]), Bound::Unbounded);
    assert_eq!(table.approximate_bytes(from).unwrap(), 0);
    // A range that ends before it begins.
    assert_eq!(bytes(&table, 4000, 3000), 0);
}
