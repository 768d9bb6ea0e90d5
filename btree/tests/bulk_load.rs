//! Tables that are filled in the order of their keys.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

mod support;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use btree::{Background, Btree, Error, Options, ReadTxn};
use durable_io::sim::SimDisk;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

fn options(page_size: u32) -> Options {
    Options::new()
        .page_size(page_size)
        .cache_size(64 * u64::from(page_size))
        .large_transaction(4 << 10)
        .log_segment_size(64 << 10)
        .growth(u64::from(page_size) * 8)
        .reserve(u64::from(page_size) * 16)
        .background(Background::Inline)
}

fn key(n: usize) -> Vec<u8> {
    format!("key {n:06}").into_bytes()
}

fn load(store: &Btree, map: &Map) -> btree::Result<u64> {
    let mut write = store.begin_write()?;
    let count = write.create_table("t")?.bulk_load(map)?;
    write.commit()?;
    Ok(count)
}

/// The table is what the map is, read in every way.
fn check(read: &ReadTxn, map: &Map) {
    let table = read.table("t").unwrap();
    let own = |entry: btree::Result<(Vec<u8>, btree::Value)>| {
        let (key, value) = entry.unwrap();
        (key, value.into_vec())
    };
    assert!(table.range(..).map(own).eq(map.clone()));
    assert!(
        table
            .range(..)
            .rev()
            .map(own)
            .eq(map.clone().into_iter().rev())
    );
    assert_eq!(table.len(), map.len() as u64);
    for (key, value) in map {
        assert_eq!(table.get(key).unwrap().as_deref(), Some(&**value));
        let none = [key.as_slice(), b"\0"].concat();
        assert_eq!(table.get(&none).unwrap().is_some(), map.contains_key(&none));
    }
}

/// A level begins, and a page is full, at every count.
#[test]
fn a_table_of_any_size_is_a_tree_as_it_must_be() {
    for value in [4_usize, 70, 300] {
        for count in (0..60).chain((60..2000).step_by(97)) {
            let disk = SimDisk::new();
            let store = options(512).disk(disk.disk()).open("/store").unwrap();
            let map: Map = (0..count).map(|n| (key(n), vec![7; value])).collect();
            assert_eq!(load(&store, &map).unwrap(), count as u64);
            check(&store.begin_read(), &map);
            assert_eq!(store.verify().unwrap().entries, count as u64);
        }
    }
}

struct Random(StdRng);

impl Random {
    /// Keys that have much in common with their neighbours, or nothing; some values have pages of their own.
    fn map(&mut self, max_key: usize) -> Map {
        let prefixes: Vec<Vec<u8>> = (0..4)
            .map(|n| vec![b'p' + n; self.0.random_range(0..max_key - 6)])
            .collect();
        let count = self.0.random_range(0..600);
        let mut entry = || {
            let mut key = prefixes[self.0.random_range(0..4)].clone();
            key.extend(self.0.random_range(0..100_000_u32).to_string().bytes());
            let len = match self.0.random_range(0..40) {
                0 => self.0.random_range(0..20_000),
                1..5 => 0,
                _ => self.0.random_range(0..80),
            };
            (key, vec![self.0.random(); len])
        };
        (0..count).map(|_| entry()).collect()
    }

    /// Ordinary edits of a table that was filled.
    fn edit(&mut self, table: &mut btree::TableMut<'_>, map: &mut Map) {
        for _ in 0..self.0.random_range(0..40) {
            let near = map.keys().nth(self.0.random_range(0..=map.len()));
            let mut key = near.cloned().unwrap_or_default();
            if self.0.random_bool(0.5) {
                table.delete(&key).unwrap();
                map.remove(&key);
            } else {
                key.truncate(key.len().saturating_sub(1));
                table.put(&key, b"edited").unwrap();
                map.insert(key, b"edited".to_vec());
            }
        }
        if self.0.random_bool(0.2) {
            table.delete_range(&b"q"[..]..&b"r"[..]).unwrap();
            map.retain(|key, _| !(b"q".as_slice()..b"r".as_slice()).contains(&key.as_slice()));
        }
    }
}

fn run(seed: u64) {
    let mut random = Random(StdRng::seed_from_u64(seed));
    let page_size = [512, 512, 1024, 4096, 8192][random.0.random_range(0..5)];
    let dir = support::fast_dir();
    let path = dir.path().join("store");
    let mut store = options(page_size).open(&path).unwrap();
    let mut committed = Map::new();
    for _ in 0..8 {
        let mut write = store.begin_write().unwrap();
        let mut table = write.create_table("t").unwrap();
        let mut map = committed.clone();
        random.edit(&mut table, &mut map);
        table.delete_range(..).unwrap();
        let mut map = random.map(btree::max_key_size(page_size));
        assert_eq!(table.bulk_load(&map).unwrap(), map.len() as u64);
        let savepoint = write.savepoint().unwrap();
        let mut table = write.table("t").unwrap();
        let mut other = map.clone();
        random.edit(&mut table, &mut other);
        if random.0.random_bool(0.3) {
            table.delete_range(..).unwrap();
            table.bulk_load(random.map(20)).unwrap();
            write.rollback_to(&savepoint).unwrap();
        } else {
            map = other;
        }
        if random.0.random_bool(0.2) {
            write.abort();
        } else {
            write.commit().unwrap();
            committed = map;
        }
        store.verify().unwrap();
        if random.0.random_bool(0.4) {
            // What is in the log alone is applied.
            drop(store);
            store = options(page_size).open(&path).unwrap();
        }
        if store.begin_read().tables().unwrap().is_empty() {
            continue;
        }
        check(&store.begin_read(), &committed);
    }
    store.verify().unwrap();
}

#[test]
fn a_filled_table_is_a_sorted_map() {
    let first = support::seed();
    for seed in first..first + 25 {
        support::with_seed(seed, || run(seed));
    }
}

#[test]
fn leaves_are_full_and_nothing_is_read_however_much_it_is() {
    let disk = SimDisk::new();
    let store = options(1024).disk(disk.disk()).open("/store").unwrap();
    let map: Map = (0..20_000).map(|n| (key(n * 7), vec![7; 40])).collect();
    let read = store.stats().pages_read;
    // More than ten times what may be in memory.
    assert_eq!(load(&store, &map).unwrap(), 20_000);
    let stats = store.stats();
    assert_eq!(stats.large_commits, 1);
    // The catalog had to make room.
    assert!(stats.pages_read <= read + 1, "{stats:?}");
    assert!(stats.cached_pages + stats.dirty_pages <= 64, "{stats:?}");
    let verified = store.verify().unwrap();
    assert!(verified.fill_permille > 950, "{verified:?}");
    check(&store.begin_read(), &map);
}

#[test]
fn what_is_not_in_order_is_refused_and_changes_nothing_that_was_committed() {
    let disk = SimDisk::new();
    let store = options(512).disk(disk.disk()).open("/store").unwrap();
    let before: Map = (0..50).map(|n| (key(n), vec![1; 20])).collect();
    load(&store, &before).unwrap();

    let not_empty = load(&store, &before).unwrap_err();
    assert!(
        matches!(&not_empty, Error::NotEmpty { name } if name == "t"),
        "{not_empty}"
    );
    for wrong in [key(30), key(398), key(399)] {
        let mut write = store.begin_write().unwrap();
        write.table("t").unwrap().put(b"earlier", b"").unwrap();
        let savepoint = write.savepoint().unwrap();
        let keys = (32..400).map(key).chain([wrong.clone(), key(400)]);
        let entries = keys.map(|key| (key, [5; 30]));
        let mut new = write.create_table("new").unwrap();
        let error = new.bulk_load(entries).unwrap_err();
        assert!(
            matches!(&error, Error::OutOfOrder { last, key: found }
                if (last, found) == (&key(399), &wrong)),
            "{error}"
        );
        assert!(matches!(new.put(b"k", b"v"), Err(Error::Failed)));
        write.rollback_to(&savepoint).unwrap();
        assert_eq!(write.tables().unwrap(), ["t"]);
        write.table("t").unwrap().delete(b"earlier").unwrap();
        write.commit().unwrap();
        check(&store.begin_read(), &before);
        store.verify().unwrap();
    }
    let twice = [(b"k", b"1"), (b"k", b"2")];
    let mut write = store.begin_write().unwrap();
    let error = write
        .create_table("new")
        .unwrap()
        .bulk_load(twice)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"the key "k" does not belong behind "k""#
    );
    assert!(matches!(write.commit(), Err(Error::Failed)));
    store.verify().unwrap();
}

#[test]
fn entries_that_panic_leave_a_transaction_that_can_only_be_aborted() {
    let disk = SimDisk::new();
    let store = options(512).disk(disk.disk()).open("/store").unwrap();
    let mut write = store.begin_write().unwrap();
    let mut table = write.create_table("t").unwrap();
    let entries = (0..200).map(|n| {
        assert!(n < 100, "no more entries");
        (key(n), [1; 40])
    });
    let panicked = catch_unwind(AssertUnwindSafe(|| table.bulk_load(entries)));
    assert!(panicked.is_err());
    assert!(matches!(table.put(b"k", b"v"), Err(Error::Failed)));
    assert!(matches!(write.commit(), Err(Error::Failed)));
    assert_eq!(store.verify().unwrap().entries, 0);
    let map: Map = (0..100).map(|n| (key(n), vec![1; 40])).collect();
    load(&store, &map).unwrap();
    check(&store.begin_read(), &map);
}
