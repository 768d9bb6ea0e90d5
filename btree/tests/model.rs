//! Random transactions beside a model: a sorted map for each table.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

mod support;

use std::collections::BTreeMap;
use std::ops::Bound;

use btree::{Background, Btree, Options, ReadTxn, SyncMode, WriteTxn};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;
type Tables = BTreeMap<String, Map>;

const NAMES: [&str; 4] = ["a", "b", "c", "a table with a longer name"];

fn options(page_size: u32, cache_pages: u64) -> Options {
    Options::new()
        .sync(SyncMode::Manual)
        .page_size(page_size)
        .cache_size(cache_pages * u64::from(page_size))
        .large_transaction(8 << 10)
        .checkpoint_after(16 << 10)
        .log_segment_size(16 << 10)
        .growth(u64::from(page_size) * 8)
        .reserve(u64::from(page_size) * 16)
        .background(Background::Inline)
}

struct Random {
    rng: StdRng,
    max_key: usize,
    /// Keys begin with one of these.
    prefixes: Vec<Vec<u8>>,
}

impl Random {
    fn key(&mut self) -> Vec<u8> {
        let mut key = self.prefixes.choose(&mut self.rng).unwrap().clone();
        let number: u32 = self.rng.random_range(0..400);
        match self.rng.random_range(0..10) {
            0 => {}
            1 => key.extend(vec![7; self.rng.random_range(0..self.max_key - key.len())]),
            _ => key.extend(number.to_string().bytes()),
        }
        key
    }

    fn value(&mut self) -> Vec<u8> {
        let len = match self.rng.random_range(0..20) {
            0 => self.rng.random_range(0..5000),
            1..4 => 0,
            _ => self.rng.random_range(0..60),
        };
        let byte = self.rng.random();
        vec![byte; len]
    }

    fn range(&mut self) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
        let (low, high) = (self.key(), self.key());
        let mut bound = |key: Vec<u8>| match self.rng.random_range(0..5) {
            0 => Bound::Unbounded,
            1 | 2 => Bound::Included(key),
            _ => Bound::Excluded(key),
        };
        (bound(low), bound(high))
    }
}

fn borrowed(range: &(Bound<Vec<u8>>, Bound<Vec<u8>>)) -> (Bound<&[u8]>, Bound<&[u8]>) {
    let (low, high) = range;
    (
        low.as_ref().map(Vec::as_slice),
        high.as_ref().map(Vec::as_slice),
    )
}

/// What the model has in a range; nothing if it is empty.
fn in_range(map: &Map, range: &(Bound<Vec<u8>>, Bound<Vec<u8>>)) -> Vec<(Vec<u8>, Vec<u8>)> {
    let (low, high) = borrowed(range);
    let above = |key: &[u8]| match low {
        Bound::Unbounded => true,
        Bound::Included(low) => key >= low,
        Bound::Excluded(low) => key > low,
    };
    let below = |key: &[u8]| match high {
        Bound::Unbounded => true,
        Bound::Included(high) => key <= high,
        Bound::Excluded(high) => key < high,
    };
    map.iter()
        .filter(|(key, _)| above(key) && below(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn lent(entry: btree::Result<Option<(&[u8], &[u8])>>) -> Option<(Vec<u8>, Vec<u8>)> {
    let (key, value) = entry.unwrap()?;
    Some((key.to_vec(), value.to_vec()))
}

fn check_reader(read: &ReadTxn, model: &Tables, random: &mut Random) {
    let names: Vec<_> = model.keys().cloned().collect();
    assert_eq!(read.tables().unwrap(), names);
    for (name, map) in model {
        let table = read.table(name).unwrap();
        assert_eq!(table.len(), map.len() as u64, "{name}");
        let mut scanned = table.range(..);
        for (key, value) in map {
            let (found, read) = scanned.advance().unwrap().unwrap();
            assert_eq!((found, read), (&key[..], &value[..]));
        }
        assert_eq!(scanned.advance().unwrap(), None);
        let owned = |(key, value): (Vec<u8>, btree::Value)| (key, value.to_vec());
        let backwards = table.range(..).rev().map(|entry| owned(entry.unwrap()));
        let expected = map.iter().rev().map(|(k, v)| (k.clone(), v.clone()));
        assert!(backwards.eq(expected), "{name} backwards");
        let range = random.range();
        let expected = in_range(map, &range);
        let mut both = table.range(borrowed(&range));
        let (mut front, mut back) = (Vec::new(), Vec::new());
        loop {
            let (side, lends) = (random.rng.random_bool(0.5), random.rng.random_bool(0.5));
            let next = match (side, lends) {
                (true, true) => lent(both.advance()),
                (false, true) => lent(both.advance_back()),
                (true, false) => both.next().map(|entry| owned(entry.unwrap())),
                (false, false) => both.next_back().map(|entry| owned(entry.unwrap())),
            };
            match next {
                Some(entry) if side => front.push(entry),
                Some(entry) => back.push(entry),
                None => break,
            }
        }
        front.extend(back.into_iter().rev());
        assert_eq!(front, expected, "{name} from both ends of {range:?}");
        let asked = random.rng.random_range(0..40);
        let keys: Vec<_> = (0..asked).map(|_| random.key()).collect();
        let keys: Vec<_> = keys.iter().map(Vec::as_slice).collect();
        let values = table.get_many(&keys).unwrap();
        for (key, value) in keys.iter().zip(values) {
            let expected = map.get(*key);
            assert_eq!(value.as_deref(), expected.map(Vec::as_slice));
            assert_eq!(table.get(key).unwrap().as_deref(), value.as_deref());
        }
        assert_eq!(
            table.first().unwrap().map(owned),
            map.first_key_value().map(|(k, v)| (k.clone(), v.clone()))
        );
        assert_eq!(
            table.last().unwrap().map(owned),
            map.last_key_value().map(|(k, v)| (k.clone(), v.clone()))
        );
    }
}

fn edit(write: &mut WriteTxn<'_>, model: &mut Tables, random: &mut Random) {
    let name = *NAMES.choose(&mut random.rng).unwrap();
    match random.rng.random_range(0..40) {
        0 => {
            let other = *NAMES.choose(&mut random.rng).unwrap();
            let renamed = write.rename_table(name, other);
            if model.contains_key(name) && !model.contains_key(other) {
                renamed.unwrap();
                let map = model.remove(name).unwrap();
                model.insert(other.to_owned(), map);
            } else {
                renamed.unwrap_err();
            }
            return;
        }
        1 => {
            let was_there = write.drop_table(name).unwrap();
            assert_eq!(was_there, model.remove(name).is_some());
            return;
        }
        _ => {}
    }
    let mut table = write.create_table(name).unwrap();
    let map = model.entry(name.to_owned()).or_default();
    assert_eq!(table.len(), map.len() as u64);
    for _ in 0..random.rng.random_range(1..12) {
        let key = random.key();
        match random.rng.random_range(0..12) {
            0..6 => {
                let value = random.value();
                table.put(&key, &value).unwrap();
                map.insert(key, value);
            }
            6..9 => {
                let near = map.range(key.clone()..).next().map(|(key, _)| key.clone());
                let key = near.unwrap_or(key);
                table.delete(&key).unwrap();
                map.remove(&key);
            }
            9 => {
                let range = random.range();
                let expected = in_range(map, &range);
                let removed = table.delete_range(borrowed(&range)).unwrap();
                assert_eq!(removed, expected.len() as u64, "{range:?}");
                for (key, _) in expected {
                    map.remove(&key);
                }
            }
            10 => {
                assert_eq!(table.pop_first().unwrap(), map.pop_first());
                assert_eq!(table.pop_last().unwrap(), map.pop_last());
            }
            _ => {
                let found = table.get(&key).unwrap();
                assert_eq!(found.as_deref(), map.get(&key).map(Vec::as_slice));
            }
        }
    }
}

fn transaction(store: &Btree, model: &mut Tables, random: &mut Random) {
    let mut write = store.begin_write().unwrap();
    let mut changed = model.clone();
    let mut savepoints = Vec::new();
    for _ in 0..random.rng.random_range(0..8) {
        edit(&mut write, &mut changed, random);
        match random.rng.random_range(0..6) {
            0 => savepoints.push((write.savepoint().unwrap(), changed.clone())),
            1 if !savepoints.is_empty() => {
                let at = random.rng.random_range(0..savepoints.len());
                savepoints.truncate(at + 1);
                let (savepoint, state) = savepoints.last().unwrap();
                write.rollback_to(savepoint).unwrap();
                changed = state.clone();
            }
            _ => {}
        }
    }
    if random.rng.random_bool(0.8) {
        write.commit().unwrap();
        *model = changed;
    } else {
        write.abort();
    }
}

fn run(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let page_size = [512, 512, 1024, 4096, 8192][rng.random_range(0..5)];
    let max_key = btree::max_key_size(page_size);
    let prefixes =
        (0..rng.random_range(1..5)).map(|n| vec![b'p' + n; rng.random_range(0..max_key - 8)]);
    let prefixes = prefixes.collect();
    let mut random = Random {
        rng,
        max_key,
        prefixes,
    };
    let dir = support::fast_dir();
    let path = dir.path().join("store");
    let cache_pages = random.rng.random_range(64..200);
    let open = || options(page_size, cache_pages).open(&path).unwrap();
    let mut store = open();
    let mut model = Tables::new();
    let mut readers: Vec<(ReadTxn, Tables)> = Vec::new();
    for _ in 0..random.rng.random_range(20..80) {
        transaction(&store, &mut model, &mut random);
        match random.rng.random_range(0..12) {
            0 => readers.push((store.begin_read(), model.clone())),
            1 => {
                if let Some((reader, state)) = readers.pop() {
                    check_reader(&reader, &state, &mut random);
                }
            }
            2 => store.checkpoint().unwrap(),
            3 | 4 => drop(store.run_background().unwrap()),
            5 => drop(store.verify().unwrap()),
            7 => {
                let pages = random.rng.random_range(0..100);
                store.shrink(pages * u64::from(page_size)).unwrap();
                store.verify().unwrap();
            }
            6 => {
                readers.clear();
                if random.rng.random_bool(0.5) {
                    store.close().unwrap();
                } else {
                    drop(store);
                }
                let read = options(page_size, cache_pages).open_read_only(&path);
                check_reader(&read.unwrap(), &model, &mut random);
                store = open();
            }
            _ => {}
        }
        check_reader(&store.begin_read(), &model, &mut random);
    }
    for (reader, state) in &readers {
        check_reader(reader, state, &mut random);
    }
    readers.clear();
    store.verify().unwrap();
    drop(store);
    let store = open();
    check_reader(&store.begin_read(), &model, &mut random);
    store.verify().unwrap();
}

#[test]
fn a_store_is_a_sorted_map_for_each_table() {
    let first = support::seed();
    for seed in first..first + 60 {
        support::with_seed(seed, || run(seed));
    }
}
