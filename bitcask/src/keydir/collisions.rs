//! Stores in which live keys share all bits of hash that the index has, as some do in every large store:
//! each access must compare the key.

use std::cell::Cell;
use std::collections::BTreeMap;

use durable_io::{Background, SyncMode};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::{Batch, Bitcask, MergePolicy, Options, Snapshot};

thread_local! {
    /// The bits of a hash that count, in this thread.
    pub(super) static MASK: Cell<u64> = const { Cell::new(u64::MAX) };
}

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn options() -> Options {
    Options::new()
        .sync(SyncMode::Manual)
        .data_file_size(4096)
        .reserve(0)
        .merge_policy(MergePolicy::new().trigger_dead_percent(20))
        .background(Background::Inline)
}

fn check(snapshot: &Snapshot, model: &Model) {
    let insert = |mut seen: Model, key: &[u8], value: &[u8]| {
        assert_eq!(seen.insert(key.to_vec(), value.to_vec()), None);
        seen
    };
    assert_eq!(snapshot.fold(Model::new(), insert).unwrap(), *model);
    for n in 0..30_u8 {
        let found = snapshot.get(&[n]).unwrap();
        assert_eq!(found.as_deref(), model.get(&[n][..]).map(Vec::as_slice));
        assert_eq!(
            snapshot.contains(&[n]).unwrap(),
            model.contains_key(&[n][..])
        );
    }
}

fn step(store: &Bitcask, model: &mut Model, rng: &mut StdRng, n: u64) {
    let key = vec![rng.random_range(0..30_u8)];
    let other = vec![rng.random_range(0..30_u8)];
    let value = n.to_le_bytes().repeat(1 + rng.random_range(0..8));
    match rng.random_range(0..20) {
        0..9 => {
            store.put(&key, &value).unwrap();
            model.insert(key, value);
        }
        9..14 => {
            store.delete(&key).unwrap();
            model.remove(&key);
        }
        14 | 15 => {
            let batch = Batch::new().put(&key, &value).delete(&other);
            store.write(batch).unwrap();
            model.insert(key, value);
            model.remove(&other);
        }
        16 | 17 => {
            let current = model.get(&key).cloned();
            assert!(
                store
                    .compare_and_set(&key, Some(b"no"), None)
                    .unwrap()
                    .is_err()
            );
            let expected = current.as_deref();
            assert!(
                store
                    .compare_and_set(&key, expected, Some(&value))
                    .unwrap()
                    .is_ok()
            );
            model.insert(key, value);
        }
        18 => drop(store.run_background().unwrap()),
        _ => {
            store.rotate().unwrap();
            store.merge().unwrap();
        }
    }
}

/// All keys have one of a few hashes, or just one.
#[test]
fn keys_that_the_index_cannot_tell_apart_are_told_apart() {
    for (seed, mask) in [(1, 0), (2, 1 << 63 | 1 << 30), (3, 1 << 40)] {
        MASK.set(mask);
        let dir = tempfile::tempdir().unwrap();
        let mut rng = StdRng::seed_from_u64(seed);
        let mut model = Model::new();
        let mut store = options().open(dir.path()).unwrap();
        let mut snapshot = (store.snapshot().unwrap(), model.clone());
        for n in 0..1500 {
            step(&store, &mut model, &mut rng, n);
            if n % 50 == 0 {
                check(&snapshot.0, &snapshot.1);
                snapshot = (store.snapshot().unwrap(), model.clone());
                check(&snapshot.0, &model);
            }
            if n % 211 == 0 {
                drop(store);
                store = options().open(dir.path()).unwrap();
                assert_eq!(store.stats().keys, model.len() as u64);
                snapshot = (store.snapshot().unwrap(), model.clone());
            }
        }
        store.rotate().unwrap();
        store.merge().unwrap();
        assert_eq!(store.stats().tombstone_bytes, 0);
        check(&store.snapshot().unwrap(), &model);
        assert!(store.verify().unwrap().is_whole());
    }
    MASK.set(u64::MAX);
}

/// Each shows what was, whenever others are taken and dropped, before and after it; and what they cost is one
/// change for each key and snapshot, but for a part that is forgotten later.
#[test]
fn many_snapshots_cost_one_change_for_each_key_and_snapshot() {
    for (seed, mask) in [(1, u64::MAX), (2, 1 << 63 | 1 << 30), (3, 0)] {
        MASK.set(mask);
        let dir = tempfile::tempdir().unwrap();
        let mut rng = StdRng::seed_from_u64(seed);
        let mut model = Model::new();
        let store = options().open(dir.path()).unwrap();
        let mut snapshots: Vec<(Snapshot, Model)> = Vec::new();
        for n in 0..1200 {
            step(&store, &mut model, &mut rng, n);
            if rng.random_bool(0.05) {
                snapshots.push((store.snapshot().unwrap(), model.clone()));
            }
            if rng.random_bool(0.05) && !snapshots.is_empty() {
                let (snapshot, model) = snapshots.swap_remove(rng.random_range(0..snapshots.len()));
                check(&snapshot, &model);
            }
            if n % 100 == 99 {
                for (snapshot, model) in &snapshots {
                    check(snapshot, model);
                }
                store.sync().unwrap();
                let stats = store.stats();
                let most = 30 * snapshots.len() as u64 * super::CHANGE_SIZE;
                assert!(stats.change_bytes * 3 <= most * 4, "{stats:?}, most {most}");
                let oldest = snapshots
                    .iter()
                    .map(|(snapshot, _)| snapshot.version())
                    .min();
                assert_eq!(stats.oldest_snapshot, oldest);
            }
        }
        snapshots.clear();
        assert_eq!(store.stats().oldest_snapshot_age, None);
        assert_eq!(
            (store.stats().change_bytes, store.stats().removed_bytes),
            (0, 0)
        );
    }
    MASK.set(u64::MAX);
}

/// A snapshot leaves out the records that came after it. It must not take a record for one of them
/// because it lies where one of them was: in the slot that a merged file had, at the same offset.
#[test]
fn a_snapshot_shows_a_record_that_a_merge_moved_to_where_a_newer_one_was() {
    // All keys are in one shard, which the index can still tell apart.
    MASK.set(u64::MAX >> 6);
    let dir = tempfile::tempdir().unwrap();
    let policy = MergePolicy::new()
        .trigger_dead_percent(1)
        .threshold_dead_percent(1)
        .small_file_size(0);
    let store = options().merge_policy(policy).open(dir.path()).unwrap();
    store.put(b"kept", b"1").unwrap();
    store.put(b"dead", b"1").unwrap();
    let first = place(&store, b"kept");
    let snapshot = store.snapshot().unwrap();
    store.rotate().unwrap();
    // As long as the first record of the first file, so at the same offset in the second.
    store.put(b"gone", b"1").unwrap();
    let newer = place(&store, b"gone");
    store.rotate().unwrap();
    store.delete(b"gone").unwrap();
    // Nothing lives in the second file: its slot becomes free.
    while store.run_background().unwrap() {}
    store.delete(b"dead").unwrap();
    // What lives in the first file moves there.
    store.merge().unwrap();
    assert_ne!(first, newer);
    assert_eq!(place(&store, b"kept"), newer);
    let mut keys: Vec<_> = snapshot.keys().map(Result::unwrap).collect();
    keys.sort_unstable();
    assert_eq!(keys, [b"dead", b"kept"], "the keys of the snapshot");
    MASK.set(u64::MAX);
}

/// Slot and offset of the record of `key`.
fn place(store: &Bitcask, key: &[u8]) -> (u32, u64) {
    let found = store.store().find(key).unwrap().unwrap();
    (found.spot.file.slot, found.spot.offset)
}
