//! Readers and writers in threads of their own.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::big_endian_bytes,
    clippy::cast_possible_truncation,
    reason = "test"
)]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use btree::{Background, Btree, Durability, Error, Options, ReadTxn, SyncMode, Table, WriteTxn};

const WRITERS: u64 = 3;
const COMMITS: u64 = 150;
const KEYS: u64 = 60;

#[test]
fn handles_and_readers_go_to_other_threads() {
    fn shared<T: Send + Sync>() {}
    fn sent<T: Send>() {}
    shared::<Btree>();
    shared::<ReadTxn>();
    shared::<Table<'_>>();
    sent::<WriteTxn<'_>>();
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes[..8].try_into().unwrap())
}

/// What key `key` has when `count` transactions were committed: the last of them that changed it.
fn expected(key: u64, count: u64) -> Option<u64> {
    (0..=count)
        .rev()
        .take(8)
        .find(|n| n % 7 == key % 7 && *n > 0)
}

fn check(read: &ReadTxn) -> u64 {
    let Ok(table) = read.table("t") else {
        return 0;
    };
    let count = number(&table.get(b"count").unwrap().unwrap());
    for key in 0..KEYS {
        let value = table.get(&key.to_be_bytes()).unwrap();
        let value = value.map(|value| number(&value));
        assert_eq!(value, expected(key, count), "key {key} after {count}");
    }
    assert_eq!(table.range(..).count() as u64, table.len());
    count
}

/// One transaction: it counts, and changes a seventh of the keys.
fn write(store: &Btree, durability: Durability) -> btree::Result<()> {
    let mut write = store.begin_write()?;
    let mut table = write.create_table("t")?;
    let count = table.get(b"count")?.map_or(0, |value| number(&value)) + 1;
    table.put(b"count", &count.to_le_bytes())?;
    for key in (0..KEYS).filter(|key| count % 7 == key % 7) {
        let mut value = count.to_le_bytes().to_vec();
        value.resize(8 + (count as usize * 37) % 300, 1);
        table.put(&key.to_be_bytes(), &value)?;
    }
    write.commit_with(durability)
}

fn run(sync: SyncMode) {
    let dir = support::fast_dir();
    let options = || {
        Options::new()
            .sync(sync)
            .page_size(1024)
            .cache_size(64 << 10)
            .checkpoint_after(8 << 10)
            .log_segment_size(64 << 10)
    };
    let store = options().open(dir.path()).unwrap();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut last = 0;
                let mut kept = Vec::new();
                while !is_over.load(Ordering::SeqCst) {
                    let read = store.begin_read();
                    let count = check(&read);
                    assert!(count >= last, "{count} after {last}");
                    last = count;
                    if count.is_multiple_of(5) {
                        kept.push((read, count));
                    }
                    if kept.len() > 4 {
                        let (read, count) = kept.remove(0);
                        assert_eq!(check(&read), count);
                    }
                }
            });
        }
        let writers = (0..WRITERS).map(|writer| {
            let store = &store;
            scope.spawn(move || {
                for n in 0..COMMITS {
                    let durability = if (n + writer) % 3 == 0 {
                        Durability::Buffered
                    } else {
                        Durability::Durable
                    };
                    write(store, durability).unwrap();
                }
            })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.join().unwrap();
        }
        is_over.store(true, Ordering::SeqCst);
    });
    store.sync().unwrap();
    assert_eq!(check(&store.begin_read()), WRITERS * COMMITS);
    store.verify().unwrap();
    let stats = store.stats();
    assert!(stats.checkpoints > 2, "{stats:?}");
    assert_eq!(stats.oldest_reader_age, None);
    drop(store);
    let store = options().open(dir.path()).unwrap();
    assert_eq!(check(&store.begin_read()), WRITERS * COMMITS);
    store.verify().unwrap();
    store.close().unwrap();
}

#[test]
fn readers_see_whole_transactions_in_their_order_while_writers_run() {
    run(SyncMode::Always);
}

#[test]
fn also_those_that_are_not_durable() {
    run(SyncMode::Manual);
    run(SyncMode::Batch {
        writes: 10,
        interval: Duration::from_millis(1),
    });
}

#[test]
fn a_writer_that_may_not_wait_is_told() {
    let dir = support::fast_dir();
    let store = Options::new().open(dir.path()).unwrap();
    let first = store.begin_write().unwrap();
    let busy = store.try_begin_write(Duration::from_millis(1)).unwrap_err();
    assert!(matches!(busy, Error::Busy), "{busy}");
    drop(first);
    store.try_begin_write(Duration::ZERO).unwrap().abort();
    thread::scope(|scope| {
        let panicked = scope.spawn(|| {
            let mut write = store.begin_write().unwrap();
            write.create_table("t").unwrap();
            panic!("planted");
        });
        panicked.join().unwrap_err();
    });
    assert!(matches!(
        store.begin_write().unwrap_err(),
        Error::Poisoned(_)
    ));
    assert!(store.begin_read().tables().unwrap().is_empty());
}

/// Ten keys overwritten many times under an open reader: it pins what it sees, not what came between.
#[test]
fn a_reader_pins_only_the_pages_of_its_state() {
    let pages = |with_reader: bool| {
        let dir = support::fast_dir();
        let options = Options::new().sync(SyncMode::Manual).page_size(1024);
        let store = options.checkpoint_after(64 << 10).open(dir.path()).unwrap();
        let overwrite = |n: u32| {
            let mut write = store.begin_write().unwrap();
            let mut table = write.create_table("t").unwrap();
            table
                .put(&[(n % 10) as u8], &n.to_le_bytes().repeat(20))
                .unwrap();
            write.commit().unwrap();
        };
        (0..10).for_each(overwrite);
        let reader = with_reader.then(|| store.begin_read());
        (10..20_000).for_each(overwrite);
        store.checkpoint().unwrap();
        let stats = store.stats();
        assert_eq!(stats.oldest_reader_age.is_some(), with_reader, "{stats:?}");
        if let Some(reader) = reader {
            assert!(stats.oldest_reader_pages > 0, "{stats:?}");
            let table = reader.table("t").unwrap();
            assert_eq!(&table.get(&[3]).unwrap().unwrap()[..4], [3, 0, 0, 0]);
        }
        store.verify().unwrap();
        stats.pages
    };
    let (without, with) = (pages(false), pages(true));
    assert!(
        with <= without + 20,
        "{with} pages, {without} without a reader"
    );
}

/// It would wait for ever.
#[test]
fn a_thread_does_not_wait_for_a_write_transaction_of_its_own() {
    let dir = support::fast_dir();
    let options = || Options::new().background(Background::Inline);
    let store = options().checkpoint_after(500).open(dir.path()).unwrap();
    write(&store, Durability::Durable).unwrap();
    let open = store.begin_write().unwrap();
    let refused = [
        store.begin_write().map(drop),
        store.checkpoint(),
        store.verify().map(drop),
    ];
    for refused in refused {
        assert!(matches!(refused, Err(Error::StillOpen)), "{refused:?}");
    }
    let busy = store.try_begin_write(Duration::ZERO).map(drop);
    assert!(matches!(busy, Err(Error::Busy)), "{busy:?}");
    // A checkpoint is due; it comes when the transaction is over.
    while store.run_background().unwrap() {}
    assert_eq!(store.stats().checkpoints, 0);
    assert!(store.trouble().is_none());
    // Another thread waits.
    thread::scope(|scope| {
        let waits = scope.spawn(|| store.begin_write().map(drop));
        open.abort();
        waits.join().unwrap().unwrap();
    });
    while store.run_background().unwrap() {}
    assert_eq!(store.stats().checkpoints, 1);
    // It may end in another one.
    let moved = store.begin_write().unwrap();
    thread::scope(|scope| {
        let ends = scope.spawn(move || moved.commit());
        ends.join().unwrap().unwrap();
    });
    let leaked = std::mem::ManuallyDrop::new(store.begin_write().unwrap());
    assert!(format!("{leaked:?}").contains("WriteTxn"));
    let closed = store.close();
    assert!(matches!(closed, Err(Error::StillOpen)), "{closed:?}");
    let store = options().open(dir.path()).unwrap();
    assert_eq!(check(&store.begin_read()), 1);
}
