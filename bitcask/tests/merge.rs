//! What a merge keeps and what it gives up; what is said about space; a full disk.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "test"
)]

#[allow(dead_code, reason = "each test file uses a part")]
mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use bitcask::{Bitcask, FileSpace, MergePolicy, Options, SyncMode, Why};
use durable_io::sim::SimDisk;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use support::{assert_holds, contents, fast_dir, names, options, seed, settle};

/// Only dead bytes count, and few are enough.
fn policy() -> MergePolicy {
    MergePolicy::new()
        .trigger_dead_percent(30)
        .threshold_dead_percent(30)
        .small_file_size(0)
}

fn why(store: &Bitcask) -> Vec<Why> {
    store.explain_space().iter().map(|file| file.why).collect()
}

#[test]
fn a_tombstone_stays_as_long_as_an_older_file_can_hold_its_key_and_no_longer() {
    let dir = fast_dir();
    let options = options().auto_merge(true).merge_policy(policy());
    let store = options.open(dir.path()).unwrap();
    store.put(b"large", &[1; 1200]).unwrap();
    store.put(b"gone", b"old").unwrap();
    store.rotate().unwrap();
    // Only the first of the tombstones is needed: no older file has the other key.
    store.delete(b"gone").unwrap();
    store.delete(b"never there").unwrap();
    store.put(b"twice", &[2; 200]).unwrap();
    store.put(b"twice", &[3; 200]).unwrap();
    store.rotate().unwrap();
    assert_eq!(why(&store), [Why::BelowThreshold, Why::Due, Why::Active]);
    settle(&store);
    let space = store.explain_space();
    // The merged file holds what lives and one tombstone, of 4 bytes of key and 12 of header.
    assert_eq!(
        (space.len(), space[1].dead_bytes, space[1].tombstone_bytes),
        (3, 0, 16)
    );
    assert_eq!(
        space[1].why,
        Why::TombstonesNeeded {
            older: space[0].number
        }
    );
    assert_eq!(store.get(b"gone").unwrap(), None);
    // When the older file goes, so does the tombstone, in the same merge.
    store.put(b"large", &[4; 1200]).unwrap();
    store.rotate().unwrap();
    let report = store.merge().unwrap();
    assert_eq!(report.dropped_tombstones, 1);
    let left: u64 = store
        .explain_space()
        .iter()
        .map(|file| file.tombstone_bytes)
        .sum();
    assert_eq!(left, 0);
    assert_eq!(store.get(b"gone").unwrap(), None);
    assert_eq!(contents(&store).len(), 2);
}

/// It began again as long as anything had been sealed meanwhile, and then it merged what it had written.
#[test]
fn a_merge_beside_a_writer_takes_what_was_sealed_when_it_began_and_returns() {
    let dir = fast_dir();
    let store = &options().open(dir.path()).unwrap();
    let put = |n: u32| store.put(&(n % 150).to_le_bytes(), &[7; 500]).unwrap();
    for n in 0..600 {
        put(n);
    }
    store.rotate().unwrap();
    let sealed = store.stats().data_files - 1;
    let is_over = &AtomicBool::new(false);
    let report = thread::scope(|scope| {
        scope.spawn(move || {
            while store.stats().merges == 0 {
                thread::yield_now();
            }
            // As fast as it merges; but it ends, for a merge that would go on as long.
            for n in 0..60_000 {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                put(n % 4);
            }
        });
        let report = store.merge().unwrap();
        is_over.store(true, Ordering::Relaxed);
        report
    });
    assert!(report.inputs > 100, "{report:?}");
    assert!(report.inputs <= sealed, "{report:?} of {sealed} files");
    assert_eq!(contents(store).len(), 150);
}

/// It was memory for every change, and every file that was written meanwhile.
#[test]
fn a_snapshot_costs_what_changed_since_and_no_younger_file() {
    let dir = fast_dir();
    let options = options().data_file_size(64 << 10);
    let store = options.open(dir.path()).unwrap();
    for key in 0..10_u8 {
        store.put(&[key], b"first").unwrap();
    }
    let snapshot = store.snapshot().unwrap();
    let (mut most_changes, mut most_removed) = (0, 0);
    for n in 0..20_000_u32 {
        store.put(&[(n % 10) as u8], &[7; 500]).unwrap();
        if n % 1000 == 999 {
            store.rotate().unwrap();
            store.merge().unwrap();
            most_changes = most_changes.max(store.stats().change_bytes);
            most_removed = most_removed.max(store.stats().removed_bytes);
        }
    }
    assert!((960..2000).contains(&most_changes), "{most_changes} bytes");
    // Only the first file.
    assert!((1..70_000).contains(&most_removed), "{most_removed} bytes");
    assert_eq!(store.stats().oldest_snapshot, Some(snapshot.version()));
    assert!(store.stats().oldest_snapshot_age.is_some());
    for key in 0..10_u8 {
        assert_eq!(snapshot.get(&[key]).unwrap().unwrap(), b"first");
    }
    drop(snapshot);
    let stats = store.stats();
    assert_eq!((stats.change_bytes, stats.removed_bytes), (0, 0));
    assert_eq!(
        (stats.oldest_snapshot, stats.oldest_snapshot_age),
        (None, None)
    );
}

/// The rule, on random stores: after everything was merged no tombstone is left, whatever the merges
/// before took; and no merge changes what is there.
#[test]
fn no_merge_changes_an_answer_and_the_last_one_leaves_no_tombstone() {
    for seed in seed(1)..seed(1) + 30 {
        let dir = fast_dir();
        let mut rng = StdRng::seed_from_u64(seed);
        let policy = policy()
            .trigger_dead_percent(10)
            .threshold_dead_percent(rng.random_range(5..60));
        let options = options().auto_merge(true).merge_policy(policy);
        let mut store = options.clone().open(dir.path()).unwrap();
        for _ in 0..40 {
            for _ in 0..rng.random_range(1..12) {
                let key = [rng.random_range(0..20_u8)];
                if rng.random_bool(0.4) {
                    store.delete(&key).unwrap();
                } else {
                    store.put(&key, &vec![7; rng.random_range(0..300)]).unwrap();
                }
            }
            let before = contents(&store);
            store.rotate().unwrap();
            for _ in 0..rng.random_range(0..8) {
                store.run_background().unwrap();
            }
            if rng.random_bool(0.3) {
                drop(store);
                store = options.clone().open(dir.path()).unwrap();
            }
            assert_holds(&store, &before);
        }
        let before = contents(&store);
        store.rotate().unwrap();
        store.merge().unwrap();
        assert_holds(&store, &before);
        let stats = store.stats();
        assert_eq!(
            (stats.tombstone_bytes, stats.dead_bytes),
            (0, 0),
            "seed {seed}"
        );
    }
}

#[test]
fn a_snapshot_and_a_value_outlive_the_files_they_are_in() {
    let dir = fast_dir();
    let store = options().open(dir.path()).unwrap();
    store.put(b"a", b"first").unwrap();
    store.put(b"b", b"other").unwrap();
    store.rotate().unwrap();
    let snapshot = store.snapshot().unwrap();
    let model = contents(&store);
    let value = store.get(b"a").unwrap().unwrap();
    store.put(b"a", b"second").unwrap();
    store.delete(b"b").unwrap();
    store.put(b"c", b"new").unwrap();
    store.rotate().unwrap();
    store.merge().unwrap();
    assert!(!names(dir.path()).contains(&support::data(1)));
    assert_eq!(value, b"first");
    let seen = snapshot.fold(support::Model::new(), |mut seen, key, value| {
        seen.insert(key.to_vec(), value.to_vec());
        seen
    });
    assert_eq!(seen.unwrap(), model);
    assert_eq!(snapshot.get(b"c").unwrap(), None);
    assert!(store.stats().change_bytes > 0);
    drop(snapshot);
    assert_eq!(store.stats().change_bytes, 0);
}

#[test]
fn small_files_become_one() {
    let dir = fast_dir();
    let store = options().open(dir.path()).unwrap();
    for n in 0..10_u8 {
        store.put(&[n], &[n; 50]).unwrap();
        store.rotate().unwrap();
    }
    let before = contents(&store);
    let report = store.merge().unwrap();
    assert_eq!((report.inputs, report.outputs), (10, 1));
    assert_eq!(store.stats().data_files, 2);
    assert_holds(&store, &before);
}

/// Files that are full are not small, however small files are to be: else they would be merged forever.
#[test]
fn merges_of_full_files_come_to_an_end() {
    let store = Options::new()
        .data_file_size(4096)
        .background(durable_io::Background::Inline)
        .disk(SimDisk::new().disk())
        .open("/store")
        .unwrap();
    for n in 0..300_u32 {
        store.put(&n.to_le_bytes(), &[7; 300]).unwrap();
    }
    assert!(store.stats().data_files > 20);
    let mut steps = 0;
    while store.run_background().unwrap() {
        steps += 1;
        assert!(steps < 1000, "it merges forever");
    }
    assert_eq!(store.merge().unwrap().inputs, 0);
    assert_eq!(store.stats().merges, 0);
}

/// The second tombstone of a key stays as long as the first: it is no reason to merge before.
#[test]
fn a_tombstone_behind_another_one_does_not_make_merges_go_on_forever() {
    let store = options()
        .auto_merge(true)
        .merge_policy(policy())
        .disk(SimDisk::new().disk())
        .open("/store")
        .unwrap();
    store.put(b"large", &[1; 1200]).unwrap();
    store.delete(&[7; 100]).unwrap();
    store.rotate().unwrap();
    store.put(b"small", b"").unwrap();
    store.delete(&[7; 100]).unwrap();
    store.rotate().unwrap();
    let mut steps = 0;
    while store.run_background().unwrap() {
        steps += 1;
        assert!(steps < 1000, "it merges forever");
    }
    let older = store.explain_space()[0].number;
    assert_eq!(why(&store)[1], Why::TombstonesNeeded { older });
    store.merge().unwrap();
    assert_eq!(store.explain_space()[0].tombstone_bytes, 0);
}

/// A store on a disk that is full of live and dead data, with a reserve of so many bytes.
fn full(reserve: u64) -> (SimDisk, Bitcask) {
    let sim = SimDisk::new();
    let options = Options::new()
        .sync(SyncMode::Always)
        .data_file_size(4096)
        .reserve(reserve)
        .auto_merge(false)
        .background(durable_io::Background::Inline)
        .disk(sim.disk());
    let store = options.open("/store").unwrap();
    sim.set_budget(Some(44 << 10));
    let mut n = 0_u32;
    let refused = loop {
        match store.put(&(n % 60).to_le_bytes(), &[7; 300]) {
            Ok(()) => n += 1,
            Err(error) => break error,
        }
    };
    let is_no_space = matches!(
        &refused,
        bitcask::Error::Disk(durable_io::Error::NoSpace { .. })
    );
    assert!(is_no_space, "{refused}");
    assert!(n > 70, "{n}");
    (sim, store)
}

/// No output is needed for them, so they go one by one before anything is copied.
#[test]
fn files_of_which_nothing_is_live_go_on_a_full_disk_without_a_reserve() {
    let (_sim, store) = full(0);
    let before = contents(&store);
    let dead = |file: &&FileSpace| file.dead_bytes > 0 && file.live_bytes < 600;
    assert!(store.explain_space().iter().filter(dead).count() > 2);
    let report = store.merge().unwrap();
    assert!(report.inputs > 2, "{report:?}");
    assert_holds(&store, &before);
    store.put(b"large", &[1; 3000]).unwrap();
}

#[test]
fn deletions_and_merges_work_on_a_full_disk() {
    let (sim, store) = full(8192);
    let before = contents(&store);
    // What was refused has changed nothing.
    assert_eq!(before.len(), 60);
    for n in 0..40_u32 {
        store.delete(&n.to_le_bytes()).unwrap();
    }
    store.put(b"large", &[1; 3000]).unwrap_err();
    let report = store.merge().unwrap();
    assert!(
        report.read_bytes > report.written_bytes + 4096,
        "{report:?}"
    );
    assert_eq!(contents(&store).len(), 20);
    // There is space again, and some of it is held back again.
    store.put(b"large", &[1; 3000]).unwrap();
    let disk = sim.disk().open_dir("/store").unwrap();
    assert!(
        disk.list()
            .unwrap()
            .iter()
            .any(|entry| entry.name == "reserve")
    );
    let after = contents(&store);
    drop(store);
    let store = options().disk(SimDisk::boot(sim.world().lose_unsynced()).disk());
    assert_holds(&store.open("/store").unwrap(), &after);
}
