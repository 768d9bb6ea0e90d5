//! One test for each defect of the reference implementations that an LSM-tree can have, by its number.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a test fails by a panic"
)]

mod support;

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use durable_io::Temp;
use durable_io::sim::{Fault, FaultKind, SimDisk, SyncFailure};
use lsm::{Background, Disk, Error, Lsm, Options, SyncMode};
use support::small;

fn open(disk: &SimDisk) -> Lsm {
    small().disk(disk.disk()).open("/store").unwrap()
}

/// The machine after a power cut that took everything which no returned sync has covered.
fn cut(disk: &SimDisk) -> SimDisk {
    SimDisk::boot(disk.world().lose_unsynced())
}

/// As the kernel counts it.
const EIO: i32 = 5;

fn fault(call: u64, kind: FaultKind, is_sticky: bool) -> Fault {
    Fault {
        call,
        kind,
        sticky: is_sticky,
    }
}

fn put(db: &Lsm, n: u32) {
    db.put(format!("key {n:02}").as_bytes(), &n.to_le_bytes())
        .unwrap();
}

fn count(db: &Lsm) -> usize {
    db.scan(..).unwrap().map(Result::unwrap).count()
}

#[test]
fn d01_a_write_is_durable_when_it_returns() {
    let disk = SimDisk::new();
    let db = open(&disk);
    for n in 0..10 {
        put(&db, n);
        assert_eq!(count(&open(&cut(&disk))), n as usize + 1);
    }
}

#[test]
fn d02_names_are_durable_before_anything_depends_on_them() {
    let disk = SimDisk::new();
    let db = open(&disk);
    put(&db, 1);
    db.flush().unwrap();
    db.create_keyspace("other", &lsm::KeyspaceOptions::new())
        .unwrap();
    let after = open(&cut(&disk));
    assert_eq!(count(&after), 1);
    assert_eq!(after.list_keyspaces(), ["default", "other"]);
}

#[test]
fn d03_what_a_flush_left_half_done_counts_for_nothing() {
    let disk = SimDisk::new();
    let db = open(&disk);
    put(&db, 1);
    let calls = disk.calls();
    db.flush().unwrap();
    let all = disk.calls() - calls;
    for nth in 0..all {
        let disk = SimDisk::new();
        let db = open(&disk);
        put(&db, 1);
        disk.inject(fault(disk.calls() + nth, FaultKind::Errno(EIO), false));
        drop(db.flush());
        drop(db);
        disk.clear_fault();
        let db = open(&SimDisk::boot(disk.world().keep_unsynced()));
        assert_eq!(count(&db), 1, "call {nth}");
        assert!(db.verify().unwrap().is_whole());
    }
}

#[test]
fn d04_fifty_keys_are_there_after_a_power_cut() {
    audit_fifty_keys();
}

/// The audit's scenario: 50 keys are put, the power fails, and the log of the reference replayed none.
#[test]
fn audit_fifty_keys() {
    let disk = SimDisk::new();
    let db = open(&disk);
    for n in 0..50 {
        put(&db, n);
    }
    let after = open(&cut(&disk));
    assert_eq!(after.recovery().replayed_records, 50);
    for n in 0..50_u32 {
        let value = after.get(format!("key {n:02}").as_bytes()).unwrap();
        assert_eq!(value.as_deref(), Some(&n.to_le_bytes()[..]));
    }
}

#[test]
fn d05_one_key_is_there_after_a_power_cut() {
    let disk = SimDisk::new();
    open(&disk).put(b"order-123", b"paid").unwrap();
    let after = open(&cut(&disk));
    assert_eq!(
        after.get(b"order-123").unwrap().as_deref(),
        Some(&b"paid"[..])
    );
}

#[test]
fn d06_the_log_is_given_up_only_when_the_tables_are_durable() {
    let disk = SimDisk::new();
    let db = open(&disk);
    for n in 0..20 {
        put(&db, n);
    }
    db.flush().unwrap();
    let after = open(&cut(&disk));
    assert_eq!((count(&after), after.recovery().replayed_records), (20, 0));
}

#[test]
fn d08_what_is_replayed_again_changes_nothing() {
    let disk = SimDisk::new();
    let db = open(&disk);
    for n in 0..10 {
        put(&db, n);
    }
    db.delete(b"key 03").unwrap();
    drop(db);
    let mut disk = cut(&disk);
    for _ in 0..3 {
        let db = open(&disk);
        assert_eq!(count(&db), 9);
        drop(db);
        disk = cut(&disk);
    }
}

#[test]
fn d13_any_bytes_are_a_value_and_a_key() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("store");
    let values: [&[u8]; 5] = [b"", b"\0", b"\xff\xff", b"__deleted__", b"tombstone"];
    let db = small().open(&path).unwrap();
    for value in values {
        db.put(value, value).unwrap();
    }
    db.put(b"gone", b"").unwrap();
    db.delete(b"gone").unwrap();
    db.compact(..).unwrap();
    drop(db);
    let db = small().open(&path).unwrap();
    for value in values {
        assert_eq!(db.get(value).unwrap().as_deref(), Some(value));
    }
    assert_eq!(db.get(b"gone").unwrap(), None);
    assert_eq!(count(&db), 5);
}

#[test]
fn d25_tables_have_a_size_and_tombstones_end() {
    let temp = tempfile::tempdir().unwrap();
    let db = small().open(temp.path().join("store")).unwrap();
    let value = [7; 500];
    for n in 0..200_u32 {
        db.put(&n.to_le_bytes(), &value).unwrap();
    }
    while db.run_background().unwrap() {}
    db.compact(..).unwrap();
    let stats = db.stats();
    assert!(stats.tables > 5, "{stats:?}");
    for n in 0..200_u32 {
        db.delete(&n.to_le_bytes()).unwrap();
    }
    db.compact(..).unwrap();
    assert_eq!(
        db.stats().tables,
        0,
        "nothing is left that a tombstone could hide"
    );
    assert!(db.is_empty().unwrap());
}

#[test]
fn d27_readers_miss_nothing_while_memtables_are_flushed() {
    let temp = tempfile::tempdir().unwrap();
    let options = small()
        .background(Background::Threads)
        .sync(SyncMode::Manual)
        .log_segment_size(1 << 20);
    let db = &options.open(temp.path().join("store")).unwrap();
    let written = &AtomicU64::new(0);
    thread::scope(|scope| {
        for reader in 0..2_u64 {
            scope.spawn(move || {
                let mut n = reader;
                while written.load(Ordering::SeqCst) < 4000 {
                    let upto = written.load(Ordering::SeqCst);
                    if upto == 0 {
                        thread::yield_now();
                        continue;
                    }
                    n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let key = (n >> 33) % upto;
                    let value = db.get(&key.to_le_bytes()).unwrap();
                    assert_eq!(
                        value.as_deref(),
                        Some(&key.to_le_bytes()[..]),
                        "{key} of {upto}"
                    );
                }
            });
        }
        for n in 0..4000_u64 {
            db.put(&n.to_le_bytes(), &n.to_le_bytes()).unwrap();
            written.store(n + 1, Ordering::SeqCst);
        }
    });
    // What the background has not come to yet.
    db.flush().unwrap();
    assert!(db.stats().flushes > 3, "{:?}", db.stats());
    assert_eq!(count(db), 4000);
}

#[test]
fn d28_tables_are_those_that_the_manifest_names() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("store");
    let db = small().open(&path).unwrap();
    put(&db, 1);
    db.flush().unwrap();
    db.close().unwrap();
    drop(db);
    let tables = Disk::os().open_dir(path.join("tables")).unwrap();
    for name in ["00000000000000ff.sst", "notes.txt"] {
        tables.create_new(name).unwrap();
    }
    // What a process that died left of a table.
    Box::leak(Box::new(
        Temp::create(&tables, "0000000000000aaa.sst").unwrap(),
    ));
    let db = small().open(&path).unwrap();
    assert_eq!(count(&db), 1);
    assert_eq!(db.recovery().removed_files, 1, "only what is ours goes");
    assert_eq!(tables.list().unwrap().len(), 3);
}

#[test]
fn d30_after_a_failed_sync_nothing_is_acknowledged_and_durable_reads_go_on() {
    let disk = SimDisk::new();
    let options = || small().disk(disk.disk()).sync(SyncMode::Manual);
    let db = options().open("/store").unwrap();
    put(&db, 1);
    db.sync().unwrap();
    put(&db, 2);
    let newer = db.snapshot().unwrap();
    disk.inject(fault(
        disk.calls(),
        FaultKind::Sync(SyncFailure::CacheKeeps),
        true,
    ));
    db.sync().unwrap_err();
    disk.clear_fault();
    assert!(matches!(db.put(b"x", b"y"), Err(Error::Poisoned { .. })));
    assert!(matches!(db.sync(), Err(Error::Poisoned { .. })));
    assert!(matches!(newer.get(b"key 01"), Err(Error::Poisoned { .. })));
    assert_eq!(count(&db), 1, "as of the last durable write");
    assert!(db.get(b"key 02").unwrap().is_none());
    assert!(db.get(b"key 01").unwrap().is_some());
    drop((newer, db));
    let db = small().disk(cut(&disk).disk()).open("/store").unwrap();
    assert_eq!(count(&db), 1);
}

#[test]
fn d29_a_second_handle_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("store");
    let db = Options::new()
        .background(Background::Inline)
        .open(&path)
        .unwrap();
    let second = small().open(&path);
    assert!(matches!(
        second,
        Err(Error::Disk(durable_io::Error::Locked { .. }))
    ));
    assert!(matches!(
        small().open_read_only(&path),
        Err(Error::Disk(durable_io::Error::Locked { .. }))
    ));
    drop(db);
}
