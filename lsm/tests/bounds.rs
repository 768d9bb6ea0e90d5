//! The bounds that hold while a store is running: memory, and what an opening may have to replay.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

mod support;

use durable_io::sim::SimDisk;
use durable_io::testing::{Allocations, CountingAllocator, fast_dir};
use lsm::{Background, Error, KeyspaceOptions, Lsm, Options, SyncMode};
use rand::RngExt;
use support::{seeded, small};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const MIB: u64 = 1 << 20;
const MEMORY: u64 = 20 * MIB;
/// What there may be beside what is counted.
const SLACK: u64 = 16 * MIB;

/// Everything is done, and allocated, in the thread of the test.
fn options() -> Options {
    Options::new()
        .background(Background::Inline)
        .sync(SyncMode::Manual)
        .memtable_size(2 * MIB)
        .memory(MEMORY)
        .block_cache(4 * MIB)
        .table_size(4 * MIB)
        .reserve(0)
}

/// Runs `work` on a store with `options`; the heap must never take more than the option and the slack.
fn bounded(options: &Options, work: impl FnOnce(&Lsm)) {
    let dir = fast_dir();
    let ((), allocations) = Allocations::of(|| {
        let db = options.clone().open(dir.path()).unwrap();
        work(&db);
    });
    let peak = u64::try_from(allocations.peak).unwrap();
    assert!(peak <= MEMORY + SLACK, "{} MiB", peak / MIB);
}

fn is_full(written: lsm::Result<()>) -> bool {
    match written {
        Err(Error::MemoryFull { used, limit }) => used > limit / 2,
        other => {
            other.unwrap();
            false
        }
    }
}

#[test]
fn memtables_cache_and_tables_together_stay_below_the_option() {
    let (_, mut rng) = seeded(1);
    let keyspace = KeyspaceOptions::new().compression(lsm::Compression::Lz4);
    bounded(&options().keyspace("default", keyspace.clone()), |db| {
        let other = db.create_keyspace("other", &keyspace).unwrap();
        for n in 0..60_000_u32 {
            let key = rng.random::<u64>().to_le_bytes();
            db.put(&key, &[3; 1000]).unwrap();
            if n % 8 == 0 {
                other.put(&key, &[4; 300]).unwrap();
                let mut end = key;
                end[4] = end[4].saturating_add(1);
                other.delete_range(&key, &end).unwrap();
                drop(db.get(&rng.random::<u64>().to_le_bytes()).unwrap());
            }
            if n % 64 == 0 {
                drop(db.scan(&key[..]..).unwrap().next());
            }
        }
        // Up to here memtables were flushed at the bound, by whoever wrote.
        while db.run_background().unwrap() {}
        assert!(db.stats().flushes > 5);
    });
}

/// The first and last keys of tables were not counted, nor were range tombstones: with many tables there was no
/// bound.
#[test]
fn what_is_known_of_tables_counts_and_refuses_writes_when_nothing_else_is_left() {
    let key = |n: u32| [&n.to_string().into_bytes()[..], &vec![7; 60_000]].concat();
    bounded(&options().table_size(1), |db| {
        let full = (0..3000).find(|&n| is_full(db.put(&key(n), b"")));
        let full = full.expect("so much does not fit");
        let stats = db.stats();
        assert!(stats.table_memory_bytes + 4 * MIB > MEMORY / 2, "{stats:?}");
        // Nothing that was acknowledged is lost, and what gives memory back works.
        assert!(db.get(&key(full)).unwrap().is_none());
        assert!(db.get(&key(full - 1)).unwrap().is_some());
        db.clear().unwrap();
        db.put(b"again", b"there is room").unwrap();
    });
}

#[test]
fn what_readers_hold_counts_until_they_let_go() {
    bounded(&options(), |db| {
        let mut scans = Vec::new();
        let mut fill = |n: u32| {
            scans.push(db.scan(..).unwrap());
            is_full(db.put(&n.to_le_bytes(), &vec![5; 100_000]))
        };
        (0..3000).find(|&n| fill(n)).expect("so much does not fit");
        assert!(db.stats().pinned_bytes > 8 * MIB, "{:?}", db.stats());
        drop(scans);
        db.put(b"again", b"there is room").unwrap();
        assert_eq!(db.stats().pinned_bytes, 0);
    });
}

/// A keyspace that nobody writes to any more held the log back.
#[test]
fn an_idle_keyspace_does_not_make_an_opening_long() {
    const LIMIT: u64 = 32 << 10;
    for sync in [SyncMode::Always, SyncMode::Manual] {
        let disk = SimDisk::new();
        let options = |disk: &SimDisk| small().sync(sync).disk(disk.disk()).replay_limit(LIMIT);
        let db = options(&disk).open("/store").unwrap();
        let idle = db.create_keyspace("idle", &KeyspaceOptions::new()).unwrap();
        idle.put(b"one", b"once").unwrap();
        let mut most = 0;
        for n in 0..2000_u32 {
            db.put(&n.to_le_bytes(), &[6; 200]).unwrap();
            // Right before the background does something.
            if n % 60 == 59 {
                let killed = SimDisk::boot(disk.world().keep_unsynced());
                let again = options(&killed).open("/store").unwrap();
                most = most.max(again.recovery().replayed_bytes);
                let idle = again.keyspace("idle").unwrap();
                assert_eq!(idle.get(b"one").unwrap().as_deref(), Some(&b"once"[..]));
                db.run_background().unwrap();
            }
        }
        assert!((LIMIT / 4..=LIMIT).contains(&most), "{most}");
    }
}

/// A disk that is too full for a flush, while the log has space: whoever comes to the bound is told, and does not wait
/// for what cannot come.
#[test]
fn a_writer_at_the_bound_is_told_that_the_disk_is_too_full_for_a_flush() {
    let disk = SimDisk::new();
    let db = Options::new()
        .sync(SyncMode::Manual)
        .disk(disk.disk())
        .memtable_size(32 << 10)
        .memory(128 << 10)
        .block_cache(4 << 10)
        .reserve(0)
        .open("/store")
        .unwrap();
    db.put(b"before", b"there is space").unwrap();
    disk.set_budget(Some(0));
    let put = |n: u32| db.put(&n.to_le_bytes(), &[8; 1000]);
    let error = (0..1000)
        .find_map(|n| put(n).err())
        .expect("so much is not flushed");
    assert!(
        matches!(&error, Error::Disk(disk) if disk.is_no_space()),
        "{error}"
    );
    disk.set_budget(None);
    put(1000).unwrap();
    assert_eq!(
        db.get(b"before").unwrap().as_deref(),
        Some(&b"there is space"[..])
    );
}
