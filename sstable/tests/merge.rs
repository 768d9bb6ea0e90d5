//! Merging sorted runs, and what a reader sees of them, against the plain definition of both.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "test"
)]

#[path = "merging/runs.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod runs;
#[allow(dead_code, reason = "each test file uses a part")]
mod support;

use std::collections::BTreeMap;
use std::ops::Bound;

use rand::RngExt;
use rand::rngs::StdRng;
use runs::{Key, Run, RunCursor, Written, backward, forward, key, runs, view, walk};
use sstable::{Cursor, Merge, Visible};
use support::{contains, rng, seed};

/// All entries of `runs` in their order; of equal ones that of the first run.
fn merged(runs: &[Run]) -> Vec<(Key, u64, Written)> {
    // The newest is inserted last.
    let entries = runs.iter().rev().flat_map(|run| run.entries.clone());
    Run::new(entries).entries
}

fn put(key: &str, version: u64, value: &str) -> (Key, u64, Written) {
    (key.into(), version, Some(value.into()))
}

#[test]
fn of_equal_entries_that_of_the_newest_source_is_there() {
    let newest = Run::new([put("a", 1, "new"), put("b", 0, "new")]);
    let middle = Run::new([put("a", 1, "old"), put("a", 0, "other version")]);
    let oldest = Run::new([put("a", 1, "oldest"), put("b", 0, "old")]);
    let cursors = [&newest, &middle, &oldest].map(Run::cursor);
    let mut merge = Merge::new(cursors.to_vec());
    let expected = [
        put("a", 1, "new"),
        put("a", 0, "other version"),
        put("b", 0, "new"),
    ];
    assert_eq!(forward(&mut merge), expected);
    let mut turned = backward(&mut merge);
    turned.reverse();
    assert_eq!(turned, expected);
}

#[test]
fn a_merge_of_nothing_is_empty() {
    let mut merge = Merge::<RunCursor>::new(Vec::new());
    assert_eq!(forward(&mut merge), []);
    merge.retreat().unwrap();
    assert_eq!(merge.entry(), None);
    assert_eq!(merge.source(), None);
}

#[test]
fn any_merge_is_the_sorted_whole_in_both_directions() {
    let mut rng = rng(seed());
    for _ in 0..300 {
        let count = rng.random_range(0..10);
        let runs = runs(&mut rng, count, |_| 0..4);
        let expected = merged(&runs);
        let mut merge = Merge::new(runs.iter().map(Run::cursor).collect());
        assert_eq!(forward(&mut merge), expected);
        walk(&mut rng, &mut merge, &expected, 100);
    }
}

fn bound(rng: &mut StdRng) -> Bound<Key> {
    match rng.random_range(0..3) {
        0 => Bound::Unbounded,
        1 => Bound::Included(key(rng)),
        _ => Bound::Excluded(key(rng)),
    }
}

#[test]
fn a_reader_sees_the_newest_of_each_key_unless_it_is_deleted() {
    let mut rng = rng(seed());
    for _ in 0..500 {
        let count = rng.random_range(1..6);
        let most = [1, 4, 30][rng.random_range(0..3)];
        let runs = runs(&mut rng, count, |_| 0..most);
        for reader in [0, 1, 3, 17, u64::MAX] {
            let range = (bound(&mut rng), bound(&mut rng));
            let seen = view(&runs, reader).into_iter();
            let expected: Vec<_> = seen
                .filter(|(key, _)| contains(&range, key))
                .map(|(key, (version, value))| (key, version, Some(value)))
                .collect();
            let sources = runs.iter().map(Run::source).collect();
            let mut visible = Visible::new(sources, reader).range(range);
            assert_eq!(forward(&mut visible), expected, "a reader at {reader}");
            walk(&mut rng, &mut visible, &expected, 60);
        }
    }
}

#[test]
fn a_prefix_ends_where_its_keys_end() {
    let run = Run::new(["", "a", "a\u{7f}", "ab", "b"].map(|key| put(key, 0, "")));
    let mut high = run.clone();
    high.entries.push((vec![0xff, 0xff], 0, Some(Vec::new())));
    for (prefix, expected) in [(&b"a"[..], 3), (b"", 6), (b"\xff", 1), (b"\xff\xff\xff", 0)] {
        let visible = Visible::new(vec![high.source()], 0).prefix(prefix);
        let found: BTreeMap<_, _> = visible.map(Result::unwrap).collect();
        assert!(found.keys().all(|key| key.starts_with(prefix)));
        assert_eq!(found.len(), expected, "prefix {prefix:?}");
    }
}

/// A key that is written again and again costs a reader a seek, not a step for each of its versions.
#[test]
fn many_versions_of_a_key_are_passed_by_a_seek() {
    let versions = (0..10_000).map(|version| put("hot", version, "x"));
    let run = Run::new(versions.chain([put("a", 0, "x"), put("z", 0, "x")]));
    for reader in [5, 5000, u64::MAX] {
        let source = run.source();
        let steps = source.cursor.steps.clone();
        let mut visible = Visible::new(vec![source], reader);
        assert_eq!(forward(&mut visible).len(), 3);
        assert!(steps.get() < 50, "{} steps forward", steps.get());
    }
}
