//! Random operations on a store beside maps, which must agree in every answer: also under other options,
//! after a reopening, from the back, and for snapshots.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::missing_panics_doc,
    reason = "a test fails by a panic"
)]

mod support;

use std::ops::Bound;

use lsm::{Batch, Keyspace, Lsm, Snapshot};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use support::{Map, any_options, seeded};

const OTHER: &str = "other";

struct Model {
    maps: [Map; 2],
    store: Lsm,
    snapshots: Vec<(Snapshot, [Map; 2])>,
}

fn key(rng: &mut StdRng) -> Vec<u8> {
    let n = rng.random_range(0..60_u32);
    if n % 7 == 0 {
        vec![b'k'; n as usize / 7]
    } else {
        format!("key {n:03}").into_bytes()
    }
}

fn value(rng: &mut StdRng) -> Vec<u8> {
    let len = match rng.random_range(0..10) {
        0 => 0,
        1 => 700,
        _ => 20,
    };
    (0..len).map(|_| rng.random()).collect()
}

fn remove_range(map: &mut Map, start: &[u8], end: &[u8]) {
    map.retain(|key, _| **key < *start || **key >= *end);
}

impl Model {
    fn handles(&self) -> [Keyspace; 2] {
        [self.store.clone(), self.store.keyspace(OTHER).unwrap()]
    }

    fn step(&mut self, rng: &mut StdRng) {
        let which = usize::from(rng.random_range(0..4) == 0);
        let handles = self.handles();
        let (handle, map) = (&handles[which], &mut self.maps[which]);
        let (a, b) = (key(rng), key(rng));
        match rng.random_range(0..100) {
            0..45 => {
                let value = value(rng);
                handle.put(&a, &value).unwrap();
                map.insert(a, value);
            }
            45..57 => {
                handle.delete(&a).unwrap();
                map.remove(&a);
            }
            57..62 => {
                let (start, end) = if a < b { (a, b) } else { (b, a) };
                handle.delete_range(&start, &end).unwrap();
                remove_range(map, &start, &end);
            }
            62..72 => self.batch(rng),
            72..76 => handle.flush().unwrap(),
            76..79 => drop(handle.compact(..).unwrap()),
            79..80 => {
                handle.clear().unwrap();
                map.clear();
            }
            80..90 => while self.store.run_background().unwrap() {},
            90..93 => {
                let snapshot = self.store.snapshot().unwrap();
                self.snapshots.push((snapshot, self.maps.clone()));
            }
            93..95 => drop(self.snapshots.pop()),
            95..97 => self.store.sync().unwrap(),
            _ => check(&self.store, &self.maps, rng),
        }
    }

    fn batch(&mut self, rng: &mut StdRng) {
        let handles = self.handles();
        let mut batch = Batch::new();
        for _ in 0..rng.random_range(0..6) {
            let which = rng.random_range(0..2);
            let (handle, map) = (&handles[which], &mut self.maps[which]);
            let (a, b) = (key(rng), key(rng));
            batch = match rng.random_range(0..6) {
                0 => {
                    map.remove(&a);
                    batch.delete_in(handle, &a)
                }
                1 => {
                    remove_range(map, &a, &b);
                    batch.delete_range_in(handle, &a, &b)
                }
                _ => {
                    let value = value(rng);
                    map.insert(a.clone(), value.clone());
                    batch.put_in(handle, &a, &value)
                }
            };
        }
        self.store.write(batch).unwrap();
    }
}

/// What the store shows now, and its snapshots, is what the maps hold.
fn check(store: &Lsm, maps: &[Map; 2], rng: &mut StdRng) {
    check_snapshot(&store.snapshot().unwrap(), maps, rng);
    for _ in 0..10 {
        let key = key(rng);
        assert_eq!(
            store.get(&key).unwrap().as_deref(),
            maps[0].get(&key).map(Vec::as_slice)
        );
    }
    let first = maps[0].iter().next().map(|(k, v)| (k.clone(), v.clone()));
    assert_eq!(store.first().unwrap(), first);
    let last = maps[0]
        .iter()
        .next_back()
        .map(|(k, v)| (k.clone(), v.clone()));
    assert_eq!(store.last().unwrap(), last);
    assert_eq!(store.is_empty().unwrap(), maps[0].is_empty());
}

fn check_snapshot(snapshot: &Snapshot, maps: &[Map; 2], rng: &mut StdRng) {
    for (name, map) in ["default", OTHER].into_iter().zip(maps) {
        let view = snapshot.keyspace(name).unwrap();
        let found: Map = view.scan(..).collect::<Result<_, _>>().unwrap();
        assert_eq!(&found, map, "{name} forward");
        let found: Map = view.scan(..).rev().collect::<Result<_, _>>().unwrap();
        assert_eq!(&found, map, "{name} backward");
        let (a, b) = (key(rng), key(rng));
        let (start, end) = if a < b { (a, b) } else { (b, a) };
        let range = (Bound::Excluded(&start[..]), Bound::Included(&end[..]));
        let expected = if start == end {
            Vec::new()
        } else {
            map.range::<[u8], _>(range)
                .map(|(k, _)| k.clone())
                .collect()
        };
        let keys: Vec<Vec<u8>> = view.scan(range).keys().collect::<Result<_, _>>().unwrap();
        assert_eq!(keys, expected, "{name} {start:?} to {end:?}");
        let mut scan = view.scan(range);
        let mut both = Vec::new();
        let mut behind = Vec::new();
        loop {
            let (side, from_back) = if rng.random() {
                (&mut both, false)
            } else {
                (&mut behind, true)
            };
            let next = if from_back {
                scan.next_back()
            } else {
                scan.next()
            };
            let Some(next) = next else { break };
            side.push(next.unwrap().0);
        }
        behind.reverse();
        both.extend(behind);
        assert_eq!(both, expected, "{name} from both ends");
        let wanted: Vec<Vec<u8>> = (0..7).map(|_| key(rng)).collect();
        let values = view.multi_get(&wanted).unwrap();
        for (key, value) in wanted.iter().zip(values) {
            let expected = map.get(key).map(Vec::as_slice);
            assert_eq!(value.as_deref(), expected, "{name} {key:?}");
            assert_eq!(view.get(key).unwrap().as_deref(), expected);
        }
        let prefix: Map = view
            .scan_prefix(b"key 0")
            .collect::<Result<_, _>>()
            .unwrap();
        let expected = map.iter().filter(|(key, _)| key.starts_with(b"key 0"));
        assert!(prefix.iter().eq(expected), "{name} prefix");
    }
}

fn run(seed: u64, rng: &mut StdRng, steps: usize) {
    eprintln!("SEED={seed}");
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("store");
    let (options, keyspace) = any_options(rng);
    let store = options.open(&path).unwrap();
    store.create_keyspace(OTHER, &keyspace).unwrap();
    let mut model = Model {
        maps: Default::default(),
        store,
        snapshots: Vec::new(),
    };
    for _ in 0..steps {
        if rng.random_range(0..60) == 0 {
            for (snapshot, maps) in model.snapshots.drain(..) {
                check_snapshot(&snapshot, &maps, rng);
            }
            if rng.random() {
                model.store.close().unwrap();
            }
            let maps = model.maps;
            drop(model.store);
            let store = any_options(rng).0.open(&path).unwrap();
            check(&store, &maps, rng);
            let verified = store.verify().unwrap();
            assert!(verified.is_whole(), "{verified:?}");
            model = Model {
                maps,
                store,
                snapshots: Vec::new(),
            };
        }
        model.step(rng);
    }
    for (snapshot, maps) in &model.snapshots {
        check_snapshot(snapshot, maps, rng);
    }
    check(&model.store, &model.maps, rng);
}

#[test]
fn a_store_answers_as_a_map_does() {
    let (seed, mut rng) = seeded(1);
    for _ in 0..6 {
        run(seed, &mut rng, 900);
    }
}

#[test]
fn the_same_operations_give_the_same_answers_under_any_options() {
    let (seed, mut options) = seeded(7);
    eprintln!("SEED={seed}");
    for _ in 0..20 {
        let temp = tempfile::tempdir().unwrap();
        let (options, keyspace) = any_options(&mut options);
        let store = options.open(temp.path().join("store")).unwrap();
        store.create_keyspace(OTHER, &keyspace).unwrap();
        let mut model = Model {
            maps: Default::default(),
            store,
            snapshots: Vec::new(),
        };
        let mut rng = StdRng::seed_from_u64(seed);
        for _ in 0..250 {
            model.step(&mut rng);
        }
        check(&model.store, &model.maps, &mut rng);
    }
}
