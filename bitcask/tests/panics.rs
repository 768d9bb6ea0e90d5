//! A panic is planted under each lock, at each step: nobody waits for ever, nothing that was acknowledged is
//! lost, the handle refuses from then on, and opening again finds the store whole.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

#[allow(dead_code, clippy::print_stderr, reason = "each test file uses a part")]
mod support;

use std::panic::{self, AssertUnwindSafe};

use bitcask::{Batch, Bitcask, Error, Result, SyncMode};
use durable_io::testing::{Planted, fast_dir, plant};
use support::{contents, options};

type Work = fn(&Bitcask) -> Result<()>;

/// Everything that takes locks and changes something.
const WORKS: [(&str, Work); 10] = [
    ("put", |store| store.put(b"new", &[7; 300])),
    ("write", |store| {
        store.write(Batch::new().put(b"new", b"1").delete(b"a"))
    }),
    ("compare and set", |store| {
        store
            .compare_and_set(b"a", Some(&[1; 100]), Some(b"2"))
            .map(drop)
    }),
    ("update", |store| {
        store.update(b"a", |_| Some(b"2")).map(drop)
    }),
    ("close", Bitcask::close),
    ("sync", Bitcask::sync),
    ("rotate", Bitcask::rotate),
    ("merge", |store| store.merge().map(drop)),
    ("background", |store| store.run_background().map(drop)),
    ("snapshot", |store| {
        drop(store.snapshot().unwrap());
        Ok(())
    }),
];

/// A store in which each of them has something to do.
fn filled(path: &std::path::Path) -> Bitcask {
    let store = options()
        .sync(SyncMode::Manual)
        .auto_merge(true)
        .open(path)
        .unwrap();
    for _ in 0..2 {
        for key in [b"a", b"b", b"c"] {
            store.put(key, &[1; 100]).unwrap();
        }
        store.rotate().unwrap();
    }
    store.put(b"c", b"unsynced").unwrap();
    store
}

#[test]
fn a_panic_under_any_lock_poisons_and_loses_nothing() {
    for (name, work) in WORKS {
        let mut planted = 0;
        for nth in 0.. {
            let dir = fast_dir();
            let store = filled(dir.path());
            let before = contents(&store);
            let outcome = plant(nth, || work(&store));
            let is_over = match outcome {
                Planted::Ended(result) => {
                    result.unwrap();
                    true
                }
                Planted::Caught(_) | Planted::Escaped => false,
            };
            if !is_over {
                planted += 1;
                // Readers go on, or say why not; nobody panics, and nobody hangs.
                let read = panic::catch_unwind(AssertUnwindSafe(|| {
                    drop(store.get(b"a"));
                    assert!(store.stats().keys > 0);
                    store.put(b"later", b"1")
                }));
                let later = read.unwrap_or_else(|_| panic!("{name}, step {nth}: it panics again"));
                let is_closed = name == "close" && matches!(later, Err(Error::Closed));
                assert!(
                    is_closed || matches!(later, Ok(()) | Err(Error::Poisoned(_))),
                    "{name}, step {nth}: {later:?}"
                );
            }
            drop(store);
            let store = options().open(dir.path()).unwrap();
            let after = contents(&store);
            for (key, value) in before.iter().filter(|(key, _)| **key != b"a") {
                assert_eq!(after.get(key), Some(value), "{name}, step {nth}");
            }
            assert!(store.verify().unwrap().is_whole(), "{name}, step {nth}");
            if is_over {
                break;
            }
        }
        assert!(planted > 0, "{name} takes no lock");
    }
}
