//! Random tables of random options, mirrored in a `BTreeMap`: every way of reading gives what it gives.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "test"
)]

#[allow(dead_code, reason = "each test file uses a part")]
mod support;

use std::cmp::Ordering;
use std::ops::Bound;

use rand::RngExt;
use rand::rngs::StdRng;
use sstable::{Compression, Cursor, Options, RangeTombstone, Table, compare};
use support::{Model, assert_whole, contains, fast_dir, holds, key, open, owned, rng, seed, value};

const COMPRESSIONS: &[Compression] = &[
    Compression::None,
    Compression::Lz4,
    #[cfg(feature = "zstd")]
    Compression::Zstd,
];

fn options(rng: &mut StdRng) -> Options {
    Options::new()
        .block_size([64, 100, 300, 1000, 4096, 1 << 20][rng.random_range(0..6)])
        .restart_interval([1, 2, 3, 8, 16, 100][rng.random_range(0..6)])
        .hash_index(rng.random())
        .filter_bits([0, 1, 5, 10, 32][rng.random_range(0..5)])
        .filter_prefix(rng.random_range(0..5))
        .partition_keys([1, 7, 50, 65_536][rng.random_range(0..4)])
        .compression(COMPRESSIONS[rng.random_range(0..COMPRESSIONS.len())])
        .property("made by", "model.rs")
}

fn model(rng: &mut StdRng) -> Model {
    let mut model = Model::default();
    let versions = [1, 3, 1000][rng.random_range(0..3)];
    let scale = [0, 1, u64::MAX / 1000][rng.random_range(0..3)];
    for _ in 0..[0, 1, 30, 300, 1000][rng.random_range(0..5)] {
        let (key, value) = (key(rng), value(rng));
        let version = rng.random_range(0..versions) * scale;
        if rng.random_ratio(1, 5) {
            model.delete(&key, version);
        } else {
            model.put(&key, version, &value);
        }
    }
    model.range_tombstones = range_tombstones(rng, scale);
    if model.entries.is_empty() && model.range_tombstones.is_empty() {
        model.put(b"", 0, b"");
    }
    model
}

/// Fragments in order, some of the same range.
fn range_tombstones(rng: &mut StdRng, scale: u64) -> Vec<RangeTombstone> {
    let mut bounds: Vec<_> = (0..[0, 0, 4, 20][rng.random_range(0..4)])
        .map(|_| key(rng))
        .collect();
    bounds.sort();
    bounds.dedup();
    let mut fragments = Vec::new();
    for pair in bounds.windows(2) {
        let mut versions: Vec<u64> = (0..rng.random_range(0..3))
            .map(|_| rng.random_range(0..1000) * scale)
            .collect();
        versions.sort_unstable();
        versions.dedup();
        for &version in versions.iter().rev() {
            fragments.push(RangeTombstone {
                start: pair[0].clone(),
                end: pair[1].clone(),
                version,
            });
        }
    }
    fragments
}

fn any_key(rng: &mut StdRng, model: &Model) -> Vec<u8> {
    let nth = rng.random_range(0..=model.entries.len());
    match model.entries.keys().nth(nth) {
        Some((key, _)) if rng.random_bool(0.7) => {
            let mut key = key.clone();
            match rng.random_range(0..4) {
                0 => key.push(0),
                1 => drop(key.pop()),
                _ => {}
            }
            key
        }
        _ => key(rng),
    }
}

fn any_version(rng: &mut StdRng, model: &Model) -> u64 {
    let nth = rng.random_range(0..=model.entries.len());
    let version = model.entries.keys().nth(nth).map_or(0, |key| key.1.0);
    match rng.random_range(0..5) {
        0 => u64::MAX,
        1 => version.saturating_add(1),
        2 => version.saturating_sub(1),
        _ => version,
    }
}

/// Seeks, then goes some steps to either side.
fn check_cursor(rng: &mut StdRng, table: &Table, model: &Model) {
    let entries = model.owned();
    let mut cursor = table.cursor();
    for _ in 0..40 {
        let (key, version) = (any_key(rng, model), any_version(rng, model));
        cursor.seek(&key, version).unwrap();
        let mut at = entries
            .iter()
            .take_while(|e| compare((&e.0, e.1), (&key, version)) == Ordering::Less)
            .count();
        assert_eq!(owned(cursor.entry()).as_ref(), entries.get(at));
        for _ in 0..rng.random_range(0..8) {
            if rng.random() && at < entries.len() {
                cursor.advance().unwrap();
                at += 1;
            } else if at > 0 {
                cursor.retreat().unwrap();
                at -= 1;
            }
            assert_eq!(owned(cursor.entry()).as_ref(), entries.get(at));
            let value = entries.get(at).map(|entry| &entry.3[..]);
            assert_eq!(cursor.value().as_deref(), value);
        }
    }
}

fn check_points(rng: &mut StdRng, table: &Table, model: &Model) {
    for _ in 0..100 {
        let (key, version) = (any_key(rng, model), any_version(rng, model));
        let found = table.find(&key, version).unwrap();
        let found = found.as_ref().map(|f| (f.version, f.kind, &f.value[..]));
        assert_eq!(found, model.find(&key, version), "{key:?} {version}");
        let got = table.get_at(&key, version).unwrap();
        assert_eq!(
            got.as_deref(),
            model.get(&key, version),
            "{key:?} {version}"
        );
    }
}

fn check_many(rng: &mut StdRng, table: &Table, model: &Model) {
    let version = any_version(rng, model);
    let keys: Vec<_> = (0..150).map(|_| any_key(rng, model)).collect();
    let lent: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
    let found = table.find_many(&lent, version).unwrap();
    assert_eq!(found.len(), keys.len());
    for (key, found) in keys.iter().zip(&found) {
        let found = found.as_ref().map(|f| (f.version, f.kind, &f.value[..]));
        assert_eq!(found, model.find(key, version), "{key:?} {version}");
    }
}

fn check_scans(rng: &mut StdRng, table: &Table, model: &Model) {
    for _ in 0..10 {
        let version = any_version(rng, model);
        let mut bound = || {
            let key = any_key(rng, model);
            [
                Bound::Unbounded,
                Bound::Included(key.clone()),
                Bound::Excluded(key),
            ][rng.random_range(0..3)]
            .clone()
        };
        let bounds = (bound(), bound());
        let mut expected = model.scan(version);
        expected.retain(|(key, _)| contains(&bounds, key));
        let range = (
            bounds.0.as_ref().map(|key| &key[..]),
            bounds.1.as_ref().map(|key| &key[..]),
        );
        check_both_ends(rng, table.scan_at(range, version), expected);
        let prefix = any_key(rng, model);
        let mut expected = model.scan(version);
        expected.retain(|(key, _)| key.starts_with(&prefix));
        check_both_ends(rng, table.scan_prefix(&prefix, version).unwrap(), expected);
    }
}

/// Takes from both ends by turns, until they meet.
fn check_both_ends(rng: &mut StdRng, mut scan: sstable::Scan, expected: Vec<(Vec<u8>, Vec<u8>)>) {
    let mut expected = expected.into_iter();
    let backward = [0.0, 0.5, 1.0][rng.random_range(0..3)];
    loop {
        let (found, expected) = if rng.random_bool(backward) {
            (scan.next_back(), expected.next_back())
        } else {
            (scan.next(), expected.next())
        };
        let found = found.map(|pair| pair.map(|(key, value)| (key, value.to_vec())).unwrap());
        assert_eq!(found, expected);
        if found.is_none() {
            break;
        }
    }
    assert!(scan.next().is_none() && scan.next_back().is_none());
}

#[test]
fn a_table_answers_as_a_map_does() {
    let seed = seed();
    for round in 0..250 {
        let rng = &mut rng(seed.wrapping_add(round));
        eprintln!("round {round}: SEED={}", seed.wrapping_add(round));
        let dir = fast_dir();
        let (options, model) = (options(rng), model(rng));
        let info = model.build_in(dir.path(), &options);
        let table = open(dir.path()).unwrap();
        holds(&table, &model).unwrap();
        check_points(rng, &table, &model);
        check_many(rng, &table, &model);
        check_cursor(rng, &table, &model);
        check_scans(rng, &table, &model);
        assert_whole(&table, &info);
        check_info(&table, &model, &info);
    }
}

fn check_info(table: &Table, model: &Model, info: &sstable::TableInfo) {
    let properties = table.properties();
    assert_eq!(properties.user(b"made by"), Some(&b"model.rs"[..]));
    assert_eq!(
        (&properties.first, &properties.last),
        (&info.first, &info.last)
    );
    let bounds = (Bound::Included(info.first.clone()), info.last.clone());
    for (key, ..) in model.owned() {
        assert!(contains(&bounds, &key));
    }
    for tombstone in &model.range_tombstones {
        assert!(contains(&bounds, &tombstone.start));
        if let Bound::Included(last) = &info.last {
            assert!(tombstone.end <= *last);
        }
    }
    assert_eq!(info.entries, model.entries.len() as u64);
    assert_eq!(info.file_id, table.file_id());
    assert_eq!(info.file_bytes, table.file_bytes());
    assert_eq!(info.range_tombstones, model.range_tombstones.len() as u64);
}
