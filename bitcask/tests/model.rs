//! Random operations, mirrored in a `BTreeMap`, with snapshots, merges and reopening in between.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "test"
)]

#[allow(dead_code, reason = "each test file uses a part")]
mod support;

use std::path::Path;

use bitcask::{Batch, Bitcask, Options, Snapshot, SyncMode};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use support::{Model, assert_holds, fast_dir, options, seed, settle};

struct Mirror<'a> {
    path: &'a Path,
    options: Options,
    store: Option<Bitcask>,
    model: Model,
    snapshots: Vec<(Snapshot, Model)>,
    rng: StdRng,
}

impl Mirror<'_> {
    fn store(&self) -> &Bitcask {
        self.store.as_ref().unwrap()
    }

    fn key(&mut self) -> Vec<u8> {
        match self.rng.random_range(0..40_u8) {
            0 => Vec::new(),
            n => vec![n; 1 + usize::from(n) % 5],
        }
    }

    fn value(&mut self) -> Vec<u8> {
        let len = match self.rng.random_range(0..20) {
            0 => 0,
            1 => 3000,
            n => n * 7,
        };
        (0..len).map(|_| self.rng.random()).collect()
    }

    fn step(&mut self) {
        let (key, value) = (self.key(), self.value());
        match self.rng.random_range(0..100) {
            0..40 => {
                self.store().put(&key, &value).unwrap();
                self.model.insert(key, value);
            }
            40..60 => {
                self.store().delete(&key).unwrap();
                self.model.remove(&key);
            }
            60..70 => {
                let other = self.key();
                let batch = Batch::new().put(&key, &value).delete(&other).put(&key, b"");
                self.store().write(batch).unwrap();
                self.model.insert(key.clone(), Vec::new());
                if other != key {
                    self.model.remove(&other);
                }
            }
            70..75 => self.compare_and_set(&key, value),
            75..79 => self.update(&key),
            79 => self.get_many(),
            80..83 => self.store().rotate().unwrap(),
            83..85 => drop(self.store().merge().unwrap()),
            85..88 => settle(self.store()),
            88..91 => {
                let snapshot = self.store().snapshot().unwrap();
                self.snapshots.push((snapshot, self.model.clone()));
            }
            91..93 if !self.snapshots.is_empty() => {
                let nth = self.rng.random_range(0..self.snapshots.len());
                let (snapshot, model) = self.snapshots.swap_remove(nth);
                check_snapshot(&snapshot, &model);
            }
            93..95 => self.reopen(),
            95 => assert!(self.store().verify().unwrap().is_whole()),
            _ => {
                let found = self.store().get(&key).unwrap();
                assert_eq!(found.as_deref(), self.model.get(&key).map(Vec::as_slice));
            }
        }
    }

    fn compare_and_set(&mut self, key: &[u8], value: Vec<u8>) {
        let current = self.model.get(key).cloned();
        let (expected, is_met) = match self.rng.random_range(0..3) {
            0 => (Some(b"never".to_vec()), false),
            _ => (current, true),
        };
        let new = self.rng.random_bool(0.7).then_some(value);
        let done = self
            .store()
            .compare_and_set(key, expected.as_deref(), new.as_deref())
            .unwrap();
        assert_eq!(done.is_ok(), is_met);
        match done {
            Ok(()) => self.set(key, new),
            Err(found) => assert_eq!(found.as_deref(), self.model.get(key).map(Vec::as_slice)),
        }
    }

    /// Half of the value twice, or no value.
    fn update(&mut self, key: &[u8]) {
        let keeps = self.rng.random_bool(0.8);
        let change = |old: Option<&[u8]>| {
            let old = old?;
            let half = old.get(..old.len() / 2).unwrap();
            keeps.then(|| [half, half].concat())
        };
        let old = self.store().update(key, change).unwrap();
        let expected = self.model.get(key).cloned();
        assert_eq!(old.as_deref(), expected.as_deref());
        self.set(key, change(expected.as_deref()));
    }

    fn set(&mut self, key: &[u8], new: Option<Vec<u8>>) {
        match new {
            Some(value) => drop(self.model.insert(key.to_vec(), value)),
            None => drop(self.model.remove(key)),
        }
    }

    /// Some keys twice, some of them absent.
    fn get_many(&mut self) {
        let count = self.rng.random_range(0..200);
        let keys: Vec<Vec<u8>> = (0..count).map(|_| self.key()).collect();
        let found = self.store().get_many(&keys).unwrap();
        assert_eq!(found.len(), keys.len());
        for (key, found) in keys.iter().zip(found) {
            assert_eq!(found.as_deref(), self.model.get(key).map(Vec::as_slice));
        }
    }

    fn reopen(&mut self) {
        for (snapshot, model) in self.snapshots.drain(..) {
            check_snapshot(&snapshot, &model);
        }
        let store = self.store.take().unwrap();
        if self.rng.random_bool(0.5) {
            store.close().unwrap();
        } else {
            drop(store);
        }
        self.store = Some(self.options.clone().open(self.path).unwrap());
        assert_holds(self.store(), &self.model);
    }
}

fn check_snapshot(snapshot: &Snapshot, model: &Model) {
    let mut seen = Model::new();
    for entry in snapshot.entries() {
        let (key, value) = entry.unwrap();
        assert!(seen.insert(key, value.to_vec()).is_none());
    }
    assert_eq!(seen, *model);
    for n in 0..40_u8 {
        let key = vec![n; 1 + usize::from(n) % 5];
        let found = snapshot.get(&key).unwrap();
        assert_eq!(found.as_deref(), model.get(&key).map(Vec::as_slice));
    }
}

fn mirror(options: Options, seed: u64, steps: u32) {
    let dir = fast_dir();
    let mut mirror = Mirror {
        path: dir.path(),
        store: Some(options.clone().open(dir.path()).unwrap()),
        options,
        model: Model::new(),
        snapshots: Vec::new(),
        rng: StdRng::seed_from_u64(seed),
    };
    for _ in 0..steps {
        mirror.step();
    }
    mirror.reopen();
    assert_eq!(mirror.store().stats().change_bytes, 0);
}

#[test]
fn a_store_does_what_a_map_does() {
    for seed in seed(1)..seed(1) + 8 {
        mirror(options(), seed, 2000);
    }
}

#[test]
fn a_store_that_syncs_does_what_a_map_does() {
    mirror(options().sync(SyncMode::Always), seed(101), 2000);
    let batch = SyncMode::Batch {
        writes: 3,
        interval: std::time::Duration::ZERO,
    };
    mirror(options().sync(batch), seed(102), 2000);
}

#[test]
fn a_store_that_merges_by_itself_does_what_a_map_does() {
    let policy = bitcask::MergePolicy::new()
        .trigger_dead_percent(10)
        .threshold_dead_percent(5);
    for seed in seed(201)..seed(201) + 4 {
        mirror(
            options().auto_merge(true).merge_policy(policy.clone()),
            seed,
            2000,
        );
    }
}
