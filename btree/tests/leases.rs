//! Readers that hold pages for longer than the lease allows.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use std::time::Duration;

use btree::{Background, Btree, Error, Options, ReadTxn};
use durable_io::sim::SimDisk;

const LEASE: Duration = Duration::from_secs(10);
const NEARLY: Duration = Duration::from_secs(9);
const SECOND: Duration = Duration::from_secs(1);

fn options(disk: &SimDisk) -> Options {
    Options::new()
        .page_size(512)
        .log_segment_size(16 << 10)
        .large_transaction(4000)
        .growth(4 << 9)
        .reserve(16 << 9)
        .background(Background::Inline)
        .disk(disk.disk())
}

fn leased(disk: &SimDisk) -> Btree {
    options(disk).reader_lease(LEASE).open("/store").unwrap()
}

fn key(n: u32) -> Vec<u8> {
    format!("key {n:05}").into_bytes()
}

/// As [`commit`], and a checkpoint.
fn put(store: &Btree, round: u8) {
    commit(store, round);
    store.checkpoint().unwrap();
}

/// Writes a value for each of some keys, in small transactions, and one that has pages of its own.
fn commit(store: &Btree, round: u8) {
    for first in [0, 20, 40, 60] {
        let mut write = store.begin_write().unwrap();
        let mut table = write.create_table("t").unwrap();
        for n in first..first + 20 {
            table.put(&key(n), &[round; 40]).unwrap();
        }
        table.put(b"large", &[round; 900]).unwrap();
        write.commit().unwrap();
    }
}

/// One transaction that is committed by a checkpoint.
fn put_large(store: &Btree, round: u8) {
    let mut write = store.begin_write().unwrap();
    let mut table = write.create_table("t").unwrap();
    for n in 0..80 {
        table.put(&key(n), &[round; 40]).unwrap();
    }
    table.put(b"large", &[round; 900]).unwrap();
    write.commit().unwrap();
}

/// The reader shows its state, whatever it is asked.
fn check(read: &ReadTxn, round: u8) {
    let table = read.table("t").unwrap();
    assert_eq!(
        table.get(&key(7)).unwrap().as_deref(),
        Some(&[round; 40][..])
    );
    assert_eq!(
        table.get(b"large").unwrap().as_deref(),
        Some(&[round; 900][..])
    );
    assert_eq!(table.range(..).filter_map(Result::ok).count(), 81);
}

/// It answers nothing any more, and says why.
fn check_ended(read: &ReadTxn) {
    let is_ended = |error: Error| {
        assert!(matches!(error, Error::LeaseEnded), "{error}");
    };
    is_ended(read.tables().unwrap_err());
    is_ended(read.table("t").unwrap_err());
    is_ended(read.clone().into_table("t").unwrap_err());
}

#[test]
fn a_forgotten_reader_does_not_make_the_file_grow_for_ever() {
    for put in [put, put_large] {
        let disk = SimDisk::new();
        let store = leased(&disk);
        put(&store, 0);
        let forgotten = store.begin_read();
        let table = forgotten.clone().into_table("t").unwrap();
        let mut range = table.table().range(..);
        range.next().unwrap().unwrap();
        for round in 1..4 {
            put(&store, round);
            check(&forgotten, 0);
        }
        assert!(
            store.stats().oldest_reader_pages > 10,
            "{:?}",
            store.stats()
        );
        disk.advance(LEASE + SECOND);
        put(&store, 4);
        assert_eq!(store.stats().leases_ended, 1);
        let bytes = store.stats().file_bytes;
        for round in 5..30 {
            put(&store, round);
            store.verify().unwrap();
        }
        let stats = store.stats();
        assert!(stats.file_bytes <= bytes, "{bytes} bytes before, {stats:?}");
        assert_eq!(stats.oldest_reader_age, None);
        check_ended(&forgotten);
        let table = table.table();
        assert!(matches!(table.get(&key(7)), Err(Error::LeaseEnded)));
        assert!(matches!(
            table.get_many(&[b"large"]),
            Err(Error::LeaseEnded)
        ));
        // The leaf that it is in, it has.
        let ended = range.find_map(Result::err);
        assert!(matches!(ended, Some(Error::LeaseEnded)), "{ended:?}");
        drop((range, forgotten));
        check(&store.begin_read(), 29);
        store.verify().unwrap();
    }
}

#[test]
fn without_a_lease_a_reader_keeps_its_state() {
    let disk = SimDisk::new();
    let store = options(&disk).open("/store").unwrap();
    put(&store, 0);
    let read = store.begin_read();
    for round in 1..10 {
        disk.advance(LEASE * 100);
        put(&store, round);
        check(&read, 0);
    }
    assert_eq!(store.stats().leases_ended, 0);
}

#[test]
fn the_time_counts_from_the_next_commit_behind_the_state() {
    let disk = SimDisk::new();
    let store = leased(&disk);
    put(&store, 0);
    disk.advance(LEASE * 100);
    let read = store.begin_read();
    disk.advance(LEASE * 100);
    store.checkpoint().unwrap();
    check(&read, 0);
    // A state that is followed by another, but is that of the slots: nothing of it could be used.
    put_large(&store, 1);
    disk.advance(NEARLY);
    store.checkpoint().unwrap();
    check(&read, 0);
    let newer = store.begin_read();
    put(&store, 2);
    check(&read, 0);
    disk.advance(SECOND * 2);
    store.checkpoint().unwrap();
    check_ended(&read);
    check(&newer, 1);
    assert_eq!(store.stats().leases_ended, 1);
}

#[test]
fn a_state_that_nobody_reads_costs_nobody_a_lease() {
    let disk = SimDisk::new();
    let store = leased(&disk);
    for round in 0..20 {
        put(&store, round);
        drop(store.begin_read());
        disk.advance(LEASE * 2);
    }
    assert_eq!(store.stats().leases_ended, 0);
    check(&store.begin_read(), 19);
    store.verify().unwrap();
}

#[test]
fn what_a_crash_goes_back_to_needs_no_lease() {
    for write in [commit, put_large] {
        let disk = SimDisk::new();
        let store = leased(&disk);
        put(&store, 0);
        for round in 1..20 {
            commit(&store, round);
            // The slots name what is older than any reader may be.
            disk.advance(LEASE * 2);
            write(&store, round);
            store.checkpoint().unwrap();
        }
        assert_eq!(store.stats().leases_ended, 0);
        store.verify().unwrap();
    }
}
