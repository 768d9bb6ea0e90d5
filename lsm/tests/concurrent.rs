//! Many threads at once: batches and snapshots are consistent cuts, what is acknowledged is seen, and a
//! drop waits for nobody for ever.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a test fails by a panic"
)]

mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use lsm::{Background, Batch, Error, KeyspaceOptions, Lsm, SyncMode};
use support::small;

fn open(path: &std::path::Path) -> Lsm {
    small()
        .background(Background::Threads)
        .sync(SyncMode::Manual)
        .log_segment_size(1 << 20)
        .open(path)
        .unwrap()
}

/// Each batch gives all keys, in two keyspaces, one number; a snapshot that sees two of them has seen
/// half a batch.
#[test]
fn snapshots_and_batches_are_consistent_cuts() {
    const KEYS: u8 = 10;
    let temp = tempfile::tempdir().unwrap();
    let db = &open(&temp.path().join("store"));
    let other = &db
        .create_keyspace("other", &KeyspaceOptions::new())
        .unwrap();
    let done = &AtomicBool::new(false);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..3_u64)
            .map(|writer| {
                scope.spawn(move || {
                    for n in 0..400_u64 {
                        let number = (n * 3 + writer).to_le_bytes();
                        let batch = (0..KEYS).fold(Batch::new(), |batch, key| {
                            batch.put(&[key], &number).put_in(other, &[key], &number)
                        });
                        db.write(batch).unwrap();
                        let seen = db.get(&[0]).unwrap().expect("it was written");
                        assert_eq!(seen.len(), 8);
                    }
                })
            })
            .collect();
        for _ in 0..2 {
            scope.spawn(move || {
                while !done.load(Ordering::SeqCst) {
                    let snapshot = db.snapshot().unwrap();
                    let mut values: Vec<Vec<u8>> = Vec::new();
                    for keyspace in [&**db, other] {
                        let view = snapshot.view(keyspace).unwrap();
                        values.extend(view.scan(..).map(|row| row.unwrap().1));
                    }
                    let expected = if values.is_empty() {
                        0
                    } else {
                        2 * usize::from(KEYS)
                    };
                    assert_eq!(values.len(), expected);
                    assert!(
                        values.windows(2).all(|pair| pair[0] == pair[1]),
                        "{values:?}"
                    );
                }
            });
        }
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, Ordering::SeqCst);
    });
}

/// One writer counts up; whoever reads never sees a smaller number than before, nor one below what was
/// acknowledged when the read began.
#[test]
fn a_key_is_linearizable() {
    let temp = tempfile::tempdir().unwrap();
    let db = &open(&temp.path().join("store"));
    db.put(b"n", &0_u64.to_le_bytes()).unwrap();
    let acknowledged = &AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(move || {
            for n in 1..=3000_u64 {
                db.put(b"n", &n.to_le_bytes()).unwrap();
                db.put(&n.to_le_bytes(), &[0; 50]).unwrap();
                acknowledged.store(n, Ordering::SeqCst);
            }
        });
        for _ in 0..2 {
            scope.spawn(move || {
                let mut last = 0;
                while last < 3000 {
                    let least = acknowledged.load(Ordering::SeqCst).max(last);
                    let value = db.get(b"n").unwrap().unwrap();
                    last = u64::from_le_bytes(value.to_vec().try_into().unwrap());
                    assert!(last >= least, "{last} after {least}");
                }
            });
        }
    });
}

#[test]
fn writes_in_flight_are_done_in_order() {
    let temp = tempfile::tempdir().unwrap();
    for background in [Background::Threads, Background::Inline] {
        let path = temp.path().join(format!("{background:?}"));
        let db = small().background(background).open(&path).unwrap();
        let tickets: Vec<_> = (0..100_u32)
            .map(|n| db.submit(Batch::new().put(b"k", &n.to_le_bytes())).unwrap())
            .collect();
        for ticket in tickets {
            ticket.wait().unwrap();
        }
        assert_eq!(
            db.get(b"k").unwrap().as_deref(),
            Some(&99_u32.to_le_bytes()[..])
        );
    }
}

#[test]
fn a_drop_beside_writers_loses_no_other_write() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("store");
    let db = &open(&path);
    thread::scope(|scope| {
        for writer in 0..2_u8 {
            scope.spawn(move || {
                for n in 0..300_u32 {
                    let key = [&[writer][..], &n.to_le_bytes()].concat();
                    loop {
                        let batch = Batch::new().put(&key, b"");
                        let batch = match db.keyspace("fleeting") {
                            Ok(keyspace) => batch.put_in(&keyspace, &key, &[0; 40]),
                            Err(_) => batch,
                        };
                        match db.write(batch) {
                            Ok(()) => break,
                            // It was dropped in between: nothing was written.
                            Err(Error::Dropped) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                }
            });
        }
        for _ in 0..20 {
            db.create_keyspace("fleeting", &KeyspaceOptions::new())
                .unwrap();
            thread::yield_now();
            db.flush_all().unwrap();
            db.drop_keyspace("fleeting").unwrap();
        }
    });
    assert_eq!(db.scan(..).unwrap().count(), 600);
    db.close().unwrap();
    assert!(matches!(db.get(b""), Err(Error::Closed)));
}
