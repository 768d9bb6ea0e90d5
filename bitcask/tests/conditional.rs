//! Changes that depend on what a key has.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "test"
)]

#[allow(dead_code, reason = "each test file uses a part")]
mod support;

use std::thread;

use bitcask::{Error, MAX_KEY_SIZE, Options};
use support::{fast_dir, options};

#[test]
fn d33_an_update_is_made_of_the_newest_value() {
    let dir = fast_dir();
    let store = options().open(dir.path()).unwrap();
    store.put(b"a", b"1").unwrap();
    let mut seen = Vec::new();
    let old = store.update(b"a", |old| {
        seen.push(old.map(<[u8]>::to_vec));
        // Others are faster, the first two times.
        match seen.len() {
            1 => store.put(b"a", b"22").unwrap(),
            2 => store.delete(b"a").unwrap(),
            _ => {}
        }
        Some([b"from ", old.unwrap_or(b"nothing")].concat())
    });
    assert_eq!(old.unwrap(), None);
    assert_eq!(seen, [Some(b"1".to_vec()), Some(b"22".to_vec()), None]);
    assert_eq!(store.get(b"a").unwrap().unwrap(), b"from nothing");
}

#[test]
fn an_update_that_changes_nothing_writes_nothing() {
    let dir = fast_dir();
    let store = options().open(dir.path()).unwrap();
    store.put(b"a", b"1").unwrap();
    let before = store.stats().groups;
    let same = |old: Option<&[u8]>| old.map(<[u8]>::to_vec);
    assert_eq!(store.update(b"a", same).unwrap().unwrap(), b"1");
    assert_eq!(store.update(b"b", same).unwrap(), None);
    assert_eq!(store.stats().groups, before);
    // A value of no bytes is not an absent one.
    let old = store.update(b"b", |_| Some(b"")).unwrap();
    assert_eq!(old, None);
    assert_eq!(store.get(b"b").unwrap().unwrap(), b"");
    let old = store.update(b"b", |_| None::<Vec<u8>>).unwrap();
    assert_eq!(old.unwrap(), b"");
    assert!(!store.contains(b"b").unwrap());
}

#[test]
fn an_update_that_is_refused_is_not_called_again() {
    let dir = fast_dir();
    let store = options().open(dir.path()).unwrap();
    let key = vec![0; MAX_KEY_SIZE + 1];
    let mut calls = 0;
    let refused = store.update(&key, |_| {
        calls += 1;
        Some(b"1")
    });
    assert!(matches!(refused, Err(Error::TooLarge { what: "key", .. })));
    assert_eq!(calls, 1);
}

#[test]
fn updates_of_several_threads_are_all_counted() {
    const THREADS: u64 = 4;
    const EACH: u64 = 500;
    let count = |old: Option<&[u8]>| {
        let old = old.map_or(0, |old| u64::from_le_bytes(old.try_into().unwrap()));
        Some((old + 1).to_le_bytes())
    };
    let dir = fast_dir();
    let store = Options::new().open(dir.path()).unwrap();
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| (0..EACH).for_each(|_| drop(store.update(b"n", count).unwrap())));
        }
    });
    let total = store.get(b"n").unwrap().unwrap();
    assert_eq!(total, (THREADS * EACH).to_le_bytes());
}

#[test]
fn a_comparison_answers_what_was_there() {
    let dir = fast_dir();
    let store = options().open(dir.path()).unwrap();
    let cas = |expected: Option<&[u8]>, new| store.compare_and_set(b"a", expected, new).unwrap();
    assert_eq!(cas(Some(b"1"), Some(b"2")), Err(None));
    assert_eq!(cas(None, Some(b"1")), Ok(()));
    assert_eq!(cas(None, Some(b"2")).unwrap_err().unwrap(), b"1");
    assert_eq!(cas(Some(b"2"), None).unwrap_err().unwrap(), b"1");
    assert_eq!(cas(Some(b"1"), None), Ok(()));
    assert_eq!(cas(Some(b"1"), None), Err(None));
}
