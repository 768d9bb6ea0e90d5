use std::cmp::Reverse;
use std::sync::Arc;
use std::thread;

use crossbeam_skiplist::SkipMap;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sstable::{Cursor, Kind};

use super::{Memtable, MemtableCursor};

type Oracle = SkipMap<(Vec<u8>, Reverse<u64>), (Kind, Vec<u8>)>;

/// Keys with common beginnings, shorter and longer than a head.
fn key(rng: &mut StdRng) -> Vec<u8> {
    let n = rng.random_range(0..500_u32);
    match n % 3 {
        0 => format!("{n}").into_bytes(),
        1 => format!("a long beginning {n:05}").into_bytes(),
        _ => vec![0; n as usize % 12],
    }
}

fn filled(threads: u64, entries: u64) -> (Arc<Memtable>, Oracle) {
    let (table, oracle) = (Arc::new(Memtable::default()), Oracle::new());
    thread::scope(|scope| {
        for thread in 0..threads {
            let (table, oracle) = (&table, &oracle);
            scope.spawn(move || {
                let mut rng = StdRng::seed_from_u64(thread);
                for n in 0..entries {
                    let (key, version) = (key(&mut rng), n * threads + thread + 1);
                    let kind = if n % 5 == 0 { Kind::Delete } else { Kind::Put };
                    let value = if kind == Kind::Put {
                        vec![7; 3]
                    } else {
                        Vec::new()
                    };
                    table.insert(&[&key[..], &value].concat(), key.len(), version, kind);
                    oracle.insert((key, Reverse(version)), (kind, value));
                }
            });
        }
    });
    (table, oracle)
}

#[test]
fn entries_of_many_threads_are_found_and_in_order() {
    let (table, oracle) = filled(4, 2000);
    assert_eq!(table.entries(), oracle.len());
    assert_eq!(table.first_version(), Some(1));
    let mut cursor = MemtableCursor::new(&table);
    cursor.seek_to_first().unwrap();
    for expected in &oracle {
        let entry = cursor.entry().unwrap();
        let ((key, Reverse(version)), (kind, value)) = (expected.key(), expected.value());
        assert_eq!((entry.key, entry.version), (&key[..], *version));
        assert_eq!((entry.kind, entry.value), (*kind, &value[..]));
        cursor.advance().unwrap();
    }
    assert_eq!(cursor.entry(), None);
    for expected in oracle.iter().rev() {
        cursor.retreat().unwrap();
        let entry = cursor.entry().unwrap();
        assert_eq!(
            (entry.key, Reverse(entry.version)),
            (&expected.key().0[..], expected.key().1)
        );
    }
    cursor.retreat().unwrap();
    assert_eq!(cursor.entry(), None);
}

#[test]
fn the_newest_entry_up_to_a_version_is_found() {
    let (table, oracle) = filled(1, 3000);
    let mut rng = StdRng::seed_from_u64(99);
    for _ in 0..3000 {
        let (key, version) = (key(&mut rng), rng.random_range(0..3100));
        let place = (key.clone(), Reverse(version));
        let expected = oracle.range(place..).next().filter(|e| e.key().0 == key);
        let expected = expected.map(|e| {
            (
                e.key().1.0,
                (e.value().0 == Kind::Put).then(|| e.value().1.clone()),
            )
        });
        let found = table.find(&key, version);
        let found = found.map(|(version, value)| (version, value.map(|v| v.to_vec())));
        assert_eq!(found, expected, "{key:?} at {version}");
        let mut cursor = MemtableCursor::new(&table);
        cursor.seek(&key, version).unwrap();
        let next = oracle.range((key, Reverse(version))..).next();
        let next = next.map(|e| (e.key().0.clone(), e.key().1.0));
        assert_eq!(cursor.entry().map(|e| (e.key.to_vec(), e.version)), next);
    }
}

#[test]
fn many_keys_are_found_as_each_of_them_is() {
    let (table, _) = filled(1, 3000);
    let mut rng = StdRng::seed_from_u64(7);
    for version in (0..3100).step_by(50) {
        let keys: Vec<_> = (0..150).map(|_| key(&mut rng)).collect();
        let lent: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
        let one_by_one = lent.iter().map(|key| table.find(key, version));
        let one_by_one: Vec<_> = one_by_one.collect();
        assert_eq!(table.find_many(&lent, version), one_by_one, "at {version}");
    }
}

#[test]
fn a_cursor_goes_on_while_entries_are_inserted() {
    let table = Arc::new(Memtable::default());
    for n in 0..1000_u64 {
        table.insert(format!("{:08}", n * 2).as_bytes(), 8, n + 1, Kind::Put);
    }
    let mut cursor = MemtableCursor::new(&table);
    cursor.seek_to_first().unwrap();
    let mut seen = Vec::new();
    while let Some(entry) = cursor.entry() {
        if entry.version <= 1000 {
            seen.push(entry.version);
            let n = entry.version - 1;
            table.insert(
                format!("{:08}", n * 2 + 1).as_bytes(),
                8,
                1001 + n,
                Kind::Put,
            );
        }
        cursor.advance().unwrap();
    }
    assert!(seen.iter().copied().eq(1..=1000));
}

#[test]
fn range_tombstones_count_from_their_version_on() {
    let table = Memtable::default();
    for n in 0..40_u64 {
        let (start, end) = (format!("{n:02}"), format!("{:02}", n + 5));
        table.insert_range(start.as_bytes(), end.as_bytes(), n + 1);
        assert_eq!(table.covering(end.as_bytes(), u64::MAX), None);
        assert_eq!(table.covering(start.as_bytes(), u64::MAX), Some(n + 1));
        assert_eq!(table.covering(start.as_bytes(), n), (n > 0).then_some(n));
    }
    assert_eq!(table.ranges(), 40);
    let fragments = table.range_tombstones();
    assert_eq!(sstable::covering(&fragments, b"20", 19), Some(19));
}
