//! The page file becomes shorter, beside whoever reads and writes, whenever power is lost, on a full disk.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use std::collections::BTreeMap;

use btree::{Background, Btree, Options, ReadTxn};
use durable_io::sim::{Fault, FaultKind, SimDisk};

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

fn open(disk: &SimDisk) -> Btree {
    let options = Options::new()
        .page_size(512)
        .log_segment_size(4096)
        .large_transaction(2000)
        .growth(4 << 9)
        .reserve(16 << 9)
        .background(Background::Inline);
    options.disk(disk.disk()).open("/btree").unwrap()
}

fn key(n: u32) -> Vec<u8> {
    format!("key {n:05}").into_bytes()
}

/// Some values have pages of their own.
fn value(n: u32) -> Vec<u8> {
    let len = if n % 10 == 3 { 1200 } else { 40 };
    vec![u8::try_from(n % 251).unwrap(); len]
}

fn put(store: &Btree, numbers: impl Iterator<Item = u32>) -> btree::Result<()> {
    let mut write = store.begin_write()?;
    for n in numbers {
        let name = if n % 4 == 0 { "four" } else { "other" };
        write.create_table(name)?.put(&key(n), &value(n))?;
    }
    write.commit()
}

fn delete(store: &Btree, numbers: impl Iterator<Item = u32>) -> btree::Result<()> {
    let mut write = store.begin_write()?;
    for n in numbers {
        let name = if n % 4 == 0 { "four" } else { "other" };
        write.table(name)?.delete(&key(n))?;
    }
    write.commit()
}

/// What a reader sees, of all tables together.
fn entries(read: &ReadTxn) -> Entries {
    let mut all = Entries::new();
    for name in read.tables().unwrap() {
        for entry in read.table(&name).unwrap().range(..) {
            let (key, value) = entry.unwrap();
            all.insert(key, value.into_vec());
        }
    }
    all
}

fn expected(numbers: impl Iterator<Item = u32>) -> Entries {
    numbers.map(|n| (key(n), value(n))).collect()
}

/// Whether number `n` stays when most are deleted.
fn stays(n: u32) -> bool {
    n % 7 == 3 || n > 580
}

/// A file of which most is free, and not at its end.
fn with_holes(store: &Btree) {
    for first in [0, 200, 400] {
        put(store, first..first + 200).unwrap();
    }
    delete(store, (0..600).filter(|&n| !stays(n))).unwrap();
    store.checkpoint().unwrap();
}

/// Bytes that the live pages take.
fn live(store: &Btree) -> u64 {
    let verified = store.verify().unwrap();
    (verified.tree_pages + verified.free_list_pages) * 512
}

#[test]
fn the_file_becomes_as_long_as_its_data_and_keeps_it() {
    let disk = SimDisk::new();
    let store = open(&disk);
    with_holes(&store);
    let before = store.stats().file_bytes;
    let mut returned = 0;
    let mut calls = 0;
    loop {
        let shrunk = store.shrink(10 * 512).unwrap();
        // What is begun is finished: a value with pages of its own, and the way to it.
        assert!(shrunk.moved_bytes <= 30 * 512, "{shrunk:?}");
        returned += shrunk.returned_bytes;
        calls += 1;
        store.verify().unwrap();
        if shrunk.is_done {
            break;
        }
    }
    assert!(calls > 3, "{calls}");
    let stats = store.stats();
    assert!(stats.pages_moved > 0);
    assert!(returned > before / 2, "{returned} of {before}");
    assert!(
        stats.file_bytes <= before - returned + 30 * 512,
        "{stats:?}"
    );
    // The reserve stays, and some pages of the ways to others.
    let allowed = live(&store) + (16 + 17 + 16) * 512;
    assert!(stats.file_bytes <= allowed, "{stats:?}, {allowed} allowed");
    let kept = expected((0..600).filter(|&n| stays(n)));
    assert_eq!(entries(&store.begin_read()), kept);
    drop(store);
    let store = open(&SimDisk::boot(disk.world().lose_unsynced()));
    assert_eq!(entries(&store.begin_read()), kept);
    store.verify().unwrap();
}

#[test]
fn leaves_are_filled() {
    let disk = SimDisk::new();
    let store = open(&disk);
    // From the end: each split leaves a page half full.
    for n in (0..300).rev() {
        put(&store, [4 * n].into_iter()).unwrap();
    }
    let before = store.verify().unwrap();
    store.compact().unwrap();
    let after = store.verify().unwrap();
    assert!(before.fill_permille < 700, "{before:?}");
    assert!(after.fill_permille > 780, "{after:?}");
    assert!(after.tree_pages < before.tree_pages, "{after:?}");
    // There is nothing more to do.
    let again = store.compact().unwrap();
    assert!(again.moved_bytes <= 32 * 512, "{again:?}");
    assert_eq!(again.returned_bytes, 0);
    assert_eq!(entries(&store.begin_read()).len(), 300);
}

#[test]
fn a_reader_keeps_its_pages_and_then_they_are_given_back() {
    let disk = SimDisk::new();
    let store = open(&disk);
    put(&store, 0..600).unwrap();
    store.checkpoint().unwrap();
    let reader = store.begin_read();
    delete(&store, (0..600).filter(|&n| !stays(n))).unwrap();
    let held = store.compact().unwrap();
    let len = store.stats().file_bytes;
    assert_eq!(entries(&reader), expected(0..600), "{held:?}");
    store.verify().unwrap();
    drop(reader);
    let free = store.compact().unwrap();
    assert!(free.returned_bytes > len / 2, "{free:?} of {len}");
    assert_eq!(
        entries(&store.begin_read()),
        expected((0..600).filter(|&n| stays(n)))
    );
    store.verify().unwrap();
}

#[test]
fn the_file_is_not_cut_before_what_a_reader_has() {
    let disk = SimDisk::new();
    let store = open(&disk);
    for numbers in [0..300, 300..600] {
        put(&store, numbers).unwrap();
        store.checkpoint().unwrap();
    }
    delete(&store, 0..300).unwrap();
    store.checkpoint().unwrap();
    // What the reader has lies behind free places.
    let reader = store.begin_read();
    delete(&store, 310..600).unwrap();
    store.compact().unwrap();
    put(&store, 1000..1600).unwrap();
    store.checkpoint().unwrap();
    assert_eq!(entries(&reader), expected(300..600));
    drop(reader);
    store.verify().unwrap();
}

#[test]
fn nothing_is_lost_or_leaked_whenever_the_power_fails() {
    let mut shortest = u64::MAX;
    let mut is_over = false;
    for calls in 0.. {
        if is_over {
            break;
        }
        let disk = SimDisk::new();
        let store = open(&disk);
        with_holes(&store);
        disk.inject(Fault {
            call: disk.calls() + calls,
            kind: FaultKind::Errno(5),
            sticky: true,
        });
        let work = || -> btree::Result<()> {
            while !store.shrink(64 * 512)?.is_done {
                put(&store, 1000..=1000)?;
            }
            Ok(())
        };
        is_over = work().is_ok();
        drop(store);
        for world in [disk.world().lose_unsynced(), disk.world().keep_unsynced()] {
            let store = open(&SimDisk::boot(world));
            store.verify().unwrap();
            let mut left = entries(&store.begin_read());
            left.remove(&key(1000));
            assert_eq!(left, expected((0..600).filter(|&n| stays(n))));
            shortest = shortest.min(store.stats().file_bytes);
            store.shrink(64 * 512).unwrap();
            store.verify().unwrap();
        }
    }
    assert!(shortest < 200 * 512, "{shortest}");
}

#[test]
fn a_full_disk_is_made_room_on() {
    let disk = SimDisk::new();
    let store = open(&disk);
    disk.set_budget(Some(disk.used_bytes() + 200_000));
    let mut count = 0;
    while put(&store, count..=count).is_ok() {
        count += 1;
    }
    for n in (0..count).filter(|n| n % 5 != 0) {
        delete(&store, [n].into_iter()).unwrap();
    }
    let before = disk.used_bytes();
    let shrunk = store.compact().unwrap();
    assert!(shrunk.is_done);
    assert!(shrunk.returned_bytes > 60_000, "{shrunk:?}");
    assert!(disk.used_bytes() + 60_000 < before);
    store.verify().unwrap();
    let kept = expected((0..count).filter(|n| n % 5 == 0));
    assert_eq!(entries(&store.begin_read()), kept);
    put(&store, 5000..5010).unwrap();
}

#[test]
fn a_store_that_is_left_alone_becomes_short_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let store = Options::new().page_size(4096).reserve(0).growth(0);
    let store = store.open(dir.path().join("store")).unwrap();
    let all = |byte| {
        let mut write = store.begin_write().unwrap();
        let mut table = write.create_table("t").unwrap();
        for n in 0..20_000 {
            table.put(&key(n), &[byte; 100]).unwrap();
        }
        write.commit().unwrap();
    };
    (1..4).for_each(all);
    let live = live(&store) * 8;
    let begin = std::time::Instant::now();
    while store.stats().file_bytes == 0 || store.stats().file_bytes > live + live / 4 {
        assert!(begin.elapsed().as_secs() < 60, "{:?}", store.stats());
        std::thread::yield_now();
    }
    store.verify().unwrap();
    assert_eq!(store.begin_read().table("t").unwrap().len(), 20_000);
}
