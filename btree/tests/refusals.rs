//! What is refused changes nothing, a log of another store or a checkpoint without any room; and what may not be
//! refused: deletions on a full disk.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use btree::{Background, Btree, Corruption, Error, Options, ReadTxn};
use durable_io::sim::SimDisk;

const PAGE: u64 = 512;

fn options(disk: &SimDisk) -> Options {
    Options::new()
        .page_size(512)
        .log_segment_size(4096)
        .large_transaction(2000)
        .growth(4 * PAGE)
        .reserve(16 * PAGE)
        .background(Background::Inline)
        .disk(disk.disk())
}

fn key(n: usize) -> Vec<u8> {
    format!("key {n:05}").into_bytes()
}

fn put(store: &Btree, n: usize) -> btree::Result<()> {
    let mut write = store.begin_write()?;
    write.create_table("t")?.put(&key(n), &[7; 60])?;
    write.commit()
}

fn delete(store: &Btree, n: usize) -> btree::Result<()> {
    let mut write = store.begin_write()?;
    write.table("t")?.delete(&key(n))?;
    write.commit()
}

fn keys(read: &ReadTxn) -> Vec<Vec<u8>> {
    let table = read.table("t").unwrap();
    table.range(..).map(|entry| entry.unwrap().0).collect()
}

#[test]
fn a_log_of_another_store_is_not_applied() {
    let disk = SimDisk::new();
    for (dir, n) in [("/one", 1), ("/other", 2)] {
        let store = options(&disk).open(dir).unwrap();
        put(&store, n).unwrap();
    }
    let dir = |path: &str| disk.disk().open_dir(path).unwrap();
    for entry in dir("/other/log").list().unwrap() {
        let from = dir("/other/log").open(&entry.name).unwrap();
        let mut bytes = vec![0; usize::try_from(from.len().unwrap()).unwrap()];
        from.read_exact_at(&mut bytes, 0).unwrap();
        let to = dir("/one/log").open(&entry.name).unwrap();
        to.write_all_at(&bytes, 0).unwrap();
    }
    let refused = options(&disk).open("/one").unwrap_err();
    let Error::Corrupt { reason, .. } = refused else {
        panic!("{refused}");
    };
    assert!(matches!(reason, Corruption::ForeignLog), "{reason}");
}

/// Readers hold every page, and deletions use up the reserve: then there is no page for the list of free ones.
#[test]
fn a_checkpoint_without_any_room_forgets_nothing() {
    let mut refused = 0;
    for free in [2_000, 9_000, 20_000, 60_000] {
        let disk = SimDisk::new();
        let store = options(&disk).open("/btree").unwrap();
        disk.set_budget(Some(disk.used_bytes() + free));
        let mut count = 0;
        while put(&store, count).is_ok() {
            count += 1;
        }
        let (mut readers, mut first) = (Vec::new(), 0);
        while first < count && delete(&store, first).is_ok() {
            first += 1;
            readers.push((store.begin_read(), first));
        }
        match store.checkpoint() {
            Err(error) if error.is_no_space() => refused += 1,
            other => other.unwrap(),
        }
        let expected = |first| (first..count).map(key).collect::<Vec<_>>();
        for (reader, first) in readers {
            assert_eq!(keys(&reader), expected(first));
        }
        disk.set_budget(None);
        store.checkpoint().unwrap();
        store.verify().unwrap();
        drop(store);
        let survivor = SimDisk::boot(disk.world().lose_unsynced());
        let store = options(&survivor).open("/btree").unwrap();
        store.verify().unwrap();
        assert_eq!(keys(&store.begin_read()), expected(first));
    }
    assert!(refused > 0, "there was always room");
}

#[test]
fn a_file_that_was_cut_has_room_for_deletions() {
    let disk = SimDisk::new();
    let store = options(&disk).open("/btree").unwrap();
    for n in 0..200 {
        put(&store, n).unwrap();
    }
    for n in 50..200 {
        delete(&store, n).unwrap();
    }
    assert!(store.compact().unwrap().returned_bytes > 0);
    disk.set_budget(Some(disk.used_bytes()));
    for n in 0..50 {
        delete(&store, n).unwrap();
    }
    store.verify().unwrap();
}
