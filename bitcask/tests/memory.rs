//! What the index takes, measured by an allocator that counts: at most 26 bytes for each key at every
//! size. A file of its own, since the allocator counts the whole process.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    unsafe_code,
    reason = "test"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

#[allow(dead_code, reason = "each test file uses a part")]
mod support;

use bitcask::{Batch, Bitcask, Error, Options, SyncMode};
use support::fast_dir;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: everything is passed on to the system's allocator; the counters do not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(live, Ordering::Relaxed);
        // SAFETY: as required of the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as required of the caller.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn options() -> Options {
    Options::new().sync(SyncMode::Manual).auto_merge(false)
}

fn key(n: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&n.to_le_bytes());
    key
}

/// The most keys that are tried: from the environment, for a sweep to 10 million.
fn most_keys() -> u64 {
    let keys = std::env::var("KEYS")
        .ok()
        .and_then(|keys| keys.parse().ok());
    keys.unwrap_or(300_000)
}

/// Puts keys up to `keys`, and returns the most bytes for a key that were allocated at any moment from
/// 100,000 keys on, temporary ones included.
fn sweep(store: &Bitcask, base: usize, keys: u64) -> f64 {
    let mut worst = 0_f64;
    let mut n = 0;
    while n < keys {
        // Ever finer than the growth of the index.
        let portion = (n / 200).clamp(500, 5000);
        let mut batch = Batch::new();
        for n in n..n + portion {
            batch = batch.put(&key(n), b"a value");
        }
        let held = usize::try_from(batch.size()).unwrap() * 4;
        MOST.store(LIVE.load(Ordering::Relaxed), Ordering::Relaxed);
        store.write(batch).unwrap();
        n += portion;
        store.sync().unwrap();
        if n >= 100_000 {
            let live = LIVE.load(Ordering::Relaxed) - base;
            // Growing holds a shard's old and new table together; the batch itself is the caller's.
            let most = (MOST.load(Ordering::Relaxed) - base).saturating_sub(held);
            #[expect(clippy::cast_precision_loss, reason = "a ratio")]
            let per_key = live.max(most) as f64 / n as f64;
            worst = worst.max(per_key);
        }
    }
    worst
}

#[test]
fn the_index_takes_at_most_26_bytes_for_a_key_at_every_size() {
    let dir = fast_dir();
    let base = LIVE.load(Ordering::Relaxed);
    let store = options().open(dir.path()).unwrap();
    let worst = sweep(&store, base, most_keys());
    let stats = store.stats();
    eprintln!(
        "{worst:.1} bytes for a key at most, up to {} keys",
        stats.keys
    );
    assert!(worst <= 26.0, "{worst} bytes for a key");
    let counted = stats.index_bytes;
    let live = (LIVE.load(Ordering::Relaxed) - base) as u64;
    assert!(
        counted <= live && live - counted < 1 << 20,
        "{counted} of {live}"
    );
    store.close().unwrap();
    let base = LIVE.load(Ordering::Relaxed);
    let store = options().open(dir.path()).unwrap();
    assert_eq!(store.stats().keys, stats.keys);
    let live = LIVE.load(Ordering::Relaxed) - base;
    assert!(live as u64 <= 26 * stats.keys, "{live} bytes after opening");
    limited(dir.path(), store, counted);
}

/// A limit is kept by opening and by writing.
fn limited(dir: &std::path::Path, store: Bitcask, needed: u64) {
    drop(store);
    let refused = options().memory_limit(needed / 2).open(dir).unwrap_err();
    assert!(matches!(refused, Error::MemoryLimit { limit, .. } if limit == needed / 2));
    let store = options().memory_limit(needed + 4096).open(dir).unwrap();
    let mut n = 1 << 40;
    let refused = loop {
        if let Err(error) = store.put(&key(n), b"") {
            break error;
        }
        n += 1;
    };
    assert!(matches!(refused, Error::MemoryLimit { .. }), "{refused}");
    assert!(store.stats().index_bytes <= needed + 4096);
    assert_eq!(store.get(&key(n)).unwrap(), None);
    // What is there can still be overwritten and deleted.
    store.put(&key(1), b"another").unwrap();
    store.delete(&key(2)).unwrap();
    assert_eq!(store.get(&key(1)).unwrap().unwrap(), b"another");
}
